//! What time it is, as a parameter.

use std::time::{Duration, Instant};

/// A clock that never goes back. How old data are is measured with it; moments of the collector come with its snapshots.
pub(crate) trait Clock {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;
}

/// The machine's clock.
pub(crate) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
