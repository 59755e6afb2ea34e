//! Looking for the end of what is whole in a file whose writer was killed.
//!
//! A write around the page cache is there or not; through the page cache a kill can end one within a record. Only the last
//! write of a file can be cut, so what is behind the last whole record is little. Where it is much, it is damage of another kind, and stays.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use vxtap_index::{Whole, whole};

/// The most that is taken for the rest of one write, in bytes: 64 KiB of records, or one record, and what describes their
/// interfaces; 4 MiB of records where a file system took O_DIRECT and then not the write.
pub(super) const REST_BYTES: u64 = 8 << 20;

/// One file to look through. Nothing is written here: what is cut off is cut by the keeper's own thread, which knows what others do to the file.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Set to have it given up.
    pub(super) cancel: Arc<AtomicBool>,
}

impl Look {
    /// An error of kind `Interrupted` where it was given up. The calling thread gives way to all others from then on.
    pub(super) fn run(&self) -> io::Result<Whole> {
        super::compress::give_way();
        whole(&self.path, &self.cancel)
    }
}

/// Files whose writers were killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TornFiles {
    /// Files of which the rest of a record was cut off.
    #[serde(rename = "capture_torn_files")]
    pub files: u64,
    /// Bytes that were cut off.
    #[serde(rename = "capture_torn_bytes")]
    pub bytes: u64,
    /// Files that are not looked through yet.
    #[serde(rename = "capture_torn_waiting")]
    pub waiting: u64,
}
