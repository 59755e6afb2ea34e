//! How many datagrams the kernel has dropped at a socket.
//!
//! The kernel's own count is of buffers, of which each may be a train of datagrams. With a count of all that came
//! ([`OfferCounter`]) what was dropped is known to the datagram whenever nothing is on its way or in the queue: it is what came
//! and was not received. Such a moment shows itself: as many buffers came as were received and dropped. Until the next
//! one, what was dropped since the last counts as often as the kernel counted, and as in doubt.

use super::offered::{OfferCounter, Offered};

/// What the kernel dropped at a socket: its queue was full, or the checksum wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelDrops {
    /// As far as is known; there were no fewer.
    pub(crate) counted: u64,
    /// Of those, each may stand for several datagrams.
    pub(crate) trains: u64,
}

/// The count for one socket.
#[derive(Debug)]
pub(super) struct DropTally {
    /// Datagrams dropped up to the last settlement.
    settled: u64,
    /// Of those, in doubt for ever.
    settled_in_doubt: u64,
    /// The kernel's count of buffers since then.
    unsettled: u64,
    /// The kernel's count of buffers in all.
    buffers: u64,
    /// The same as the kernel last told it; it wraps at 32 bits.
    told: u32,
    received: Offered,
    /// Whether a buffer may be a train.
    trains: bool,
    counter: Option<OfferCounter>,
    origin: Origin,
}

/// What the kernel says of a socket's queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLook {
    /// Buffers dropped; wraps.
    pub(super) drops: u32,
    /// Whether no buffer waits.
    pub(super) empty: bool,
}

/// From where on everything that came is known.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// Not yet: buffers may wait that came before the counter. With how many more were received and dropped than had come when that was
    /// last looked at.
    Unknown {
        lead: Option<i64>,
    },
    Known(Known),
}

/// A moment at which nothing was on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    came: u64,
    received: u64,
    /// How many more buffers had been received and dropped than had come.
    lead: i64,
    /// The same at the last settlement: it grows by what is dropped before the counter sees it, for a wrong checksum.
    last_lead: i64,
    /// Datagrams dropped before.
    dropped: u64,
}

impl DropTally {
    /// For a socket of which the kernel has counted `told` drops. `fresh`: nothing can have come before the counter.
    pub(super) fn new(trains: bool, told: u32, counter: Option<OfferCounter>, fresh: bool) -> Self {
        Self {
            settled: 0,
            settled_in_doubt: 0,
            unsettled: 0,
            buffers: 0,
            told,
            received: Offered::default(),
            trains,
            counter,
            origin: if fresh { Origin::Known(Known::default()) } else { Origin::Unknown { lead: None } },
        }
    }

    /// Notes what was received: buffers, and the datagrams in them.
    #[inline]
    pub(super) fn receive(&mut self, messages: u64, datagrams: u64) {
        self.received.messages += messages;
        self.received.datagrams += datagrams;
    }

    /// Brings the count up to date. `queue` asks the kernel; what was received so far must have been noted.
    pub(super) fn look(&mut self, queue: impl FnOnce() -> Option<QueueLook>) {
        let before = self.offered();
        let Some(QueueLook { drops, empty }) = queue() else { return };
        self.note_told(drops);
        // Nothing to settle, and no use in asking again.
        let open = self.unsettled > 0 || matches!(self.origin, Origin::Unknown { .. });
        if let Some(came) = before
            && empty
            && open
            // Nothing came in between, so the three figures are of one moment.
            && self.offered() == Some(came)
        {
            self.settle(came);
        }
    }

    fn note_told(&mut self, drops: u32) {
        let new = u64::from(drops.wrapping_sub(std::mem::replace(&mut self.told, drops)));
        self.unsettled += new;
        self.buffers += new;
    }

    fn offered(&self) -> Option<Offered> {
        self.counter.as_ref()?.read().ok()
    }

    /// Settles at a moment at which the queue was empty, if nothing was on its way between the counter and the queue either.
    fn settle(&mut self, came: Offered) {
        let lead = (self.received.messages + self.buffers).wrapping_sub(came.messages).cast_signed();
        let origin = match &mut self.origin {
            // Twice the same: a buffer that was on its way is somewhere by now.
            Origin::Unknown { lead: last } if *last == Some(lead) => {
                self.settled += self.unsettled;
                self.settled_in_doubt += if self.trains { self.unsettled } else { 0 };
                self.unsettled = 0;
                let Offered { datagrams: received, .. } = self.received;
                let dropped = self.settled;
                self.origin = Origin::Known(Known { came: came.datagrams, received, lead, last_lead: lead, dropped });
                return;
            }
            Origin::Unknown { lead: last } => {
                *last = Some(lead);
                return;
            }
            Origin::Known(known) => known,
        };
        if lead < origin.last_lead {
            return;
        }
        origin.last_lead = lead;
        let came = came.datagrams.wrapping_sub(origin.came);
        let received = self.received.datagrams - origin.received;
        let unseen = (lead - origin.lead).cast_unsigned();
        let dropped = origin.dropped + unseen + came.saturating_sub(received);
        self.settled = self.settled.max(dropped);
        self.unsettled = 0;
    }

    /// The count.
    pub(super) fn drops(&self) -> KernelDrops {
        let in_doubt = if self.trains { self.unsettled } else { 0 };
        KernelDrops { counted: self.settled + self.unsettled, trains: self.settled_in_doubt + in_doubt }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As after a look at which the kernel had dropped so many buffers, and so many had come.
    fn settle(tally: &mut DropTally, told: u32, messages: u64, datagrams: u64) -> (u64, u64) {
        tally.note_told(told);
        tally.settle(Offered { messages, datagrams });
        let KernelDrops { counted, trains } = tally.drops();
        (counted, trains)
    }

    #[test]
    fn what_came_and_was_not_received_was_dropped_once_nothing_is_on_its_way() {
        let mut tally = DropTally::new(true, 7, None, true);
        tally.receive(3, 30);
        assert_eq!(settle(&mut tally, 9, 6, 60), (2, 2), "one buffer is on its way");
        tally.receive(1, 10);
        assert_eq!(settle(&mut tally, 9, 6, 60), (20, 0));
        tally.receive(5, 5);
        assert_eq!(settle(&mut tally, 10, 12, 68), (23, 0));
        assert_eq!(settle(&mut tally, 12, 12, 68), (25, 0), "two more that were dropped before they could be counted");
        assert_eq!(settle(&mut tally, 13, 14, 75), (26, 1), "one is on its way");
    }

    #[test]
    fn the_kernels_count_goes_on_after_32_bits() {
        let mut tally = DropTally::new(false, u32::MAX - 1, None, true);
        tally.note_told(3);
        assert_eq!(tally.drops(), KernelDrops { counted: 5, trains: 0 });
    }

    #[test]
    fn at_a_socket_that_was_in_use_counting_begins_when_twice_nothing_was_on_its_way() {
        let mut tally = DropTally::new(true, 40, None, false);
        // Two buffers of ten had come before the counter, and two after it.
        tally.receive(3, 30);
        assert_eq!(settle(&mut tally, 41, 2, 20), (1, 1), "a first look proves nothing");
        tally.receive(1, 10);
        assert_eq!(settle(&mut tally, 41, 3, 30), (1, 1), "what it saw was not the same");
        assert_eq!(settle(&mut tally, 41, 3, 30), (1, 1), "what was dropped before is in doubt for ever");
        tally.receive(2, 20);
        assert_eq!(settle(&mut tally, 44, 8, 80), (31, 1));
    }
}
