//! A snapshot as OpenMetrics text. The names are those of the summary: `received` is `vxtap_collector_received_total`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use vxtap_analyzers::Ledger;
use vxtap_analyzers::snapshot::{Distribution, RunState, Snapshot, WorkerSnapshot};

use super::CaptureCounts;

mod analysis;
mod health;
mod streams;

/// The media type of [`encode`]'s text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const NANOSECONDS: f64 = 1e9;

/// Where in a part of the snapshot the number of a metric stands.
type CountOf<T> = fn(&T) -> u64;

/// `snapshot` in OpenMetrics text.
pub(super) fn encode(snapshot: Snapshot, captured: CaptureCounts) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("vxtap_collector");
    registry.register_collector(Box::new(SnapshotMetrics { snapshot, captured }));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct SnapshotMetrics {
    snapshot: Snapshot,
    captured: CaptureCounts,
}

impl Collector for SnapshotMetrics {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let Self { snapshot, captured } = self;
        let mut families = Families(encoder);
        ledger(&mut families, snapshot)?;
        workers(&mut families, snapshot)?;
        analysis::encode(&mut families, snapshot)?;
        streams::encode(&mut families, snapshot)?;
        files(&mut families, snapshot, captured)?;
        followers(&mut families, snapshot)?;
        health::encode(&mut families, &snapshot.health)?;
        run(&mut families, snapshot)
    }
}

fn ledger(families: &mut Families, snapshot: &Snapshot) -> fmt::Result {
    let counters: [(&str, &str, CountOf<Ledger>); 10] = [
        ("received", "Datagrams read from the sockets", |ledger| ledger.received),
        ("received_bytes", "Bytes of datagrams read, without outer headers", |ledger| ledger.received_bytes),
        ("analysed", "Inner frames that went through analysis", |ledger| ledger.analysed),
        ("kernel_dropped", "Datagrams that the kernel discarded", |ledger| ledger.kernel_dropped),
        ("captured", "Inner frames written to a capture file", |ledger| ledger.captured),
        ("capture_dropped", "Inner frames not written because the disk was too slow, full or gone", |ledger| {
            ledger.capture_dropped
        }),
        ("not_captured", "Inner frames for which no capture was asked", |ledger| ledger.not_captured),
        ("flows", "Flows that began", |ledger| ledger.flows),
        ("duplicates", "Copies of packets already seen on another mirror stream", |ledger| ledger.duplicates),
        ("misdelivered", "Datagrams handed over to the worker that owns the flow", |ledger| ledger.misdelivered),
    ];
    for (name, help, count) in counters {
        families.per_worker(snapshot, name, help, MetricType::Counter, |worker, family| {
            family.counter(&labels(worker), count(&worker.ledger))
        })?;
    }
    // Falls when what was in doubt becomes known.
    let (name, help) =
        ("kernel_dropped_trains", "Of the datagrams that the kernel discarded, what may stand for several each");
    families.per_worker(snapshot, name, help, MetricType::Gauge, |worker, family| {
        family.gauge(&labels(worker), worker.ledger.kernel_dropped_trains)
    })?;
    families.per_worker(snapshot, "dropped", "Datagrams discarded", MetricType::Counter, |worker, family| {
        for (reason, count) in worker.ledger.dropped.iter() {
            family.counter(&[("worker", worker.worker.to_string()), ("reason", reason.as_str().to_owned())], count)?;
        }
        Ok(())
    })
}

