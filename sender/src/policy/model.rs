//! A policy with every name looked up and every default filled in.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize, Serializer};
use vxtap_wire::IpVersion;
use vxtap_wire::vxlan::Vni;

use super::never::NeverMirrored;
use super::protocol::Protocol;
use super::provider::{Provider, Semantics};

/// What a mirror source does.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Whose service it behaves like.
    pub provider: Provider,
    /// How it decides.
    pub semantics: Semantics,
    /// What is never mirrored.
    pub never: NeverMirrored,
    /// Limits of all sessions together.
    pub budget: Budget,
    /// Most of one CPU that mirroring may take, in percent.
    pub max_cpu: Option<f64>,
    /// Sources, in the file's order.
    pub sources: Vec<Source>,
    /// Filters, in the file's order.
    pub filters: Vec<Filter>,
    /// Targets, in the file's order.
    pub targets: Vec<MirrorTarget>,
    /// Sessions in the order in which they are tried.
    pub sessions: Vec<Session>,
}

/// Which way a packet goes, as the source sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It comes in.
    Inbound,
    /// It goes out.
    Outbound,
}

impl Direction {
    /// Both, inbound first.
    pub const BOTH: [Self; 2] = [Self::Inbound, Self::Outbound];

    /// The other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Inbound => Self::Outbound,
            Self::Outbound => Self::Inbound,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        })
    }
}

/// Interfaces whose packets are mirrored. One is selected if any of the lists has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Names of interfaces; a `*` at the end stands for anything.
    pub interfaces: Vec<String>,
    /// Interfaces that have one of these addresses.
    pub addresses: Vec<IpAddr>,
    /// Interfaces that have an address in one of these networks.
    pub subnets: Vec<IpNet>,
    /// All interfaces but loopback of a host that has one of these tags.
    pub tags: Vec<String>,
}

/// An interface of this host, as sources are looked up for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// The tags of this host.
    pub tags: Vec<String>,
}

impl Source {
    /// Whether `interface` is one of the source's.
    pub fn selects(&self, interface: &Interface) -> bool {
        self.interfaces.iter().any(|name| match name.strip_suffix('*') {
            Some(prefix) => interface.name.starts_with(prefix),
            None => *name == interface.name,
        }) || interface.addresses.iter().any(|address| {
            self.addresses.contains(address) || self.subnets.iter().any(|subnet| subnet.contains(address))
        }) || (!interface.loopback && self.tags.iter().any(|tag| interface.tags.contains(tag)))
    }
}

/// Ordered rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Its name.
    pub name: String,
    /// Network services that are mirrored although they would not be by default.
    pub services: Vec<NetworkService>,
    /// Rules for packets that come in, in the order in which they are tried.
    pub inbound: Vec<Rule>,
    /// Rules for packets that go out, in the order in which they are tried.
    pub outbound: Vec<Rule>,
}

impl Filter {
    /// The rules for packets that go in `direction`, in the order in which they are tried.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

/// A service of the cloud that a filter may let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkService {
    /// The DNS resolver of a VPC.
    AmazonDns,
}

/// A rule. It matches a packet if every list that is not empty has something that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number in its list; where the file has none, its place from 1 on.
    pub number: u32,
    /// What becomes of a packet that matches.
    pub action: Action,
    /// The family that it is for; `None` is both. Addresses, where there are any, say it more closely.
    pub family: Option<IpVersion>,
    /// Whether it is for frames that are not IP as well. Then it asks for nothing else.
    pub frames: bool,
    /// Protocols.
    pub protocols: Vec<Protocol>,
    /// Source addresses.
    pub source: Vec<IpNet>,
    /// Destination addresses.
    pub destination: Vec<IpNet>,
    /// Addresses of the end that is not this host.
    pub remote: Vec<IpNet>,
    /// Source ports. A packet whose ports are not known, as of a fragment, has none of them.
    pub source_ports: Vec<PortRange>,
    /// Destination ports.
    pub destination_ports: Vec<PortRange>,
}

/// What becomes of a packet that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The session mirrors it.
    Accept,
    /// The session does not mirror it; whether others may is in [`Semantics::reject_ends`].
    Reject,
    /// The next session decides.
    Next,
}

