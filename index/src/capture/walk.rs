//! One block, or one record of a classic file, at the head of some bytes.

use vxtap_capfile::{LinkType, MAX_BLOCK_BYTES, MAX_FRAME_BYTES};

use super::descriptions::{Kind, Section};
use super::{ByteOrder, block};

/// What is at the head of some bytes of a capture.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A whole block of `length` bytes.
    Whole {
        /// Its length, framing included.
        length: usize,
        /// What is in it.
        content: Content<'a>,
    },
    /// A block that is not there in full.
    Incomplete {
        /// Bytes that it has, as far as known; more than are there.
        needed: usize,
    },
    /// Something that is no block.
    Damaged(&'static str),
}

/// What a block is.
#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// A frame.
    Record(Record<'a>),
    /// The beginning of a section: a whole block.
    SectionHeader(&'a [u8]),
    /// An interface: a whole block.
    Interface(&'a [u8]),
    /// The statistics of an interface.
    Statistics,
    /// Anything else.
    Other,
}

/// A record and where it came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// Nanoseconds since 1970; `None` in a simple packet block, which has the time of the record before it.
    pub(crate) time_ns: Option<u64>,
    /// The interface's number in its section.
    pub(crate) interface: u32,
    pub(crate) link_type: LinkType,
    /// Length on the wire, at least the frame's.
    pub(crate) wire_len: u32,
    pub(crate) frame: &'a [u8],
}

/// Length of a classic record's header.
const CLASSIC_HEADER: usize = 16;
/// The shortest block of pcapng.
const SMALLEST_BLOCK: usize = 12;

impl Section {
    /// What is at the head of `bytes`, which are in this section.
    #[inline]
    pub(crate) fn step<'a>(&self, bytes: &'a [u8]) -> Step<'a> {
        match &self.kind {
            Kind::Pcapng => self.block(bytes).unwrap_or_else(|stop| stop),
            Kind::Classic { fraction_ns } => self.classic(bytes, *fraction_ns).unwrap_or_else(|stop| stop),
        }
    }

    fn classic<'a>(&self, bytes: &'a [u8], fraction_ns: u64) -> Result<Step<'a>, Step<'a>> {
        let incomplete = |needed| Step::Incomplete { needed };
        let header = bytes.first_chunk::<CLASSIC_HEADER>().ok_or(incomplete(CLASSIC_HEADER))?;
        let [seconds, fraction, captured, wire] = self.words(header);
        let captured_len = captured as usize;
        if captured_len > MAX_FRAME_BYTES {
            return Err(Step::Damaged("a frame that is too long"));
        }
        let length = CLASSIC_HEADER + captured_len;
        let frame = bytes.get(CLASSIC_HEADER..length).ok_or(incomplete(length))?;
        let link_type = self.interfaces().first().map_or(LinkType(u32::MAX), |interface| interface.link_type);
        let time_ns = Some(u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * fraction_ns);
        let record = Record { time_ns, interface: 0, link_type, wire_len: wire.max(captured), frame };
        Ok(Step::Whole { length, content: Content::Record(record) })
    }

    #[inline]
    fn block<'a>(&self, bytes: &'a [u8]) -> Result<Step<'a>, Step<'a>> {
        let head = bytes.first_chunk::<SMALLEST_BLOCK>().ok_or(Step::Incomplete { needed: SMALLEST_BLOCK })?;
        let [kind, length] = self.words(head);
        let (order, length) = if kind == block::SECTION_HEADER {
            let order = ByteOrder::of_section(&head[8..]).ok_or(Step::Damaged("a section of unknown byte order"))?;
            (order, if order == self.order { length } else { length.swap_bytes() })
        } else {
            (self.order, length)
        };
        let length = length as usize;
        if length < SMALLEST_BLOCK || !length.is_multiple_of(4) {
            return Err(Step::Damaged("a block of an impossible length"));
        }
        if length > MAX_BLOCK_BYTES {
            return Err(Step::Damaged("a block that is too long"));
        }
        let whole = bytes.get(..length).ok_or(Step::Incomplete { needed: length })?;
        if order.u32_at(whole, length - 4) != Some(length as u32) {
            return Err(Step::Damaged("a block whose lengths contradict each other"));
        }
        let body = whole.get(8..length - 4).unwrap_or_default();
        let content = match kind {
            block::ENHANCED_PACKET => Content::Record(self.enhanced(body)?),
            block::SIMPLE_PACKET => Content::Record(self.simple(body)?),
            block::OBSOLETE_PACKET => Content::Record(self.obsolete(body)?),
            block::SECTION_HEADER => Content::SectionHeader(whole),
            block::INTERFACE_DESCRIPTION => Content::Interface(whole),
            block::INTERFACE_STATISTICS => Content::Statistics,
            _ => Content::Other,
        };
        Ok(Step::Whole { length, content })
    }

    #[inline]
    fn enhanced<'a>(&self, body: &'a [u8]) -> Result<Record<'a>, Step<'a>> {
        let (fixed, rest) =
            body.split_first_chunk::<20>().ok_or(Step::Damaged("an enhanced packet block that is too short"))?;
        let [interface, high, low, captured, wire] = self.words(fixed);
        self.packet(interface, [high, low], [captured, wire], rest)
    }

    fn obsolete<'a>(&self, body: &'a [u8]) -> Result<Record<'a>, Step<'a>> {
        let (fixed, rest) = body.split_first_chunk::<20>().ok_or(Step::Damaged("a packet block that is too short"))?;
        let [_, high, low, captured, wire] = self.words(fixed);
        let interface = self.order.u16_at(fixed, 0).unwrap_or(u16::MAX);
        self.packet(interface.into(), [high, low], [captured, wire], rest)
    }

    #[inline]
    fn packet<'a>(
        &self,
        interface: u32,
        [high, low]: [u32; 2],
        [captured, wire]: [u32; 2],
        rest: &'a [u8],
    ) -> Result<Record<'a>, Step<'a>> {
        let described = self.interfaces().get(interface as usize);
        let described = described.ok_or(Step::Damaged("a packet of an interface that is not described"))?;
        let time_ns = Some(described.scale.nanoseconds(u64::from(high) << 32 | u64::from(low)));
        let frame = frame(rest, captured)?;
        Ok(Record { time_ns, interface, link_type: described.link_type, wire_len: wire.max(captured), frame })
    }

    fn simple<'a>(&self, body: &'a [u8]) -> Result<Record<'a>, Step<'a>> {
        let (fixed, rest) =
            body.split_first_chunk::<4>().ok_or(Step::Damaged("a simple packet block that is too short"))?;
        let [wire_len] = self.words(fixed);
        let described =
            self.interfaces().first().ok_or(Step::Damaged("a packet of an interface that is not described"))?;
        let captured = if described.snap_len == 0 { wire_len } else { wire_len.min(described.snap_len) };
        let frame = frame(rest, captured)?;
        Ok(Record { time_ns: None, interface: 0, link_type: described.link_type, wire_len, frame })
    }

    /// The first words of `bytes`; words that are not there are 0.
    #[inline]
    fn words<const N: usize>(&self, bytes: &[u8]) -> [u32; N] {
        let mut words = [0; N];
        for (word, field) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = match self.order {
                ByteOrder::Little => u32::from_le_bytes(*field),
                ByteOrder::Big => u32::from_be_bytes(*field),
            };
        }
        words
    }
}

#[inline]
fn frame(bytes: &[u8], captured: u32) -> Result<&[u8], Step<'_>> {
    if captured as usize > MAX_FRAME_BYTES {
        return Err(Step::Damaged("a frame that is too long"));
    }
    bytes.get(..captured as usize).ok_or(Step::Damaged("a packet block shorter than its frame"))
}
