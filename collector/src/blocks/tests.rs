use std::time::Instant;

use super::*;

const FLUSH: Duration = Duration::from_millis(100);
const FLUSH_NS: u64 = 100_000_000;

fn settings(blocks: usize, block_bytes: usize) -> LaneSettings {
    LaneSettings { blocks, block_bytes, flush: FLUSH }
}

fn one_lane(blocks: usize, block_bytes: usize) -> (BlockQueue, BlockLane) {
    let (queue, mut lanes) = lanes(1, settings(blocks, block_bytes));
    (queue, lanes.remove(0))
}

/// The next block and its lane; `None` when every lane is closed and empty.
fn next(queue: &mut BlockQueue) -> Option<(usize, Block)> {
    match queue.next_within(None) {
        Next::Block(lane, block) => Some((lane, block)),
        Next::Nothing | Next::Closed => None,
    }
}

fn put(lane: &mut BlockLane, record: &[u8]) {
    lane.append(record.len(), |block| block.extend_from_slice(record));
}

#[test]
fn a_block_is_handed_over_when_the_next_record_does_not_fit() {
    let (mut queue, mut lane) = one_lane(2, 8);
    put(&mut lane, b"abc");
    put(&mut lane, b"defgh");
    assert!(queue.try_next().is_none());
    put(&mut lane, b"i");
    let (number, block) = queue.try_next().unwrap();
    assert_eq!((number, &*block.bytes, block.records), (0, &b"abcdefgh"[..], 2));
    assert!(queue.try_next().is_none());
}

#[test]
fn without_an_empty_block_records_are_refused_and_counted_until_one_comes_back() {
    let (mut queue, mut lane) = one_lane(2, 4);
    for _ in 0..5 {
        put(&mut lane, b"full");
    }
    assert_eq!(lane.refused(), 3);
    let counters = queue.counters();
    assert_eq!((counters[0].dropped(), counters[0].pending()), (3, 2));
    let (number, block) = queue.try_next().unwrap();
    queue.give_back(number, block);
    put(&mut lane, b"more");
    assert_eq!(lane.refused(), 3);
}

#[test]
fn a_record_longer_than_a_block_is_refused_and_does_not_disturb_others() {
    let (mut queue, mut lane) = one_lane(2, 4);
    put(&mut lane, b"ab");
    put(&mut lane, b"toolong");
    put(&mut lane, b"cd");
    lane.flush();
    assert_eq!(lane.refused(), 1);
    assert_eq!(&*queue.try_next().unwrap().1.bytes, b"abcd");
}

#[test]
fn a_partial_block_is_handed_over_when_the_flush_time_has_passed_and_not_before() {
    let (mut queue, mut lane) = one_lane(4, 64);
    lane.flush_if_due(5);
    assert_eq!(lane.next_flush_ns(), None);
    put(&mut lane, b"one");
    lane.flush_if_due(1000);
    assert_eq!(lane.next_flush_ns(), Some(1000 + FLUSH_NS));
    lane.flush_if_due(999 + FLUSH_NS);
    assert!(queue.try_next().is_none());
    lane.flush_if_due(1000 + FLUSH_NS);
    assert_eq!(&*queue.try_next().unwrap().1.bytes, b"one");
    assert_eq!(lane.next_flush_ns(), None);
}

#[test]
fn while_the_writer_is_behind_the_last_block_is_filled_before_it_is_handed_over() {
    let (mut queue, mut lane) = one_lane(2, 8);
    put(&mut lane, b"aa");
    lane.flush();
    put(&mut lane, b"bb");
    lane.flush_if_due(0);
    lane.flush_if_due(FLUSH_NS);
    assert_eq!(lane.next_flush_ns(), Some(2 * FLUSH_NS));
    let (number, block) = queue.try_next().unwrap();
    assert!(queue.try_next().is_none());
    queue.give_back(number, block);
    put(&mut lane, b"cc");
    lane.flush_if_due(2 * FLUSH_NS);
    assert_eq!(&*queue.try_next().unwrap().1.bytes, b"bbcc");
}

