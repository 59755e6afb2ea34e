//! What `run` would do with its settings, in plain words.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use vxtap_analyzers::dedup::{DedupMode, SAME_STREAM_NS};
use vxtap_analyzers::protocols::{EventKind, EventKinds};
use vxtap_wire::envelope::Layers;

use super::problem::Printable;
use super::units::{Size, Time};
use crate::admission::AdmissionSettings;
use crate::capture::{CaptureFilter, CaptureFormat, CaptureLayout, CaptureSplit, Hook, Retention, Rotation, Selection};
use crate::networks::NamedNetwork;
use crate::selector::Selector;
use crate::settings::{
    ApiSettings, CaptureSettings, HealthSettings, Keeping, Listener, LogSettings, RunSettings, SummaryTarget,
    Timestamps, UdpListener,
};

const MEBIBYTE: u64 = 1 << 20;

/// Lines that say what a collector with `settings` does and what it may take at most.
pub(crate) fn explain(settings: &RunSettings) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(settings, &mut text);
    text
}

fn write(settings: &RunSettings, to: &mut String) -> fmt::Result {
    receive(settings, to)?;
    admission(settings, to)?;
    flows(settings, to)?;
    match &settings.pipeline.capture {
        Some(capture) => captures(capture, settings.pipeline.workers, to)?,
        None => line(to, "captures", "none: inner frames are not kept (--write DIR keeps them)")?,
    }
    match &settings.pipeline.log {
        Some(log) => self::log(log, to)?,
        None => line(to, "log", "none: events are not kept (--log DIR keeps them)")?,
    }
    line(to, "api", &api(settings.api.as_ref()))?;
    line(to, "followers", &follow(settings))?;
    health(settings, to)?;
    match &settings.summary {
        Some(SummaryTarget::Stdout) => line(to, "summary", "on standard output at the end")?,
        Some(SummaryTarget::File(file)) => line(to, "summary", &format!("in {} at the end", file.display()))?,
        None => line(to, "summary", "in the log on standard error at the end, no file")?,
    }
    line(to, "dashboard", if settings.tui { "in this terminal" } else { "none (--tui shows it)" })
}

/// A line with what it is about, or a further line about the same.
fn line(to: &mut String, about: &str, what: &str) -> fmt::Result {
    writeln!(to, "{about:<10} {}", Printable(what))
}

fn receive(settings: &RunSettings, to: &mut String) -> fmt::Result {
    for (number, listener) in settings.listen.iter().enumerate() {
        let takes = match listener {
            Listener::Packet(_) => " (frames in no tunnel, but what is for this machine)",
            Listener::Udp(UdpListener { address, .. }) => match address.ip() {
                IpAddr::V6(ip) if ip.is_unspecified() => " (all addresses, IPv4 and IPv6)",
                IpAddr::V4(ip) if ip.is_unspecified() => " (all addresses, IPv4)",
                _ => "",
            },
        };
        line(to, if number == 0 { "listen" } else { "" }, &format!("{listener}{takes}"))?;
    }
    let receive = &settings.receive;
    let sockets = u64::from(settings.pipeline.workers) * settings.listen.len() as u64;
    line(
        to,
        "workers",
        &format!(
            "{}, {}; {} in all, with a receive buffer of {} each",
            counted(u64::from(settings.pipeline.workers), "thread"),
            if receive.pin { "each on a CPU of its own" } else { "on any CPU" },
            counted(sockets, "socket"),
            Size(receive.buffer_bytes as u64),
        ),
    )?;
    line(
        to,
        "steering",
        &format!(
            "both directions of a flow to one worker, {}; seed {}",
            if receive.kernel_steering { "by the kernel and checked" } else { "in user space" },
            settings.pipeline.steer_seed.map_or_else(|| "random".into(), |seed| seed.to_string()),
        ),
    )?;
    let layers = match settings.pipeline.envelope.layers {
        Layers::Known => "the outermost tunnel is taken off, and a gateway load balancer's with it".into(),
        Layers::UpTo(1) => "the outermost tunnel is taken off".into(),
        Layers::UpTo(layers) => format!("up to {layers} tunnels in each other are taken off"),
    };
    let critical =
        if settings.pipeline.envelope.accept_unknown_critical { "; unknown critical options are taken" } else { "" };
    line(to, "envelope", &format!("{layers}{critical}"))?;
    let wait = match receive.coalesce {
        Duration::ZERO => "at once".into(),
        wait => format!("after {} at most", Time(wait)),
    };
    let dedup = &settings.pipeline.dedup;
    line(
        to,
        "datagrams",
        &format!(
            "taken {wait}, {}; {}",
            if receive.gro { "several at a time (GRO)" } else { "one by one (no GRO)" },
            match receive.timestamps {
                Timestamps::Batch => "one time for each batch",
                Timestamps::Kernel => "times by the kernel",
                Timestamps::Sender => "times by the sender where it tells, else by the kernel",
            },
        ),
    )?;
    let window = Time(dedup.window);
    let copies = match dedup.mode {
        DedupMode::Off => "all are counted".into(),
        DedupMode::On => format!("those of other mirror streams of a network within {window} are left out"),
        DedupMode::Window => {
            let soon = Time(Duration::from_nanos(SAME_STREAM_NS));
            format!(
                "those of other mirror streams of a network within {window}, and of one stream within {soon}, are left out"
            )
        }
    };
    line(to, "copies", &copies)
}

