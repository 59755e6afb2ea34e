//! The generic protocol extension of VXLAN (draft-ietf-nvo3-vxlan-gpe): the VXLAN header with a version, and with the kind of what
//! is behind it.
//!
//! ```text
//!  |R|R|Ver|I|P|B|O|       reserved                | next protocol |
//!  |             VXLAN network identifier          |   reserved    |
//! ```
//!
//! Only what comes to a port that was set to it is read so: on VXLAN's own port these bits are reserved, and ignored.

use std::fmt;

use crate::link::Link;
use crate::vxlan::{HEADER_LEN, VxlanError, VxlanHeader};

/// The UDP destination port that IANA assigned to VXLAN-GPE.
pub const PORT: u16 = 4790;

const VERSION: u8 = 0x30;
const FLAG_PROTOCOL: u8 = 0x04;
const FLAG_CONTROL: u8 = 0x01;

/// Why a UDP payload is not a VXLAN-GPE datagram with a frame in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GpeError {
    /// It is no VXLAN datagram either.
    Vxlan(VxlanError),
    /// A version other than 0.
    Version,
    /// The O bit: a message between tunnel endpoints, no mirrored packet.
    Control,
    /// The next protocol, of this number, is neither IPv4, IPv6 nor Ethernet: 4 is NSH.
    Payload(u8),
}

impl fmt::Display for GpeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vxlan(error) => error.fmt(f),
            Self::Version => f.write_str("a VXLAN-GPE version other than 0"),
            Self::Control => f.write_str("a VXLAN-GPE control packet (O bit)"),
            Self::Payload(4) => f.write_str("VXLAN-GPE around NSH"),
            Self::Payload(number) => write!(f, "VXLAN-GPE around the unknown protocol {number}"),
        }
    }
}

impl std::error::Error for GpeError {}

/// Takes the header off `datagram` (an outer UDP payload) and gives it with what the frame behind it begins with, and the frame.
/// Without the P bit that is Ethernet, as in VXLAN.
pub fn decapsulate(datagram: &[u8]) -> Result<(VxlanHeader, Link, &[u8]), GpeError> {
    let (mut header, frame) = crate::vxlan::decapsulate(datagram).map_err(GpeError::Vxlan)?;
    // It was long enough to be taken for VXLAN.
    let &[flags, reserved_1, reserved_2, next, .., last] = datagram.first_chunk::<HEADER_LEN>().unwrap_or(&[0; 8]);
    if flags & VERSION != 0 {
        return Err(GpeError::Version);
    }
    if flags & FLAG_CONTROL != 0 {
        return Err(GpeError::Control);
    }
    let has_protocol = flags & FLAG_PROTOCOL != 0;
    let link = match next {
        _ if !has_protocol => Link::Ethernet,
        1 | 2 => Link::Ip,
        3 => Link::Ethernet,
        number => return Err(GpeError::Payload(number)),
    };
    let next = if has_protocol { 0 } else { next };
    // R, R and B; that the draft gave B a meaning for broadcasts is no matter here.
    header.reserved_bits_set = flags & 0xc2 | reserved_1 | reserved_2 | next | last != 0;
    Ok((header, link, frame))
}

#[cfg(test)]
mod tests;
