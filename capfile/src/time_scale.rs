//! From the ticks of a pcapng interface to nanoseconds since 1970.

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// How one interface counts time: its `if_tsresol` and `if_tsoffset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeScale {
    /// A tick is so many nanoseconds, counted from 1970: what nearly every file has.
    Whole(u64),
    /// Everything else.
    General {
        /// `if_tsresol` as in the file.
        resolution: u8,
        /// `if_tsoffset`: seconds to add.
        offset: i64,
    },
}

impl TimeScale {
    /// Microseconds: what an interface without `if_tsresol` counts.
    pub(crate) const DEFAULT_RESOLUTION: u8 = 6;

    /// The scale of an interface with these two options.
    pub(crate) fn new(resolution: u8, offset: i64) -> Self {
        match (resolution, offset) {
            (0..=9, 0) => Self::Whole(10_u64.pow(9 - u32::from(resolution))),
            _ => Self::General { resolution, offset },
        }
    }

    /// Nanoseconds since 1970, rounded down; 0 and `u64::MAX` where the time lies outside.
    #[inline]
    pub(crate) fn nanoseconds(self, ticks: u64) -> u64 {
        match self {
            Self::Whole(factor) => ticks.saturating_mul(factor),
            Self::General { resolution, offset } => general(ticks, resolution, offset),
        }
    }
}

/// A resolution with the high bit set is a negative power of 2, otherwise one of 10. `ticks * 10^9` has less than 94 bits.
fn general(ticks: u64, resolution: u8, offset: i64) -> u64 {
    let exponent = u32::from(resolution & 0x7f);
    let scaled = u128::from(ticks) * NANOS_PER_SECOND;
    let since_offset = if resolution & 0x80 != 0 {
        scaled >> exponent
    } else {
        // A power that does not fit into 128 bits is larger than any `scaled`.
        10_u128.checked_pow(exponent).map_or(0, |per_second| scaled / per_second)
    };
    let since_1970 = since_offset.cast_signed() + i128::from(offset) * NANOS_PER_SECOND.cast_signed();
    since_1970.clamp(0, i128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_resolutions_scale_exactly() {
        assert_eq!(TimeScale::new(6, 0).nanoseconds(1_700_000_000_123_456), 1_700_000_000_123_456_000);
        assert_eq!(TimeScale::new(9, 0).nanoseconds(1_700_000_000_123_456_789), 1_700_000_000_123_456_789);
        assert_eq!(TimeScale::new(0, 0).nanoseconds(1_700_000_000), 1_700_000_000_000_000_000);
        assert_eq!(TimeScale::new(12, 0).nanoseconds(5_000_999), 5_000);
        assert_eq!(TimeScale::new(127, 0).nanoseconds(u64::MAX), 0);
    }

    #[test]
    fn binary_resolutions_scale_exactly() {
        assert_eq!(TimeScale::new(0x94, 0).nanoseconds(3 << 19), 1_500_000_000);
        assert_eq!(TimeScale::new(0x9e, 0).nanoseconds(1), 0);
        assert_eq!(TimeScale::new(0x80, 0).nanoseconds(7), 7_000_000_000);
        assert_eq!(TimeScale::new(0xff, 0).nanoseconds(u64::MAX), 0);
    }

    #[test]
    fn the_offset_adds_seconds_and_never_leaves_the_range() {
        assert_eq!(TimeScale::new(6, 100).nanoseconds(1), 100_000_001_000);
        assert_eq!(TimeScale::new(6, -1).nanoseconds(1_500_000), 500_000_000);
        assert_eq!(TimeScale::new(6, i64::MIN).nanoseconds(u64::MAX), 0);
        assert_eq!(TimeScale::new(0, i64::MAX).nanoseconds(u64::MAX), u64::MAX);
        assert_eq!(TimeScale::new(0, 0).nanoseconds(u64::MAX), u64::MAX);
    }
}
