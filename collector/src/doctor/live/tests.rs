use vxtap_analyzers::snapshot::{CaptureSnapshot, LogSnapshot, RunState, StreamSnapshot, WorkerSnapshot};
use vxtap_analyzers::{DropReason, Encapsulation, Ledger, StreamCounters};

use super::super::Severity;
use super::super::counters::Counters;
use super::super::fake::{FakeMachine, only, settings};
use super::*;

/// A collector that has received 1,000 datagrams and lost none.
fn healthy() -> Snapshot {
    Snapshot {
        started_ns: 1,
        taken_ns: 60_000_000_000,
        state: RunState::Running,
        listeners: vec!["vxlan://[::]:4789".into()],
        ledger: Ledger { received: 1000, analysed: 1000, ..Ledger::default() },
        workers: vec![WorkerSnapshot { receive_buffer: 128 << 20, flows_max: 1000, ..WorkerSnapshot::default() }; 2],
        ..Snapshot::default()
    }
}

/// The same with what `change` does to it.
fn with(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
    let mut snapshot = healthy();
    change(&mut snapshot);
    snapshot
}

fn look_on(fake: &FakeMachine, arguments: &str, before: &Snapshot, now: &Snapshot) -> Vec<Finding> {
    let (settings, machine) = (settings(arguments), fake.machine());
    let counters = Counters::read(&machine, &[]);
    Live.look(&Examination {
        settings: &settings,
        machine: &machine,
        interfaces: Vec::new(),
        before: Counters::default(),
        after: counters,
        live: Some((before.clone(), now.clone())),
    })
}

fn look(before: &Snapshot, now: &Snapshot) -> Vec<Finding> {
    look_on(&FakeMachine::new(), "", before, now)
}

/// `change` between the two moments is a problem, and before both of them a hint.
#[track_caller]
fn graded(change: impl Fn(&mut Snapshot)) -> (String, Vec<String>) {
    let changed = with(&change);
    only(&look(&changed, &changed), Severity::Hint);
    only(&look(&healthy(), &changed), Severity::Problem)
}

fn stream(name: &str, source: &str, counters: StreamCounters) -> StreamSnapshot {
    let source = Some(source.parse().unwrap());
    StreamSnapshot {
        name: name.into(),
        encapsulation: Encapsulation::Vxlan,
        source,
        vni: Some(7),
        counters,
        ..StreamSnapshot::default()
    }
}

#[test]
fn a_collector_that_loses_nothing_is_good_and_without_one_there_is_nothing_to_say() {
    assert!(only(&look(&healthy(), &healthy()), Severity::Good).0.contains("1000 datagrams"));
    let fake = FakeMachine::new();
    assert_eq!(fake.look(&Live, ""), []);
}

#[test]
fn drops_of_the_kernel_name_the_worker_that_has_most_of_them() {
    let (text, mend) = graded(|snapshot| {
        snapshot.ledger.kernel_dropped = 90;
        for worker in &mut snapshot.workers {
            worker.ledger.kernel_dropped = 45;
        }
    });
    assert!(text.contains("90 datagrams were dropped by the kernel in") && text.contains("queue was full"), "{text}");
    assert_eq!(mend[0], "--receive-buffer 256MiB");
    let (text, _) = graded(|snapshot| {
        snapshot.workers = vec![WorkerSnapshot::default(); 4];
        snapshot.ledger.kernel_dropped = 90;
        snapshot.workers[3].worker = 3;
        snapshot.workers[3].ledger.kernel_dropped = 80;
    });
    assert!(text.contains("89 % of them at worker 3"), "{text}");
}

#[test]
fn each_reason_of_a_drop_is_told_with_its_meaning() {
    let (text, _) = graded(|snapshot| snapshot.ledger.dropped.add(DropReason::VxlanFlagClear, 5));
    assert!(text.contains("5 datagrams were dropped") && text.contains("I flag clear"), "{text}");
    let (_, mend) = graded(|snapshot| snapshot.ledger.dropped.add(DropReason::HandOverFull, 5));
    assert_eq!(mend, ["--workers, --pin"]);
    let (text, mend) = graded(|snapshot| snapshot.ledger.dropped.add(DropReason::OuterFragment, 5));
    assert!(text.contains("Fragment of an outer datagram"), "{text}");
    assert_eq!(mend, ["--listen vxlan://[::]:4789"]);
}

#[test]
fn who_waits_to_be_let_in_is_a_hint_and_what_is_kept_out_on_purpose_is_nothing() {
    let waiting = with(|snapshot| snapshot.ledger.dropped.add(DropReason::NotAdmitted, 5));
    let (text, mend) = only(&look(&healthy(), &waiting), Severity::Hint);
    assert!(text.contains("5 datagrams were dropped in") && text.contains("waits to be accepted"), "{text}");
    assert_eq!(mend, ["--accept, --reject"]);
    for reason in [DropReason::Rejected, DropReason::OwnTraffic, DropReason::HealthProbe] {
        let out = with(|snapshot| snapshot.ledger.dropped.add(reason, 5));
        only(&look(&healthy(), &out), Severity::Good);
    }
}

#[test]
fn many_frames_at_the_wrong_worker_are_a_hint_whose_mend_depends_on_the_run() {
    let now = with(|snapshot| {
        snapshot.ledger.received = 2000;
        snapshot.ledger.misdelivered = 200;
    });
    let look = |arguments| only(&look_on(&FakeMachine::new(), arguments, &healthy(), &now), Severity::Hint);
    assert!(look("").0.contains("20 % of the frames"));
    assert_eq!((look("").1, look("--no-gro").1), (vec!["--no-gro".to_owned()], vec!["--workers 1".to_owned()]));
    assert_eq!(look("--no-kernel-steering").1, ["--no-kernel-steering"]);
    only(&look_on(&FakeMachine::new(), "", &now, &now), Severity::Good);
}

