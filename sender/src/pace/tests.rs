use super::*;

fn pps(rate: u64) -> Timing {
    Timing::Rate(Rate::PacketsPerSecond(NonZeroU64::new(rate).unwrap()))
}

/// Sends frames of `slot` until `end_ns`, waking `late_ns` after each time asked for; the times of all frames.
fn run(pacer: &mut Pacer, slot: Slot, end_ns: u64, late_ns: u64) -> Vec<u64> {
    let batch = [slot; 64];
    let (mut now, mut times) = (0, Vec::new());
    loop {
        loop {
            let taken = pacer.take_due(now, &batch);
            times.extend(std::iter::repeat_n(now, taken));
            if taken < batch.len() {
                break;
            }
        }
        now = pacer.due_ns(&slot).unwrap() + late_ns;
        if now >= end_ns {
            return times;
        }
    }
}

#[test]
fn the_rate_is_exact_however_late_the_wake_ups_are() {
    for (rate, late_ns) in [(10, 70_000), (999, 70_000), (300_000, 70_000), (1_000_000, 0), (3_000_000, 300_000)] {
        let mut pacer = Pacer::new(pps(rate), 36, None);
        let seconds = 10;
        let sent = run(&mut pacer, Slot::default(), seconds * 1_000_000_000, late_ns).len() as u64;
        let slack = 1 + rate * late_ns / 1_000_000_000;
        assert!(sent.abs_diff(rate * seconds) <= slack, "{rate}/s, {late_ns} ns late: {sent}");
        assert_eq!(pacer.behind_ns(), 0);
    }
}

#[test]
fn a_gap_that_is_no_whole_nanosecond_is_not_rounded() {
    let mut pacer = Pacer::new(pps(3_000_000), 36, None);
    let sent = run(&mut pacer, Slot::default(), 10_000_000_000, 1_000_000).len() as u64;
    assert!(sent.abs_diff(30_000_000) <= 3_001, "{sent}");
}

#[test]
fn the_first_frame_is_due_at_once_and_the_next_one_gap_later() {
    let mut pacer = Pacer::new(pps(10), 36, None);
    let batch = [Slot::default(); 8];
    assert_eq!(pacer.take_due(0, &batch), 1);
    assert_eq!(pacer.due_ns(&batch[0]), Some(100_000_000));
    assert_eq!(pacer.take_due(99_999_999, &batch), 0);
    assert_eq!(pacer.take_due(100_000_000, &batch), 1);
}

#[test]
fn a_bit_rate_counts_the_outer_packet() {
    let slot = Slot { len: 964, frame_len: 1464, ..Slot::default() };
    let mut pacer = Pacer::new(Timing::Rate(Rate::BitsPerSecond(NonZeroU64::new(8_000_000).unwrap())), 36, None);
    // 1000 bytes of outer packet at a million bytes a second: a frame each millisecond.
    assert_eq!(pacer.take_due(0, &[slot; 3]), 1);
    assert_eq!(pacer.due_ns(&slot), Some(1_000_000));
}

#[test]
fn original_timing_keeps_the_gaps_and_divides_them_by_the_speed() {
    let slots = [0, 4_000, 0, 1_000].map(|gap_ns| Slot { gap_ns, ..Slot::default() });
    let mut pacer = Pacer::new(Timing::Original { speed: 2.0, max_gap: None }, 36, None);
    assert_eq!(pacer.take_due(0, &slots), 1);
    assert_eq!(pacer.due_ns(&slots[1]), Some(2_000));
    assert_eq!(pacer.take_due(1_999, &slots[1..]), 0);
    assert_eq!(pacer.take_due(2_000, &slots[1..]), 2);
    assert_eq!(pacer.due_ns(&slots[3]), Some(2_500));
}

#[test]
fn a_long_gap_is_cut_where_asked() {
    let slot = Slot { gap_ns: u64::MAX, ..Slot::default() };
    let pacer = Pacer::new(Timing::Original { speed: 1.0, max_gap: Some(Duration::from_secs(2)) }, 36, None);
    assert_eq!(pacer.due_ns(&slot), Some(2_000_000_000));
    let pacer = Pacer::new(Timing::Original { speed: 1e-12, max_gap: None }, 36, None);
    assert_eq!(pacer.due_ns(&slot), Some(u64::MAX));
}

#[test]
fn after_a_stall_frames_leave_at_most_at_twice_the_rate_until_the_debt_is_paid() {
    let rate = 100_000;
    let mut pacer = Pacer::new(pps(rate), 36, None);
    let batch = [Slot::default(); 64];
    let take_all = |pacer: &mut Pacer, now| {
        let mut all = 0;
        loop {
            let taken = pacer.take_due(now, &batch);
            all += taken;
            if taken < batch.len() {
                return all as u64;
            }
        }
    };
    take_all(&mut pacer, 0);
    // Half a second passes: 50,000 frames are owed, 2,000 may go at once.
    let burst = take_all(&mut pacer, 500_000_000);
    assert!(burst <= 2 * rate * BURST_NS / 1_000_000_000 + 1, "{burst}");
    let mut sent = 1 + burst;
    for ms in 1..=500 {
        let taken = take_all(&mut pacer, (500 + ms) * 1_000_000);
        assert!(taken <= 2 * rate / 1000 + 1, "{taken} in millisecond {ms}");
        sent += taken;
    }
    assert!(sent.abs_diff(rate) <= 1, "{sent} after one second");
    assert_eq!(pacer.behind_ns(), 0);
}

#[test]
fn what_is_owed_for_more_than_a_second_is_forgiven_and_told() {
    let mut pacer = Pacer::new(pps(1000), 36, None);
    assert_eq!(pacer.take_due(0, &[Slot::default()]), 1);
    pacer.take_due(4_001_000_000, &[Slot::default()]);
    assert_eq!(pacer.behind_ns(), 3_000_000_000);
}

#[test]
fn at_top_speed_everything_is_due() {
    let mut pacer = Pacer::new(Timing::Rate(Rate::TopSpeed), 36, None);
    assert_eq!(pacer.take_due(0, &[Slot::default(); 64]), 64);
}

#[test]
fn exactly_the_frames_that_are_due_before_the_end_are_sent_though_a_burst_is_held_back() {
    let mut pacer = Pacer::new(pps(60_000), 36, Some(Duration::from_secs(3)));
    let batch = [Slot::default(); 64];
    let (mut now, mut sent) = (0, 0);
    // It sleeps over the end.
    while let Some(due) = pacer.due_ns(&batch[0]) {
        now = if due > 2_900_000_000 && now < 3_000_000_000 { 3_000_500_000 } else { due };
        loop {
            let taken = pacer.take_due(now, &batch);
            sent += taken;
            if taken < batch.len() {
                break;
            }
        }
    }
    assert_eq!(sent, 180_000);
    assert!(now > 3_000_500_000);
}

#[test]
fn what_is_sent_within_a_time_is_bounded_by_the_rate_or_by_the_capture_s_time() {
    let within = |timing: Timing| timing.within(Duration::from_millis(250));
    assert_eq!(within(pps(1)), (1, u64::MAX));
    assert_eq!(within(pps(4_000)), (1_000, u64::MAX));
    let bits = Rate::BitsPerSecond(NonZeroU64::new(100_000_000).unwrap());
    assert_eq!(within(Timing::Rate(bits)), (2_064, u64::MAX));
    assert_eq!(within(Timing::Rate(Rate::TopSpeed)), (usize::MAX, u64::MAX));
    assert_eq!(within(Timing::Original { speed: 2.0, max_gap: None }), (usize::MAX, 500_000_000));
}
