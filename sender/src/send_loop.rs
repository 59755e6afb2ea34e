//! From a source to the sockets, at the right time.

use std::time::{Duration, Instant};

use crate::batch::{MAX_FRAMES, Source};
use crate::control::Control;
use crate::error::SendError;
use crate::pace::{Pacer, Timing};
use crate::summary::Summary;
use crate::transmit::Transmitter;

/// Longest sleep, so that a request to stop is heard.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// A run that was told to last for a time and owes frames at its end gets so much longer to send them, unless it could
/// not keep the rate anyway.
const GRACE: Duration = Duration::from_secs(1);

/// Sends what `source` gives until it gives nothing more, `duration` has passed, or `control` asks to stop.
pub(crate) fn run(
    source: &mut impl Source,
    transmitter: &mut Transmitter,
    timing: Timing,
    duration: Option<Duration>,
    control: &Control,
) -> Result<Summary, SendError> {
    let mut pacer = Pacer::new(timing, transmitter.outer_bytes(), duration);
    let mut slots = Vec::with_capacity(MAX_FRAMES);
    let start = Instant::now();
    let mut last_sent = start;
    'run: loop {
        slots.clear();
        source.fill(&mut slots)?;
        if slots.is_empty() {
            break;
        }
        let mut now = Instant::now();
        transmitter.encapsulate(now, source.bytes(), &mut slots);
        let mut sent = 0;
        while sent < slots.len() {
            let elapsed = now.duration_since(start);
            let grace = if pacer.is_top_speed() || pacer.behind_ns() > 0 { Duration::ZERO } else { GRACE };
            let longest = duration.map_or(Duration::MAX, |duration| duration.saturating_add(grace));
            if control.is_stopped() || elapsed >= longest {
                break 'run;
            }
            let waiting = &mut slots[sent..];
            let due = pacer.take_due(nanoseconds(elapsed), waiting);
            if due > 0 {
                let is_over = || control.is_stopped() || start.elapsed() >= longest;
                transmitter.send(source.bytes(), &mut waiting[..due], control.counters(), &is_over);
                sent += due;
                now = Instant::now();
                last_sent = now;
                continue;
            }
            let Some(due_ns) = pacer.due_ns(&waiting[0]) else {
                // Nothing more is due in time; the run lasts as long as it was told to, all the same.
                wait_until(start + duration.unwrap_or_default(), control);
                break 'run;
            };
            // The shortest sleep of a kernel is some 60 µs, in which a fast schedule gathers a batch: no need to spin.
            std::thread::sleep(Duration::from_nanos(due_ns).saturating_sub(elapsed).min(LONGEST_SLEEP));
            now = Instant::now();
        }
    }
    let ended = if duration.is_some() { Instant::now() } else { last_sent };
    Ok(Summary {
        seconds: ended.duration_since(start).as_secs_f64(),
        behind_seconds: Duration::from_nanos(pacer.behind_ns()).as_secs_f64(),
        transmit: transmitter.method().as_str(),
        source_ports: transmitter.source_ports(),
        ..Summary::of(control)
    })
}

fn wait_until(end: Instant, control: &Control) {
    while !control.is_stopped() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(LONGEST_SLEEP));
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
