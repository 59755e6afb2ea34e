//! Flags, and how they become settings.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vxtap_filter::Filter;
use vxtap_wire::vxlan::Vni;

use super::policy::{CheckArguments, ExplainArguments};
use super::summary_file::SummaryTarget;
use super::transfer::{ExportArguments, ImportArguments};
use super::values::{Size, filter, positive_number, seconds, socket_address, vni, whole};
use crate::capture::{CaptureSettings, Way};
use crate::error::SendError;
use crate::generate::GenerateSettings;
use crate::mirror::files::{FileMirrorSettings, OwnEnd};
use crate::mirror::live::LiveMirrorSettings;
use crate::mirror::{ControlSettings, MirrorSettings, control_token};
use crate::pace::{Rate, Timing};
use crate::policy::Encapsulation;
use crate::replay::ReplaySettings;
use crate::target::TargetAddress;
use crate::transmit::{Method, TransmitSettings};
use crate::ways::Tunnel;

/// A mirror source: takes frames from capture files or makes them, and sends them in VXLAN or GENEVE to a mirror target.
#[derive(Debug, Parser)]
#[command(name = "vxtap-sender", version, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send the frames of capture files (pcap, pcapng, also .zst); packets of other links than Ethernet get an Ethernet header
    Replay(ReplayArguments),
    /// Send what crosses network interfaces
    Capture(CaptureArguments),
    /// Make traffic and send it, 1000 frames a second unless told otherwise
    Generate(GenerateArguments),
    /// What is mirrored: policies, and those of clouds
    #[command(subcommand)]
    Policy(PolicyCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Look a policy through: what is wrong with it, what should be looked at, how much it may send
    Check(CheckArguments),
    /// Which session and rule decide about packets, and which are passed over
    Explain(ExplainArguments),
    /// Make a policy of what a cloud's command line or API prints for its sessions, filters and targets (JSON)
    Import(ImportArguments),
    /// Write the documents with which a cloud mirrors as a policy says
    Export(ExportArguments),
}

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// Capture files, replayed one after the other; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    rate: RateArguments,
    /// Replay X times as fast as captured
    #[arg(long, value_name = "X", value_parser = positive_number, group = "timing")]
    speed: Option<f64>,
    /// Wait at most so long between two frames, whatever the capture says
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with_all = ["pps", "mbps", "top_speed"])]
    max_gap: Option<Duration>,
    /// Replay all files so often; 0 is until stopped
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(0, u64::MAX))]
    loops: u64,
    #[command(flatten)]
    route: RouteArguments,
    /// With --policy: addresses, networks or MAC addresses of the mirrored host, which tell which way packets went
    /// [default: what the policy's sources name]
    #[arg(long, value_name = "END,…", value_delimiter = ',', conflicts_with = "to")]
    direction_by: Vec<OwnEnd>,
    /// With --policy: the interface that the files are from, where the policy's sources name several
    #[arg(long, value_name = "NAME", conflicts_with = "to")]
    interface: Option<String>,
    #[command(flatten)]
    transmit: TransmitArguments,
}

#[derive(Debug, Args)]
pub(super) struct CaptureArguments {
    /// Interfaces to capture from; each must be there at the start, and may go and come back [default with --policy: those
    /// that its sources select]
    #[arg(required_unless_present = "policy", value_name = "INTERFACE")]
    interfaces: Vec<String>,
    #[command(flatten)]
    route: RouteArguments,
    /// With --policy: what this host is called in sources that select by tag; repeatable
    #[arg(long, value_name = "TAG", conflicts_with = "to")]
    tag: Vec<String>,
    /// Only frames that match, in tcpdump's language; decided in the kernel
    #[arg(long, value_name = "EXPRESSION", value_parser = filter, conflicts_with = "policy")]
    filter: Option<Filter>,
    /// Only frames that come in, or that go out
    #[arg(long, value_name = "WAY", value_enum, default_value_t = WayArgument::Both)]
    direction: WayArgument,
    /// Never capture TCP connections with this address and port, because it shows what is mirrored; repeatable. A
    /// collector's API on its default port is always among them
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = socket_address)]
    never: Vec<SocketAddr>,
    /// A tunnel on the way to a target that hides what it carries (WireGuard, OpenVPN, IPsec) sends to ADDRESS: nothing from or to that
    /// is captured, since our copies may be in it; DEVICE=none where its packets cross no captured interface, or show what they
    /// carry; repeatable. Without it such a way is refused
    #[arg(long, value_name = "DEVICE=ADDRESS,…")]
    tunnel: Vec<Tunnel>,
    /// Memory of the kernel for the frames of each interface, in MiB
    #[arg(long, value_name = "MIB", default_value_t = CaptureSettings::DEFAULT_RING_BYTES >> 20,
          value_parser = whole(1, 2047_u32))]
    ring: u32,
    /// Stop after this time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
    #[command(flatten)]
    transmit: TransmitArguments,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WayArgument {
    In,
    Out,
    Both,
}

