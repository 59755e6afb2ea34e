//! From what a file says to what it means: names looked up, defaults filled in, everything checked.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use super::document::Switch;
use super::document::{BudgetDocument, Document, SessionDocument, TargetDocument, VniDocument};
use super::model::{Budget, Member, MirrorTarget, Policy, Sample, Session, Source};
use super::never::NeverMirrored;
use super::problem::Findings;
use super::provider::{EqualNumbers, Order, Profile, Provider, Semantics};
use super::words::meant;
use crate::target::{ScopedAddress, wants_scope};
use vxtap_wire::vxlan::Vni;

mod filter;

/// The most sessions, sources, filters and targets, each.
pub(super) const MAX_OBJECTS: usize = 1024;
/// The most members of a target.
const MAX_MEMBERS: usize = 64;
/// The most that a member may weigh, so that sums stay small.
const MAX_WEIGHT: u32 = 1_000_000;

/// The policy that `document` means; of use only if nothing is found wrong.
pub(super) fn resolve(document: &Document, findings: &mut Findings) -> Policy {
    let provider = document.provider.unwrap_or_default();
    let profile = provider.profile();
    let semantics = semantics(document, profile.semantics, findings);
    for (key, len) in [
        ("source", document.sources.len()),
        ("filter", document.filters.len()),
        ("target", document.targets.len()),
        ("session", document.sessions.len()),
    ] {
        if len > MAX_OBJECTS {
            findings.add(key, format!("{len} are too many (expected at most {MAX_OBJECTS})"));
        }
    }
    let sources = names("source", document.sources.iter().map(|source| source.name.as_str()), findings);
    let filters = names("filter", document.filters.iter().map(|filter| filter.name.as_str()), findings);
    let targets = names("target", document.targets.iter().map(|target| target.name.as_str()), findings);
    names("session", document.sessions.iter().map(|session| session.name.as_str()), findings);
    if document.sessions.is_empty() && !findings.is_broken("session") {
        findings.add("", "there is no session, so nothing is mirrored (expected a [[session]])");
    }
    let mut resolver = Sessions { provider, profile: &profile, semantics, sources, filters, targets, findings };
    let mut sessions = resolver.all(&document.sessions);
    choose_vnis(&mut sessions);
    Policy {
        provider,
        semantics,
        never: never(document, provider),
        budget: budget(&document.budget, "budget", findings),
        max_cpu: document.budget.max_cpu.inspect(|percent| {
            if *percent <= 0.0 {
                findings.add("budget.max_cpu", "'max_cpu': expected percent of one CPU, more than 0");
            }
        }),
        sources: document.sources.iter().enumerate().map(|(at, source)| source_of(source, at, findings)).collect(),
        filters: document
            .filters
            .iter()
            .enumerate()
            .map(|(at, filter)| {
                filter::resolve(filter, &format!("filter[{at}]"), provider, &profile, semantics, findings)
            })
            .collect(),
        targets: document.targets.iter().enumerate().map(|(at, target)| target_of(target, at, findings)).collect(),
        sessions,
    }
}

fn semantics(document: &Document, base: Semantics, findings: &mut Findings) -> Semantics {
    let given = &document.semantics;
    for (key, value, most) in [("flow_timeout", given.flow_timeout, 86_400), ("flow_max", given.flow_max, 16_777_216)] {
        if value.is_some_and(|value| value == 0 || value > most) {
            findings.add(&format!("semantics.{key}"), format!("'{key}': expected 1 to {most}"));
        }
    }
    Semantics {
        no_match: given.no_match.unwrap_or(base.no_match),
        reject_ends: given.reject_ends.unwrap_or(base.reject_ends),
        scope: given.scope.unwrap_or(base.scope),
        bare_rule: given.bare_rule.unwrap_or(base.bare_rule),
        length_counts: given.length_counts.unwrap_or(base.length_counts),
        service_beats_rules: given.service_beats_rules.unwrap_or(base.service_beats_rules),
        flow_timeout: given.flow_timeout.unwrap_or(base.flow_timeout),
        flow_max: given.flow_max.unwrap_or(base.flow_max),
        ..base
    }
}

