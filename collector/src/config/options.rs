//! Settings as given, each maybe: what flags, environment and file fill before defaults do.
//!
//! The doc comments are the help texts. A default is told there as `[default: …]`, and a test holds it to the truth.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use vxtap_analyzers::dedup::DedupMode;
use vxtap_analyzers::protocols::EventKinds;
use vxtap_wire::envelope::Layers;

use super::value::{self, Command, Maybe};
use crate::capture::{CaptureFilter, CaptureFormat, CaptureLayout, CaptureSplit, CompressionLevel};
use crate::networks::{Name, NamedNetwork};
use crate::selector::Selector;
use crate::settings::{Listener, ReadEncapsulation, SummaryTarget, Timestamps};

/// Every setting that a file may hold. A command fills the groups that it has flags for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) receive: ReceiveOptions,
    pub(crate) pipeline: PipelineOptions,
    pub(crate) admission: AdmissionOptions,
    pub(crate) flows: FlowOptions,
    pub(crate) capture: CaptureOptions,
    pub(crate) log: LogOptions,
    pub(crate) api: ApiOptions,
    pub(crate) follow: FollowOptions,
    pub(crate) health: HealthOptions,
    pub(crate) run: RunOptions,
    pub(crate) read: ReadOptions,
    pub(crate) demo: DemoOptions,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Receiving")]
pub(crate) struct ReceiveOptions {
    /// Receive mirrored traffic here: vxlan://ADDRESS[:PORT], geneve:// or vxlan-gpe://, or, where it comes in no
    /// tunnel, packet://INTERFACE (options: ?promiscuous=no, ?decapsulate); repeatable [default: vxlan://[::]:4789]
    #[arg(long, value_name = "ADDR", value_parser = value::listener, value_delimiter = ',')]
    pub(crate) listen: Vec<Listener>,

    /// Receive buffer to ask the kernel for, for each socket [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = value::receive_buffer)]
    pub(crate) receive_buffer: Option<usize>,

    /// Wait so long for more after a batch that was not full, to wake less often; 0 for not at all [default: 1ms]
    #[arg(long, value_name = "TIME", value_parser = value::coalesce)]
    pub(crate) coalesce: Option<Duration>,

    /// Where packet times come from: 'kernel' is the time of arrival, 'batch' one clock read for all that a worker takes
    /// at once, 'sender' the time that vxtap's sender gives with GENEVE, and else that of arrival [default: kernel]
    #[arg(long, value_name = "SOURCE", value_parser = value::timestamps)]
    pub(crate) timestamps: Option<Timestamps>,

    /// Have the kernel hand over datagrams one by one (no UDP GRO); so it is with --dedup window
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) no_gro: Option<bool>,

    /// Leave the choice of the worker to user space alone
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) no_kernel_steering: Option<bool>,

    /// Networks that a load balancer's health probes come from, which packet:// tells apart, comma-separated; if none
    /// is named, Google's: 35.191.0.0/16, 130.211.0.0/22, 2600:2d00:1:b029::/64 and 2600:2d00:1:1::/64
    #[arg(long, value_name = "NETWORK", value_parser = value::probe, value_delimiter = ',')]
    pub(crate) probes: Vec<IpNet>,

    /// Keep worker N on the Nth CPU of those that the process may run on
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) pin: Option<bool>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct PipelineOptions {
    /// Worker threads, or 'auto' for one for each CPU [default: auto; read: 1, which keeps the order of the files]
    #[arg(long, value_name = "N", value_parser = value::workers)]
    pub(crate) workers: Option<Maybe<u32>>,

    /// Seed of the hash that gives a flow its worker, for runs that repeat [default: random]
    #[arg(long, value_name = "N", value_parser = value::steer_seed)]
    pub(crate) steer_seed: Option<Maybe<u32>>,

    /// How many tunnels the mirror has put around a frame: 'known' is one, and both of a gateway load balancer's GENEVE
    /// around VXLAN; or 1 to 4 of VXLAN or GENEVE in each other. The frame keeps the others [default: known]
    #[arg(long, value_name = "N", value_parser = value::envelope_layers)]
    pub(crate) envelope_layers: Option<Layers>,

    /// Take GENEVE frames with a critical option that is not known, which RFC 8926 wants dropped
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) accept_unknown_critical: Option<bool>,

    /// Several VNIs or sources that are one network: flows under any of them come together, and packets that two of
    /// them mirror are told apart from their copies; NAME=VNI,VNI... or 'NAME=vni 7-9 from 10.0.0.0/8', repeatable; of several
    /// networks that have a stream it is that of the one that is a part of the others
    #[arg(long, value_name = "NAME=VNIS", value_parser = value::network)]
    pub(crate) network: Vec<NamedNetwork>,

    /// What a VNI or an outer source is called: 'web=vni 7' or 'gateway=from 10.0.0.7', repeatable
    #[arg(long, value_name = "NAME=WHAT", value_parser = value::name)]
    pub(crate) name: Vec<Name>,

    /// Which copies of a packet are left out of flows and events: 'on' for those that came by another mirror
    /// stream of the network, 'window' also for those of the same stream within 0.1 ms, for which each packet gets a
    /// time of its own (--timestamps kernel --no-gro), 'off' for none [default: on]
    #[arg(long, value_name = "WHICH", value_parser = value::dedup)]
    pub(crate) dedup: Option<DedupMode>,

    /// Copies further apart than this are two packets [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = value::dedup_window)]
    pub(crate) dedup_window: Option<Duration>,

    /// At the end, write where every packet went to FILE as JSON; - is standard output
    #[arg(long, value_name = "FILE", value_parser = value::summary, allow_hyphen_values = true)]
    pub(crate) summary: Option<SummaryTarget>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Admission")]
