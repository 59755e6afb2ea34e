//! Flows are found again in what a collector has captured, and while it captures.

use std::path::Path;

use tempfile::TempDir;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame, udp_frame};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::{Finished, run_within};
use vxtap_tests::programs::Program;
use vxtap_tests::tshark;

use super::shared_machine;

const ROUNDS: u32 = 60;
const FLOWS: u16 = 12;

/// A collector that writes files of 200 frames.
fn capturing() -> Collector {
    Settings::new(2).write().arg("--rotate-frames").arg("200").start()
}

/// TCP from hosts 0, 2, 4 … and UDP from 1, 3, 5 …, both ways, of all flows in turn.
fn send(collector: &Collector, rounds: std::ops::Range<u32>) {
    let mut mirror = Mirror::new(collector.address(), 77, 4);
    for round in rounds {
        for flow in 0..FLOWS {
            let (a, b) = (Peer::v4(flow, 4000 + flow), Peer::v4(1000, 443));
            for (way, (from, to)) in [(a, b), (b, a)].into_iter().enumerate() {
                let text = format!("round {round} of flow {flow} way {way}");
                let frame = match flow % 2 {
                    0 => tcp_frame(from, to, round, text.as_bytes()),
                    _ => udp_frame(from, to, text.as_bytes()),
                };
                mirror.send(flow.into(), &frame);
            }
        }
    }
}

fn wait_captured(collector: &Collector, frames: u64) {
    collector.wait_received(frames);
    wait_until(SOON, &format!("{frames} captured frames"), || collector.snapshot().ledger.captured == frames);
}

/// The Community ID of the flow of host `flow`.
fn community_id(collector: &Collector, flow: u16) -> String {
    let page = collector.flows();
    let address = Peer::v4(flow, 0).address;
    let has = |flow: &vxtap_analyzers::snapshot::FlowSnapshot| {
        let flow = serde_json::to_value(flow).unwrap();
        [&flow["originator"], &flow["responder"]].iter().any(|end| end.to_string().contains(&format!("{address}")))
    };
    let found: Vec<String> = page.flows.iter().filter(|flow| has(flow)).map(|flow| flow.community_id.clone()).collect();
    assert_eq!(found.len(), 1, "{address} in {:?}", page.flows);
    found.into_iter().next().unwrap()
}

/// [`extract`], which must succeed.
fn extracted(captures: &Path, arguments: &[&str], output: &Path) {
    let finished = extract(captures, arguments, output).success();
    assert!(!finished.panicked(), "{}", finished.stderr);
}

fn extract(captures: &Path, arguments: &[&str], output: &Path) -> Finished {
    let mut command = Program::Collector.command();
    command.arg("extract").arg(captures).args(arguments).arg("-o").arg(output);
    run_within(SOON, &mut command)
}

/// Time and bytes of each, in an order that does not depend on files.
fn sorted(records: impl IntoIterator<Item = Record>) -> Vec<(u64, Vec<u8>)> {
    let mut records: Vec<_> = records.into_iter().map(|record| (record.time_ns, record.data)).collect();
    records.sort();
    records
}

fn in_order(records: &[Record]) -> bool {
    records.is_sorted_by_key(|record| record.time_ns)
}

