use std::fs;

use super::*;

const SECOND: u64 = 1_000_000_000;
const MINUTE: Duration = Duration::from_mins(1);

/// A log in a directory of its own, at times that the test makes up.
struct Bench {
    directory: tempfile::TempDir,
    began: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), began: Instant::now() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("eve.json")
    }

    fn open(&self, rotation: LogRotation, keep: Option<u32>) -> LogFile {
        let closed = ClosedFiles::new(self.directory.path().to_owned(), keep);
        LogFile::new(self.path(), rotation, closed, Box::new(open)).unwrap()
    }

    /// So many seconds after 1970, and after the beginning of the test.
    fn at(&self, seconds: u64) -> Now {
        Now { instant: self.began + Duration::from_secs(seconds), unix_ns: seconds * SECOND }
    }

    /// Texts of the files, the oldest first.
    fn texts(&self) -> Vec<String> {
        let paths = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<PathBuf> = paths.collect();
        paths.sort_by_key(|path| (*path == self.path(), path.clone()));
        paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }
}

fn every_minute() -> LogRotation {
    LogRotation { bytes: None, interval: Some(MINUTE) }
}

fn append(file: &mut LogFile, lines: &str, now: Now) {
    let appended = file.append(lines.as_bytes(), now);
    assert!(appended.error.is_none(), "{appended:?}");
    assert_eq!(appended.bytes, lines.len());
}

#[test]
fn a_file_has_the_lines_of_one_interval_of_the_clock() {
    let bench = Bench::new();
    let mut file = bench.open(every_minute(), None);
    assert_eq!(file.over_in(bench.at(30)), None, "an empty file is of no interval");
    for (seconds, line) in [(30, "a\n"), (59, "b\n"), (60, "c\n"), (119, "d\n"), (500, "e\n")] {
        append(&mut file, line, bench.at(seconds));
    }
    assert_eq!(bench.texts(), ["a\nb\n", "c\nd\n", "e\n"]);
    assert_eq!(file.over_in(bench.at(520)), Some(Duration::from_secs(20)));
    file.rotate_if_over(bench.at(539)).unwrap();
    assert_eq!(bench.texts().len(), 3);
    file.rotate_if_over(bench.at(540)).unwrap();
    file.rotate_if_over(bench.at(700)).unwrap();
    assert_eq!(bench.texts(), ["a\nb\n", "c\nd\n", "e\n", ""]);
}

#[test]
fn a_clock_that_is_set_back_a_little_ends_no_file_and_far_back_ends_it() {
    let bench = Bench::new();
    let mut file = bench.open(every_minute(), None);
    append(&mut file, "a\n", bench.at(6001));
    append(&mut file, "b\n", bench.at(5990));
    assert_eq!(bench.texts(), ["a\nb\n"]);
    append(&mut file, "c\n", bench.at(1000));
    assert_eq!(fs::read_to_string(bench.path()).unwrap(), "c\n");
}

#[test]
fn what_an_earlier_run_left_is_of_the_interval_in_which_it_was_written() {
    let bench = Bench::new();
    for (written, texts) in [(61, vec!["old\nnew\n"]), (59, vec!["old\n", "new\n"])] {
        fs::write(bench.path(), "old\n").unwrap();
        let old = File::options().write(true).open(bench.path()).unwrap();
        old.set_modified(UNIX_EPOCH + Duration::from_secs(written)).unwrap();
        let mut file = bench.open(every_minute(), None);
        append(&mut file, "new\n", bench.at(70));
        assert_eq!(bench.texts(), texts);
    }
}

#[test]
fn a_file_that_is_too_large_already_is_closed_before_the_next_line() {
    let bench = Bench::new();
    fs::write(bench.path(), "more than enough\n").unwrap();
    let mut file = bench.open(LogRotation { bytes: Some(8), interval: None }, None);
    append(&mut file, "a\nb\n", bench.at(1));
    assert_eq!(bench.texts(), ["more than enough\n", "a\nb\n"]);
}

