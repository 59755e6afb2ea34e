//! Which frames are captured, by what is seen in each, and their way into a lane.

use std::sync::Arc;

use vxtap_analyzers::{BATCH_MAX, PacketMeta, StreamId};
use vxtap_filter::Tunnel;
use vxtap_index::IndexBuilder;
use vxtap_wire::{FlowKey, FrameView};

use crate::capture::{CaptureLane, CapturedFrame, CutFrames, Selection};
use crate::streams::StreamRegistry;

/// The selection of a run, with what its filter asks of mirror streams.
#[derive(Debug)]
pub(crate) struct Chosen {
    selection: Selection,
    registry: Arc<StreamRegistry>,
    /// What filters may ask of a stream, by its number.
    tunnels: Vec<Option<Tunnel<'static>>>,
}

impl Chosen {
    /// By `selection`.
    pub(crate) const fn new(selection: Selection, registry: Arc<StreamRegistry>) -> Self {
        Self { selection, registry, tunnels: Vec::new() }
    }

    /// The selection.
    #[inline]
    pub(crate) const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The bytes in a block that the records of all frames of `batch` take.
    #[inline]
    pub(crate) fn record_bytes(&self, batch: &[(PacketMeta, FrameView<'_>)]) -> usize {
        batch.iter().map(|(_, view)| CaptureLane::record_len(self.selection.length(view))).sum()
    }

    /// Those of the frames `bits` that the filter matches, as bits.
    pub(crate) fn matching(&mut self, mut bits: u64, batch: &[(PacketMeta, FrameView<'_>)]) -> u64 {
        let Self { selection, tunnels, registry } = self;
        for (number, (meta, view)) in batch.iter().enumerate() {
            let bit = 1 << number;
            if bits & bit != 0 && !selection.takes(view, || tunnel(tunnels, registry, meta.stream)) {
                bits &= !bit;
            }
        }
        bits
    }

    /// Records the frames `taken` of `batch` in the block that `lane` has begun for them, and notes there that it has records of `flows`.
    pub(crate) fn record<'a>(
        &self,
        taken: u64,
        batch: &[(PacketMeta, FrameView<'a>)],
        flows: &[FlowKey],
        lane: &mut CaptureLane,
    ) {
        let selection = &self.selection;
        if selection.cuts() {
            let mut cut = CutFrames::default();
            for (_, view) in among(taken, batch) {
                cut.note(view.bytes.len() - selection.length(view));
            }
            lane.note_cut(&cut);
        }
        let record = |(PacketMeta { time_ns, stream, .. }, view): &(PacketMeta, FrameView<'a>)| CapturedFrame {
            time_ns: *time_ns,
            stream: *stream,
            bytes: &view.bytes[..selection.length(view)],
            wire_len: view.wire_len,
        };
        let is_other = |(_, view): &(PacketMeta, FrameView<'_>)| !IndexBuilder::is_plain(view);
        if taken == all_of(batch) {
            lane.note_flows(flows, || batch.iter().any(is_other));
            lane.record_all(batch.iter().map(record));
        } else {
            lane.note_flows(flows, || among(taken, batch).any(is_other));
            lane.record_all(among(taken, batch).map(record));
        }
    }
}

/// All frames of `batch`, which has no more than [`BATCH_MAX`], as bits.
#[inline]
pub(crate) fn all_of<T>(batch: &[T]) -> u64 {
    u64::MAX.checked_shr((BATCH_MAX - batch.len()) as u32).unwrap_or(0)
}

/// The frames of `batch` that `bits` names, the first one lowest.
#[inline]
pub(crate) fn among<T>(bits: u64, batch: &[T]) -> impl Iterator<Item = &T> {
    batch.iter().enumerate().filter(move |(number, _)| bits >> number & 1 != 0).map(|(_, frame)| frame)
}

/// What a filter may ask of the stream.
fn tunnel(known: &mut Vec<Option<Tunnel<'static>>>, registry: &StreamRegistry, stream: StreamId) -> Tunnel<'static> {
    let number = stream.0 as usize;
    if let Some(Some(tunnel)) = known.get(number) {
        return *tunnel;
    }
    let tunnel = registry.tunnel(stream);
    // The registry bounds the numbers; the one for all streams that are too many is beyond them.
    if !registry.is_other(stream) {
        known.resize(known.len().max(number + 1), None);
        known[number] = Some(tunnel);
    }
    tunnel
}
