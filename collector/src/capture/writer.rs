//! The writer thread, and what the outside can ask about it.

use std::fs::{DirBuilder, OpenOptions};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::SystemTime;

use vxtap_analyzers::snapshot::CaptureSnapshot;

use super::files::{CaptureFiles, FilesSettings, Progress, lock};
use super::output::{Create, creator};
use super::{CaptureError, CaptureLane};
use crate::blocks::{self, BlockQueue, LaneCounters, LaneSettings};
use crate::follow::Hub;
use crate::settings::CaptureSettings;
use crate::streams::StreamRegistry;

/// Size of a block, in bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// Starts captures.
#[derive(Debug)]
pub struct CaptureWriter;

impl CaptureWriter {
    /// Makes the directory if needed, sees that it can be written to, and starts the writer thread. Gives the handle and
    /// one lane for each of `workers` workers. What is captured goes to the followers at `hub` as well.
    pub fn start(
        settings: &CaptureSettings,
        streams: Arc<StreamRegistry>,
        hub: Hub,
        workers: usize,
    ) -> Result<(CaptureHandle, Vec<CaptureLane>), CaptureError> {
        Self::start_with(settings, streams, hub, workers, BLOCK_BYTES, creator(settings.direct))
    }

    pub(super) fn start_with(
        settings: &CaptureSettings,
        streams: Arc<StreamRegistry>,
        hub: Hub,
        workers: usize,
        block_bytes: usize,
        create: Create,
    ) -> Result<(CaptureHandle, Vec<CaptureLane>), CaptureError> {
        prepare(&settings.directory)?;
        let lane = LaneSettings { blocks: settings.blocks, block_bytes, flush: settings.flush };
        let (queue, lanes) = blocks::lanes(workers, lane);
        let monitor = CaptureMonitor {
            directory: settings.directory.to_string_lossy().escape_debug().to_string().into(),
            lanes: queue.counters().into(),
            progress: Arc::default(),
        };
        let files = CaptureFiles::new(
            FilesSettings {
                directory: settings.directory.clone(),
                rotate_bytes: settings.rotate_bytes,
                started: SystemTime::now(),
                create,
            },
            streams,
            Arc::clone(&monitor.progress),
        );
        let slot = queue.writer_slot();
        let thread = std::thread::Builder::new()
            .name("vxtap-capture".to_owned())
            .spawn(move || write_all(queue, files, &hub))
            .map_err(CaptureError::Thread)?;
        slot.set(thread.thread().clone());
        Ok((CaptureHandle { monitor, thread }, lanes.into_iter().map(CaptureLane::new).collect()))
    }
}

/// The thread: until every lane is closed.
fn write_all(mut queue: BlockQueue, mut files: CaptureFiles, hub: &Hub) {
    let counters = queue.counters();
    while let Some((lane, mut block)) = queue.next() {
        // Before the file gives the records its own interface numbers, and before a disk can make anything wait.
        if hub.is_followed() {
            hub.publish(&[&block.bytes]);
        }
        let outcome = files.write(&mut block.bytes);
        debug_assert_eq!(outcome.written + outcome.discarded, block.records);
        counters[lane].add_written(outcome.written);
        counters[lane].add_discarded(block.records.saturating_sub(outcome.written));
        queue.give_back(lane, block);
    }
    files.close();
}

/// Makes the directory and a file in it, which is removed again.
fn prepare(directory: &Path) -> Result<(), CaptureError> {
    DirBuilder::new()
        .recursive(true)
        .create(directory)
        .map_err(|source| CaptureError::MakeDirectory { directory: directory.to_owned(), source })?;
    let probe = directory.join(format!(".vxtap-{}", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&probe)
        .and_then(|_| std::fs::remove_file(&probe))
        .map_err(|source| CaptureError::NotWritable { directory: directory.to_owned(), source })
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
    progress: Arc<Mutex<Progress>>,
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
        }
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
