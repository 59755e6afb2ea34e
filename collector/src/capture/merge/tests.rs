use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::PacketHeader;

use super::*;
use crate::blocks::{self, BlockQueue, LaneSettings};
use crate::capture::CaptureLane;
use crate::capture::lane::Wanted;
use crate::follow::Hub;

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_700_000_000 * SECOND;

/// Lanes, and a merge of what they hand over.
struct Bench {
    queue: BlockQueue<CaptureMarks>,
    lanes: Vec<CaptureLane>,
    merge: Merge,
}

impl Bench {
    fn new(joining: Joining, lanes: usize, lane_blocks: usize) -> Self {
        let settings = LaneSettings { blocks: lane_blocks, block_bytes: 4096, flush: Duration::from_millis(100) };
        let (queue, block_lanes) = blocks::lanes(lanes, settings);
        let progress: Vec<Arc<LaneProgress>> = (0..lanes).map(|_| Arc::default()).collect();
        let merge = Merge::new(joining, progress.clone(), lane_blocks);
        let wanted = Wanted { hub: Hub::new(Arc::default()), files: true };
        let lanes = block_lanes
            .into_iter()
            .zip(progress)
            .map(|(lane, progress)| CaptureLane::new(lane, progress, wanted.clone()));
        Self { queue, lanes: lanes.collect(), merge }
    }

    fn record(&mut self, lane: usize, times: &[u64]) {
        for time_ns in times {
            self.lanes[lane].record(*time_ns, StreamId(0), &[0; 20], 20);
        }
        self.lanes[lane].flush();
    }

    /// Times of what comes out when the clock is at `now_ns`.
    fn out(&mut self, now_ns: u64) -> Vec<u64> {
        self.merge.look(now_ns);
        while let Some((lane, block)) = self.queue.try_next() {
            self.merge.push(lane, block);
        }
        let mut times = Vec::new();
        loop {
            let mut runs = Vec::new();
            self.merge.take_runs(200, &mut runs);
            if runs.is_empty() {
                return times;
            }
            for run in runs {
                let held = &self.merge.held()[run.held];
                let before = times.len();
                let mut rest = &held.block.bytes[run.bytes];
                while let Some(record) = PacketView::first(rest) {
                    times.push(record.time_ns());
                    rest = &rest[record.block().len()..];
                }
                assert_eq!((times.len() - before) as u64, run.records);
            }
            let queue = &mut self.queue;
            self.merge.release(|lane, block| queue.give_back(lane, block));
        }
    }
}

#[test]
fn nothing_goes_out_before_every_lane_has_got_past_it() {
    let mut bench = Bench::new(Joining::Time, 2, 8);
    bench.record(0, &[NOW, NOW + 2]);
    bench.lanes[0].flush_if_due(NOW + SECOND / 10);
    assert_eq!(bench.out(NOW + SECOND / 10), [0; 0]);
    bench.record(1, &[NOW + 1, NOW + 3]);
    bench.lanes[1].flush_if_due(NOW + SECOND / 10);
    assert_eq!(bench.out(NOW + SECOND / 10), [NOW, NOW + 1, NOW + 2, NOW + 3]);
    assert_eq!(bench.merge.late(), 0);
}

#[test]
fn a_lane_that_rests_holds_nobody_back() {
    let mut bench = Bench::new(Joining::Time, 2, 8);
    bench.lanes[1].rest();
    bench.record(0, &[NOW]);
    bench.lanes[0].flush_if_due(NOW + 1);
    let slack = SLACK.as_nanos() as u64;
    assert_eq!(bench.out(NOW + slack), [0; 0]);
    bench.lanes[0].flush_if_due(NOW + slack + 1);
    assert_eq!(bench.out(NOW + slack + 1), [NOW]);
}

#[test]
fn a_lane_that_says_nothing_holds_the_others_back_for_the_window_only() {
    let mut bench = Bench::new(Joining::Time, 2, 8);
    bench.record(0, &[NOW]);
    bench.lanes[0].rest();
    let window = (WINDOW + SLACK).as_nanos() as u64;
    assert_eq!(bench.out(NOW + window), [0; 0]);
    assert_eq!(bench.out(NOW + window + 1), [NOW]);
}

#[test]
fn a_lane_with_half_of_its_blocks_here_is_held_back_no_longer() {
    let mut bench = Bench::new(Joining::Time, 2, 4);
    bench.record(0, &[NOW]);
    assert_eq!(bench.out(NOW), [0; 0]);
    bench.record(0, &[NOW + 1]);
    assert_eq!(bench.out(NOW), [NOW, NOW + 1]);
}

#[test]
fn what_comes_too_late_goes_out_at_once_and_is_counted() {
    let mut bench = Bench::new(Joining::Time, 2, 8);
    bench.record(0, &[NOW, NOW + 10]);
    bench.lanes[0].rest();
    bench.lanes[1].rest();
    assert_eq!(bench.out(NOW + SECOND), [NOW, NOW + 10]);
    bench.record(1, &[NOW + 5, NOW + 9, NOW + 10]);
    bench.lanes[1].rest();
    assert_eq!(bench.out(NOW + SECOND), [NOW + 5, NOW + 9, NOW + 10]);
    assert_eq!(bench.merge.late(), 2);
}

#[test]
fn blocks_from_before_the_clock_was_set_back_do_not_wait_for_it() {
    let mut bench = Bench::new(Joining::Time, 2, 8);
    bench.record(0, &[NOW]);
    bench.lanes[0].rest();
    bench.lanes[1].rest();
    let an_hour_before = NOW - 3600 * SECOND;
    let start = Instant::now();
    while bench.out(an_hour_before) != [NOW] {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn records_that_overtook_each_other_within_a_lane_are_put_in_order() {
    for joining in [Joining::One, Joining::Time] {
        let mut bench = Bench::new(joining, 1, 8);
        bench.record(0, &[NOW + 3, NOW + 1, NOW + 1, NOW + 2]);
        bench.lanes[0].rest();
        assert_eq!(bench.out(NOW + SECOND), [NOW + 1, NOW + 1, NOW + 2, NOW + 3]);
    }
}

#[test]
fn turns_come_in_their_order_when_every_lane_has_ended_them() {
    let mut bench = Bench::new(Joining::Turns, 2, 8);
    for (lane, turn, time_ns) in [(0, 0, 50), (0, 1, 10), (1, 0, 60)] {
        bench.lanes[lane].record(time_ns, StreamId(0), &[0; 20], 20);
        bench.lanes[lane].end_turn(turn);
    }
    assert_eq!(bench.out(NOW), [50, 60]);
    bench.lanes[1].end_turn(1);
    assert_eq!(bench.out(NOW), [10]);
}

#[test]
fn a_run_of_a_block_is_a_stretch_of_its_bytes() {
    let mut bench = Bench::new(Joining::One, 1, 8);
    bench.record(0, &[1, 2, 3]);
    let (lane, block) = bench.queue.try_next().unwrap();
    bench.merge.look(NOW);
    bench.merge.push(lane, block);
    let mut runs = Vec::new();
    bench.merge.take_runs(1000, &mut runs);
    let length = 3 * PacketHeader::block_len(20);
    assert_eq!(runs, [Run { held: 0, bytes: 0..length, records: 3 }]);
}
