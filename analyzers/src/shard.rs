//! One shard: the state that one worker owns, and what a batch of frames does to it.

use vxtap_wire::{Direction, FlowKey, FrameView, NetworkId};

use crate::analysis::Analysis;
use crate::anomaly::Anomaly;
use crate::app::{Arena, Arrival};
use crate::flow::{Fit, Flow, FlowEnd, FlowRecord};
use crate::flow_notes::FlowNotes;
use crate::flow_table::{FlowTable, FlowTableLimits, Probe, Slot};
use crate::protocols::Side;
use crate::sides::{SideCounts, Sides};
use crate::stream::StreamId;
use crate::whole::{Leaving, Siblings};

mod fragments;

use fragments::Whole;

mod pace;
use pace::Pace;

/// The most frames that one call of [`Shard::observe`] takes.
pub const BATCH_MAX: usize = 64;

/// Flows that [`Shard::finish_some`] ends: their events are still in the cache when they are taken.
const ENDED_AT_ONCE: usize = 64;

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
    /// Frames with more tunnels in each other than are looked through.
    pub too_deep: u64,
}

/// The state of one worker.
#[derive(Debug)]
pub struct Shard {
    table: FlowTable,
    counters: ShardCounters,
    keys: Vec<Keyed>,
    /// Packets of this batch whose last fragment has come.
    wholes: Vec<Whole>,
    /// Packets of other shards' flows that became whole here, until they are handed over.
    leaving: Vec<Leaving>,
    /// The other shards, where there are any.
    siblings: Option<Siblings>,
    /// Slots before this one are empty, once the run is ended.
    finished: usize,
    /// How many flows may end at a time.
    pace: Pace,
    beside: Beside,
}

/// What a shard keeps of its flows outside their table: a flow can be changed there while it is looked into here.
#[derive(Debug, Default)]
struct Beside {
    /// Flows of which one direction is missing.
    sides: Sides,
    /// Where flows' bytes are analysed.
    analysis: Option<Box<Analysis>>,
    /// Their application layers.
    apps: Arena,
}

/// A frame's place in the flow table, between the two halves of the lookup.
#[derive(Clone, Copy, Debug)]
struct Keyed {
    key: FlowKey,
    direction: Direction,
    probe: Probe,
    /// Index of the frame in its batch.
    frame: u32,
    /// Index of the whole packet that the frame is the last fragment of; [`NO_WHOLE`] for none.
    whole: u32,
    /// What is wrong with the fragment that the frame is.
    found: Option<Anomaly>,
}

const NO_WHOLE: u32 = u32::MAX;

impl Shard {
    /// A shard that has seen nothing.
    pub fn new(settings: &ShardSettings) -> Self {
        Self {
            table: FlowTable::new(settings.limits, settings.seed),
            counters: ShardCounters::default(),
            keys: Vec::with_capacity(BATCH_MAX),
            wholes: Vec::new(),
            leaving: Vec::new(),
            siblings: None,
            finished: 0,
            pace: Pace::default(),
            beside: Beside::default(),
        }
    }

    /// The same, which looks into its flows as well.
    #[must_use]
    pub fn with_analysis(self, analysis: Analysis) -> Self {
        let beside = Beside { analysis: Some(Box::new(analysis)), ..self.beside };
        Self { beside, ..self }
    }

    /// The analysis, where there is one.
    #[inline]
    pub fn analysis(&mut self) -> Option<&mut Analysis> {
        self.beside.analysis.as_deref_mut()
    }

