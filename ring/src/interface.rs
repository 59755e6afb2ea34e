//! Network interfaces, by name.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use crate::error::RingError;
use crate::socket::check;

/// A network interface as it was when it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index: another one each time that an interface is made, also under an old name.
    pub index: u32,
    /// What its frames are.
    pub kind: LinkKind,
    /// The longest packet in bytes that it carries, without an Ethernet header.
    pub mtu: u32,
    /// Whether it is up.
    pub is_up: bool,
}

/// What the frames of an interface begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// An Ethernet header.
    Ethernet,
    /// An Ethernet header too, and each frame crosses twice: out, and in again.
    Loopback,
    /// Something else, by its ARP hardware type; many tunnels begin with the IP header (65534).
    Other(u16),
}

impl LinkKind {
    /// Whether frames begin with an Ethernet header.
    pub const fn has_ethernet_header(self) -> bool {
        matches!(self, Self::Ethernet | Self::Loopback)
    }
}

impl Interface {
    /// Looks up the interface of that name.
    pub fn named(name: &str) -> Result<Self, RingError> {
        let failed = |source| RingError::new("find the interface", format!("'{name}'"), source);
        let request = Request::new(name).map_err(failed)?;
        let mut request = request;
        let index = request.ask(libc::SIOCGIFINDEX as _).map_err(failed)?.index();
        let kind = match request.ask(libc::SIOCGIFHWADDR as _).map_err(failed)?.hardware() {
            libc::ARPHRD_ETHER => LinkKind::Ethernet,
            libc::ARPHRD_LOOPBACK => LinkKind::Loopback,
            other => LinkKind::Other(other),
        };
        let mtu = request.ask(libc::SIOCGIFMTU as _).map_err(failed)?.mtu();
        let is_up = request.ask(libc::SIOCGIFFLAGS as _).map_err(failed)?.is_up();
        Ok(Self { name: name.to_owned(), index, kind, mtu, is_up })
    }

    /// The index that the interface of that name has now; `None` without such an interface.
    pub fn index_of(name: &str) -> Option<u32> {
        Request::new(name).ok()?.ask(libc::SIOCGIFINDEX as _).ok().map(Request::index)
    }

    /// Whether interface `index` is up; `None` where it is no more.
    pub(crate) fn is_up(index: i32) -> Option<bool> {
        let mut request = Request::new("").ok()?;
        request.data.ifr_ifru.ifru_ifindex = index;
        request.ask(libc::SIOCGIFNAME as _).ok()?;
        request.ask(libc::SIOCGIFFLAGS as _).ok().map(Request::is_up)
    }
}

/// A question to the kernel about an interface.
struct Request {
    socket: OwnedFd,
    data: libc::ifreq,
}

impl Request {
    fn new(name: &str) -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked before it is used as a descriptor.
        let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        check(fd)?;
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a plain C structure of integers and a union of such, for which zero is a value.
        let mut data: libc::ifreq = unsafe { std::mem::zeroed() };
        // The last byte stays zero and ends the name.
        if name.len() >= data.ifr_name.len() || name.bytes().any(|byte| byte == 0) {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        for (to, byte) in data.ifr_name.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([byte]);
        }
        Ok(Self { socket, data })
    }

    fn ask(&mut self, what: libc::Ioctl) -> io::Result<&Self> {
        // SAFETY: each of the requests that this file makes reads and writes an `ifreq`, and this one lives through the call.
        check(unsafe { libc::ioctl(self.socket.as_raw_fd(), what, &raw mut self.data) })?;
        Ok(self)
    }

    fn index(&self) -> u32 {
        // SAFETY: any bytes are an integer; SIOCGIFINDEX has set it.
        unsafe { self.data.ifr_ifru.ifru_ifindex }.cast_unsigned()
    }

    fn mtu(&self) -> u32 {
        // SAFETY: any bytes are an integer; SIOCGIFMTU has set it.
        u32::try_from(unsafe { self.data.ifr_ifru.ifru_mtu }).unwrap_or(0)
    }

    fn hardware(&self) -> u16 {
        // SAFETY: any bytes are a sockaddr of integers; SIOCGIFHWADDR has set it.
        unsafe { self.data.ifr_ifru.ifru_hwaddr }.sa_family
    }

    fn is_up(&self) -> bool {
        // SAFETY: any bytes are an integer; SIOCGIFFLAGS has set it.
        i32::from(unsafe { self.data.ifr_ifru.ifru_flags }) & libc::IFF_UP != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_ethernet_headers_and_shows_frames_twice() {
        let Ok(loopback) = Interface::named("lo") else {
            println!("skipped: there is no interface lo");
            return;
        };
        assert_eq!((loopback.kind, loopback.kind.has_ethernet_header()), (LinkKind::Loopback, true));
        assert_eq!(Interface::index_of("lo"), Some(loopback.index));
        assert_eq!(Interface::is_up(loopback.index.cast_signed()), Some(loopback.is_up));
        assert!(loopback.mtu >= 1280);
    }

    #[test]
    fn an_interface_that_is_not_there_is_named_in_the_error() {
        for name in ["no-such-if", "a-name-longer-than-any-interface", "with\0zero"] {
            let error = Interface::named(name).unwrap_err();
            assert!(error.is_no_interface(), "{error}");
            assert!(error.to_string().starts_with(&format!("cannot find the interface '{name}': ")), "{error}");
            assert_eq!(Interface::index_of(name), None);
        }
        assert_eq!(Interface::is_up(i32::MAX), None);
    }
}
