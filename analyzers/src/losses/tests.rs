use super::*;

const STREAM: StreamId = StreamId(3);
const NOW: u64 = 1_000_000_000_000;

/// A small generator, so that a failure comes again (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }
}

fn tell(tracker: &mut LossTracker, ledger: &mut LossLedger, now_ns: u64) {
    let untracked = tracker.tell(|seen| ledger.take(seen, now_ns));
    ledger.count_untracked(untracked);
}

/// What is made of these numbers of one series, all at one worker.
fn of(sequences: impl IntoIterator<Item = u64>) -> StreamLoss {
    let (mut tracker, mut ledger) = (LossTracker::default(), LossLedger::default());
    sequences.into_iter().for_each(|sequence| tracker.note(STREAM, 9, sequence));
    tell(&mut tracker, &mut ledger, NOW);
    ledger.streams().get(&STREAM).copied().unwrap_or_default()
}

fn loss(received: u64, lost: u64, duplicated: u64) -> StreamLoss {
    StreamLoss { received, lost, duplicated }
}

#[test]
fn gaps_are_lost_and_neither_order_nor_copies_change_that() {
    assert_eq!(of(0..100), loss(100, 0, 0));
    assert_eq!(of((0..100).filter(|at| at % 10 != 3)), loss(90, 10, 0));
    assert_eq!(of((0..100).rev().filter(|at| at % 10 != 3)), loss(90, 10, 0));
    assert_eq!(of((0..100).chain(50..60).filter(|at| *at != 55)), loss(99, 1, 9));
    assert_eq!(of([]), StreamLoss::default());
    assert_eq!(of([0]), loss(1, 0, 0));
}

#[test]
fn a_series_seen_from_its_beginning_has_lost_what_is_missing_there_and_one_met_later_has_not() {
    assert_eq!(of(7..10), loss(3, 7, 0));
    assert_eq!(of(BEGINNING..BEGINNING + 3), loss(3, 0, 0));
    assert_eq!(of([1_000_000, 1_000_002]), loss(2, 1, 0));
}

#[test]
fn random_loss_reordering_and_copies_over_four_workers_come_out_exactly() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let (mut trackers, mut ledger) = ([(); 4].map(|()| LossTracker::default()), LossLedger::default());
        let (mut lost, mut copies, mut arrived) = ([0; 3], [0; 3], [0; 3]);
        // Each of three series, on two streams; every number has its worker, as flows have.
        let mut waiting: Vec<(usize, u64)> = Vec::new();
        let total = 5000;
        for sequence in 0..total {
            for series in 0..3 {
                // The last one always comes: nothing can be known of what is behind it.
                if sequence + 1 < total && dice.below(10) == 0 {
                    lost[series] += 1;
                    continue;
                }
                arrived[series] += 1;
                waiting.push((series, sequence));
                if dice.below(50) == 0 {
                    copies[series] += 1;
                    waiting.push((series, sequence));
                }
            }
            // Up to a few hundred are under way at a time, and overtake each other.
            while waiting.len() > 300 {
                let (series, sequence) = waiting.swap_remove(dice.below(300) as usize);
                note(&mut trackers, series, sequence);
            }
            if dice.below(100) == 0 {
                let worker = dice.below(4) as usize;
                tell(&mut trackers[worker], &mut ledger, NOW + sequence);
            }
        }
        waiting.drain(..).for_each(|(series, sequence)| note(&mut trackers, series, sequence));
        for tracker in &mut trackers {
            tell(tracker, &mut ledger, NOW);
        }
        let streams = ledger.streams();
        assert_eq!(streams[&StreamId(0)], loss(arrived[0] + arrived[1], lost[0] + lost[1], copies[0] + copies[1]));
        assert_eq!(streams[&StreamId(1)], loss(arrived[2], lost[2], copies[2]), "seed {seed}");
        assert_eq!(ledger.untracked(), 0);
    }
}

fn note(trackers: &mut [LossTracker; 4], series: usize, sequence: u64) {
    let worker = (sequence.wrapping_mul(0x9e37_79b9) >> 7) as usize % 4;
    trackers[worker].note(StreamId(series as u32 / 2), 1000 + series as u32, sequence);
}

#[test]
fn a_number_later_than_the_window_counts_as_come_once() {
    let late = 5;
    let numbers = (0..=WINDOW + late + 1).filter(|at| *at != late).chain([late]);
    assert_eq!(of(numbers), loss(WINDOW + late + 2, 0, 0));
}

