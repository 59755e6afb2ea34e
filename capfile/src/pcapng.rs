//! Encoding of the pcapng blocks that a capture writer needs (draft-ietf-opsawg-pcapng), little-endian, in nanoseconds.
//!
//! Everything appends whole blocks to a byte buffer, so that a buffer is at every moment a sequence of whole blocks. A file
//! begins with one [`SectionHeader`]; an [`InterfaceDescription`] comes before the first packet of its interface, and
//! interfaces count from 0 in the order of their descriptions.

mod packet_view;

pub use packet_view::PacketView;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
/// In the range for local use: readers pass over it, and none shows it (a custom block shows as a packet in Wireshark).
const PADDING: u32 = 0x8000_0001;

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Bytes of an enhanced packet block before the frame.
const PACKET_HEADER_LEN: usize = 28;
/// Bytes of an enhanced packet block after frame and padding.
const PACKET_TRAILER_LEN: usize = 4;
const PACKET_INTERFACE: std::ops::Range<usize> = 8..12;

/// Nanoseconds, as `if_tsresol`.
const RESOLUTION_NANOSECONDS: u8 = 9;

/// What a file's first block says about its writer. Empty texts are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct SectionHeader<'a> {
    /// The machine.
    pub hardware: &'a str,
    /// The operating system.
    pub os: &'a str,
    /// The program with its version.
    pub application: &'a str,
}

impl SectionHeader<'_> {
    /// Appends the block.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let start = begin(out, SECTION_HEADER);
        out.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        out.extend_from_slice(&1_u16.to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        // The section's length is not known while it is being written.
        out.extend_from_slice(&u64::MAX.to_le_bytes());
        text(out, 2, self.hardware);
        text(out, 3, self.os);
        text(out, 4, self.application);
        end_options(out);
        end(out, start);
    }
}

/// One interface of a file: frames of any length, times in nanoseconds. Empty texts are left out.
#[derive(Clone, Copy, Debug)]
pub struct InterfaceDescription<'a> {
    /// What Wireshark's interface column shows.
    pub name: &'a str,
    /// More about it.
    pub description: &'a str,
    /// What kind of frames; only the lower 16 bits can be told.
    pub link_type: crate::LinkType,
}

impl InterfaceDescription<'_> {
    /// Appends the block.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let start = begin(out, INTERFACE_DESCRIPTION);
        out.extend_from_slice(&(self.link_type.0 as u16).to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        // Snapshot length: no limit.
        out.extend_from_slice(&0_u32.to_le_bytes());
        text(out, 2, self.name);
        text(out, 3, self.description);
        option(out, 9, &[RESOLUTION_NANOSECONDS]);
        end_options(out);
        end(out, start);
    }
}

/// What became of the frames of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceStatistics {
    /// The interface's number in the file.
    pub interface: u32,
    /// When these counts were taken, nanoseconds since 1970.
    pub taken_ns: u64,
    /// When counting began, nanoseconds since 1970.
    pub start_ns: u64,
    /// When counting ended, nanoseconds since 1970.
    pub end_ns: u64,
    /// Frames received.
    pub received: u64,
    /// Frames received that are not in the file; `None` where that is not known for the interface.
    pub dropped: Option<u64>,
}

impl InterfaceStatistics {
    /// The most bytes that the block has.
    pub const MAX_LEN: usize = 24 + 4 * 12 + 4;

    /// Appends the block.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let start = begin(out, INTERFACE_STATISTICS);
        out.extend_from_slice(&self.interface.to_le_bytes());
        out.extend_from_slice(&timestamp(self.taken_ns));
        option(out, 2, &timestamp(self.start_ns));
        option(out, 3, &timestamp(self.end_ns));
        option(out, 4, &self.received.to_le_bytes());
        if let Some(dropped) = self.dropped {
            option(out, 5, &dropped.to_le_bytes());
        }
        end_options(out);
        end(out, start);
    }
}

/// A block that means nothing: it brings a file to a length that its storage wants, and a stream to life.
#[derive(Clone, Copy, Debug)]
pub struct Padding;

impl Padding {
    /// The shortest such block: type, four bytes, and its length at both ends. Some readers take a block without a body for
    /// an incomplete one.
    pub const MIN_LEN: usize = 16;

    /// Appends the shortest block.
    pub fn append_shortest_to(out: &mut Vec<u8>) {
        let start = begin(out, PADDING);
        out.extend_from_slice(&[0; 4]);
        end(out, start);
    }

    /// Appends a block, if needed, so that `out`, which holds whole blocks, has a multiple of `alignment` bytes.
    /// `alignment` is a power of two, at least 4.
    pub fn append_to(out: &mut Vec<u8>, alignment: usize) {
        Self::append_after(out, 0, alignment);
    }

