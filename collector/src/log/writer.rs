//! Writing the log, in a thread or in the workers' own, and what the outside can ask about it.

use std::fs::DirBuilder;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vxtap_analyzers::snapshot::LogSnapshot;

use super::closed::ClosedFiles;
use super::file::{self, LogFile, Now, OpenFile};
use super::{EventLane, LogError, PATIENCE, lines_in};
use crate::blocks::{self, Block, BlockQueue, BlockWriter, LaneCounters, LaneSettings, Next, Nudge};
use crate::outputs::whereabouts;
use crate::settings::LogSettings;

/// Blocks of each lane: 2 MiB hold a few thousand events.
const LANE: LaneSettings = LaneSettings { blocks: 8, block_bytes: 256 << 10, flush: Duration::from_millis(100) };

/// How long the end of a run sleeps between two looks at the writer.
const END_PAUSE: Duration = Duration::from_millis(1);

/// Name of the file in the log directory.
const FILE_NAME: &str = "eve.json";

/// Starts the log.
#[derive(Debug)]
pub struct LogWriter;

impl LogWriter {
    /// Makes the directory if needed, opens `eve.json` and starts the writer thread. Gives the handle and so many `lanes`, one
    /// for each thread that writes events.
    pub fn start(settings: &LogSettings, lanes: usize) -> Result<(LogHandle, Vec<EventLane>), LogError> {
        Self::start_with(settings, lanes, LANE, Box::new(file::open), false)
    }

    /// The same without a thread: whoever hands over events writes them. For those who may wait for a disk.
    pub fn start_in_place(settings: &LogSettings, lanes: usize) -> Result<(LogHandle, Vec<EventLane>), LogError> {
        Self::start_with(settings, lanes, LANE, Box::new(file::open), true)
    }

    fn start_with(
        settings: &LogSettings,
        lanes: usize,
        lane: LaneSettings,
        open: OpenFile,
        in_place: bool,
    ) -> Result<(LogHandle, Vec<EventLane>), LogError> {
        let directory = &settings.directory;
        DirBuilder::new()
            .recursive(true)
            .create(directory)
            .map_err(|source| LogError::MakeDirectory { directory: directory.clone(), source })?;
        let path = directory.join(FILE_NAME);
        let closed = ClosedFiles::new(directory.clone(), settings.keep);
        let file = LogFile::new(path.clone(), settings.rotation, closed, open)
            .map_err(|source| LogError::Open { path: path.clone(), source })?;
        let (queue, mut lanes) = blocks::lanes(lanes, lane);
        let monitor =
            LogMonitor { directory: whereabouts(directory), lanes: queue.counters().into(), error: Arc::default() };
        let slot = queue.writer_slot();
        let reopen = LogReopen { asked: Arc::default(), nudge: queue.nudge() };
        let mut writer = Writer {
            path: path.to_string_lossy().escape_debug().to_string(),
            file,
            error: Arc::clone(&monitor.error),
            reopen: Arc::clone(&reopen.asked),
            counters: queue.counters(),
            queue,
        };
        let thread = if in_place {
            blocks::write_in_place(&mut lanes, writer);
            None
        } else {
            let thread = std::thread::Builder::new()
                .name("vxtap-log".to_owned())
                .spawn(move || while writer.round(writer.file.over_in(Now::read())) {})
                .map_err(LogError::Thread)?;
            slot.set(thread.thread().clone());
            Some(thread)
        };
        let lanes = lanes.into_iter().map(|blocks| EventLane::new(blocks, settings.events, lane.block_bytes));
        Ok((LogHandle { monitor, reopen, thread }, lanes.collect()))
    }
}

struct Writer {
    path: String,
    file: LogFile,
    error: Arc<Mutex<Option<String>>>,
    reopen: Arc<AtomicBool>,
    queue: BlockQueue,
    counters: Vec<Arc<LaneCounters>>,
}

