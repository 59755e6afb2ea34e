//! What rules ask of a packet.

use ipnet::IpNet;
use vxtap_wire::{FiveTuple, FrameView, IpAddress, IpVersion, SteerHash, Transport, protocol};

use crate::policy::protocol::Protocol;

/// The seed of the flow hash. Fixed, so that all hosts choose the same flows where they sample: of a conversation between two
/// mirrored hosts, both see it or none.
const SEED: u32 = 0x7678_7461;

/// What a packet is, as far as rules ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// `None` where there are no whole IP addresses.
    pub(super) ip: Option<Ip>,
    /// Equal for both directions of a flow.
    pub(super) hash: u32,
}

/// An IP packet. Addresses are numbers whose highest bits are the first byte; those of IPv4 have 96 zeros at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip {
    pub(super) version: IpVersion,
    pub(super) source: u128,
    pub(super) destination: u128,
    pub(super) protocol: u8,
    /// Source and destination port, where the packet has some and they are there.
    pub(super) ports: Option<(u16, u16)>,
}

impl Facts {
    #[inline]
    pub(super) fn new(view: &FrameView<'_>) -> Self {
        let Some(tuple) = &view.five_tuple else { return Self { ip: None, hash: frame_hash(view.bytes) } };
        // A header that was cut in its middle has ports that are not both 0.
        let known = matches!(view.transport, Transport::Tcp(_) | Transport::Udp | Transport::Sctp)
            || (tuple.source_port | tuple.destination_port) != 0;
        let ports = (known && Protocol(tuple.protocol).has_ports() && view.fragment.is_none())
            .then_some((tuple.source_port, tuple.destination_port));
        let (source, destination) = (number(tuple.source), number(tuple.destination));
        let ip = Ip { version: tuple.version, source, destination, protocol: tuple.protocol, ports };
        Self { ip: Some(ip), hash: flow_hash(tuple) }
    }

    /// The same with the ends of `tuple`, which is that of the packet or that of one that goes the other way.
    pub(super) fn with_tuple(&self, tuple: &FiveTuple) -> Self {
        let ip = self.ip.map(|ip| Ip {
            source: number(tuple.source),
            destination: number(tuple.destination),
            ports: ip.ports.map(|_| (tuple.source_port, tuple.destination_port)),
            ..ip
        });
        Self { ip, ..*self }
    }
}

#[inline]
fn number(address: IpAddress) -> u128 {
    u128::from_be_bytes(address.0)
}

/// Hash of the flow of `tuple`.
#[inline]
fn flow_hash(tuple: &FiveTuple) -> u32 {
    SteerHash::new(SEED).hash(tuple)
}

/// Hash of a frame that is not IP: of both its Ethernet addresses and its EtherType.
#[cold]
fn frame_hash(frame: &[u8]) -> u32 {
    let Some(header) = frame.first_chunk::<14>() else { return 0 };
    let word = |at: usize| {
        let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        u32::from_be_bytes(bytes) ^ u32::from(u16::from_be_bytes([header[at + 4], header[at + 5]])).rotate_left(16)
    };
    let kind = u16::from_be_bytes([header[12], header[13]]);
    SteerHash::new(SEED).mix(word(0), word(6), kind, kind)
}

/// A network as value and mask of numbers as in [`Ip`].
pub(in crate::policy) fn value_of(net: &IpNet) -> (u128, u128) {
    let mask = match net.prefix_len() {
        0 => 0,
        len => u128::MAX << (128 - u32::from(len)),
    };
    (number(net.network().into()) & mask, mask)
}

/// The family of a network.
pub(super) const fn version_of(net: &IpNet) -> IpVersion {
    match net {
        IpNet::V4(_) => IpVersion::V4,
        IpNet::V6(_) => IpVersion::V6,
    }
}

/// Whether a packet of `protocol` is of ICMP, of either family.
pub(super) const fn is_icmp(ip: &Ip) -> bool {
    matches!((ip.version, ip.protocol), (IpVersion::V4, protocol::ICMP) | (IpVersion::V6, protocol::ICMPV6))
}