fn admission(settings: &RunSettings, to: &mut String) -> fmt::Result {
    let AdmissionSettings { policy, state } = &settings.pipeline.admission;
    let texts = |selectors: &[Selector]| selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let who = match policy.accept.as_slice() {
        [] => "nobody is let in: every mirror stream waits to be accepted".into(),
        _ if policy.accepts_all() => "every mirror stream is let in".into(),
        listed => format!("let in are {}; others wait to be accepted", texts(listed)),
    };
    line(to, "admission", &who)?;
    if !policy.reject.is_empty() {
        line(to, "", &format!("kept out are {}", texts(&policy.reject)))?;
    }
    if let Some(directory) = state {
        line(to, "", &format!("decisions are kept in {}", directory.display()))?;
    }
    for NamedNetwork { name, streams } in &settings.pipeline.networks {
        line(to, "network", &format!("{name}: {streams}"))?;
    }
    Ok(())
}

fn flows(settings: &RunSettings, to: &mut String) -> fmt::Result {
    let flows = &settings.pipeline.flows;
    let idle = &flows.idle;
    line(to, "flows", &format!("up to {} at a time; beyond, old ones end early and are counted", flows.max))?;
    line(
        to,
        "",
        &format!(
            "TCP ends after silence of {} (new), {} (established), {} (closed)",
            Time(idle.tcp_new),
            Time(idle.tcp_established),
            Time(idle.tcp_closed),
        ),
    )?;
    line(
        to,
        "",
        &format!(
            "others end after silence of {} (one-way), {} (both ways)",
            Time(idle.other_new),
            Time(idle.other_established)
        ),
    )?;
    match flows.active {
        Duration::ZERO => line(to, "", "reported at their end only"),
        active => line(to, "", &format!("long ones are reported every {}", Time(active))),
    }
}

fn captures(capture: &CaptureSettings, workers: u32, to: &mut String) -> fmt::Result {
    let Rotation { bytes, interval, records } = capture.rotation;
    let ends = [
        bytes.map(|bytes| Size(bytes).to_string()),
        interval.map(|interval| Time(interval).to_string()),
        records.map(|records| format!("{records} frames")),
    ];
    let ends: Vec<_> = ends.into_iter().flatten().collect();
    let size = if ends.is_empty() { "one file".into() } else { format!("a new file every {}", ends.join(" or ")) };
    let format = match capture.format {
        CaptureFormat::Pcapng => "pcapng",
        CaptureFormat::Pcap => "pcap",
        CaptureFormat::PcapNanoseconds => "pcap with nanoseconds",
    };
    line(to, "captures", &format!("{format} in {}, {size}", capture.directory.display()))?;
    if capture.layout == CaptureLayout::PerShard {
        line(to, "", "files of its own for each worker")?;
    }
    match capture.split {
        Some(CaptureSplit::Vni) => line(to, "", "files of its own for each VNI")?,
        Some(CaptureSplit::Network) => line(to, "", "files of its own for each named network, and each VNI in none")?,
        None => {}
    }
    let Selection { filter, whole_flows, snaplen, headers, flow_bytes, one_copy } = &capture.selection;
    let parts = [
        filter.as_ref().map(|CaptureFilter(filter)| {
            let flows = if *whole_flows { ", and what follows in the same flows" } else { "" };
            format!("only '{}'{flows}", filter.text().escape_debug())
        }),
        snaplen.map(|bytes| format!("{bytes} bytes of each frame")),
        headers.then(|| "headers only".into()),
        flow_bytes.map(|bytes| format!("the first {} of each flow", Size(bytes))),
        one_copy.then(|| "one copy of each packet".into()),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        line(to, "", &parts.join(", "))?;
    }
    let Keeping { retention: Retention { bytes, age, free_bytes }, hook, compress } = &capture.keeping;
    let limits = [
        bytes.map(|bytes| format!("beyond {} in all", Size(bytes))),
        age.map(|age| format!("{} after they were closed", Time(age))),
        free_bytes.map(|bytes| format!("to keep {} free", Size(bytes))),
    ];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    if !limits.is_empty() {
        line(to, "", &format!("the oldest are deleted {}", limits.join(", ")))?;
    }
    if compress.is_some() {
        line(to, "", "closed ones are compressed")?;
    }
    if let Some(Hook { command, limit }) = hook {
        let command = command.join(" ").escape_debug().to_string();
        line(to, "", &format!("'{command}' is run for each closed one, for {} at the most", Time(*limit)))?;
    }
    let waiting = capture.blocks as u64 * u64::from(workers) * MEBIBYTE;
    line(
        to,
        "",
        &format!(
            "frames are in the file within {}{}; up to {} wait for the disk, beyond that they are dropped and counted",
            Time(capture.flush),
            if capture.direct { ", around the page cache" } else { "" },
            Size(waiting),
        ),
    )
}

