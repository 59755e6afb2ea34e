//! How many flows may be ended for their silence at a time: what is told of them has to go somewhere.
//!
//! Thousands of flows may time out in the same second, and the log takes only so much at a time. A timer that is looked at some
//! milliseconds late does no harm: a packet that comes too late for its flow begins the next one whatever timers do.

/// So long flows wait for room, in nanoseconds of packet time: then whoever takes their events is stuck, and they end without.
const WAIT_MAX_NS: u64 = 10_000_000_000;

/// What a shard may do, and has put off.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes of events that there is room for.
    room: usize,
    /// Since when there is no room.
    full_since_ns: Option<u64>,
    /// The time up to which flows are still to be ended.
    behind_ns: Option<u64>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { room: usize::MAX, full_since_ns: None, behind_ns: None }
    }
}

impl Pace {
    /// From now on there is room for `room` bytes of events.
    #[inline]
    pub(super) const fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// The time up to which flows are still to be ended, where there are such.
    #[inline]
    pub(super) const fn behind_ns(&self) -> Option<u64> {
        self.behind_ns
    }

    /// Whether one more flow may be ended at `now_ns`, while `made` bytes of events wait to be taken away. If not, the shard is behind.
    pub(super) fn may_end(&mut self, made: usize, now_ns: u64) -> bool {
        if made < self.room {
            self.full_since_ns = None;
            return true;
        }
        let since = *self.full_since_ns.get_or_insert(now_ns);
        let may = now_ns.saturating_sub(since) >= WAIT_MAX_NS;
        if !may {
            self.behind_ns = self.behind_ns.max(Some(now_ns));
        }
        may
    }

    /// Every flow whose time was over is ended.
    pub(super) const fn caught_up(&mut self) {
        self.behind_ns = None;
    }
}

#[cfg(test)]
mod tests;
