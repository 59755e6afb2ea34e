//! One policy of all that was found: names given, references resolved, identifiers answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use vxtap_wire::IpVersion;

use super::super::{
    Direction, Document, FilterDocument, Provider, RuleDocument, SessionDocument, SourceDocument, TargetDocument,
    VniDocument,
};
use super::document::Place;
use super::findings::{Findings, FoundFilter, FoundSession, FoundSource, FoundTarget, SourceKind, in_network};
use super::{Answers, Cloud, ImportError, Remarks};

/// The longest name of anything in a policy, in bytes.
const LONGEST_NAME: usize = 128;
/// The longest name of an interface: IFNAMSIZ is 16 with the zero at the end.
const LONGEST_INTERFACE: usize = 15;

pub(super) fn document(
    cloud: Cloud,
    mut findings: Findings,
    answers: &Answers,
    remarks: &mut Remarks,
) -> Result<Document, ImportError> {
    let provider = findings.provider.as_ref().map_or_else(|| default_provider(cloud), |(provider, _)| *provider);
    put_rules_into_filters(&mut findings)?;
    let filters = once(findings.filters, "a filter", |filter| filter.id.clone(), same_filter, |filter| &filter.place)?;
    let targets = once(findings.targets, "a target", |target| target.id.clone(), same_target, |target| &target.place)?;
    let sessions =
        once(findings.sessions, "a session", |session| session.id.clone(), same_session, |session| &session.place)?;
    let mut assembly = Assembly {
        answers,
        whereabouts: findings.whereabouts,
        asked: BTreeSet::new(),
        remarks,
        document: Document { provider: Some(provider), ..Document::default() },
        sources: BTreeMap::new(),
        source_names: Names::default(),
        default_lengths: BTreeMap::new(),
    };
    let mut filter_names = Names::default();
    for filter in filters {
        assembly.filter(filter, &mut filter_names);
    }
    let mut target_names = Names::default();
    for target in targets {
        assembly.target(target, &mut target_names)?;
    }
    let mut session_names = Names::default();
    for session in sessions {
        assembly.session(session, &mut session_names, &mut filter_names, &mut target_names)?;
    }
    assembly.every_answer_was_asked_for()?;
    Ok(assembly.document)
}

const fn default_provider(cloud: Cloud) -> Provider {
    match cloud {
        Cloud::Aws => Provider::Aws,
        Cloud::Gcp => Provider::Gcp,
        Cloud::Huawei => Provider::Huawei,
        Cloud::Naver => Provider::Naver,
        Cloud::Alibaba => Provider::Alibaba,
        Cloud::Oci => Provider::Oci,
    }
}

/// Puts rules that came apart into their filter.
fn put_rules_into_filters(findings: &mut Findings) -> Result<(), ImportError> {
    for found in std::mem::take(&mut findings.rules) {
        let id = Some(&found.filter);
        let known = |filter: &FoundFilter| filter.id.as_ref() == id || filter.name.as_ref() == id;
        let position = findings.filters.iter().position(known).unwrap_or_else(|| {
            let mut filter = FoundFilter::new(found.place.clone());
            filter.id = Some(found.filter.clone());
            findings.filters.push(filter);
            findings.filters.len() - 1
        });
        let filter = &mut findings.filters[position];
        let other = filter.place.clone();
        let rules = filter.rules(found.direction);
        // A filter's description has its rules in it, which a list of rules tells again.
        match rules.iter().find(|rule| rule.number.is_some() && rule.number == found.rule.number) {
            None => rules.push(found.rule),
            Some(known) if *known == found.rule => {}
            Some(known) => {
                let what = format!("rule {} for {} packets", known.number.unwrap_or_default(), found.direction);
                return Err(ImportError::Contradiction { place: found.place, what, other });
            }
        }
    }
    Ok(())
}

/// Things that are described twice, once.
fn once<T>(
    found: Vec<T>,
    what: &str,
    id: impl Fn(&T) -> Option<String>,
    same: impl Fn(&T, &T) -> bool,
    place: impl Fn(&T) -> &Place,
) -> Result<Vec<T>, ImportError> {
    let mut kept: Vec<T> = Vec::with_capacity(found.len());
    for thing in found {
        let name = id(&thing);
        match kept.iter().find(|known| name.is_some() && id(known) == name) {
            None => kept.push(thing),
            Some(known) if same(known, &thing) => {}
            Some(known) => {
                return Err(ImportError::Contradiction {
                    place: place(&thing).clone(),
                    what: format!("{what} {}", name.unwrap_or_default().escape_debug()),
                    other: place(known).clone(),
                });
            }
        }
    }
    Ok(kept)
}

