//! Captures without a tunnel: frames as they are, flows as tshark counts them.

use vxtap_tests::captures::Captures;
use vxtap_tests::compare::{bytes, same_frames, same_order_per_flow};
use vxtap_tests::conversations::Tally;
use vxtap_tests::exceptions::differences;

use super::read;

#[test]
fn flow_events_of_every_capture_agree_with_tsharks_conversations() {
    let Some(captures) = Captures::open() else { return };
    let classes = ["http", "dns", "tls", "quic", "tcp", "l2l3", "mixed", "appproto"];
    let (mut conversations, mut report) = (0, Vec::new());
    for capture in captures.of(&classes) {
        let name = &capture.name;
        let read = read(&capture.path, &["--workers", "2"]);
        let expected = Tally::of_conversations(&capture.table("conv.tsv"), "-");
        let differences = differences(name, &Tally::of_eve(&read.eve()), &expected);
        report.extend(differences.into_iter().map(|line| format!("{name}: {line}")));
        conversations += expected.len();
    }
    assert!(report.is_empty(), "{}", report.join("\n"));
    assert!(conversations > 2500, "{conversations}");
}

#[test]
fn frames_of_no_tunnel_are_captured_as_they_are() {
    let Some(captures) = Captures::open() else { return };
    let classes = ["http", "dns", "tls", "quic", "tcp", "l2l3", "mixed", "appproto"];
    for capture in captures.of(&classes) {
        let read = read(&capture.path, &["--workers", "2"]);
        let sent = capture.records();
        let judge = || {
            same_frames(bytes(&sent), bytes(&read.records))?;
            same_order_per_flow(bytes(&sent), bytes(&read.records))
        };
        judge().unwrap_or_else(|error| panic!("{}: {error}", capture.name));
        assert!(read.records.iter().all(|record| record.interface.starts_with("plain")), "{}", capture.name);
    }
}
