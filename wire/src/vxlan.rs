//! The VXLAN header of RFC 7348 section 5: eight bytes between the outer UDP header and the inner Ethernet frame.
//!
//! ```text
//!  0                   1                   2                   3
//!  |R|R|R|R|I|R|R|R|            reserved                           |
//!  |             VXLAN network identifier          |   reserved    |
//! ```
//!
//! A header without the I flag is not VXLAN. Reserved bits "MUST be ignored on receipt", so a set one is noted
//! ([`VxlanHeader::reserved_bits_set`]) and never a reason to drop: senders that use the group policy or the generic
//! protocol extension set them, and receivers that reject them have lost valid traffic.

use std::fmt;

use crate::proxy;

/// The UDP destination port that IANA assigned to VXLAN.
pub const PORT: u16 = 4789;
/// Length of the VXLAN header in bytes.
pub const HEADER_LEN: usize = 8;
/// What VXLAN over IPv4 adds before the inner frame: IPv4 (20), UDP (8) and VXLAN (8), in bytes.
pub const OVERHEAD_IPV4: usize = 36;
/// What VXLAN over IPv6 adds before the inner frame: IPv6 (40), UDP (8) and VXLAN (8), in bytes.
pub const OVERHEAD_IPV6: usize = 56;

const FLAG_VNI: u8 = 0x08;

/// A VXLAN network identifier: 24 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

impl Vni {
    /// The largest identifier that 24 bits hold.
    pub const MAX: u32 = 0x00ff_ffff;
    /// The identifier 0.
    pub const ZERO: Self = Self(0);

    /// The identifier `value`, or `None` where it does not fit into 24 bits.
    pub const fn new(value: u32) -> Option<Self> {
        if value <= Self::MAX { Some(Self(value)) } else { None }
    }

    /// The identifier in the upper 24 bits of a header's last word.
    pub(crate) const fn of_word(word: u32) -> Self {
        Self(word >> 8)
    }

    /// The identifier as a number, 0 to [`Vni::MAX`].
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A decoded VXLAN header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VxlanHeader {
    /// The network that the inner frame belongs to.
    pub vni: Vni,
    /// Whether the sender set a bit that RFC 7348 reserves. Worth a note to the operator, not an error.
    pub reserved_bits_set: bool,
}

/// Why a UDP payload is not a VXLAN datagram with a frame in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VxlanError {
    /// Fewer than [`HEADER_LEN`] bytes.
    HeaderTooShort,
    /// The I flag is clear, so there is no valid VNI (RFC 7348 section 5).
    FlagClear,
    /// A header of the PROXY protocol where VXLAN should begin.
    ProxyHeader,
    /// A whole header with nothing behind it.
    EmptyFrame,
}

impl fmt::Display for VxlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HeaderTooShort => "shorter than a VXLAN header (8 bytes)",
            Self::FlagClear => "VXLAN I flag is clear, so the VNI is not valid",
            Self::ProxyHeader => "header of the PROXY protocol where VXLAN should begin",
            Self::EmptyFrame => "VXLAN header with no inner frame behind it",
        })
    }
}

impl std::error::Error for VxlanError {}

/// Takes the VXLAN header off `datagram` (an outer UDP payload) and gives it with the inner frame.
#[inline]
pub fn decapsulate(datagram: &[u8]) -> Result<(VxlanHeader, &[u8]), VxlanError> {
    let Some((header, frame)) = datagram.split_first_chunk::<HEADER_LEN>() else {
        return Err(VxlanError::HeaderTooShort);
    };
    let header = read(*header)?;
    if frame.is_empty() {
        return Err(VxlanError::EmptyFrame);
    }
    Ok((header, frame))
}

/// Reads a header that is there in full.
#[inline]
pub(crate) fn read(header: [u8; HEADER_LEN]) -> Result<VxlanHeader, VxlanError> {
    const FLAG: u64 = (FLAG_VNI as u64) << 56;
    const VNI: u64 = (Vni::MAX as u64) << 8;
    // Both words at once.
    let bits = u64::from_be_bytes(header);
    // What nearly all senders write takes one comparison, as the flag alone would.
    if header[0] != FLAG_VNI {
        unusual(bits)?;
    }
    let reserved = bits & !(FLAG | VNI);
    Ok(VxlanHeader { vni: Vni::of_word(bits as u32), reserved_bits_set: reserved != 0 })
}

/// What other first bytes mean.
#[inline]
fn unusual(bits: u64) -> Result<(), VxlanError> {
    if bits == proxy::SIGNATURE_BITS {
        return Err(VxlanError::ProxyHeader);
    }
    if bits >> 56 & FLAG_VNI as u64 == 0 { Err(VxlanError::FlagClear) } else { Ok(()) }
}

/// The eight header bytes that a sender puts before a frame of network `vni`, all reserved bits zero.
#[inline]
pub const fn header(vni: Vni) -> [u8; HEADER_LEN] {
    let [_, high, middle, low] = vni.0.to_be_bytes();
    [FLAG_VNI, 0, 0, 0, high, middle, low, 0]
}

#[cfg(test)]
mod tests;