fn same_filter(one: &FoundFilter, other: &FoundFilter) -> bool {
    let said = |filter: &FoundFilter| {
        let FoundFilter { id: _, name, description, services, inbound, outbound, is_addition: _, place: _ } = filter;
        (name.clone(), description.clone(), services.clone(), inbound.clone(), outbound.clone())
    };
    said(one) == said(other)
}

fn same_target(one: &FoundTarget, other: &FoundTarget) -> bool {
    one.endpoint == other.endpoint && one.name == other.name
}

fn same_session(one: &FoundSession, other: &FoundSession) -> bool {
    let said = |session: &FoundSession| {
        let sources: Vec<String> = session.sources.iter().map(|source| source.id.clone()).collect();
        let numbers = (session.number, session.vni, session.length, session.enabled);
        (session.name.clone(), sources, session.filter.clone(), session.target.clone(), numbers)
    };
    said(one) == said(other)
}

/// Names that were given, and what refers to them.
#[derive(Default)]
struct Names {
    taken: BTreeSet<String>,
    by_reference: BTreeMap<String, String>,
}

impl Names {
    /// A name for something: its own where it has one that nobody has, or else its identifier, or else its own with a number.
    fn give(&mut self, name: Option<&str>, id: Option<&str>, kind: &str) -> String {
        let wanted: Vec<String> =
            [name, id].into_iter().flatten().map(printable).filter(|name| !name.is_empty()).collect();
        let free = wanted.iter().find(|name| !self.taken.contains(*name)).cloned();
        let given = free.unwrap_or_else(|| {
            let base = wanted.first().map_or(kind, String::as_str);
            let base = cut(base, LONGEST_NAME - 10);
            let numbered = (2..).map(|number| format!("{base}-{number}"));
            // The numbers do not end before names do.
            numbered.into_iter().find(|name| !self.taken.contains(name)).unwrap_or_default()
        });
        self.taken.insert(given.clone());
        for reference in [id, name].into_iter().flatten() {
            // The first one of several of one name is the one that a name refers to.
            self.by_reference.entry(reference.to_owned()).or_insert_with(|| given.clone());
        }
        given
    }
}

fn printable(name: &str) -> String {
    let plain: String = name.chars().filter(|c| !c.is_control()).collect();
    cut(plain.trim(), LONGEST_NAME).to_owned()
}

