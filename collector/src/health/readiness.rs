//! When a collector should get traffic: a state machine over what is seen of it.
//!
//! It reads no clock and asks nobody: time is an argument, counted from any moment, and so is what was seen. Whoever watches
//! the collector tells it several times a second.
//!
//! ```text
//!            all workers have run              a cause lasts `unready_after`
//! starting ───────────────────────▶ ready ───────────────────────────────▶ not ready
//!                                     ▲                                        │
//!                                     └────── no cause for `ready_after` ──────┘
//! ```
//!
//! Draining is no matter of seeing: whoever asks says whether the collector was told to stop.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use vxtap_analyzers::InterfaceName;
use vxtap_analyzers::snapshot::{NotReady, RunState};

use crate::config::Time;

/// Looks that are further apart than this: the machine or the process stood still, and nobody is to blame for that time.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// A worker with nothing to do still runs once a second. One that has not for so long beyond the rules' time is stuck,
/// whether something waits at its sockets or not.
const IDLE_SILENCE: Duration = Duration::from_secs(3);
/// Fewer lost datagrams than these are no share of anything.
const FEWEST_DROPS: u64 = 100;
/// Looks that are kept of the time over which the share of drops is taken.
const WINDOW_LOOKS: u32 = 16;

/// What it takes until a collector counts as not ready, and as ready again.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadinessRules {
    /// A cause has to last so long before it counts.
    pub unready_after: Duration,
    /// All causes have to be gone for so long before the collector is ready again.
    pub ready_after: Duration,
    /// Datagrams that the kernel drops are a cause above this share of all, 0 to 1; `None`: never.
    pub drop_share: Option<f64>,
    /// The time over which that share is taken.
    pub drop_window: Duration,
    /// Whether a capture that cannot be written is no cause.
    pub without_capture: bool,
}

impl Default for ReadinessRules {
    fn default() -> Self {
        Self {
            unready_after: Duration::from_secs(2),
            ready_after: Duration::from_secs(10),
            drop_share: Some(0.05),
            drop_window: Duration::from_secs(10),
            without_capture: false,
        }
    }
}

/// Why a collector is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Not all workers have run yet.
    Starting,
    /// It was told to stop, and reads on for a while.
    Draining,
    /// It finishes, or is done.
    Stopped,
    /// A worker does not run, though there is something to do.
    WorkerStalled,
    /// The kernel drops too much of what comes.
    KernelDrops,
    /// What is to be captured cannot be written.
    CaptureFailing,
    /// An interface that frames are to come by is down or gone.
    InterfaceDown,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 7] = [
        Self::Starting,
        Self::Draining,
        Self::Stopped,
        Self::WorkerStalled,
        Self::KernelDrops,
        Self::CaptureFailing,
        Self::InterfaceDown,
    ];

    /// Its name, which stays what it is.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::WorkerStalled => "worker_stalled",
            Self::KernelDrops => "kernel_drops",
            Self::CaptureFailing => "capture_failing",
            Self::InterfaceDown => "interface_down",
        }
    }
}

/// What was seen of a collector in one look. Counters only grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observation {
    /// By number.
    pub(crate) workers: Vec<WorkerSeen>,
    /// Datagrams and frames that workers took from their sockets and rings.
    pub(crate) received: u64,
    /// Those that the kernel dropped there.
    pub(crate) kernel_dropped: u64,
    /// The capture's writer; `None` where nothing is written.
    pub(crate) capture: Option<CaptureSeen>,
    /// An interface that frames are to come by, and that is down or gone.
    pub(crate) down: Option<InterfaceName>,
}

/// One worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerSeen {
    /// Turns of its loop.
    pub(crate) turns: u64,
    /// Whether datagrams or frames wait at its sockets and rings.
    pub(crate) waiting: bool,
}

/// The capture's writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CaptureSeen {
    /// Whether its last try failed.
    pub(crate) failing: bool,
    /// Frames that it has and has not written.
    pub(crate) pending: u64,
    /// Frames that it has written or given up.
    pub(crate) done: u64,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Readiness {
    rules: ReadinessRules,
    clock: Clock,
    started: bool,
    workers: Vec<Counter>,
    drops: DropWindow,
    writer: Counter,
    stalled: Standing,
    dropping: Standing,
    failing: Standing,
    down: Standing,
    was_ready: bool,
    changes: u64,
}

