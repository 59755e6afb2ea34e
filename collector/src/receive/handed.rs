//! Sockets that a service manager has opened and hands over: `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`, as systemd and
//! those who speak its protocol set them.
//!
//! The manager keeps its copy of each socket, so what arrives while no collector runs waits in the queue for the next one.
//! Datagram sockets are told by the address that they are bound to, whatever their names; stream sockets by their names
//! (`health`, `api`). A socket that nobody wants is an error: what arrived there would wait for ever.
#![allow(unsafe_code)]

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{FdFlags, fcntl_setfd};
use socket2::{Protocol, Socket, Type};

/// Number of the first descriptor that is handed over.
const FIRST: RawFd = 3;
/// The most sockets that a manager may hand over: one for each worker of some listeners.
const MOST: usize = 4096;
/// How the names begin under which this program has the manager keep its sockets.
const KEPT: &str = "vxtap-data-";

/// Sockets that were handed over and not asked for yet.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    sockets: Vec<HandedSocket>,
}

#[derive(Debug)]
struct HandedSocket {
    name: String,
    socket: Socket,
    address: SocketAddr,
    datagrams: bool,
}

/// Why sockets cannot be taken over. All of it is the configuration of the manager.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandedError {
    /// The environment contradicts itself.
    #[error("cannot take sockets over: {variable} is '{value}': expected {expected}")]
    Variable {
        /// Which variable.
        variable: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// What was handed over is none of what can be used.
    #[error("cannot take over socket '{name}' (descriptor {number}): {fault}")]
    Unusable {
        /// Its name.
        name: String,
        /// Number of the descriptor.
        number: RawFd,
        /// What is wrong with it.
        fault: String,
    },
    /// Several sockets on one address that are not one group.
    #[error(
        "cannot take over {count} sockets on {address}: all of one address must share the port (`ReusePort=yes` in the .socket unit)"
    )]
    NoGroup {
        /// Their address.
        address: SocketAddr,
        /// How many there are.
        count: usize,
    },
    /// Nobody would read from it.
    #[error("socket '{name}' on {address} was handed over, and {fault}")]
    Unwanted {
        /// Its name.
        name: String,
        /// Where it is bound.
        address: SocketAddr,
        /// What could be done.
        fault: &'static str,
    },
}

impl Handed {
    /// Takes over what was handed to this process. Once in the life of a process: a second call gives nothing.
    pub(crate) fn take() -> Result<Self, HandedError> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Ok(Self::default());
        }
        let names = names(|name| std::env::var_os(name), std::process::id())?;
        let mut sockets = Vec::new();
        for (number, name) in (FIRST..).zip(names) {
            let unusable = |source: rustix::io::Errno| HandedError::Unusable {
                name: name.clone(),
                number,
                fault: io::Error::from(source).to_string(),
            };
            // SAFETY: only a flag of the descriptor is set, and the call fails where there is none of this number.
            let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
            // Children (capture hooks) must not keep it open.
            fcntl_setfd(borrowed, FdFlags::CLOEXEC).map_err(unusable)?;
            // SAFETY: it is open, as the call above has shown. The manager opened it for this process, which LISTEN_PID names,
            // before it began, and this is the only place that takes it, once.
            sockets.push((name, unsafe { OwnedFd::from_raw_fd(number) }));
        }
        Self::of(sockets)
    }

    /// These sockets, by name, in their order.
    pub(crate) fn of(sockets: Vec<(String, OwnedFd)>) -> Result<Self, HandedError> {
        let mut handed = Self::default();
        for (number, (name, fd)) in (FIRST..).zip(sockets) {
            let socket = Socket::from(fd);
            match HandedSocket::new(name.clone(), socket) {
                Ok(socket) => handed.sockets.push(socket),
                Err(fault) => return Err(HandedError::Unusable { name, number, fault }),
            }
        }
        // A store gives them back in an order of its own; the sort keeps that of sockets that it does not know.
        handed.sockets.sort_by_key(|socket| kept_number(&socket.name));
        Ok(handed)
    }

    /// The UDP sockets that are bound to `address`, in the order in which they were bound.
    pub(crate) fn datagrams(&mut self, address: SocketAddr) -> Result<Vec<Socket>, HandedError> {
        let is_there = |socket: &mut HandedSocket| socket.datagrams && same_address(socket.address, address);
        let found: Vec<Socket> = self.sockets.extract_if(.., is_there).map(|found| found.socket).collect();
        if found.len() > 1 && !found.iter().all(|socket| socket.reuse_port().unwrap_or(false)) {
            return Err(HandedError::NoGroup { address, count: found.len() });
        }
        if address.is_ipv6()
            && address.ip().is_unspecified()
            && found.iter().any(|socket| socket.only_v6().unwrap_or(false))
        {
            tracing::warn!(
                "the socket handed over on {address} takes IPv6 alone (`BindIPv6Only=both` in the .socket unit takes both)"
            );
        }
        Ok(found)
    }

    /// The listening TCP socket called `name`.
    pub(crate) fn listener(&mut self, name: &str) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|socket| !socket.datagrams && socket.name == name)?;
        Some(self.sockets.swap_remove(at).socket.into())
    }

    /// Sees that every socket was asked for. Gives the names of those that this program once had kept, for a listener that it
    /// no longer has: they are closed, and the manager may forget them.
    pub(crate) fn finish(self) -> Result<Vec<String>, HandedError> {
        let (kept, unwanted): (Vec<_>, Vec<_>) =
            self.sockets.into_iter().partition(|socket| socket.name.starts_with(KEPT));
        match unwanted.into_iter().next() {
            None => Ok(kept.into_iter().map(|socket| socket.name).collect()),
            Some(HandedSocket { name, address, datagrams, .. }) => {
                let fault = if datagrams {
                    "no --listen names its address: add it there, or take the socket out of the unit"
                } else {
                    "it is called neither 'health' nor 'api' (FileDescriptorName=), or the one so called is not served"
                };
                Err(HandedError::Unwanted { name, address, fault })
            }
        }
    }
}

