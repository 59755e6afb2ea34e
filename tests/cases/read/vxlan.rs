//! VXLAN captures come out as their inner frames, to the byte.

use std::collections::BTreeMap;

use vxtap_tests::capture_file::Record;
use vxtap_tests::captures::{Capture, Captures};
use vxtap_tests::compare::same_in_order;
use vxtap_tests::needs::have_tools;
use vxtap_tests::tshark;

use super::read;

/// What must come out of `capture`: inner frames by interface name, and under `plain` the frames of no tunnel.
fn expected(capture: &Capture) -> BTreeMap<String, Vec<Record>> {
    if capture.name == "tcpdump_vxlan_bigtcp_v4v4" {
        return expected_of_big_tcp(capture);
    }
    let mut inner: BTreeMap<u32, std::vec::IntoIter<Record>> =
        capture.decapsulated().into_iter().map(|(vni, records)| (vni, records.into_iter())).collect();
    let tunnelled = capture.table("tunnel_frames.tsv");
    let mut by_name: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for (number, outer) in capture.records().into_iter().enumerate() {
        let row = tunnelled.iter().find(|row| row["frame"] == (number + 1).to_string());
        let inner = row.map(|row| {
            let vni: u32 = row["vni"].parse().unwrap();
            let frame = inner.get_mut(&vni).and_then(Iterator::next).expect("an inner frame for each row");
            (format!("vni {vni} from {}", row["outer_src"]), frame, row["outer_dport"] == "4789")
        });
        let (name, frame) = match inner {
            Some((name, frame, true)) => (name, frame),
            _ => ("plain".to_owned(), outer),
        };
        by_name.entry(name).or_default().push(frame);
    }
    by_name
}

/// tshark stops at the outer lengths of zero, which mean that the packet is longer than 64 KiB; the manifest tells that
/// behind them is VXLAN. Outer Ethernet, IPv4 without options, UDP and VXLAN are 50 bytes.
fn expected_of_big_tcp(capture: &Capture) -> BTreeMap<String, Vec<Record>> {
    let mut frame = capture.records().remove(0);
    frame.data.drain(..50);
    frame.original_len -= 50;
    BTreeMap::from([("vni 5001 from 10.25.132.11".to_owned(), vec![frame])])
}

#[test]
fn every_vxlan_capture_gives_the_inner_frames_that_tshark_sees_in_it() {
    let Some(captures) = Captures::open() else { return };
    for capture in captures.of(&["vxlan"]) {
        let name = &capture.name;
        let read = read(&capture.path, &[]);
        let mut got: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for record in &read.records {
            got.entry(record.interface.clone()).or_default().push(record.clone());
        }
        let expected = expected(&capture);
        assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "interfaces of {name}");
        for (interface, frames) in &expected {
            let got = &got[interface];
            same_in_order(frames, got).unwrap_or_else(|error| panic!("{name}, {interface}: {error}"));
            for (want, have) in frames.iter().zip(got) {
                assert_eq!((have.original_len, have.time_ns), (want.original_len, want.time_ns), "{name}, {interface}");
            }
        }
        let (ledger, frames) = (&read.summary.ledger, capture.records().len() as u64);
        assert_eq!((ledger.received, ledger.captured, ledger.dropped_total()), (frames, frames, 0), "{name}");
    }
}

#[test]
fn frames_of_one_vni_keep_their_order_across_sources() {
    let Some(captures) = Captures::open() else { return };
    for capture in captures.of(&["vxlan"]) {
        let read = read(&capture.path, &[]);
        for (vni, frames) in capture.decapsulated().iter().filter(|_| capture.decode_as.is_none()) {
            let prefix = format!("vni {vni} from ");
            let of_vni = read.records.iter().filter(|record| record.interface.starts_with(&prefix));
            let got: Vec<Record> = of_vni.cloned().collect();
            same_in_order(frames, &got).unwrap_or_else(|error| panic!("{}, VNI {vni}: {error}", capture.name));
        }
    }
}

#[test]
fn another_vxlan_port_is_decapsulated_when_it_is_configured_and_only_then() {
    let Some(captures) = Captures::open() else { return };
    let capture = captures.named("tcpdump_vxlan_port8472");
    let (_, inner) = capture.decapsulated().remove(0);
    let plain = read(&capture.path, &[]);
    assert!(plain.records.iter().all(|record| record.interface == "plain"));
    let told = read(&capture.path, &["--vxlan-port", "8472"]);
    same_in_order(&inner, &told.records).unwrap();
}

#[test]
fn tshark_reads_every_written_capture_without_a_word_and_sees_vni_and_source() {
    let Some(captures) = Captures::open() else { return };
    if !have_tools(&["tshark"]) {
        return;
    }
    for capture in captures.of(&["vxlan"]) {
        let read = read(&capture.path, &[]);
        let files = vxtap_tests::capture_file::files_in(&read.captures());
        let names: Vec<String> =
            files.iter().flat_map(|file| tshark::fields(file, &["frame.interface_name"]).unwrap()).collect();
        let ours: Vec<&str> = read.records.iter().map(|record| record.interface.as_str()).collect();
        assert_eq!(names, ours, "{}", capture.name);
    }
}