fn never(document: &Document, provider: Provider) -> NeverMirrored {
    let (given, base) = (&document.never, NeverMirrored::of(provider));
    let switched = |switch: &Option<Switch>, base: Vec<ipnet::IpNet>| match switch {
        None | Some(Switch::On(true)) => base,
        Some(Switch::On(false)) => Vec::new(),
        Some(Switch::Networks(networks)) => networks.clone(),
    };
    NeverMirrored {
        own: given.own.unwrap_or(base.own),
        arp: given.arp.unwrap_or(base.arp),
        dhcp: given.dhcp.unwrap_or(base.dhcp),
        metadata: switched(&given.metadata, base.metadata),
        ntp: switched(&given.ntp, base.ntp),
        activation: switched(&given.activation, base.activation),
        resolver: switched(&given.resolver, base.resolver),
        networks: given.networks.clone(),
    }
}

/// The place of each name; tells those that are there twice.
fn names<'d>(what: &str, all: impl Iterator<Item = &'d str>, findings: &mut Findings) -> HashMap<&'d str, usize> {
    let mut places = HashMap::new();
    for (at, name) in all.enumerate() {
        let path = format!("{what}[{at}].name");
        if findings.is_broken(&path) {
            continue;
        }
        if let Some(first) = places.get(name) {
            findings.add(&path, format!("there is a {what} '{name}' already (the {} one)", ordinal(first + 1)));
        } else {
            places.insert(name, at);
        }
    }
    places
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn source_of(source: &super::document::SourceDocument, at: usize, findings: &mut Findings) -> Source {
    let path = format!("source[{at}]");
    let lists = ["interfaces", "addresses", "subnets", "tags"];
    let nothing = source.interfaces.is_empty()
        && source.addresses.is_empty()
        && source.subnets.is_empty()
        && source.tags.is_empty();
    if nothing && !lists.iter().any(|key| findings.is_broken(&format!("{path}.{key}"))) {
        findings.add(&path, "a source that selects nothing (expected interfaces, addresses, subnets or tags)");
    }
    for (number, name) in source.interfaces.iter().enumerate() {
        // IFNAMSIZ is 16 with the zero at the end.
        let plain = name.strip_suffix('*').unwrap_or(name);
        let good = name.len() <= 15 && !plain.contains(|c: char| c == '/' || c == '*' || c.is_whitespace());
        if name.is_empty() || !good {
            findings.add(
                &format!("{path}.interfaces[{number}]"),
                format!("'{name}' is no name of an interface (expected at most 15 bytes; a '*' only at the end)"),
            );
        }
    }
    Source {
        name: source.name.clone(),
        interfaces: source.interfaces.clone(),
        addresses: source.addresses.clone(),
        subnets: source.subnets.clone(),
        tags: source.tags.clone(),
    }
}

fn target_of(target: &TargetDocument, at: usize, findings: &mut Findings) -> MirrorTarget {
    let path = format!("target[{at}]");
    let mut members = Vec::new();
    match (&target.address, target.members.as_slice()) {
        (Some(address), []) => {
            check_address(&format!("{path}.address"), address, findings);
            members.push(Member { address: address.clone(), port: target.port, weight: 1 });
        }
        (Some(_), _) => findings.add(&path, "a target has an 'address' or 'member's, not both"),
        (None, []) => {
            if !findings.is_broken(&format!("{path}.address")) && !findings.is_broken(&format!("{path}.member")) {
                findings.add(&path, "a target without a place to send to (expected 'address', or [[target.member]]s)");
            }
        }
        (None, all) => {
            if all.len() > MAX_MEMBERS {
                findings.add(&format!("{path}.member"), format!("expected at most {MAX_MEMBERS} members"));
            }
            for (number, member) in all.iter().enumerate() {
                let path = format!("{path}.member[{number}]");
                check_address(&format!("{path}.address"), &member.address, findings);
                let weight = member.weight.unwrap_or(1);
                if !(1..=MAX_WEIGHT).contains(&weight) {
                    findings.add(&format!("{path}.weight"), format!("'weight': expected 1 to {MAX_WEIGHT}"));
                }
                members.push(Member { address: member.address.clone(), port: member.port.or(target.port), weight });
            }
        }
    }
    MirrorTarget { name: target.name.clone(), members }
}

