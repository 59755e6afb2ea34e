//! Why a packet is mirrored or not: every session and rule on the way to the decision.
//!
//! This looks at the rules as the policy has them, one after the other, without the engine's lists: slower, and says more. Tests
//! hold both against each other.

use serde::Serialize;
use vxtap_wire::{FrameView, IpVersion};

use super::exclude::Found;
use super::facts::{Facts, value_of, version_of};
use super::{Decider, Decision, Engine, Pass, opened};
use crate::policy::model::{Action, Direction, PortRange, Rule};
use crate::policy::never::Excluded;
use crate::policy::provider::{BareRule, NoMatch, RejectEnds, Scope};

/// The way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The packet's direction.
    pub direction: Direction,
    /// The direction in which the flow was opened, where decisions are for flows: whose rules were asked.
    pub opened: Option<Direction>,
    /// Whether the flow was decided about before this packet.
    pub remembered: bool,
    /// Why it is not mirrored whatever the sessions say.
    pub never: Option<Excluded>,
    /// The sessions of the interface in order, up to the one that ends the search.
    pub steps: Vec<Step>,
    /// The decision.
    pub decision: Decision,
}

/// What one session does with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Place in [`crate::policy::Policy::sessions`].
    pub session: usize,
    /// Rules that do not match, before the one that does.
    pub passed_over: Vec<PassedOver>,
    /// What the session says.
    pub outcome: Outcome,
    /// Whether the session would take it but for its sampling.
    pub sampled_out: bool,
    /// Whether no other session is asked.
    pub ends: bool,
}

/// A rule that does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// Place in the rules of its direction.
    pub rule: usize,
    /// Its number.
    pub number: u32,
    /// What does not fit first.
    pub because: Mismatch,
}

/// What a session says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A rule matches: its place in the rules of its direction, its number, its action.
    Rule {
        /// Place.
        rule: usize,
        /// Number.
        number: u32,
        /// Action.
        action: Action,
    },
    /// It has rules, and none matches.
    NoRule,
    /// It has no filter: it takes the packet or, where that is not of the family, does not.
    NoFilter {
        /// Whether it takes it.
        takes: bool,
    },
    /// Its filter lets the cloud's resolver through.
    Service,
    /// Traffic with the cloud's resolver, which its filter does not let through.
    NotEligible,
}

/// What of a rule does not fit a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mismatch {
    /// It is for IP packets, and this is none.
    NotIp,
    /// The family.
    Family,
    /// The protocol.
    Protocol,
    /// The source address.
    Source,
    /// The destination address.
    Destination,
    /// The address of the remote end.
    Remote,
    /// The source port.
    SourcePort,
    /// The destination port.
    DestinationPort,
    /// It asks for ports, and a fragment or a cut packet has none.
    NoPorts,
}

impl Mismatch {
    /// In a word or two.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not IP",
            Self::Family => "family",
            Self::Protocol => "protocol",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Remote => "remote",
            Self::SourcePort => "source port",
            Self::DestinationPort => "destination port",
            Self::NoPorts => "no ports",
        }
    }
}

impl Decider {
    /// Decides as [`Decider::decide`] does, and tells how. Allocates.
    pub fn explain(&mut self, direction: Direction, view: &FrameView<'_>, now: u32) -> Trace {
        let flow = |decider: &mut Self| {
            let tuple = view.five_tuple?;
            decider.flows.as_mut()?.find(&tuple, now)
        };
        let remembered = flow(self).is_some() && !opened(direction, view).anew;
        let decision = self.decide(direction, view, now);
        let facts = Facts::new(view);
        let mut trace = Trace { direction, opened: None, remembered, never: None, steps: Vec::new(), decision };
        if let Decision::Pass(Pass::Never(reason)) = decision {
            trace.never = Some(reason);
            if reason != Excluded::Resolver {
                trace.remembered = false;
                return trace;
            }
        }
        let resolver = self.engine.exclude.find(&facts, view, &self.own) == Found::Resolver;
        let (by, facts) = match flow(self) {
            Some(flow) => {
                trace.opened = Some(flow.by);
                (flow.by, facts.with_tuple(&flow.opening()))
            }
            None => (direction, facts),
        };
        trace.remembered &= self.engine.semantics.scope == Scope::Flow;
        trace.steps = self.engine.steps(by, &facts, resolver);
        trace
    }
}

