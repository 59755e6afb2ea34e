//! Flags, and how they become settings.

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
use crate::pace::{Rate, Timing};
use crate::replay::ReplaySettings;
use crate::target::Target;
use crate::transmit::{Method, TransmitSettings};

/// A mirror source: takes frames from capture files or makes them, and sends them in VXLAN to a mirror target.
#[derive(Debug, Parser)]
#[command(name = "vxtap-sender", version, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Send the frames of capture files (pcap, pcapng; Ethernet)
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
    #[arg(long, value_name = "N", default_value_t = 1)]
    loops: u64,
    #[command(flatten)]
    transmit: TransmitArguments,
}

#[derive(Debug, Args)]
pub(super) struct CaptureArguments {
    /// Interfaces to capture from; each must be there at the start, and may go and come back
    #[arg(required = true, value_name = "INTERFACE")]
    interfaces: Vec<String>,
    /// Only frames that match, in tcpdump's language; decided in the kernel
    #[arg(long, value_name = "EXPRESSION", value_parser = filter)]
    filter: Option<Filter>,
    /// Only frames that come in, or that go out
    #[arg(long, value_name = "WAY", value_enum, default_value_t = WayArgument::Both)]
    direction: WayArgument,
    /// Never capture TCP connections with this address and port, because it shows what is mirrored; repeatable. A
    /// collector's API on its default port is always among them
    #[arg(long, value_name = "ADDRESS:PORT")]
    never: Vec<SocketAddr>,
    /// Memory of the kernel for the frames of each interface, in MiB
    #[arg(long, value_name = "MIB", default_value_t = CaptureSettings::DEFAULT_RING_BYTES >> 20,
          value_parser = clap::value_parser!(u32).range(1..=2047))]
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
          value_parser = clap::value_parser!(u32).range(1..=i64::from(GenerateSettings::MAX_FLOWS)))]
    flows: u32,
    /// Frames of N bytes, or imix (64, 570 and 1518 bytes as 7:4:1), instead of conversations
    #[arg(long, value_name = "N|imix")]
    size: Option<Size>,
    /// The same seed gives the same frames
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Share of flows that are IPv6
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    ipv6: u8,
    /// Share of TCP data segments that are sent twice
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=100))]
    retransmit: u8,
    /// Share of TCP data segments that the next one overtakes
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=100))]
    reorder: u8,
    /// Stop after this time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Stop after so many frames
    #[arg(long, value_name = "N")]
    packets: Option<u64>,
    #[command(flatten)]
    transmit: TransmitArguments,
}

#[derive(Debug, Args)]
struct RateArguments {
    /// Send N frames a second
    #[arg(long, value_name = "N", group = "timing")]
    pps: Option<NonZeroU64>,
    /// Send N million bits a second, counting whole outer IP packets
    #[arg(long, value_name = "N", value_parser = positive_number, group = "timing")]
    mbps: Option<f64>,
    /// Send as fast as the kernel takes it
    #[arg(long, group = "timing")]
    top_speed: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Encapsulation")]
struct TransmitArguments {
    /// Mirror target: a name or an address, IPv6 in brackets before a port; the port is 4789 by default
    #[arg(long, value_name = "HOST[:PORT]")]
    to: Target,
    /// VXLAN network identifier, 0 to 16777215
    #[arg(long, value_name = "N", value_parser = vni)]
    vni: Vni,
    /// Cut frames to N bytes (counted behind the VXLAN header)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    packet_length: Option<u32>,
    /// Spread the flows over N outer source ports
    #[arg(long, value_name = "N", default_value_t = TransmitSettings::DEFAULT_SOURCE_PORTS,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(TransmitSettings::MAX_SOURCE_PORTS)))]
    source_ports: u16,
    /// First outer source port; ports in use are passed over
    #[arg(long, value_name = "PORT", default_value_t = TransmitSettings::DEFAULT_SOURCE_PORT_BASE,
          value_parser = clap::value_parser!(u16).range(1..))]
    source_port_base: u16,
    /// Seed of the hash that gives a flow its outer source port
    #[arg(long, value_name = "N", default_value_t = 0)]
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
        Ok(if text == "-" { Self::StandardOutput } else { Self::File(text.into()) })
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
    pub(super) fn settings(&self) -> Result<ReplaySettings, SendError> {
        let timing = match self.rate.rate()? {
            Some(rate) => Timing::Rate(rate),
            None => Timing::Original { speed: self.speed.unwrap_or(1.0), max_gap: self.max_gap },
        };
        let (transmit, files) = (self.transmit.settings(self.rate.top_speed), self.files.clone());
        Ok(ReplaySettings { timing, loops: self.loops, ..ReplaySettings::new(transmit, files) })
    }

    pub(super) const fn summary(&self) -> Option<&SummaryTarget> {
        self.transmit.summary.as_ref()
    }
}

