//! What each setting accepts: one function for each, used by its flag, its environment variable and its key alike.
//! The error says what was expected.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use vxtap_analyzers::dedup::DedupMode;
use vxtap_analyzers::protocols::{EventKind, EventKinds};
use vxtap_filter::Filter;
use vxtap_wire::envelope::{Layers, MAX_LAYERS};

use super::address::socket_address;
use super::units::{Size, Time};
use crate::capture::{CaptureFilter, CaptureFormat, CaptureLayout, CaptureSplit, CompressionLevel};
use crate::networks::{Name, Named, NamedNetwork};
use crate::selector::{Selector, SelectorError};
use crate::settings::{Listener, PipelineSettings, ReadEncapsulation, SummaryTarget, Timestamps};

/// A value, or the word that stands for having none (`auto`, `random`, `none`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maybe<T>(pub(crate) Option<T>);

const WEEK: Duration = Duration::from_hours(7 * 24);
const YEARS: Duration = Duration::from_hours(10 * 366 * 24);

pub(crate) fn listener(text: &str) -> Result<Listener, String> {
    Listener::from_str(text.trim())
}

pub(crate) fn receive_buffer(text: &str) -> Result<usize, String> {
    size_between(text, 4 << 10, 1 << 30, "64MiB").map(|bytes| bytes as usize)
}

pub(crate) fn coalesce(text: &str) -> Result<Duration, String> {
    time_between(text, Duration::ZERO, Duration::from_millis(100), "500us")
}

pub(crate) fn timestamps(text: &str) -> Result<Timestamps, String> {
    match text {
        "batch" => Ok(Timestamps::Batch),
        "kernel" => Ok(Timestamps::Kernel),
        "sender" => Ok(Timestamps::Sender),
        _ => Err("expected 'batch', 'kernel' or 'sender'".into()),
    }
}

pub(crate) fn workers(text: &str) -> Result<Maybe<u32>, String> {
    maybe(text, "auto", |text| number_between(text, 1, PipelineSettings::MAX_WORKERS))
}

pub(crate) fn steer_seed(text: &str) -> Result<Maybe<u32>, String> {
    maybe(text, "random", |text| number_between(text, 0, u32::MAX))
}

pub(crate) fn envelope_layers(text: &str) -> Result<Layers, String> {
    let most = MAX_LAYERS as u8;
    match text {
        "known" => Ok(Layers::Known),
        text => number_between(text, 1, most).map(Layers::UpTo).map_err(|error| format!("{error}, or 'known'")),
    }
}

pub(crate) fn flow_max(text: &str) -> Result<u64, String> {
    // Every worker needs room for a flow at least.
    number_between(text, u64::from(PipelineSettings::MAX_WORKERS), 1 << 28)
}

pub(crate) fn idle_timeout(text: &str) -> Result<Duration, String> {
    time_between(text, Duration::from_millis(100), WEEK, "30s")
}

pub(crate) fn active_timeout(text: &str) -> Result<Duration, String> {
    match Time::parse(text) {
        Some(Time(Duration::ZERO)) => Ok(Duration::ZERO),
        Some(Time(time)) if (Duration::from_secs(1)..=WEEK).contains(&time) => Ok(time),
        _ => Err(format!("expected a time from 1s to {}, such as 30m, or 0 for never", Time(WEEK))),
    }
}

pub(crate) fn probe(text: &str) -> Result<IpNet, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("'{}' is not a network (expected for example 35.191.0.0/16)", text.escape_debug()))
}

pub(crate) fn disk_rate(text: &str) -> Result<u64, String> {
    size_between(text, 1 << 10, 1 << 40, "250MB")
}

pub(crate) fn watch(text: &str) -> Result<Duration, String> {
    time_between(text, Duration::ZERO, Duration::from_hours(1), "10s")
}

pub(crate) fn directory(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a directory".into()) } else { Ok(text.into()) }
}

pub(crate) fn rotate_bytes(text: &str) -> Result<Maybe<u64>, String> {
    maybe(text, "none", |text| size_between(text, 64 << 10, 16 << 40, "512MiB"))
}

