//! Files that follow each other under load.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::collector::{Collector, Settings, Stopped};
use vxtap_tests::deadline::{SOON, within};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::Signal;
use vxtap_tests::readers;

use super::{generate, number_from, quiet_machine, shared_machine};

const MAX_BYTES: u64 = 8 << 20;
const INTERVAL: Duration = Duration::from_secs(2);
/// Ends of intervals at which the machine stops the collector.
const STALLS: usize = 2;

/// Length of the run under load.
fn seconds() -> u64 {
    number_from("VXTAP_CAPTURE_SECONDS", 12)
}

/// A run with rotation by size and by time that has ended.
struct Rotated {
    stopped: Stopped,
    /// Frames that the collector says came too late for their place.
    late: u64,
}

/// The files in the order in which they were begun, with their records.
type Files = Vec<(PathBuf, Vec<Record>)>;

/// Runs a collector with rotation under what `load` makes.
fn rotate(settings: Settings, load: &str) -> Rotated {
    rotate_while(settings, load, |_| ())
}

/// As [`rotate`], and does `disturb` to the collector meanwhile.
fn rotate_while(settings: Settings, load: &str, disturb: impl FnOnce(&mut Collector)) -> Rotated {
    let settings = settings.arg("--rotate-bytes").arg(MAX_BYTES.to_string()).arg("--rotate-interval").arg("2s");
    let mut collector = settings.start();
    let to = collector.address();
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(move || generate(to, load));
        disturb(&mut collector);
        sender.join().expect("the sender succeeds")
    });
    collector.wait_received(sent.sent);
    let late = late_when_all_is_written(&collector);
    let stopped = collector.stop();
    let ledger = &stopped.summary.ledger;
    assert_eq!(sent.sent, ledger.received + ledger.kernel_dropped, "{sent:?} {ledger:?}");
    println!(
        "{} sent in {:.1} s: {} captured, {} lost in the kernel, {} at the disk, {} handed over, {late} late",
        sent.sent, sent.seconds, ledger.captured, ledger.kernel_dropped, ledger.capture_dropped, ledger.misdelivered
    );
    assert!(ledger.captured * 2 > sent.sent, "hardly anything was captured");
    Rotated { stopped, late }
}

fn late_when_all_is_written(collector: &Collector) -> u64 {
    within(SOON, "everything in files", || {
        let snapshot = collector.snapshot();
        let ledger = snapshot.ledger;
        let done = ledger.analysed == ledger.captured + ledger.capture_dropped;
        done.then(|| snapshot.capture.expect("captures are written").late)
    })
}

impl Rotated {
    fn files(&self) -> Files {
        let read = |path: PathBuf| (path.clone(), capture_file::read(&path));
        capture_file::files_in(&self.stopped.captures()).into_iter().map(read).collect()
    }

    /// Checks what holds for each layout and format: counts, sizes, intervals.
    fn check(&self) -> Files {
        let files = self.files();
        let captured: usize = files.iter().map(|(_, records)| records.len()).sum();
        assert_eq!(captured as u64, self.stopped.summary.ledger.captured);
        for (path, records) in &files {
            let (path, length) = (path.display(), path.metadata().unwrap().len());
            assert!(!records.is_empty(), "{path} is empty");
            assert!(length <= MAX_BYTES, "{path} has {length} bytes");
            let (first, last) = (records.iter().map(interval).min(), records.iter().map(interval).max());
            assert_eq!(first, last, "{path} holds records of several intervals");
        }
        files
    }
}

/// Number of the interval that the record is in.
fn interval(record: &Record) -> u64 {
    record.time_ns / INTERVAL.as_nanos() as u64
}

/// How long the interval of now still lasts.
fn until_next_interval() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_nanos();
    let interval = INTERVAL.as_nanos();
    Duration::from_nanos((interval - now % interval) as u64)
}

/// Records that are behind a later one.
fn late_in<'a>(records: impl Iterator<Item = &'a Record>) -> u64 {
    let mut latest = 0;
    let late = records.filter(|record| {
        latest = latest.max(record.time_ns);
        record.time_ns < latest
    });
    late.count() as u64
}

/// Of a merged capture: order, and files that end only for a reason.
fn check_merged(rotated: &Rotated, files: &Files) {
    let late = late_in(files.iter().flat_map(|(_, records)| records));
    assert_eq!(late, rotated.late, "the collector counts what is out of order");
    for pair in files.windows(2) {
        let [(path, records), (_, next)] = pair else { unreachable!("windows of two") };
        let length = path.metadata().unwrap().len();
        let same = interval(&records[0]) == interval(&next[0]);
        assert!(
            !same || late > 0 || length > MAX_BYTES / 2,
            "{} ended at {length} bytes for no reason",
            path.display()
        );
    }
}

