//! The writers of a run: captures and logs, each a thread of its own where a network does not wait, and the workers' lanes to them.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use vxtap_analyzers::protocols::EventKind;
use vxtap_analyzers::snapshot::{CaptureSnapshot, LogSnapshot};

use crate::blocks::WhenFull;
use crate::capture::{
    CaptureError, CaptureHandle, CaptureLane, CaptureMonitor, Captures, CutFrames, Input, KeeperError, TornFiles,
};
use crate::follow::Hub;
use crate::health::CaptureWatch;
use crate::log::{EventLane, LogError, LogHandle, LogMonitor, LogReopen, LogTotals, LogWriter, StatsLog};
use crate::settings::PipelineSettings;
use crate::streams::StreamRegistry;

/// The writers.
#[derive(Debug)]
pub(crate) struct Outputs {
    capture: Option<CaptureHandle>,
    /// Whether what is captured goes into files, and not to followers alone.
    files: bool,
    log: Option<LogHandle>,
    /// The log's `stats` events, until somebody takes them over.
    stats: Option<StatsLog>,
}

/// How the writers are doing.
#[derive(Clone, Debug)]
pub(crate) struct OutputMonitor {
    capture: Option<CaptureMonitor>,
    log: Option<LogMonitor>,
}

/// One worker's lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    pub(crate) capture: Option<CaptureLane>,
    pub(crate) log: Option<EventLane>,
}

impl Outputs {
    /// Opens what `settings` asks for, with lanes for its workers, which work on `input`. Frames of now can be followed at `hub`, written to
    /// files or not.
    pub(crate) fn open(
        settings: &PipelineSettings,
        streams: &Arc<StreamRegistry>,
        hub: &Hub,
        input: Input,
    ) -> anyhow::Result<(Self, Vec<Lanes>)> {
        let workers = settings.workers as usize;
        let files = settings.capture.is_some();
        let (capture, capture_lanes) = if files || input == Input::Live {
            let captures = Captures { streams: Arc::clone(streams), hub: hub.clone(), workers, input };
            Some(captures.start(settings.capture.as_ref())?)
        } else {
            None
        }
        .unzip();
        // One lane more, for what no worker knows.
        let start = if input == Input::Live { LogWriter::start } else { LogWriter::start_in_place };
        let start = |log| start(log, workers + 1);
        let (log, log_lanes) = settings.log.as_ref().map(start).transpose()?.unzip();
        // A network does not wait, a file does.
        let when_full = if input == Input::Live { WhenFull::Refuse } else { WhenFull::Wait };
        let (mut capture_lanes, mut log_lanes) = (capture_lanes.unwrap_or_default(), log_lanes.unwrap_or_default());
        for lane in &mut capture_lanes {
            lane.set_when_full(when_full);
        }
        for lane in &mut log_lanes {
            lane.set_when_full(when_full);
        }
        let wants_stats = |lane: &EventLane| lane.wants(EventKind::Stats);
        let stats_interval = settings.log.as_ref().and_then(|log| log.stats_interval);
        let stats = log_lanes.pop().filter(wants_stats).map(|lane| StatsLog::new(lane, stats_interval));
        let (mut capture_lanes, mut log_lanes) = (capture_lanes.into_iter(), log_lanes.into_iter());
        let lanes = (0..workers).map(|_| Lanes { capture: capture_lanes.next(), log: log_lanes.next() });
        let lanes = lanes.collect();
        Ok((Self { capture, files, log, stats }, lanes))
    }

    /// A way to look at the writers, that outlives them.
    pub(crate) fn monitor(&self) -> OutputMonitor {
        OutputMonitor {
            capture: self.capture.as_ref().filter(|_| self.files).map(CaptureHandle::monitor),
            log: self.log.as_ref().map(LogHandle::monitor),
        }
    }

    /// Where `stats` events are written, if they are; the log does not end before it is dropped.
    pub(crate) fn take_stats(&mut self) -> Option<StatsLog> {
        self.stats.take()
    }

    /// A way to have the log's file opened again.
    pub(crate) fn log_reopen(&self) -> Option<LogReopen> {
        self.log.as_ref().map(LogHandle::reopen)
    }

