//! Events on their way out: the envelope that all have, and the buffer that lines are made in.

use std::cell::{Cell, OnceCell};

use hdrhistogram::Histogram;
use vxtap_wire::FiveTuple;
use vxtap_wire::community_id::community_id;

use super::spare::SpareTexts;
use super::{EventKind, EventKinds, Protocol, Side};
use crate::anomaly::{Anomaly, AnomalyCounters, Subject};
use crate::app::FlowApp;
use crate::eve::{self, Times};
use crate::flow::FlowRecord;
use crate::json::{JsonObject, append_number};

/// What the events of a flow say of it.
#[derive(Clone, Debug)]
pub struct FlowFacts {
    /// The five-tuple of the originator's packets.
    pub tuple: FiveTuple,
    /// The number that all events of the flow have.
    pub flow_id: u64,
    /// The Community ID.
    pub community_id: [u8; vxtap_wire::community_id::LEN],
    /// The `tunnel` object with its key, or nothing.
    pub tunnel: std::sync::Arc<[u8]>,
    /// What all events of the flow say in which the originator's address stands first, kept once there were a few.
    envelope: OnceCell<Box<[u8]>>,
    /// Events of the flow that were written; more than 255 are 255.
    told: Cell<u8>,
}

/// Events of a flow before its envelope is kept. Most flows have an exchange or two and an event of their own: writing that anew takes
/// less than the memory.
const TOLD_BEFORE_KEPT: u8 = 3;

impl FlowFacts {
    /// Facts of a flow of `tuple`, the five-tuple of the originator's packets.
    pub fn new(tuple: FiveTuple, flow_id: u64, tunnel: std::sync::Arc<[u8]>) -> Self {
        Self {
            tuple,
            flow_id,
            community_id: community_id(0, &tuple),
            tunnel,
            envelope: OnceCell::new(),
            told: Cell::new(0),
        }
    }

    /// Whether an event of the flow was written: who opened it is then settled.
    pub(crate) const fn is_told(&self) -> bool {
        self.told.get() > 0
    }

    /// The sides are the other way round.
    pub(crate) fn turn(&mut self) {
        self.tuple = self.tuple.reversed();
        self.envelope = OnceCell::new();
    }

    /// Appends the members that every event has behind its time and type, each with a comma before it.
    fn append(&self, line: &mut Vec<u8>, from: Side) {
        let told = self.told.get();
        self.told.set(told.saturating_add(1));
        match (from, self.envelope.get()) {
            (Side::Originator, Some(envelope)) => line.extend_from_slice(envelope),
            (Side::Originator, None) => {
                let begin = line.len();
                self.append_members(line, &self.tuple);
                if told >= TOLD_BEFORE_KEPT {
                    // It is empty: that was just seen.
                    let _ = self.envelope.set(line.get(begin..).unwrap_or_default().into());
                }
            }
            (Side::Responder, _) => self.append_members(line, &self.tuple.reversed()),
        }
    }

    fn append_members(&self, line: &mut Vec<u8>, tuple: &FiveTuple) {
        line.extend_from_slice(b",\"flow_id\":");
        append_number(line, self.flow_id);
        eve::append_tuple(line, tuple);
        line.extend_from_slice(b",\"community_id\":\"");
        line.extend_from_slice(&self.community_id);
        line.push(b'"');
        if !self.tunnel.is_empty() {
            line.push(b',');
            line.extend_from_slice(&self.tunnel);
        }
    }
}

/// The envelope of one event.
#[derive(Clone, Copy, Debug)]
pub struct EventHead {
    /// What it is about.
    pub kind: EventKind,
    /// When it happened, nanoseconds since 1970.
    pub time_ns: u64,
    /// Whose address stands first.
    pub from: Side,
    /// Number of the transaction in the flow.
    pub tx: Option<u64>,
}

/// Collects the events of one shard until they are taken away, after each batch of packets.
#[derive(Debug)]
pub struct Events {
    wanted: EventKinds,
    lines: Vec<u8>,
    count: u64,
    kinds: [u64; EventKind::ALL.len()],
    anomalies: AnomalyCounters,
    times: Times,
    /// Times when flows began: other seconds than those when they ended.
    starts: Times,
    responses: [Option<Box<Histogram<u64>>>; Protocol::ALL.len()],
    spare: SpareTexts,
}

/// The longest response time that is told apart, in nanoseconds: an hour.
const RESPONSE_MAX: u64 = 3_600_000_000_000;

impl Events {
    /// A buffer for events of the `wanted` kinds; others are not made.
    pub fn new(wanted: EventKinds) -> Self {
        Self {
            wanted,
            lines: Vec::new(),
            count: 0,
            kinds: [0; EventKind::ALL.len()],
            anomalies: AnomalyCounters::default(),
            times: Times::default(),
            starts: Times::default(),
            responses: std::array::from_fn(|_| None),
            spare: SpareTexts::default(),
        }
    }

    /// Whether events of `kind` are wanted.
    #[inline]
    pub const fn wants(&self, kind: EventKind) -> bool {
        self.wanted.has(kind)
    }