pub(crate) struct AdmissionOptions {
    /// Mirror streams that are let in: 'all', or those named, such as 'vni 100-199 from 10.0.0.0/8'; others wait,
    /// counted and not kept; 'none' has everybody wait; repeatable [default: all]
    #[arg(long, value_name = "STREAMS", value_parser = value::accept)]
    pub(crate) accept: Vec<Maybe<Selector>>,

    /// Mirror streams that are kept out, whatever is decided later; repeatable
    #[arg(long, value_name = "STREAMS", value_parser = value::reject)]
    pub(crate) reject: Vec<Selector>,

    /// Keep what is decided of mirror streams over the API and on the dashboard in DIR
    #[arg(long, value_name = "DIR", value_parser = value::directory)]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Flows")]
pub(crate) struct FlowOptions {
    /// Flows followed at a time, all workers together [default: 1048576]
    #[arg(long, value_name = "N", value_parser = value::flow_max)]
    pub(crate) flow_max: Option<u64>,

    /// A TCP flow without complete handshake ends after this silence [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = value::idle_timeout)]
    pub(crate) idle_tcp_new: Option<Duration>,

    /// An established TCP flow ends after this silence [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = value::idle_timeout)]
    pub(crate) idle_tcp_established: Option<Duration>,

    /// A TCP flow that FIN or RST closed ends after this silence [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = value::idle_timeout)]
    pub(crate) idle_tcp_closed: Option<Duration>,

    /// A flow of UDP and others, seen in one direction, ends after this silence [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = value::idle_timeout)]
    pub(crate) idle_other_new: Option<Duration>,

    /// A flow of UDP and others, seen in both directions, ends after this silence [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = value::idle_timeout)]
    pub(crate) idle_other_established: Option<Duration>,

    /// A flow that lasts is reported each time this has passed; 0 for only at its end [default: 30m]
    #[arg(long, value_name = "TIME", value_parser = value::active_timeout)]
    pub(crate) active_timeout: Option<Duration>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Captures and logs")]
pub(crate) struct CaptureOptions {
    /// Write inner frames to pcapng files in DIR; - is standard output, and a FIFO that is there is written into
    #[arg(long, value_name = "DIR", value_parser = value::directory)]
    pub(crate) write: Option<PathBuf>,

    /// Begin a new capture file after so many bytes, or 'none' for one file [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = value::rotate_bytes)]
    pub(crate) rotate_bytes: Option<Maybe<u64>>,

    /// Begin a new capture file when the clock comes to a whole multiple of this time (1h: at full hours, UTC), or
    /// 'none' [default: none]
    #[arg(long, value_name = "TIME", value_parser = value::rotate_interval)]
    pub(crate) rotate_interval: Option<Maybe<Duration>>,

    /// Begin a new capture file after so many frames, or 'none' [default: none]
    #[arg(long, value_name = "N", value_parser = value::rotate_frames)]
    pub(crate) rotate_frames: Option<Maybe<u64>>,

    /// Capture only what this filter matches: tcpdump's language on inner frames, and 'vni N', 'outer src ADDRESS'
    #[arg(long, value_name = "FILTER", value_parser = value::capture_filter)]
    pub(crate) capture_filter: Option<CaptureFilter>,

    /// With --capture-filter: from the first frame on that matches, capture all frames of its flow
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) capture_whole_flows: Option<bool>,

