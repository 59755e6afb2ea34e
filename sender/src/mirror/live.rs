//! Mirroring what crosses network interfaces, by a policy.
//!
//! The kernel's programs let through at least what the policy in force mirrors. When another policy is to come into force, they are opened
//! first; the frames that came before that are decided about by the old policy, then the new one comes into force, and the
//! kernel gets its programs: no frame is let through by one policy and cut or refused by another.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vxtap_ring::{Interface as Link, LinkKind};

use super::api::BoundServer;
use super::attendants::Attendants;
use super::ledger::Ledger;
use super::mailbox::Mailbox;
use super::steward::{Interfaces, Start, Steward, StewardSettings, WaySettings};
use super::{Depth, Frame, Mirror, MirrorSettings};
use crate::capture::{
    API_PORT, CaptureSettings, CaptureSummary, Ending, Live, LiveSettings, LoopGuard, PATIENCE, Way, privileges,
};
use crate::control::Control;
use crate::error::SendError;
use crate::policy::{Direction, Interface, Policy, PolicyFile};
use crate::summary::Summary;
use crate::ways::Tunnel;

/// How long another policy waits at most for the frames that came before it: longer than that they are hardly in a ring.
const MOST_WAITING: Duration = Duration::from_secs(1);

/// Which interfaces to mirror, by what policy, and how.
#[derive(Clone, Debug)]
pub struct LiveMirrorSettings {
    /// By what policy, and how copies are sent.
    pub mirror: MirrorSettings,
    /// Names of the interfaces; none: all that the policy's sources select at the start.
    pub interfaces: Vec<String>,
    /// What this host is called in sources that select by tag.
    pub tags: Vec<String>,
    /// Which way frames go that are captured.
    pub way: Way,
    /// TCP services that are not captured, since they show what was mirrored; see [`CaptureSettings::services`].
    pub services: Vec<SocketAddr>,
    /// Tunnels that ways to targets may go through; see [`CaptureSettings::tunnels`].
    pub tunnels: Vec<Tunnel>,
    /// Bytes of the ring of each interface.
    pub ring_bytes: u32,
    /// End after this time.
    pub duration: Option<Duration>,
}

impl LiveMirrorSettings {
    /// All that the sources of `policy` select on `interfaces`, until it is stopped.
    pub const fn new(policy: PathBuf, interfaces: Vec<String>) -> Self {
        Self {
            mirror: MirrorSettings::new(policy),
            interfaces,
            tags: Vec::new(),
            way: Way::Both,
            services: Vec::new(),
            tunnels: Vec::new(),
            ring_bytes: CaptureSettings::DEFAULT_RING_BYTES,
            duration: None,
        }
    }
}

/// A mirror of interfaces that is about to run.
pub struct LiveMirror<'a> {
    live: Live<'a>,
    mirror: Mirror,
    steward: Steward,
    control_port: Option<BoundServer>,
    ledger: Arc<Ledger>,
    control: &'a Arc<Control>,
    duration: Option<Duration>,
    left_out: LeftOut,
}

/// What is never captured besides copies, whatever the policy.
struct LeftOut {
    /// TCP services that show what was mirrored.
    services: Vec<SocketAddr>,
    /// Far ends of tunnels in which copies may be.
    far_ends: Vec<IpAddr>,
}

impl<'a> LiveMirror<'a> {
    /// Reads the policy, opens sockets and rings. From here on frames are captured, and [`LiveMirror::run`] mirrors them.
    ///
    /// Takes `CAP_NET_RAW`, and nothing afterwards.
    pub fn open(settings: &LiveMirrorSettings, control: &'a Arc<Control>) -> Result<Self, SendError> {
        let control_port = settings.mirror.control.as_ref().map(BoundServer::bind).transpose()?;
        let names = names(settings)?;
        let (ledger, mailbox) = (Arc::<Ledger>::default(), Arc::<Mailbox>::default());
        let steward = StewardSettings {
            ways: Some(WaySettings { captured: names.clone(), tunnels: settings.tunnels.clone() }),
            ..settings.mirror.steward(false, interfaces(names.clone(), settings.tags.clone()))
        };
        let Start { steward, plan, exits } = Steward::prepare(steward, Arc::clone(&ledger), Arc::clone(&mailbox))?;
        let (seed, control_of_mirror) = (settings.mirror.port_seed, Arc::clone(control));
        let mirror = Mirror::new(plan, exits, seed, Depth::Live, Arc::clone(&ledger), control_of_mirror, mailbox);
        let far_ends = settings.tunnels.iter().flat_map(|tunnel| &tunnel.far_ends).copied().collect();
        let left_out = LeftOut { services: settings.services.clone(), far_ends };
        let live = LiveSettings {
            interfaces: &names,
            way: settings.way,
            guard: guard(&mirror, &left_out),
            filter: None,
            longest: usize::MAX,
            ring_bytes: settings.ring_bytes,
        };
        let live = Live::open(live, control.counters())?;
        let duration = settings.duration;
        Ok(Self { live, mirror, steward, control_port, ledger, control, duration, left_out })
    }

