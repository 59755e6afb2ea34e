//! From a record of a capture file to the inner frame in it, and to the worker that owns it.

use vxtap_analyzers::{DropReason, PacketMeta, StreamKey};
use vxtap_capfile::{Chunk, LinkType, Record};
use vxtap_wire::Link;
use vxtap_wire::envelope::{Kind, Layers, OuterDatagram, PlainVxlan, is_fragment_of_datagram, open, outer_datagram};
use vxtap_wire::geneve::Mark;
use vxtap_wire::vxlan;

use super::exchange::{SharedFrame, Shares};
use super::origins::KnownOrigins;
use super::recorder::Recorder;
use crate::pipeline::{Entrant, FrameBatch, Pipeline, StreamEntry};
use crate::settings::{ReadEncapsulation, ReadSettings};
use crate::worker::Steering;

/// How records are opened.
pub(super) struct Opening<'a> {
    pub(super) steering: Steering,
    settings: &'a ReadSettings,
    /// Whether VXLAN is taken off, and only the outermost layer of it.
    plain_vxlan: bool,
    /// Whether fragments are put together.
    shows_fragments: bool,
    /// Streams whose envelope a collector has taken off before it wrote the file.
    origins: KnownOrigins,
}

/// Where in a record the inner frame is, and what its envelope says of it.
struct Place {
    start: usize,
    end: usize,
    reserved_bits: bool,
    mark: Option<Mark>,
}

/// The frame in a record that is let in, and where in the record it is.
struct Taken<'a> {
    entrant: Entrant<'a>,
    start: usize,
    end: usize,
}

/// Where frames that are let in go.
trait Enter<'a> {
    /// The next frame. To be compiled in where it is called: see [`Opening::take`].
    fn enter(&mut self, taken: Taken<'a>, pipeline: &mut Pipeline);
}

/// Into the analysis of a worker that is alone.
struct Analysing<'a> {
    batch: FrameBatch<'a>,
}

/// Into the captures of whoever read them, and to their owners.
struct Recording<'r, 'a> {
    opening: &'r Opening<'r>,
    recorder: &'r mut Recorder,
    batch: FrameBatch<'a>,
    shares: &'r mut Shares,
    /// Where the record begins in its chunk.
    at: usize,
}

/// To their owners.
struct Sharing<'r> {
    opening: &'r Opening<'r>,
    shares: &'r mut Shares,
    /// Where the record begins in its chunk.
    at: usize,
}

impl<'a> Enter<'a> for Analysing<'a> {
    #[expect(clippy::inline_always, reason = "see Opening::take")]
    #[inline(always)]
    fn enter(&mut self, Taken { entrant, .. }: Taken<'a>, pipeline: &mut Pipeline) {
        self.batch.look(&entrant);
        if self.batch.is_full() {
            pipeline.analyse(&self.batch);
            self.batch.clear();
        }
    }
}

impl<'a> Enter<'a> for Recording<'_, 'a> {
    #[expect(clippy::inline_always, reason = "see Opening::take")]
    #[inline(always)]
    fn enter(&mut self, Taken { entrant, start, end }: Taken<'a>, pipeline: &mut Pipeline) {
        let Self { opening, recorder, batch, shares, at } = self;
        pipeline.ledger.analysed += 1;
        let view = batch.look(&entrant);
        let (owner, frame) = (opening.steering.owner(view), SharedFrame::new(&entrant, *at + start..*at + end));
        shares.push(owner, frame);
        if opening.shows_fragments && view.fragment.is_some() {
            shares.show_others(owner, frame);
        }
        if batch.is_full() {
            recorder.record(batch, &mut pipeline.ledger);
            batch.clear();
        }
    }
}

impl<'a> Enter<'a> for Sharing<'_> {
    #[expect(clippy::inline_always, reason = "see Opening::take")]
    #[inline(always)]
    fn enter(&mut self, Taken { entrant, start, end }: Taken<'a>, _: &mut Pipeline) {
        let Self { opening, shares, at } = self;
        let (owner, is_fragment) = opening.steering.owner_unseen(entrant.link, entrant.bytes);
        let frame = SharedFrame::new(&entrant, *at + start..*at + end);
        shares.push(owner, frame);
        if opening.shows_fragments && is_fragment {
            shares.show_others(owner, frame);
        }
    }
}

/// The next frame, of another shape than the usual.
#[inline(never)]
fn enter_any<'a>(entry: &mut impl Enter<'a>, taken: Taken<'a>, pipeline: &mut Pipeline) {
    entry.enter(taken, pipeline);
}