    /// The same, where the whole blocks begin at `origin` in `out` and are to have a multiple of `alignment` bytes from there on.
    pub fn append_after(out: &mut Vec<u8>, origin: usize, alignment: usize) {
        let length = out.len() - origin;
        let short_by = length.wrapping_neg() & (alignment - 1);
        if short_by == 0 {
            return;
        }
        let aligned = (length + short_by.max(Self::MIN_LEN)).next_multiple_of(alignment);
        let start = begin(out, PADDING);
        out.resize(origin + aligned - 4, 0);
        end(out, start);
    }

    /// Whether `bytes` end with such a block.
    pub fn is_at_end_of(bytes: &[u8]) -> bool {
        let Some(last) = bytes.last_chunk::<4>() else { return false };
        let length = u32::from_le_bytes(*last) as usize;
        let block = bytes.len().checked_sub(length).and_then(|start| bytes.get(start..));
        let Some(block) = block.filter(|_| length >= Self::MIN_LEN) else { return false };
        block.starts_with(&PADDING.to_le_bytes())
            && block.get(4..8) == Some(last)
            && block.get(8..length - 4).is_some_and(|body| body.iter().all(|byte| *byte == 0))
    }
}

/// What an enhanced packet block says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHeader {
    /// The interface's number in the file.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Length on the wire in bytes; raised to the frame's length where it is less.
    pub wire_len: u32,
}

impl PacketHeader {
    /// The length of the block that holds a frame of `frame_len` bytes.
    #[inline]
    pub const fn block_len(frame_len: usize) -> usize {
        PACKET_HEADER_LEN + frame_len.next_multiple_of(4) + PACKET_TRAILER_LEN
    }

    /// Appends the block with `frame`, which has less than 4 GiB. Allocates only where `out` lacks the capacity.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>, frame: &[u8]) {
        let block_len = (Self::block_len(frame.len()) as u32).to_le_bytes();
        let captured = frame.len() as u32;
        let mut header = [0; PACKET_HEADER_LEN];
        header[0..4].copy_from_slice(&ENHANCED_PACKET.to_le_bytes());
        header[4..8].copy_from_slice(&block_len);
        header[PACKET_INTERFACE].copy_from_slice(&self.interface.to_le_bytes());
        header[12..20].copy_from_slice(&timestamp(self.time_ns));
        header[20..24].copy_from_slice(&captured.to_le_bytes());
        header[24..28].copy_from_slice(&self.wire_len.max(captured).to_le_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(frame);
        // Up to three bytes of padding, then the length again: the end of these seven bytes.
        let mut trailer = [0; 3 + PACKET_TRAILER_LEN];
        trailer[3..].copy_from_slice(&block_len);
        out.extend_from_slice(&trailer[3 - frame.len().wrapping_neg() % 4..]);
    }
}

/// One enhanced packet block in a buffer of such blocks, to be changed; [`PacketView`] is for looking at it.
#[derive(Debug)]
pub struct PacketBlock<'a>(&'a mut [u8]);

impl<'a> PacketBlock<'a> {
    /// The block that `bytes` begin with, as [`PacketHeader::append_to`] wrote it; `None` where they do not.
    #[inline]
    pub fn first(bytes: &'a mut [u8]) -> Option<Self> {
        let length = PacketView::first(bytes)?.block().len();
        bytes.get_mut(..length).map(Self)
    }

    /// Gives it another interface.
    #[inline]
    pub fn set_interface(&mut self, interface: u32) {
        self.0[PACKET_INTERFACE].copy_from_slice(&interface.to_le_bytes());
    }
}

/// Times are two words, the high one first, each in the byte order of the section.
#[inline]
fn timestamp(time_ns: u64) -> [u8; 8] {
    time_ns.rotate_left(32).to_le_bytes()
}

fn begin(out: &mut Vec<u8>, block_type: u32) -> usize {
    let start = out.len();
    out.extend_from_slice(&block_type.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    start
}

fn end(out: &mut Vec<u8>, start: usize) {
    let length = ((out.len() - start + 4) as u32).to_le_bytes();
    out.extend_from_slice(&length);
    out[start + 4..start + 8].copy_from_slice(&length);
}

fn text(out: &mut Vec<u8>, code: u16, value: &str) {
    if !value.is_empty() {
        // An option's length has 16 bits; no text here is that long, and a cut at a character keeps UTF-8 whole.
        option(out, code, &value.as_bytes()[..value.floor_char_boundary(u16::MAX as usize)]);
    }
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    out.extend_from_slice(&[0; 3][..value.len().wrapping_neg() % 4]);
}

fn end_options(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

#[cfg(test)]
mod tests;
