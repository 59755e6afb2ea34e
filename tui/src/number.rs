//! Numbers for people, in a known number of columns so that tables stand still while they change.

use time::OffsetDateTime;
use time::macros::format_description;

const NANOS: u64 = 1_000_000_000;

/// A count in at most 5 columns: `9999`, `12.3k`, `1.23M`, `18.4E`.
pub(crate) fn count(value: u64) -> String {
    if value < 10_000 { value.to_string() } else { scaled(value as f64, 1000.0, &["", "k", "M", "G", "T", "P", "E"]) }
}

/// A rate for each second in at most 5 columns: `0`, `0.25`, `12.5`, `1.23k`; `-` where it is not known.
pub(crate) fn rate(value: Option<f64>) -> String {
    match value {
        None => "-".into(),
        Some(value) if value.abs() < 0.005 => "0".into(),
        Some(value) => scaled(value, 1000.0, &["", "k", "M", "G", "T", "P", "E", "Z"]),
    }
}

/// Bytes in powers of 1024 in at most 6 columns: `512B`, `64Mi`, `1.50Gi`.
pub(crate) fn binary(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let text = scaled(bytes as f64, 1024.0, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]);
    match text.split_once('.') {
        Some((whole, rest)) if rest.trim_start_matches('0').starts_with(['K', 'M', 'G', 'T', 'P', 'E']) => {
            format!("{whole}{}", rest.trim_start_matches('0'))
        }
        _ => text,
    }
}

/// Three significant digits and a unit. Rounding up to the next unit is done before the unit is chosen: never `1000k`.
fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut scaled = value;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < units.len() {
        scaled /= base;
        unit += 1;
    }
    let digits = match scaled {
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.digits$}{}", units[unit])
}

/// A count with its thousands apart, exact: `12,345,678`.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in at most `width` columns (at least 5): exact if it fits, else to three digits.
pub(crate) fn grouped_within(value: u64, width: usize) -> String {
    let exact = grouped(value);
    if exact.len() <= width { exact } else { count(value) }
}

/// A part of a whole in at most 5 columns: `0%`, `<0.1%`, `12.3%`, `100%`; `-` of nothing.
pub(crate) fn share(part: f64, whole: f64) -> String {
    let percent = 100.0 * part / whole;
    match percent {
        _ if whole <= 0.0 || !percent.is_finite() => "-".into(),
        none if none <= 0.0 => "0%".into(),
        little if little < 0.1 => "<0.1%".into(),
        most if (99.95..100.0).contains(&most) => ">99%".into(),
        all if all >= 99.95 => format!("{:.0}%", all.min(999.0)),
        some => format!("{some:.1}%"),
    }
}

/// A length of time in at most 6 columns: `850ns`, `12.3us`, `1.20ms`, `12.0s`, `12m05s`, `3h04m`, `120d`.
pub(crate) fn short_time(nanos: u64) -> String {
    match nanos {
        0..1000 => format!("{nanos}ns"),
        1000..999_500 => scaled(nanos as f64 / 1e3, 1000.0, &["us"]),
        999_500..999_500_000 => scaled(nanos as f64 / 1e6, 1000.0, &["ms"]),
        999_500_000..60_000_000_000 => scaled(nanos as f64 / 1e9, 1000.0, &["s"]),
        _ => long_time(nanos / NANOS),
    }
}

fn long_time(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _) => format!("{hours}h{minutes:02}m"),
        (1..100, _) => format!("{days}d{hours:02}h"),
        _ => format!("{}d", days.min(99_999)),
    }
}

/// How long ago, in at most 5 columns: `now`, `42s`, `12m`, `3h`, `120d`.
pub(crate) fn age(nanos: u64) -> String {
    match nanos / NANOS {
        0 => "now".into(),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", (seconds / 86_400).min(9999)),
    }
}

/// A running time: `00:12:34`, `3d 00:12:34`.
pub(crate) fn uptime(nanos: u64) -> String {
    let seconds = nanos / NANOS;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let clock = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if days > 0 { format!("{days}d {clock}") } else { clock }
}