#[test]
fn what_disks_did_not_take_is_told_with_what_they_said() {
    let (text, mend) = graded(|snapshot| snapshot.ledger.capture_dropped = 3);
    assert!(text.contains("slower") && mend[0].contains("--capture-blocks"), "{text} {mend:?}");
    let (text, mend) = graded(|snapshot| {
        snapshot.ledger.capture_dropped = 3;
        snapshot.capture = Some(CaptureSnapshot { error: Some("disk full".into()), ..CaptureSnapshot::default() });
    });
    assert!(text.contains("disk full") && mend == ["--keep-free 10GiB"], "{text} {mend:?}");
    let (text, _) = graded(|snapshot| {
        snapshot.log = Some(LogSnapshot { events_dropped: 4, error: Some("gone".into()), ..LogSnapshot::default() });
    });
    assert!(text.contains("4 events went unlogged") && text.contains("gone"), "{text}");
    let late = |snapshot: &mut Snapshot| {
        snapshot.capture = Some(CaptureSnapshot { late: 6, ..CaptureSnapshot::default() });
    };
    assert!(graded(late).0.contains("6 records came late"));
}

#[test]
fn flows_given_up_for_want_of_room_are_told_with_more_room() {
    let (text, mend) = graded(|snapshot| snapshot.workers[0].flows_evicted = 2);
    assert!(text.contains("room for 2000 flows"), "{text}");
    assert_eq!(mend, ["--flow-max 1048576"]);
}

#[test]
fn a_collector_that_hears_nothing_is_told_where_to_look() {
    let silent = with(|snapshot| snapshot.ledger = Ledger::default());
    let (text, mend) = only(&look(&silent, &silent), Severity::Problem);
    assert!(text.contains("vxlan://[::]:4789"), "{text}");
    assert_eq!(mend[0], "tcpdump -ni any -c 5 udp");
    let young = Snapshot { taken_ns: 2_000_000_000, ..silent.clone() };
    only(&look(&young, &young), Severity::Good);
    let elsewhere = FakeMachine::new().file("/proc/net/snmp", "Udp: NoPorts\nUdp: 55\n");
    let findings = look_on(&elsewhere, "", &silent, &silent);
    assert!(findings[0].mend[0].what.starts_with("55 datagrams came"), "{findings:#?}");
}

#[test]
fn frames_cut_by_the_mtu_are_told_with_the_mtu_that_cures_them() {
    let counters =
        StreamCounters { frames: 200, truncated: 50, cut_len: 1464, cut_wire_len: 1514, ..StreamCounters::default() };
    let cut = |source| with(|snapshot| snapshot.streams = vec![stream("vni 7", source, counters)]);
    // 1,464 bytes of a frame, VXLAN, UDP and IPv4 are 1,500.
    let fake = FakeMachine::new().interface("eth0", 1500, &["10.0.0.5"]);
    let (text, mend) = only(&look_on(&fake, "", &healthy(), &cut("10.0.0.7")), Severity::Problem);
    assert!(text.contains("25.0 % of the frames are cut: of up to 1514 bytes, 1464 arrive"), "{text}");
    assert_eq!(mend, ["ip link set dev IF mtu 1550"]);
    let findings = look(&healthy(), &cut("fd00::7"));
    assert_eq!(only(&findings, Severity::Problem).1, ["ip link set dev IF mtu 1570"]);
    assert!(findings[0].mend[1].what.contains("packet length to 1514"), "{findings:#?}");
}

#[test]
fn frames_cut_to_their_headers_are_what_the_session_was_told() {
    let counters =
        StreamCounters { frames: 9, truncated: 9, cut_len: 96, cut_wire_len: 1514, ..StreamCounters::default() };
    let now = with(|snapshot| snapshot.streams = vec![stream("vni 7", "10.0.0.7", counters)]);
    let findings = look(&healthy(), &now);
    only(&findings, Severity::Hint);
    assert!(findings[0].mend[0].what.contains("set it to 1514"), "{findings:#?}");
}

#[test]
fn a_stream_whose_frames_come_whole_now_is_cured() {
    let counters = |frames, truncated| StreamCounters {
        frames,
        truncated,
        cut_len: 1464,
        cut_wire_len: 1514,
        ..StreamCounters::default()
    };
    let snapshot = |counters| with(|snapshot| snapshot.streams = vec![stream("vni 7", "10.0.0.7", counters)]);
    only(&look(&snapshot(counters(10, 5)), &snapshot(counters(20, 5))), Severity::Good);
    only(&look(&snapshot(counters(10, 5)), &snapshot(counters(20, 6))), Severity::Problem);
    only(&look(&snapshot(counters(10, 5)), &snapshot(counters(10, 5))), Severity::Problem);
}

#[test]
fn frames_that_were_on_no_wire_and_very_many_streams_are_told_as_what_they_are() {
    let long =
        StreamCounters { frames: 9, truncated: 9, cut_len: 8900, cut_wire_len: 30_000, ..StreamCounters::default() };
    let now = with(|snapshot| snapshot.streams = vec![stream("vni 7", "10.0.0.7", long)]);
    assert_eq!(only(&look(&healthy(), &now), Severity::Problem).1, ["ethtool -K IF tso off gso off gro off"]);
    let names: Vec<String> = (0..25).map(|vni| format!("vni {vni}")).collect();
    let now = with(|snapshot| snapshot.streams = names.iter().map(|name| stream(name, "10.0.0.7", long)).collect());
    let findings = look(&healthy(), &now);
    assert_eq!(findings.len(), 11);
    assert!(findings[10].found.contains("15 more"), "{findings:#?}");
}
