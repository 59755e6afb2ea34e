//! Captures that a collector compresses or deletes while they are searched.

mod support;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use support::{Made, START_NS, Writer, compress, frame};
use vxtap_index::{Extract, ExtractSummary, Query, captures_in, index_path};

const RECORDS: u64 = 500;

/// So many captures of 500 records, each later than the one before.
fn captures(directory: &Path, count: u64) -> Vec<PathBuf> {
    for number in 0..count {
        let mut writer = Writer::new(directory.join(format!("vxtap-{number}.pcapng")));
        let record = |record: u64| {
            let frame = frame(1, 0, 1000);
            let time_ns = START_NS + number * RECORDS + record;
            Made { time_ns, interface: 0, wire_len: frame.len() as u32, frame }
        };
        let records: Vec<Made> = (0..RECORDS).map(record).collect();
        records.chunks(50).for_each(|records| writer.append(records));
        writer.close(true);
    }
    captures_in(directory).unwrap()
}

/// What the collector does with a capture that it compresses.
fn replace(capture: &Path) {
    compress(&capture.with_extension("pcapng.zst"), &std::fs::read(capture).unwrap(), true);
    std::fs::remove_file(capture).unwrap();
}

/// And with one that is too old.
fn delete(capture: &Path) {
    std::fs::remove_file(capture).unwrap();
    std::fs::remove_file(index_path(capture)).unwrap();
}

fn numbers(summary: &ExtractSummary) -> (u64, u64, usize) {
    (summary.files, summary.records_written, summary.damaged.len())
}

#[test]
fn a_capture_that_is_compressed_after_it_was_listed_is_searched_and_one_that_is_deleted_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    let listed = captures(directory.path(), 4);
    replace(&listed[1]);
    delete(&listed[2]);
    let search = Extract::new(Query::default());
    let summary = search.run_listed(&listed, io::sink()).unwrap();
    assert_eq!(numbers(&summary), (3, 3 * RECORDS, 0), "{summary:?}");
    // Whoever names a file wants that one.
    assert!(search.run(&listed, io::sink()).is_err());
}

/// An output that does something when the first records come.
struct Then<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Write for Then<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(then) = self.0.take() {
            then();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_capture_that_is_compressed_after_its_pages_were_planned_is_read_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let listed = captures(directory.path(), 4);
    let change = || {
        replace(&listed[2]);
        delete(&listed[3]);
    };
    let summary = Extract::new(Query::default()).run(&[directory.path().to_owned()], Then(Some(change))).unwrap();
    assert!(!listed[2].exists(), "it was compressed");
    assert_eq!(numbers(&summary), (4, 3 * RECORDS, 0), "{summary:?}");
}