    /// Counts a batch of frames, at most [`BATCH_MAX`] at a time, and gives `ended` the record of each flow that this ends.
    pub fn observe(&mut self, batch: &[(PacketMeta, FrameView<'_>)], mut ended: impl FnMut(FlowRecord<'_>)) {
        let mut notes = FlowNotes::default();
        for part in batch.chunks(BATCH_MAX) {
            self.observe_noting(part, 0, &mut notes, &mut ended);
        }
    }

    /// The same for a batch of at most [`BATCH_MAX`] frames, with notes of their flows. Frame N is passed over where bit N of `copies` is
    /// set: it is a copy of one that was counted.
    pub fn observe_noting(
        &mut self,
        batch: &[(PacketMeta, FrameView<'_>)],
        copies: u64,
        notes: &mut FlowNotes,
        mut ended: impl FnMut(FlowRecord<'_>),
    ) {
        debug_assert!(batch.len() <= BATCH_MAX);
        let ended = &mut ended;
        notes.beyond = 0;
        notes.wanted = notes.asked_for;
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        self.wholes.clear();
        for (frame, (meta, view)) in batch.iter().enumerate() {
            if copies & 1 << frame != 0 {
                continue;
            }
            self.counters.frames += 1;
            if view.bytes_missing() > 0 || view.malformed.is_some() || view.too_deep {
                self.count_odd(view);
            }
            match &view.five_tuple {
                Some(tuple) if view.fragment.is_none() => {
                    let (key, direction) = FlowKey::new(meta.network, tuple);
                    let probe = self.table.probe(&key);
                    keys.push(Keyed { key, direction, probe, frame: frame as u32, whole: NO_WHOLE, found: None });
                }
                Some(tuple) => keys.push(self.fragment(frame, meta, view, tuple)),
                None => {
                    self.counters.not_ip += 1;
                    if let Some(analysis) = &mut self.beside.analysis {
                        analysis.frame(meta, view);
                    }
                }
            }
        }
        // With a table larger than the cache each lookup waits for memory. Reading all of them before using any lets those waits overlap:
        // first the index, in so few instructions that the CPU has the whole batch under way at once, then the flows. The sums keep the
        // compiler from dropping the reads.
        let read = keys.iter().fold(0, |read, keyed| read ^ self.table.approach(&keyed.probe));
        std::hint::black_box(read);
        let read = keys.iter_mut().fold(0, |read, keyed| read ^ self.table.guess(&mut keyed.probe));
        std::hint::black_box(read);
        let mut wholes = std::mem::take(&mut self.wholes);
        for keyed in &keys {
            let frame @ (meta, view) = &batch[keyed.frame as usize];
            if let Some(whole) = wholes.get_mut(keyed.whole as usize) {
                self.observe_last(keyed, frame, whole, notes, ended);
            } else {
                self.observe_one(keyed, *meta, view, notes, ended);
            }
        }
        self.wholes = wholes;
        self.keys = keys;
        if let Some((meta, _)) = batch.last() {
            self.advance(meta.time_ns, ended);
        }
    }

    /// Counts a frame that is cut, or that something is wrong with.
    #[inline(never)]
    fn count_odd(&mut self, view: &FrameView<'_>) {
        self.counters.truncated += u64::from(view.bytes_missing() > 0);
        self.counters.malformed += u64::from(view.malformed.is_some());
        self.counters.too_deep += u64::from(view.too_deep);
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
        let Some(slot) = self.table.find(&keyed.probe, &keyed.key) else {
            let slot = self.begin(keyed, meta, view, ended);
            return self.count_first(slot, keyed, meta, view, notes);
        };
        let Some((flow, was_silent)) = self.table.heard(slot, meta.time_ns) else { return };
        // Whether it was over before this frame: its silence was too long though its timer has not fired yet, or the frame opens the next
        // connection.
        let over = match flow.fit(keyed.direction, meta.time_ns, view) {
            _ if was_silent => FlowEnd::Idle,
            Fit::Reopens => FlowEnd::Reused,
            Fit::Same => {
                if self.beside.count(flow, keyed, meta, view, notes) {
                    self.table.arm(slot);
                }
                return;
            }
        };
        self.begin_next((slot, over), keyed, meta, view, notes, ended);
    }

    /// Counts the frame that the flow in `slot` begins with.
    #[inline(never)]
    fn count_first(
        &mut self,
        slot: Slot,
        keyed: &Keyed,
        meta: PacketMeta,
        view: &FrameView<'_>,
        notes: &mut FlowNotes,
    ) {
        if let Some(flow) = self.table.get_mut(slot) {
            self.beside.count(flow, keyed, meta, view, notes);
        }
        self.table.arm(slot);
    }

    /// Ends the flow in `old`, and counts the frame for the one that it begins.
    #[cold]
    fn begin_next(
        &mut self,
        (old, end): (Slot, FlowEnd),
        keyed: &Keyed,
        meta: PacketMeta,
        view: &FrameView<'_>,
        notes: &mut FlowNotes,
        ended: &mut impl FnMut(FlowRecord<'_>),
    ) {
        let reused = end == FlowEnd::Reused;
        let opened = if reused { self.table.get_mut(old).and_then(Flow::give_opening) } else { None };
        self.end(old, end, ended);
        let slot = self.begin(keyed, meta, view, ended);
        if let (Some(opened), Some(flow)) = (&opened, self.table.get_mut(slot)) {
            flow.take_opening(opened);
        }
        self.count_first(slot, keyed, meta, view, notes);
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
            // Its own time may be over, and its timer late.
            let is_silent = meta.time_ns >= flow.last_ns.saturating_add(self.table.limits().idle_ns(&flow));
            self.counters.flows_evicted += u64::from(!is_silent);
            let end = if is_silent { FlowEnd::Idle } else { FlowEnd::Evicted };
            self.beside.tell_end(flow, end, ended);
        }
        self.counters.flows += 1;
        let mut flow = Flow::begin(keyed.key, keyed.direction, meta.stream, view);
        let Beside { analysis, apps, .. } = &mut self.beside;
        if let Some(analysis) = analysis {
            flow.app = Some(apps.insert(analysis.begin(&flow, meta.time_ns)));
        }
        self.table.insert(&keyed.probe, flow)
    }

    fn end(&mut self, slot: Slot, end: FlowEnd, ended: &mut impl FnMut(FlowRecord<'_>)) {
        if let Some(flow) = self.table.remove(slot) {
            self.beside.tell_end(flow, end, ended);
        }
    }

    /// From now on, and until told otherwise, flows are ended for their silence only until `bytes` of events wait to be taken away; there
    /// is no bound at first. The others follow in the next calls of [`Shard::advance`].
    #[inline]
    pub const fn set_room(&mut self, bytes: usize) {
        self.pace.set_room(bytes);
    }

    /// The time up to which [`Shard::advance`] has still to end flows, where there was no room for all of them.
    #[inline]
    pub const fn behind_ns(&self) -> Option<u64> {
        self.pace.behind_ns()
    }

    /// Moves packet time on to `now_ns` and ends the flows that were silent too long by then, as far as there is room for their events.
    pub fn advance(&mut self, now_ns: u64, ended: &mut impl FnMut(FlowRecord<'_>)) {
        if let Some(analysis) = &mut self.beside.analysis {
            analysis.fragments.expire(now_ns);
        }
        if !self.table.is_due(now_ns) && self.pace.behind_ns().is_none() {
            return;
        }
        while self.pace.may_end(self.beside.events_made(), now_ns) {
            let Some(slot) = self.table.due(now_ns) else { return self.pace.caught_up() };
            let limits = *self.table.limits();
            let Some(flow) = self.table.get_mut(slot) else { continue };
            if now_ns >= flow.last_ns.saturating_add(limits.idle_ns(flow)) {
                self.end(slot, FlowEnd::Idle, ended);
                continue;
            }
            let active_over =
                limits.active_ns > 0 && flow.frames() > 0 && now_ns >= flow.first_ns.saturating_add(limits.active_ns);
            if active_over {
                let record = FlowRecord { flow, end: FlowEnd::Active };
                let Beside { analysis, apps, .. } = &mut self.beside;
                if let Some(analysis) = analysis
                    && let Some(app) = flow.app.and_then(|slot| apps.get(slot))
                {
                    analysis.record(&record, app);
                }
                ended(record);
                flow.restart();
            }
            self.table.arm(slot);
        }
    }

    /// Ends every flow, in no order.
    pub fn finish(&mut self, mut ended: impl FnMut(FlowRecord<'_>)) {
        while self.finish_some(&mut ended) {}
    }

    /// Ends some of the flows; gives whether there are more.
    pub fn finish_some(&mut self, ended: &mut impl FnMut(FlowRecord<'_>)) -> bool {
        for _ in 0..ENDED_AT_ONCE {
            let Some((slot, flow)) = self.table.take_any(self.finished) else { return false };
            self.finished = slot.position();
            self.beside.tell_end(flow, FlowEnd::Shutdown, ended);
        }
        true
    }

    /// What was counted.
    pub const fn counters(&self) -> &ShardCounters {
        &self.counters
    }

    /// Flows by the directions that were seen, for each mirror stream that had any to judge.
    pub fn sides(&self) -> impl Iterator<Item = (StreamId, &SideCounts)> {
        self.beside.sides.streams()
    }

    /// The flows being followed.
    pub const fn table(&self) -> &FlowTable {
        &self.table
    }
}

impl Beside {
    /// Bytes of events that wait to be taken away.
    fn events_made(&self) -> usize {
        self.analysis.as_ref().map_or(0, |analysis| analysis.events.bytes())
    }

    /// Counts a frame of `flow`, and looks into it. Gives whether its state, and with it the idle timeout, changed.
    #[inline]
    fn count(
        &mut self,
        flow: &mut Flow,
        keyed: &Keyed,
        meta: PacketMeta,
        view: &FrameView<'_>,
        notes: &mut FlowNotes,
    ) -> bool {
        notes.note(flow, keyed.frame as usize, view.bytes.len());
        let changed = flow.count(keyed.direction, meta.time_ns, view);
        if let Some(judgement) = flow.judge() {
            self.sides.note(judgement, flow);
        }
        let certain = flow.is_certain();
        if let (Some(slot), Some(analysis)) = (flow.app, &mut self.analysis)
            && let Some(app) = self.apps.get_mut(slot)
        {
            let from = if keyed.direction == flow.originator { Side::Originator } else { Side::Responder };
            let arrival = Arrival { from, view, time_ns: meta.time_ns, certain, fragments: keyed.found };
            if let Some(told) = app.packet(&arrival, analysis) {
                flow.app_protocol = told.protocol;
                if told.turned {
                    flow.turn();
                }
            }
        }
        changed
    }

    /// Tells what there still is to tell of a flow, and then of the flow.
    fn tell_end(&mut self, mut flow: Flow, end: FlowEnd, ended: &mut impl FnMut(FlowRecord<'_>)) {
        self.sides.end(&mut flow, end);
        // Otherwise nothing came since its last record.
        let is_told = flow.frames() > 0;
        if let (Some(slot), Some(analysis)) = (flow.app, &mut self.analysis)
            && let Some(app) = self.apps.get_mut(slot)
        {
            app.end(analysis);
            flow.app_protocol = app.protocol();
            if is_told {
                analysis.record(&FlowRecord { flow: &flow, end }, app);
            }
            self.apps.clear(slot);
        }
        if is_told {
            ended(FlowRecord { flow: &flow, end });
        }
    }
}

#[cfg(test)]
mod tests;
