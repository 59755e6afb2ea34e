//! Counts as OpenMetrics text. `mirrored` and `skipped`, packets and bytes, by direction, are what AWS calls
//! `NetworkPacketsMirrorIn/Out`, `NetworkMirrorIn/Out`, `NetworkPacketsSkipMirrorIn/Out` and `NetworkSkipMirrorIn/Out`.

use std::fmt;
use std::sync::PoisonError;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Shown;
use crate::mirror::ledger::{DirectionSummary, MirrorSummary, SkipSummary};
use crate::mirror::status::Status;
use crate::summary::{Reasons, Summary};

/// The media type of [`encode`]'s text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted, in OpenMetrics text.
pub(super) fn encode(shown: &Shown) -> Result<String, fmt::Error> {
    let (cpu, kept) = shown.ledger.load();
    let metrics = Metrics {
        run: Summary::of(&shown.control),
        sessions: shown.ledger.summary(),
        status: shown.status.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        cpu,
        kept,
    };
    let mut registry = Registry::with_prefix("vxtap_sender");
    registry.register_collector(Box::new(metrics));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Metrics {
    run: Summary,
    sessions: MirrorSummary,
    status: Status,
    cpu: f64,
    kept: f64,
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut families = Families(encoder);
        self.run(&mut families)?;
        self.sessions(&mut families)?;
        self.state(&mut families)
    }
}

type Count = fn(&DirectionSummary) -> u64;

impl Metrics {
    fn run(&self, families: &mut Families) -> fmt::Result {
        let run = &self.run;
        families.counter("read", "Frames captured or read", run.read)?;
        families.counter("ring_dropped", "Frames that found no room in the ring of an interface", run.ring_dropped)?;
        families.counter("sent", "Datagrams that the kernel took", run.sent)?;
        families.counter("bytes_sent", "Bytes of those datagrams, without outer headers", run.bytes_sent)?;
        families.reasons("skipped", "Frames not sent", &run.skipped)?;
        families.reasons("send_errors", "Frames that the kernel refused", &run.send_error_reasons)
    }

    fn sessions(&self, families: &mut Families) -> fmt::Result {
        let counts: [(&str, &str, Count); 5] = [
            ("mirrored_packets", "Frames mirrored", |direction| direction.mirrored.packets),
            ("mirrored_bytes", "Bytes of frames mirrored, as sent, without tunnel headers", |direction| {
                direction.mirrored.bytes
            }),
            ("skipped_packets", "Frames that a session took and that were not sent", |direction| {
                direction.skipped.packets
            }),
            ("skipped_bytes", "Bytes of those", |direction| direction.skipped.bytes),
            ("truncated_packets", "Frames mirrored with their end cut off", |direction| direction.truncated),
        ];
        for (name, help, count) in counts {
            let mut family = families.family(name, help, MetricType::Counter)?;
            for (session, direction, summary) in self.directions() {
                family.counter(&[("session", session), ("direction", direction)], count(summary))?;
            }
        }
        let mut family = families.family("skipped_packets_by_reason", "The same by reason", MetricType::Counter)?;
        for (session, direction, summary) in self.directions() {
            for (reason, count) in summary.skipped.reasons.iter() {
                family.counter(&[("session", session), ("direction", direction), ("reason", reason)], count)?;
            }
        }
        let help = "Frames of sessions that the kernel refused";
        let mut family = families.family("refused_packets", help, MetricType::Counter)?;
        for (session, direction, summary) in self.directions() {
            for (reason, count) in summary.send_errors.iter() {
                family.counter(&[("session", session), ("direction", direction), ("reason", reason)], count)?;
            }
        }
        let passed = &self.sessions.passed;
        let passed: [(&str, &SkipSummary); 3] =
            [("inbound", &passed.inbound), ("outbound", &passed.outbound), ("unknown", &passed.unknown)];
        let mut family = families.family("passed_packets", "Frames that no session takes", MetricType::Counter)?;
        for (direction, summary) in passed {
            for (reason, count) in summary.reasons.iter() {
                family.counter(&[("direction", direction), ("reason", reason)], count)?;
            }
        }
        let mut family = families.family("passed_bytes", "Bytes of those on the wire", MetricType::Counter)?;
        passed.iter().try_for_each(|(direction, summary)| family.counter(&[("direction", direction)], summary.bytes))
    }

    /// Sessions and directions with what they have counted.
    fn directions(&self) -> impl Iterator<Item = (&str, &'static str, &DirectionSummary)> {
        self.sessions.sessions.iter().flat_map(|session| {
            let name = session.session.as_str();
            [(name, "inbound", &session.inbound), (name, "outbound", &session.outbound)]
        })
    }

    fn state(&self, families: &mut Families) -> fmt::Result {
        let help = "1 for sessions that are on, 0 for those that are off";
        let mut family = families.family("session_enabled", help, MetricType::Gauge)?;
        for session in &self.status.sessions {
            family.gauge(&[("session", session.name.as_str())], u64::from(session.enabled))?;
        }
        let mut family =
            families.family("target_resolved", "1 for targets that have an address and a route", MetricType::Gauge)?;
        for target in &self.status.targets {
            family.gauge(&[("target", target.target.as_str())], u64::from(target.address.is_some()))?;
        }
        families.gauge("policy_generation", "Policies that have been in force", self.status.generation)?;
        let reloads = &self.status.reloads;
        let help = "Times that the policy was read again, by what became of it";
        let mut family = families.family("policy_reloads", help, MetricType::Counter)?;
        family.counter(&[("outcome", "accepted")], reloads.accepted)?;
        family.counter(&[("outcome", "refused")], reloads.refused)?;
        let help = "When the policy in force was read, in seconds since 1970";
        families.gauge("policy_accepted_timestamp_seconds", help, reloads.accepted_at)?;
        let help = "1 while the policy file as it was read last is refused, and the one before it in force";
        families.gauge("policy_refused", help, u64::from(reloads.error.is_some()))?;
        families.gauge("cpu_usage", "CPUs that the process used in the last tenth of a second", self.cpu)?;
        families.gauge("cpu_budget_kept", "Share of the flows that the CPU budget leaves", self.kept)?;
        let mut family = families.family("build_info", "Which program this is", MetricType::Gauge)?;
        family.gauge(&[("version", env!("CARGO_PKG_VERSION"))], 1_u64)
    }
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

    fn reasons(&mut self, name: &str, help: &str, reasons: &Reasons) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        reasons.iter().try_for_each(|(reason, count)| family.counter(&[("reason", reason)], count))
    }
}

/// Writes the samples of one metric family.
struct Family<'a>(MetricEncoder<'a>);

impl Family<'_> {
    fn counter<const N: usize>(&mut self, labels: &[(&str, &str); N], value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.0.encode_family(labels)?)
    }

    fn gauge<const N: usize>(
        &mut self,
        labels: &[(&str, &str); N],
        value: impl EncodeGaugeValue + Copy + fmt::Debug,
    ) -> fmt::Result {
        ConstGauge::new(value).encode(self.0.encode_family(labels)?)
    }
}
