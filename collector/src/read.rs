//! `read`: the pipeline of a live run over capture files.
//!
//! Each worker takes the next chunk of records in turn, looks at each frame and says whose it is. It analyses its own frames and
//! shares the chunk with the workers that own the others: frames are not copied on their way. Every worker goes through
//! the chunks in the order of the files, so the frames of one flow stay in order however many workers there are.
//! Where that can be, a chunk is captured by the worker that took it ([`Recorder`]); its frames then count for that worker.

use std::sync::Arc;
use std::time::Instant;

use vxtap_analyzers::Wholes;
use vxtap_capfile::LinkType;
use vxtap_wire::SteerHash;

use crate::admission::{Admission, StateError};
use crate::capture::Input;
use crate::follow::Hub;
use crate::networks::Networks;
use crate::outputs::{Lanes, Outputs};
use crate::pipeline::{Pipeline, PipelineTotals, random_seed};
use crate::receive::pin_to_own_cpu;
use crate::settings::{CaptureSettings, PipelineSettings, ReadSettings};
use crate::streams::StreamRegistry;
use crate::summary::{self, Summary};
use crate::worker::Steering;

mod exchange;
mod files;
mod opening;
mod origins;
mod progress;
mod reader;
mod recorder;

use exchange::{Exchange, Shares};
use files::Waiting;
use opening::Opening;
use origins::{KnownOrigins, Origins};
use reader::{FileReader, Numbered};
use recorder::Recorder;

/// Why a run over files did not do all that was asked.
#[derive(Debug, thiserror::Error)]
pub enum ReadFailure {
    /// A file could not be opened, or is no capture file: nothing was read, nothing written.
    #[error(transparent)]
    Open(#[from] vxtap_capfile::OpenError),
    /// A file has frames of another kind: nothing was read, nothing written.
    #[error(
        "cannot read '{file}': its link type is {link_type}; what can be read are Ethernet, IP, loopback, Linux's cooked frames (SLL, SLL2), PPP and NFLOG"
    )]
    LinkType {
        /// The file.
        file: String,
        /// What it has.
        link_type: LinkType,
    },
    /// What was decided of mirror streams cannot be had: nothing was read, nothing written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Something went wrong on the way.
    #[error(transparent)]
    Run(#[from] anyhow::Error),
}

/// Reads the files of `settings` one after the other and writes what was asked for.
///
/// A damaged file ends at the damage; what came before is analysed, the next file is read, and the result is an error. So it is
/// where a file is gone when its turn comes.
pub fn read(settings: &ReadSettings) -> Result<Summary, ReadFailure> {
    let begun = Instant::now();
    let files = settings.files.iter().map(|path| Waiting::look_into(path)).collect::<Result<Vec<_>, _>>()?;
    summary::see_place(settings.summary.as_ref()).map_err(anyhow::Error::from)?;
    let admission = Admission::read_only(&settings.pipeline.admission)?;
    let networks = Networks::new(&settings.pipeline.networks).with_names(&settings.pipeline.names);
    let streams = Arc::new(StreamRegistry::new().with_networks(networks).with_admission(admission));
    let in_order = settings.pipeline.workers == 1 || settings.pipeline.capture.as_ref().is_some_and(Recorder::suits);
    let input = if in_order { Input::InOrder } else { Input::Turns };
    let (mut outputs, lanes) = Outputs::open(&settings.pipeline, &streams, &Hub::new(Arc::clone(&streams)), input)?;
    let origins = Arc::default();
    let reader = Arc::new(FileReader::new(files, settings.pipeline.workers, Arc::clone(&origins)));
    let totals = run_workers(settings, &streams, lanes, &reader, &origins)?;
    let monitor = outputs.monitor();
    let captured = outputs.finish_captures();

    let pairs = summary::duplicate_pairs(totals.iter().flat_map(|totals| &totals.pairs), &streams);
    let workers = summary::workers(totals, &captured);
    let mut result = Summary::new(workers, begun.elapsed().as_secs_f64(), &streams);
    if let Some(mut stats) = outputs.take_stats() {
        stats.write(&result.stats(monitor.log().as_ref()));
    }
    result.log = outputs.finish_log();
    result.duplicate_pairs = pairs;
    result.capture = monitor.capture();
    // Also where the run fails: what came of the packets before the damage is what there is.
    tracing::info!("{}", result.lines());
    if let Some(target) = &settings.summary {
        summary::write(&result, target)?;
    }
    result.check().map_err(anyhow::Error::from)?;
    // A file can be read again, unlike what came over a network: whoever asked for a capture of it has none.
    let lost = result.ledger.capture_dropped;
    if lost > 0 {
        let why = result.capture.as_ref().and_then(|capture| capture.error.clone()).unwrap_or_default();
        return Err(ReadFailure::Run(anyhow::anyhow!(
            "{lost} frames that were to be captured are in no capture: {why}"
        )));
    }
    match reader.damage() {
        Some(damage) => Err(ReadFailure::Run(damage)),
        None => Ok(result),
    }
}

