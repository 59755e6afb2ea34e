//! System calls that the standard library has no safe form of: what a process used, and many datagrams in one call.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// From `linux/udp.h`.
const UDP_GRO: libc::c_int = 104;
/// Index of the drop counter in what SO_MEMINFO gives (`linux/sock_diag.h`).
const SK_MEMINFO_DROPS: usize = 8;
const SK_MEMINFO_VARS: usize = 9;
const CONTROL_BYTES: usize = 64;

/// CPU time of a process that ended, its threads and waited-for children included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl CpuTime {
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

/// What a process used until it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) cpu: CpuTime,
    /// The most memory that was resident at a time, bytes.
    pub(crate) peak_memory: u64,
}

/// How the child `pid` ended and what it used, if it has ended; the child is reaped then.
pub(crate) fn try_wait(pid: u32) -> io::Result<Option<(ExitStatus, Used)>> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: a rusage is a plain C structure of numbers, for which all bytes zero is a valid value.
    let mut usage = unsafe { zeroed::<libc::rusage>() };
    // SAFETY: both pointers are to live variables of the right types.
    let result = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) };
    match result {
        0 => Ok(None),
        result if result < 0 => Err(io::Error::last_os_error()),
        _ => {
            let cpu = CpuTime { user: duration(usage.ru_utime), system: duration(usage.ru_stime) };
            // The kernel tells KiB.
            let peak_memory = usage.ru_maxrss.unsigned_abs() << 10;
            Ok(Some((ExitStatus::from_raw(status), Used { cpu, peak_memory })))
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
}

/// How a [`DatagramSocket`] takes datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taking {
    /// Messages in one system call at the most.
    pub(crate) batch: usize,
    /// Bytes of room for each message.
    pub(crate) message_bytes: usize,
    /// Whether the kernel may hand over trains of datagrams as one message.
    pub(crate) gro: bool,
}

/// What one call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) messages: usize,
    pub(crate) datagrams: u64,
}

/// A UDP socket read with recvmmsg, and the buffers for it.
pub(crate) struct DatagramSocket {
    socket: UdpSocket,
    taking: Taking,
    payloads: Vec<u8>,
    controls: Vec<[u64; CONTROL_BYTES / 8]>,
    iovecs: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl DatagramSocket {
    /// Binds `address`, asks for a receive buffer of `buffer_bytes` (past the system's limit where that is allowed), and
    /// never blocks longer than `patience`.
    pub(crate) fn bind(
        address: SocketAddr,
        buffer_bytes: usize,
        patience: Duration,
        taking: Taking,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
        let wanted = libc::c_int::try_from(buffer_bytes).unwrap_or(libc::c_int::MAX / 2);
        if set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
            socket.set_recv_buffer_size(buffer_bytes)?;
        }
        if taking.gro {
            set_option(&socket, libc::SOL_UDP, UDP_GRO, 1)?;
        }
        socket.set_read_timeout(Some(patience))?;
        socket.bind(&address.into())?;
        // SAFETY: both are plain C structures for which all bytes zero is a valid value (null pointers, no lengths).
        let (iovec, header) = unsafe { (zeroed::<libc::iovec>(), zeroed::<libc::mmsghdr>()) };
        Ok(Self {
            socket: socket.into(),
            taking,
            payloads: vec![0; taking.batch * taking.message_bytes],
            controls: vec![[0; CONTROL_BYTES / 8]; taking.batch],
            iovecs: vec![iovec; taking.batch],
            headers: vec![header; taking.batch],
        })
    }