impl Readiness {
    /// A collector of which nothing was seen yet.
    pub(crate) fn new(rules: ReadinessRules) -> Self {
        Self {
            rules,
            clock: Clock::default(),
            started: false,
            workers: Vec::new(),
            drops: DropWindow::default(),
            writer: Counter::default(),
            stalled: Standing::default(),
            dropping: Standing::default(),
            failing: Standing::default(),
            down: Standing::default(),
            was_ready: false,
            changes: 0,
        }
    }

    /// Takes in what was seen at `now`.
    pub(crate) fn observe(&mut self, now: Duration, seen: &Observation) {
        let now = self.clock.advance(now);
        self.started |= !seen.workers.is_empty() && seen.workers.iter().all(|worker| worker.turns > 0);
        if self.started {
            self.look_at_workers(now, &seen.workers);
            self.look_at_drops(now, seen);
            self.look_at_capture(now, seen.capture);
            let down = seen.down.map(|interface| format!("interface {interface} is down or gone"));
            self.down.note(now, down, self.rules.unready_after, self.rules.ready_after);
        }
        let ready = self.not_ready(RunState::Running).is_empty();
        self.changes += u64::from(ready != self.was_ready);
        self.was_ready = ready;
    }

    /// Whether all workers have run.
    pub(crate) const fn is_started(&self) -> bool {
        self.started
    }

    /// How often it has become ready, or not ready, by what was seen.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// What keeps the collector, whose run is at `state`, from being ready; nothing if it is.
    pub(crate) fn not_ready(&self, state: RunState) -> Vec<NotReady> {
        let mut reasons = Vec::new();
        let mut add = |cause: Cause, detail: String, seconds: f64| {
            reasons.push(NotReady { cause: cause.as_str().to_owned(), detail, seconds });
        };
        match state {
            RunState::Draining => add(Cause::Draining, "told to stop, and still reading".into(), 0.0),
            RunState::Stopped => add(Cause::Stopped, "the run has ended".into(), 0.0),
            RunState::Starting | RunState::Running => {}
        }
        if !self.started {
            add(Cause::Starting, "not all workers have run yet".into(), self.clock.now.as_secs_f64());
        }
        let standing = [
            (Cause::WorkerStalled, &self.stalled),
            (Cause::KernelDrops, &self.dropping),
            (Cause::CaptureFailing, &self.failing),
            (Cause::InterfaceDown, &self.down),
        ];
        for (cause, standing) in standing.into_iter().filter(|(_, standing)| standing.stands) {
            let mut detail = standing.detail.clone();
            if let Some(good_since) = standing.good_since {
                let good = whole_seconds(self.clock.now.saturating_sub(good_since));
                let _ = write!(detail, "; gone for {good}, ready after {}", Time(self.rules.ready_after));
            }
            add(cause, detail, self.clock.now.saturating_sub(standing.since).as_secs_f64());
        }
        reasons
    }

    fn look_at_workers(&mut self, now: Duration, seen: &[WorkerSeen]) {
        self.workers.resize_with(seen.len(), Counter::default);
        let mut stuck = Vec::new();
        let mut longest = Duration::ZERO;
        let mut waiting = false;
        for (number, (worker, seen)) in self.workers.iter_mut().zip(seen).enumerate() {
            let silence = worker.silence(now, seen.turns);
            let allowed = self.rules.unready_after + if seen.waiting { Duration::ZERO } else { IDLE_SILENCE };
            if silence >= allowed {
                stuck.push(number.to_string());
                longest = longest.max(silence);
                waiting |= seen.waiting;
            }
        }
        let bad = (!stuck.is_empty()).then(|| {
            let what = if waiting { ", and packets wait" } else { "" };
            let who = if stuck.len() == 1 { "worker" } else { "workers" };
            format!("{who} {}: no turn for {}{what}", stuck.join(", "), whole_seconds(longest))
        });
        // The silence has lasted already.
        self.stalled.note(now, bad, Duration::ZERO, self.rules.ready_after);
    }

