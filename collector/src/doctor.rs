//! `doctor`: what on this machine would lose packets, or does, and the command that mends it.
//!
//! Each [`Check`] looks at one matter. They see the machine through [`Machine`], a little while of the kernel's counters
//! through [`Counters`], and a running collector, where one is named, through its snapshots. Nothing is changed, unless a fix
//! is asked for: then kernel settings are made that concern nobody but receivers.

mod answers;
mod backlog;
mod capabilities;
mod clock;
mod conntrack;
mod counters;
mod cpu;
mod disk;
#[cfg(test)]
mod fake;
mod finding;
mod fix;
mod fragments;
mod kernel;
mod live;
mod machine;
mod mtu;
mod offloads;
mod port;
mod queues;
mod receive_buffer;
mod report;
mod reverse_path;
mod write_test;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vxtap_analyzers::InterfaceName;
use vxtap_analyzers::snapshot::Snapshot;
use vxtap_tui::{Endpoint, HttpSource, Source as _};

use crate::settings::{Listener, RunSettings};
use counters::Counters;
pub use finding::{Finding, Mend, Severity};
use kernel::ThisKernel;
use machine::{Interface, Machine};
pub use report::Report;

/// Settings of `vxtap-collector doctor`.
#[derive(Clone, Debug, PartialEq)]
pub struct DoctorSettings {
    /// The run that the machine is to be fit for.
    pub run: RunSettings,
    /// A collector to ask, by its API; its token is the run's.
    pub connect: Option<Endpoint>,
    /// Interfaces to look at; empty for those that `run` listens on.
    pub interfaces: Vec<String>,
    /// Bytes a second that the disk of captures has to take; `None` does not try.
    pub disk_rate: Option<u64>,
    /// How long counters are watched.
    pub watch: Duration,
    /// Whether to mend what is safe to mend.
    pub fix: bool,
    /// Whether the report is JSON.
    pub json: bool,
}

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// There is no such interface.
    #[error("there is no interface '{name}' (expected one of {there})")]
    NoInterface {
        /// What was asked for.
        name: String,
        /// Those that there are.
        there: String,
    },
    /// The collector does not answer, or with nothing that can be read.
    #[error("{0}")]
    Collector(String),
}

/// Looks at this machine, mends it where that was asked for, and looks again.
pub fn doctor(settings: &DoctorSettings) -> Result<Report, DoctorError> {
    let machine = Machine::new("/", Box::new(ThisKernel));
    let findings = examine(settings, &machine)?;
    if !settings.fix {
        return Ok(Report { findings, fixes: Vec::new() });
    }
    let fixes = fix::apply(&machine, &findings);
    if fixes.iter().all(|fix| fix.error.is_some()) {
        return Ok(Report { findings, fixes });
    }
    Ok(Report { findings: examine(settings, &machine)?, fixes })
}

/// One matter that is looked at.
trait Check {
    /// What was found, good things too, so that the report tells what was looked at. Nothing where the matter does not
    /// concern the run.
    fn look(&self, at: &Examination<'_>) -> Vec<Finding>;
}

/// Every check, in the order of the report.
const CHECKS: [&dyn Check; 15] = [
    &port::Port,
    &capabilities::Capabilities,
    &receive_buffer::ReceiveBuffer,
    &conntrack::Conntrack,
    &reverse_path::ReversePath,
    &mtu::Mtu,
    &fragments::Fragments,
    &offloads::Offloads,
    &queues::Queues,
    &backlog::Backlog,
    &answers::Answers,
    &cpu::Cpu,
    &clock::Clock,
    &disk::Disk,
    &live::Live,
];

/// What checks look at.
struct Examination<'a> {
    settings: &'a DoctorSettings,
    machine: &'a Machine,
    /// Interfaces that packets for the run come in by.
    interfaces: Vec<Interface>,
    /// Counters at the beginning.
    before: Counters,
    /// Counters at the end.
    after: Counters,
    /// The collector that was asked, at the beginning and at the end.
    live: Option<(Snapshot, Snapshot)>,
}

