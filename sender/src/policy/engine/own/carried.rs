//! Our copies in the packets of other tunnels.
//!
//! Where the way to a target goes through a VPN or an overlay, each copy leaves once more, in a packet of that tunnel, and
//! crosses the interface that the tunnel uses. If that is captured, the packet would be mirrored, its copy would take the same
//! way, and so on without end. What a tunnel puts in front of a packet has many formats (VXLAN and GENEVE at any port, GRE, IP in
//! IP, PPPoE, segment routing, MPLS, and these in each other), but it leaves the packet as it is: our IP and UDP headers stand
//! somewhere near the beginning of the frame, next to each other. So they are looked for as such, by no format, wherever they are.

use vxtap_wire::{ETHERNET_HEADER_LEN, IpVersion, ethertype, protocol};

use super::{End, OwnTraffic};

/// How far into a frame a copy is looked for: three tunnels in each other, with IPv6 headers, tags and options, end before.
pub(crate) const LOOKED_THROUGH: usize = 512;
/// How many bytes that may be a header's protocol are looked at: headers of tunnels have a few. What has more is data, which is not to
/// cost more than other data.
const MOST_LOOKS: usize = 32;
const TAG_LEN: usize = 4;
/// The first byte of an IPv4 header without options, which our packets have none of (RFC 791 section 3.1).
const IPV4_WITHOUT_OPTIONS: u8 = 0x45;
const IPV4: Header = Header { version: IpVersion::V4, protocol_at: 9, source_at: 12, address_len: 4 };
const IPV6: Header = Header { version: IpVersion::V6, protocol_at: 6, source_at: 8, address_len: 16 };

/// Where an IP header without options or extensions has what (RFC 791 section 3.1, RFC 8200 section 3). Its addresses are its end.
#[derive(Clone, Copy)]
struct Header {
    version: IpVersion,
    protocol_at: usize,
    source_at: usize,
    address_len: usize,
}

impl Header {
    const fn len(self) -> usize {
        self.source_at + 2 * self.address_len
    }

    /// The address at `at`, as [`End`] has it.
    fn address(self, bytes: &[u8], at: usize) -> u128 {
        let mut octets = [0; 16];
        octets[..self.address_len].copy_from_slice(&bytes[at..at + self.address_len]);
        u128::from_be_bytes(octets)
    }
}

impl OwnTraffic {
    /// Whether the Ethernet frame has one of our packets in another packet: one with a target or one of our sockets as an end. A
    /// frame that is itself such a packet has none in it. Looks at [`LOOKED_THROUGH`] bytes; neither allocates nor panics.
    #[inline]
    pub(crate) fn is_carried_in(&self, frame: &[u8]) -> bool {
        let Some(begin) = behind_network_header(frame) else { return false };
        let bytes = &frame[..frame.len().min(LOOKED_THROUGH)];
        // UDP's number is looked for first: nearly all packets are done with that.
        memchr::memchr_iter(protocol::UDP, bytes.get(begin..).unwrap_or_default())
            .take(MOST_LOOKS)
            .any(|found| self.is_ours(bytes, begin, begin + found))
    }

    /// Whether a packet of ours begins at `begin` or behind it whose header has its protocol at `found`.
    fn is_ours(&self, bytes: &[u8], begin: usize, found: usize) -> bool {
        let header = |layout: Header| {
            let start = found.checked_sub(layout.protocol_at).filter(|start| *start >= begin)?;
            bytes.get(start..)
        };
        let v4 = header(IPV4).is_some_and(|it| it[0] == IPV4_WITHOUT_OPTIONS && self.has_end_of(IPV4, it));
        v4 || header(IPV6).is_some_and(|it| it[0] >> 4 == 6 && self.has_end_of(IPV6, it))
    }

    /// Whether a target or one of our sockets is an end of the packet. One that is cut before its ports end has none.
    fn has_end_of(&self, layout: Header, packet: &[u8]) -> bool {
        let Some(ports) = packet.get(layout.len()..).and_then(<[u8]>::first_chunk::<4>) else { return false };
        let ports = [[ports[0], ports[1]], [ports[2], ports[3]]].map(u16::from_be_bytes);
        ports.into_iter().enumerate().any(|(place, port)| {
            self.knows(port) && {
                let address = layout.address(packet, layout.source_at + place * layout.address_len);
                self.is_tunnel_end(End { version: layout.version, address, port })
            }
        })
    }
}

/// Where another packet may begin in a frame: behind its first IP header, or behind its Ethernet header where it has none.
/// `None` for TCP: no tunnel shows its packets in there, and what looks like one is somebody's data.
#[inline]
fn behind_network_header(frame: &[u8]) -> Option<usize> {
    let mut at = ETHERNET_HEADER_LEN;
    loop {
        let kind = frame.get(at - 2..).and_then(<[u8]>::first_chunk).map_or(0, |kind| u16::from_be_bytes(*kind));
        let header = match kind {
            ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD => {
                at += TAG_LEN;
                continue;
            }
            ethertype::IPV4 => IPV4,
            ethertype::IPV6 => IPV6,
            _ => return Some(at),
        };
        let is_tcp = frame.get(at + header.protocol_at) == Some(&protocol::TCP);
        return (!is_tcp).then(|| at + header.len());
    }
}

#[cfg(test)]
mod tests;
