//! Packets: three bytes of length, a sequence number, the payload; and the numbers and strings in them.

use crate::protocols::framing::Message;

/// Length and sequence number.
pub(super) const HEADER_LEN: usize = 4;

/// A payload of this length goes on in the next packet.
const LENGTH_MAX: u32 = 0x00ff_ffff;

/// The length of the payload that the packet at the start of `bytes` announces.
pub(super) fn length(bytes: &[u8]) -> Option<u32> {
    let header = bytes.first_chunk::<HEADER_LEN>()?;
    Some(u32::from_le_bytes(*header) & LENGTH_MAX)
}

/// A packet, as much of it as was wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    pub(super) sequence: u8,
    /// The beginning of the payload.
    pub(super) payload: &'a [u8],
    /// The whole payload, in bytes.
    pub(super) length: u64,
    /// Less is there than was wanted.
    pub(super) cut: bool,
}

impl<'a> Packet<'a> {
    pub(super) fn read(message: &Message<'a>) -> Option<Self> {
        Some(Self {
            sequence: *message.bytes.get(3)?,
            payload: message.bytes.get(HEADER_LEN..)?,
            length: message.length.saturating_sub(HEADER_LEN as u64),
            cut: message.cut,
        })
    }

    /// Whether the payload goes on in the next packet.
    pub(super) fn continues(&self) -> bool {
        self.length == u64::from(LENGTH_MAX)
    }

    /// The first byte of the payload.
    pub(super) fn kind(&self) -> Option<u8> {
        self.payload.first().copied()
    }
}

/// Takes what a payload consists of off its front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// A number of 1, 3, 4 or 9 bytes.
    pub(super) fn number(&mut self) -> Option<u64> {
        let width = match self.u8()? {
            small @ 0..=0xfa => return Some(u64::from(small)),
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            _ => return None,
        };
        let bytes = self.take(width)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Bytes behind their number.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::try_from(length).ok()?)
    }

    /// Text up to a zero byte; up to the end where there is none.
    pub(super) fn text(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        text
    }

    /// The same; where bytes are missing (`cut`) only text that ends, as the beginning of a name is another name.
    pub(super) fn name(&mut self, cut: bool) -> &'a [u8] {
        let ends = self.0.contains(&0);
        let text = self.text();
        if cut && !ends { &[] } else { text }
    }
}
