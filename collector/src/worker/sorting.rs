//! Frames and packets to where they belong: into this worker's batch, or to the worker that owns their flow.

use vxtap_analyzers::DropReason;
use vxtap_wire::FrameView;

use super::Steering;
use crate::hand_over::{Item, Outbox, Parcel};
use crate::pipeline::{Entrant, FrameBatch, Pipeline};

/// Where a worker's frames go.
pub(super) struct Sorting<'a> {
    number: u32,
    pub(super) pipeline: &'a mut Pipeline,
    outbox: &'a mut Outbox,
    steering: Steering,
    /// Whether there are fragments among the frames that are to be analysed.
    fragments: bool,
}

impl<'w> Sorting<'w> {
    /// Of worker `number`.
    #[inline]
    pub(super) const fn new(
        number: u32,
        pipeline: &'w mut Pipeline,
        outbox: &'w mut Outbox,
        steering: Steering,
    ) -> Self {
        Self { number, pipeline, outbox, steering, fragments: false }
    }

    /// Looks into a frame, counts it for its mirror stream, and takes it into `frames` (which are analysed when they are full) or hands it over to the worker that
    /// owns its flow.
    #[inline]
    pub(super) fn sort<'a>(&mut self, entrant: &Entrant<'a>, reserved_bits: bool, frames: &mut FrameBatch<'a>) {
        let pipeline = &mut *self.pipeline;
        let meta = entrant.meta;
        let view = frames.look(entrant);
        let truncated = view.bytes_missing() > 0;
        pipeline.streams.count(meta.stream, meta.time_ns, view.bytes.len(), truncated, reserved_bits);
        if truncated {
            pipeline.streams.note_cut(meta.stream, view.wire_len, view.bytes.len());
        }
        if self.steering.workers > 1
            && let Some(owner) = self.other_owner(view)
        {
            let wire_len = view.wire_len;
            frames.take_back();
            self.pipeline.ledger.misdelivered += 1;
            if self.fragments {
                // What they make whole may be of the same flow, and came before.
                self.analyse(frames);
                frames.clear();
            }
            if !self.outbox.push(owner, &Item::Frame(Entrant { wire_len, ..*entrant })) {
                self.pipeline.ledger.drop_one(DropReason::HandOverFull);
            }
        } else if frames.is_full() {
            self.analyse(frames);
            frames.clear();
        }
    }

    /// Analyses `frames`, and hands over the packets of others' flows that they make whole.
    #[inline]
    pub(super) fn analyse(&mut self, frames: &FrameBatch<'_>) {
        self.pipeline.analyse(frames);
        if std::mem::take(&mut self.fragments) {
            hand_over_wholes(self.pipeline, self.outbox);
        }
    }

    /// The worker that owns the flow of `view`, where that is another one.
    #[inline]
    fn other_owner(&mut self, view: &FrameView<'_>) -> Option<u32> {
        let owner = self.steering.owner(view);
        if owner != self.number && !self.steering.broken {
            return Some(owner);
        }
        self.fragments |= view.fragment.is_some();
        None
    }
}

/// Takes what another worker handed over.
pub(super) fn unpack(parcel: &Parcel, pipeline: &mut Pipeline, outbox: &mut Outbox) {
    let mut frames = FrameBatch::new();
    for item in parcel.items() {
        match item {
            Item::Frame(frame) => {
                frames.look(&frame);
                if frames.is_full() {
                    take_over(&mut frames, pipeline, outbox);
                }
            }
            Item::Whole(packet) => {
                take_over(&mut frames, pipeline, outbox);
                pipeline.take_whole(&packet);
            }
        }
    }
    take_over(&mut frames, pipeline, outbox);
}

/// Analyses frames that another worker has received.
fn take_over(frames: &mut FrameBatch<'_>, pipeline: &mut Pipeline, outbox: &mut Outbox) {
    if !frames.is_empty() {
        pipeline.ledger.taken_over += frames.len() as u64;
        pipeline.analyse(frames);
        // There may be fragments among them.
        hand_over_wholes(pipeline, outbox);
        frames.clear();
    }
}

fn hand_over_wholes(pipeline: &mut Pipeline, outbox: &mut Outbox) {
    pipeline.hand_over_wholes(|owner, packet| outbox.push(owner, &Item::Whole(*packet)));
}
