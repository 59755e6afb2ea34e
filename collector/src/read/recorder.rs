//! Capturing by whoever reads: where several workers read, the frames of a chunk are recorded together and in the order of the file, whoever
//! owns their flows.
//!
//! Records of the owners would have to be woven into each other again, one by one.

use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use vxtap_analyzers::{Ledger, PacketMeta};
use vxtap_wire::{FlowKey, FrameView};

use crate::capture::{CaptureLane, CaptureLayout, CutFrames};
use crate::pipeline::{Chosen, all_of, among};
use crate::settings::CaptureSettings;
use crate::streams::StreamRegistry;

/// One worker's captures.
pub(super) struct Recorder {
    lane: CaptureLane,
    chosen: Chosen,
    noted: NotedFlows,
    /// Flows of one batch that are not noted for the block.
    flows: Vec<FlowKey>,
}

impl Recorder {
    /// Whether readers can record what `settings` ask for: what is captured must not depend on what was seen of a flow, and a flow's frames
    /// must not have to be in one file.
    pub(super) const fn suits(settings: &CaptureSettings) -> bool {
        let selection = &settings.selection;
        let by_frame = selection.flow_bytes.is_none() && !selection.one_copy && !selection.asks_for_flows();
        by_frame && matches!(settings.layout, CaptureLayout::Merged)
    }

    pub(super) fn new(lane: CaptureLane, settings: &CaptureSettings, registry: &Arc<StreamRegistry>) -> Self {
        let chosen = Chosen::new(settings.selection.clone(), Arc::clone(registry));
        Self { lane, chosen, noted: NotedFlows::new(), flows: Vec::new() }
    }

    /// What is recorded now belongs to chunk `number`. To be ended before anything else is waited for: others wait for it.
    pub(super) fn begin(&mut self, number: u64) {
        self.lane.begin_turn(number);
    }

    /// All of the chunk is recorded.
    pub(super) fn end(&mut self) {
        self.lane.end_own_turn();
    }

    /// Records the frames of `batch` that are wanted, and counts in `ledger` those that are not.
    pub(super) fn record(&mut self, batch: &[(PacketMeta, FrameView<'_>)], ledger: &mut Ledger) {
        let bytes = self.chosen.record_bytes(batch);
        if bytes > self.lane.block_bytes() && batch.len() > 1 {
            let (first, second) = batch.split_at(batch.len() / 2);
            self.record(first, ledger);
            self.record(second, ledger);
            return;
        }
        let all = all_of(batch);
        let taken = if self.chosen.selection().takes_all() { all } else { self.chosen.matching(all, batch) };
        ledger.not_captured += u64::from((all & !taken).count_ones());
        let Some(block) = self.lane.begin(bytes) else {
            self.lane.refuse(among(taken, batch).map(|(meta, _)| meta.stream));
            return;
        };
        self.flows.clear();
        for (meta, view) in among(taken, batch) {
            if let Some(tuple) = &view.five_tuple {
                let (key, _) = FlowKey::new(meta.network, tuple);
                if self.noted.is_new(&key, block) {
                    self.flows.push(key);
                }
            }
        }
        self.chosen.record(taken, batch, &self.flows, &mut self.lane);
    }

    /// The frames that were cut so far.
    pub(super) const fn cut(&self) -> CutFrames {
        self.lane.cut()
    }
}

/// Flows that were noted last, each at the place that its hash gives it: one that another has taken the place of is noted again, which does no
/// harm.
struct NotedFlows {
    hash: RandomState,
    /// A flow, and the block that it was noted for; blocks are numbered from 1.
    places: Box<[Option<(FlowKey, u32)>]>,
}

impl NotedFlows {
    const PLACES: usize = 1024;

    fn new() -> Self {
        Self { hash: RandomState::default(), places: vec![None; Self::PLACES].into_boxed_slice() }
    }

    fn is_new(&mut self, key: &FlowKey, block: u32) -> bool {
        let place = &mut self.places[self.hash.hash_one(key) as usize % Self::PLACES];
        let is_new = *place != Some((*key, block));
        if is_new {
            *place = Some((*key, block));
        }
        is_new
    }
}
