//! Who is let in: mirror streams that wait, are accepted, are rejected, and are remembered.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;
use vxtap_analyzers::snapshot::AdmissionSnapshot;
use vxtap_tests::capture_file;
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;

use super::shared_machine;

fn settings(state: &Path) -> Settings {
    let settings = Settings::new(2).write().log().arg("--accept").arg("vni 1").arg("--reject").arg("vni 3");
    settings.arg("--name").arg("web=vni 2").arg("--state").arg(state)
}

/// Sends a hundred frames of several flows under each VNI; gives how many datagrams that were.
fn send(collector: &Collector, vnis: &[u32]) -> u64 {
    for vni in vnis {
        let mut mirror = Mirror::new(collector.address(), *vni, 4);
        for number in 0..100_u16 {
            mirror.send(number.into(), &tcp_frame(Peer::v4(number % 10, 1000), Peer::v4(99, 80), 1, b"hello"));
        }
    }
    100 * vnis.len() as u64
}

fn admission(collector: &Collector) -> AdmissionSnapshot {
    collector.get_json("/v1/admission")
}

/// Name, whether it is rejected, and frames of each stream that is not let in.
fn turned_away(collector: &Collector) -> Vec<(String, bool, u64)> {
    let mut streams: Vec<_> =
        admission(collector).turned_away.into_iter().map(|row| (row.name, row.rejected, row.frames)).collect();
    streams.sort();
    streams
}

#[test]
fn a_stream_waits_until_it_is_accepted_and_is_known_after_a_restart() {
    let _machine = shared_machine();
    let state = TempDir::new().unwrap();
    let collector = settings(state.path()).start();
    let sent = send(&collector, &[1, 2, 3]);
    collector.wait_received(sent);
    let (waits, rejected) = ("vni 2 (web) from 127.0.0.1".to_owned(), "vni 3 from 127.0.0.1".to_owned());
    wait_until(SOON, "the streams to be listed", || {
        turned_away(&collector) == [(waits.clone(), false, 100), (rejected.clone(), true, 100)]
    });
    let snapshot = collector.snapshot();
    assert_eq!((snapshot.ledger.analysed, snapshot.streams_total, snapshot.flows_active), (100, 1, 10));
    let (_, metrics) = collector.get("/metrics");
    assert!(metrics.contains("vxtap_collector_streams_turned_away{state=\"waiting\"} 1\n"), "{metrics}");

    let selector = admission(&collector).turned_away.iter().find(|row| row.name == waits).unwrap().selector.clone();
    let (status, body) = collector.post("/v1/admission/accept", &json!({ "stream": selector }));
    assert_eq!((status, body.as_str()), (200, r#"{"choice":"accept","stream":"vxlan vni 2 from 127.0.0.1"}"#));
    let (status, body) = collector.post("/v1/admission/accept", &json!({"stream": "vxlan vni 3 from 127.0.0.1"}));
    assert_eq!(status, 409, "{body}");
    let sent = sent + send(&collector, &[2, 3]);
    collector.wait_received(sent);
    wait_until(SOON, "the accepted stream", || collector.snapshot().ledger.analysed == 200);
    wait_until(SOON, "one stream to be left", || turned_away(&collector) == [(rejected.clone(), true, 200)]);
    let stopped = collector.stop();
    let dropped = [("not_admitted".to_owned(), 100), ("rejected".to_owned(), 200)];
    assert_eq!(stopped.summary.ledger.dropped, dropped.into());
    let names = capture_file::read_all(&stopped.captures()).into_iter().map(|record| record.interface);
    let (mut web, mut others) = (0, 0);
    names.for_each(|name| if name == waits { web += 1 } else { others += 1 });
    assert_eq!((web, others), (100, 100));
    assert!(!stopped.eve().contains("\"vni\":3"), "nothing is kept of what is rejected");
    assert!(stopped.eve().contains(r#""vni":2,"src_ip":"127.0.0.1","vni_name":"web""#));

    // The next run knows, and so does one over a file.
    let collector = settings(state.path()).start();
    let sent = send(&collector, &[2]);
    collector.wait_received(sent);
    wait_until(SOON, "the stream that was accepted before", || collector.snapshot().ledger.analysed == 100);
    // Taken back, it waits again, in this run and in the next.
    let body = json!({ "stream": selector });
    assert_eq!(collector.post("/v1/admission/forget", &body).0, 200);
    assert_eq!(collector.post("/v1/admission/forget", &body).0, 404);
    let sent = sent + send(&collector, &[2]);
    collector.wait_received(sent);
    wait_until(SOON, "the stream to wait again", || turned_away(&collector) == [(waits.clone(), false, 100)]);
    let kept = fs::read_to_string(state.path().join("admission.txt")).unwrap();
    assert!(kept.lines().all(|line| line == "end" || line.starts_with('#')), "{kept}");
    let stopped = collector.stop();
    assert!(stopped.finished.stderr.contains("1 decisions in"), "{}", stopped.finished.stderr);
}

#[test]
fn a_damaged_file_of_decisions_is_refused_with_its_line_and_left_as_it_is() {
    let state = TempDir::new().unwrap();
    let file = state.path().join("admission.txt");
    let text = "accept vni 7\nallow vni 8\nend\n";
    fs::write(&file, text).unwrap();
    for command in ["run", "read"] {
        let mut program = Program::Collector.command();
        program.arg(command).arg("--state").arg(state.path());
        match command {
            "run" => program.args(["--api", "none", "--listen", "127.0.0.1:0"]),
            _ => program.arg("/dev/null"),
        };
        let finished = run_within(SOON, &mut program);
        let told = format!("{}:2: expected 'accept', 'reject' or 'end'", file.display());
        if command == "run" {
            assert_eq!(finished.code(), 2, "{}", finished.stderr);
            assert!(finished.stderr.contains(&told), "{}", finished.stderr);
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn a_run_says_at_its_start_who_is_let_in() {
    let _machine = shared_machine();
    let stopped = Settings::new(1).start().stop();
    assert!(stopped.finished.stderr.contains("every mirror stream is let in"), "{}", stopped.finished.stderr);
    let stopped = Settings::new(1).arg("--accept").arg("none").start().stop();
    assert!(stopped.finished.stderr.contains("wait to be accepted"), "{}", stopped.finished.stderr);
}
