//! Mirroring what files hold, as if it crossed an interface of the host that it was captured on.
//!
//! A file does not say which host that was. Its addresses are those that the policy's sources name (or that are given): a packet from
//! one of them went out, a packet to one of them came in. What files hold is all there, so links wait: a replay would rather be
//! late than lose.

use std::fmt;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use vxtap_wire::FrameView;

use super::api::BoundServer;
use super::attendants::Attendants;
use super::ledger::Ledger;
use super::mailbox::Mailbox;
use super::steward::{Interfaces, Start, Steward};
use super::{Depth, Frame, Mirror, MirrorSettings};
use crate::batch::Slot;
use crate::control::Control;
use crate::error::SendError;
use crate::pace::Timing;
use crate::policy::{Direction, Interface, Policy};
use crate::send_loop::{self, Traffic};
use crate::source::Records;
use crate::summary::Summary;
use crate::transmit::Method;

/// Which files to mirror, by what policy, and how.
#[derive(Clone, Debug)]
pub struct FileMirrorSettings {
    /// By what policy, and how copies are sent.
    pub mirror: MirrorSettings,
    /// Capture files, one after the other; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// When frames are sent. Budgets go by the files' own time, whatever this is.
    pub timing: Timing,
    /// How often to replay all files; 0 is without end.
    pub loops: u64,
    /// What the mirrored host is; nothing where the policy's sources tell.
    pub own: Vec<OwnEnd>,
    /// Name of the interface that the files are from; `None` where sources name no more than one.
    pub interface: Option<String>,
}

impl FileMirrorSettings {
    /// `files` once, with their own timing, by the policy in the file `policy`.
    pub const fn new(policy: PathBuf, files: Vec<PathBuf>) -> Self {
        Self {
            mirror: MirrorSettings::new(policy),
            files,
            timing: Timing::Original { speed: 1.0, max_gap: None },
            loops: 1,
            own: Vec::new(),
            interface: None,
        }
    }
}

/// Something that tells the mirrored host from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnEnd {
    /// An address or a network.
    Network(IpNet),
    /// A MAC address.
    Mac([u8; 6]),
}

impl FromStr for OwnEnd {
    type Err = String;

    /// Takes an address, a network (`10.0.0.0/24`) or a MAC address (`02:00:00:00:00:01`).
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network));
        }
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|byte| (byte.len() == 2).then(|| u8::from_str_radix(byte, 16).ok()).flatten())
            .collect();
        match bytes.as_deref().map(<[u8; 6]>::try_from) {
            Some(Ok(mac)) => Ok(Self::Mac(mac)),
            _ => {
                Err(format!("'{text}' is no address (expected for example 10.0.0.7, 10.0.0.0/24 or 02:00:00:00:00:01)"))
            }
        }
    }
}

impl fmt::Display for OwnEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Mac(mac) => mac
                .iter()
                .enumerate()
                .try_for_each(|(place, byte)| write!(f, "{}{byte:02x}", if place == 0 { "" } else { ":" })),
        }
    }
}

/// Tells which way packets of a file went.
#[derive(Clone, Debug, Default)]
struct OwnEnds {
    networks: Vec<IpNet>,
    macs: Vec<[u8; 6]>,
}

impl OwnEnds {
    /// `given`, or what the sources of `policy` name.
    fn new(given: &[OwnEnd], policy: &Policy) -> Self {
        let mut own = Self::default();
        for end in given {
            match end {
                OwnEnd::Network(network) => own.networks.push(*network),
                OwnEnd::Mac(mac) => own.macs.push(*mac),
            }
        }
        if given.is_empty() {
            for source in &policy.sources {
                own.networks.extend(source.addresses.iter().map(|address| IpNet::from(*address)));
                own.networks.extend(&source.subnets);
            }
        }
        own
    }

    const fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.macs.is_empty()
    }

    /// Which way `frame` went. Between two of our own ends it went out: a copy of what came in would be the same once more.
    fn direction(&self, frame: &[u8]) -> Option<Direction> {
        let mac = |at: usize| frame.get(at..)?.first_chunk::<6>();
        if mac(6).is_some_and(|mac| self.macs.contains(mac)) {
            return Some(Direction::Outbound);
        }
        if mac(0).is_some_and(|mac| self.macs.contains(mac)) {
            return Some(Direction::Inbound);
        }
        let tuple = FrameView::parse_outermost(frame).five_tuple?;
        let is_own = |address: IpAddr| self.networks.iter().any(|network| network.contains(&address));
        if is_own(tuple.source_ip()) {
            Some(Direction::Outbound)
        } else {
            is_own(tuple.destination_ip()).then_some(Direction::Inbound)
        }
    }
}

