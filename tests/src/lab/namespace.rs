//! One network namespace, gone with its value.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::EXCHANGE;
use crate::process::{Finished, run_within};
use crate::programs::forget_settings;

/// What the names of this lab's namespaces begin with.
const PREFIX: &str = "vxtap";

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose name contains `role`, with loopback up.
    pub fn create(role: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}-{}-{number}-{role}", process::id());
        let added = run_within(EXCHANGE, Command::new("ip").args(["netns", "add", &name]));
        assert!(added.status.success(), "cannot make namespace {name}: {}", added.stderr);
        let namespace = Self { name };
        namespace.ip("link set lo up");
        namespace
    }

    /// A command that runs `program` in here.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        forget_settings(&mut command);
        command
    }

    /// Runs a command line of words in here.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, line: &str) -> Finished {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().expect("a command line has a program"));
        run_within(EXCHANGE, command.args(words)).success()
    }

    /// Does something on a thread of this namespace: sockets that it opens belong here, wherever they are used later.
    ///
    /// # Panics
    /// When the namespace cannot be entered, or `act` panics.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let work = scope.spawn(|| {
                self.enter();
                act()
            });
            work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread in here, for the rest of its life.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn enter(&self) {
        let file = fs::File::open(Path::new("/run/netns").join(&self.name)).expect("the namespace is there");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may enter it");
    }

    /// Runs `ip` with a line of words in here.
    pub fn ip(&self, line: &str) -> Finished {
        self.run(&format!("ip {line}"))
    }

    /// Links `here` (a name and an MTU) with `there` in `other`, both up and without offloads.
    pub fn link(&self, (here, mtu): (&str, u32), other: &Self, there: &str) {
        self.ip(&format!("link add {here} mtu {mtu} type veth peer name {there} mtu {mtu} netns {}", other.name));
        for (namespace, device) in [(self, here), (other, there)] {
            namespace.quiet_offloads(device);
            namespace.ip(&format!("link set {device} up"));
        }
    }

    /// Gives `device` addresses, usable at once.
    pub fn address(&self, device: &str, addresses: &[&str]) {
        for address in addresses {
            let at_once = if address.contains(':') { "nodad" } else { "" };
            self.ip(&format!("address add {address} dev {device} {at_once}"));
        }
    }

    /// Lets `device` neither merge nor split frames nor leave checksums for later.
    pub fn quiet_offloads(&self, device: &str) {
        self.run(&format!("ethtool -K {device} tx off tso off gso off gro off"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

/// Deletes the namespaces of test processes that are no more.
fn sweep() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if owner(&name).is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
            delete(&name);
        }
    }
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-').next()?.parse().ok()
}

fn delete(name: &str) {
    // Nothing more can be done about one that does not go; the next sweep tries again.
    let _ = Command::new("ip").args(["netns", "delete", name]).output();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::{have_root, have_tools};

    #[test]
    fn the_owner_of_a_namespace_is_in_its_name_and_others_are_left_alone() {
        assert_eq!(owner("vxtap-123-0-host"), Some(123));
        assert_eq!((owner("docker-1-0-host"), owner("vxtap"), owner("vxtap-x-y")), (None, None, None));
    }

    #[test]
    fn a_namespace_goes_with_its_value() {
        if !have_root() || !have_tools(&["ip"]) {
            return;
        }
        let namespace = Namespace::create("brief");
        let path = format!("/run/netns/{}", namespace.name);
        assert!(fs::exists(&path).unwrap());
        drop(namespace);
        assert!(!fs::exists(&path).unwrap());
    }
}