#[derive(Debug, Args)]
pub(super) struct GenerateArguments {
    #[command(flatten)]
    rate: RateArguments,
    /// So many flows at a time
    #[arg(long, value_name = "N", default_value_t = 100,
          value_parser = whole(1, GenerateSettings::MAX_FLOWS))]
    flows: u32,
    /// Frames of N bytes, or imix (64, 570 and 1518 bytes as 7:4:1), instead of conversations
    #[arg(long, value_name = "N|imix")]
    size: Option<Size>,
    /// The same seed gives the same frames
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(0, u64::MAX))]
    seed: u64,
    /// Share of flows that are IPv6
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = whole(0, 100_u8))]
    ipv6: u8,
    /// Share of TCP data segments that are sent twice
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = whole(0, 100_u8),
          conflicts_with = "size")]
    retransmit: u8,
    /// Share of TCP data segments that the next one overtakes
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = whole(0, 100_u8),
          conflicts_with = "size")]
    reorder: u8,
    /// Stop after this time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Stop after so many frames
    #[arg(long, value_name = "N", value_parser = whole(0, u64::MAX))]
    packets: Option<u64>,
    /// Mirror target: a name or an address, IPv6 in brackets before a port, link-local with its interface (fe80::1%eth0);
    /// the port is 4789 by default, 6081 with GENEVE
    #[arg(long, value_name = "HOST[:PORT]")]
    to: TargetAddress,
    /// Network identifier (VNI), 0 to 16777215
    #[arg(long, value_name = "N", value_parser = vni)]
    vni: Vni,
    #[command(flatten)]
    transmit: TransmitArguments,
}

#[derive(Debug, Args)]
struct RateArguments {
    /// Send N frames a second
    #[arg(long, value_name = "N", value_parser = whole(NonZeroU64::MIN, NonZeroU64::MAX), group = "timing")]
    pps: Option<NonZeroU64>,
    /// Send N million bits a second, counting whole outer IP packets
    #[arg(long, value_name = "N", value_parser = positive_number, group = "timing")]
    mbps: Option<f64>,
    /// Send as fast as the kernel takes it
    #[arg(long, group = "timing")]
    top_speed: bool,
}

/// The environment variable that has the token where no flag has.
const CONTROL_TOKEN: &str = "VXTAP_CONTROL_TOKEN";

/// Where frames go: all to one target, or by a policy.
#[derive(Debug, Args)]
struct RouteArguments {
    /// Mirror target: a name or an address, IPv6 in brackets before a port, link-local with its interface (fe80::1%eth0);
    /// the port is 4789 by default, 6081 with GENEVE
    #[arg(long, value_name = "HOST[:PORT]", required_unless_present = "policy", requires = "vni")]
    to: Option<TargetAddress>,
    /// Network identifier (VNI), 0 to 16777215
    #[arg(long, value_name = "N", value_parser = vni, required_unless_present = "policy", requires = "to")]
    vni: Option<Vni>,
    /// Mirror by the sessions of this policy instead; see docs/policy.md
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "vni", "packet_length", "encapsulation"])]
    policy: Option<PathBuf>,
    /// With --policy: serve metrics and control over HTTP on this address; off loopback it takes --control-token
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = socket_address, conflicts_with = "to")]
    control: Option<SocketAddr>,
    /// What requests to the control port must show: 16 characters or more (VXTAP_CONTROL_TOKEN keeps it out of the list of
    /// processes)
    #[arg(long, value_name = "TOKEN", value_parser = control_token, requires = "control")]
    control_token: Option<String>,
    /// With --policy: look the names of targets up again so often
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "to")]
    resolve_interval: Option<Duration>,
}

impl RouteArguments {
    /// The one target, where there is one.
    fn one(&self) -> Option<(TargetAddress, Vni)> {
        Some((self.to.clone()?, self.vni?))
    }

