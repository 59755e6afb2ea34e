//! `policy check`: what is wrong with a policy, what should be looked at, and how much it may send.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::table::Table;
use super::{load, print, print_json};
use crate::cli::values::positive_number;
use crate::mirror::live::names_of_host;
use crate::policy::{Encapsulation, Policy, PolicyFile, Session, printable};

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Policy file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Estimate the copies at N million bits a second of traffic, in and out together
    #[arg(long, value_name = "N", value_parser = positive_number)]
    rate: Option<f64>,
    /// For the estimate: bytes of a frame on average
    #[arg(long, value_name = "N", default_value_t = 800, value_parser = clap::value_parser!(u32).range(60..=65535), requires = "rate")]
    frame_bytes: u32,
    /// Check that the interfaces that sources name are on this host, too
    #[arg(long)]
    host: bool,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What a session may send at most.
struct Estimate<'p> {
    session: &'p Session,
    /// Million bits a second for all of the traffic, if there were no budget.
    unbounded_mbps: f64,
    /// Copies a second.
    packets: f64,
    /// Million bits a second of whole outer IP packets.
    mbps: f64,
}

/// Runs the command.
pub(crate) fn check(arguments: &CheckArguments) -> anyhow::Result<()> {
    let file = load(&arguments.file, arguments.json)?;
    if arguments.host {
        let present = names_of_host().context("cannot list the interfaces of this host")?;
        let problems = file.missing_interfaces(&present, true);
        if !problems.is_empty() {
            let error = file.error(problems);
            if arguments.json {
                print_json(&json!({ "ok": false, "problems": error.problems() }))?;
            }
            return Err(error.into());
        }
    }
    let estimates: Vec<Estimate<'_>> = match arguments.rate {
        Some(rate) => {
            file.policy.sessions.iter().map(|session| estimate(session, rate, arguments.frame_bytes)).collect()
        }
        None => Vec::new(),
    };
    if arguments.json { print_json(&as_json(&file, &estimates)) } else { print(&as_text(&file, arguments, &estimates)) }
}

/// What a session sends if it takes everything that its sampling lets it, within its budget.
fn estimate(session: &Session, mbps: f64, frame_bytes: u32) -> Estimate<'_> {
    let frame = f64::from(frame_bytes);
    let copied = session.length.map_or(frame, |length| f64::from(length).min(frame));
    // IPv4 and UDP around the tunnel header; GENEVE has our option of 28 bytes behind it.
    let tunnel = match session.encapsulation {
        Encapsulation::Vxlan => 8.0,
        Encapsulation::Geneve => 36.0,
    };
    let bits = (copied + tunnel + 28.0) * 8.0;
    let unbounded = mbps * 1e6 / (frame * 8.0) * session.sample.share();
    let mut packets = unbounded;
    if let Some(most) = session.budget.max_pps {
        packets = packets.min(most as f64);
    }
    if let Some(most) = session.budget.max_mbps {
        packets = packets.min(most * 1e6 / bits);
    }
    let unbounded_mbps = unbounded * bits / 1e6;
    Estimate { session, unbounded_mbps, packets, mbps: packets * bits / 1e6 }
}

