//! The bytes of a capture file, block by block, from any place where a block begins.
//!
//! `vxtap_capfile::CaptureReader` reads a file from its beginning and gives the records alone. Here it has to be known where a
//! block is and which interface a record came from, and reading begins in the middle, so the framing is walked again; which
//! bytes are a record, and which are damage, is decided alike.

mod descriptions;
mod range;
mod time_scale;
mod walk;

pub(crate) use descriptions::{Beginning, Descriptions, Interface, Section, sections_in};
pub(crate) use range::{Damage, Fault, Visit, Walker};
pub(crate) use walk::{Content, Record, Step};

/// The byte order of a section, or of a classic file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    pub(crate) fn u16_at(self, bytes: &[u8], at: usize) -> Option<u16> {
        let field = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(field),
            Self::Big => u16::from_be_bytes(field),
        })
    }

    #[inline]
    pub(crate) fn u32_at(self, bytes: &[u8], at: usize) -> Option<u32> {
        let field = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(field),
            Self::Big => u32::from_be_bytes(field),
        })
    }

    /// The byte order of a section header whose body is `body`.
    pub(crate) fn of_section(body: &[u8]) -> Option<Self> {
        match body.first_chunk::<4>()? {
            [0x4d, 0x3c, 0x2b, 0x1a] => Some(Self::Little),
            [0x1a, 0x2b, 0x3c, 0x4d] => Some(Self::Big),
            _ => None,
        }
    }
}

/// Block types of pcapng.
pub(crate) mod block {
    pub(crate) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(crate) const INTERFACE_DESCRIPTION: u32 = 1;
    pub(crate) const OBSOLETE_PACKET: u32 = 2;
    pub(crate) const SIMPLE_PACKET: u32 = 3;
    pub(crate) const INTERFACE_STATISTICS: u32 = 5;
    pub(crate) const ENHANCED_PACKET: u32 = 6;
}

#[cfg(test)]
pub(crate) mod tests;
