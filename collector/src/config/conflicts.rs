//! Options that say nothing without another, or against it: refused, since whoever gave them counts on what they say.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use vxtap_analyzers::dedup::DedupMode;

use super::problem::Problem;
use super::value::Maybe;
use super::{CaptureOptions, Gathered, Options, Sources};
use crate::networks::Named;
use crate::settings::{CaptureSettings, Listener};

/// Finds what contradicts itself among the options of every command that captures and logs.
pub(super) fn check(gathered: &Gathered, problems: &mut Vec<Problem>) {
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
            refuse(flag, "needs --write DIR: without it nothing is captured into files".into());
        } else if to_stdout && needs == Needs::Directory {
            refuse(flag, "needs files in a directory, and --write - is one stream: expected --write DIR".into());
        }
    }
    let log = &options.log;
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
    let default = CaptureSettings::new(PathBuf::new()).rotation;
    let CaptureOptions { rotate_bytes, rotate_interval, rotate_frames, keep_bytes, keep_age, keep_free, .. } = options;
    [
        // Where a file spells out the default, nothing is asked for.
        ("rotate-bytes", Capture, given(rotate_bytes.as_ref()) && *rotate_bytes != Some(Maybe(default.bytes))),
        ("rotate-interval", Capture, given(rotate_interval.as_ref())),
        ("rotate-frames", Capture, given(rotate_frames.as_ref())),
        ("capture-split", Directory, given(options.capture_split.as_ref())),
        ("keep-bytes", Directory, given(keep_bytes.as_ref())),
        ("keep-age", Directory, given(keep_age.as_ref())),
        ("keep-free", Directory, given(keep_free.as_ref())),
        ("capture-compress", Directory, given(options.capture_compress.as_ref())),
    ]
    .into_iter()
    .filter_map(|(flag, needs, is_given)| is_given.then_some((flag, needs)))
}

/// Whether an option says something; 'none' asks for nothing.
const fn given<T>(option: Option<&Maybe<T>>) -> bool {
    matches!(option, Some(Maybe(Some(_))))
}

#[cfg(test)]
mod tests;
