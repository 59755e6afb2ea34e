//! How often to look at the space that is left, and how much of it has to be kept in hand until the next look.

use std::io;
use std::path::Path;
use std::time::Duration;

/// Bytes that this user can still write below `directory`.
pub(super) fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The shortest time between two looks.
const SHORTEST_LOOK: Duration = Duration::from_millis(10);
/// The longest.
pub(super) const LONGEST_LOOK: Duration = Duration::from_millis(500);
/// How late a look may come on a machine that has time.
const LEAST_LATE: Duration = Duration::from_millis(15);
/// How late a look may come on one that has not. Later than that, the floor does not hold.
const MOST_LATE: Duration = Duration::from_millis(200);
/// Bytes a second that a writer that was quiet may begin with.
const LEAST_RATE: u64 = 256 << 20;
/// Bytes that such a writer can write before the next look comes to it, on a machine that has time.
pub(super) const QUIET_MARGIN: u64 = LEAST_RATE * (SHORTEST_LOOK.as_millis() + LEAST_LATE.as_millis()) as u64 / 1000;
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
    /// When the next look is meant to be.
    planned: Option<Duration>,
    /// By how much looks come too late: the most lately.
    late: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Duration,
    free: u64,
}

impl Pace {
    pub(super) const fn new() -> Self {
        Self { last: None, rate: LEAST_RATE, planned: None, late: LEAST_LATE }
    }

    /// Notes that at `at`, on a clock that does not go backwards, `free` bytes are left, and `free_before` were before
    /// this look's own deletions.
    pub(super) fn note(&mut self, at: Duration, free_before: u64, free: u64) {
        if let Some(last) = self.last {
            let passed = at.saturating_sub(last.at);
            let fading = 0.5_f64.powf(passed.as_secs_f64() / HALF_LIFE.as_secs_f64());
            let late = self.planned.map_or(Duration::ZERO, |planned| at.saturating_sub(planned));
            self.late = self.late.mul_f64(fading).max(late).clamp(LEAST_LATE, MOST_LATE);
            let faded = self.rate as f64 * fading;
            let shrunk = last.free.saturating_sub(free_before) as f64;
            // Looks that messages brought about can follow each other at once.
            let met = shrunk / passed.max(SHORTEST_LOOK).as_secs_f64();
            self.rate = (faded.max(met) as u64).clamp(LEAST_RATE, MOST_RATE);
        }
        self.last = Some(Look { at, free });
    }

    /// Bytes that can be written before the next look comes to it, where looks are close to each other.
    pub(super) fn margin(&self) -> u64 {
        (self.rate as f64 * (SHORTEST_LOOK + self.late).as_secs_f64()) as u64
    }

    /// When to look next after `now`, with `room` bytes until something has to be done, but not before `least`.
    pub(super) fn next_look(&mut self, now: Duration, room: u64, least: Duration) -> Duration {
        let until_used = room as f64 / self.rate.max(FEARED_RATE) as f64;
        let wait = (until_used / 2.0 - self.late.as_secs_f64()).min(LONGEST_LOOK.as_secs_f64());
        let wait = Duration::from_secs_f64(wait.max(SHORTEST_LOOK.max(least).as_secs_f64()));
        self.planned = Some(now + wait);
        wait
    }
}
