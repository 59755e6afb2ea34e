//! Our own traffic: tunnels to targets and checks of their health. Mirroring it would mirror the mirror.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use vxtap_wire::{IpAddress, IpVersion, protocol};

use super::facts::{Facts, Ip, is_icmp};

mod carried;

pub(crate) use carried::LOOKED_THROUGH;

/// The most entries of a kind: more targets and sockets than a policy can have.
const MAX_ENTRIES: usize = 4096;

/// What is ours. Made anew, and exchanged as a whole, when targets or sockets change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTraffic {
    /// Addresses and ports that tunnels go to.
    targets: Vec<End>,
    /// Ports that tunnels come from, with their addresses. Targets may be reached by other addresses than those that packets
    /// show (a load balancer on this host), but the sockets are ours all the same.
    sockets: Vec<(End, u16)>,
    /// Addresses and ports whose health is checked over TCP.
    health: Vec<End>,
    /// A bit for each port that occurs, so that other packets are looked at once.
    ports: Box<[u64; 1024]>,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    version: IpVersion,
    address: u128,
    port: u16,
}

impl End {
    fn new(address: IpAddr, port: u16) -> Self {
        let version = if address.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
        Self { version, address: u128::from_be_bytes(IpAddress::from(address).0), port }
    }
}

impl Default for OwnTraffic {
    fn default() -> Self {
        Self { targets: Vec::new(), sockets: Vec::new(), health: Vec::new(), ports: Box::new([0; 1024]) }
    }
}

impl OwnTraffic {
    /// Tunnels go to `target` from these `sockets`. False where there are too many already.
    pub(crate) fn add_link(&mut self, target: SocketAddr, sockets: &[SocketAddr]) -> bool {
        let mut is_whole = self.add_target(target);
        for socket in sockets {
            is_whole &= self.add_sockets(socket.ip(), socket.port()..=socket.port());
        }
        is_whole
    }

    /// Tunnels go to `target`. False where there are too many already.
    pub fn add_target(&mut self, target: SocketAddr) -> bool {
        let end = End::new(target.ip().to_canonical(), target.port());
        self.note_ports(target.port()..=target.port());
        add(&mut self.targets, end)
    }

    /// Tunnels come from `ports` of `address` of this host. False where there are too many already.
    pub fn add_sockets(&mut self, address: IpAddr, ports: RangeInclusive<u16>) -> bool {
        self.note_ports(ports.clone());
        add(&mut self.sockets, (End::new(address.to_canonical(), *ports.start()), *ports.end()))
    }

    /// The health of a target is checked by connections to `address`. False where there are too many already.
    pub fn add_health(&mut self, address: SocketAddr) -> bool {
        let end = End::new(address.ip().to_canonical(), address.port());
        self.note_ports(address.port()..=address.port());
        add(&mut self.health, end)
    }

    /// The targets, for the kernel's part.
    pub(in crate::policy) fn targets(&self) -> impl Iterator<Item = (IpVersion, u128, u16)> {
        self.targets.iter().map(|end| (end.version, end.address, end.port))
    }

    fn note_ports(&mut self, ports: RangeInclusive<u16>) {
        for port in ports {
            self.ports[usize::from(port >> 6)] |= 1 << (port & 63);
        }
    }

    #[inline]
    fn knows(&self, port: u16) -> bool {
        self.ports[usize::from(port >> 6)] >> (port & 63) & 1 == 1
    }

    /// Whether a packet is ours, or tells us that one of ours did not arrive. `payload` is what is behind its transport header.
    #[inline]
    pub(super) fn has(&self, facts: &Facts, payload: &[u8]) -> bool {
        let Some(ip) = &facts.ip else { return false };
        match ip.ports {
            Some((source, destination)) => {
                (self.knows(source) || self.knows(destination)) && self.has_ports(ip, (source, destination))
            }
            None if is_icmp(ip) => self.has_error(ip, payload),
            // A fragment: we send none, but a router on the way to the collector may.
            None => {
                ip.protocol == protocol::UDP
                    && self.targets.iter().any(|end| end.version == ip.version && end.address == ip.destination)
            }
        }
    }

    /// Whether a target or one of our sockets is there.
    fn is_tunnel_end(&self, end: End) -> bool {
        self.targets.contains(&end)
            || self.sockets.iter().any(|(first, last)| {
                (end.version, end.address) == (first.version, first.address) && (first.port..=*last).contains(&end.port)
            })
    }

    #[cold]
    fn has_ports(&self, ip: &Ip, (source, destination): (u16, u16)) -> bool {
        let ends = [
            End { version: ip.version, address: ip.source, port: source },
            End { version: ip.version, address: ip.destination, port: destination },
        ];
        match ip.protocol {
            protocol::UDP => ends.into_iter().any(|end| self.is_tunnel_end(end)),
            protocol::TCP => ends.iter().any(|end| self.health.contains(end)),
            _ => false,
        }
    }

    /// Whether an ICMP error quotes a packet of a tunnel: each would bring the next one otherwise. The quoted packet begins
    /// behind the first eight bytes of the message.
    #[cold]
    fn has_error(&self, ip: &Ip, quoted: &[u8]) -> bool {
        let (header_len, protocol, address) = match (ip.version, quoted) {
            (IpVersion::V4, [first, ..]) if first >> 4 == 4 && quoted.len() >= 20 => {
                let address = u32::from_be_bytes([quoted[16], quoted[17], quoted[18], quoted[19]]);
                (usize::from(first & 15) * 4, quoted[9], u128::from(address) << 96)
            }
            (IpVersion::V6, [first, ..]) if first >> 4 == 6 && quoted.len() >= 40 => {
                let address = quoted[24..].first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
                (40, quoted[6], address)
            }
            _ => return false,
        };
        let Some(ports) = quoted.get(header_len..).and_then(<[u8]>::first_chunk::<4>) else { return false };
        let port = u16::from_be_bytes([ports[2], ports[3]]);
        protocol == protocol::UDP && self.targets.contains(&End { version: ip.version, address, port })
    }
}

fn add<T: PartialEq>(entries: &mut Vec<T>, entry: T) -> bool {
    if entries.contains(&entry) {
        return true;
    }
    let room = entries.len() < MAX_ENTRIES;
    if room {
        entries.push(entry);
    }
    room
}