/// A worker that the machine stopped for longer than the window of the merge has late records. Many are a fault.
fn check_order(rotated: &Rotated) {
    assert!(rotated.late * 1000 <= rotated.stopped.summary.ledger.captured, "{} frames are late", rotated.late);
}

/// Has every reader read every file.
fn check_with_readers(files: &Files) {
    for (path, records) in files {
        let verdict = readers::judge(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(verdict.packets, records.len(), "{}", path.display());
        assert_eq!(verdict.ordered, late_in(records.iter()) == 0, "{}", path.display());
    }
    println!("{} files read by every reader", files.len());
}

#[test]
fn files_of_a_run_under_load_are_read_by_everybody_without_a_word() {
    let machine = quiet_machine();
    let rotated = rotate(Settings::new(2).write(), &format!("--vni 7 --pps 20000 --flows 500 --seconds {}", seconds()));
    drop(machine);
    let files = rotated.check();
    check_merged(&rotated, &files);
    check_order(&rotated);
    let intervals = files.iter().map(|(_, records)| interval(&records[0]));
    let intervals: std::collections::BTreeSet<u64> = intervals.collect();
    assert!(intervals.len() as u64 >= seconds() / 2, "{intervals:?}");
    assert!(files.len() > intervals.len(), "no file ended for its size");
    if have_tools(&readers::TOOLS) {
        check_with_readers(&files);
    }
}

#[test]
fn pcap_files_of_a_run_under_load_are_read_by_everybody_without_a_word() {
    let _machine = shared_machine();
    for format in ["pcap", "pcap-ns"] {
        let settings = Settings::new(2).write().arg("--capture-format").arg(format);
        let rotated = rotate(settings, "--vni 7 --pps 10000 --flows 500 --seconds 3");
        let files = rotated.check();
        check_merged(&rotated, &files);
        assert!(files.len() > 1);
        if have_tools(&readers::TOOLS) {
            check_with_readers(&files);
        }
    }
}

#[test]
fn frames_that_are_handed_over_keep_the_order_and_their_intervals() {
    let _machine = quiet_machine();
    let settings = Settings::new(2).write().arg("--no-kernel-steering");
    let rotated = rotate(settings, "--vni 7 --pps 10000 --flows 500 --seconds 3");
    assert!(rotated.stopped.summary.ledger.misdelivered > 1000, "nothing was handed over");
    check_order(&rotated);
    check_merged(&rotated, &rotated.check());
}

#[test]
fn a_collector_that_the_machine_stops_at_the_end_of_an_interval_counts_what_comes_late() {
    let _machine = quiet_machine();
    let stall = |collector: &mut Collector| {
        let process = collector.process();
        for _ in 0..STALLS {
            within(SOON, "the end of an interval", || {
                (until_next_interval() < Duration::from_millis(40)).then_some(())
            });
            process.signal(Signal::STOP);
            within(SOON, "the next interval", || {
                let into = INTERVAL.checked_sub(until_next_interval()).unwrap_or_default();
                (Duration::from_millis(400)..INTERVAL / 2).contains(&into).then_some(())
            });
            process.signal(Signal::CONT);
        }
    };
    let load = "--vni 7 --pps 10000 --flows 500 --seconds 5";
    let rotated = rotate_while(Settings::new(2).write().arg("--no-kernel-steering"), load, stall);
    check_merged(&rotated, &rotated.check());
}

#[test]
fn files_of_single_workers_keep_their_intervals_though_frames_are_handed_over() {
    let _machine = shared_machine();
    let settings = Settings::new(2).write().arg("--no-kernel-steering").arg("--capture-layout").arg("per-shard");
    let rotated = rotate(settings, "--vni 7 --pps 10000 --flows 500 --seconds 3");
    let files = rotated.check();
    let of_worker = |label: &str| files.iter().filter(|(path, _)| path.to_string_lossy().contains(label)).count();
    assert!(
        of_worker("-w0-") > 1 && of_worker("-w1-") > 1,
        "{:?}",
        files.iter().map(|(path, _)| path).collect::<Vec<_>>()
    );
    assert_eq!(of_worker("-w0-") + of_worker("-w1-"), files.len());
}
