//! One UDP socket for each worker, all bound to one address.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use vxtap_ring::RingError;
use vxtap_wire::envelope::Kind;
use vxtap_wire::{BpfInstruction, SteerHash, steer_program};

use super::drops::{DropTally, KernelDrops, QueueLook};
use super::offered::OfferCounter;
use super::queue::{Queue, QueueState};
use crate::settings::{PacketListener, ReceiveSettings, Timestamps, UdpListener};

/// From `linux/udp.h`; not in the libc crate under this level.
const UDP_NO_CHECK6_RX: libc::c_int = 102;
const UDP_GRO: libc::c_int = 104;
/// Indices in what SO_MEMINFO gives (`linux/sock_diag.h`): memory that the queue takes, drops.
const SK_MEMINFO_RMEM_ALLOC: usize = 0;
const SK_MEMINFO_DROPS: usize = 8;
const SK_MEMINFO_VARS: usize = 9;

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// Somebody else has the port.
    #[error(
        "cannot listen on {listener}: the address is in use; stop the program that has it (`ss -lunp` names it, a kernel \
         vxlan device has no name there) or choose another with --listen"
    )]
    InUse {
        /// What was asked for.
        listener: UdpListener,
    },
    /// The interface has no Ethernet frames.
    #[error("cannot listen on {listener}: its frames do not begin with an Ethernet header")]
    NoEthernet {
        /// What was asked for.
        listener: PacketListener,
    },
    /// The interface could not be listened on.
    #[error("cannot listen on {listener}: {source}")]
    Interface {
        /// What was asked for.
        listener: PacketListener,
        /// What the ring says.
        source: RingError,
    },
    /// The card does not give frames to all addresses.
    #[error("cannot listen on {listener}: see frames to all addresses: {source} (?promiscuous=no does without)")]
    Promiscuous {
        /// What was asked for.
        listener: PacketListener,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("cannot listen on {listener}: {operation}: {source}")]
    Refused {
        /// What was asked for.
        listener: UdpListener,
        /// What was being done.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound socket of one worker.
#[derive(Debug)]
pub(crate) struct ReceiveSocket {
    socket: Arc<UdpSocket>,
    /// How what comes is encapsulated.
    pub(crate) kind: Kind,
    /// Bytes that the kernel granted for its receive queue.
    pub(crate) buffer_bytes: u64,
    drops: DropTally,
}

/// The sockets of one listener.
#[derive(Debug)]
pub(crate) struct Group {
    /// In the order in which the kernel numbers them, which is the order of the workers that they are for. One for each worker,
    /// unless others bound them: then the first workers may have several, or the last ones none.
    pub(crate) sockets: Vec<ReceiveSocket>,
    /// The address that they are bound to (port 0 takes a free one).
    pub(crate) address: SocketAddr,
    /// Whether the kernel gives each flow to its worker.
    pub(crate) steered: bool,
}

/// Opens `workers` sockets on `listener`'s address, in the workers' order: the kernel numbers the sockets of a
/// group as they are bound, and the steering program answers with that number.
///
/// Where a manager has bound sockets to the address already (`handed`, in their order), those are used as they are and no others:
/// they stay open when this process ends, and a socket that only this process has would lose what is in its queue then.
pub(crate) fn open_group(
    listener: UdpListener,
    workers: u32,
    settings: &ReceiveSettings,
    steer: SteerHash,
    handed: Vec<Socket>,
) -> Result<Group, ListenError> {
    let UdpListener { kind, mut address } = listener;
    let refused = |operation| move |source| ListenError::Refused { listener, operation, source };
    let mut sockets = Vec::new();
    let bound_by_others = !handed.is_empty();
    if !bound_by_others {
        // A group lets every process of this user in, so a second collector would silently take half of the traffic:
        // see first whether the address is free. Nor does the kernel mind, where a group asks for a free port, to give it that of another group.
        let alone = new_socket(address).map_err(refused("open a socket"))?;
        alone.bind(&address.into()).map_err(|source| bind_error(listener, source))?;
        let bound = alone.local_addr().map_err(refused("read the bound address"))?;
        address.set_port(bound.as_socket().map_or(0, |bound| bound.port()));
    }
    if bound_by_others {
        for socket in handed {
            sockets.push(adopt(socket, listener, settings).map_err(refused("take over a socket"))?);
        }
    } else {
        for _ in 0..workers {
            let socket = new_socket(address).map_err(refused("open a socket"))?;
            socket.set_reuse_port(true).map_err(refused("share the port among workers"))?;
            let buffer_bytes =
                set_receive_buffer(&socket, settings.buffer_bytes).map_err(refused("set the receive buffer"))?;
            let trains = configure(&socket, address, settings).map_err(refused("set socket options"))?;
            // Before anything can come.
            let drops = DropTally::new(trains, 0, counter(&socket, trains), true);
            socket.bind(&address.into()).map_err(|source| bind_error(listener, source))?;
            let socket = ReceiveSocket { socket: Arc::new(socket.into()), kind, buffer_bytes, drops };
            address = socket.socket.local_addr().map_err(refused("read the bound address"))?;
            sockets.push(socket);
        }
    }
    let wanted = sockets.len() > 1 && workers > 1 && settings.kernel_steering;
    // With fewer sockets than workers the kernel cannot reach them all.
    let steered = wanted && attach_steering(&sockets, kind, steer, workers) && sockets.len() >= workers as usize;
    Ok(Group { sockets, address, steered })
}

fn bind_error(listener: UdpListener, source: io::Error) -> ListenError {
    if source.kind() == io::ErrorKind::AddrInUse {
        ListenError::InUse { listener }
    } else {
        ListenError::Refused { listener, operation: "bind the address", source }
    }
}

fn new_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    if let SocketAddr::V6(v6) = address {
        // The unspecified IPv6 address takes IPv4 as well, so that one socket a worker is enough.
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    Ok(socket)
}

/// Asks for `bytes`, past the system's limit where that is allowed, and gives what was granted.
fn set_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<u64> {
    let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    if set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(socket.recv_buffer_size()? as u64)
}

/// As [`set_receive_buffer`], unless the buffer is larger already: a manager may have had more rights.
fn raise_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<u64> {
    let before = socket.recv_buffer_size()?;
    // What is read is twice of what was set.
    if before / 2 >= bytes {
        return Ok(before as u64);
    }
    let granted = set_receive_buffer(socket, bytes)?;
    if granted >= before as u64 {
        return Ok(granted);
    }
    set_receive_buffer(socket, before / 2)
}

/// A socket that was handed over, bound to `address`.
fn adopt(socket: Socket, listener: UdpListener, settings: &ReceiveSettings) -> io::Result<ReceiveSocket> {
    let UdpListener { kind, address } = listener;
    let buffer_bytes = raise_receive_buffer(&socket, settings.buffer_bytes)?;
    let trains = configure(&socket, address, settings)?;
    let counter = counter(&socket, trains);
    let before = memory(socket.as_fd()).map_or(0, |info| info[SK_MEMINFO_DROPS]);
    if before > 0 {
        // Whoever had it has told of some of them, so they are in no ledger of this run.
        tracing::warn!("the kernel had dropped {before} datagrams at the socket on {address} when this run began");
    }
    let drops = DropTally::new(trains, before, counter, false);
    Ok(ReceiveSocket { socket: Arc::new(socket.into()), kind, buffer_bytes, drops })
}

/// Sets what every socket has. Gives whether the kernel may hand over trains.
fn configure(socket: &Socket, address: SocketAddr, settings: &ReceiveSettings) -> io::Result<bool> {
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // Senders of VXLAN and GENEVE leave the outer checksum 0; RFC 6935 allows that for tunnels over IPv6.
        set_option(socket.as_fd(), libc::SOL_UDP, UDP_NO_CHECK6_RX, 1)?;
    }
    if settings.timestamps != Timestamps::Batch {
        set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    }
    // Kernels before 5.0 do not know it: then every datagram comes by itself. It is never switched while the socket is in use: a
    // train that is in the queue when trains are switched off comes out as one datagram.
    let switched = set_option(socket.as_fd(), libc::SOL_UDP, UDP_GRO, settings.gro.into());
    Ok(settings.gro && switched.is_ok())
}