fn cut(text: &str, longest: usize) -> &str {
    let end = (0..=longest.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

struct Assembly<'a> {
    answers: &'a Answers,
    whereabouts: BTreeMap<String, String>,
    /// Identifiers that could be answered.
    asked: BTreeSet<String>,
    remarks: &'a mut Remarks,
    document: Document,
    /// The names of sources by their identifiers.
    sources: BTreeMap<String, String>,
    source_names: Names,
    /// Packet lengths of sessions that say none, by the names of their targets.
    default_lengths: BTreeMap<String, u32>,
}

impl Assembly<'_> {
    fn filter(&mut self, found: FoundFilter, names: &mut Names) -> String {
        let name = names.give(found.name.as_deref(), found.id.as_deref(), "filter");
        let mut document = FilterDocument {
            name: name.clone(),
            services: found.services,
            description: found.description,
            inbound: found.inbound,
            outbound: found.outbound,
        };
        for direction in Direction::BOTH {
            let rules = match direction {
                Direction::Inbound => &mut document.inbound,
                Direction::Outbound => &mut document.outbound,
            };
            rules.retain(|rule| {
                let kept = can_match(rule);
                if !kept {
                    let number = rule.number.map(|number| format!(" {number}")).unwrap_or_default();
                    let text = format!(
                        "not kept: {direction} rule{number} matches no packet, for its addresses and protocols are of two families"
                    );
                    self.remarks.note(&found.place, text);
                }
                kept
            });
            in_order(rules);
        }
        self.document.filters.push(document);
        name
    }

    fn target(&mut self, found: FoundTarget, names: &mut Names) -> Result<String, ImportError> {
        let id = found.id.as_deref().unwrap_or(&found.endpoint);
        let name = names.give(found.name.as_deref(), Some(id), "target");
        names.by_reference.entry(found.endpoint.clone()).or_insert_with(|| name.clone());
        if let Some(length) = found.default_length {
            self.default_lengths.insert(name.clone(), length);
        }
        let answer = self.answer(&[&found.endpoint, id]);
        let known = self.whereabouts.get(&found.endpoint).cloned();
        let mut target = TargetDocument {
            name: name.clone(),
            description: match &found.kind {
                Some(kind) => Some(format!("{kind} {}", found.endpoint)),
                None => (found.endpoint != name).then(|| found.endpoint.clone()),
            },
            ..TargetDocument::default()
        };
        match answer.as_deref().map(|answer| place_of_target(id, answer)).transpose()? {
            Some((address, port)) => (target.address, target.port) = (Some(address), port),
            None => {
                target.address = found.address.or(known).or_else(|| {
                    self.remarks.lost(
                        &found.place,
                        format!(
                            "no document has the address of {0}: fill it in, or give --map {0}=ADDRESS",
                            found.endpoint
                        ),
                    );
                    Some(nowhere(&found.endpoint))
                });
            }
        }
        self.document.targets.push(target);
        Ok(name)
    }

    fn session(
        &mut self,
        found: FoundSession,
        names: &mut Names,
        filters: &mut Names,
        targets: &mut Names,
    ) -> Result<(), ImportError> {
        let name = names.give(found.name.as_deref(), found.id.as_deref(), "session");
        if found.sources.is_empty() {
            self.remarks.lost(&found.place, "left out: a session that has no source");
            return Ok(());
        }
        let filter = found.filter.map(|reference| self.filter_of(reference, &found.place, filters));
        let target = match targets.by_reference.get(&found.target) {
            Some(name) => name.clone(),
            None => self.target(FoundTarget::of(&found.target, &found.place), targets)?,
        };
        let mut sources = Vec::new();
        for source in found.sources {
            let name = self.source(source)?;
            if !sources.contains(&name) {
                sources.push(name);
            }
        }
        let length = found.length.or_else(|| self.default_lengths.get(&target).copied());
        self.document.sessions.push(SessionDocument {
            name,
            number: found.number,
            source: sources,
            filter,
            target,
            vni: found.vni.map(VniDocument::Is),
            length,
            enabled: found.enabled,
            description: found.description,
            ..SessionDocument::default()
        });
        Ok(())
    }

    /// The name of the filter that a session refers to. One that no document has is told, and mirrors nothing.
    fn filter_of(&mut self, reference: String, place: &Place, filters: &mut Names) -> String {
        if let Some(name) = filters.by_reference.get(&reference) {
            return name.clone();
        }
        let text = format!("no document has the filter {reference}: nothing is mirrored by this session");
        self.remarks.lost(place, text);
        let mut filter = FoundFilter::new(place.clone());
        filter.id = Some(reference);
        self.filter(filter, filters)
    }

    /// The name of a source, which is described the first time that it is asked for.
    fn source(&mut self, found: FoundSource) -> Result<String, ImportError> {
        // One machine is another source in another network.
        let key = match &found.network {
            Some((network, _)) => in_network(&found.id, network),
            None => found.id.clone(),
        };
        if let Some(name) = self.sources.get(&key) {
            return Ok(name.clone());
        }
        let name = self.source_names.give(found.name.as_deref(), Some(&found.id), "source");
        let mut source = SourceDocument {
            name: name.clone(),
            description: (found.id != name).then(|| found.id.clone()),
            ..SourceDocument::default()
        };
        let answer = self.answer(&[&found.id]);
        if let Some(answer) = &answer {
            if !select(&mut source, answer) {
                return Err(ImportError::Answer {
                    id: found.id,
                    value: answer.clone(),
                    expected: "expected an interface's name, an address or a network of this host",
                });
            }
        } else if !(self.whereabouts.get(&key).or_else(|| self.whereabouts.get(&found.id)))
            .is_some_and(|known| select(&mut source, known))
        {
            // Tags are short words that one types; an identifier that is a path is known by its last part.
            let tag = printable(super::gcp::last_part(&found.id));
            let shown = found.id.escape_debug();
            let text = format!(
                "no document tells where {shown} is: here it is the machine with the tag '{tag}', unless --map {shown}=… says \
                 which interface, address or network of this host it is"
            );
            match found.kind {
                SourceKind::Interface | SourceKind::Subnet => self.remarks.note(&found.place, text),
                SourceKind::Tag => {}
            }
            if let Some((network, place)) = &found.network {
                let text = format!(
                    "left out: of a machine with several interfaces the cloud mirrors the one in the network '{}', but '{tag}' here \
                     is all of its interfaces, unless --map {shown}=… says which one",
                    super::gcp::last_part(network)
                );
                self.remarks.lost(place, text);
            }
            source.tags.push(tag);
        }
        self.document.sources.push(source);
        self.sources.insert(key, name.clone());
        Ok(name)
    }

    fn answer(&mut self, ids: &[&str]) -> Option<String> {
        self.asked.extend(ids.iter().map(|id| (*id).to_owned()));
        ids.iter().find_map(|id| self.answers.0.get(*id)).cloned()
    }

    fn every_answer_was_asked_for(&self) -> Result<(), ImportError> {
        match self.answers.0.keys().find(|id| !self.asked.contains(*id)) {
            None => Ok(()),
            Some(id) => {
                let known: Vec<String> = self.asked.iter().map(|id| id.escape_debug().to_string()).collect();
                Err(ImportError::NotAsked { id: id.escape_debug().to_string(), known: known.join(", ") })
            }
        }
    }
}