/// A name or an address, without a port.
fn check_address(path: &str, address: &str, findings: &mut Findings) {
    if findings.is_broken(path) {
        return;
    }
    if let Ok(ip) = address.parse::<IpAddr>() {
        if ip.is_unspecified() || ip == Ipv4Addr::BROADCAST {
            findings.add(path, format!("'{address}': nobody can be reached there (expected for example 10.0.0.5)"));
        } else if wants_scope(ip) {
            let message = format!("'{address}' is link-local: expected its interface as well, such as {address}%eth0");
            findings.add(path, message);
        }
        return;
    }
    if address.contains('%') {
        if let Err(message) = address.parse::<ScopedAddress>() {
            findings.add(path, message);
        }
        return;
    }
    // Names whose last label is a number are none (RFC 3696, section 2): it is an address with a slip in it.
    let last = address.rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    // A colon in something that is no IPv6 address is a port's.
    if let Some((host, port)) = address.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        findings.add(
            path,
            format!("'{address}': the port has a key of its own (expected address = \"{host}\", port = {port})"),
        );
    } else if is_number || address.is_empty() || address.contains(|c: char| c.is_whitespace() || "/:[]".contains(c)) {
        findings.add(
            path,
            format!("'{address}' is no name or address (expected for example collector.example or 10.0.0.5)"),
        );
    }
}

fn budget(budget: &BudgetDocument, path: &str, findings: &mut Findings) -> Budget {
    if budget.max_pps == Some(0) {
        findings
            .add(&format!("{path}.max_pps"), "'max_pps': expected more than 0 (enabled = false turns a session off)");
    }
    if budget.max_mbps.is_some_and(|mbps| mbps <= 0.0) {
        findings
            .add(&format!("{path}.max_mbps"), "'max_mbps': expected more than 0 (enabled = false turns a session off)");
    }
    Budget { max_pps: budget.max_pps, max_mbps: budget.max_mbps, shed: budget.shed.unwrap_or_default() }
}

/// Looks up what sessions name.
struct Sessions<'d, 'f> {
    provider: Provider,
    profile: &'d Profile,
    semantics: Semantics,
    sources: HashMap<&'d str, usize>,
    filters: HashMap<&'d str, usize>,
    targets: HashMap<&'d str, usize>,
    findings: &'f mut Findings,
}

impl Sessions<'_, '_> {
    /// All sessions in the order in which they are tried.
    fn all(&mut self, documents: &[SessionDocument]) -> Vec<Session> {
        let numbers = self.numbers(documents);
        let mut sessions: Vec<(usize, Session)> = documents
            .iter()
            .zip(&numbers)
            .enumerate()
            .map(|(at, (document, number))| (at, self.one(document, *number, &format!("session[{at}]"))))
            .collect();
        self.check_numbers(&sessions, &numbers);
        // Stable: equal numbers stay in the file's order.
        sessions.sort_by_key(|(_, session)| session.number);
        sessions.into_iter().map(|(_, session)| session).collect()
    }

