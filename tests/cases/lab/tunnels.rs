//! The way to the target goes through another tunnel, and what carries that tunnel is captured as well. A sender that takes the tunnel's
//! packets for traffic mirrors its own copies, and their copies, without end.
//!
//! ```text
//!   host                                          target
//!   sender ─▶ tun0 10.79.0.1 (kernel or VPN)      tun0 10.79.0.2 ─▶ collector
//!               `─▶ und0 10.78.0.1 (captured) ──── col0 10.78.0.2
//! ```

use serde_json::Value;
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::lab::{Lab, Namespace, Outer};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::{Running, Signal, run_within};
use vxtap_tests::programs::Program;
use vxtap_tests::summary::CollectorSummary;

use super::end_collector;
use super::sender::{Sender, count};

/// Pings from the client, each with an answer: what there is to mirror.
const PINGS: u64 = 20;
/// What hosts say of their own accord meanwhile on both links: ARP and neighbour messages, a few of each.
const OF_THEIR_OWN: u64 = 40;
const TARGET: &str = "10.79.0.2";
const CAPTURED: [&str; 2] = ["mir0", "und0"];

/// Both ends of the lab's underlay, each with its own and the other's address there and its address in the tunnel.
fn ends(lab: &Lab) -> [(&Namespace, &'static str, &'static str, &'static str); 2] {
    [(&lab.host, "10.78.0.1", "10.78.0.2", "10.79.0.1/24"), (&lab.target, "10.78.0.2", "10.78.0.1", "10.79.0.2/24")]
}

/// Gives both ends a tunnel of the kernel's; `false` where the kernel has none of that kind.
fn build_overlay(lab: &Lab, kind: &str) -> bool {
    for (namespace, local, remote, address) in ends(lab) {
        let options = match kind {
            "vxlan" => format!("id 7 local {local} remote {remote} dstport 8472"),
            "geneve" => format!("id 7 remote {remote}"),
            _ => format!("local {local} remote {remote}"),
        };
        let line = format!("link add tun0 mtu 8000 type {kind} {options}");
        let added = run_within(SOON, namespace.command("ip").args(line.split_whitespace()));
        if !added.status.success() {
            assert!(
                added.stderr.contains("Unknown device type") || added.stderr.contains("not supported"),
                "{}",
                added.stderr
            );
            return false;
        }
        namespace.ip("link set tun0 up");
        namespace.address("tun0", &[address]);
    }
    true
}

/// A VPN, which is a program at each end.
fn build_vpn(lab: &Lab) -> [Running; 2] {
    ends(lab).map(|(namespace, local, remote, address)| {
        let mut command = namespace.command("socat");
        command.args(["-b", "65536", &format!("UDP4-DATAGRAM:{remote}:5555,bind={local}:5555")]);
        command.arg(format!("TUN:{address},tun-name=tun0,iff-no-pi,up"));
        let process = Running::start(&mut command);
        wait_until(SOON, "the VPN's device", || {
            let shown = run_within(SOON, namespace.command("ip").args(["-o", "address", "show", "dev", "tun0"]));
            shown.stdout.contains(address)
        });
        namespace.ip("link set tun0 mtu 8000");
        process
    })
}

/// A collector at the far end of the tunnel.
fn start_collector(lab: &Lab) -> Running {
    let mut command = lab.target.command(Program::Collector.path());
    command.args(["run", "--drain", "0s", "--listen", &format!("vxlan://{TARGET}:4789"), "--summary"]);
    command.arg(lab.directory().join("summary.json"));
    let mut collector = Running::start(&mut command);
    collector.wait_for_line(SOON, "where its API is", |line| line.contains("api on").then_some(()));
    collector
}

fn ping(lab: &Lab) {
    lab.client.run(&format!("ping -q -c {PINGS} -i 0.05 10.77.0.1"));
}

/// Pings while `sender` mirrors: what it and the collector have counted. As many copies were made as there was to mirror.
fn mirror_pings(lab: &Lab, collector: Running, sender: Sender) -> (Value, CollectorSummary) {
    ping(lab);
    let sent = sender.stop();
    let summary = end_collector(lab, collector);
    let copies = count(&sent, "sent");
    assert!((2 * PINGS..=2 * PINGS + OF_THEIR_OWN).contains(&copies), "{copies} copies of {PINGS} pings: {sent}");
    (sent, summary)
}

/// How many packets of the tunnel were recognised, of those that carried the copies that were sent: nearly all, but for the last,
/// which cross the interface when the capture ends.
fn recognised(sent: &Value) -> u64 {
    let recognised = sent["skipped"]["own_mirror"].as_u64().unwrap_or(0);
    assert!(recognised <= count(sent, "sent"), "{sent}");
    recognised
}

#[test]
fn copies_that_an_overlay_of_the_kernel_carries_are_not_mirrored_again() {
    for kind in ["vxlan", "geneve", "gre", "gretap", "ipip"] {
        let Some(lab) = Lab::open(Outer::V4) else { return };
        if !build_overlay(&lab, kind) {
            assert_ne!(kind, "vxlan", "the lab itself takes it");
            println!("not tried: this kernel has no {kind}");
            continue;
        }
        let collector = start_collector(&lab);
        let sender = Sender::start(&lab, &CAPTURED, TARGET, &[]);
        let (sent, summary) = mirror_pings(&lab, collector, sender);
        assert_eq!(count(&sent, "sent"), summary.ledger.received, "{kind}");
        assert!(recognised(&sent) >= PINGS, "{kind}: {sent}");
    }
}

#[test]
fn the_same_copies_are_counted_by_direction_where_a_policy_decides() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    assert!(build_overlay(&lab, "vxlan"));
    let policy = format!(
        r#"
        [[source]]
        name = "host"
        interfaces = ["mir0", "und0"]
        [[target]]
        name = "collector"
        address = "{TARGET}"
        [[session]]
        name = "all"
        source = "host"
        target = "collector"
        vni = 9
        length = 60
        "#
    );
    let collector = start_collector(&lab);
    let sender = Sender::start_with(&lab, &policy, &["und0"]);
    let (sent, summary) = mirror_pings(&lab, collector, sender);
    assert_eq!(count(&sent, "sent"), summary.ledger.received);
    let of_outbound = sent["passed"]["outbound"]["reasons"]["own_mirror"].as_u64();
    assert!(recognised(&sent) >= PINGS && of_outbound == Some(recognised(&sent)), "{sent}");
}

