//! `policy explain`: what would become of packets, and why.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use serde_json::{Value, json};
use vxtap_capfile::CaptureReader;
use vxtap_wire::{FrameView, Network};

use super::tally::{Tally, passed_over};
use super::{load, print, print_json, sample};
use crate::error::SendError;
use crate::policy::{
    Action, Decider, Decision, Direction, Engine, Mirror, Outcome, OwnTraffic, Pass, Policy, PolicyFile, Protocol,
    Source, Step, Trace, printable,
};
use crate::source::EthernetFrames;

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Capture files (pcap, pcapng), or a five-tuple such as 'tcp 10.0.0.1:40000 > 10.0.0.2:80'
    #[arg(required = true, value_name = "PCAP|FIVE-TUPLE")]
    what: Vec<String>,
    /// Policy file
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Which way the packets go, as the source sees it
    #[arg(long, value_enum, required_unless_present = "local")]
    direction: Option<DirectionArgument>,
    /// Packets from these networks go out, all others come in; repeatable
    #[arg(long, value_name = "CIDR", conflicts_with = "direction")]
    local: Vec<IpNet>,
    /// Take packets as those of this source alone; repeatable [default: as those of an interface that is in every source]
    #[arg(long, value_name = "NAME")]
    source: Vec<String>,
    /// A line for each packet of capture files
    #[arg(long)]
    packets: bool,
    /// JSON on standard output: for capture files one object, with an object for each packet if --packets is there
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DirectionArgument {
    In,
    Out,
}

/// Runs the command.
pub(crate) fn explain(arguments: &ExplainArguments) -> anyhow::Result<()> {
    let file = load(&arguments.policy, arguments.json)?;
    let policy = Arc::new(file.policy.clone());
    let engine = Engine::of(&policy, "the source", |source| is_asked(arguments, source))
        .map_err(|clash| SendError::Setting(format!("{clash}, or --source NAME")))?;
    for name in &arguments.source {
        if !policy.sources.iter().any(|source| source.name == *name) {
            let known: Vec<&str> = policy.sources.iter().map(|source| source.name.as_str()).collect();
            let message = format!("the policy has no source '{}' (expected {})", printable(name), known.join(", "));
            return Err(SendError::Setting(message).into());
        }
    }
    let mut run = Run {
        arguments,
        file: &file,
        policy: Arc::clone(&policy),
        decider: Decider::new(Arc::new(engine), Arc::<OwnTraffic>::default()),
    };
    let text = arguments.what.join(" ");
    match sample::frame(&text) {
        Ok(frame) => run.tuple(&frame),
        // A name with a protocol at its beginning would be a strange one.
        Err(message)
            if text.split_whitespace().count() > 1
                && arguments.what.iter().all(|what| !std::path::Path::new(what).exists()) =>
        {
            Err(SendError::Setting(message).into())
        }
        Err(_) => run.captures(),
    }
}

fn is_asked(arguments: &ExplainArguments, source: &Source) -> bool {
    arguments.source.is_empty() || arguments.source.contains(&source.name)
}

struct Run<'a> {
    arguments: &'a ExplainArguments,
    file: &'a PolicyFile,
    policy: Arc<Policy>,
    decider: Decider,
}

