use vxtap_wire::{Direction, FiveTuple, FlowKey, FrameView, IpAddress, IpVersion, protocol};

use super::*;
use crate::stream::StreamId;

fn flow(number: u16, bytes: u64) -> Flow {
    let tuple = FiveTuple {
        source: IpAddress::v4([10, 0, 0, 1]),
        destination: IpAddress::v4([10, 0, 0, 2]),
        source_port: 1024 + number,
        destination_port: 80,
        protocol: protocol::TCP,
        version: IpVersion::V4,
    };
    let key = FlowKey::new(NetworkId(1), &tuple).0;
    let mut flow = Flow::begin(key, Direction::LowToHigh, StreamId(0), &FrameView::parse(&[]));
    flow.to_responder.bytes = bytes;
    flow
}

/// Byte counts in an order that has nothing to do with the flows' numbers.
fn bytes_of(number: u16) -> u64 {
    u64::from(number) * 7919 % 5003
}

fn page(query: &FlowQuery, numbers: impl Iterator<Item = u16>) -> FlowPage {
    let mut list = FlowList::new(query).unwrap();
    for number in numbers {
        list.add(0, &flow(number, bytes_of(number)), || ("vni 1 from 10.1.1.1".to_owned(), None));
    }
    list.finish()
}

#[test]
fn the_largest_come_first_and_all_are_counted() {
    let query = FlowQuery { limit: 10, ..FlowQuery::default() };
    let page = page(&query, 0..5000);
    let mut expected: Vec<u64> = (0..5000).map(bytes_of).collect();
    expected.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(page.flows.iter().map(FlowSnapshot::bytes).collect::<Vec<_>>(), expected[..10]);
    assert_eq!((page.total, page.matching), (5000, 5000));
    assert!(page.flows.iter().all(|flow| flow.community_id.starts_with("1:")));
}

#[test]
fn ascending_gives_the_smallest() {
    let query = FlowQuery { limit: 3, ascending: true, ..FlowQuery::default() };
    let bytes: Vec<u64> = page(&query, 0..5000).flows.iter().map(FlowSnapshot::bytes).collect();
    assert_eq!(bytes, [0, 1, 2]);
}

#[test]
fn lists_of_two_workers_merge_into_what_one_would_have_listed() {
    for sort in [FlowSort::Bytes, FlowSort::Originator, FlowSort::State] {
        let query = FlowQuery { limit: 50, sort, filter: "tcp".to_owned(), ..FlowQuery::default() };
        let mut merged = FlowList::new(&query).unwrap();
        merged.merge(page(&query, (0..1000).filter(|number| number % 2 == 0)));
        merged.merge(page(&query, (0..1000).filter(|number| number % 2 == 1)));
        assert_eq!(merged.finish(), page(&query, 0..1000), "{sort:?}");
    }
}

#[test]
fn a_filter_leaves_out_and_counts() {
    let query = FlowQuery { filter: "port 1030".to_owned(), ..FlowQuery::default() };
    let page = page(&query, 0..100);
    assert_eq!((page.flows.len(), page.matching, page.total), (1, 1, 100));
}
