//! Frames that arrive cut, by mirror stream: to what length, and what would have them arrive whole.

use std::net::IpAddr;

use vxtap_analyzers::StreamCounters;
use vxtap_analyzers::snapshot::StreamSnapshot;

use super::super::mtu::{OVERHEAD_V4, OVERHEAD_V6};
use super::super::{Examination, Finding, Severity};
use super::Pair;

const NAME: &str = "truncation";
/// Streams that are told of one by one, those with most cut frames first.
const MAX_STREAMS: usize = 10;
/// The most that a packet length is set to for headers alone: nobody who sets it to that wants whole frames.
const HEADERS_ALONE: u32 = 256;
/// Jumbo frames are no longer than this; longer ones were never on a wire.
const LONGEST_FRAME: u32 = 9216;
/// The Ethernet header, which MTUs do not count.
const ETHERNET: u64 = 14;

pub(super) fn look(at: &Examination<'_>, pair: &Pair<'_>) -> Vec<Finding> {
    let mut cut: Vec<(&StreamSnapshot, StreamCounters)> = Vec::new();
    for stream in &pair.now.streams {
        let before = pair.before.streams.iter().find(|before| before.name == stream.name);
        let before = before.filter(|_| pair.before.started_ns == pair.now.started_ns);
        let recent = since(&stream.counters, before.map_or(StreamCounters::default(), |before| before.counters));
        // Where nothing came meanwhile, all that came so far has to do.
        let counts = if recent.frames > 0 { recent } else { stream.counters };
        if counts.truncated > 0 {
            cut.push((stream, counts));
        }
    }
    cut.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.truncated));
    let more = cut.len().saturating_sub(MAX_STREAMS);
    let mut findings: Vec<Finding> =
        cut.iter().take(MAX_STREAMS).map(|(stream, counts)| told(at, stream, counts)).collect();
    if more > 0 {
        findings.push(Finding::hint(NAME, format!("frames of {more} more mirror streams are cut")));
    }
    findings
}

/// What was counted since `before`; lengths are those of the whole run.
fn since(now: &StreamCounters, before: StreamCounters) -> StreamCounters {
    StreamCounters {
        frames: now.frames.saturating_sub(before.frames),
        truncated: now.truncated.saturating_sub(before.truncated),
        ..*now
    }
}

fn told(at: &Examination<'_>, stream: &StreamSnapshot, counts: &StreamCounters) -> Finding {
    let StreamCounters { frames, truncated, cut_len, cut_wire_len, .. } = *counts;
    let share = 100.0 * truncated as f64 / frames.max(1) as f64;
    let found = format!("{share:.1} % of the frames are cut: of up to {cut_wire_len} bytes, {cut_len} arrive");
    let mut finding = Finding::problem(NAME, found).about(stream.name.clone());
    finding.cost = "What is cut off is in no capture, and no protocol behind it is seen.".into();
    if cut_wire_len > LONGEST_FRAME {
        return finding.mend_by(
            "frames of this length are on no wire: the source mirrors what its card is still to split; there",
            "ethtool -K IF tso off gso off gro off",
        );
    }
    let overhead = if matches!(stream.source, Some(IpAddr::V6(_))) { OVERHEAD_V6 } else { OVERHEAD_V4 } - ETHERNET;
    let (needed, had) = (u64::from(cut_wire_len) + overhead, u64::from(cut_len) + overhead);
    // A mirror may leave a few bytes free: AWS reckons with 4.
    let by_mtu = at.machine.interfaces().iter().any(|interface| (had..had + 8).contains(&interface.mtu));
    let mtu = format!("a path of this MTU, from the mirror source to here, would carry them (now they take {had})");
    let mtu_command = format!("ip link set dev IF mtu {needed}");
    let length = format!("or the mirror session cuts them: set its packet length to {cut_wire_len} at least");
    if by_mtu {
        return finding.mend_by(mtu, mtu_command);
    }
    if cut_len <= HEADERS_ALONE {
        finding.severity = Severity::Hint;
        return finding.mend_by(
            format!(
                "the mirror session's packet length does this (some clouds' default): set it to {cut_wire_len} at least"
            ),
            "",
        );
    }
    finding.mend_by(mtu, mtu_command).mend_by(length, "")
}
