//! An IP protocol by its name or number.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use vxtap_wire::{IpVersion, protocol};

/// IANA protocol number, that of the header behind IPv6 extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

/// Names of protocols that are written by name.
const NAMES: [(&str, u8); 13] = [
    ("icmp", protocol::ICMP),
    ("igmp", protocol::IGMP),
    ("ipip", protocol::IPV4),
    ("tcp", protocol::TCP),
    ("udp", protocol::UDP),
    ("ipv6", protocol::IPV6),
    ("gre", protocol::GRE),
    ("esp", protocol::ESP),
    ("ah", protocol::AH),
    ("icmpv6", protocol::ICMPV6),
    ("ospf", 89),
    ("sctp", protocol::SCTP),
    ("udplite", protocol::UDP_LITE),
];

impl Protocol {
    /// TCP.
    pub const TCP: Self = Self(protocol::TCP);
    /// UDP.
    pub const UDP: Self = Self(protocol::UDP);
    /// ICMP.
    pub const ICMP: Self = Self(protocol::ICMP);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(protocol::ICMPV6);
    /// SCTP.
    pub const SCTP: Self = Self(protocol::SCTP);

    /// Whether packets of it have ports that a rule can ask for.
    pub const fn has_ports(self) -> bool {
        matches!(self.0, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::UDP_LITE)
    }

    /// The only IP version whose packets have it, where there is only one.
    pub(crate) const fn only_version(self) -> Option<IpVersion> {
        match self {
            Self::ICMP => Some(IpVersion::V4),
            Self::ICMPV6 => Some(IpVersion::V6),
            _ => None,
        }
    }

    /// Its name, where it is written by name.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(_, number)| *number == self.0).map(|(name, _)| *name)
    }

    /// All names.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// By name where it has one, as one writes it.
impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => serializer.serialize_str(name),
            None => serializer.serialize_u8(self.0),
        }
    }
}

impl FromStr for Protocol {
    type Err = ();

    /// Takes a name, in capitals too, or a number from 0 to 255.
    fn from_str(text: &str) -> Result<Self, ()> {
        let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number);
        // `parse` would take a plus sign.
        let number = || text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        named.or_else(number).map(Self).ok_or(())
    }
}
