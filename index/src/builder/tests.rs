use vxtap_wire::{FiveTuple, IpAddress, NetworkId, protocol};

use super::*;
use crate::community_id::CommunityId;
use crate::fingerprint::Fingerprint;
use crate::open::Index;
use crate::query::Query;

const NO_BOUNDS: Bounds = Bounds { flows: usize::MAX, pairs: usize::MAX, pages: usize::MAX };

fn tuple(number: u16) -> FiveTuple {
    FiveTuple {
        source: IpAddress::v4([10, 0, 0, 1]),
        destination: IpAddress::v4([10, 0, 0, 2]),
        source_port: number,
        destination_port: 443,
        protocol: protocol::TCP,
        version: IpVersion::V4,
    }
}

fn flow(number: u16) -> FlowKey {
    FlowKey::new(NetworkId(1), &tuple(number)).0
}

/// Page `number` of pages of 64 KiB.
fn page(number: u64) -> PageRange {
    let length = IndexBuilder::MIN_PAGE_BYTES;
    PageRange { offset: number * length, length, first_ns: number, last_ns: number, records: 1 }
}

/// The first and the last page, and one more, of each stretch where a search for a flow would look.
fn ranges_of(builder: IndexBuilder, flow: u16) -> Vec<(u64, u64)> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let length = builder.pages.last().map_or(0, Page::end);
    builder.encode(Fingerprint { length, head: 0, tail: 0 }, length, &mut bytes).unwrap();
    let index = Index::from_bytes(bytes.into_inner()).unwrap();
    let query = Query { community_id: Some(CommunityId::of(&tuple(flow))), ..Query::default() };
    let ranges = crate::query::ranges(&query.plan(&index).unwrap().pages);
    ranges.iter().map(|range| (range.start >> 16, range.end >> 16)).collect()
}

/// Flows 0 to 9, of which each is in the pages that its number divides.
fn told(bounds: Bounds) -> IndexBuilder {
    let mut builder = IndexBuilder::with_bounds(bounds);
    for number in 0..40 {
        let flows: Vec<FlowKey> =
            (1..10).filter(|flow| number % u64::from(*flow) == 0).map(flow).flat_map(|key| [key, key]).collect();
        builder.page(page(number), &flows, false);
    }
    builder
}

fn covers(ranges: &[(u64, u64)], page: u64) -> bool {
    ranges.iter().any(|(from, to)| (*from..*to).contains(&page))
}

#[test]
fn a_flow_is_looked_for_where_it_was_told_to_be() {
    assert_eq!(ranges_of(told(NO_BOUNDS), 7), [(0, 1), (7, 8), (14, 15), (21, 22), (28, 29), (35, 36)]);
    assert!(ranges_of(told(NO_BOUNDS), 11).is_empty());
}

#[test]
fn neighbouring_pages_become_one_range() {
    assert_eq!(ranges_of(told(NO_BOUNDS), 1), [(0, 40)]);
}

#[test]
fn beyond_the_bounds_on_pairs_and_pages_pages_grow_coarser_and_no_flow_is_lost() {
    for bounds in [
        Bounds { pairs: 30, ..NO_BOUNDS },
        Bounds { pages: 7, ..NO_BOUNDS },
        Bounds { pages: 1, ..NO_BOUNDS },
        Bounds { pairs: 9, flows: 9, pages: 3 },
    ] {
        let builder = told(bounds);
        assert!(builder.pairs.len() <= bounds.pairs && builder.pages.len() <= bounds.pages, "{builder:?}");
        assert!(builder.pages.iter().all(|page| !page.anything));
        let mut pairs: Vec<(u32, u32)> = builder.pairs.iter().map(|pair| (pair.flow, pair.page)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), builder.pairs.len(), "no pair twice");
        for flow in 1..10_u16 {
            let ranges = ranges_of(told(bounds), flow);
            for number in (0..40_u64).filter(|number| number % u64::from(flow) == 0) {
                assert!(covers(&ranges, number), "flow {flow} page {number} {bounds:?}");
            }
        }
    }
}

