//! A mirror's envelope: the outer headers of a mirrored datagram as a capture file holds it (link header, IP and UDP around the
//! payload that a socket would have delivered), and the tunnels in it, which [`open`] takes off.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow::protocol;
use crate::frame::{ETHERNET_HEADER_LEN, MAX_EXTENSIONS, ethertype};
use crate::link::{Behind, Link};

mod opening;
mod plain;

pub use opening::{EnvelopeError, Kind, Layers, MAX_LAYERS, Opened, Rules, Vnis, open};
pub use plain::PlainVxlan;

/// A UDP datagram in a frame, and who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterDatagram<'a> {
    /// Outer source address.
    pub source: IpAddr,
    /// Outer source port.
    pub source_port: u16,
    /// Outer destination port.
    pub destination_port: u16,
    /// The UDP payload as far as it is there, without Ethernet padding.
    pub payload: &'a [u8],
    /// Length of the headers in front of the payload, in bytes.
    pub payload_offset: usize,
}

/// The whole UDP datagram in `frame`, which begins as `link` says; `None` for anything else, and for fragments,
/// which the kernel of a receiving host would put together first. VLAN tags of the outer frame, MPLS labels and PPPoE are walked over.
#[inline]
pub fn outer_datagram(link: Link, frame: &[u8]) -> Option<OuterDatagram<'_>> {
    match (link, frame.first()? >> 4) {
        (Link::Ethernet, _) => in_ethernet(frame),
        (Link::Ip, 4) => ipv4(frame, 0),
        (Link::Ip, 6) => ipv6(frame, 0),
        (Link::Ip, _) => None,
        _ => behind_tags(link, frame),
    }
}

#[inline]
fn in_ethernet(frame: &[u8]) -> Option<OuterDatagram<'_>> {
    match u16_at(frame, ETHERNET_HEADER_LEN - 2)? {
        ethertype::IPV4 => ipv4(frame, ETHERNET_HEADER_LEN),
        ethertype::IPV6 => ipv6(frame, ETHERNET_HEADER_LEN),
        _ => behind_tags(Link::Ethernet, frame),
    }
}

#[cold]
fn behind_tags(link: Link, frame: &[u8]) -> Option<OuterDatagram<'_>> {
    match packet(link, frame)? {
        (ethertype::IPV4, at) => ipv4(frame, at),
        (ethertype::IPV6, at) => ipv6(frame, at),
        _ => None,
    }
}

/// MPLS labels that are walked over.
const MAX_LABELS: usize = 16;

/// The EtherType of the packet behind the link header, all VLAN tags, and what a provider's network has put in front of it: MPLS labels or
/// a PPPoE session. And where the packet begins.
fn packet(link: Link, frame: &[u8]) -> Option<(u16, usize)> {
    let Behind::Packet { mut ether_type, mut at } = link.behind(frame) else { return None };
    let mut tags = 0;
    while matches!(ether_type, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD) && tags < 4 {
        ether_type = u16_at(frame, at + 2)?;
        at += 4;
        tags += 1;
    }
    match ether_type {
        ethertype::MPLS | ethertype::MPLS_MULTICAST => behind_labels(frame, at),
        ethertype::PPPOE_SESSION => behind_pppoe(frame, at),
        _ => Some((ether_type, at)),
    }
}

/// RFC 3032: labels to the bottom of the stack, and a packet whose kind only its first nibble tells. A pseudo-wire, whose first nibble is 0, is a
/// tunnel, and what is in it is not the outer packet.
fn behind_labels(frame: &[u8], at: usize) -> Option<(u16, usize)> {
    let labels = frame.get(at..)?.chunks_exact(4).take(MAX_LABELS);
    let at = at + 4 * (labels.into_iter().position(|label| label[2] & 1 != 0)? + 1);
    match frame.get(at)? >> 4 {
        4 => Some((ethertype::IPV4, at)),
        6 => Some((ethertype::IPV6, at)),
        _ => None,
    }
}

/// RFC 2516 section 4: version and type 1, code 0, then the PPP protocol.
fn behind_pppoe(frame: &[u8], at: usize) -> Option<(u16, usize)> {
    let ether_type = match frame.get(at..)?.first_chunk::<8>()? {
        [0x11, 0, _, _, _, _, 0x00, 0x21] => ethertype::IPV4,
        [0x11, 0, _, _, _, _, 0x00, 0x57] => ethertype::IPV6,
        _ => return None,
    };
    Some((ether_type, at + 8))
}

