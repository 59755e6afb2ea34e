//! When frames are sent.
//!
//! A schedule says when each frame is due, counted from the start of the run and not from the frame before, so that
//! late wake-ups do not add up: 10 frames/s and a million frames/s come out exactly in the long run. Times are
//! fixed-point numbers with 32 bits behind the nanosecond; a gap of 333.3… ns is not rounded to 333.
//!
//! After a stall the frames owed do not leave in one burst: they go at most at twice the rate, beyond a burst of what
//! is due within [`BURST_NS`]. What is owed for more than [`MOST_OWED_NS`] is forgiven and told as "fell behind".

use std::num::NonZeroU64;
use std::time::Duration;

use crate::batch::Slot;

/// How far ahead of twice the rate a burst may be; longer than a sleep overshoots on a busy machine.
const BURST_NS: u64 = 10_000_000;
/// How much a run may owe before the schedule moves.
const MOST_OWED_NS: u64 = 1_000_000_000;

/// How fast frames are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Frames in a second.
    PacketsPerSecond(NonZeroU64),
    /// Bits in a second, counting whole outer IP packets: the frame as sent and the IP, UDP and VXLAN headers, which
    /// is what the path to the target must carry.
    BitsPerSecond(NonZeroU64),
    /// As fast as the kernel takes them.
    TopSpeed,
}

/// When the frames of a capture file are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Timing {
    /// With the gaps of the capture.
    Original {
        /// Gaps are divided by this: 2 replays twice as fast. Greater than 0.
        speed: f64,
        /// Longer gaps, after the division, are cut to this.
        max_gap: Option<Duration>,
    },
    /// At a rate, whatever the capture says.
    Rate(Rate),
}

impl Timing {
    /// About how many frames are sent within `time`, at least one, and how many nanoseconds of the capture's time pass; what is not
    /// bounded is as long as can be. Frames are taken for as long as those of full Ethernet where a rate is of bits.
    pub(crate) fn within(self, time: Duration) -> (usize, u64) {
        const FULL_FRAME_BITS: f64 = 1_514.0 * 8.0;
        let frames = |rate: f64| ((rate * time.as_secs_f64()) as usize).max(1);
        match self {
            Self::Original { speed, .. } => (usize::MAX, (time.as_nanos() as f64 * speed) as u64),
            Self::Rate(Rate::PacketsPerSecond(rate)) => (frames(rate.get() as f64), u64::MAX),
            Self::Rate(Rate::BitsPerSecond(rate)) => (frames(rate.get() as f64 / FULL_FRAME_BITS), u64::MAX),
            Self::Rate(Rate::TopSpeed) => (usize::MAX, u64::MAX),
        }
    }
}

/// Nanoseconds with 32 fractional bits.
type Fixed = u128;

/// No gap is longer, whatever time stamps a file has: 584 years, and far from overflow.
const LONGEST_GAP: Fixed = fixed(u64::MAX);

const fn fixed(ns: u64) -> Fixed {
    (ns as Fixed) << 32
}

enum Gap {
    /// The capture's gap times a factor with 32 fractional bits, before each frame.
    Original {
        factor: u64,
        max: Fixed,
    },
    /// The same after each frame.
    PerFrame(Fixed),
    /// So much after each frame for each bit of it and its outer headers.
    PerBit {
        bit: Fixed,
        outer_bytes: u32,
    },
    None,
}

/// Says which frames are due.
pub(crate) struct Pacer {
    gap: Gap,
    /// When the next frame is due (before its own gap, with original timing).
    next: Fixed,
    /// Before this the next frame would be more than a burst ahead of twice the rate.
    floor: Fixed,
    /// Frames due from then on are never due.
    end: Fixed,
    /// Forgiven so far.
    behind_ns: u64,
}

impl Pacer {
    /// `outer_bytes` is the length of the outer IP, UDP and VXLAN headers. Only frames due before `duration` has passed
    /// are sent: 10 s at 10 frames/s are 100 frames.
    pub(crate) fn new(timing: Timing, outer_bytes: u32, duration: Option<Duration>) -> Self {
        // Rounded up by less than the frames of an age add up to, so that no frame is due before the end that should not be.
        let second = fixed(1_000_000_000);
        let gap = match timing {
            Timing::Original { speed, max_gap } => Gap::Original {
                factor: ((1_u64 << 32) as f64 / speed).clamp(1.0, u64::MAX as f64) as u64,
                max: max_gap.map_or(LONGEST_GAP, |max| fixed(u64::try_from(max.as_nanos()).unwrap_or(u64::MAX))),
            },
            Timing::Rate(Rate::PacketsPerSecond(rate)) => Gap::PerFrame(second.div_ceil(Fixed::from(rate.get()))),
            Timing::Rate(Rate::BitsPerSecond(rate)) => {
                Gap::PerBit { bit: second.div_ceil(Fixed::from(rate.get())), outer_bytes }
            }
            Timing::Rate(Rate::TopSpeed) => Gap::None,
        };
        let end = duration.map_or(Fixed::MAX, |end| fixed(u64::try_from(end.as_nanos()).unwrap_or(u64::MAX)));
        Self { gap, next: 0, floor: 0, end, behind_ns: 0 }
    }

    /// Whether every frame is always due.
    pub(crate) const fn is_top_speed(&self) -> bool {
        matches!(self.gap, Gap::None)
    }

    /// How many of `slots` from the first on are due `now_ns` after the start; the schedule moves past them.
    pub(crate) fn take_due(&mut self, now_ns: u64, slots: &[Slot]) -> usize {
        if self.is_top_speed() {
            return slots.len();
        }
        let now = fixed(now_ns);
        for (taken, slot) in slots.iter().enumerate() {
            let (before, after) = self.gaps(slot);
            let mut due = self.next + before;
            if due.max(self.floor) > now || due >= self.end {
                return taken;
            }
            let owed = now - due;
            if owed > fixed(MOST_OWED_NS) {
                let forgiven = owed - fixed(MOST_OWED_NS);
                due += forgiven;
                self.behind_ns += (forgiven >> 32) as u64;
            }
            let half = (before + after) >> 1;
            self.next = due + after;
            self.floor = self.floor.max(now.saturating_sub(fixed(BURST_NS))) + half;
        }
        slots.len()
    }

    /// When `slot`, the next frame, may go, in nanoseconds after the start, rounded up; `None` if the end comes before.
    pub(crate) fn due_ns(&self, slot: &Slot) -> Option<u64> {
        let due = self.next + self.gaps(slot).0;
        (due < self.end).then(|| u64::try_from((due.max(self.floor) + fixed(1) - 1) >> 32).unwrap_or(u64::MAX))
    }

    /// How much was forgiven, in nanoseconds.
    pub(crate) const fn behind_ns(&self) -> u64 {
        self.behind_ns
    }

    /// The gaps before and after the frame of `slot`.
    #[inline]
    fn gaps(&self, slot: &Slot) -> (Fixed, Fixed) {
        match self.gap {
            Gap::Original { factor, max } => ((Fixed::from(slot.gap_ns) * Fixed::from(factor)).min(max), 0),
            Gap::PerFrame(gap) => (0, gap),
            Gap::PerBit { bit, outer_bytes } => (0, bit * Fixed::from(u64::from(slot.len + outer_bytes) * 8)),
            Gap::None => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests;
