//! `read` with one worker and with several writes the same.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use vxtap_tests::capture_file::{self, ETHERNET, Record};
use vxtap_tests::captures::Captures;
use vxtap_tests::datagram::{Peer, tcp_frame, udp_frame, vxlan};
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;
use vxtap_tests::summary::{self, CollectorSummary};

use super::shared_machine;

const LIMIT: Duration = Duration::from_mins(1);

/// What is captured depends on what was seen of each flow, which its owner alone knows: nothing is left out.
const BY_OWNERS: [&str; 2] = ["--capture-flow-bytes", "1000GiB"];

/// What `read` with so many workers writes of the file at `path`.
fn read(path: &Path, workers: u32, options: &[&str]) -> Vec<Record> {
    let directory = TempDir::new().unwrap();
    let mut command = Program::Collector.command();
    command.arg("read").arg(path).args(options);
    command.args(["--summary", "-", "--workers", &workers.to_string(), "--write"]);
    let finished = run_within(LIMIT, command.arg(directory.path())).success();
    let summary: CollectorSummary = summary::parse(&finished.stdout);
    summary.check().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let records = capture_file::read_all(directory.path());
    assert_eq!(summary.ledger.captured, records.len() as u64);
    assert_eq!(summary.ledger.capture_dropped, 0, "a file waits for the disk");
    records
}

/// Checks that two workers write of the file at `path` what one writes, and in which order. Gives how many records.
fn check(path: &Path) -> usize {
    let name = path.display();
    let mut one = read(path, 1, &[]);
    assert!(one == read(path, 2, &[]), "two workers write {name} in the order of the file");
    // Through the page cache whoever reads writes, and not a thread of its own.
    let filter = ["--capture-filter", "ip or ip6", "--snaplen", "90", "--capture-direct=false"];
    let cut = read(path, 1, &filter);
    assert!(cut.len() <= one.len() && cut.iter().all(|record| record.data.len() <= 90));
    assert!(cut == read(path, 2, &filter), "two workers choose and cut in {name} as one does");
    let mut owners = read(path, 2, &BY_OWNERS);
    if one.is_sorted_by_key(|record| record.time_ns) {
        assert!(owners.is_sorted_by_key(|record| record.time_ns), "two owners write {name} out of order");
    }
    // Records of the same time have no order that owners know; records of an input without order have none at all.
    let key = |record: &Record| (record.time_ns, record.interface.clone(), record.original_len, record.data.clone());
    one.sort_by_cached_key(key);
    owners.sort_by_cached_key(key);
    assert!(one == owners, "two owners write {name} differently: {} records and {}", one.len(), owners.len());
    one.len()
}

#[test]
fn two_workers_write_of_each_capture_what_one_writes() {
    let _machine = shared_machine();
    let Some(captures) = Captures::open() else { return };
    let records: usize = captures.of(&["vxlan", "mixed"]).iter().map(|capture| check(&capture.path)).sum();
    assert!(records > 1000, "{records}");
}

/// The outer Ethernet frame of a datagram from one of eight source ports.
fn mirrored(number: u32, frame: &[u8]) -> Vec<u8> {
    udp_frame(Peer::v4(1, 50_000 + (number % 8) as u16), Peer::v4(2, 4789), &vxlan(40 + number % 3, frame))
}

#[test]
fn two_workers_write_a_long_file_in_the_order_of_time() {
    let _machine = shared_machine();
    let place = TempDir::new().unwrap();
    let path = place.path().join("generated.pcap");
    let record = |number: u32| {
        let (a, b) = (Peer::v4((number % 211) as u16, 1000), Peer::v4(900, 80));
        let (from, to) = if number.is_multiple_of(2) { (a, b) } else { (b, a) };
        let payload = vec![number as u8; 100 + (number % 13) as usize * 100];
        let frame = if number.is_multiple_of(5) {
            udp_frame(from, to, &payload)
        } else {
            tcp_frame(from, to, number, &payload)
        };
        let data = mirrored(number, &frame);
        // Strictly later than the one before.
        let time_ns = 1_700_000_000_000_000_000 + u64::from(number) * 20_000 + u64::from(number % 7) * 1000;
        Record { interface: String::new(), link_type: ETHERNET, time_ns, original_len: data.len(), data }
    };
    let records: Vec<Record> = (0..40_000).map(record).collect();
    assert!(records.is_sorted_by(|a, b| a.time_ns < b.time_ns));
    capture_file::write(&path, &records);
    assert_eq!(check(&path), records.len());
    let inner = |record: &Record| (record.time_ns, record.data.clone());
    let expected = records.iter().map(|record| (record.time_ns, record.data[14 + 20 + 8 + 8..].to_vec()));
    assert!(read(&path, 3, &[]).iter().map(inner).eq(expected.clone()), "the order of the file");
    assert!(read(&path, 2, &BY_OWNERS).iter().map(inner).eq(expected), "the order of time");
}
