//! One shard: the state that one worker owns, and what a batch of frames does to it.

use vxtap_wire::{Direction, FlowKey, FrameView, Network, NetworkId};

use crate::flow::{Fit, Flow, FlowEnd, FlowRecord};
use crate::flow_notes::FlowNotes;
use crate::flow_table::{FlowTable, FlowTableLimits, Probe, Slot};
use crate::stream::StreamId;

/// The most frames that one call of [`Shard::observe`] takes.
pub const BATCH_MAX: usize = 64;

/// What is known of a frame besides its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketMeta {
    /// When it was received, nanoseconds since 1970.
    pub time_ns: u64,
    /// The mirror stream it came by.
    pub stream: StreamId,
    /// The network its flow is in.
    pub network: NetworkId,
}

/// Settings of a shard.
#[derive(Clone, Copy, Debug)]
pub struct ShardSettings {
    /// Bounds and timeouts of its flow table.
    pub limits: FlowTableLimits,
    /// Seed of its hash table; random, so that nobody can choose flows that collide.
    pub seed: u64,
}

/// What a shard has counted; only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounters {
    /// Frames observed.
    pub frames: u64,
    /// Flows begun.
    pub flows: u64,
    /// Flows ended before their time because the table was full.
    pub flows_evicted: u64,
    /// Frames without a five-tuple: ARP, other EtherTypes, cut in the IP header.
    pub not_ip: u64,
    /// Frames whose end the mirror cut off.
    pub truncated: u64,
    /// Frames with a header that contradicts itself.
    pub malformed: u64,
}

/// The state of one worker.
#[derive(Debug)]
pub struct Shard {
    table: FlowTable,
    counters: ShardCounters,
    keys: Vec<Keyed>,
}

/// A frame's place in the flow table, between the two halves of the lookup.
#[derive(Clone, Copy, Debug)]
struct Keyed {
    key: FlowKey,
    direction: Direction,
    probe: Probe,
    /// Index of the frame in its batch.
    frame: usize,
}

impl Shard {
    /// A shard that has seen nothing.
    pub fn new(settings: &ShardSettings) -> Self {
        Self {
            table: FlowTable::new(settings.limits, settings.seed),
            counters: ShardCounters::default(),
            keys: Vec::with_capacity(BATCH_MAX),
        }
    }