fn log(log: &LogSettings, to: &mut String) -> fmt::Result {
    let events = match log.events {
        EventKinds::ALL => "events of every kind".into(),
        EventKinds::NONE => "no events".into(),
        some => format!("events ({})", some.iter().map(EventKind::as_str).collect::<Vec<_>>().join(", ")),
    };
    line(to, "log", &format!("appends {events} to {}", log.directory.join("eve.json").display()))?;
    let ends = [
        log.rotation.bytes.map(|bytes| Size(bytes).to_string()),
        log.rotation.interval.map(|interval| Time(interval).to_string()),
    ];
    let ends: Vec<_> = ends.into_iter().flatten().collect();
    if !ends.is_empty() {
        line(to, "", &format!("closed under a name of its own every {}", ends.join(" or ")))?;
    }
    if let Some(files) = log.keep {
        line(to, "", &format!("{} at the most, the oldest are deleted", counted(files.into(), "closed file")))?;
    }
    match log.stats_interval {
        _ if !log.events.has(EventKind::Stats) => Ok(()),
        Some(interval) => line(to, "", &format!("counters every {} and at the end", Time(interval))),
        None => line(to, "", "counters at the end"),
    }
}

fn health(settings: &RunSettings, to: &mut String) -> fmt::Result {
    let HealthSettings { address, rules } = &settings.health;
    let place = match address {
        Some(address) => format!("http://{address}/readyz tells load balancers whether to send traffic"),
        None => "no port of its own (--health ADDR has one for load balancers)".into(),
    };
    line(to, "health", &place)?;
    let causes = [
        Some("a worker stands still".to_owned()),
        rules
            .drop_share
            .map(|share| format!("the kernel drops over {} % in {}", share * 100.0, Time(rules.drop_window))),
        (settings.pipeline.capture.is_some() && !rules.without_capture).then(|| "captures fail".to_owned()),
    ];
    let causes = causes.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let (bad, good) = (Time(rules.unready_after), Time(rules.ready_after));
    line(to, "", &format!("not ready when, for {bad}, {causes}; ready again after {good} without that"))?;
    line(
        to,
        "",
        &match settings.drain {
            Duration::ZERO => "SIGTERM ends the run at once".into(),
            drain => format!("at SIGTERM not ready, and receiving on for {}", Time(drain)),
        },
    )
}

fn api(settings: Option<&ApiSettings>) -> String {
    match settings {
        None => "none".into(),
        Some(ApiSettings { address, token: Some(_) }) => format!("http://{address}, with a token"),
        Some(ApiSettings { address, token: None }) => format!("http://{address}, for this machine, without a token"),
    }
}

fn follow(settings: &RunSettings) -> String {
    let Some(follow) = &settings.follow else {
        let way = if settings.api.is_some() { "over the API" } else { "none" };
        return format!("{way} (--follow ADDR serves pcap-over-IP)");
    };
    let wanted = if follow.filter.trim().is_empty() { "every packet".into() } else { format!("'{}'", follow.filter) };
    let who = if follow.insecure { "whoever connects" } else { "whoever connects from this machine" };
    format!("TCP@{}: {who} gets {wanted}", follow.address)
}

fn counted(number: u64, name: &str) -> String {
    format!("{number} {name}{}", if number == 1 { "" } else { "s" })
}
