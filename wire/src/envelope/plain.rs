//! The envelope that nearly every mirrored frame has in a capture file, seen at once: Ethernet without tags, IPv4 without options, UDP, VXLAN.
//!
//! It says nothing that [`super::outer_datagram`] and [`vxlan::decapsulate`] would not say; whatever is unlike that in any way is left to them.

use std::net::Ipv4Addr;

use crate::flow::protocol;
use crate::frame::ETHERNET_HEADER_LEN;
use crate::vxlan::{self, VxlanHeader};

const UDP_AT: usize = ETHERNET_HEADER_LEN + 20;
const VXLAN_AT: usize = UDP_AT + 8;
const FRAME_AT: usize = VXLAN_AT + vxlan::HEADER_LEN;
/// EtherType of IPv4, then version 4 and a header of five words.
const IPV4_WITHOUT_OPTIONS: [u8; 3] = [0x08, 0x00, 0x45];

/// What may be a VXLAN datagram: whether it is one, the port tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainVxlan {
    /// Outer source address.
    pub source: Ipv4Addr,
    /// Outer destination port.
    pub destination_port: u16,
    /// The header.
    pub header: VxlanHeader,
    /// Where in the outer frame the inner frame begins, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

impl PlainVxlan {
    /// Looks at `frame`, which begins with an Ethernet header. `None` where it is unlike this in any way.
    #[inline]
    pub fn find(frame: &[u8]) -> Option<Self> {
        let header = frame.first_chunk::<FRAME_AT>()?;
        let (ethernet, packet) = header.split_first_chunk::<ETHERNET_HEADER_LEN>()?;
        let (ip, datagram) = packet.split_first_chunk::<20>()?;
        let (udp, vxlan) = datagram.split_first_chunk::<8>()?;
        let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff;
        let is_plain = [ethernet[12], ethernet[13], ip[0]] == IPV4_WITHOUT_OPTIONS && ip[9] == protocol::UDP;
        if !is_plain || fragment != 0 {
            return None;
        }
        let total_len = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let length = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        // Lengths of 0 fall out here, which mean something else.
        let end = (ETHERNET_HEADER_LEN + total_len).min(UDP_AT + length).min(frame.len());
        if end <= FRAME_AT {
            return None;
        }
        Some(Self {
            source: Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]),
            destination_port: u16::from_be_bytes([udp[2], udp[3]]),
            header: vxlan::read(*vxlan.first_chunk()?).ok()?,
            start: FRAME_AT,
            end,
        })
    }
}
