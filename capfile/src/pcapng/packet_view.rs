//! Looking at records that were encoded before.

use super::{ENHANCED_PACKET, PACKET_HEADER_LEN, PACKET_TRAILER_LEN};

/// One enhanced packet block in a buffer of such blocks, to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketView<'a> {
    block: &'a [u8],
    header: &'a [u8; PACKET_HEADER_LEN],
}

impl<'a> PacketView<'a> {
    /// The block that `bytes` begin with, as [`super::PacketHeader::append_to`] wrote it; `None` where they do not.
    #[inline]
    pub fn first(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<PACKET_HEADER_LEN>()?;
        if header[0..4] != ENHANCED_PACKET.to_le_bytes() {
            return None;
        }
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if length < PACKET_HEADER_LEN + PACKET_TRAILER_LEN {
            return None;
        }
        Some(Self { block: bytes.get(..length)?, header })
    }

    /// The whole block.
    #[inline]
    pub const fn block(&self) -> &'a [u8] {
        self.block
    }

    /// The interface's number.
    #[inline]
    pub fn interface(&self) -> u32 {
        self.word(8)
    }

    /// Its time, nanoseconds since 1970.
    #[inline]
    pub fn time_ns(&self) -> u64 {
        u64::from(self.word(12)) << 32 | u64::from(self.word(16))
    }

    /// Length on the wire, in bytes.
    #[inline]
    pub fn wire_len(&self) -> u32 {
        self.word(24)
    }

    /// The frame; what of it is in the block, where the block says that it has more.
    #[inline]
    pub fn frame(&self) -> &'a [u8] {
        let room = self.block.len() - PACKET_HEADER_LEN - PACKET_TRAILER_LEN;
        let length = (self.word(20) as usize).min(room);
        &self.block[PACKET_HEADER_LEN..][..length]
    }

    #[inline]
    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.header[at], self.header[at + 1], self.header[at + 2], self.header[at + 3]])
    }
}

#[cfg(test)]
mod tests {
    use super::super::PacketHeader;
    use super::*;

    #[test]
    fn a_record_is_seen_as_it_was_encoded() {
        let mut bytes = Vec::new();
        PacketHeader { interface: 3, time_ns: 7, wire_len: 900 }.append_to(&mut bytes, b"abcde");
        PacketHeader { interface: 4, time_ns: 8, wire_len: 0 }.append_to(&mut bytes, b"");
        let first = PacketView::first(&bytes).unwrap();
        assert_eq!((first.interface(), first.wire_len(), first.frame()), (3, 900, &b"abcde"[..]));
        let second = PacketView::first(&bytes[first.block().len()..]).unwrap();
        assert_eq!((second.interface(), second.wire_len(), second.frame()), (4, 0, &b""[..]));
        assert_eq!(first.block().len() + second.block().len(), bytes.len());
    }

    #[test]
    fn anything_else_is_no_record() {
        let mut bytes = Vec::new();
        PacketHeader { interface: 3, time_ns: 7, wire_len: 900 }.append_to(&mut bytes, b"abcde");
        assert!((0..bytes.len()).all(|cut| PacketView::first(&bytes[..cut]).is_none()));
        bytes[4] = 31;
        assert_eq!(PacketView::first(&bytes), None);
        bytes[4] = 32;
        bytes[20] = 255;
        assert_eq!(PacketView::first(&bytes).unwrap().frame(), b"");
        bytes[0] = 5;
        assert_eq!(PacketView::first(&bytes), None);
    }
}
