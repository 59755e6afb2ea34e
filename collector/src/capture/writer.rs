//! Writing what the lanes hand over, in a thread or in the workers' own.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::closing::Closing;
use super::files::{self, FilesSettings, Outcome, Progress, lock};
use super::handle::{CaptureHandle, CaptureMonitor};
use super::lane::{CaptureMarks, LaneProgress, Wanted};
use super::merge::{Joining, Merge, Run};
use super::output::{Create, creator, may_wait_for_disk};
use super::sinks::Sinks;
use super::stream::{StreamSink, StreamTarget};
use super::{CaptureError, CaptureLane, CaptureLayout, Input};
use crate::blocks::{self, BlockQueue, BlockWriter, LaneCounters, LaneSettings, Next};
use crate::follow::Hub;
use crate::outputs::whereabouts;
use crate::settings::CaptureSettings;
use crate::streams::StreamRegistry;
use crate::turns::Turns;
use crate::worker::unix_ns;

/// Size of a block, in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// The same, and how many there are at the most, where each block goes out as it comes and a worker waits for the writer: what is read is on
/// its way through a few blocks that stay in the caches instead of many that do not. A block holds the longest frame of any file.
const BLOCK_BYTES_IN_TURN: usize = vxtap_capfile::MAX_FRAME_BYTES + (64 << 10);
const BLOCKS_IN_TURN: usize = 8;
/// What is written at a time, in bytes, at the most.
const WRITE_BYTES: usize = 4 << 20;
/// How long the writer waits at least when it waits for a worker to get past the end of an interval.
const LOOK: Duration = Duration::from_millis(5);
/// Blocks of a lane where nothing is written but followers can come, and how long a frame waits for its block to fill.
const FOLLOWED_BLOCKS: usize = 8;
const FOLLOWED_FLUSH: Duration = Duration::from_millis(100);

/// What captures are made of: starts them.
#[derive(Debug)]
pub struct Captures {
    /// Mirror streams, by number.
    pub streams: Arc<StreamRegistry>,
    /// Where frames are followed while they are captured.
    pub hub: Hub,
    /// Workers, of which each gets a lane.
    pub workers: usize,
    /// What they work on.
    pub input: Input,
}

impl Captures {
    /// Makes the directory if needed, sees that it can be written to, and starts the writer thread, unless workers that work on files
    /// ([`Input::InOrder`]) write themselves. Gives the handle and the workers' lanes. Without `settings` there are no files, only followers.
    pub fn start(self, settings: Option<&CaptureSettings>) -> Result<(CaptureHandle, Vec<CaptureLane>), CaptureError> {
        let direct = settings.is_some_and(|settings| settings.direct && settings.format.takes_padding());
        self.start_with(settings, BLOCK_BYTES, creator(direct))
    }

