//! Many datagrams out of a socket with one system call.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Messages that one call takes at the most. A message is one datagram, or a train of them.
const MESSAGES: usize = 64;
/// Messages that a call takes while trains come: a train fills up to 64 KiB, and more of them than the cache holds
/// would be read from memory again.
const MESSAGES_OF_TRAINS: usize = 8;
/// Room for one message: the longest UDP payload.
const MESSAGE_BYTES: usize = 65_536;
/// Distance between two messages' buffers. Not a power of two, so that the beginnings of all messages do not compete for
/// the same few sets of the cache.
const STRIDE: usize = MESSAGE_BYTES + 33 * 64;
/// Room for control messages: segment size and time stamp.
const CONTROL_BYTES: usize = 128;
const UDP_GRO: libc::c_int = 104;

/// One datagram in a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    /// Outer source address.
    pub(crate) source: IpAddr,
    /// UDP payload.
    pub(crate) payload: &'a [u8],
    /// The kernel's time of arrival, nanoseconds since 1970, where it was asked for.
    pub(crate) time_ns: Option<u64>,
    /// Whether the payload's end is missing because it did not fit.
    pub(crate) truncated: bool,
}

/// A message: one datagram, or several of one sender that the kernel has put together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Train<'a> {
    source: IpAddr,
    time_ns: Option<u64>,
    truncated: bool,
    /// UDP payloads, one behind the other.
    payloads: &'a [u8],
    /// Length of each of them but for the last, which may be shorter.
    stride: usize,
}

impl<'a> Train<'a> {
    /// The datagrams, in the order that they were sent in.
    #[inline]
    pub(crate) fn datagrams(self) -> impl Iterator<Item = Datagram<'a>> {
        let Self { source, time_ns, truncated, payloads, stride } = self;
        let mut rest = payloads;
        // A message with no bytes is a datagram too.
        let mut more = true;
        std::iter::from_fn(move || {
            if !more {
                return None;
            }
            let (payload, behind) = rest.split_at(stride.min(rest.len()));
            (rest, more) = (behind, !behind.is_empty());
            Some(Datagram { source, payload, time_ns, truncated })
        })
    }
}

/// Buffers for a batch, and the batch in them. Made once and used again.
pub(crate) struct Batch {
    payloads: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    filled: usize,
    /// Messages to ask for: fewer while trains come.
    wanted: usize,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

impl Batch {
    pub(crate) fn new() -> Self {
        // SAFETY: all three are plain C structures for which all bytes zero is a valid value (no name, null pointers).
        let (name, header, iovec) = unsafe {
            (
                std::mem::zeroed::<libc::sockaddr_storage>(),
                std::mem::zeroed::<libc::mmsghdr>(),
                std::mem::zeroed::<libc::iovec>(),
            )
        };
        Self {
            payloads: vec![0; STRIDE * MESSAGES].into_boxed_slice(),
            names: vec![name; MESSAGES].into_boxed_slice(),
            controls: vec![Control([0; CONTROL_BYTES]); MESSAGES].into_boxed_slice(),
            headers: vec![header; MESSAGES].into_boxed_slice(),
            iovecs: vec![iovec; MESSAGES].into_boxed_slice(),
            filled: 0,
            wanted: MESSAGES,
        }
    }

    /// Takes what the socket has, without waiting. Gives whether there may be more: every message was used.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.filled = 0;
        for at in 0..self.wanted {
            self.iovecs[at] =
                libc::iovec { iov_base: (&raw mut self.payloads[at * STRIDE]).cast(), iov_len: MESSAGE_BYTES };
            let header = &mut self.headers[at];
            header.msg_len = 0;
            header.msg_hdr.msg_name = (&raw mut self.names[at]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut self.iovecs[at];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = (&raw mut self.controls[at]).cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            header.msg_hdr.msg_flags = 0;
        }
        // SAFETY: each of the `wanted` headers points at a name, an iovec, a payload buffer of `iov_len` bytes and a control
        // buffer of `msg_controllen` bytes, all owned by `self`, apart from each other and alive during the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.wanted as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
                // What an ICMP message about something that this socket never sent leaves behind.
                io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable => Ok(true),
                _ => Err(error),
            };
        }
        self.filled = received as usize;
        let more = self.filled == self.wanted;
        let bytes: usize = self.headers[..self.filled].iter().map(|header| header.msg_len as usize).sum();
        self.wanted = if bytes > self.filled * MESSAGE_BYTES / 8 { MESSAGES_OF_TRAINS } else { MESSAGES };
        Ok(more)
    }

    /// Messages that were received: datagrams, or trains of them.
    pub(crate) const fn messages(&self) -> usize {
        self.filled
    }

    /// Whether nothing was received.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The messages, in the order of arrival.
    #[inline]
    pub(crate) fn trains(&self) -> impl Iterator<Item = Train<'_>> {
        self.headers[..self.filled].iter().enumerate().map(|(at, header)| {
            let len = (header.msg_len as usize).min(MESSAGE_BYTES);
            let (stride, time_ns) = self.control(at);
            Train {
                source: ip_of(&self.names[at]),
                time_ns,
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                payloads: &self.payloads[at * STRIDE..at * STRIDE + len],
                stride: stride.filter(|stride| *stride > 0).unwrap_or(MESSAGE_BYTES),
            }
        })
    }

    /// The datagrams, in the order of arrival, trains taken apart.
    #[cfg(test)]
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.trains().flat_map(Train::datagrams)
    }

    /// Segment size of a train and time of arrival, as far as the message has them.
    #[inline]
    fn control(&self, at: usize) -> (Option<usize>, Option<u64>) {
        let header = &self.headers[at].msg_hdr;
        let (mut stride, mut time_ns) = (None, None);
        if header.msg_controllen == 0 {
            return (stride, time_ns);
        }
        // SAFETY: `header` was filled by the kernel over our control buffer, which is aligned for cmsghdr; the macros stay
        // within msg_controllen, and the data is read unaligned and only where the length says that it is there.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while let Some(control) = message.as_ref() {
                let data = libc::CMSG_DATA(control);
                let len = control.cmsg_len - (data.addr() - message.addr());
                match (control.cmsg_level, control.cmsg_type) {
                    (libc::SOL_UDP, UDP_GRO) if len >= size_of::<libc::c_int>() => {
                        stride = usize::try_from(data.cast::<libc::c_int>().read_unaligned()).ok();
                    }
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if len >= size_of::<libc::timespec>() => {
                        let time = data.cast::<libc::timespec>().read_unaligned();
                        time_ns = Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
                    }
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(header, control);
            }
        }
        (stride, time_ns)
    }
}

/// The address in `name`; an IPv4 address that a socket of both families shows as IPv6 is given as what it is.
#[inline]
fn ip_of(name: &libc::sockaddr_storage) -> IpAddr {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which is no larger and no stricter aligned.
            let v4 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            IpAddr::V4(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6, which is no larger and no stricter aligned.
            let v6 = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            Ipv6Addr::from(v6.sin6_addr.s6_addr).to_canonical()
        }
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests;
