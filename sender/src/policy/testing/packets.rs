//! Packets, as what they are and as bytes.

use std::net::IpAddr;

use super::Random;
use crate::policy::model::Direction;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Packet {
    pub(in crate::policy) direction: Direction,
    pub(in crate::policy) body: Body,
    /// VLAN tags.
    pub(in crate::policy) tags: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Body {
    Ip {
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        ports: (u16, u16),
        /// Not a whole packet: ports are not looked at.
        fragment: bool,
        /// TCP flags.
        flags: u8,
        /// Whether an extension header of IPv6, or options of IPv4, stand before the transport header.
        extended: bool,
    },
    Arp,
    /// Something else, by its EtherType.
    Other(u16),
}

/// Addresses of both ends.
pub(super) const V4: [&str; 10] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.1.1",
    "10.128.0.1",
    "192.168.7.9",
    "169.254.169.254",
    "169.254.169.123",
    "169.254.169.253",
    "169.254.169.251",
    "168.63.129.16",
];
pub(super) const V6: [&str; 6] =
    ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "fd00:ec2::254", "fd00:ec2::123", "fe80::1"];
pub(super) const PORTS: [u16; 12] = [0, 53, 67, 68, 80, 123, 443, 546, 547, 1688, 10_000, 65_535];
pub(super) const PROTOCOLS: [u8; 6] = [1, 6, 17, 47, 58, 132];

/// A packet at random.
pub(in crate::policy) fn packet(random: &mut Random) -> Packet {
    let direction = random.of(&Direction::BOTH);
    let tags = if random.one_in(6) { 1 + random.below(2) } else { 0 };
    let body = match random.below(16) {
        0 => Body::Arp,
        1 => Body::Other(random.of(&[0x88cc, 0x8035, 0x888e])),
        _ => ip(random),
    };
    Packet { direction, body, tags }
}

fn ip(random: &mut Random) -> Body {
    let address = |text: &str| text.parse().unwrap();
    let (source, destination) = if random.one_in(3) {
        (address(random.of(&V6)), address(random.of(&V6)))
    } else {
        (address(random.of(&V4)), address(random.of(&V4)))
    };
    Body::Ip {
        source,
        destination,
        protocol: random.of(&PROTOCOLS),
        ports: (random.of(&PORTS), random.of(&PORTS)),
        fragment: random.one_in(10),
        flags: random.of(&[0x02, 0x12, 0x10, 0x18]),
        extended: random.one_in(8),
    }
}

/// A whole packet of `protocol` (6 or 17 with ports) from one end to the other, written `address` and port.
pub(in crate::policy) fn packet_of(
    direction: Direction,
    protocol: u8,
    source: (&str, u16),
    destination: (&str, u16),
) -> Packet {
    packet_with(direction, protocol, source, destination, 0x10)
}

/// The same with TCP flags.
pub(in crate::policy) fn packet_with(
    direction: Direction,
    protocol: u8,
    source: (&str, u16),
    destination: (&str, u16),
    flags: u8,
) -> Packet {
    let body = Body::Ip {
        source: source.0.parse().unwrap(),
        destination: destination.0.parse().unwrap(),
        protocol,
        ports: (source.1, destination.1),
        fragment: false,
        flags,
        extended: false,
    };
    Packet { direction, body, tags: 0 }
}

impl Packet {
    /// The frame on the wire.
    pub(in crate::policy) fn bytes(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in 0..self.tags {
            frame.extend([0x81, 0x00, 0, tag as u8 + 5]);
        }
        match self.body {
            Body::Arp => {
                frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
                frame.extend([0; 20]);
            }
            Body::Other(kind) => {
                frame.extend(kind.to_be_bytes());
                frame.extend([0; 46]);
            }
            Body::Ip { source, destination, protocol, ports, fragment, flags, extended } => {
                let transport = transport(protocol, ports, flags);
                let packet = match (source, destination) {
                    (IpAddr::V4(source), IpAddr::V4(destination)) => {
                        ipv4(source.octets(), destination.octets(), protocol, fragment, extended, &transport)
                    }
                    (IpAddr::V6(source), IpAddr::V6(destination)) => {
                        ipv6(source.octets(), destination.octets(), protocol, fragment, extended, &transport)
                    }
                    _ => panic!("two families in one packet"),
                };
                frame.extend(packet);
            }
        }
        frame
    }
}

fn transport(protocol: u8, ports: (u16, u16), flags: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    match protocol {
        6 => bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 16, 0, 0, 0, 0, 0]),
        17 => bytes.extend([0, 12, 0, 0]),
        132 => bytes.extend([0; 8]),
        // A message that is no error and no tunnel.
        _ => bytes = vec![if protocol == 58 { 128 } else { 8 }, 0, 0, 0, 0, 1, 0, 1],
    }
    bytes.extend(b"data");
    bytes
}

fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, fragment: bool, options: bool, inside: &[u8]) -> Vec<u8> {
    let header = if options { 24 } else { 20 };
    let [high, low] = (header + inside.len() as u16).to_be_bytes();
    let more = if fragment { 0x20 } else { 0x40 };
    let mut packet = vec![0x40 + (header / 4) as u8, 0, high, low, 0, 1, more, 0, 64, protocol, 0, 0];
    packet.extend(source);
    packet.extend(destination);
    packet.extend(if options { vec![1, 1, 1, 0] } else { Vec::new() });
    packet.extend(inside);
    [&[0x08, 0x00][..], &packet].concat()
}

fn ipv6(
    source: [u8; 16],
    destination: [u8; 16],
    protocol: u8,
    fragment: bool,
    extended: bool,
    inside: &[u8],
) -> Vec<u8> {
    let mut next = protocol;
    let mut inside = inside.to_vec();
    if fragment {
        inside = [&[next, 0, 0, 1, 0, 0, 0, 9][..], &inside].concat();
        next = 44;
    }
    if extended {
        inside = [&[next, 0, 1, 4, 0, 0, 0, 0][..], &inside].concat();
        next = 60;
    }
    let [high, low] = (inside.len() as u16).to_be_bytes();
    [&[0x86, 0xdd, 0x60, 0, 0, 0, high, low, next, 64][..], &source, &destination, &inside].concat()
}
