//! The memory that a ring shares with the kernel.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;

/// Memory mapped from a packet socket; unmapped when dropped.
pub(crate) struct Map {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the value alone; which thread reads it makes no difference to the kernel, and all access
// goes through `&self` or `&mut self`.
unsafe impl Send for Map {}

impl Map {
    /// Maps `len` bytes of the ring that `socket` has.
    pub(crate) fn new(socket: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that anybody has.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { start, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Where block `index` of `block_bytes` begins.
    ///
    /// # Panics
    /// If it is not inside the mapping.
    pub(crate) fn block(&self, index: usize, block_bytes: usize) -> NonNull<u8> {
        let offset = index * block_bytes;
        assert!(offset + block_bytes <= self.len, "block {index} is outside the ring");
        // SAFETY: the offset was just found to be inside the mapping, which is one allocation.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are of a mapping that this value made, and nothing that borrows it is alive.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.len);
        }
    }
}
