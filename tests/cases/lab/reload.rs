//! A policy that is replaced under load: every packet is decided about by one policy as a whole, and none is lost in between.
//!
//! Two policies take turns. Both mirror packets from source port 50,000, each also those from a port of its own, and each cuts and
//! sends in its own way. Which of them was in force for a packet is known from the packets of the common port around it.

use std::collections::HashMap;
use std::process::Command;

use serde_json::Value;
use vxtap_analyzers::snapshot::Snapshot;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::collector::get;
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::lab::{Lab, Outer, Watch, between_marks};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::{Running, Signal};
use vxtap_tests::programs::Program;

use super::sender::{Sender, count};
use super::{end_collector, start_collector};

/// Source port of packets that both policies mirror; the next two are of one policy each.
const COMMON: u16 = 50_000;
/// Where the load goes: nobody is there.
const PORT: u16 = 5555;
/// The first so many bytes of a packet of the load are like no other's.
const UNIQUE: usize = 150;
const RELOADS: usize = 8;

/// One of the two policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    A,
    B,
}

impl Policy {
    const BOTH: [Self; 2] = [Self::A, Self::B];

    const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    const fn vni(self) -> u32 {
        match self {
            Self::A => 101,
            Self::B => 102,
        }
    }

    const fn length(self) -> usize {
        match self {
            Self::A => 160,
            Self::B => 260,
        }
    }

    const fn own_port(self) -> u16 {
        match self {
            Self::A => COMMON + 1,
            Self::B => COMMON + 2,
        }
    }

    fn text(self, target: &str) -> String {
        let (name, vni, length, own) = (self.name(), self.vni(), self.length(), self.own_port());
        format!(
            r#"
            [[source]]
            name = "host"
            interfaces = "mir0"
            [[filter]]
            name = "load"
            [[filter.inbound]]
            action = "accept"
            protocol = "udp"
            source_ports = [{COMMON}, {own}]
            destination_ports = {PORT}
            [[target]]
            name = "collector"
            address = "{target}"
            [[session]]
            name = "{name}"
            source = "host"
            filter = "load"
            target = "collector"
            vni = {vni}
            length = {length}
            "#
        )
    }
}

/// The load's source port of a frame that is of the load.
fn port_of(frame: &[u8]) -> Option<u16> {
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (frame.len() > UNIQUE && frame[12..14] == [8, 0] && frame[23] == 17 && port(36) == PORT).then(|| port(34))
}

/// Which policy has mirrored each of these packets, which are in the order in which they crossed the interface.
fn decided(packets: &[&[u8]], captured: &[Record]) -> Vec<Option<Policy>> {
    let mut mirrored: HashMap<&[u8], Policy> = HashMap::new();
    for record in captured {
        let policy = Policy::BOTH.into_iter().find(|policy| {
            let name = format!("vni {} from {}", policy.vni(), Outer::V4.source());
            record.interface == name
        });
        let policy = policy.unwrap_or_else(|| panic!("by neither policy: {}", record.interface));
        assert_eq!(record.data.len(), policy.length(), "cut as the other policy has it");
        assert_eq!(mirrored.insert(&record.data[..UNIQUE], policy), None, "a packet was mirrored twice");
    }
    let decided: Vec<_> = packets.iter().map(|packet| mirrored.remove(&packet[..UNIQUE])).collect();
    assert!(mirrored.is_empty(), "{} packets came from nowhere", mirrored.len());
    decided
}

/// Checks that one policy after the other was in force, each for all packets, and gives how often they changed.
fn changes(packets: &[&[u8]], decided: &[Option<Policy>]) -> usize {
    let mut in_force: Option<Policy> = None;
    let mut changes = 0;
    // Packets of the policies' own ports since the last packet of the common one.
    let mut between: Vec<usize> = Vec::new();
    for (number, packet) in packets.iter().enumerate() {
        if port_of(packet) != Some(COMMON) {
            between.push(number);
            continue;
        }
        let now = decided[number].unwrap_or_else(|| panic!("packet {number}, which both policies mirror, is missing"));
        for number in between.drain(..) {
            let own = port_of(packets[number]);
            let its =
                Policy::BOTH.into_iter().find(|policy| own == Some(policy.own_port())).expect("three source ports");
            // Where the policy changed, either of the two decided.
            let by_before = in_force.is_none_or(|before| decided[number] == (before == its).then_some(its));
            let by_now = decided[number] == (now == its).then_some(its);
            assert!(
                by_now || (in_force != Some(now) && by_before),
                "packet {number} of {its:?}: {:?}, with {in_force:?} before and {now:?} behind it",
                decided[number]
            );
        }
        changes += usize::from(in_force.is_some_and(|before| before != now));
        in_force = Some(now);
    }
    changes
}

