//! A read lease on a file: while it is held, nobody changes the file.
//!
//! The kernel gives a read lease (`F_SETLEASE` with `F_RDLCK`) only on a file that nobody has open for writing, or mapped so.
//! Whoever opens the file for writing or truncates it then waits until the lease is given up, for 45 seconds at most
//! (`/proc/sys/fs/lease-break-time`); an open with `O_NONBLOCK` fails instead. Only the file's owner gets one, and who has
//! `CAP_LEASE`.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use rustix::fs::FsWord;

/// `F_SETSIG` of <linux/fcntl.h>, the same on all machines. The `libc` crate does not have it.
const F_SETSIG: c_int = 10;

/// File systems whose files nobody changes but by this kernel and this file's inode. On a network others may do it; an overlay
/// or FUSE has another file underneath.
const LOCAL: [FsWord; 5] = [
    libc::TMPFS_MAGIC as FsWord,
    // The second and third version have the same number.
    libc::EXT4_SUPER_MAGIC as FsWord,
    libc::XFS_SUPER_MAGIC as FsWord,
    libc::BTRFS_SUPER_MAGIC as FsWord,
    libc::F2FS_SUPER_MAGIC as FsWord,
];

/// The lease; given up when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    file: Arc<File>,
    size: u64,
}

impl Lease {
    /// The lease on `file`, which is open for reading only; `None` where it is not to be had.
    pub(crate) fn take(file: &Arc<File>) -> Option<Self> {
        let kind = rustix::fs::fstatfs(file).ok()?.f_type;
        if !LOCAL.contains(&kind) {
            return None;
        }
        // What tells of somebody who waits is asked for before each use. The signal that the kernel sends as well has to be one
        // that does nothing unless it is asked for: the usual one ends the process.
        control(file, F_SETSIG, libc::SIGURG)?;
        control(file, libc::F_SETLEASE, libc::F_RDLCK)?;
        let mut lease = Self { file: Arc::clone(file), size: 0 };
        lease.size = file.metadata().ok()?.len();
        Some(lease)
    }

    /// Whether it is held and nobody waits for its end. Then nobody can change the file before the time is up that the kernel
    /// has the next one wait, or before the lease is dropped.
    pub(crate) fn is_undisturbed(&self) -> bool {
        control(&self.file, libc::F_GETLEASE, 0) == Some(libc::F_RDLCK)
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The file's length in bytes, which does not change while the lease is held.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The file may stay open. Where the kernel took the lease away there is nothing to give up.
        let _ = control(&self.file, libc::F_SETLEASE, libc::F_UNLCK);
    }
}

/// One of the calls that have a number for their argument; `None` for an error.
fn control(file: &File, command: c_int, argument: c_int) -> Option<c_int> {
    // SAFETY: the descriptor is open, and none of the commands used here has the kernel touch the program's memory.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    (result >= 0).then_some(result)
}
