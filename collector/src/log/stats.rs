//! `stats` events: the ledger in the log, now and then and at the end.

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use serde::Serialize;
use vxtap_analyzers::json::JsonObject;
use vxtap_analyzers::snapshot::LogSnapshot;
use vxtap_analyzers::{Ledger, eve};

use super::EventLane;
use crate::capture::CutFrames;
use crate::follow::FollowerTotals;
use crate::summary::WorkerSummary;
use crate::worker::unix_ns;

/// A run's counters at one moment, by the names that the summary has for them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Stats {
    /// Seconds since the run began.
    pub(crate) uptime: u64,
    /// All workers together.
    pub(crate) collector: CollectorStats,
    /// Each worker.
    pub(crate) workers: Vec<WorkerSummary>,
}

/// All workers together.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CollectorStats {
    #[serde(flatten)]
    ledger: Ledger,
    #[serde(flatten)]
    cut: CutFrames,
    #[serde(flatten)]
    followers: FollowerTotals,
    /// Flows being followed.
    flows_active: u64,
    /// Mirror streams seen.
    streams: u64,
    /// Events in the log before this one.
    events: u64,
    /// Events that should be there and are not.
    events_dropped: u64,
}

impl Stats {
    /// The sums of `workers`, `uptime` after the run began.
    pub(crate) fn of(workers: Vec<WorkerSummary>, uptime: Duration) -> Self {
        let (mut ledger, mut cut) = (Ledger::default(), CutFrames::default());
        for worker in &workers {
            ledger.merge(&worker.ledger);
            cut.merge(&worker.cut);
        }
        let collector = CollectorStats { ledger, cut, ..CollectorStats::default() };
        Self { uptime: uptime.as_secs(), collector, workers }
    }

    /// With what no worker knows.
    pub(crate) fn with(mut self, flows_active: u64, streams: u64, log: Option<&LogSnapshot>) -> Self {
        (self.collector.flows_active, self.collector.streams) = (flows_active, streams);
        (self.collector.events, self.collector.events_dropped) =
            log.map_or((0, 0), |log| (log.events, log.events_dropped));
        self
    }

    /// With what followers of the live capture got and missed.
    pub(crate) const fn with_followers(mut self, followers: FollowerTotals) -> Self {
        self.collector.followers = followers;
        self
    }

    /// Appends the event, which is of the time `unix_ns`, with its line feed.
    fn write(&self, line: &mut Vec<u8>, unix_ns: u64) {
        JsonObject::append_to(line, |json| {
            json.raw("timestamp", |line| eve::append_time(line, unix_ns));
            json.text("event_type", "stats");
            json.raw("stats", |line| {
                let written = serde_json::to_writer(line, self);
                debug_assert!(written.is_ok(), "counters are JSON, and memory takes them");
            });
        });
        line.push(b'\n');
    }
}

/// Writes `stats` events, into a lane of its own.
#[derive(Debug)]
pub(crate) struct StatsLog {
    lane: EventLane,
    interval: Option<Duration>,
    begun: Instant,
}

impl StatsLog {
    /// Writes into `lane`, when asked to and every `interval`.
    pub(crate) fn new(lane: EventLane, interval: Option<Duration>) -> Self {
        Self { lane, interval, begun: Instant::now() }
    }

    /// Since the log was opened.
    pub(crate) fn uptime(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Writes one event.
    pub(crate) fn write(&mut self, stats: &Stats) {
        self.lane.event(|line| stats.write(line, unix_ns()));
        // The writer is to have it now: the next one is far away.
        self.lane.flush();
    }

    /// Writes what `take` gives for the time since the beginning, every interval, in a thread of its own.
    pub(crate) fn start(mut self, mut take: impl FnMut(Duration) -> Stats + Send + 'static) -> io::Result<StatsTicker> {
        let (stop, stopped) = bounded::<()>(0);
        let work = move || {
            let mut next = self.interval;
            loop {
                let waited = match next {
                    Some(next) => stopped.recv_deadline(self.begun + next),
                    None => stopped.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                if waited != Err(RecvTimeoutError::Timeout) {
                    return self;
                }
                let uptime = self.uptime();
                self.write(&take(uptime));
                // A machine that was asleep gets one event, not all that it missed.
                next = self.interval.zip(next).map(|(interval, at)| (at + interval).max(uptime));
            }
        };
        let thread = std::thread::Builder::new().name("vxtap-stats".to_owned()).spawn(work)?;
        Ok(StatsTicker { stop, thread })
    }
}

/// Events being written now and then.
#[derive(Debug)]
pub(crate) struct StatsTicker {
    stop: Sender<()>,
    thread: JoinHandle<StatsLog>,
}

impl StatsTicker {
    /// Ends it, for the last event to be written; `None` where the thread has died.
    pub(crate) fn stop(self) -> Option<StatsLog> {
        drop(self.stop);
        self.thread.join().ok()
    }
}

#[cfg(test)]
mod tests;
