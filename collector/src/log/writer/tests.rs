use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn settings(directory: &tempfile::TempDir) -> (LogSettings, PathBuf) {
    let directory = directory.path().join("log");
    (LogSettings { directory: directory.clone() }, directory.join("eve.json"))
}

fn event(lane: &mut EventLane, text: &str) {
    lane.event(|line| line.extend_from_slice(text.as_bytes()));
}

#[test]
fn events_become_lines_behind_those_that_were_there() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    for run in 0..2 {
        let (handle, mut lanes) = LogWriter::start(&settings, 2).unwrap();
        event(&mut lanes[0], &format!("{{\"run\":{run}}}"));
        event(&mut lanes[0], "{\"ended\":true}\n");
        event(&mut lanes[0], "");
        drop(lanes);
        assert_eq!(handle.finish(), LogTotals { events: 2, events_dropped: 0, error: None });
    }
    let expected = "{\"run\":0}\n{\"ended\":true}\n{\"run\":1}\n{\"ended\":true}\n";
    assert_eq!(fs::read_to_string(path).unwrap(), expected);
}

#[test]
fn an_event_is_in_the_file_when_the_flush_time_has_passed() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let (handle, mut lanes) = LogWriter::start(&settings, 1).unwrap();
    event(&mut lanes[0], "{}");
    lanes[0].flush_if_due(7);
    let due = lanes[0].next_flush_ns().unwrap();
    assert_eq!(due, 7 + LANE.flush.as_nanos() as u64);
    lanes[0].flush_if_due(due);
    until("the event", || handle.status().events == 1);
    assert_eq!(fs::read_to_string(path).unwrap(), "{}\n");
    drop(lanes);
    handle.finish();
}

#[test]
fn a_line_that_an_earlier_run_could_not_finish_does_not_run_into_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    fs::create_dir(&settings.directory).unwrap();
    fs::write(&path, "{\"whole\":1}\n{\"cut").unwrap();
    let (handle, mut lanes) = LogWriter::start(&settings, 1).unwrap();
    event(&mut lanes[0], "{}");
    drop(lanes);
    handle.finish();
    assert_eq!(fs::read_to_string(path).unwrap(), "{\"whole\":1}\n{\"cut\n{}\n");
}

#[test]
fn a_second_writer_to_the_same_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let (handle, lanes) = LogWriter::start(&settings, 1).unwrap();
    let error = LogWriter::start(&settings, 1).unwrap_err().to_string();
    assert_eq!(error, format!("cannot write log file '{}': another process writes to it", path.display()));
    drop(lanes);
    handle.finish();
    let (handle, lanes) = LogWriter::start(&settings, 1).unwrap();
    drop(lanes);
    handle.finish();
}

#[test]
fn a_file_that_was_renamed_is_made_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let (handle, mut lanes) = LogWriter::start(&settings, 1).unwrap();
    event(&mut lanes[0], "{\"old\":1}");
    lanes[0].flush();
    until("the first event", || handle.status().events == 1);
    fs::rename(&path, directory.path().join("eve.json.1")).unwrap();
    let mut sent = 1;
    until("the new file", || {
        sent += 1;
        event(&mut lanes[0], "{\"new\":1}");
        lanes[0].flush();
        path.exists()
    });
    drop(lanes);
    let total = handle.finish();
    let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count() as u64;
    assert_eq!(lines(&path) + lines(&directory.path().join("eve.json.1")), total.events);
    assert_eq!((total.events + total.events_dropped, total.error), (sent, None));
}

#[test]
fn an_event_longer_than_a_block_is_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let (handle, mut lanes) = LogWriter::start(&settings, 1).unwrap();
    event(&mut lanes[0], &"x".repeat(LANE.block_bytes));
    event(&mut lanes[0], "{}");
    assert_eq!(lanes[0].dropped(), 1);
    drop(lanes);
    assert_eq!(handle.finish(), LogTotals { events: 1, events_dropped: 1, error: None });
    assert_eq!(fs::read_to_string(path).unwrap(), "{}\n");
}

#[test]
fn a_full_disk_costs_events_and_writing_goes_on_when_there_is_room_again() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let opened = AtomicUsize::new(0);
    let open = move |path: &Path| match opened.fetch_add(1, Ordering::Relaxed) {
        0 => OpenOptions::new().write(true).open("/dev/full"),
        _ => file::open(path),
    };
    let (handle, mut lanes) = LogWriter::start_with(&settings, 1, LANE, Box::new(open)).unwrap();
    event(&mut lanes[0], "{\"lost\":1}");
    lanes[0].flush();
    until("the error", || handle.status().error.is_some());
    let error = handle.status().error.unwrap();
    assert!(error.starts_with("cannot write log file '") && error.contains("No space left on device"), "{error}");
    let mut sent = 1;
    until("writing", || {
        sent += 1;
        event(&mut lanes[0], "{\"kept\":1}");
        lanes[0].flush();
        handle.status().events > 0
    });
    drop(lanes);
    let total = handle.finish();
    assert_eq!((total.events + total.events_dropped, total.error), (sent, None));
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text, "{\"kept\":1}\n".repeat(total.events as usize));
}

#[test]
fn a_directory_that_cannot_be_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = LogWriter::start(&LogSettings { directory: file.join("log") }, 1).unwrap_err().to_string();
    assert!(error.starts_with("cannot make the log directory '"), "{error}");
    let error = LogWriter::start(&LogSettings { directory: "/proc".into() }, 1).unwrap_err().to_string();
    assert!(error.starts_with("cannot write log file '/proc/eve.json': "), "{error}");
}
