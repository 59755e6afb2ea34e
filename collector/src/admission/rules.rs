//! What was configured and decided, as workers ask it.

use std::collections::HashMap;

use vxtap_analyzers::snapshot::Choice;
use vxtap_analyzers::{DropReason, Encapsulation};

use crate::selector::{Origin, Selector};

/// Whether frames of a mirror stream are let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are analysed and captured.
    Accepted,
    /// They are counted, until somebody decides.
    Waiting,
    /// They are counted.
    Rejected,
}

impl Verdict {
    /// Why a frame is dropped; `None` where it is not.
    pub const fn drop_reason(self) -> Option<DropReason> {
        match self {
            Self::Accepted => None,
            Self::Waiting => Some(DropReason::NotAdmitted),
            Self::Rejected => Some(DropReason::Rejected),
        }
    }
}

/// What the configuration says. Frames in no tunnel, of capture files, are always let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Streams that are let in unless somebody has decided otherwise; others wait.
    pub accept: Vec<Selector>,
    /// Streams that are kept out whatever anybody decides.
    pub reject: Vec<Selector>,
}

/// Everybody is let in.
impl Default for Policy {
    fn default() -> Self {
        Self { accept: vec![Selector::ALL], reject: Vec::new() }
    }
}

impl Policy {
    /// Whether everybody is let in who is not kept out by name.
    pub fn accepts_all(&self) -> bool {
        self.accept.contains(&Selector::ALL)
    }
}

/// What was decided while a collector ran. Of several decisions about a stream the last one counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decisions {
    /// Of one origin each.
    exact: HashMap<Origin, Decided, foldhash::fast::RandomState>,
    /// Of several, the newest last.
    wide: Vec<(Selector, Decided)>,
    /// Number of the next one.
    next: u64,
}

/// What was decided, and as the how manieth.
#[derive(Clone, Copy, Debug)]
struct Decided {
    choice: Choice,
    number: u64,
}

impl Decisions {
    /// The most decisions about one stream.
    pub(crate) const MAX_EXACT: usize = 10_000;
    /// The most decisions about several: all of them are looked at for each new stream.
    pub(crate) const MAX_WIDE: usize = 256;

    /// Adds a decision. Gives it back where there are too many.
    pub(crate) fn add(&mut self, choice: Choice, selector: Selector) -> Result<(), Selector> {
        let decided = Decided { choice, number: self.next };
        if let Some(origin) = selector.origin() {
            if origin.endpoint.is_none() && origin.encapsulation == Encapsulation::Geneve {
                // What was said of it by single endpoints is over.
                self.exact.retain(|other, _| other.everywhere() != origin || *other == origin);
            }
            if self.exact.len() >= Self::MAX_EXACT && !self.exact.contains_key(&origin) {
                return Err(selector);
            }
            self.exact.insert(origin, decided);
        } else {
            self.wide.retain(|(other, _)| *other != selector);
            if self.wide.len() >= Self::MAX_WIDE {
                return Err(selector);
            }
            // What was said of its streams one by one is over.
            self.exact.retain(|origin, _| !selector.matches(origin));
            self.wide.push((selector, decided));
        }
        self.next += 1;
        Ok(())
    }

    /// Takes back the decision about exactly what `selector` says. Gives whether there was one.
    pub(crate) fn take_back(&mut self, selector: &Selector) -> bool {
        if let Some(origin) = selector.origin() {
            return self.exact.remove(&origin).is_some();
        }
        let before = self.wide.len();
        self.wide.retain(|(other, _)| other != selector);
        self.wide.len() < before
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.exact.len() + self.wide.len()
    }

    /// All of them, in the order in which they were made.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (Choice, Selector)> {
        let exact = self.exact.iter().map(|(origin, decided)| (Selector::of(origin), *decided));
        let mut all: Vec<(Selector, Decided)> = self.wide.iter().cloned().chain(exact).collect();
        all.sort_unstable_by_key(|(_, decided)| decided.number);
        all.into_iter().map(|(selector, Decided { choice, .. })| (choice, selector))
    }

    fn of(&self, origin: &Origin) -> Option<Choice> {
        let wide = self.wide.iter().rev().find(|(selector, _)| selector.matches(origin)).map(|(_, decided)| decided);
        let everywhere = origin.endpoint.and_then(|_| self.exact.get(&origin.everywhere()));
        let all = [self.exact.get(origin), everywhere, wide].into_iter().flatten();
        all.max_by_key(|decided| decided.number).map(|decided| decided.choice)
    }
}

