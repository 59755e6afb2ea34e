//! Link headers that are neither Ethernet nor nothing. Their formats are in the registry of link types that tcpdump.org keeps.

use super::{Behind, Link};
use crate::frame::ethertype;

/// EtherTypes are not less (IEEE 802.3 clause 3.2.6); Linux numbers frames without one below.
const MIN_ETHERTYPE: u16 = 0x0600;
/// Kinds of hardware whose protocol field is no EtherType: frame relay, IEEE 802.11 with radiotap, and netlink.
const OWN_PROTOCOLS: [u16; 3] = [770, 803, 824];
/// Attributes of a packet's log that are walked before its payload must have come; the kernel writes some twenty.
const MAX_ATTRIBUTES: u32 = 64;
/// The attribute that holds the packet (`NFULA_PAYLOAD`).
const NFLOG_PAYLOAD: u16 = 9;

impl Link {
    #[cold]
    pub(super) fn behind_cooked(self, frame: &[u8]) -> Behind {
        match self {
            Self::Loopback => loopback(frame),
            Self::LinuxSll => sll(frame),
            Self::LinuxSll2 => sll2(frame),
            Self::Ppp => ppp(frame),
            Self::Nflog => nflog(frame),
            Self::Ethernet | Self::Ip => self.behind(frame),
        }
    }
}

fn announced(ether_type: u16, at: usize) -> Behind {
    if ether_type >= MIN_ETHERTYPE { Behind::Packet { ether_type, at } } else { Behind::Other(at) }
}

/// The family is in the order of the host that captured, or (OpenBSD) of the network. IPv4 is 2 everywhere; IPv6 is 24 on NetBSD and
/// OpenBSD, 28 on FreeBSD, 30 on macOS and 10 on Linux.
fn loopback(frame: &[u8]) -> Behind {
    let Some(family) = frame.first_chunk::<4>() else { return Behind::Cut };
    let family = u32::from_le_bytes(*family);
    match if family > 0xffff { family.swap_bytes() } else { family } {
        2 => Behind::Packet { ether_type: ethertype::IPV4, at: 4 },
        10 | 24 | 28 | 30 => Behind::Packet { ether_type: ethertype::IPV6, at: 4 },
        _ => Behind::Other(4),
    }
}

/// Packet type, kind of hardware, length of the address, address in 8 bytes, protocol.
fn sll(frame: &[u8]) -> Behind {
    let Some([_, _, hardware @ .., high, low]) = frame.first_chunk::<16>() else { return Behind::Cut };
    of_linux([hardware[0], hardware[1]], [*high, *low], 16)
}

/// Protocol, two bytes of zeros, interface, kind of hardware, packet type, length of the address, address in 8 bytes.
fn sll2(frame: &[u8]) -> Behind {
    let Some(header) = frame.first_chunk::<20>() else { return Behind::Cut };
    of_linux([header[8], header[9]], [header[0], header[1]], 20)
}

fn of_linux(hardware: [u8; 2], protocol: [u8; 2], at: usize) -> Behind {
    if OWN_PROTOCOLS.contains(&u16::from_be_bytes(hardware)) {
        return Behind::Other(at);
    }
    announced(u16::from_be_bytes(protocol), at)
}

/// RFC 1661, with the address and control bytes of RFC 1662 where there are any; a protocol of one byte is odd.
fn ppp(frame: &[u8]) -> Behind {
    let start = if frame.starts_with(&[0xff, 0x03]) { 2 } else { 0 };
    let Some(first) = frame.get(start) else { return Behind::Cut };
    let (protocol, at) = if first & 1 == 1 {
        (u16::from(*first), start + 1)
    } else {
        let Some(low) = frame.get(start + 1) else { return Behind::Cut };
        (u16::from_be_bytes([*first, *low]), start + 2)
    };
    match protocol {
        0x0021 => Behind::Packet { ether_type: ethertype::IPV4, at },
        0x0057 => Behind::Packet { ether_type: ethertype::IPV6, at },
        0x0281 => Behind::Packet { ether_type: ethertype::MPLS, at },
        0x0283 => Behind::Packet { ether_type: ethertype::MPLS_MULTICAST, at },
        _ => Behind::Other(at),
    }
}

/// Address family, version 0, two bytes, and attributes: length with its own four bytes, kind, value, up to the next multiple of four. Their
/// numbers are in the order of the host that logged.
fn nflog(frame: &[u8]) -> Behind {
    let Some([family, version, ..]) = frame.first_chunk::<4>() else { return Behind::Cut };
    let ether_type = match (version, family) {
        (0, 2) => ethertype::IPV4,
        (0, 10) => ethertype::IPV6,
        _ => return Behind::Other(4),
    };
    let payload = |number: fn([u8; 2]) -> u16| {
        let mut at = 4_usize;
        for _ in 0..MAX_ATTRIBUTES {
            let [length @ .., kind_first, kind_second] = *frame.get(at..)?.first_chunk::<4>()?;
            let length = usize::from(number(length));
            if number([kind_first, kind_second]) == NFLOG_PAYLOAD {
                return Some(at + 4);
            }
            at += length.max(4).next_multiple_of(4);
        }
        None
    };
    match payload(u16::from_le_bytes).or_else(|| payload(u16::from_be_bytes)) {
        Some(at) => Behind::Packet { ether_type, at },
        None => Behind::Cut,
    }
}