#[test]
fn no_more_closed_files_stay_than_are_to() {
    let bench = Bench::new();
    let mut file = bench.open(LogRotation { bytes: Some(2), interval: None }, Some(2));
    append(&mut file, "a\nb\nc\nd\ne\n", bench.at(1));
    assert_eq!(bench.texts(), ["c\n", "d\n", "e\n"]);
    drop(file);
    bench.open(LogRotation::default(), Some(1));
    assert_eq!(bench.texts(), ["d\n", "e\n"], "the next run may keep fewer");
}

#[test]
fn a_file_that_cannot_be_renamed_takes_more_than_it_should() {
    let bench = Bench::new();
    let closed = ClosedFiles::new(bench.directory.path().join("gone"), None);
    let rotation = LogRotation { bytes: Some(2), interval: Some(MINUTE) };
    let mut file = LogFile::new(bench.path(), rotation, closed, Box::new(open)).unwrap();
    append(&mut file, "a\nb\n", bench.at(1));
    append(&mut file, "c\n", bench.at(61));
    assert_eq!(bench.texts(), ["a\nb\nc\n"]);
    assert!(file.over_in(bench.at(120)) > Some(Duration::ZERO), "not tried again and again");
    fs::create_dir(bench.directory.path().join("gone")).unwrap();
    append(&mut file, "d\n", bench.at(200));
    assert_eq!(fs::read_to_string(bench.path()).unwrap(), "d\n");
}

#[test]
fn a_file_of_somebody_else_under_the_name_is_not_closed_for_ours() {
    let bench = Bench::new();
    let mut file = bench.open(LogRotation { bytes: Some(4), interval: None }, None);
    append(&mut file, "a\n", bench.at(0));
    fs::rename(bench.path(), bench.directory.path().join("eve.json.1")).unwrap();
    fs::write(bench.path(), "b\n").unwrap();
    append(&mut file, "long\n", bench.at(0));
    // The one that was renamed was full, so the name was looked at; the other one takes no such line either, and is written on.
    assert_eq!(fs::read_to_string(bench.directory.path().join("eve.json.1")).unwrap(), "a\n");
    let all: String = bench.texts().concat();
    assert_eq!(all.lines().filter(|line| *line == "long").count(), 1);
    assert_eq!(all.lines().filter(|line| *line == "b").count(), 1);
}

#[test]
fn an_interval_that_ends_while_the_disk_refuses_is_looked_at_once_a_second() {
    let bench = Bench::new();
    let closed = ClosedFiles::new(bench.directory.path().to_owned(), None);
    let mut opened = 0;
    let refuse = move |path: &Path| {
        opened += 1;
        if opened == 2 { Err(io::Error::other("refused")) } else { open(path) }
    };
    let mut file = LogFile::new(bench.path(), every_minute(), closed, Box::new(refuse)).unwrap();
    append(&mut file, "a\n", bench.at(1));
    // Renamed, but no new one: what the writer asks next must not be answered with "now" for ever.
    assert!(file.rotate_if_over(bench.at(60)).is_err());
    assert_ne!(file.over_in(bench.at(60)), Some(Duration::ZERO));
    append(&mut file, "b\n", bench.at(60));
    assert_eq!(bench.texts(), ["a\n", "b\n"]);
}

#[test]
fn a_directory_that_was_removed_is_made_again_for_the_lines_that_come() {
    let bench = Bench::new();
    let directory = bench.directory.path().join("log");
    fs::create_dir(&directory).unwrap();
    let path = directory.join("eve.json");
    let closed = ClosedFiles::new(directory.clone(), None);
    let mut file = LogFile::new(path.clone(), LogRotation::default(), closed, Box::new(open)).unwrap();
    append(&mut file, "a\n", bench.at(1));
    fs::remove_dir_all(&directory).unwrap();
    // Once a second it looks whether the file is still there.
    append(&mut file, "b\n", bench.at(9));
    assert_eq!(fs::read_to_string(path).unwrap(), "b\n");
}