/// Million bits a second that all sessions that are on may send together: each packet is mirrored once at most, so the worst is
/// that the traffic is for the sessions that make most of it, each with as much as its budget lets through.
fn most_of_all(policy: &Policy, estimates: &[Estimate<'_>]) -> f64 {
    let mut worst: Vec<&Estimate<'_>> = estimates.iter().filter(|estimate| estimate.session.enabled).collect();
    worst.sort_by(|a, b| b.unbounded_mbps.total_cmp(&a.unbounded_mbps));
    let (mut left, mut sum) = (1.0, 0.0);
    for estimate in worst {
        let share = if estimate.unbounded_mbps > 0.0 { estimate.mbps / estimate.unbounded_mbps } else { 0.0 };
        let share = share.min(left);
        left -= share;
        sum += share * estimate.unbounded_mbps;
    }
    policy.budget.max_mbps.map_or(sum, |most| sum.min(most))
}

fn length(session: &Session) -> String {
    session.length.map_or_else(|| "all".into(), |length| length.to_string())
}

fn names(file: &PolicyFile, session: &Session) -> (String, String, String) {
    let policy = &file.policy;
    let sources: Vec<&str> =
        session.sources.iter().filter_map(|at| policy.sources.get(*at)).map(|source| source.name.as_str()).collect();
    let filter = session.filter.and_then(|at| policy.filters.get(at)).map_or("-", |filter| filter.name.as_str());
    let target = policy.targets.get(session.target).map_or("-", |target| target.name.as_str());
    (sources.join(", "), filter.to_owned(), target.to_owned())
}

fn as_text(file: &PolicyFile, arguments: &CheckArguments, estimates: &[Estimate<'_>]) -> String {
    let policy = &file.policy;
    let rules: usize = policy.filters.iter().map(|filter| filter.inbound.len() + filter.outbound.len()).sum();
    let name = printable(&file.name);
    // Writing to a String cannot fail.
    let mut text = format!(
        "{name}: a policy as {} has it; sessions {}, sources {}, filters {}, rules {rules}, targets {}\n",
        policy.provider,
        policy.sessions.len(),
        policy.sources.len(),
        policy.filters.len(),
        policy.targets.len(),
    );
    for finding in file.lint() {
        let severity = if finding.severity == crate::policy::Severity::Warning { "warning" } else { "note" };
        let _ = writeln!(text, "{severity}: {name}:{}", finding.problem);
    }
    let mut table = Table::new(&["session", ">number", "source", "filter", "target", ">VNI", ">length", "on"]);
    for session in &policy.sessions {
        let (sources, filter, target) = names(file, session);
        let vni = format!("{}{}", session.vni, if session.vni_chosen { "*" } else { "" });
        let on = if session.enabled { "yes" } else { "no" };
        table.row(vec![
            session.name.clone(),
            session.number.to_string(),
            sources,
            filter,
            target,
            vni,
            length(session),
            on.into(),
        ]);
    }
    let _ = write!(text, "\n{}", table.text());
    if policy.sessions.iter().any(|session| session.vni_chosen) {
        text.push_str("* chosen, since the policy leaves it open\n");
    }
    if let Some(rate) = arguments.rate {
        let _ = writeln!(
            text,
            "\ncopies at {rate} Mbit/s in and out, frames of {} bytes, if a session takes all:\n",
            arguments.frame_bytes
        );
        let mut table = Table::new(&["session", ">packets/s", ">Mbit/s", ">of the traffic"]);
        for estimate in estimates {
            table.row(vec![
                estimate.session.name.clone(),
                format!("{:.0}", estimate.packets),
                format!("{:.1}", estimate.mbps),
                format!("{:.1} %", estimate.mbps / rate * 100.0),
            ]);
        }
        text.push_str(&table.text());
        let most = most_of_all(policy, estimates);
        let _ = writeln!(text, "\nEach packet is mirrored once at most: this host sends up to {most:.1} Mbit/s more.");
    }
    text
}

fn as_json(file: &PolicyFile, estimates: &[Estimate<'_>]) -> serde_json::Value {
    let policy = &file.policy;
    let sessions: Vec<serde_json::Value> = policy
        .sessions
        .iter()
        .enumerate()
        .map(|(at, session)| {
            let (_, filter, target) = names(file, session);
            let sources: Vec<&str> = session
                .sources
                .iter()
                .filter_map(|at| policy.sources.get(*at))
                .map(|source| source.name.as_str())
                .collect();
            let mut value = json!({
                "name": session.name,
                "number": session.number,
                "sources": sources,
                "filter": session.filter.map(|_| filter),
                "target": target,
                "vni": session.vni.get(),
                "vni_chosen": session.vni_chosen,
                "length": session.length,
                "enabled": session.enabled,
                "sample": session.sample.share(),
            });
            if let Some(estimate) = estimates.get(at) {
                value["estimate"] = json!({ "packets_per_second": estimate.packets, "mbps": estimate.mbps });
            }
            value
        })
        .collect();
    json!({ "ok": true, "provider": policy.provider, "findings": file.lint(), "sessions": sessions })
}
