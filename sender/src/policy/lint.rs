//! What should be looked at in a policy that is right: quotas of the provider, rules and sessions that nothing reaches,
//! identifiers that two share.

use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;
use vxtap_wire::IpVersion;

use super::engine::{Engine, OwnTraffic};
use super::file::PolicyFile;
use super::model::{Action, Direction, Filter, PortRange, Rule, Session};
use super::prefilter::{MAX_INSTRUCTIONS, PrefilterSettings};
use super::problem::Problem;
use super::provider::{Order, RejectEnds, Scope};

mod quotas;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Probably not what is meant, or not what the provider would take.
    Warning,
}

/// Something that should be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is.
    #[serde(flatten)]
    pub problem: Problem,
}

impl PolicyFile {
    /// What should be looked at, in the file's order.
    pub fn lint(&self) -> Vec<Finding> {
        let mut lint = Lint { file: self, findings: Vec::new(), compared: 0 };
        lint.quotas();
        lint.unused();
        lint.vnis();
        for at in 0..self.policy.filters.len() {
            lint.shadowed_rules(at);
        }
        lint.sessions();
        lint.kernel();
        if lint.compared > MAX_COMPARED {
            lint.note(
                "",
                "there are too many rules to compare each with each: some that nothing reaches may not be told".into(),
            );
        }
        let mut findings = lint.findings;
        findings.sort_by_key(|finding| finding.problem.place.as_ref().map(|place| (place.line, place.column)));
        findings
    }
}

/// How many pairs of rules are compared at most.
const MAX_COMPARED: usize = 20_000_000;

struct Lint<'f> {
    file: &'f PolicyFile,
    findings: Vec<Finding>,
    /// Pairs of rules that were compared.
    compared: usize,
}

impl<'f> Lint<'f> {
    fn say(&mut self, severity: Severity, path: &str, message: String) {
        self.findings.push(Finding { severity, problem: self.file.problem(path, message) });
    }

    fn warn(&mut self, path: &str, message: String) {
        self.say(Severity::Warning, path, message);
    }

    fn note(&mut self, path: &str, message: String) {
        self.say(Severity::Note, path, message);
    }

    /// The path of the session that is the `at`th in the policy.
    fn session_path(&self, at: usize) -> String {
        format!("session[{}]", self.file.session_place(at))
    }

    /// The path of the rule that is the `at`th of its list in the policy, which may be in another place of the file.
    fn rule_path(&self, filter: usize, direction: Direction, at: usize) -> String {
        let list = format!("filter[{filter}].{direction}");
        let policy = &self.file.policy;
        let number =
            policy.filters.get(filter).and_then(|filter| filter.rules(direction).get(at)).map(|rule| rule.number);
        let documents = self.file.document.filters.get(filter).map(|filter| match direction {
            Direction::Inbound => &filter.inbound,
            Direction::Outbound => &filter.outbound,
        });
        let place = documents
            .filter(|_| policy.semantics.rule_order != Order::Place)
            .and_then(|documents| documents.iter().position(|document| number.is_some() && document.number == number));
        format!("{list}[{}]", place.unwrap_or(at))
    }

