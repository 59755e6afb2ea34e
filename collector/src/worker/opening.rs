//! From a datagram to the frame in it.

use vxtap_analyzers::{DropReason, PacketMeta, StreamKey};
use vxtap_wire::Link;
use vxtap_wire::envelope::{self, Kind, Layers, Rules};
use vxtap_wire::geneve::Mark;
use vxtap_wire::vxlan::{self, Vni};

use crate::pipeline::{Entrant, Pipeline, StreamEntry};
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

/// The stream of the datagram before, which was of the same sender: most are of the same stream.
pub(super) type StreamBefore = Option<(Vni, StreamEntry)>;

/// A frame, and whether the datagram had reserved bits set.
type Opened<'a> = Option<(Entrant<'a>, bool)>;

impl Opening {
    /// Takes the envelope off; a datagram that has none, or is not let in, is counted and gone.
    #[inline]
    pub(super) fn open<'a>(
        self,
        pipeline: &mut Pipeline,
        kind: Kind,
        datagram: &Datagram<'a>,
        now_ns: u64,
        before: &mut StreamBefore,
    ) -> Opened<'a> {
        // VXLAN in one layer is nearly all there is.
        if kind != Kind::Vxlan || self.rules.layers != Layers::Known || datagram.truncated {
            return self.open_any(pipeline, kind, datagram, now_ns);
        }
        match vxlan::decapsulate(datagram.payload) {
            Ok((header, frame)) => {
                let time_ns = datagram.time_ns.unwrap_or(now_ns);
                let stream = match *before {
                    Some((vni, stream)) if vni == header.vni => stream,
                    _ => {
                        let stream = pipeline.admit_vxlan(datagram.source, header.vni, time_ns, frame.len())?;
                        *before = Some((header.vni, stream));
                        stream
                    }
                };
                let meta = PacketMeta { time_ns, stream: stream.id, network: stream.network };
                let entrant = Entrant { meta, link: Link::Ethernet, bytes: frame, wire_len: 0 };
                Some((entrant, header.reserved_bits_set))
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
        if opened.layer_in_fragments {
            pipeline.streams.count_layer_in_fragments(stream.id);
        }
        let mut wire_len = 0;
        if let Some(mark) = opened.mark {
            let Mark { captured_ns, original_len, .. } = mark;
            wire_len = original_len;
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
        Some((Entrant { meta, link: opened.link, bytes: opened.frame, wire_len }, opened.reserved_bits_set))
    }
}
