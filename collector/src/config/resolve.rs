//! Options to settings: defaults filled in, and what no option by itself can be wrong in checked.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vxtap_analyzers::dedup::DedupMode;
use vxtap_analyzers::protocols::EventKinds;
use vxtap_wire::envelope::{Kind, Rules};

use super::conflicts::{self, Unnamed};
use super::problem::{ConfigError, Problem};
use super::value::{Command, Maybe};
use super::{
    AdmissionOptions, ApiOptions, CaptureOptions, FlowOptions, FollowOptions, Gathered, HealthOptions, LogOptions,
    Options, PipelineOptions, ReceiveOptions, Sources,
};
use crate::admission::{AdmissionSettings, Policy};
use crate::capture::{Hook, Retention, Rotation, Selection};
use crate::health::ReadinessRules;
use crate::log::LogRotation;
use crate::networks::{Clash, NamedNetwork, Networks, clashes};
use crate::selector::Selector;
use crate::settings::{
    ApiSettings, CaptureSettings, Dedup, DemoSettings, FlowSettings, FollowSettings, HealthSettings, IdleTimeouts,
    Keeping, Listener, LogSettings, PipelineSettings, ReadSettings, ReceiveSettings, RunSettings, SummaryTarget,
    Timestamps,
};

/// Where the API is when nothing else is said.
const DEFAULT_API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9789);
/// Packets a second that the demo makes when nothing else is said.
const DEFAULT_DEMO_PPS: u64 = 20_000;
/// How long a capture hook may take when nothing else is said.
pub(super) const DEFAULT_HOOK_LIMIT: Duration = Duration::from_mins(1);
/// The most selectors of streams to accept, and to reject: all of them are looked at for each new stream.
const MAX_SELECTORS: usize = 256;
/// The most pairs of networks that are told to clash.
const MAX_CLASHES: usize = 50;
/// The most listeners of one collector.
const MAX_LISTENERS: usize = 64;

/// What defaults depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// CPUs that the program may use.
    pub(crate) cpus: u32,
    /// Whether standard output is a terminal that a dashboard can be drawn on.
    pub(crate) terminal: bool,
}

impl Machine {
    /// The one that this runs on.
    pub(crate) fn this() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { cpus: cpus.try_into().unwrap_or(u32::MAX), terminal: vxtap_tui::can_draw() }
    }

    fn workers(self) -> u32 {
        self.cpus.clamp(1, PipelineSettings::MAX_WORKERS)
    }
}

/// Settings of `run`.
pub(crate) fn run(gathered: &Gathered, machine: Machine) -> Result<RunSettings, ConfigError> {
    let (options, sources) = (&gathered.options, &gathered.sources);
    let mut problems = Vec::new();
    check_listeners(&options.receive.listen, sources, &mut problems);
    check_times(options, sources, &mut problems);
    let api = api(&options.api, sources, &mut problems);
    let follow = follow(&options.follow, sources, &mut problems);
    conflicts::check(gathered, Unnamed::Nowhere, &mut problems);
    conflicts::check_live(options, api.as_ref().map(|api| api.address), sources, &mut problems);
    check_streams(gathered, &mut problems);
    let tui = options.run.tui.unwrap_or(false);
    check_standard_output(gathered, tui, &mut problems);
    if tui && !machine.terminal {
        let message = "the dashboard needs a terminal, and standard output is none, or a dumb one: leave --tui out, or use \
                       vxtap-tui";
        problems.push(Problem::new(sources.place("tui"), message));
    }
    ConfigError::unless_empty(problems)?;
    let listen =
        if options.receive.listen.is_empty() { vec![Listener::DEFAULT] } else { options.receive.listen.clone() };
    Ok(RunSettings {
        listen,
        receive: receive(&options.receive, options.pipeline.dedup),
        pipeline: pipeline(gathered, machine.workers(), machine),
        api,
        follow,
        health: health(&options.health),
        drain: options.health.drain.unwrap_or(RunSettings::DEFAULT_DRAIN),
        summary: options.pipeline.summary.clone(),
        tui,
    })
}