    fn filter_of(&self, session: &Session) -> Option<&'f Filter> {
        session.filter.and_then(|at| self.file.policy.filters.get(at))
    }

    fn unused(&mut self) {
        let policy = &self.file.policy;
        for (at, source) in policy.sources.iter().enumerate() {
            if !policy.sessions.iter().any(|session| session.sources.contains(&at)) {
                self.warn(&format!("source[{at}]"), format!("no session has source '{}'", source.name));
            }
        }
        for (at, filter) in policy.filters.iter().enumerate() {
            if !policy.sessions.iter().any(|session| session.filter == Some(at)) {
                self.warn(&format!("filter[{at}]"), format!("no session has filter '{}'", filter.name));
            }
        }
        for (at, target) in policy.targets.iter().enumerate() {
            if !policy.sessions.iter().any(|session| session.target == at) {
                self.warn(&format!("target[{at}]"), format!("no session has target '{}'", target.name));
            }
        }
        if !policy.never.own {
            self.warn("never.own", "our own tunnels may be mirrored, each copy once more: a loop".to_owned());
        }
    }

    /// VNIs that several sessions share: a collector that goes by the VNI takes them for one network.
    fn vnis(&mut self) {
        let sessions = &self.file.policy.sessions;
        for (at, session) in sessions.iter().enumerate() {
            if let Some(twin) = sessions.iter().take(at).find(|twin| twin.vni == session.vni) {
                let path = format!("{}.vni", self.session_path(at));
                let provider = self.file.policy.provider;
                let said =
                    self.file.document.sessions.get(self.file.session_place(at)).is_some_and(|one| one.vni.is_some());
                let default = if said { String::new() } else { format!(", the default of {provider}") };
                let message =
                    format!("sessions '{}' and '{}' both have VNI {}{default}", twin.name, session.name, session.vni);
                self.warn(&path, message);
            }
        }
    }

    /// Sources whose packets all come out of the kernel, because their sessions are too long for a program.
    fn kernel(&mut self) {
        let policy = Arc::new(self.file.policy.clone());
        for (at, source) in policy.sources.iter().enumerate() {
            let Ok(engine) = Engine::of(&policy, &source.name, |one| one.name == source.name) else { continue };
            if engine.prefilter(&OwnTraffic::default(), PrefilterSettings::default()).too_long {
                let message = format!(
                    "the rules for source '{}' are more than a program for the kernel holds ({MAX_INSTRUCTIONS} instructions): all its \
                     packets are copied out of the kernel",
                    source.name
                );
                self.note(&format!("source[{at}]"), message);
            }
        }
    }

    /// Rules that no packet reaches, because one before them matches all that they match.
    fn shadowed_rules(&mut self, filter: usize) {
        let Some(rules_of) = self.file.policy.filters.get(filter) else { return };
        for direction in Direction::BOTH {
            let rules = rules_of.rules(direction);
            for (at, rule) in rules.iter().enumerate() {
                self.compared = self.compared.saturating_add(at);
                if self.compared > MAX_COMPARED {
                    return;
                }
                let Some(before) = rules.iter().take(at).find(|before| covers(before, rule)) else { continue };
                let message = format!(
                    "no packet reaches {direction} rule {}: rule {} before it matches all that it matches{}",
                    rule.number,
                    before.number,
                    if before.action == rule.action { "" } else { ", with another action" }
                );
                let path = self.rule_path(filter, direction, at);
                self.warn(&path, message);
            }
        }
    }

    fn sessions(&mut self) {
        let policy = &self.file.policy;
        for (at, session) in policy.sessions.iter().enumerate() {
            let path = self.session_path(at);
            if !session.enabled {
                self.note(&path, format!("session '{}' is off (enabled = true turns it on)", session.name));
            }
            if session.length.is_some_and(|length| length < 96) {
                self.note(
                    &format!("{path}.length"),
                    format!(
                        "session '{}' cuts packets to {} bytes, which may be less than their headers",
                        session.name,
                        session.length.unwrap_or(0)
                    ),
                );
            }
            let before: Vec<&Session> = policy
                .sessions
                .iter()
                .take(at)
                .filter(|before| before.enabled && session.sources.iter().all(|source| before.sources.contains(source)))
                .collect();
            if let Some(all) = before.iter().find(|before| self.takes_everything(before)) {
                let message = format!(
                    "no packet reaches session '{}': session '{}' before it takes, or ends the search for, all packets of its source",
                    session.name, all.name
                );
                self.warn(&path, message);
                continue;
            }
            let Some(filter) = session.filter else { continue };
            self.rules_taken_before(filter, session, &before);
        }
        for (at, filter) in policy.filters.iter().enumerate() {
            let empty: Vec<Direction> =
                Direction::BOTH.into_iter().filter(|direction| filter.rules(*direction).is_empty()).collect();
            match empty[..] {
                [] => {}
                [direction] => {
                    let flows = if policy.semantics.scope == Scope::Flow { " that begin so" } else { "" };
                    self.note(
                        &format!("filter[{at}]"),
                        format!(
                            "filter '{}' has no {direction} rules: no {direction} packets{flows} match",
                            filter.name
                        ),
                    );
                }
                _ => self.warn(&format!("filter[{at}]"), format!("filter '{}' has no rules", filter.name)),
            }
        }
    }

    /// Whether nothing is left behind a session for the ones after it.
    fn takes_everything(&self, session: &Session) -> bool {
        let semantics = &self.file.policy.semantics;
        let Some(filter) = self.filter_of(session) else { return true };
        Direction::BOTH.into_iter().all(|direction| {
            filter.rules(direction).first().is_some_and(|rule| {
                let bare = rule.protocols.is_empty()
                    && rule.source.is_empty()
                    && rule.destination.is_empty()
                    && rule.remote.is_empty()
                    && rule.family.is_none();
                let ends = match rule.action {
                    Action::Accept => true,
                    Action::Reject => semantics.reject_ends == RejectEnds::All,
                    Action::Next => false,
                };
                bare && ends
            })
        })
    }

    /// Accepting rules of a session whose packets all go to a session before it.
    fn rules_taken_before(&mut self, filter: usize, session: &Session, before: &[&Session]) {
        let Some(own) = self.file.policy.filters.get(filter) else { return };
        for direction in Direction::BOTH {
            for (at, rule) in own.rules(direction).iter().enumerate().filter(|(_, rule)| rule.action == Action::Accept)
            {
                let against = before.iter().filter_map(|before| self.filter_of(before));
                let pairs: usize = against.map(|filter| filter.rules(direction).len()).sum();
                self.compared = self.compared.saturating_add(pairs);
                if self.compared > MAX_COMPARED {
                    return;
                }
                let taker = before.iter().find_map(|before| {
                    let rules = self.filter_of(before)?.rules(direction);
                    let place = rules.iter().position(|taker| covers(taker, rule))?;
                    let taker = rules.get(place)?;
                    // Nothing before it may let packets of the rule pass by.
                    let certain = rules.iter().take(place).all(|other| other.action == Action::Accept);
                    (taker.action == Action::Accept && certain).then_some((*before, taker.number))
                });
                if let Some((taker, number)) = taker {
                    let message = format!(
                        "sessions overlap: all that {direction} rule {} of '{}' accepts goes to session '{}' before it (rule {number})",
                        rule.number, session.name, taker.name
                    );
                    let path = self.rule_path(filter, direction, at);
                    self.warn(&path, message);
                }
            }
        }
    }
}

