use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use vxtap_analyzers::protocols::{EventKind, EventKinds};

use super::*;
use crate::said::said_during;
use crate::settings::{HealthSettings, LogSettings, PipelineSettings, ReceiveSettings};

const DEADLINE: Duration = Duration::from_secs(20);

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A collector on a free port, with a log and nothing else.
fn settings(log: LogSettings) -> RunSettings {
    RunSettings {
        listen: vec![Listener::vxlan("127.0.0.1:0".parse().unwrap())],
        receive: ReceiveSettings { buffer_bytes: 1 << 16, ..ReceiveSettings::default() },
        pipeline: PipelineSettings { workers: 2, steer_seed: Some(7), log: Some(log), ..PipelineSettings::default() },
        api: None,
        follow: None,
        health: HealthSettings::default(),
        drain: Duration::ZERO,
        summary: None,
        tui: false,
    }
}

fn events(path: &std::path::Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_hang_up_has_the_log_opened_again_and_ends_nothing_and_the_last_event_is_the_ledger_of_the_summary() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("eve.json");
    let mut log = LogSettings::new(directory.path().to_owned());
    log.stats_interval = Some(Duration::from_millis(20));
    let end = End::on_signal(Duration::ZERO).unwrap();
    let collector = Collector::start(&settings(log), &end).unwrap();

    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    // No VXLAN header: received and dropped.
    for _ in 0..5 {
        sender.send_to(b"short", collector.addresses()[0]).unwrap();
    }
    until("the datagrams", || collector.monitor().snapshot().ledger.received == 5);
    let old = directory.path().join("eve.json.1");
    until("a stats event", || fs::metadata(&path).unwrap().len() > 0);
    fs::rename(&path, &old).unwrap();
    // By name, since nothing here may call the system's functions.
    let killed = Command::new("sh").args(["-c", &format!("kill -HUP {}", std::process::id())]).status().unwrap();
    assert!(killed.success());
    until("the new file", || path.exists());
    assert!(!end.flag().load(Ordering::SeqCst), "a hang-up is no end");

    let summary = collector.finish().unwrap();
    summary.check().unwrap();
    let (before, after) = (events(&old), events(&path));
    let log = summary.log.as_ref().unwrap();
    assert_eq!((log.events, log.events_dropped), ((before.len() + after.len()) as u64, 0));
    assert!(before.iter().chain(&after).all(|event| event["event_type"] == "stats"));
    let last = &after.last().unwrap()["stats"];
    let summary = serde_json::to_value(&summary).unwrap();
    assert_eq!(last["collector"]["events"], log_events_before(&summary));
    for name in ["received", "analysed", "dropped", "kernel_dropped", "not_captured", "streams", "flows"] {
        assert_eq!(last["collector"][name], summary[name], "{name}");
    }
    assert_eq!((&last["collector"]["received"], &last["workers"]), (&5.into(), &summary["workers"]));
}

/// The last event counts those before it.
fn log_events_before(summary: &Value) -> u64 {
    summary["log"]["events"].as_u64().unwrap() - 1
}

#[test]
fn a_log_without_stats_events_has_none() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = LogSettings::new(directory.path().to_owned());
    log.events = EventKinds::NONE.with(EventKind::Flow);
    let end = End::on_signal(Duration::ZERO).unwrap();
    let summary = Collector::start(&settings(log), &end).unwrap().finish().unwrap();
    assert_eq!(summary.log.unwrap().events, 0);
}

#[test]
fn a_summary_that_has_nowhere_to_go_is_told_before_the_run_begins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("not/there/summary.json");
    for path in [path, directory.path().to_owned()] {
        let target = Some(SummaryTarget::File(path.clone()));
        let settings = RunSettings { summary: target, ..settings(LogSettings::new(directory.path().join("log"))) };
        let (ended, result) = crossbeam_channel::bounded(1);
        std::thread::spawn(move || ended.send(run(&settings).map(drop)));
        let error = result.recv_timeout(DEADLINE).expect("it does not begin").unwrap_err();
        assert!(is_of_arguments(&error), "{error:#}");
        let said = format!("cannot write the summary to '{}': ", path.display());
        assert!(error.to_string().starts_with(&said), "{error:#}");
    }
    assert!(!directory.path().join("log").exists(), "nothing was begun");
}

#[test]
fn the_ledger_is_told_though_the_disk_does_not_take_the_summary() {
    let summary = Summary::new(Vec::new(), 1.0, &StreamRegistry::new());
    let full = SummaryTarget::File("/dev/full".into());
    let (accounted, said) = said_during(|| account(&summary, Some(&full)));
    assert_eq!(accounted.unwrap_err().to_string(), "write the summary to /dev/full");
    assert!(said.contains("received 0 = analysed 0 + dropped 0"), "{said}");
}
