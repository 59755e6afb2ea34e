//! A policy as the packet path runs it.

use std::net::IpAddr;
use std::sync::Arc;

use vxtap_wire::vxlan::Vni;

use super::budget::Meter;
use super::exits::Exits;
use super::ledger::{Ledger, SessionLedger};
use crate::policy::{
    Decider, Encapsulation, Engine, Interface, LEAST, OwnTraffic, Policy, Prefilter, PrefilterSettings,
};
use crate::target::Target;
use crate::transmit::Head;

/// A policy made ready for the interfaces of a host.
pub(crate) struct Plan {
    pub(super) policy: Arc<Policy>,
    /// For each interface; `None` where no enabled session has it as a source.
    pub(super) deciders: Vec<Option<Decider>>,
    /// For each of the policy's sessions.
    pub(super) sessions: Vec<SessionRun>,
    /// The budget of all of them.
    pub(super) all: Meter,
    /// What is never mirrored since it is ours.
    own: Arc<OwnTraffic>,
    /// Every place that copies go to, once.
    pub(super) targets: Vec<Target>,
}

/// A session as it runs.
pub(super) struct SessionRun {
    pub(super) ledger: Arc<SessionLedger>,
    pub(super) head: Head,
    pub(super) meter: Meter,
    /// Place of its target in the policy.
    pub(super) target: usize,
    /// The ways to each member of its target.
    pub(super) ways: Vec<Way>,
}

/// A way to one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// Place of the link.
    pub(super) link: u8,
    /// Place of the lane on it; see [`Exits::lane`].
    pub(super) lane: usize,
}

impl Plan {
    /// Places that copies go to, at most: each has sockets of its own.
    pub(crate) const MOST_TARGETS: usize = 128;

    /// Makes `policy` ready for `interfaces`. The text says what is wrong with it where it cannot be.
    pub(crate) fn new(
        policy: Arc<Policy>,
        interfaces: &[Interface],
        own: &Arc<OwnTraffic>,
        ledger: &Ledger,
    ) -> Result<Self, String> {
        let targets = targets_of(&policy);
        if targets.len() > Self::MOST_TARGETS {
            let most = Self::MOST_TARGETS;
            return Err(format!("copies go to {} places (expected at most {most})", targets.len()));
        }
        let decider = |interface| {
            let engine = Engine::new(&policy, interface).map_err(|clash| clash.to_string())?;
            Ok((!engine.is_idle()).then(|| Decider::new(Arc::new(engine), Arc::clone(own))))
        };
        let deciders = interfaces.iter().map(decider).collect::<Result<_, String>>()?;
        let sessions = policy
            .sessions
            .iter()
            .map(|session| SessionRun {
                ledger: ledger.session(&session.name),
                head: Head::new(session.encapsulation, session.vni),
                meter: Meter::new(&session.budget),
                target: session.target,
                ways: policy.targets[session.target]
                    .members
                    .iter()
                    .map(|member| {
                        let target = target_of(member, session.encapsulation);
                        let link = targets.iter().position(|known| *known == target).unwrap_or(0) as u8;
                        Way { link, lane: 0 }
                    })
                    .collect(),
            })
            .collect();
        let own = Arc::clone(own);
        Ok(Self { deciders, sessions, all: Meter::new(&policy.budget), targets, own, policy })
    }

    /// Every place that copies go to, once, in the order of [`Way::link`].
    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Where the policy names a target, as a path in its file.
    pub(super) fn path_of(&self, target: &Target) -> String {
        let policy = &self.policy;
        let named = policy.sessions.iter().find_map(|session| {
            let members = policy.targets[session.target].members.iter();
            let place =
                members.map(|member| target_of(member, session.encapsulation)).position(|one| one == *target)?;
            Some(format!("target[{}].member[{place}].address", session.target))
        });
        named.unwrap_or_default()
    }

    /// Whether copies of copies are kept from being made.
    pub(super) fn guards_own(&self) -> bool {
        self.policy.never.own
    }

    /// Whether the frame is a packet of another tunnel with a copy of ours in it, which is not to be mirrored once more.
    #[inline]
    pub(super) fn is_own_mirror(&self, frame: &[u8]) -> bool {
        self.guards_own() && self.own.is_carried_in(frame)
    }

    /// From now on `own` is what is never mirrored.
    pub(super) fn set_own_traffic(&mut self, own: &Arc<OwnTraffic>) {
        self.own = Arc::clone(own);
        for decider in self.deciders.iter_mut().flatten() {
            decider.set_own_traffic(Arc::clone(own));
        }
    }

    /// What the kernel can decide on interface `place`: it lets through at least what is mirrored. `None` where no session wants
    /// anything.
    pub(super) fn prefilter(&self, place: usize) -> Option<Prefilter> {
        let decider = self.deciders.get(place)?.as_ref()?;
        // A super-frame of small packets is no longer than one large packet, and its end may be the beginning of a packet: nothing is
        // cut before it is known what it is.
        let whole_above = Some(0);
        Some(decider.engine().prefilter(&self.own, PrefilterSettings { whole_above }))
    }

    /// The most bytes of a frame that anybody wants, headers that are in front of what is counted included.
    pub(super) fn longest(&self) -> usize {
        // Tags and labels, where lengths count from the IP header on.
        const IN_FRONT: u32 = 128;
        let mut longest = self.deciders.iter().flatten().map(|decider| decider.engine().longest());
        let longest = longest.try_fold(0, |most, longest| Some(most.max(longest?)));
        longest.map_or(usize::MAX, |longest| longest.saturating_add(IN_FRONT).max(LEAST) as usize)
    }

    /// Finds the sessions' lanes on `exits`, which has the links of [`Plan::targets`].
    pub(super) fn join(&mut self, exits: &mut Exits) {
        let used: Vec<(usize, Vni)> = self
            .sessions
            .iter()
            .filter_map(|session| match session.head {
                Head::Geneve(vni) => Some(session.ways.iter().map(move |way| (usize::from(way.link), vni))),
                Head::Vxlan(_) => None,
            })
            .flatten()
            .collect();
        exits.retain_lanes(|link, vni| used.contains(&(link, vni)));
        for session in &mut self.sessions {
            if let Head::Geneve(vni) = session.head {
                for way in &mut session.ways {
                    way.lane = exits.lane(usize::from(way.link), vni);
                }
            }
        }
    }

    /// Takes over what `old` has been counting for sessions that are the same in this plan: a budget is not full again
    /// because a file was saved.
    pub(super) fn inherit(&mut self, old: &mut Self) {
        if self.policy.budget == old.policy.budget {
            std::mem::swap(&mut self.all, &mut old.all);
        }
        for (place, session) in self.policy.sessions.iter().enumerate() {
            let same = |other: &&crate::policy::Session| other.name == session.name && other.budget == session.budget;
            if let Some(old_place) = old.policy.sessions.iter().position(|other| same(&other)) {
                std::mem::swap(&mut self.sessions[place].meter, &mut old.sessions[old_place].meter);
            }
        }
    }
}

/// Every place that copies of `policy` go to, once.
fn targets_of(policy: &Policy) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for session in &policy.sessions {
        for member in &policy.targets[session.target].members {
            let target = target_of(member, session.encapsulation);
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
    }
    targets
}

fn target_of(member: &crate::policy::Member, encapsulation: Encapsulation) -> Target {
    let port = member.port.unwrap_or_else(|| encapsulation.port());
    match member.address.parse::<IpAddr>() {
        Ok(address) => Target::from(std::net::SocketAddr::new(address, port)),
        Err(_) => Target::new(member.address.clone(), port),
    }
}
