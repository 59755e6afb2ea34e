use vxtap_analyzers::{DropReason, Encapsulation};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(seconds: u64, received: u64) -> Snapshot {
    let ledger = Ledger { received, received_bytes: received * 100, ..Ledger::default() };
    let worker = WorkerSnapshot { worker: 3, ledger, ..WorkerSnapshot::default() };
    let counters = StreamCounters { frames: received, bytes: received * 100, ..StreamCounters::default() };
    let stream = StreamSnapshot {
        name: "vni 1 from 10.0.0.1".into(),
        encapsulation: Encapsulation::Vxlan,
        vni: Some(1),
        network: None,
        counters,
        ..StreamSnapshot::default()
    };
    Snapshot {
        started_ns: 5,
        taken_ns: seconds * SECOND,
        ledger,
        workers: vec![worker],
        streams: vec![stream],
        streams_total: 1,
        ..Snapshot::default()
    }
}

fn history(snapshots: impl IntoIterator<Item = Snapshot>) -> History {
    let mut history = History::new(Duration::from_secs(1));
    snapshots.into_iter().for_each(|snapshot| history.push(snapshot));
    history
}

#[test]
fn rates_are_differences_between_two_snapshots() {
    assert_eq!(history([at(1, 500)]).now(), None);
    let history = history([at(1, 500), at(3, 700)]);
    assert_eq!(history.now(), Some(Point { packets: 100.0, bits: 80_000.0, lost: 0.0 }));
    let latest = history.latest().unwrap();
    assert_eq!(history.worker_packets(&latest.workers[0]), Some(100.0));
    assert_eq!(history.stream_rates(&latest.streams[0]), Some((100.0, 80_000.0)));
}

#[test]
fn every_kind_of_loss_is_in_the_rate_of_loss() {
    let mut after = at(2, 100);
    after.ledger.kernel_dropped = 1;
    after.ledger.capture_dropped = 10;
    after.ledger.drop_one(DropReason::VxlanFlagClear);
    assert_eq!(lost(&after.ledger), 12);
    assert_eq!(history([at(1, 0), after]).now().unwrap().lost.round() as u64, 12);
}

#[test]
fn a_new_run_starts_the_rates_anew() {
    let mut restarted = at(4, 10);
    restarted.started_ns = 6;
    let mut history = history([at(1, 500), at(2, 900), restarted]);
    assert_eq!(history.now(), None);
    assert_eq!(history.peak(), Point::default());
    assert_eq!(history.last(10).count(), 0);
    let mut next = at(5, 30);
    next.started_ns = 6;
    history.push(next);
    assert_eq!(history.now().unwrap().packets.round() as u64, 20);
}

#[test]
fn the_same_or_an_older_snapshot_adds_no_point() {
    let history = history([at(1, 0), at(2, 50), at(2, 50), at(1, 0)]);
    assert_eq!(history.last(10).count(), 1);
    assert_eq!(history.latest().unwrap().taken_ns, 2 * SECOND);
}

#[test]
fn a_time_without_snapshots_is_a_gap_in_the_curve() {
    let history = history([at(1, 0), at(2, 10), at(12, 110)]);
    let known: Vec<bool> = history.last(100).map(|point| point.is_some()).collect();
    assert_eq!(known.len(), 10);
    assert_eq!(known.iter().filter(|known| **known).count(), 2);
    assert_eq!(history.now().unwrap().packets.round() as u64, 10);
}

#[test]
fn the_number_of_points_is_bounded() {
    let mut history = history((0..2 * History::POINTS as u64).map(|second| at(second, second)));
    assert_eq!(history.last(usize::MAX).count(), History::POINTS);
    history.push(at(u64::MAX / SECOND, 1 << 40));
    assert_eq!(history.last(usize::MAX).count(), History::POINTS);
    assert_eq!(history.last(7).count(), 7);
}

#[test]
fn a_stream_that_just_appeared_has_a_rate_unless_it_could_have_been_unlisted() {
    let mut before = at(1, 0);
    before.streams.clear();
    before.streams_total = 0;
    let now = at(2, 70);
    let fresh = history([before.clone(), now.clone()]);
    assert_eq!(fresh.stream_rates(&now.streams[0]), Some((70.0, 56_000.0)));
    before.streams_total = 2000;
    assert_eq!(history([before, now.clone()]).stream_rates(&now.streams[0]), None);
}

#[test]
fn a_counter_that_goes_back_counts_as_still() {
    assert_eq!(history([at(1, 500), at(2, 400)]).now().unwrap().packets.round() as u64, 0);
}
