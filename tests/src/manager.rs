//! A small service manager: starts a collector with sockets, hears what it tells, and keeps what it is given to keep.
//!
//! It speaks systemd's protocol from the other side: `LISTEN_FDS` and `NOTIFY_SOCKET`, see `sd_listen_fds(3)`, `sd_notify(3)`
//! and `sd_pid_notify_with_fds(3)`.

use std::fmt::Write as _;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

use crate::deadline::within;

/// Descriptors from here on are nobody's.
const HIGH: i32 = 200;
/// The buffer of a manager's data socket.
const BUFFER: usize = 64 << 20;

/// The manager, and what it has for the next process.
#[derive(Debug)]
pub struct Manager {
    directory: TempDir,
    notify: UnixDatagram,
    sockets: Vec<(String, OwnedFd)>,
    /// Copies that the process being started takes.
    passing: Vec<OwnedFd>,
    heard: Vec<String>,
}

impl Manager {
    /// One that has no sockets.
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let notify = UnixDatagram::bind(directory.path().join("notify")).expect("a writable directory");
        notify.set_nonblocking(true).expect("a socket of our own");
        Self { directory, notify, sockets: Vec::new(), passing: Vec::new(), heard: Vec::new() }
    }

    /// Opens `count` UDP sockets that share a free port of loopback, and gives their address; `None` where the system grants no
    /// buffer that holds what comes while a collector restarts.
    pub fn open(&mut self, count: usize) -> Option<SocketAddr> {
        let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
        for _ in 0..count {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a socket");
            socket.set_reuse_port(true).expect("a socket of our own");
            // As root beyond net.core.rmem_max.
            let forced = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER);
            forced.or_else(|_| rustix::net::sockopt::set_socket_recv_buffer_size(&socket, BUFFER)).ok()?;
            if socket.recv_buffer_size().expect("a socket of our own") < BUFFER {
                return None;
            }
            socket.bind(&address.into()).expect("a free port");
            address = socket.local_addr().expect("it is bound").as_socket().expect("an IP address");
            self.sockets.push(("data".to_owned(), socket.into()));
        }
        Some(address)
    }

    /// The command that starts what `command` would, with the sockets in their order. Nothing else may be started before
    /// [`Manager::wait_for`] has heard from it: every child gets the sockets until then.
    pub fn command(&mut self, command: &Command) -> Command {
        let mut script = String::from("export LISTEN_PID=$$");
        let mut close = String::new();
        for (number, (_, socket)) in (3..).zip(&self.sockets) {
            // Beyond the numbers that they get, so that none is overwritten before it is copied.
            let high = fcntl_dupfd_cloexec(socket, HIGH).expect("descriptors are left");
            fcntl_setfd(&high, FdFlags::empty()).expect("a descriptor of our own");
            // Writing to a String cannot fail.
            let _ = write!(script, "; exec {number}<&{}", high.as_raw_fd());
            let _ = write!(close, "; exec {}<&-", high.as_raw_fd());
            self.passing.push(high);
        }
        script = format!("{script}{close}; exec \"$@\"");
        let mut wrapped = Command::new("bash");
        wrapped.args(["-c", &script, "bash"]).arg(command.get_program()).args(command.get_args());
        let names = self.sockets.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(":");
        wrapped.env("LISTEN_FDS", self.sockets.len().to_string()).env("LISTEN_FDNAMES", names);
        wrapped.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }

    /// Names of the sockets that it has.
    pub fn names(&self) -> Vec<&str> {
        self.sockets.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Gives its sockets the next time in the opposite order, as stores do.
    pub fn reverse(&mut self) {
        self.sockets.reverse();
    }

    /// Waits until it was told `line` since the last call.
    ///
    /// # Panics
    /// When that does not come within `limit`.
    pub fn wait_for(&mut self, limit: Duration, line: &str) {
        within(limit, line, || {
            self.hear();
            let at = self.heard.iter().position(|heard| heard == line)?;
            self.heard.drain(..=at);
            Some(())
        });
        self.passing.clear();
    }

    /// How often it was told `line` since the last call of this or [`Manager::wait_for`].
    pub fn count(&mut self, line: &str) -> usize {
        self.hear();
        let before = self.heard.len();
        self.heard.retain(|heard| heard != line);
        before - self.heard.len()
    }

    fn hear(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let buffers = &mut [IoSliceMut::new(&mut bytes)];
            let Ok(message) = recvmsg(self.notify.as_fd(), buffers, &mut control, RecvFlags::CMSG_CLOEXEC) else {
                return;
            };
            let sockets = control.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
                _ => None,
            });
            let sockets: Vec<OwnedFd> = sockets.flatten().collect();
            let text = String::from_utf8_lossy(&bytes[..message.bytes]).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let name = lines.iter().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
            if lines.contains(&"FDSTOREREMOVE=1") {
                self.sockets.retain(|(kept, _)| kept != name);
            }
            if lines.contains(&"FDSTORE=1") {
                self.sockets.extend(sockets.into_iter().map(|socket| (name.to_owned(), socket)));
            }
            self.heard.extend(lines.into_iter().map(str::to_owned));
        }
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}