/// Whether `one` matches every packet that `other` matches. Says no where it cannot tell.
fn covers(one: &Rule, other: &Rule) -> bool {
    if one.frames {
        return true;
    }
    let family = |rule: &Rule| {
        let of = |nets: &[IpNet]| {
            let v4 = nets.iter().filter(|net| matches!(net, IpNet::V4(_))).count();
            match (v4, nets.len()) {
                (_, 0) => None,
                (0, _) => Some(IpVersion::V6),
                (v4, all) if v4 == all => Some(IpVersion::V4),
                _ => None,
            }
        };
        rule.family.or(of(&rule.source)).or(of(&rule.destination)).or(of(&rule.remote))
    };
    // A network covers its family alone.
    let same_family = family(one).is_none_or(|wanted| family(other) == Some(wanted));
    let protocols = one.protocols.is_empty()
        || (!other.protocols.is_empty() && other.protocols.iter().all(|protocol| one.protocols.contains(protocol)));
    !other.frames
        && same_family
        && protocols
        && nets_cover(&one.source, &other.source, family(other))
        && nets_cover(&one.destination, &other.destination, family(other))
        && nets_cover(&one.remote, &other.remote, family(other))
        && ports_cover(&one.source_ports, &other.source_ports)
        && ports_cover(&one.destination_ports, &other.destination_ports)
}

fn nets_cover(one: &[IpNet], other: &[IpNet], family: Option<IpVersion>) -> bool {
    if one.is_empty() {
        return true;
    }
    if other.is_empty() {
        // Only a network of all addresses covers any, and only in its family.
        let all = |version| {
            one.iter().any(|net| net.prefix_len() == 0 && (version == IpVersion::V4) == matches!(net, IpNet::V4(_)))
        };
        return match family {
            Some(version) => all(version),
            None => all(IpVersion::V4) && all(IpVersion::V6),
        };
    }
    other.iter().all(|net| one.iter().any(|wider| wider.contains(net)))
}

fn ports_cover(one: &[PortRange], other: &[PortRange]) -> bool {
    one.is_empty()
        || (!other.is_empty()
            && other
                .iter()
                .all(|range| one.iter().any(|wider| wider.first() <= range.first() && range.last() <= wider.last())))
}

#[cfg(test)]
mod tests;
