//! Searches with an index find what searches without one find.

mod support;

use std::path::PathBuf;

use proptest::prelude::*;
use support::{Made, START_NS, VNIS, Writer, expected, extract, frame};
use vxtap_filter::Filter;
use vxtap_index::{CommunityId, Query, index_path};
use vxtap_wire::FrameView;

/// Some that flow keys can rule out, some that look at what only other frames have, and some that look at both.
const FILTERS: &[&str] = &[
    "",
    "arp",
    "not ip",
    "tcp port 80",
    "host 10.0.0.1 and not tcp",
    "src host 10.1.0.0 and src port 443",
    "net 10.1.0.1/32 or udp",
    "vlan and host 10.0.0.2",
    "host 172.16.0.1",
    "ip proto 51",
    "ip[6:2] & 0x3fff != 0",
    "greater 90",
    "icmp",
    "vni 7000",
    "not vni 7 and tcp",
    "not outer src 192.0.2.1",
    "outer src 192.0.2.1 and tcp",
];

#[derive(Clone, Debug)]
struct Shape {
    flow: u8,
    way: u8,
    length: usize,
    interface: usize,
    step_ns: i64,
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let shape = (0..12_u8, 0..12_u8, 0..60_usize, 0..VNIS.len(), -3..12_i64)
        .prop_map(|(flow, way, length, interface, step_ns)| Shape { flow, way, length, interface, step_ns });
    prop::collection::vec(shape, 0..120)
}

/// One to four captures that follow each other, roughly in order.
fn files() -> impl Strategy<Value = Vec<Vec<Made>>> {
    prop::collection::vec(shapes(), 1..4).prop_map(|files| {
        let mut time_ns = START_NS;
        let made = |shape: &Shape| {
            time_ns = time_ns.saturating_add_signed(shape.step_ns);
            let frame = frame(shape.flow, shape.way, shape.length);
            Made { time_ns, interface: shape.interface, wire_len: frame.len() as u32 + 3, frame }
        };
        let mut made = made;
        files.iter().map(|shapes| shapes.iter().map(&mut made).collect()).collect()
    })
}

fn queries(files: &[Vec<Made>]) -> Vec<Query> {
    let mut queries = vec![Query::default()];
    let mut ids: Vec<CommunityId> = vec!["1:LQU9qZlK+B5F3KDmev6m5PMibrg=".parse().unwrap()];
    ids.extend(
        files.iter().flatten().filter_map(|made| FrameView::parse(&made.frame).five_tuple).map(|t| CommunityId::of(&t)),
    );
    ids.sort_by_key(ToString::to_string);
    ids.dedup();
    queries.extend(ids.iter().map(|id| Query { community_id: Some(*id), ..Query::default() }));
    for text in FILTERS {
        queries.push(Query { filter: Some(Filter::parse(text).unwrap()), ..Query::default() });
    }
    let (since_ns, until_ns) = (Some(START_NS + 100), Some(START_NS + 400));
    for query in queries.clone() {
        queries.push(Query { since_ns, until_ns, ..query });
    }
    queries
}

/// Writes `files`, with their indexes if `index`; pages have `per_page` records.
fn write(directory: &std::path::Path, files: &[Vec<Made>], per_page: usize, index: bool) -> Vec<PathBuf> {
    let path = |number| directory.join(format!("vxtap-{number:05}.pcapng"));
    for (number, records) in files.iter().enumerate() {
        let mut writer = Writer::new(path(number));
        records.chunks(per_page).for_each(|records| writer.append(records));
        writer.close(index);
    }
    (0..files.len()).map(path).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_search_finds_the_same_with_the_writers_index_with_a_new_one_and_by_looking_at_all(
        files in files(), per_page in 3..40_usize,
    ) {
        let (with, without) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let indexed = write(with.path(), &files, per_page, true);
        let plain = write(without.path(), &files, per_page, false);
        for query in queries(&files) {
            let expected = expected(&files, &query);
            let (found, summary) = extract(&query, &indexed);
            prop_assert_eq!(&found, &expected, "{:?}", query);
            prop_assert_eq!(summary.files_without_index, 0);
            prop_assert_eq!(summary.records_late, 0);
            prop_assert!(summary.damaged.is_empty());
            let (found, summary) = extract(&query, &plain);
            prop_assert_eq!(&found, &expected, "{:?}", query);
            prop_assert_eq!(summary.files_without_index, files.len() as u64);
        }
    }

    #[test]
    fn a_damaged_index_never_changes_what_is_found(
        files in files(), per_page in 3..10_usize, at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let captures = write(directory.path(), &files, per_page, true);
        let index = index_path(&captures[0]);
        let mut bytes = std::fs::read(&index).unwrap();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = value;
        }
        std::fs::write(&index, bytes).unwrap();
        for query in queries(&files) {
            let (found, summary) = extract(&query, &captures);
            prop_assert_eq!(found, expected(&files, &query), "{:?}", query);
            prop_assert!(!cut || summary.files_without_index == 1);
        }
    }
}

/// Pages of 20 records, each page with flows of its own.
fn pages_of_their_own_flows(pages: u8) -> Vec<Made> {
    let made = |page: u8, number: u64| {
        let frame = frame(page, 0, 50);
        let time_ns = START_NS + u64::from(page) * 1000 + number;
        Made { time_ns, interface: 0, wire_len: frame.len() as u32, frame }
    };
    (0..pages).flat_map(|page| (0..20).map(move |number| made(page, number))).collect()
}

#[test]
fn only_the_pages_of_the_flow_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let files = [pages_of_their_own_flows(10)];
    let captures = write(directory.path(), &files, 20, true);
    let tuple = FrameView::parse(&files[0][150].frame).five_tuple.unwrap();
    let query = Query { community_id: Some(CommunityId::of(&tuple)), ..Query::default() };
    let plan = vxtap_index::Extract::new(query.clone()).plan(&captures[0]);
    assert_eq!(plan.len(), 1);
    assert_eq!(plan[0].start, 7 << 16, "the eighth page");
    let (found, summary) = extract(&query, &captures);
    assert_eq!(found, files[0][140..160]);
    assert_eq!((summary.records_examined, summary.records_written), (20, 20));
    assert_eq!(summary.bytes_read, plan[0].end - plan[0].start);
    assert_eq!(summary.bytes_total, 10 << 16);
}

#[test]
fn only_the_pages_of_the_time_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let files = [pages_of_their_own_flows(10)];
    let captures = write(directory.path(), &files, 20, true);
    let query = Query { since_ns: Some(START_NS + 3019), until_ns: Some(START_NS + 5001), ..Query::default() };
    let (found, summary) = extract(&query, &captures);
    assert_eq!(found, files[0][79..101]);
    assert_eq!(summary.records_examined, 60);
    let nothing = Query { since_ns: Some(START_NS + 20), until_ns: Some(START_NS + 900), ..Query::default() };
    let (found, summary) = extract(&nothing, &captures);
    assert_eq!((found.len(), summary.bytes_read), (0, 0));
}

#[test]
fn captures_of_one_time_are_merged_record_by_record() {
    let directory = tempfile::tempdir().unwrap();
    let all = pages_of_their_own_flows(6);
    let files: Vec<Vec<Made>> = (0..3).map(|file| all.iter().skip(file).step_by(3).cloned().collect()).collect();
    let captures = write(directory.path(), &files, 10, true);
    let (found, summary) = extract(&Query::default(), &captures);
    assert_eq!(found, all);
    assert_eq!((summary.files, summary.records_late), (3, 0));
}