    /// The number of each session, `None` where it goes by its place.
    fn numbers(&mut self, documents: &[SessionDocument]) -> Vec<Option<u32>> {
        let limits = &self.profile.limits;
        let any = documents.iter().any(|document| document.number.is_some());
        let mut numbers = Vec::with_capacity(documents.len());
        for (at, document) in documents.iter().enumerate() {
            let path = format!("session[{at}].number");
            let number = document.number.or(limits.default_session_number);
            match (self.semantics.session_order, number) {
                _ if self.findings.is_broken(&path) => {}
                (Order::Place, Some(_)) => self.findings.add(
                    &path,
                    format!("sessions of {} have no number: they are tried in the file's order", self.provider),
                ),
                (Order::Number, None) => self.findings.add(
                    &path,
                    format!(
                        "session '{}' has no number (expected {} to {}, or 'priority')",
                        document.name,
                        limits.session_numbers.start(),
                        limits.session_numbers.end()
                    ),
                ),
                (Order::NumberOrPlace, None) if any => self.findings.add(
                    &path,
                    format!(
                        "session '{}' has no number, but others have (expected one for all or for none)",
                        document.name
                    ),
                ),
                (_, Some(number)) if !limits.session_numbers.contains(&number) => self.findings.add(
                    &path,
                    format!(
                        "session number {number} is out of range for {} (expected {} to {})",
                        self.provider,
                        limits.session_numbers.start(),
                        limits.session_numbers.end()
                    ),
                ),
                _ => {}
            }
            numbers.push(number);
        }
        numbers
    }

    /// Tells sessions that have one number where they must not.
    fn check_numbers(&mut self, sessions: &[(usize, Session)], numbers: &[Option<u32>]) {
        let mut seen: HashMap<(u32, Option<usize>), usize> = HashMap::new();
        for ((at, session), number) in sessions.iter().zip(numbers) {
            let Some(number) = *number else { continue };
            let places: Vec<Option<usize>> = match self.semantics.equal_numbers {
                EqualNumbers::ByPlace => continue,
                EqualNumbers::RefusedEverywhere => vec![None],
                EqualNumbers::Refused => session.sources.iter().copied().map(Some).collect(),
            };
            let twin = places.iter().find_map(|place| seen.get(&(number, *place)).copied());
            for place in places {
                seen.entry((number, place)).or_insert(*at);
            }
            if let Some((_, twin)) = twin.and_then(|twin| sessions.get(twin)) {
                self.findings.add(
                    &format!("session[{at}].number"),
                    format!(
                        "session '{}' has number {number}, and so has '{}'{} (expected different ones)",
                        session.name,
                        twin.name,
                        if self.semantics.equal_numbers == EqualNumbers::Refused {
                            " with the same source"
                        } else {
                            ""
                        }
                    ),
                );
            }
        }
    }

    fn one(&mut self, document: &SessionDocument, number: Option<u32>, path: &str) -> Session {
        let place = path.trim_start_matches("session[").trim_end_matches(']').parse().unwrap_or(0_u32);
        Session {
            name: document.name.clone(),
            number: number.unwrap_or(place + 1),
            sources: self.sources_of(document, path),
            filter: self.filter_of(document, path),
            target: look_up("target", &document.target, &self.targets, &format!("{path}.target"), self.findings)
                .unwrap_or(0),
            vni: self.vni(document, path).unwrap_or_default(),
            vni_chosen: match document.vni {
                Some(VniDocument::Auto) => true,
                Some(VniDocument::Is(_)) => false,
                None => self.profile.limits.default_vni.is_none(),
            },
            length: self.length(document, path),
            enabled: document.enabled.unwrap_or(self.profile.limits.enabled),
            sample: document.sample.map_or(Sample::ALL, |share| {
                Sample::new(share).unwrap_or_else(|| {
                    let message = format!("'sample': {share} is no share of flows (expected more than 0, at most 1)");
                    self.findings.add(&format!("{path}.sample"), message);
                    Sample::ALL
                })
            }),
            encapsulation: document.encapsulation.unwrap_or_default(),
            budget: budget(&document.budget, path, self.findings),
        }
    }

