//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(2);

/// For anything that a healthy program does at once. Long, because the machine may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(20);

/// What `probe` gives as soon as it gives something.
///
/// # Panics
/// When `limit` is over, naming `what` was waited for.
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begin.elapsed() < limit, "waited {limit:?} in vain for {what}");
        pause();
    }
}

/// Waits until `condition` holds; see [`within`].
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    within(limit, what, || condition().then_some(()));
}

/// The time between two looks at a condition.
pub fn pause() {
    thread::sleep(POLL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_ends_the_wait() {
        let mut looks = 0;
        let found = within(SOON, "the third look", || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found, 3);
    }

    #[test]
    #[should_panic(expected = "in vain for godot")]
    fn a_condition_that_never_comes_true_fails_by_name() {
        wait_until(Duration::from_millis(5), "godot", || false);
    }
}
