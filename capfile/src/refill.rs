//! A window over a byte source, in which records lie in one piece.

use std::io::{self, Read};

/// What is read at a time, unless a block is larger.
const WINDOW_BYTES: usize = 256 << 10;

/// The window. It grows only when a single block does not fit, and the caller bounds what it asks for.
pub(crate) struct Refill {
    source: Box<dyn Read + Send>,
    window: Vec<u8>,
    /// What is in the window and not yet consumed: `start..end`.
    start: usize,
    end: usize,
    /// Where in the file `start` is.
    offset: u64,
}

impl Refill {
    pub(crate) fn new(source: Box<dyn Read + Send>) -> Self {
        Self { source, window: vec![0; WINDOW_BYTES], start: 0, end: 0, offset: 0 }
    }

    /// What is there, from the first byte not consumed.
    #[inline]
    pub(crate) fn available(&self) -> &[u8] {
        &self.window[self.start..self.end]
    }

    /// Where in the file the first byte not consumed is.
    #[inline]
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the first `count` bytes away, and says where in the window they are until the next call of
    /// [`Refill::fill`].
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) -> usize {
        let at = self.start;
        debug_assert!(count <= self.end - self.start);
        self.start += count;
        self.offset += count as u64;
        at
    }

    /// `length` bytes of the window.
    #[inline]
    pub(crate) fn window(&self, at: usize, length: usize) -> &[u8] {
        &self.window[at..at + length]
    }

    /// Reads until `wanted` bytes are available. `false` where the source ends before.
    pub(crate) fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.end - self.start >= wanted {
            return Ok(true);
        }
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if wanted > self.window.len() {
            self.window.resize(wanted, 0);
        }
        while self.end < wanted {
            match self.source.read(&mut self.window[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
