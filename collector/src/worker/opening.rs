//! From a datagram to the frame in it.

use vxtap_analyzers::{DropReason, PacketMeta, StreamKey};
use vxtap_wire::envelope::{self, Kind, Layers, Rules};
use vxtap_wire::geneve::Mark;
use vxtap_wire::{FrameView, vxlan};

use crate::pipeline::Pipeline;
use crate::receive::Datagram;

/// A sender's time that is further from ours than this, in nanoseconds, is its clock's fault.
const CLOCKS_APART_NS: u64 = 1_000_000_000;

/// How datagrams are opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) rules: Rules,
    /// Whether frames are of the time that the sender gives.
    pub(crate) sender_times: bool,
}

/// A frame, and whether the datagram had reserved bits set.
type Opened<'a> = Option<(PacketMeta, FrameView<'a>, bool)>;

impl Opening {
    /// Takes the envelope off and looks into the frame; a datagram that has none, or is not let in, is counted and gone.
    #[inline]
    pub(super) fn open<'a>(
        self,
        pipeline: &mut Pipeline,
        kind: Kind,
        datagram: &Datagram<'a>,
        now_ns: u64,
    ) -> Opened<'a> {
        // VXLAN in one layer is nearly all there is.
        if kind != Kind::Vxlan || self.rules.layers != Layers::Known || datagram.truncated {
            return self.open_any(pipeline, kind, datagram, now_ns);
        }
        match vxlan::decapsulate(datagram.payload) {
            Ok((header, frame)) => {
                let time_ns = datagram.time_ns.unwrap_or(now_ns);
                let stream = pipeline.admit_vxlan(datagram.source, header.vni, time_ns, frame.len())?;
                let meta = PacketMeta { time_ns, stream: stream.id, network: stream.network };
                Some((meta, FrameView::parse(frame), header.reserved_bits_set))
            }
            Err(error) => {
                pipeline.ledger.drop_one(error.into());
                None
            }
        }
    }

    #[inline(never)]
    fn open_any<'a>(self, pipeline: &mut Pipeline, kind: Kind, datagram: &Datagram<'a>, now_ns: u64) -> Opened<'a> {
        if datagram.truncated {
            pipeline.ledger.drop_one(DropReason::DatagramTruncated);
            return None;
        }
        let opened = match envelope::open(kind, datagram.payload, datagram.source, self.rules) {
            Ok(opened) => opened,
            Err(error) => {
                pipeline.ledger.drop_one(error.into());
                return None;
            }
        };
        let mut time_ns = datagram.time_ns.unwrap_or(now_ns);
        let stream = pipeline.admit(StreamKey::of(kind, &opened), time_ns, opened.frame.len())?;
        let mut view = FrameView::parse_link(opened.link, opened.frame);
        if let Some(mark) = opened.mark {
            let Mark { captured_ns, original_len, .. } = mark;
            view.wire_len = view.wire_len.max(original_len);
            pipeline.streams.mark(stream.id, &mark);
            if self.sender_times {
                if captured_ns.abs_diff(time_ns) <= CLOCKS_APART_NS {
                    time_ns = captured_ns;
                } else {
                    pipeline.streams.count_clock_apart(stream.id);
                }
            }
        }
        let meta = PacketMeta { time_ns, stream: stream.id, network: stream.network };
        Some((meta, view, opened.reserved_bits_set))
    }
}