    /// The environment is looked at here, and not by clap: what is in it concerns only a run that has a control port.
    fn control(&self) -> Result<Option<ControlSettings>, SendError> {
        let Some(address) = self.control else { return Ok(None) };
        let of_environment = || {
            let text = std::env::var_os(CONTROL_TOKEN)?;
            let token = text.to_str().ok_or_else(|| "not UTF-8".to_owned()).and_then(control_token);
            Some(token.map_err(|error| SendError::Setting(format!("environment variable {CONTROL_TOKEN}: {error}"))))
        };
        let token = self.control_token.clone().map(Ok).or_else(of_environment).transpose()?;
        Ok(Some(ControlSettings { address, token }))
    }
}

/// What a replay does.
pub(super) enum Replay {
    /// Sends all frames to one target.
    ToOneTarget(ReplaySettings),
    /// Mirrors by a policy.
    ByPolicy(FileMirrorSettings),
}

/// What a capture does.
pub(super) enum Capture {
    /// Sends all packets to one target.
    ToOneTarget(CaptureSettings),
    /// Mirrors by a policy.
    ByPolicy(LiveMirrorSettings),
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Encapsulation")]
struct TransmitArguments {
    /// What frames travel in
    #[arg(long, value_enum, default_value_t = EncapsulationArgument::Vxlan)]
    encapsulation: EncapsulationArgument,
    /// Cut frames to N bytes (counted behind the tunnel's header)
    #[arg(long, value_name = "N", value_parser = whole(1, u32::MAX))]
    packet_length: Option<u32>,
    /// Spread the flows over N outer source ports
    #[arg(long, value_name = "N", default_value_t = TransmitSettings::DEFAULT_SOURCE_PORTS,
          value_parser = whole(1, TransmitSettings::MAX_SOURCE_PORTS))]
    source_ports: u16,
    /// First outer source port; ports in use are passed over
    #[arg(long, value_name = "PORT", default_value_t = TransmitSettings::DEFAULT_SOURCE_PORT_BASE,
          value_parser = whole(1, u16::MAX))]
    source_port_base: u16,
    /// Seed of the hash that gives a flow its outer source port
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole(0, u32::MAX))]
    port_seed: u32,
    /// Leave the outer UDP checksum out, as RFC 7348 allows; turns trains off
    #[arg(long)]
    no_udp_checksum: bool,
    /// The most to ask of the kernel; it falls back by itself to what the kernel has [default: trains at top speed,
    /// batches otherwise; trains for a capture]
    ///
    /// A train holds frames of several flows. Where it reaches the collector in one piece (loopback, veth), a collector with
    /// several workers may take neighbouring frames of one flow in another order.
    #[arg(long, value_name = "METHOD", value_enum)]
    transmit: Option<MethodArgument>,
    /// Write the summary as JSON to FILE; - is standard output
    #[arg(long, value_name = "FILE")]
    summary: Option<SummaryTarget>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EncapsulationArgument {
    /// VXLAN, all reserved bits zero
    Vxlan,
    /// GENEVE with our option, by which the collector knows what was lost on the way; see docs/geneve-option.md
    Geneve,
}

