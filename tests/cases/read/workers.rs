//! What comes out does not depend on how many workers there are.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use vxtap_tests::captures::Captures;
use vxtap_tests::datagram::{Peer, dns_answer, dns_question, fragments, udp_frame};
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;

use super::{LIMIT, read};

/// Conversations between two hosts, each from a port of its own: whoever gets the fragments between the two does not own all of them.
const CONVERSATIONS: u16 = 40;
/// Questions of each, and answers in fragments.
const ROUNDS: u16 = 30;

/// The events of a file by so many workers in an order that does not depend on them, without those that tell of the run.
fn events(file: &Path, workers: &str) -> Vec<String> {
    let directory = TempDir::new().unwrap();
    let mut command = Program::Collector.command();
    // A report of a flow that lasts is made when its worker looks at its timers: which packets are in which is no matter of order.
    command.arg("read").arg(file).args(["--workers", workers, "--active-timeout", "0"]);
    command.arg("--log").arg(directory.path());
    // A file that is cut is an error, and what came before is told.
    run_within(LIMIT, &mut command);
    let text = std::fs::read_to_string(directory.path().join("eve.json")).unwrap_or_default();
    let mut lines: Vec<_> =
        text.lines().filter(|line| !line.contains(r#""event_type":"stats""#)).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_events_of_every_capture_are_the_same_however_many_workers_there_are() {
    let Some(captures) = Captures::open() else { return };
    let classes = ["vxlan", "geneve", "http", "dns", "tls", "quic", "tcp", "l2l3", "mixed", "appproto", "malformed"];
    let mut total = 0;
    for capture in captures.of(&classes) {
        let alone = events(&capture.path, "1");
        total += alone.len();
        for workers in ["2", "3"] {
            assert!(events(&capture.path, workers) == alone, "{} with {workers} workers", capture.name);
        }
    }
    assert!(total > 5000, "{total}");
}

/// Writes a file of DNS questions and of answers in three fragments, those of all conversations among each other, a packet a millisecond.
fn write(path: &Path) -> u64 {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for field in [0xa1b2_c3d4_u32, 2 | 4 << 16, 0, 0, 1 << 18, 1] {
        file.write_all(&field.to_le_bytes()).unwrap();
    }
    let mut written = 0;
    let mut record = |frame: &[u8]| {
        let (length, millis) = (frame.len() as u32, written as u32);
        for field in [1_780_000_000 + millis / 1000, millis % 1000 * 1000, length, length] {
            file.write_all(&field.to_le_bytes()).unwrap();
        }
        file.write_all(frame).unwrap();
        written += 1;
    };
    for round in 0..ROUNDS {
        let ends = |number: u16| (Peer::v4(1, 40_000 + number), Peer::v4(2, 53));
        let name = |number: u16| format!("name-{number}-{round}");
        for number in 0..CONVERSATIONS {
            let (client, server) = ends(number);
            record(&udp_frame(client, server, &dns_question(round, &name(number))));
        }
        let answers: Vec<_> = (0..CONVERSATIONS)
            .map(|number| {
                let (client, server) = ends(number);
                let whole = udp_frame(server, client, &dns_answer(round, &name(number), 10));
                fragments(&whole, 800, round * CONVERSATIONS + number)
            })
            .collect();
        for part in 0..3 {
            for fragments in &answers {
                record(&fragments[part]);
            }
        }
    }
    file.flush().unwrap();
    written
}

#[test]
fn an_answer_in_fragments_is_in_the_flow_of_its_question_whoever_puts_it_together() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("fragments.pcap");
    let written = write(&file);
    let alone = events(&file, "1");
    let of = |kind: &str| -> Vec<Value> {
        let all = alone.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|event| event["event_type"] == kind).collect()
    };
    let answered = of("dns").iter().filter(|event| event["dns"]["response_time_us"].is_u64()).count();
    assert_eq!(answered, usize::from(CONVERSATIONS * ROUNDS));
    let flows = of("flow");
    assert_eq!(flows.len(), usize::from(CONVERSATIONS) + 1, "and one of the other fragments");
    for workers in ["2", "3"] {
        assert_eq!(events(&file, workers), alone, "{workers} workers");
    }
    // Whether readers or owners record, each fragment is received, analysed and captured once, as it came.
    for arguments in [&["--workers", "2"][..], &["--workers", "3", "--capture-one-copy"]] {
        let read = read(&file, arguments);
        let ledger = &read.summary.ledger;
        assert_eq!((ledger.received, ledger.analysed, ledger.captured), (written, written, written), "{arguments:?}");
        assert_eq!(read.records.len() as u64, written);
    }
}