    fn sources_of(&mut self, document: &SessionDocument, path: &str) -> Vec<usize> {
        let whole = format!("{path}.source");
        if document.source.is_empty() && !self.findings.is_broken(&whole) {
            let message = format!("session '{}' has no source (expected the name of a [[source]])", document.name);
            self.findings.add(&whole, message);
        }
        let mut sources = Vec::new();
        for (at, name) in document.source.iter().enumerate() {
            let place = format!("{path}.source[{at}]");
            if let Some(source) = look_up("source", name, &self.sources, &place, self.findings)
                && !sources.contains(&source)
            {
                sources.push(source);
            }
        }
        sources
    }

    fn filter_of(&mut self, document: &SessionDocument, path: &str) -> Option<usize> {
        let path = format!("{path}.filter");
        match &document.filter {
            Some(_) if !self.profile.limits.filters => {
                self.findings
                    .add(&path, format!("{} has no filters: a session mirrors all of its source", self.provider));
                None
            }
            Some(name) => look_up("filter", name, &self.filters, &path, self.findings),
            None => {
                if self.profile.limits.filter_required && !self.findings.is_broken(&path) {
                    let message =
                        format!("session '{}' has no filter, and {} requires one", document.name, self.provider);
                    self.findings.add(&path, message);
                }
                None
            }
        }
    }

    fn vni(&mut self, document: &SessionDocument, path: &str) -> Option<Vni> {
        let path = format!("{path}.vni");
        match document.vni {
            Some(VniDocument::Is(number)) => {
                let vni = Vni::new(number);
                if vni.is_none() {
                    let message = format!("VNI {number} has more than 24 bits (expected 0 to {})", Vni::MAX);
                    self.findings.add(&path, message);
                }
                vni
            }
            None if self.profile.limits.vni_required && !self.findings.is_broken(&path) => {
                let message = format!("session '{}' has no 'vni', and {} requires one", document.name, self.provider);
                self.findings.add(&path, message);
                None
            }
            None => self.profile.limits.default_vni.and_then(Vni::new),
            Some(VniDocument::Auto) => None,
        }
    }

    fn length(&mut self, document: &SessionDocument, path: &str) -> Option<u32> {
        let lengths = &self.profile.limits.lengths;
        if let Some(length) = document.length
            && !lengths.contains(&length)
        {
            self.findings.add(
                &format!("{path}.length"),
                format!(
                    "packet length {length} is out of bounds for {} (expected {} to {})",
                    self.provider,
                    lengths.start(),
                    lengths.end()
                ),
            );
        }
        document.length.or(self.profile.limits.default_length)
    }
}

/// The place of the object called `name`.
fn look_up(
    what: &str,
    name: &str,
    places: &HashMap<&str, usize>,
    path: &str,
    findings: &mut Findings,
) -> Option<usize> {
    if findings.is_broken(path) {
        return None;
    }
    let place = places.get(name).copied();
    if place.is_none() {
        let mut known: Vec<&str> = places.keys().copied().collect();
        known.sort_unstable();
        // A long list helps nobody.
        known.truncate(8);
        findings.add(path, format!("there is no {what} '{name}'{}", meant(name, &known)));
    }
    place
}

/// Gives every session that leaves its VNI open one that no other has. It depends on the session's name alone as long as no
/// other is in its way, so that it stays the same when the file changes elsewhere.
fn choose_vnis(sessions: &mut [Session]) {
    let mut used: HashSet<u32> =
        sessions.iter().filter(|session| !session.vni_chosen).map(|session| session.vni.get()).collect();
    for session in sessions.iter_mut().filter(|session| session.vni_chosen) {
        // FNV-1a, of which the high bits are folded onto the low ones. 0 is left out: it looks like a mistake.
        let hash =
            session.name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let mut vni = ((hash >> 24) ^ hash) & Vni::MAX;
        while vni == 0 || !used.insert(vni) {
            vni = (vni + 1) & Vni::MAX;
        }
        session.vni = Vni::new(vni).unwrap_or_default();
    }
}