impl From<EncapsulationArgument> for Encapsulation {
    fn from(argument: EncapsulationArgument) -> Self {
        match argument {
            EncapsulationArgument::Vxlan => Self::Vxlan,
            EncapsulationArgument::Geneve => Self::Geneve,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum MethodArgument {
    /// Datagrams of one length together, with UDP segmentation offload
    Trains,
    /// Many datagrams in one system call
    Batches,
    /// One datagram in one system call
    Single,
}

impl ReplayArguments {
    pub(super) fn settings(&self) -> Result<Replay, SendError> {
        let timing = match self.rate.rate()? {
            Some(rate) => Timing::Rate(rate),
            None => Timing::Original { speed: self.speed.unwrap_or(1.0), max_gap: self.max_gap },
        };
        let (loops, files) = (self.loops, self.files.clone());
        if let Some((to, vni)) = self.route.one() {
            let transmit = self.transmit.settings(to, vni, self.rate.top_speed);
            return Ok(Replay::ToOneTarget(ReplaySettings { timing, loops, ..ReplaySettings::new(transmit, files) }));
        }
        Ok(Replay::ByPolicy(FileMirrorSettings {
            mirror: self.transmit.mirror(&self.route, self.rate.top_speed)?,
            files,
            timing,
            loops,
            own: self.direction_by.clone(),
            interface: self.interface.clone(),
        }))
    }

    pub(super) const fn summary(&self) -> Option<&SummaryTarget> {
        self.transmit.summary.as_ref()
    }
}

impl CaptureArguments {
    pub(super) fn settings(&self) -> Result<Capture, SendError> {
        let way = match self.direction {
            WayArgument::In => Way::In,
            WayArgument::Out => Way::Out,
            WayArgument::Both => Way::Both,
        };
        let (services, ring_bytes, duration) = (self.never.clone(), self.ring << 20, self.seconds);
        let tunnels = self.tunnel.clone();
        // What a block of the ring has is there at once, so trains fill as at top speed.
        if let Some((to, vni)) = self.route.one() {
            let default = CaptureSettings::new(self.transmit.settings(to, vni, true), self.interfaces.clone());
            let filter = self.filter.clone();
            return Ok(Capture::ToOneTarget(CaptureSettings {
                way,
                filter,
                services,
                tunnels,
                ring_bytes,
                duration,
                ..default
            }));
        }
        Ok(Capture::ByPolicy(LiveMirrorSettings {
            mirror: self.transmit.mirror(&self.route, true)?,
            interfaces: self.interfaces.clone(),
            tags: self.tag.clone(),
            way,
            services,
            tunnels,
            ring_bytes,
            duration,
        }))
    }

    pub(super) const fn summary(&self) -> Option<&SummaryTarget> {
        self.transmit.summary.as_ref()
    }
}

impl GenerateArguments {
    pub(super) fn settings(&self) -> Result<GenerateSettings, SendError> {
        let default = GenerateSettings::new(self.transmit.settings(self.to.clone(), self.vni, self.rate.top_speed));
        Ok(GenerateSettings {
            rate: self.rate.rate()?.unwrap_or(default.rate),
            flows: self.flows,
            size: self.size.map(|Size(size)| size),
            seed: self.seed,
            ipv6_percent: self.ipv6,
            retransmit_percent: self.retransmit,
            reorder_percent: self.reorder,
            packets: self.packets,
            duration: self.seconds,
            ..default
        })
    }

    pub(super) const fn summary(&self) -> Option<&SummaryTarget> {
        self.transmit.summary.as_ref()
    }
}

impl RateArguments {
    fn rate(&self) -> Result<Option<Rate>, SendError> {
        if let Some(pps) = self.pps {
            return Ok(Some(Rate::PacketsPerSecond(pps)));
        }
        if let Some(mbps) = self.mbps {
            // The cast saturates; below one bit a second there is no rate.
            let bits = NonZeroU64::new((mbps * 1e6) as u64);
            return match bits {
                Some(bits) => Ok(Some(Rate::BitsPerSecond(bits))),
                None => Err(SendError::Setting(format!("--mbps {mbps} (expected 0.000001 or more)"))),
            };
        }
        Ok(self.top_speed.then_some(Rate::TopSpeed))
    }
}

impl TransmitArguments {
    fn settings(&self, to: TargetAddress, vni: Vni, top_speed: bool) -> TransmitSettings {
        let encapsulation = Encapsulation::from(self.encapsulation);
        TransmitSettings {
            encapsulation,
            packet_length: self.packet_length,
            source_ports: self.source_ports,
            source_port_base: self.source_port_base,
            port_seed: self.port_seed,
            udp_checksum: !self.no_udp_checksum,
            method: self.method(top_speed),
            ..TransmitSettings::new(to.or_port(encapsulation.port()), vni)
        }
    }

    /// The same for a mirror by the policy of `route`.
    fn mirror(&self, route: &RouteArguments, top_speed: bool) -> Result<MirrorSettings, SendError> {
        let default = MirrorSettings::new(route.policy.clone().unwrap_or_default());
        Ok(MirrorSettings {
            source_ports: self.source_ports,
            source_port_base: self.source_port_base,
            port_seed: self.port_seed,
            udp_checksum: !self.no_udp_checksum,
            method: self.method(top_speed),
            resolve_interval: route.resolve_interval.unwrap_or(default.resolve_interval),
            control: route.control()?,
            ..default
        })
    }

    const fn method(&self, top_speed: bool) -> Method {
        match self.transmit {
            Some(MethodArgument::Trains) => Method::Trains,
            None if top_speed => Method::Trains,
            // At a rate there is seldom more than one frame due, and order is worth more.
            None | Some(MethodArgument::Batches) => Method::Batches,
            Some(MethodArgument::Single) => Method::Single,
        }
    }
}

#[cfg(test)]
mod tests;