/// A moment, nanoseconds since 1970, to the microsecond: `2025-11-21 02:04:06.123456 UTC`.
pub(crate) fn moment(unix_ns: u64) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:6] UTC");
    format_utc(unix_ns, form)
}

/// A moment to the second, without the year: `11-21 02:04:06`.
pub(crate) fn brief_moment(unix_ns: u64) -> String {
    format_utc(unix_ns, format_description!("[month]-[day] [hour]:[minute]:[second]"))
}

fn format_utc(unix_ns: u64, form: &[time::format_description::BorrowedFormatItem<'_>]) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ns))
        .ok()
        .and_then(|moment| moment.format(form).ok())
        .unwrap_or_else(|| format!("{unix_ns} ns"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_three_digits_and_never_more_than_five_columns() {
        for (value, text) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10.0k"),
            (12_345, "12.3k"),
            (99_949, "99.9k"),
            (99_950, "100k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (1_234_567, "1.23M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(value), text);
        }
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                assert!(count(value).len() <= 5, "{value}: {}", count(value));
                assert!(rate(Some(value as f64)).len() <= 5, "{value}");
                assert!(binary(value).len() <= 6, "{value}: {}", binary(value));
                assert!(short_time(value).len() <= 6, "{value}: {}", short_time(value));
                assert!(age(value).len() <= 5, "{value}: {}", age(value));
                assert!(share(value as f64, 1e15).len() <= 5, "{value}");
            }
        }
    }

    #[test]
    fn slow_rates_keep_their_fraction_and_unknown_ones_are_a_dash() {
        for (value, text) in [
            (None, "-"),
            (Some(0.0), "0"),
            (Some(0.25), "0.25"),
            (Some(12.5), "12.5"),
            (Some(999.4), "999"),
            (Some(999.6), "1.00k"),
            (Some(9.9e9), "9.90G"),
        ] {
            assert_eq!(rate(value), text);
        }
    }

    #[test]
    fn buffers_are_told_in_powers_of_1024() {
        for (bytes, text) in
            [(0, "0B"), (1023, "1023B"), (64 << 20, "64Mi"), (1 << 20, "1Mi"), (3 << 29, "1.50Gi"), (212_992, "208Ki")]
        {
            assert_eq!(binary(bytes), text);
        }
    }

    #[test]
    fn exact_counts_have_their_thousands_apart() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(value), text);
        }
        assert_eq!(grouped_within(1_234_567, 9), "1,234,567");
        assert_eq!(grouped_within(1_234_567, 8), "1.23M");
    }

    #[test]
    fn a_share_is_0_or_100_percent_only_when_it_is() {
        for (part, whole, text) in [
            (0.0, 0.0, "-"),
            (0.0, 10.0, "0%"),
            (1.0, 1e9, "<0.1%"),
            (123.0, 1000.0, "12.3%"),
            (999_999.0, 1e6, ">99%"),
            (5.0, 5.0, "100%"),
        ] {
            assert_eq!(share(part, whole), text);
        }
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        for (nanos, short) in [
            (0, "0ns"),
            (999, "999ns"),
            (12_345, "12.3us"),
            (1_200_000, "1.20ms"),
            (999_600, "1.00ms"),
            (12_000_000_000, "12.0s"),
            (125_000_000_000, "2m05s"),
            (86_399_000_000_000, "23h59m"),
            (90_000_000_000_000, "1d01h"),
        ] {
            assert_eq!(short_time(nanos), short);
        }
        for (seconds, told) in [(0, "now"), (59, "59s"), (60, "1m"), (7_199, "1h"), (172_800, "2d")] {
            assert_eq!(age(seconds * NANOS), told);
        }
        assert_eq!(uptime(754 * NANOS), "00:12:34");
        assert_eq!(uptime((86_400 + 7_384) * NANOS), "1d 02:03:04");
    }

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(moment(1_763_690_646_123_456_789), "2025-11-21 02:04:06.123456 UTC");
        assert_eq!(brief_moment(1_763_690_646_123_456_789), "11-21 02:04:06");
        assert_eq!(moment(0), "1970-01-01 00:00:00.000000 UTC");
        assert!(moment(u64::MAX).starts_with("2554-07-21"));
    }
}
