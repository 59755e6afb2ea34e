//! The log's writer thread, and what the outside can ask about it.

use std::fs::DirBuilder;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use vxtap_analyzers::snapshot::LogSnapshot;

use super::file::{self, LogFile, OpenFile};
use super::{EventLane, LogError};
use crate::blocks::{self, BlockQueue, LaneCounters, LaneSettings};
use crate::settings::LogSettings;

/// Blocks of each lane: 2 MiB hold a few thousand events.
const LANE: LaneSettings = LaneSettings { blocks: 8, block_bytes: 256 << 10, flush: Duration::from_millis(100) };

/// Name of the file in the log directory.
const FILE_NAME: &str = "eve.json";

/// Starts the log.
#[derive(Debug)]
pub struct LogWriter;

impl LogWriter {
    /// Makes the directory if needed, opens `eve.json` and starts the writer thread. Gives the handle and one lane for
    /// each of `workers` workers.
    pub fn start(settings: &LogSettings, workers: usize) -> Result<(LogHandle, Vec<EventLane>), LogError> {
        Self::start_with(settings, workers, LANE, Box::new(file::open))
    }

    fn start_with(
        settings: &LogSettings,
        workers: usize,
        lane: LaneSettings,
        open: OpenFile,
    ) -> Result<(LogHandle, Vec<EventLane>), LogError> {
        let directory = &settings.directory;
        DirBuilder::new()
            .recursive(true)
            .create(directory)
            .map_err(|source| LogError::MakeDirectory { directory: directory.clone(), source })?;
        let path = directory.join(FILE_NAME);
        let file = LogFile::new(path.clone(), open).map_err(|source| LogError::Open { path: path.clone(), source })?;
        let (queue, lanes) = blocks::lanes(workers, lane);
        let monitor = LogMonitor {
            directory: directory.to_string_lossy().escape_debug().to_string().into(),
            lanes: queue.counters().into(),
            error: Arc::default(),
        };
        let slot = queue.writer_slot();
        let writer =
            Writer { path: path.to_string_lossy().escape_debug().to_string(), file, error: Arc::clone(&monitor.error) };
        let thread = std::thread::Builder::new()
            .name("vxtap-log".to_owned())
            .spawn(move || writer.write_all(queue))
            .map_err(LogError::Thread)?;
        slot.set(thread.thread().clone());
        let lanes = lanes.into_iter().map(|blocks| EventLane::new(blocks, lane.block_bytes));
        Ok((LogHandle { monitor, thread }, lanes.collect()))
    }
}

struct Writer {
    path: String,
    file: LogFile,
    error: Arc<Mutex<Option<String>>>,
}

impl Writer {
    /// The thread: until every lane is closed.
    fn write_all(mut self, mut queue: BlockQueue) {
        let counters = queue.counters();
        while let Some((lane, block)) = queue.next() {
            if self.write(&block.bytes) {
                counters[lane].add_written(block.records);
            } else {
                counters[lane].add_discarded(block.records);
            }
            queue.give_back(lane, block);
        }
    }

    fn write(&mut self, lines: &[u8]) -> bool {
        let appended = self.file.append(lines);
        let mut standing = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        match appended {
            Ok(true) => {
                if standing.take().is_some() {
                    tracing::info!("events are written again to '{}'", self.path);
                }
                true
            }
            Ok(false) => false,
            Err(error) => {
                let error = format!("cannot write log file '{}': {error}", self.path);
                if standing.as_ref() != Some(&error) {
                    tracing::warn!("{error}; events are not logged until this is mended");
                }
                *standing = Some(error);
                false
            }
        }
    }
}

/// The log under way.
#[derive(Debug)]
pub struct LogHandle {
    monitor: LogMonitor,
    thread: JoinHandle<()>,
}

impl LogHandle {
    /// What the log looks like now.
    pub fn status(&self) -> LogSnapshot {
        self.monitor.status()
    }

    /// A view that can be given to others and outlives the run.
    pub fn monitor(&self) -> LogMonitor {
        self.monitor.clone()
    }

    /// Waits until every lane is dropped and everything is in the file.
    pub fn finish(self) -> LogTotals {
        let Self { monitor, thread } = self;
        let died = thread.join().is_err();
        let LogSnapshot { events, events_dropped, error, .. } = monitor.status();
        // A writer that died took events with it that it had not counted.
        let pending: u64 = monitor.lanes.iter().map(|lane| lane.pending()).sum();
        let error = if died { Some("the log writer ended unexpectedly".to_owned()) } else { error };
        LogTotals { events, events_dropped: events_dropped + pending, error }
    }
}

/// A view of the log, under way or finished.
#[derive(Clone, Debug)]
pub struct LogMonitor {
    directory: Arc<str>,
    lanes: Arc<[Arc<LaneCounters>]>,
    error: Arc<Mutex<Option<String>>>,
}

impl LogMonitor {
    /// What the log looks like now.
    pub fn status(&self) -> LogSnapshot {
        LogSnapshot {
            directory: self.directory.to_string(),
            events: self.lanes.iter().map(|lane| lane.written()).sum(),
            events_dropped: self.lanes.iter().map(|lane| lane.dropped()).sum(),
            error: self.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// What became of the events of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogTotals {
    /// In the file.
    pub events: u64,
    /// Not in the file: the disk was too slow, full or gone.
    pub events_dropped: u64,
    /// What was wrong at the end; `None` where writing worked, or worked again.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests;