impl Engine {
    fn steps(&self, direction: Direction, facts: &Facts, resolver: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        for session in &self.sessions {
            let Some(model) = self.policy.sessions.get(session.place) else { continue };
            let filter = model.filter.and_then(|at| self.policy.filters.get(at));
            let mut step = Step {
                session: session.place,
                passed_over: Vec::new(),
                outcome: Outcome::NotEligible,
                sampled_out: false,
                ends: false,
            };
            if !resolver || session.resolver {
                step.outcome = match filter {
                    _ if resolver && self.semantics.service_beats_rules => Outcome::Service,
                    None => Outcome::NoFilter { takes: takes_bare(self.semantics.bare_rule, facts) },
                    Some(filter) => {
                        let (outcome, passed_over) = first_match(filter.rules(direction), direction, facts);
                        step.passed_over = passed_over;
                        outcome
                    }
                };
            }
            let takes = match step.outcome {
                Outcome::Rule { action: Action::Accept, .. } | Outcome::Service | Outcome::NoFilter { takes: true } => {
                    true
                }
                Outcome::NoRule | Outcome::NoFilter { takes: false } => {
                    step.ends = self.semantics.no_match != NoMatch::Next;
                    self.semantics.no_match == NoMatch::Mirror
                }
                Outcome::Rule { action: Action::Reject, .. } => {
                    step.ends = self.semantics.reject_ends == RejectEnds::All;
                    false
                }
                Outcome::Rule { action: Action::Next, .. } | Outcome::NotEligible => false,
            };
            step.sampled_out = takes && !session.sample.takes(facts.hash);
            step.ends |= takes;
            let ends = step.ends;
            steps.push(step);
            if ends {
                break;
            }
        }
        steps
    }
}

fn takes_bare(what: BareRule, facts: &Facts) -> bool {
    match (what, facts.ip) {
        (BareRule::Frames, _) => true,
        (BareRule::Ip, ip) => ip.is_some(),
        (BareRule::Ipv4, ip) => ip.is_some_and(|ip| ip.version == IpVersion::V4),
    }
}

fn first_match(rules: &[Rule], direction: Direction, facts: &Facts) -> (Outcome, Vec<PassedOver>) {
    let mut passed_over = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        match mismatch(rule, direction, facts) {
            None => return (Outcome::Rule { rule: at, number: rule.number, action: rule.action }, passed_over),
            Some(because) => passed_over.push(PassedOver { rule: at, number: rule.number, because }),
        }
    }
    (Outcome::NoRule, passed_over)
}

/// What of `rule` does not fit first; `None` where it matches.
fn mismatch(rule: &Rule, direction: Direction, facts: &Facts) -> Option<Mismatch> {
    if rule.frames {
        return None;
    }
    let Some(ip) = &facts.ip else { return Some(Mismatch::NotIp) };
    if rule.family.is_some_and(|family| family != ip.version) {
        return Some(Mismatch::Family);
    }
    if !rule.protocols.is_empty() && !rule.protocols.iter().any(|protocol| protocol.0 == ip.protocol) {
        return Some(Mismatch::Protocol);
    }
    let remote = if direction == Direction::Inbound { ip.source } else { ip.destination };
    for (nets, address, name) in [
        (&rule.source, ip.source, Mismatch::Source),
        (&rule.destination, ip.destination, Mismatch::Destination),
        (&rule.remote, remote, Mismatch::Remote),
    ] {
        let inside = nets.iter().any(|net| {
            let (value, mask) = value_of(net);
            version_of(net) == ip.version && address & mask == value
        });
        if !nets.is_empty() && !inside {
            return Some(name);
        }
    }
    let ports = |ranges: &[PortRange], port: u16| ranges.is_empty() || ranges.iter().any(|range| range.contains(port));
    match ip.ports {
        _ if rule.source_ports.is_empty() && rule.destination_ports.is_empty() => None,
        None => Some(Mismatch::NoPorts),
        Some((source, _)) if !ports(&rule.source_ports, source) => Some(Mismatch::SourcePort),
        Some((_, destination)) if !ports(&rule.destination_ports, destination) => Some(Mismatch::DestinationPort),
        Some(_) => None,
    }
}
