//! Sends what crosses network interfaces, as it crosses them.
//!
//! A frame's way: ring of the interface (`vxtap_ring`), in which only frames come that the loop guard and the filter let
//! through ([`guard`]) → packets as they are on a wire: super-frames cut, checksums finished, VLAN tags put back
//! ([`segment`], [`live`]) → batch → train → kernel.

mod checksum;
mod ending;
mod error;
mod guard;
mod live;
mod packets;
pub(crate) mod privileges;
mod segment;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::Serialize;
use vxtap_filter::Filter;

use crate::control::{Control, Counter};
use crate::error::SendError;
use crate::policy::OwnTraffic;
use crate::summary::{SkipReason, Summary};
use crate::transmit::{TransmitSettings, Transmitter};
use crate::ways::{Lookout, Tunnel, Ways};
pub(crate) use ending::Ending;
pub use error::CaptureError;
pub use guard::LoopGuard;
pub(crate) use live::{Live, LiveSettings};
use packets::Packets;

/// TCP port of a collector's API unless it was told otherwise.
pub(crate) const API_PORT: u16 = 9789;
/// Longest wait for a frame, so that a request to stop is heard.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// What to capture, and where to send it.
#[derive(Clone, Debug)]
pub struct CaptureSettings {
    /// Encapsulation and target.
    pub transmit: TransmitSettings,
    /// Names of the interfaces, at least one.
    pub interfaces: Vec<String>,
    /// Which way frames go that are captured.
    pub way: Way,
    /// Which of them; it may not ask for a mirror tunnel.
    pub filter: Option<Filter>,
    /// TCP services that are not captured, since they show what was mirrored. The port of a collector's API on the target and
    /// on loopback are among them without being named.
    pub services: Vec<SocketAddr>,
    /// Tunnels that the way to the target may go through, as far as the kernel does not tell of them.
    pub tunnels: Vec<Tunnel>,
    /// Bytes of the ring of each interface, of the kernel's memory.
    pub ring_bytes: u32,
    /// End after this time.
    pub duration: Option<Duration>,
}

impl CaptureSettings {
    /// Bytes of a ring unless told otherwise.
    pub const DEFAULT_RING_BYTES: u32 = 32 << 20;

    /// Everything that crosses `interfaces`, either way, until it is stopped.
    pub const fn new(transmit: TransmitSettings, interfaces: Vec<String>) -> Self {
        Self {
            transmit,
            interfaces,
            way: Way::Both,
            filter: None,
            services: Vec::new(),
            tunnels: Vec::new(),
            ring_bytes: Self::DEFAULT_RING_BYTES,
            duration: None,
        }
    }

    fn check(&self) -> Result<(), SendError> {
        let fault = |what: String| Err(SendError::Setting(what));
        if self.interfaces.is_empty() {
            return fault("no interface to capture from".to_owned());
        }
        for (index, name) in self.interfaces.iter().enumerate() {
            if self.interfaces[..index].contains(name) {
                return fault(format!("interface '{name}' is named twice"));
            }
        }
        if let Some(filter) = &self.filter
            && let Err(error) = filter.program(u32::MAX)
            && ["'vni'", "'network'", "'outer'"].contains(&error.what)
        {
            return fault(format!("--filter asks for {}, which a frame has only once it was mirrored", error.what));
        }
        Ok(())
    }

    /// What is never captured when datagrams go to `target`.
    fn guard(&self, target: SocketAddr) -> LoopGuard {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let api = loopback.into_iter().chain([target.ip()]).map(|ip| SocketAddr::new(ip, API_PORT));
        let mut services = self.services.clone();
        services.extend(api);
        services.sort_unstable();
        services.dedup();
        let far_ends = self.tunnels.iter().flat_map(|tunnel| &tunnel.far_ends).copied().collect();
        LoopGuard { targets: vec![target], services, far_ends }
    }
}

/// Which way a frame crosses an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// It comes in.
    In,
    /// It goes out.
    Out,
    /// Either.
    #[default]
    Both,
}

/// A capture under way.
pub struct Capture<'a> {
    live: Live<'a>,
    transmitter: Transmitter,
    packets: Packets,
    /// Where our datagrams go and come from.
    own: OwnTraffic,
    ways: Ways,
    duration: Option<Duration>,
    control: &'a Control,
}

