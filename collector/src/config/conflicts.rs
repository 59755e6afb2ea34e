//! Options that say nothing without another, or against it: refused, since whoever gave them counts on what they say.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use vxtap_analyzers::dedup::DedupMode;
use vxtap_analyzers::protocols::EventKinds;
use vxtap_wire::envelope::{Kind, Layers};

use super::problem::Problem;
use super::resolve::DEFAULT_HOOK_LIMIT;
use super::value::Maybe;
use super::{CaptureOptions, Gathered, HealthOptions, LogOptions, Options, PipelineOptions, ReadOptions, Sources};
use crate::health::ReadinessRules;
use crate::networks::Named;
use crate::settings::{CaptureSettings, Dedup, Listener, LogSettings, ReadEncapsulation, ReceiveSettings};

/// Where captures go that nobody has named a directory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// Nowhere: there are none.
    Nowhere,
    /// Into a new directory.
    NewDirectory,
}

/// Finds what contradicts itself among the options of every command that captures and logs.
pub(super) fn check(gathered: &Gathered, unnamed: Unnamed, problems: &mut Vec<Problem>) {
    let (options, sources) = (&gathered.options, &gathered.sources);
    let mut refuse =
        |flag: &str, message: String| problems.push(Problem::new(sources.place(flag), format!("--{flag} {message}")));
    let CaptureOptions { write, capture_filter, capture_whole_flows, capture_one_copy, .. } = &options.capture;
    if *capture_one_copy == Some(true) && options.pipeline.dedup == Some(DedupMode::Off) {
        refuse(
            "capture-one-copy",
            "needs copies to be looked for, and --dedup is 'off': expected 'on' or 'window'".into(),
        );
    }
    if *capture_whole_flows == Some(true) && capture_filter.is_none() {
        refuse("capture-whole-flows", "needs --capture-filter: whole flows of what it matches".into());
    }
    let to_stdout = write.as_deref() == Some(Path::new("-"));
    for (flag, needs) in of_files(&options.capture) {
        if write.is_none() {
            if unnamed == Unnamed::Nowhere {
                refuse(flag, "needs --write DIR: without it nothing is captured into files".into());
            }
        } else if to_stdout && needs == Needs::Directory {
            refuse(flag, "needs files in a directory, and --write - is one stream: expected --write DIR".into());
        }
    }
    if options.capture.capture_hook_limit.is_some_and(|limit| limit != DEFAULT_HOOK_LIMIT)
        && options.capture.capture_hook.is_none()
    {
        refuse("capture-hook-limit", "needs --capture-hook COMMAND: it says how long that may take".into());
    }
    let PipelineOptions { dedup, dedup_window, .. } = &options.pipeline;
    if *dedup == Some(DedupMode::Off) && dedup_window.is_some_and(|window| window != Dedup::default().window) {
        refuse("dedup-window", "needs copies to be looked for, and --dedup is 'off': expected 'on' or 'window'".into());
    }
    let log = &options.log;
    if log.log.is_none() {
        for flag in of_log(log) {
            refuse(flag, "needs --log DIR: without it nothing is logged".into());
        }
    }
    let rotates = given(log.log_rotate_bytes.as_ref()) || given(log.log_rotate_interval.as_ref());
    if given(log.log_keep.as_ref()) && !rotates {
        let message = "needs --log-rotate-bytes or --log-rotate-interval: without them no log file is closed";
        refuse("log-keep", message.into());
    }
    let mut named = HashSet::new();
    for name in &options.pipeline.name {
        let of = match name.of {
            Named::Vni(vni) => format!("vni {vni}"),
            Named::Source(source) => format!("from {source}"),
        };
        if !named.insert(of.clone()) {
            refuse("name", format!("names {of} twice: expected one name for it"));
        }
    }
}

