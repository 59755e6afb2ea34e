//! Frames of several workers, and in which order they come out.

use super::*;

#[test]
fn the_frames_of_each_worker_stay_in_order_and_none_is_lost() {
    const FRAMES: u64 = 30_000;
    const WORKERS: u64 = 3;
    for direct in [false, true] {
        let mut run = Run::new();
        run.settings.direct = direct;
        run.settings.blocks = 64;
        run.settings.rotation.bytes = None;
        let (handle, lanes) = run.start(WORKERS as usize);
        let workers: Vec<_> = (0..WORKERS)
            .zip(lanes)
            .map(|(worker, mut lane)| {
                let id = run.streams.intern(&stream(worker as u32));
                std::thread::spawn(move || {
                    let frame = [worker as u8; 300];
                    for number in 0..FRAMES {
                        lane.record(number, id, &frame[..(number % 300) as usize], 1000);
                        if number % 1000 == 0 {
                            lane.flush();
                        }
                    }
                    assert_eq!(lane.dropped(), 0);
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        let status = handle.monitor();
        let result = handle.finish();
        assert_eq!(result.lanes, vec![LaneTotals { written: FRAMES, dropped: 0 }; WORKERS as usize]);
        assert_eq!(status.status().pending, 0);
        let mut next = BTreeMap::new();
        let (packets, _) = contents(&run.only_file());
        assert_eq!(packets.len() as u64, FRAMES * WORKERS);
        for (time, name, _, frame) in packets {
            let expected = next.entry(name).or_insert(0_u64);
            assert_eq!((time, frame.len() as u64), (*expected, *expected % 300));
            *expected += 1;
        }
    }
}

#[test]
fn frames_of_several_workers_come_out_in_the_order_of_time() {
    let mut run = Run::new();
    run.settings.blocks = 64;
    let (handle, mut lanes) = run.start(3);
    // In the future, so that nothing goes out before the end however slow the machine is.
    let now = unix_ns() + 3_600_000_000_000;
    // Each lane by itself is in order; handed over in pieces.
    for round in 0..50_u64 {
        for (number, lane) in (0..).zip(&mut lanes) {
            for frame in 0..10 {
                lane.record(now + round * 1000 + frame * 90 + number, StreamId(0), b"frame", 5);
            }
            if (round + number) % 7 == 0 {
                lane.flush();
            }
        }
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes.iter().map(|lane| lane.written).sum::<u64>(), 1500);
    let times = times(&run.only_file());
    assert_eq!(times.len(), 1500);
    assert!(times.is_sorted());
}

#[test]
fn workers_that_take_turns_leave_the_order_of_the_input_whatever_the_times_say() {
    let run = Run::new();
    let (handle, mut lanes) = run.captures(2, Input::Turns).start(Some(&run.settings)).unwrap();
    let mut expected = Vec::new();
    for turn in 0..20_u64 {
        // Time goes back from turn to turn.
        let time_ns = 1000 - turn;
        expected.push(time_ns);
        let worker = (turn % 2) as usize;
        lanes[worker].record(time_ns, StreamId(0), b"frame", 5);
        // The one that has nothing to say is ahead or behind.
        lanes[1 - worker].end_turn(turn);
        lanes[worker].end_turn(turn);
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes.iter().map(|lane| lane.written).sum::<u64>(), 20);
    assert_eq!(times(&run.only_file()), expected);
}

#[test]
fn workers_that_hand_over_in_turns_leave_the_order_of_the_input_with_a_thread_that_writes_and_without() {
    // Around the page cache a thread of its own writes; on a file system in memory nobody can.
    for direct in [true, false] {
        let mut run = Run::new();
        run.settings.direct = direct;
        let (handle, lanes) =
            run.captures(3, Input::InOrder).start_with(Some(&run.settings), 4096, creator(direct)).unwrap();
        let turn = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for mut lane in lanes {
                let turn = &turn;
                scope.spawn(move || {
                    lane.set_when_full(blocks::WhenFull::Wait);
                    loop {
                        let number = turn.fetch_add(1, Ordering::Relaxed) as u64;
                        if number >= 300 {
                            break;
                        }
                        lane.begin_turn(number);
                        // None, less than a block, and several blocks; time goes back from turn to turn.
                        for record in 0..number % 40 {
                            lane.record(1_000_000 - number * 100 + record, StreamId(0), &[7; 400], 400);
                        }
                        lane.end_own_turn();
                    }
                });
            }
        });
        let result = handle.finish();
        assert_eq!(result.error, None);
        let expected =
            (0..300).flat_map(|number| (0..number % 40).map(move |record| 1_000_000 - number * 100 + record));
        assert!(times(&run.only_file()).into_iter().eq(expected.clone()), "direct: {direct}");
        assert_eq!(result.lanes.iter().map(|lane| lane.written).sum::<u64>(), expected.count() as u64);
        assert!(vxtap_index::index_path(&run.only_file()).exists());
    }
}

#[test]
fn a_worker_that_panics_in_its_turn_does_not_keep_the_others_waiting() {
    let run = Run::new();
    let (handle, mut lanes) = run.captures(2, Input::InOrder).start(Some(&run.settings)).unwrap();
    let mut second = lanes.pop().unwrap();
    let mut first = lanes.pop().unwrap();
    let panicked = std::thread::spawn(move || {
        first.begin_turn(0);
        first.record(1, StreamId(0), b"frame", 5);
        panic!("on purpose");
    });
    second.begin_turn(1);
    second.record(2, StreamId(0), b"frame", 5);
    second.end_own_turn();
    assert!(panicked.join().is_err());
    drop(second);
    assert_eq!(handle.finish().lanes.iter().map(|lane| lane.written).sum::<u64>(), 2);
    assert_eq!(times(&run.only_file()), [1, 2]);
}
