//! Filters and their rules.

use std::collections::HashMap;

use ipnet::IpNet;
use vxtap_wire::IpVersion;

use crate::policy::document::{FilterDocument, RuleDocument};
use crate::policy::model::{Action, Direction, Filter, Rule};
use crate::policy::problem::Findings;
use crate::policy::provider::{BareRule, Order, Profile, Provider, Semantics, Sides};

/// The most rules of a filter in one direction.
const MAX_RULES: usize = 4096;
/// The most addresses, protocols or port ranges in one list of a rule.
const MAX_LIST: usize = 1024;

pub(super) fn resolve(
    document: &FilterDocument,
    path: &str,
    provider: Provider,
    profile: &Profile,
    semantics: Semantics,
    findings: &mut Findings,
) -> Filter {
    if !document.services.is_empty() && !matches!(provider, Provider::Aws | Provider::Vxtap) {
        findings.add(&format!("{path}.services"), format!("{provider} has no network services"));
    }
    let mut rules = Rules { provider, profile, semantics, findings };
    Filter {
        name: document.name.clone(),
        services: document.services.clone(),
        inbound: rules.all(&document.inbound, Direction::Inbound, path),
        outbound: rules.all(&document.outbound, Direction::Outbound, path),
    }
}

struct Rules<'p, 'f> {
    provider: Provider,
    profile: &'p Profile,
    semantics: Semantics,
    findings: &'f mut Findings,
}

impl Rules<'_, '_> {
    /// The rules in the order in which they are tried.
    fn all(&mut self, documents: &[RuleDocument], direction: Direction, path: &str) -> Vec<Rule> {
        let list = format!("{path}.{direction}");
        if documents.len() > MAX_RULES {
            let message = format!("{} rules are too many (expected at most {MAX_RULES})", documents.len());
            self.findings.add(&list, message);
        }
        let limits = &self.profile.limits;
        let any = documents.iter().any(|document| document.number.is_some());
        let mut seen: HashMap<u32, usize> = HashMap::new();
        let mut rules = Vec::with_capacity(documents.len());
        for (at, document) in documents.iter().enumerate() {
            let path = format!("{list}[{at}]");
            let place = format!("{path}.number");
            let numbers = || format!("{} to {}", limits.rule_numbers.start(), limits.rule_numbers.end());
            match (self.semantics.rule_order, document.number) {
                _ if self.findings.is_broken(&place) => {}
                (Order::Place, Some(_)) => self.findings.add(
                    &place,
                    format!("rules of {} have no number: they are tried in the file's order", self.provider),
                ),
                (Order::Number, None) => self
                    .findings
                    .add(&place, format!("a rule without a number (expected {}, or 'priority')", numbers())),
                (Order::NumberOrPlace, None) if any => {
                    self.findings
                        .add(&place, "a rule without a number, but others have one (expected one for all or for none)");
                }
                (_, Some(number)) if !limits.rule_numbers.contains(&number) => self.findings.add(
                    &place,
                    format!("rule number {number} is out of range for {} (expected {})", self.provider, numbers()),
                ),
                (_, Some(number)) => {
                    if let Some(twin) = seen.insert(number, at) {
                        let message = format!(
                            "two {direction} rules have number {number}, the {} and this one (expected different ones)",
                            super::ordinal(twin + 1)
                        );
                        self.findings.add(&place, message);
                    }
                }
                (_, None) => {}
            }
            rules.push(self.one(document, document.number.unwrap_or(at as u32 + 1), &path));
        }
        if self.semantics.rule_order != Order::Place {
            rules.sort_by_key(|rule| rule.number);
        }
        rules
    }

    fn one(&mut self, document: &RuleDocument, number: u32, path: &str) -> Rule {
        self.sides(document, path);
        let family = self.family(document, path);
        self.ports(document, path);
        for (key, len) in [
            ("protocol", document.protocol.len()),
            ("source", document.source.len()),
            ("destination", document.destination.len()),
            ("remote", document.remote.len()),
            ("source_ports", document.source_ports.0.len()),
            ("destination_ports", document.destination_ports.0.len()),
        ] {
            if len > MAX_LIST {
                self.findings.add(&format!("{path}.{key}"), format!("'{key}': expected at most {MAX_LIST}"));
            }
        }
        let addressed = !document.source.is_empty() || !document.destination.is_empty() || !document.remote.is_empty();
        let bare = !addressed && document.family.is_none();
        Rule {
            number,
            action: self.action(document, path),
            family: if bare && self.semantics.bare_rule == BareRule::Ipv4 { Some(IpVersion::V4) } else { family },
            frames: bare && document.protocol.is_empty() && self.semantics.bare_rule == BareRule::Frames,
            protocols: document.protocol.clone(),
            source: document.source.clone(),
            destination: document.destination.clone(),
            remote: document.remote.clone(),
            source_ports: document.source_ports.0.clone(),
            destination_ports: document.destination_ports.0.clone(),
        }
    }

