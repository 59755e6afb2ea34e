//! Decisions: whether a packet is mirrored, and by which session.
//!
//! An [`Engine`] is what one interface needs of a policy: its sessions in order, and their rules sorted by family and protocol
//! so that few are looked at. It does not change; threads share it. A [`Decider`] is one thread's.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use vxtap_wire::{FrameView, TcpFlags, Transport};

use super::model::{Direction, Interface, NetworkService, Policy, Sample, Source};
use super::never::Excluded;
use super::provider::{EqualNumbers, LengthCounts, NoMatch, Order, RejectEnds, Scope, Semantics};

mod exclude;
mod explain;
mod facts;
mod flows;
mod own;
mod rules;

pub use explain::{Mismatch, Outcome, PassedOver, Step, Trace};
pub(crate) use own::LOOKED_THROUGH;
pub use own::OwnTraffic;

use exclude::{Exclude, Found};
use facts::Facts;
pub(super) use facts::value_of;
use flows::{FlowTable, Opened};
use rules::{RuleLists, Said};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is mirrored.
    Mirror(Mirror),
    /// It is not.
    Pass(Pass),
}

/// How a packet is mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Place in [`Policy::sessions`].
    pub session: usize,
    /// How many bytes of the frame at most.
    pub length: u32,
    /// Hash of the packet's flow, equal for both directions and on all hosts: for [`super::MirrorTarget::pick`].
    pub flow_hash: u32,
}

/// Why a packet is not mirrored. Sessions are places in [`Policy::sessions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It is something that is never mirrored.
    Never(Excluded),
    /// A rule of this session rejects it, and no session after it takes it. The first one, if there are several.
    Rejected(usize),
    /// This session would take it, but not its flow.
    Sampled(usize),
    /// No session has a rule for it.
    Unmatched,
}

/// Two sessions of one number meet on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceClash {
    /// The interface.
    pub interface: String,
    /// Both sessions, as places in [`Policy::sessions`].
    pub sessions: (usize, usize),
    message: String,
}

impl fmt::Display for SourceClash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SourceClash {}

/// A policy as one interface needs it.
#[derive(Debug)]
pub struct Engine {
    policy: Arc<Policy>,
    semantics: Semantics,
    exclude: Exclude,
    sessions: Vec<EngineSession>,
}

/// A session that is on and has the interface as a source.
#[derive(Debug)]
struct EngineSession {
    /// Place in [`Policy::sessions`].
    place: usize,
    /// `None`: as many bytes as there are.
    length: Option<u32>,
    sample: Sample,
    /// Whether its filter lets the cloud's resolver through.
    resolver: bool,
    /// Sessions of one filter share them.
    rules: Arc<BothWays>,
}

/// The rules of a filter for each direction.
#[derive(Debug)]
struct BothWays {
    inbound: RuleLists,
    outbound: RuleLists,
}

impl EngineSession {
    fn rules(&self, direction: Direction) -> &RuleLists {
        match direction {
            Direction::Inbound => &self.rules.inbound,
            Direction::Outbound => &self.rules.outbound,
        }
    }
}

/// What the sessions say of a packet, without what is of that packet alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// By place in [`Engine::sessions`].
    Take(u16),
    Sampled(u16),
    Rejected(u16),
    Unmatched,
}

impl Engine {
    /// What `interface` needs of `policy`.
    pub fn new(policy: &Arc<Policy>, interface: &Interface) -> Result<Self, SourceClash> {
        Self::of(policy, &interface.name, |source| source.selects(interface))
    }