/// What a new mirror stream is compared with is bounded.
fn check_streams(gathered: &Gathered, problems: &mut Vec<Problem>) {
    let (Options { pipeline, admission, .. }, sources) = (&gathered.options, &gathered.sources);
    let networks = pipeline.network.iter();
    let wide =
        networks.filter(|network| network.streams.vni_by_vni().iter().any(|one| one.only_vni().is_none())).count();
    for (flag, what, count, most) in [
        ("network", "networks", pipeline.network.len(), Networks::MAX),
        ("network", "networks that are more than a few VNIs", wide, Networks::MAX_WIDE),
        ("name", "names", pipeline.name.len(), Networks::MAX_NAMES),
        ("accept", "selectors of streams to accept", admission.accept.len(), MAX_SELECTORS),
        ("reject", "selectors of streams to reject", admission.reject.len(), MAX_SELECTORS),
    ] {
        if count > most {
            problems.push(Problem::new(sources.place(flag), format!("{count} {what}: expected at most {most}")));
        }
    }
    // The bounds come first: all are compared with all.
    if problems.is_empty() {
        problems
            .extend(clashes(&pipeline.network).take(MAX_CLASHES).map(|clash| told(&clash, &pipeline.network, sources)));
    }
    let (all, none) = (Maybe(Some(Selector::ALL)), Maybe(None));
    if admission.accept.len() > 1 && (admission.accept.contains(&all) || admission.accept.contains(&none)) {
        let message = "'all' and 'none' stand alone: expected one of them, or the streams that are let in";
        problems.push(Problem::new(sources.place("accept"), message));
    }
}

/// What is wrong with two networks, shown at the second one.
fn told(clash: &Clash, networks: &[NamedNetwork], sources: &Sources) -> Problem {
    let Clash { places: (first, second), shared } = clash;
    let (one, other) = (&networks[*first], &networks[*second]);
    let message = format!(
        "networks '{}' ({}; {}) and '{}' ({}) both have '{shared}', and neither is a part of the other: expected streams that only \
         one of them has, or a network that is said to have those",
        one.name,
        one.streams,
        sources.item("network", *first),
        other.name,
        other.streams,
    );
    Problem::new(sources.item("network", *second), message)
}

/// Settings of `read`, which reads `files`.
pub(crate) fn read(gathered: &Gathered, machine: Machine, files: Vec<PathBuf>) -> Result<ReadSettings, ConfigError> {
    let (options, sources) = (&gathered.options, &gathered.sources);
    let mut problems = Vec::new();
    check_standard_output(gathered, false, &mut problems);
    conflicts::check(gathered, Unnamed::Nowhere, &mut problems);
    conflicts::check_read(gathered, &mut problems);
    check_streams(gathered, &mut problems);
    let ports = |kind: Kind, named: &[u16], default: &[u16]| {
        let ports = if named.is_empty() { default } else { named };
        ports.iter().map(|port| (*port, kind)).collect::<Vec<_>>()
    };
    let ports = [
        ports(Kind::Vxlan, &options.read.vxlan_port, &[vxtap_wire::vxlan::PORT]),
        ports(Kind::Geneve, &options.read.geneve_port, &[vxtap_wire::geneve::PORT]),
        // On no port unless told so: nothing else on 4790 would be seen as what it is.
        ports(Kind::VxlanGpe, &options.read.vxlan_gpe_port, &[]),
    ];
    let ports = ports.concat();
    for (number, (port, kind)) in ports.iter().enumerate() {
        if let Some((_, other)) = ports[..number].iter().find(|(before, other)| before == port && other != kind) {
            let message =
                format!("port {port} is named for {} and for {}: name it for one", other.as_str(), kind.as_str());
            problems.push(Problem::new(sources.place("vxlan-port"), message));
        }
    }
    ConfigError::unless_empty(problems)?;
    Ok(ReadSettings {
        files,
        encapsulation: options.read.encapsulation.unwrap_or_default(),
        ports,
        // One worker keeps the order of the files.
        pipeline: pipeline(gathered, 1, machine),
        summary: options.pipeline.summary.clone(),
    })
}