fn run_workers(
    settings: &ReadSettings,
    streams: &Arc<StreamRegistry>,
    lanes: Vec<Lanes>,
    reader: &Arc<FileReader>,
    origins: &Arc<Origins>,
) -> anyhow::Result<Vec<PipelineTotals>> {
    let PipelineSettings { workers, steer_seed, .. } = &settings.pipeline;
    let hash = SteerHash::new(steer_seed.unwrap_or_else(|| random_seed() as u32));
    let steering = Steering { hash, workers: *workers, broken: false };
    let exchanges = Exchange::connect(*workers);
    std::thread::scope(|scope| {
        let threads: Vec<_> = lanes
            .into_iter()
            .zip(exchanges)
            .zip(0..)
            .map(|((mut lanes, exchange), number)| {
                let suits = |capture: &&CaptureSettings| *workers > 1 && Recorder::suits(capture);
                let recorder = settings.pipeline.capture.as_ref().filter(suits).and_then(|capture| {
                    let lane = lanes.capture.take()?;
                    Some(Recorder::new(lane, capture, streams))
                });
                let siblings = steering.siblings(number, Wholes::Found);
                let reader = Arc::clone(reader);
                scope.spawn(move || {
                    // Made by the worker, so that no two workers write to what lies side by side.
                    let pipeline =
                        Pipeline::new(&settings.pipeline, Arc::clone(streams), lanes).with_siblings(siblings);
                    let opening = Opening::new(settings, steering, KnownOrigins::new(origins));
                    work(pipeline, recorder, &opening, &reader, exchange)
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, PipelineTotals>| {
            thread.join().map_err(|_| anyhow::anyhow!("a worker thread panicked"))
        };
        threads.into_iter().map(join).collect()
    })
}

/// The only worker: nobody to share with, so a frame is analysed as soon as it is found.
fn work_alone(mut pipeline: Pipeline, opening: &Opening<'_>, reader: &FileReader) -> PipelineTotals {
    // Nor is there anybody to take turns with: blocks for the capture are handed over when they are full.
    while let Some(Numbered { taker, chunk, .. }) = reader.next(0, &mut pipeline.ledger) {
        opening.analyse(&chunk, &mut pipeline);
        reader.give_back(taker, chunk);
    }
    pipeline.finish()
}

/// One of several workers, until every chunk of every file is done.
fn work(
    mut pipeline: Pipeline,
    mut recorder: Option<Recorder>,
    opening: &Opening<'_>,
    reader: &FileReader,
    mut exchange: Exchange,
) -> PipelineTotals {
    if opening.steering.workers == 1 {
        return work_alone(pipeline, opening, reader);
    }
    // The workers wait for each other now and then. The kernel likes to wake one on the CPU of whoever woke it, and leaves both there for
    // milliseconds, a tenth of the time that a file of half a gigabyte takes, while another CPU has nothing to do.
    if pin_to_own_cpu(exchange.number() as u32, opening.steering.workers) {
        exchange.stay_awake();
    }
    loop {
        while let Some(share) = exchange.next_in_order() {
            if recorder.is_some() {
                share.observe(&mut pipeline);
            } else {
                share.analyse(&mut pipeline);
                pipeline.end_turn(share.number());
            }
            exchange.done(share, reader);
        }
        if exchange.is_finished() {
            // Flows that were silent for long at the end were so for every worker, also one that had no frame after them.
            pipeline.advance(exchange.newest_ns());
            let mut totals = pipeline.finish();
            if let Some(recorder) = recorder {
                totals.cut = recorder.cut();
            }
            return totals;
        }
        let chunk = if exchange.may_read() { reader.next(exchange.number(), &mut pipeline.ledger) } else { None };
        if let Some(numbered) = chunk {
            let mut shares = Shares::new(opening.steering.workers, numbered.taker, reader);
            match &mut recorder {
                Some(recorder) => {
                    recorder.begin(numbered.number);
                    opening.record(&numbered.chunk, &mut pipeline, recorder, &mut shares);
                    recorder.end();
                }
                None => opening.open(&numbered.chunk, &mut pipeline, &mut shares),
            }
            exchange.send(numbered, shares);
        } else {
            if let Some(chunks) = reader.chunks_in_all() {
                exchange.end_at(chunks);
            }
            exchange.wait();
        }
    }
}

#[cfg(test)]
mod tests;
