//! The files that are to be read: all are looked into before the first is read, and each is opened in its turn.
//!
//! A day of rotated captures is thousands of files, more than a process may have open, and each open one has a window of 256 KiB.

use std::path::{Path, PathBuf};

use vxtap_capfile::{CaptureReader, OpenError};
use vxtap_wire::Link;

use super::ReadFailure;

/// A file whose turn has not come.
pub(super) enum Waiting {
    /// A regular file, closed.
    Closed(PathBuf),
    /// Anything else: what is taken out of a pipe to look at is not in it any more.
    Open(Box<CaptureReader>),
}

impl Waiting {
    /// Looks into the file at `path`: whether it is a capture file of frames that can be read.
    pub(super) fn look_into(path: &Path) -> Result<Self, ReadFailure> {
        let reader = CaptureReader::open(path)?;
        if let Some(link_type) = reader.link_type().filter(|link_type| Link::of_type(link_type.0).is_none()) {
            return Err(ReadFailure::LinkType { file: reader.name().to_owned(), link_type });
        }
        let is_regular = reader.size().is_some();
        Ok(if is_regular { Self::Closed(path.to_owned()) } else { Self::Open(Box::new(reader)) })
    }

    /// Opens it to be read.
    pub(super) fn open(self) -> Result<CaptureReader, OpenError> {
        match self {
            Self::Closed(path) => CaptureReader::open(path),
            Self::Open(reader) => Ok(*reader),
        }
    }
}
