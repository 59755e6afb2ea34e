//! With our GENEVE option, what a path loses is told to the datagram.

use std::collections::HashMap;
use std::time::Instant;

use serde_json::Value;
use vxtap_analyzers::losses::{StreamLoss, WINDOW};
use vxtap_analyzers::snapshot::Snapshot;
use vxtap_tests::capture_file::Record;
use vxtap_tests::collector::get;
use vxtap_tests::deadline::{SOON, pause, wait_until};
use vxtap_tests::lab::{Lab, Outer, Path, Trouble, Troubled, VNI, Watch};
use vxtap_tests::process::Running;
use vxtap_tests::programs::Program;
use vxtap_tests::summary::CollectorSummary;

use super::sender::{Sender, count};
use super::{end_collector, start_collector_on, stop_collector};

/// The directions in the option.
const UNKNOWN: u8 = 0;
const INGRESS: u8 = 1;
const EGRESS: u8 = 2;

/// Two sessions, so that there are two VNIs, each with both directions.
fn policy(target: &str) -> String {
    format!(
        r#"
        [[source]]
        name = "host"
        interfaces = "mir0"
        [[filter]]
        name = "web"
        inbound = [{{ action = "accept", protocol = "tcp", destination_ports = 80 }}]
        outbound = [{{ action = "accept", protocol = "tcp", source_ports = 80 }}]
        [[filter]]
        name = "all"
        inbound = [{{ action = "accept" }}]
        outbound = [{{ action = "accept" }}]
        [[target]]
        name = "collector"
        address = "{target}"
        [[session]]
        name = "web"
        source = "host"
        filter = "web"
        target = "collector"
        vni = 101
        encapsulation = "geneve"
        [[session]]
        name = "rest"
        source = "host"
        filter = "all"
        target = "collector"
        vni = 102
        encapsulation = "geneve"
        "#
    )
}