impl Run<'_> {
    fn direction(&self, view: &FrameView<'_>) -> Direction {
        match self.arguments.direction {
            Some(DirectionArgument::In) => Direction::Inbound,
            Some(DirectionArgument::Out) => Direction::Outbound,
            None => {
                let source = view.five_tuple.map(|tuple| tuple.source_ip());
                let local = source.is_some_and(|source| self.arguments.local.iter().any(|net| net.contains(&source)));
                if local { Direction::Outbound } else { Direction::Inbound }
            }
        }
    }

    fn tuple(&mut self, frame: &[u8]) -> anyhow::Result<()> {
        let view = FrameView::parse_outermost(frame);
        let direction = self.direction(&view);
        let trace = self.decider.explain(direction, &view, 0);
        if self.arguments.json {
            print_json(&self.trace_json(&trace, &view))
        } else {
            print(&self.trace_text(&trace, &view))
        }
    }

    fn captures(&mut self) -> anyhow::Result<()> {
        let mut tally = Tally::default();
        let mut packets = Vec::new();
        let mut first_second = None;
        for name in &self.arguments.what {
            let mut reader = CaptureReader::open(name).map_err(SendError::Open)?;
            let mut number = 0_u64;
            let mut frames = EthernetFrames::default();
            while let Some(record) = reader.next_record() {
                let record = record.map_err(SendError::Read)?;
                number += 1;
                if !EthernetFrames::has_packets(record.link_type) {
                    let (file, link_type) = (printable(name), record.link_type);
                    return Err(SendError::LinkType { file, link_type }.into());
                }
                // As `replay` does, which skips what is no packet.
                let Some((frame, _)) = frames.frame(&record) else { continue };
                let second = record.time_ns / 1_000_000_000;
                let now = second.saturating_sub(*first_second.get_or_insert(second)) as u32;
                let view = FrameView::parse_outermost(frame);
                let direction = self.direction(&view);
                let trace = self.decider.explain(direction, &view, now);
                tally.add(&trace, record.wire_len, record.data.len());
                if self.arguments.packets {
                    if self.arguments.json {
                        let mut value = self.trace_json(&trace, &view);
                        value["number"] = json!(number);
                        packets.push(value);
                    } else {
                        print(&self.line(number, &trace, &view))?;
                    }
                }
            }
        }
        if self.arguments.json {
            let mut value = tally.json(&self.policy);
            if self.arguments.packets {
                value["each"] = Value::Array(packets);
            }
            return print_json(&value);
        }
        let gap = if self.arguments.packets { "\n" } else { "" };
        print(&format!("{gap}{}{}", self.off(), tally.text(&self.policy)))
    }

    /// A line about sessions that are off, for they explain what is not mirrored.
    fn off(&self) -> String {
        let off: Vec<&str> = self
            .policy
            .sessions
            .iter()
            .filter(|session| !session.enabled)
            .map(|session| session.name.as_str())
            .collect();
        if off.is_empty() { String::new() } else { format!("sessions that are off: {}\n\n", off.join(", ")) }
    }

    fn line(&self, number: u64, trace: &Trace, view: &FrameView<'_>) -> String {
        format!("{number:>6} {:<8} {:<48} {}\n", trace.direction, packet(view), self.verdict(trace))
    }

    /// What becomes of a packet, in a few words.
    fn verdict(&self, trace: &Trace) -> String {
        let name = |session: usize| self.policy.sessions.get(session).map_or("", |session| session.name.as_str());
        match trace.decision {
            Decision::Mirror(Mirror { session, .. }) => format!("mirrored by '{}'", name(session)),
            Decision::Pass(Pass::Never(reason)) => format!("never mirrored: {reason}"),
            Decision::Pass(Pass::Rejected(session)) => format!("rejected by '{}'", name(session)),
            Decision::Pass(Pass::Sampled(session)) => format!("sampled out by '{}'", name(session)),
            Decision::Pass(Pass::Unmatched) => "no session takes it".into(),
        }
    }

    fn trace_text(&self, trace: &Trace, view: &FrameView<'_>) -> String {
        let mut text = format!(
            "{} {}, policy {} ({})\n\n",
            trace.direction,
            packet(view),
            printable(&self.file.name),
            self.policy.provider
        );
        text.push_str(&self.off());
        if let Some(opened) = trace.opened {
            let how = if opened == Direction::Inbound { "from outside" } else { "here" };
            let _ = writeln!(text, "  its flow was opened {how}: {opened} rules are asked");
        }
        if let Some(reason) = trace.never {
            let _ = writeln!(text, "  never mirrored: {reason} (see [never])");
        }
        for step in &trace.steps {
            let Some(session) = self.policy.sessions.get(step.session) else { continue };
            let _ = writeln!(text, "  session {} '{}': {}", session.number, session.name, outcome(step));
            if !step.passed_over.is_empty() {
                let _ = writeln!(text, "    passed over: {}", passed_over(&step.passed_over));
            }
        }
        if trace.steps.is_empty() && trace.never.is_none() {
            text.push_str("  no session that is on has this source\n");
        }
        let _ = writeln!(text, "\n{}{}", self.verdict(trace), self.where_to(trace));
        text
    }

    /// Target, VNI and length of a copy.
    fn where_to(&self, trace: &Trace) -> String {
        let Decision::Mirror(mirror) = trace.decision else { return String::new() };
        let Some(session) = self.policy.sessions.get(mirror.session) else { return String::new() };
        let Some(target) = self.policy.targets.get(session.target) else { return String::new() };
        let Some(member) = target.members.get(target.pick(mirror.flow_hash)) else { return String::new() };
        let port = member.port.unwrap_or(session.encapsulation.port());
        let length =
            if mirror.length == u32::MAX { "whole".to_owned() } else { format!("{} bytes at most", mirror.length) };
        let encapsulation = match session.encapsulation {
            crate::policy::Encapsulation::Vxlan => "VXLAN",
            crate::policy::Encapsulation::Geneve => "GENEVE",
        };
        format!(
            "\n  to '{}' ({} port {port}), {encapsulation} with VNI {}, {length}",
            target.name,
            printable(&member.address),
            session.vni
        )
    }

    fn trace_json(&self, trace: &Trace, view: &FrameView<'_>) -> Value {
        let name = |session: usize| self.policy.sessions.get(session).map(|session| &session.name);
        let mut value = json!({
            "packet": packet(view),
            "direction": trace.direction,
            "steps": trace.steps.iter().map(|step| step_json(step, name(step.session))).collect::<Vec<_>>(),
        });
        if let Some(opened) = trace.opened {
            value["opened"] = json!(opened);
            value["remembered"] = json!(trace.remembered);
        }
        let (decision, session) = match trace.decision {
            Decision::Mirror(mirror) => {
                if mirror.length != u32::MAX {
                    value["length"] = json!(mirror.length);
                }
                ("mirror", Some(mirror.session))
            }
            Decision::Pass(Pass::Never(reason)) => {
                value["never"] = json!(reason);
                ("never", None)
            }
            Decision::Pass(Pass::Rejected(session)) => ("rejected", Some(session)),
            Decision::Pass(Pass::Sampled(session)) => ("sampled-out", Some(session)),
            Decision::Pass(Pass::Unmatched) => ("unmatched", None),
        };
        value["decision"] = json!(decision);
        if let Some(session) = session {
            value["session"] = json!(name(session));
        }
        value
    }
}

