//! Files that are broken, by accident or on purpose.

use std::fs;

use tempfile::TempDir;
use vxtap_tests::capture_file;
use vxtap_tests::captures::Captures;
use vxtap_tests::datagram::{Peer, udp_frame};
use vxtap_tests::process::Finished;
use vxtap_tests::summary::{self, CollectorSummary};

use super::start;

/// Far above what reading needs, far below what a file could make a careless reader take.
const MEMORY: u64 = 300 << 20;

/// Checks that `read` came through `what` well and gives its summary: exit 0; or 1, a line of error and a summary of what
/// came before the damage; or 2, a line of error and nothing else.
fn survived(what: &str, finished: &Finished) -> Option<CollectorSummary> {
    assert!(!finished.panicked(), "{what}: {}", finished.stderr);
    assert!(finished.peak_memory < MEMORY, "{what} took {} bytes", finished.peak_memory);
    let errors = finished.stderr.lines().filter(|line| line.starts_with("error: ")).count();
    let code = finished.code();
    assert!(matches!(code, 0..=2), "{what}: exit code {code}");
    assert_eq!(errors, usize::from(code != 0), "{what}: {}", finished.stderr);
    assert_eq!(finished.stdout.is_empty(), code == 2, "{what}: exit code {code}, {:?}", finished.stdout);
    if code == 2 {
        return None;
    }
    let summary: CollectorSummary = summary::parse(&finished.stdout);
    summary.check().unwrap_or_else(|error| panic!("{what}: {error}"));
    Some(summary)
}

#[test]
fn every_malformed_file_is_read_to_its_end_or_refused_in_one_line() {
    let Some(captures) = Captures::open() else { return };
    for capture in captures.of(&["malformed"]) {
        let directory = TempDir::new().unwrap();
        let finished = start(&capture.path, directory.path(), &[]);
        let summary = survived(&capture.name, &finished);
        if finished.code() != 0 {
            let file = capture.path.file_name().unwrap().to_str().unwrap();
            assert!(finished.stderr.contains(file), "{}: which file? {}", capture.name, finished.stderr);
        }
        if let Ok(eve) = fs::read_to_string(directory.path().join("log/eve.json")) {
            for line in eve.lines() {
                let is_event = serde_json::from_str::<serde_json::Value>(line).is_ok_and(|event| event.is_object());
                assert!(is_event && !line.contains(char::is_control), "{}: {line:?}", capture.name);
            }
        }
        if let Some(summary) = summary.filter(|_| capture.link_type == "ether") {
            let frames = capture.records().len() as u64;
            let ledger = &summary.ledger;
            assert_eq!((ledger.received, ledger.analysed), (frames, frames), "{}", capture.name);
        }
    }
}

#[test]
fn a_file_that_no_tool_reads_is_refused_and_leaves_nothing() {
    let Some(captures) = Captures::open() else { return };
    let capture = captures.named("pcapfile_infinite_loop");
    let directory = TempDir::new().unwrap();
    let finished = start(&capture.path, directory.path(), &[]);
    survived(&capture.name, &finished);
    assert_eq!(finished.code(), 2);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_capture_cut_anywhere_gives_its_whole_records_and_an_error_unless_cut_between_two() {
    let Some(captures) = Captures::open() else { return };
    let capture = captures.named("zeek_vxlan_http");
    let (bytes, whole) = (fs::read(&capture.path).unwrap(), capture.decapsulated().remove(0).1);
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("cut.pcap");
    // Every place in the file header and the first record, then a few in each later record.
    for length in (0..130).chain((130..bytes.len()).step_by(331)) {
        fs::write(&file, &bytes[..length]).unwrap();
        let records = capture_file::parse(&bytes[..length]).map_or(0, |parsed| parsed.records.len());
        let directory = TempDir::new().unwrap();
        let finished = start(&file, directory.path(), &["--workers", "1"]);
        let summary = survived(&format!("cut at {length}"), &finished);
        let captured = summary.as_ref().map_or(0, |summary| summary.ledger.captured);
        assert_eq!(captured, records as u64, "cut at {length}");
        if let Some(summary) = &summary {
            let damaged = summary.ledger.dropped.get("file_damaged").copied().unwrap_or(0);
            assert_eq!(damaged, u64::from(finished.code() == 1), "cut at {length}");
            let got = capture_file::read_all(&directory.path().join("captures"));
            vxtap_tests::compare::same_in_order(&whole[..records], &got).unwrap();
        }
        let between = capture_file::parse(&bytes[..length]).is_ok_and(|parsed| parsed.tail == 0);
        // Without a whole file header it is no capture file.
        let code = if length < 24 { 2 } else { i32::from(!between) };
        assert_eq!(finished.code(), code, "cut at {length}: {}", finished.stderr);
    }
}

/// A pcapng block (draft-ietf-opsawg-pcapng, section 3.1).
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

#[test]
fn frames_of_a_link_type_that_is_not_looked_into_are_counted_and_those_of_others_in_the_file_are_taken() {
    let frame = udp_frame(Peer::v4(1, 1), Peer::v4(2, 2), b"sixteen bytes ..");
    let mut file = block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    // Ethernet, and LINKTYPE_USER0.
    for link_type in [1_u16, 147] {
        file.extend(block(1, &[&link_type.to_le_bytes()[..], &[0; 6]].concat()));
    }
    for interface in [0_u32, 1, 1, 0, 1] {
        let length = frame.len() as u32;
        let words = [interface, 0, 1_000_000, length, length].map(u32::to_le_bytes).concat();
        let padding = vec![0; frame.len().wrapping_neg() % 4];
        file.extend(block(6, &[&words[..], &frame, &padding].concat()));
    }
    let scratch = TempDir::new().unwrap();
    let path = scratch.path().join("two links.pcapng");
    fs::write(&path, file).unwrap();
    let read = super::read(&path, &[]);
    let ledger = &read.summary.ledger;
    assert_eq!((ledger.received, ledger.captured), (5, 2));
    assert_eq!(ledger.dropped, [("link_type".to_owned(), 3)].into());
    assert!(read.records.iter().all(|record| record.data == frame));
}
