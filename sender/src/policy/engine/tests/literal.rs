//! The engine against what the documents say, written out literally: slow, straight, and from the file's own values and the
//! packet's own description, so that it shares nothing with the engine but those.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use vxtap_wire::{FrameView, IpVersion};

use crate::policy::document::{Document, FilterDocument, RuleDocument, SessionDocument, Switch};
use crate::policy::model::{Action, Direction};
use crate::policy::provider::{BareRule, LengthCounts, NoMatch, Provider, RejectEnds, Scope};
use crate::policy::testing::{Body, Packet, Random, Universe, document, interface, packet};
use crate::policy::{Decider, Decision, Engine, OwnTraffic, Pass, PolicyFile};

/// What the documents say becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Literally {
    /// By place in the file, and how many bytes.
    Mirrored(usize, u32),
    NeverMirrored,
    Rejected(usize),
    Unmatched,
}

/// What is decided about flows, by protocol and both ends in order.
type Flows = HashMap<(u8, (IpAddr, u16), (IpAddr, u16)), Literally>;

fn literally(file: &Document, packet: &Packet, flows: &mut Flows) -> Literally {
    let provider = file.provider.unwrap();
    let never = never(file, provider, packet);
    if never == Never::Yes {
        return Literally::NeverMirrored;
    }
    let resolver = never == Never::Resolver;
    let mut sessions: Vec<(usize, &SessionDocument)> = file.sessions.iter().enumerate().collect();
    sessions.sort_by_key(|(_, session)| session.number);
    // Huawei, Alibaba and OCI make sessions that are off until somebody turns them on.
    let off = matches!(provider, Provider::Huawei | Provider::Alibaba | Provider::Oci);
    sessions.retain(|(_, session)| session.enabled.unwrap_or(!off));
    if resolver && !sessions.iter().any(|(_, session)| has_service(file, session)) {
        return Literally::NeverMirrored;
    }
    let by_flow = match file.semantics.scope {
        Some(scope) => scope == Scope::Flow,
        // Network Security Integration decides by who opened a session; all others packet by packet.
        None => provider == Provider::GcpNsi,
    };
    let Body::Ip { source, destination, protocol, ports, fragment, flags, .. } = packet.body else {
        return cut(file, provider, packet, ask(file, provider, packet, &sessions, resolver));
    };
    if !by_flow {
        return cut(file, provider, packet, ask(file, provider, packet, &sessions, resolver));
    }
    // Fragments are told apart by their addresses alone.
    let known = matches!(protocol, 6 | 17 | 132) && !fragment;
    let ends = match (source, protocol) {
        _ if known => ((source, ports.0), (destination, ports.1)),
        // Requests, by their types.
        (IpAddr::V4(_), 1) if !fragment => ((source, 8), (destination, 0)),
        (IpAddr::V6(_), 58) if !fragment => ((source, 128), (destination, 129)),
        _ => ((source, 0), (destination, 0)),
    };
    let key = (protocol, ends.0.min(ends.1), ends.0.max(ends.1));
    let (syn, ack) = (known && protocol == 6 && flags & 2 != 0, flags & 16 != 0);
    let first = if syn && ack { answered(packet) } else { *packet };
    let decision = match flows.get(&key) {
        Some(before) if !syn || ack => *before,
        _ => ask(file, provider, &first, &sessions, resolver),
    };
    flows.insert(key, decision);
    cut(file, provider, packet, decision)
}

/// The packet that `packet` answers.
fn answered(packet: &Packet) -> Packet {
    let mut first = *packet;
    first.direction = packet.direction.reversed();
    if let Body::Ip { source, destination, ports, .. } = &mut first.body {
        std::mem::swap(source, destination);
        *ports = (ports.1, ports.0);
    }
    first
}