/// Whether they say the same.
impl PartialEq for Decisions {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// Both together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    pub(crate) decisions: Decisions,
}

impl Rules {
    /// Whether a stream of `origin` is let in. Takes as long as there are selectors, so workers keep the answer.
    pub(crate) fn verdict(&self, origin: &Origin) -> Verdict {
        if origin.encapsulation == Encapsulation::None {
            return Verdict::Accepted;
        }
        let has = |selectors: &[Selector]| selectors.iter().any(|selector| selector.matches(origin));
        if has(&self.policy.reject) {
            return Verdict::Rejected;
        }
        match self.decisions.of(origin) {
            Some(Choice::Accept) => Verdict::Accepted,
            Some(Choice::Reject) => Verdict::Rejected,
            None if has(&self.policy.accept) => Verdict::Accepted,
            None => Verdict::Waiting,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> Selector {
        text.parse().unwrap()
    }

    fn rules(accept: &[&str], reject: &[&str]) -> Rules {
        let selectors = |texts: &[&str]| texts.iter().map(|text| selector(text)).collect();
        Rules {
            policy: Policy { accept: selectors(accept), reject: selectors(reject) },
            decisions: Decisions::default(),
        }
    }

    fn verdict(rules: &Rules, stream: &str) -> Verdict {
        rules.verdict(&selector(stream).origin().unwrap())
    }

    const STREAM: &str = "vxlan vni 7 from 10.0.0.7";

    #[test]
    fn who_is_not_listed_waits_and_frames_in_no_tunnel_never_do() {
        assert_eq!(verdict(&Rules::default(), STREAM), Verdict::Accepted);
        let listed = rules(&["vni 8", "from 10.0.0.7"], &[]);
        assert_eq!(verdict(&listed, STREAM), Verdict::Accepted);
        assert_eq!(verdict(&listed, "vxlan vni 7 from 10.0.0.8"), Verdict::Waiting);
        let plain = Origin { encapsulation: Encapsulation::None, source: None, vni: None, endpoint: None };
        assert_eq!(rules(&[], &["all"]).verdict(&plain), Verdict::Accepted);
    }

    #[test]
    fn a_decision_goes_before_what_is_listed_and_the_configurations_refusal_before_both() {
        let mut listed = rules(&["vni 7"], &["from 192.0.2.0/24"]);
        listed.decisions.add(Choice::Reject, selector(STREAM)).unwrap();
        assert_eq!(verdict(&listed, STREAM), Verdict::Rejected);
        listed.decisions.add(Choice::Accept, selector("all")).unwrap();
        assert_eq!(verdict(&listed, STREAM), Verdict::Accepted, "the last decision counts");
        assert_eq!(verdict(&listed, "vxlan vni 1 from 192.0.2.1"), Verdict::Rejected);
        listed.decisions.add(Choice::Reject, selector("vni 0-99")).unwrap();
        assert_eq!(verdict(&listed, STREAM), Verdict::Rejected);
        listed.decisions.add(Choice::Accept, selector(STREAM)).unwrap();
        assert_eq!(verdict(&listed, STREAM), Verdict::Accepted);
    }

    #[test]
    fn a_raw_mirror_waits_like_any_stream_and_is_listed_and_decided_by_its_name() {
        let raw = Origin { encapsulation: Encapsulation::Packet, source: None, vni: None, endpoint: None };
        let mut listed = rules(&["vni 0-16777215", "from 0.0.0.0/0"], &[]);
        assert_eq!(listed.verdict(&raw), Verdict::Waiting, "it has neither VNI nor source");
        assert_eq!(rules(&["packet"], &[]).verdict(&raw), Verdict::Accepted);
        assert_eq!(rules(&["all"], &["packet"]).verdict(&raw), Verdict::Rejected);
        assert_eq!(verdict(&rules(&["packet"], &[]), STREAM), Verdict::Waiting);
        // What the API shows of it stands for it.
        let shown = Selector::of(&raw).to_string();
        assert_eq!(shown, "packet");
        listed.decisions.add(Choice::Accept, selector(&shown)).unwrap();
        assert_eq!(listed.verdict(&raw), Verdict::Accepted);
        assert!(listed.decisions.take_back(&selector("packet")));
        assert_eq!(listed.verdict(&raw), Verdict::Waiting);
    }

    #[test]
    fn endpoints_behind_one_load_balancer_are_decided_about_apart_and_together() {
        use Verdict::{Accepted, Rejected, Waiting};
        const GATEWAY: &str = "geneve vni 0 from 10.0.0.7";
        let by = |endpoint: &str| format!("{GATEWAY} endpoint {endpoint}");
        let of = |rules: &Rules| ["0x1", "0x2"].map(|endpoint| verdict(rules, &by(endpoint)));
        let mut rules = rules(&[], &[]);
        let mut decide = |choice, text: &str| {
            rules.decisions.add(choice, selector(text)).unwrap();
            of(&rules)
        };
        assert_eq!(decide(Choice::Accept, &by("0x1")), [Accepted, Waiting]);
        assert_eq!(decide(Choice::Reject, GATEWAY), [Rejected, Rejected], "whatever the endpoint, and later");
        assert_eq!(decide(Choice::Accept, &by("0x2")), [Rejected, Accepted]);
        assert_eq!(decide(Choice::Reject, "endpoint 0x2,0x3"), [Rejected, Rejected]);
        assert_eq!(decide(Choice::Accept, GATEWAY), [Accepted, Accepted]);
        assert_eq!(
            decide(Choice::Reject, "endpoint 0x1"),
            [Rejected, Accepted],
            "of one endpoint, wherever it comes from"
        );
        assert_eq!(verdict(&rules, GATEWAY), Accepted, "without a cookie");
        let mut again = Decisions::default();
        rules.decisions.iter().for_each(|(choice, selector)| again.add(choice, selector).unwrap());
        assert_eq!(of(&Rules { decisions: again, ..rules.clone() }), of(&rules));
    }

    #[test]
    fn what_was_decided_is_taken_back_by_the_same_words_and_no_others() {
        let mut listed = rules(&["vni 7"], &[]);
        for text in [STREAM, "vni 0-99"] {
            listed.decisions.add(Choice::Reject, selector(text)).unwrap();
            assert_eq!(verdict(&listed, STREAM), Verdict::Rejected);
            for other in ["all", "vni 7", "vxlan vni 7 from 10.0.0.8", "vni 0-98"] {
                assert!(!listed.decisions.take_back(&selector(other)), "{other}");
            }
            assert!(listed.decisions.take_back(&selector(text)));
            assert_eq!((verdict(&listed, STREAM), listed.decisions.len()), (Verdict::Accepted, 0));
            assert!(!listed.decisions.take_back(&selector(text)));
        }
    }

    #[test]
    fn decisions_are_bounded_and_the_same_one_again_takes_no_room() {
        let mut decisions = Decisions::default();
        for vni in 0..Decisions::MAX_WIDE {
            decisions.add(Choice::Accept, selector(&format!("vni {vni}"))).unwrap();
        }
        assert!(decisions.add(Choice::Accept, selector("vni 999")).is_err());
        decisions.add(Choice::Reject, selector("vni 3")).unwrap();
        assert_eq!(decisions.len(), Decisions::MAX_WIDE);
        for vni in 0..Decisions::MAX_EXACT {
            decisions.add(Choice::Accept, selector(&format!("vxlan vni {vni} from ::1"))).unwrap();
        }
        assert!(decisions.add(Choice::Accept, selector("vxlan vni 10000 from ::1")).is_err());
        decisions.add(Choice::Reject, selector("vxlan vni 9 from ::1")).unwrap();
        assert_eq!(decisions.len(), Decisions::MAX_WIDE + Decisions::MAX_EXACT);
    }

    #[test]
    fn decisions_added_again_in_their_order_say_the_same() {
        let mut decisions = Decisions::default();
        for (choice, text) in [
            (Choice::Accept, "vni 0-9"),
            (Choice::Reject, "from 10.0.0.0/8"),
            (Choice::Accept, STREAM),
            (Choice::Reject, "vxlan vni 8 from 10.0.0.7"),
        ] {
            decisions.add(choice, selector(text)).unwrap();
        }
        let mut again = Decisions::default();
        for (choice, selector) in decisions.iter() {
            again.add(choice, selector).unwrap();
        }
        assert_eq!(again, decisions);
    }
}
