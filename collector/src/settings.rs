//! What one run of the collector is told to do: plain values, validated, with every default filled in.
//!
//! Flags and the configuration file both end here; the rest of the program sees nothing else of either.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use vxtap_analyzers::InterfaceName;
use vxtap_analyzers::dedup::{DedupMode, DedupSettings};
use vxtap_analyzers::protocols::EventKinds;
use vxtap_wire::envelope::{Kind, Rules};

use crate::admission::AdmissionSettings;
use crate::capture::{
    CaptureFormat, CaptureLayout, CaptureSplit, CompressionLevel, Hook, Retention, Rotation, Selection,
};
use crate::config::socket_address;
use crate::health::ReadinessRules;
use crate::log::LogRotation;
use crate::networks::{Name, NamedNetwork};

/// Settings of `vxtap-collector run`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSettings {
    /// What to listen on; at least one.
    pub listen: Vec<Listener>,
    /// Receiving.
    pub receive: ReceiveSettings,
    /// Workers, flows, captures and logs.
    pub pipeline: PipelineSettings,
    /// The HTTP API; `None` to have none.
    pub api: Option<ApiSettings>,
    /// Pcap-over-IP; `None` to have none.
    pub follow: Option<FollowSettings>,
    /// Whether it should get traffic, and who is told.
    pub health: HealthSettings,
    /// How long SIGTERM lets it receive on, not ready any more.
    pub drain: Duration,
    /// Where the summary goes at exit besides the log.
    pub summary: Option<SummaryTarget>,
    /// Whether to show the terminal UI.
    pub tui: bool,
}

impl RunSettings {
    /// How long a drain is where nothing else is said: as long as the slowest of the usual load balancers takes to notice.
    pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
}

/// Whether a collector should get traffic, and who is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HealthSettings {
    /// Where load balancers ask; `None` for no port of its own.
    pub address: Option<SocketAddr>,
    /// When it should not.
    pub rules: ReadinessRules,
}

/// What `run` and `read` have in common: everything behind the socket or the file.
#[derive(Clone, Debug, PartialEq)]
pub struct PipelineSettings {
    /// Worker threads, 1 to [`PipelineSettings::MAX_WORKERS`].
    pub workers: u32,
    /// Seed of the steer hash; `None` takes a random one.
    pub steer_seed: Option<u32>,
    /// What a mirror's envelope is.
    pub envelope: Rules,
    /// Flow following.
    pub flows: FlowSettings,
    /// Networks that are mirrored under several VNIs or from several sources.
    pub networks: Vec<NamedNetwork>,
    /// What VNIs and sources are called.
    pub names: Vec<Name>,
    /// Which mirror streams are let in.
    pub admission: AdmissionSettings,
    /// When a packet counts as a copy of another.
    pub dedup: Dedup,
    /// Captures; `None` writes none.
    pub capture: Option<CaptureSettings>,
    /// Logs; `None` writes none.
    pub log: Option<LogSettings>,
}

/// One worker that follows flows, and writes nothing.
impl Default for PipelineSettings {
    fn default() -> Self {
        Self {
            workers: 1,
            steer_seed: None,
            envelope: Rules::default(),
            flows: FlowSettings::default(),
            networks: Vec::new(),
            names: Vec::new(),
            admission: AdmissionSettings::default(),
            dedup: Dedup::default(),
            capture: None,
            log: None,
        }
    }
}

impl PipelineSettings {
    /// The most workers that a run may have.
    pub const MAX_WORKERS: u32 = 256;
}

/// Something to receive mirrored traffic on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A UDP port.
    Udp(UdpListener),
    /// An interface, whose frames are in no tunnel.
    Packet(PacketListener),
}

/// An interface that a raw mirror sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketListener {
    /// The interface.
    pub interface: InterfaceName,
    /// Whether the card is to give frames to all addresses.
    pub promiscuous: bool,
    /// Whether VXLAN and GENEVE that come by it on their own ports are taken off.
    pub decapsulate: bool,
}

