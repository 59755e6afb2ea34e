//! Flags, and how they become settings.

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vxtap_filter::Filter;
use vxtap_wire::vxlan::Vni;

use super::policy::{CheckArguments, ExplainArguments};
use super::transfer::{ExportArguments, ImportArguments};
use crate::capture::{CaptureSettings, Way};
use crate::error::SendError;
use crate::generate::{FrameSize, GenerateSettings};
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
    /// What requests to the control port must show: 16 characters or more
    #[arg(long, value_name = "TOKEN", env = "VXTAP_CONTROL_TOKEN", hide_env_values = true, value_parser = control_token,
          requires = "control")]
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

    fn control(&self) -> Option<ControlSettings> {
        let address = self.control?;
        Some(ControlSettings { address, token: self.control_token.clone() })
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

/// Where a summary goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SummaryTarget {
    StandardOutput,
    File(PathBuf),
}

impl FromStr for SummaryTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected a file, or - for standard output".to_owned()),
            "-" => Ok(Self::StandardOutput),
            file => Ok(Self::File(file.into())),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Size(FrameSize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (smallest, largest) = (FrameSize::SMALLEST, FrameSize::LARGEST);
        match text.parse() {
            _ if text == "imix" => Ok(Self(FrameSize::Imix)),
            Ok(bytes) if (smallest..=largest).contains(&bytes) => Ok(Self(FrameSize::Bytes(bytes))),
            _ => Err(format!("expected {smallest} to {largest}, or imix")),
        }
    }
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
            mirror: self.transmit.mirror(&self.route, self.rate.top_speed),
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
    pub(super) fn settings(&self) -> Capture {
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
            return Capture::ToOneTarget(CaptureSettings {
                way,
                filter,
                services,
                tunnels,
                ring_bytes,
                duration,
                ..default
            });
        }
        Capture::ByPolicy(LiveMirrorSettings {
            mirror: self.transmit.mirror(&self.route, true),
            interfaces: self.interfaces.clone(),
            tags: self.tag.clone(),
            way,
            services,
            tunnels,
            ring_bytes,
            duration,
        })
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
    fn mirror(&self, route: &RouteArguments, top_speed: bool) -> MirrorSettings {
        let default = MirrorSettings::new(route.policy.clone().unwrap_or_default());
        MirrorSettings {
            source_ports: self.source_ports,
            source_port_base: self.source_port_base,
            port_seed: self.port_seed,
            udp_checksum: !self.no_udp_checksum,
            method: self.method(top_speed),
            resolve_interval: route.resolve_interval.unwrap_or(default.resolve_interval),
            control: route.control(),
            ..default
        }
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

fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|error| format!("{error}\n{}", error.with_caret()))
}

fn vni(text: &str) -> Result<Vni, String> {
    text.parse().ok().and_then(Vni::new).ok_or_else(|| format!("expected a whole number from 0 to {}", Vni::MAX))
}

/// Reads whole numbers from `least` to `most`.
fn whole<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| match text.parse::<T>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a whole number from {least} to {most}")),
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an address and a port, such as 127.0.0.1:9790 or [::1]:9790".to_owned())
}

