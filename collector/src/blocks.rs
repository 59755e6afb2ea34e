//! Blocks of whole records on their way from a worker to a writer thread.
//!
//! Each worker has a [`BlockLane`] of a fixed number of blocks, allocated once. It copies records into one block and
//! hands the block over when the next record does not fit or when it was told to flush; the writer thread takes the blocks of
//! all lanes from one [`BlockQueue`] in the order in which they were handed over and gives them back. A lane without an
//! empty block refuses records and counts them: the worker never waits. The writer sleeps while there is nothing to do.
//!
//! Where a file is read, workers may wait. Then a lane can have its blocks written by the worker itself ([`write_in_place`]), which has their
//! bytes in its cache, and several can hand over in an order ([`BlockLane::in_turns`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::turns::Turns;

mod block;
mod counters;
mod in_place;
mod when_full;

use block::Bytes;
pub(crate) use block::{Block, Marks};
pub(crate) use counters::LaneCounters;
use in_place::WriteInPlace;
pub(crate) use in_place::{BlockWriter, write_in_place};
pub(crate) use when_full::WhenFull;

/// How many blocks a lane has, and how large they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneSettings {
    /// Blocks; at least 2 are made: one to fill while another is written.
    pub(crate) blocks: usize,
    /// Bytes in each; no record may be longer.
    pub(crate) block_bytes: usize,
    /// A record waits no longer than this in a block that is not full.
    pub(crate) flush: Duration,
}

/// What the lanes and the queue share.
#[derive(Debug, Default)]
struct Shared {
    /// The thread to wake; set before any lane is given out.
    writer: OnceLock<Thread>,
    next_ticket: AtomicU64,
    /// The writer is to look up though nothing may have come.
    nudged: AtomicBool,
}

impl Shared {
    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// Makes `lanes` lanes and the queue that they end in.
pub(crate) fn lanes<M: Marks>(lanes: usize, settings: LaneSettings) -> (BlockQueue<M>, Vec<BlockLane<M>>) {
    let shared = Arc::new(Shared::default());
    let (ends, lanes) = (0..lanes).map(|_| lane(settings, &shared)).unzip();
    (BlockQueue { lanes: ends, shared }, lanes)
}

fn lane<M: Marks>(settings: LaneSettings, shared: &Arc<Shared>) -> (LaneEnd<M>, BlockLane<M>) {
    let blocks = settings.blocks.max(2);
    // Each ring can hold every block, so giving a block to the other side always succeeds.
    let (full, full_end) = RingBuffer::new(blocks);
    let (empty_end, empty) = RingBuffer::new(blocks);
    let block = || Block {
        bytes: Bytes::with_room(settings.block_bytes),
        marks: M::with_room(settings.block_bytes),
        ..Block::<M>::default()
    };
    let closed = Arc::new(AtomicBool::new(false));
    let counters = Arc::new(LaneCounters::default());
    let lane = BlockLane {
        current: Block::default(),
        spare: (0..blocks).map(|_| block()).collect(),
        full,
        empty,
        block_bytes: settings.block_bytes,
        flush_ns: settings.flush.as_nanos().try_into().unwrap_or(u64::MAX),
        waiting_since_ns: None,
        handed_over: 0,
        refused: 0,
        when_full: WhenFull::Refuse,
        in_place: None,
        turns: None,
        turn: None,
        closed: Arc::clone(&closed),
        counters: Arc::clone(&counters),
        shared: Arc::clone(shared),
    };
    (LaneEnd { full: full_end, empty: empty_end, closed, counters }, lane)
}

/// A worker's end: takes records, never waits. Dropping it hands over what it has and closes the lane.
#[derive(Debug)]
pub(crate) struct BlockLane<M: Marks = ()> {
    /// Being filled; without memory where the lane has no empty block.
    current: Block<M>,
    /// Empty blocks, the one used last on top: it is the likeliest to be in a cache.
    spare: Vec<Block<M>>,
    full: Producer<Block<M>>,
    empty: Consumer<Block<M>>,
    block_bytes: usize,
    flush_ns: u64,
    /// When `current` was first seen with a record in it.
    waiting_since_ns: Option<u64>,
    handed_over: u64,
    refused: u64,
    when_full: WhenFull,
    /// Who writes what is handed over; `None`: a thread that has to be woken for it.
    in_place: Option<Arc<dyn WriteInPlace>>,
    /// The turns in which lanes hand over, where they do.
    turns: Option<Arc<Turns>>,
    /// The one that this lane has now, or waits for.
    turn: Option<u64>,
    closed: Arc<AtomicBool>,
    counters: Arc<LaneCounters>,
    shared: Arc<Shared>,
}

impl<M: Marks> BlockLane<M> {
    /// Sets what happens when the writer has all blocks; a new lane refuses.
    pub(crate) fn set_when_full(&mut self, when_full: WhenFull) {
        self.when_full = when_full;
    }

    /// What happens when the writer has all blocks.
    pub(crate) const fn when_full(&self) -> WhenFull {
        self.when_full
    }

