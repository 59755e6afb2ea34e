//! The keeper of a capture directory: what happens to capture files once the writer has opened or closed them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// What a keeper is told to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeeperSettings {
    /// The capture directory.
    pub directory: PathBuf,
    /// When closed files are deleted.
    pub retention: Retention,
    /// What is run for each closed file.
    pub hook: Option<Hook>,
    /// How closed files are compressed; `None` leaves them as they are.
    pub compress: Option<CompressionLevel>,
}

/// When closed files are deleted, the oldest first; whichever limit is reached first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    /// The most bytes that the files may have together, the open one included.
    pub bytes: Option<u64>,
    /// How long after it was closed a file is kept.
    pub age: Option<Duration>,
    /// Bytes that are to stay free on the file system.
    pub free_bytes: Option<u64>,
}

/// A program that is run for each closed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// The program and its arguments, in which `{file}` is the path of the file and `{name}` its name. No shell sees them.
    pub command: Vec<String>,
    /// After so long it is killed, with all processes of its group.
    pub limit: Duration,
}

/// Level of zstd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompressionLevel(i32);

impl CompressionLevel {
    /// Levels from 1, the fastest, to 19, the smallest; `None` for others.
    pub(crate) const fn new(level: i32) -> Option<Self> {
        if level >= 1 && level <= 19 { Some(Self(level)) } else { None }
    }
}

/// A file that the writer has closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClosedCapture {
    /// Its name in the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Time of its earliest record, in nanoseconds since 1970.
    pub first_ns: u64,
    /// Time of its latest record.
    pub last_ns: u64,
}

/// What the keeper has done and is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeeperStatus {
    /// Files kept, the open one included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files deleted by retention.
    pub deleted_files: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Files compressed.
    pub compressed: u64,
    /// Hooks that were begun.
    pub hook_runs: u64,
    /// Those of them that did not end with exit code 0 in time.
    pub hook_failures: u64,
    /// Files for which no hook was run: they were deleted first, or too many waited.
    pub hook_skipped: u64,
    /// Whether a hook is under way.
    pub hook_under_way: bool,
    /// Whether the writer has to drop, since the floor of free space would be undercut.
    pub paused: bool,
    /// What went wrong last; stays until the next start.
    pub error: Option<String>,
}

/// A keeper that cannot begin.
#[derive(Debug, Error)]
pub(crate) enum KeeperError {
    /// The system gives no thread.
    #[error("cannot start the thread that keeps captures: {0}")]
    Thread(io::Error),
}

/// Keeps a capture directory, in a thread of its own.
#[derive(Debug)]
pub(crate) struct Keeper;

/// A view of a keeper, that outlives it.
#[derive(Clone, Debug)]
pub(crate) struct KeeperMonitor;

impl Keeper {
    /// Locks the directory, finds the files of earlier runs, tidies up after them, and starts the thread.
    pub(crate) fn start(_settings: KeeperSettings) -> Result<Self, KeeperError> {
        Ok(Self)
    }

    /// The writer has given this file its name and writes to it.
    pub(crate) fn opened(&self, _name: &str) {}

    /// The writer has closed this file, after its last byte.
    pub(crate) fn closed(&self, _closed: ClosedCapture) {}

    /// Whether there is room to write: `false` while the floor of free space is undercut and nothing is left to delete.
    #[inline]
    pub(crate) fn may_write(&self) -> bool {
        true
    }

    /// What the keeper has done and is doing.
    pub(crate) fn status(&self) -> KeeperStatus {
        KeeperStatus::default()
    }

    /// A view that can be given to others and outlives the run.
    pub(crate) fn monitor(&self) -> KeeperMonitor {
        KeeperMonitor
    }

    /// Waits for compressions and hooks that are due, and releases the directory.
    pub(crate) fn finish(self) {}
}
