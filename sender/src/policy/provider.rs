//! What the clouds' mirroring services differ in.
//!
//! A profile is the documented behaviour of one service. Where its documents leave something open, the value here is what we
//! take by default, the field says "open", and `[semantics]` of the policy file sets it otherwise.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose mirroring service a policy behaves like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Our own: every option there is, nothing forbidden that can be done.
    #[default]
    Vxtap,
    /// AWS VPC Traffic Mirroring.
    Aws,
    /// Google Cloud VPC Packet Mirroring.
    Gcp,
    /// Google Cloud Network Security Integration, out of band.
    GcpNsi,
    /// Huawei Cloud VPC Traffic Mirroring.
    Huawei,
    /// NAVER Cloud Packet Mirroring.
    Naver,
    /// Alibaba Cloud VPC Traffic Mirroring.
    Alibaba,
    /// Oracle Cloud Infrastructure VTAP.
    Oci,
    /// Azure virtual network TAP.
    Azure,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Vxtap,
        Self::Aws,
        Self::Gcp,
        Self::GcpNsi,
        Self::Huawei,
        Self::Naver,
        Self::Alibaba,
        Self::Oci,
        Self::Azure,
    ];

    /// Its name in a policy file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vxtap => "vxtap",
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::GcpNsi => "gcp-nsi",
            Self::Huawei => "huawei",
            Self::Naver => "naver",
            Self::Alibaba => "alibaba",
            Self::Oci => "oci",
            Self::Azure => "azure",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Provider {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|provider| provider.name() == text).ok_or(())
    }
}

/// What puts rules, or the sessions of a source, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Their number (or priority), the lowest first. Each has one.
    Number,
    /// Their number where they have one, and their place in the file where none has.
    NumberOrPlace,
    /// Their place in the file; a number says nothing and is refused.
    Place,
}

/// What two sessions of one number on one source are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EqualNumbers {
    /// An error.
    Refused,
    /// An error even on different sources.
    RefusedEverywhere,
    /// Tried in the order of the file.
    ByPlace,
}

/// What becomes of a packet for which a session's filter has no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoMatch {
    /// This session does not mirror it; the next one is tried.
    Next,
    /// This session mirrors it.
    Mirror,
    /// It is not mirrored, and no other session is tried.
    Stop,
}

/// What a rule that rejects ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectEnds {
    /// Its session: the next one is tried.
    Session,
    /// The search: the packet is not mirrored.
    All,
}

/// What is decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Every packet by itself.
    Packet,
    /// A flow, by its first packet: rules for inbound packets apply to flows that were opened from outside, rules for
    /// outbound packets to those that were opened here, and then both directions go the same way.
    Flow,
}

/// Which addresses rules look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sides {
    /// Source and destination.
    Both,
    /// The end that is not this host: the source of an inbound packet and the destination of an outbound one.
    Remote,
    /// Either way, rule by rule.
    Any,
}

/// What a rule without addresses and without a family stands for; also a session without a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BareRule {
    /// IPv4 alone.
    Ipv4,
    /// IPv4 and IPv6.
    Ip,
    /// Every frame, also what is not IP.
    Frames,
}

/// What a packet length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LengthCounts {
    /// All bytes behind the tunnel header: the inner Ethernet header too.
    Frame,
    /// Bytes from the inner IP header on.
    Packet,
}

/// How packets are decided about: what the engine does, with nothing of it fixed to one cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Semantics {
    /// What puts the rules of a filter in order.
    pub rule_order: Order,
    /// What puts the sessions of a source in order.
    pub session_order: Order,
    /// What two sessions of one number are.
    pub equal_numbers: EqualNumbers,
    /// What no match means.
    pub no_match: NoMatch,
    /// What a reject ends.
    pub reject_ends: RejectEnds,
    /// What is decided about.
    pub scope: Scope,
    /// Which addresses rules look at.
    pub sides: Sides,
    /// What a rule without addresses stands for.
    pub bare_rule: BareRule,
    /// What a packet length counts.
    pub length_counts: LengthCounts,
    /// Whether a filter's network service (`amazon-dns`) is mirrored even where a rule rejects it.
    pub service_beats_rules: bool,
    /// How long a flow is remembered after its last packet, in seconds, where decisions are for flows.
    pub flow_timeout: u32,
    /// How many flows are remembered, where decisions are for flows.
    pub flow_max: u32,
}

