//! What a lane does when the writer has all its blocks.

use std::time::{Duration, Instant};

/// What a lane does with a record when the writer has all its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Refuse and count it: a network does not wait.
    Refuse,
    /// Wait for the writer: a file does.
    Wait,
    /// Wait for the writer as long as it gives a block back within this time, and refuse from then on: the end of a run waits, and not
    /// for ever.
    WaitUpTo(Duration),
}

/// How long a lane that waits for the writer sleeps between two looks.
const WRITER_PAUSE: Duration = Duration::from_micros(100);

impl WhenFull {
    /// Waits until `found` finds a block, or as long as that may take.
    pub(super) fn wait_for<T>(self, mut found: impl FnMut() -> Option<T>, is_dead: impl Fn() -> bool) -> Option<T> {
        let begun = Instant::now();
        loop {
            let block = found();
            let is_over = match self {
                Self::Refuse => true,
                Self::Wait => false,
                Self::WaitUpTo(time) => begun.elapsed() >= time,
            };
            // A writer that has died gives no block back.
            if block.is_some() || is_over || is_dead() {
                return block;
            }
            std::thread::sleep(WRITER_PAUSE);
        }
    }
}