    /// Counts a batch of frames, at most [`BATCH_MAX`] at a time, and gives `ended` the record of each flow that this ends.
    pub fn observe(&mut self, batch: &[(PacketMeta, FrameView<'_>)], mut ended: impl FnMut(FlowRecord<'_>)) {
        let mut notes = FlowNotes::default();
        for part in batch.chunks(BATCH_MAX) {
            self.observe_noting(part, &mut notes, &mut ended);
        }
    }

    /// The same for a batch of at most [`BATCH_MAX`] frames, with notes of their flows.
    pub fn observe_noting(
        &mut self,
        batch: &[(PacketMeta, FrameView<'_>)],
        notes: &mut FlowNotes,
        mut ended: impl FnMut(FlowRecord<'_>),
    ) {
        debug_assert!(batch.len() <= BATCH_MAX);
        let ended = &mut ended;
        notes.beyond = 0;
        self.keys.clear();
        for (frame, (meta, view)) in batch.iter().enumerate() {
            self.counters.frames += 1;
            self.counters.truncated += u64::from(view.bytes_missing() > 0);
            self.counters.malformed += u64::from(view.malformed.is_some());
            match &view.five_tuple {
                Some(tuple) if view.network != Network::Arp => {
                    let (key, direction) = FlowKey::new(meta.network, tuple);
                    let probe = self.table.probe(&key);
                    self.keys.push(Keyed { key, direction, probe, frame });
                }
                _ => self.counters.not_ip += 1,
            }
        }
        // With a table larger than the cache each lookup waits for memory. Reading all of them before using any lets
        // those waits overlap; the count keeps the compiler from dropping the reads.
        let known = self.keys.iter().filter(|keyed| self.table.touch(&keyed.probe, &keyed.key)).count();
        debug_assert!(known <= batch.len());
        std::hint::black_box(known);
        for at in 0..self.keys.len() {
            let keyed = self.keys[at];
            let (meta, view) = &batch[keyed.frame];
            self.observe_one(&keyed, *meta, view, notes, ended);
        }
        if let Some((meta, _)) = batch.last() {
            self.advance(meta.time_ns, ended);
        }
    }

    #[inline]
    fn observe_one(
        &mut self,
        keyed: &Keyed,
        meta: PacketMeta,
        view: &FrameView<'_>,
        notes: &mut FlowNotes,
        ended: &mut impl FnMut(FlowRecord<'_>),
    ) {
        let mut slot = self.table.find(&keyed.probe, &keyed.key);
        if let Some(old) = slot
            && let Some(end) = self.ends_before(old, keyed.direction, meta, view)
        {
            self.end(old, end, ended);
            slot = None;
        }
        let (slot, new) = match slot {
            Some(slot) => (slot, false),
            None => (self.begin(keyed, meta, view, ended), true),
        };
        let changed = self.table.get_mut(slot).is_some_and(|flow| {
            notes.note(flow, keyed.frame, view.bytes.len());
            flow.count(keyed.direction, meta.time_ns, view)
        });
        if changed || new {
            self.table.arm(slot);
        }
    }

    /// Whether the flow in `slot` was over before this frame: its silence was too long though its timer has not
    /// fired yet, or the frame opens the next connection.
    #[inline]
    fn ends_before(&self, slot: Slot, direction: Direction, meta: PacketMeta, view: &FrameView<'_>) -> Option<FlowEnd> {
        let flow = self.table.get(slot)?;
        if meta.time_ns > flow.last_ns.saturating_add(self.table.limits().idle_ns(flow)) {
            return Some(FlowEnd::Idle);
        }
        (flow.fit(direction, view) == Fit::Reopens).then_some(FlowEnd::Reused)
    }

    #[cold]
    fn begin(
        &mut self,
        keyed: &Keyed,
        meta: PacketMeta,
        view: &FrameView<'_>,
        ended: &mut impl FnMut(FlowRecord<'_>),
    ) -> Slot {
        // Before its timer is set: a wheel that stands far in the past would have to turn all the way with the flow on it.
        self.advance(meta.time_ns, ended);
        while self.table.is_full() {
            let Some(flow) = self.table.evict() else { break };
            self.counters.flows_evicted += 1;
            ended(FlowRecord { flow: &flow, end: FlowEnd::Evicted });
        }
        self.counters.flows += 1;
        self.table.insert(&keyed.probe, Flow::begin(keyed.key, keyed.direction, meta.stream, view))
    }

    fn end(&mut self, slot: Slot, end: FlowEnd, ended: &mut impl FnMut(FlowRecord<'_>)) {
        if let Some(flow) = self.table.remove(slot)
            && flow.frames() > 0
        {
            ended(FlowRecord { flow: &flow, end });
        }
    }

    /// Moves packet time on to `now_ns` and ends the flows that were silent too long by then.
    pub fn advance(&mut self, now_ns: u64, ended: &mut impl FnMut(FlowRecord<'_>)) {
        if !self.table.is_due(now_ns) {
            return;
        }
        while let Some(slot) = self.table.due(now_ns) {
            let limits = *self.table.limits();
            let Some(flow) = self.table.get_mut(slot) else { continue };
            if now_ns >= flow.last_ns.saturating_add(limits.idle_ns(flow)) {
                self.end(slot, FlowEnd::Idle, ended);
                continue;
            }
            let active_over =
                limits.active_ns > 0 && flow.frames() > 0 && now_ns >= flow.first_ns.saturating_add(limits.active_ns);
            if active_over {
                ended(FlowRecord { flow, end: FlowEnd::Active });
                flow.restart();
            }
            self.table.arm(slot);
        }
    }

    /// Ends every flow, in no order.
    pub fn finish(&mut self, mut ended: impl FnMut(FlowRecord<'_>)) {
        let mut from = 0;
        while let Some(slot) = self.table.any(from) {
            from = slot.position();
            self.end(slot, FlowEnd::Shutdown, &mut ended);
        }
    }

    /// What was counted.
    pub const fn counters(&self) -> &ShardCounters {
        &self.counters
    }

    /// The flows being followed.
    pub const fn table(&self) -> &FlowTable {
        &self.table
    }
}

#[cfg(test)]
mod tests;