/// What a service accepts, and what it fills in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Session numbers.
    pub session_numbers: RangeInclusive<u32>,
    /// Rule numbers.
    pub rule_numbers: RangeInclusive<u32>,
    /// The session number where none is given; `None`: one has to be given, or none is known.
    pub default_session_number: Option<u32>,
    /// Packet lengths.
    pub lengths: RangeInclusive<u32>,
    /// The packet length where none is given; `None`: whole packets.
    pub default_length: Option<u32>,
    /// The VNI where none is given; `None`: one that no other session has.
    pub default_vni: Option<u32>,
    /// Whether a session must name its VNI.
    pub vni_required: bool,
    /// Whether a session must have a filter.
    pub filter_required: bool,
    /// Whether there are filters at all.
    pub filters: bool,
    /// Whether rules may have ports.
    pub ports: bool,
    /// Whether rules may reject.
    pub reject: bool,
    /// Whether a rule may send packets on to the next session.
    pub next: bool,
    /// Whether IPv6 is mirrored.
    pub ipv6: bool,
    /// Whether a session is enabled where the file does not say.
    pub enabled: bool,
    /// Sessions of one source (a quota).
    pub sessions_per_source: Option<usize>,
    /// Rules of a filter in one direction (a quota).
    pub rules_per_direction: Option<usize>,
    /// Rules of a filter in all (a quota).
    pub rules_per_filter: Option<usize>,
    /// Sources of one session.
    pub sources_per_session: Option<usize>,
}

/// One provider's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How it decides.
    pub semantics: Semantics,
    /// What it accepts.
    pub limits: Limits,
}

/// What our own sender can do, the base of every profile.
const VXTAP: Semantics = Semantics {
    rule_order: Order::NumberOrPlace,
    session_order: Order::NumberOrPlace,
    equal_numbers: EqualNumbers::Refused,
    no_match: NoMatch::Next,
    reject_ends: RejectEnds::Session,
    scope: Scope::Packet,
    sides: Sides::Any,
    bare_rule: BareRule::Frames,
    length_counts: LengthCounts::Frame,
    service_beats_rules: true,
    flow_timeout: 600,
    flow_max: 65_536,
};

const ANY_NUMBER: RangeInclusive<u32> = 0..=u32::MAX;
const ANY_LENGTH: RangeInclusive<u32> = 14..=65_535;

fn vxtap_limits() -> Limits {
    Limits {
        session_numbers: ANY_NUMBER,
        rule_numbers: ANY_NUMBER,
        default_session_number: None,
        lengths: ANY_LENGTH,
        default_length: None,
        default_vni: None,
        vni_required: false,
        filter_required: false,
        filters: true,
        ports: true,
        reject: true,
        next: true,
        ipv6: true,
        enabled: true,
        sessions_per_source: None,
        rules_per_direction: None,
        rules_per_filter: None,
        sources_per_session: None,
    }
}

impl Provider {
    /// What is documented of the provider's service, and our choice where nothing is.
    pub fn profile(self) -> Profile {
        let (semantics, limits) = match self {
            Self::Vxtap => (VXTAP, vxtap_limits()),
            Self::Aws => aws(),
            Self::Gcp => gcp(),
            Self::GcpNsi => gcp_nsi(),
            Self::Huawei => huawei(),
            Self::Naver => naver(),
            Self::Alibaba => alibaba(),
            Self::Oci => oci(),
            Self::Azure => azure(),
        };
        Profile { semantics, limits }
    }
}

/// AWS: rules by number, sessions of an interface by number, no match means not mirrored, packet by packet. Open: whether a
/// reject ends the search (the documents say that the first session whose filter matches mirrors, so it does not).
fn aws() -> (Semantics, Limits) {
    let semantics = Semantics {
        rule_order: Order::Number,
        session_order: Order::Number,
        sides: Sides::Both,
        bare_rule: BareRule::Ip,
        ..VXTAP
    };
    let limits = Limits {
        session_numbers: 1..=32_766,
        rule_numbers: 1..=32_766,
        lengths: 1..=8_500,
        filter_required: true,
        next: false,
        sessions_per_source: Some(3),
        rules_per_filter: Some(10),
        sources_per_session: Some(1),
        ..vxtap_limits()
    };
    (semantics, limits)
}

