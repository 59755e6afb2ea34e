//! How often to look at the space that is left, and how much of it has to be kept in hand until the next look.

use std::time::Duration;

/// The shortest time between two looks.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);
/// The longest.
pub(super) const LONGEST_LOOK: Duration = Duration::from_millis(500);
/// How late a look may come when the next was meant to be the shortest time away.
const LATEST_LOOK: Duration = Duration::from_millis(25);
/// Bytes a second that a writer that was quiet may begin with.
const LEAST_RATE: u64 = 256 << 20;
/// No writer is faster. What shrinks faster is one large file that somebody reserved: that is no rate.
const MOST_RATE: u64 = 4 << 30;
/// The interval is chosen as if a writer could begin with this rate.
const FEARED_RATE: u64 = 2 << 30;
/// In this time a rate that is not met again counts half.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// How fast space shrinks.
#[derive(Debug)]
pub(super) struct Pace {
    last: Option<Look>,
    /// Bytes a second: the fastest lately.
    rate: u64,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Duration,
    free: u64,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { last: None, rate: LEAST_RATE }
    }

    /// Notes that at `at`, on a clock that does not go backwards, `free` bytes are left, and `free_before` were before this look's
    /// own deletions.
    pub(super) fn note(&mut self, at: Duration, free_before: u64, free: u64) {
        if let Some(last) = self.last {
            let passed = at.saturating_sub(last.at);
            let halves = passed.as_secs_f64() / HALF_LIFE.as_secs_f64();
            let faded = self.rate as f64 * 0.5_f64.powf(halves);
            let shrunk = last.free.saturating_sub(free_before) as f64;
            // Looks that messages brought about can follow each other at once.
            let met = shrunk / passed.max(SHORTEST_LOOK).as_secs_f64();
            self.rate = (faded.max(met) as u64).clamp(LEAST_RATE, MOST_RATE);
        }
        self.last = Some(Look { at, free });
    }

    /// Bytes that can be written before the next look comes to it, where looks are close to each other.
    pub(super) fn margin(&self) -> u64 {
        (self.rate as f64 * LATEST_LOOK.as_secs_f64()) as u64
    }

    /// When to look next, with `room` bytes until something has to be done.
    pub(super) fn next_look(&self, room: u64) -> Duration {
        let until_used = room as f64 / self.rate.max(FEARED_RATE) as f64;
        Duration::from_secs_f64((until_used / 2.0).min(LONGEST_LOOK.as_secs_f64())).max(SHORTEST_LOOK)
    }
}
