//! From a source to the sockets, at the right time.

use std::time::{Duration, Instant};

use crate::batch::{MAX_FRAMES, Slot, Source};
use crate::control::{Control, Counters};
use crate::error::SendError;
use crate::pace::{Pacer, Timing};
use crate::summary::Summary;
use crate::transmit::{Method, Transmitter};

/// Longest sleep, so that a request to stop is heard.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);
/// A run that was told to last for a time and owes frames at its end gets so much longer to send them, unless it could
/// not keep the rate anyway.
const GRACE: Duration = Duration::from_secs(1);

/// What a paced run sends: frames, and their way out.
pub(crate) trait Traffic {
    /// Puts the next frames into `slots`, which is empty and keeps its capacity of [`MAX_FRAMES`]; none at the end. Those before
    /// were sent or [abandoned](Self::abandon).
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), SendError>;

    /// Makes datagrams of the frames of `slots`: headers in front, ends cut.
    fn encapsulate(&mut self, now: Instant, slots: &mut [Slot]);

    /// Sends every frame of `slots`, each once, and counts what became of it. At a low rate that is long after they were
    /// [encapsulated](Self::encapsulate).
    ///
    /// Where the kernel takes no more for now and the run `is_over`, the rest is abandoned.
    fn send(&mut self, now: Instant, slots: &mut [Slot], is_over: &dyn Fn() -> bool);

    /// `slots` are not sent, since the run was stopped.
    fn abandon(&mut self, slots: &[Slot]);

    /// Length in bytes of the outer IP, UDP and tunnel headers.
    fn outer_bytes(&self) -> u32;

    /// How datagrams are sent now.
    fn method(&self) -> Method;

    /// The outer source ports.
    fn source_ports(&self) -> Vec<u16>;
}

/// All frames of a source to one target. Frames of a run that was stopped are as if they had not been read.
pub(crate) struct ToOneTarget<'a, S> {
    pub(crate) source: &'a mut S,
    pub(crate) transmitter: &'a mut Transmitter,
    pub(crate) counters: &'a Counters,
}

impl<S: Source> Traffic for ToOneTarget<'_, S> {
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), SendError> {
        self.source.fill(slots)
    }

    fn encapsulate(&mut self, now: Instant, slots: &mut [Slot]) {
        self.transmitter.encapsulate(now, self.source.bytes(), slots);
    }

    fn send(&mut self, now: Instant, slots: &mut [Slot], is_over: &dyn Fn() -> bool) {
        self.transmitter.look(now);
        self.transmitter.send(self.source.bytes(), slots, self.counters, is_over);
    }

    fn abandon(&mut self, _: &[Slot]) {}

    fn outer_bytes(&self) -> u32 {
        self.transmitter.outer_bytes()
    }

    fn method(&self) -> Method {
        self.transmitter.method()
    }

    fn source_ports(&self) -> Vec<u16> {
        self.transmitter.source_ports()
    }
}

/// Sends `traffic` until there is no more, `duration` has passed, or `control` asks to stop.
pub(crate) fn run(
    traffic: &mut impl Traffic,
    timing: Timing,
    duration: Option<Duration>,
    control: &Control,
) -> Result<Summary, SendError> {
    let mut pacer = Pacer::new(timing, traffic.outer_bytes(), duration);
    let mut slots = Vec::with_capacity(MAX_FRAMES);
    let start = Instant::now();
    let mut last_sent = start;
    'run: loop {
        slots.clear();
        traffic.fill(&mut slots)?;
        if slots.is_empty() {
            break;
        }
        let mut now = Instant::now();
        traffic.encapsulate(now, &mut slots);
        let mut sent = 0;
        while sent < slots.len() {
            let elapsed = now.duration_since(start);
            let grace = if pacer.is_top_speed() || pacer.behind_ns() > 0 { Duration::ZERO } else { GRACE };
            let longest = duration.map_or(Duration::MAX, |duration| duration.saturating_add(grace));
            if control.is_stopped() || elapsed >= longest {
                traffic.abandon(&slots[sent..]);
                break 'run;
            }
            let waiting = &mut slots[sent..];
            let due = pacer.take_due(nanoseconds(elapsed), waiting);
            if due > 0 {
                let is_over = || control.is_stopped() || start.elapsed() >= longest;
                traffic.send(now, &mut waiting[..due], &is_over);
                sent += due;
                now = Instant::now();
                last_sent = now;
                continue;
            }
            let Some(due_ns) = pacer.due_ns(&waiting[0]) else {
                // Nothing more is due in time; the run lasts as long as it was told to, all the same.
                traffic.abandon(waiting);
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
        transmit: traffic.method().as_str(),
        source_ports: traffic.source_ports(),
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