fn snapshot(lab: &Lab) -> Snapshot {
    let (status, body) = lab.target.inside(|| get("http://127.0.0.1:9789/v1/snapshot"));
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// What should be told of a stream of which `sent` datagrams were sent.
fn expected(sent: u64, troubled: Troubled) -> StreamLoss {
    StreamLoss { received: sent - troubled.lost, lost: troubled.lost, duplicated: troubled.repeated }
}

/// Waits until the collector has all that the path gave, and tells of each stream what is expected.
fn wait_for_losses(lab: &Lab, expected: &HashMap<String, StreamLoss>) {
    let told = |snapshot: Snapshot| -> HashMap<String, StreamLoss> {
        snapshot.streams.into_iter().filter_map(|stream| Some((stream.name, stream.loss?))).collect()
    };
    let mut last = HashMap::new();
    let came =
        |losses: &HashMap<String, StreamLoss>| losses.values().map(|loss| loss.received + loss.duplicated).sum::<u64>();
    wait_until(SOON, "what the path gave at the collector", || {
        last = told(snapshot(lab));
        came(&last) >= came(expected)
    });
    // What is missing counts as lost when it may no longer be on its way.
    let told_by = Instant::now() + SOON;
    while &last != expected && Instant::now() < told_by {
        pause();
        last = told(snapshot(lab));
    }
    assert_eq!(&last, expected);
}

/// The same in the summary, and that nothing else was lost.
fn check_summary(summary: &CollectorSummary, expected: &HashMap<String, StreamLoss>) {
    assert_eq!((summary.ledger.kernel_dropped, summary.ledger.dropped_total()), (0, 0));
    let told: HashMap<String, StreamLoss> = (summary.losses.iter())
        .map(|told| {
            let loss = StreamLoss { received: told.received, lost: told.lost, duplicated: told.duplicated };
            (told.stream.clone(), loss)
        })
        .collect();
    assert_eq!(&told, expected);
    assert_eq!(summary.lost, Some(expected.values().map(|loss| loss.lost).sum()));
}

/// How many datagrams of these outer frames came behind a later one of their series.
fn overtaken(outer: Outer, records: &[Record]) -> usize {
    // The option's data, behind the headers of GENEVE and of the option.
    let option = outer.header_len() + 4;
    let mut latest: HashMap<u32, u64> = HashMap::new();
    let is_late = |record: &&Record| {
        let data = &record.data[option..];
        let sequence = u64::from_be_bytes(data[8..16].try_into().unwrap());
        let latest = latest.entry(u32::from_be_bytes(data[16..20].try_into().unwrap())).or_default();
        *latest = sequence.max(*latest);
        sequence < *latest
    };
    records.iter().filter(is_late).count()
}

/// What the sender has handed to the kernel, by session and direction.
fn mirrored(sent: &Value, session: &str, direction: &str) -> u64 {
    let sessions = sent["sessions"].as_array().unwrap();
    let session = sessions.iter().find(|told| told["session"] == session).unwrap();
    count(&session[direction]["mirrored"], "packets")
}

fn live_losses_are_told_for_each_stream(outer: Outer) {
    const STREAMS: [(&str, &str, Trouble); 4] = [
        ("web", "inbound", Trouble { vni: 101, direction: INGRESS, lose: 50, repeat: 10, delay: 50 }),
        ("web", "outbound", Trouble { vni: 101, direction: EGRESS, lose: 5, repeat: 5, delay: 5 }),
        ("rest", "inbound", Trouble { vni: 102, direction: INGRESS, lose: 40, repeat: 10, delay: 30 }),
        ("rest", "outbound", Trouble { vni: 102, direction: EGRESS, lose: 25, repeat: 0, delay: 30 }),
    ];
    let Some(lab) = Lab::open(outer) else { return };
    let path = lab.lengthen();
    let collector = start_collector_on(&lab, "geneve", 6081);
    let witness = Watch::start(&lab.target, "col0", "udp dst port 6081", &lab.directory().join("target.pcap"));
    // One source port: there is one series for each stream, and its last datagram is of what comes when all is well again.
    let sender = Sender::start_with(&lab, &policy(outer.target()), &["--source-ports", "1"]);
    path.trouble(&STREAMS.map(|(_, _, trouble)| trouble));
    lab.talk();
    path.heal();
    lab.between_marks(|| {
        lab.client.run("curl -sS --fail -o /dev/null http://10.77.0.1/small");
    });
    let sent = sender.stop();
    let mut expected_losses = HashMap::new();
    for (number, (session, direction, trouble)) in STREAMS.iter().enumerate() {
        let troubled = path.troubled(number);
        assert!(troubled.lost > 5 && troubled.delayed > 0, "{session}, {direction}: no trouble: {troubled:?}");
        let way = if trouble.direction == INGRESS { "ingress" } else { "egress" };
        let name = format!("geneve vni {} from {} {way}", trouble.vni, outer.source());
        let mirrored = mirrored(&sent, session, direction);
        assert!(
            mirrored < WINDOW,
            "a copy that is delayed may come behind all {mirrored} others, and must be known for one"
        );
        expected_losses.insert(name, expected(mirrored, troubled));
    }
    wait_for_losses(&lab, &expected_losses);
    check_summary(&stop_collector(&lab, collector), &expected_losses);
    let late = overtaken(outer, &witness.finish());
    assert!(late > 20, "only {late} datagrams were overtaken");
}

#[test]
fn what_a_path_loses_of_a_live_mirror_over_ipv4_is_told_to_the_packet_for_each_stream() {
    live_losses_are_told_for_each_stream(Outer::V4);
}

#[test]
fn what_a_path_loses_of_a_live_mirror_over_ipv6_is_told_to_the_packet_for_each_stream() {
    live_losses_are_told_for_each_stream(Outer::V6);
}

/// Waits until the path has lost `least` datagrams, heals it, and sees that the sender has not ended yet.
fn heal_after(path: &Path, least: u64, sender: &mut Running) -> Troubled {
    wait_until(SOON, "the path to lose datagrams", || path.troubled(0).lost >= least);
    path.heal();
    assert!(!sender.has_ended(), "the last datagrams of each series must come");
    path.troubled(0)
}

#[test]
fn what_a_path_loses_of_generated_traffic_is_told_to_the_packet_over_several_source_ports() {
    let Some(lab) = Lab::open(Outer::V6) else { return };
    let path = lab.lengthen();
    let collector = start_collector_on(&lab, "geneve", 6081);
    path.trouble(&[Trouble { vni: VNI, direction: UNKNOWN, lose: 15, repeat: 3, delay: 5 }]);
    let mut command = lab.host.command(Program::Sender.path());
    command.args(["generate", "--to", lab.outer.target(), "--vni", &VNI.to_string(), "--encapsulation", "geneve"]);
    command.args(["--packets", "12000", "--pps", "3000", "--source-ports", "4", "--summary", "-"]);
    let mut sender = Running::start(&mut command);
    let troubled = heal_after(&path, 500, &mut sender);
    let finished = sender.finish_within(SOON).success();
    let sent: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((count(&sent, "sent"), troubled.repeated > 10), (12_000, true), "{troubled:?}");
    let name = format!("geneve vni {VNI} from {}", lab.outer.source());
    let expected_losses = HashMap::from([(name, expected(12_000, troubled))]);
    wait_for_losses(&lab, &expected_losses);
    check_summary(&end_collector(&lab, collector), &expected_losses);
}
