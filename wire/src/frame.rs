//! A view of one frame, looked through to its innermost five-tuple.
//!
//! The walk goes link header ([`Link`]), VLAN tags, MPLS labels, PPPoE, IP with options or extension headers, transport header.
//! A tunnel that the mirrored host itself used (IP in IP, GRE, ERSPAN, VXLAN, GENEVE) is walked through, at most
//! [`MAX_TUNNELS`] deep; the frame's bytes stay as they are. Nothing here allocates or panics, and mirrors cut
//! frames: a view of a short frame has what is there and says in [`FrameView::missing`] what is not.

use crate::flow::{FiveTuple, IpVersion};
use crate::link::Link;

/// Length of an untagged Ethernet header in bytes.
pub const ETHERNET_HEADER_LEN: usize = 14;
/// How many tunnels inside the frame are looked through; what is below counts as payload.
pub const MAX_TUNNELS: u8 = 4;
/// How many VLAN tags and MPLS labels together are walked in one frame before it counts as malformed.
const MAX_SHIMS: u8 = 16;
/// Bytes behind this offset are not looked at: no link carries such a frame, and sums of offsets fit 32 bits.
const MAX_READABLE: usize = i32::MAX as usize;
/// How many IPv6 extension headers are walked in one packet before it counts as malformed.
pub(crate) const MAX_EXTENSIONS: u8 = 128;

/// EtherTypes that the walk knows.
pub mod ethertype {
    #![allow(missing_docs)]
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const TRANSPARENT_ETHERNET: u16 = 0x6558;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86DD;
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_MULTICAST: u16 = 0x8848;
    pub const PPPOE_SESSION: u16 = 0x8864;
    pub const ERSPAN_II: u16 = 0x88BE;
    pub const QINQ: u16 = 0x88A8;
    pub const QINQ_OLD: u16 = 0x9100;
    pub const ERSPAN_III: u16 = 0x22EB;
    pub const LOCAL_EXPERIMENT: u16 = 0x88B5;
}

/// What a network header is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// ARP: no five-tuple.
    Arp,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Anything else, or cut off before it could be told.
    #[default]
    Other,
}

/// The TCP flag byte (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    #![allow(missing_docs)]
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;

    /// Whether any of `bits` is set.
    #[inline]
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }
}

/// The fixed part of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    /// Sequence number of the first payload byte (of the SYN where that flag is set).
    pub sequence: u32,
    /// Acknowledgement number; only of meaning with the ACK flag.
    pub acknowledgement: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Window as sent, not scaled.
    pub window: u16,
}

/// Type and code of an ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpHeader {
    /// Message type.
    pub kind: u8,
    /// Message code.
    pub code: u8,
}

/// The innermost transport header, where it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP, the whole fixed header seen.
    Tcp(TcpHeader),
    /// UDP or UDP-Lite.
    Udp,
    /// SCTP.
    Sctp,
    /// ICMP or ICMPv6.
    Icmp(IcmpHeader),
    /// Another protocol, a fragment, or a header that is cut off. Ports may be known all the same.
    #[default]
    Other,
}

/// Where a fragment lies in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identification that the fragments of one packet share.
    pub identification: u32,
    /// Offset of this fragment's payload in bytes.
    pub offset: u32,
    /// Whether more fragments follow.
    pub more: bool,
}

/// The VLAN identifiers in front of the outermost network header, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VlanStack {
    ids: [u16; 2],
    count: u8,
}

impl VlanStack {
    /// How many tags the frame has; only the first two identifiers are kept.
    pub const fn count(self) -> u8 {
        self.count
    }

    /// The identifiers of the first two tags.
    pub fn ids(&self) -> &[u16] {
        &self.ids[..usize::from(self.count).min(self.ids.len())]
    }

    #[inline]
    fn push(&mut self, id: u16) {
        if let Some(slot) = self.ids.get_mut(usize::from(self.count)) {
            *slot = id;
        }
        self.count = self.count.saturating_add(1);
    }
}

