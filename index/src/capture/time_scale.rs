//! How an interface counts time: `if_tsresol` and `if_tsoffset` of pcapng.

/// From ticks to nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeScale {
    /// Nanoseconds in a tick, where that is a whole number and ticks count from 1970; otherwise 0.
    factor: u64,
    /// `if_tsresol`: a negative power of 10, or of 2 with the high bit set.
    resolution: u8,
    /// Seconds to add.
    offset: i64,
}

impl TimeScale {
    /// What an interface has that does not say: microseconds from 1970.
    pub(crate) const DEFAULT_RESOLUTION: u8 = 6;

    pub(crate) fn new(resolution: u8, offset: i64) -> Self {
        let whole = resolution <= 9 && offset == 0;
        let factor = if whole { 10_u64.pow(9 - u32::from(resolution)) } else { 0 };
        Self { factor, resolution, offset }
    }

    /// Nanoseconds since 1970, rounded down; the nearest that there is where the time lies outside.
    #[inline]
    pub(crate) fn nanoseconds(self, ticks: u64) -> u64 {
        if self.factor == 0 { self.general(ticks) } else { ticks.saturating_mul(self.factor) }
    }

    fn general(self, ticks: u64) -> u64 {
        let power = u32::from(self.resolution & 0x7f);
        // Less than 94 bits.
        let scaled = u128::from(ticks) * 1_000_000_000;
        let ns = match (self.resolution & 0x80 != 0, 10_u128.checked_pow(power)) {
            (true, _) => scaled >> power,
            (false, Some(divisor)) => scaled / divisor,
            (false, None) => 0,
        };
        let ns = ns.cast_signed() + i128::from(self.offset) * 1_000_000_000;
        ns.clamp(0, i128::from(u64::MAX)) as u64
    }
}