/// A counter of what comes to `socket`, where the kernel's count of drops does not do and a better one can be had.
fn counter(socket: &Socket, trains: bool) -> Option<OfferCounter> {
    if !trains {
        return None;
    }
    let counter = OfferCounter::attach(socket.as_fd());
    if let Err(error) = &counter {
        tracing::info!(
            "what the kernel drops in trains counts once for each train (kernel_dropped_trains), since what comes to a \
             socket cannot be counted: {error}; CAP_BPF allows it, and --no-gro takes no trains"
        );
    }
    counter.ok()
}

/// Attaches the steering program to the group. Gives whether the kernel took it; without, user space hands over.
fn attach_steering(sockets: &[ReceiveSocket], kind: Kind, steer: SteerHash, workers: u32) -> bool {
    let Some(first) = sockets.first() else { return false };
    let mut filter: Vec<libc::sock_filter> = steer_program(kind, steer, workers)
        .into_iter()
        .map(|BpfInstruction { code, jt, jf, k }| libc::sock_filter { code, jt, jf, k })
        .collect();
    let Ok(len) = libc::c_ushort::try_from(filter.len()) else { return false };
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // SAFETY: `program` points at `len` instructions in `filter`, which outlives the call; the kernel copies them.
    let result = unsafe {
        libc::setsockopt(
            first.socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result != 0 {
        tracing::warn!(
            "the kernel does not steer by inner flow ({}); workers hand frames over, which costs time",
            io::Error::last_os_error()
        );
    }
    result == 0
}

fn set_option(fd: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value is a live c_int and its size is given.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl ReceiveSocket {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// A way to look at the queue from another thread, that does not keep the socket open.
    pub(crate) fn queue(&self) -> Queue {
        Queue::Socket(Arc::downgrade(&self.socket))
    }

    /// What the kernel dropped at this socket, as of the last [`ReceiveSocket::look`].
    pub(crate) fn drops(&self) -> KernelDrops {
        self.drops.drops()
    }

    /// Notes a batch that came out of it: `messages` buffers with `datagrams` datagrams.
    #[inline]
    pub(crate) fn note_received(&mut self, messages: usize, datagrams: u64) {
        self.drops.receive(messages as u64, datagrams);
    }

    /// Counts what the kernel dropped.
    pub(crate) fn look(&mut self) {
        let Self { socket, drops, .. } = self;
        drops.look(|| {
            let info = memory(socket.as_fd())?;
            Some(QueueLook { drops: info[SK_MEMINFO_DROPS], empty: info[SK_MEMINFO_RMEM_ALLOC] == 0 })
        });
    }
}

/// How the receive queue of `socket` is.
pub(super) fn queue_state(socket: &UdpSocket) -> Option<QueueState> {
    let info = memory(socket.as_fd())?;
    Some(QueueState { waiting: info[SK_MEMINFO_RMEM_ALLOC] > 0, drops: info[SK_MEMINFO_DROPS], down: None })
}

/// What SO_MEMINFO says of a socket.
fn memory(fd: BorrowedFd<'_>) -> Option<[u32; SK_MEMINFO_VARS]> {
    let mut info = [0u32; SK_MEMINFO_VARS];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` has room for `len` bytes, and the kernel writes no more than that.
    let result = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    (result == 0).then_some(info)
}

#[cfg(test)]
mod tests;