/// A capture on standard output has it for itself. `taken` tells that the command writes there whatever the options.
fn check_standard_output(gathered: &Gathered, taken: bool, problems: &mut Vec<Problem>) {
    let (options, sources) = (&gathered.options, &gathered.sources);
    if options.capture.write.as_deref() != Some(Path::new("-")) {
        return;
    }
    let message = "standard output is the capture's (--write -)";
    if options.pipeline.summary == Some(SummaryTarget::Stdout) {
        problems.push(Problem::new(sources.place("summary"), format!("{message}: give the summary a file")));
    }
    if taken {
        problems
            .push(Problem::new(sources.place("write"), format!("{message}, but this command tells there how it is")));
    }
}

/// Settings of `demo`; its captures stay `None` where no directory is named.
pub(crate) fn demo(gathered: &Gathered, machine: Machine) -> Result<DemoSettings, ConfigError> {
    let (options, sources) = (&gathered.options, &gathered.sources);
    let mut problems = Vec::new();
    let api = api(&options.api, sources, &mut problems);
    check_standard_output(gathered, true, &mut problems);
    conflicts::check(gathered, Unnamed::NewDirectory, &mut problems);
    check_streams(gathered, &mut problems);
    ConfigError::unless_empty(problems)?;
    Ok(DemoSettings {
        seconds: options.demo.seconds,
        pps: options.demo.pps.unwrap_or(DEFAULT_DEMO_PPS),
        tui: machine.terminal && !options.demo.no_tui.unwrap_or(false),
        pipeline: pipeline(gathered, machine.workers(), machine),
        api,
        api_optional: options.api.api.is_none(),
        summary: options.pipeline.summary.clone(),
    })
}

/// Captures into `directory`, all else as `options` say.
pub(crate) fn capture_into(directory: PathBuf, options: &CaptureOptions) -> CaptureSettings {
    let default = CaptureSettings::new(directory);
    CaptureSettings {
        format: options.capture_format.unwrap_or(default.format),
        layout: options.capture_layout.unwrap_or(default.layout),
        split: options.capture_split.map_or(default.split, |Maybe(split)| split),
        rotation: Rotation {
            bytes: options.rotate_bytes.map_or(default.rotation.bytes, |Maybe(bytes)| bytes),
            interval: options.rotate_interval.map_or(default.rotation.interval, |Maybe(interval)| interval),
            records: options.rotate_frames.map_or(default.rotation.records, |Maybe(frames)| frames),
        },
        keeping: Keeping {
            retention: Retention {
                bytes: options.keep_bytes.and_then(|Maybe(bytes)| bytes),
                age: options.keep_age.and_then(|Maybe(age)| age),
                free_bytes: options.keep_free.and_then(|Maybe(bytes)| bytes),
            },
            hook: options.capture_hook.clone().map(|Command(command)| Hook {
                command,
                limit: options.capture_hook_limit.unwrap_or(DEFAULT_HOOK_LIMIT),
            }),
            compress: options.capture_compress.and_then(|Maybe(level)| level),
        },
        selection: Selection {
            filter: options.capture_filter.clone(),
            snaplen: options.snaplen.and_then(|Maybe(bytes)| bytes),
            headers: options.capture_headers.unwrap_or(false),
            flow_bytes: options.capture_flow_bytes.and_then(|Maybe(bytes)| bytes),
            whole_flows: options.capture_whole_flows.unwrap_or(false),
            one_copy: options.capture_one_copy.unwrap_or(false),
        },
        flush: options.flush.unwrap_or(default.flush),
        blocks: options.capture_blocks.unwrap_or(default.blocks),
        direct: options.capture_direct.unwrap_or(default.direct),
        directory: default.directory,
    }
}

