//! Captures: inner frames in pcapng files that can be followed while they are written.
//!
//! Each worker copies its frames as complete records into the blocks of its [`CaptureLane`]; one writer thread takes the
//! blocks of all workers in the order in which they were handed over and appends them to the open file. Records of one
//! worker stay in order; records of several workers are not sorted by time.
//!
//! A file is made when its first record comes, so a run without frames leaves none. It appears under its name with its
//! header and first records in it, holds one interface for each mirror stream that occurs in it, and ends with the statistics
//! of each interface when it is closed. At `rotate_bytes` the next file is begun: no file is larger, unless a single record is.
//!
//! What a reader sees of a file being written depends on how it is written. With `direct`, each write becomes visible in
//! one piece on file systems that write around the page cache (ext4, XFS), so a reader never meets a cut record. Without it,
//! ext4, tmpfs and others show a write page by page while it is under way: a reader that comes to the end in that moment finds
//! the last record cut. Writes are therefore kept at 64 KiB; the share of time in which this can happen is about
//! 0.15 % at 2 MB/s and 1.5 % at 20 MB/s.

mod direct;
mod files;
mod lane;
mod output;
mod writer;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use lane::CaptureLane;
pub use writer::{CaptureHandle, CaptureMonitor, CaptureTotals, CaptureWriter, LaneTotals};

/// Captures that cannot begin.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// The directory is not there and cannot be made.
    #[error("cannot make the capture directory '{}': {source}", directory.display())]
    MakeDirectory {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No file can be made in the directory.
    #[error("cannot write to the capture directory '{}': {source}", directory.display())]
    NotWritable {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start the capture writer thread: {0}")]
    Thread(io::Error),
}