impl<'s> Opening<'s> {
    /// As `settings` say.
    pub(super) fn new(settings: &'s ReadSettings, steering: Steering, origins: KnownOrigins) -> Self {
        let wanted = matches!(settings.encapsulation, ReadEncapsulation::Auto | ReadEncapsulation::Vxlan);
        let plain_vxlan = wanted && settings.pipeline.envelope.layers == Layers::Known;
        Self { steering, settings, plain_vxlan, shows_fragments: settings.pipeline.log.is_some(), origins }
    }

    /// Analyses every frame of `chunk`, for a worker that is alone. Records without a frame, or of a stream that is
    /// not let in, count as received and dropped.
    pub(super) fn analyse(&self, chunk: &Chunk, pipeline: &mut Pipeline) {
        let mut analysing = Analysing { batch: FrameBatch::new() };
        for record in chunk.records() {
            pipeline.ledger.received_bytes += record.data.len() as u64;
            pipeline.ledger.received += 1;
            self.take(&record, pipeline, &mut analysing);
        }
        pipeline.analyse(&analysing.batch);
    }

    /// Records every frame of `chunk`, counts it as received and analysed, and puts it into its owner's share. Records without a frame, or of a
    /// stream that is not let in, count as received and dropped.
    pub(super) fn record(&self, chunk: &Chunk, pipeline: &mut Pipeline, recorder: &mut Recorder, shares: &mut Shares) {
        let mut recording = Recording { opening: self, recorder, batch: FrameBatch::new(), shares, at: 0 };
        for (at, record) in chunk.placed_records() {
            pipeline.ledger.received_bytes += record.data.len() as u64;
            pipeline.ledger.received += 1;
            recording.at = at;
            self.take(&record, pipeline, &mut recording);
        }
        recording.recorder.record(&recording.batch, &mut pipeline.ledger);
    }

    /// Puts every frame of `chunk` into its owner's share. Records without a frame, or of a stream that is not let in,
    /// count as received and dropped.
    pub(super) fn open(&self, chunk: &Chunk, pipeline: &mut Pipeline, shares: &mut Shares) {
        let mut sharing = Sharing { opening: self, shares, at: 0 };
        for (at, record) in chunk.placed_records() {
            pipeline.ledger.received_bytes += record.data.len() as u64;
            sharing.at = at;
            let is_taken = self.take(&record, pipeline, &mut sharing);
            pipeline.ledger.received += u64::from(!is_taken);
        }
    }