    /// From now on the lane hands over in the turns that it is given ([`BlockLane::begin_turn`]).
    pub(crate) fn in_turns(&mut self, turns: Arc<Turns>) {
        self.turns = Some(turns);
    }

    /// What is recorded now belongs to turn `number`: it is handed over when the turns before are ended.
    pub(crate) fn begin_turn(&mut self, number: u64) {
        debug_assert_eq!(self.turn, None, "a turn is ended before the next is begun");
        self.turn = Some(number);
    }

    /// Hands over what belongs to the turn, and ends it.
    pub(crate) fn end_turn(&mut self) {
        self.flush();
        self.wait_for_turn();
        if let (Some(turns), Some(_)) = (&self.turns, self.turn.take()) {
            turns.end();
        }
    }

    fn wait_for_turn(&self) {
        if let (Some(turns), Some(number)) = (&self.turns, self.turn) {
            turns.wait(number);
        }
    }

    /// Has the handed over written.
    fn have_written(&self) {
        match &self.in_place {
            Some(writer) => writer.write(),
            None => self.shared.wake(),
        }
    }

    /// Has `write` append one record of `length` bytes to a block, or refuses and counts it. Gives the marks of the block.
    #[inline]
    pub(crate) fn append(&mut self, length: usize, write: impl FnOnce(&mut Bytes)) -> Option<&mut M> {
        self.append_several(length, 1, write)
    }

    /// Has `write` append `records` records of `length` bytes together to one block, or refuses and counts them all.
    #[inline]
    pub(crate) fn append_several(
        &mut self,
        length: usize,
        records: u64,
        write: impl FnOnce(&mut Bytes),
    ) -> Option<&mut M> {
        if !self.has_room(length) {
            self.refuse(records);
            return None;
        }
        write(&mut self.current.bytes);
        self.current.records += records;
        Some(&mut self.current.marks)
    }

    /// Has `write` fill the rest of the current block with records from its beginning on, and say how many bytes they have and how many
    /// they are. There is room for them: [`BlockLane::has_room`] said so.
    #[inline]
    pub(crate) fn append_more(&mut self, write: impl FnOnce(&mut [u8], &mut M) -> (usize, u64)) {
        let Block { bytes: Bytes { memory, length }, records, marks, .. } = &mut self.current;
        let (bytes, more) = write(&mut memory[*length..], marks);
        *length += bytes;
        *records += more;
        debug_assert!(*length <= memory.len(), "no more than the block has");
    }

    /// Whether `length` bytes fit into one block that now has room for them; hands the block over that has not.
    #[inline]
    pub(crate) fn has_room(&mut self, length: usize) -> bool {
        self.current.bytes.room() >= length || self.next_block(length)
    }

    /// Whether more than half of its blocks are empty: the writer keeps up.
    #[inline]
    pub(crate) fn is_half_empty(&mut self) -> bool {
        let half = self.full.buffer().capacity() / 2;
        if self.spare.len() <= half {
            take_back(&mut self.spare, &mut self.empty);
        }
        self.spare.len() > half
    }

    /// The marks of the block being filled, and how many records it has.
    #[inline]
    pub(crate) const fn current(&mut self) -> (&mut M, u64) {
        (&mut self.current.marks, self.current.records)
    }

    /// The bytes of a block.
    #[inline]
    pub(crate) const fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Has the writer look again though there is no new block.
    pub(crate) fn wake_writer(&self) {
        self.shared.wake();
    }

    /// Counts records that no block takes.
    #[cold]
    pub(crate) fn refuse(&mut self, records: u64) {
        self.refused += records;
        self.counters.refused.store(self.refused, Ordering::Relaxed);
    }

    /// Puts an empty block in place of the current one, if `length` bytes fit into any.
    #[cold]
    fn next_block(&mut self, length: usize) -> bool {
        if length <= self.block_bytes {
            self.flush();
            let Self { spare, empty, full, when_full, .. } = self;
            let next = || {
                take_back(spare, empty);
                spare.pop()
            };
            if let Some(block) = when_full.wait_for(next, || full.is_abandoned()) {
                self.current = block;
                return true;
            }
            if self.when_full != WhenFull::Wait {
                self.when_full = WhenFull::Refuse;
            }
        }
        false
    }

    /// Hands the current block over, if there is anything in it.
    pub(crate) fn flush(&mut self) {
        self.waiting_since_ns = None;
        if self.current.records == 0 {
            return;
        }
        self.wait_for_turn();
        let mut block = std::mem::take(&mut self.current);
        self.handed_over += block.records;
        self.counters.handed_over.store(self.handed_over, Ordering::Relaxed);
        block.ticket = self.shared.next_ticket.fetch_add(1, Ordering::Relaxed);
        let pushed = self.full.push(block);
        debug_assert!(pushed.is_ok(), "the ring holds every block of the lane");
        self.have_written();
    }

    /// Hands a block over that is not full when its first record has waited for the flush time. To be called after each
    /// batch and when [`BlockLane::next_flush_ns`] has come; `now_ns` is any clock that does not go backwards.
    #[inline]
    pub(crate) fn flush_if_due(&mut self, now_ns: u64) {
        if self.current.records == 0 {
            return;
        }
        let since = *self.waiting_since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since) >= self.flush_ns {
            self.flush_partial(now_ns);
        }
    }

