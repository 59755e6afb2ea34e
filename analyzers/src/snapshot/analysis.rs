//! What the analysis of one worker, or of all of them, has counted.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::analysis::Analysis;
use crate::fragments::FragmentCounters;
use crate::protocols::{EventKind, Protocol};

/// Counters of analysis; all 0 where nothing is analysed, that is without `--log`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnalysisSnapshot {
    /// Events made, by `event_type`; kinds of which there were none are left out.
    pub events: BTreeMap<String, u64>,
    /// Anomalies found, by name: once for a flow, or for each frame in no flow.
    pub anomalies: BTreeMap<String, u64>,
    /// Anomalies of which no event was made since there were too many in a second.
    pub anomalies_suppressed: u64,
    /// What became of IP fragments.
    pub fragments: FragmentCounters,
    /// Bytes of fragments that wait.
    pub fragment_bytes: u64,
    /// Bytes of TCP that came before their turn and wait.
    pub tcp_waiting_bytes: u64,
    /// Holes in TCP given up early because a direction had as much waiting as it may.
    pub tcp_direction_full: u64,
    /// Holes in TCP given up early because all connections of the worker together had.
    pub tcp_shard_full: u64,
    /// Bytes kept of streams whose protocol is not known yet.
    pub undetected_bytes: u64,
    /// Bytes that the protocols of flows keep until more of them comes.
    pub protocol_bytes: u64,
    /// Flows whose protocol is not read any more since those of the worker together kept too much.
    pub protocols_given_up: u64,
    /// Packets forgotten while copies of them could still come.
    pub duplicates_forgotten: u64,
    /// How long requests took to be answered, by `app_proto`.
    pub responses: BTreeMap<String, ResponseTimes>,
}

impl AnalysisSnapshot {
    /// What `analysis` has counted.
    pub(crate) fn of(analysis: &Analysis) -> Self {
        let events = &analysis.events;
        let made = EventKind::ALL.into_iter().map(|kind| (kind.as_str().to_owned(), events.made(kind)));
        let found = events.anomalies().found().map(|(name, count)| (name.to_owned(), count));
        let responses = Protocol::ALL.into_iter().filter_map(|protocol| {
            Some((protocol.as_str().to_owned(), ResponseTimes::of(events.responses(protocol)?)))
        });
        Self {
            events: made.filter(|(_, count)| *count > 0).collect(),
            anomalies: found.collect(),
            anomalies_suppressed: events.anomalies().suppressed(),
            fragments: *analysis.fragments.counters(),
            fragment_bytes: analysis.fragments.bytes() as u64,
            tcp_waiting_bytes: analysis.budget.used() as u64,
            tcp_direction_full: analysis.budget.direction_full,
            tcp_shard_full: analysis.budget.shard_full,
            undetected_bytes: analysis.kept_bytes as u64,
            protocol_bytes: analysis.memory.used() as u64,
            protocols_given_up: analysis.memory.given_up,
            duplicates_forgotten: 0,
            responses: responses.collect(),
        }
    }

    /// Adds what another worker has counted.
    pub fn merge(&mut self, other: &Self) {
        for (sums, counts) in [(&mut self.events, &other.events), (&mut self.anomalies, &other.anomalies)] {
            for (name, count) in counts {
                *sums.entry(name.clone()).or_default() += count;
            }
        }
        self.anomalies_suppressed += other.anomalies_suppressed;
        self.fragments.merge(&other.fragments);
        self.fragment_bytes += other.fragment_bytes;
        self.tcp_waiting_bytes += other.tcp_waiting_bytes;
        self.tcp_direction_full += other.tcp_direction_full;
        self.tcp_shard_full += other.tcp_shard_full;
        self.undetected_bytes += other.undetected_bytes;
        self.protocol_bytes += other.protocol_bytes;
        self.protocols_given_up += other.protocols_given_up;
        self.duplicates_forgotten += other.duplicates_forgotten;
        for (protocol, times) in &other.responses {
            self.responses.entry(protocol.clone()).or_default().merge(times);
        }
    }
}

/// How long requests of one protocol took to be answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResponseTimes {
    /// Answers.
    pub count: u64,
    /// All times together, in nanoseconds, exact to a hundredth.
    pub sum_ns: u64,
    /// Answers that took up to each of [`ResponseTimes::BOUNDS_NS`] and longer than the one before it; those that took longer than all
    /// are in `count` alone.
    pub buckets: [u64; ResponseTimes::BOUNDS_NS.len()],
}

impl ResponseTimes {
    /// Bounds of the buckets, in nanoseconds: 100 µs to 10 s.
    pub const BOUNDS_NS: [u64; 16] = {
        const MICRO: u64 = 1_000;
        const MILLI: u64 = 1_000_000;
        [
            100 * MICRO,
            250 * MICRO,
            500 * MICRO,
            MILLI,
            2_500 * MICRO,
            5 * MILLI,
            10 * MILLI,
            25 * MILLI,
            50 * MILLI,
            100 * MILLI,
            250 * MILLI,
            500 * MILLI,
            1_000 * MILLI,
            2_500 * MILLI,
            5_000 * MILLI,
            10_000 * MILLI,
        ]
    };

    /// The times in `histogram`.
    fn of(histogram: &Histogram<u64>) -> Self {
        let mut times = Self { count: histogram.len(), ..Self::default() };
        for step in histogram.iter_recorded() {
            // What was recorded lies between this and the value of the step: a bound itself is not above the bound.
            let value = histogram.lowest_equivalent(step.value_iterated_to());
            let count = step.count_since_last_iteration();
            times.sum_ns = times.sum_ns.saturating_add(value.saturating_mul(count));
            let bucket = Self::BOUNDS_NS.partition_point(|bound| *bound < value);
            if let Some(bucket) = times.buckets.get_mut(bucket) {
                *bucket += count;
            }
        }
        times
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_in_the_bucket_of_their_time_and_sums_of_workers_are_sums() {
        let mut histogram = Histogram::new_with_bounds(1_000, 3_600_000_000_000, 2).unwrap();
        for time in [50_000, 1_000_000, 1_000_000, 1_200_000, 60_000_000_000] {
            histogram.record(time).unwrap();
        }
        let times = ResponseTimes::of(&histogram);
        assert_eq!((times.count, times.buckets[0], times.buckets[3], times.buckets[4]), (5, 1, 2, 1));
        assert_eq!(times.buckets.iter().sum::<u64>(), 4, "a minute is longer than all bounds");
        assert!(times.sum_ns.abs_diff(60_003_250_000) < 600_000_000);
        let worker = AnalysisSnapshot {
            anomalies: [("a".to_owned(), 2)].into(),
            fragments: FragmentCounters { fragments: 3, ..FragmentCounters::default() },
            responses: [("dns".to_owned(), times.clone())].into(),
            ..AnalysisSnapshot::default()
        };
        let mut sum = worker.clone();
        sum.merge(&worker);
        assert_eq!((sum.anomalies["a"], sum.fragments.fragments), (4, 6));
        assert_eq!((sum.responses["dns"].count, sum.responses["dns"].buckets[3]), (10, 4));
    }

    #[test]
    fn what_an_older_collector_says_is_read() {
        let read: AnalysisSnapshot = serde_json::from_str("{}").unwrap();
        assert_eq!(read, AnalysisSnapshot::default());
    }
}