/// The first thing that a truncated frame lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// The frame is whole.
    #[default]
    Nothing,
    /// Headers are whole, payload bytes are missing at the end.
    Payload,
    /// The transport header is cut; ports are known if its first four bytes are there.
    TransportHeader,
    /// IPv4 options or IPv6 extension headers are cut.
    NetworkExtension,
    /// The IP or ARP header is cut: no five-tuple from there.
    NetworkHeader,
    /// A VLAN tag, LLC header, MPLS label, PPPoE or tunnel header is cut.
    Shim,
    /// The Ethernet header is cut, or another link's.
    LinkHeader,
}

/// The first thing in the frame that contradicts its own format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The version field of an IP header is not what was announced before it.
    IpVersion,
    /// IPv4 header length below 20 bytes.
    Ipv4HeaderLength,
    /// IPv4 total length below the header length.
    Ipv4TotalLength,
    /// More IPv6 extension headers than are walked.
    Ipv6ExtensionChain,
    /// TCP data offset below 20 bytes, or behind the end of the packet.
    TcpDataOffset,
    /// UDP length below 8, or behind the end of the packet.
    UdpLength,
    /// More VLAN tags and labels than are walked.
    ShimChain,
    /// A packet that, by its own length, ends before the end of a header that it announces.
    PacketTooShort,
}

/// One inner frame and what was found in it.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// The frame's bytes as they came.
    pub bytes: &'a [u8],
    /// What they begin with.
    pub link: Link,
    /// Length of the frame when it was sent: `bytes.len()`, or more when a mirror cut it. Recovered from the
    /// outermost IP header inside the frame (or ARP, IEEE 802.3 or PPPoE where there is none), since VXLAN carries no
    /// original length. A header that says too much looks the same as a frame that was cut.
    pub wire_len: u32,
    /// VLAN tags in front of the outermost network header.
    pub vlans: VlanStack,
    /// The innermost IP header; ARP or something else only where the frame has no IP header.
    pub network: Network,
    /// The innermost transport header.
    pub transport: Transport,
    /// The innermost five-tuple; `None` without whole IP addresses. A tunnel whose inside has no five-tuple, because
    /// it is cut off or is not IP, keeps its own.
    pub five_tuple: Option<FiveTuple>,
    /// Set when the innermost packet is a fragment, the first one included.
    pub fragment: Option<Fragment>,
    /// Tunnels of the mirrored host that were looked through, down to the packet that the view shows.
    pub tunnels: u8,
    /// Whether there are more tunnels, one in the other, than are looked through ([`MAX_TUNNELS`]).
    pub too_deep: bool,
    /// What is cut off first, inside tunnels as well.
    pub missing: Missing,
    /// What contradicts itself.
    pub malformed: Option<Malformed>,
    network_offset: u32,
    payload_offset: u32,
    payload_len: u32,
    payload_wire_len: u32,
}

impl<'a> FrameView<'a> {
    /// Looks at `frame`, which begins with an Ethernet header.
    #[inline]
    pub fn parse(frame: &'a [u8]) -> Self {
        Self::parse_link(Link::Ethernet, frame)
    }

    /// Looks at `frame` as [`FrameView::parse`] does, but only at its outermost packet: what the mirrored host's own tunnels
    /// carry is payload. That is the packet that a mirror filter is about.
    #[inline]
    pub fn parse_outermost(frame: &'a [u8]) -> Self {
        let mut view = Self::unseen(Link::Ethernet, frame);
        if !view.see_usual() {
            view.walk(0, Walk::ethernet);
        }
        view
    }

    /// Looks at `frame`, which begins as `link` says.
    #[inline]
    pub fn parse_link(link: Link, frame: &'a [u8]) -> Self {
        let mut view = Self::unseen(link, frame);
        view.look();
        view
    }

    /// Looks at `packet`, which begins with an IPv4 or IPv6 header and has no Ethernet header.
    #[inline]
    pub fn parse_ip(packet: &'a [u8]) -> Self {
        Self::parse_link(Link::Ip, packet)
    }

