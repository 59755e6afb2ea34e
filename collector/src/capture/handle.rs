//! What the outside can ask about captures, under way and when they are done.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use vxtap_analyzers::snapshot::CaptureSnapshot;

use super::files::{Progress, lock};
use super::keeper::KeeperMonitor;
use super::lane::LaneProgress;
use super::{CutFrames, TornFiles};
use crate::blocks::LaneCounters;
use crate::health::CaptureSeen;

/// Captures under way.
#[derive(Debug)]
pub struct CaptureHandle {
    pub(super) monitor: CaptureMonitor,
    /// `None` where the workers write.
    pub(super) thread: Option<JoinHandle<()>>,
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

    /// Waits until every lane is dropped and everything is in the file, and the file closed. Where the workers write it is so once they have
    /// dropped their lanes.
    pub fn finish(self) -> CaptureTotals {
        let Self { monitor, thread } = self;
        let died = thread.is_some_and(|thread| thread.join().is_err());
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
    pub(super) directory: Arc<str>,
    pub(super) lanes: Arc<[Arc<LaneCounters>]>,
    pub(super) lane_progress: Arc<[Arc<LaneProgress>]>,
    pub(super) progress: Arc<Mutex<Progress>>,
    /// `None` where nothing is written.
    pub(super) keeper: Option<KeeperMonitor>,
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

    /// Files that somebody deleted, cut or moved away while they were written.
    pub(crate) fn displaced(&self) -> u64 {
        lock(&self.progress).displaced
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