/// A UDP port, and what comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpListener {
    /// How what comes is encapsulated.
    pub kind: Kind,
    /// Where. `[::]` takes IPv4 as well.
    pub address: SocketAddr,
}

impl Listener {
    /// `vxlan://[::]:4789`: all addresses of the machine, IPv4 and IPv6.
    pub const DEFAULT: Self =
        Self::vxlan(SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), vxtap_wire::vxlan::PORT));

    /// VXLAN to `address`.
    pub const fn vxlan(address: SocketAddr) -> Self {
        Self::Udp(UdpListener { kind: Kind::Vxlan, address })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(listener) => listener.fmt(f),
            Self::Packet(listener) => listener.fmt(f),
        }
    }
}

impl fmt::Display for PacketListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { interface, promiscuous, decapsulate } = *self;
        let options = match (promiscuous, decapsulate) {
            (true, false) => "",
            (true, true) => "?decapsulate",
            (false, false) => "?promiscuous=no",
            (false, true) => "?promiscuous=no&decapsulate",
        };
        write!(f, "packet://{interface}{options}")
    }
}

impl FromStr for PacketListener {
    type Err = String;

    /// Takes what follows `packet://`: an interface, and maybe `?promiscuous=no`, `?decapsulate` or both with `&`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, options) = text.split_once('?').unwrap_or((text, ""));
        let mut listener = Self { interface: name.parse()?, promiscuous: true, decapsulate: false };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            match option {
                "promiscuous" | "promiscuous=yes" => listener.promiscuous = true,
                "promiscuous=no" => listener.promiscuous = false,
                "decapsulate" | "decapsulate=yes" => listener.decapsulate = true,
                "decapsulate=no" => listener.decapsulate = false,
                other => {
                    let other = other.escape_debug();
                    return Err(format!("unknown option '{other}' (expected promiscuous=no or decapsulate)"));
                }
            }
        }
        Ok(listener)
    }
}

impl fmt::Display for UdpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind.as_str(), self.address)
    }
}

impl FromStr for Listener {
    type Err = String;

    /// Takes `vxlan://ADDRESS[:PORT]`, `geneve://…` and `vxlan-gpe://…`; without a scheme it is VXLAN, and the port is by
    /// default the one that the encapsulation has. And `packet://INTERFACE`, see [`PacketListener`].
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = match text.split_once("://") {
            None => (Kind::Vxlan, text),
            Some(("packet", rest)) => return rest.parse().map(Self::Packet),
            Some((scheme, rest)) => {
                match [Kind::Vxlan, Kind::VxlanGpe, Kind::Geneve].into_iter().find(|k| k.as_str() == scheme) {
                    Some(kind) => (kind, rest),
                    None => {
                        return Err(format!(
                            "unknown scheme '{scheme}' (expected vxlan://, geneve:// or vxlan-gpe://, and ADDRESS[:PORT], or packet://INTERFACE)"
                        ));
                    }
                }
            }
        };
        let address = socket_address(rest, Some(kind.port()))?.ok_or_else(|| {
            format!("'{rest}' is not an address (expected for example 0.0.0.0:{0} or [::]:{0})", kind.port())
        })?;
        Ok(Self::Udp(UdpListener { kind, address }))
    }
}

/// How datagrams are received.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiveSettings {
    /// Receive buffer to ask the kernel for, in bytes for each socket.
    pub buffer_bytes: usize,
    /// How long a worker may wait after a batch that was not full for more to come, so that it wakes less often; 0 for
    /// not at all. This is the most that it adds to a packet's delay; the kernel's times of arrival do not change by it.
    pub coalesce: Duration,
    /// Where packet times come from.
    pub timestamps: Timestamps,
    /// Whether the kernel may hand over several datagrams at once (UDP GRO).
    pub gro: bool,
    /// Whether the kernel steers by the inner flow.
    pub kernel_steering: bool,
    /// Whether worker N runs on one CPU only: the Nth of those that the process may run on.
    pub pin: bool,
    /// Where a load balancer's probes come from: what of a raw mirror is from there, and for this machine, is told apart.
    pub probes: Vec<IpNet>,
}

