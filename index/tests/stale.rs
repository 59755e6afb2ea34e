//! Indexes that are not of the capture as it is now, and when new ones are kept.

mod support;

use std::path::{Path, PathBuf};

use support::{Made, START_NS, Writer, extract, extract_with, frame, make_old, read};
use vxtap_capfile::pcapng::{InterfaceStatistics, PacketHeader};
use vxtap_index::{CommunityId, Extract, ExtractSummary, Query, index_path};
use vxtap_wire::FrameView;

fn record(number: u64, flow: u8) -> Made {
    let frame = frame(flow, 0, 200);
    Made { time_ns: START_NS + number, interface: 0, wire_len: frame.len() as u32, frame }
}

/// A capture of 100 records in 10 pages, of which every tenth is of flow 5, with its index.
fn capture(directory: &Path) -> PathBuf {
    let path = directory.join("vxtap-1.pcapng");
    let mut writer = Writer::new(path.clone());
    let records: Vec<Made> = (0..100).map(|number| record(number, if number % 10 == 9 { 5 } else { 1 })).collect();
    records.chunks(10).for_each(|records| writer.append(records));
    writer.close(true);
    path
}

fn flow_5() -> Query {
    let tuple = FrameView::parse(&frame(5, 0, 0)).five_tuple.unwrap();
    Query { community_id: Some(CommunityId::of(&tuple)), ..Query::default() }
}

fn search(path: &Path) -> (usize, ExtractSummary) {
    let (found, summary) = extract(&flow_5(), &[path.to_owned()]);
    (found.len(), summary)
}

#[test]
fn the_index_of_an_unchanged_capture_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let (found, summary) = search(&capture(directory.path()));
    assert_eq!((found, summary.files_without_index), (10, 0));
}

#[test]
fn the_index_of_a_capture_that_was_cut_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (found, summary) = search(&path);
    assert_eq!((found, summary.files_without_index), (5, 1));
}

#[test]
fn the_index_of_a_capture_that_grew_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    PacketHeader { interface: 0, time_ns: START_NS + 500, wire_len: 0 }.append_to(&mut bytes, &frame(5, 0, 3));
    std::fs::write(&path, bytes).unwrap();
    let (found, summary) = search(&path);
    assert_eq!((found, summary.files_without_index), (11, 1));
}

#[test]
fn the_index_of_a_capture_that_was_written_anew_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let length = std::fs::metadata(&path).unwrap().len();
    let mut writer = Writer::new(path.clone());
    let records: Vec<Made> = (0..100).map(|number| record(number, if number % 5 == 1 { 5 } else { 1 })).collect();
    records.chunks(10).for_each(|records| writer.append(records));
    writer.close(false);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
    let (found, summary) = search(&path);
    assert_eq!((found, summary.files_without_index), (20, 1));
}

#[test]
fn an_index_whose_capture_changed_between_its_ends_is_removed_when_that_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let page = 5 << 16;
    bytes[page + 4] ^= 0x40;
    std::fs::write(&path, &bytes).unwrap();
    let (found, summary) = extract_with(&Extract::new(flow_5()), std::slice::from_ref(&path));
    assert_eq!((found.len(), summary.files_without_index, summary.damaged.len()), (9, 0, 1));
    assert!(summary.damaged[0].what.contains(&format!("beyond byte {page}")), "{:?}", summary.damaged);
    assert!(!index_path(&path).exists());
    let (found, summary) = search(&path);
    assert_eq!((found, summary.files_without_index, summary.damaged.len()), (5, 1, 1));
}

#[test]
fn the_new_index_of_a_complete_capture_is_kept_and_answers_as_the_writers_does() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let (by_writers_index, _) = extract(&flow_5(), std::slice::from_ref(&path));
    std::fs::write(index_path(&path), "damaged").unwrap();
    make_old(&path);
    let search = Extract::new(flow_5());
    let (found, summary) = extract_with(&search, &[directory.path().to_owned()]);
    assert_eq!((&found, summary.files_without_index, summary.indexes_kept), (&by_writers_index, 1, 1));
    let (found, summary) = extract_with(&search, &[directory.path().to_owned()]);
    assert_eq!((&found, summary.files_without_index, summary.indexes_kept), (&by_writers_index, 0, 0));
    let names = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names, 2, "no temporary file is left");
}

#[test]
fn a_capture_that_is_being_written_is_read_to_its_last_whole_block_and_gets_no_index() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    std::fs::remove_file(index_path(&path)).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    PacketHeader { interface: 0, time_ns: START_NS + 500, wire_len: 0 }.append_to(&mut bytes, &frame(5, 0, 3));
    bytes.truncate(bytes.len() - 5);
    std::fs::write(&path, &bytes).unwrap();
    let (found, summary) = extract_with(&Extract::new(flow_5()), std::slice::from_ref(&path));
    assert_eq!((found.len(), summary.indexes_kept, summary.damaged.len()), (10, 0, 0));

    // Its writer gives it an end.
    bytes.truncate(10 << 16);
    InterfaceStatistics::default().append_to(&mut bytes);
    std::fs::write(&path, &bytes).unwrap();
    let (found, summary) = extract_with(&Extract::new(flow_5()), &[path]);
    assert_eq!((found.len(), summary.indexes_kept, summary.damaged.len()), (10, 1, 0));
}

#[test]
fn a_capture_that_was_left_half_written_is_told_as_damaged_with_an_index_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 7]).unwrap();
    make_old(&path);
    let search = Extract::new(flow_5());
    for kept in [1, 0] {
        let (found, summary) = extract_with(&search, std::slice::from_ref(&path));
        assert_eq!((found.len(), summary.indexes_kept, summary.damaged.len()), (10, kept, 1));
        assert!(summary.damaged[0].what.contains("cannot be read beyond byte"), "{:?}", summary.damaged);
    }
}

#[test]
fn a_search_in_a_directory_that_cannot_be_written_goes_on_without_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let path = capture(directory.path());
    // A directory in the index's place cannot be replaced, by nobody.
    let index = index_path(&path);
    std::fs::remove_file(&index).unwrap();
    std::fs::create_dir(&index).unwrap();
    make_old(&path);
    let (found, summary) = extract_with(&Extract::new(flow_5()), &[path]);
    assert_eq!((found.len(), summary.files_without_index, summary.indexes_kept), (10, 1, 0));
    assert!(summary.damaged.is_empty());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "no temporary file is left");
}

#[test]
fn inputs_that_are_not_there_or_no_captures_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent.pcapng");
    let error = Extract::new(Query::default()).run(&[absent], Vec::new()).unwrap_err().to_string();
    assert!(error.contains("absent.pcapng': No such file"), "{error}");
    let text = directory.path().join("text.pcap");
    std::fs::write(&text, "no capture at all, but some words of text").unwrap();
    let (found, summary) = extract(&Query::default(), std::slice::from_ref(&text));
    assert_eq!((found.len(), summary.damaged.len()), (0, 1));
    assert_eq!(
        summary.damaged[0].what,
        "it cannot be read: it is not a capture file (pcap, pcapng, or one of these that a collector has compressed)"
    );
    assert!(read(&text).1);
}
