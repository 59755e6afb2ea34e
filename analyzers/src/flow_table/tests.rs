use std::collections::BTreeSet;

use proptest::prelude::*;
use vxtap_wire::{Direction, FiveTuple, FrameView, IpAddress, IpVersion, NetworkId, protocol};

use super::*;
use crate::stream::StreamId;

fn key(number: u32) -> FlowKey {
    let tuple = FiveTuple {
        source: IpAddress::v4((number | 0x0a00_0000).to_be_bytes()),
        destination: IpAddress::v4([192, 0, 2, 1]),
        source_port: 40_000,
        destination_port: 80,
        protocol: protocol::TCP,
        version: IpVersion::V4,
    };
    FlowKey::new(NetworkId(7), &tuple).0
}

fn flow(number: u32, last_ns: u64) -> Flow {
    let mut flow = Flow::begin(key(number), Direction::LowToHigh, StreamId(0), &FrameView::parse(&[]));
    flow.first_ns = last_ns;
    flow.last_ns = last_ns;
    flow
}

fn add(table: &mut FlowTable, number: u32, last_ns: u64) -> Slot {
    let probe = table.probe(&key(number));
    let slot = table.insert(&probe, flow(number, last_ns));
    table.arm(slot);
    slot
}

/// A probe with all steps before the last one.
fn guessed(table: &FlowTable, number: u32) -> Probe {
    let mut probe = table.probe(&key(number));
    let _ = (table.approach(&probe), table.guess(&mut probe));
    probe
}

fn find(table: &FlowTable, number: u32) -> Option<Slot> {
    let found = table.find(&guessed(table, number), &key(number));
    assert_eq!(table.find(&table.probe(&key(number)), &key(number)), found, "without a guess");
    found
}

#[test]
fn a_flow_costs_no_more_than_384_bytes() {
    const { assert!(FlowTable::BYTES_PER_FLOW <= 384) };
}

#[test]
fn slots_stay_while_the_table_grows() {
    let mut table = FlowTable::new(FlowTableLimits::default(), 1);
    let slots: Vec<Slot> = (0..50_000).map(|number| add(&mut table, number, 1)).collect();
    for (number, slot) in slots.iter().enumerate() {
        assert_eq!(find(&table, number as u32), Some(*slot));
        assert_eq!(table.get(*slot).map(|flow| flow.key), Some(key(number as u32)));
    }
}

#[test]
fn a_probe_from_before_a_change_still_finds_the_flow() {
    let mut table = FlowTable::new(FlowTableLimits::default(), 1);
    let early = guessed(&table, 5);
    assert_eq!(table.find(&early, &key(5)), None);
    let slot = add(&mut table, 5, 1);
    assert_eq!(table.find(&early, &key(5)), Some(slot));
    table.remove(slot);
    assert_eq!(table.find(&early, &key(5)), None);
}

#[test]
fn a_table_that_was_emptied_is_as_new() {
    let mut table = FlowTable::new(FlowTableLimits { flows_max: 3000, ..FlowTableLimits::default() }, 1);
    for round in 0..3 {
        for number in 0..3000 {
            add(&mut table, number, 1 + round);
        }
        assert!(table.is_full());
        let mut from = 0;
        let mut taken = BTreeSet::new();
        while let Some((slot, flow)) = table.take_any(from) {
            from = slot.position();
            assert_eq!(table.find(&table.probe(&flow.key), &flow.key), None, "what was taken is not found");
            taken.insert(flow.key);
        }
        assert_eq!((taken.len(), table.len()), (3000, 0));
        assert_eq!(table.evict().map(|flow| flow.key), None, "no timer is left");
    }
}

#[test]
fn eviction_takes_the_longest_silent_of_those_that_end_soonest() {
    const SECOND: u64 = 1_000_000_000;
    let mut table = FlowTable::new(FlowTableLimits { flows_max: 3, ..FlowTableLimits::default() }, 1);
    let start = 1000 * SECOND;
    assert_eq!(table.due(start), None);
    add(&mut table, 1, start + 900_000_000);
    add(&mut table, 2, start + 100_000_000);
    add(&mut table, 3, start + 50 * SECOND);
    assert!(table.is_full());
    assert_eq!(table.evict().map(|flow| flow.key), Some(key(2)));
    assert!(!table.is_full());
    assert_eq!(table.evict().map(|flow| flow.key), Some(key(1)));
    assert_eq!(table.evict().map(|flow| flow.key), Some(key(3)));
    assert!(table.evict().is_none());
}

#[test]
fn parts_cover_every_flow_once() {
    let mut table = FlowTable::new(FlowTableLimits::default(), 1);
    for number in 0..5000 {
        add(&mut table, number, 1);
    }
    for number in (0..5000).step_by(3) {
        let slot = find(&table, number).unwrap();
        table.remove(slot);
    }
    let mut seen = 0;
    let mut from = Some(0);
    while let Some(at) = from {
        let (flows, next) = table.part(at, 700);
        seen += flows.count();
        from = next;
    }
    assert_eq!(seen, table.len());
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_map(steps in proptest::collection::vec((0..300u32, any::<bool>()), 1..2000)) {
        let mut table = FlowTable::new(FlowTableLimits::default(), 9);
        let mut model = BTreeSet::new();
        for (number, put) in steps {
            let found = find(&table, number);
            prop_assert_eq!(found.is_some(), model.contains(&number));
            match (found, put) {
                (None, true) => {
                    add(&mut table, number, u64::from(number));
                    model.insert(number);
                }
                (Some(slot), false) => {
                    prop_assert_eq!(table.remove(slot).map(|flow| flow.key), Some(key(number)));
                    model.remove(&number);
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
        }
    }
}