fn check_listeners(listen: &[Listener], sources: &Sources, problems: &mut Vec<Problem>) {
    if listen.len() > MAX_LISTENERS {
        let message = format!("{} addresses to listen on: expected at most {MAX_LISTENERS}", listen.len());
        problems.push(Problem::new(sources.place("listen"), message));
        return;
    }
    for (number, listener) in listen.iter().enumerate() {
        if listen[..number].iter().any(|other| conflicts::same_port(listener, other)) {
            let message = format!("{listener} is listened on twice: name it once");
            problems.push(Problem::new(sources.place("listen"), message));
        }
    }
}

/// Copies on one mirror stream are told from retransmissions by their times alone, so each packet has to have one of its own.
fn check_times(options: &Options, sources: &Sources, problems: &mut Vec<Problem>) {
    if options.pipeline.dedup != Some(DedupMode::Window) {
        return;
    }
    let why = "the dedup mode 'window' needs a time for each packet, or retransmissions would be taken for copies";
    if options.receive.timestamps == Some(Timestamps::Batch) {
        let message =
            format!("{why}, and 'batch' gives one to many: expected 'kernel' (which is the default) or 'sender'");
        problems.push(Problem::new(sources.place("timestamps"), message));
    }
    if options.receive.no_gro == Some(false) {
        let message = format!("{why}, and GRO gives one to many: expected it switched off, as it is then by default");
        problems.push(Problem::new(sources.place("no-gro"), message));
    }
}

fn receive(options: &ReceiveOptions, dedup: Option<DedupMode>) -> ReceiveSettings {
    let default = match dedup {
        Some(DedupMode::Window) => ReceiveSettings::with_a_time_for_each_packet(),
        _ => ReceiveSettings::default(),
    };
    ReceiveSettings {
        buffer_bytes: options.receive_buffer.unwrap_or(default.buffer_bytes),
        coalesce: options.coalesce.unwrap_or(default.coalesce),
        timestamps: options.timestamps.unwrap_or(default.timestamps),
        gro: options.no_gro.map_or(default.gro, |no| !no),
        kernel_steering: options.no_kernel_steering.map_or(default.kernel_steering, |no| !no),
        pin: options.pin.unwrap_or(default.pin),
        probes: if options.probes.is_empty() { default.probes } else { options.probes.clone() },
    }
}

fn pipeline(gathered: &Gathered, default_workers: u32, machine: Machine) -> PipelineSettings {
    let options = &gathered.options;
    let PipelineOptions {
        workers,
        steer_seed,
        envelope_layers,
        accept_unknown_critical,
        network,
        name,
        dedup,
        dedup_window,
        summary: _,
    } = &options.pipeline;
    let default = Dedup::default();
    PipelineSettings {
        workers: workers.map_or(default_workers, |Maybe(workers)| workers.unwrap_or(machine.workers())),
        steer_seed: steer_seed.and_then(|Maybe(seed)| seed),
        envelope: Rules {
            layers: envelope_layers.unwrap_or_default(),
            accept_unknown_critical: accept_unknown_critical.unwrap_or(false),
        },
        flows: flows(&options.flows),
        networks: network.clone(),
        names: name.clone(),
        admission: admission(&options.admission),
        dedup: Dedup { mode: dedup.unwrap_or(default.mode), window: dedup_window.unwrap_or(default.window) },
        capture: options.capture.write.clone().map(|directory| capture_into(directory, &options.capture)),
        log: options.log.log.clone().map(|directory| log_into(directory, &options.log)),
    }
}

