//! A block of the ring, in the program's hands, and the frames in it.
#![allow(unsafe_code)]
// Blocks begin at pages, and headers are looked at only where their place is aligned.
#![allow(clippy::cast_ptr_alignment)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{sockaddr_ll, tpacket_block_desc, tpacket3_hdr};

use crate::frame::{Frame, FrameMut, Offload, PacketType, VNET_HEADER_LEN, VlanTag};

/// What a tag is announced by where the kernel does not say.
const DEFAULT_TPID: u16 = 0x8100;
/// Where the address lies behind a frame's header: the header's length, rounded up to 16.
const ADDRESS_AT: usize = size_of::<tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);

/// Frames that the kernel has finished with. Dropping it gives its memory back to the kernel, also of frames that were not
/// looked at; see [`Block::pause`].
pub struct Block<'ring> {
    start: NonNull<u8>,
    len: usize,
    has_vnet_header: bool,
    place: &'ring mut Place,
    /// Not given back when it is dropped.
    is_kept: bool,
}

/// How far the program is in a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The block that the kernel fills next, or has filled.
    pub(crate) block: usize,
    pub(crate) blocks: usize,
    /// In a block that was paused: where its next frame's header is, and how many frames are left.
    paused: Option<(usize, usize)>,
}

impl Place {
    pub(crate) const fn new(blocks: usize) -> Self {
        Self { block: 0, blocks, paused: None }
    }
}

impl<'ring> Block<'ring> {
    /// The block at `start`, if the kernel has given it to the program.
    ///
    /// # Safety
    /// `start` is the beginning of block `place.block`, of `len` bytes, in a TPACKET_V3 ring's mapping, which stays mapped for
    /// `'ring`, and no other `Block` of the ring is alive.
    pub(crate) unsafe fn ready(
        start: NonNull<u8>,
        len: usize,
        has_vnet_header: bool,
        place: &'ring mut Place,
    ) -> Option<Self> {
        let mut block = Self { start, len, has_vnet_header, place, is_kept: false };
        // Acquire: what the kernel wrote before it gave the block away is seen.
        if block.status().load(Ordering::Acquire) & libc::TP_STATUS_USER != 0 {
            return Some(block);
        }
        // It is the kernel's already.
        block.is_kept = true;
        None
    }

    /// How many frames are in it.
    pub fn len(&self) -> usize {
        // SAFETY: the block is the program's, so the kernel does not write its description.
        (unsafe { (*self.description()).hdr.bh1.num_pkts }) as usize
    }

    /// Whether no frame is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the ring was full since the [statistics](crate::Ring::statistics) were last asked for, so that frames were lost.
    pub fn is_losing(&self) -> bool {
        self.status().load(Ordering::Relaxed) & libc::TP_STATUS_LOSING != 0
    }