    /// Writes the `flow` event of a flow whose bytes were analysed.
    pub(crate) fn write_flow(&mut self, record: &FlowRecord<'_>, app: &FlowApp) {
        let head = EventHead { kind: EventKind::Flow, time_ns: record.flow.last_ns, from: Side::Originator, tx: None };
        let mut starts = std::mem::take(&mut self.starts);
        self.write_timed(head, app.facts(), |json, times| {
            eve::write_flow(json, record, app, (&mut starts, times));
        });
        self.starts = starts;
    }

    /// Writes one event of a flow; `write` gives the members behind the envelope.
    #[inline]
    pub fn write(&mut self, head: EventHead, flow: &FlowFacts, write: impl FnOnce(&mut JsonObject<'_>)) {
        self.write_timed(head, flow, |json, _| write(json));
    }

    /// The same; `write` is given what writes times as well.
    fn write_timed(&mut self, head: EventHead, flow: &FlowFacts, write: impl FnOnce(&mut JsonObject<'_>, &mut Times)) {
        if !self.wants(head.kind) {
            return;
        }
        let Self { lines: line, times, .. } = self;
        JsonObject::append_to(line, |json| {
            let line = json.begin();
            line.extend_from_slice(b"\"timestamp\":");
            times.append(line, head.time_ns);
            line.extend_from_slice(b",\"event_type\":\"");
            line.extend_from_slice(head.kind.as_str().as_bytes());
            line.push(b'"');
            flow.append(line, head.from);
            if let Some(tx) = head.tx {
                line.extend_from_slice(b",\"tx_id\":");
                append_number(line, tx);
            }
            write(json, times);
        });
        self.finish(head.kind);
    }

    /// A line is there.
    fn finish(&mut self, kind: EventKind) {
        self.lines.push(b'\n');
        self.count += 1;
        self.kinds[kind as usize] += 1;
    }

    /// Tells what is wrong with a flow, unless too much was told in this second.
    pub(crate) fn flow_anomaly(&mut self, anomaly: Anomaly, from: Side, time_ns: u64, flow: &FlowFacts) {
        if self.admits(anomaly.as_str(), time_ns) {
            let head = EventHead { kind: EventKind::Anomaly, time_ns, from, tx: None };
            self.write(head, flow, |json| anomaly.write(json));
        }
    }

    /// Tells what is wrong with a frame in no flow, unless too much was told in this second. `tunnel` is the member with its key.
    pub(crate) fn frame_anomaly(&mut self, anomaly: Anomaly, time_ns: u64, tunnel: &[u8]) {
        let admitted = self.anomalies.admit(Subject::Frame, anomaly.as_str(), time_ns);
        if !admitted || !self.wants(EventKind::Anomaly) {
            return;
        }
        let Self { lines, times, .. } = self;
        JsonObject::append_to(lines, |json| {
            json.raw("timestamp", |line| times.append(line, time_ns));
            json.text("event_type", EventKind::Anomaly.as_str());
            json.members(tunnel);
            anomaly.write(json);
        });
        self.finish(EventKind::Anomaly);
    }

    /// Counts an anomaly of a flow; gives whether it may be told.
    pub(super) fn admits(&mut self, name: &'static str, time_ns: u64) -> bool {
        self.anomalies.admit(Subject::Flow, name, time_ns)
    }

    /// Memory for texts that wait until their event is written.
    pub(super) const fn spare_texts(&mut self) -> &mut SpareTexts {
        &mut self.spare
    }

    /// What anomalies were found.
    pub const fn anomalies(&self) -> &AnomalyCounters {
        &self.anomalies
    }

    /// Events of `kind` made so far.
    pub const fn made(&self, kind: EventKind) -> u64 {
        self.kinds[kind as usize]
    }

    /// Bytes of the lines that wait to be taken.
    #[inline]
    pub(crate) const fn bytes(&self) -> usize {
        self.lines.len()
    }

    /// Gives the lines made so far, each with its line feed, and how many they are, and forgets them.
    pub fn take(&mut self, take: impl FnOnce(&[u8], u64)) {
        if self.count > 0 {
            take(&self.lines, self.count);
            self.lines.clear();
            self.count = 0;
        }
    }

    /// A request of `protocol` was answered after so many nanoseconds.
    pub(super) fn record_response(&mut self, protocol: Protocol, nanos: u64) {
        // Two digits, up to an hour: 30 KB for a protocol that is there.
        let fresh = || Histogram::new_with_bounds(1_000, RESPONSE_MAX, 2).ok().map(Box::new);
        let place = &mut self.responses[protocol as usize];
        if place.is_none() {
            *place = fresh();
        }
        if let Some(histogram) = place {
            histogram.saturating_record(nanos);
        }
    }

    /// How long requests of `protocol` took to be answered, in nanoseconds; `None` where none was.
    pub fn responses(&self, protocol: Protocol) -> Option<&Histogram<u64>> {
        self.responses[protocol as usize].as_deref()
    }
}
