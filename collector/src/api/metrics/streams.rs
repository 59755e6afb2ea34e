//! Mirror streams as metrics. Only those that are let in have labels of their own: what waits is named by whoever sends it.

use std::fmt;

use prometheus_client::metrics::MetricType;
use vxtap_analyzers::snapshot::{DuplicatePair, Snapshot, StreamSnapshot};

use super::{CountOf, Families};

/// Mirror streams with metrics of their own, those with most frames; `streams` counts the others as well.
const MAX_STREAMS: usize = 100;

/// Writes the families.
pub(super) fn encode(families: &mut Families<'_>, snapshot: &Snapshot) -> fmt::Result {
    families.gauge("streams", "Mirror streams seen", snapshot.streams_total)?;
    if let Some(loss) = &snapshot.loss {
        families.gauge("lost", "Datagrams that senders numbered and that did not come", loss.lost)?;
    }
    let fragments = &snapshot.outer_fragments;
    families.counter(
        "outer_fragments",
        "Fragments of outer datagrams that came to this machine",
        fragments.received,
    )?;
    let help = "Times that the kernel could not put fragments of an outer datagram together";
    families.counter("outer_fragments_given_up", help, fragments.given_up)?;
    admission(families, snapshot)?;
    duplicates(families, &snapshot.duplicate_pairs)?;
    let skew = &snapshot.skew;
    for (name, help, value) in [
        ("worker_skew", "Frames of the busiest worker in even parts; 1 is even", skew.workers),
        ("stream_skew", "Frames of the busiest mirror stream in even parts; 1 is even", skew.streams),
    ] {
        if let Some(value) = value {
            families.gauge(name, help, value)?;
        }
    }
    let streams = &snapshot.streams[..snapshot.streams.len().min(MAX_STREAMS)];
    if streams.is_empty() {
        return Ok(());
    }
    let counters: [(&str, &str, CountOf<StreamSnapshot>); 6] = [
        ("stream_frames", "Inner frames of a mirror stream", |stream| stream.counters.frames),
        ("stream_bytes", "Bytes of inner frames of a mirror stream", |stream| stream.counters.bytes),
        ("stream_truncated", "Frames of a mirror stream that the mirror cut", |stream| stream.counters.truncated),
        ("stream_reserved_bits", "Datagrams of a mirror stream with a reserved bit set", |stream| {
            stream.counters.reserved_bits
        }),
        ("stream_clock_apart", "Frames of a mirror stream whose sender's clock is off", |stream| {
            stream.counters.clock_apart
        }),
        (
            "stream_layer_in_fragments",
            "Datagrams of a further layer of a mirror stream that were in fragments",
            |stream| stream.counters.layer_in_fragments,
        ),
    ];
    for (name, help, count) in counters {
        let mut family = families.family(name, help, MetricType::Counter)?;
        for stream in streams {
            family.counter(&labels(stream), count(stream))?;
        }
    }
    losses(families, streams)?;
    flows(families, streams)
}

/// What was lost on the way, of streams whose sender numbers its datagrams.
fn losses(families: &mut Families<'_>, streams: &[StreamSnapshot]) -> fmt::Result {
    let numbered: Vec<_> = streams.iter().filter_map(|stream| Some((stream, stream.loss?))).collect();
    if numbered.is_empty() {
        return Ok(());
    }
    let help = "Datagrams of a mirror stream that the sender numbered and that did not come";
    let mut family = families.family("stream_lost", help, MetricType::Gauge)?;
    numbered.into_iter().try_for_each(|(stream, loss)| family.gauge(&labels(stream), loss.lost))
}

/// A stream by its name, and its network's where that has one.
fn labels(stream: &StreamSnapshot) -> Vec<(&'static str, &str)> {
    let network = stream.network.as_deref().map(|network| ("network", network));
    [("stream", stream.name.as_str())].into_iter().chain(network).collect()
}

/// Flows by the directions that were seen.
fn flows(families: &mut Families<'_>, streams: &[StreamSnapshot]) -> fmt::Result {
    let judged: Vec<_> = streams.iter().filter(|stream| stream.sides.counts.judged() > 0).collect();
    if judged.is_empty() {
        return Ok(());
    }
    let help = "Flows of a mirror stream by the directions that were seen";
    let mut family = families.family("stream_flows", help, MetricType::Counter)?;
    for stream in &judged {
        let counts = &stream.sides.counts;
        for (seen, count) in
            [("both", counts.both), ("originator", counts.originator_only), ("responder", counts.responder_only)]
        {
            let labels: Vec<_> = labels(stream).into_iter().chain([("seen", seen)]).collect();
            family.counter(&labels, count)?;
        }
    }
    let help = "Share of flows of late of which one direction is missing, 0 to 1";
    let mut family = families.family("stream_one_sided_share", help, MetricType::Gauge)?;
    for stream in judged {
        if let Some(share) = stream.sides.share {
            family.gauge(&labels(stream), share)?;
        }
    }
    Ok(())
}

fn admission(families: &mut Families<'_>, snapshot: &Snapshot) -> fmt::Result {
    let admission = &snapshot.admission;
    let rejected = admission.turned_away.iter().filter(|stream| stream.rejected).count() as u64;
    let help = "Mirror streams that are not let in, of those that are told apart";
    let mut family = families.family("streams_turned_away", help, MetricType::Gauge)?;
    family.gauge(&[("state", "waiting")], admission.turned_away_total.saturating_sub(rejected))?;
    family.gauge(&[("state", "rejected")], rejected)?;
    families.gauge("admission_decisions", "Decisions about mirror streams in force", admission.decisions_total)
}

fn duplicates(families: &mut Families<'_>, pairs: &[DuplicatePair]) -> fmt::Result {
    if pairs.is_empty() {
        return Ok(());
    }
    let help = "Copies of packets by the mirror streams that they came by";
    let mut family = families.family("stream_duplicates", help, MetricType::Counter)?;
    pairs.iter().take(MAX_STREAMS).try_for_each(|pair| {
        family.counter(&[("first", pair.first.as_str()), ("second", pair.second.as_str())], pair.duplicates)
    })
}