impl BlockWriter for Writer {
    fn round(&mut self, time: Option<Duration>) -> bool {
        let next = self.queue.next_within(time);
        if self.reopen.swap(false, Ordering::AcqRel) {
            let reopened = self.file.reopen();
            self.note(reopened.map(|()| true));
        }
        match next {
            Next::Block(lane, block) => {
                let written = self.write(&block);
                self.counters[lane].add_written(written);
                self.counters[lane].add_discarded(block.records - written);
                self.queue.give_back(lane, block);
            }
            Next::Nothing => {
                if let Err(error) = self.file.rotate_if_over(Now::read()) {
                    self.note(Err(error));
                }
            }
            Next::Closed => return false,
        }
        true
    }

    fn close(self) {}
}

impl Writer {
    /// Writes the lines of `block`, and gives how many of them are in a file.
    fn write(&mut self, block: &Block) -> u64 {
        let appended = self.file.append(&block.bytes, Now::read());
        let whole = appended.bytes == block.bytes.len();
        let written = if whole { block.records } else { lines_in(&block.bytes[..appended.bytes]).min(block.records) };
        self.note(match appended.error {
            Some(error) => Err(error),
            None => Ok(whole),
        });
        written
    }

    /// Tells of an error once, and of its end. `Ok(false)` is neither.
    fn note(&self, outcome: io::Result<bool>) {
        let mut standing = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(true) => {
                if standing.take().is_some() {
                    tracing::info!("events are written again to '{}'", self.path);
                }
            }
            Ok(false) => {}
            Err(error) => {
                let error = format!("cannot write log file '{}': {error}", self.path);
                if standing.as_ref() != Some(&error) {
                    tracing::warn!("{error}; events are not logged until this is mended");
                }
                *standing = Some(error);
            }
        }
    }
}

/// Asks the log to open its file again, from any thread: it was renamed, and what comes now belongs into the next.
#[derive(Clone, Debug)]
pub struct LogReopen {
    asked: Arc<AtomicBool>,
    nudge: Nudge,
}

impl LogReopen {
    /// Asks. What was written before stays where it is, and nothing is lost.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.nudge.nudge();
    }
}

/// The log under way.
#[derive(Debug)]
pub struct LogHandle {
    monitor: LogMonitor,
    reopen: LogReopen,
    /// `None` where nobody but the lanes' owners writes.
    thread: Option<JoinHandle<()>>,
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

    /// A way to have the file opened again.
    pub fn reopen(&self) -> LogReopen {
        self.reopen.clone()
    }

    /// Waits until every lane is dropped and everything is in the file, or given up and counted: the writer is stuck.
    pub fn finish(self) -> LogTotals {
        self.finish_within(PATIENCE)
    }

    /// The same; the writer is stuck where it has written nothing for `patience`.
    fn finish_within(self, patience: Duration) -> LogTotals {
        let Self { monitor, thread, .. } = self;
        let ended = thread.map_or(Ok(()), |thread| monitor.wait_for(thread, patience));
        let LogSnapshot { events, events_dropped, error, .. } = monitor.status();
        // A writer that died, or is stuck, has events that it had not counted.
        let pending: u64 = monitor.lanes.iter().map(|lane| lane.pending()).sum();
        LogTotals { events, events_dropped: events_dropped + pending, error: ended.err().or(error) }
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
    /// Waits for the end of the writer's thread; an error is one that has died, or has written nothing for `patience`, and is left alone.
    fn wait_for(&self, thread: JoinHandle<()>, patience: Duration) -> Result<(), String> {
        let done = || self.lanes.iter().map(|lane| lane.done()).sum::<u64>();
        let (mut before, mut moved) = (done(), Instant::now());
        while !thread.is_finished() {
            if moved.elapsed() >= patience {
                return Err(format!("the log writer is stuck: nothing was written for {} s", patience.as_secs_f64()));
            }
            std::thread::sleep(END_PAUSE);
            let now = done();
            if now != before {
                (before, moved) = (now, Instant::now());
            }
        }
        thread.join().map_err(|_| "the log writer ended unexpectedly".to_owned())
    }

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
    /// Not in the file: the disk was too slow, full, gone or stuck.
    pub events_dropped: u64,
    /// What was wrong at the end; `None` where writing worked, or worked again.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests;
