//! `eve.json`: whole lines, appended.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::closed::ClosedFiles;
use super::rotation::LogRotation;
use crate::worker::unix_ns;

/// How often to look whether the file is still under its name, and how long to wait after an error.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest wait for the end of an interval: the clock may be set meanwhile.
const WAIT_MAX: Duration = Duration::from_mins(1);

/// Makes or opens the file.
pub(super) type OpenFile = Box<dyn FnMut(&Path) -> io::Result<File> + Send>;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) unix_ns: u64,
}

impl Now {
    pub(super) fn read() -> Self {
        Self { instant: Instant::now(), unix_ns: unix_ns() }
    }
}

/// What became of lines that were to be appended.
#[derive(Debug)]
pub(super) struct Appended {
    /// So many bytes from their beginning are in a file: whole lines.
    pub(super) bytes: usize,
    /// Why the others are not; `None` also where the disk is not to be tried yet.
    pub(super) error: Option<io::Error>,
}

/// The file under its name, opened again when that name is another file's or when writing failed, and closed when it is full.
pub(super) struct LogFile {
    path: PathBuf,
    open: OpenFile,
    file: Option<File>,
    rotation: LogRotation,
    closed: ClosedFiles,
    /// The interval that the open file's lines are of; `None` while it has none.
    interval: Option<Range<u64>>,
    look_at: Instant,
    /// Not before then, after an error.
    retry_at: Option<Instant>,
    /// No closing of files before then, after an error.
    rotate_at: Option<Instant>,
}

impl LogFile {
    pub(super) fn new(path: PathBuf, rotation: LogRotation, closed: ClosedFiles, open: OpenFile) -> io::Result<Self> {
        let look_at = Instant::now() + LOOK_EVERY;
        let mut file =
            Self { path, open, file: None, rotation, closed, interval: None, look_at, retry_at: None, rotate_at: None };
        file.opened()?;
        file.prune();
        Ok(file)
    }

    /// Appends whole lines: all, or those before an error.
    pub(super) fn append(&mut self, lines: &[u8], now: Now) -> Appended {
        let mut bytes = 0;
        if self.retry_at.is_some_and(|at| now.instant < at) {
            return Appended { bytes, error: None };
        }
        while bytes < lines.len() {
            match self.append_some(&lines[bytes..], now) {
                Ok(more) => bytes += more,
                Err(error) => {
                    self.retry_at = Some(now.instant + LOOK_EVERY);
                    return Appended { bytes, error: Some(error) };
                }
            }
        }
        self.retry_at = None;
        Appended { bytes, error: None }
    }

    /// Appends what the file takes of `lines`, one line at least, and gives its length.
    fn append_some(&mut self, lines: &[u8], now: Now) -> io::Result<usize> {
        if now.instant >= self.look_at {
            self.look_at = now.instant + LOOK_EVERY;
            self.let_go_if_renamed();
        }
        let mut length = self.opened()?.metadata()?.len();
        let mut fits = self.rotation.fits(length, lines);
        if length > 0 && (fits == 0 || self.is_over(now.unix_ns)) {
            self.rotate(now);
            length = self.opened()?.metadata()?.len();
            fits = self.rotation.fits(length, lines);
        }
        if fits == 0 {
            // It could not be closed: better a file that is too long than lines that are lost.
            fits = lines.len();
        }
        let Some(mut file) = self.file.take() else { return Ok(0) };
        if let Err(error) = file.write_all(&lines[..fits]) {
            // The lines before stay whole. Where that fails as well, opening the file again ends the cut line.
            if file.set_len(length).is_ok() {
                self.file = Some(file);
            }
            return Err(error);
        }
        self.file = Some(file);
        if length == 0 || self.interval.is_none() {
            self.interval = Some(self.rotation.interval_of(now.unix_ns));
        }
        Ok(fits)
    }

    /// Opens the file again, under whatever name it was written until now.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        self.retry_at = None;
        self.opened().map(drop)
    }

    /// Closes the file if its interval is over though no line has come to say so.
    pub(super) fn rotate_if_over(&mut self, now: Now) -> io::Result<()> {
        if !self.is_over(now.unix_ns) {
            return Ok(());
        }
        let rotated = self.rotate_now(now);
        if rotated.is_err() {
            self.rotate_at = Some(now.instant + LOOK_EVERY);
        }
        rotated
    }

    fn rotate_now(&mut self, now: Now) -> io::Result<()> {
        if self.opened()?.metadata()?.len() == 0 {
            self.interval = None;
            return Ok(());
        }
        self.rotate(now);
        self.opened().map(drop)
    }

    /// How long until [`LogFile::rotate_if_over`] may have something to do.
    pub(super) fn over_in(&self, now: Now) -> Option<Duration> {
        let interval = self.interval.as_ref().filter(|interval| interval.end != u64::MAX)?;
        let until_over = Duration::from_nanos(interval.end.saturating_sub(now.unix_ns));
        let until_retry = self.rotate_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now.instant));
        Some(until_over.max(until_retry).min(WAIT_MAX))
    }

    /// Whether the open file's interval is over, or far ahead since the clock was set back.
    fn is_over(&self, unix_ns: u64) -> bool {
        self.interval.as_ref().is_some_and(|interval| {
            let long = interval.end - interval.start;
            interval.end != u64::MAX && (unix_ns >= interval.end || unix_ns.saturating_add(long) < interval.start)
        })
    }

    /// The open file, opened if it is not.
    fn opened(&mut self) -> io::Result<&File> {
        if let Some(file) = self.file.take() {
            return Ok(self.file.insert(file));
        }
        let file = match (self.open)(&self.path) {
            // The directory was removed while we ran: make it again, as at the start.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                (self.open)(&self.path)?
            }
            opened => opened?,
        };
        // What was there belongs to the interval in which it was written last.
        let metadata = file.metadata()?;
        let written = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let written = written.and_then(|time| u64::try_from(time.as_nanos()).ok());
        let written = written.filter(|_| metadata.len() > 0);
        self.interval = written.map(|written| self.rotation.interval_of(written));
        Ok(self.file.insert(file))
    }

    fn let_go_if_renamed(&mut self) {
        self.file.take_if(|file| !is_named(file, &self.path));
    }

    /// Closes the open file under a name of its own. Where that fails it stays, and is written on.
    fn rotate(&mut self, now: Now) {
        if self.rotate_at.is_some_and(|at| now.instant < at) {
            return;
        }
        self.let_go_if_renamed();
        if self.file.is_none() {
            return;
        }
        match self.closed.rename(&self.path, now.unix_ns) {
            Ok(()) => {
                (self.file, self.interval, self.rotate_at) = (None, None, None);
                self.prune();
            }
            Err(error) => {
                tracing::warn!("cannot rename log file '{}', which goes on: {error}", self.path.display());
                self.rotate_at = Some(now.instant + WAIT_MAX);
            }
        }
    }

    fn prune(&self) {
        if let Err(error) = self.closed.prune() {
            tracing::warn!("cannot delete old log files beside '{}': {error}", self.path.display());
        }
    }
}

fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Opens the file to append to it; only one process may, or their lines could mix.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        return Err(io::Error::other("another process writes to it"));
    }
    end_cut_line(&mut file)?;
    Ok(file)
}

/// A line that an earlier run could not finish must not run into the next.
fn end_cut_line(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    if last == [b'\n'] { Ok(()) } else { file.write_all(b"\n") }
}

#[cfg(test)]
mod tests;
