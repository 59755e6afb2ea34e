//! A worker's side of the captures.

use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::PacketHeader;

use crate::blocks::{BlockLane, WhenFull};

/// Takes the frames of one worker. Dropping it hands over what it has; the run of captures ends when every lane is dropped.
#[derive(Debug)]
pub struct CaptureLane {
    blocks: BlockLane,
}

impl CaptureLane {
    /// Sets what happens when the writer has all blocks; a new lane refuses.
    pub(crate) fn set_when_full(&mut self, when_full: WhenFull) {
        self.blocks.set_when_full(when_full);
    }

    pub(super) const fn new(blocks: BlockLane) -> Self {
        Self { blocks }
    }

    /// Copies a frame into the current block, or counts it as dropped where the writer is so far behind that no block is
    /// empty (or waits for it, by [`CaptureLane::set_when_full`]). `time_ns` counts from 1970; `wire_len` is the length before anyone cut the frame.
    #[inline]
    pub fn record(&mut self, time_ns: u64, stream: StreamId, frame: &[u8], wire_len: u32) {
        // The stream's number stands for the interface until the writer knows the interface's number in its file.
        let header = PacketHeader { interface: stream.0, time_ns, wire_len };
        self.blocks.append(PacketHeader::block_len(frame.len()), |block| header.append_to(block, frame));
    }

    /// Hands over a block that is not full when its first record has waited for the flush time. To be called after each
    /// batch and when [`CaptureLane::next_flush_ns`] has come. `now_ns` is any clock that does not go backwards.
    #[inline]
    pub fn flush_if_due(&mut self, now_ns: u64) {
        self.blocks.flush_if_due(now_ns);
    }

    /// When [`CaptureLane::flush_if_due`] has to be called next, on its clock; `None` while nothing waits.
    #[inline]
    pub fn next_flush_ns(&self) -> Option<u64> {
        self.blocks.next_flush_ns()
    }

    /// Hands over what there is.
    pub fn flush(&mut self) {
        self.blocks.flush();
    }

    /// Frames dropped by this lane. They are part of [`super::CaptureMonitor::dropped`], which has those that the disk
    /// refused as well.
    #[inline]
    pub const fn dropped(&self) -> u64 {
        self.blocks.refused()
    }
}