    /// Gives up every privilege of the calling thread and of those that it starts.
    pub fn drop_privileges(&self) -> Result<(), SendError> {
        privileges::drop_all().map_err(|source| crate::capture::CaptureError::Privileges(source).into())
    }

    /// The interfaces and the policy, for a person.
    pub fn what(&self) -> String {
        let names: Vec<_> = self.live.names().collect();
        format!("{} by {}", names.join(", "), self.steward.path().display())
    }

    /// Mirrors until `control` or the settings end it; what is in the rings then is mirrored as well.
    pub fn run(self) -> Result<Summary, SendError> {
        let Self { mut live, mut mirror, steward, control_port, ledger, control, duration, left_out } = self;
        let _attendants = Attendants::start(steward, control_port, &ledger, control)?;
        let start = Instant::now();
        let mut ending = Ending::after(duration);
        // Since when the kernel lets everything through, because another policy is to come into force.
        let mut opened_at: Option<Instant> = None;
        let mut is_drained = false;
        loop {
            let now = Instant::now();
            ending.look(now, control.is_stopped(), &mut live);
            if opened_at.is_none() && mirror.has_plan_waiting() && !ending.has_begun() {
                live.decide(guard(&mirror, &left_out), Vec::new(), usize::MAX)?;
                opened_at = Some(now);
            }
            let takes_plan = opened_at.is_some_and(|opened| {
                let waited = now.duration_since(opened);
                (is_drained && waited >= Live::latency()) || waited >= MOST_WAITING
            });
            mirror.begin_with(now, takes_plan);
            if takes_plan {
                opened_at = None;
            }
            if opened_at.is_none() && !ending.has_begun() && mirror.take_kernel_change() {
                let programs = (0..live.names().count()).map(|place| {
                    let prefilter = mirror.plan().prefilter(place);
                    Some(prefilter.map_or_else(refuse_all, |prefilter| prefilter.program))
                });
                let programs = programs.collect();
                live.decide(guard(&mirror, &left_out), programs, mirror.plan().longest())?;
            }
            let patience = if ending.has_begun() || opened_at.is_some() { Live::latency() } else { PATIENCE };
            let more = live.give(patience, |packet| {
                mirror.offer(&Frame {
                    bytes: packet.bytes,
                    wire_len: packet.wire_len,
                    time_ns: packet.time_ns,
                    direction: Some(if packet.is_outgoing { Direction::Outbound } else { Direction::Inbound }),
                    interface: packet.interface,
                })
            });
            is_drained = !more;
            mirror.flush();
            if (!more && ending.is_drained()) || ending.is_overdue() {
                break;
            }
        }
        live.look_after();
        ledger.check(control.counters())?;
        Ok(Summary {
            seconds: start.elapsed().as_secs_f64(),
            transmit: mirror.method().as_str(),
            source_ports: mirror.source_ports(),
            capture: Some(CaptureSummary::of(&control.counters().capture)),
            mirror: Some(ledger.summary()),
            ..Summary::of(control)
        })
    }
}

/// A program that wants nothing.
fn refuse_all() -> Vec<vxtap_wire::BpfInstruction> {
    const RETURN: u16 = 0x06;
    vec![vxtap_wire::BpfInstruction { code: RETURN, jt: 0, jf: 0, k: 0 }]
}

