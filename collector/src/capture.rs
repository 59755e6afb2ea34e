//! Captures: inner frames in pcapng files that can be followed while they are written.
//!
//! Each worker copies its frames as complete records into the blocks of its [`CaptureLane`]. One writer takes the
//! blocks of all workers (a thread, or where files are read the workers themselves), brings their records into one order ([`CaptureLayout::Merged`]) or leaves them apart, and appends them to the open
//! file.
//!
//! A file is made when its first record comes, so a run, or an interval, without frames leaves none. It appears under its name with its
//! header and first records in it, holds one interface for each mirror stream that occurs in it, and ends with the statistics
//! of each interface when it is closed. [`Rotation`] says when the next file is begun. A closed file gets an index beside it.
//!
//! What a reader sees of a file being written depends on how it is written. With `direct`, on file systems that can write
//! around the page cache (ext4, XFS), each write becomes visible in one piece: in 190 million looks at the end of a growing file on
//! ext4 no record was cut. Each write then ends with a padding block up to a multiple of 4096 bytes. Without `direct`, and
//! where the file system cannot, a write becomes visible page by page while it is under way, and a reader that comes to the
//! end in that moment finds the last record cut. Writes are kept at 64 KiB for that reason; on ext4 0.003 % of the looks met a
//! cut record at 0.3 MB/s, 0.06 % at 3 MB/s and 0.7 % at 30 MB/s.

mod closing;
mod direct;
mod files;
mod format;
mod handle;
mod keeper;
mod lane;
mod merge;
mod open_file;
mod output;
mod pages;
mod record;
mod rotation;
mod selection;
mod sinks;
mod stream;
mod stretch;
mod writer;

use std::io;

use thiserror::Error;

pub(crate) use files::rename_exclusively;
pub use format::CaptureFormat;
pub use handle::{CaptureHandle, CaptureMonitor, CaptureTotals, LaneTotals};
pub use keeper::{CompressionLevel, Hook, KeeperError, Retention, TornFiles};
pub use lane::CaptureLane;
pub(crate) use lane::Fate;
pub(crate) use record::CapturedFrame;
pub use rotation::Rotation;
pub use selection::{CaptureFilter, CutFrames, Selection};
pub use writer::Captures;

/// How the records of several workers come into files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaptureLayout {
    /// Together, in the order of time.
    #[default]
    Merged,
    /// Those of each worker into files of its own, as they come.
    PerShard,
}

/// What has a sequence of files of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureSplit {
    /// Each VNI.
    Vni,
    /// Each network that has a name, and each VNI that is in none.
    Network,
}

/// What the workers work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Frames of now: time orders them.
    Live,
    /// One input that they share, in turns that each of them ends ([`CaptureLane::end_turn`]).
    Turns,
    /// One input, whose order the records have as they are handed over: a worker is alone, or each turn is one worker's
    /// ([`CaptureLane::begin_turn`]).
    InOrder,
}

/// Captures that cannot begin.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The directory cannot be used, or another collector uses it.
    #[error(transparent)]
    Keep(#[from] keeper::KeeperError),
    /// The system gives no thread.
    #[error("cannot start the capture writer thread: {0}")]
    Thread(io::Error),
}
