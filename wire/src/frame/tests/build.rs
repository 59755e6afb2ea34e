//! Frames put together from literal headers; only lengths are filled in.

use proptest::prelude::*;

use crate::flow::protocol;
use crate::frame::ethertype;

pub(crate) const A4: [u8; 4] = [192, 0, 2, 1];
pub(crate) const B4: [u8; 4] = [198, 51, 100, 2];
pub(crate) const A6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(crate) const B6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

pub(crate) fn ethernet(kind: u16, inside: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &kind.to_be_bytes(), inside].concat()
}

/// From [`A4`] to [`B4`], whole.
pub(crate) fn ipv4(protocol: u8, inside: &[u8]) -> Vec<u8> {
    ipv4_with(&[], [0, 0, 0, 0], protocol, inside)
}

/// With options (a multiple of four bytes), and identification and fragment word.
pub(crate) fn ipv4_with(options: &[u8], fragment: [u8; 4], protocol: u8, inside: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + options.len() as u16 + inside.len() as u16).to_be_bytes();
    let first = [0x45 + (options.len() / 4) as u8, 0, high, low];
    [&first[..], &fragment, &[64, protocol, 0, 0], &A4, &B4, options, inside].concat()
}

/// From [`A6`] to [`B6`].
pub(crate) fn ipv6(next: u8, inside: &[u8]) -> Vec<u8> {
    let [high, low] = (inside.len() as u16).to_be_bytes();
    [&[0x60, 0, 0, 0, high, low, next, 64][..], &A6, &B6, inside].concat()
}

/// An extension header of 8 and `more` times 8 bytes.
pub(crate) fn extension(next: u8, more: u8, inside: &[u8]) -> Vec<u8> {
    // The rest is one PadN option, which hop-by-hop and destination options must have.
    let padding = 4 + 8 * usize::from(more);
    [&[next, more, 1, padding as u8][..], &vec![0; padding], inside].concat()
}

pub(crate) fn tcp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let rest = [1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 0x10, 0, 0, 0, 0, 0];
    [&source.to_be_bytes()[..], &destination.to_be_bytes(), &rest, payload].concat()
}

pub(crate) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    [&source.to_be_bytes()[..], &destination.to_be_bytes(), &length, &[0, 0], payload].concat()
}

/// A frame that is right in all its headers, with no tunnel in it.
#[derive(Clone, Debug)]
pub(crate) struct Generated {
    pub(crate) bytes: Vec<u8>,
    pub(crate) tags: Vec<u16>,
    pub(crate) is_fragment: bool,
}