/// The same among the options of `read` alone.
pub(super) fn check_read(gathered: &Gathered, problems: &mut Vec<Problem>) {
    let (options, sources) = (&gathered.options, &gathered.sources);
    let mut refuse =
        |flag: &str, message: String| problems.push(Problem::new(sources.place(flag), format!("--{flag} {message}")));
    let ReadOptions { encapsulation, vxlan_port, geneve_port, vxlan_gpe_port } = &options.read;
    let encapsulation = encapsulation.unwrap_or_default();
    let named = |ports: &[u16], default: &[u16]| !ports.is_empty() && ports != default;
    for (flag, is_named, kind) in [
        ("vxlan-port", named(vxlan_port, &[vxtap_wire::vxlan::PORT]), Kind::Vxlan),
        ("geneve-port", named(geneve_port, &[vxtap_wire::geneve::PORT]), Kind::Geneve),
        ("vxlan-gpe-port", named(vxlan_gpe_port, &[]), Kind::VxlanGpe),
    ] {
        if is_named && !encapsulation.takes(kind) {
            let (taken, wanted) = (encapsulation.as_str(), if kind == Kind::Geneve { "geneve" } else { "vxlan" });
            refuse(flag, format!("has no effect beside --encapsulation {taken}: expected 'auto' or '{wanted}'"));
        }
    }
    if encapsulation == ReadEncapsulation::None {
        let PipelineOptions { envelope_layers, accept_unknown_critical, .. } = &options.pipeline;
        let layers = envelope_layers.is_some_and(|layers| layers != Layers::default());
        for (flag, is_given) in
            [("envelope-layers", layers), ("accept-unknown-critical", *accept_unknown_critical == Some(true))]
        {
            if is_given {
                refuse(flag, "has no effect beside --encapsulation none, which takes all frames as they are".into());
            }
        }
    }
}

/// The same among the options of a live run alone.
pub(super) fn check_live(options: &Options, api: Option<SocketAddr>, sources: &Sources, problems: &mut Vec<Problem>) {
    let mut refuse =
        |flag: &str, message: String| problems.push(Problem::new(sources.place(flag), format!("--{flag} {message}")));
    let follow = options.follow.follow.and_then(|Maybe(address)| address);
    // An empty filter asks for everything, as without one.
    let filters = options.follow.follow_filter.as_ref().is_some_and(|filter| !filter.is_empty());
    if filters && follow.is_none() {
        refuse("follow-filter", "needs --follow ADDR: it says what they get who connect there".into());
    }
    if options.follow.follow_insecure == Some(true) && follow.is_none() {
        refuse("follow-insecure", "needs --follow ADDR: it says who may connect there".into());
    }
    let is_raw = |listener: &Listener| matches!(listener, Listener::Packet(_));
    if !options.receive.probes.is_empty()
        && options.receive.probes != ReceiveSettings::default().probes
        && !options.receive.listen.iter().any(is_raw)
    {
        let message = "needs --listen packet://INTERFACE: only there do probes come by the way of what is mirrored";
        refuse("probes", message.into());
    }
    let HealthOptions { unready_drops, drop_window, .. } = &options.health;
    if *unready_drops == Some(Maybe(None))
        && drop_window.is_some_and(|window| window != ReadinessRules::default().drop_window)
    {
        refuse("drop-window", "has no effect beside --unready-drops none: expected a share of what comes".into());
    }
    let health = options.health.health.and_then(|Maybe(address)| address);
    let ports = [("api", api), ("follow", follow), ("health", health)];
    for (number, (flag, address)) in ports.iter().enumerate() {
        let Some(address) = address else { continue };
        let other = ports[..number].iter().find(|(_, other)| other.is_some_and(|other| meet(other, *address)));
        if let Some((other, _)) = other {
            refuse(
                flag,
                format!("and --{other} have the same port {}: expected another for one of them", address.port()),
            );
        }
    }
}

/// Whether two listeners would take the same datagrams' port.
pub(super) fn same_port(this: &Listener, other: &Listener) -> bool {
    match (this, other) {
        // A port has one encapsulation.
        (Listener::Udp(this), Listener::Udp(other)) => meet(this.address, other.address),
        (Listener::Packet(this), Listener::Packet(other)) => this.interface == other.interface,
        _ => false,
    }
}

