use proptest::prelude::*;

use super::*;

fn slots(frames: &[(u32, u32)]) -> Vec<Slot> {
    frames
        .iter()
        .map(|(flow, len)| Slot { flow: flow << 24, len: *len, frame_len: *len, head: 8, ..Slot::default() })
        .collect()
}

/// The trains of `frames`, which are flow and length of each, as indices.
fn plan(frames: &[(u32, u32)], max_bytes: u32) -> Vec<Vec<u16>> {
    let mut planner = Planner::new();
    let indices: Vec<u16> = (0..frames.len() as u16).collect();
    planner.plan(&slots(frames), &indices, Method::Trains, max_bytes);
    (0..planner.trains()).map(|train| planner.members(train).to_vec()).collect()
}

#[test]
fn frames_of_one_length_are_one_train() {
    assert_eq!(plan(&[(1, 100), (2, 100), (1, 100)], 65_507), [[0, 1, 2]]);
}

#[test]
fn a_train_has_at_most_64_members_and_the_bytes_of_one_packet() {
    let trains = plan(&[(1, 100); 150], 65_507);
    assert_eq!(trains.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22]);
    let trains = plan(&[(1, 992); 5], 2_999);
    assert_eq!(trains.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
}

#[test]
fn a_frame_joins_an_earlier_train_only_before_nothing_of_its_own_flow() {
    // Flow 2's second frame may join the first train, flow 1's third may not: its second is in a later one.
    assert_eq!(plan(&[(1, 100), (1, 500), (2, 100), (1, 100)], 65_507), [vec![0, 2], vec![1, 3]]);
}

#[test]
fn a_single_shorter_frame_closes_a_train() {
    assert_eq!(plan(&[(1, 500), (1, 500), (1, 60)], 65_507), [vec![0, 1, 2]]);
    // A longer one cannot: it needs a train of its own.
    assert_eq!(plan(&[(1, 60), (1, 60), (1, 500)], 65_507), [vec![0, 1], vec![2]]);
}

#[test]
fn a_shorter_frame_is_the_last_of_its_train_though_longer_ones_came_behind_it() {
    let trains = plan(&[(1, 500), (2, 60), (3, 500)], 65_507);
    assert_eq!(trains, [vec![0, 2, 1]]);
}

#[test]
fn without_segmentation_each_frame_stays_alone_and_in_place() {
    let mut planner = Planner::new();
    planner.plan(&slots(&[(1, 100), (2, 50), (3, 100)]), &[0, 1, 2], Method::Batches, 65_507);
    assert_eq!(planner.order(), [0, 1, 2]);
    assert_eq!(planner.trains(), 3);
    assert_eq!(planner.members(1), [1]);
}

#[test]
fn a_planner_remembers_nothing_of_the_plan_before() {
    let mut planner = Planner::new();
    let many = slots(&[(1, 100), (1, 50), (1, 70), (2, 100)]);
    planner.plan(&many, &[0, 1, 2, 3], Method::Trains, 65_507);
    planner.plan(&many, &[3], Method::Trains, 65_507);
    assert_eq!((planner.trains(), planner.members(0)), (1, [3].as_slice()));
    planner.plan(&many, &[0, 3], Method::Trains, 65_507);
    assert_eq!((planner.trains(), planner.members(0)), (1, [0, 3].as_slice()));
}

proptest! {
    #[test]
    fn every_frame_travels_once_in_a_train_that_the_kernel_takes_and_in_the_order_of_its_flow(
        frames in prop::collection::vec((0_u32..40, prop_oneof![Just(54_u32), Just(1454), 1_u32..1600]), 1..400),
        max_bytes in 3_000_u32..65_507,
    ) {
        let trains = plan(&frames, max_bytes);
        let sent: Vec<u16> = trains.concat();
        let mut sorted = sent.clone();
        sorted.sort_unstable();
        prop_assert!(sorted.iter().copied().eq(0..frames.len() as u16));
        for train in &trains {
            let datagrams: Vec<u32> = train.iter().map(|i| frames[usize::from(*i)].1 + 8).collect();
            let (last, others) = datagrams.split_last().unwrap();
            prop_assert!(others.iter().all(|len| *len == others[0]) && others.first().is_none_or(|len| len >= last));
            prop_assert!(train.len() <= 64 && datagrams.iter().sum::<u32>() <= max_bytes);
        }
        for flow in 0..40 {
            let of_flow: Vec<u16> = sent.iter().copied().filter(|i| frames[usize::from(*i)].0 == flow).collect();
            prop_assert!(of_flow.is_sorted(), "flow {}: {:?}", flow, of_flow);
        }
    }
}