    pub(super) fn start_with(
        self,
        settings: Option<&CaptureSettings>,
        block_bytes: usize,
        create: Create,
    ) -> Result<(CaptureHandle, Vec<CaptureLane>), CaptureError> {
        let Self { streams, hub, workers, input } = self;
        let directory = settings.map(|settings| settings.directory.as_path());
        let target = directory.and_then(StreamTarget::of);
        let in_files = settings.filter(|_| target.is_none());
        let closing = in_files.map(|settings| Closing::start(settings).map(Arc::new)).transpose()?;
        let per_shard = in_files.is_some_and(|settings| settings.layout == CaptureLayout::PerShard);
        let joining = match (input, !per_shard && workers > 1) {
            (Input::Live, false) => Joining::One,
            (Input::Live, true) => Joining::Time,
            (Input::InOrder, _) | (Input::Turns, false) => Joining::AsIs,
            (Input::Turns, true) => Joining::Turns,
        };
        let lane = match settings {
            Some(settings) => {
                LaneSettings { blocks: settings.blocks, block_bytes, flush: handed_over_after(settings.flush) }
            }
            None => LaneSettings { blocks: FOLLOWED_BLOCKS, block_bytes, flush: FOLLOWED_FLUSH },
        };
        let lane = match joining {
            // The blocks of workers that take turns have to hold all that one turn has.
            Joining::AsIs => LaneSettings {
                blocks: lane.blocks.min(BLOCKS_IN_TURN),
                block_bytes: block_bytes.min(BLOCK_BYTES_IN_TURN),
                ..lane
            },
            Joining::One | Joining::Time | Joining::Turns => lane,
        };
        let (queue, mut lanes) = blocks::lanes(workers, lane);
        if input == Input::InOrder && workers > 1 {
            let turns = Arc::new(Turns::default());
            for lane in &mut lanes {
                lane.in_turns(Arc::clone(&turns));
            }
        }
        // To write through the page cache is one more copy, which the CPU that has the bytes in its cache makes best. Around the page cache
        // it is to wait for the disk, which a thread of its own does meanwhile.
        let in_place = input == Input::InOrder && in_files.is_some_and(|settings| !may_wait_for_disk(settings));
        let lane_progress: Vec<Arc<LaneProgress>> = lanes.iter().map(|_| Arc::default()).collect();
        let monitor = CaptureMonitor {
            directory: directory.map(whereabouts).unwrap_or_default(),
            lanes: queue.counters().into(),
            lane_progress: lane_progress.clone().into(),
            progress: Arc::default(),
            keeper: closing.as_ref().map(|closing| closing.monitor()),
        };
        let merge = |lanes: Vec<Arc<LaneProgress>>| Merge::new(joining, lanes, lane.blocks);
        let merges = if per_shard {
            lane_progress.iter().map(|lane| merge(vec![Arc::clone(lane)])).collect()
        } else {
            vec![merge(lane_progress.clone())]
        };
        let progress = Arc::clone(&monitor.progress);
        let destination = match (target, in_files.zip(closing.clone())) {
            (Some(target), _) => Destination::Stream(StreamSink::new(target, streams, progress, input)),
            (None, Some((settings, closing))) => {
                let files = FilesSettings {
                    directory: settings.directory.clone(),
                    prefix: files::prefix(SystemTime::now()),
                    format: settings.format,
                    rotation: settings.rotation,
                    live: input == Input::Live,
                    ahead: settings.split.is_none(),
                    create,
                };
                Destination::Files(Sinks::new(files, streams, progress, closing, merges.len(), settings.split))
            }
            (None, None) => Destination::Followers,
        };
        let writing = Writing {
            merges,
            destination,
            hub: hub.clone(),
            counters: queue.counters(),
            progress: Arc::clone(&monitor.progress),
            queue,
            closing,
        };
        let thread = if in_place {
            blocks::write_in_place(&mut lanes, writing);
            None
        } else {
            Some(writing.start_thread()?)
        };
        let wanted = Wanted { hub, files: settings.is_some() };
        let lanes = lanes.into_iter().zip(lane_progress);
        let lanes = lanes.map(|(lane, progress)| CaptureLane::new(lane, progress, wanted.clone()));
        Ok((CaptureHandle { monitor, thread }, lanes.collect()))
    }
}

/// How long a record may wait in a worker's block so that it is in the file when `flush` is over: it still has to be put in order and written.
fn handed_over_after(flush: Duration) -> Duration {
    flush / 4 * 3
}

/// Where records go, besides to followers.
enum Destination {
    Files(Sinks),
    Stream(StreamSink),
    /// Nowhere.
    Followers,
}

/// What whoever writes has.
pub(super) struct Writing {
    queue: BlockQueue<CaptureMarks>,
    counters: Vec<Arc<LaneCounters>>,
    /// One, or one for each lane.
    merges: Vec<Merge>,
    destination: Destination,
    hub: Hub,
    progress: Arc<Mutex<Progress>>,
    /// Where files go that are ended; `None` without files.
    closing: Option<Arc<Closing>>,
}

impl Writing {
    /// Starts the thread that writes until every lane is closed.
    fn start_thread(self) -> Result<JoinHandle<()>, CaptureError> {
        let slot = self.queue.writer_slot();
        let thread = std::thread::Builder::new()
            .name("vxtap-capture".to_owned())
            .spawn(move || {
                let mut writing = self;
                while writing.round(writing.pause()) {}
                writing.close();
            })
            .map_err(CaptureError::Thread)?;
        slot.set(thread.thread().clone());
        Ok(thread)
    }