fn step_json(step: &Step, session: Option<&String>) -> Value {
    let mut value = json!({ "session": session, "passed_over": step.passed_over });
    let word = match step.outcome {
        Outcome::Rule { number, action, .. } => {
            value["rule"] = json!(number);
            match action {
                Action::Accept => "accept",
                Action::Reject => "reject",
                Action::Next => "next",
            }
        }
        Outcome::NoRule => "no-rule",
        Outcome::NoFilter { takes: true } => "no-filter",
        Outcome::NoFilter { takes: false } => "other-family",
        Outcome::Service => "service",
        Outcome::NotEligible => "not-eligible",
    };
    value["outcome"] = json!(word);
    if step.sampled_out {
        value["sampled_out"] = json!(true);
    }
    value
}

/// What a session says, and what follows from it.
fn outcome(step: &Step) -> String {
    let said = match step.outcome {
        Outcome::Rule { number, action: Action::Accept, .. } => format!("rule {number} accepts"),
        Outcome::Rule { number, action: Action::Reject, .. } => format!("rule {number} rejects"),
        Outcome::Rule { number, action: Action::Next, .. } => format!("rule {number} passes it on"),
        Outcome::NoRule => "no rule matches".into(),
        Outcome::NoFilter { takes: true } => "no filter, so it takes all".into(),
        Outcome::NoFilter { takes: false } => "no filter, but this is not what it mirrors".into(),
        Outcome::Service => "its filter lets this service through".into(),
        Outcome::NotEligible => "its filter does not let this service through".into(),
    };
    let then = match (step.sampled_out, step.ends) {
        (true, _) => ", but its sampling leaves this flow out",
        (false, true) => "; the search ends here",
        (false, false) => "; the next session is asked",
    };
    format!("{said}{then}")
}

/// A packet in a few words.
fn packet(view: &FrameView<'_>) -> String {
    let Some(tuple) = view.five_tuple else {
        return match view.network {
            Network::Arp => "ARP".into(),
            Network::Ipv4 | Network::Ipv6 => "IP, cut off".into(),
            Network::Other => "not IP".into(),
        };
    };
    let protocol = Protocol(tuple.protocol);
    let fragment = if view.fragment.is_some() { ", fragment" } else { "" };
    if protocol.has_ports() && view.fragment.is_none() {
        let ends = tuple.to_string();
        let ends = ends.rsplit_once(" proto ").map_or(ends.as_str(), |(ends, _)| ends);
        format!("{protocol} {ends}")
    } else {
        format!("{protocol} {} > {}{fragment}", tuple.source_ip(), tuple.destination_ip())
    }
}
