//! The machine as checks see it: files of `/proc` and `/sys` below a root, and a few questions to the kernel.
//!
//! Tests give another root and another kernel.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::kernel::{Kernel, Link};

/// See the module.
pub(super) struct Machine {
    root: PathBuf,
    pub(super) kernel: Box<dyn Kernel>,
}

impl Machine {
    pub(super) fn new(root: impl Into<PathBuf>, kernel: Box<dyn Kernel>) -> Self {
        Self { root: root.into(), kernel }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of the file at `path` without white space at its ends; `None` where there is none that can be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// The number that the file at `path` begins with.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.split_whitespace().next()?.parse().ok()
    }

    /// The names in the directory at `path`, in order.
    pub(super) fn names(&self, path: &str) -> BTreeSet<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else { return BTreeSet::new() };
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// What the symbolic link at `path` points at.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        fs::read_link(self.path(path)).ok()?.into_os_string().into_string().ok()
    }

    /// The first number of a kernel setting.
    pub(super) fn sysctl(&self, key: &SysctlKey) -> Option<u64> {
        self.number(&key.path())
    }

    /// Makes a kernel setting.
    pub(super) fn set_sysctl(&self, key: &SysctlKey, value: &str) -> io::Result<()> {
        // Not created where it is not there: below the root of a test this is a plain file.
        let mut options = fs::OpenOptions::new();
        options.write(true).truncate(true);
        io::Write::write_all(&mut options.open(self.path(&key.path()))?, value.as_bytes())
    }

    /// The capability with this number, as this process has it in effect; root has them all.
    pub(super) fn capability(&self, number: u32) -> bool {
        let status = self.read("/proc/self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
        effective.is_some_and(|bits| bits >> number & 1 == 1)
    }

    /// The network interfaces, by name.
    pub(super) fn interfaces(&self) -> Vec<Interface> {
        let addresses = self.kernel.addresses().unwrap_or_default();
        let of = |link: Link| {
            let Link { name, index, hardware, mtu, up, loopback } = link;
            let directory = format!("/sys/class/net/{name}");
            let in_sys = self.number(&format!("{directory}/ifindex")) == Some(u64::from(index))
                && (hardware.is_none() || self.read(&format!("{directory}/address")) == hardware);
            let uevent = self.read(&format!("{directory}/uevent")).filter(|_| in_sys).unwrap_or_default();
            Interface {
                mtu,
                up,
                loopback,
                in_sys,
                kind: uevent.lines().find_map(|line| line.strip_prefix("DEVTYPE=")).unwrap_or_default().to_owned(),
                addresses: addresses.iter().filter(|(of, _)| *of == name).map(|(_, address)| *address).collect(),
                name,
            }
        };
        let mut interfaces: Vec<_> = self.kernel.links().unwrap_or_default().into_iter().map(of).collect();
        interfaces.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        interfaces
    }

    /// The process that has the socket with this inode open: its number and name.
    pub(super) fn owner_of_socket(&self, inode: u64) -> Option<Process> {
        let wanted = format!("socket:[{inode}]");
        let processes = self.names("/proc").into_iter().filter_map(|name| name.parse::<u32>().ok());
        processes.into_iter().find_map(|pid| {
            let descriptors = format!("/proc/{pid}/fd");
            let mut names = self.names(&descriptors).into_iter();
            names.find(|name| self.link(&format!("{descriptors}/{name}")).as_ref() == Some(&wanted))?;
            Some(Process { pid, name: self.read(&format!("/proc/{pid}/comm")).unwrap_or_default() })
        })
    }

    /// `directory`, or what there is above it: where a directory would come to be.
    pub(super) fn nearest(directory: &Path) -> &Path {
        let there = directory.ancestors().find(|place| place.is_dir());
        match there {
            Some(place) if !place.as_os_str().is_empty() => place,
            // A relative name of which nothing is there yet.
            _ => Path::new("."),
        }
    }
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) mtu: u64,
    pub(super) up: bool,
    pub(super) loopback: bool,
    /// Whether `/sys` tells of it: it shows the interfaces of the network namespace that it was mounted in, which need not be the one
    /// that this runs in (`nsenter --net`), and there may be another of this name there.
    pub(super) in_sys: bool,
    /// `vxlan`, `bridge`, …; empty for most.
    pub(super) kind: String,
    pub(super) addresses: Vec<IpAddr>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// A kernel setting, by the parts of its name, which may have dots in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SysctlKey(Vec<String>);

impl SysctlKey {
    pub(super) fn new(parts: &[&str]) -> Self {
        Self(parts.iter().map(|part| (*part).to_owned()).collect())
    }

    fn path(&self) -> String {
        format!("/proc/sys/{}", self.0.join("/"))
    }
}

/// As `sysctl` takes it: a dot within a part is written as a slash.
impl fmt::Display for SysctlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(".")?;
            }
            f.write_str(&part.replace('.', "/"))?;
        }
        Ok(())
    }
}

/// Numbers of capabilities (`linux/capability.h`).
pub(super) mod capability {
    pub(in crate::doctor) const NET_BIND_SERVICE: u32 = 10;
    pub(in crate::doctor) const NET_ADMIN: u32 = 12;
    pub(in crate::doctor) const NET_RAW: u32 = 13;
    pub(in crate::doctor) const SYS_ADMIN: u32 = 21;
    /// Since Linux 5.8; `SYS_ADMIN` has it in it.
    pub(in crate::doctor) const BPF: u32 = 39;
}

#[cfg(test)]
mod tests;
