//! What analysis has counted, as metrics.

use std::fmt;

use prometheus_client::metrics::MetricType;
use vxtap_analyzers::snapshot::{AnalysisSnapshot, ResponseTimes, Snapshot, WorkerSnapshot};

use super::{CountOf, Families, Family, NANOSECONDS, labels};

/// Writes the families.
pub(super) fn encode(families: &mut Families<'_>, snapshot: &Snapshot) -> fmt::Result {
    by_name(families, snapshot, ("events", "Events made, by kind", "kind"), |analysis| named(&analysis.events))?;
    let anomalies = ("anomalies", "Anomalies found, once for a flow or for a frame in none", "event");
    by_name(families, snapshot, anomalies, |analysis| named(&analysis.anomalies))?;
    let fragments = ("fragments", "IP fragments, and packets of fragments, by what became of them", "outcome");
    by_name(families, snapshot, fragments, |analysis| analysis.fragments.named().to_vec())?;
    let holes = ("tcp_holes_given_up", "Holes in TCP given up early because too much waited", "reason");
    by_name(families, snapshot, holes, |analysis| {
        vec![("direction_full", analysis.tcp_direction_full), ("shard_full", analysis.tcp_shard_full)]
    })?;
    let counters: [(&str, &str, CountOf<AnalysisSnapshot>); 3] = [
        ("anomalies_suppressed", "Anomalies not told because there were too many in a second", |analysis| {
            analysis.anomalies_suppressed
        }),
        ("duplicates_forgotten", "Packets forgotten while copies of them could come", |analysis| {
            analysis.duplicates_forgotten
        }),
        ("protocols_given_up", "Flows whose protocol is not read any more since all kept too much", |analysis| {
            analysis.protocols_given_up
        }),
    ];
    for (name, help, count) in counters {
        families.per_worker(snapshot, name, help, MetricType::Counter, |worker, family| {
            family.counter(&labels(worker), count(&worker.analysis))
        })?;
    }
    let gauges: [(&str, &str, CountOf<AnalysisSnapshot>); 4] = [
        ("fragment_bytes", "Bytes of IP fragments that wait", |analysis| analysis.fragment_bytes),
        ("tcp_waiting_bytes", "Bytes of TCP that came before their turn", |analysis| analysis.tcp_waiting_bytes),
        ("undetected_bytes", "Bytes of streams whose protocol is not known yet", |analysis| analysis.undetected_bytes),
        ("protocol_bytes", "Bytes that the protocols of flows keep until more comes", |analysis| {
            analysis.protocol_bytes
        }),
    ];
    for (name, help, count) in gauges {
        families.per_worker(snapshot, name, help, MetricType::Gauge, |worker, family| {
            family.gauge(&labels(worker), count(&worker.analysis))
        })?;
    }
    if snapshot.analysis.responses.is_empty() {
        return Ok(());
    }
    let (name, help) = ("response_time_seconds", "Time from a request to its answer");
    families.per_worker(snapshot, name, help, MetricType::Histogram, response_times)
}

fn response_times(worker: &WorkerSnapshot, family: &mut Family<'_>) -> fmt::Result {
    worker.analysis.responses.iter().try_for_each(|(protocol, times)| {
        let labels = [("worker", worker.worker.to_string()), ("protocol", protocol.clone())];
        let longer = times.count.saturating_sub(times.buckets.iter().sum());
        let bounds = ResponseTimes::BOUNDS_NS.map(|bound| bound as f64 / NANOSECONDS);
        let buckets: Vec<(f64, u64)> = bounds.into_iter().zip(times.buckets).chain([(f64::INFINITY, longer)]).collect();
        family.histogram(&labels, times.sum_ns as f64 / NANOSECONDS, &buckets)
    })
}

fn named(counts: &std::collections::BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    counts.iter().map(|(name, count)| (name.as_str(), *count)).collect()
}

/// One family, called `(name, help, label)`, with the counters that `counts` gives, each under its name.
fn by_name(
    families: &mut Families<'_>,
    snapshot: &Snapshot,
    (name, help, label): (&str, &str, &str),
    counts: impl for<'s> Fn(&'s AnalysisSnapshot) -> Vec<(&'s str, u64)>,
) -> fmt::Result {
    if snapshot.workers.iter().all(|worker| counts(&worker.analysis).is_empty()) {
        return Ok(());
    }
    families.per_worker(snapshot, name, help, MetricType::Counter, |worker, family| {
        for (name, count) in counts(&worker.analysis) {
            family.counter(&[("worker", worker.worker.to_string()), (label, name.to_owned())], count)?;
        }
        Ok(())
    })
}
