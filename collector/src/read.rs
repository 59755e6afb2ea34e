//! `read`: the pipeline of a live run over capture files.

use std::sync::Arc;
use std::time::Instant;

use vxtap_analyzers::{DropReason, PacketMeta, StreamKey};
use vxtap_capfile::{CaptureReader, LinkType, Record};
use vxtap_wire::envelope::outer_datagram;
use vxtap_wire::{FrameView, SteerHash, vxlan};

use crate::hand_over::{Inbox, Outbox, ParcelFrame, WhenFull, connect};
use crate::outputs::{Lanes, Outputs};
use crate::pipeline::{Pipeline, PipelineTotals, random_seed};
use crate::settings::{PipelineSettings, ReadEncapsulation, ReadSettings};
use crate::streams::StreamRegistry;
use crate::summary::{self, Summary};
use crate::worker::{Steering, for_each_batch};

/// Why a run over files did not do all that was asked.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    /// A file could not be opened, or is no capture file: nothing was read, nothing written.
    #[error(transparent)]
    Open(#[from] vxtap_capfile::OpenError),
    /// Something went wrong on the way.
    #[error(transparent)]
    Run(#[from] anyhow::Error),
}

/// Reads the files of `settings` one after the other and writes what was asked for.
///
/// A damaged file ends at the damage; what came before is analysed, the next file is read, and the result is an error.
pub fn read(settings: &ReadSettings) -> Result<Summary, ReadFailure> {
    let begun = Instant::now();
    let mut readers = Vec::new();
    for file in &settings.files {
        readers.push(CaptureReader::open(file)?);
    }
    let streams = Arc::new(StreamRegistry::new());
    let (outputs, lanes) = Outputs::open(&settings.pipeline, &streams)?;
    let (totals, damage) = run_pipelines(settings, &streams, lanes, readers)?;
    let monitor = outputs.monitor();
    let captured = outputs.finish();
    let workers = summary::workers(totals, &captured);
    let mut result = Summary::new(workers, begun.elapsed().as_secs_f64(), streams.len() as u64);
    result.capture = monitor.capture();
    result.log = monitor.log();
    if let Some(target) = &settings.summary {
        summary::write(&result, target)?;
    }
    result.check().map_err(anyhow::Error::from)?;
    match damage {
        Some(damage) => Err(ReadFailure::Run(damage)),
        None => Ok(result),
    }
}

type Outcome = (Vec<PipelineTotals>, Option<anyhow::Error>);

fn run_pipelines(
    settings: &ReadSettings,
    streams: &Arc<StreamRegistry>,
    lanes: Vec<Lanes>,
    readers: Vec<CaptureReader>,
) -> anyhow::Result<Outcome> {
    let PipelineSettings { workers, flows, steer_seed, .. } = &settings.pipeline;
    let mut pipelines: Vec<Pipeline> = lanes
        .into_iter()
        .map(|Lanes { capture, log }| Pipeline::new(flows, *workers, Arc::clone(streams), capture, log))
        .collect();
    let steering = Steering {
        hash: SteerHash::new(steer_seed.unwrap_or_else(|| random_seed() as u32)),
        workers: *workers,
        broken: false,
    };
    // The first pipeline also keeps the reading side's part of the ledger.
    let mut first = pipelines.remove(0);
    let (mut inboxes, mut outboxes) = connect(*workers, 1, &[], WhenFull::Wait);
    let own = inboxes.remove(0);
    let mut outbox = outboxes.remove(0);
    std::thread::scope(|scope| {
        let others: Vec<_> = pipelines
            .into_iter()
            .zip(inboxes)
            .map(|(pipeline, inbox)| scope.spawn(move || take_until_closed(pipeline, &inbox)))
            .collect();
        let mut damage = None;
        for mut reader in readers {
            if let Err(error) = read_file(&mut reader, settings, steering, &mut first, &mut outbox, &own) {
                tracing::error!("{error}");
                damage.get_or_insert(anyhow::Error::from(error));
            }
        }
        drop(outbox);
        let mut totals = vec![first.finish()];
        for other in others {
            totals.push(other.join().map_err(|_| anyhow::anyhow!("a worker thread panicked"))?);
        }
        Ok((totals, damage))
    })
}

/// One of several workers: takes what the reading thread sends until there is no more.
fn take_until_closed(mut pipeline: Pipeline, inbox: &Inbox) -> PipelineTotals {
    while let Some(parcel) = inbox.wait() {
        for_each_batch(parcel.frames(), |frames| {
            pipeline.ledger.taken_over += frames.len() as u64;
            pipeline.analyse(frames);
        });
        inbox.give_back(parcel);
    }
    pipeline.finish()
}

fn read_file(
    reader: &mut CaptureReader,
    settings: &ReadSettings,
    steering: Steering,
    pipeline: &mut Pipeline,
    outbox: &mut Outbox,
    own: &Inbox,
) -> Result<(), vxtap_capfile::ReadError> {
    let mut result = Ok(());
    while let Some(record) = reader.next_record() {
        pipeline.ledger.received += 1;
        match record {
            Ok(record) => {
                pipeline.ledger.received_bytes += record.data.len() as u64;
                match open(&record, settings, pipeline) {
                    Ok(frame) => steer(&frame, steering, pipeline, outbox),
                    Err(reason) => pipeline.ledger.drop_one(reason),
                }
                take_own(own, pipeline);
            }
            Err(error) => {
                pipeline.ledger.drop_one(DropReason::FileDamaged);
                result = Err(error);
            }
        }
    }
    outbox.flush();
    take_own(own, pipeline);
    result
}

fn steer(frame: &ParcelFrame<'_>, steering: Steering, pipeline: &mut Pipeline, outbox: &mut Outbox) {
    let owner = if steering.workers > 1 { steering.owner(&FrameView::parse(frame.bytes)) } else { 0 };
    if owner != 0 {
        pipeline.ledger.misdelivered += 1;
    }
    outbox.push(owner, frame);
}

/// The reading thread is the first worker too.
fn take_own(own: &Inbox, pipeline: &mut Pipeline) {
    while let Some(parcel) = own.next() {
        for_each_batch(parcel.frames(), |frames| pipeline.analyse(frames));
        own.give_back(parcel);
    }
}

/// The inner frame of `record`, or why there is none.
fn open<'a>(
    record: &Record<'a>,
    settings: &ReadSettings,
    pipeline: &mut Pipeline,
) -> Result<ParcelFrame<'a>, DropReason> {
    if record.link_type != LinkType::ETHERNET {
        return Err(DropReason::LinkType);
    }
    let datagram = match settings.encapsulation {
        ReadEncapsulation::None => None,
        _ => outer_datagram(record.data).filter(|datagram| settings.vxlan_ports.contains(&datagram.destination_port)),
    };
    let Some(datagram) = datagram else {
        if settings.encapsulation == ReadEncapsulation::Vxlan {
            return Err(DropReason::NotEncapsulated);
        }
        return Ok(counted(StreamKey::PLAIN, record.data, record, 0, false, pipeline));
    };
    let (header, frame) = vxlan::decapsulate(datagram.payload)?;
    let offset = datagram.payload_offset + vxlan::HEADER_LEN;
    let stream = StreamKey::vxlan(datagram.source, header.vni);
    Ok(counted(stream, frame, record, offset, header.reserved_bits_set, pipeline))
}

fn counted<'a>(
    stream: StreamKey,
    bytes: &'a [u8],
    record: &Record<'_>,
    offset: usize,
    reserved_bits: bool,
    pipeline: &mut Pipeline,
) -> ParcelFrame<'a> {
    let stream = pipeline.streams.entry(stream);
    // What the capturing program cut off is missing as well, but trailing padding of a whole frame is not part of it.
    let wire_len =
        if record.wire_len as usize > record.data.len() { record.wire_len.saturating_sub(offset as u32) } else { 0 };
    let meta = PacketMeta { time_ns: record.time_ns, stream: stream.id, network: stream.network };
    let frame = ParcelFrame { meta, wire_len, bytes };
    pipeline.streams.count(stream.id, record.time_ns, bytes.len(), wire_len as usize > bytes.len(), reserved_bits);
    frame
}