pub(super) fn positive_number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number greater than 0".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    positive_number(text)
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds greater than 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::try_parse_from(std::iter::once("vxtap-sender").chain(line.split(' '))).map_err(|e| e.to_string())
    }

    fn generate(line: &str) -> GenerateSettings {
        match parse(&format!("generate --to ::1 --vni 7 {line}")).unwrap().command {
            Command::Generate(arguments) => arguments.settings().unwrap(),
            other => panic!("not generate: {other:?}"),
        }
    }

    fn capture(line: &str) -> CaptureSettings {
        match parse(&format!("capture --to ::1 --vni 7 {line}")).unwrap().command {
            Command::Capture(arguments) => match arguments.settings() {
                Capture::ToOneTarget(settings) => settings,
                Capture::ByPolicy(_) => panic!("by a policy"),
            },
            other => panic!("not capture: {other:?}"),
        }
    }

    #[test]
    fn a_capture_sends_trains_of_all_that_crosses_its_interfaces_unless_told_otherwise() {
        let settings = capture("eth0 eth1");
        assert_eq!((settings.interfaces, settings.way), (vec!["eth0".to_owned(), "eth1".to_owned()], Way::Both));
        assert_eq!(
            (settings.transmit.method, settings.ring_bytes, settings.duration),
            (Method::Trains, 32 << 20, None)
        );
        assert!(settings.filter.is_none() && settings.services.is_empty());
        let settings = capture(
            "eth0 --filter tcp --direction in --never 192.0.2.1:80 --never [::1]:81 --ring 5 --seconds 2 --tunnel wg0=192.0.2.3,::3",
        );
        assert_eq!(settings.filter.map(|filter| filter.text().to_owned()).as_deref(), Some("tcp"));
        assert_eq!(
            (settings.way, settings.ring_bytes, settings.duration),
            (Way::In, 5 << 20, Some(Duration::from_secs(2)))
        );
        assert_eq!(settings.tunnels, ["wg0=192.0.2.3,::3".parse().unwrap()]);
        assert_eq!(settings.services, ["192.0.2.1:80".parse().unwrap(), "[::1]:81".parse().unwrap()]);
    }

    #[test]
    fn a_capture_by_a_policy_names_no_interface_unless_it_is_told_to() {
        let line = "capture --policy p.toml --tag web --tag db --direction out --control 127.0.0.1:1 --ring 3 --tunnel tun0=none";
        let Command::Capture(arguments) = parse(line).unwrap().command else { panic!("not capture") };
        let Capture::ByPolicy(settings) = arguments.settings() else { panic!("not by a policy") };
        assert_eq!(
            (settings.mirror.policy, settings.interfaces.len(), settings.tags),
            ("p.toml".into(), 0, vec!["web".into(), "db".into()])
        );
        assert_eq!((settings.way, settings.ring_bytes, settings.mirror.method), (Way::Out, 3 << 20, Method::Trains));
        assert_eq!(settings.mirror.control.unwrap().address.port(), 1);
        assert_eq!(settings.tunnels, ["tun0=none".parse().unwrap()]);
    }

    fn replay(line: &str) -> ReplaySettings {
        match parse(&format!("replay a.pcap --to ::1 --vni 7 {line}")).unwrap().command {
            Command::Replay(arguments) => match arguments.settings().unwrap() {
                Replay::ToOneTarget(settings) => settings,
                Replay::ByPolicy(_) => panic!("by a policy"),
            },
            other => panic!("not replay: {other:?}"),
        }
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_left_out_are_the_library_defaults() {
        let target: Target = "::1".parse().unwrap();
        let transmit = TransmitSettings::new(target, Vni::new(7).unwrap());
        assert_eq!(generate("--seed 1"), GenerateSettings::new(transmit.clone()));
        assert_eq!(replay("--loops 1"), ReplaySettings::new(transmit, vec!["a.pcap".into()]));
    }

    #[test]
    fn each_flag_arrives_in_its_setting() {
        let settings = generate(
            "--flows 5 --size imix --seed 9 --ipv6 3 --seconds 1.5 --packets 8 --mbps 2.5 \
             --packet-length 128 --source-ports 4 --source-port-base 50000 --port-seed 11 --no-udp-checksum --transmit single",
        );
        assert_eq!((settings.flows, settings.size, settings.seed), (5, Some(FrameSize::Imix), 9));
        assert_eq!(settings.ipv6_percent, 3);
        let conversations = generate("--retransmit 4 --reorder 6");
        assert_eq!((conversations.retransmit_percent, conversations.reorder_percent), (4, 6));
        assert_eq!((settings.duration, settings.packets), (Some(Duration::from_millis(1500)), Some(8)));
        assert_eq!(settings.rate, Rate::BitsPerSecond(NonZeroU64::new(2_500_000).unwrap()));
        let transmit = settings.transmit;
        assert_eq!((transmit.packet_length, transmit.source_ports, transmit.source_port_base), (Some(128), 4, 50_000));
        assert_eq!((transmit.port_seed, transmit.udp_checksum, transmit.method), (11, false, Method::Single));
    }

    #[test]
    fn geneve_goes_to_its_own_port_unless_another_is_named() {
        for (line, to) in [
            ("--port-seed 0", "[::1]:4789"),
            ("--encapsulation vxlan", "[::1]:4789"),
            ("--encapsulation geneve", "[::1]:6081"),
        ] {
            let settings = [generate(line).transmit, replay(line).transmit, capture(&format!("eth0 {line}")).transmit];
            for transmit in settings {
                assert_eq!(transmit.target.to_string(), to, "{line}");
                assert_eq!(transmit.encapsulation == Encapsulation::Geneve, line.contains("geneve"));
            }
        }
        let line = "generate --to 192.0.2.1:7 --vni 1 --encapsulation geneve";
        let Command::Generate(arguments) = parse(line).unwrap().command else { panic!("not generate") };
        assert_eq!(arguments.settings().unwrap().transmit.target.to_string(), "192.0.2.1:7");
    }

    #[test]
    fn a_replay_has_its_own_timing_a_factor_or_a_rate() {
        let original = |speed, max_gap| Timing::Original { speed, max_gap };
        assert_eq!(replay("--speed 2").timing, original(2.0, None));
        assert_eq!(replay("--max-gap 0.5").timing, original(1.0, Some(Duration::from_millis(500))));
        assert_eq!(replay("--top-speed").timing, Timing::Rate(Rate::TopSpeed));
        assert_eq!(replay("--pps 10").timing, Timing::Rate(Rate::PacketsPerSecond(NonZeroU64::new(10).unwrap())));
    }

    #[test]
    fn a_replay_by_a_policy_has_its_flags_and_no_target_of_its_own() {
        let line = "replay a.pcap --policy p.toml --direction-by 10.0.0.1,02:00:00:00:00:01 --interface eth0 --top-speed \
                    --control 127.0.0.1:9790 --control-token 0123456789abcdef --resolve-interval 5 --source-ports 3";
        let line: Vec<&str> = line.split_whitespace().collect();
        let Command::Replay(arguments) = parse(&line.join(" ")).unwrap().command else { panic!("not replay") };
        let Replay::ByPolicy(settings) = arguments.settings().unwrap() else { panic!("not by a policy") };
        let FileMirrorSettings { mirror, files, timing, own, interface, .. } = settings;
        assert_eq!((mirror.policy, files), ("p.toml".into(), vec!["a.pcap".into()]));
        assert_eq!((own.len(), interface.as_deref(), mirror.source_ports), (2, Some("eth0"), 3));
        assert_eq!((timing, mirror.method), (Timing::Rate(Rate::TopSpeed), Method::Trains));
        assert_eq!(mirror.resolve_interval, Duration::from_secs(5));
        let control = mirror.control.unwrap();
        assert_eq!((control.address.port(), control.token.as_deref()), (9790, Some("0123456789abcdef")));
    }

    #[test]
    fn wrong_values_and_two_timings_are_refused_with_what_was_expected() {
        for (line, expected) in [
            ("replay --to ::1 --vni 1", "<FILE>"),
            ("replay a.pcap --vni 1", "--to"),
            ("replay a.pcap --to ::1", "--vni"),
            ("replay a.pcap --to ::1 --vni 16777216", "0 to 16777215"),
            ("replay a.pcap --to ::1:x --vni 1", "HOST[:PORT]"),
            ("replay a.pcap --to ::1 --vni 1 --pps 5 --top-speed", "cannot be used with"),
            ("replay a.pcap --to ::1 --vni 1 --speed 0", "greater than 0"),
            ("replay a.pcap --to ::1 --vni 1 --speed nan", "greater than 0"),
            ("replay a.pcap --to ::1 --vni 1 --policy p.toml", "cannot be used with"),
            ("replay a.pcap --policy p.toml --packet-length 100", "cannot be used with"),
            ("replay a.pcap --policy p.toml --encapsulation geneve", "cannot be used with"),
            ("generate --to ::1 --vni 1 --encapsulation gre", "[possible values: vxlan, geneve]"),
            ("replay a.pcap --to ::1 --vni 1 --control 127.0.0.1:1", "cannot be used with"),
            ("replay a.pcap --policy p.toml --direction-by host", "expected for example"),
            ("replay a.pcap --policy p.toml --control 127.0.0.1:1 --control-token short", "16 to 256"),
            ("capture --to ::1 --vni 1", "<INTERFACE>"),
            ("capture eth0", "--to"),
            ("capture --policy p.toml --filter tcp", "cannot be used with"),
            ("capture eth0 --to ::1 --vni 1 --tag web", "cannot be used with"),
            ("capture eth0 --to ::1 --vni 1 --filter tcpp", "capture filter, character 1"),
            ("capture eth0 --to ::1 --vni 1 --direction up", "[possible values: in, out, both]"),
            ("capture eth0 --to ::1 --vni 1 --never here", "expected an address and a port"),
            ("capture eth0 --to ::1 --vni 1 --ring 4096", "expected a whole number from 1 to 2047"),
            ("capture eth0 --to ::1 --vni 1 --tunnel wg0=here", "expected DEVICE=ADDRESS"),
            ("generate --to ::1 --vni 1 --speed 2", "unexpected argument"),
            ("generate --to ::1 --vni 1 --size 63", "64 to 9216"),
            ("generate --to ::1 --vni 1 --flows 0", "expected a whole number from 1 to 1000000"),
            ("generate --to ::1 --vni 1 --pps 0", "expected a whole number from 1 to"),
            ("generate --to ::1 --vni 1 --packet-length 0", "expected a whole number from 1 to"),
            ("generate --to ::1 --vni 1 --pps 10k", "expected a whole number from 1 to"),
            ("generate --to ::1 --vni 1 --packets 1e6", "expected a whole number from 0 to"),
            ("generate --to ::1 --vni 1 --ipv6 30%", "expected a whole number from 0 to 100"),
            ("generate --to ::1 --vni 1 --size imix --retransmit 5", "cannot be used with"),
            ("generate --to ::1 --vni 1 --size 64 --reorder 5", "cannot be used with"),
            ("replay a.pcap --policy p.toml --control 9790", "such as 127.0.0.1:9790"),
            ("generate --to ::1 --vni 1 --source-ports 257", "expected a whole number from 1 to 256"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
