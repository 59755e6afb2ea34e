//! What no file tells: questions to the kernel.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;

use super::write_test::{self, WriteRate};
use crate::receive::{ClockState, InterfaceFeatures, clock_state, interface_features};

/// See the module.
pub(super) trait Kernel {
    /// The interfaces of the network namespace that this runs in.
    fn links(&self) -> io::Result<Vec<Link>>;
    /// Interfaces and their addresses.
    fn addresses(&self) -> io::Result<Vec<(String, IpAddr)>>;
    /// What an interface does with frames.
    fn features(&self, interface: &str) -> io::Result<InterfaceFeatures>;
    /// How the clock is.
    fn clock(&self) -> io::Result<ClockState>;
    /// The file system that `directory` is on.
    fn file_system(&self, directory: &Path) -> io::Result<FileSystem>;
    /// How fast files in `directory` can be written, in no longer than about `time`.
    fn write_rate(&self, directory: &Path, time: Duration) -> io::Result<WriteRate>;
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) index: u32,
    /// Its hardware address as `/sys` writes it; `None` where it is none of Ethernet's.
    pub(super) hardware: Option<String>,
    pub(super) mtu: u64,
    pub(super) up: bool,
    pub(super) loopback: bool,
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// Bytes that this user may still write.
    pub(super) free: u64,
    /// Bytes in all.
    pub(super) total: u64,
    /// Whether it is kept in memory.
    pub(super) in_memory: bool,
    /// Whether this user may write into the directory.
    pub(super) writable: bool,
}

/// The kernel that this runs on.
pub(super) struct ThisKernel;

/// `TMPFS_MAGIC` and `RAMFS_MAGIC` (`linux/magic.h`).
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

impl Kernel for ThisKernel {
    fn links(&self) -> io::Result<Vec<Link>> {
        let hardware = |of: &InterfaceAddress| {
            let address = of.address.as_ref()?.as_link_addr().filter(|address| address.halen() == 6)?;
            let bytes = address.addr()?;
            Some(bytes.map(|byte| format!("{byte:02x}")).join(":"))
        };
        let link = |of: InterfaceAddress| {
            // Each interface has one of these, whatever other addresses it has; one that has just gone has no MTU.
            let index = of.address.as_ref()?.as_link_addr()?.ifindex();
            let mtu = vxtap_ring::Interface::named(&of.interface_name).ok()?.mtu;
            let up = of.flags.contains(InterfaceFlags::IFF_UP);
            let loopback = of.flags.contains(InterfaceFlags::IFF_LOOPBACK);
            let hardware = hardware(&of);
            Some(Link { name: of.interface_name, index: index as u32, hardware, mtu: u64::from(mtu), up, loopback })
        };
        Ok(getifaddrs()?.filter_map(link).collect())
    }

    fn addresses(&self) -> io::Result<Vec<(String, IpAddr)>> {
        let address = |storage: nix::sys::socket::SockaddrStorage| {
            let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        };
        Ok(getifaddrs()?.filter_map(|of| Some((of.interface_name, address(of.address?)?))).collect())
    }

    fn features(&self, interface: &str) -> io::Result<InterfaceFeatures> {
        interface_features(interface)
    }

    fn clock(&self) -> io::Result<ClockState> {
        clock_state()
    }

    fn file_system(&self, directory: &Path) -> io::Result<FileSystem> {
        let space = rustix::fs::statvfs(directory)?;
        let kind = rustix::fs::statfs(directory)?.f_type;
        Ok(FileSystem {
            free: space.f_bavail.saturating_mul(space.f_frsize),
            total: space.f_blocks.saturating_mul(space.f_frsize),
            in_memory: IN_MEMORY.contains(&kind),
            writable: rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok(),
        })
    }

    fn write_rate(&self, directory: &Path, time: Duration) -> io::Result<WriteRate> {
        write_test::run(directory, time)
    }
}