/// The interface that files stand for: one that every source selects, but for those that name another.
fn interface(policy: &Policy, name: Option<&str>) -> Result<Interface, SendError> {
    let mut names: Vec<&str> =
        policy.sources.iter().flat_map(|source| &source.interfaces).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let name = match (name, names.as_slice()) {
        (Some(name), _) => name,
        (None, []) => "file",
        // What begins like the pattern is one of its interfaces.
        (None, [name]) => name.trim_end_matches('*'),
        (None, names) => {
            return Err(SendError::Setting(format!(
                "the policy's sources name several interfaces: say which one the file is from (--interface {})",
                names.join(", --interface ")
            )));
        }
    };
    let addresses = policy
        .sources
        .iter()
        .flat_map(|source| source.addresses.iter().copied().chain(source.subnets.iter().map(IpNet::addr)));
    let tags = policy.sources.iter().flat_map(|source| source.tags.iter().cloned());
    Ok(Interface { name: name.to_owned(), addresses: addresses.collect(), loopback: false, tags: tags.collect() })
}

/// Mirrors until the files or `control` end it.
pub fn run(settings: &FileMirrorSettings, control: &Arc<Control>) -> Result<Summary, SendError> {
    if settings.files.is_empty() {
        return Err(SendError::Setting("no capture file to replay".to_owned()));
    }
    Records::check(&settings.files, settings.loops)?;
    let control_port = settings.mirror.control.as_ref().map(BoundServer::bind).transpose()?;
    let (ledger, mailbox) = (Arc::<Ledger>::default(), Arc::<Mailbox>::default());
    let name = settings.interface.clone();
    let interfaces: Interfaces = Arc::new(move |policy: &Policy| Ok(vec![interface(policy, name.as_deref())?]));
    let steward = settings.mirror.steward(true, interfaces);
    let Start { steward, plan, exits } = Steward::prepare(steward, Arc::clone(&ledger), Arc::clone(&mailbox))?;
    let own = OwnEnds::new(&settings.own, steward.policy());
    if own.is_empty() {
        return Err(SendError::Setting(
            "which way packets went is not known, since no source of the policy names an address: say which are the \
             mirrored host's (--direction-by)"
                .to_owned(),
        ));
    }
    let _attendants = Attendants::start(steward, control_port, &ledger, control)?;
    let seed = settings.mirror.port_seed;
    let mirror = Mirror::new(plan, exits, seed, Depth::Deep, Arc::clone(&ledger), Arc::clone(control), mailbox);
    let records = Records::open(&settings.files, settings.loops, control.counters())?;
    let (most_frames, most_ns) = settings.timing.within(BATCH);
    let mut traffic = MirroredFiles { records, own, mirror, most_frames, most_ns, is_over: false, control };
    let summary = send_loop::run(&mut traffic, settings.timing, None, control)?;
    ledger.check(control.counters())?;
    Ok(Summary { mirror: Some(ledger.summary()), ..summary })
}

/// A batch is what is sent within this time, if it is not full before: what changes comes into force between two of them.
const BATCH: Duration = Duration::from_millis(250);

/// Records of files on their way through a mirror.
struct MirroredFiles<'a> {
    records: Records<'a>,
    own: OwnEnds,
    mirror: Mirror,
    /// The most frames of a batch, and the most of the capture's time that it may take.
    most_frames: usize,
    most_ns: u64,
    is_over: bool,
    control: &'a Control,
}

impl Traffic for MirroredFiles<'_> {
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), SendError> {
        let Self { records, own, mirror, most_frames, most_ns, is_over, control } = self;
        // A batch of which nothing is mirrored is not the end.
        while !*is_over && !control.is_stopped() {
            mirror.begin(Instant::now());
            let mut looked_at = 0;
            let mut first_ns = None;
            *is_over = !records.give(|record| {
                let full = mirror.offer(&Frame {
                    bytes: record.bytes,
                    wire_len: record.wire_len,
                    time_ns: record.time_ns,
                    direction: own.direction(record.bytes),
                    interface: 0,
                });
                looked_at += 1;
                let passed_ns = record.time_ns.saturating_sub(*first_ns.get_or_insert(record.time_ns));
                let is_enough = mirror.slots().len() >= *most_frames || passed_ns >= *most_ns;
                // Also where little is mirrored, what changes is heard of.
                if is_enough || looked_at == crate::batch::MAX_FRAMES || !record.may_wait {
                    ControlFlow::Break(())
                } else {
                    full
                }
            })?;
            if !mirror.slots().is_empty() {
                slots.extend_from_slice(mirror.slots());
                return Ok(());
            }
        }
        Ok(())
    }

    fn encapsulate(&mut self, _: Instant, _: &mut [Slot]) {}

    fn send(&mut self, now: Instant, slots: &mut [Slot], is_over: &dyn Fn() -> bool) {
        self.mirror.look(now);
        self.mirror.send(slots, is_over);
    }

    fn abandon(&mut self, slots: &[Slot]) {
        self.mirror.abandon(slots);
    }

    fn outer_bytes(&self) -> u32 {
        self.mirror.outer_bytes()
    }

    fn method(&self) -> Method {
        self.mirror.method()
    }

    fn source_ports(&self) -> Vec<u16> {
        self.mirror.source_ports()
    }
}

#[cfg(test)]
mod tests;
