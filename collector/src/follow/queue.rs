//! Records on their way from the capture's writer to one follower.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use vxtap_analyzers::StreamId;
use vxtap_analyzers::snapshot::FollowerSnapshot;
use vxtap_capfile::pcapng::PacketView;

/// Runs are copied together up to this size.
pub(super) const SEGMENT_BYTES: usize = 1 << 20;

/// What may wait for one follower.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes. A queue that is empty takes a segment of any size.
    pub(super) bytes: usize,
    /// Segments.
    pub(super) segments: usize,
}

impl Bounds {
    /// What the program runs with. Followers that are equally far share what waits for them.
    pub(super) const DEFAULT: Self = Self { bytes: 16 << 20, segments: 4096 };
}

/// Records that all followers share.
#[derive(Debug)]
pub(super) struct Segment {
    bytes: Vec<u8>,
    /// Counted when the first queue refuses it.
    counts: OnceLock<Lost>,
}

/// Records by mirror stream.
pub(super) type Lost = HashMap<StreamId, u64, foldhash::fast::RandomState>;

impl Segment {
    /// A copy of `runs`.
    fn new(runs: &[&[u8]]) -> Self {
        Self { bytes: runs.concat(), counts: OnceLock::new() }
    }

    /// Becomes a copy of `runs`.
    fn refill(&mut self, runs: &[&[u8]]) {
        self.bytes.clear();
        for run in runs {
            self.bytes.extend_from_slice(run);
        }
        self.counts = OnceLock::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whole enhanced packet blocks.
    pub(super) fn records(&self) -> &[u8] {
        &self.bytes
    }

    fn counts(&self) -> &Lost {
        self.counts.get_or_init(|| {
            let mut counts = Lost::default();
            let mut rest = self.records();
            // Records come in runs of one stream.
            let (mut stream, mut run) = (StreamId(0), 0);
            while let Some(record) = PacketView::first(rest) {
                if record.interface() != stream.0 {
                    count(&mut counts, stream, run);
                    (stream, run) = (StreamId(record.interface()), 0);
                }
                run += 1;
                rest = &rest[record.block().len()..];
            }
            count(&mut counts, stream, run);
            counts
        })
    }
}

fn count(lost: &mut Lost, stream: StreamId, records: u64) {
    if records > 0 {
        *lost.entry(stream).or_default() += records;
    }
}

/// Segments of late, to be used again when no follower has them any more: fresh memory of this size is the kernel's to give, page by
/// page, and costs more than the copy.
#[derive(Debug, Default)]
pub(super) struct Segments(Vec<Arc<Segment>>);

impl Segments {
    /// How many are remembered. Followers that keep up have one or two of them.
    const REMEMBERED: usize = 8;

    /// A segment with a copy of `runs`.
    pub(super) fn copy_of(&mut self, runs: &[&[u8]]) -> Arc<Segment> {
        for free in &mut self.0 {
            if let Some(segment) = Arc::get_mut(free) {
                segment.refill(runs);
                return Arc::clone(free);
            }
        }
        let segment = Arc::new(Segment::new(runs));
        if self.0.len() < Self::REMEMBERED && segment.bytes.len() <= SEGMENT_BYTES {
            self.0.push(Arc::clone(&segment));
        }
        segment
    }

    /// Forgets them: nobody follows.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What comes out of a queue.
#[derive(Debug)]
pub(super) enum Next {
    /// Records.
    Records(Arc<Segment>),
    /// So many went past, here.
    Lost(Lost),
    /// Nothing more will come.
    End,
}

/// A bounded queue of segments. When it is full it takes nothing until half of it is free: one long gap tells a reader more
/// than many short ones.
#[derive(Debug)]
pub(super) struct Queue {
    facts: FollowerSnapshot,
    sent: AtomicU64,
    dropped: AtomicU64,
    /// Held for the time of a few instructions by either side.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Of the segments in `waiting`.
    bytes: usize,
    segments: usize,
    /// Whether it was full and is not half free yet.
    refusing: bool,
    /// What was refused since the last segment.
    lost: Lost,
    closed: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Waiting {
    Records(Arc<Segment>),
    Lost(Lost),
}

impl Queue {
    /// An empty queue to the follower that `facts` describe.
    pub(super) fn new(facts: FollowerSnapshot) -> Self {
        Self { facts, sent: AtomicU64::new(0), dropped: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Takes `segment`, or counts its records as lost. Never waits for the follower.
    pub(super) fn push(&self, segment: &Arc<Segment>, bounds: Bounds) {
        let mut state = self.state();
        if state.refuses(segment.bytes.len(), bounds) {
            for (stream, records) in segment.counts() {
                count(&mut state.lost, *stream, *records);
                self.dropped.fetch_add(*records, Ordering::Relaxed);
            }
            return;
        }
        if !state.lost.is_empty() {
            let lost = std::mem::take(&mut state.lost);
            state.waiting.push_back(Waiting::Lost(lost));
        }
        state.bytes += segment.bytes.len();
        state.segments += 1;
        state.waiting.push_back(Waiting::Records(Arc::clone(segment)));
        wake(state);
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        wake(state);
    }

    /// What comes next; the task of `context` is woken when there is something.
    pub(super) fn poll_next(&self, context: &Context<'_>) -> Poll<Next> {
        let mut state = self.state();
        match state.waiting.pop_front() {
            Some(Waiting::Records(segment)) => {
                state.bytes -= segment.bytes.len();
                state.segments -= 1;
                Poll::Ready(Next::Records(segment))
            }
            Some(Waiting::Lost(lost)) => Poll::Ready(Next::Lost(lost)),
            None if !state.lost.is_empty() => Poll::Ready(Next::Lost(std::mem::take(&mut state.lost))),
            None if state.closed => Poll::Ready(Next::End),
            None => {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }

    /// Counts records that the follower got.
    pub(super) fn count_sent(&self, records: u64) {
        self.sent.fetch_add(records, Ordering::Relaxed);
    }

    /// The follower as it is now.
    pub(super) fn snapshot(&self) -> FollowerSnapshot {
        FollowerSnapshot {
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            ..self.facts.clone()
        }
    }

    /// When the follower came, nanoseconds since 1970.
    pub(super) fn since_ns(&self) -> u64 {
        self.facts.since_ns
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn refuses(&mut self, bytes: usize, bounds: Bounds) -> bool {
        let full = self.segments >= bounds.segments || self.bytes.saturating_add(bytes) > bounds.bytes;
        let half_free = self.segments <= bounds.segments / 2 && self.bytes <= bounds.bytes / 2;
        self.refusing = self.segments > 0 && (full || (self.refusing && !half_free));
        self.refusing
    }
}

/// Wakes the follower after the lock is given back.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_no_follower_has_it_any_more() {
        let mut segments = Segments::default();
        let held = segments.copy_of(&[b"on", b"e"]);
        let other = segments.copy_of(&[b"two"]);
        assert_eq!((held.records(), other.records()), (&b"one"[..], &b"two"[..]));
        let place = Arc::as_ptr(&held);
        drop(held);
        let again = segments.copy_of(&[b"three"]);
        assert_eq!((Arc::as_ptr(&again), again.records()), (place, &b"three"[..]));
        assert_eq!(other.records(), b"two");
    }
}