fn admission(options: &AdmissionOptions) -> AdmissionSettings {
    let AdmissionOptions { accept, reject, state } = options;
    let default = Policy::default();
    let named = || accept.iter().filter_map(|Maybe(selector)| selector.clone()).collect();
    let accept = if accept.is_empty() { default.accept } else { named() };
    AdmissionSettings { policy: Policy { accept, reject: reject.clone() }, state: state.clone() }
}

/// Logs into `directory`, all else as `options` say.
fn log_into(directory: PathBuf, options: &LogOptions) -> LogSettings {
    let default = LogSettings::new(directory);
    let named = options.log_events.iter().copied().reduce(EventKinds::union);
    LogSettings {
        events: named.unwrap_or(default.events),
        rotation: LogRotation {
            bytes: options.log_rotate_bytes.map_or(default.rotation.bytes, |Maybe(bytes)| bytes),
            interval: options.log_rotate_interval.map_or(default.rotation.interval, |Maybe(interval)| interval),
        },
        keep: options.log_keep.map_or(default.keep, |Maybe(files)| files),
        stats_interval: options.log_stats_interval.map_or(default.stats_interval, |Maybe(interval)| interval),
        directory: default.directory,
    }
}

fn flows(options: &FlowOptions) -> FlowSettings {
    let default = FlowSettings::default();
    FlowSettings {
        max: options.flow_max.unwrap_or(default.max),
        idle: IdleTimeouts {
            tcp_new: options.idle_tcp_new.unwrap_or(default.idle.tcp_new),
            tcp_established: options.idle_tcp_established.unwrap_or(default.idle.tcp_established),
            tcp_closed: options.idle_tcp_closed.unwrap_or(default.idle.tcp_closed),
            other_new: options.idle_other_new.unwrap_or(default.idle.other_new),
            other_established: options.idle_other_established.unwrap_or(default.idle.other_established),
        },
        active: options.active_timeout.unwrap_or(default.active),
    }
}

fn health(options: &HealthOptions) -> HealthSettings {
    let default = ReadinessRules::default();
    HealthSettings {
        address: options.health.and_then(|Maybe(address)| address),
        rules: ReadinessRules {
            unready_after: options.unready_after.unwrap_or(default.unready_after),
            ready_after: options.ready_after.unwrap_or(default.ready_after),
            drop_share: options.unready_drops.map_or(default.drop_share, |Maybe(share)| share),
            drop_window: options.drop_window.unwrap_or(default.drop_window),
            without_capture: options.ready_without_capture.unwrap_or(default.without_capture),
        },
    }
}

fn api(options: &ApiOptions, sources: &Sources, problems: &mut Vec<Problem>) -> Option<ApiSettings> {
    let address = match options.api {
        None => DEFAULT_API,
        Some(Maybe(address)) => address?,
    };
    if options.api_token.is_none() && !address.ip().to_canonical().is_loopback() {
        let message = format!(
            "the API shows mirrored traffic, and other machines can reach it on {address}: set a token (--api-token, \
             VXTAP_API_TOKEN, or token in [api]), or serve it on 127.0.0.1"
        );
        problems.push(Problem::new(sources.place("api"), message));
    }
    Some(ApiSettings { address, token: options.api_token.clone() })
}

fn follow(options: &FollowOptions, sources: &Sources, problems: &mut Vec<Problem>) -> Option<FollowSettings> {
    let Maybe(address) = options.follow?;
    let address = address?;
    let insecure = options.follow_insecure.unwrap_or(false);
    if !insecure && !address.ip().to_canonical().is_loopback() {
        let message = format!(
            "pcap-over-IP shows mirrored traffic to whoever connects, and other machines can reach it on {address}: follow on \
             127.0.0.1, or over the API with a token, or allow it with --follow-insecure (insecure in [follow])"
        );
        problems.push(Problem::new(sources.place("follow"), message));
    }
    Some(FollowSettings { address, insecure, filter: options.follow_filter.clone().unwrap_or_default() })
}
