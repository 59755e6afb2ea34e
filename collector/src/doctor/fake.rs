//! A machine for tests: files below a temporary directory, and a kernel that answers as told.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::counters::Counters;
use super::finding::{Finding, Severity};
use super::kernel::{FileSystem, Kernel, Link};
use super::machine::Machine;
use super::write_test::WriteRate;
use super::{Check, DoctorSettings, Examination, interfaces};
use crate::cli::doctor_settings;
use crate::receive::{ClockState, InterfaceFeatures};

/// See the module. Each method adds to it.
pub(super) struct FakeMachine {
    root: TempDir,
    kernel: FakeKernel,
}

/// What the kernel of a [`FakeMachine`] answers.
#[derive(Clone, Default)]
pub(super) struct FakeKernel {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<(String, IpAddr)>,
    pub(super) features: Vec<(String, InterfaceFeatures)>,
    pub(super) clock: Option<ClockState>,
    pub(super) file_system: Option<FileSystem>,
    pub(super) write_rate: Option<WriteRate>,
}

impl Kernel for FakeKernel {
    fn links(&self) -> io::Result<Vec<Link>> {
        Ok(self.links.clone())
    }

    fn addresses(&self) -> io::Result<Vec<(String, IpAddr)>> {
        Ok(self.addresses.clone())
    }

    fn features(&self, interface: &str) -> io::Result<InterfaceFeatures> {
        let found = self.features.iter().find(|(name, _)| name == interface);
        found.map(|(_, features)| *features).ok_or_else(|| io::Error::other("no such device"))
    }

    fn clock(&self) -> io::Result<ClockState> {
        self.clock.ok_or_else(|| io::Error::other("no clock"))
    }

    fn file_system(&self, _: &Path) -> io::Result<FileSystem> {
        self.file_system.ok_or_else(|| io::Error::other("no file system"))
    }

    fn write_rate(&self, _: &Path, _: Duration) -> io::Result<WriteRate> {
        self.write_rate.ok_or_else(|| io::Error::other("disk on fire"))
    }
}

impl FakeMachine {
    pub(super) fn new() -> Self {
        Self { root: TempDir::new().expect("a temporary directory"), kernel: FakeKernel::default() }
    }

    /// A file with this text, with its directories; again for another text.
    pub(super) fn file(self, path: &str, text: &str) -> Self {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a file is in a directory")).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A symbolic link.
    pub(super) fn link(self, path: &str, target: &str) -> Self {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a link is in a directory")).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
        self
    }

    /// An interface that is up.
    pub(super) fn interface(mut self, name: &str, mtu: u32, addresses: &[&str]) -> Self {
        let of = |address: &&str| (name.to_owned(), address.parse().expect("an address"));
        self.kernel.addresses.extend(addresses.iter().map(of));
        let (index, loopback) = (self.kernel.links.len() as u32 + 1, name == "lo");
        let hardware = format!("02:00:00:00:00:{index:02x}");
        let described = [("ifindex", format!("{index}\n")), ("address", format!("{hardware}\n"))];
        let mtu = u64::from(mtu);
        self.kernel.links.push(Link {
            name: name.to_owned(),
            index,
            hardware: Some(hardware),
            mtu,
            up: true,
            loopback,
        });
        described.iter().fold(self, |fake, (file, text)| fake.file(&format!("/sys/class/net/{name}/{file}"), text))
    }

    /// A kernel setting, by its name with slashes.
    pub(super) fn sysctl(self, name: &str, value: &str) -> Self {
        self.file(&format!("/proc/sys/{name}"), &format!("{value}\n"))
    }

    /// The capabilities of this process, as bits.
    pub(super) fn capabilities(self, bits: u64) -> Self {
        self.file("/proc/self/status", &format!("Name:\tx\nCapEff:\t{bits:016x}\n"))
    }

    /// Another kernel.
    pub(super) fn kernel(mut self, change: impl FnOnce(&mut FakeKernel)) -> Self {
        change(&mut self.kernel);
        self
    }

    pub(super) fn machine(&self) -> Machine {
        Machine::new(self.root.path(), Box::new(self.kernel.clone()))
    }

    pub(super) fn counters(&self) -> Counters {
        let machine = self.machine();
        Counters::read(&machine, &machine.interfaces())
    }

    /// What `check` finds for `run` with these arguments, with counters that stand still.
    pub(super) fn look(&self, check: &dyn Check, arguments: &str) -> Vec<Finding> {
        self.look_since(check, arguments, &self.counters())
    }

    /// The same, with counters that were like this when the look began.
    pub(super) fn look_since(&self, check: &dyn Check, arguments: &str, before: &Counters) -> Vec<Finding> {
        let (settings, machine) = (settings(arguments), self.machine());
        let interfaces = interfaces(&settings, &machine).expect("interfaces that are there");
        let (before, after) = (before.clone(), Counters::read(&machine, &interfaces));
        check.look(&Examination { settings: &settings, machine: &machine, interfaces, before, after, live: None })
    }
}

/// The settings of `doctor` with these arguments.
pub(super) fn settings(arguments: &str) -> DoctorSettings {
    doctor_settings(arguments)
}

/// The only finding, which is `severity`; its text and the commands that mend it.
#[track_caller]
pub(super) fn only(findings: &[Finding], severity: Severity) -> (String, Vec<String>) {
    let [finding] = findings else { panic!("expected one finding: {findings:#?}") };
    assert_eq!(finding.severity, severity, "{finding:#?}");
    let commands = finding.mend.iter().map(|mend| mend.command.clone()).filter(|command| !command.is_empty());
    (format!("{} {}", finding.found, finding.cost), commands.collect())
}