/// Ports from one to another, both included; the first is not above the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// All ports.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// The ports of `range`; `None` where it ends before it begins.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// One port.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether `port` is one of them.
    #[inline]
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// As a range.
    pub const fn range(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl FromStr for PortRange {
    type Err = String;

    /// Takes `80` and `1000-2000`.
    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| {
            let text = text.trim();
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten()
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (port(first), port(last)) {
            (Some(first), Some(last)) => Self::new(first, last)
                .ok_or_else(|| format!("the range {first}-{last} is the wrong way round (expected {last}-{first})")),
            _ => Err(format!("'{text}' is no port (expected 0 to 65535, or a range such as \"1000-2000\")")),
        }
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last { serializer.serialize_u16(self.first) } else { serializer.collect_str(self) }
    }
}

/// Where copies go: one place, or several among which flows are spread by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorTarget {
    /// Its name.
    pub name: String,
    /// At least one, each of weight 1 or more.
    pub members: Vec<Member>,
}

/// One place that copies go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name or address, without brackets.
    pub address: String,
    /// UDP port; `None` is that of the session's encapsulation.
    pub port: Option<u16>,
    /// Its share of the flows.
    pub weight: u32,
}

impl MirrorTarget {
    /// The member, by its place in [`Self::members`], that has the flows whose hash is `flow_hash`.
    #[inline]
    pub fn pick(&self, flow_hash: u32) -> usize {
        let total: u64 = self.members.iter().map(|member| u64::from(member.weight)).sum();
        // The hash as a share of all weights.
        let mut left = (u64::from(flow_hash) * total) >> 32;
        for (place, member) in self.members.iter().enumerate() {
            match left.checked_sub(u64::from(member.weight)) {
                Some(rest) => left = rest,
                None => return place,
            }
        }
        0
    }
}

/// A session: which packets of which sources go to which target, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// Its number; where the file has none, its place from 1 on.
    pub number: u32,
    /// Places in [`Policy::sources`], at least one.
    pub sources: Vec<usize>,
    /// Place in [`Policy::filters`]; `None` mirrors what a bare rule stands for.
    pub filter: Option<usize>,
    /// Place in [`Policy::targets`].
    pub target: usize,
    /// Network identifier of the copies.
    pub vni: Vni,
    /// Whether the identifier was chosen here, because the file leaves it open.
    pub vni_chosen: bool,
    /// How much of a packet is mirrored, in bytes counted as [`Semantics::length_counts`] says; `None` is all of it.
    pub length: Option<u32>,
    /// Whether it is on.
    pub enabled: bool,
    /// Which flows are mirrored.
    pub sample: Sample,
    /// What the copies travel in.
    pub encapsulation: Encapsulation,
    /// Its own limits.
    pub budget: Budget,
}

/// A share of all flows, chosen by their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Flows whose hash is below it are taken: 2^32 takes all.
    below: u64,
}

impl Sample {
    /// Every flow.
    pub const ALL: Self = Self { below: 1 << 32 };

    /// `share` of the flows; `None` where it is not more than 0 and at most 1.
    pub fn new(share: f64) -> Option<Self> {
        // A share of less than one hash in 2^32 still takes one.
        (share > 0.0 && share <= 1.0).then(|| Self { below: ((share * 4_294_967_296.0) as u64).max(1) })
    }

    /// Whether a flow with this hash is taken.
    #[inline]
    pub const fn takes(self, flow_hash: u32) -> bool {
        // Mixed once more: what is left would all be at the low end for whatever else looks at the hash.
        let mixed = (flow_hash ^ (flow_hash >> 16)).wrapping_mul(0x7feb_352d);
        ((mixed ^ (mixed >> 15)) as u64) < self.below
    }

    /// Whether all are.
    pub const fn is_all(self) -> bool {
        self.below == Self::ALL.below
    }

    /// The share of flows that are taken.
    pub fn share(self) -> f64 {
        self.below as f64 / 4_294_967_296.0
    }
}

/// What copies travel in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encapsulation {
    /// VXLAN, all reserved bits zero.
    #[default]
    Vxlan,
    /// GENEVE with our option: time, sequence, length and direction of the packet.
    Geneve,
}

impl Encapsulation {
    /// The UDP port that IANA assigned to it.
    pub const fn port(self) -> u16 {
        match self {
            Self::Vxlan => vxtap_wire::vxlan::PORT,
            Self::Geneve => vxtap_wire::geneve::PORT,
        }
    }
}

/// How much a session, or all of them, may send.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// Copies a second.
    pub max_pps: Option<u64>,
    /// Millions of bits a second of whole outer IP packets.
    pub max_mbps: Option<f64>,
    /// What goes first when there is too much.
    pub shed: Shed,
}

/// What is given up first when there is more than a budget allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shed {
    /// Whole flows, so that those that are mirrored are whole.
    #[default]
    Flows,
    /// The ends of packets: they are cut shorter, down to their headers, before any is left out.
    Length,
    /// Packets as they come.
    Packets,
}
