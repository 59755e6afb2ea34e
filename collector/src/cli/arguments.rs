//! The commands and which settings each has flags for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use vxtap_index::CommunityId;
use vxtap_tui::Endpoint;

use crate::capture::CaptureFilter;
use crate::config::{
    AdmissionOptions, ApiOptions, CaptureOptions, DemoOptions, FlowOptions, FollowOptions, HealthOptions, LogOptions,
    Options, PipelineOptions, ReadOptions, ReceiveOptions, RunOptions, capture_filter, disk_rate, watch,
};
use crate::doctor::DoctorSettings;
use crate::extract::{Criteria, ExtractOutput, ExtractSettings, Moment};
use crate::settings::RunSettings;

const AFTER_HELP: &str = "\
Sizes: 65536, 64KiB, 512MiB, 1GB.  Times: 500us, 100ms, 30s, 1h30m.
Every flag is also an environment variable (--flow-max: VXTAP_FLOW_MAX; --log: VXTAP_LOG_DIR) and a key of the \
configuration file; flags go before variables, variables before the file. VXTAP_LOG=debug tells more on standard error.";

const AFTER_EXTRACT_HELP: &str = "\
At least one of --filter, --flow, --since and --until is needed; a packet has to fit all that are given.
Times: 2026-11-21T10:00:00Z, 1795255200.5 (seconds since 1970), -5m (before now).
Exit codes: 0 done, 1 damaged captures or a failure on the way, 2 bad arguments.";

const AFTER_DOCTOR_HELP: &str = "\
Told what `run` would be told, it looks at ports, buffers, connection tracking, the reverse-path filter, MTU, offloads, \
queues, CPUs, clock and disk; with --connect also at the ledger of a running collector.
Exit codes: 0 no problem (hints are none), 1 problems found, or the collector cannot be asked, 2 bad arguments.";

/// Receives mirrored traffic, keeps both directions of every flow together, captures and reports
#[derive(Debug, Parser)]
#[command(name = "vxtap-collector", version, propagate_version = true, max_term_width = 100)]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Receive mirrored traffic until SIGINT, or SIGTERM and --drain
    #[command(after_help = AFTER_HELP)]
    Run(RunArguments),
    /// Do the same with capture files (pcap or pcapng)
    #[command(after_help = AFTER_HELP)]
    Read(ReadArguments),
    /// Watch a collector at work on generated traffic, all on loopback; captures go into a new temporary directory
    /// unless --write names another
    #[command(after_help = AFTER_HELP)]
    Demo(DemoArguments),
    /// Find packets in captures, by flow, filter and time, and write them into one, in the order of time
    #[command(after_help = AFTER_EXTRACT_HELP)]
    Extract(ExtractArguments),
    /// Look for what on this machine loses packets, or would, and tell the command that mends it; flags are those of `run`
    #[command(after_help = AFTER_DOCTOR_HELP)]
    Doctor(DoctorArguments),
    /// Check a configuration file and tell what `run` would do with it; flags are those of `run`
    #[command(after_help = AFTER_HELP)]
    Check(CheckArguments),
}

#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) options: RunFlags,
}

#[derive(Args, Debug)]
pub(super) struct CheckArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    #[command(flatten)]
    pub(super) options: RunFlags,
}

#[derive(Args, Debug)]
pub(super) struct DoctorArguments {
    /// Ask this collector, by its API, what it loses: http://HOST:PORT; --api-token is its token
    #[arg(long, value_name = "URL")]
    connect: Option<Endpoint>,
    /// Look at this interface, instead of those that the addresses to listen on belong to; repeatable
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    interface: Vec<String>,
    /// Write into the directory of captures for two seconds, and see whether the disk takes so many bytes a second
    #[arg(long, value_name = "SIZE", value_parser = disk_rate)]
    disk_rate: Option<u64>,
    /// Watch counters for so long
    #[arg(long, value_name = "TIME", value_parser = watch, default_value = "1s")]
    watch: Duration,
    /// Make the kernel settings (sysctl) that are told, and look again
    #[arg(long)]
    fix: bool,
    /// Report as JSON
    #[arg(long)]
    json: bool,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    options: RunFlags,
}

impl DoctorArguments {
    /// What is its own, and what the run is told.
    pub(super) fn split(self) -> (OwnOfDoctor, Options) {
        let Self { connect, interface, disk_rate, watch, fix, json, config: _, options } = self;
        (OwnOfDoctor { connect, interfaces: interface, disk_rate, watch, fix, json }, options.into())
    }
}

/// What `doctor` is told besides what `run` is.
pub(super) struct OwnOfDoctor {
    connect: Option<Endpoint>,
    interfaces: Vec<String>,
    disk_rate: Option<u64>,
    watch: Duration,
    fix: bool,
    json: bool,
}