#[test]
fn a_vpn_on_the_way_is_refused_with_what_to_do_until_somebody_has_told_of_it() {
    if !have_tools(&["socat"]) {
        return;
    }
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let _vpn = build_vpn(&lab);
    let mut command = lab.host.command(Program::Sender.path());
    command.arg("capture").args(CAPTURED).args(["--to", TARGET, "--vni", "1"]);
    let refused = run_within(SOON, &mut command);
    assert_eq!(refused.code(), 2, "{}", refused.stderr);
    for words in [
        "copies to 10.79.0.2:4789 go through tun0 (tun)",
        "where its packets cross mir0, und0",
        "--tunnel tun0=ADDRESS",
        "--tunnel tun0=none",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }

    // What goes to the far end is not captured, whatever it is.
    let collector = start_collector(&lab);
    let sender = Sender::start(&lab, &CAPTURED, TARGET, &["--tunnel", "tun0=10.78.0.2"]);
    let (sent, summary) = mirror_pings(&lab, collector, sender);
    assert_eq!((count(&sent, "sent"), recognised(&sent)), (summary.ledger.received, 0));

    // This one encrypts nothing, so copies are recognised in it.
    let collector = start_collector(&lab);
    let sender = Sender::start(&lab, &CAPTURED, TARGET, &["--tunnel", "tun0=none"]);
    let (sent, summary) = mirror_pings(&lab, collector, sender);
    assert_eq!(count(&sent, "sent"), summary.ledger.received);
    assert!(recognised(&sent) >= PINGS, "{sent}");
}

#[test]
fn copies_stop_when_a_vpn_comes_up_on_the_way_and_go_on_when_it_is_gone() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    lab.target.ip("address add 10.79.0.2/32 dev lo");
    lab.host.ip("route add 10.79.0.2 via 10.78.0.2 metric 50");
    let collector = start_collector(&lab);
    let mut sender = Sender::start(&lab, &CAPTURED, TARGET, &[]);
    ping(&lab);
    lab.host.ip("tuntap add tun0 mode tun");
    lab.host.ip("link set tun0 up");
    lab.host.ip("route add 10.79.0.2 dev tun0");
    let told = "no copies go to 10.79.0.2:4789 until this is mended: copies to 10.79.0.2:4789 go through tun0 (tun)";
    sender.process.wait_for_line(SOON, "that it stops", |line| line.contains(told).then_some(()));
    ping(&lab);
    lab.host.ip("link delete tun0");
    let told = "copies go to 10.79.0.2:4789 again";
    sender.process.wait_for_line(SOON, "that it goes on", |line| line.contains(told).then_some(()));
    ping(&lab);
    sender.process.signal(Signal::TERM);
    let finished = sender.process.finish_within(SOON).success();
    let sent: Value = serde_json::from_str(&finished.stdout).unwrap();
    end_collector(&lab, collector);
    assert!(sent["skipped"]["no_target"].as_u64() >= Some(2 * PINGS), "{sent}");
    assert!(count(&sent, "sent") >= 4 * PINGS, "{sent}");
    assert_eq!(recognised(&sent), 0);
}
