//! Looks after a run every few seconds: how evenly its load is spread, whether flows are one-sided, and whether events are dropped.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use vxtap_analyzers::snapshot::SkewSnapshot;
use vxtap_analyzers::{OneSidedCause, SideCounts, StreamId};

use crate::outputs::OutputMonitor;
use crate::shared::Shared;

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// Nothing is said of a stream twice within this time.
const QUIET: Duration = Duration::from_mins(10);
/// Dropped events are told of at most once within this time.
const DROPS_QUIET: Duration = Duration::from_mins(1);
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
    pub(crate) fn start(
        shared: Arc<Shared>,
        outputs: OutputMonitor,
        skew: Arc<Mutex<SkewSnapshot>>,
    ) -> io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let work = move || {
            let (mut load, mut voice, mut drops) = (Load::default(), Voice::default(), EventDrops::default());
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let workers = shared.workers().iter().map(|worker| worker.ledger.analysed).collect();
                let streams = shared.streams().iter().map(|stream| stream.frames).collect();
                let now = load.next(workers, streams);
                *skew.lock().unwrap_or_else(PoisonError::into_inner) = now;
                let found = one_sided(&shared.sides());
                for told in voice.of(found, |stream| shared.registry.name(stream), Instant::now()) {
                    tracing::warn!("{told}");
                }
                let dropped = outputs.log().map_or(0, |log| log.events_dropped);
                if let Some(told) = drops.told(dropped, Instant::now()) {
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

/// A mirror stream with the share of its flows that are one-sided, and their cause.
type OneSided = (StreamId, f64, OneSidedCause);

/// The streams of which more flows are one-sided than is usual.
fn one_sided(sides: &HashMap<StreamId, SideCounts>) -> Vec<OneSided> {
    sides.iter().filter_map(|(stream, counts)| Some((*stream, counts.share()?, counts.cause()?))).collect()
}

/// What was said of which stream, and when.
#[derive(Debug, Default)]
struct Voice {
    said: HashMap<StreamId, Instant>,
}

impl Voice {
    /// What is to be said now of what was `found`.
    fn of(&mut self, mut found: Vec<OneSided>, name: impl Fn(StreamId) -> String, now: Instant) -> Vec<String> {
        self.said.retain(|_, at| now.saturating_duration_since(*at) < QUIET);
        found.retain(|(stream, ..)| !self.said.contains_key(stream));
        found.sort_by_key(|(stream, ..)| *stream);
        self.said.extend(found.iter().map(|(stream, ..)| (*stream, now)));
        let told = |(stream, share, cause): &OneSided| {
            format!("{}: {:.0} % of its flows are one-sided: {cause}", name(*stream), 100.0 * share)
        };
        let mut lines: Vec<String> = found.iter().take(TOLD_AT_ONCE).map(told).collect();
        if found.len() > TOLD_AT_ONCE {
            lines.push(format!("flows of {} more mirror streams are one-sided", found.len() - TOLD_AT_ONCE));
        }
        lines
    }
}

/// What was said of events that are dropped, and when.
#[derive(Debug, Default)]
struct EventDrops {
    told: u64,
    at: Option<Instant>,
}

impl EventDrops {
    /// What is to be said at `now`, when `dropped` events have been dropped in all.
    fn told(&mut self, dropped: u64, now: Instant) -> Option<String> {
        let more = dropped.checked_sub(self.told).filter(|more| *more > 0)?;
        if self.at.is_some_and(|at| now.saturating_duration_since(at) < DROPS_QUIET) {
            return None;
        }
        (self.told, self.at) = (dropped, Some(now));
        Some(format!("{more} events were dropped: the disk of the log takes them too slowly or not at all"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(stream: StreamId) -> String {
        format!("vni {}", stream.0)
    }

    fn found(streams: impl IntoIterator<Item = u32>) -> Vec<OneSided> {
        streams.into_iter().map(|number| (StreamId(number), 0.254, OneSidedCause::DirectionMissing)).collect()
    }

    #[test]
    fn a_stream_is_told_of_once_in_ten_minutes_with_its_share_and_the_cause() {
        let (mut voice, begin) = (Voice::default(), Instant::now());
        assert_eq!(voice.of(Vec::new(), name, begin), Vec::<String>::new());
        let told = voice.of(found([7]), name, begin);
        assert!(told[0].starts_with("vni 7: 25 % of its flows are one-sided: always the same direction"), "{told:?}");
        assert_eq!(told.len(), 1);
        // It stays as it is, is gone, and comes back; another one is told of meanwhile.
        assert_eq!(voice.of(found([7]), name, begin + INTERVAL), Vec::<String>::new());
        assert_eq!(voice.of(Vec::new(), name, begin + 2 * INTERVAL), Vec::<String>::new());
        let told = voice.of(found([7, 8]), name, begin + 3 * INTERVAL);
        assert!(told.len() == 1 && told[0].starts_with("vni 8: "), "{told:?}");
        let told = voice.of(found([7, 8]), name, begin + QUIET);
        assert!(told.len() == 1 && told[0].starts_with("vni 7: "), "{told:?}");
    }

    #[test]
    fn of_many_streams_three_are_named_and_the_rest_are_counted_and_not_named_later() {
        let (mut voice, begin) = (Voice::default(), Instant::now());
        let told = voice.of(found((0..100).rev()), name, begin);
        let names: Vec<_> = told.iter().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
        assert_eq!(names, ["vni 0", "vni 1", "vni 2"]);
        assert_eq!(told[3..], ["flows of 97 more mirror streams are one-sided"]);
        assert_eq!(voice.of(found(0..100), name, begin + INTERVAL), Vec::<String>::new());
        // Bounded by the streams that are told of, and forgotten with them.
        assert_eq!(voice.said.len(), 100);
        assert_eq!(voice.of(Vec::new(), name, begin + QUIET), Vec::<String>::new());
        assert_eq!(voice.said.len(), 0);
    }

    #[test]
    fn dropped_events_are_told_of_once_a_minute_with_how_many_more_there_are() {
        let (mut drops, begin) = (EventDrops::default(), Instant::now());
        assert_eq!(drops.told(0, begin), None);
        let told = drops.told(5, begin).unwrap();
        assert!(told.starts_with("5 events were dropped: "), "{told}");
        assert_eq!(drops.told(7, begin + INTERVAL), None);
        assert!(drops.told(9, begin + DROPS_QUIET).unwrap().starts_with("4 events "));
        assert_eq!(drops.told(9, begin + 2 * DROPS_QUIET), None, "no more came");
    }

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
