use std::fs::{self, OpenOptions};
use std::time::Duration;

use serde_json::Value;
use vxtap_analyzers::protocols::{EventKind, EventKinds};

use super::*;
use crate::settings::{LogSettings, ReadEncapsulation};

/// A classic pcap file of one UDP packet.
fn capture() -> Vec<u8> {
    let mut frame = [0; 12].to_vec();
    frame.extend([8, 0]);
    frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 53, 0, 8, 0, 0]);
    let length = (frame.len() as u32).to_le_bytes();
    let words = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1, 1_700_000_000, 0];
    let mut file: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    file.extend(length.into_iter().chain(length));
    file.extend(frame);
    file
}

fn settings(files: Vec<std::path::PathBuf>, pipeline: PipelineSettings) -> ReadSettings {
    let ports = vec![(4789, vxtap_wire::envelope::Kind::Vxlan)];
    ReadSettings { files, encapsulation: ReadEncapsulation::Auto, ports, pipeline, summary: None }
}

/// Events in the log of a `read` of that file, and its summary.
fn read_with(events: EventKinds) -> (Vec<Value>, Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("one.pcap");
    fs::write(&file, capture()).unwrap();
    let log = LogSettings {
        events,
        stats_interval: Some(Duration::from_nanos(1)),
        ..LogSettings::new(directory.path().join("log"))
    };
    let pipeline = PipelineSettings { workers: 2, log: Some(log), ..PipelineSettings::default() };
    let settings = settings(vec![file], pipeline);
    let summary = read(&settings).unwrap();
    let text = fs::read_to_string(directory.path().join("log/eve.json")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (events.collect(), serde_json::to_value(summary).unwrap())
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
fn files_are_read_to_their_ends_one_after_the_other_by_one_worker_as_by_several_and_beside_a_writer() {
    let directory = tempfile::tempdir().unwrap();
    let packet = &capture()[24..];
    let files: Vec<_> = [1, 40_000, 0, 7]
        .into_iter()
        .map(|packets| {
            let file = directory.path().join(format!("{packets}.pcap"));
            fs::write(&file, [&capture()[..24], &packet.repeat(packets)].concat()).unwrap();
            file
        })
        .collect();
    let received = |workers| {
        let summary = read(&settings(files.clone(), PipelineSettings { workers, ..PipelineSettings::default() }));
        summary.unwrap().ledger.received
    };
    assert_eq!((received(1), received(2)), (40_008, 40_008));
    // The last file is not mapped, then it ends within a packet, and then the second one does.
    let last = OpenOptions::new().append(true).open(&files[3]).unwrap();
    assert_eq!(received(1), 40_008);
    last.set_len(24 + 3 * packet.len() as u64 + 1).unwrap();
    drop(last);
    let failure = || read(&settings(files.clone(), PipelineSettings::default())).unwrap_err().to_string();
    let said = failure();
    assert!(said.contains("7.pcap") && said.contains("record 4"), "{said}");
    let second = OpenOptions::new().append(true).open(&files[1]).unwrap();
    second.set_len(24 + 39_000 * packet.len() as u64 + 5).unwrap();
    drop(second);
    let said = failure();
    assert!(said.contains("40000.pcap") && said.contains("record 39001"), "{said}");
}
