//! The writer thread, and what the outside can ask about it.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use vxtap_analyzers::snapshot::CaptureSnapshot;

use super::closing::Closing;
use super::files::{self, FilesSettings, Outcome, Progress, lock};
use super::lane::{CaptureMarks, LaneProgress, Wanted};
use super::merge::{Joining, Merge, Run};
use super::output::{Create, creator};
use super::sinks::Sinks;
use super::stream::{StreamSink, StreamTarget};
use super::{CaptureError, CaptureLane, CaptureLayout, CutFrames, Input, KeeperMonitor, TornFiles};
use crate::blocks::{self, BlockQueue, LaneCounters, LaneSettings, Next};
use crate::follow::Hub;
use crate::health::CaptureSeen;
use crate::settings::CaptureSettings;
use crate::streams::StreamRegistry;
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
    /// Makes the directory if needed, sees that it can be written to, and starts the writer thread. Gives the handle and
    /// the workers' lanes. Without `settings` there are no files, only followers.
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
            (Input::Turns, false) => Joining::AsIs,
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
        let (queue, lanes) = blocks::lanes(workers, lane);
        let lane_progress: Vec<Arc<LaneProgress>> = lanes.iter().map(|_| Arc::default()).collect();
        let monitor = CaptureMonitor {
            directory: directory.unwrap_or(Path::new("")).to_string_lossy().escape_debug().to_string().into(),
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
        };
        let slot = writing.queue.writer_slot();
        let thread = std::thread::Builder::new()
            .name("vxtap-capture".to_owned())
            .spawn(move || {
                // With the files that it ended, nobody else has the closing.
                writing.run();
                if let Some(closing) = closing.and_then(Arc::into_inner) {
                    closing.finish();
                }
            })
            .map_err(CaptureError::Thread)?;
        slot.set(thread.thread().clone());
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

/// What the thread has.
struct Writing {
    queue: BlockQueue<CaptureMarks>,
    counters: Vec<Arc<LaneCounters>>,
    /// One, or one for each lane.
    merges: Vec<Merge>,
    destination: Destination,
    hub: Hub,
    progress: Arc<Mutex<Progress>>,
}

impl Writing {
    /// The thread: until every lane is closed.
    fn run(mut self) {
        loop {
            let next = self.queue.next_within(self.pause());
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
            if ended {
                break;
            }
            match &mut self.destination {
                Destination::Files(sinks) => sinks.look_again(),
                Destination::Stream(stream) => stream.look_again(),
                Destination::Followers => {}
            }
        }
        match &mut self.destination {
            Destination::Files(sinks) => sinks.close(),
            Destination::Stream(stream) => stream.close(),
            Destination::Followers => {}
        }
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

/// Captures under way.
#[derive(Debug)]
pub struct CaptureHandle {
    monitor: CaptureMonitor,
    thread: JoinHandle<()>,
}

impl CaptureHandle {
    /// What the captures look like now.
    pub fn status(&self) -> CaptureSnapshot {
        self.monitor.status()
    }

    /// Frames of lane `lane` that are in a file.
    pub fn written(&self, lane: usize) -> u64 {
        self.monitor.written(lane)
    }

    /// Frames of lane `lane` that will be in no file.
    pub fn dropped(&self, lane: usize) -> u64 {
        self.monitor.dropped(lane)
    }

    /// A view that can be given to others and outlives the run.
    pub fn monitor(&self) -> CaptureMonitor {
        self.monitor.clone()
    }

    /// Waits until every lane is dropped and everything is in the file, and the file closed.
    pub fn finish(self) -> CaptureTotals {
        let Self { monitor, thread } = self;
        let died = thread.join().is_err();
        let progress = lock(&monitor.progress);
        // A writer that died took frames with it that it had not counted.
        let lanes = monitor.lanes.iter();
        let lanes = lanes.map(|lane| LaneTotals { written: lane.written(), dropped: lane.dropped() + lane.pending() });
        CaptureTotals {
            lanes: lanes.collect(),
            bytes: progress.bytes,
            files: progress.files_total,
            error: if died { Some("the capture writer ended unexpectedly".to_owned()) } else { progress.error.clone() },
        }
    }
}

/// A view of captures under way or finished.
#[derive(Clone, Debug)]
pub struct CaptureMonitor {
    directory: Arc<str>,
    lanes: Arc<[Arc<LaneCounters>]>,
    lane_progress: Arc<[Arc<LaneProgress>]>,
    progress: Arc<Mutex<Progress>>,
    /// `None` where nothing is written.
    keeper: Option<KeeperMonitor>,
}

impl CaptureMonitor {
    /// What the captures look like now.
    pub fn status(&self) -> CaptureSnapshot {
        let progress = lock(&self.progress);
        CaptureSnapshot {
            directory: self.directory.to_string(),
            bytes: progress.bytes,
            pending: self.lanes.iter().map(|lane| lane.pending()).sum(),
            error: progress.error.clone(),
            files: progress.files.iter().cloned().collect(),
            files_total: progress.files_total,
            late: progress.late,
            kept: self.keeper.as_ref().map(KeeperMonitor::status).unwrap_or_default(),
        }
    }

    /// How the writer is doing, for whoever must not wait for it; `None` in the moment in which it tells.
    pub(crate) fn seen(&self) -> Option<CaptureSeen> {
        let failing = self.progress.try_lock().ok()?.error.is_some();
        let sum = |of: fn(&LaneCounters) -> u64| self.lanes.iter().map(|lane| of(lane)).sum();
        Some(CaptureSeen { failing, pending: sum(LaneCounters::pending), done: sum(LaneCounters::done) })
    }

    /// Frames of lane `lane` that were cut by choice.
    pub(crate) fn cut(&self, lane: usize) -> CutFrames {
        self.lane_progress.get(lane).map(|lane| lane.cut()).unwrap_or_default()
    }

    /// What became of files whose writers were killed.
    pub(crate) fn torn(&self) -> TornFiles {
        self.keeper.as_ref().map(KeeperMonitor::torn).unwrap_or_default()
    }

    /// Frames of lane `lane` that are in a file.
    pub fn written(&self, lane: usize) -> u64 {
        self.lanes.get(lane).map_or(0, |lane| lane.written())
    }

    /// Frames of lane `lane` that will be in no file: the lane had no empty block, or the disk refused them.
    pub fn dropped(&self, lane: usize) -> u64 {
        self.lanes.get(lane).map_or(0, |lane| lane.dropped())
    }
}

/// What became of the frames of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureTotals {
    /// By lane.
    pub lanes: Vec<LaneTotals>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files made.
    pub files: u64,
    /// What was wrong at the end; `None` where writing worked, or worked again.
    pub error: Option<String>,
}

/// What became of the frames of one lane: each is in one of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LaneTotals {
    /// In a file.
    pub written: u64,
    /// In none.
    pub dropped: u64,
}

#[cfg(test)]
mod tests;
