//! What a mirror does to the two directions of a connection puts questions and answers out of step with each other nowhere: it takes
//! them from different queues, so that an answer is seen before its question, and loses packets of either.

use serde_json::Value;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::captures::Captures;
use vxtap_wire::{FiveTuple, FrameView, Transport};

use super::links::in_ethernet;
use super::read;

/// Protocols whose answers have no name by which to find the question, and some that begin with a greeting or a handshake.
const CAPTURES: [&str; 8] = [
    "arkime_http2_nghttp2",
    "zeek_mysql_queries",
    "zeek_postgres_ddl_dml",
    "zeek_redis_bulk",
    "zeek_smtp",
    "zeek_ssh_curve25519",
    "zeek_tls12",
    "zeek_tls13_wolfssl",
];

/// The five-tuple of a TCP segment.
fn tcp(record: &Record) -> Option<FiveTuple> {
    let view = FrameView::parse(&record.data);
    view.five_tuple.filter(|_| matches!(view.transport, Transport::Tcp(_)))
}

/// `records` where of each two neighbours that are of one connection and of different directions, from the record `first` on, the later one
/// comes first; and how many pairs that are.
fn overtaken(records: &[Record], first: usize) -> (Vec<Record>, usize) {
    let mut arrived = records.to_vec();
    let (mut at, mut pairs) = (first, 0);
    while let Some([earlier, later]) = arrived.get_mut(at..at + 2) {
        let meet = tcp(earlier).zip(tcp(later)).is_some_and(|(one, other)| {
            let there = (one.source, one.source_port) == (other.destination, other.destination_port);
            there && (one.destination, one.destination_port) == (other.source, other.source_port)
        });
        if meet {
            std::mem::swap(&mut earlier.data, &mut later.data);
            std::mem::swap(&mut earlier.original_len, &mut later.original_len);
            pairs += 1;
        }
        at += 1 + usize::from(meet);
    }
    (arrived, pairs)
}

/// What events say, but for times and `other` members, in no order.
fn said(events: &[Value], other: &str) -> Vec<String> {
    let mut said: Vec<String> = events
        .iter()
        .filter_map(|event| {
            let kind = event["event_type"].as_str().expect("every event has a type");
            match kind {
                "stats" => None,
                "flow" => Some(format!("flow {}", event["app_proto"])),
                _ => {
                    let mut of_kind = event[kind].clone();
                    if let Value::Object(members) = &mut of_kind {
                        members.retain(|name, _| !name.contains("time") && name != other);
                    }
                    Some(format!("{kind} {of_kind}"))
                }
            }
        })
        .collect();
    said.sort();
    said
}

#[test]
fn answers_that_overtake_their_questions_change_nothing_of_what_is_told() {
    let Some(captures) = Captures::open() else { return };
    let directory = tempfile::TempDir::new().unwrap();
    for name in CAPTURES {
        let capture = captures.named(name);
        let records = in_ethernet(&capture, directory.path()).records();
        let whole = said(&read(&capture.path, &[]).events, "");
        assert!(whole.len() > 1, "{name} tells nothing");
        for first in [0, 1] {
            let (arrived, pairs) = overtaken(&records, first);
            assert!(pairs > 4, "{name} has {pairs} pairs");
            let path = directory.path().join(format!("{name}-{first}.pcap"));
            capture_file::write(&path, &arrived);
            let got = said(&read(&path, &[]).events, "");
            assert_eq!(got, whole, "{name} from {first}, {pairs} pairs");
        }
    }
}

/// How many of `whole` are not in `got`.
fn lacking(whole: &[String], got: &[String]) -> usize {
    let mut left: Vec<&String> = got.iter().collect();
    let is_lacking = |said: &&String| {
        let found = left.iter().position(|it| it == said);
        found.map(|at| left.swap_remove(at)).is_none()
    };
    whole.iter().filter(is_lacking).count()
}

#[test]
fn a_lost_packet_costs_what_it_is_of_and_no_other_question_its_answer() {
    let Some(captures) = Captures::open() else { return };
    let directory = tempfile::TempDir::new().unwrap();
    for name in ["zeek_mysql_queries", "zeek_postgres_ddl_dml"] {
        let capture = captures.named(name);
        let records = capture.records();
        let whole = said(&read(&capture.path, &[]).events, "tx_id");
        for lost in 0..records.len() {
            let mut arrived = records.clone();
            arrived.remove(lost);
            let path = directory.path().join("lossy.pcap");
            capture_file::write(&path, &arrived);
            let got = said(&read(&path, &[]).events, "tx_id");
            // A login is told in up to three parts, and a packet may have the end of one answer and an error.
            let lacking = lacking(&whole, &got);
            assert!(
                lacking <= 2,
                "{name} without packet {}: {lacking} of {} are not told: {got:#?}",
                lost + 1,
                whole.len()
            );
        }
    }
}