impl<'a> Capture<'a> {
    /// Opens sockets and rings. From here on frames are captured, and [`Capture::run`] sends them.
    ///
    /// Takes `CAP_NET_RAW`, and nothing afterwards: interfaces may go and come back without it.
    pub fn open(settings: &CaptureSettings, control: &'a Control) -> Result<Self, SendError> {
        settings.check()?;
        let transmitter = Transmitter::open(&settings.transmit)?;
        let mut ways = Ways::new(settings.interfaces.clone(), settings.tunnels.clone());
        ways.check(&transmitter.sockets(), transmitter.target())?;
        let live = LiveSettings {
            interfaces: &settings.interfaces,
            way: settings.way,
            guard: settings.guard(transmitter.target()),
            filter: settings.filter.clone(),
            longest: settings.transmit.packet_length.map_or(usize::MAX, |length| length as usize),
            ring_bytes: settings.ring_bytes,
        };
        let live = Live::open(live, control.counters())?;
        let packets = Packets::new(settings.transmit.port_seed, transmitter.ports());
        let mut own = OwnTraffic::default();
        own.add_link(transmitter.target(), &transmitter.sockets());
        Ok(Self { live, transmitter, packets, own, ways, duration: settings.duration, control })
    }

    /// Gives up every privilege of the calling thread and of those that it starts: no capability is left, and none can
    /// be had by running another program.
    pub fn drop_privileges(&self) -> Result<(), SendError> {
        privileges::drop_all().map_err(|source| CaptureError::Privileges(source).into())
    }

    /// Sends what is captured until `control` or the settings end it; what is in the rings then is sent as well.
    pub fn run(self) -> Summary {
        let Self { mut live, mut transmitter, mut packets, mut own, ways, duration, control } = self;
        let counters = control.counters();
        let lookout = Lookout::start(ways, transmitter.sockets(), transmitter.target())
            .inspect_err(|error| tracing::warn!("cannot start a thread that looks at the way to the target: {error}"));
        let start = Instant::now();
        let mut ending = Ending::after(duration);
        loop {
            let now = Instant::now();
            ending.look(now, control.is_stopped(), &mut live);
            packets.clear();
            let patience = if ending.has_begun() { Live::latency() } else { PATIENCE };
            let more = live.give(patience, |packet| {
                if own.is_carried_in(packet.bytes) {
                    counters.skip(SkipReason::OwnMirror);
                    return ControlFlow::Continue(());
                }
                packets.take(packet)
            });
            let (bytes, slots) = packets.parts();
            if !slots.is_empty() {
                let before = counters.read.get();
                let reason = if lookout.as_ref().is_ok_and(Lookout::is_hidden) {
                    SkipReason::NoTarget
                } else {
                    transmitter.encapsulate(now, bytes, slots);
                    if transmitter.take_move() {
                        own = OwnTraffic::default();
                        own.add_link(transmitter.target(), &transmitter.sockets());
                    }
                    transmitter.send(bytes, slots, counters, &|| ending.is_overdue());
                    SkipReason::Stopped
                };
                let left = slots.len() as u64 - (counters.read.get() - before);
                counters.read.add(left);
                counters.skipped[reason as usize].add(left);
            }
            if !more && ending.is_drained() {
                break;
            }
        }
        live.look_after();
        Summary {
            seconds: start.elapsed().as_secs_f64(),
            transmit: transmitter.method().as_str(),
            source_ports: transmitter.source_ports(),
            capture: Some(CaptureSummary::of(&counters.capture)),
            ..Summary::of(control)
        }
    }
}

/// What a capture counts besides the packets that it gives.
#[derive(Debug, Default)]
pub(crate) struct CaptureCounters {
    /// Frames that the program has looked at.
    pub(crate) frames: Counter,
    /// Frames that the kernel has put into rings.
    pub(crate) ring_frames: Counter,
    /// Frames that found no room there.
    pub(crate) ring_dropped: Counter,
    /// Super-frames, and the packets that were made of them.
    pub(crate) super_frames: Counter,
    pub(crate) cut_into: Counter,
    /// Packets whose transport checksum could not be computed, since their end was not captured.
    pub(crate) checksums_unknown: Counter,
    /// How often an interface went down or away, and how often another came under its name.
    pub(crate) interfaces_lost: Counter,
    pub(crate) interfaces_back: Counter,
}

