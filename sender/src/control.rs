//! What another thread may do with a run under way: stop it, and read how far it is.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::capture::CaptureCounters;
use crate::summary::{SendFault, SkipReason};

/// Shared between a run and whoever watches it; made new for each run.
#[derive(Default)]
pub struct Control {
    stop: AtomicBool,
    counters: Counters,
    hang_up: Mutex<Option<HangUp>>,
}

/// What has the policy read again.
type HangUp = Box<dyn Fn() + Send>;

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("stop", &self.stop).field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl Control {
    /// Asks the run to end and give its summary: within 200 ms, unless it waits for a pipe to be read.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether the run was asked to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Has the run read its policy again; `false` where it has none.
    pub fn reload(&self) -> bool {
        let hang_up = self.hang_up.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hang_up) = &*hang_up {
            hang_up();
        }
        hang_up.is_some()
    }

    /// From now on [`Control::reload`] does this.
    pub(crate) fn hang_up(&self, what: Option<HangUp>) {
        *self.hang_up.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// The counters as of the last batch.
    pub fn progress(&self) -> Progress {
        let counters = &self.counters;
        Progress {
            read: counters.read.get(),
            sent: counters.sent.get(),
            bytes_sent: counters.bytes_sent.get(),
            packet_bytes: counters.packet_bytes.get(),
            skipped: counters.skipped.iter().map(Counter::get).sum(),
            send_errors: counters.send_errors.iter().map(Counter::get).sum(),
            ring_dropped: counters.capture.ring_dropped.get(),
            truncated: counters.truncated_mtu.get() + counters.truncated_packet_length.get(),
        }
    }

    pub(crate) const fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Frames read from files or generated.
    pub read: u64,
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// Bytes of those datagrams: tunnel header and frame.
    pub bytes_sent: u64,
    /// Bytes of the outer IP packets that they travel in.
    pub packet_bytes: u64,
    /// Frames skipped for any reason.
    pub skipped: u64,
    /// Frames that the kernel did not take.
    pub send_errors: u64,
    /// Frames sent with their end cut off.
    pub truncated: u64,
    /// Frames that found no room in the ring of a captured interface, as of the last second.
    pub ring_dropped: u64,
}

/// A count that one thread writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the sending thread calls this, so a plain load and store will do.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything a run counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) read: Counter,
    pub(crate) sent: Counter,
    pub(crate) bytes_sent: Counter,
    /// Of `bytes_sent`, those of frames.
    pub(crate) frame_bytes: Counter,
    /// Those of whole outer IP packets.
    pub(crate) packet_bytes: Counter,
    pub(crate) skipped: [Counter; SkipReason::COUNT],
    pub(crate) send_errors: [Counter; SendFault::COUNT],
    pub(crate) truncated_packet_length: Counter,
    pub(crate) truncated_mtu: Counter,
    pub(crate) messages: Counter,
    pub(crate) loops: Counter,
    pub(crate) capture: CaptureCounters,
}

impl Counters {
    /// Counts `sent` datagrams with so many bytes of frames and of tunnel headers together, each behind `outer` bytes of IP and UDP headers.
    #[inline]
    pub(crate) fn count_sent(&self, sent: u64, frames: u64, heads: u64, outer: u32) {
        self.sent.add(sent);
        self.bytes_sent.add(frames + heads);
        self.frame_bytes.add(frames);
        self.packet_bytes.add(frames + heads + sent * u64::from(outer));
    }

    /// Counts one record that was read and is not sent.
    pub(crate) fn skip(&self, reason: SkipReason) {
        self.read.add(1);
        self.skipped[reason as usize].add(1);
    }
}