    /// Capture no more than so many bytes of each frame, or 'none' for whole frames [default: none]
    #[arg(long, value_name = "N", value_parser = value::snaplen)]
    pub(crate) snaplen: Option<Maybe<u32>>,

    /// Capture headers only: Ethernet, IP, TCP or UDP, without what is behind them
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) capture_headers: Option<bool>,

    /// Capture no more than the first bytes of each flow, or 'none' for all [default: none]
    #[arg(long, value_name = "SIZE", value_parser = value::flow_bytes)]
    pub(crate) capture_flow_bytes: Option<Maybe<u64>>,

    /// Capture only the first copy of a packet that two mirrors have seen (see --dedup)
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) capture_one_copy: Option<bool>,

    /// Format of capture files: 'pcapng', 'pcap' (microseconds) or 'pcap-ns' (nanoseconds) [default: pcapng]
    #[arg(long, value_name = "FORMAT", value_parser = value::capture_format)]
    pub(crate) capture_format: Option<CaptureFormat>,

    /// 'merged': one sequence of files in the order of time; 'per-shard': one for each worker [default: merged]
    #[arg(long, value_name = "LAYOUT", value_parser = value::capture_layout)]
    pub(crate) capture_layout: Option<CaptureLayout>,

    /// Give each VNI files of its own; =network: each named network, and each VNI that is in none
    #[arg(long, value_name = "BY", value_parser = value::capture_split, num_args = 0..=1, require_equals = true,
        default_missing_value = "vni")]
    pub(crate) capture_split: Option<Maybe<CaptureSplit>>,

    /// Delete the oldest closed captures when all of the directory have more bytes, or 'none' [default: none]
    #[arg(long, value_name = "SIZE", value_parser = value::keep_bytes)]
    pub(crate) keep_bytes: Option<Maybe<u64>>,

    /// Delete captures so long after they were closed, or 'none' [default: none]
    #[arg(long, value_name = "TIME", value_parser = value::keep_age)]
    pub(crate) keep_age: Option<Maybe<Duration>>,

    /// Delete the oldest closed captures to keep so much of the file system free, or 'none' [default: none]
    #[arg(long, value_name = "SIZE", value_parser = value::keep_bytes)]
    pub(crate) keep_free: Option<Maybe<u64>>,

    /// Run this for each closed capture: program and arguments, {file} is its path; no shell, in double quotes what has
    /// spaces
    #[arg(long, value_name = "COMMAND", value_parser = value::command)]
    pub(crate) capture_hook: Option<Command>,

    /// End a capture hook that takes longer [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = value::hook_limit)]
    pub(crate) capture_hook_limit: Option<Duration>,

    /// Compress closed captures with zstd at this level, 1 to 19, or 'none' [default: none]
    #[arg(long, value_name = "LEVEL", value_parser = value::compress)]
    pub(crate) capture_compress: Option<Maybe<CompressionLevel>>,

    /// New frames are in the capture file after so long at the latest [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = value::flush)]
    pub(crate) flush: Option<Duration>,

    /// Blocks of 1MiB that one worker may have waiting for the disk; beyond, frames go uncaptured. Where `read` waits for the disk, at most 8 of
    /// them are used, of 320KiB [default: 16]
    #[arg(long, value_name = "N", value_parser = value::capture_blocks)]
    pub(crate) capture_blocks: Option<usize>,

    /// Write captures around the page cache (O_DIRECT), so that no reader of the open file meets half a record. So by
    /// default; =false for disks that lag in bursts
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) capture_direct: Option<bool>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Captures and logs")]
pub(crate) struct LogOptions {
    /// Append events to eve.json in DIR, in the EVE format
    #[arg(long, value_name = "DIR", value_parser = value::directory)]
    pub(crate) log: Option<PathBuf>,

    /// Which events: names such as flow,http,dns, or 'all' or 'none' [default: all]
    #[arg(long, value_name = "NAMES", value_parser = value::log_events, value_delimiter = ',')]
    pub(crate) log_events: Vec<EventKinds>,

    /// Close eve.json under a name of its own before it has more bytes, or 'none' [default: none]
    #[arg(long, value_name = "SIZE", value_parser = value::rotate_bytes)]
    pub(crate) log_rotate_bytes: Option<Maybe<u64>>,

    /// Close eve.json when the clock comes to a whole multiple of this time (1h: at full hours, UTC), or 'none'
    /// [default: none]
    #[arg(long, value_name = "TIME", value_parser = value::rotate_interval)]
    pub(crate) log_rotate_interval: Option<Maybe<Duration>>,

