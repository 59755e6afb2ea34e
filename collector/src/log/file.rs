//! `eve.json`: whole lines, appended.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often to look whether the file is still under its name, and how long to wait after an error.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Makes or opens the file.
pub(super) type OpenFile = Box<dyn FnMut(&Path) -> io::Result<File> + Send>;

/// The file under its name, opened again when that name is another file's or when writing failed.
pub(super) struct LogFile {
    path: PathBuf,
    open: OpenFile,
    file: Option<File>,
    look_at: Instant,
    /// Not before then, after an error.
    retry_at: Option<Instant>,
}

impl LogFile {
    pub(super) fn new(path: PathBuf, mut open: OpenFile) -> io::Result<Self> {
        let file = Some(open(&path)?);
        Ok(Self { path, open, file, look_at: Instant::now() + LOOK_EVERY, retry_at: None })
    }

    /// Appends whole lines, or none of them. `Ok(false)` where the disk is not to be tried yet.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<bool> {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| now < at) {
            return Ok(false);
        }
        let appended = self.try_append(lines, now);
        self.retry_at = appended.is_err().then(|| now + LOOK_EVERY);
        appended.map(|()| true)
    }

    fn try_append(&mut self, lines: &[u8], now: Instant) -> io::Result<()> {
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            self.file.take_if(|file| !is_named(file, &self.path));
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => (self.open)(&self.path)?,
        };
        let length = file.metadata().map(|metadata| metadata.len());
        if let Err(error) = file.write_all(lines) {
            // The lines before stay whole. Where that fails as well, opening the file again ends the cut line.
            if length.and_then(|length| file.set_len(length)).is_ok() {
                self.file = Some(file);
            }
            return Err(error);
        }
        self.file = Some(file);
        Ok(())
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
