//! Looks after a run every few seconds: how evenly its load is spread, and whether flows are one-sided.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use vxtap_analyzers::snapshot::SkewSnapshot;
use vxtap_analyzers::{SideCounts, StreamId};

use crate::shared::Shared;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Nothing is said of a stream twice within this time.
const QUIET: Duration = Duration::from_mins(10);
/// Of so many streams something is said at a time; of others only how many there are.
const TOLD_AT_ONCE: usize = 3;
/// Fewer frames in an interval say nothing of how they are spread.
const FRAMES_ENOUGH: u64 = 1000;

/// A thread that looks after a run.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Begins to look after the run of `shared`, and to say in `skew` how its load is spread.
    pub(crate) fn start(shared: Arc<Shared>, skew: Arc<Mutex<SkewSnapshot>>) -> io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let work = move || {
            let (mut load, mut voice) = (Load::default(), Voice::default());
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let workers = shared.workers().iter().map(|worker| worker.ledger.analysed).collect();
                let streams = shared.streams().iter().map(|stream| stream.frames).collect();
                let now = load.next(workers, streams);
                *skew.lock().unwrap_or_else(PoisonError::into_inner) = now;
                for told in voice.of(&shared.sides(), |stream| shared.registry.name(stream), Instant::now()) {
                    tracing::warn!("{told}");
                }
            }
        };
        let thread = std::thread::Builder::new().name("vxtap-watch".to_owned()).spawn(work)?;
        Ok(Self { stop, thread })
    }

    /// Ends it.
    pub(crate) fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that looks after the run panicked");
        }
    }
}

/// What there was at the last look.
#[derive(Debug, Default)]
struct Load {
    workers: Vec<u64>,
    streams: Vec<u64>,
}

impl Load {
    /// How what came since the last look is spread.
    fn next(&mut self, workers: Vec<u64>, streams: Vec<u64>) -> SkewSnapshot {
        let skew = SkewSnapshot {
            workers: skew(&self.workers, &workers, true),
            streams: skew(&self.streams, &streams, false),
        };
        (self.workers, self.streams) = (workers, streams);
        skew
    }
}

/// The largest part in even parts, where those without anything count or not. Numbers that were not there before were 0.
fn skew(before: &[u64], now: &[u64], idle_count: bool) -> Option<f64> {
    let before = before.iter().copied().chain(std::iter::repeat(0));
    let parts: Vec<u64> = now.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
    let (sum, largest) = (parts.iter().sum::<u64>(), parts.iter().copied().max()?);
    let count = if idle_count { parts.len() } else { parts.iter().filter(|part| **part > 0).count() };
    (sum >= FRAMES_ENOUGH).then(|| largest as f64 * count as f64 / sum as f64)
}

/// What was said of which stream, and when.
#[derive(Debug, Default)]
struct Voice {
    said: HashMap<StreamId, Instant>,
}

impl Voice {
    /// What is to be said now.
    fn of(
        &mut self,
        sides: &HashMap<StreamId, SideCounts>,
        name: impl Fn(StreamId) -> String,
        now: Instant,
    ) -> Vec<String> {
        self.said.retain(|_, at| now.saturating_duration_since(*at) < QUIET);
        let mut found: Vec<_> = sides
            .iter()
            .filter(|(stream, _)| !self.said.contains_key(stream))
            .filter_map(|(stream, counts)| Some((*stream, counts.share()?, counts.cause()?)))
            .collect();
        found.sort_by_key(|(stream, ..)| *stream);
        self.said.extend(found.iter().map(|(stream, ..)| (*stream, now)));
        let told = |(stream, share, cause): &(StreamId, f64, _)| {
            format!("{}: {:.0} % of its flows are one-sided: {cause}", name(*stream), 100.0 * share)
        };
        let mut lines: Vec<String> = found.iter().take(TOLD_AT_ONCE).map(told).collect();
        if found.len() > TOLD_AT_ONCE {
            lines.push(format!("flows of {} more mirror streams are one-sided", found.len() - TOLD_AT_ONCE));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_load_is_1_and_all_on_one_of_four_workers_is_4() {
        let mut load = Load::default();
        assert_eq!(load.next(vec![0; 4], vec![]), SkewSnapshot::default());
        let even = load.next(vec![1000; 4], vec![500, 3500]);
        assert_eq!((even.workers, even.streams), (Some(1.0), Some(1.75)));
        // A stream that was silent in between is none that the load could be spread over.
        let one = load.next(vec![1000, 1000, 5000, 1000], vec![500, 3500, 4000]);
        assert_eq!((one.workers, one.streams), (Some(4.0), Some(1.0)));
        assert_eq!(load.next(vec![1000, 1000, 5100, 1000], vec![500, 3500, 4100]), SkewSnapshot::default());
    }
}
