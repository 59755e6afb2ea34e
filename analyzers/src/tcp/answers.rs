//! Bytes that came before those that they answer.
//!
//! The mirror's two directions may come by different queues, and then an answer is seen before its question. Its acknowledgement tells:
//! whoever sent it had every byte of the other side before that number. So it waits for these bytes, and what reads both sides sees
//! them in the order in which one end of the connection did.

use std::collections::VecDeque;

use super::{HOLE_ACKED_NS, HOLE_ACKED_SEGMENTS};

/// Acknowledgements that are told apart; bytes with later ones wait as long as those with the last of these.
const ANSWERS_MAX: usize = 64;

/// Bytes of one side that wait for bytes of the other, in the order of their positions.
#[derive(Debug, Default)]
pub(super) struct Answers(VecDeque<Answer>);

/// The bytes from one position on.
#[derive(Clone, Copy, Debug)]
struct Answer {
    start: u64,
    /// How far the other side has to be, as a position in its bytes.
    after: u64,
    /// When they came, by time and by segments of the connection.
    time_ns: u64,
    segments: u32,
}

impl Answers {
    /// The bytes from `start` on wait until the other side is at `after`.
    pub(super) fn note(&mut self, start: u64, after: u64, time_ns: u64, segments: u32) {
        let at = self.0.partition_point(|answer| answer.start <= start);
        let is_covered = at.checked_sub(1).and_then(|before| self.0.get(before)).is_some_and(|it| it.after >= after);
        if !is_covered && self.0.len() < ANSWERS_MAX {
            self.0.insert(at, Answer { start, after, time_ns, segments });
        }
    }

    /// Whether bytes at `position` wait.
    pub(super) fn hold(&self, position: u64) -> bool {
        self.0.front().is_some_and(|answer| answer.start <= position)
    }

    /// The other side is at `reached`. Gives whether bytes waited for that.
    pub(super) fn come(&mut self, reached: u64) -> bool {
        let before = self.0.len();
        while self.0.pop_front_if(|answer| answer.after <= reached).is_some() {}
        self.0.len() < before
    }

    /// How far the other side would have to be for the first of them, if that has waited as long as a hole that was acknowledged.
    pub(super) fn overdue(&self, time_ns: u64, segments: u32) -> Option<u64> {
        let first = self.0.front()?;
        let is_old = segments.wrapping_sub(first.segments) >= HOLE_ACKED_SEGMENTS
            || time_ns.saturating_sub(first.time_ns) >= HOLE_ACKED_NS;
        is_old.then_some(first.after)
    }

    /// Nothing waits any more.
    pub(super) fn give_up(&mut self) {
        self.0.clear();
    }
}