pub(crate) fn rotate_interval(text: &str) -> Result<Maybe<Duration>, String> {
    maybe(text, "none", |text| time_between(text, Duration::from_secs(1), WEEK, "1h"))
}

pub(crate) fn rotate_frames(text: &str) -> Result<Maybe<u64>, String> {
    maybe(text, "none", |text| number_between(text, 1, 1_000_000_000_000))
}

pub(crate) fn capture_filter(text: &str) -> Result<CaptureFilter, String> {
    Filter::parse(text).map(CaptureFilter).map_err(|error| error.to_string())
}

pub(crate) fn snaplen(text: &str) -> Result<Maybe<u32>, String> {
    maybe(text, "none", |text| number_between(text, 14, 262_144))
}

pub(crate) fn flow_bytes(text: &str) -> Result<Maybe<u64>, String> {
    maybe(text, "none", |text| size_between(text, 1, 1 << 40, "64KiB"))
}

pub(crate) fn capture_format(text: &str) -> Result<CaptureFormat, String> {
    match text {
        "pcapng" => Ok(CaptureFormat::Pcapng),
        "pcap" => Ok(CaptureFormat::Pcap),
        "pcap-ns" => Ok(CaptureFormat::PcapNanoseconds),
        _ => Err("expected 'pcapng', 'pcap' or 'pcap-ns'".into()),
    }
}

pub(crate) fn capture_layout(text: &str) -> Result<CaptureLayout, String> {
    match text {
        "merged" => Ok(CaptureLayout::Merged),
        "per-shard" => Ok(CaptureLayout::PerShard),
        _ => Err("expected 'merged' or 'per-shard'".into()),
    }
}

pub(crate) fn capture_split(text: &str) -> Result<Maybe<CaptureSplit>, String> {
    match text {
        "vni" => Ok(Maybe(Some(CaptureSplit::Vni))),
        "network" => Ok(Maybe(Some(CaptureSplit::Network))),
        "none" => Ok(Maybe(None)),
        // A switch, as it was before there was a choice.
        _ => match truth(text) {
            Ok(split) => Ok(Maybe(split.then_some(CaptureSplit::Vni))),
            Err(_) => Err("expected 'vni', 'network' or 'none'".into()),
        },
    }
}

pub(crate) fn keep_bytes(text: &str) -> Result<Maybe<u64>, String> {
    maybe(text, "none", |text| size_between(text, 1 << 20, 1 << 60, "100GiB"))
}

pub(crate) fn keep_age(text: &str) -> Result<Maybe<Duration>, String> {
    maybe(text, "none", |text| time_between(text, Duration::from_secs(1), YEARS, "48h"))
}

pub(crate) fn hook_limit(text: &str) -> Result<Duration, String> {
    time_between(text, Duration::from_secs(1), Duration::from_hours(24), "60s")
}

pub(crate) fn compress(text: &str) -> Result<Maybe<CompressionLevel>, String> {
    let expected = "expected a level from 1 to 19";
    let level = |text: &str| text.parse().ok().and_then(CompressionLevel::new).ok_or_else(|| expected.into());
    maybe(text, "none", level)
}

/// A program and its arguments, apart at spaces; what stands in double quotes is one, with any spaces in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command(pub(crate) Vec<String>);

pub(crate) fn command(text: &str) -> Result<Command, String> {
    let mut words = Vec::new();
    for (number, part) in text.split('"').enumerate() {
        if number % 2 == 0 {
            words.extend(part.split_whitespace().map(str::to_owned));
        } else {
            words.push(part.to_owned());
        }
    }
    if !text.matches('"').count().is_multiple_of(2) {
        return Err("expected a second \" behind the first".into());
    }
    match words.first() {
        Some(program) if !program.is_empty() => Ok(Command(words)),
        _ => Err("expected a program and its arguments, such as 'gzip {file}'".into()),
    }
}

