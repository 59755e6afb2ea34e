//! A worker's side of the captures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::PacketHeader;
use vxtap_wire::FlowKey;

use super::record::{self, CapturedFrame};
use super::selection::CutFrames;
use super::stretch::Stretches;
use crate::blocks::{BlockLane, Marks, WhenFull};
use crate::follow::Hub;

/// Takes the frames of one worker. Dropping it hands over what it has; the run of captures ends when every lane is dropped.
#[derive(Debug)]
pub struct CaptureLane {
    blocks: BlockLane<CaptureMarks>,
    progress: Arc<LaneProgress>,
    wanted: Wanted,
    /// Number of the block being filled, from 1; see [`CaptureLane::begin`].
    stamp: u32,
    /// Refused since the last block, by stream.
    refused: Vec<(StreamId, u64)>,
    /// Place of the records that come in the order of the input; 0 where time alone orders them.
    turn: u64,
    cut: CutFrames,
}

/// Flows that one block can note without growing: in a block of 1 MiB of full-sized packets each could be of another flow. Memory that
/// is not used is not touched.
const USUAL_FLOWS: usize = 4096;

/// Streams whose refused frames are told apart between two blocks.
const REFUSED_STREAMS_MAX: usize = 64;

/// Who wants the frames of a lane.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) hub: Hub,
    pub(super) files: bool,
}

/// What becomes of a frame that is given to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes into a file.
    Captured,
    /// It goes to followers alone, and counts as not captured.
    Followed,
    /// Nobody wants it: it is not to be given.
    Unwanted,
}

/// What a lane notes of the records of a block.
#[derive(Debug)]
pub(super) struct CaptureMarks {
    /// Place in the order of the input, before time; 0 where time alone counts.
    pub(super) turn: u64,
    /// The least time of a record, nanoseconds since 1970.
    pub(super) first_ns: u64,
    /// The greatest.
    pub(super) last_ns: u64,
    /// Whether the times of the records never go back.
    pub(super) sorted: bool,
    /// Its records by stretches.
    pub(super) stretches: Stretches,
    /// Frames by stream that the lane refused before the block.
    pub(super) refused: Vec<(StreamId, u64)>,
    /// Flows that have records in the block; may be some that have none.
    pub(super) flows: Vec<FlowKey>,
    /// Whether there are frames that the index cannot tell by their flow.
    pub(super) other_frames: bool,
}

impl Default for CaptureMarks {
    fn default() -> Self {
        Self {
            turn: 0,
            first_ns: u64::MAX,
            last_ns: 0,
            sorted: true,
            stretches: Stretches::default(),
            refused: Vec::new(),
            flows: Vec::new(),
            other_frames: false,
        }
    }
}

impl Marks for CaptureMarks {
    fn with_room(block_bytes: usize) -> Self {
        let stretches = Stretches::with_room(block_bytes);
        Self { stretches, flows: Vec::with_capacity(USUAL_FLOWS), ..Self::default() }
    }

    fn clear(&mut self) {
        let Self { mut flows, mut stretches, .. } = std::mem::take(self);
        flows.clear();
        stretches.clear();
        *self = Self { stretches, flows, ..Self::default() };
    }
}

/// How far a lane is, set by the worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct LaneProgress {
    /// What comes from now on is not before this, but for what was under way between workers. Read by the writer.
    at: AtomicU64,
    cut_frames: AtomicU64,
    cut_bytes: AtomicU64,
}

impl LaneProgress {
    /// A lane that has nothing and waits: it is as far as the clock.
    pub(super) const IDLE: u64 = u64::MAX;

    /// A time in nanoseconds since 1970, or a turn.
    pub(super) fn get(&self) -> u64 {
        self.at.load(Ordering::Acquire)
    }

    fn set(&self, progress: u64) {
        self.at.store(progress, Ordering::Release);
    }

    /// What the lane had cut when it last said so.
    pub(super) fn cut(&self) -> CutFrames {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CutFrames { frames: load(&self.cut_frames), bytes: load(&self.cut_bytes) }
    }

    fn set_cut(&self, cut: &CutFrames) {
        self.cut_frames.store(cut.frames, Ordering::Relaxed);
        self.cut_bytes.store(cut.bytes, Ordering::Relaxed);
    }
}

impl CaptureLane {
    pub(super) const fn new(blocks: BlockLane<CaptureMarks>, progress: Arc<LaneProgress>, wanted: Wanted) -> Self {
        Self {
            blocks,
            progress,
            wanted,
            stamp: 0,
            refused: Vec::new(),
            turn: 0,
            cut: CutFrames { frames: 0, bytes: 0 },
        }
    }

    /// What becomes of frames at the moment.
    #[inline]
    pub(crate) fn fate(&self) -> Fate {
        match (self.wanted.files, self.wanted.files || self.wanted.hub.is_followed()) {
            (true, _) => Fate::Captured,
            (false, true) => Fate::Followed,
            (false, false) => Fate::Unwanted,
        }
    }

    /// What is recorded now belongs to turn `number` of an [`Input::InOrder`](super::Input::InOrder) that several workers share.
    pub(crate) fn begin_turn(&mut self, number: u64) {
        self.blocks.begin_turn(number);
    }

    /// Hands over what belongs to the turn that was begun; waits for the turns before it.
    pub(crate) fn end_own_turn(&mut self) {
        self.blocks.end_turn();
    }