    /// While the writer is behind, the last block is filled before it is handed over: nothing would be written sooner, and
    /// a stuck disk would take all blocks while they are nearly empty.
    fn flush_partial(&mut self, now_ns: u64) {
        take_back(&mut self.spare, &mut self.empty);
        if self.spare.is_empty() {
            self.waiting_since_ns = Some(now_ns);
        } else {
            self.flush();
        }
    }

    /// When [`BlockLane::flush_if_due`] has something to do, on the clock that it is given; `None` where there is nothing.
    #[inline]
    pub(crate) fn next_flush_ns(&self) -> Option<u64> {
        self.waiting_since_ns.map(|since| since.saturating_add(self.flush_ns))
    }

    /// Records refused so far.
    #[inline]
    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }
}

/// Fetches the blocks that the writer has emptied.
fn take_back<M>(spare: &mut Vec<Block<M>>, empty: &mut Consumer<Block<M>>) {
    while let Ok(block) = empty.pop() {
        spare.push(block);
    }
}

impl<M: Marks> Drop for BlockLane<M> {
    fn drop(&mut self) {
        // Also of a worker that panics: the others wait for its turn to end.
        self.end_turn();
        self.closed.store(true, Ordering::Release);
        self.have_written();
    }
}

/// The writer's end of one lane.
#[derive(Debug)]
struct LaneEnd<M> {
    full: Consumer<Block<M>>,
    empty: Producer<Block<M>>,
    closed: Arc<AtomicBool>,
    counters: Arc<LaneCounters>,
}

/// The writer's end of all lanes.
#[derive(Debug)]
pub(crate) struct BlockQueue<M = ()> {
    lanes: Vec<LaneEnd<M>>,
    shared: Arc<Shared>,
}

/// What came for the writer.
pub(crate) enum Next<M> {
    /// A block of this lane.
    Block(usize, Block<M>),
    /// Nothing, in all the time or until a nudge.
    Nothing,
    /// Every lane is closed and empty.
    Closed,
}

/// Has the writer look up, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Nudge(Arc<Shared>);

impl Nudge {
    /// Ends the writer's wait, this one or the next, with [`Next::Nothing`] where no block has come.
    pub(crate) fn nudge(&self) {
        self.0.nudged.store(true, Ordering::Release);
        self.0.wake();
    }
}

/// Tells the lanes which thread to wake.
#[derive(Debug)]
pub(crate) struct WriterSlot(Arc<Shared>);

impl WriterSlot {
    /// To be called once, before the first lane is used.
    pub(crate) fn set(self, writer: Thread) {
        let set = self.0.writer.set(writer);
        debug_assert!(set.is_ok(), "a queue has one writer");
    }
}

impl<M: Marks> BlockQueue<M> {
    /// Where to put the thread that will call [`BlockQueue::next`].
    pub(crate) fn writer_slot(&self) -> WriterSlot {
        WriterSlot(Arc::clone(&self.shared))
    }

    /// A way to end the writer's wait.
    pub(crate) fn nudge(&self) -> Nudge {
        Nudge(Arc::clone(&self.shared))
    }

    /// The counters of each lane.
    pub(crate) fn counters(&self) -> Vec<Arc<LaneCounters>> {
        self.lanes.iter().map(|lane| Arc::clone(&lane.counters)).collect()
    }

    /// Waits for the next block, but no longer than `time`, nor after a [`Nudge`].
    pub(crate) fn next_within(&mut self, time: Option<Duration>) -> Next<M> {
        let deadline = time.map(|time| Instant::now() + time);
        loop {
            // Read before the rings: what a lane handed over before it closed is then seen.
            let closed = self.lanes.iter().all(|lane| lane.closed.load(Ordering::Acquire));
            if let Some((lane, block)) = self.try_next() {
                return Next::Block(lane, block);
            }
            if closed {
                return Next::Closed;
            }
            if self.shared.nudged.swap(false, Ordering::Acquire) {
                return Next::Nothing;
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => std::thread::park(),
                Some(Duration::ZERO) => return Next::Nothing,
                Some(rest) => std::thread::park_timeout(rest),
            }
        }
    }

    /// The next block if there is one.
    pub(crate) fn try_next(&mut self) -> Option<(usize, Block<M>)> {
        let heads = self.lanes.iter().enumerate();
        let heads = heads.filter_map(|(number, lane)| lane.full.peek().ok().map(|block| (block.ticket, number)));
        let (_, number) = heads.min()?;
        Some((number, self.lanes[number].full.pop().ok()?))
    }

    /// Empties a block and returns it to its lane.
    pub(crate) fn give_back(&mut self, lane: usize, mut block: Block<M>) {
        block.bytes.clear();
        block.records = 0;
        block.marks.clear();
        let pushed = self.lanes[lane].empty.push(block);
        debug_assert!(pushed.is_ok(), "the ring holds every block of the lane");
    }
}

#[cfg(test)]
mod tests;
