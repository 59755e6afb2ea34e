//! What a worker does with frames, wherever they came from: analysis, capture, log, ledger.

use std::net::IpAddr;
use std::sync::Arc;

use vxtap_analyzers::dedup::{DedupSettings, Deduplicator, PairDuplicates};
use vxtap_analyzers::snapshot::AnalysisSnapshot;
use vxtap_analyzers::{
    Analysis, BATCH_MAX, FlowNotes, FlowTable, FlowTableLimits, Ledger, PacketMeta, Shard, ShardCounters,
    ShardSettings, Siblings, SideCounts, StreamId, StreamKey, WholePacket,
};
use vxtap_wire::vxlan::Vni;
use vxtap_wire::{FlowKey, FrameView, Link};

use crate::capture::{CaptureLane, CutFrames, Fate};
use crate::log::EventLane;
use crate::outputs::Lanes;
use crate::settings::{Dedup, FlowSettings, PipelineSettings};
use crate::streams::StreamRegistry;

mod chosen;
mod frame_batch;
mod stream_cache;
mod turned_away;
pub(crate) use chosen::{Chosen, all_of, among};
pub(crate) use frame_batch::{Entrant, FrameBatch};
pub(crate) use stream_cache::{StreamCache, StreamEntry};
pub(crate) use turned_away::{AwayCount, AwayRow, TurnedAwayReport};

/// Bytes of events in memory beyond which the end of a run hands them to the log.
const EVENTS_AT_ONCE: usize = 64 << 10;

/// The state of one worker behind the receiving.
pub(crate) struct Pipeline {
    /// What went where, as far as this worker knows.
    pub(crate) ledger: Ledger,
    /// Mirror streams seen by this worker.
    pub(crate) streams: StreamCache,
    shard: Shard,
    capture: Option<CaptureLane>,
    log: Option<EventLane>,
    notes: FlowNotes,
    chosen: Chosen,
    dedup: Deduplicator,
}

/// What a worker leaves when it ends.
#[derive(Debug)]
pub(crate) struct PipelineTotals {
    pub(crate) ledger: Ledger,
    pub(crate) shard: ShardCounters,
    /// Copies of packets by the streams that they came by.
    pub(crate) pairs: Vec<PairDuplicates>,
    /// Captured without their end, by choice.
    pub(crate) cut: CutFrames,
}

impl Pipeline {
    /// A worker's pipeline.
    pub(crate) fn new(settings: &PipelineSettings, registry: Arc<StreamRegistry>, lanes: Lanes) -> Self {
        let Lanes { capture, log } = lanes;
        let limits = limits(&settings.flows, settings.workers);
        let selection = settings.capture.as_ref().map(|capture| capture.selection.clone()).unwrap_or_default();
        let flow_bytes_max = selection.flow_bytes;
        let mut shard = Shard::new(&ShardSettings { limits, seed: random_seed() });
        if let Some(log) = &log {
            let streams = Arc::clone(&registry);
            let key = move |stream| streams.key(stream).unwrap_or(StreamKey::PLAIN);
            let names = Arc::clone(&registry);
            let analysis = Analysis::new(log.wanted(), key).with_names(move |stream| names.names(stream));
            shard = shard.with_analysis(analysis);
        }
        let Dedup { mode, window } = settings.dedup;
        let window_ns = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let dedup =
            Deduplicator::new(DedupSettings { mode, window_ns, seed: random_seed(), ..DedupSettings::default() });
        let kept = capture.is_some();
        Self {
            ledger: Ledger::default(),
            streams: StreamCache::new(Arc::clone(&registry), random_seed()),
            shard,
            capture,
            log,
            notes: FlowNotes { kept, keys: Vec::with_capacity(BATCH_MAX), flow_bytes_max, ..FlowNotes::default() },
            chosen: Chosen::new(selection, registry),
            dedup,
        }
    }

