//! A part of a file in memory without a copy.
//!
//! Memory that is a file is safe to look at only while nobody changes the file: a program may rely on what it has checked in
//! bytes that it borrows, and who looks at what is behind the end of a file that was made shorter is killed (SIGBUS). So each
//! mapping holds a [`Lease`].
//!
//! What remains: a process that keeps a mapping for longer than the kernel has a writer wait (45 seconds, unless the
//! administrator has changed it), since it was stopped or waits for whoever reads its output, while somebody waits to write to the file; and
//! pages that the kernel has taken back for want of memory and cannot read once more. The first may see changed bytes, both may be killed.
#![allow(unsafe_code)]

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::io;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::lease::Lease;

/// The pages of a part of a file; they are let go when it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
    /// Dropped after the pages are gone.
    _lease: Arc<Lease>,
}

// SAFETY: the memory belongs to the value alone, and nobody writes to it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `length` bytes of the file of `lease` from `offset` on, which has to be a multiple of the page size, and reads what
    /// is not in memory. `None` where somebody waits to change the file.
    ///
    /// # Panics
    /// If that is not inside the file.
    pub(crate) fn new(lease: &Arc<Lease>, offset: u64, length: usize) -> io::Result<Option<Self>> {
        assert!(offset.checked_add(length as u64).is_some_and(|end| end <= lease.size()), "outside the file");
        if !lease.is_undisturbed() {
            return Ok(None);
        }
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that anybody has.
        let start =
            unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, lease.file(), offset)? };
        let start = NonNull::new(start.cast()).ok_or(io::Errno::NOMEM)?;
        let mapping = Self { start, length, _lease: Arc::clone(lease) };
        // SAFETY: the range is the mapping just made, and this advice changes nothing of what is in it.
        unsafe { madvise(start.as_ptr().cast(), length, Advice::LinuxPopulateRead)? };
        Ok(Some(mapping))
    }
}

impl Deref for Mapping {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the range is mapped until `drop`, and inside the file. The lease was held when it was mapped, and keeps
        // everybody from writing to the file until it is dropped, which is after this; what remains is told above.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is of a mapping that this value made, and nothing that borrows it is alive.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}