/// `blue=100,200` or `blue=vni 7-9 from 10.0.0.0/8`: a name, and the streams of the network.
pub(crate) fn network(text: &str) -> Result<NamedNetwork, String> {
    let expected = || "expected a name and VNIs, such as 'blue=100,200' or 'blue=vni 7-9 from 10.0.0.0/8'".to_owned();
    let (name, streams) = text.split_once('=').ok_or_else(expected)?;
    let name = label(name)?;
    let only_vnis = streams.chars().all(|c| c.is_ascii_digit() || ",-_ ".contains(c));
    let streams = if only_vnis { format!("vni {}", streams.replace(' ', "")) } else { streams.to_owned() };
    Ok(NamedNetwork { name, streams: streams.parse().map_err(|error| format!("{error} ({})", expected()))? })
}

/// `web=vni 7` or `gateway=from 10.0.0.7`: a name, and what has it.
pub(crate) fn name(text: &str) -> Result<Name, String> {
    let expected = || "expected a name and what has it, such as 'web=vni 7' or 'gateway=from 10.0.0.7'".to_owned();
    let (name, of) = text.split_once('=').ok_or_else(expected)?;
    let name = label(name)?;
    let of: Selector = of.parse().map_err(|error| format!("{error} ({})", expected()))?;
    let of = of.only_vni().map(Named::Vni).or_else(|| of.only_source().map(Named::Source));
    Ok(Name { name, of: of.ok_or_else(|| format!("{}: one VNI or one address", expected()))? })
}

/// A name that people give.
pub(crate) fn label(text: &str) -> Result<String, String> {
    let name = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        return Err("expected a name of up to 64 letters, digits, '-', '_' and '.'".into());
    }
    Ok(name.to_owned())
}

/// Streams that are let in; `none` for nobody.
pub(crate) fn accept(text: &str) -> Result<Maybe<Selector>, String> {
    maybe(text.trim(), "none", reject)
}

/// Streams that are kept out.
pub(crate) fn reject(text: &str) -> Result<Selector, String> {
    text.parse().map_err(|error: SelectorError| error.to_string())
}

pub(crate) fn dedup(text: &str) -> Result<DedupMode, String> {
    match text {
        "on" => Ok(DedupMode::On),
        "off" => Ok(DedupMode::Off),
        "window" => Ok(DedupMode::Window),
        _ => Err("expected 'on', 'off' or 'window'".into()),
    }
}

pub(crate) fn dedup_window(text: &str) -> Result<Duration, String> {
    time_between(text, Duration::from_millis(1), Duration::from_secs(10), "100ms")
}

/// One name, which may stand for several kinds of events or for none.
pub(crate) fn log_events(text: &str) -> Result<EventKinds, String> {
    match text.trim() {
        "all" => Ok(EventKinds::ALL),
        "none" => Ok(EventKinds::NONE),
        name => match EventKind::ALL.into_iter().find(|kind| kind.as_str() == name) {
            Some(kind) => Ok(EventKinds::NONE.with(kind)),
            None => {
                Err(format!("expected 'all', 'none', or names of {}", EventKind::ALL.map(EventKind::as_str).join(", ")))
            }
        },
    }
}

pub(crate) fn log_keep(text: &str) -> Result<Maybe<u32>, String> {
    maybe(text, "none", |text| number_between(text, 1, 1_000_000))
}

pub(crate) fn stats_interval(text: &str) -> Result<Maybe<Duration>, String> {
    maybe(text, "none", |text| time_between(text, Duration::from_secs(1), WEEK, "10s"))
}

pub(crate) fn flush(text: &str) -> Result<Duration, String> {
    time_between(text, Duration::from_millis(1), Duration::from_secs(10), "100ms")
}

pub(crate) fn capture_blocks(text: &str) -> Result<usize, String> {
    number_between(text, 2, 4096).map(|blocks: u32| blocks as usize)
}

pub(crate) fn summary(text: &str) -> Result<SummaryTarget, String> {
    match text {
        "" => Err("expected a file, or - for standard output".into()),
        "-" => Ok(SummaryTarget::Stdout),
        file => Ok(SummaryTarget::File(file.into())),
    }
}

pub(crate) fn api(text: &str) -> Result<Maybe<SocketAddr>, String> {
    address_or_none(text, "expected ADDRESS:PORT such as 127.0.0.1:9789, or 'none'")
}