    /// The same pipeline beside those of other workers, where there are any.
    #[must_use]
    pub(crate) fn with_siblings(self, siblings: Option<Siblings>) -> Self {
        Self { shard: self.shard.with_siblings(siblings), ..self }
    }

    /// The stream of a frame of `bytes` bytes that came at `time_ns`; `None` where it is not let in: it is counted and dropped.
    #[inline]
    pub(crate) fn admit(&mut self, key: StreamKey, time_ns: u64, bytes: usize) -> Option<StreamEntry> {
        match self.streams.entry(key) {
            Ok(entry) => Some(entry),
            Err(reason) => {
                self.ledger.drop_one(reason);
                self.streams.turn_away(&key, time_ns, bytes);
                None
            }
        }
    }

    /// The same of VXLAN in one layer.
    #[inline]
    pub(crate) fn admit_vxlan(&mut self, source: IpAddr, vni: Vni, time_ns: u64, bytes: usize) -> Option<StreamEntry> {
        if let IpAddr::V4(source) = source
            && let Some(entry) = self.streams.recent_vxlan(source, vni)
        {
            return Some(entry);
        }
        match self.streams.vxlan(source, vni) {
            Ok(entry) => Some(entry),
            // Why is found again on the way.
            Err(_) => self.admit(StreamKey::vxlan(source, vni), time_ns, bytes),
        }
    }

    /// The same of frames that came in no tunnel.
    #[inline]
    pub(crate) fn admit_plain(&mut self, link: Link, time_ns: u64, bytes: usize) -> Option<StreamEntry> {
        match self.streams.plain(link) {
            Ok(entry) => Some(entry),
            Err(_) => self.admit(StreamKey { link, ..StreamKey::PLAIN }, time_ns, bytes),
        }
    }

    /// Analyses and captures `batch`; its frames count as analysed.
    pub(crate) fn analyse(&mut self, batch: &FrameBatch<'_>) {
        self.ledger.analysed += batch.len() as u64;
        self.analyse_part(batch);
    }

    /// Analyses frames that another worker has counted and captured.
    pub(crate) fn observe(&mut self, batch: &FrameBatch<'_>) {
        self.look_into(batch);
    }

