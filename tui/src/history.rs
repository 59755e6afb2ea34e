//! Snapshots over time: the newest, the one before, and the rates between all that came.

use std::collections::VecDeque;
use std::time::Duration;

use vxtap_analyzers::snapshot::{Snapshot, StreamSnapshot, WorkerSnapshot};
use vxtap_analyzers::{Ledger, StreamCounters};

/// What one run has shown so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    latest: Option<Snapshot>,
    previous: Option<Snapshot>,
    points: VecDeque<Option<Point>>,
    peak: Point,
    interval: Duration,
}

/// What the collector received between two snapshots, for each second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    /// Datagrams.
    pub(crate) packets: f64,
    /// Bits of those datagrams, without outer headers.
    pub(crate) bits: f64,
    /// Datagrams that the kernel or the collector dropped, and frames that the capture did.
    pub(crate) lost: f64,
}

impl History {
    /// So many points are kept: five minutes at one each second, and wider than a screen.
    pub(crate) const POINTS: usize = 300;

    /// An empty history of snapshots that are asked for every `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, ..Self::default() }
    }

    /// Takes in a snapshot. Another run begins a new history; the same snapshot again, or an older one, changes nothing.
    pub(crate) fn push(&mut self, snapshot: Snapshot) {
        let Some(latest) = self.latest.take() else {
            self.latest = Some(snapshot);
            return;
        };
        if latest.started_ns != snapshot.started_ns {
            *self = Self { latest: Some(snapshot), ..Self::new(self.interval) };
            return;
        }
        if snapshot.taken_ns <= latest.taken_ns {
            self.latest = Some(latest);
            return;
        }
        let point = Point::between(&latest, &snapshot);
        self.peak = Point {
            packets: self.peak.packets.max(point.packets),
            bits: self.peak.bits.max(point.bits),
            lost: self.peak.lost.max(point.lost),
        };
        for _ in 0..self.missed(snapshot.taken_ns - latest.taken_ns) {
            self.push_point(None);
        }
        self.push_point(Some(point));
        self.previous = Some(latest);
        self.latest = Some(snapshot);
    }

    /// How many snapshots should have come in `nanos` and did not: a time without connection is a gap in the curve.
    fn missed(&self, nanos: u64) -> usize {
        let interval = self.interval.as_nanos().max(1);
        let intervals = (u128::from(nanos) + interval / 2) / interval;
        // One late snapshot is no gap.
        usize::try_from(intervals).unwrap_or(usize::MAX).saturating_sub(2).min(Self::POINTS)
    }

    fn push_point(&mut self, point: Option<Point>) {
        if self.points.len() == Self::POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// The newest snapshot.
    pub(crate) const fn latest(&self) -> Option<&Snapshot> {
        self.latest.as_ref()
    }

    /// The newest rates; `None` before the second snapshot.
    pub(crate) fn now(&self) -> Option<Point> {
        self.points.back().copied().flatten()
    }

    /// The highest of each rate in this run since it has been watched.
    pub(crate) const fn peak(&self) -> Point {
        self.peak
    }

    /// The newest `count` points, oldest first; `None` where no snapshot came.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = Option<Point>> + '_ {
        self.points.iter().skip(self.points.len().saturating_sub(count)).copied()
    }

    /// Datagrams for each second that `worker` of the newest snapshot received.
    pub(crate) fn worker_packets(&self, worker: &WorkerSnapshot) -> Option<f64> {
        let before = self.previous.as_ref()?.workers.iter().find(|before| before.worker == worker.worker)?;
        Some(per_second(before.ledger.received, worker.ledger.received, self.seconds()?))
    }

    /// Frames and bits for each second of `stream` of the newest snapshot. A stream that was not there before began at 0.
    pub(crate) fn stream_rates(&self, stream: &StreamSnapshot) -> Option<(f64, f64)> {
        let previous = self.previous.as_ref()?;
        let seconds = self.seconds()?;
        let before = previous.streams.iter().find(|before| before.name == stream.name);
        let listed_all = previous.streams_total <= previous.streams.len() as u64;
        let before = match before {
            Some(before) => before.counters,
            None if listed_all => StreamCounters::default(),
            None => return None,
        };
        let frames = per_second(before.frames, stream.counters.frames, seconds);
        Some((frames, 8.0 * per_second(before.bytes, stream.counters.bytes, seconds)))
    }

    fn seconds(&self) -> Option<f64> {
        let (latest, previous) = (self.latest.as_ref()?, self.previous.as_ref()?);
        Some(latest.taken_ns.saturating_sub(previous.taken_ns) as f64 / 1e9)
    }
}

impl Point {
    fn between(before: &Snapshot, now: &Snapshot) -> Self {
        let seconds = now.taken_ns.saturating_sub(before.taken_ns) as f64 / 1e9;
        Self {
            packets: per_second(before.ledger.received, now.ledger.received, seconds),
            bits: 8.0 * per_second(before.ledger.received_bytes, now.ledger.received_bytes, seconds),
            lost: per_second(lost(&before.ledger), lost(&now.ledger), seconds),
        }
    }
}

/// Everything of `ledger` that was not handled as asked: dropped by the kernel, by the collector or by the capture. Not what waits to be
/// let in, or was to be left out.
pub(crate) fn lost(ledger: &Ledger) -> u64 {
    let dropped = dropped(ledger).saturating_sub(left_out(ledger));
    ledger.kernel_dropped.saturating_add(dropped).saturating_add(ledger.capture_dropped)
}

/// What the collector dropped as it was asked to, or because it was none of the mirror's.
pub(crate) fn left_out(ledger: &Ledger) -> u64 {
    let left_out = ledger.dropped.iter().filter(|(reason, _)| !reason.is_loss());
    left_out.fold(0, |sum, (_, packets)| sum.saturating_add(packets))
}

/// What the collector dropped, for all reasons together. Another program may say of itself what it likes: no sum of its
/// numbers may overflow.
pub(crate) fn dropped(ledger: &Ledger) -> u64 {
    ledger.dropped.iter().fold(0, |sum, (_, packets)| sum.saturating_add(packets))
}

/// A counter's growth for each second; a counter that went back (it must not) counts as still.
pub(crate) fn per_second(before: u64, now: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { now.saturating_sub(before) as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests;