/// Whether there are packets of one family that have what a rule asks for. Clouds take rules for which there are none; a policy
/// does not.
fn can_match(rule: &RuleDocument) -> bool {
    [IpVersion::V4, IpVersion::V6].into_iter().any(|family| {
        let is_of = |network: &IpNet| network.addr().is_ipv6() == (family == IpVersion::V6);
        rule.family.is_none_or(|only| only == family)
            && [&rule.source, &rule.destination, &rule.remote]
                .into_iter()
                .all(|networks| networks.is_empty() || networks.iter().any(is_of))
            && (rule.protocol.is_empty()
                || rule.protocol.iter().any(|protocol| protocol.only_version().is_none_or(|only| only == family)))
    })
}

/// Puts numbered rules in the order of their numbers.
fn in_order(rules: &mut [RuleDocument]) {
    if rules.iter().all(|rule| rule.number.is_some()) {
        rules.sort_by_key(|rule| rule.number);
    }
}

/// Lets `source` select what `value` names; `false` where it names nothing that can be selected.
fn select(source: &mut SourceDocument, value: &str) -> bool {
    if let Ok(address) = value.parse::<IpAddr>() {
        source.addresses.push(address);
    } else if let Ok(network) = value.parse::<IpNet>() {
        source.subnets.push(network.trunc());
    } else if !value.is_empty()
        && value.len() <= LONGEST_INTERFACE
        && !value.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
    {
        source.interfaces.push(value.to_owned());
    } else {
        return false;
    }
    true
}

/// The address and port that were given for a target.
fn place_of_target(id: &str, value: &str) -> Result<(String, Option<u16>), ImportError> {
    let refused = || ImportError::Answer {
        id: id.to_owned(),
        value: value.to_owned(),
        expected: "expected HOST, HOST:PORT or [ADDRESS]:PORT",
    };
    if value.parse::<IpAddr>().is_ok() {
        return Ok((value.to_owned(), None));
    }
    let (host, port) = match value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(refused)?)),
        None => value.split_once(':').map_or((value, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(refused)).transpose()?;
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(refused());
    }
    Ok((host.to_owned(), port))
}

/// A name that is nobody's: the top-level domain `invalid` never has any (RFC 2606). A policy with it can be checked and
/// explained, and sends nothing there.
fn nowhere(endpoint: &str) -> String {
    let last = super::gcp::last_part(endpoint);
    let label: String =
        last.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let label = cut(&label, 63).trim_matches('-');
    format!("{}.invalid", if label.is_empty() { "target" } else { label })
}
