//! Logs: events as JSON lines in `eve.json`.
//!
//! Each worker writes whole lines into the blocks of its [`EventLane`]; one writer appends the blocks of all workers to
//! the file: a thread, or where files are read the workers themselves. A disk that is too slow, full or gone costs events, which are counted, and never time of a worker
//! that receives. At the end of a run, when nothing is received any more, workers wait for the disk, unless it is stuck.
//! A file that is full, or whose interval is over, is closed under a name of its own between two lines. One that somebody else renamed or
//! removed (`logrotate`) is made anew within a second, or at once when asked to ([`LogReopen`]).

mod closed;
mod file;
mod lane;
mod rotation;
mod stats;
mod writer;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

pub use lane::EventLane;
pub use rotation::LogRotation;
pub(crate) use stats::{Stats, StatsLog, StatsTicker};
pub use writer::{LogHandle, LogMonitor, LogReopen, LogTotals, LogWriter};

/// A writer that has written nothing for so long is stuck: the end of a run waits no longer for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logs that cannot begin.
#[derive(Debug, Error)]
pub enum LogError {
    /// The directory is not there and cannot be made.
    #[error("cannot make the log directory '{}': {source}", directory.display())]
    MakeDirectory {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be opened for writing.
    #[error("cannot write log file '{}': {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start the log writer thread: {0}")]
    Thread(io::Error),
}

/// How many lines there are. Only of what comes to a disk that is full, or is more than a block.
fn lines_in(lines: &[u8]) -> u64 {
    lines.split_inclusive(|byte| *byte == b'\n').count() as u64
}