pub(crate) fn follow(text: &str) -> Result<Maybe<SocketAddr>, String> {
    address_or_none(text, "expected ADDRESS:PORT such as 127.0.0.1:57012, or 'none'")
}

pub(crate) fn health(text: &str) -> Result<Maybe<SocketAddr>, String> {
    address_or_none(text, "expected ADDRESS:PORT such as 0.0.0.0:8080, or 'none'")
}

pub(crate) fn drain(text: &str) -> Result<Duration, String> {
    time_between(text, Duration::ZERO, Duration::from_hours(24), "30s")
}

pub(crate) fn hysteresis(text: &str) -> Result<Duration, String> {
    time_between(text, Duration::from_millis(200), Duration::from_hours(1), "2s")
}

pub(crate) fn drop_window(text: &str) -> Result<Duration, String> {
    time_between(text, Duration::from_secs(1), Duration::from_hours(1), "10s")
}

/// A share of 0 to 1, written in percent.
pub(crate) fn drop_share(text: &str) -> Result<Maybe<f64>, String> {
    maybe(text, "none", |text| {
        let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse::<f64>().ok());
        match number {
            Some(percent) if (0.0..100.0).contains(&percent) => Ok(percent / 100.0),
            _ => Err("expected a percentage from 0% to less than 100%, such as 5%".into()),
        }
    })
}

pub(crate) fn filter(text: &str) -> Result<String, String> {
    Filter::parse(text).map(|filter| filter.text().to_owned()).map_err(|error| error.to_string())
}

fn address_or_none(text: &str, expected: &str) -> Result<Maybe<SocketAddr>, String> {
    if text == "none" {
        return Ok(Maybe(None));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| expected)?;
        return Ok(Maybe(Some(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port))));
    }
    socket_address(text, None)?.map(|address| Maybe(Some(address))).ok_or_else(|| expected.into())
}

pub(crate) fn api_token(text: &str) -> Result<String, String> {
    if (16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.into())
    } else {
        Err("expected 16 to 256 ASCII characters without spaces (openssl rand -hex 16 makes some)".into())
    }
}

pub(crate) fn encapsulation(text: &str) -> Result<ReadEncapsulation, String> {
    match text {
        "auto" => Ok(ReadEncapsulation::Auto),
        "vxlan" => Ok(ReadEncapsulation::Vxlan),
        "geneve" => Ok(ReadEncapsulation::Geneve),
        "none" => Ok(ReadEncapsulation::None),
        _ => Err("expected 'auto', 'vxlan', 'geneve' or 'none'".into()),
    }
}

pub(crate) fn port(text: &str) -> Result<u16, String> {
    number_between(text, 1, u16::MAX)
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=1e6).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0.1 to 1000000".into()),
    }
}

pub(crate) fn pps(text: &str) -> Result<u64, String> {
    number_between(text, 1, 100_000_000)
}

/// `true` or `false` as people write them in flags and environment variables.
pub(crate) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("expected 'true' or 'false'".into()),
    }
}

fn maybe<T>(text: &str, word: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Maybe<T>, String> {
    if text == word {
        return Ok(Maybe(None));
    }
    parse(text).map(|value| Maybe(Some(value))).map_err(|expected| format!("{expected}, or '{word}'"))
}

fn number_between<T: Copy + FromStr + PartialOrd + Display>(text: &str, least: T, most: T) -> Result<T, String> {
    match text.replace('_', "").parse::<T>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {least} to {most}")),
    }
}

fn size_between(text: &str, least: u64, most: u64, example: &str) -> Result<u64, String> {
    match Size::parse(text) {
        Some(Size(bytes)) if (least..=most).contains(&bytes) => Ok(bytes),
        _ => Err(format!("expected a size from {} to {}, such as {example}", Size(least), Size(most))),
    }
}

fn time_between(text: &str, least: Duration, most: Duration, example: &str) -> Result<Duration, String> {
    match Time::parse(text) {
        Some(Time(time)) if (least..=most).contains(&time) => Ok(time),
        _ => Err(format!("expected a time from {} to {}, such as {example}", Time(least), Time(most))),
    }
}
