//! Waiting until a ring has a block, somebody calls, or time is up.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::ring::Ring;

/// The sleeping place of one thread.
#[derive(Debug)]
pub struct Wait {
    event: Arc<File>,
    polled: Vec<libc::pollfd>,
}

/// Wakes a thread out of its [`Wait`], from any other.
#[derive(Clone, Debug)]
pub struct Waker {
    event: Arc<File>,
}

impl Wait {
    /// A sleeping place, and what wakes who sleeps there.
    pub fn new() -> io::Result<(Self, Waker)> {
        // SAFETY: no pointers; the result is checked before it is used as a descriptor.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let event = Arc::new(File::from(unsafe { OwnedFd::from_raw_fd(fd) }));
        Ok((Self { event: Arc::clone(&event), polled: Vec::new() }, Waker { event }))
    }

    /// Sleeps until one of `rings` has a block, [`Waker::wake`] was called since the last time, or `timeout` is over. Gives
    /// whether something happened to an interface, so that [`Ring::condition`] is worth asking for.
    pub fn wait<'a>(&mut self, rings: impl Iterator<Item = &'a Ring> + Clone, timeout: Duration) -> bool {
        let readable = |fd: BorrowedFd<'_>| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        self.polled.clear();
        self.polled.push(readable(self.event.as_fd()));
        self.polled.extend(rings.clone().map(|ring| readable(ring.as_fd())));
        let timeout =
            libc::timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: timeout.subsec_nanos().into() };
        // SAFETY: `polled` is an array of as many entries as told, and the time is a live timespec; no signal mask.
        let woken = unsafe {
            libc::ppoll(
                self.polled.as_mut_ptr(),
                self.polled.len() as libc::nfds_t,
                &raw const timeout,
                std::ptr::null(),
            )
        };
        if woken <= 0 {
            return false;
        }
        if self.polled[0].revents != 0 {
            let _ = (&*self.event).read(&mut [0; 8]);
        }
        let mut is_troubled = false;
        for (ring, polled) in rings.zip(&self.polled[1..]) {
            if polled.revents & libc::POLLERR != 0 {
                // Told once; as long as it waits, nobody can sleep.
                let _ = ring.socket().take_error();
                is_troubled = true;
            }
        }
        is_troubled
    }
}

impl Waker {
    /// Wakes the thread, or keeps it from falling asleep the next time.
    pub fn wake(&self) {
        // It can only fail when the counter is full, and then the thread wakes anyway.
        let _ = (&*self.event).write(&1_u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_call_before_the_sleep_is_not_slept_over_and_counts_once() {
        let (mut wait, waker) = Wait::new().unwrap();
        waker.wake();
        waker.wake();
        let start = Instant::now();
        assert!(!wait.wait(std::iter::empty(), Duration::from_secs(30)));
        assert!(start.elapsed() < Duration::from_secs(20), "it slept");
        let start = Instant::now();
        wait.wait(std::iter::empty(), Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20), "it was woken by a call that was heard already");
    }

    #[test]
    fn a_call_from_another_thread_ends_the_sleep() {
        let (mut wait, waker) = Wait::new().unwrap();
        let caller = std::thread::spawn(move || waker.wake());
        let start = Instant::now();
        wait.wait(std::iter::empty(), Duration::from_secs(30));
        assert!(start.elapsed() < Duration::from_secs(20), "it slept");
        caller.join().unwrap();
    }
}