    /// Waits until every lane of the log is closed and all of its events are written, or given up and counted. Gives what became of them;
    /// `None` without a log.
    pub(crate) fn finish_log(&mut self) -> Option<LogSnapshot> {
        self.stats = None;
        let log = self.log.take()?;
        let status = log.status();
        let LogTotals { events, events_dropped, error } = log.finish();
        if let Some(error) = &error {
            tracing::error!("logs: {error}");
        }
        if events_dropped > 0 {
            tracing::warn!("logs: {events_dropped} events are not in '{}', beside {events} that are", status.directory);
        }
        Some(LogSnapshot { events, events_dropped, error, ..status })
    }

    /// Waits until every lane of the capture is closed and everything that the lanes were given is written, or given up and
    /// counted. Gives for each worker the frames that were written, and those that should have been and were not.
    pub(crate) fn finish_captures(&mut self) -> Vec<(u64, u64)> {
        let Some(capture) = self.capture.take() else { return Vec::new() };
        let totals = capture.finish();
        if let Some(error) = totals.error {
            tracing::error!("captures: {error}");
        }
        if !self.files {
            return Vec::new();
        }
        totals.lanes.iter().map(|lane| (lane.written, lane.dropped)).collect()
    }
}

/// `directory` as whoever looks at the run from elsewhere finds it: from the root on, and without characters that do something.
pub(crate) fn whereabouts(directory: &Path) -> Arc<str> {
    let absolute = std::path::absolute(directory);
    let directory = absolute.as_deref().unwrap_or(directory);
    directory.to_string_lossy().escape_debug().to_string().into()
}

/// Whether `error`, of [`Outputs::open`], is a name where something else than a directory is: whoever gave it has to give another.
pub(crate) fn is_no_directory(error: &anyhow::Error) -> bool {
    let capture = error.downcast_ref::<CaptureError>().and_then(|error| match error {
        CaptureError::Keep(KeeperError::MakeDirectory { source, .. }) => Some(source),
        _ => None,
    });
    let log = error.downcast_ref::<LogError>().and_then(|error| match error {
        LogError::MakeDirectory { source, .. } => Some(source),
        _ => None,
    });
    let no_directory =
        |source: &io::Error| matches!(source.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory);
    capture.or(log).is_some_and(no_directory)
}

impl OutputMonitor {
    /// Frames of `worker` that were written, and that should have been and were not.
    pub(crate) fn captured(&self, worker: u32) -> (u64, u64) {
        let lane = worker as usize;
        self.capture.as_ref().map_or((0, 0), |capture| (capture.written(lane), capture.dropped(lane)))
    }

    /// Frames of `worker` that were captured without their end, by choice.
    pub(crate) fn cut(&self, worker: u32) -> CutFrames {
        self.capture.as_ref().map(|capture| capture.cut(worker as usize)).unwrap_or_default()
    }

    /// Capture files that somebody deleted, cut or moved away while they were written.
    pub(crate) fn displaced(&self) -> u64 {
        self.capture.as_ref().map_or(0, CaptureMonitor::displaced)
    }

    /// What became of capture files whose writers were killed.
    pub(crate) fn torn(&self) -> TornFiles {
        self.capture.as_ref().map(CaptureMonitor::torn).unwrap_or_default()
    }

    pub(crate) fn capture(&self) -> Option<CaptureSnapshot> {
        self.capture.as_ref().map(CaptureMonitor::status)
    }

    /// A way to look at the files' writer without waiting for it; `None` where there are no files.
    pub(crate) fn capture_watch(&self) -> Option<CaptureWatch> {
        self.capture.clone().map(CaptureWatch::new)
    }

    pub(crate) fn log(&self) -> Option<LogSnapshot> {
        self.log.as_ref().map(LogMonitor::status)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::whereabouts;

    #[test]
    fn a_directory_is_told_from_the_root_on() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(*whereabouts(Path::new("captures/a")), *here.join("captures/a").to_str().unwrap());
        assert_eq!(*whereabouts(Path::new("/captures\u{1b}[m")), *"/captures\\u{1b}[m");
        assert_eq!(*whereabouts(Path::new("")), *"", "where there is none");
    }
}