impl ReceiveSettings {
    /// Google's probers, whose load balancers are targets of raw mirrors.
    pub const GOOGLE_PROBES: [&str; 4] =
        ["35.191.0.0/16", "130.211.0.0/22", "2600:2d00:1:b029::/64", "2600:2d00:1:1::/64"];

    /// The defaults where packets are told apart by their times ([`DedupMode::Window`]): a batch or a train has one time only.
    pub fn with_a_time_for_each_packet() -> Self {
        Self { gro: false, ..Self::default() }
    }
}

impl Default for ReceiveSettings {
    fn default() -> Self {
        Self {
            buffer_bytes: 64 << 20,
            coalesce: Duration::from_millis(1),
            timestamps: Timestamps::Kernel,
            gro: true,
            kernel_steering: true,
            pin: false,
            probes: Self::GOOGLE_PROBES.iter().filter_map(|network| network.parse().ok()).collect(),
        }
    }
}

/// Where packet times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timestamps {
    /// One clock read for a batch of datagrams.
    Batch,
    /// The kernel's time of arrival for each datagram, or for each train of them.
    Kernel,
    /// The time at which vxtap's sender captured the frame; without one, or where it is too far from ours, as [`Timestamps::Kernel`].
    Sender,
}

/// How flows are followed.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowSettings {
    /// Flows followed at a time, all workers together.
    pub max: u64,
    /// A flow in which nothing was seen for so long has ended; per state.
    pub idle: IdleTimeouts,
    /// A flow that lasts so long is reported, and reported again each time; 0 for only at its end.
    pub active: Duration,
}

/// After which silence a flow has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct IdleTimeouts {
    /// TCP before the handshake is complete.
    pub tcp_new: Duration,
    /// TCP after the handshake, or picked up in the middle.
    pub tcp_established: Duration,
    /// TCP after FIN from both sides or RST.
    pub tcp_closed: Duration,
    /// UDP and others of which one direction was seen.
    pub other_new: Duration,
    /// UDP and others of which both directions were seen.
    pub other_established: Duration,
}

impl Default for FlowSettings {
    fn default() -> Self {
        Self {
            max: 1 << 20,
            idle: IdleTimeouts {
                tcp_new: Duration::from_mins(1),
                tcp_established: Duration::from_mins(10),
                tcp_closed: Duration::from_secs(10),
                other_new: Duration::from_secs(30),
                other_established: Duration::from_mins(5),
            },
            active: Duration::from_mins(30),
        }
    }
}

/// Where and how captures are written.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptureSettings {
    /// Directory; made if it is not there.
    pub directory: PathBuf,
    /// What the files are written as.
    pub format: CaptureFormat,
    /// How the frames of several workers come into files.
    pub layout: CaptureLayout,
    /// What has files of its own; `None` where everything goes together.
    pub split: Option<CaptureSplit>,
    /// When a file is closed and the next one begun.
    pub rotation: Rotation,
    /// What of the traffic is captured.
    pub selection: Selection,
    /// What is done with files that are closed.
    pub keeping: Keeping,
    /// New frames are in the file after so long at the latest.
    pub flush: Duration,
    /// Blocks of 1 MiB that one worker may have waiting for the disk; when all are full, frames go uncaptured.
    pub blocks: usize,
    /// Whether to write around the page cache (O_DIRECT) where the file system does: then a reader of the open file never
    /// meets half a record, and the page cache does not grow.
    pub direct: bool,
}

impl CaptureSettings {
    /// Captures into `directory`, everything else by default.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            format: CaptureFormat::default(),
            layout: CaptureLayout::default(),
            split: None,
            selection: Selection::default(),
            keeping: Keeping::default(),
            rotation: Rotation { bytes: Some(1 << 30), ..Rotation::default() },
            flush: Duration::from_millis(100),
            blocks: 16,
            direct: true,
        }
    }
}

/// What is done with capture files that are closed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keeping {
    /// When they are deleted.
    pub retention: Retention,
    /// What is run for each.
    pub hook: Option<Hook>,
    /// How they are compressed; `None` leaves them as they are.
    pub compress: Option<CompressionLevel>,
}

