//! What a person reads: the status line and the summary at exit.

use std::fmt;
use std::time::Duration;

use crate::control::Progress;
use crate::summary::Summary;

/// One line on how far a run is.
pub(super) struct Status {
    pub(super) elapsed: Duration,
    pub(super) now: Progress,
    /// A while ago.
    pub(super) before: Progress,
    /// How long ago.
    pub(super) interval: Duration,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, before, .. } = self;
        let seconds = self.interval.as_secs_f64().max(f64::EPSILON);
        let rate = (now.sent - before.sent) as f64 / seconds;
        let bits = (now.packet_bytes - before.packet_bytes) as f64 * 8.0 / seconds;
        write!(
            f,
            "{:>5.0} s  sent {}  {}/s  {}bit/s",
            self.elapsed.as_secs_f64(),
            Grouped(now.sent),
            Grouped(rate.round() as u64),
            Scaled(bits)
        )?;
        for (name, count) in [
            ("truncated", now.truncated),
            ("skipped", now.skipped),
            ("errors", now.send_errors),
            ("ring dropped", now.ring_dropped),
        ] {
            if count > 0 {
                write!(f, "  {name} {}", Grouped(count))?;
            }
        }
        Ok(())
    }
}

/// The summary in a few lines.
pub(super) struct Report<'a>(pub(super) &'a Summary);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        let seconds = summary.seconds.max(f64::EPSILON);
        writeln!(
            f,
            "sent {} of {} frames ({} bytes) in {:.3} s: {}/s, {}bit/s",
            Grouped(summary.sent),
            Grouped(summary.read),
            Grouped(summary.frame_bytes),
            summary.seconds,
            Grouped((summary.sent as f64 / seconds).round() as u64),
            Scaled(summary.packet_bytes as f64 * 8.0 / seconds),
        )?;
        if summary.truncated.packet_length > 0 {
            writeln!(f, "cut to the packet length: {}", Grouped(summary.truncated.packet_length))?;
        }
        if summary.truncated.mtu > 0 {
            writeln!(f, "cut to what the path carries: {}", Grouped(summary.truncated.mtu))?;
        }
        if summary.skipped.total() > 0 {
            writeln!(f, "skipped: {}", summary.skipped)?;
        }
        if let Some(capture) = &summary.capture
            && capture.super_frames > 0
        {
            let (frames, packets) = (Grouped(capture.super_frames), Grouped(capture.cut_into));
            writeln!(f, "super-frames cut into packets: {frames} into {packets}")?;
        }
        if summary.ring_dropped > 0 {
            writeln!(f, "NOT CAPTURED, the ring was full: {}", Grouped(summary.ring_dropped))?;
        }
        if summary.send_errors > 0 {
            writeln!(f, "NOT SENT, the kernel refused: {}", summary.send_error_reasons)?;
        }
        for session in summary.mirror.iter().flat_map(|mirror| &mirror.sessions) {
            let (inbound, outbound) = (&session.inbound, &session.outbound);
            let skipped = inbound.skipped.packets + outbound.skipped.packets;
            writeln!(
                f,
                "session {}: mirrored {} in, {} out; skipped {}",
                session.session.escape_debug(),
                Grouped(inbound.mirrored.packets),
                Grouped(outbound.mirrored.packets),
                Grouped(skipped),
            )?;
        }
        if summary.behind_seconds > 0.0 {
            writeln!(f, "could not keep the rate: fell {:.1} s behind", summary.behind_seconds)?;
        }
        Ok(())
    }
}

/// A number with its digits in groups of three.
pub(super) struct Grouped(pub(super) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.char_indices() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

/// A number with a unit prefix.
struct Scaled(f64);

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut value, mut prefixes) = (self.0, ["k", "M", "G", "T"].iter());
        let mut prefix = "";
        while value >= 1000.0
            && let Some(next) = prefixes.next()
        {
            value /= 1000.0;
            prefix = next;
        }
        write!(f, "{value:.1} {prefix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::{DirectionSummary, MirrorSummary, SessionSummary, SkipSummary};

    #[test]
    fn the_status_line_has_rates_of_the_interval_and_only_troubles_that_occurred() {
        let before = Progress { sent: 500, packet_bytes: 1_000, ..Progress::default() };
        let now = Progress { sent: 1_234_500, packet_bytes: 251_000, send_errors: 7, ..before };
        let status = Status { elapsed: Duration::from_secs(12), now, before, interval: Duration::from_secs(2) };
        assert_eq!(status.to_string(), "   12 s  sent 1,234,500  617,000/s  1.0 Mbit/s  errors 7");
    }

    #[test]
    fn the_report_is_one_line_when_all_went_well() {
        let summary =
            Summary { read: 2, sent: 2, frame_bytes: 200, packet_bytes: 272, seconds: 2.0, ..Summary::default() };
        assert_eq!(Report(&summary).to_string(), "sent 2 of 2 frames (200 bytes) in 2.000 s: 1/s, 1.1 kbit/s\n");
    }

    #[test]
    fn the_report_of_a_mirror_has_its_sessions() {
        let mirrored = |packets| crate::mirror::Amount { packets, bytes: packets * 100 };
        let session = SessionSummary {
            session: "web\u{1b}".to_owned(),
            inbound: DirectionSummary { mirrored: mirrored(2), ..DirectionSummary::default() },
            outbound: DirectionSummary {
                mirrored: mirrored(1_000),
                skipped: SkipSummary { packets: 7, ..SkipSummary::default() },
                ..DirectionSummary::default()
            },
        };
        let mirror = Some(MirrorSummary { sessions: vec![session], ..MirrorSummary::default() });
        let summary =
            Summary { read: 1_009, sent: 1_002, frame_bytes: 100_200, seconds: 1.0, mirror, ..Summary::default() };
        let report = Report(&summary).to_string();
        assert!(report.starts_with("sent 1,002 of 1,009 frames (100,200 bytes)"), "{report}");
        assert!(report.contains("session web\\u{1b}: mirrored 2 in, 1,000 out; skipped 7\n"), "{report}");
    }

    #[test]
    fn numbers_are_grouped_from_the_right() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Grouped(number).to_string(), text);
        }
    }
}