#[test]
fn a_wild_number_is_no_loss_and_hides_none() {
    let wild = (0..100).filter(|at| *at != 50).chain([u64::MAX]);
    assert_eq!(of(wild), loss(100, 1, 0));
    let back = (1 << 40..(1 << 40) + 10).chain([3]);
    assert_eq!(of(back), loss(10, 0, 0));
    let mut dice = Dice(1);
    let noise = of((0..10_000).map(|_| dice.below(u64::MAX)));
    assert!(noise.lost < 10_000 * JUMP, "bounded by how far a number may be from the next: {noise:?}");
}

#[test]
fn a_sender_that_starts_again_begins_a_new_series() {
    let (mut tracker, mut ledger) = (LossTracker::default(), LossLedger::default());
    (0..50).for_each(|sequence| tracker.note(STREAM, 1, sequence));
    (0..50).filter(|sequence| *sequence != 20).for_each(|sequence| tracker.note(STREAM, 2, sequence));
    tell(&mut tracker, &mut ledger, NOW);
    assert_eq!(ledger.streams()[&STREAM], loss(99, 1, 0));
}

#[test]
fn a_flood_of_series_takes_bounded_memory_and_what_was_seen_before_stays_exact() {
    let (mut tracker, mut ledger) = (LossTracker::default(), LossLedger::default());
    (0..1000).filter(|at| at % 100 != 99).for_each(|sequence| tracker.note(STREAM, 1, sequence));
    tell(&mut tracker, &mut ledger, NOW);
    for round in 0..40 {
        for number in 0..2000 {
            tracker.note(StreamId(4), 10 + round * 2000 + number, 0);
        }
        tell(&mut tracker, &mut ledger, NOW + u64::from(round) * 100_000_000);
    }
    assert!(ledger.series.len() <= SERIES_MAX && ledger.untracked() > 0);
    assert_eq!(ledger.streams()[&STREAM], loss(990, 9, 0), "the last number to come was 998");
    // A minute later there is room again, and nothing is forgotten.
    tracker.note(StreamId(5), 1, 7);
    tell(&mut tracker, &mut ledger, NOW + 2 * IDLE_NS);
    let streams = ledger.streams();
    assert_eq!((streams[&STREAM], streams[&StreamId(5)]), (loss(990, 9, 0), loss(1, 7, 0)));
    assert!(ledger.series.len() < 10 && ledger.over.len() == 2);
}

#[test]
fn a_worker_makes_room_for_the_series_in_use() {
    let (mut tracker, mut ledger) = (LossTracker::default(), LossLedger::default());
    for sequence in 0..3000_u32 {
        tracker.note(STREAM, 7, u64::from(sequence));
        tracker.note(StreamId(1), 100 + sequence, 0);
    }
    tell(&mut tracker, &mut ledger, NOW);
    let streams = ledger.streams();
    assert_eq!((streams[&STREAM], streams[&StreamId(1)]), (loss(3000, 0, 0), loss(3000, 0, 0)));
    // The number came already, and is remembered though a thousand other series came in between.
    tracker.note(STREAM, 7, 2999);
    tell(&mut tracker, &mut ledger, NOW);
    assert_eq!(ledger.streams()[&STREAM], loss(3000, 0, 1));
}

#[test]
fn numbers_that_another_worker_has_yet_to_tell_of_are_not_lost_and_what_stays_missing_is() {
    let (mut even, mut odd, mut ledger) = (LossTracker::default(), LossTracker::default(), LossLedger::default());
    let lost = |ledger: &LossLedger, now_ns: u64| ledger.settled_streams(now_ns)[&STREAM].lost;
    let (mut now_ns, mut missing) = (NOW, 0);
    for round in 0..100 {
        for at in round * 100..(round + 1) * 100 {
            // Three datagrams do not come.
            if round == 50 && at % 100 < 3 {
                missing += 1;
                continue;
            }
            if at % 2 == 0 { &mut even } else { &mut odd }.note(STREAM, 9, at);
        }
        // The two tell one after the other, and somebody asks in between.
        tell(&mut even, &mut ledger, now_ns);
        let between = lost(&ledger, now_ns);
        tell(&mut odd, &mut ledger, now_ns + 5_000_000);
        let after = lost(&ledger, now_ns + 5_000_000);
        let expected = if round < 50 {
            0..=0
        } else if round < 57 {
            0..=3
        } else {
            3..=3
        };
        assert!(expected.contains(&between) && expected.contains(&after), "{round}: {between}, {after}");
        now_ns += 100_000_000;
    }
    assert_eq!((missing, ledger.streams()[&STREAM].lost), (3, 3));
    assert_eq!(lost(&ledger, now_ns + SETTLED_NS), 3, "nothing comes any more, so nothing is awaited");
}