/// The name under which the manager keeps socket `number` of the group on `address`.
pub(crate) fn kept_name(number: usize, address: SocketAddr) -> String {
    // A colon ends a name in LISTEN_FDNAMES.
    format!("{KEPT}{number}-{}", address.to_string().replace(':', "_"))
}

/// The number in a [`kept_name`]; 0 in every other name.
fn kept_number(name: &str) -> usize {
    let number = name.strip_prefix(KEPT).and_then(|rest| rest.split('-').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl HandedSocket {
    fn new(name: String, socket: Socket) -> Result<Self, String> {
        let told = |error: io::Error| error.to_string();
        let address = socket.local_addr().map_err(told)?.as_socket().ok_or("it is neither IPv4 nor IPv6")?;
        let (kind, protocol) = (socket.r#type().map_err(told)?, socket.protocol().map_err(told)?);
        let datagrams = match kind {
            Type::DGRAM if protocol == Some(Protocol::UDP) => true,
            Type::STREAM if protocol == Some(Protocol::TCP) && socket.is_listener().map_err(told)? => false,
            _ => return Err("it is neither a UDP socket nor a TCP socket that listens".to_owned()),
        };
        if address.port() == 0 {
            return Err("it is not bound to a port".to_owned());
        }
        Ok(Self { name, socket, address, datagrams })
    }
}

/// Whether both are one address and port. Flow information and scope are no part of that.
fn same_address(one: SocketAddr, other: SocketAddr) -> bool {
    (one.ip(), one.port()) == (other.ip(), other.port())
}

/// Names of the sockets that `variable` tells of, if they are for the process `pid`.
fn names(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> Result<Vec<String>, HandedError> {
    let text = |variable_name: &str| variable(variable_name).map(|value| value.to_string_lossy().into_owned());
    // Inherited from somebody to whom they were handed.
    let Some(for_pid) = text("LISTEN_PID") else { return Ok(Vec::new()) };
    if for_pid.parse() != Ok(pid) {
        return Ok(Vec::new());
    }
    let wrong = |variable, value: String, expected: String| HandedError::Variable { variable, value, expected };
    let count = text("LISTEN_FDS").unwrap_or_default();
    let count: usize = match count.parse() {
        Ok(count) if count <= MOST => count,
        _ => return Err(wrong("LISTEN_FDS", count, format!("a number up to {MOST}"))),
    };
    if count == 0 {
        return Ok(Vec::new());
    }
    let Some(names) = text("LISTEN_FDNAMES") else { return Ok(vec!["unknown".to_owned(); count]) };
    let found: Vec<String> = names.split(':').map(|name| name.escape_debug().to_string()).collect();
    if found.len() != count {
        return Err(wrong("LISTEN_FDNAMES", names, format!("{count} names with colons between them")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
