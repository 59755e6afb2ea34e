//! A window over a byte source, in which records lie in one piece.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::sync::Arc;

use crate::lease::Lease;
use crate::mapping::Mapping;
use crate::window_bytes::WindowBytes;

/// What is read at a time, unless a block is larger. The kernel's copy is in the second-level cache then when its records are looked at.
pub(crate) const WINDOW_BYTES: usize = 256 << 10;

/// What is mapped at a time, unless a block is larger. Half of it takes longer, for the calls, and twice as much is no faster.
const MAPPED_BYTES: usize = 512 << 10;

/// The window. It grows only when a single block does not fit, and the caller bounds what it asks for.
pub(crate) struct Refill {
    source: Box<dyn Read + Send>,
    /// The file's own pages are read instead of the source, which is the same file.
    lease: Option<Arc<Lease>>,
    /// The window was mapped and not looked at yet.
    far: bool,
    window: WindowBytes,
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
        let window = WindowBytes::Copied(vec![0; WINDOW_BYTES]);
        Self { source, lease: None, far: false, window, start: 0, end: 0, offset: 0, held: false, wanting: false }
    }

    /// What is there, from the first byte not consumed.
    #[inline]
    pub(crate) fn available(&self) -> &[u8] {
        &self.window[self.start..self.end]
    }

    /// Whether the window was mapped since this was last asked: then nobody has touched its pages.
    #[inline]
    pub(crate) const fn is_far(&mut self) -> bool {
        std::mem::replace(&mut self.far, false)
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
        if let Some(lease) = self.lease.take()
            && let Some(whole) = self.map(lease, wanted)?
        {
            return Ok(whole);
        }
        let window = self.window.for_copy();
        window.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if wanted.max(WINDOW_BYTES) > window.len() {
            window.resize(wanted.max(WINDOW_BYTES), 0);
        }
        while self.end < wanted {
            if self.read()? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the file's pages from now on, if a lease on `file` is to be had: the same as the source, and open for reading only.
    pub(crate) fn read_mapped(&mut self, file: &Arc<File>) -> bool {
        self.lease = Lease::take(file).map(Arc::new);
        let is_mapped = self.lease.is_some();
        if is_mapped {
            self.window = WindowBytes::default();
            (self.start, self.end) = (0, 0);
        }
        is_mapped
    }

    /// Changes the window for pages of the file, from the first byte not consumed on, and keeps the lease. `None` where they are not to be
    /// had: then the lease is given up as soon as no mapping is in use, and the source gives what comes next.
    #[cold]
    fn map(&mut self, lease: Arc<Lease>, wanted: usize) -> io::Result<Option<bool>> {
        let left = lease.size().saturating_sub(self.offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(wanted.max(MAPPED_BYTES));
        // The page size is a power of two.
        let in_page = self.offset as usize & (rustix::param::page_size() - 1);
        self.window.let_mapping_go();
        (self.start, self.end) = (0, 0);
        if length == 0 && lease.is_undisturbed() {
            self.lease = Some(lease);
            return Ok(Some(false));
        }
        // An error is none of the file's perhaps (a kernel before 5.14). One that is comes again from the source.
        if let Ok(Some(mapping)) = Mapping::new(&lease, self.offset - in_page as u64, in_page + length) {
            self.window = WindowBytes::Mapped(mapping);
            self.far = true;
            (self.start, self.end) = (in_page, in_page + length);
            self.lease = Some(lease);
            return Ok(Some(length >= wanted));
        }
        lease.file().seek(SeekFrom::Start(self.offset))?;
        Ok(None)
    }

    fn read(&mut self) -> io::Result<usize> {
        let window = self.window.for_copy();
        loop {
            match self.source.read(&mut window[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// From now on there is only what [`Refill::adopt`] brings. What was read and not consumed is forgotten.
    pub(crate) fn detach(&mut self) {
        self.lease = None;
        self.source = Box::new(io::empty());
        (self.start, self.end) = (0, 0);
    }

    /// Takes `bytes`, which has the file's next bytes in `from..end`, for its window, with what was not consumed before
    /// them. `bytes` gets the old window.
    pub(crate) fn adopt(&mut self, bytes: &mut WindowBytes, from: usize, end: usize) {
        let rest = self.end - self.start;
        let shift = rest.saturating_sub(from);
        let copy = bytes.for_copy();
        if shift > 0 {
            // A block that is larger than what is kept free in front.
            copy.resize(copy.len() + shift, 0);
            copy.copy_within(from..end, from + shift);
        }
        let (from, end) = (from + shift, end + shift);
        copy[from - rest..from].copy_from_slice(&self.window[self.start..self.end]);
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
    pub(crate) fn release(&mut self, other: &mut WindowBytes) {
        self.held = false;
        self.wanting = false;
        if self.window.is_mapped() {
            // The next mapping begins with the rest.
            (self.start, self.end) = (0, 0);
        }
        let rest = self.end - self.start;
        let copy = other.for_copy();
        if !self.window.is_mapped() && copy.len() < self.window.len() {
            copy.resize(self.window.len(), 0);
        }
        copy[..rest].copy_from_slice(&self.window[self.start..self.end]);
        std::mem::swap(&mut self.window, other);
        self.start = 0;
        self.end = rest;
    }
}
