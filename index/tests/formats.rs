//! Captures of every format are read as `vxtap_capfile` reads them.

mod support;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use support::{Made, START_NS, Writer, compress, extract, extract_with, frame, make_old, read};
use vxtap_index::{CommunityId, Extract, Query, captures_in, index_path};
use vxtap_wire::FrameView;

/// Fields in the byte order of a file.
#[derive(Clone, Copy, Debug)]
struct Order {
    big: bool,
}

impl Order {
    fn u16(self, out: &mut Vec<u8>, value: u16) {
        out.extend_from_slice(&if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn u32(self, out: &mut Vec<u8>, value: u32) {
        out.extend_from_slice(&if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn block(self, out: &mut Vec<u8>, kind: u32, body: &[u8]) {
        let length = 12 + body.len().next_multiple_of(4) as u32;
        self.u32(out, kind);
        self.u32(out, length);
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(4), 0);
        self.u32(out, length);
    }

    fn section(self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        self.u32(&mut body, 0x1a2b_3c4d);
        self.u16(&mut body, 1);
        self.u16(&mut body, 0);
        body.extend_from_slice(&[0xff; 8]);
        self.block(out, 0x0a0d_0d0a, &body);
    }

    fn interface(self, out: &mut Vec<u8>, link_type: u16, snap_len: u32, resolution: u8, offset: i64) {
        let mut body = Vec::new();
        self.u16(&mut body, link_type);
        self.u16(&mut body, 0);
        self.u32(&mut body, snap_len);
        self.u16(&mut body, 9);
        self.u16(&mut body, 1);
        body.extend_from_slice(&[resolution, 0, 0, 0]);
        self.u16(&mut body, 14);
        self.u16(&mut body, 8);
        body.extend_from_slice(&if self.big { offset.to_be_bytes() } else { offset.to_le_bytes() });
        self.block(out, 1, &body);
    }

    /// An enhanced (6) or obsolete (2) packet block.
    fn packet(self, out: &mut Vec<u8>, kind: u32, interface: u16, ticks: u64, frame: &[u8]) {
        let mut body = Vec::new();
        if kind == 6 {
            self.u32(&mut body, interface.into());
        } else {
            self.u16(&mut body, interface);
            self.u16(&mut body, 77);
        }
        self.u32(&mut body, (ticks >> 32) as u32);
        self.u32(&mut body, ticks as u32);
        self.u32(&mut body, frame.len() as u32);
        self.u32(&mut body, frame.len() as u32 + 1);
        body.extend_from_slice(frame);
        self.block(out, kind, &body);
    }

    fn simple(self, out: &mut Vec<u8>, wire_len: u32, frame: &[u8]) {
        let mut body = Vec::new();
        self.u32(&mut body, wire_len);
        body.extend_from_slice(frame);
        self.block(out, 3, &body);
    }

    fn classic(self, nanoseconds: bool, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        self.u32(&mut out, if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 });
        self.u16(&mut out, 2);
        self.u16(&mut out, 4);
        for field in [0, 0, 65_535, 1] {
            self.u32(&mut out, field);
        }
        for (second, frame) in (1..).zip(frames) {
            for field in [second, 999, frame.len() as u32, 2000] {
                self.u32(&mut out, field);
            }
            out.extend_from_slice(frame);
        }
        out
    }
}

fn frames() -> Vec<Vec<u8>> {
    (0..24).map(|number| frame(number % 5, number % 12, usize::from(number) * 3)).collect()
}

/// A file with sections of both byte orders and interfaces of many kinds of time.
fn sections(simple: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for big in [false, true, true, false] {
        let order = Order { big };
        order.section(&mut out);
        for (resolution, offset) in [(6, 0), (9, 0), (3, 1_000_000), (0x94, -5)] {
            order.interface(&mut out, if resolution == 3 { 101 } else { 1 }, 70, resolution, offset);
        }
        for (number, frame) in (0_u16..).zip(frames()) {
            match number % 3 {
                0 => order.packet(&mut out, 2, number % 4, 1_000_000 + u64::from(number), &frame),
                1 if simple => order.simple(&mut out, frame.len() as u32, &frame[..frame.len().min(70)]),
                _ => order.packet(&mut out, 6, number % 4, 7 << 33, &frame),
            }
            order.block(&mut out, 0x8000_0001, &[0; 5]);
        }
        order.block(&mut out, 5, &[0; 12]);
    }
    out
}

fn samples() -> Vec<Vec<u8>> {
    let mut samples = vec![sections(false), sections(true), Vec::new()];
    for big in [false, true] {
        for nanoseconds in [false, true] {
            samples.push(Order { big }.classic(nanoseconds, &frames()));
        }
    }
    samples
}

/// Asserts that a search for everything finds what the reader reads; gives how many records that are.
fn same_as_reader(path: &Path) -> usize {
    let (mut expected, damaged) = read(path);
    expected.sort_by_key(|record| record.0);
    // Even an index that says all is well must not hide damage.
    let (found, summary) = extract(&Query::default(), &[path.to_owned()]);
    let found: Vec<_> = found.into_iter().map(|made| (made.time_ns, made.wire_len, made.frame)).collect();
    assert_eq!(found, expected);
    assert_eq!(!summary.damaged.is_empty(), damaged, "{:?}", summary.damaged);
    found.len()
}

#[test]
fn every_format_is_read_as_the_reader_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("foreign.pcap");
    let mut records = Vec::new();
    for sample in samples().iter().filter(|sample| !sample.is_empty()) {
        std::fs::write(&path, sample).unwrap();
        make_old(&path);
        records.push(same_as_reader(&path));
    }
    assert_eq!(records, [96, 96, 24, 24, 24, 24]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_capture_is_read_as_far_as_the_reader_reads_it(
        sample in 0..7_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = samples()[sample].clone();
        for (at, value) in changes.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        if let Some(cut) = cut.filter(|_| !bytes.is_empty()) {
            bytes.truncate(cut.index(bytes.len()));
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("foreign.pcap");
        std::fs::write(&path, &bytes).unwrap();
        make_old(&path);
        if !bytes.is_empty() {
            same_as_reader(&path);
        }
    }
}

fn flow(number: u8) -> Query {
    let tuple = FrameView::parse(&frame(number, 0, 0)).five_tuple.unwrap();
    Query { community_id: Some(CommunityId::of(&tuple)), ..Query::default() }
}

/// Two captures that overlap in time; flow 9 is in the first only.
fn captures(directory: &Path) -> Vec<PathBuf> {
    let path = |number| directory.join(format!("vxtap-{number}.pcapng"));
    for number in 0..2_u64 {
        let mut writer = Writer::new(path(number));
        let records: Vec<Made> = (0..200)
            .map(|record| {
                let flow = if record % 40 == 7 { 9 - 6 * number as u8 } else { (record % 3) as u8 };
                let frame = frame(flow, 0, 30);
                Made { time_ns: START_NS + record * 2 + number, interface: 1, wire_len: frame.len() as u32, frame }
            })
            .collect();
        records.chunks(20).for_each(|records| writer.append(records));
        writer.close(true);
    }
    (0..2).map(path).collect()
}

#[test]
fn compressed_captures_are_searched_by_the_index_of_what_was_compressed() {
    let directory = tempfile::tempdir().unwrap();
    let plain = captures(directory.path());
    let queries = [Query::default(), flow(0), flow(9), flow(3), flow(7)];
    let expected: Vec<_> = queries.iter().map(|query| extract(query, &plain).0).collect();
    for path in &plain {
        compress(&path.with_extension("pcapng.zst"), &std::fs::read(path).unwrap(), true);
        assert_eq!(index_path(path), index_path(&path.with_extension("pcapng.zst")));
    }
    assert_eq!(captures_in(directory.path()).unwrap(), plain, "those that are there in both forms count once");
    for path in &plain {
        std::fs::remove_file(path).unwrap();
    }
    for (query, expected) in queries.iter().zip(&expected) {
        let (found, summary) = extract(query, &[directory.path().to_owned()]);
        assert_eq!((&found, summary.files_without_index, summary.files), (expected, 0, 2));
    }
    let nothing = extract(&flow(7), &[directory.path().to_owned()]).1;
    assert_eq!((nothing.bytes_read, nothing.records_examined), (0, 0));
}

#[test]
fn compressed_captures_without_an_index_of_use_are_read_and_get_one() {
    let directory = tempfile::tempdir().unwrap();
    let plain = captures(directory.path());
    let expected = extract(&Query::default(), &plain).0;
    for (path, stated) in plain.iter().zip([true, false]) {
        compress(&path.with_extension("pcapng.zst"), &std::fs::read(path).unwrap(), stated);
        std::fs::remove_file(path).unwrap();
        std::fs::write(index_path(path), "").unwrap();
    }
    let search = Extract::new(Query::default());
    let (found, summary) = extract_with(&search, &[directory.path().to_owned()]);
    assert_eq!((&found, summary.files_without_index, summary.indexes_kept), (&expected, 2, 2));
    // Of the second it is not known how long it is.
    let (found, summary) = extract_with(&search, &[directory.path().to_owned()]);
    assert_eq!((&found, summary.files_without_index), (&expected, 1));
}

#[test]
fn a_compressed_capture_that_is_damaged_is_read_up_to_there() {
    let directory = tempfile::tempdir().unwrap();
    let plain = captures(directory.path());
    let path = plain[0].with_extension("pcapng.zst");
    compress(&path, &std::fs::read(&plain[0]).unwrap(), false);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    std::fs::remove_file(index_path(&path)).unwrap();
    let (found, summary) = extract_with(&Extract::new(Query::default()), &[path]);
    assert_eq!((summary.damaged.len(), summary.indexes_kept), (1, 0));
    let expected = extract(&Query::default(), &plain[..1]).0;
    assert!(found.len() < expected.len() && found == expected[..found.len()], "{} records", found.len());
}
