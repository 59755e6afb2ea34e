//! Looking from another thread at what a worker reads: the receive queue of a socket, or the packet ring of an interface.

use std::net::UdpSocket;
use std::sync::Weak;

use vxtap_analyzers::InterfaceName;
use vxtap_ring::{Condition, RingState, RingWatch};

use super::socket::queue_state;

/// What another thread reads. It is not kept open.
#[derive(Clone, Debug)]
pub(crate) enum Queue {
    /// A socket.
    Socket(Weak<UdpSocket>),
    /// A packet ring, on this interface.
    Ring(RingWatch, InterfaceName),
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueState {
    /// Whether datagrams or frames wait.
    pub(crate) waiting: bool,
    /// Those that the kernel has dropped there; wraps at 32 bits.
    pub(crate) drops: u32,
    /// The interface, where nothing can come because it is down or gone.
    pub(crate) down: Option<InterfaceName>,
}

impl Queue {
    /// How it is now; `None` when it is closed. Waits for nobody.
    pub(crate) fn state(&self) -> Option<QueueState> {
        match self {
            Self::Socket(socket) => queue_state(&*socket.upgrade()?),
            Self::Ring(ring, interface) => {
                let RingState { waiting, dropped, condition } = ring.state()?;
                let down = (condition != Condition::Up).then_some(*interface);
                // Whoever compares two looks takes the difference at 32 bits, as for sockets.
                Some(QueueState { waiting, drops: dropped as u32, down })
            }
        }
    }
}