fn workers(families: &mut Families, snapshot: &Snapshot) -> fmt::Result {
    let counters: [(&str, &str, CountOf<WorkerSnapshot>); 6] = [
        ("flows_evicted", "Flows ended early because the table was full", |worker| worker.flows_evicted),
        ("not_ip", "Inner frames that are neither IPv4 nor IPv6", |worker| worker.not_ip),
        ("truncated", "Inner frames whose end the mirror cut off", |worker| worker.truncated),
        ("malformed", "Inner frames with a header that contradicts itself", |worker| worker.malformed),
        ("too_deep", "Inner frames with more tunnels than are looked through", |worker| worker.too_deep),
        ("batches", "System calls that returned a datagram", |worker| worker.batches),
    ];
    for (name, help, count) in counters {
        families.per_worker(snapshot, name, help, MetricType::Counter, |worker, family| {
            family.counter(&labels(worker), count(worker))
        })?;
    }
    let gauges: [(&str, &str, CountOf<WorkerSnapshot>); 3] = [
        ("flows_active", "Flows being followed", |worker| worker.flows_active),
        ("flows_max", "Flows that the table can hold", |worker| worker.flows_max),
        ("receive_buffer_bytes", "Receive buffer that the kernel granted", |worker| worker.receive_buffer),
    ];
    for (name, help, count) in gauges {
        families.per_worker(snapshot, name, help, MetricType::Gauge, |worker, family| {
            family.gauge(&labels(worker), count(worker))
        })?;
    }
    let (name, help) = ("batch_datagrams", "Datagrams in a batch, by quantile");
    families.per_worker(snapshot, name, help, MetricType::Gauge, |worker, family| {
        quantiles(family, worker, &worker.batch_size, |value| value as f64)
    })?;
    let (name, help) = ("batch_time_seconds", "Time to process a batch, by quantile");
    families.per_worker(snapshot, name, help, MetricType::Gauge, |worker, family| {
        quantiles(family, worker, &worker.batch_time_ns, |value| value as f64 / NANOSECONDS)
    })
}