    /// What an interface, called `interface`, needs that is one of each source for which `selects` holds.
    pub fn of(policy: &Arc<Policy>, interface: &str, selects: impl Fn(&Source) -> bool) -> Result<Self, SourceClash> {
        let selected: Vec<bool> = policy.sources.iter().map(selects).collect();
        let of_interface = |sources: &[usize]| sources.iter().any(|at| selected.get(*at) == Some(&true));
        let mut sessions: Vec<EngineSession> = Vec::new();
        let mut of_filters: HashMap<Option<usize>, Arc<BothWays>> = HashMap::new();
        for (place, session) in policy.sessions.iter().enumerate() {
            if !session.enabled || !of_interface(&session.sources) {
                continue;
            }
            if let Some(twin) = sessions.last().and_then(|last| policy.sessions.get(last.place))
                && twin.number == session.number
                && policy.semantics.session_order != Order::Place
                && policy.semantics.equal_numbers != EqualNumbers::ByPlace
            {
                return Err(SourceClash {
                    interface: interface.to_owned(),
                    sessions: (sessions.last().map_or(0, |last| last.place), place),
                    message: format!(
                        "sessions '{}' and '{}' both have number {} and both have {} as a source (expected different numbers)",
                        twin.name, session.name, session.number, interface
                    ),
                });
            }
            let filter = session.filter.and_then(|at| policy.filters.get(at));
            let rules = |direction| match filter {
                Some(filter) => RuleLists::new(filter.rules(direction), direction),
                None => RuleLists::bare(policy.semantics.bare_rule),
            };
            let both = || {
                let (inbound, outbound) = (rules(Direction::Inbound), rules(Direction::Outbound));
                Arc::new(BothWays { inbound, outbound })
            };
            sessions.push(EngineSession {
                place,
                length: session.length,
                sample: session.sample,
                resolver: filter.is_some_and(|filter| filter.services.contains(&NetworkService::AmazonDns)),
                rules: Arc::clone(of_filters.entry(session.filter).or_insert_with(both)),
            });
        }
        Ok(Self {
            policy: Arc::clone(policy),
            semantics: policy.semantics,
            exclude: Exclude::new(&policy.never),
            sessions,
        })
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Whether nothing is mirrored whatever comes: no session that is on has the interface as a source.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty()
    }

    /// The sessions of the interface that are on, in order, as places in [`Policy::sessions`].
    pub fn sessions(&self) -> impl Iterator<Item = usize> {
        self.sessions.iter().map(|session| session.place)
    }

    /// The most bytes of a frame that a session of the interface wants; `None` is all of it. Where lengths count from the IP
    /// header on, what is in front of that comes on top.
    pub fn longest(&self) -> Option<u32> {
        self.sessions.iter().map(|session| session.length).try_fold(0, |most, length| Some(most.max(length?)))
    }

    fn verdict(&self, direction: Direction, facts: &Facts, resolver: bool) -> Verdict {
        let mut rejected = None;
        for (at, session) in self.sessions.iter().enumerate() {
            let at = at as u16;
            let said = if !resolver {
                session.rules(direction).say(facts)
            } else if !session.resolver {
                continue;
            } else if self.semantics.service_beats_rules {
                Said::Accept
            } else {
                session.rules(direction).say(facts)
            };
            match said {
                Said::Accept => return sampled(session.sample, facts, at),
                Said::Reject => {
                    rejected = rejected.or(Some(at));
                    if self.semantics.reject_ends == RejectEnds::All {
                        break;
                    }
                }
                Said::Next => {}
                Said::Nothing => match self.semantics.no_match {
                    NoMatch::Next => {}
                    NoMatch::Mirror => return sampled(session.sample, facts, at),
                    NoMatch::Stop => break,
                },
            }
        }
        rejected.map_or(Verdict::Unmatched, Verdict::Rejected)
    }

