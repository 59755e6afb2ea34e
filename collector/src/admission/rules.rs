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

/// What was decided while a collector ran. Of two decisions about a stream the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decisions {
    /// Of one stream each.
    exact: HashMap<Origin, Choice, foldhash::fast::RandomState>,
    /// Of several, the newest last.
    wide: Vec<(Selector, Choice)>,
}

impl Decisions {
    /// The most decisions about one stream.
    pub(crate) const MAX_EXACT: usize = 10_000;
    /// The most decisions about several: all of them are looked at for each new stream.
    pub(crate) const MAX_WIDE: usize = 256;

    /// Adds a decision. Gives it back where there are too many.
    pub(crate) fn add(&mut self, choice: Choice, selector: Selector) -> Result<(), Selector> {
        if let Some(origin) = selector.origin() {
            if self.exact.len() >= Self::MAX_EXACT && !self.exact.contains_key(&origin) {
                return Err(selector);
            }
            self.exact.insert(origin, choice);
            return Ok(());
        }
        self.wide.retain(|(other, _)| *other != selector);
        if self.wide.len() >= Self::MAX_WIDE {
            return Err(selector);
        }
        // What was said of its streams one by one is over.
        self.exact.retain(|origin, _| !selector.matches(origin));
        self.wide.push((selector, choice));
        Ok(())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.exact.len() + self.wide.len()
    }

    /// All of them, in an order that leads to the same when they are added in it: those about several streams first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Choice, Selector)> {
        let mut exact: Vec<(Selector, Choice)> =
            self.exact.iter().map(|(origin, choice)| (Selector::of(origin), *choice)).collect();
        exact.sort_by_cached_key(|(selector, _)| selector.to_string());
        self.wide.iter().cloned().chain(exact).map(|(selector, choice)| (choice, selector))
    }

    fn of(&self, origin: &Origin) -> Option<Choice> {
        let exact = self.exact.get(origin).copied();
        exact.or_else(|| {
            self.wide.iter().rev().find(|(selector, _)| selector.matches(origin)).map(|(_, choice)| *choice)
        })
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
        let plain = Origin { encapsulation: Encapsulation::None, source: None, vni: None };
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