#[inline]
fn ipv4(frame: &[u8], at: usize) -> Option<OuterDatagram<'_>> {
    let header = frame.get(at..)?.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < 20 || header[9] != protocol::UDP {
        return None;
    }
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return None;
    }
    // 0 is what segmentation offload leaves: the frame's end has to do.
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let end = if total_len == 0 { frame.len() } else { frame.len().min(at + total_len) };
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    udp(frame, at + header_len, end, IpAddr::V4(source))
}

#[cold]
fn ipv6(frame: &[u8], at: usize) -> Option<OuterDatagram<'_>> {
    let header = frame.get(at..)?.first_chunk::<40>()?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let source = IpAddr::V6(Ipv6Addr::from_octets(*header[8..].first_chunk::<16>()?));
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let end = if payload_len == 0 { frame.len() } else { frame.len().min(at + 40 + payload_len) };
    match behind_extensions(frame, header[6], at + 40)? {
        Upper { protocol: protocol::UDP, at, is_fragment: false } => udp(frame, at, end, source),
        _ => None,
    }
}

/// What is behind the extension headers of an IPv6 packet.
struct Upper {
    protocol: u8,
    at: usize,
    /// Whether it is a fragment; `protocol` is what the fragment header says then.
    is_fragment: bool,
}

/// Goes over the extension headers (RFC 8200 section 4) that a receiving host takes off in front of a datagram: hop-by-hop options, as
/// jumbograms have them (RFC 2675), destination options, as tunnels have them (RFC 2473 section 4.1.1), routing headers, and a
/// fragment header that says that all is in this packet (RFC 6946). `None` where they are cut.
fn behind_extensions(frame: &[u8], mut next: u8, mut at: usize) -> Option<Upper> {
    for _ in 0..MAX_EXTENSIONS {
        let len = match next {
            0 | 43 | 60 => (usize::from(*frame.get(at + 1)?) + 1) * 8,
            protocol::IPV6_FRAGMENT => 8,
            _ => return Some(Upper { protocol: next, at, is_fragment: false }),
        };
        let header = frame.get(at..)?.first_chunk::<8>()?;
        let is_fragment = next == protocol::IPV6_FRAGMENT && u16::from_be_bytes([header[2], header[3]]) & 0xfff9 != 0;
        next = header[0];
        at += len;
        if is_fragment {
            return Some(Upper { protocol: next, at, is_fragment });
        }
    }
    None
}

#[inline]
fn udp(frame: &[u8], at: usize, end: usize, source: IpAddr) -> Option<OuterDatagram<'_>> {
    // A packet that ends before the header is none, though padding may follow it.
    let header = frame.get(at..end)?.first_chunk::<8>()?;
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let length = usize::from(port(4));
    let end = if length < 8 { end } else { end.min(at + length) };
    Some(OuterDatagram {
        source,
        source_port: port(0),
        destination_port: port(2),
        payload: frame.get(at + 8..end).unwrap_or(&[]),
        payload_offset: at + 8,
    })
}

/// Whether `frame`, which begins as `link` says, is a fragment of a UDP datagram: only who puts them together knows what is in it. Only
/// the first fragment has ports.
pub fn is_fragment_of_datagram(link: Link, frame: &[u8]) -> bool {
    let Some(packet) = packet(link, frame).and_then(|(_, at)| frame.get(at..)) else { return false };
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet.first_chunk::<20>().is_some_and(|header| {
            header[9] == protocol::UDP && u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0
        }),
        Some(6) => packet
            .first_chunk::<40>()
            .and_then(|header| behind_extensions(packet, header[6], 40))
            .is_some_and(|upper| upper.is_fragment && upper.protocol == protocol::UDP),
        _ => false,
    }
}

/// The destination port of the UDP datagram that `frame` is the first fragment of; `None` for anything else.
#[cold]
fn first_fragment_port(link: Link, frame: &[u8]) -> Option<u16> {
    const MORE: u16 = 0x2000;
    let packet = frame.get(packet(link, frame)?.1..)?;
    let udp = match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<20>()?;
            let is_first = u16::from_be_bytes([header[6], header[7]]) & 0x3fff == MORE;
            (is_first && header[9] == protocol::UDP).then_some(usize::from(header[0] & 0x0f) * 4)?
        }
        6 => {
            let upper = behind_extensions(packet, packet.first_chunk::<40>()?[6], 40)?;
            // The fragment header is the eight bytes in front.
            let is_first = upper.is_fragment && u16_at(packet, upper.at - 6)? & 0xfff9 == 1;
            (is_first && upper.protocol == protocol::UDP).then_some(upper.at)?
        }
        _ => return None,
    };
    u16_at(packet, udp + 2)
}

#[inline]
fn u16_at(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
