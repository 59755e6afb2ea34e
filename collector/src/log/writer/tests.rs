use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use vxtap_analyzers::protocols::{EventKind, EventKinds};

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
    (LogSettings::new(directory.clone()), directory.join("eve.json"))
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
    let (handle, mut lanes) = LogWriter::start_with(&settings, 1, LANE, Box::new(open), false).unwrap();
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
    let error = LogWriter::start(&LogSettings::new(file.join("log")), 1).unwrap_err().to_string();
    assert!(error.starts_with("cannot make the log directory '"), "{error}");
    let error = LogWriter::start(&LogSettings::new("/proc".into()), 1).unwrap_err().to_string();
    assert!(error.starts_with("cannot write log file '/proc/eve.json': "), "{error}");
}

/// What is in the files of a log, the oldest first: names and texts.
fn files(settings: &LogSettings) -> Vec<(String, String)> {
    let names =
        fs::read_dir(&settings.directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    // The open one is the newest.
    names.sort_by_key(|name| (name == FILE_NAME, name.clone()));
    names
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(settings.directory.join(&name)).unwrap();
            (name, text)
        })
        .collect()
}

#[test]
fn rotation_by_size_cuts_no_line_and_loses_none() {
    const LARGEST: usize = 4096;
    let directory = tempfile::tempdir().unwrap();
    let (mut settings, _) = settings(&directory);
    settings.rotation.bytes = Some(LARGEST as u64);
    let lane = LaneSettings { blocks: 2, block_bytes: 9_000, ..LANE };
    let (handle, mut lanes) = LogWriter::start_with(&settings, 2, lane, Box::new(file::open), false).unwrap();
    for lane in &mut lanes {
        lane.set_when_full(crate::blocks::WhenFull::Wait);
    }
    let lengths = [10, 700, 4095, 3, 1500, 6000, 80];
    for number in 0..700_u32 {
        let filler = "x".repeat(lengths[number as usize % lengths.len()]);
        event(&mut lanes[number as usize % 2], &format!("{{\"n\":{number},\"x\":\"{filler}\"}}"));
    }
    drop(lanes);
    assert_eq!(handle.finish(), LogTotals { events: 700, events_dropped: 0, error: None });
    let files = files(&settings);
    let mut numbers = [Vec::new(), Vec::new()];
    for (name, text) in &files {
        assert!(text.len() <= LARGEST || text.lines().count() == 1, "{name} has {} bytes", text.len());
        assert!(text.ends_with('\n'), "{name} ends within a line");
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let number = line["n"].as_u64().unwrap();
            assert_eq!(line["x"].as_str().unwrap().len(), lengths[number as usize % lengths.len()]);
            numbers[number as usize % 2].push(number);
        }
    }
    for (lane, numbers) in numbers.into_iter().enumerate() {
        assert_eq!(numbers, (0..350).map(|n| 2 * n + lane as u64).collect::<Vec<_>>(), "in order, over all files");
    }
}

#[test]
fn a_file_that_was_renamed_is_made_anew_at_once_when_that_is_asked_for_and_no_event_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let (handle, mut lanes) = LogWriter::start(&settings, 1).unwrap();
    let mut lane = lanes.remove(0);
    lane.set_when_full(crate::blocks::WhenFull::Wait);
    let stop = Arc::new(AtomicBool::new(false));
    let writing = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut sent = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                event(&mut lane, &format!("{sent}"));
                lane.flush();
                sent += 1;
            }
            sent
        }
    });
    for turn in 0..20 {
        let before = handle.status().events;
        until("some events", || handle.status().events > before);
        fs::rename(&path, settings.directory.join(format!("eve-{turn:02}.json"))).unwrap();
        handle.reopen().ask();
        until("the new file", || path.exists());
    }
    stop.store(true, Ordering::Relaxed);
    let sent = writing.join().unwrap();
    let reopen = handle.reopen();
    assert_eq!(handle.finish(), LogTotals { events: sent, events_dropped: 0, error: None });
    let text: String = files(&settings).into_iter().map(|(_, text)| text).collect();
    assert!(text.lines().map(|line| line.parse::<u64>().unwrap()).eq(0..sent));
    // Nobody is there any more to hear it.
    reopen.ask();
}

#[test]
fn a_log_that_nothing_comes_for_is_opened_again_when_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let (handle, lanes) = LogWriter::start(&settings, 1).unwrap();
    fs::rename(&path, settings.directory.join("old")).unwrap();
    handle.reopen().ask();
    until("the new file", || path.exists());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    handle.reopen().ask();
    until("the error", || handle.status().error.is_some_and(|error| error.contains("Is a directory")));
    fs::remove_dir(&path).unwrap();
    handle.reopen().ask();
    until("the end of the error", || handle.status().error.is_none());
    drop(lanes);
    handle.finish();
}

#[test]
fn a_file_whose_interval_is_over_is_closed_though_nothing_comes() {
    let directory = tempfile::tempdir().unwrap();
    let (mut settings, path) = settings(&directory);
    settings.rotation.interval = Some(Duration::from_millis(300));
    let (handle, mut lanes) = LogWriter::start(&settings, 1).unwrap();
    event(&mut lanes[0], "{}");
    lanes[0].flush();
    until("the closed file", || files(&settings).iter().any(|(name, text)| name != FILE_NAME && text == "{}\n"));
    until("the next file", || path.exists());
    assert_eq!(files(&settings).len(), 2, "an interval without events leaves no file");
    drop(lanes);
    assert_eq!(handle.finish().events, 1);
}

