//! When a capture file is full.

use std::ops::Range;
use std::time::Duration;

/// When a file is closed and the next one begun: at the first of these that is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// No file is larger, in bytes, unless a single record is.
    pub bytes: Option<u64>,
    /// A file has records of one interval only. Intervals are aligned to the clock: with an hour, files end at full hours (UTC). At
    /// least a second. Of an input that is not of now, and not in the order of time, the records of earlier intervals stay in the file
    /// that is open: one file for each would be one for each record where two clocks alternate.
    pub interval: Option<Duration>,
    /// No file has more records.
    pub records: Option<u64>,
}

impl Rotation {
    /// The interval that `time_ns` (nanoseconds since 1970) is in; all of time without intervals.
    pub(crate) fn interval_of(&self, time_ns: u64) -> Range<u64> {
        let interval = self.interval.map_or(0, |interval| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX));
        match interval {
            0 => 0..u64::MAX,
            interval => {
                let begin = time_ns - time_ns % interval;
                begin..begin.saturating_add(interval)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_interval_ends_where_the_clock_is_at_a_whole_one_whenever_the_file_was_begun() {
        let rotation = Rotation { interval: Some(Duration::from_mins(10)), ..Rotation::default() };
        for begun in [0, 1, 599 * SECOND, 600 * SECOND - 1] {
            assert_eq!(rotation.interval_of(begun), 0..600 * SECOND);
        }
        assert_eq!(rotation.interval_of(600 * SECOND), 600 * SECOND..1200 * SECOND);
    }

    #[test]
    fn without_an_interval_time_ends_no_file() {
        assert_eq!(Rotation::default().interval_of(u64::MAX - 1), 0..u64::MAX);
        let rotation = Rotation { interval: Some(Duration::from_secs(1)), ..Rotation::default() };
        assert_eq!(rotation.interval_of(u64::MAX - 5).end, u64::MAX);
    }
}