#[test]
fn a_page_with_more_flows_than_are_told_apart_may_have_anything() {
    let mut builder = IndexBuilder::with_bounds(Bounds { flows: 2, ..NO_BOUNDS });
    builder.page(page(0), &[flow(1), flow(2)], false);
    builder.page(page(1), &[flow(1)], false);
    builder.page(page(2), &[flow(2), flow(3)], false);
    assert_eq!(builder.pages.iter().map(|page| page.anything).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(ranges_of(builder, 3), [(2, 3)]);
}

#[test]
fn a_page_of_anything_is_read_by_every_search() {
    let mut builder = IndexBuilder::new();
    builder.page(page(0), &[flow(1)], false);
    builder.page_of_anything(page(1));
    assert_eq!(ranges_of(builder, 9), [(1, 2)]);
}

#[test]
fn small_appends_become_one_page_up_to_64_kib() {
    let mut builder = IndexBuilder::new();
    for number in 0..100 {
        let range =
            PageRange { offset: number * 5000, length: 4000, first_ns: 100 - number, last_ns: number, records: 2 };
        builder.page(range, &[flow(number as u16)], number == 20);
    }
    assert_eq!(builder.pages.len(), 8);
    let second = builder.pages[1];
    assert_eq!((second.range.offset, second.range.length, second.range.records), (13 * 5000, 64_000, 26));
    assert_eq!((second.range.first_ns, second.range.last_ns), (75, 25));
    assert_eq!(builder.pages.iter().map(|page| page.other_frames).filter(|other| *other).count(), 1);
}

#[test]
fn pages_without_records_are_none() {
    let mut builder = IndexBuilder::new();
    builder.page(PageRange { records: 0, ..page(0) }, [], false);
    assert!(builder.pages.is_empty());
}

/// An Ethernet frame with `packet`, which is IPv4.
fn plain(packet: &[u8]) -> bool {
    let mut frame = vec![0; 12];
    frame.extend_from_slice(packet);
    IndexBuilder::is_plain(&FrameView::parse(&frame))
}

#[test]
fn only_frames_whose_outermost_headers_are_their_flow_keys_are_plain() {
    let ip = |protocol: u8, fragment: u8| {
        let mut packet = vec![8, 0, 0x45, 0, 0, 60, 0, 0, fragment, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend_from_slice(&[0, 80, 0, 81, 0, 40, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0]);
        packet.resize(2 + 60, 0);
        packet
    };
    assert!(plain(&ip(6, 0)) && plain(&ip(17, 0)) && plain(&ip(1, 0)) && plain(&ip(47, 0x40)));
    assert!(!plain(&ip(6, 0x20)), "a fragment");
    assert!(!plain(&ip(51, 0)), "an authentication header");
    assert!(!plain(&[&[0x81, 0, 0, 5], ip(6, 0).as_slice()].concat()), "a tag");
    assert!(!plain(&ip(6, 0)[..30]), "a cut transport header");
    assert!(plain(&ip(6, 0)[..46]), "a cut payload");
    assert!(!plain(&[8, 6, 0, 1]), "not IP");
    let mut inside = ip(4, 0);
    let packet = ip(17, 0)[2..42].to_vec();
    inside.splice(22.., packet);
    assert!(!plain(&inside), "a tunnel");
    let mut ip6 = vec![0x86, 0xdd, 0x60, 0, 0, 0, 0, 28, 0, 64];
    ip6.extend_from_slice(&[1; 32]);
    ip6.extend_from_slice(&[6, 0, 1, 4, 0, 0, 0, 0]);
    ip6.extend_from_slice(&ip(6, 0)[22..42]);
    assert!(!plain(&ip6), "an extension header");
    ip6[8] = 6;
    ip6.drain(42..50);
    ip6[7] = 20;
    assert!(plain(&ip6));
}