    fn hold(&mut self, lane: usize, block: blocks::Block<CaptureMarks>) {
        let merge = lane % self.merges.len();
        // A merge for each lane has but that lane.
        let lane_in_merge = if self.merges.len() == 1 { lane } else { 0 };
        self.merges[merge].push(lane_in_merge, block);
    }

    /// Writes what may go out.
    fn write(&mut self) {
        let mut runs: Vec<Run> = Vec::new();
        let merges = self.merges.len();
        for (shard, merge) in self.merges.iter_mut().enumerate() {
            let lane_of = |lane: usize| if merges == 1 { lane } else { shard };
            loop {
                runs.clear();
                merge.take_runs(WRITE_BYTES, &mut runs);
                if runs.is_empty() {
                    break;
                }
                // Before a file gives the records its own interface numbers, and before a disk makes anything wait.
                if self.hub.is_followed() {
                    let held = merge.held();
                    let bytes: Vec<_> = runs.iter().map(|run| &held[run.held].block.bytes[run.bytes.clone()]).collect();
                    self.hub.publish(&bytes);
                }
                let counters = &self.counters;
                let outcome = |lane: usize, outcome: Outcome| {
                    counters[lane_of(lane)].add_written(outcome.written);
                    counters[lane_of(lane)].add_discarded(outcome.discarded);
                };
                match &mut self.destination {
                    Destination::Files(sinks) => sinks.write(shard, merge.held(), &mut runs, outcome),
                    Destination::Stream(stream) => stream.write(merge.held(), &runs, outcome),
                    Destination::Followers => {}
                }
                let queue = &mut self.queue;
                merge.release(|lane, block| queue.give_back(lane_of(lane), block));
            }
        }
        lock(&self.progress).late = self.merges.iter().map(Merge::late).sum();
    }

    /// How long nothing has to be done unless a block comes.
    fn pause(&self) -> Option<Duration> {
        let merge = self.merges.iter().filter_map(Merge::pause).min();
        let (over, again) = match &self.destination {
            Destination::Files(sinks) => (sinks.over_at_ns(), sinks.look_again_in()),
            Destination::Stream(stream) => (None, stream.look_again_in()),
            Destination::Followers => (None, None),
        };
        let over = over.map(|at| Duration::from_nanos(at.saturating_sub(unix_ns())).max(LOOK));
        merge.into_iter().chain(over).chain(again).min()
    }
}

impl BlockWriter for Writing {
    fn round(&mut self, time: Option<Duration>) -> bool {
        let next = self.queue.next_within(time);
        let now_ns = unix_ns();
        // Before the rings are emptied: what a lane handed over before it said how far it is, is then here.
        self.merges.iter_mut().for_each(|merge| merge.look(now_ns));
        let ended = matches!(next, Next::Closed);
        if let Next::Block(lane, block) = next {
            self.hold(lane, block);
        }
        while let Some((lane, block)) = self.queue.try_next() {
            self.hold(lane, block);
        }
        if ended {
            self.merges.iter_mut().for_each(Merge::end);
        }
        self.write();
        if let Destination::Files(sinks) = &mut self.destination {
            // By the workers' time, not by the clock: a machine that was stopped has frames of the interval under way.
            let past_ns = self.merges.iter().map(Merge::past_ns).min().unwrap_or(now_ns);
            sinks.close_what_is_over(past_ns);
        }
        if !ended {
            match &mut self.destination {
                Destination::Files(sinks) => sinks.look_again(),
                Destination::Stream(stream) => stream.look_again(),
                Destination::Followers => {}
            }
        }
        !ended
    }

    fn close(mut self) {
        match &mut self.destination {
            Destination::Files(sinks) => sinks.close(),
            Destination::Stream(stream) => stream.close(),
            Destination::Followers => {}
        }
        let closing = self.closing.take();
        drop(self);
        // With the files that were ended, nobody else has it.
        if let Some(closing) = closing.and_then(Arc::into_inner) {
            closing.finish();
        }
    }
}

#[cfg(test)]
mod tests;