/// How many bytes of a mirrored packet are sent.
fn cut(file: &Document, provider: Provider, packet: &Packet, decision: Literally) -> Literally {
    let Literally::Mirrored(at, _) = decision else { return decision };
    let length = file.sessions[at].length.or(match provider {
        Provider::Huawei => Some(96),
        Provider::Alibaba => Some(1500),
        Provider::Naver => Some(1450),
        _ => None,
    });
    let before = match file.semantics.length_counts {
        Some(LengthCounts::Packet) => 14 + 4 * packet.tags as u32,
        Some(LengthCounts::Frame) | None => 0,
    };
    Literally::Mirrored(at, length.map_or(u32::MAX, |length| length + before))
}

fn has_service(file: &Document, session: &SessionDocument) -> bool {
    filter_of(file, session).is_some_and(|filter| !filter.services.is_empty())
}

fn filter_of<'f>(file: &'f Document, session: &SessionDocument) -> Option<&'f FilterDocument> {
    let name = session.filter.as_ref()?;
    file.filters.iter().find(|filter| filter.name == *name)
}

/// Asks the sessions in turn.
fn ask(
    file: &Document,
    provider: Provider,
    packet: &Packet,
    sessions: &[(usize, &SessionDocument)],
    resolver: bool,
) -> Literally {
    // Huawei and NSI say that a match ends the search, even a reject; OCI has one session for a source.
    let reject_ends_all = match file.semantics.reject_ends {
        Some(ends) => ends == RejectEnds::All,
        None => matches!(provider, Provider::Huawei | Provider::GcpNsi | Provider::Oci),
    };
    let mut rejected_by = None;
    for (at, session) in sessions {
        if resolver && !has_service(file, session) {
            continue;
        }
        let said = if resolver && file.semantics.service_beats_rules.unwrap_or(true) {
            Some(Action::Accept)
        } else {
            match filter_of(file, session) {
                None if is_bare_match(file, provider, packet) => Some(Action::Accept),
                None => None,
                Some(filter) => {
                    let mut rules: Vec<&RuleDocument> = match packet.direction {
                        Direction::Inbound => filter.inbound.iter().collect(),
                        Direction::Outbound => filter.outbound.iter().collect(),
                    };
                    rules.sort_by_key(|rule| rule.number);
                    rules
                        .into_iter()
                        .find(|rule| matches(file, provider, rule, packet))
                        .map(|rule| rule.action.unwrap())
                }
            }
        };
        match said {
            Some(Action::Accept) => return Literally::Mirrored(*at, 0),
            Some(Action::Reject) => {
                rejected_by = rejected_by.or(Some(*at));
                if reject_ends_all {
                    return Literally::Rejected(rejected_by.unwrap());
                }
            }
            Some(Action::Next) => {}
            None => match file.semantics.no_match.unwrap_or(NoMatch::Next) {
                NoMatch::Next => {}
                NoMatch::Mirror => return Literally::Mirrored(*at, 0),
                NoMatch::Stop => break,
            },
        }
    }
    rejected_by.map_or(Literally::Unmatched, Literally::Rejected)
}

/// Whether the packet is of what a rule without addresses, and no filter at all, stand for.
fn is_bare_match(file: &Document, provider: Provider, packet: &Packet) -> bool {
    let bare = file.semantics.bare_rule.unwrap_or(match provider {
        Provider::Gcp | Provider::Azure => BareRule::Ipv4,
        Provider::Vxtap => BareRule::Frames,
        _ => BareRule::Ip,
    });
    match packet.body {
        Body::Ip { source, .. } => bare != BareRule::Ipv4 || source.is_ipv4(),
        Body::Arp | Body::Other(_) => bare == BareRule::Frames,
    }
}