/// Whether both addresses have a port that only one can have. Port 0 is another port each time.
fn meet(this: SocketAddr, other: SocketAddr) -> bool {
    let covers = |this: SocketAddr, other: SocketAddr| {
        // All of IPv6 are those of IPv4 too.
        this.ip() == other.ip() || (this.ip().is_unspecified() && (this.is_ipv6() || other.is_ipv4()))
    };
    this.port() == other.port() && this.port() != 0 && (covers(this, other) || covers(other, this))
}

/// What an option of captures needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// A capture.
    Capture,
    /// Files that come one after the other, or beside each other.
    Directory,
}

/// The flags given that say something of capture files.
fn of_files(options: &CaptureOptions) -> impl Iterator<Item = (&'static str, Needs)> {
    use Needs::{Capture, Directory};
    let default = CaptureSettings::new(PathBuf::new());
    let (rotation, selection) = (default.rotation, default.selection);
    let CaptureOptions { rotate_bytes, rotate_interval, rotate_frames, keep_bytes, keep_age, keep_free, .. } = options;
    [
        // Where a file spells out the default, nothing is asked for.
        ("rotate-bytes", Capture, given(rotate_bytes.as_ref()) && *rotate_bytes != Some(Maybe(rotation.bytes))),
        ("rotate-interval", Capture, given(rotate_interval.as_ref())),
        ("rotate-frames", Capture, given(rotate_frames.as_ref())),
        ("capture-split", Directory, given(options.capture_split.as_ref())),
        ("keep-bytes", Directory, given(keep_bytes.as_ref())),
        ("keep-age", Directory, given(keep_age.as_ref())),
        ("keep-free", Directory, given(keep_free.as_ref())),
        ("capture-compress", Directory, given(options.capture_compress.as_ref())),
        ("capture-hook", Directory, options.capture_hook.is_some()),
        ("capture-filter", Capture, options.capture_filter.is_some()),
        ("snaplen", Capture, given(options.snaplen.as_ref())),
        ("capture-headers", Capture, differs(options.capture_headers, &selection.headers)),
        ("capture-flow-bytes", Capture, given(options.capture_flow_bytes.as_ref())),
        ("capture-one-copy", Capture, differs(options.capture_one_copy, &selection.one_copy)),
        ("capture-format", Capture, differs(options.capture_format, &default.format)),
        ("capture-layout", Capture, differs(options.capture_layout, &default.layout)),
        ("capture-blocks", Capture, differs(options.capture_blocks, &default.blocks)),
        ("capture-direct", Capture, differs(options.capture_direct, &default.direct)),
        ("flush", Capture, differs(options.flush, &default.flush)),
    ]
    .into_iter()
    .filter_map(|(flag, needs, is_given)| is_given.then_some((flag, needs)))
}

/// The flags given that say something of the log.
fn of_log(options: &LogOptions) -> impl Iterator<Item = &'static str> {
    let default = LogSettings::new(PathBuf::new());
    let events = options.log_events.iter().copied().reduce(EventKinds::union);
    [
        ("log-events", differs(events, &default.events)),
        ("log-rotate-bytes", given(options.log_rotate_bytes.as_ref())),
        ("log-rotate-interval", given(options.log_rotate_interval.as_ref())),
        ("log-keep", given(options.log_keep.as_ref())),
        ("log-stats-interval", differs(options.log_stats_interval, &Maybe(default.stats_interval))),
    ]
    .into_iter()
    .filter_map(|(flag, is_given)| is_given.then_some(flag))
}

/// Whether an option says something else than what would be without it.
fn differs<T: PartialEq>(option: Option<T>, default: &T) -> bool {
    option.is_some_and(|option| option != *default)
}

/// Whether an option says something; 'none' asks for nothing.
const fn given<T>(option: Option<&Maybe<T>>) -> bool {
    matches!(option, Some(Maybe(Some(_))))
}

#[cfg(test)]
mod tests;
