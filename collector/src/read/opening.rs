//! From a record of a capture file to the inner frame in it, and to the worker that owns it.

use vxtap_analyzers::{DropReason, PacketMeta, StreamKey};
use vxtap_capfile::{Chunk, LinkType, Record};
use vxtap_wire::envelope::{Kind, OuterDatagram, is_fragment_of_datagram, open, outer_datagram};
use vxtap_wire::geneve::Mark;
use vxtap_wire::{FrameView, Link};

use super::exchange::{SharedFrame, Shares};
use crate::pipeline::{FrameBatch, Pipeline};
use crate::settings::{ReadEncapsulation, ReadSettings};
use crate::worker::Steering;

/// How records are opened.
pub(super) struct Opening<'a> {
    pub(super) settings: &'a ReadSettings,
    pub(super) steering: Steering,
}

/// Where in a record the inner frame is, and what stands around it.
struct Opened {
    stream: StreamKey,
    start: usize,
    end: usize,
    reserved_bits: bool,
    mark: Option<Mark>,
}

impl Opening<'_> {
    /// Analyses every frame of `chunk`, for a worker that is alone. Records without a frame, or of a stream that is
    /// not let in, count as received and dropped.
    pub(super) fn analyse(&self, chunk: &Chunk, pipeline: &mut Pipeline) {
        let mut batch = FrameBatch::new();
        for record in chunk.records() {
            pipeline.ledger.received_bytes += record.data.len() as u64;
            pipeline.ledger.received += 1;
            let opened = match self.find(&record) {
                Ok(opened) => opened,
                Err(reason) => {
                    pipeline.ledger.drop_one(reason);
                    continue;
                }
            };
            let Some((meta, wire_len)) = admitted(&opened, &record, pipeline) else { continue };
            let mut view = FrameView::parse_link(opened.stream.link, &record.data[opened.start..opened.end]);
            view.wire_len = view.wire_len.max(wire_len);
            batch.push((meta, view));
            if batch.is_full() {
                pipeline.analyse(&batch);
                batch.clear();
            }
        }
        pipeline.analyse(&batch);
    }

    /// Puts every frame of `chunk` into its owner's share. Records without a frame count as received and dropped.
    pub(super) fn open(&self, chunk: &Chunk, pipeline: &mut Pipeline, shares: &mut Shares) {
        for (number, record) in chunk.records().enumerate() {
            pipeline.ledger.received_bytes += record.data.len() as u64;
            match self.find(&record) {
                Ok(opened) => {
                    let Some((meta, wire_len)) = admitted(&opened, &record, pipeline) else {
                        pipeline.ledger.received += 1;
                        continue;
                    };
                    let view = FrameView::parse_link(opened.stream.link, &record.data[opened.start..opened.end]);
                    let owner = self.steering.owner(&view);
                    let frame = SharedFrame {
                        meta,
                        record: number as u32,
                        start: opened.start as u32,
                        end: opened.end as u32,
                        wire_len,
                        view: view.detached(),
                    };
                    shares.push(owner, frame);
                }
                Err(reason) => {
                    pipeline.ledger.received += 1;
                    pipeline.ledger.drop_one(reason);
                }
            }
        }
    }

    fn find(&self, record: &Record<'_>) -> Result<Opened, DropReason> {
        let link = match record.link_type {
            LinkType::ETHERNET => Link::Ethernet,
            ip if ip.is_ip() => Link::Ip,
            _ => return Err(DropReason::LinkType),
        };
        let tunnel = match self.settings.encapsulation {
            ReadEncapsulation::None => None,
            _ => outer_datagram(link, record.data).and_then(|datagram| Some((datagram, self.kind(&datagram)?))),
        };
        let Some((datagram, kind)) = tunnel else {
            if matches!(self.settings.encapsulation, ReadEncapsulation::Vxlan | ReadEncapsulation::Geneve) {
                let fragment = is_fragment_of_datagram(link, record.data);
                return Err(if fragment { DropReason::OuterFragment } else { DropReason::NotEncapsulated });
            }
            let stream = StreamKey { link, ..StreamKey::PLAIN };
            return Ok(Opened { stream, start: 0, end: record.data.len(), reserved_bits: false, mark: None });
        };
        let opened = open(kind, datagram.payload, datagram.source, self.settings.pipeline.envelope)?;
        let start = datagram.payload_offset + opened.offset;
        Ok(Opened {
            stream: StreamKey::of(kind, &opened),
            start,
            end: start + opened.frame.len(),
            reserved_bits: opened.reserved_bits_set,
            mark: opened.mark,
        })
    }

    /// What is behind the UDP header, where it is a tunnel that is asked for.
    fn kind(&self, datagram: &OuterDatagram<'_>) -> Option<Kind> {
        let (_, kind) = self.settings.ports.iter().find(|(port, _)| *port == datagram.destination_port)?;
        let wanted = match self.settings.encapsulation {
            ReadEncapsulation::Auto => true,
            ReadEncapsulation::Vxlan => *kind != Kind::Geneve,
            ReadEncapsulation::Geneve => *kind == Kind::Geneve,
            ReadEncapsulation::None => false,
        };
        wanted.then_some(*kind)
    }
}

/// Counts the frame for its mirror stream; gives what is known of it, and its length when it was sent as far as the file tells: 0 for
/// unknown. `None` where the stream is not let in: the frame is dropped.
#[inline]
fn admitted(opened: &Opened, record: &Record<'_>, pipeline: &mut Pipeline) -> Option<(PacketMeta, u32)> {
    let Opened { stream, start, end, reserved_bits, mark } = *opened;
    let entry = pipeline.admit(stream, record.time_ns, end - start)?;
    // What the capturing program cut off is missing as well, but padding at the end of a whole frame is not part of it.
    let cut = record.wire_len as usize > record.data.len();
    let mut wire_len = if cut { record.wire_len.saturating_sub(start as u32) } else { 0 };
    if let Some(mark) = mark {
        wire_len = wire_len.max(mark.original_len);
        pipeline.streams.mark(entry.id, &mark);
    }
    pipeline.streams.count(entry.id, record.time_ns, end - start, cut, reserved_bits);
    if cut {
        pipeline.streams.note_cut(entry.id, wire_len, end - start);
    }
    Some((PacketMeta { time_ns: record.time_ns, stream: entry.id, network: entry.network }, wire_len))
}