    /// Gives `hand_over` the packets that were put together here and are of another worker's flow, with its number. One that it does not take
    /// is counted, and gone.
    pub(crate) fn hand_over_wholes(&mut self, hand_over: impl FnMut(u32, &WholePacket<'_>) -> bool) {
        self.shard.hand_over_wholes(hand_over);
    }

    /// Analyses a packet that another worker has put together: its frames were counted there.
    pub(crate) fn take_whole(&mut self, packet: &WholePacket<'_>) {
        self.shard.take_whole(packet, &self.notes, |_| ());
        self.log_events();
    }

    /// Looks at a fragment that another worker counts and captures, for the packets of flows of this one that it makes whole.
    pub(crate) fn look_at_fragment(&mut self, entrant: &Entrant<'_>) {
        let mut fragment = FrameBatch::new();
        fragment.look(entrant);
        let [(meta, view)] = &fragment[..] else { return };
        if self.dedup.is_copy_elsewhere(meta, view) {
            return;
        }
        let asks = self.capture.is_some() && self.chosen.selection().asks_for_flows();
        let asked_for = asks && self.chosen.matching(1, &fragment) != 0;
        self.shard.look_at_fragment(*meta, view, asked_for, &self.notes, |_| ());
        self.log_events();
    }

    /// Finds the copies among the frames, as bits, and looks into the others.
    #[inline]
    fn look_into(&mut self, batch: &[(PacketMeta, FrameView<'_>)]) -> u64 {
        let duplicates = self.dedup.duplicates(batch);
        self.ledger.duplicates += u64::from(duplicates.count_ones());
        self.make_room();
        self.shard.observe_noting(batch, duplicates, &mut self.notes, |_| ());
        self.log_events();
        duplicates
    }

    fn analyse_part(&mut self, batch: &[(PacketMeta, FrameView<'_>)]) {
        let frames = batch.len() as u64;
        let fate = self.capture.as_ref().map_or(Fate::Unwanted, CaptureLane::fate);
        let mut block = None;
        if let Some(lane) = self.capture.as_mut().filter(|_| fate != Fate::Unwanted) {
            // All of them into one block, whose number the flows are noted by.
            let bytes = self.chosen.record_bytes(batch);
            if bytes > lane.block_bytes() && batch.len() > 1 {
                let (first, second) = batch.split_at(batch.len() / 2);
                self.analyse_part(first);
                self.analyse_part(second);
                return;
            }
            block = lane.begin(bytes);
        }
        // The flows are for an index, which a follower does not have.
        self.notes.stamp = block.filter(|_| fate == Fate::Captured).unwrap_or(0);
        let asks = fate != Fate::Unwanted && self.chosen.selection().asks_for_flows();
        if asks {
            self.notes.asked_for = self.chosen.matching(all_of(batch), batch);
        }
        let duplicates = self.look_into(batch);
        let Some(lane) = self.capture.as_mut().filter(|_| fate != Fate::Unwanted) else {
            self.ledger.not_captured += frames;
            return;
        };
        if fate == Fate::Followed {
            self.ledger.not_captured += frames;
        }
        if block.is_none() {
            lane.refuse(batch.iter().map(|(meta, _)| meta.stream));
            return;
        }
        let taken = self.taken(batch, duplicates, asks);
        if fate == Fate::Captured {
            self.ledger.not_captured += frames - u64::from(taken.count_ones());
        }
        for (meta, view) in among(duplicates & taken, batch) {
            // Its twin may be in another block.
            self.notes.keys.extend(view.five_tuple.map(|tuple| FlowKey::new(meta.network, &tuple).0));
        }
        let Self { capture: Some(lane), chosen, notes, .. } = self else { return };
        chosen.record(taken, batch, &notes.keys, lane);
        notes.keys.clear();
    }

    /// The frames that are captured, as bits. `asks` for the flows of those that the filter matches.
    fn taken(&mut self, batch: &[(PacketMeta, FrameView<'_>)], duplicates: u64, asks: bool) -> u64 {
        let all = all_of(batch);
        let selection = self.chosen.selection();
        if selection.takes_all() {
            return all;
        }
        let mut unwanted = self.notes.beyond;
        if selection.one_copy {
            unwanted |= duplicates;
        }
        let left = all & !unwanted;
        if asks { left & self.notes.wanted } else { self.chosen.matching(left, batch) }
    }

    /// Ends a turn of several workers over one input.
    pub(crate) fn end_turn(&mut self, turn: u64) {
        if let Some(lane) = &mut self.capture {
            lane.end_turn(turn);
        }
    }

    /// The worker has woken up, and what it gives from now on is not before `now_ns`.
    pub(crate) fn rise(&mut self, now_ns: u64) {
        if let Some(lane) = &mut self.capture {
            lane.rise(now_ns);
        }
    }

    /// The worker goes to sleep.
    pub(crate) fn rest(&mut self) {
        if let Some(lane) = &mut self.capture {
            lane.rest();
        }
    }

    /// Lets packet time pass though nothing came.
    pub(crate) fn advance(&mut self, now_ns: u64) {
        self.make_room();
        self.shard.advance(now_ns, &mut |_| ());
        self.log_events();
    }

    /// Whether flows whose time is over wait for the log to have room for what is told of them: [`Pipeline::advance`] goes on with it.
    pub(crate) fn is_behind(&self) -> bool {
        self.shard.behind_ns().is_some()
    }

    /// Has no more flows end for their silence than the log has room for.
    #[inline]
    fn make_room(&mut self) {
        if let Some(log) = &mut self.log {
            self.shard.set_room(log.room());
        }
    }

    /// Hands the events made so far to the log.
    #[inline]
    fn log_events(&mut self) {
        if let (Some(log), Some(analysis)) = (&mut self.log, self.shard.analysis()) {
            analysis.events().take(|lines, count| log.lines(lines, count));
        }
    }

    /// Hands over to the writers what has waited long enough at `now_ns` of the wall clock.
    pub(crate) fn flush_if_due(&mut self, now_ns: u64) {
        if let Some(lane) = &mut self.capture {
            lane.flush_if_due(now_ns);
        }
        if let Some(lane) = &mut self.log {
            lane.flush_if_due(now_ns);
        }
    }

    /// When [`Pipeline::flush_if_due`] is to be called at the latest.
    pub(crate) fn next_flush_ns(&self) -> Option<u64> {
        let capture = self.capture.as_ref().and_then(CaptureLane::next_flush_ns);
        let log = self.log.as_ref().and_then(EventLane::next_flush_ns);
        capture.into_iter().chain(log).min()
    }

    /// What the shard counted.
    pub(crate) fn shard_counters(&self) -> &ShardCounters {
        self.shard.counters()
    }

    /// What analysis and the search for copies have counted.
    pub(crate) fn analysis_snapshot(&mut self) -> AnalysisSnapshot {
        let duplicates_forgotten = self.dedup.forgotten();
        let analysis = self.shard.analysis().map(|analysis| analysis.snapshot()).unwrap_or_default();
        AnalysisSnapshot { duplicates_forgotten, ..analysis }
    }

    /// Flows by the directions that were seen, for each mirror stream.
    pub(crate) fn sides(&self) -> impl Iterator<Item = (StreamId, SideCounts)> + '_ {
        self.shard.sides().map(|(stream, counts)| (stream, *counts))
    }

    /// Copies of packets by the streams that they came by.
    pub(crate) fn duplicate_pairs(&self) -> &[PairDuplicates] {
        self.dedup.pairs()
    }

    /// The flows being followed.
    pub(crate) fn flows(&self) -> &FlowTable {
        self.shard.table()
    }

    /// Ends every flow, and closes the lanes to the writers.
    pub(crate) fn finish(mut self) -> PipelineTotals {
        // Nothing is received any more: the end may wait for the log, which a large table has more events for than a lane has room.
        if let Some(log) = &mut self.log {
            log.wait_when_full();
        }
        // In parts, so that the events of a large table are not in memory all at once. First those that are over and were put off.
        while let Some(behind_ns) = self.shard.behind_ns() {
            self.shard.set_room(EVENTS_AT_ONCE);
            self.shard.advance(behind_ns, &mut |_| ());
            self.log_events();
        }
        while self.shard.finish_some(&mut |_| ()) {
            self.log_events();
        }
        self.log_events();
        self.streams.tell_losses();
        self.ledger.flows = self.shard.counters().flows;
        let pairs = self.dedup.pairs().to_vec();
        let cut = self.capture.as_ref().map(CaptureLane::cut).unwrap_or_default();
        PipelineTotals { ledger: self.ledger, shard: *self.shard.counters(), pairs, cut }
    }
}

/// Table limits of one of `workers` workers. Each gets its share of the bound and a quarter more, since flows do not
/// spread evenly.
fn limits(flows: &FlowSettings, workers: u32) -> FlowTableLimits {
    let share = flows.max.div_ceil(u64::from(workers));
    let share = if workers == 1 { share } else { share + share / 4 };
    let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    FlowTableLimits {
        flows_max: u32::try_from(share).unwrap_or(u32::MAX - 2).max(1),
        tcp_new_ns: nanos(flows.idle.tcp_new),
        tcp_established_ns: nanos(flows.idle.tcp_established),
        tcp_closed_ns: nanos(flows.idle.tcp_closed),
        other_new_ns: nanos(flows.idle.other_new),
        other_established_ns: nanos(flows.idle.other_established),
        active_ns: nanos(flows.active),
    }
}

/// A seed that nobody outside can guess.
pub(crate) fn random_seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests;
