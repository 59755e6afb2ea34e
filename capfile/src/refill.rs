//! A window over a byte source, in which records lie in one piece.

use std::io::{self, Cursor, Read};

/// What is read at a time, unless a block is larger. The kernel's copy is in the second-level cache then when its records are looked at.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;

/// The window. It grows only when a single block does not fit, and the caller bounds what it asks for.
pub(crate) struct Refill {
    source: Box<dyn Read + Send>,
    window: Vec<u8>,
    /// What is in the window and not yet consumed: `start..end`.
    start: usize,
    end: usize,
    /// Where in the file `start` is.
    offset: u64,
    /// The window must stay as it is: what is not in it is not to be had.
    held: bool,
    /// Something was wanted that is not in a window that is held.
    wanting: bool,
}

impl Refill {
    pub(crate) fn new(source: Box<dyn Read + Send>) -> Self {
        Self { source, window: vec![0; WINDOW_BYTES], start: 0, end: 0, offset: 0, held: false, wanting: false }
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
        if self.held {
            self.wanting = true;
            return Ok(false);
        }
        self.window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if wanted > self.window.len() {
            self.window.resize(wanted, 0);
        }
        while self.end < wanted {
            if self.read()? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(&mut self) -> io::Result<usize> {
        loop {
            match self.source.read(&mut self.window[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// From now on what the source has, from the first byte not consumed, is unpacked.
    pub(crate) fn unpack(&mut self) -> io::Result<()> {
        let read = Cursor::new(self.available().to_vec());
        let packed = read.chain(std::mem::replace(&mut self.source, Box::new(io::empty())));
        self.source = Box::new(zstd::Decoder::new(packed)?);
        (self.start, self.end) = (0, 0);
        Ok(())
    }

    /// From now on there is only what [`Refill::adopt`] brings. What was read and not consumed is forgotten.
    pub(crate) fn detach(&mut self) {
        self.source = Box::new(io::empty());
        (self.start, self.end) = (0, 0);
    }

    /// Takes `bytes`, which has the file's next bytes in `from..end`, for its window, with what was not consumed before
    /// them. `bytes` gets the old window.
    pub(crate) fn adopt(&mut self, bytes: &mut Vec<u8>, from: usize, end: usize) {
        let rest = self.end - self.start;
        let shift = rest.saturating_sub(from);
        if shift > 0 {
            // A block that is larger than what is kept free in front.
            bytes.resize(bytes.len() + shift, 0);
            bytes.copy_within(from..end, from + shift);
        }
        let (from, end) = (from + shift, end + shift);
        bytes[from - rest..from].copy_from_slice(&self.window[self.start..self.end]);
        std::mem::swap(&mut self.window, bytes);
        (self.start, self.end) = (from - rest, end);
    }

    /// Keeps the window as it is: until [`Refill::release`], what is not in it counts as the source's end.
    pub(crate) fn hold(&mut self) {
        self.held = true;
        self.wanting = false;
    }

    /// Whether something was wanted that the held window does not have.
    pub(crate) const fn is_wanting(&self) -> bool {
        self.wanting
    }

    /// Ends [`Refill::hold`] and changes the window for `other`, into which what was not consumed is moved. A whole window's
    /// worth is read into `other` when the next record is wanted.
    pub(crate) fn release(&mut self, other: &mut Vec<u8>) {
        self.held = false;
        self.wanting = false;
        let rest = self.end - self.start;
        if other.len() < self.window.len() {
            other.resize(self.window.len(), 0);
        }
        other[..rest].copy_from_slice(&self.window[self.start..self.end]);
        std::mem::swap(&mut self.window, other);
        self.start = 0;
        self.end = rest;
    }
}
