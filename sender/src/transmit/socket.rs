//! A UDP socket bound to one source port, connected to the target, that never fragments.
#![allow(unsafe_code)]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::LinkSettings;
use crate::error::SendError;

/// Asked for; the kernel grants less by default. One train is 64 KiB, so this holds a few dozen.
const SEND_BUFFER_BYTES: usize = 4 << 20;
/// A call that finds the send buffer full returns after this, so that a stop is noticed.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);
/// Segment size of the probe: any that is smaller than every MTU.
const PROBE_SEGMENT: libc::c_int = 512;
/// ICMP errors taken from the error queue at a time.
const ERRORS_AT_A_TIME: usize = 64;

/// One outer source port.
pub(super) struct PortSocket {
    socket: Socket,
    port: u16,
    v6: bool,
}

/// Opens as many sockets as `settings` asks for, on the first free ports from the base on.
pub(super) fn open_ports(settings: LinkSettings, target: SocketAddr) -> Result<Vec<PortSocket>, SendError> {
    let wanted = settings.source_ports;
    let mut sockets = Vec::with_capacity(usize::from(wanted));
    for port in settings.source_port_base..=u16::MAX {
        if sockets.len() == usize::from(wanted) {
            break;
        }
        sockets.extend(PortSocket::open(target, port, settings.udp_checksum)?);
    }
    if sockets.len() < usize::from(wanted) {
        let found = sockets.len() as u16;
        return Err(SendError::SourcePorts { base: settings.source_port_base, wanted, found });
    }
    Ok(sockets)
}

impl PortSocket {
    /// Opens the socket for `port`; `None` if the port is in use.
    fn open(target: SocketAddr, port: u16, checksum: bool) -> Result<Option<Self>, SendError> {
        let failed = |operation| move |source| SendError::Socket { operation, target, source };
        let socket =
            Socket::new(Domain::for_address(target), Type::DGRAM, Some(Protocol::UDP)).map_err(failed("open"))?;
        let any: SocketAddr = match target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, port).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, port).into(),
        };
        let this = Self { socket, port, v6: target.is_ipv6() };
        if this.v6 {
            this.socket.set_only_v6(true).map_err(failed("configure"))?;
        }
        match this.socket.bind(&any.into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Ok(None),
            result => result.map_err(failed("bind"))?,
        }
        this.configure(checksum).map_err(failed("configure"))?;
        this.socket.connect(&target.into()).map_err(failed("connect"))?;
        Ok(Some(this))
    }

    fn configure(&self, checksum: bool) -> io::Result<()> {
        // A smaller buffer than asked for only means more waiting.
        self.socket.set_send_buffer_size(SEND_BUFFER_BYTES).ok();
        self.socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        // Always DF, and a datagram that is too long is refused instead of fragmented. Errors are queued so that the
        // kernel also reports what its own interface queue drops (ENOBUFS), which it hides otherwise.
        if self.v6 {
            self.set(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)?;
            self.set(libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
        } else {
            self.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
            self.set(libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
        }
        if !checksum {
            if self.v6 {
                // RFC 6935 allows it for tunnels; IPv6 takes no SO_NO_CHECK.
                self.set(libc::SOL_UDP, libc::UDP_NO_CHECK6_TX, 1)?;
            } else {
                self.set(libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)?;
            }
        }
        Ok(())
    }

    /// The source port.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// The port, and the address of this host that the kernel chose for the way to the target.
    pub(super) fn local_address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }

    /// Whether the address that datagrams come from is still one of this host's: only to those can a socket be bound. Another lease,
    /// or an address that moved to another host, takes it away, and the kernel chose it once, when the socket was connected.
    pub(super) fn has_own_address(&self) -> bool {
        self.local_address().is_some_and(|mut address| {
            address.set_port(0);
            !address.ip().is_unspecified() && UdpSocket::bind(address).is_ok()
        })
    }

    /// Has the kernel look the way to `target` up anew, and choose another address of this host if the one it had is gone. On an error
    /// there is no way for now.
    pub(super) fn connect_again(&self, target: SocketAddr) -> io::Result<()> {
        let target = target.into();
        if self.has_own_address() && self.socket.connect(&target).is_ok() {
            return Ok(());
        }
        // Only a socket that is connected to nothing has no address; its port stays, since it was asked for.
        // SAFETY: all zero is a valid sockaddr, and means AF_UNSPEC; it lives through the call, which is told its length.
        let result = unsafe {
            let nobody: libc::sockaddr = std::mem::zeroed();
            libc::connect(self.fd(), &raw const nobody, size_of::<libc::sockaddr>() as libc::socklen_t)
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        self.socket.connect(&target)
    }

    pub(super) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// The largest outer packet in bytes that the kernel believes the path to carry.
    pub(super) fn path_mtu(&self) -> io::Result<u32> {
        let (level, option) =
            if self.v6 { (libc::IPPROTO_IPV6, libc::IPV6_MTU) } else { (libc::IPPROTO_IP, libc::IP_MTU) };
        self.get(level, option).map(|mtu| u32::try_from(mtu).unwrap_or(0))
    }

    /// Whether the kernel knows UDP segmentation offload. Leaves the socket as it was.
    pub(super) fn probe_segmentation(&self) -> io::Result<()> {
        self.set(libc::SOL_UDP, libc::UDP_SEGMENT, PROBE_SEGMENT)?;
        self.set(libc::SOL_UDP, libc::UDP_SEGMENT, 0)
    }

    /// The error that the last datagrams brought back, if any; it is forgotten.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.socket.take_error().unwrap_or_else(Some)
    }

    /// Empties the error queue: its errors were counted when a call reported them, and a full queue hides new ones.
    pub(super) fn forget_errors(&self) {
        let mut byte = 0_u8;
        for _ in 0..ERRORS_AT_A_TIME {
            let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
            // SAFETY: the buffer is one byte long, as told, and lives through the call; the rest of the datagram that
            // caused the error is discarded by the kernel.
            let result = unsafe { libc::recv(self.fd(), (&raw mut byte).cast(), 1, flags) };
            if result < 0 {
                return;
            }
        }
    }

    fn set(&self, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: the pointer is to an int of that length, which lives through the call; the kernel only reads it.
        let result = unsafe { libc::setsockopt(self.fd(), level, option, (&raw const value).cast(), len) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn get(&self, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
        let mut value: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: both pointers are to values that live through the call; `len` tells the kernel how much it may write.
        let result = unsafe { libc::getsockopt(self.fd(), level, option, (&raw mut value).cast(), &raw mut len) };
        if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
    }
}
