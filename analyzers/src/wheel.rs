//! A hashed timing wheel over arena slots: which flows to look at when a second of packet time has passed.
//!
//! Timers are lazy. A packet does not move its flow's timer; when the timer fires, the flow's owner looks at the last packet
//! and arms it anew where that is recent. Links are indices into an array that grows with the arena, so arming and
//! disarming allocate nothing and take constant time.

/// Seconds that one turn of the wheel covers. A deadline further away fires early and is armed anew.
const TICKS: u64 = 2048;
const WORDS: usize = (TICKS / 64) as usize;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
    /// Bucket that the slot is in, or [`NONE`].
    bucket: u32,
}

const UNLINKED: Link = Link { next: NONE, previous: NONE, bucket: NONE };

/// The wheel. Time is seconds since 1970 of packet time.
#[derive(Debug)]
pub(crate) struct Wheel {
    heads: Box<[u32]>,
    /// One bit for each bucket that is not empty.
    occupied: [u64; WORDS],
    links: Vec<Link>,
    /// All buckets up to this second have fired; that of this second itself fires, or has.
    now: u64,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { heads: vec![NONE; TICKS as usize].into_boxed_slice(), occupied: [0; WORDS], links: Vec::new(), now: 0 }
    }

    /// Bytes that the wheel needs for each slot.
    pub(crate) const BYTES_PER_SLOT: usize = size_of::<Link>();

    /// The second that the wheel stands at: what was armed for an earlier one has fired.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Makes room for slots below `slots`.
    pub(crate) fn reserve(&mut self, slots: usize) {
        if self.links.len() < slots {
            self.links.resize(slots, UNLINKED);
        }
    }

    /// Has `slot` fire at second `deadline`, or in the next second if that has passed. A slot has one timer: arming it
    /// again moves it.
    pub(crate) fn arm(&mut self, slot: u32, deadline: u64) {
        self.disarm(slot);
        let tick = deadline.clamp(self.now + 1, self.now + TICKS - 1);
        let bucket = (tick % TICKS) as usize;
        let head = self.heads[bucket];
        self.links[slot as usize] = Link { next: head, previous: NONE, bucket: bucket as u32 };
        if head != NONE {
            self.links[head as usize].previous = slot;
        }
        self.heads[bucket] = slot;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    /// Takes the timer of `slot` away, if it has one.
    pub(crate) fn disarm(&mut self, slot: u32) {
        let link = std::mem::replace(&mut self.links[slot as usize], UNLINKED);
        if link.bucket == NONE {
            return;
        }
        let bucket = link.bucket as usize;
        if link.previous == NONE {
            self.heads[bucket] = link.next;
            if link.next == NONE {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            }
        } else {
            self.links[link.previous as usize].next = link.next;
        }
        if link.next != NONE {
            self.links[link.next as usize].previous = link.previous;
        }
    }

    /// Takes all timers away. The wheel stands where it stood.
    pub(crate) fn clear(&mut self) {
        self.heads.fill(NONE);
        self.occupied = [0; WORDS];
        self.links.fill(UNLINKED);
    }

    /// Takes one slot whose timer has fired by second `now`; `None` when there is no more, and the wheel stands at `now`.
    pub(crate) fn fire(&mut self, now: u64) -> Option<u32> {
        loop {
            // The bucket of this second is emptied after the second has come, so that a slot that is armed again meanwhile is in a later one.
            let slot = self.heads[(self.now % TICKS) as usize];
            if slot != NONE {
                self.disarm(slot);
                return Some(slot);
            }
            if self.now >= now {
                return None;
            }
            // The first time that is seen, and a leap over an idle time longer than a turn, need no walk.
            let is_leap = now - self.now >= TICKS && self.occupied == [0; WORDS];
            self.now = if is_leap { now } else { self.now + 1 };
        }
    }

    /// The slot whose timer fires next, left armed. For eviction.
    pub(crate) fn soonest(&self) -> Option<u32> {
        // What is left of this second, where it is being emptied, comes first.
        let first = (self.now % TICKS) as usize;
        let masked = self.occupied[first / 64] & (u64::MAX << (first % 64));
        let words = (1..=WORDS).map(|step| (first / 64 + step) % WORDS);
        let here = std::iter::once((first / 64, masked)).chain(words.map(|word| (word, self.occupied[word])));
        let (word, bits) = here.into_iter().find(|(_, bits)| *bits != 0)?;
        Some(self.heads[word * 64 + bits.trailing_zeros() as usize])
    }

    /// The slot behind `slot` in the order of its bucket.
    pub(crate) fn next_in_bucket(&self, slot: u32) -> Option<u32> {
        let next = self.links[slot as usize].next;
        (next != NONE).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| wheel.fire(now)).collect()
    }

    fn wheel_at(now: u64, slots: usize) -> Wheel {
        let mut wheel = Wheel::new();
        wheel.reserve(slots);
        assert_eq!(fired(&mut wheel, now), [0u32; 0]);
        wheel
    }

    #[test]
    fn a_timer_fires_at_its_second_and_once() {
        let mut wheel = wheel_at(1000, 3);
        wheel.arm(0, 1005);
        wheel.arm(1, 1003);
        assert_eq!(fired(&mut wheel, 1002), [0u32; 0]);
        assert_eq!(fired(&mut wheel, 1004), [1]);
        assert_eq!(fired(&mut wheel, 1005), [0]);
        assert_eq!(fired(&mut wheel, 9000), [0u32; 0]);
    }

    #[test]
    fn arming_again_moves_the_timer_and_disarming_removes_it() {
        let mut wheel = wheel_at(1000, 3);
        for slot in 0..3 {
            wheel.arm(slot, 1001);
        }
        wheel.arm(1, 1010);
        wheel.disarm(2);
        assert_eq!(fired(&mut wheel, 1009), [0]);
        assert_eq!(fired(&mut wheel, 1010), [1]);
    }

    #[test]
    fn a_deadline_behind_the_horizon_fires_early_and_one_in_the_past_at_once() {
        let mut wheel = wheel_at(1000, 2);
        wheel.arm(0, 1000 + 10 * TICKS);
        wheel.arm(1, 3);
        assert_eq!(fired(&mut wheel, 1001), [1]);
        assert_eq!(fired(&mut wheel, 1000 + TICKS - 2), [0u32; 0]);
        assert_eq!(fired(&mut wheel, 1000 + TICKS - 1), [0]);
    }

    #[test]
    fn a_leap_over_many_turns_fires_everything_and_ends() {
        let mut wheel = wheel_at(1000, 4);
        for slot in 0..4 {
            wheel.arm(slot, 1000 + u64::from(slot) * 500);
        }
        assert_eq!(fired(&mut wheel, 1_700_000_000).len(), 4);
        assert_eq!(wheel.now(), 1_700_000_000);
    }

    #[test]
    fn the_soonest_is_found_over_the_wheels_seam() {
        let mut wheel = wheel_at(TICKS * 3 - 2, 2);
        assert_eq!(wheel.soonest(), None);
        wheel.arm(0, TICKS * 3 + 100);
        assert_eq!(wheel.soonest(), Some(0));
        wheel.arm(1, TICKS * 3 - 1);
        assert_eq!(wheel.soonest(), Some(1));
        wheel.disarm(1);
        assert_eq!(wheel.soonest(), Some(0));
    }

    #[test]
    fn a_bucket_right_behind_now_in_the_same_word_is_found_last() {
        let mut wheel = wheel_at(64 * 5 + 10, 2);
        // The bucket just before `now` in the same word of the bitmap is the furthest one.
        wheel.arm(0, 64 * 5 + 9 + TICKS);
        assert_eq!(wheel.soonest(), Some(0));
        wheel.arm(1, 64 * 5 + 12);
        assert_eq!(wheel.soonest(), Some(1));
    }
}