fn matches(file: &Document, provider: Provider, rule: &RuleDocument, packet: &Packet) -> bool {
    let addressed = !(rule.source.is_empty() && rule.destination.is_empty() && rule.remote.is_empty());
    let Body::Ip { source, destination, protocol, ports, fragment, .. } = packet.body else {
        return !addressed
            && rule.family.is_none()
            && rule.protocol.is_empty()
            && is_bare_match(file, provider, packet);
    };
    if !addressed && rule.family.is_none() && !is_bare_match(file, provider, packet) {
        return false;
    }
    let family = if source.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
    if rule.family.is_some_and(|wanted| wanted != family) {
        return false;
    }
    let remote = if packet.direction == Direction::Inbound { source } else { destination };
    for (nets, address) in [(&rule.source, source), (&rule.destination, destination), (&rule.remote, remote)] {
        if !nets.is_empty() && !nets.iter().any(|net| net.contains(&address)) {
            return false;
        }
    }
    if !rule.protocol.is_empty() && !rule.protocol.iter().any(|wanted| wanted.0 == protocol) {
        return false;
    }
    for (ranges, port) in [(&rule.source_ports.0, ports.0), (&rule.destination_ports.0, ports.1)] {
        let there = matches!(protocol, 6 | 17 | 132) && !fragment;
        let inside = there && ranges.iter().any(|range| range.first() <= port && port <= range.last());
        if !ranges.is_empty() && !inside {
            return false;
        }
    }
    true
}

#[derive(PartialEq)]
enum Never {
    No,
    Yes,
    Resolver,
}

/// What is never mirrored, as each cloud says it.
fn never(file: &Document, provider: Provider, packet: &Packet) -> Never {
    let given = &file.never;
    let (source, destination, protocol, ports) = match packet.body {
        Body::Arp => return if given.arp.unwrap_or(true) { Never::Yes } else { Never::No },
        Body::Other(_) => return Never::No,
        Body::Ip { source, destination, protocol, ports, fragment, .. } => {
            let there = matches!(protocol, 6 | 17 | 132) && !fragment;
            (source, destination, protocol, there.then_some(ports))
        }
    };
    let link_local = ["169.254.0.0/16"].as_slice();
    let (metadata, ntp, activation, resolver): (&[&str], &[&str], &[&str], &[&str]) = match provider {
        Provider::Aws => (
            &["169.254.169.254/32", "fd00:ec2::254/128"],
            &["169.254.169.123/32", "fd00:ec2::123/128"],
            &["169.254.169.250/32", "169.254.169.251/32", "fd00:ec2::250/128", "fd00:ec2::251/128"],
            &["169.254.169.253/32", "fd00:ec2::253/128"],
        ),
        Provider::Gcp | Provider::GcpNsi => (&["169.254.0.0/16", "fd20:ce::254/128"], link_local, link_local, &[]),
        Provider::Azure => {
            (&["169.254.169.254/32", "168.63.129.16/32"], link_local, &["20.118.99.224/32", "40.83.235.53/32"], &[])
        }
        Provider::Alibaba => (&["100.100.100.200/32"], &["100.100.0.0/16"], &["100.100.0.0/16"], &[]),
        Provider::Vxtap | Provider::Huawei | Provider::Naver | Provider::Oci => {
            (link_local, link_local, link_local, &[])
        }
    };
    let list = |switch: &Option<Switch>, usual: &[&str]| -> Vec<IpNet> {
        match switch {
            Some(Switch::Networks(networks)) => networks.clone(),
            Some(Switch::On(false)) => Vec::new(),
            Some(Switch::On(true)) | None => usual.iter().map(|net| net.parse().unwrap()).collect(),
        }
    };
    let is_in = |nets: &[IpNet], address: IpAddr| nets.iter().any(|net| net.contains(&address));
    // The end with the port is the end with the address.
    let served = |nets: &[IpNet], port: u16| {
        ports.is_some_and(|ports| {
            (ports.0 == port && is_in(nets, source)) || (ports.1 == port && is_in(nets, destination))
        })
    };
    let dhcp_ports: [u16; 2] = if source.is_ipv4() { [67, 68] } else { [546, 547] };
    let dhcp =
        protocol == 17 && ports.is_some_and(|ports| dhcp_ports.contains(&ports.0) && dhcp_ports.contains(&ports.1));
    if given.dhcp.unwrap_or(true) && dhcp {
        return Never::Yes;
    }
    let metadata = list(&given.metadata, metadata);
    if is_in(&metadata, source) || is_in(&metadata, destination) {
        return Never::Yes;
    }
    if protocol == 17 && served(&list(&given.ntp, ntp), 123) {
        return Never::Yes;
    }
    if protocol == 6 && served(&list(&given.activation, activation), 1688) {
        return Never::Yes;
    }
    if is_in(&given.networks, source) || is_in(&given.networks, destination) {
        return Never::Yes;
    }
    let dns = matches!(protocol, 6 | 17) && served(&list(&given.resolver, resolver), 53);
    if dns { Never::Resolver } else { Never::No }
}