/// What the kernel refuses whatever the policy wants: copies, what shows them, and what hides them. The latter alone where the policy
/// has our own traffic mirrored.
fn guard(mirror: &Mirror, left_out: &LeftOut) -> LoopGuard {
    let far_ends = left_out.far_ends.clone();
    if !mirror.plan().guards_own() {
        return LoopGuard { far_ends, ..LoopGuard::default() };
    }
    let targets: Vec<_> = mirror.targets().collect();
    let mut services = left_out.services.clone();
    services.extend(targets.iter().map(|target| SocketAddr::new(target.ip(), API_PORT)));
    services.sort_unstable();
    services.dedup();
    LoopGuard { targets, services, far_ends }
}

/// The interfaces to capture from.
fn names(settings: &LiveMirrorSettings) -> Result<Vec<String>, SendError> {
    for (place, name) in settings.interfaces.iter().enumerate() {
        if settings.interfaces[..place].contains(name) {
            return Err(SendError::Setting(format!("interface '{name}' is named twice")));
        }
    }
    if !settings.interfaces.is_empty() {
        return Ok(settings.interfaces.clone());
    }
    let file = PolicyFile::load(&settings.mirror.policy).map_err(SendError::Policy)?;
    let all = host_interfaces(&settings.tags)?;
    let present: Vec<String> = all.iter().map(|interface| interface.name.clone()).collect();
    // A policy for many hosts has patterns that are like nothing on some of them.
    let unknown = file.missing_interfaces(&present, false);
    if !unknown.is_empty() {
        return Err(SendError::Policy(file.error(unknown)));
    }
    let selected = |interface: &&Interface| file.policy.sources.iter().any(|source| source.selects(interface));
    let is_ethernet = |interface: &&Interface| {
        Link::named(&interface.name).is_ok_and(|link| !matches!(link.kind, LinkKind::Other(_)))
    };
    let names: Vec<_> = all.iter().filter(selected).filter(is_ethernet).map(|found| found.name.clone()).collect();
    if names.is_empty() {
        return Err(SendError::Setting(format!(
            "no source of the policy selects an interface of this host (there are {})",
            present.join(", ")
        )));
    }
    Ok(names)
}

/// Tells the interfaces of these names, with the addresses that they have when it is asked.
fn interfaces(names: Vec<String>, tags: Vec<String>) -> Interfaces {
    Arc::new(move |policy: &Policy| {
        for name in policy.sources.iter().flat_map(|source| &source.interfaces) {
            if !name.ends_with('*') && !names.contains(name) {
                tracing::warn!(
                    "the policy names interface {name:?}, which is not captured: those that are were chosen at the start"
                );
            }
        }
        let mut all = host_interfaces(&tags)?;
        let of_name = |name: &String| {
            let found = all.iter().position(|interface| interface.name == *name);
            // One that is not there for now has a name all the same.
            found.map_or_else(
                || Interface { name: name.clone(), tags: tags.clone(), ..Interface::default() },
                |at| all.swap_remove(at),
            )
        };
        Ok(names.iter().map(of_name).collect())
    })
}

/// The names of all interfaces of this host, as the kernel tells them: `/sys/class/net` shows those of the network namespace that it was
/// mounted in, which need not be this one (`nsenter --net`).
pub(crate) fn names_of_host() -> std::io::Result<Vec<String>> {
    let interfaces = nix::net::if_::if_nameindex()?;
    Ok(interfaces.iter().map(|interface| interface.name().to_string_lossy().into_owned()).collect())
}

/// All interfaces of this host.
fn host_interfaces(tags: &[String]) -> Result<Vec<Interface>, SendError> {
    let failed =
        |error: std::io::Error| SendError::Setting(format!("cannot list the interfaces of this host: {error}"));
    let addresses = if_addrs::get_if_addrs().map_err(failed)?;
    let mut interfaces = Vec::new();
    for name in names_of_host().map_err(failed)? {
        let own = addresses.iter().filter(|address| address.name == name);
        let loopback = own.clone().any(if_addrs::Interface::is_loopback);
        let addresses = own.map(if_addrs::Interface::ip).collect();
        interfaces.push(Interface { name, addresses, loopback, tags: tags.to_vec() });
    }
    interfaces.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(interfaces)
}
