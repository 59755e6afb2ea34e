//! The bytes of one capture file: appended whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::num::NonZeroU64;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, OFlags, StatFs};

use super::direct::{self, Gather};
use crate::settings::CaptureSettings;

/// Through the page cache, a write of this size is soon over, and still costs little for each frame.
const BUFFERED_WRITE_BYTES: usize = 64 << 10;
/// After so many bytes the page cache is told to let go of what was written before them.
const CACHE_WINDOW_BYTES: u64 = 8 << 20;

/// Makes the file at a path that does not exist yet; says whether it is written around the page cache.
pub(super) type Create = Arc<dyn Fn(&Path) -> io::Result<(File, bool)> + Send + Sync>;

/// How files are made: with O_DIRECT where that is wanted and the file system can.
pub(super) fn creator(direct: bool) -> Create {
    Arc::new(move |path| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        if direct {
            let direct_flag = OFlags::DIRECT.bits().cast_signed();
            match options.clone().custom_flags(direct_flag).open(path) {
                Ok(file) if !is_in_memory(&file) => return Ok((file, true)),
                Ok(file) => {
                    // Files in memory take the flag and go through the page cache all the same.
                    let flags = rustix::fs::fcntl_getfl(&file)?;
                    rustix::fs::fcntl_setfl(&file, flags - OFlags::DIRECT)?;
                    return Ok((file, false));
                }
                // Some file systems make the file before they refuse the flag.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    let _ = std::fs::remove_file(path);
                }
                Err(error) => return Err(error),
            }
        }
        options.open(path).map(|file| (file, false))
    })
}

/// Whether a write of captures with these settings may be one around the page cache.
pub(super) fn may_wait_for_disk(settings: &CaptureSettings) -> bool {
    settings.direct
        && settings.format.takes_padding()
        && !rustix::fs::statfs(&settings.directory).is_ok_and(|found| is_memory(&found))
}

/// Whether `file` is on tmpfs or ramfs.
fn is_in_memory(file: &File) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|found| is_memory(&found))
}

fn is_memory(found: &StatFs) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    matches!(found.f_type.cast_unsigned(), TMPFS | RAMFS)
}

/// An open file.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// Its length: whole pcapng blocks.
    length: u64,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Buffered {
        /// What the page cache was already told about.
        advised: u64,
    },
    Direct(Gather),
}

/// What somebody did to a file that is being written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Displacement {
    /// It has no name any more.
    Deleted,
    /// It is shorter than what was written to it.
    Cut,
    /// It is not where it was put, but here; `None` where the system does not say.
    Moved(Option<PathBuf>),
}

/// What an error left behind.
#[derive(Debug)]
pub(super) struct AppendError {
    pub(super) source: io::Error,
    /// Whether the file is as it was before and can be appended to again.
    pub(super) intact: bool,
}

impl Output {
    pub(super) fn new((file, direct): (File, bool)) -> Self {
        let mode = if direct { Mode::Direct(Gather::new(&file)) } else { Mode::Buffered { advised: 0 } };
        Self { file, length: 0, mode }
    }

    /// Bytes in the file.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The most that should be appended at a time, unless a single record is longer.
    pub(super) const fn append_bytes(&self) -> usize {
        match self.mode {
            Mode::Buffered { .. } => BUFFERED_WRITE_BYTES,
            Mode::Direct(_) => usize::MAX,
        }
    }

    /// The most that one append adds to the file besides what it is given.
    pub(super) const fn padding_bytes(&self) -> u64 {
        match &self.mode {
            Mode::Buffered { .. } => 0,
            Mode::Direct(gather) => gather.padding_bytes(),
        }
    }

    /// What somebody did to the file itself, whatever name it has.
    pub(super) fn harm(&self) -> Option<Displacement> {
        let metadata = self.file.metadata().ok()?;
        if metadata.nlink() == 0 {
            return Some(Displacement::Deleted);
        }
        // What is appended to a file that was cut would be behind a hole.
        (metadata.is_file() && metadata.len() < self.length).then_some(Displacement::Cut)
    }

    /// Whether the file is no longer found at `path`, where it was put, but elsewhere.
    pub(super) fn displacement(&self, path: &Path) -> Option<Displacement> {
        let of_file = self.file.metadata().ok()?;
        match path.symlink_metadata() {
            Ok(found) if (found.dev(), found.ino()) == (of_file.dev(), of_file.ino()) => None,
            Ok(_) => Some(Displacement::Moved(self.path_now())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Some(Displacement::Moved(self.path_now()))
            }
            // A directory that cannot be looked into proves nothing.
            Err(_) => None,
        }
    }

    /// Where the file is now, as far as the system can tell.
    fn path_now(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()
    }

    /// Appends `parts`, each of them whole pcapng blocks. After an error the file has the length that it had before.
    pub(super) fn append(&mut self, parts: &[&[u8]]) -> Result<(), AppendError> {
        match self.write(parts) {
            Ok(written) => {
                self.length += written;
                self.advise();
                Ok(())
            }
            Err(source) => {
                let intact = self.file.set_len(self.length).is_ok() && self.rewind().is_ok();
                Err(AppendError { source, intact })
            }
        }
    }

    fn write(&mut self, parts: &[&[u8]]) -> io::Result<u64> {
        if let Mode::Direct(gather) = &mut self.mode {
            match gather.write(&self.file, parts) {
                // The file system took the flag and does not take the write.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    direct::turn_off(&self.file)?;
                    self.file.set_len(self.length)?;
                    self.rewind()?;
                    self.mode = Mode::Buffered { advised: self.length };
                }
                result => return result,
            }
        }
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.file.write_vectored(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut rest, count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(parts.iter().map(|part| part.len() as u64).sum())
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length)).map(drop)
    }

    /// Keeps the page cache from filling with captures. The advice starts writing the newest window to the disk and
    /// drops what is there already, so the window before it is named again. It is advice: an error changes nothing.
    fn advise(&mut self) {
        let Mode::Buffered { advised } = &mut self.mode else { return };
        if self.length - *advised >= CACHE_WINDOW_BYTES {
            let from = advised.saturating_sub(CACHE_WINDOW_BYTES);
            let _ = rustix::fs::fadvise(&self.file, from, NonZeroU64::new(self.length - from), Advice::DontNeed);
            *advised = self.length;
        }
    }
}
