//! The shape that nearly every frame has, seen at once: Ethernet without tags, IPv4 without options or IPv6 without extension headers,
//! no fragment, a TCP or UDP header that is there and makes sense, and no tunnel's port.
//!
//! It says nothing that the walk would not say: what does not fit this shape in any way is left to the walk, untouched.

use super::{ETHERNET_HEADER_LEN, FrameView, MAX_READABLE, Missing, Network, TcpFlags, TcpHeader, Transport};
use crate::flow::{FiveTuple, IpAddress, IpVersion, protocol};
use crate::{geneve, vxlan};

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;
/// EtherType of IPv4, then version 4 and a header of five words.
const IPV4_WITHOUT_OPTIONS: [u8; 3] = [0x08, 0x00, 0x45];
/// EtherType of IPv6.
const IPV6: [u8; 2] = [0x86, 0xdd];

/// What the network header says.
struct Packet {
    network: Network,
    version: IpVersion,
    source: IpAddress,
    destination: IpAddress,
    protocol: u8,
    /// Where the transport header begins.
    at: usize,
    /// Where the packet ended when it was sent.
    end: usize,
}

/// What the transport header says.
struct Segment {
    /// Source and destination port.
    ports: u32,
    transport: Transport,
    /// Where the payload begins.
    payload: usize,
    /// Where it ended when it was sent.
    payload_end: usize,
}

impl FrameView<'_> {
    /// Fills a view that is as new, of a frame with an Ethernet header; `false` where the walk has to, and then the view is still as new.
    #[inline]
    pub(super) fn see_usual(&mut self) -> bool {
        let bytes = self.bytes;
        if bytes.len() > MAX_READABLE {
            return false;
        }
        match ipv4(bytes) {
            Some(packet) => self.see_transport(&packet),
            None => self.see_usual_ipv6(),
        }
    }

    #[inline(never)]
    fn see_usual_ipv6(&mut self) -> bool {
        ipv6(self.bytes).is_some_and(|packet| self.see_transport(&packet))
    }

    #[expect(clippy::inline_always, reason = "each caller is to know its offsets")]
    #[inline(always)]
    fn see_transport(&mut self, packet: &Packet) -> bool {
        let bytes = self.bytes;
        let Some(segment) = segment(bytes, packet) else { return false };
        let Segment { ports, transport, payload, payload_end } = segment;
        let end = packet.end;
        self.wire_len = self.wire_len.max(end as u32);
        self.network = packet.network;
        self.network_offset = ETHERNET_HEADER_LEN as u32;
        self.transport = transport;
        self.five_tuple = Some(five_tuple(packet, ports));
        self.payload_offset = payload as u32;
        self.payload_len = payload_end.min(end.min(bytes.len())).saturating_sub(payload) as u32;
        self.payload_wire_len = (payload_end - payload) as u32;
        if end > bytes.len() {
            self.missing = Missing::Payload;
        }
        true
    }
}

/// The five-tuple that a view of `frame`, which has an Ethernet header, would have, without all else; `None` where only a view tells whether
/// there is one. For whoever has to know whose a frame is and leaves it to the owner to look.
#[inline]
pub fn usual_five_tuple(frame: &[u8]) -> Option<FiveTuple> {
    if frame.len() > MAX_READABLE {
        return None;
    }
    let packet = ipv4(frame)?;
    segment(frame, &packet).map(|segment| five_tuple(&packet, segment.ports))
}

#[inline]
fn five_tuple(packet: &Packet, ports: u32) -> FiveTuple {
    FiveTuple {
        source: packet.source,
        destination: packet.destination,
        source_port: (ports >> 16) as u16,
        destination_port: ports as u16,
        protocol: packet.protocol,
        version: packet.version,
    }
}

/// What the transport header says, where it has the usual shape. Compiled for each IP version, with offsets that are known.
#[expect(
    clippy::inline_always,
    reason = "each caller is to know its offsets, and what it does not ask for is left out"
)]
#[inline(always)]
fn segment(bytes: &[u8], packet: &Packet) -> Option<Segment> {
    let Packet { at, end, .. } = *packet;
    // The packet as far as it is there: behind it may be padding.
    let readable = bytes.get(at..end.min(bytes.len()))?;
    match packet.protocol {
        protocol::TCP => {
            let header = readable.first_chunk::<TCP_LEN>()?;
            let header_len = usize::from(header[12] >> 4) * 4;
            if header_len < TCP_LEN || header_len > readable.len() {
                return None;
            }
            let word =
                |from: usize| u32::from_be_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]]);
            let tcp = TcpHeader {
                sequence: word(4),
                acknowledgement: word(8),
                flags: TcpFlags(header[13]),
                window: u16::from_be_bytes([header[14], header[15]]),
            };
            Some(Segment { ports: word(0), transport: Transport::Tcp(tcp), payload: at + header_len, payload_end: end })
        }
        protocol::UDP => {
            let header = readable.first_chunk::<UDP_LEN>()?;
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            let ports = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            let is_usual = length >= UDP_LEN && at + length <= end;
            if !is_usual || matches!(ports as u16, vxlan::PORT | geneve::PORT) {
                return None;
            }
            Some(Segment { ports, transport: Transport::Udp, payload: at + UDP_LEN, payload_end: at + length })
        }
        _ => None,
    }
}

#[inline]
fn ipv4(bytes: &[u8]) -> Option<Packet> {
    let header = bytes.first_chunk::<{ ETHERNET_HEADER_LEN + IPV4_LEN }>()?;
    let (ethernet, ip) = header.split_first_chunk::<ETHERNET_HEADER_LEN>()?;
    let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff;
    // A length of 0 is what offloads leave; the walk knows what it means.
    if [ethernet[12], ethernet[13], ip[0]] != IPV4_WITHOUT_OPTIONS || total_len == 0 || fragment != 0 {
        return None;
    }
    Some(Packet {
        network: Network::Ipv4,
        version: IpVersion::V4,
        source: IpAddress::v4([ip[12], ip[13], ip[14], ip[15]]),
        destination: IpAddress::v4([ip[16], ip[17], ip[18], ip[19]]),
        protocol: ip[9],
        at: ETHERNET_HEADER_LEN + IPV4_LEN,
        end: ETHERNET_HEADER_LEN + total_len,
    })
}

#[inline]
fn ipv6(bytes: &[u8]) -> Option<Packet> {
    let header = bytes.first_chunk::<{ ETHERNET_HEADER_LEN + IPV6_LEN }>()?;
    let (ethernet, ip) = header.split_first_chunk::<ETHERNET_HEADER_LEN>()?;
    let payload_len = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    if [ethernet[12], ethernet[13]] != IPV6 || ip[0] >> 4 != 6 || payload_len == 0 {
        return None;
    }
    Some(Packet {
        network: Network::Ipv6,
        version: IpVersion::V6,
        source: IpAddress(*ip[8..].first_chunk()?),
        destination: IpAddress(*ip[24..].first_chunk()?),
        protocol: ip[6],
        at: ETHERNET_HEADER_LEN + IPV6_LEN,
        end: ETHERNET_HEADER_LEN + IPV6_LEN + payload_len,
    })
}