impl CaptureArguments {
    /// What goes where, for a person.
    pub(super) fn what(&self) -> String {
        format!("{} to {} as VNI {}", self.interfaces.join(", "), self.transmit.to, self.transmit.vni)
    }

    pub(super) fn settings(&self) -> CaptureSettings {
        // What a block of the ring has is there at once, so trains fill as at top speed.
        let default = CaptureSettings::new(self.transmit.settings(true), self.interfaces.clone());
        CaptureSettings {
            way: match self.direction {
                WayArgument::In => Way::In,
                WayArgument::Out => Way::Out,
                WayArgument::Both => Way::Both,
            },
            filter: self.filter.clone(),
            services: self.never.clone(),
            ring_bytes: self.ring << 20,
            duration: self.seconds,
            ..default
        }
    }

    pub(super) const fn summary(&self) -> Option<&SummaryTarget> {
        self.transmit.summary.as_ref()
    }
}

impl GenerateArguments {
    pub(super) fn settings(&self) -> Result<GenerateSettings, SendError> {
        let default = GenerateSettings::new(self.transmit.settings(self.rate.top_speed));
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
    fn settings(&self, top_speed: bool) -> TransmitSettings {
        TransmitSettings {
            packet_length: self.packet_length,
            source_ports: self.source_ports,
            source_port_base: self.source_port_base,
            port_seed: self.port_seed,
            udp_checksum: !self.no_udp_checksum,
            method: match self.transmit {
                Some(MethodArgument::Trains) => Method::Trains,
                None if top_speed => Method::Trains,
                // At a rate there is seldom more than one frame due, and order is worth more.
                None | Some(MethodArgument::Batches) => Method::Batches,
                Some(MethodArgument::Single) => Method::Single,
            },
            ..TransmitSettings::new(self.to.clone(), self.vni)
        }
    }
}

fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|error| format!("{error}\n{}", error.with_caret()))
}

fn vni(text: &str) -> Result<Vni, String> {
    text.parse().ok().and_then(Vni::new).ok_or_else(|| format!("expected a whole number from 0 to {}", Vni::MAX))
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
            Command::Capture(arguments) => arguments.settings(),
            _ => panic!("not capture"),
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
        let settings =
            capture("eth0 --filter tcp --direction in --never 192.0.2.1:80 --never [::1]:81 --ring 5 --seconds 2");
        assert_eq!(settings.filter.map(|filter| filter.text().to_owned()).as_deref(), Some("tcp"));
        assert_eq!(
            (settings.way, settings.ring_bytes, settings.duration),
            (Way::In, 5 << 20, Some(Duration::from_secs(2)))
        );
        assert_eq!(settings.services, ["192.0.2.1:80".parse().unwrap(), "[::1]:81".parse().unwrap()]);
    }

    fn replay(line: &str) -> ReplaySettings {
        match parse(&format!("replay a.pcap --to ::1 --vni 7 {line}")).unwrap().command {
            Command::Replay(arguments) => arguments.settings().unwrap(),
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
            "--flows 5 --size imix --seed 9 --ipv6 3 --retransmit 4 --reorder 6 --seconds 1.5 --packets 8 --mbps 2.5 \
             --packet-length 128 --source-ports 4 --source-port-base 50000 --port-seed 11 --no-udp-checksum --transmit single",
        );
        assert_eq!((settings.flows, settings.size, settings.seed), (5, Some(FrameSize::Imix), 9));
        assert_eq!((settings.ipv6_percent, settings.retransmit_percent, settings.reorder_percent), (3, 4, 6));
        assert_eq!((settings.duration, settings.packets), (Some(Duration::from_millis(1500)), Some(8)));
        assert_eq!(settings.rate, Rate::BitsPerSecond(NonZeroU64::new(2_500_000).unwrap()));
        let transmit = settings.transmit;
        assert_eq!((transmit.packet_length, transmit.source_ports, transmit.source_port_base), (Some(128), 4, 50_000));
        assert_eq!((transmit.port_seed, transmit.udp_checksum, transmit.method), (11, false, Method::Single));
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
            ("capture --to ::1 --vni 1", "<INTERFACE>"),
            ("capture eth0 --to ::1 --vni 1 --filter tcpp", "capture filter, character 1"),
            ("capture eth0 --to ::1 --vni 1 --direction up", "[possible values: in, out, both]"),
            ("capture eth0 --to ::1 --vni 1 --never here", "--never"),
            ("capture eth0 --to ::1 --vni 1 --ring 4096", "1..=2047"),
            ("generate --to ::1 --vni 1 --speed 2", "unexpected argument"),
            ("generate --to ::1 --vni 1 --size 63", "64 to 9216"),
            ("generate --to ::1 --vni 1 --flows 0", "1..=1000000"),
            ("generate --to ::1 --vni 1 --pps 0", "--pps"),
            ("generate --to ::1 --vni 1 --packet-length 0", "--packet-length"),
            ("generate --to ::1 --vni 1 --source-ports 257", "1..=256"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