/// The decision in the literal model's words.
fn in_words(decision: Decision, file: &PolicyFile) -> Literally {
    match decision {
        Decision::Mirror(mirror) => Literally::Mirrored(file.session_place(mirror.session), mirror.length),
        Decision::Pass(Pass::Never(_)) => Literally::NeverMirrored,
        Decision::Pass(Pass::Rejected(session)) => Literally::Rejected(file.session_place(session)),
        Decision::Pass(Pass::Unmatched) => Literally::Unmatched,
        Decision::Pass(Pass::Sampled(_)) => panic!("nothing is sampled here"),
    }
}

#[test]
fn the_engine_decides_as_the_documents_say_on_100_000_random_policies_and_packets() {
    const PACKETS: usize = 10;
    let (mut random, universe) = (Random::new(1), Universe::default());
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for round in 0..100_000 / PACKETS {
        let provider = Provider::ALL[round % Provider::ALL.len()];
        let document = document(&mut random, provider, &universe);
        let file = PolicyFile::from_document(document).unwrap_or_else(|error| panic!("{provider}: {error}"));
        let engine = Arc::new(Engine::new(&Arc::new(file.policy.clone()), &interface()).unwrap());
        let mut decider = Decider::new(Arc::clone(&engine), Arc::default());
        let mut explainer = Decider::new(engine, Arc::<OwnTraffic>::default());
        let mut flows = Flows::new();
        for now in 0..PACKETS as u32 {
            let packet = packet(&mut random);
            let bytes = packet.bytes();
            let view = FrameView::parse_outermost(&bytes);
            let decision = decider.decide(packet.direction, &view, now);
            let expected = literally(&file.document, &packet, &mut flows);
            assert_eq!(in_words(decision, &file), expected, "{packet:?} {:#?}", file.document);
            *seen
                .entry(match expected {
                    Literally::Mirrored(..) => "mirrored",
                    Literally::NeverMirrored => "never",
                    Literally::Rejected(_) => "rejected",
                    Literally::Unmatched => "unmatched",
                })
                .or_default() += 1;
            // What is told is what is done.
            let trace = explainer.explain(packet.direction, &view, now);
            assert_eq!(trace.decision, decision);
            assert!(trace.agrees(), "{trace:#?} {packet:?} {:#?}", file.document);
        }
    }
    // All that can happen has happened often.
    assert!(seen.len() == 4 && seen.values().all(|count| *count > 3_000), "{seen:?}");
}

impl crate::policy::Trace {
    /// Whether the steps lead to the decision.
    fn agrees(&self) -> bool {
        use crate::policy::Outcome;
        if let Some(reason) = self.never {
            return self.decision == Decision::Pass(Pass::Never(reason));
        }
        let rejects = |outcome| matches!(outcome, Outcome::Rule { action: Action::Reject, .. });
        let rejected = self.steps.iter().find(|step| rejects(step.outcome)).map(|step| step.session);
        let last = self.steps.last();
        match self.decision {
            Decision::Mirror(mirror) => {
                last.is_some_and(|step| step.ends && step.session == mirror.session && !rejects(step.outcome))
            }
            Decision::Pass(Pass::Rejected(session)) => rejected == Some(session),
            Decision::Pass(Pass::Unmatched) => rejected.is_none(),
            Decision::Pass(Pass::Sampled(session)) => {
                last.is_some_and(|step| step.sampled_out && step.session == session)
            }
            Decision::Pass(Pass::Never(_)) => false,
        }
    }
}