    /// Gives `entry` the frame in `record`, and tells whether there is one that is let in: one that is not is counted and dropped.
    ///
    /// Given rather than returned, and to a function that is compiled in here, so that the frame of the usual shape stays in registers: otherwise
    /// it would be written to memory and read back from there in other pieces than it was written in. The CPU waits then until all that was
    /// written before is in its cache, lists for other workers among it, which are in the other CPU's.
    #[expect(clippy::inline_always, reason = "what is given would go through memory, which takes longer than the rest")]
    #[inline(always)]
    fn take<'a>(&self, record: &Record<'a>, pipeline: &mut Pipeline, entry: &mut impl Enter<'a>) -> bool {
        // Nearly all of them are so, of a stream that is known.
        if self.plain_vxlan
            && record.origin == 0
            && record.link_type == LinkType::ETHERNET
            && let Some(PlainVxlan { source, destination_port, header, start, end }) = PlainVxlan::find(record.data)
            && self.kind(destination_port) == Some(Kind::Vxlan)
            && let Some(stream) = pipeline.streams.recent_vxlan(source, header.vni)
        {
            let place = Place { start, end, reserved_bits: header.reserved_bits_set, mark: None };
            entry.enter(taken(record, stream, Link::Ethernet, &place, pipeline), pipeline);
            return true;
        }
        let any = self.take_any(record, pipeline);
        let is_taken = any.is_some();
        if let Some(taken) = any {
            enter_any(entry, taken, pipeline);
        }
        is_taken
    }

    #[inline(never)]
    fn take_any<'a>(&self, record: &Record<'a>, pipeline: &mut Pipeline) -> Option<Taken<'a>> {
        let Some(link) = Link::of_type(record.link_type.0) else { return dropped(DropReason::LinkType, pipeline) };
        // What a collector has taken off is not in the record. A tunnel in it is the mirrored host's own, as it was to that collector.
        if self.settings.encapsulation == ReadEncapsulation::Auto
            && let Some(key) = self.origins.stream(record.origin)
        {
            let place = Place { start: 0, end: record.data.len(), reserved_bits: false, mark: None };
            let entry = pipeline.admit(key, record.time_ns, place.end)?;
            return Some(taken(record, entry, link, &place, pipeline));
        }
        let tunnel = match self.settings.encapsulation {
            ReadEncapsulation::None => None,
            _ => outer_datagram(link, record.data)
                .and_then(|datagram| Some((self.kind(datagram.destination_port)?, datagram))),
        };
        match tunnel {
            // VXLAN in one layer has a shorter key.
            Some((Kind::Vxlan, datagram)) if self.settings.pipeline.envelope.layers == Layers::Known => {
                let (header, frame) = match vxlan::decapsulate(datagram.payload) {
                    Ok(opened) => opened,
                    Err(error) => return dropped(error.into(), pipeline),
                };
                let entry = pipeline.admit_vxlan(datagram.source, header.vni, record.time_ns, frame.len())?;
                let start = datagram.payload_offset + vxlan::HEADER_LEN;
                let end = start + frame.len();
                let place = Place { start, end, reserved_bits: header.reserved_bits_set, mark: None };
                Some(taken(record, entry, Link::Ethernet, &place, pipeline))
            }
            Some((kind, datagram)) => self.open_tunnel(kind, &datagram, record, pipeline),
            None if matches!(self.settings.encapsulation, ReadEncapsulation::Vxlan | ReadEncapsulation::Geneve) => {
                let fragment = is_fragment_of_datagram(link, record.data);
                dropped(if fragment { DropReason::OuterFragment } else { DropReason::NotEncapsulated }, pipeline)
            }
            None => {
                let place = Place { start: 0, end: record.data.len(), reserved_bits: false, mark: None };
                let entry = pipeline.admit_plain(link, record.time_ns, place.end)?;
                Some(taken(record, entry, link, &place, pipeline))
            }
        }
    }

    #[inline(never)]
    fn open_tunnel<'a>(
        &self,
        kind: Kind,
        datagram: &OuterDatagram<'_>,
        record: &Record<'a>,
        pipeline: &mut Pipeline,
    ) -> Option<Taken<'a>> {
        let opened = match open(kind, datagram.payload, datagram.source, self.settings.pipeline.envelope) {
            Ok(opened) => opened,
            Err(error) => return dropped(error.into(), pipeline),
        };
        let start = datagram.payload_offset + opened.offset;
        let end = start + opened.frame.len();
        let place = Place { start, end, reserved_bits: opened.reserved_bits_set, mark: opened.mark };
        let entry = pipeline.admit(StreamKey::of(kind, &opened), record.time_ns, end - start)?;
        if opened.layer_in_fragments {
            pipeline.streams.count_layer_in_fragments(entry.id);
        }
        Some(taken(record, entry, opened.link, &place, pipeline))
    }

    /// What is behind the UDP header of a datagram to this port, where it is a tunnel that is asked for.
    #[inline]
    fn kind(&self, destination_port: u16) -> Option<Kind> {
        let (_, kind) = self.settings.ports.iter().find(|(port, _)| *port == destination_port)?;
        let wanted = match self.settings.encapsulation {
            ReadEncapsulation::Auto => true,
            ReadEncapsulation::Vxlan => *kind != Kind::Geneve,
            ReadEncapsulation::Geneve => *kind == Kind::Geneve,
            ReadEncapsulation::None => false,
        };
        wanted.then_some(*kind)
    }
}

/// Counts a record without a frame.
#[cold]
fn dropped<'a>(reason: DropReason, pipeline: &mut Pipeline) -> Option<Taken<'a>> {
    pipeline.ledger.drop_one(reason);
    None
}

/// Counts the frame at `place` for its mirror stream.
#[expect(clippy::inline_always, reason = "what it gives would go through memory, which takes longer than the rest")]
#[inline(always)]
fn taken<'a>(record: &Record<'a>, entry: StreamEntry, link: Link, place: &Place, pipeline: &mut Pipeline) -> Taken<'a> {
    let Place { start, end, reserved_bits, mark } = *place;
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
    let meta = PacketMeta { time_ns: record.time_ns, stream: entry.id, network: entry.network };
    let entrant = Entrant { meta, link, bytes: &record.data[start..end], wire_len };
    Taken { entrant, start, end }
}
