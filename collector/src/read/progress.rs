//! How far the workers of one `read` are, so that none reads far ahead of another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where each worker is among the chunks.
pub(super) struct Progress(Box<[Place]>);

/// In cache lines of its own: each is written by one worker, for each chunk.
#[derive(Default)]
#[repr(align(128))]
struct Place {
    /// The chunk whose turn it is.
    turn: AtomicU64,
    /// It sleeps, or is about to, and may be held back by others.
    waits: AtomicBool,
}

impl Progress {
    /// For `workers` workers, all before the first chunk.
    pub(super) fn new(workers: u32) -> Self {
        Self((0..workers).map(|_| Place::default()).collect())
    }

    /// The first chunk that some worker has not done.
    pub(super) fn slowest(&self) -> u64 {
        self.0.iter().map(|place| place.turn.load(Ordering::SeqCst)).min().unwrap_or_default()
    }

    /// Worker `number` has done everything before chunk `turn`. Gives those that have to be woken for it, once each.
    pub(super) fn advance(&self, number: usize, turn: u64) -> impl Iterator<Item = usize> {
        // In one order for all: either this worker sees that another waits, or that one sees the turn before it sleeps.
        self.0[number].turn.store(turn, Ordering::SeqCst);
        let wakes = |place: &Place| place.waits.load(Ordering::SeqCst) && place.waits.swap(false, Ordering::SeqCst);
        (0..self.0.len()).filter(move |&other| other != number && wakes(&self.0[other]))
    }

    /// From now on worker `number` is to be woken. It has to look once more whether it needs to sleep.
    pub(super) fn begin_to_wait(&self, number: usize) {
        self.0[number].waits.store(true, Ordering::SeqCst);
    }

    /// Worker `number` is awake.
    pub(super) fn end_to_wait(&self, number: usize) {
        self.0[number].waits.store(false, Ordering::SeqCst);
    }
}