    /// Takes what is there, up to one batch; with `wait`, sleeps for the first message up to the socket's patience.
    pub(crate) fn take(&mut self, wait: bool) -> io::Result<Taken> {
        let bytes = self.taking.message_bytes;
        for (at, header) in self.headers.iter_mut().enumerate() {
            let payload = &mut self.payloads[at * bytes..(at + 1) * bytes];
            self.iovecs[at] = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: bytes };
            header.msg_hdr.msg_iov = &raw mut self.iovecs[at];
            header.msg_hdr.msg_iovlen = 1;
            if self.taking.gro {
                header.msg_hdr.msg_control = self.controls[at].as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
            }
        }
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: each header points at an iovec, a payload buffer of `iov_len` bytes and none or a control buffer of
        // `msg_controllen` bytes, all owned by `self`, apart from each other and alive during the call; names are null.
        let taken = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        if taken < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::TimedOut => {
                    Ok(Taken::default())
                }
                _ => Err(error),
            };
        }
        let messages = taken as usize;
        let datagrams = self.headers[..messages].iter().map(datagrams_in).sum();
        Ok(Taken { messages, datagrams })
    }

    /// What the kernel dropped at this socket so far.
    pub(crate) fn kernel_dropped(&self) -> io::Result<u64> {
        let mut info = [0u32; SK_MEMINFO_VARS];
        let mut len = size_of_val(&info) as libc::socklen_t;
        // SAFETY: `info` has room for `len` bytes, and the kernel writes no more than that.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if result == 0 { Ok(info[SK_MEMINFO_DROPS].into()) } else { Err(io::Error::last_os_error()) }
    }
}

/// How many datagrams a message is: the kernel tells the length of all but the last in a control message.
fn datagrams_in(header: &libc::mmsghdr) -> u64 {
    let message = &header.msg_hdr;
    if message.msg_control.is_null() || message.msg_controllen == 0 {
        return 1;
    }
    // SAFETY: the kernel filled the control buffer, which is aligned for cmsghdr, and `msg_controllen` says how far; the
    // value is read unaligned and only where the length says that it is there.
    let stride = unsafe {
        libc::CMSG_FIRSTHDR(message).as_ref().and_then(|control| {
            let whole = control.cmsg_len >= libc::CMSG_LEN(size_of::<libc::c_int>() as u32) as usize;
            let ours = control.cmsg_level == libc::SOL_UDP && control.cmsg_type == UDP_GRO;
            (ours && whole).then(|| libc::CMSG_DATA(control).cast::<libc::c_int>().read_unaligned())
        })
    };
    match stride.and_then(|stride| u32::try_from(stride).ok()) {
        Some(stride) if stride > 0 => u64::from(header.msg_len.div_ceil(stride)).max(1),
        _ => 1,
    }
}

fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value is a live c_int and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_socket_counts_the_datagrams_that_it_takes() {
        let address = "127.0.0.1:0".parse().unwrap();
        let taking = Taking { batch: 4, message_bytes: 2048, gro: true };
        let mut socket = DatagramSocket::bind(address, 1 << 20, PATIENCE, taking).unwrap();
        let sender = UdpSocket::bind(address).unwrap();
        for _ in 0..3 {
            sender.send_to(&[1; 100], socket.socket.local_addr().unwrap()).unwrap();
        }
        let mut datagrams = 0;
        while datagrams < 3 {
            let taken = socket.take(true).unwrap();
            assert!(taken.messages > 0, "nothing came in {PATIENCE:?}");
            datagrams += taken.datagrams;
        }
        assert_eq!(
            (datagrams, socket.take(false).unwrap(), socket.kernel_dropped().unwrap()),
            (3, Taken::default(), 0)
        );
    }

    #[test]
    fn a_child_that_ended_is_waited_for_with_the_time_and_the_memory_that_it_used() {
        let work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3";
        let mut child = std::process::Command::new("sh").args(["-c", work]).spawn().unwrap();
        let begin = std::time::Instant::now();
        let (status, used) = loop {
            if let Some(ended) = try_wait(child.id()).unwrap() {
                break ended;
            }
            assert!(begin.elapsed() < PATIENCE * 6);
            std::thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(status.code(), Some(3));
        assert!(used.cpu.total() > Duration::ZERO);
        // A shell has pages, and no gigabyte of them.
        assert!((1 << 12..1 << 30).contains(&used.peak_memory), "{}", used.peak_memory);
        assert!(child.wait().is_err(), "it was waited for before");
    }
}
