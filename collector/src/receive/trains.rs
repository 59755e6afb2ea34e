//! When the kernel may hand over several datagrams as one (a train, UDP GRO).
//!
//! A train that finds the queue full is dropped as one and counted as one, so the count of what the kernel dropped would be
//! too small, by an unknown amount. So trains are taken only while the queue is nowhere near full: with them off the
//! kernel cuts a train apart before it looks for room, and counts each datagram.

/// Trains are off from when this share of the queue is in use: one part in so many.
const BUSY_SHARE: u64 = 4;
/// Looks in a row that must find the queue short before trains come on again. There are ten a second when nothing presses.
const CALM_LOOKS: u32 = 10;

/// Decides it, from how full the queue is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trains {
    on: bool,
    calm: u32,
}

/// What one look at a socket has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Bytes of memory that the queue takes.
    pub(crate) queued: u64,
    /// Bytes that it may take.
    pub(crate) room: u64,
    /// Whether the kernel has dropped something since the last look.
    pub(crate) dropped: bool,
}

impl Trains {
    /// Off, until the first look at a regular time finds the queue short: a load that is too much from its first packet on
    /// is counted exactly.
    pub(crate) const fn new() -> Self {
        Self { on: false, calm: CALM_LOOKS - 1 }
    }

    /// Whether trains are on.
    pub(crate) const fn are_on(self) -> bool {
        self.on
    }

    /// Takes a look. Gives whether trains are now to be switched, on or off. Only a `regular` look, one of ten a
    /// second, brings them on.
    pub(crate) fn look(&mut self, look: Look, regular: bool) -> bool {
        let busy = look.dropped || look.queued > look.room / BUSY_SHARE;
        let before = self.on;
        if busy {
            self.on = false;
            self.calm = 0;
        } else if regular {
            self.calm = (self.calm + 1).min(CALM_LOOKS);
            self.on = self.calm == CALM_LOOKS;
        }
        self.on != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Look = Look { queued: 10, room: 100, dropped: false };
    const LONG: Look = Look { queued: 26, room: 100, dropped: false };
    const DROPPED: Look = Look { queued: 0, room: 100, dropped: true };

    #[test]
    fn trains_come_on_at_the_first_regular_look_that_finds_the_queue_short() {
        let mut trains = Trains::new();
        assert!(!trains.are_on());
        assert!(!trains.look(SHORT, false), "a look out of turn brings nothing on");
        assert!(trains.look(SHORT, true) && trains.are_on());
        assert!(!trains.look(SHORT, true), "they are on already");
    }

    #[test]
    fn a_load_that_is_too_much_from_the_beginning_never_brings_them_on() {
        let mut trains = Trains::new();
        for _ in 0..100 {
            assert!(!trains.look(LONG, false) && !trains.look(DROPPED, true));
        }
        assert!(!trains.are_on());
    }

    #[test]
    fn a_filling_queue_or_a_drop_turns_them_off_until_a_second_was_calm() {
        for trouble in [LONG, DROPPED] {
            let mut trains = Trains::new();
            trains.look(SHORT, true);
            assert!(trains.look(trouble, false) && !trains.are_on());
            for _ in 1..CALM_LOOKS {
                assert!(!trains.look(SHORT, true));
            }
            assert!(trains.look(SHORT, true) && trains.are_on());
        }
    }
}
