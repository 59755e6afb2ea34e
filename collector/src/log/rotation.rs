//! When the log's file is full.

use std::ops::Range;
use std::time::Duration;

use crate::capture::Rotation;

/// When `eve.json` is closed, under a name of its own, and the next one begun: at the first of these that is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRotation {
    /// No file is larger, in bytes, unless a single line is.
    pub bytes: Option<u64>,
    /// A file has lines that were written in one interval only, by the clock of this machine. Intervals are aligned to it: with an
    /// hour, files end at full hours (UTC). At least a second.
    pub interval: Option<Duration>,
}

impl LogRotation {
    /// The interval that `unix_ns` is in; all of time without intervals.
    pub(super) fn interval_of(&self, unix_ns: u64) -> Range<u64> {
        Rotation { interval: self.interval, ..Rotation::default() }.interval_of(unix_ns)
    }

    /// How many bytes from the beginning of `lines` a file of `length` bytes still takes: whole lines, and into an empty file one
    /// at least.
    pub(super) fn fits(&self, length: u64, lines: &[u8]) -> usize {
        let room = self.bytes.map_or(u64::MAX, |most| most.saturating_sub(length));
        if lines.len() as u64 <= room {
            return lines.len();
        }
        let within = usize::try_from(room).unwrap_or(usize::MAX).min(lines.len());
        let is_end = |byte: &u8| *byte == b'\n';
        match lines[..within].iter().rposition(is_end) {
            Some(end) => end + 1,
            None if length == 0 => lines.iter().position(is_end).map_or(lines.len(), |end| end + 1),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LogRotation;

    #[test]
    fn whole_lines_fit_up_to_the_bound_and_one_of_any_length_into_an_empty_file() {
        let rotation = LogRotation { bytes: Some(8), interval: None };
        for (length, lines, fits) in [
            (0, "aaa\nbbb\n", 8),
            (0, "aaa\nbbbb\n", 4),
            (4, "aaa\nbbb\n", 4),
            (5, "aaa\n", 0),
            (9, "a\n", 0),
            (0, "longer than eight\nb\n", 18),
            (1, "longer than eight\nb\n", 0),
        ] {
            assert_eq!(rotation.fits(length, lines.as_bytes()), fits, "{length} {lines:?}");
        }
        assert_eq!(LogRotation::default().fits(u64::MAX, b"a\n"), 2);
    }
}