#[test]
fn a_disk_that_is_full_when_a_file_is_begun_costs_the_events_of_that_time_only() {
    let directory = tempfile::tempdir().unwrap();
    let (mut settings, _) = settings(&directory);
    settings.rotation.bytes = Some(100);
    let opened = AtomicUsize::new(0);
    let open = move |path: &Path| match opened.fetch_add(1, Ordering::Relaxed) {
        1 => Err(io::Error::from_raw_os_error(28)),
        2 => OpenOptions::new().write(true).open("/dev/full"),
        _ => file::open(path),
    };
    let (handle, mut lanes) = LogWriter::start_with(&settings, 1, LANE, Box::new(open), false).unwrap();
    // Of these, more than one file takes: the others come to the disk when it is full.
    let lines = (0..30).fold(String::new(), |lines, number| lines + &format!("{{\"n\":{number}}}\n"));
    lanes[0].lines(lines.as_bytes(), 30);
    lanes[0].flush();
    until("the error", || handle.status().error.is_some());
    let first = handle.status();
    assert!(first.events > 0 && first.events + first.events_dropped == 30, "{first:?}");
    let mut sent = 30;
    until("writing", || {
        event(&mut lanes[0], "{}");
        lanes[0].flush();
        sent += 1;
        handle.status().events > first.events
    });
    drop(lanes);
    let total = handle.finish();
    assert_eq!((total.events + total.events_dropped, total.error), (sent, None));
    let texts: String = files(&settings).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts.lines().count() as u64, total.events);
    assert!(texts.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{texts}");
}

#[test]
fn lines_that_come_together_are_cut_between_two_lines_and_counted_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let lane = LaneSettings { blocks: 64, block_bytes: 32, ..LANE };
    let (handle, mut lanes) = LogWriter::start_with(&settings, 1, lane, Box::new(file::open), false).unwrap();
    let long = "y".repeat(40);
    let lines = format!("one\ntwo\n{long}\n{}three\n", "0123456789\n".repeat(9));
    lanes[0].lines(lines.as_bytes(), 13);
    lanes[0].lines(b"", 0);
    assert_eq!(lanes[0].dropped(), 1, "one is longer than a block");
    drop(lanes);
    assert_eq!(handle.finish(), LogTotals { events: 12, events_dropped: 1, error: None });
    assert_eq!(fs::read_to_string(path).unwrap(), lines.replace(&format!("{long}\n"), ""));
}

/// What opens files, and hangs the second time until the sender is gone: when a log is opened again.
fn hanging_when_opened_again() -> (std::sync::mpsc::Sender<()>, file::OpenFile) {
    let (opened, opening) = std::sync::mpsc::channel::<()>();
    let opening = Mutex::new(opening);
    let count = AtomicUsize::new(0);
    let open = move |path: &Path| {
        if count.fetch_add(1, Ordering::Relaxed) == 1 {
            let _ = opening.lock().unwrap().recv();
        }
        file::open(path)
    };
    (opened, Box::new(open))
}

#[test]
fn lines_that_no_block_takes_are_counted_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let lane = LaneSettings { blocks: 2, block_bytes: 32, ..LANE };
    let (opened, open) = hanging_when_opened_again();
    let (handle, mut lanes) = LogWriter::start_with(&settings, 1, lane, open, false).unwrap();
    fs::remove_file(&path).unwrap();
    handle.reopen().ask();
    let lines = "0123456789\n".repeat(20);
    lanes[0].lines(lines.as_bytes(), 20);
    // Two blocks of two lines each.
    assert_eq!(lanes[0].dropped(), 16);
    drop((lanes, opened));
    assert_eq!(handle.finish(), LogTotals { events: 4, events_dropped: 16, error: None });
    assert_eq!(fs::read_to_string(path).unwrap(), "0123456789\n".repeat(4));
}

#[test]
fn the_end_of_a_run_does_not_wait_for_ever_for_a_writer_that_is_stuck_and_counts_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, path) = settings(&directory);
    let (opened, open) = hanging_when_opened_again();
    let (handle, mut lanes) = LogWriter::start_with(&settings, 1, LANE, open, false).unwrap();
    event(&mut lanes[0], "{}");
    lanes[0].flush();
    until("the first event", || handle.status().events == 1);
    fs::remove_file(&path).unwrap();
    handle.reopen().ask();
    (0..3).for_each(|_| event(&mut lanes[0], "{}"));
    drop(lanes);
    let total = handle.finish_within(Duration::from_millis(50));
    assert_eq!((total.events, total.events_dropped), (1, 3));
    assert_eq!(total.error.unwrap(), "the log writer is stuck: nothing was written for 0.05 s");
    drop(opened);
}

#[test]
fn a_lane_knows_which_events_are_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut settings, _) = settings(&directory);
    settings.events = EventKinds::NONE.with(EventKind::Dns);
    let (handle, lanes) = LogWriter::start(&settings, 1).unwrap();
    assert!(lanes[0].wants(EventKind::Dns) && !lanes[0].wants(EventKind::Flow));
    drop(lanes);
    handle.finish();
}
