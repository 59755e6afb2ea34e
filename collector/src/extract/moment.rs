//! A point in time as people write it.

use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::config::Time;

const SECOND: u64 = 1_000_000_000;
/// Digits of a fraction that nanoseconds have.
const FRACTION_DIGITS: usize = 9;

/// A point in time, or a time before now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nanoseconds since 1970.
    At(u64),
    /// So long before now.
    Ago(Duration),
}

impl Moment {
    /// Nanoseconds since 1970, when it is `now_ns` of them.
    pub fn unix_ns(self, now_ns: u64) -> u64 {
        match self {
            Self::At(ns) => ns,
            Self::Ago(time) => now_ns.saturating_sub(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    /// Takes `2026-11-21T10:00:00Z` (RFC 3339), `1795255200.5` (seconds since 1970) and `-5m` (before now). Nothing before
    /// 1970, and nothing after 2554, when 64 bits of nanoseconds end.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let moment = match text.strip_prefix('-') {
            Some(ago) => Time::parse(ago).map(|Time(time)| Self::Ago(time)),
            None => seconds(text).or_else(|| date_and_time(text)).map(Self::At),
        };
        moment.ok_or_else(|| {
            "expected a time such as 2026-11-21T10:00:00Z, 1795255200.5 (seconds since 1970) or -5m (before now)".into()
        })
    }
}

fn date_and_time(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(time.unix_timestamp_nanos()).ok()
}

/// Seconds with a fraction, to the nanosecond: further digits are left out.
fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if [whole, fraction].iter().any(|digits| digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit())) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(FRACTION_DIGITS);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    whole.parse::<u64>().ok()?.checked_mul(SECOND)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_read_as_dates_as_seconds_and_before_now() {
        const NOW: u64 = 1_795_255_200 * SECOND;
        for (text, ns) in [
            ("2026-11-21T10:00:00Z", NOW),
            ("2026-11-21T11:30:00.5+01:30", NOW + SECOND / 2),
            ("2026-11-21 10:00:00Z", NOW),
            ("1795255200", NOW),
            (" 1795255200.25 ", NOW + SECOND / 4),
            ("1795255200.1234567899", NOW + 123_456_789),
            ("0", 0),
            ("-5m", NOW - 300 * SECOND),
            ("-1h30m", NOW - 5400 * SECOND),
            ("-0", NOW),
            ("-40000d", 0),
        ] {
            assert_eq!(text.parse::<Moment>().map(|moment| moment.unix_ns(NOW)), Ok(ns), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_answered_with_what_is() {
        for text in [
            "",
            "-",
            "now",
            "5m",
            "-5",
            "10:00",
            "2026-11-21",
            "2026-11-21T10:00:00",
            "2026-02-30T10:00:00Z",
            "1969-12-31T23:59:59Z",
            "99999999999",
            "1.",
            ".5",
            "1.5s",
            "--5m",
            "1e9",
            "+5",
        ] {
            let error = text.parse::<Moment>().unwrap_err();
            assert!(error.starts_with("expected a time such as 2026-11-21T10:00:00Z"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_time_or_refused(text: String, now: u64) {
            let _ = text.parse::<Moment>().map(|moment| moment.unix_ns(now));
        }

        #[test]
        fn seconds_with_nine_digits_are_exact(ns: u64) {
            let text = format!("{}.{:09}", ns / SECOND, ns % SECOND);
            prop_assert_eq!(text.parse(), Ok(Moment::At(ns)));
        }
    }
}
