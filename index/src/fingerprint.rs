//! By what a capture file is known again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::checksum::checksum;

/// So much of the beginning and of the end is looked at, in bytes.
pub(crate) const SAMPLE_BYTES: usize = 4096;

/// A capture's length and checksums of its ends. A file that was cut, grew, or was written anew has another one: the first and
/// the last records of a capture have times in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// Length in bytes.
    pub(crate) length: u64,
    /// Checksum of the first [`SAMPLE_BYTES`], or of all bytes.
    pub(crate) head: u64,
    /// Checksum of the last [`SAMPLE_BYTES`], or of all bytes.
    pub(crate) tail: u64,
}

impl Fingerprint {
    /// Of the first `length` bytes of `file`. An error where it has less.
    pub(crate) fn of(file: &File, length: u64) -> io::Result<Self> {
        let mut sample = [0; SAMPLE_BYTES];
        let sample = &mut sample[..length.min(SAMPLE_BYTES as u64) as usize];
        file.read_exact_at(sample, 0)?;
        let head = checksum(sample);
        file.read_exact_at(sample, length - sample.len() as u64)?;
        Ok(Self { length, head, tail: checksum(sample) })
    }
}
