use std::fs;
use std::time::Duration;

use serde_json::Value;
use vxtap_analyzers::protocols::{EventKind, EventKinds};
use vxtap_capfile::Chunk;

use super::*;
use crate::settings::{LogSettings, ReadEncapsulation};

/// A classic pcap file of UDP packets, each from a port at a second.
fn capture(packets: &[(u16, u32)]) -> Vec<u8> {
    let mut file: Vec<u8> =
        [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].into_iter().flat_map(u32::to_le_bytes).collect();
    for (port, second) in packets {
        let mut frame = [0; 12].to_vec();
        frame.extend([8, 0]);
        frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(port.to_be_bytes());
        frame.extend([0, 53, 0, 8, 0, 0]);
        let length = frame.len() as u32;
        file.extend([1_700_000_000 + second, 0, length, length].into_iter().flat_map(u32::to_le_bytes));
        file.extend(frame);
    }
    file
}

/// Events in the log of a `read` of a file of one packet by two workers, and its summary.
fn read_with(events: EventKinds) -> (Vec<Value>, Value) {
    read_by(2, &[(12345, 0)], events)
}

/// The same of `packets`, by so many workers.
fn read_by(workers: u32, packets: &[(u16, u32)], events: EventKinds) -> (Vec<Value>, Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("one.pcap");
    fs::write(&file, capture(packets)).unwrap();
    let log = LogSettings {
        events,
        stats_interval: Some(Duration::from_nanos(1)),
        ..LogSettings::new(directory.path().join("log"))
    };
    let pipeline = PipelineSettings { workers, log: Some(log), ..PipelineSettings::default() };
    let settings = ReadSettings {
        files: vec![file],
        encapsulation: ReadEncapsulation::Auto,
        ports: vec![(4789, vxtap_wire::envelope::Kind::Vxlan)],
        pipeline,
        summary: None,
    };
    let summary = read(&settings).unwrap();
    let text = fs::read_to_string(directory.path().join("log/eve.json")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (events.collect(), serde_json::to_value(summary).unwrap())
}

#[test]
fn nobody_reads_far_ahead_of_a_worker_that_has_all_frames_and_whoever_waits_is_woken() {
    let reader = FileReader::new(Vec::new(), 2);
    let mut exchanges = Exchange::connect(2);
    let (mut slow, mut quick) = (exchanges.remove(1), exchanges.remove(0));
    let mut chunks = 0;
    while quick.may_read() {
        assert!(chunks < 100, "it reads on");
        let numbered = Numbered { number: chunks, taker: 0, chunk: Chunk::default() };
        quick.send(numbered, Shares::new(2, 0, &reader));
        let share = quick.next_in_order().unwrap();
        quick.done(share, &reader);
        chunks += 1;
    }
    assert!(chunks > 0);
    let (sender, woken) = crossbeam_channel::bounded(1);
    let waiting = std::thread::spawn(move || {
        while !quick.may_read() {
            quick.wait();
        }
        sender.send(()).unwrap();
    });
    assert!(woken.is_empty());
    let share = slow.next_in_order().unwrap();
    slow.done(share, &reader);
    woken.recv_timeout(Duration::from_secs(20)).expect("there is room again, and nobody says so");
    waiting.join().unwrap();
}

#[test]
fn the_log_of_a_read_ends_with_one_stats_event_that_has_the_ledger_of_the_summary() {
    let (events, summary) = read_with(EventKinds::ALL);
    let types: Vec<&str> = events.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["flow", "stats"]);
    let stats = &events[1]["stats"];
    assert_eq!((&stats["collector"]["received"], &stats["collector"]["flows"]), (&1.into(), &1.into()));
    assert_eq!(stats["workers"], summary["workers"]);
    assert_eq!(summary["log"]["events"], 2);
}

#[test]
fn a_log_has_the_kinds_of_events_that_were_asked_for() {
    for kind in [EventKind::Flow, EventKind::Stats] {
        let (events, _) = read_with(EventKinds::NONE.with(kind));
        let types: Vec<&str> = events.iter().map(|event| event["event_type"].as_str().unwrap()).collect();
        assert_eq!(types, [kind.as_str()]);
    }
    assert!(read_with(EventKinds::NONE).0.is_empty());
}

#[test]
fn a_flow_that_was_silent_for_long_at_the_end_ends_for_that_whoever_had_the_last_packet() {
    let packets: Vec<_> = (0..20).map(|port| (40_000 + port, 0)).chain([(40_000, 100)]).collect();
    for workers in 1..4 {
        let (events, _) = read_by(workers, &packets, EventKinds::NONE.with(EventKind::Flow));
        let mut reasons: Vec<&str> = events.iter().map(|event| event["flow"]["reason"].as_str().unwrap()).collect();
        reasons.sort_unstable();
        assert_eq!(reasons, [vec!["shutdown"], vec!["timeout"; 20]].concat(), "{workers} workers");
    }
}