    /// What a verdict means for one packet.
    #[inline]
    fn decision(&self, verdict: Verdict, facts: &Facts, view: &FrameView<'_>) -> Decision {
        let place = |at: u16| self.sessions.get(usize::from(at)).map_or(0, |session| session.place);
        match verdict {
            Verdict::Take(at) => {
                let length = self.sessions.get(usize::from(at)).and_then(|session| session.length);
                let before = match self.semantics.length_counts {
                    LengthCounts::Frame => 0,
                    LengthCounts::Packet => view.network_offset() as u32,
                };
                let length = length.map_or(u32::MAX, |length| length.saturating_add(before));
                Decision::Mirror(Mirror { session: place(at), length, flow_hash: facts.hash })
            }
            Verdict::Sampled(at) => Decision::Pass(Pass::Sampled(place(at))),
            Verdict::Rejected(at) => Decision::Pass(Pass::Rejected(place(at))),
            Verdict::Unmatched => Decision::Pass(Pass::Unmatched),
        }
    }
}

#[inline]
fn sampled(sample: Sample, facts: &Facts, at: u16) -> Verdict {
    if sample.takes(facts.hash) { Verdict::Take(at) } else { Verdict::Sampled(at) }
}

/// An engine with what one thread keeps beside it.
#[derive(Debug)]
pub struct Decider {
    engine: Arc<Engine>,
    own: Arc<OwnTraffic>,
    /// Where decisions are for flows.
    flows: Option<FlowTable>,
}

/// How a decider's table of flows is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowCounts {
    /// Flows that were decided about.
    pub opened: u64,
    /// Flows that had to go before their time, because there was no room. If they go on they are decided about anew.
    pub evicted: u64,
}

impl Decider {
    /// A decider of `engine` that never mirrors `own` traffic. Allocates all that it will ever need.
    pub fn new(engine: Arc<Engine>, own: Arc<OwnTraffic>) -> Self {
        let semantics = engine.semantics;
        let flows = (semantics.scope == Scope::Flow && !engine.is_idle())
            .then(|| FlowTable::new(semantics.flow_max, semantics.flow_timeout));
        Self { engine, own, flows }
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// From now on `own` is what is ours.
    pub fn set_own_traffic(&mut self, own: Arc<OwnTraffic>) {
        self.own = own;
    }

    /// How the table of flows is; all 0 where decisions are for packets.
    pub fn flow_counts(&self) -> FlowCounts {
        self.flows.as_ref().map(FlowTable::counts).unwrap_or_default()
    }

    /// What becomes of the packet in `view`, which went in `direction`. `now` is a time in seconds, of which
    /// only differences count; what goes back is no silence. Neither allocates nor panics.
    #[inline]
    pub fn decide(&mut self, direction: Direction, view: &FrameView<'_>, now: u32) -> Decision {
        let facts = Facts::new(view);
        let resolver = match self.engine.exclude.find(&facts, view, &self.own) {
            Found::Never(reason) => return Decision::Pass(Pass::Never(reason)),
            Found::Resolver if !self.engine.sessions.iter().any(|session| session.resolver) => {
                return Decision::Pass(Pass::Never(Excluded::Resolver));
            }
            Found::Resolver => true,
            Found::Nothing => false,
        };
        let engine = &self.engine;
        let verdict = match (&mut self.flows, view.five_tuple) {
            (Some(flows), Some(tuple)) => {
                let opened = opened(direction, view);
                flows.verdict(&tuple, opened, now, |opened, tuple| {
                    engine.verdict(opened, &facts.with_tuple(tuple), resolver)
                })
            }
            _ => engine.verdict(direction, &facts, resolver),
        };
        engine.decision(verdict, &facts, view)
    }
}

/// Who opened the flow that this packet may be the first of, and whether it is one that opens it for certain.
fn opened(direction: Direction, view: &FrameView<'_>) -> Opened {
    match view.transport {
        Transport::Tcp(header) if header.flags.has(TcpFlags::SYN) => {
            if header.flags.has(TcpFlags::ACK) {
                // The answer to an opening that was not seen.
                Opened { by: direction.reversed(), reversed: true, anew: false }
            } else {
                Opened { by: direction, reversed: false, anew: true }
            }
        }
        _ => Opened { by: direction, reversed: false, anew: false },
    }
}

#[cfg(test)]
mod tests;