#[test]
fn policies_that_take_turns_under_load_decide_about_every_packet_as_a_whole_and_lose_none() {
    if !have_tools(&["nft", "taskset"]) {
        return;
    }
    let Some(lab) = Lab::open(Outer::V4) else { return };
    // No answers that nobody listens.
    lab.host.run("nft add table ip vxtap");
    lab.host.run("nft add chain ip vxtap load { type filter hook prerouting priority raw; }");
    lab.host.run(&format!("nft add rule ip vxtap load udp dport {PORT} drop"));
    let collector = start_collector(&lab);
    let witness = Watch::start(&lab.host, "mir0", "", &lab.directory().join("host.pcap"));
    let control = "127.0.0.1:9790";
    let sender = Sender::start_with(&lab, &Policy::A.text(lab.outer.target()), &["--control", control]);
    lab.between_marks(|| {
        let mut load = load(&lab);
        // On a busy machine the load takes its time to begin; what the first policy never decided about could not change.
        wait_until(SOON, "the first policy to mirror", || mirrored_by(&lab, control, Policy::A) > 100);
        for reload in 1..=RELOADS {
            let policy = Policy::BOTH[reload % 2];
            let file = lab.directory().join("policy.toml");
            std::fs::write(file.with_extension("new"), policy.text(lab.outer.target())).unwrap();
            std::fs::rename(file.with_extension("new"), &file).unwrap();
            let before = mirrored_by(&lab, control, policy);
            sender.process.signal(Signal::HUP);
            // The next one comes only when this one has decided about packets, and the kernel with it: while another policy is on its way
            // into force, the kernel lets all of them through.
            wait_until(SOON, "the policy to mirror", || mirrored_by(&lab, control, policy) > before + 2000);
        }
        assert!(!load.has_ended(), "the load must last for all reloads");
        load.signal(Signal::TERM);
        assert!(!load.finish_within(SOON).success().panicked());
    });
    let there = witness.finish();
    let sent = sender.stop();
    wait_until(SOON, "what was sent at the collector", || received(&lab) >= count(&sent, "sent"));
    let summary = end_collector(&lab, collector);
    assert_eq!((summary.ledger.received, summary.ledger.dropped_total()), (count(&sent, "sent"), 0));

    let captured = capture_file::read_all(&lab.directory().join("captures"));
    let packets: Vec<&[u8]> =
        between_marks(&there).iter().map(|record| &record.data[..]).filter(|frame| port_of(frame).is_some()).collect();
    let decided = decided(&packets, &captured);
    assert_eq!(changes(&packets, &decided), RELOADS);
    // Not all of them came so far that a policy could decide: the kernel refuses what the policy in force does not want.
    let refused = packets.len() as u64 - count(&sent["capture"], "frames");
    assert!(refused > packets.len() as u64 / 12, "the kernel has refused only {refused} of {}", packets.len());
}

/// UDP from three source ports, from one CPU, so that two who watch see it in one order.
fn load(lab: &Lab) -> Running {
    let mut command: Command = lab.client.command("taskset");
    command.args(["-c", "0"]).arg(Program::Sender.path());
    command.args(["generate", "--to", &format!("10.77.0.1:{PORT}"), "--vni", "1", "--size", "300", "--ipv6", "0"]);
    command.args(["--source-ports", "3", "--source-port-base", &COMMON.to_string(), "--pps", "3000"]);
    Running::start(&mut command)
}

/// How many packets the sender has mirrored by `policy`.
fn mirrored_by(lab: &Lab, control: &str, policy: Policy) -> u64 {
    let (status, body) = lab.host.inside(|| get(&format!("http://{control}/v1/sessions")));
    assert_eq!(status, 200, "{body}");
    let told: Value = serde_json::from_str(&body).unwrap();
    let of = |list: &str, key: &str| {
        let sessions = told[list].as_array().expect("a list");
        sessions.iter().find(|session| session[key] == policy.name()).cloned()
    };
    // In force, or counted from when it was.
    let session = of("sessions", "name").or_else(|| of("gone", "session"));
    session.as_ref().map_or(0, |session| count(&session["inbound"]["mirrored"], "packets"))
}

fn received(lab: &Lab) -> u64 {
    let (status, body) = lab.target.inside(|| get("http://127.0.0.1:9789/v1/snapshot"));
    assert_eq!(status, 200, "{body}");
    let snapshot: Snapshot = serde_json::from_str(&body).unwrap();
    snapshot.ledger.received
}
