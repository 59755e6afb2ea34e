//! Events on their way out: the envelope that all have, and the buffer that lines are made in.

use hdrhistogram::Histogram;
use vxtap_wire::FiveTuple;

use super::{EventKind, EventKinds, Protocol, Side};
use crate::eve;
use crate::flow::FlowRecord;
use crate::json::JsonObject;

/// What the events of a flow say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFacts {
    /// The five-tuple of the originator's packets.
    pub tuple: FiveTuple,
    /// The number that all events of the flow have.
    pub flow_id: u64,
    /// The Community ID.
    pub community_id: [u8; vxtap_wire::community_id::LEN],
    /// The `tunnel` object with its key, or nothing.
    pub tunnel: std::sync::Arc<[u8]>,
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
    responses: [Option<Box<Histogram<u64>>>; Protocol::ALL.len()],
}

/// The longest response time that is told apart, in nanoseconds: an hour.
const RESPONSE_MAX: u64 = 3_600_000_000_000;

impl Events {
    /// A buffer for events of the `wanted` kinds; others are not made.
    pub fn new(wanted: EventKinds) -> Self {
        Self { wanted, lines: Vec::new(), count: 0, responses: std::array::from_fn(|_| None) }
    }

    /// Whether events of `kind` are wanted.
    #[inline]
    pub const fn wants(&self, kind: EventKind) -> bool {
        self.wanted.has(kind)
    }

    /// Writes the `flow` event of a flow whose bytes were analysed.
    pub(crate) fn write_flow(&mut self, record: &FlowRecord<'_>) {
        let Some(app) = &record.flow.app else { return };
        let head = EventHead { kind: EventKind::Flow, time_ns: record.flow.last_ns, from: Side::Originator, tx: None };
        self.write(head, app.facts(), |json| eve::write_flow(json, record, &app.facts().tuple));
    }

    /// Writes one event of a flow; `write` gives the members behind the envelope.
    pub fn write(&mut self, head: EventHead, flow: &FlowFacts, write: impl FnOnce(&mut JsonObject<'_>)) {
        if !self.wants(head.kind) {
            return;
        }
        let line = &mut self.lines;
        let tuple = if head.from == Side::Originator { flow.tuple } else { flow.tuple.reversed() };
        JsonObject::append_to(line, |json| {
            json.raw("timestamp", |line| eve::append_time(line, head.time_ns));
            json.number("flow_id", flow.flow_id);
            json.text("event_type", head.kind.as_str());
            eve::write_tuple(json, &tuple);
            json.text("community_id", flow.community_id);
            if let Some(tx) = head.tx {
                json.number("tx_id", tx);
            }
            json.members(&flow.tunnel);
            write(json);
        });
        line.push(b'\n');
        self.count += 1;
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