impl OwnOfDoctor {
    /// Settings of `doctor` for `run`.
    pub(super) fn settings(self, run: RunSettings) -> Result<DoctorSettings, String> {
        let Self { connect, interfaces, disk_rate, watch, fix, json } = self;
        if disk_rate.is_some() && run.pipeline.capture.is_none() {
            return Err("error: --disk-rate: no directory for captures is named (expected --write DIR as well)".into());
        }
        Ok(DoctorSettings { run, connect, interfaces, disk_rate, watch, fix, json })
    }
}

#[derive(Args, Debug)]
pub(super) struct ReadArguments {
    /// Capture files, read one after the other: pcap or pcapng, also compressed with zstd, of Ethernet, IP,
    /// Linux's cooked frames ('tcpdump -i any'), loopback, PPP or NFLOG; - is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) options: ReadFlags,
}

#[derive(Args, Debug)]
pub(super) struct DemoArguments {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) options: DemoFlags,
}

#[derive(Args, Debug)]
pub(super) struct ExtractArguments {
    /// Captures, and directories with captures
    #[arg(required = true, value_name = "DIR|FILE")]
    captures: Vec<PathBuf>,
    /// Packets that match this filter, in the language of tcpdump
    #[arg(long, value_name = "EXPR", value_parser = capture_filter)]
    filter: Option<CaptureFilter>,
    /// Packets of this flow, by its Community ID, in whatever network
    #[arg(long, value_name = "COMMUNITY_ID")]
    flow: Option<CommunityId>,
    /// Packets from then on
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<Moment>,
    /// Packets before then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<Moment>,
    /// Where they go, as pcapng; - is standard output
    #[arg(short, long, value_name = "FILE", value_parser = extract_output, allow_hyphen_values = true)]
    output: ExtractOutput,
    /// Replace the file if it is there already
    #[arg(long)]
    force: bool,
}

fn extract_output(text: &str) -> Result<ExtractOutput, String> {
    match text {
        "" => Err("expected a file, or - for standard output".into()),
        "-" => Ok(ExtractOutput::Stdout),
        file => Ok(ExtractOutput::File(file.into())),
    }
}

impl From<ExtractArguments> for ExtractSettings {
    fn from(arguments: ExtractArguments) -> Self {
        let ExtractArguments { captures, filter, flow, since, until, output, force } = arguments;
        Self { captures, criteria: Criteria { filter, flow, since, until }, output, force }
    }
}

#[derive(Args, Debug)]
pub(super) struct RunFlags {
    #[command(flatten)]
    run: RunOptions,
    #[command(flatten)]
    pipeline: PipelineOptions,
    #[command(flatten)]
    admission: AdmissionOptions,
    #[command(flatten)]
    receive: ReceiveOptions,
    #[command(flatten)]
    capture: CaptureOptions,
    #[command(flatten)]
    log: LogOptions,
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    follow: FollowOptions,
    #[command(flatten)]
    health: HealthOptions,
    #[command(flatten)]
    flows: FlowOptions,
}

#[derive(Args, Debug)]
pub(super) struct ReadFlags {
    #[command(flatten)]
    read: ReadOptions,
    #[command(flatten)]
    pipeline: PipelineOptions,
    #[command(flatten)]
    admission: AdmissionOptions,
    #[command(flatten)]
    capture: CaptureOptions,
    #[command(flatten)]
    log: LogOptions,
    #[command(flatten)]
    flows: FlowOptions,
}

#[derive(Args, Debug)]
pub(super) struct DemoFlags {
    #[command(flatten)]
    demo: DemoOptions,
    #[command(flatten)]
    pipeline: PipelineOptions,
    #[command(flatten)]
    admission: AdmissionOptions,
    #[command(flatten)]
    capture: CaptureOptions,
    #[command(flatten)]
    log: LogOptions,
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    flows: FlowOptions,
}

impl From<RunFlags> for Options {
    fn from(flags: RunFlags) -> Self {
        let RunFlags { run, pipeline, admission, receive, capture, log, api, follow, health, flows } = flags;
        Self { receive, pipeline, admission, flows, capture, log, api, follow, health, run, ..Self::default() }
    }
}

impl From<ReadFlags> for Options {
    fn from(flags: ReadFlags) -> Self {
        let ReadFlags { read, pipeline, admission, capture, log, flows } = flags;
        Self { pipeline, admission, flows, capture, log, read, ..Self::default() }
    }
}

impl From<DemoFlags> for Options {
    fn from(flags: DemoFlags) -> Self {
        let DemoFlags { demo, pipeline, admission, capture, log, api, flows } = flags;
        Self { pipeline, admission, flows, capture, log, api, demo, ..Self::default() }
    }
}