    /// The frames, in the order in which they crossed the interface; without those that came before a [pause](Self::pause).
    pub fn frames(&self) -> Frames<'_> {
        if let Some((next, left)) = self.place.paused {
            return Frames { block: self, next, left };
        }
        // SAFETY: as in `len`.
        let next = unsafe { (*self.description()).hdr.bh1.offset_to_first_pkt } as usize;
        Frames { block: self, next, left: self.len() }
    }

    /// The same frames, in which the program may write.
    pub fn frames_mut(&mut self) -> FramesMut<'_> {
        let Frames { next, left, .. } = self.frames();
        FramesMut { block: self, next, left, free_from: 0 }
    }

    /// Keeps the block from the kernel: [`Ring::next_block`](crate::Ring::next_block) gives it again, with all but its first `done`
    /// frames (of those that [`Block::frames`] gave this time).
    pub fn pause(mut self, done: usize) {
        let mut frames = self.frames();
        for _ in 0..done {
            frames.next();
        }
        self.place.paused = Some((frames.next, frames.left));
        self.is_kept = true;
    }

    fn description(&self) -> *const tpacket_block_desc {
        self.start.as_ptr().cast_const().cast()
    }

    /// The word that says whose the block is.
    fn status(&self) -> &AtomicU32 {
        // SAFETY: the description is in the mapping and aligned (blocks begin at pages); kernel and program access this word
        // atomically only.
        unsafe {
            AtomicU32::from_ptr(&raw mut (*self.start.as_ptr().cast::<tpacket_block_desc>()).hdr.bh1.block_status)
        }
    }

    /// What the header at `at` says; `None` if that cannot be.
    #[inline]
    fn look(&self, at: usize) -> Option<Found> {
        if !at.is_multiple_of(align_of::<tpacket3_hdr>())
            || at.checked_add(ADDRESS_AT + size_of::<sockaddr_ll>())? > self.len
        {
            return None;
        }
        // SAFETY: header and address are inside the block, as just found, and aligned; the block is the program's, so
        // nobody writes them while they are borrowed.
        let (header, address) = unsafe {
            let header = self.start.as_ptr().add(at);
            (&*header.cast::<tpacket3_hdr>(), &*header.add(ADDRESS_AT).cast::<sockaddr_ll>())
        };
        let start = at.checked_add(usize::from(header.tp_mac))?;
        let end = start.checked_add(header.tp_snaplen as usize).filter(|end| *end <= self.len)?;
        let offload = if self.has_vnet_header {
            Offload::from_vnet_header(self.bytes(start.checked_sub(VNET_HEADER_LEN)?, VNET_HEADER_LEN)?.first_chunk()?)
        } else {
            Offload::default()
        };
        let has = |bit| header.tp_status & bit != 0;
        let vlan = has(libc::TP_STATUS_VLAN_VALID).then_some(VlanTag {
            tpid: if has(libc::TP_STATUS_VLAN_TPID_VALID) { header.hv1.tp_vlan_tpid } else { DEFAULT_TPID },
            tci: header.hv1.tp_vlan_tci as u16,
        });
        let known = Frame {
            bytes: &[],
            wire_len: header.tp_len.max(header.tp_snaplen),
            time_ns: u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec),
            packet_type: PacketType::new(address.sll_pkttype),
            interface: address.sll_ifindex.cast_unsigned(),
            vlan,
            checksum_missing: has(libc::TP_STATUS_CSUMNOTREADY),
            offload,
        };
        Some(Found { known, bytes: start..end, next: at.checked_add(header.tp_next_offset as usize)? })
    }

    fn bytes(&self, start: usize, len: usize) -> Option<&[u8]> {
        if start.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: the range is inside the block, which is the program's and stays so while `self` is borrowed: the kernel
        // writes to it again only after `drop`.
        Some(unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(start), len) })
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        self.place.paused = None;
        self.place.block = if self.place.block + 1 == self.place.blocks { 0 } else { self.place.block + 1 };
        // Release: all reads of the block are over before the kernel may write.
        self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

impl std::fmt::Debug for Block<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("frames", &self.len()).field("is_losing", &self.is_losing()).finish()
    }
}

/// What a frame's header says.
struct Found {
    /// All but the bytes.
    known: Frame<'static>,
    /// Where they are.
    bytes: std::ops::Range<usize>,
    /// Where the next frame's header is.
    next: usize,
}

/// The frames of a block in turn.
#[derive(Debug)]
pub struct Frames<'a> {
    block: &'a Block<'a>,
    next: usize,
    left: usize,
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        self.left = self.left.checked_sub(1)?;
        let Found { known, bytes, next } = self.block.look(self.next)?;
        self.next = next;
        Some(Frame { bytes: self.block.bytes(bytes.start, bytes.len())?, ..known })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

/// The frames of a block in turn, in which the program may write.
#[derive(Debug)]
pub struct FramesMut<'a> {
    /// Borrowed from a mutable borrow, so nobody else gives frames of it meanwhile.
    block: &'a Block<'a>,
    next: usize,
    left: usize,
    /// Behind all bytes that were given.
    free_from: usize,
}

impl<'a> Iterator for FramesMut<'a> {
    type Item = FrameMut<'a>;

    #[inline]
    fn next(&mut self) -> Option<FrameMut<'a>> {
        self.left = self.left.checked_sub(1)?;
        if self.next < self.free_from {
            return None;
        }
        let Found { known, bytes, next } = self.block.look(self.next)?;
        self.next = next;
        self.free_from = bytes.end;
        // SAFETY: the range is inside the block, which is the program's for as long as it is borrowed. It begins behind a header
        // that lies behind all bytes that were given before, so no two frames' bytes overlap, and no header is looked at that
        // lies in one of them.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.block.start.as_ptr().add(bytes.start), bytes.len()) };
        Some(FrameMut::new(bytes, known))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}
