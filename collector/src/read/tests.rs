use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use vxtap_analyzers::Ledger;
use vxtap_analyzers::protocols::{EventKind, EventKinds};
use vxtap_capfile::Chunk;

use super::*;
use crate::said::said_during;
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
    let reader = FileReader::new(Vec::new(), 2, Arc::default());
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

/// How many files in `directory` this process has open.
fn open_files(directory: &std::path::Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    open.filter(|path| path.starts_with(directory)).count()
}

#[test]
fn of_many_files_one_is_open_at_a_time_and_one_that_is_gone_in_its_turn_is_told_and_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..100).map(|number| directory.path().join(format!("{number}.pcap"))).collect();
    for (port, file) in (10_000..).zip(&files) {
        fs::write(file, capture(&[(port, 0), (port, 1)])).unwrap();
    }
    let waiting = files.iter().map(|file| Waiting::look_into(file).unwrap()).collect();
    let reader = FileReader::new(waiting, 1, Arc::default());
    assert_eq!(open_files(directory.path()), 0);
    for gone in [7, 8, 99] {
        fs::remove_file(&files[gone]).unwrap();
    }
    let (mut ledger, mut records) = (Ledger::default(), 0);
    while let Some(Numbered { taker, chunk, .. }) = reader.next(0, &mut ledger) {
        records += chunk.records().len();
        assert!(open_files(directory.path()) <= 1);
        reader.give_back(taker, chunk);
    }
    // Each counts as one packet.
    assert_eq!((records, ledger.received), (97 * 2, 3));
    assert_eq!(open_files(directory.path()), 0);
    let told = reader.damage().unwrap().to_string();
    assert!(told.contains("7.pcap': No such file"), "{told}");
}

#[test]
fn files_of_every_kind_are_read_one_after_the_other_by_any_number_of_workers() {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..30).map(|number| directory.path().join(number.to_string())).collect();
    for (number, file) in (0_u16..).zip(&files) {
        let packets: Vec<_> = (0..100).map(|second| (10_000 + number, second)).collect();
        let packed = match number % 3 {
            0 => capture(&packets),
            1 => zstd::encode_all(&capture(&packets)[..], 1).unwrap(),
            _ => capture(&[]),
        };
        fs::write(file, packed).unwrap();
    }
    for workers in 1..4 {
        let pipeline = PipelineSettings { workers, ..PipelineSettings::default() };
        let encapsulation = ReadEncapsulation::Auto;
        let settings = ReadSettings { files: files.clone(), encapsulation, ports: vec![], pipeline, summary: None };
        let summary = read(&settings).unwrap();
        assert_eq!((summary.ledger.received, summary.ledger.flows), (2_000, 20), "{workers} workers");
    }
}

#[test]
fn where_a_file_is_cut_its_packets_are_told_of_as_well_as_the_damage() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cut.pcap");
    let whole = capture(&[(1, 0), (2, 0), (3, 0)]);
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let (encapsulation, pipeline) = (ReadEncapsulation::Auto, PipelineSettings { workers: 1, ..Default::default() });
    let settings = ReadSettings { files: vec![file], encapsulation, ports: vec![], pipeline, summary: None };
    let (result, text) = said_during(|| read(&settings));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("cut.pcap' cannot be read beyond record 3 "), "{error}");
    assert!(text.contains("received 3 = analysed 2 + dropped 1;"), "{text}");
    assert!(text.contains("dropped 1: file_damaged"), "{text}");
}

/// A VXLAN datagram to `vni` from `10.0.9.source` with the frame of `capture` in it, and that frame.
fn mirrored(vni: u32, source: u8, frame: &[u8]) -> Vec<u8> {
    let length = frame.len() as u16;
    let mut datagram = [0; 12].to_vec();
    datagram.extend([8, 0, 0x45, 0]);
    datagram.extend((20 + 8 + 8 + length).to_be_bytes());
    datagram.extend([0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 9, source, 10, 0, 9, 250]);
    datagram.extend([0xc0, 0, 0x12, 0xb5]);
    datagram.extend((8 + 8 + length).to_be_bytes());
    datagram.extend([0, 0, 8, 0, 0, 0]);
    datagram.extend((vni << 8).to_be_bytes());
    datagram.extend(frame);
    datagram
}

/// Records of a classic file, a second apart.
fn classic(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = capture(&[]);
    for (second, frame) in (1_700_000_000..).zip(frames) {
        let length = frame.len() as u32;
        file.extend([second, 0, length, length].into_iter().flat_map(u32::to_le_bytes));
        file.extend(frame);
    }
    file
}

/// The flows that a `read` of `file` tells of, each with its tunnel, and how many mirror streams.
fn flows_and_streams(file: &std::path::Path, workers: u32, write: Option<PathBuf>) -> (Vec<String>, u64) {
    let log = tempfile::tempdir().unwrap();
    let events = EventKinds::NONE.with(EventKind::Flow);
    let pipeline = PipelineSettings {
        workers,
        log: Some(LogSettings { events, ..LogSettings::new(log.path().to_owned()) }),
        capture: write.map(CaptureSettings::new),
        ..PipelineSettings::default()
    };
    let ports = vec![(4789, vxtap_wire::envelope::Kind::Vxlan)];
    let (files, encapsulation) = (vec![file.to_owned()], ReadEncapsulation::Auto);
    let summary = read(&ReadSettings { files, encapsulation, ports, pipeline, summary: None }).unwrap();
    let text = fs::read_to_string(log.path().join("eve.json")).unwrap();
    let mut flows: Vec<_> = text
        .lines()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            event.as_object_mut().unwrap().remove("worker");
            event.to_string()
        })
        .collect();
    flows.sort_unstable();
    (flows, summary.streams)
}

#[test]
fn a_capture_that_a_collector_wrote_gives_the_flows_of_each_network_that_the_datagrams_gave() {
    let directory = tempfile::tempdir().unwrap();
    let mirrors = directory.path().join("mirrors.pcap");
    let frame = capture(&[(12_345, 0)])[24 + 16..].to_vec();
    // The same addresses in two networks, one of them from two sources; and a tunnel that the mirrored host used itself.
    let own = mirrored(99, 1, &frame);
    let datagrams = [(7, 1, &frame), (8, 1, &frame), (8, 2, &frame), (7, 1, &own)];
    let datagrams = datagrams.map(|(vni, source, frame)| mirrored(vni, source, frame));
    fs::write(&mirrors, classic(&[&datagrams[..], &[frame]].concat())).unwrap();
    let captures = directory.path().join("captures");
    let told = flows_and_streams(&mirrors, 1, Some(captures.clone()));
    // That tunnel is looked through: its frame is of the flow outside.
    assert_eq!((told.0.len(), told.1), (3, 4), "{:?}", told.0);
    let of_vni = |vni: u32| told.0.iter().filter(|flow| flow.contains(&format!(r#""vni":{vni}}}"#))).count();
    assert_eq!([of_vni(7), of_vni(8), of_vni(99)], [1, 1, 0], "{:?}", told.0);
    let files = fs::read_dir(&captures).unwrap().map(|entry| entry.unwrap().path());
    let file = files.filter(|path| path.extension().is_some_and(|end| end == "pcapng")).min().unwrap();
    for workers in 1..4 {
        assert_eq!(flows_and_streams(&file, workers, None), told, "{workers} workers");
    }
}
