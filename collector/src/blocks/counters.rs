//! What became of the records of one lane.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the records of one lane. The worker and the writer each add to their own fields only.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct LaneCounters {
    /// Handed over to the writer.
    pub(super) handed_over: AtomicU64,
    /// Refused because no block was empty.
    pub(super) refused: AtomicU64,
    /// Written.
    written: AtomicU64,
    /// Taken from the lane and not written.
    discarded: AtomicU64,
}

impl LaneCounters {
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Refused by the lane or discarded by the writer.
    pub(crate) fn dropped(&self) -> u64 {
        self.refused.load(Ordering::Relaxed) + self.discarded.load(Ordering::Relaxed)
    }

    /// Written or discarded by the writer.
    pub(crate) fn done(&self) -> u64 {
        self.written() + self.discarded.load(Ordering::Relaxed)
    }

    /// With the writer.
    pub(crate) fn pending(&self) -> u64 {
        // The writer's counts first: they never overtake what was handed over before they were read.
        let done = self.done();
        self.handed_over.load(Ordering::Relaxed).saturating_sub(done)
    }

    pub(crate) fn add_written(&self, records: u64) {
        self.written.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn add_discarded(&self, records: u64) {
        self.discarded.fetch_add(records, Ordering::Relaxed);
    }
}
