//! The ring itself.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::Instruction;
use crate::block::{Block, Place};
use crate::counted::{CountedSocket, RingWatch};
use crate::error::RingError;
use crate::map::Map;
use crate::socket::PacketSocket;

/// How a ring is made.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// Bytes of a block: a multiple of the page size. No frame is longer than one (the end of a super-frame would be cut
    /// off; they are up to 64 KiB long unless the host's interfaces were told otherwise).
    pub block_bytes: u32,
    /// How many blocks there are. `block_bytes * blocks` of the kernel's memory are taken, which cannot be swapped out.
    pub blocks: u32,
    /// A block in which a frame is goes to the program after this time though it is not full. When few frames come each takes
    /// a block, so a program that does not look for `blocks * retire` loses frames at any rate.
    pub retire: Duration,
    /// Whether frames that leave by the interface are not shown.
    pub ignore_outgoing: bool,
    /// Whether [`Frame::offload`](crate::Frame::offload) is filled in. Frames that the kernel cannot describe so are then counted as dropped.
    pub offload: bool,
    /// Runs over each frame, from its Ethernet header on: gives how many bytes of it are wanted, or 0. Empty: all of all.
    pub filter: &'a [Instruction],
}

impl Default for Settings<'_> {
    /// 64 blocks of 512 KiB, given after 10 ms, with offloads told and no filter.
    fn default() -> Self {
        Self {
            block_bytes: 1 << 19,
            blocks: 64,
            retire: Duration::from_millis(10),
            ignore_outgoing: false,
            offload: true,
            filter: &[],
        }
    }
}

/// What a ring has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that the filter wanted and the ring had room for.
    pub received: u64,
    /// Frames that the filter wanted and the ring had no room for.
    pub dropped: u64,
    /// How often the ring became full.
    pub freezes: u64,
}

/// How the interface of a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Up; the ring gets its frames.
    Up,
    /// Down. When it comes up again, frames come by themselves.
    Down,
    /// Deleted. The ring gets frames again when it is [bound](Ring::bind) to another interface.
    Gone,
}

/// A receive ring.
pub struct Ring {
    map: Map,
    socket: Arc<CountedSocket>,
    block_bytes: usize,
    place: Place,
    offload: bool,
}

impl Ring {
    /// Opens a ring that gets no frames yet: see [`Ring::bind`]. Takes `CAP_NET_RAW`.
    pub fn open(settings: &Settings<'_>) -> Result<Self, RingError> {
        let failed = |operation| move |source| RingError::new(operation, "a packet socket", source);
        let socket = PacketSocket::open().map_err(failed("open"))?;
        let version: libc::c_int = libc::tpacket_versions::TPACKET_V3 as _;
        socket.set(libc::PACKET_VERSION, &version).map_err(failed("use TPACKET_V3 for"))?;
        if settings.offload {
            socket.set(libc::PACKET_VNET_HDR, &1).map_err(failed("have offloads told of by"))?;
        }
        if settings.ignore_outgoing {
            socket.set(libc::PACKET_IGNORE_OUTGOING, &1).map_err(failed("leave outgoing frames out of"))?;
        }
        socket.set_filter(settings.filter).map_err(failed("attach a filter to"))?;
        let what = format!("{} blocks of {} bytes", settings.blocks, settings.block_bytes);
        let failed = |source| RingError::new("make a ring of", what.clone(), source);
        let request = libc::tpacket_req3 {
            tp_block_size: settings.block_bytes,
            tp_block_nr: settings.blocks,
            // Frames are as long as they are; the kernel wants figures that agree all the same.
            tp_frame_size: settings.block_bytes,
            tp_frame_nr: settings.blocks,
            tp_retire_blk_tov: u32::try_from(settings.retire.as_millis()).unwrap_or(u32::MAX).max(1),
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        socket.set(libc::PACKET_RX_RING, &request).map_err(failed)?;
        let (block_bytes, blocks) = (settings.block_bytes as usize, settings.blocks as usize);
        let map = Map::new(socket.as_fd(), block_bytes * blocks).map_err(failed)?;
        Ok(Self {
            map,
            socket: Arc::new(CountedSocket::new(socket)),
            block_bytes,
            place: Place::new(blocks),
            offload: settings.offload,
        })
    }

    /// Has the frames of interface `index` come, or of all interfaces by 0, instead of those of the interface that it
    /// was bound to before. An interface that is down will do. A ring in a fanout group cannot be bound again.
    pub fn bind(&self, index: u32) -> Result<(), RingError> {
        let bound = self.socket().bind(index);
        bound.map_err(|source| RingError::new("capture from", format!("interface {index}"), source))
    }

    /// Replaces the filter program; empty wants all of all frames.
    ///
    /// The kernel changes over between two frames. Those that are in the ring already were decided on by the program
    /// before: who must not see them goes through all blocks that are there, or asks of each frame again.
    ///
    /// A program has at most 4,096 instructions. Translated, it must also fit the memory that the kernel lets a socket have
    /// for options (`net.core.optmem_max`); an instruction takes up to some 50 bytes there.
    pub fn set_filter(&self, program: &[Instruction]) -> Result<(), RingError> {
        let set = self.socket().set_filter(program);
        set.map_err(|source| RingError::new("attach", format!("a filter of {} instructions", program.len()), source))
    }

    /// The next block that the kernel has finished with, if there is one, or the one that was [paused](Block::pause). Does not
    /// wait.
    #[allow(unsafe_code)]
    #[inline]
    pub fn next_block(&mut self) -> Option<Block<'_>> {
        let start = self.map.block(self.place.block, self.block_bytes);
        // SAFETY: `start` is that of a block of this ring; the result borrows the ring mutably, so the mapping outlives it and no
        // second block is made while it lives.
        unsafe { Block::ready(start, self.block_bytes, self.offload, &mut self.place) }
    }

    /// What was counted up to now. Takes a system call.
    pub fn statistics(&self) -> Statistics {
        self.socket.statistics()
    }

    /// A way to look after this ring from another thread.
    pub fn watch(&self) -> RingWatch {
        RingWatch(Arc::downgrade(&self.socket))
    }

    /// How the interface is now. Takes system calls.
    pub fn condition(&self) -> Condition {
        self.socket.condition()
    }

    pub(crate) fn socket(&self) -> &PacketSocket {
        &self.socket.socket
    }
}

impl AsFd for Ring {
    /// The socket: readable when a block is there.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("socket", &self.socket)
            .field("place", &self.place)
            .field("block_bytes", &self.block_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
