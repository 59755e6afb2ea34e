//! What a shard does with fragments, and with the packets that they become.

use vxtap_wire::{FiveTuple, FlowKey, FrameView};

use super::{Keyed, NO_WHOLE, PacketMeta, Shard};
use crate::anomaly::Anomaly;
use crate::flow::FlowRecord;
use crate::flow_notes::FlowNotes;
use crate::whole::{Leaving, Shown, Siblings, WholePacket, Wholes};

/// A packet of a batch whose last fragment has come.
#[derive(Debug)]
pub(super) struct Whole {
    /// The packet, unless it is another shard's and that one finds it itself.
    bytes: Vec<u8>,
    tuple: FiveTuple,
    /// The shard that has its flow, where that is another one.
    other_owner: Option<u32>,
}

impl Shard {
    /// The same shard beside others, where there are any.
    #[must_use]
    pub fn with_siblings(self, siblings: Option<Siblings>) -> Self {
        Self { siblings, ..self }
    }

    /// Gives `hand_over` each packet that the last batches made whole and that is of another shard's flow, with that shard's number. One that it
    /// does not take is counted, and gone.
    pub fn hand_over_wholes(&mut self, mut hand_over: impl FnMut(u32, &WholePacket<'_>) -> bool) {
        for leaving in self.leaving.drain(..) {
            if !hand_over(leaving.owner, &leaving.packet())
                && let Some(analysis) = &mut self.beside.analysis
            {
                analysis.fragments.count_refused();
            }
        }
    }

    /// Counts a packet that another shard has put together, as a frame of its flow.
    pub fn take_whole(&mut self, packet: &WholePacket<'_>, notes: &FlowNotes, mut ended: impl FnMut(FlowRecord<'_>)) {
        let Some(tuple) = FrameView::parse_ip(packet.bytes).five_tuple else { return };
        let keyed = self.keyed(&packet.meta, &tuple, 0, NO_WHOLE, packet.shown.anomaly);
        // Its frame is in nobody's block here.
        let mut of_flow = FlowNotes {
            kept: notes.kept,
            flow_bytes_max: notes.flow_bytes_max,
            asked_for: u64::from(packet.shown.asked_for),
            ..FlowNotes::default()
        };
        self.observe_whole(&keyed, packet.meta, packet.wire_len, packet.bytes, &mut of_flow, &mut ended);
        self.advance(packet.meta.time_ns, &mut ended);
    }

    /// Looks at a fragment that another shard counts: where it makes a packet of one of this shard's flows whole, that is counted. `asked_for` says
    /// whether somebody has asked for the fragment. What becomes of fragments is in the counters of all shards that look at them.
    pub fn look_at_fragment(
        &mut self,
        meta: PacketMeta,
        view: &FrameView<'_>,
        asked_for: bool,
        notes: &FlowNotes,
        ended: impl FnMut(FlowRecord<'_>),
    ) {
        let Some(Whole { bytes, other_owner: None, .. }) = self.put_together(&meta, view) else { return };
        let shown = Shown { anomaly: self.fragment_anomaly(), asked_for };
        self.take_whole(&WholePacket { meta, wire_len: view.wire_len, shown, bytes: &bytes }, notes, ended);
    }

    /// Where a fragment belongs: to the flow of its packet, once that is whole; until then to one of its own.
    #[cold]
    pub(super) fn fragment(&mut self, frame: usize, meta: &PacketMeta, view: &FrameView<'_>, own: &FiveTuple) -> Keyed {
        let whole = self.put_together(meta, view);
        let found = self.fragment_anomaly();
        let Some(whole) = whole else { return self.keyed(meta, own, frame, NO_WHOLE, found) };
        let tuple = if whole.other_owner.is_some() { *own } else { whole.tuple };
        self.wholes.push(whole);
        self.keyed(meta, &tuple, frame, self.wholes.len() as u32 - 1, found)
    }

    /// Counts the packet that a fragment has made whole, or puts it where it waits for the way to its shard.
    #[cold]
    pub(super) fn observe_last(
        &mut self,
        keyed: &Keyed,
        (meta, view): &(PacketMeta, FrameView<'_>),
        whole: &mut Whole,
        notes: &mut FlowNotes,
        ended: &mut impl FnMut(FlowRecord<'_>),
    ) {
        let Some(owner) = whole.other_owner else {
            return self.observe_whole(keyed, *meta, view.wire_len, &whole.bytes, notes, ended);
        };
        let asked_for = notes.asked_for & 1 << keyed.frame != 0;
        // The frame is captured here, as those of the other fragments are: what holds for them holds for it.
        let own = self.table.find(&keyed.probe, &keyed.key).and_then(|slot| self.table.get_mut(slot));
        match own {
            Some(flow) => notes.note(flow, keyed.frame as usize, view.bytes.len()),
            None => notes.note_unfollowed(keyed.key),
        }
        if self.siblings.is_some_and(|siblings| siblings.wholes == Wholes::HandedOver) {
            let shown = Shown { anomaly: keyed.found, asked_for };
            let bytes = std::mem::take(&mut whole.bytes);
            self.leaving.push(Leaving { owner, meta: *meta, wire_len: view.wire_len, shown, bytes });
        }
    }

    /// Counts a whole packet as the frame that its last fragment came in, and looks into it as the packet that it is.
    #[cold]
    fn observe_whole(
        &mut self,
        keyed: &Keyed,
        meta: PacketMeta,
        wire_len: u32,
        packet: &[u8],
        notes: &mut FlowNotes,
        ended: &mut impl FnMut(FlowRecord<'_>),
    ) {
        let mut view = FrameView::parse_ip(packet);
        view.wire_len = wire_len;
        self.observe_one(keyed, meta, &view, notes, ended);
    }

    /// Gives a fragment to its packet, and the packet back when that is whole.
    fn put_together(&mut self, meta: &PacketMeta, view: &FrameView<'_>) -> Option<Whole> {
        let packet = self.beside.analysis.as_mut()?.fragments.add(meta.network, view, meta.time_ns)?;
        let tuple = FrameView::parse_ip(packet).five_tuple?;
        let other_owner = self.siblings.as_ref().and_then(|siblings| siblings.other_owner(&tuple));
        let is_found = self.siblings.is_some_and(|siblings| siblings.wholes == Wholes::Found);
        let bytes = if is_found && other_owner.is_some() { Vec::new() } else { packet.to_vec() };
        Some(Whole { bytes, tuple, other_owner })
    }

    fn fragment_anomaly(&self) -> Option<Anomaly> {
        self.beside.analysis.as_ref()?.fragments.found()
    }

    fn keyed(&self, meta: &PacketMeta, tuple: &FiveTuple, frame: usize, whole: u32, found: Option<Anomaly>) -> Keyed {
        let (key, direction) = FlowKey::new(meta.network, tuple);
        Keyed { key, direction, probe: self.table.probe(&key), frame: frame as u32, whole, found }
    }
}

#[cfg(test)]
mod tests;