#[test]
fn blocks_come_in_the_order_in_which_they_were_handed_over() {
    let (mut queue, mut lanes) = lanes(3, settings(4, 4));
    for (lane, record) in [(2, b"1"), (0, b"2"), (2, b"3"), (1, b"4"), (0, b"5")] {
        put(&mut lanes[lane], record);
        lanes[lane].flush();
    }
    let order: Vec<_> = std::iter::from_fn(|| queue.try_next()).map(|(lane, block)| (lane, block.bytes[0])).collect();
    assert_eq!(order, [(2, b'1'), (0, b'2'), (2, b'3'), (1, b'4'), (0, b'5')]);
}

#[test]
fn dropping_a_lane_hands_over_what_it_has_and_the_queue_ends_when_all_are_dropped() {
    let (mut queue, mut lanes) = lanes(2, settings(2, 16));
    put(&mut lanes[0], b"last words");
    let slot = queue.writer_slot();
    let writer = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some((lane, block)) = next(&mut queue) {
            seen.push((lane, block.bytes.to_vec()));
            queue.give_back(lane, block);
        }
        seen
    });
    slot.set(writer.thread().clone());
    drop(lanes);
    assert_eq!(writer.join().unwrap(), [(0, b"last words".to_vec())]);
}

#[test]
fn every_record_arrives_once_and_in_order_while_the_writer_sleeps_and_wakes() {
    const RECORDS: u32 = 20_000;
    let (mut queue, mut lanes) = lanes(2, settings(3, 64));
    let counters = queue.counters();
    let slot = queue.writer_slot();
    let writer = std::thread::spawn(move || {
        let mut seen = [Vec::new(), Vec::new()];
        while let Some((lane, block)) = next(&mut queue) {
            seen[lane].extend(block.bytes.chunks_exact(4).map(|r| u32::from_le_bytes([r[0], r[1], r[2], r[3]])));
            queue.give_back(lane, block);
        }
        seen
    });
    slot.set(writer.thread().clone());
    let workers: Vec<_> = lanes
        .drain(..)
        .map(|mut lane| {
            std::thread::spawn(move || {
                let start = Instant::now();
                for record in 0..RECORDS {
                    put(&mut lane, &record.to_le_bytes());
                    if record % 7 == 0 {
                        lane.flush();
                    }
                }
                assert!(start.elapsed() < Duration::from_secs(30));
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let seen = writer.join().unwrap();
    for (seen, counters) in seen.iter().zip(counters) {
        assert!(seen.is_sorted_by(|a, b| a < b));
        assert_eq!(seen.len() as u64 + counters.dropped(), u64::from(RECORDS));
    }
}

#[test]
fn a_lane_that_waits_loses_nothing_to_a_slow_writer_and_gives_up_on_a_dead_one() {
    let (mut queue, mut lanes): (BlockQueue, Vec<BlockLane>) = lanes(1, settings(2, 16));
    let mut lane = lanes.remove(0);
    lane.set_when_full(WhenFull::Wait);
    queue.writer_slot().set(std::thread::current());
    let worker = std::thread::spawn(move || {
        for _ in 0..20 {
            lane.append(10, |block| block.extend_from_slice(&[7; 10]));
        }
        lane
    });
    let mut written = 0;
    while written < 18 {
        let (number, block) = next(&mut queue).unwrap();
        written += block.records;
        queue.give_back(number, block);
    }
    let mut lane = worker.join().unwrap();
    assert_eq!(lane.refused(), 0);
    drop(queue);
    for _ in 0..4 {
        lane.append(10, |block| block.extend_from_slice(&[7; 10]));
    }
    assert!(lane.refused() > 0);
}

#[test]
fn a_lane_that_waits_for_a_time_loses_nothing_while_blocks_come_back_and_gives_up_once_when_none_does() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let (mut queue, mut lane) = one_lane(2, 4);
    lane.set_when_full(WhenFull::WaitUpTo(PATIENCE));
    let worker = std::thread::spawn(move || {
        (0..6).for_each(|_| put(&mut lane, b"full"));
        lane
    });
    let begun = Instant::now();
    let mut written = 0;
    // Of six blocks two are not given back: the rest of them all came back in time.
    while written < 4 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the lane gives its blocks");
        if let Some((number, block)) = queue.try_next() {
            written += 1;
            queue.give_back(number, block);
        }
    }
    let mut lane = worker.join().unwrap();
    assert_eq!(lane.refused(), 0);
    let begun = Instant::now();
    (0..100).for_each(|_| put(&mut lane, b"full"));
    assert_eq!(lane.refused(), 100);
    assert!((PATIENCE..10 * PATIENCE).contains(&begun.elapsed()), "waited once: {:?}", begun.elapsed());
}

#[test]
fn a_nudge_ends_one_wait_and_keeps_no_block_back() {
    let (mut queue, mut lane) = one_lane(2, 8);
    queue.writer_slot().set(std::thread::current());
    let nudge = queue.nudge();
    nudge.nudge();
    assert!(matches!(queue.next_within(None), Next::Nothing));
    assert!(matches!(queue.next_within(Some(Duration::ZERO)), Next::Nothing), "there is none");
    put(&mut lane, b"abc");
    lane.flush();
    nudge.nudge();
    assert!(matches!(queue.next_within(None), Next::Block(0, _)));
    assert!(matches!(queue.next_within(None), Next::Nothing));
    // The thread that waits is the one that the queue knows, and which a nudge wakes.
    let nudging = std::thread::spawn(move || nudge.nudge());
    assert!(matches!(queue.next_within(None), Next::Nothing));
    nudging.join().unwrap();
}

/// Writes into memory, and panics over what begins with `!`.
struct Memory(BlockQueue, Arc<std::sync::Mutex<Vec<u8>>>);

impl BlockWriter for Memory {
    fn round(&mut self, time: Option<Duration>) -> bool {
        match self.0.next_within(time) {
            Next::Block(lane, block) => {
                assert!(!block.bytes.starts_with(b"!"), "on purpose");
                self.1.lock().unwrap().extend_from_slice(&block.bytes);
                self.0.give_back(lane, block);
                true
            }
            Next::Nothing => true,
            Next::Closed => false,
        }
    }

    fn close(self) {
        self.1.lock().unwrap().push(b'.');
    }
}

fn lanes_in_place(count: usize) -> (Vec<BlockLane>, Arc<std::sync::Mutex<Vec<u8>>>) {
    let (queue, mut lanes) = lanes(count, settings(2, 4));
    let written = Arc::default();
    write_in_place(&mut lanes, Memory(queue, Arc::clone(&written)));
    for lane in &mut lanes {
        lane.set_when_full(WhenFull::Wait);
    }
    (lanes, written)
}

#[test]
fn what_a_lane_hands_over_is_written_at_once_where_no_thread_writes_and_ended_with_the_last_lane() {
    let (mut lanes, written) = lanes_in_place(2);
    let text = || String::from_utf8(written.lock().unwrap().clone()).unwrap();
    put(&mut lanes[0], b"ab");
    put(&mut lanes[0], b"cde");
    assert_eq!(text(), "ab");
    put(&mut lanes[1], b"1");
    lanes[1].flush();
    assert_eq!(text(), "ab1");
    lanes.remove(0);
    assert_eq!(text(), "ab1cde");
    drop(lanes);
    assert_eq!(text(), "ab1cde.");
}

#[test]
fn lanes_whose_writer_has_panicked_in_a_worker_refuse_instead_of_waiting() {
    let (mut lanes, written) = lanes_in_place(2);
    let mut other = lanes.pop().unwrap();
    let mut lane = lanes.pop().unwrap();
    let panicked = std::thread::spawn(move || {
        put(&mut lane, b"!");
        lane.flush();
    });
    assert!(panicked.join().is_err());
    for _ in 0..5 {
        put(&mut other, b"full");
    }
    assert!(other.refused() > 0);
    drop(other);
    assert!(written.lock().unwrap().is_empty());
}
