//! GENEVE (RFC 8926): a header of eight bytes, options, and a frame or an IP packet, in UDP.
//!
//! ```text
//!  0                   1                   2                   3
//!  |Ver|  Opt Len  |O|C|    Rsvd.  |          Protocol Type        |
//!  |        Virtual Network Identifier (VNI)       |    Reserved   |
//!  |                 options, Opt Len * 4 bytes                    |
//! ```
//!
//! Options say who mirrored what: the cookies of AWS and Tencent gateway load balancers and of Google's Network Security
//! Integration, and [`Mark`], which vxtap's own sender writes ([`docs/geneve-option.md`]). They are walked by their lengths, in
//! whatever order and number they come. Reserved bits are ignored, as the RFC wants it, and noted.
//!
//! [`docs/geneve-option.md`]: https://github.com/vxtap/vxtap/blob/main/docs/geneve-option.md

use std::fmt;

use crate::frame::ethertype;
use crate::link::Link;
use crate::vxlan::Vni;

mod mark;
mod options;

pub use mark::Mark;
pub use options::{
    Balancer, BalancerCloud, Cookie, GeneveOption, GoogleCookie, Metadata, MirrorDirection, OptionWalk, Options,
};

/// The UDP destination port that IANA assigned to GENEVE.
pub const PORT: u16 = 6081;
/// Length in bytes of the header without options.
pub const HEADER_LEN: usize = 8;
/// The most bytes that options have: 63 words.
pub const MAX_OPTIONS_LEN: usize = 252;
/// Length in bytes of a header with a [`Mark`] and no other option.
pub const MARKED_HEADER_LEN: usize = HEADER_LEN + Mark::OPTION_LEN;

const VERSION_SHIFT: u32 = 6;
const OPTION_WORDS: u8 = 0x3f;
const FLAG_CONTROL: u8 = 0x80;
const FLAG_CRITICAL: u8 = 0x40;

/// A decoded GENEVE header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneveHeader<'a> {
    /// The network that the payload belongs to; 0 where options alone tell.
    pub vni: Vni,
    /// What the payload begins with.
    pub link: Link,
    /// Whether the sender set a bit that RFC 8926 reserves.
    pub reserved_bits_set: bool,
    /// The options as they came.
    pub options: Options<'a>,
    /// What options say that this crate knows.
    pub metadata: Metadata,
}

impl GeneveHeader<'_> {
    /// Length of header and options in bytes.
    pub const fn header_len(&self) -> usize {
        HEADER_LEN + self.options.bytes().len()
    }
}

/// Why a UDP payload is not a GENEVE datagram with a mirrored packet in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GeneveError {
    /// Fewer than [`HEADER_LEN`] bytes.
    HeaderTooShort,
    /// A version other than 0.
    Version,
    /// The O bit: a message between tunnel endpoints, no mirrored packet.
    Control,
    /// The option area is longer than the datagram, or an option longer than what is left of the area.
    OptionOverrun,
    /// The protocol type is neither Ethernet, IPv4 nor IPv6.
    Payload,
    /// A whole header with nothing behind it.
    EmptyFrame,
}

impl fmt::Display for GeneveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderTooShort => "shorter than a GENEVE header (8 bytes)",
            Self::Version => "a GENEVE version other than 0",
            Self::Control => "a GENEVE control packet (O bit)",
            Self::OptionOverrun => "GENEVE options that are longer than their room",
            Self::Payload => "GENEVE around neither Ethernet nor IP",
            Self::EmptyFrame => "GENEVE header with nothing behind it",
        })
    }
}

impl std::error::Error for GeneveError {}

/// Takes header and options off `datagram` (an outer UDP payload) and gives them with the frame or packet behind them.
///
/// An option that is critical and unknown is no error here: [`Metadata::unknown_critical`] tells of it, and RFC 8926 section 3.5.1
/// wants the datagram dropped.
pub fn decapsulate(datagram: &[u8]) -> Result<(GeneveHeader<'_>, &[u8]), GeneveError> {
    let Some((header, behind)) = datagram.split_first_chunk::<HEADER_LEN>() else {
        return Err(GeneveError::HeaderTooShort);
    };
    if header[0] >> VERSION_SHIFT != 0 {
        return Err(GeneveError::Version);
    }
    if header[1] & FLAG_CONTROL != 0 {
        return Err(GeneveError::Control);
    }
    let options_len = usize::from(header[0] & OPTION_WORDS) * 4;
    let (options, frame) = behind.split_at_checked(options_len).ok_or(GeneveError::OptionOverrun)?;
    let options = Options::new(options);
    let metadata = Metadata::of(options).ok_or(GeneveError::OptionOverrun)?;
    let link = match u16::from_be_bytes([header[2], header[3]]) {
        ethertype::TRANSPARENT_ETHERNET => Link::Ethernet,
        ethertype::IPV4 | ethertype::IPV6 => Link::Ip,
        _ => return Err(GeneveError::Payload),
    };
    if frame.is_empty() {
        return Err(GeneveError::EmptyFrame);
    }
    let word = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let reserved = (header[1] & !(FLAG_CONTROL | FLAG_CRITICAL)) | header[7];
    let vni = Vni::of_word(word);
    Ok((GeneveHeader { vni, link, reserved_bits_set: reserved != 0, options, metadata }, frame))
}

/// The header that a sender puts before a frame of network `vni` whose kind `protocol_type` names, an EtherType
/// ([`ethertype::TRANSPARENT_ETHERNET`] for one of Ethernet), with `options_len` bytes of options (a multiple of 4, at most
/// [`MAX_OPTIONS_LEN`]) between the two. None of the options is critical.
pub fn header(vni: Vni, protocol_type: u16, options_len: usize) -> [u8; HEADER_LEN] {
    debug_assert!(options_len.is_multiple_of(4) && options_len <= MAX_OPTIONS_LEN);
    let [kind_high, kind_low] = protocol_type.to_be_bytes();
    let [_, high, middle, low] = vni.get().to_be_bytes();
    [(options_len / 4) as u8, 0, kind_high, kind_low, high, middle, low, 0]
}

/// Header and [`Mark`] that a sender puts before an Ethernet frame of network `vni`.
#[inline]
pub fn marked_header(vni: Vni, mark: &Mark) -> [u8; MARKED_HEADER_LEN] {
    let mut bytes = [0; MARKED_HEADER_LEN];
    bytes[..HEADER_LEN].copy_from_slice(&header(vni, ethertype::TRANSPARENT_ETHERNET, Mark::OPTION_LEN));
    bytes[HEADER_LEN..].copy_from_slice(&mark.to_option());
    bytes
}

#[cfg(test)]
pub(crate) mod tests;