    /// Sets what happens when the writer has all blocks; a new lane refuses.
    pub(crate) fn set_when_full(&mut self, when_full: WhenFull) {
        self.blocks.set_when_full(when_full);
    }

    /// The bytes that a frame of `length` bytes takes in a block.
    #[inline]
    pub(crate) const fn record_len(length: usize) -> usize {
        PacketHeader::block_len(length)
    }

    /// The bytes of a block: no more can be in one.
    #[inline]
    pub(crate) const fn block_bytes(&self) -> usize {
        self.blocks.block_bytes()
    }

    /// Sees to it that the next records, of `bytes` bytes together ([`CaptureLane::record_len`]), come into one block, and gives
    /// that block's number, never 0: a flow that was noted in a block of this number ([`CaptureLane::note_flows`]) is noted. `None`
    /// where no block is empty: the records are then to be given to [`CaptureLane::refuse`].
    #[inline]
    pub(crate) fn begin(&mut self, bytes: usize) -> Option<u32> {
        if !self.blocks.has_room(bytes) {
            return None;
        }
        let (marks, records) = self.blocks.current();
        if records == 0 {
            self.stamp = self.stamp.checked_add(1).unwrap_or(1);
            marks.refused.append(&mut self.refused);
        }
        Some(self.stamp)
    }

    /// Counts frames of these streams as dropped, that no block takes.
    #[cold]
    pub(crate) fn refuse(&mut self, streams: impl Iterator<Item = StreamId>) {
        let mut frames = 0;
        for stream in streams {
            frames += 1;
            if let Some((_, refused)) = self.refused.iter_mut().find(|(known, _)| *known == stream) {
                *refused += 1;
            } else if self.refused.len() < REFUSED_STREAMS_MAX {
                // Of a stream beyond these it counts with all, but is not in the statistics of a file.
                self.refused.push((stream, 1));
            }
        }
        self.blocks.refuse(frames);
    }

    /// Notes flows that have records in the current block, and, where that is not known of the block yet, whether there are frames in it
    /// that the index cannot tell by their flow.
    #[inline]
    pub(crate) fn note_flows(&mut self, flows: &[FlowKey], other_frames: impl FnOnce() -> bool) {
        let (marks, _) = self.blocks.current();
        marks.flows.extend_from_slice(flows);
        marks.other_frames = marks.other_frames || other_frames();
    }

    /// Counts frames of the current block that were cut by choice.
    #[inline]
    pub(crate) fn note_cut(&mut self, cut: &CutFrames) {
        if cut.frames > 0 {
            self.cut.merge(cut);
            self.progress.set_cut(&self.cut);
        }
    }

    /// The frames that were cut so far.
    pub(crate) const fn cut(&self) -> CutFrames {
        self.cut
    }

    /// Copies frames into the current block, which has room for them: to be called after [`CaptureLane::begin`] with no more bytes than
    /// that was told of.
    #[inline]
    pub(crate) fn record_all<'a>(&mut self, frames: impl Iterator<Item = CapturedFrame<'a>>) {
        let turn = self.turn;
        self.blocks.append_more(|room, marks| {
            marks.turn = turn;
            record::write_all(frames, room, marks)
        });
    }

    /// Copies a frame into the current block, or counts it as dropped where the writer is so far behind that no block is
    /// empty (or waits for it, by [`CaptureLane::set_when_full`]). `time_ns` counts from 1970; `wire_len` is the length before anyone cut the frame.
    #[inline]
    pub fn record(&mut self, time_ns: u64, stream: StreamId, frame: &[u8], wire_len: u32) {
        if self.blocks.has_room(Self::record_len(frame.len())) {
            self.record_all(std::iter::once(CapturedFrame { time_ns, stream, bytes: frame, wire_len }));
        } else {
            self.blocks.refuse(1);
        }
    }

    /// Hands over a block that is not full when its first record has waited for the flush time. To be called after each
    /// batch and when [`CaptureLane::next_flush_ns`] has come. `now_ns` is the wall clock; what comes later has no earlier
    /// time, but for what is under way between workers.
    #[inline]
    pub fn flush_if_due(&mut self, now_ns: u64) {
        self.blocks.flush_if_due(now_ns);
        let (marks, _) = self.blocks.current();
        self.progress.set(marks.first_ns.min(now_ns));
    }

    /// Says that the worker goes to sleep: until it says that it has risen its progress is the clock's, unless
    /// it has records.
    pub(crate) fn rest(&mut self) {
        if let (_, 0) = self.blocks.current() {
            self.progress.set(LaneProgress::IDLE);
        }
    }

    /// Ends [`CaptureLane::rest`], before the clock is read for the frames that come: a worker that the system stops in their midst then holds
    /// the others' frames back.
    pub(crate) fn rise(&mut self, now_ns: u64) {
        let (marks, _) = self.blocks.current();
        self.progress.set(marks.first_ns.min(now_ns));
    }

    /// Ends a turn of several workers over one input: what was recorded belongs to `turn` and comes before everything of later
    /// turns, whichever worker it is from.
    pub(crate) fn end_turn(&mut self, turn: u64) {
        self.flush();
        self.turn = turn + 1;
        self.progress.set(turn + 1);
        self.blocks.wake_writer();
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

impl Drop for CaptureLane {
    fn drop(&mut self) {
        self.flush();
        self.progress.set(LaneProgress::IDLE);
    }
}