fn encoded(id: &str) -> String {
    id.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

fn from_api(collector: &Collector, query: &str) -> Vec<Record> {
    let url = format!("{}/v1/extract?{query}", collector.api());
    let mut response = ureq::get(&url).call().unwrap();
    let bytes = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    let parsed = capture_file::parse(&bytes).unwrap();
    assert_eq!(parsed.tail, 0);
    parsed.records
}

#[test]
fn a_flow_is_found_in_rotated_files_by_id_and_by_filter_on_the_command_line_and_over_http() {
    let _machine = shared_machine();
    let collector = capturing();
    send(&collector, 0..ROUNDS);
    let frames = u64::from(ROUNDS) * u64::from(FLOWS) * 2;
    wait_captured(&collector, frames);
    let id = community_id(&collector, 4);
    let over_http = from_api(&collector, &format!("flow={}", encoded(&id)));
    let filtered_over_http = from_api(&collector, "filter=udp+and+host+10.1.0.5");
    let stopped = collector.stop();

    let all = capture_file::read_all(&stopped.captures());
    assert!(capture_file::files_in(&stopped.captures()).len() >= 5);
    let of = |flow: &str| {
        let mark = format!(" of flow {flow} way ");
        sorted(all.iter().filter(|record| record.contains(mark.as_bytes())).cloned())
    };
    let directory = TempDir::new().unwrap();
    let output = directory.path().join("flow.pcapng");
    let finished = extract(&stopped.captures(), &["--flow", &id], &output).success();
    assert!(finished.stderr.contains(&format!("{} records of ", ROUNDS * 2)), "{}", finished.stderr);
    let found = capture_file::read(&output);
    assert!(in_order(&found));
    assert!(found.iter().all(|record| record.interface.starts_with("vni 77 from 127.0.0.1")));
    assert_eq!(sorted(found), of("4"));
    assert_eq!(sorted(over_http), of("4"));

    let filtered = directory.path().join("filtered.pcapng");
    extracted(&stopped.captures(), &["--filter", "udp and host 10.1.0.5"], &filtered);
    assert_eq!(sorted(capture_file::read(&filtered)), of("5"));
    assert_eq!(sorted(filtered_over_http), of("5"));

    // To standard output the same, and a second time only by force.
    let mut command = Program::Collector.command();
    command.arg("extract").arg(stopped.captures()).args(["--flow", &id, "-o", "-"]);
    let piped = command.output().unwrap();
    assert_eq!(piped.stdout, std::fs::read(&output).unwrap());
    assert_eq!(extract(&stopped.captures(), &["--flow", &id], &output).code(), 2);
    extracted(&stopped.captures(), &["--filter", "arp", "--force"], &output);
    assert_eq!(capture_file::read(&output), []);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);

    if have_tools(&["tshark"]) {
        let count = |file: &std::path::PathBuf| tshark::count(file, "udp && ip.addr == 10.1.0.5").unwrap();
        let by_hand: usize = capture_file::files_in(&stopped.captures()).iter().map(count).sum();
        assert_eq!(by_hand, ROUNDS as usize * 2);
        assert_eq!(tshark::count(&filtered, "udp && ip.addr == 10.1.0.5").unwrap(), ROUNDS as usize * 2);
    }
}

#[test]
fn a_time_cuts_what_is_found() {
    let _machine = shared_machine();
    let collector = capturing();
    send(&collector, 0..20);
    wait_captured(&collector, 20 * u64::from(FLOWS) * 2);
    let stopped = collector.stop();
    let all = sorted(capture_file::read_all(&stopped.captures()));
    let (since, until) = (all[all.len() / 3].0, all[all.len() / 2].0);
    let seconds = |ns: u64| format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let directory = TempDir::new().unwrap();
    let output = directory.path().join("cut.pcapng");
    let arguments = ["--since", &seconds(since), "--until", &seconds(until)];
    extracted(&stopped.captures(), &arguments, &output);
    let expected: Vec<_> = all.iter().filter(|(time, _)| (since..until).contains(time)).cloned().collect();
    assert!(!expected.is_empty());
    assert_eq!(sorted(capture_file::read(&output)), expected);
    let recent = directory.path().join("recent.pcapng");
    extracted(&stopped.captures(), &["--since", "-10m"], &recent);
    assert_eq!(sorted(capture_file::read(&recent)), all);
}

#[test]
fn a_flow_is_found_while_the_collector_still_writes() {
    let _machine = shared_machine();
    let collector = capturing();
    send(&collector, 0..30);
    let each_round = u64::from(FLOWS) * 2;
    wait_captured(&collector, 30 * each_round);
    let id = community_id(&collector, 2);
    let directory = TempDir::new().unwrap();
    let mut mirror = Mirror::new(collector.address(), 77, 1);
    for number in 1..=10_u32 {
        // Between two looks there is more, some of it in the file that is open.
        mirror.send(0, &tcp_frame(Peer::v4(2, 4002), Peer::v4(1000, 443), 30 + number, b"one more of flow 2"));
        wait_captured(&collector, 30 * each_round + u64::from(number));
        let output = directory.path().join(format!("{number}.pcapng"));
        let expected = 60 + number as usize;
        // What is counted as captured is in the file within the time of a flush.
        wait_until(SOON, &format!("{expected} records"), || {
            extracted(&collector.captures(), &["--flow", &id, "--force"], &output);
            capture_file::read(&output).len() == expected
        });
        assert_eq!(from_api(&collector, &format!("flow={}", encoded(&id))), capture_file::read(&output));
    }
    collector.stop();
}

#[test]
fn a_collector_without_captures_says_so() {
    let _machine = shared_machine();
    let collector = Settings::new(1).start();
    let (status, body) = collector.get("/v1/extract?filter=tcp");
    assert_eq!(status, 409, "{body}");
    assert!(body.contains("--write DIR"), "{body}");
    assert_eq!(collector.get("/v1/extract").0, 400);
    collector.stop();
}