    fn action(&mut self, document: &RuleDocument, path: &str) -> Action {
        let limits = &self.profile.limits;
        let path = format!("{path}.action");
        let allowed = |action: Action| match action {
            Action::Accept => true,
            Action::Reject => limits.reject,
            Action::Next => limits.next,
        };
        match document.action {
            Some(action) if !allowed(action) => {
                let word = if action == Action::Reject { "reject" } else { "next" };
                let known = if limits.reject { "accept or reject" } else { "accept alone" };
                self.findings
                    .add(&path, format!("{} has no rules that say '{word}' (expected {known})", self.provider));
                action
            }
            Some(action) => action,
            None => {
                // Where rules can only accept, there is nothing to say.
                if limits.reject && !self.findings.is_broken(&path) {
                    let known = if limits.next { "accept, reject or next" } else { "accept or reject" };
                    self.findings.add(&path, format!("a rule without an 'action' (expected {known})"));
                }
                Action::Accept
            }
        }
    }

    /// Whether the rule looks at addresses as the provider's rules do.
    fn sides(&mut self, document: &RuleDocument, path: &str) {
        let wrong: &[(&str, bool)] = match self.semantics.sides {
            Sides::Any => &[],
            Sides::Both => &[("remote", document.remote.is_empty())],
            Sides::Remote => {
                &[("source", document.source.is_empty()), ("destination", document.destination.is_empty())]
            }
        };
        for (key, absent) in wrong {
            if !absent {
                let known = if self.semantics.sides == Sides::Both { "'source' and 'destination'" } else { "'remote'" };
                self.findings.add(
                    &format!("{path}.{key}"),
                    format!("rules of {} have no '{key}' (expected {known})", self.provider),
                );
            }
        }
    }

    /// The family that the rule's addresses and protocols leave; tells what contradicts.
    fn family(&mut self, document: &RuleDocument, path: &str) -> Option<IpVersion> {
        let of = |net: &IpNet| if matches!(net, IpNet::V4(_)) { IpVersion::V4 } else { IpVersion::V6 };
        let mut family = document.family;
        let mut said_by = "family";
        for (key, nets) in
            [("source", &document.source), ("destination", &document.destination), ("remote", &document.remote)]
        {
            let mut families = nets.iter().map(of);
            let Some(first) = families.next() else { continue };
            if let Some(known) = document.family
                && let Some(at) = nets.iter().position(|net| of(net) != known)
            {
                let list = format!("{path}.{key}");
                let message = format!(
                    "'{key}': {} is no network of {}, which the rule's 'family' says",
                    nets.get(at).map(ToString::to_string).unwrap_or_default(),
                    named(known)
                );
                self.findings.add(&format!("{list}[{at}]"), message);
                continue;
            }
            // Of a list of both families, either may match.
            if families.any(|other| other != first) {
                continue;
            }
            match family {
                None => (family, said_by) = (Some(first), key),
                Some(known) if known != first => {
                    let message = format!(
                        "'{key}' is {}, but '{said_by}' is {}: no packet has both (expected one family)",
                        named(first),
                        named(known)
                    );
                    self.findings.add(&format!("{path}.{key}"), message);
                }
                Some(_) => {}
            }
        }
        for (at, protocol) in document.protocol.iter().enumerate() {
            let Some(only) = protocol.only_version() else { continue };
            if document.protocol.len() == 1 && family.is_some_and(|family| family != only) {
                let message = format!(
                    "'protocol': {protocol} is of {}, but '{said_by}' is {} (expected {})",
                    named(only),
                    family.map(named).unwrap_or_default(),
                    if only == IpVersion::V4 { "icmpv6" } else { "icmp" }
                );
                let place = if self.has(path, "protocol", at) {
                    format!("{path}.protocol[{at}]")
                } else {
                    format!("{path}.protocol")
                };
                self.findings.add(&place, message);
            }
        }
        family
    }

    fn has(&self, path: &str, key: &str, at: usize) -> bool {
        self.findings.places.has(&format!("{path}.{key}[{at}]"))
    }

    /// Ports are of protocols that have some.
    fn ports(&mut self, document: &RuleDocument, path: &str) {
        for (key, ports) in
            [("source_ports", &document.source_ports), ("destination_ports", &document.destination_ports)]
        {
            if ports.0.is_empty() {
                continue;
            }
            let place = format!("{path}.{key}");
            if !self.profile.limits.ports {
                self.findings.add(&place, format!("rules of {} have no ports", self.provider));
            } else if document.protocol.is_empty() {
                if !self.findings.is_broken(&format!("{path}.protocol")) {
                    self.findings.add(
                        &place,
                        format!("'{key}' without a 'protocol' that has ports (expected tcp, udp, sctp or udplite)"),
                    );
                }
            } else if let Some(without) = document.protocol.iter().find(|protocol| !protocol.has_ports()) {
                self.findings
                    .add(&place, format!("'{key}': {without} has no ports (expected tcp, udp, sctp or udplite)"));
            }
        }
    }
}

fn named(family: IpVersion) -> &'static str {
    match family {
        IpVersion::V4 => "IPv4",
        IpVersion::V6 => "IPv6",
    }
}