/// When a packet counts as a copy of one that another mirror has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// What counts.
    pub mode: DedupMode,
    /// Copies that are further apart are two packets.
    pub window: Duration,
}

impl Default for Dedup {
    fn default() -> Self {
        let DedupSettings { mode, window_ns, .. } = DedupSettings::default();
        Self { mode, window: Duration::from_nanos(window_ns) }
    }
}

/// Where logs are written, and what is in them.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSettings {
    /// Directory; made if it is not there. `eve.json` in it is appended to.
    pub directory: PathBuf,
    /// Which events are written.
    pub events: EventKinds,
    /// When the file is closed and the next one begun.
    pub rotation: LogRotation,
    /// How many closed files stay; `None` keeps them all.
    pub keep: Option<u32>,
    /// How often a live run writes a `stats` event; `None` for only at its end.
    pub stats_interval: Option<Duration>,
}

impl LogSettings {
    /// Every event into `eve.json` in `directory`, for ever.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            events: EventKinds::ALL,
            rotation: LogRotation::default(),
            keep: None,
            stats_interval: Some(Duration::from_secs(10)),
        }
    }
}

/// The HTTP API.
#[derive(Clone, PartialEq)]
pub struct ApiSettings {
    /// Address to serve on.
    pub address: SocketAddr,
    /// What a caller must send as `Authorization: Bearer …`; needed off loopback.
    pub token: Option<String>,
}

/// Without the token, so that it is in no log.
impl fmt::Debug for ApiSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "(secret)");
        f.debug_struct("ApiSettings").field("address", &self.address).field("token", &token).finish()
    }
}

/// Followers of the live capture that come over TCP (pcap-over-IP).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowSettings {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Whether other machines may reach it, though nobody is asked who he is.
    pub insecure: bool,
    /// What each of them gets, a filter in the language of tcpdump; empty for everything.
    pub filter: String,
}

/// Where the summary goes at exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SummaryTarget {
    /// Standard output.
    Stdout,
    /// A file, written anew.
    File(PathBuf),
}

/// Settings of `vxtap-collector read`.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadSettings {
    /// Capture files, read one after the other.
    pub files: Vec<PathBuf>,
    /// What to decapsulate.
    pub encapsulation: ReadEncapsulation,
    /// UDP destination ports, and what is behind each.
    pub ports: Vec<(u16, Kind)>,
    /// Workers, flows, captures and logs.
    pub pipeline: PipelineSettings,
    /// Where the summary goes besides the log.
    pub summary: Option<SummaryTarget>,
}

/// What `read` takes for mirrored traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadEncapsulation {
    /// Frames to a port of VXLAN or GENEVE are decapsulated, others are taken as they are.
    #[default]
    Auto,
    /// Frames to a VXLAN port, or one of VXLAN-GPE, are decapsulated, others are passed over.
    Vxlan,
    /// Frames to a GENEVE port are decapsulated, others are passed over.
    Geneve,
    /// Every frame is taken as it is.
    None,
}

impl ReadEncapsulation {
    /// The name in flags and files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::None => "none",
        }
    }

    /// Whether frames in a tunnel of this kind are decapsulated.
    pub const fn takes(self, kind: Kind) -> bool {
        match self {
            Self::Auto => true,
            Self::Vxlan => matches!(kind, Kind::Vxlan | Kind::VxlanGpe),
            Self::Geneve => matches!(kind, Kind::Geneve),
            Self::None => false,
        }
    }
}

/// Settings of `vxtap-collector demo`.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoSettings {
    /// How long; `None` until a signal.
    pub seconds: Option<f64>,
    /// Packets a second to generate.
    pub pps: u64,
    /// Whether to show the terminal UI.
    pub tui: bool,
    /// Captures, logs, workers.
    pub pipeline: PipelineSettings,
    /// The HTTP API.
    pub api: Option<ApiSettings>,
    /// Whether to go on without API when its address is taken: it is the default, nobody asked for it.
    pub api_optional: bool,
    /// Where the summary goes at exit.
    pub summary: Option<SummaryTarget>,
}
