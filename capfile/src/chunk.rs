//! Capture files in pieces of some 256 KiB, for several threads.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::reader::{Located, Record};
use crate::refill::WINDOW_BYTES;

/// What is kept free in front of a window, for the part of a record that the window before it ends with.
const HEADROOM: usize = 64 << 10;

/// Records of a capture file that lie in one piece of memory, up to some 256 KiB. Made once and filled again and again.
#[derive(Debug, Default)]
pub struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<Located>,
    /// Where in `bytes` the window is that was read.
    pub(crate) window: Range<usize>,
    pub(crate) read_error: Option<io::Error>,
}

/// The windows of a regular file, in their order.
#[derive(Debug)]
pub struct Windows {
    file: Arc<File>,
    offset: u64,
    size: u64,
}

/// A part of a file that nobody else will read.
#[derive(Debug)]
pub struct Window {
    file: Arc<File>,
    offset: u64,
    length: usize,
}

impl Chunk {
    /// The records, in the file's order.
    #[inline]
    pub fn records(&self) -> impl ExactSizeIterator<Item = Record<'_>> {
        self.placed_records().map(|(_, record)| record)
    }

    /// The records, each behind its place: where in the chunk's bytes its data begin.
    #[inline]
    pub fn placed_records(&self) -> impl ExactSizeIterator<Item = (usize, Record<'_>)> {
        self.records.iter().map(|located| {
            let Located { time_ns, link_type, origin, wire_len, at, length } = *located;
            (at, Record { time_ns, link_type, origin, wire_len, data: &self.bytes[at..at + length] })
        })
    }

    /// The chunk's bytes from one place to another.
    ///
    /// # Panics
    /// When they are not in the chunk.
    #[inline]
    pub fn bytes(&self, places: Range<usize>) -> &[u8] {
        &self.bytes[places]
    }

    /// Reads a window. What records are in it, and what went wrong, is told by [`crate::CaptureReader::records_in`].
    pub fn read(&mut self, window: &Window) {
        if self.bytes.len() < HEADROOM + window.length {
            // Not resized: what is zero from the kernel need not be written, and most of the headroom is never touched.
            self.bytes = vec![0; HEADROOM + WINDOW_BYTES];
        }
        self.records.clear();
        let mut end = HEADROOM;
        let mut offset = window.offset;
        while end < HEADROOM + window.length {
            match window.file.read_at(&mut self.bytes[end..HEADROOM + window.length], offset) {
                // Somebody has made the file shorter.
                Ok(0) => break,
                Ok(count) => {
                    end += count;
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.read_error = Some(error);
                    break;
                }
            }
        }
        self.window = HEADROOM..end;
    }
}

impl Windows {
    pub(crate) const fn new(file: Arc<File>, offset: u64) -> Self {
        Self { file, offset, size: 0 }
    }
}

impl Iterator for Windows {
    type Item = Window;

    /// The next window; `None` at what is the file's end at that moment.
    fn next(&mut self) -> Option<Window> {
        if self.offset >= self.size {
            self.size = self.file.metadata().ok()?.len();
        }
        let length = usize::try_from(self.size.checked_sub(self.offset)?).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        let window = Window { file: Arc::clone(&self.file), offset: self.offset, length };
        self.offset += length as u64;
        (length > 0).then_some(window)
    }
}
