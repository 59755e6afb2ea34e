//! The socket of a ring with what the kernel has counted at it, for the thread that reads the ring and for others that look after it.
#![allow(unsafe_code)]

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError, Weak};

use crate::interface::Interface;
use crate::ring::{Condition, Statistics};
use crate::socket::PacketSocket;

/// A look at a ring from any thread: it waits for nobody, and does not keep the ring open.
#[derive(Clone, Debug)]
pub struct RingWatch(pub(crate) Weak<CountedSocket>);

/// How a ring is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingState {
    /// Whether the program has blocks that it has not given back.
    pub waiting: bool,
    /// Frames that the ring had no room for since it was opened.
    pub dropped: u64,
    /// How its interface is.
    pub condition: Condition,
}

impl RingWatch {
    /// How the ring is now; `None` when it is closed. Takes system calls.
    pub fn state(&self) -> Option<RingState> {
        let ring = self.0.upgrade()?;
        let mut polled = libc::pollfd { fd: ring.socket.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, as told, that lives through the call; with no time it does not wait.
        let ready = unsafe { libc::poll(&raw mut polled, 1, 0) };
        let waiting = ready > 0 && polled.revents & libc::POLLIN != 0;
        // Whoever reads the ring may stand still while it counts: then what was counted before has to do.
        let turn = ring.turn.try_lock();
        if !matches!(turn, Err(TryLockError::WouldBlock)) {
            ring.take_counts();
        }
        drop(turn);
        let (dropped, condition) = (ring.dropped.load(Ordering::Relaxed), ring.condition());
        Some(RingState { waiting, dropped, condition })
    }
}

/// A ring's socket. The kernel's counters begin anew with each question, so whoever asks adds to sums that all see.
#[derive(Debug)]
pub(crate) struct CountedSocket {
    pub(crate) socket: PacketSocket,
    /// Held while counters are taken, so that nobody sees sums without what another is about to add.
    turn: Mutex<()>,
    received: AtomicU64,
    dropped: AtomicU64,
    freezes: AtomicU64,
}

impl CountedSocket {
    pub(crate) fn new(socket: PacketSocket) -> Self {
        let none = || AtomicU64::new(0);
        Self { socket, turn: Mutex::new(()), received: none(), dropped: none(), freezes: none() }
    }

    /// What was counted up to now.
    pub(crate) fn statistics(&self) -> Statistics {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_counts();
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Statistics { received: of(&self.received), dropped: of(&self.dropped), freezes: of(&self.freezes) }
    }

    /// How its interface is now.
    pub(crate) fn condition(&self) -> Condition {
        match self.socket.bound_to() {
            Ok(0) => Condition::Up,
            Ok(index) if index > 0 => match Interface::is_up(index) {
                Some(true) => Condition::Up,
                Some(false) => Condition::Down,
                None => Condition::Gone,
            },
            _ => Condition::Gone,
        }
    }

    /// With the turn held.
    fn take_counts(&self) {
        if let Ok(counted) = self.socket.get::<libc::tpacket_stats_v3>(libc::PACKET_STATISTICS) {
            let add = |sum: &AtomicU64, count: u32| sum.fetch_add(count.into(), Ordering::Relaxed);
            add(&self.received, counted.tp_packets.saturating_sub(counted.tp_drops));
            add(&self.dropped, counted.tp_drops);
            add(&self.freezes, counted.tp_freeze_q_cnt);
        }
    }
}
