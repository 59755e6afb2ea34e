//! Flow identity: the five-tuple of one packet, and the key under which both directions of a flow meet.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IANA protocol numbers that this crate looks into.
pub mod protocol {
    #![allow(missing_docs)]
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const IPV6_FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT_HEADER: u8 = 59;
    pub const SCTP: u8 = 132;
    pub const UDP_LITE: u8 = 136;
}

/// Which IP a packet is of. Part of the identity: `::ffff:1.2.3.4` on the wire is not `1.2.3.4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum IpVersion {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

/// An address of either family in 16 bytes; IPv4 fills the first four, the rest is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpAddress(pub [u8; 16]);

impl IpAddress {
    /// An IPv4 address.
    #[inline]
    pub const fn v4(octets: [u8; 4]) -> Self {
        // As one number, so that it is stored at once: a copy that follows would wait for several small stores.
        Self((u32::from_le_bytes(octets) as u128).to_le_bytes())
    }

    /// The four bytes of an IPv4 address (the first four of an IPv6 one).
    #[inline]
    pub const fn first_four(self) -> [u8; 4] {
        [self.0[0], self.0[1], self.0[2], self.0[3]]
    }

    /// The standard library's form, read as `version`.
    pub const fn to_ip(self, version: IpVersion) -> IpAddr {
        match version {
            IpVersion::V4 => IpAddr::V4(Ipv4Addr::new(self.0[0], self.0[1], self.0[2], self.0[3])),
            IpVersion::V6 => IpAddr::V6(Ipv6Addr::from_octets(self.0)),
        }
    }
}

impl From<IpAddr> for IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::v4(v4.octets()),
            IpAddr::V6(v6) => Self(v6.octets()),
        }
    }
}

/// Source and destination as one packet shows them.
///
/// Ports are those of TCP, UDP, UDP-Lite and SCTP. ICMP and ICMPv6 put the message type into the source port and,
/// for a request or a reply, the type of its counterpart into the destination port, so that a request and its reply
/// are one flow; other messages have their code there (as Community ID does). Everything else, and each fragment of a
/// fragmented packet, has ports 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FiveTuple {
    /// Source address.
    pub source: IpAddress,
    /// Destination address.
    pub destination: IpAddress,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IANA protocol number, of the header behind IPv6 extension headers.
    pub protocol: u8,
    /// The family of both addresses.
    pub version: IpVersion,
}

impl FiveTuple {
    /// Source address in the standard library's form.
    pub const fn source_ip(&self) -> IpAddr {
        self.source.to_ip(self.version)
    }

    /// Destination address in the standard library's form.
    pub const fn destination_ip(&self) -> IpAddr {
        self.destination.to_ip(self.version)
    }

    /// The five-tuple of a packet going the other way.
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..*self
        }
    }

    /// Whether the ports are ICMP types and codes rather than ports.
    #[inline]
    pub const fn is_icmp(&self) -> bool {
        matches!((self.version, self.protocol), (IpVersion::V4, protocol::ICMP) | (IpVersion::V6, protocol::ICMPV6))
    }
}

impl fmt::Display for FiveTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |ip: IpAddr, port: u16| match ip {
            IpAddr::V4(ip) => format!("{ip}:{port}"),
            IpAddr::V6(ip) => format!("[{ip}]:{port}"),
        };
        let (source, destination) =
            (end(self.source_ip(), self.source_port), end(self.destination_ip(), self.destination_port));
        write!(f, "{source} > {destination} proto {}", self.protocol)
    }
}

/// Which network a flow belongs to, so that two tenants with the same addresses stay apart.
///
/// By default the VNI; identifiers above [`NetworkId::FIRST_NAMED`] stand for configured networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u32);

/// A [`NetworkId`] could not be made from the number given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNetworkId(pub u32);

impl NetworkId {
    /// Frames that came in no tunnel (a capture file of plain traffic).
    pub const NONE: Self = Self(u32::MAX);
    /// The first identifier that is not a VNI.
    pub const FIRST_NAMED: u32 = crate::vxlan::Vni::MAX + 1;
}

impl From<crate::vxlan::Vni> for NetworkId {
    fn from(vni: crate::vxlan::Vni) -> Self {
        Self(vni.get())
    }
}

/// Whether a packet went from the low to the high end of its [`FlowKey`] or back: a fact of one packet.
///
/// Who spoke first needs history, so originator and responder are the flow table's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The source is the low end.
    LowToHigh,
    /// The source is the high end.
    HighToLow,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::LowToHigh => Self::HighToLow,
            Self::HighToLow => Self::LowToHigh,
        }
    }
}

/// The identity of a flow: network and five-tuple with the ends in order, equal for both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The end that orders first, by address and then port.
    pub low: IpAddress,
    /// The other end.
    pub high: IpAddress,
    /// Port of the low end.
    pub low_port: u16,
    /// Port of the high end.
    pub high_port: u16,
    /// The network both ends are in.
    pub network: NetworkId,
    /// IANA protocol number.
    pub protocol: u8,
    /// The family of both addresses.
    pub version: IpVersion,
}

impl FlowKey {
    /// The key of the flow that a packet with `tuple` in `network` belongs to, and which way the packet went.
    #[inline]
    pub fn new(network: NetworkId, tuple: &FiveTuple) -> (Self, Direction) {
        // As numbers, which order as their big-endian bytes do, ends are compared and exchanged in registers. Which way
        // a packet goes is as good as random, so the exchange has to do without a branch.
        let source = (u128::from_be_bytes(tuple.source.0), tuple.source_port);
        let destination = (u128::from_be_bytes(tuple.destination.0), tuple.destination_port);
        let (low, high, direction) = if source <= destination {
            (source, destination, Direction::LowToHigh)
        } else {
            (destination, source, Direction::HighToLow)
        };
        let key = Self {
            low: IpAddress(low.0.to_be_bytes()),
            high: IpAddress(high.0.to_be_bytes()),
            low_port: low.1,
            high_port: high.1,
            network,
            protocol: tuple.protocol,
            version: tuple.version,
        };
        (key, direction)
    }

    /// Whether both are one flow: as `==`, with all fields compared at once. The one flow that is looked at is nearly always the right one, so
    /// nothing is gained by ending at the first difference.
    #[inline]
    pub const fn is(&self, other: &Self) -> bool {
        let ends = (u128::from_ne_bytes(self.low.0) ^ u128::from_ne_bytes(other.low.0))
            | (u128::from_ne_bytes(self.high.0) ^ u128::from_ne_bytes(other.high.0));
        let ports = (self.low_port ^ other.low_port) | (self.high_port ^ other.high_port);
        let protocol = (self.protocol ^ other.protocol) | (self.version as u8 ^ other.version as u8);
        let rest = (self.network.0 ^ other.network.0) | ports as u32 | protocol as u32;
        ends as u64 | (ends >> 64) as u64 | rest as u64 == 0
    }

    /// The five-tuple of a packet of this flow that goes in `direction`.
    pub const fn five_tuple(&self, direction: Direction) -> FiveTuple {
        let low_to_high = FiveTuple {
            source: self.low,
            destination: self.high,
            source_port: self.low_port,
            destination_port: self.high_port,
            protocol: self.protocol,
            version: self.version,
        };
        match direction {
            Direction::LowToHigh => low_to_high,
            Direction::HighToLow => low_to_high.reversed(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
