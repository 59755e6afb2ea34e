//! A worker's side: which numbers came.

use std::collections::HashMap;

use super::{JUMP, Seen, WINDOW};
use crate::stream::StreamId;

/// Series that one worker follows at a time; the one that is longest out of use makes room for the next.
const FOLLOWED_MAX: usize = 1024;
/// Series that had to make room and wait to be told.
const WAITING_MAX: usize = 4096;
/// Series that are found without hashing.
const RECENT: usize = 16;
const WORDS: usize = WINDOW as usize / 64;

/// See [`super`]. Allocates for a series that is new, up to its bound, and for nothing else.
#[derive(Debug)]
pub struct LossTracker {
    followed: Vec<Series>,
    numbers: HashMap<(StreamId, u32), usize, foldhash::fast::RandomState>,
    recent: [usize; RECENT],
    /// Series with something to tell.
    touched: Vec<usize>,
    /// What is to be told of series that are not followed any more.
    waiting: Vec<Seen>,
    /// Where to look next for a series that can make room.
    hand: usize,
    untracked: u64,
}

#[derive(Debug)]
struct Series {
    seen: Seen,
    /// The greatest number so far.
    highest: u64,
    /// For each of the last [`WINDOW`] numbers whether it came.
    window: Box<[u64; WORDS]>,
    /// It is in the list of those that have something to tell.
    touched: bool,
    /// Something came since the hand was here.
    used: bool,
}

impl Series {
    fn begin((stream, series): (StreamId, u32), sequence: u64) -> Self {
        let seen = Seen { stream, series, first: sequence, last: sequence, received: 0, duplicated: 0 };
        Self { seen, highest: sequence, window: Box::new([0; WORDS]), touched: false, used: false }
    }

    /// Becomes another series, in the same memory and the same place of lists. What there was to tell must have been taken.
    fn begin_again(&mut self, (stream, series): (StreamId, u32), sequence: u64) {
        self.window.fill(0);
        self.highest = sequence;
        self.seen = Seen { stream, series, first: sequence, last: sequence, received: 0, duplicated: 0 };
    }

    /// Whether `sequence` can be of this series.
    const fn takes(&self, sequence: u64) -> bool {
        sequence <= self.highest.saturating_add(JUMP)
    }

    fn note(&mut self, sequence: u64) {
        self.used = true;
        if sequence > self.highest {
            self.advance(sequence);
        } else if self.highest - sequence > JUMP {
            return;
        } else if self.highest - sequence < WINDOW && *self.word(sequence) & 1 << (sequence % 64) != 0 {
            self.seen.duplicated += 1;
            return;
        }
        if self.highest - sequence < WINDOW {
            *self.word(sequence) |= 1 << (sequence % 64);
        }
        if self.seen.received == 0 {
            (self.seen.first, self.seen.last) = (sequence, sequence);
        }
        self.seen.first = self.seen.first.min(sequence);
        self.seen.last = self.seen.last.max(sequence);
        self.seen.received += 1;
    }

    /// Makes `sequence` the greatest number; those in between have not come.
    fn advance(&mut self, sequence: u64) {
        if sequence - self.highest >= WINDOW {
            self.window.fill(0);
        } else {
            let mut between = self.highest + 1;
            while between <= sequence {
                if between.is_multiple_of(64) && sequence - between >= 63 {
                    *self.word(between) = 0;
                    between += 64;
                } else {
                    *self.word(between) &= !(1 << (between % 64));
                    between += 1;
                }
            }
        }
        self.highest = sequence;
    }

    fn word(&mut self, sequence: u64) -> &mut u64 {
        &mut self.window[(sequence % WINDOW / 64) as usize]
    }

    /// What is new, if anything is.
    fn take(&mut self) -> Option<Seen> {
        let seen = self.seen;
        (self.seen.received, self.seen.duplicated) = (0, 0);
        (seen.received + seen.duplicated > 0).then_some(seen)
    }
}

impl Default for LossTracker {
    fn default() -> Self {
        Self {
            followed: Vec::new(),
            numbers: HashMap::default(),
            recent: [usize::MAX; RECENT],
            touched: Vec::new(),
            waiting: Vec::new(),
            hand: 0,
            untracked: 0,
        }
    }
}

impl LossTracker {
    /// Notes that datagram `sequence` of a series came by `stream`.
    #[inline]
    pub fn note(&mut self, stream: StreamId, series: u32, sequence: u64) {
        let place = (series ^ stream.0) as usize % RECENT;
        let number = self.recent[place];
        let is_it = |one: &Series| one.seen.stream == stream && one.seen.series == series && one.takes(sequence);
        let number = if self.followed.get(number).is_some_and(is_it) {
            number
        } else {
            let Some(number) = self.find(stream, series, sequence) else {
                self.untracked += 1;
                return;
            };
            self.recent[place] = number;
            number
        };
        let one = &mut self.followed[number];
        one.note(sequence);
        if !one.touched {
            one.touched = true;
            self.touched.push(number);
        }
    }

    /// The place of the series, a new one where it has none; `None` where there is no room.
    #[cold]
    fn find(&mut self, stream: StreamId, series: u32, sequence: u64) -> Option<usize> {
        let key = (stream, series);
        if let Some(&number) = self.numbers.get(&key) {
            if self.followed[number].takes(sequence) {
                return Some(number);
            }
            self.begin(number, key, sequence)?;
            return Some(number);
        }
        if self.followed.len() < FOLLOWED_MAX {
            self.followed.push(Series::begin(key, sequence));
            let number = self.followed.len() - 1;
            self.numbers.insert(key, number);
            return Some(number);
        }
        // Twice round: in the first one each was perhaps in use.
        for _ in 0..2 * FOLLOWED_MAX {
            self.hand = (self.hand + 1) % FOLLOWED_MAX;
            if !std::mem::take(&mut self.followed[self.hand].used) {
                break;
            }
        }
        let number = self.hand;
        self.begin(number, key, sequence)?;
        Some(number)
    }

    /// Has series `key` begin in the place of another, which is told later.
    fn begin(&mut self, number: usize, key: (StreamId, u32), sequence: u64) -> Option<()> {
        if self.waiting.len() >= WAITING_MAX {
            return None;
        }
        let one = &mut self.followed[number];
        self.numbers.remove(&(one.seen.stream, one.seen.series));
        self.waiting.extend(one.take());
        one.begin_again(key, sequence);
        self.numbers.insert(key, number);
        Some(())
    }

    /// Gives `told` what came since the last time, and how many datagrams had no room.
    pub fn tell(&mut self, mut told: impl FnMut(&Seen)) -> u64 {
        self.waiting.drain(..).for_each(|seen| told(&seen));
        for number in self.touched.drain(..) {
            self.followed[number].touched = false;
            if let Some(seen) = self.followed[number].take() {
                told(&seen);
            }
        }
        std::mem::take(&mut self.untracked)
    }

    /// Whether there is nothing to tell.
    pub fn is_quiet(&self) -> bool {
        self.touched.is_empty() && self.waiting.is_empty() && self.untracked == 0
    }
}
