//! A capture as a stream: to standard output, or into a FIFO.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use vxtap_filter::Filter;

use super::Input;
use super::files::{Outcome, Progress, lock};
use super::merge::{Held, Run};
use crate::follow::Encoder;
use crate::streams::StreamRegistry;
use crate::worker::unix_ns;

/// What stands for standard output where a directory could.
const STANDARD_OUTPUT: &str = "-";
/// How long somebody who waits for a reader of the FIFO sleeps between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How often a FIFO's reader is looked after while there is nothing to write: the next one is to get a stream from its beginning.
const READER_LOOK: Duration = Duration::from_millis(50);
/// How often a reader is looked for after the last one has left.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where the stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StreamTarget {
    StandardOutput,
    /// Its reader may come, go and come again: each gets a stream from its beginning.
    Fifo(PathBuf),
}

impl StreamTarget {
    /// Whether `--write` was given a stream: `-`, or a FIFO that is there. Everything else is a directory.
    pub(super) fn of(path: &Path) -> Option<Self> {
        if path == Path::new(STANDARD_OUTPUT) {
            return Some(Self::StandardOutput);
        }
        let fifo = path.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo());
        fifo.then(|| Self::Fifo(path.to_owned()))
    }

    /// `None` while nobody reads.
    fn open(&self) -> io::Result<Option<File>> {
        match self {
            Self::StandardOutput => Ok(Some(io::stdout().as_fd().try_clone_to_owned()?.into())),
            Self::Fifo(path) => {
                // Opened to wait for a reader it would hold up the end of the run.
                let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
                match OpenOptions::new().write(true).custom_flags(nonblocking).open(path) {
                    Ok(file) => {
                        let flags = rustix::fs::fcntl_getfl(&file)?;
                        rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
                        Ok(Some(file))
                    }
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// Writes the stream. A reader that is slow makes the writer wait, and then frames go uncaptured and are counted, as with a slow
/// disk; so do frames while nobody reads.
pub(super) struct StreamSink {
    target: StreamTarget,
    streams: Arc<StreamRegistry>,
    progress: Arc<Mutex<Progress>>,
    input: Input,
    open: Option<(File, Encoder)>,
    /// Standard output was closed, and cannot come back.
    gone: bool,
    buffer: Vec<u8>,
    /// After a reader has left: when to look for the next one.
    retry_at: Option<Instant>,
    /// While somebody reads a FIFO: when to look whether it still does.
    reader_at: Option<Instant>,
}

impl StreamSink {
    pub(super) fn new(
        target: StreamTarget,
        streams: Arc<StreamRegistry>,
        progress: Arc<Mutex<Progress>>,
        input: Input,
    ) -> Self {
        Self {
            target,
            streams,
            progress,
            input,
            open: None,
            gone: false,
            buffer: Vec::new(),
            retry_at: None,
            reader_at: None,
        }
    }

    /// Writes the records of `runs` and tells `outcome` what became of how many of which lane.
    pub(super) fn write(&mut self, held: &[Held], runs: &[Run], mut outcome: impl FnMut(usize, Outcome)) {
        for run in runs {
            let written = self.write_run(&held[run.held].block.bytes[run.bytes.clone()]);
            let (written, discarded) = if written { (run.records, 0) } else { (0, run.records) };
            outcome(held[run.held].lane, Outcome { written, discarded });
        }
    }

    fn write_run(&mut self, records: &[u8]) -> bool {
        if !self.ready() {
            return false;
        }
        let Some((file, encoder)) = &mut self.open else { return false };
        self.buffer.clear();
        encoder.append(records, usize::MAX, usize::MAX, &mut self.buffer);
        match file.write_all(&self.buffer) {
            Ok(()) => {
                lock(&self.progress).bytes += self.buffer.len() as u64;
                true
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    /// Sees to it that there is somebody to write for. A file that is read waits for that, a network does not.
    fn ready(&mut self) -> bool {
        while self.open.is_none() && !self.gone {
            match self.begin() {
                Ok(true) => {}
                Ok(false) if self.input != Input::Live => std::thread::sleep(LOOK),
                Ok(false) => return false,
                Err(error) => {
                    self.fail(&error);
                    return false;
                }
            }
        }
        self.open.is_some()
    }

    fn begin(&mut self) -> io::Result<bool> {
        let Some(mut file) = self.target.open()? else { return Ok(false) };
        let all = Filter::parse("").map_err(|error| io::Error::other(error.to_string()))?;
        self.buffer.clear();
        Encoder::begin(&mut self.buffer);
        file.write_all(&self.buffer)?;
        self.open = Some((file, Encoder::new(Arc::clone(&self.streams), all, unix_ns())));
        lock(&self.progress).error = None;
        self.retry_at = None;
        self.reader_at = matches!(self.target, StreamTarget::Fifo(_)).then(|| Instant::now() + READER_LOOK);
        Ok(true)
    }

    /// Looks for a reader where the last one has left and no record has come to look: a collector that gets no traffic because
    /// nobody takes its capture would otherwise never hear that somebody does. And notices that the reader has left though there is nothing
    /// to write.
    pub(super) fn look_again(&mut self) {
        if self.look_again_in() != Some(Duration::ZERO) {
            return;
        }
        if let Some((file, _)) = &self.open {
            self.reader_at = Some(Instant::now() + READER_LOOK);
            if has_no_reader(file) {
                self.fail(&io::ErrorKind::BrokenPipe.into());
            }
            return;
        }
        self.retry_at = Some(Instant::now() + RETRY_AFTER);
        if let Err(error) = self.begin() {
            self.fail(&error);
        }
    }

    /// When [`StreamSink::look_again`] will have something to do.
    pub(super) fn look_again_in(&self) -> Option<Duration> {
        let at = if self.open.is_some() { self.reader_at } else { self.retry_at.filter(|_| !self.gone) }?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    fn fail(&mut self, error: &io::Error) {
        (self.open, self.reader_at) = (None, None);
        self.retry_at = Some(Instant::now() + RETRY_AFTER);
        let what = match &self.target {
            StreamTarget::StandardOutput => "standard output".to_owned(),
            StreamTarget::Fifo(path) => format!("'{}'", path.display()),
        };
        self.gone = self.target == StreamTarget::StandardOutput;
        let text = format!("cannot write the capture to {what}: {error}");
        tracing::warn!("{text}; frames are not captured");
        lock(&self.progress).error = Some(text);
    }

    /// Ends the stream with its statistics.
    pub(super) fn close(&mut self) {
        if let Some((mut file, encoder)) = self.open.take() {
            self.buffer.clear();
            encoder.end(unix_ns(), &mut self.buffer);
            // Whoever has left does not need them.
            let _ = file.write_all(&self.buffer);
        }
    }
}

/// Whether nobody has the other end of this pipe open.
fn has_no_reader(pipe: &File) -> bool {
    let mut looked_at = [PollFd::new(pipe, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut looked_at, Some(&at_once)).is_ok() && looked_at[0].revents().contains(PollFlags::ERR)
}