fn labels(worker: &WorkerSnapshot) -> [(&'static str, String); 1] {
    [("worker", worker.worker.to_string())]
}

fn quantiles(
    family: &mut Family,
    worker: &WorkerSnapshot,
    distribution: &Distribution,
    scale: fn(u64) -> f64,
) -> fmt::Result {
    let Distribution { count: _, p50, p90, p99, max } = *distribution;
    for (quantile, value) in [("0.5", p50), ("0.9", p90), ("0.99", p99), ("1", max)] {
        family.gauge(&[("worker", worker.worker.to_string()), ("quantile", quantile.to_owned())], scale(value))?;
    }
    Ok(())
}

fn files(families: &mut Families, snapshot: &Snapshot, captured: &CaptureCounts) -> fmt::Result {
    if let Some(capture) = &snapshot.capture {
        families.counter("capture_bytes", "Bytes written to capture files", capture.bytes)?;
        families.counter("capture_files", "Capture files begun", capture.files_total)?;
        families.gauge("capture_pending", "Frames waiting to be written", capture.pending)?;
        families.counter("capture_late", "Frames that came when later ones were in the file", capture.late)?;
        let kept = &capture.kept;
        families.gauge("capture_kept_files", "Files that the capture directory has", kept.files)?;
        families.gauge("capture_kept_bytes", "Bytes of the files that the capture directory has", kept.bytes)?;
        families.counter("capture_deleted_files", "Files deleted by retention", kept.deleted_files)?;
        families.counter("capture_deleted_bytes", "Bytes of files deleted by retention", kept.deleted_bytes)?;
        families.counter("capture_compressed_files", "Files compressed", kept.compressed)?;
        families.counter("capture_hooks", "Capture hooks run", kept.hook_runs)?;
        families.counter("capture_hook_failures", "Capture hooks that failed or took too long", kept.hook_failures)?;
        families.counter(
            "capture_hooks_skipped",
            "Capture hooks not run, since too many waited or the file was gone",
            kept.hook_skipped,
        )?;
        let CaptureCounts { cut, torn, displaced } = captured;
        families.counter("capture_cut", "Inner frames captured without their end, by choice", cut.frames)?;
        families.counter("capture_cut_bytes", "Bytes of inner frames left out by choice", cut.bytes)?;
        let help = "Files deleted, cut or moved away by others while they were written";
        families.counter("capture_displaced_files", help, *displaced)?;
        families.counter("capture_torn_files", "Files of killed collectors whose end was cut off", torn.files)?;
        families.counter("capture_torn_bytes", "Bytes cut off files of killed collectors", torn.bytes)?;
        families.gauge("capture_torn_waiting", "Files of killed collectors to be looked through", torn.waiting)?;
        families.gauge(
            "capture_keeping_failing",
            "1 while something is wrong with deleting, compressing or listing captures, or with their hook",
            u64::from(kept.error.is_some()),
        )?;
        families.gauge("capture_failing", "1 while captures cannot be written", u64::from(capture.error.is_some()))?;
    }
    if let Some(log) = &snapshot.log {
        families.counter("log_events", "Events written to the log", log.events)?;
        families.counter("log_events_dropped", "Events that could not be written", log.events_dropped)?;
        families.gauge("log_failing", "1 while the log cannot be written", u64::from(log.error.is_some()))?;
    }
    Ok(())
}

fn followers(families: &mut Families, snapshot: &Snapshot) -> fmt::Result {
    let followers = &snapshot.followers;
    families.gauge("followers", "Programs that follow the live capture", followers.now.len() as u64)?;
    families.counter("follower_sent", "Records given to followers", followers.sent)?;
    families.counter("follower_dropped", "Records that went past followers that were too slow", followers.dropped)
}

fn run(families: &mut Families, snapshot: &Snapshot) -> fmt::Result {
    let uptime = snapshot.taken_ns.saturating_sub(snapshot.started_ns);
    families.gauge("uptime_seconds", "Time since the run began", uptime as f64 / NANOSECONDS)?;
    families.gauge(
        "start_time_seconds",
        "When the run began, seconds since 1970",
        snapshot.started_ns as f64 / NANOSECONDS,
    )?;
    let mut family = families.family("state", "1 for what the collector is doing", MetricType::Gauge)?;
    for state in [RunState::Starting, RunState::Running, RunState::Draining, RunState::Stopped] {
        family.gauge(&[("state", state.as_str())], u64::from(state == snapshot.state))?;
    }
    let mut family = families.family("build_info", "Which program this is", MetricType::Gauge)?;
    family.gauge(&[("version", snapshot.version.as_str())], 1_u64)
}

/// Writes metric families, each with its `HELP` and `TYPE`.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn family<'s>(&'s mut self, name: &'s str, help: &str, kind: MetricType) -> Result<Family<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind).map(Family)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.family(name, help, MetricType::Counter)?.0)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue + Copy + fmt::Debug) -> fmt::Result {
        ConstGauge::new(value).encode(self.family(name, help, MetricType::Gauge)?.0)
    }

    /// One family with what `write` adds for each worker; none before there are workers, as a family without samples
    /// tells nothing.
    fn per_worker(
        &mut self,
        snapshot: &Snapshot,
        name: &str,
        help: &str,
        kind: MetricType,
        write: impl Fn(&WorkerSnapshot, &mut Family) -> fmt::Result,
    ) -> fmt::Result {
        if snapshot.workers.is_empty() {
            return Ok(());
        }
        let mut family = self.family(name, help, kind)?;
        snapshot.workers.iter().try_for_each(|worker| write(worker, &mut family))
    }
}

/// Writes the samples of one metric family.
struct Family<'a>(MetricEncoder<'a>);

impl Family<'_> {
    /// Values in `buckets`, each with its upper bound, the last one without.
    fn histogram(&mut self, labels: &impl EncodeLabelSet, sum: f64, buckets: &[(f64, u64)]) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.0.encode_family(labels)?.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    fn counter(&mut self, labels: &impl EncodeLabelSet, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.0.encode_family(labels)?)
    }

    fn gauge(&mut self, labels: &impl EncodeLabelSet, value: impl EncodeGaugeValue + Copy + fmt::Debug) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_family(labels)?)
    }
}
