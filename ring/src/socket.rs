//! The packet socket and its options.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use libc::{c_int, sock_filter, socklen_t};

/// A packet socket.
#[derive(Debug)]
pub(crate) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// A socket for whole frames that is given none until it is bound.
    pub(crate) fn open() -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is used as a descriptor.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Has frames of interface `index` come, or of all interfaces where it is 0.
    pub(crate) fn bind(&self, index: u32) -> io::Result<()> {
        // SAFETY: a plain C structure of integers, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as _;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = c_int::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
        // SAFETY: the pointer is to an address of that length, which lives through the call.
        check(unsafe {
            libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as socklen_t)
        })
    }

    /// Index of the interface that it is bound to: 0 for all, -1 where that interface is no more.
    pub(crate) fn bound_to(&self) -> io::Result<c_int> {
        // SAFETY: as in `bind`.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut len = size_of_val(&address) as socklen_t;
        // SAFETY: both pointers are to values that live through the call; `len` says how much may be written.
        check(unsafe { libc::getsockname(self.0.as_raw_fd(), (&raw mut address).cast(), &raw mut len) })?;
        Ok(address.sll_ifindex)
    }

    /// Sets a packet option.
    pub(crate) fn set<T: Copy>(&self, option: c_int, value: &T) -> io::Result<()> {
        self.set_option(libc::SOL_PACKET, option, value)
    }

    /// Asks for a packet option that the kernel gives as a `T` of plain integers.
    pub(crate) fn get<T: Plain>(&self, option: c_int) -> io::Result<T> {
        self.get_option(libc::SOL_PACKET, option)
    }

    /// Has the kernel run `program` over each frame: it gives how many bytes of it are wanted, none by 0.
    pub(crate) fn set_filter(&self, program: &[sock_filter]) -> io::Result<()> {
        if program.is_empty() {
            let detached = self.set_option(libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0);
            return match detached {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                other => other,
            };
        }
        with_program(program, |program| self.set_option(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program))
    }

    /// Has the kernel run `program` to choose a member of the socket's fanout group.
    pub(crate) fn set_fanout_program(&self, program: &[sock_filter]) -> io::Result<()> {
        with_program(program, |program| self.set(libc::PACKET_FANOUT_DATA, program))
    }

    /// The error that waits to be told, and is told once.
    pub(crate) fn take_error(&self) -> io::Result<c_int> {
        self.get_option(libc::SOL_SOCKET, libc::SO_ERROR)
    }

    fn set_option<T: Copy>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        let (value, len) = (std::ptr::from_ref(value).cast(), size_of::<T>() as socklen_t);
        // SAFETY: the pointer is to a value of that length, which lives through the call; the kernel only reads it, and what
        // it points to lives through the call as well (`with_program`).
        check(unsafe { libc::setsockopt(self.0.as_raw_fd(), level, option, value, len) })
    }

    fn get_option<T: Plain>(&self, level: c_int, option: c_int) -> io::Result<T> {
        // SAFETY: `Plain` types are integers, or structures of them, for which zero is a value.
        let mut value: T = unsafe { std::mem::zeroed() };
        let mut len = size_of::<T>() as socklen_t;
        // SAFETY: both pointers are to values that live through the call; `len` says how much may be written, and any bytes
        // are a value of a `Plain` type.
        check(unsafe { libc::getsockopt(self.0.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut len) })?;
        Ok(value)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Integers, and structures of nothing but integers.
///
/// # Safety
/// Any bytes are a value of the type.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: an integer.
unsafe impl Plain for c_int {}
// SAFETY: three integers.
unsafe impl Plain for libc::tpacket_stats_v3 {}

fn with_program<R>(program: &[sock_filter], set: impl FnOnce(&libc::sock_fprog) -> io::Result<R>) -> io::Result<R> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // The kernel only reads it.
    set(&libc::sock_fprog { len, filter: program.as_ptr().cast_mut() })
}

pub(crate) fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