/// Google's Packet Mirroring: allow-list of the remote side, IPv4 alone where no range is given. Open: which of two policies
/// wins; taken as the lower priority, and the order of the file between equal ones.
fn gcp() -> (Semantics, Limits) {
    let semantics = Semantics {
        rule_order: Order::Place,
        session_order: Order::NumberOrPlace,
        equal_numbers: EqualNumbers::ByPlace,
        sides: Sides::Remote,
        bare_rule: BareRule::Ipv4,
        ..VXTAP
    };
    let limits = Limits {
        session_numbers: 0..=65_535,
        default_session_number: Some(1_000),
        ports: false,
        reject: false,
        next: false,
        ..vxtap_limits()
    };
    (semantics, limits)
}

/// Google's Network Security Integration: rules by priority from 0, whole flows by who opened them, three actions.
fn gcp_nsi() -> (Semantics, Limits) {
    let semantics = Semantics {
        rule_order: Order::Number,
        reject_ends: RejectEnds::All,
        scope: Scope::Flow,
        sides: Sides::Both,
        bare_rule: BareRule::Ip,
        ..VXTAP
    };
    let limits = Limits { rule_numbers: 0..=2_147_483_647, ..vxtap_limits() };
    (semantics, limits)
}

/// Huawei: the first match ends the search, even a reject in the first session; VNI 1 and 96 bytes where nothing is said.
/// Open: what the length counts; taken as the frame.
fn huawei() -> (Semantics, Limits) {
    let semantics = Semantics {
        rule_order: Order::Number,
        session_order: Order::Number,
        reject_ends: RejectEnds::All,
        sides: Sides::Both,
        bare_rule: BareRule::Ip,
        ..VXTAP
    };
    let limits = Limits {
        session_numbers: 1..=32_766,
        rule_numbers: 1..=65_535,
        lengths: 1..=1_460,
        default_length: Some(96),
        default_vni: Some(1),
        filter_required: true,
        next: false,
        enabled: false,
        sessions_per_source: Some(3),
        rules_per_direction: Some(10),
        sources_per_session: Some(10),
        ..vxtap_limits()
    };
    (semantics, limits)
}

/// NAVER: the VNI is the customer's choice; whole packets up to 1450 bytes (KVM) where no length is given. Open: the rules'
/// order and actions, and what no match means; taken as AWS has them.
fn naver() -> (Semantics, Limits) {
    let semantics = Semantics { sides: Sides::Both, bare_rule: BareRule::Ip, ..VXTAP };
    let limits =
        Limits { lengths: 64..=8_900, default_length: Some(1_450), vni_required: true, next: false, ..vxtap_limits() };
    (semantics, limits)
}

/// Alibaba: a session's priority is unique in the account and region; 1500 bytes where no length is given, the VXLAN header
/// not counted. Open: what a reject ends; taken as the session.
fn alibaba() -> (Semantics, Limits) {
    let semantics = Semantics {
        rule_order: Order::Number,
        session_order: Order::Number,
        equal_numbers: EqualNumbers::RefusedEverywhere,
        sides: Sides::Both,
        bare_rule: BareRule::Ip,
        ..VXTAP
    };
    let limits = Limits {
        session_numbers: 1..=32_766,
        lengths: 64..=8_500,
        default_length: Some(1_500),
        filter_required: true,
        next: false,
        enabled: false,
        ..vxtap_limits()
    };
    (semantics, limits)
}

/// OCI: rules in the order of their list, an absent field is any, a source is mirrored once only. Open: no match, taken as not
/// mirrored; the range of lengths.
fn oci() -> (Semantics, Limits) {
    let semantics = Semantics {
        rule_order: Order::Place,
        session_order: Order::Place,
        reject_ends: RejectEnds::All,
        sides: Sides::Both,
        bare_rule: BareRule::Ip,
        ..VXTAP
    };
    let limits = Limits {
        filter_required: true,
        next: false,
        enabled: false,
        sessions_per_source: Some(1),
        rules_per_filter: Some(10),
        ..vxtap_limits()
    };
    (semantics, limits)
}

/// Azure: no filters, all IPv4 traffic of an interface. Open: VNI, length.
fn azure() -> (Semantics, Limits) {
    let semantics = Semantics { session_order: Order::Place, bare_rule: BareRule::Ipv4, ..VXTAP };
    let limits = Limits { filters: false, ipv6: false, ..vxtap_limits() };
    (semantics, limits)
}

#[cfg(test)]
mod tests;
