//! The kernel's routes and devices, asked for over rtnetlink. Takes no privilege.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with, sockopt};

use super::message::{ask_device, ask_route, device_in, route_in};
use super::{Device, Network};

/// The kernel answers within the call that asks; this is for one that does not answer at all.
const PATIENCE: Duration = Duration::from_secs(1);
/// A device with many virtual functions has an answer of some 10 KiB; the kernel makes none longer than this.
const LONGEST_ANSWER: usize = 32 << 10;

/// A socket to ask at.
pub(super) struct Kernel {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; LONGEST_ANSWER] })
    }

    /// Asks, and looks for the answer in what comes.
    fn ask<T>(
        &mut self,
        question: impl Fn(u32) -> Vec<u8>,
        find: impl Fn(&[u8], u32) -> io::Result<Option<T>>,
    ) -> io::Result<T> {
        // What comes late after a question that was given up has another number.
        self.sequence = self.sequence.wrapping_add(1);
        sendto(&self.socket, &question(self.sequence), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        loop {
            let (len, _) = recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::empty())?;
            if let Some(answer) = find(&self.buffer[..len], self.sequence)? {
                return Ok(answer);
            }
        }
    }
}

impl Network for Kernel {
    fn route(&mut self, source: Option<SocketAddr>, destination: SocketAddr) -> io::Result<Option<u32>> {
        let asked = self.ask(|sequence| ask_route(sequence, source, destination), route_in);
        match asked {
            Err(error) if is_no_route(&error) => Ok(None),
            asked => Ok(asked?.device),
        }
    }

    fn device(&mut self, index: u32) -> io::Result<Device> {
        self.ask(|sequence| ask_device(sequence, index), device_in)
    }
}

/// Whether there is no way for now: no route, one that forbids, or an address that this host does not have any more.
fn is_no_route(error: &io::Error) -> bool {
    let none = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL, libc::EADDRNOTAVAIL, libc::ENODEV];
    error.raw_os_error().is_some_and(|code| none.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_by_loopback() {
        let mut kernel = Kernel::open().unwrap();
        for target in ["127.0.0.1:4789", "[::1]:4789"] {
            let target: SocketAddr = target.parse().unwrap();
            let index = kernel.route(Some(SocketAddr::new(target.ip(), 50_000)), target).unwrap().expect("a route");
            let device = kernel.device(index).unwrap();
            assert_eq!((device.name.as_str(), device.index, device.below), ("lo", index, None));
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        assert!(Kernel::open().unwrap().device(i32::MAX.cast_unsigned()).is_err());
    }
}