prop_compose! {
    /// Up to three tags; IPv4 with options or IPv6 with extension headers, whole or a fragment; TCP with options, UDP,
    /// UDP-Lite, SCTP, ICMP, ICMPv6 or a protocol that is not known; padded to the minimum of Ethernet.
    pub(crate) fn frame()(
        tags in prop::collection::vec((prop::sample::select(vec![0x8100u16, 0x88a8, 0x9100]), any::<u16>()), 0..=3),
        is_v6 in any::<bool>(),
        addresses in any::<[u8; 32]>(),
        options in 0..=10usize,
        extensions in prop::collection::vec((prop::sample::select(vec![0u8, 43, 60, protocol::AH]), 0..3u8), 0..3),
        fragment in prop::option::weighted(0.2, (any::<u32>(), 0..0x2000u16, any::<bool>())),
        transport in transport(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) -> Generated {
        let (next, inside) = transport.encode(is_v6, &payload);
        let is_fragment = fragment.is_some_and(|(_, offset, more)| offset != 0 || more);
        let mut packet = if is_v6 {
            let mut next = next;
            let mut inside = inside;
            if let Some((identification, offset, more)) = fragment {
                let word = (offset << 3 | u16::from(more)).to_be_bytes();
                inside = [&[next, 0][..], &word, &identification.to_be_bytes(), &inside].concat();
                next = protocol::IPV6_FRAGMENT;
            }
            for (at, &(kind, more)) in extensions.iter().enumerate() {
                // Hop-by-hop comes first, if at all.
                let kind = if kind == 0 && at + 1 != extensions.len() { 60 } else { kind };
                inside = if kind == protocol::AH {
                    [&[next, 1 + 2 * more, 0, 0][..], &vec![0; 8 + 8 * usize::from(more)], &inside].concat()
                } else {
                    extension(next, more, &inside)
                };
                next = kind;
            }
            ipv6(next, &inside)
        } else {
            let (identification, offset, more) = fragment.unwrap_or((0, 0, false));
            let word = offset | if more { 0x2000 } else { 0 };
            let identification = identification.to_be_bytes();
            let [high, low] = word.to_be_bytes();
            ipv4_with(&vec![1; options * 4], [identification[0], identification[1], high, low], next, &inside)
        };
        if is_v6 {
            packet[8..40].copy_from_slice(&addresses);
        } else {
            packet[12..20].copy_from_slice(&addresses[..8]);
        }
        let mut kind = if is_v6 { ethertype::IPV6 } else { ethertype::IPV4 };
        for &(tag, control) in tags.iter().rev() {
            packet = [&control.to_be_bytes()[..], &kind.to_be_bytes(), &packet].concat();
            kind = tag;
        }
        let mut bytes = ethernet(kind, &packet);
        bytes.resize(bytes.len().max(60), 0);
        let tags = tags.iter().map(|(_, control)| control & 0xfff).collect();
        Generated { bytes, tags, is_fragment }
    }
}

/// What is behind an IP header.
#[derive(Clone, Debug)]
enum Transport {
    Tcp {
        ports: (u16, u16),
        option_words: u8,
    },
    Udp((u16, u16)),
    UdpLite((u16, u16)),
    Sctp((u16, u16)),
    /// ICMP or ICMPv6, whichever the IP version has.
    Icmp {
        kind: u8,
        code: u8,
    },
    Other(u8),
}

impl Transport {
    /// Protocol number and bytes.
    fn encode(&self, is_v6: bool, payload: &[u8]) -> (u8, Vec<u8>) {
        let ports = |(source, destination): (u16, u16)| [source.to_be_bytes(), destination.to_be_bytes()].concat();
        match *self {
            Self::Tcp { ports, option_words } => {
                let mut segment = tcp(ports.0, ports.1, &[&vec![1; 4 * usize::from(option_words)], payload].concat());
                segment[12] = (5 + option_words) << 4;
                (protocol::TCP, segment)
            }
            Self::Udp(ports) => (protocol::UDP, udp(ports.0, ports.1, payload)),
            Self::UdpLite(both) => (protocol::UDP_LITE, [&ports(both)[..], &[0, 8, 0, 0], payload].concat()),
            Self::Sctp(both) => (protocol::SCTP, [&ports(both)[..], &[0; 8], payload].concat()),
            Self::Icmp { kind, code } => {
                let protocol = if is_v6 { protocol::ICMPV6 } else { protocol::ICMP };
                (protocol, [&[kind, code, 0, 0, 1, 2, 3, 4][..], payload].concat())
            }
            Self::Other(protocol) => (protocol, payload.to_vec()),
        }
    }
}

fn transport() -> impl Strategy<Value = Transport> {
    let port = || any::<u16>().prop_filter("a tunnel's port", |port| ![4789, 6081].contains(port));
    let ports = move || (port(), port());
    prop_oneof![
        4 => (ports(), 0..=10u8).prop_map(|(ports, option_words)| Transport::Tcp { ports, option_words }),
        3 => ports().prop_map(Transport::Udp),
        1 => ports().prop_map(Transport::UdpLite),
        1 => ports().prop_map(Transport::Sctp),
        2 => any::<(u8, u8)>().prop_map(|(kind, code)| Transport::Icmp { kind, code }),
        1 => prop::sample::select(vec![protocol::ESP, 46, 88, 89, 103, 135, 253]).prop_map(Transport::Other),
    ]
}