    /// Keep so many closed log files and delete the oldest beyond, or 'none' to keep all [default: none]
    #[arg(long, value_name = "N", value_parser = value::log_keep)]
    pub(crate) log_keep: Option<Maybe<u32>>,

    /// Log the counters of the run so often, as 'stats' events, or 'none' for only at the end [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = value::stats_interval)]
    pub(crate) log_stats_interval: Option<Maybe<Duration>>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "HTTP API")]
pub(crate) struct ApiOptions {
    /// Serve health, metrics and live state here, or 'none' [default: 127.0.0.1:9789]
    #[arg(long, value_name = "ADDR", value_parser = value::api)]
    pub(crate) api: Option<Maybe<SocketAddr>>,

    /// What callers must send as 'Authorization: Bearer TOKEN'; needed off loopback. Other users of this machine can
    /// read flags: better set VXTAP_API_TOKEN
    #[arg(long, value_name = "TOKEN", value_parser = value::api_token)]
    pub(crate) api_token: Option<String>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Followers")]
pub(crate) struct FollowOptions {
    /// Give everybody who connects to ADDR the live capture (pcap-over-IP), or 'none' [default: none]
    #[arg(long, value_name = "ADDR", value_parser = value::follow)]
    pub(crate) follow: Option<Maybe<SocketAddr>>,

    /// What they get: what passes a filter in the language of tcpdump; everything without one
    #[arg(long, value_name = "EXPR", value_parser = value::filter)]
    pub(crate) follow_filter: Option<String>,

    /// Let other machines follow too, though pcap-over-IP asks nobody who he is
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) follow_insecure: Option<bool>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Health")]
pub(crate) struct HealthOptions {
    /// Tell load balancers here whether to send traffic: HTTP, /readyz and /healthz; or 'none' [default: none]
    #[arg(long, value_name = "ADDR", value_parser = value::health)]
    pub(crate) health: Option<Maybe<SocketAddr>>,

    /// At SIGTERM, receive on for so long, not ready any more; a second signal ends it [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = value::drain)]
    pub(crate) drain: Option<Duration>,

    /// Not ready when a worker stands still, the kernel drops or captures fail for so long [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = value::hysteresis)]
    pub(crate) unready_after: Option<Duration>,

    /// Ready again when all has been well for so long [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = value::hysteresis)]
    pub(crate) ready_after: Option<Duration>,

    /// Not ready when the kernel drops more than this share of what comes, or 'none' [default: 5%]
    #[arg(long, value_name = "PERCENT", value_parser = value::drop_share)]
    pub(crate) unready_drops: Option<Maybe<f64>>,

    /// The time over which that share is taken [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = value::drop_window)]
    pub(crate) drop_window: Option<Duration>,

    /// Stay ready though captures cannot be written
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) ready_without_capture: Option<bool>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct RunOptions {
    /// Show the dashboard in this terminal
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) tui: Option<bool>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct ReadOptions {
    /// What to decapsulate: 'auto' takes VXLAN and GENEVE off and other frames as they are, 'vxlan' and 'geneve' take
    /// nothing else, 'none' takes all frames as they are; fragments of outer datagrams are not put together [default: auto]
    #[arg(long, value_name = "KIND", value_parser = value::encapsulation)]
    pub(crate) encapsulation: Option<ReadEncapsulation>,

    /// UDP destination port taken for VXLAN; repeatable [default: 4789]
    #[arg(long, value_name = "PORT", value_parser = value::port, value_delimiter = ',')]
    pub(crate) vxlan_port: Vec<u16>,

    /// UDP destination port taken for GENEVE; repeatable [default: 6081]
    #[arg(long, value_name = "PORT", value_parser = value::port, value_delimiter = ',')]
    pub(crate) geneve_port: Vec<u16>,

    /// UDP destination port taken for VXLAN-GPE, whose own is 4790; repeatable [default: none]
    #[arg(long, value_name = "PORT", value_parser = value::port, value_delimiter = ',')]
    pub(crate) vxlan_gpe_port: Vec<u16>,
}

#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct DemoOptions {
    /// End after so many seconds [default: until a signal]
    #[arg(long, value_name = "N", value_parser = value::seconds)]
    pub(crate) seconds: Option<f64>,

    /// Packets a second to generate [default: 20000]
    #[arg(long, value_name = "N", value_parser = value::pps)]
    pub(crate) pps: Option<u64>,

    /// A status line a second instead of the dashboard, also on a terminal
    #[arg(long, value_name = "BOOL", value_parser = value::truth, num_args = 0..=1, require_equals = true,
        default_missing_value = "true")]
    pub(crate) no_tui: Option<bool>,
}
