use serde_json::Value;

use super::*;
use crate::log::LogWriter;
use crate::settings::LogSettings;

fn stats(received: u64, uptime: Duration) -> Stats {
    let ledger = Ledger { received, analysed: received, not_captured: received, ..Ledger::default() };
    let worker = |worker| WorkerSummary {
        worker,
        ledger,
        cut: CutFrames { frames: 6, bytes: 60 },
        flows_evicted: 1,
        not_ip: 2,
        truncated: 3,
        malformed: 4,
        too_deep: 5,
    };
    let followers = FollowerTotals { followers: 3, sent: 31, dropped: 32 };
    let log = LogSnapshot { events: 8, events_dropped: 9, ..LogSnapshot::default() };
    Stats::of(vec![worker(0), worker(1)], uptime).with(5, 6, Some(&log)).with_followers(followers)
}

#[test]
fn an_event_has_the_counters_by_the_names_of_the_summary() {
    let mut line = Vec::new();
    stats(7, Duration::from_millis(61_999)).write(&mut line, 1_700_000_000_123_456_789);
    assert!(line.ends_with(b"}\n"));
    let event: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        (&event["timestamp"], &event["event_type"]),
        (&"2023-11-14T22:13:20.123456+0000".into(), &"stats".into())
    );
    let stats = &event["stats"];
    assert_eq!(stats["uptime"], 61);
    for (name, value) in [
        ("received", 14),
        ("analysed", 14),
        ("flows_active", 5),
        ("streams", 6),
        ("events", 8),
        ("events_dropped", 9),
        ("capture_cut", 12),
        ("capture_cut_bytes", 120),
        ("followers", 3),
        ("follower_sent", 31),
        ("follower_dropped", 32),
    ] {
        assert_eq!(stats["collector"][name], value, "{name}");
    }
    let Value::Object(ledger) = serde_json::to_value(Ledger::default()).unwrap() else { panic!("no object") };
    for name in ledger.keys() {
        assert!(stats["collector"].get(name).is_some(), "{name}");
        assert!(stats["workers"][1].get(name).is_some(), "{name}");
    }
    assert_eq!((&stats["workers"][1]["worker"], &stats["workers"][1]["received"]), (&1.into(), &7.into()));
}

#[test]
fn events_come_every_interval_until_the_ticker_is_stopped_and_the_last_one_is_left_to_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let settings = LogSettings::new(directory.path().to_owned());
    let (handle, mut lanes) = LogWriter::start(&settings, 1).unwrap();
    let stats_log = StatsLog::new(lanes.remove(0), Some(Duration::from_millis(2)));
    let (told, taken) = std::sync::mpsc::channel();
    let ticker = stats_log
        .start(move |uptime| {
            let _ = told.send(uptime);
            stats(1, uptime)
        })
        .unwrap();
    let times: Vec<Duration> = taken.iter().take(5).collect();
    assert!(times.is_sorted() && times[0] >= Duration::from_millis(2), "{times:?}");
    let mut stats_log = ticker.stop().unwrap();
    let before = 5 + taken.iter().count() as u64;
    stats_log.write(&stats(3, stats_log.uptime()));
    drop(stats_log);
    assert_eq!(handle.finish().events, before + 1);
    let text = std::fs::read_to_string(directory.path().join("eve.json")).unwrap();
    let received: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["stats"]["collector"]["received"].clone())
        .collect();
    assert_eq!(received.last(), Some(&6.into()));
    assert!(received[..received.len() - 1].iter().all(|received| *received == 2));
}

#[test]
fn without_an_interval_there_is_the_last_event_only() {
    let directory = tempfile::tempdir().unwrap();
    let settings = LogSettings::new(directory.path().to_owned());
    let (handle, mut lanes) = LogWriter::start(&settings, 1).unwrap();
    let ticker = StatsLog::new(lanes.remove(0), None).start(|uptime| stats(1, uptime)).unwrap();
    ticker.stop().unwrap().write(&stats(2, Duration::ZERO));
    assert_eq!(handle.finish().events, 1);
}
