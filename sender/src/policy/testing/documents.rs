//! Policy files as values.

use std::net::IpAddr;

use ipnet::IpNet;
use vxtap_wire::IpVersion;

use super::Random;
use super::packets::{PORTS, PROTOCOLS, V4, V6};
use crate::policy::document::{
    Document, FilterDocument, NeverDocument, Ports, RuleDocument, SemanticsDocument, SessionDocument, SourceDocument,
    Switch, TargetDocument, VniDocument,
};
use crate::policy::model::{Action, NetworkService, PortRange};
use crate::policy::protocol::Protocol;
use crate::policy::provider::{BareRule, LengthCounts, NoMatch, Provider, RejectEnds, Scope};

const LENGTHS_V4: [u8; 7] = [0, 7, 8, 15, 16, 24, 32];
const LENGTHS_V6: [u8; 6] = [0, 31, 32, 64, 100, 128];

/// What rules are about.
pub(in crate::policy) struct Universe {
    pub(in crate::policy) v4: Vec<IpAddr>,
    pub(in crate::policy) v6: Vec<IpAddr>,
    pub(in crate::policy) ports: Vec<u16>,
}

impl Default for Universe {
    /// That of random packets.
    fn default() -> Self {
        let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Self { v4: addresses(&V4), v6: addresses(&V6), ports: PORTS.to_vec() }
    }
}

/// A file at random that is right.
pub(in crate::policy) fn document(random: &mut Random, provider: Provider, universe: &Universe) -> Document {
    let filters: Vec<FilterDocument> = (0..3).map(|at| filter(random, provider, universe, at)).collect();
    let sessions = (0..=random.below(3)).map(|at| session(random, provider, at)).collect();
    Document {
        provider: Some(provider),
        semantics: if random.one_in(2) { semantics(random) } else { SemanticsDocument::default() },
        never: if random.one_in(2) { never(random) } else { NeverDocument::default() },
        sources: vec![SourceDocument {
            name: "here".into(),
            interfaces: vec!["eth*".into()],
            ..SourceDocument::default()
        }],
        filters,
        targets: vec![TargetDocument {
            name: "there".into(),
            address: Some("192.0.2.7".into()),
            ..TargetDocument::default()
        }],
        sessions,
        ..Document::default()
    }
}

fn semantics(random: &mut Random) -> SemanticsDocument {
    let mut document = SemanticsDocument::default();
    if random.one_in(3) {
        document.no_match = Some(random.of(&[NoMatch::Next, NoMatch::Mirror, NoMatch::Stop]));
    }
    if random.one_in(3) {
        document.reject_ends = Some(random.of(&[RejectEnds::Session, RejectEnds::All]));
    }
    if random.one_in(4) {
        document.scope = Some(random.of(&[Scope::Packet, Scope::Flow]));
    }
    if random.one_in(3) {
        document.bare_rule = Some(random.of(&[BareRule::Ipv4, BareRule::Ip, BareRule::Frames]));
    }
    if random.one_in(3) {
        document.length_counts = Some(random.of(&[LengthCounts::Frame, LengthCounts::Packet]));
    }
    if random.one_in(3) {
        document.service_beats_rules = Some(random.one_in(2));
    }
    document.flow_max = Some(1024);
    document
}

fn never(random: &mut Random) -> NeverDocument {
    let switch = |random: &mut Random| match random.below(4) {
        0 => Some(Switch::On(false)),
        1 => Some(Switch::Networks(vec!["169.254.169.253/32".parse().unwrap(), "2001:db8::2/128".parse().unwrap()])),
        2 => Some(Switch::On(true)),
        _ => None,
    };
    NeverDocument {
        own: None,
        arp: random.one_in(2).then(|| random.one_in(2)),
        dhcp: random.one_in(2).then(|| random.one_in(2)),
        metadata: switch(random),
        ntp: switch(random),
        activation: switch(random),
        resolver: switch(random),
        networks: if random.one_in(4) { vec!["10.128.0.0/9".parse().unwrap()] } else { Vec::new() },
    }
}

fn filter(random: &mut Random, provider: Provider, universe: &Universe, at: usize) -> FilterDocument {
    let services = matches!(provider, Provider::Aws | Provider::Vxtap) && random.one_in(3);
    FilterDocument {
        name: format!("filter {at}"),
        services: if services { vec![NetworkService::AmazonDns] } else { Vec::new() },
        description: None,
        inbound: rules(random, provider, universe),
        outbound: rules(random, provider, universe),
    }
}