/// What a capture did, besides what all runs do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CaptureSummary {
    /// Frames read from the rings of all interfaces. Each is one packet, unless it is a super-frame.
    pub frames: u64,
    /// Frames that the kernel has put into the rings, by its own count.
    pub ring_frames: u64,
    /// Super-frames among them: many packets in one, as network cards with offloads take and give them.
    pub super_frames: u64,
    /// Packets that those were cut into.
    pub cut_into: u64,
    /// Packets sent without a right transport checksum, since their end was not captured.
    pub checksums_unknown: u64,
    /// How often an interface went down, or away.
    pub interfaces_lost: u64,
    /// How often an interface was there again under the name of one that had gone.
    pub interfaces_back: u64,
}

impl CaptureSummary {
    pub(crate) fn of(counters: &CaptureCounters) -> Self {
        Self {
            frames: counters.frames.get(),
            ring_frames: counters.ring_frames.get(),
            super_frames: counters.super_frames.get(),
            cut_into: counters.cut_into.get(),
            checksums_unknown: counters.checksums_unknown.get(),
            interfaces_lost: counters.interfaces_lost.get(),
            interfaces_back: counters.interfaces_back.get(),
        }
    }

    /// Checks that what the kernel has captured was read, and every frame of it gave its packets, of which `read` were
    /// accounted for.
    pub(crate) fn check(&self, read: u64) -> Result<(), CaptureImbalance> {
        let packets = self.frames - self.super_frames + self.cut_into;
        let is_right = self.frames == self.ring_frames && packets == read;
        if is_right {
            Ok(())
        } else {
            Err(CaptureImbalance { ring_frames: self.ring_frames, frames: self.frames, packets, read })
        }
    }
}

/// Frames that went missing between a ring and the ledger: a fault of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the capture does not balance: {ring_frames} frames in rings, {frames} read, {packets} packets in them, {read} accounted for"
)]
pub struct CaptureImbalance {
    /// Frames that the kernel has put into rings.
    pub ring_frames: u64,
    /// Frames that were read there.
    pub frames: u64,
    /// Packets that they stand for.
    pub packets: u64,
    /// Packets in the ledger.
    pub read: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_stays_in_a_ring_or_a_packet_that_is_nowhere_unbalances_the_capture() {
        let summary =
            CaptureSummary { frames: 10, ring_frames: 10, super_frames: 2, cut_into: 50, ..Default::default() };
        assert_eq!(summary.check(58), Ok(()));
        assert!(summary.check(57).is_err());
        let error = CaptureSummary { ring_frames: 11, ..summary }.check(58).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the capture does not balance: 11 frames in rings, 10 read, 58 packets in them, 58 accounted for"
        );
    }

    fn settings(filter: &str) -> CaptureSettings {
        let transmit = TransmitSettings::new("192.0.2.9".parse().unwrap(), vxtap_wire::vxlan::Vni::new(1).unwrap());
        let filter = Some(Filter::parse(filter).unwrap());
        CaptureSettings { filter, ..CaptureSettings::new(transmit, vec!["eth0".to_owned()]) }
    }

    #[test]
    fn a_filter_for_mirror_tunnels_and_an_interface_named_twice_are_refused() {
        let error = settings("vni 5 and tcp").check().unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("'vni'"), "{error}");
        assert!(settings("ip6 protochain 6").check().is_ok());
        let twice = CaptureSettings { interfaces: vec!["a".to_owned(), "a".to_owned()], ..settings("tcp") };
        assert_eq!(twice.check().unwrap_err().to_string(), "interface 'a' is named twice");
    }

    #[test]
    fn the_api_of_a_collector_is_guarded_without_being_named() {
        let settings = CaptureSettings { services: vec!["192.0.2.9:8080".parse().unwrap()], ..settings("tcp") };
        let guard = settings.guard("192.0.2.9:4789".parse().unwrap());
        assert_eq!(guard.targets, ["192.0.2.9:4789".parse().unwrap()]);
        let services = ["127.0.0.1:9789", "192.0.2.9:8080", "192.0.2.9:9789", "[::1]:9789"];
        assert_eq!(guard.services, services.map(|service| service.parse().unwrap()));
    }
}
