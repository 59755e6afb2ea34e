//! The walk over a frame's headers. Each step reads through bounds-checked slices and goes on to the next header.

use super::{
    ETHERNET_HEADER_LEN, Fragment, FrameView, GENEVE_PORT, IcmpHeader, MAX_EXTENSIONS, MAX_SHIMS, MAX_TUNNELS,
    Malformed, Missing, Network, TcpFlags, TcpHeader, Transport, VlanStack, ethertype, icmp_counterpart,
};
use crate::flow::{FiveTuple, IpAddress, IpVersion, protocol};
use crate::vxlan;

const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
const GRE_VERSION: u16 = 0x0007;

pub(super) struct Walk<'a> {
    view: FrameView<'a>,
    /// Tunnel and shim headers seen; bounds the walk.
    shims: u8,
}

/// An IP header's facts that the transport step needs.
struct IpFacts {
    version: IpVersion,
    source: IpAddress,
    destination: IpAddress,
    /// Where the packet ends on the wire, from the start of the frame.
    end: usize,
}

impl<'a> Walk<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let view = FrameView {
            bytes,
            wire_len: bytes.len() as u32,
            vlans: VlanStack::default(),
            network: Network::Other,
            transport: Transport::Other,
            five_tuple: None,
            fragment: None,
            tunnels: 0,
            missing: Missing::Nothing,
            malformed: None,
            network_offset: 0,
            payload_offset: 0,
            payload_wire_len: 0,
        };
        Self { view, shims: 0 }
    }

    #[inline]
    pub(super) fn finish(mut self) -> FrameView<'a> {
        if self.view.missing == Missing::Nothing && self.view.wire_len as usize > self.view.bytes.len() {
            self.view.missing = Missing::Payload;
        }
        self.view
    }

    #[inline]
    fn array<const N: usize>(&self, at: usize) -> Option<&'a [u8; N]> {
        self.view.bytes.get(at..)?.first_chunk::<N>()
    }

    #[inline]
    fn u16_at(&self, at: usize) -> Option<u16> {
        self.array::<2>(at).map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn missing(&mut self, what: Missing) {
        self.view.missing = self.view.missing.max(what);
    }

    fn malformed(&mut self, what: Malformed) {
        self.view.malformed.get_or_insert(what);
    }

    /// Whether one more shim may be walked.
    fn enter_shim(&mut self) -> bool {
        self.shims += 1;
        if self.shims > MAX_SHIMS {
            self.malformed(Malformed::ShimChain);
            return false;
        }
        true
    }

    /// Whether one more tunnel may be looked through. The outer headers' transport facts are dropped: what is
    /// reported is the innermost packet.
    fn enter_tunnel(&mut self) -> bool {
        if self.view.tunnels >= MAX_TUNNELS {
            return false;
        }
        self.view.tunnels += 1;
        true
    }

    #[inline]
    pub(super) fn ethernet(&mut self, at: usize) {
        let Some(header) = self.array::<ETHERNET_HEADER_LEN>(at) else {
            return self.missing(Missing::EthernetHeader);
        };
        self.payload_is_rest(at + ETHERNET_HEADER_LEN);
        self.ether_type(u16::from_be_bytes([header[12], header[13]]), at + ETHERNET_HEADER_LEN);
    }

    #[inline]
    fn ether_type(&mut self, mut ether_type: u16, mut at: usize) {
        loop {
            match ether_type {
                ethertype::IPV4 => return self.ipv4(at),
                ethertype::IPV6 => return self.ipv6(at),
                ethertype::ARP => {
                    self.view.network = Network::Arp;
                    self.view.network_offset = at as u32;
                    self.view.five_tuple = None;
                    return;
                }
                ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD => {
                    let Some(tag) = self.array::<4>(at) else { return self.missing(Missing::Shim) };
                    if !self.enter_shim() {
                        return;
                    }
                    if self.view.tunnels == 0 {
                        self.view.vlans.push(u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff);
                    }
                    ether_type = u16::from_be_bytes([tag[2], tag[3]]);
                    at += 4;
                }
                ethertype::MPLS | ethertype::MPLS_MULTICAST => return self.mpls(at),
                ethertype::PPPOE_SESSION => {
                    let Some(header) = self.array::<8>(at) else { return self.missing(Missing::Shim) };
                    if !self.enter_shim() {
                        return;
                    }
                    // RFC 2516 section 4 and RFC 1661: version and type 1, code 0, then the PPP protocol.
                    ether_type = match (header[0], header[1], [header[6], header[7]]) {
                        (0x11, 0, [0x00, 0x21]) => ethertype::IPV4,
                        (0x11, 0, [0x00, 0x57]) => ethertype::IPV6,
                        _ => return,
                    };
                    at += 8;
                }
                // IEEE 802.3: a length, then an LLC header; SNAP with OUI 0 carries an EtherType.
                length if length < 0x0600 => {
                    let Some(header) = self.array::<8>(at) else { return };
                    if header[..6] != [0xaa, 0xaa, 0x03, 0, 0, 0] || !self.enter_shim() {
                        return;
                    }
                    ether_type = u16::from_be_bytes([header[6], header[7]]);
                    at += 8;
                    if ether_type < 0x0600 {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    /// RFC 3032: labels to the bottom of the stack, then a payload whose kind only its first nibble tells.
    fn mpls(&mut self, mut at: usize) {
        loop {
            let Some(label) = self.array::<4>(at) else { return self.missing(Missing::Shim) };
            if !self.enter_shim() {
                return;
            }
            at += 4;
            if label[2] & 1 != 0 {
                break;
            }
        }
        match self.view.bytes.get(at).map(|byte| byte >> 4) {
            Some(4) => self.ipv4(at),
            Some(6) => self.ipv6(at),
            // RFC 4385: a zero nibble is a pseudo-wire control word in front of an Ethernet frame.
            Some(0) if self.view.bytes.len() > at + 4 + ETHERNET_HEADER_LEN => {
                if self.enter_tunnel() {
                    self.ethernet(at + 4);
                }
            }
            Some(_) => {}
            None => self.missing(Missing::Shim),
        }
    }

    pub(super) fn ip_by_version(&mut self, at: usize) {
        match self.view.bytes.get(at).map(|byte| byte >> 4) {
            Some(4) => self.ipv4(at),
            Some(6) => self.ipv6(at),
            Some(_) => self.malformed(Malformed::IpVersion),
            None => self.missing(Missing::NetworkHeader),
        }
    }

    /// Takes the frame's length on the wire from an IP header whose packet ends at `end`. Only the outermost
    /// one counts: an inner packet may be a part of what the outer one carries.
    #[inline]
    fn learn_wire_len(&mut self, end: usize) {
        if self.view.tunnels == 0 && self.view.five_tuple.is_none() {
            self.view.wire_len = self.view.wire_len.max(end as u32);
        }
    }

    #[inline]
    fn ipv4(&mut self, at: usize) {
        let Some(header) = self.array::<20>(at) else {
            self.view.network = Network::Ipv4;
            return self.missing(Missing::NetworkHeader);
        };
        if header[0] >> 4 != 4 {
            return self.malformed(Malformed::IpVersion);
        }
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header_len < 20 {
            return self.malformed(Malformed::Ipv4HeaderLength);
        }
        // A total length of 0 is what segmentation offload leaves in a packet that was captured before it was cut.
        let end = if total_len == 0 { self.view.bytes.len() } else { at + total_len };
        if end < at + header_len {
            self.malformed(Malformed::Ipv4TotalLength);
        }
        self.learn_wire_len(end);
        let facts = IpFacts {
            version: IpVersion::V4,
            source: IpAddress::v4([header[12], header[13], header[14], header[15]]),
            destination: IpAddress::v4([header[16], header[17], header[18], header[19]]),
            end,
        };
        let fragment_word = u16::from_be_bytes([header[6], header[7]]);
        let fragment = (fragment_word & 0x3fff != 0).then(|| Fragment {
            identification: u32::from(u16::from_be_bytes([header[4], header[5]])),
            offset: u32::from(fragment_word & 0x1fff) * 8,
            more: fragment_word & 0x2000 != 0,
        });
        self.view.network = Network::Ipv4;
        self.view.network_offset = at as u32;
        if at + header_len > self.view.bytes.len() {
            self.missing(Missing::NetworkExtension);
        }
        self.transport(&facts, header[9], at + header_len, fragment);
    }

    fn ipv6(&mut self, at: usize) {
        let Some(header) = self.array::<40>(at) else {
            self.view.network = Network::Ipv6;
            return self.missing(Missing::NetworkHeader);
        };
        if header[0] >> 4 != 6 {
            return self.malformed(Malformed::IpVersion);
        }
        let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        // A payload length of 0 is a jumbogram (RFC 2675) or an offloaded packet: the frame's end has to do.
        let end = if payload_len == 0 { self.view.bytes.len() } else { at + 40 + payload_len };
        self.learn_wire_len(end);
        let facts = IpFacts {
            version: IpVersion::V6,
            source: IpAddress(*header[8..].first_chunk().unwrap_or(&[0; 16])),
            destination: IpAddress(*header[24..].first_chunk().unwrap_or(&[0; 16])),
            end,
        };
        self.view.network = Network::Ipv6;
        self.view.network_offset = at as u32;
        self.ipv6_extensions(&facts, header[6], at + 40);
    }

    /// RFC 8200 section 4. Stops at a fragment whose transport header is in another packet.
    fn ipv6_extensions(&mut self, facts: &IpFacts, mut next: u8, mut at: usize) {
        let mut fragment = None;
        for _ in 0..MAX_EXTENSIONS {
            match next {
                // Hop-by-hop, routing, destination options, mobility, HIP, Shim6: length in 8 bytes, the first not counted.
                0 | 43 | 60 | 135 | 139 | 140 => {
                    let Some([following, len]) = self.array::<2>(at).copied() else {
                        self.missing(Missing::NetworkExtension);
                        return self.transport(facts, next, at, fragment.or(Some(UNKNOWN_FRAGMENT)));
                    };
                    next = following;
                    at += (usize::from(len) + 1) * 8;
                }
                44 => {
                    let Some(header) = self.array::<8>(at) else {
                        self.missing(Missing::NetworkExtension);
                        return self.transport(facts, next, at, Some(UNKNOWN_FRAGMENT));
                    };
                    let word = u16::from_be_bytes([header[2], header[3]]);
                    let here = Fragment {
                        identification: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
                        offset: u32::from(word & 0xfff8),
                        more: word & 1 != 0,
                    };
                    next = header[0];
                    at += 8;
                    // RFC 6946: an "atomic" fragment is a whole packet.
                    if here.offset != 0 || here.more {
                        fragment = Some(here);
                    }
                    if here.offset != 0 {
                        return self.transport(facts, next, at, fragment);
                    }
                }
                protocol::AH => {
                    let Some([following, len]) = self.array::<2>(at).copied() else {
                        self.missing(Missing::NetworkExtension);
                        return self.transport(facts, next, at, fragment);
                    };
                    next = following;
                    // RFC 4302: length in 4 bytes, minus 2.
                    at += (usize::from(len) + 2) * 4;
                }
                _ => return self.transport(facts, next, at, fragment),
            }
        }
        self.malformed(Malformed::Ipv6ExtensionChain);
        self.transport(facts, next, at, fragment);
    }

    /// The header at `at` of `proto`, and through it when it is a tunnel's.
    #[inline]
    fn transport(&mut self, facts: &IpFacts, proto: u8, at: usize, fragment: Option<Fragment>) {
        let mut tuple = FiveTuple {
            source: facts.source,
            destination: facts.destination,
            source_port: 0,
            destination_port: 0,
            protocol: proto,
            version: facts.version,
        };
        self.view.transport = Transport::Other;
        self.view.fragment = fragment.filter(|fragment| *fragment != UNKNOWN_FRAGMENT);
        self.payload_until(at, facts.end);
        if fragment.is_none() {
            match proto {
                protocol::TCP => self.tcp(&mut tuple, at, facts.end),
                protocol::UDP | protocol::UDP_LITE => {
                    if self.udp(&mut tuple, at, facts.end) {
                        return;
                    }
                }
                protocol::SCTP => {
                    self.ports(&mut tuple, at);
                    if self.array::<12>(at).is_some() {
                        self.view.transport = Transport::Sctp;
                        self.payload_until(at + 12, facts.end);
                    } else {
                        self.missing(Missing::TransportHeader);
                    }
                }
                protocol::ICMP if facts.version == IpVersion::V4 => self.icmp(&mut tuple, at, facts),
                protocol::ICMPV6 if facts.version == IpVersion::V6 => self.icmp(&mut tuple, at, facts),
                protocol::IPV4 | protocol::IPV6 => {
                    self.view.five_tuple = Some(tuple);
                    if self.enter_tunnel() {
                        self.inner(at, if proto == protocol::IPV4 { Self::ipv4 } else { Self::ipv6 }, tuple);
                    }
                    return;
                }
                protocol::GRE => {
                    self.view.five_tuple = Some(tuple);
                    return self.gre(at, tuple);
                }
                _ => {}
            }
        }
        self.view.five_tuple = Some(tuple);
    }

    /// Walks a tunnel's inner packet at `at`; where that gives no five-tuple, the tunnel's own stays.
    fn inner(&mut self, at: usize, walk: fn(&mut Self, usize), outer: FiveTuple) {
        let saved = self.view;
        walk(self, at);
        let found = self.view.network_offset != saved.network_offset
            && (self.view.network == Network::Arp || self.view.five_tuple.is_some_and(|inner| inner != outer));
        if !found {
            // What was found wrong or missing on the way in still stands.
            let (missing, malformed) = (self.view.missing, self.view.malformed);
            self.view = FrameView { missing, malformed, ..saved };
        }
    }

    #[inline]
    fn payload_until(&mut self, at: usize, end: usize) {
        self.view.payload_offset = at as u32;
        self.view.payload_wire_len = end.saturating_sub(at) as u32;
    }

    #[inline]
    fn payload_is_rest(&mut self, at: usize) {
        self.payload_until(at, self.view.bytes.len());
    }

    #[inline]
    fn ports(&mut self, tuple: &mut FiveTuple, at: usize) {
        match self.array::<4>(at) {
            Some(ports) => {
                tuple.source_port = u16::from_be_bytes([ports[0], ports[1]]);
                tuple.destination_port = u16::from_be_bytes([ports[2], ports[3]]);
            }
            None => self.missing(Missing::TransportHeader),
        }
    }

    #[inline]
    fn tcp(&mut self, tuple: &mut FiveTuple, at: usize, end: usize) {
        self.ports(tuple, at);
        let Some(header) = self.array::<20>(at) else {
            return self.missing(Missing::TransportHeader);
        };
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < 20 || at + header_len > end {
            self.malformed(Malformed::TcpDataOffset);
        }
        if at + header_len > self.view.bytes.len() {
            self.missing(Missing::TransportHeader);
        }
        self.view.transport = Transport::Tcp(TcpHeader {
            sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            acknowledgement: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            flags: TcpFlags(header[13]),
            window: u16::from_be_bytes([header[14], header[15]]),
        });
        self.payload_until(at + header_len.max(20), end);
    }

    /// Whether the payload was a tunnel's and the inner packet took the view over.
    #[inline]
    fn udp(&mut self, tuple: &mut FiveTuple, at: usize, end: usize) -> bool {
        self.ports(tuple, at);
        let Some(header) = self.array::<8>(at) else {
            self.missing(Missing::TransportHeader);
            return false;
        };
        self.view.transport = Transport::Udp;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        // UDP-Lite has the checksum's coverage there (RFC 3828), and 0 is a jumbogram's length (RFC 2675).
        let udp_end = if tuple.protocol == protocol::UDP_LITE || length == 0 { end } else { at + length };
        if length != 0 && (length < 8 || udp_end > end) {
            self.malformed(Malformed::UdpLength);
        }
        self.payload_until(at + 8, udp_end.min(end));
        match tuple.destination_port {
            vxlan::PORT => self.vxlan(tuple, at + 8),
            GENEVE_PORT => self.geneve(tuple, at + 8),
            _ => false,
        }
    }

    fn vxlan(&mut self, tuple: &FiveTuple, at: usize) -> bool {
        let inner = self.view.bytes.get(at..).map(vxlan::decapsulate);
        if !matches!(inner, Some(Ok(_))) || !self.enter_tunnel() {
            return false;
        }
        self.view.five_tuple = Some(*tuple);
        self.inner(at + vxlan::HEADER_LEN, Self::ethernet, *tuple);
        true
    }

    /// RFC 8926 section 3.4: version 0, options skipped by their length.
    fn geneve(&mut self, tuple: &FiveTuple, at: usize) -> bool {
        let Some(header) = self.array::<8>(at) else { return false };
        let payload = at + 8 + usize::from(header[0] & 0x3f) * 4;
        let walk: fn(&mut Self, usize) = match u16::from_be_bytes([header[2], header[3]]) {
            ethertype::TRANSPARENT_ETHERNET => Self::ethernet,
            ethertype::IPV4 => Self::ipv4,
            ethertype::IPV6 => Self::ipv6,
            _ => return false,
        };
        if header[0] >> 6 != 0 || payload >= self.view.bytes.len() || !self.enter_tunnel() {
            return false;
        }
        self.view.five_tuple = Some(*tuple);
        self.inner(payload, walk, *tuple);
        true
    }

    fn icmp(&mut self, tuple: &mut FiveTuple, at: usize, facts: &IpFacts) {
        let Some([kind, code]) = self.array::<2>(at).copied() else {
            return self.missing(Missing::TransportHeader);
        };
        self.view.transport = Transport::Icmp(IcmpHeader { kind, code });
        tuple.source_port = u16::from(kind);
        tuple.destination_port = u16::from(icmp_counterpart(facts.version, kind).unwrap_or(code));
        if self.array::<8>(at).is_none() {
            self.missing(Missing::TransportHeader);
        }
        self.payload_until(at + 8, facts.end);
    }

    /// RFC 2784 and 2890, and ERSPAN on top of them.
    fn gre(&mut self, at: usize, outer: FiveTuple) {
        let (Some(flags), Some(kind)) = (self.u16_at(at), self.u16_at(at + 2)) else {
            return self.missing(Missing::TransportHeader);
        };
        // Version 1 is PPTP's; routing (RFC 1701) is of variable length and long gone.
        if flags & (GRE_VERSION | GRE_ROUTING) != 0 {
            return;
        }
        let options = [GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE].iter().filter(|flag| flags & **flag != 0).count();
        let body = at + 4 + options * 4;
        let (skip, walk): (usize, fn(&mut Self, usize)) = match kind {
            ethertype::IPV4 => (0, Self::ipv4),
            ethertype::IPV6 => (0, Self::ipv6),
            ethertype::TRANSPARENT_ETHERNET => (0, Self::ethernet),
            // Type I has no header of its own, and no sequence number in front of it.
            ethertype::ERSPAN_II if flags & GRE_SEQUENCE == 0 => (0, Self::ethernet),
            ethertype::ERSPAN_II => (8, Self::ethernet),
            ethertype::ERSPAN_III => {
                let Some(header) = self.array::<12>(body) else { return self.missing(Missing::Shim) };
                // The O bit announces an eight-byte platform header.
                (if header[11] & 1 != 0 { 20 } else { 12 }, Self::ethernet)
            }
            ethertype::MPLS | ethertype::MPLS_MULTICAST => (0, Self::mpls),
            _ => return,
        };
        if self.enter_tunnel() {
            self.inner(body + skip, walk, outer);
        }
    }
}

/// Stands for "ports must not be looked for": a header chain that is cut before the transport header.
const UNKNOWN_FRAGMENT: Fragment = Fragment { identification: u32::MAX, offset: u32::MAX, more: true };
