//! Sizes and times as people write them: `64MiB`, `500us`, `1h30m`.

use std::fmt;
use std::time::Duration;

/// Size units, largest first; those without an `i` are powers of ten.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Time units in nanoseconds, largest first.
const TIMES: [(&str, u64); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Bytes; shown in the largest binary unit that they are a whole number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl Size {
    /// Reads `64MiB`, `1 GB` or a plain number of bytes; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (number, unit) = leading_number(text.trim())?;
        let unit = unit.trim_start();
        let bytes = if unit.is_empty() { 1 } else { unit_value(&SIZES, unit)? };
        number.checked_mul(bytes).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(unit, bytes): &&(&str, u64)| unit.contains('i') && self.0 > 0 && self.0.is_multiple_of(*bytes);
        match SIZES.iter().find(exact) {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A time; shown as days to nanoseconds, leaving out what is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Duration);

impl Time {
    /// Reads `500us`, `1h30m` or `0`; `None` for anything else, a number without unit included.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text == "0" {
            return Some(Self(Duration::ZERO));
        }
        let mut rest = text;
        let mut sum: u64 = 0;
        let mut below = u64::MAX;
        while !rest.is_empty() {
            let (number, after) = leading_number(rest)?;
            let unit_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_len);
            let nanoseconds = TIMES.iter().find(|(name, _)| *name == unit)?.1;
            if nanoseconds >= below {
                return None;
            }
            below = nanoseconds;
            sum = sum.checked_add(number.checked_mul(nanoseconds)?)?;
            rest = after.trim_start();
        }
        (!text.is_empty()).then_some(Self(Duration::from_nanos(sum)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_nanos();
        if rest == 0 {
            return f.write_str("0");
        }
        for (unit, nanoseconds) in TIMES {
            let nanoseconds = u128::from(nanoseconds);
            if rest >= nanoseconds {
                write!(f, "{}{unit}", rest / nanoseconds)?;
                rest %= nanoseconds;
            }
        }
        Ok(())
    }
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let len = text.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(text.len());
    let (digits, rest) = text.split_at(len);
    if digits.starts_with('_') || digits.ends_with('_') {
        return None;
    }
    digits.replace('_', "").parse().ok().map(|number| (number, rest))
}

fn unit_value(units: &[(&str, u64)], name: &str) -> Option<u64> {
    units.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("1_500", 1500),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("1kB", 1000),
            ("1MB", 1_000_000),
            ("512MiB", 536_870_912),
            ("2GiB", 2_147_483_648),
            ("3TB", 3_000_000_000_000),
            (" 7B ", 7),
        ] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        for text in
            ["", "MiB", "-1", "1.5MiB", "1M", "1MiBs", "_1", "1_", "99999999999999999999", "99999999TiB", "0x10"]
        {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_need_a_unit_and_may_be_composed() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("500us", 500_000),
            ("100ms", 100_000_000),
            ("30s", 30_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1h 30m", 5_400_000_000_000),
            ("1d", 86_400_000_000_000),
            ("1_000ms", 1_000_000_000),
        ] {
            assert_eq!(Time::parse(text), Some(Time(Duration::from_nanos(nanoseconds))), "{text}");
        }
        for text in ["", "30", "s", "1.5s", "-1s", "1 fortnight", "30m1h", "1s1s", "1S", "99999999999d", "1h30"] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_shown_size_reads_back(bytes: u64) {
            prop_assert_eq!(Size::parse(&Size(bytes).to_string()), Some(Size(bytes)));
            let round = bytes >> 24 << 24;
            prop_assert_eq!(Size::parse(&Size(round).to_string()), Some(Size(round)));
        }

        #[test]
        fn a_shown_time_reads_back(nanoseconds: u64) {
            let time = Time(Duration::from_nanos(nanoseconds));
            prop_assert_eq!(Time::parse(&time.to_string()), Some(time));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = (Size::parse(&text), Time::parse(&text));
        }
    }
}
