//! Workers that do something in the order of numbers that they were given.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// Looks that a worker takes whether its turn has come before it goes to sleep: what is done in a turn takes some
/// 10 microseconds, waking a thread takes longer.
const LOOKS_BEFORE_SLEEP: u32 = 2_000;

/// Turns from 0 on. Each has to be waited for and ended, by whoever was given its number.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    at: AtomicU64,
    /// Workers that sleep until their turn comes.
    sleeping: Mutex<u32>,
    came: Condvar,
}

impl Turns {
    /// Waits for turn `number`. What was done in the turns before it is seen then.
    pub(crate) fn wait(&self, number: u64) {
        for _ in 0..LOOKS_BEFORE_SLEEP {
            if self.at.load(Ordering::Acquire) == number {
                return;
            }
            std::hint::spin_loop();
        }
        let mut sleeping = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        *sleeping += 1;
        let not_yet = |_: &mut u32| self.at.load(Ordering::Acquire) != number;
        let mut sleeping = self.came.wait_while(sleeping, not_yet).unwrap_or_else(PoisonError::into_inner);
        *sleeping -= 1;
    }

    /// Ends the turn that it is, and begins the next.
    pub(crate) fn end(&self) {
        self.at.fetch_add(1, Ordering::Release);
        // A worker that found its turn not come under this lock is counted in it.
        let sleeping = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        if *sleeping > 0 {
            self.came.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_the_order_of_their_numbers_however_many_threads_have_them() {
        let (turns, order) = (Turns::default(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for first in [3, 1, 0, 2] {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    for number in (first..400).step_by(4) {
                        turns.wait(number);
                        order.lock().unwrap().push(number);
                        if number % 50 == 0 {
                            // Long enough for the others to go to sleep.
                            std::thread::sleep(std::time::Duration::from_millis(1));
                        }
                        turns.end();
                    }
                });
            }
        });
        assert_eq!(order.into_inner().unwrap(), (0..400).collect::<Vec<_>>());
    }
}