fn rules(random: &mut Random, provider: Provider, universe: &Universe) -> Vec<RuleDocument> {
    let limits = provider.profile().limits;
    let mut numbers: Vec<u32> = (0..random.below(5) as u32).map(|at| at * 10 + 1).collect();
    // Not in the file's order.
    for at in (1..numbers.len()).rev() {
        numbers.swap(at, random.below(at + 1));
    }
    let numbered = !matches!(provider, Provider::Gcp | Provider::Oci);
    let actions = match (limits.reject, limits.next) {
        (false, _) => &[Action::Accept][..],
        (true, false) => &[Action::Accept, Action::Accept, Action::Reject],
        (true, true) => &[Action::Accept, Action::Accept, Action::Reject, Action::Next],
    };
    numbers
        .into_iter()
        .map(|number| RuleDocument {
            number: numbered.then_some(number),
            action: Some(random.of(actions)),
            ..rule(random, provider, universe, limits.ports)
        })
        .collect()
}

fn rule(random: &mut Random, provider: Provider, universe: &Universe, with_ports: bool) -> RuleDocument {
    let mut rule = RuleDocument::default();
    let version = random.of(&[IpVersion::V4, IpVersion::V4, IpVersion::V6]);
    let nets = |random: &mut Random| -> Vec<IpNet> {
        let mut nets: Vec<IpNet> = (0..random.below(3)).map(|_| net(random, universe, version)).collect();
        // Sometimes of both families.
        if !nets.is_empty() && random.one_in(6) {
            nets.push(net(random, universe, if version == IpVersion::V4 { IpVersion::V6 } else { IpVersion::V4 }));
        }
        nets
    };
    if provider == Provider::Gcp {
        rule.remote = nets(random);
    } else {
        rule.source = nets(random);
        rule.destination = nets(random);
        if provider == Provider::Vxtap {
            rule.remote = nets(random);
        }
    }
    if rule.source.is_empty() && rule.destination.is_empty() && rule.remote.is_empty() && random.one_in(3) {
        rule.family = Some(version);
    }
    let ports = |random: &mut Random| Ports((0..=random.below(2)).map(|_| range(random, universe)).collect());
    match random.below(3) {
        0 => {}
        1 if with_ports => {
            rule.protocol = random.some(&[Protocol::TCP, Protocol::UDP, Protocol::SCTP], 3);
            if rule.protocol.is_empty() {
                rule.protocol = vec![Protocol::TCP];
            }
            if random.one_in(2) {
                rule.source_ports = ports(random);
            }
            if random.one_in(2) {
                rule.destination_ports = ports(random);
            }
        }
        _ => {
            // Only protocols that every family has, or that of the rule's.
            let fitting: Vec<u8> = PROTOCOLS
                .iter()
                .copied()
                .filter(|number| !matches!((version, number), (IpVersion::V4, 58) | (IpVersion::V6, 1)))
                .collect();
            rule.protocol = random.some(&fitting, 2).into_iter().map(Protocol).collect();
        }
    }
    rule
}

fn net(random: &mut Random, universe: &Universe, version: IpVersion) -> IpNet {
    let (address, len) = match version {
        IpVersion::V4 => (random.of(&universe.v4), random.of(&LENGTHS_V4)),
        IpVersion::V6 => (random.of(&universe.v6), random.of(&LENGTHS_V6)),
    };
    IpNet::new(address, len).unwrap().trunc()
}

fn range(random: &mut Random, universe: &Universe) -> PortRange {
    let (one, other) = (random.of(&universe.ports), random.of(&universe.ports));
    PortRange::new(one.min(other), one.max(other)).unwrap()
}

fn session(random: &mut Random, provider: Provider, at: usize) -> SessionDocument {
    let limits = provider.profile().limits;
    let numbered = !matches!(provider, Provider::Oci | Provider::Azure);
    SessionDocument {
        name: format!("session {at}"),
        // The last comes first.
        number: numbered.then_some(9 - at as u32),
        source: vec!["here".into()],
        filter: (limits.filters && (limits.filter_required || !random.one_in(8)))
            .then(|| format!("filter {}", random.below(3))),
        target: "there".into(),
        vni: limits.vni_required.then_some(VniDocument::Is(5)),
        length: random.one_in(2).then(|| 64 + random.below(1000) as u32),
        enabled: Some(!random.one_in(6)),
        ..SessionDocument::default()
    }
}