    /// A view in which nothing has been looked at yet; [`FrameView::look`] does, in the place where the view is then: moving it takes as long
    /// as looking.
    #[inline]
    pub fn unseen(link: Link, bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            link,
            wire_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            vlans: VlanStack::default(),
            network: Network::Other,
            transport: Transport::Other,
            five_tuple: None,
            fragment: None,
            tunnels: 0,
            too_deep: false,
            missing: Missing::Nothing,
            malformed: None,
            network_offset: 0,
            payload_offset: 0,
            payload_len: 0,
            payload_wire_len: 0,
        }
    }

    /// Looks at the frame of a view that is as [`FrameView::unseen`] gave it.
    #[inline]
    pub fn look(&mut self) {
        match self.link {
            Link::Ethernet => {
                if !self.see_usual() {
                    self.walk(MAX_TUNNELS, Walk::ethernet);
                }
            }
            Link::Ip => self.walk(MAX_TUNNELS, Walk::ip_by_version),
            link => self.walk(MAX_TUNNELS, |walk, view, _| walk.cooked(view, link)),
        }
    }

    /// Not inlined, so that the view is filled where the caller has it.
    #[inline(never)]
    fn walk(&mut self, max_tunnels: u8, first: impl FnOnce(&mut Walk<'a>, &mut Self, usize)) {
        first(&mut Walk::new(self.bytes, max_tunnels), self, 0);
        let cut = self.bytes_missing() != 0 || self.payload_wire_len > self.payload_len;
        if cut && self.missing == Missing::Nothing {
            self.missing = Missing::Payload;
        }
    }

    /// The payload behind the innermost transport header (of the IP header where there is none), as far as it is
    /// there. Ethernet padding is not in it.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        // An offset behind the end of a truncated frame has length 0.
        let there = self.bytes.get(self.payload_offset as usize..).unwrap_or_default();
        there.get(..self.payload_len as usize).unwrap_or_default()
    }

    /// Bytes from the frame's beginning to the payload: all headers, as far as they are there.
    #[inline]
    pub fn headers_len(&self) -> usize {
        (self.payload_offset as usize).min(self.bytes.len())
    }

    /// Length in bytes of the payload when it was sent.
    #[inline]
    pub const fn payload_wire_len(&self) -> u32 {
        self.payload_wire_len
    }

    /// Bytes that the mirror cut off the end of the frame.
    #[inline]
    pub const fn bytes_missing(&self) -> u32 {
        (self.wire_len as usize).saturating_sub(self.bytes.len()) as u32
    }

    /// Where the innermost network header starts, in bytes from the start of the frame.
    pub const fn network_offset(&self) -> usize {
        self.network_offset as usize
    }
}

/// The type of the message that answers, or is answered by, ICMP message `kind`; `None` for a one-way message.
pub(crate) const fn icmp_counterpart(version: IpVersion, kind: u8) -> Option<u8> {
    // Pairs as the Community ID specification lists them.
    Some(match (version, kind) {
        (IpVersion::V4, 0) => 8,
        (IpVersion::V4, 8) => 0,
        (IpVersion::V4, 9) => 10,
        (IpVersion::V4, 10) => 9,
        (IpVersion::V4, 13) => 14,
        (IpVersion::V4, 14) => 13,
        (IpVersion::V4, 15) => 16,
        (IpVersion::V4, 16) => 15,
        (IpVersion::V4, 17) => 18,
        (IpVersion::V4, 18) => 17,
        (IpVersion::V6, 128) => 129,
        (IpVersion::V6, 129) => 128,
        (IpVersion::V6, 130) => 131,
        (IpVersion::V6, 131) => 130,
        (IpVersion::V6, 133) => 134,
        (IpVersion::V6, 134) => 133,
        (IpVersion::V6, 135) => 136,
        (IpVersion::V6, 136) => 135,
        (IpVersion::V6, 139) => 140,
        (IpVersion::V6, 140) => 139,
        (IpVersion::V6, 144) => 145,
        (IpVersion::V6, 145) => 144,
        _ => return None,
    })
}

mod usual;
mod walk;

pub use usual::usual_five_tuple;
use walk::Walk;

#[cfg(test)]
pub(crate) mod tests;
