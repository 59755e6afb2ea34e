//! A policy file as values: what is written in it and nothing else.
//!
//! An import makes one and writes it with [`Document::to_toml`]; reading a file makes one too, and [`super::Policy`] is what
//! it means. Every field is public, absent is `None` or empty, and names are those of the file's keys. Values are as the file
//! has them: no check is made here, since [`super::Policy::parse`] makes all of them with places.
//!
//! ```toml
//! provider = "aws"
//!
//! [[source]]
//! name = "web"
//! interfaces = ["eth0"]
//!
//! [[filter]]
//! name = "http"
//! inbound = [{ number = 100, action = "accept", protocol = "tcp", source = "0.0.0.0/0", destination_ports = 80 }]
//!
//! [[target]]
//! name = "collector"
//! address = "collector.example"
//!
//! [[session]]
//! name = "web-http"
//! number = 1
//! source = "web"
//! filter = "http"
//! target = "collector"
//! vni = 7
//! ```

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::model::{Action, Encapsulation, NetworkService, PortRange, Shed};
use super::protocol::Protocol;
use super::provider::{BareRule, LengthCounts, NoMatch, Provider, RejectEnds, Scope};
use vxtap_wire::IpVersion;

/// A whole policy file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Document {
    /// Whose service it behaves like; `vxtap` where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// What differs from the provider's profile.
    #[serde(skip_serializing_if = "SemanticsDocument::is_empty")]
    pub semantics: SemanticsDocument,
    /// What differs from the provider's list of what is never mirrored.
    #[serde(skip_serializing_if = "NeverDocument::is_empty")]
    pub never: NeverDocument,
    /// Limits of all sessions together.
    #[serde(skip_serializing_if = "BudgetDocument::is_empty")]
    pub budget: BudgetDocument,
    /// Sources.
    #[serde(rename = "source", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceDocument>,
    /// Filters.
    #[serde(rename = "filter", skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterDocument>,
    /// Targets.
    #[serde(rename = "target", skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetDocument>,
    /// Sessions.
    #[serde(rename = "session", skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<SessionDocument>,
}

/// `[semantics]`: answers to what a provider's documents leave open, and departures from what they say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SemanticsDocument {
    /// What no match means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_match: Option<NoMatch>,
    /// What a reject ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reject_ends: Option<RejectEnds>,
    /// What is decided about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What a rule without addresses stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bare_rule: Option<BareRule>,
    /// What a packet length counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_counts: Option<LengthCounts>,
    /// Whether a network service is mirrored whatever the rules say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_beats_rules: Option<bool>,
    /// How long a flow is remembered, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_timeout: Option<u32>,
    /// How many flows are remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_max: Option<u32>,
}

/// `[never]`: what is never mirrored. A switch leaves an entry of the provider's list out, or puts it in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NeverDocument {
    /// Our own tunnels, and health checks of our targets. Without it a loop is possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<bool>,
    /// ARP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arp: Option<bool>,
    /// DHCP and DHCPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<bool>,
    /// The cloud's metadata service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Switch>,
    /// The cloud's clock (UDP port 123 of these networks).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ntp: Option<Switch>,
    /// Windows activation (TCP port 1688 of these networks).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Switch>,
    /// The cloud's DNS resolver (port 53 of these networks), unless a filter has the service `amazon-dns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Switch>,
    /// Further networks: nothing from or to them is mirrored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<IpNet>,
}

/// An entry of a list: the provider's (`true`), none (`false`), or these networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Switch {
    /// As the provider has it, or not at all.
    On(bool),
    /// These instead.
    Networks(Vec<IpNet>),
}

/// `[budget]`, and the same keys of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BudgetDocument {
    /// Copies a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pps: Option<u64>,
    /// Millions of bits a second of whole outer IP packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_mbps: Option<f64>,
    /// Percent of one CPU that mirroring may take (`[budget]` alone).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cpu: Option<f64>,
    /// What goes first when there is too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shed: Option<Shed>,
}

/// `[[source]]`: an interface is one if any of these selects it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceDocument {
    /// Name that sessions use.
    pub name: String,
    /// Names of interfaces; a `*` at the end stands for anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Interfaces that have one of these addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Interfaces that have an address in one of these networks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<IpNet>,
    /// All interfaces but loopback of a host that has one of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the file's owner says about it; an import puts the cloud's identifiers here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// `[[filter]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FilterDocument {
    /// Name that sessions use.
    pub name: String,
    /// Network services that are mirrored although they would not be by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<NetworkService>,
    /// As for a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Rules for packets that come in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inbound: Vec<RuleDocument>,
    /// Rules for packets that go out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outbound: Vec<RuleDocument>,
}

/// A rule of a filter: it matches a packet if every list that is not empty has something that matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleDocument {
    /// Lowest first. `priority` is another word for it in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// What becomes of a packet that matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// The family, where no address tells it: 4 or 6 in a file.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "family")]
    pub family: Option<IpVersion>,
    /// Protocols, by name or number. One alone may stand without brackets, here and in the lists below.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocol: Vec<Protocol>,
    /// Source addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<IpNet>,
    /// Destination addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub destination: Vec<IpNet>,
    /// Addresses of the end that is not this host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote: Vec<IpNet>,
    /// Source ports: `80`, `"1000-2000"`.
    #[serde(skip_serializing_if = "Ports::is_empty")]
    pub source_ports: Ports,
    /// Destination ports.
    #[serde(skip_serializing_if = "Ports::is_empty")]
    pub destination_ports: Ports,
    /// As for a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Port ranges of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ports(pub Vec<PortRange>);

impl Ports {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `[[target]]`: an `address`, or several `member`s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TargetDocument {
    /// Name that sessions use.
    pub name: String,
    /// Name or address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// UDP port; that of the encapsulation where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// As for a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Several, among which flows are spread.
    #[serde(rename = "member", skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberDocument>,
}

/// `[[target.member]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemberDocument {
    /// Name or address.
    pub address: String,
    /// UDP port; that of the encapsulation where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its share of the flows; 1 where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
}

/// `[[session]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SessionDocument {
    /// Name in metrics and messages.
    pub name: String,
    /// Lowest first. `priority` is another word for it in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Names of sources.
    pub source: Vec<String>,
    /// Name of a filter; without one everything is mirrored, where the provider allows that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Name of a target.
    pub target: String,
    /// A number or `"auto"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<VniDocument>,
    /// How much of a packet is mirrored, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// Whether it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Share of flows that are mirrored: more than 0, at most 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<f64>,
    /// What the copies travel in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encapsulation: Option<Encapsulation>,
    /// Its own limits.
    #[serde(flatten)]
    pub budget: BudgetDocument,
    /// As for a source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A session's VNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VniDocument {
    /// One that no other session has.
    Auto,
    /// This one.
    Is(u32),
}

impl Serialize for VniDocument {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Is(vni) => serializer.serialize_u32(*vni),
        }
    }
}

#[allow(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference to the field")]
fn family<S: serde::Serializer>(family: &Option<IpVersion>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(match family {
        Some(IpVersion::V6) => 6,
        _ => 4,
    })
}

impl Document {
    /// The text of a policy file that says this.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}

impl SemanticsDocument {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl NeverDocument {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl BudgetDocument {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