impl Examination<'_> {
    /// By how much a counter has grown while it was watched.
    fn grown(&self, counter: &str) -> u64 {
        self.after.since(&self.before, counter)
    }

    /// UDP ports that mirrored datagrams come to, with their addresses.
    fn data_addresses(&self) -> impl Iterator<Item = std::net::SocketAddr> {
        self.settings.run.listen.iter().filter_map(|listener| match listener {
            Listener::Udp(listener) => Some(listener.address),
            Listener::Packet(_) => None,
        })
    }

    /// Interfaces that raw mirrors send to.
    fn packet_interfaces(&self) -> impl Iterator<Item = &Interface> {
        let listens = |interface: &&Interface| {
            let is_it = |name: InterfaceName| name.as_str() == interface.name;
            self.settings.run.listen.iter().any(|of| matches!(of, Listener::Packet(of) if is_it(of.interface)))
        };
        self.interfaces.iter().filter(listens)
    }

    /// Seconds that counters were watched, for texts.
    fn watched(&self) -> String {
        format!("{} s", self.settings.watch.as_secs_f64())
    }
}

fn examine(settings: &DoctorSettings, machine: &Machine) -> Result<Vec<Finding>, DoctorError> {
    let interfaces = interfaces(settings, machine)?;
    let mut source = match &settings.connect {
        Some(endpoint) => {
            let token = settings.run.api.as_ref().and_then(|api| api.token.as_deref());
            let source = HttpSource::new(endpoint.clone(), token);
            Some(source.map_err(|error| DoctorError::Collector(error.to_string()))?)
        }
        None => None,
    };
    let mut snapshot =
        || source.as_mut().map(|source| source.snapshot().map_err(|error| DoctorError::Collector(error.to_string())));
    let (before, first) = (Counters::read(machine, &interfaces), snapshot().transpose()?);
    let begun = Instant::now();
    // Signals may end a sleep, but here they end the program.
    std::thread::sleep(settings.watch.saturating_sub(begun.elapsed()));
    let (after, last) = (Counters::read(machine, &interfaces), snapshot().transpose()?);
    let at = Examination { settings, machine, interfaces, before, after, live: first.zip(last) };
    Ok(CHECKS.iter().flat_map(|check| check.look(&at)).collect())
}

/// The interfaces that were named, or those that the listeners' addresses are on: for all addresses, those that are up,
/// have an address and are not loopback.
fn interfaces(settings: &DoctorSettings, machine: &Machine) -> Result<Vec<Interface>, DoctorError> {
    let there = machine.interfaces();
    if settings.interfaces.is_empty() {
        let listens = |interface: &Interface| {
            settings.run.listen.iter().any(|listener| match listener {
                Listener::Udp(listener) => takes(listener.address.ip(), interface),
                Listener::Packet(listener) => listener.interface.as_str() == interface.name,
            })
        };
        let missing = settings.run.listen.iter().find_map(|listener| match listener {
            Listener::Packet(of) if there.iter().all(|there| there.name != of.interface.as_str()) => Some(of.interface),
            _ => None,
        });
        if let Some(missing) = missing {
            return Err(no_interface(missing.as_str(), &there));
        }
        return Ok(there.into_iter().filter(listens).collect());
    }
    let find = |name: &String| {
        there.iter().find(|interface| interface.name == *name).cloned().ok_or_else(|| no_interface(name, &there))
    };
    settings.interfaces.iter().map(find).collect()
}

fn no_interface(name: &str, there: &[Interface]) -> DoctorError {
    let there: Vec<&str> = there.iter().map(|interface| interface.name.as_str()).collect();
    DoctorError::NoInterface { name: name.to_owned(), there: there.join(", ") }
}

/// Whether datagrams to `address` come in by `interface`.
fn takes(address: IpAddr, interface: &Interface) -> bool {
    match address {
        IpAddr::V4(v4) if v4.is_unspecified() => {
            interface.up && !interface.loopback && interface.addresses.iter().any(IpAddr::is_ipv4)
        }
        address if address.is_unspecified() => interface.up && !interface.loopback && !interface.addresses.is_empty(),
        address => interface.addresses.contains(&address.to_canonical()),
    }
}

#[cfg(test)]
mod tests;
