//! How a capture ends: its rings are closed, and what is in them then is given a while.

use std::time::{Duration, Instant};

use super::live::Live;

/// How long the end waits for what is in the rings.
const MOST_DRAINING: Duration = Duration::from_secs(2);

/// When a capture is to end, and since when it is ending.
pub(crate) struct Ending {
    due: Option<Instant>,
    closed: Option<Instant>,
}

impl Ending {
    /// It ends after `duration`, or when it is told to.
    pub(crate) fn after(duration: Option<Duration>) -> Self {
        Self { due: duration.and_then(|duration| Instant::now().checked_add(duration)), closed: None }
    }

    /// Closes the rings of `live` when it is time, or when the capture `is_stopped`.
    pub(crate) fn look(&mut self, now: Instant, is_stopped: bool, live: &mut Live<'_>) {
        if self.closed.is_none() && (is_stopped || self.due.is_some_and(|due| now >= due)) {
            live.close();
            self.closed = Some(now);
        }
    }

    /// Whether the rings are closed.
    pub(crate) const fn has_begun(&self) -> bool {
        self.closed.is_some()
    }

    /// Whether nothing comes any more, when there was nothing just now: what a ring holds back it gives in this time.
    pub(crate) fn is_drained(&self) -> bool {
        self.closed.is_some_and(|closed| closed.elapsed() >= Live::latency())
    }

    /// Whether it has taken as long as it may.
    pub(crate) fn is_overdue(&self) -> bool {
        self.closed.is_some_and(|closed| closed.elapsed() >= MOST_DRAINING)
    }
}
