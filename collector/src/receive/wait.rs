//! Waiting until a socket has something, somebody calls, or time is up.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Wakes one worker out of its [`Waiter`]. Cheap when the worker is awake.
#[derive(Clone, Debug)]
pub(crate) struct Waker {
    event: Arc<File>,
    asleep: Arc<AtomicBool>,
}

/// The sleeping place of one worker.
#[derive(Debug)]
pub(crate) struct Waiter {
    event: Arc<File>,
    asleep: Arc<AtomicBool>,
    polled: Vec<libc::pollfd>,
}

impl Waiter {
    pub(crate) fn new() -> io::Result<(Self, Waker)> {
        // SAFETY: no pointers; the result is checked before it is used as a descriptor.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let event = Arc::new(File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
        let asleep = Arc::new(AtomicBool::new(false));
        let waker = Waker { event: Arc::clone(&event), asleep: Arc::clone(&asleep) };
        Ok((Self { event, asleep, polled: Vec::new() }, waker))
    }

    /// Sleeps until one of `sockets` is readable, the waker was called, or `timeout` is over. `still_idle` is asked
    /// once more after the waker is on guard: what was handed over just before is not slept over.
    pub(crate) fn wait<'a>(
        &mut self,
        sockets: impl Iterator<Item = BorrowedFd<'a>> + Clone,
        timeout: Duration,
        still_idle: impl FnOnce() -> bool,
    ) {
        let readable = |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        self.polled.clear();
        self.polled.push(readable(self.event.as_fd()));
        self.polled.extend(sockets.clone().map(readable));
        self.asleep.store(true, Ordering::SeqCst);
        if still_idle() {
            let timeout =
                libc::timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: timeout.subsec_nanos().into() };
            // SAFETY: `polled` is an array of its length's entries, and the time is a live timespec; no signal mask.
            unsafe {
                libc::ppoll(
                    self.polled.as_mut_ptr(),
                    self.polled.len() as libc::nfds_t,
                    &raw const timeout,
                    std::ptr::null(),
                );
            }
        }
        self.asleep.store(false, Ordering::SeqCst);
        for (socket, polled) in sockets.zip(&self.polled[1..]) {
            if polled.revents & libc::POLLERR != 0 {
                // Such as an interface that went down. It is told once; as long as it waits, nobody can sleep.
                let _ = rustix::net::sockopt::socket_error(socket);
            }
        }
        if self.polled[0].revents != 0 {
            let _ = (&*self.event).read(&mut [0; 8]);
        }
    }
}

impl Waker {
    /// Wakes the worker if it sleeps.
    pub(crate) fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            // It can only fail when the counter is full, and then the worker wakes anyway.
            let _ = (&*self.event).write(&1u64.to_ne_bytes());
        }
    }
}