    fn look_at_drops(&mut self, now: Duration, seen: &Observation) {
        let window = self.rules.drop_window;
        let (received, dropped) = self.drops.over(now, window, (seen.received, seen.kernel_dropped));
        let share = dropped as f64 / (received + dropped).max(1) as f64;
        let bound = self.rules.drop_share.filter(|bound| dropped >= FEWEST_DROPS && share > *bound);
        let bad = bound.map(|bound| {
            let (share, bound) = (share * 100.0, bound * 100.0);
            format!("the kernel dropped {share:.1} % of the last {} ({bound} % is the bound)", Time(window))
        });
        self.dropping.note(now, bad, self.rules.unready_after, self.rules.ready_after);
    }

    fn look_at_capture(&mut self, now: Duration, seen: Option<CaptureSeen>) {
        let bad = seen.filter(|_| !self.rules.without_capture).and_then(|seen| {
            let silence = self.writer.silence(now, seen.done);
            if seen.failing {
                Some("the capture cannot be written".to_owned())
            } else if seen.pending > 0 && silence >= self.rules.unready_after {
                Some(format!("the capture's writer has been waiting for the disk for {}", whole_seconds(silence)))
            } else {
                None
            }
        });
        self.failing.note(now, bad, self.rules.unready_after, self.rules.ready_after);
    }
}

fn whole_seconds(time: Duration) -> Time {
    Time(Duration::from_secs(time.as_secs()))
}

/// Time as far as the collector could use it.
#[derive(Debug, Default)]
struct Clock {
    last: Option<Duration>,
    now: Duration,
}

impl Clock {
    /// The time of a look at `at`, without what passed while nobody could look.
    fn advance(&mut self, at: Duration) -> Duration {
        let passed = self.last.map_or(Duration::ZERO, |last| at.saturating_sub(last));
        self.last = Some(at);
        self.now += passed.min(LONGEST_GAP);
        self.now
    }
}

/// A counter that grows while all is well.
#[derive(Debug, Default)]
struct Counter {
    value: u64,
    since: Option<Duration>,
}

impl Counter {
    /// For how long it has been at `value`.
    fn silence(&mut self, now: Duration, value: u64) -> Duration {
        if self.value != value {
            (self.value, self.since) = (value, None);
        }
        now.saturating_sub(*self.since.get_or_insert(now))
    }
}

/// Whether a cause counts, and what keeps that from flapping.
#[derive(Debug, Default)]
struct Standing {
    stands: bool,
    /// When it began to be bad.
    since: Duration,
    bad_since: Option<Duration>,
    good_since: Option<Duration>,
    /// What was bad last.
    detail: String,
}

impl Standing {
    /// Notes how it is: what is bad, or nothing. It counts once it has been bad for `raise`, until it has been good for `clear`.
    fn note(&mut self, now: Duration, bad: Option<String>, raise: Duration, clear: Duration) {
        if let Some(detail) = bad {
            self.detail = detail;
            self.good_since = None;
            let since = *self.bad_since.get_or_insert(now);
            if !self.stands && now.saturating_sub(since) >= raise {
                (self.stands, self.since) = (true, since);
            }
            return;
        }
        self.bad_since = None;
        let since = *self.good_since.get_or_insert(now);
        if now.saturating_sub(since) >= clear {
            self.stands = false;
        }
    }
}

/// Totals of received and dropped datagrams at some moments, from which sums over a time are taken.
#[derive(Debug, Default)]
struct DropWindow {
    looks: VecDeque<(Duration, (u64, u64))>,
}

impl DropWindow {
    /// How much both have grown to `totals` in the last `window`, or a little more.
    fn over(&mut self, now: Duration, window: Duration, totals: (u64, u64)) -> (u64, u64) {
        let step = window / WINDOW_LOOKS;
        if self.looks.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= step) {
            self.looks.push_back((now, totals));
        }
        // The first one stays as the totals at the window's beginning.
        while self.looks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= window) {
            self.looks.pop_front();
        }
        let begin = self.looks.front().map_or(totals, |(_, totals)| *totals);
        (totals.0.saturating_sub(begin.0), totals.1.saturating_sub(begin.1))
    }
}

#[cfg(test)]
mod tests;
