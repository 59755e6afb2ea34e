//! Two network namespaces with a veth pair between them, gone with their value.

use std::path::Path;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, ensure};

/// What the names begin with.
const PREFIX: &str = "vxtap-bench";
/// The device on both sides.
pub(crate) const DEVICE: &str = "veth0";
/// The receiving side, as the outer headers of the benchmark file have it, so that the file reaches it unchanged.
pub(crate) const RECEIVER: &str = "10.200.1.1";
const SENDER: &str = "10.200.0.1";
const RECEIVER_MAC: &str = "02:00:00:00:00:0b";
const SENDER_MAC: &str = "02:00:00:00:00:0a";

/// A namespace that sends and one that receives.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) sender: Namespace,
    pub(crate) receiver: Namespace,
    number: u32,
}

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Link {
    pub(crate) fn open() -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let create = |role: &str| Namespace::create(name(number, role));
        let (sender, receiver) = (create("tx")?, create("rx")?);
        let Namespace { name: there } = &receiver;
        sender.ip(&format!(
            "link add {DEVICE} address {SENDER_MAC} type veth peer name {DEVICE} address {RECEIVER_MAC} netns {there}"
        ))?;
        for (namespace, address) in [(&sender, SENDER), (&receiver, RECEIVER)] {
            namespace.ip("link set lo up")?;
            namespace.ip(&format!("address add {address}/16 dev {DEVICE}"))?;
            namespace.ip(&format!("link set {DEVICE} up"))?;
        }
        // Nobody has to ask for an address while packets are being counted.
        sender.ip(&format!("neighbour replace {RECEIVER} lladdr {RECEIVER_MAC} dev {DEVICE} nud permanent"))?;
        receiver.ip(&format!("neighbour replace {SENDER} lladdr {SENDER_MAC} dev {DEVICE} nud permanent"))?;
        Ok(Self { sender, receiver, number })
    }

    /// One more namespace, with nothing in it.
    pub(crate) fn another(&self, role: &str) -> anyhow::Result<Namespace> {
        let namespace = Namespace::create(name(self.number, role))?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }
}

fn name(number: u32, role: &str) -> String {
    format!("{PREFIX}-{}-{number}-{role}", process::id())
}

impl Namespace {
    fn create(name: String) -> anyhow::Result<Self> {
        run(&["netns", "add", &name])?;
        Ok(Self { name })
    }

    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    /// Runs a command line of words in here: what it says.
    pub(crate) fn run(&self, line: &str) -> anyhow::Result<String> {
        let words = ["netns", "exec", &self.name].into_iter().chain(line.split(' '));
        let output = Command::new("ip").args(words).output().context("start ip")?;
        ensure!(output.status.success(), "`{line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn ip(&self, line: &str) -> anyhow::Result<()> {
        let words: Vec<_> = ["-n", &self.name].into_iter().chain(line.split(' ')).collect();
        run(&words)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        delete(&self.name);
    }
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(words).output().context("start ip")?;
    let line = words.join(" ");
    ensure!(output.status.success(), "`ip {line}` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Deletes the namespaces of benchmarks that were killed.
fn sweep() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if owner(&name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
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

    #[test]
    fn the_owner_of_a_namespace_is_in_its_name_and_others_are_left_alone() {
        assert_eq!(owner("vxtap-bench-123-0-tx"), Some(123));
        assert_eq!((owner("vxtap-123-0-host"), owner("vxtap-bench"), owner("vxtap-bench-x-y")), (None, None, None));
    }
}
