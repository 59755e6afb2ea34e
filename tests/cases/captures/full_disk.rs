//! A file system that is full, and then is not any more.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use vxtap_analyzers::snapshot::CaptureSnapshot;
use vxtap_tests::capture_file;
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::deadline::{SOON, wait_until, within};
use vxtap_tests::needs::{Need, have_tools, is_root, skip};
use vxtap_tests::process::{Running, Signal, run_within};
use vxtap_tests::programs;
use vxtap_tests::readers;
use vxtap_tests::summary::{self, SenderSummary};

use super::{generator, number_from, quiet_machine, shared_machine};

/// Holds the file system's place in the process that has it.
const SMALL_DISK: &str = "VXTAP_SMALL_DISK";
/// Set where the process is root of its user namespace only.
const MAPPED_ROOT: &str = "VXTAP_TEST_MAPPED_ROOT";
/// Taken before the run, so that it is soon full.
const BALLAST: usize = 48 << 20;
/// Filling, and noticing that there is room again (a second between two tries).
const LIMIT: Duration = Duration::from_mins(1);

/// Runs the test called `test` again in a process with a file system of 64 MiB in memory of its own, where `SMALL_DISK` says.
fn on_a_small_disk(test: &str) {
    let place = TempDir::new().unwrap();
    let script = "mount -t tmpfs -o size=64m vxtap-test \"$1\" || exit 77; exec \"$2\" --exact \"$3\" --nocapture";
    let mut command = Command::new("unshare");
    // Root of a user namespace may not ask for large receive buffers; real root may.
    command.args(if is_root() { &["--mount"][..] } else { &["--user", "--map-root-user", "--mount"] });
    command.args(["sh", "-c", script, "sh"]).arg(place.path()).arg(std::env::current_exe().unwrap()).arg(test);
    if !is_root() {
        command.env(MAPPED_ROOT, "1");
    }
    command.env(SMALL_DISK, place.path()).env("VXTAP_PROGRAMS", programs::directory());
    let finished = run_within(4 * LIMIT, &mut command);
    if finished.status.code() == Some(77) || finished.stdout.is_empty() {
        skip(Need::Root, &format!("there can be no file system of one's own here: {}", finished.stderr.trim()));
        return;
    }
    print!("{}", finished.stdout);
    assert!(finished.status.success() && finished.stdout.contains("1 passed"), "{}", finished.stderr);
}

/// The sender of a load that goes on until it is stopped.
fn steady_load(collector: &Collector) -> Running {
    let arguments = "--vni 3 --pps 5000 --size 1000 --flows 100 --seconds 600";
    Running::start(&mut generator(collector.address(), arguments))
}

fn status(collector: &Collector) -> CaptureSnapshot {
    collector.snapshot().capture.expect("captures are written")
}

/// Fills `disk`, but for what is left by the ballast, and gives that.
fn ballast(disk: &Path) -> PathBuf {
    let path = disk.join("ballast");
    File::create(&path).and_then(|mut file| file.write_all(&vec![1; BALLAST])).unwrap();
    path
}

/// Reads a file that was closed, or is being written to no more, with everything that reads.
fn records_in(path: &Path) -> u64 {
    let records = capture_file::read(path);
    // tcpdump wants to change its user before it reads, and root of a user namespace of one user cannot.
    if std::env::var_os(MAPPED_ROOT).is_none() && have_tools(&readers::TOOLS) {
        let verdict = readers::judge(path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(verdict.packets, records.len(), "{}", path.display());
    }
    assert!(!records.is_empty(), "{} is empty", path.display());
    records.len() as u64
}

/// Fills the disk during a run, makes room, and accounts for every frame.
fn fill_and_free(disk: &Path, format: &str) {
    let ballast = ballast(disk);
    let settings = Settings::new(2).write_below(disk).arg("--rotate-bytes").arg("3MiB");
    let collector = settings.arg("--capture-format").arg(format).start();
    let load = steady_load(&collector);
    let error = within(LIMIT, "a full disk", || status(&collector).error);
    assert!(error.contains("No space left on device"), "{error}");
    within(LIMIT, "frames that are not captured", || {
        (collector.snapshot().ledger.capture_dropped > 1000).then_some(())
    });
    // All but the open file.
    let mut files = capture_file::files_in(&collector.captures());
    files.pop();
    assert!(files.len() > 1, "{files:?}");
    let removed: u64 = files.iter().map(|file| records_in(file)).sum();
    let full = collector.snapshot().ledger.captured;
    files.iter().chain([&ballast]).for_each(|file| fs::remove_file(file).unwrap());
    wait_until(LIMIT, "captures that go on", || {
        collector.snapshot().ledger.captured > full + 1000 && status(&collector).error.is_none()
    });
    load.signal(Signal::TERM);
    let sent: SenderSummary = summary::parse(&load.finish_within(SOON).success().stdout);
    collector.wait_received(sent.sent);
    let stopped = collector.stop();
    let ledger = &stopped.summary.ledger;
    assert_eq!(sent.sent, ledger.received + ledger.kernel_dropped, "{sent:?} {ledger:?}");
    let files = capture_file::files_in(&stopped.captures());
    let left: u64 = files.iter().map(|file| records_in(file)).sum();
    println!(
        "{format}: {} sent, {} captured, {} not for want of room, {} lost in the kernel",
        sent.sent, ledger.captured, ledger.capture_dropped, ledger.kernel_dropped
    );
    assert_eq!(removed + left, ledger.captured, "what was captured is in the files");
    assert!(ledger.capture_dropped > 1000);
    // The next format begins with an empty disk.
    for file in &files {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn captures_stop_on_a_full_disk_with_whole_files_and_go_on_by_themselves_when_there_is_room() {
    let Some(disk) = std::env::var_os(SMALL_DISK).map(PathBuf::from) else {
        let _machine = shared_machine();
        let test =
            "full_disk::captures_stop_on_a_full_disk_with_whole_files_and_go_on_by_themselves_when_there_is_room";
        on_a_small_disk(test);
        return;
    };
    for format in ["pcapng", "pcap"] {
        fill_and_free(&disk, format);
    }
}

/// What is to stay free, and how long captures are written as fast as the sender can.
const FLOOR: u64 = 24 << 20;
const FLOOR_SECONDS: u64 = 10;

#[test]
fn the_floor_of_free_space_holds_while_captures_are_written_as_fast_as_they_come() {
    let test = "full_disk::the_floor_of_free_space_holds_while_captures_are_written_as_fast_as_they_come";
    keep_free(test, &[]);
}

#[test]
fn the_floor_of_free_space_holds_for_files_of_single_workers() {
    keep_free("full_disk::the_floor_of_free_space_holds_for_files_of_single_workers", &["--capture-layout=per-shard"]);
}

#[test]
fn the_floor_of_free_space_holds_for_classic_files() {
    keep_free("full_disk::the_floor_of_free_space_holds_for_classic_files", &["--capture-format=pcap"]);
}

/// Writes captures as `options` say into a small disk, as fast as the sender can, and looks how much stays free. `test` is the one that
/// asks for it.
fn keep_free(test: &str, options: &[&str]) {
    let Some(disk) = std::env::var_os(SMALL_DISK).map(PathBuf::from) else {
        let _machine = quiet_machine();
        on_a_small_disk(test);
        return;
    };
    let seconds = number_from("VXTAP_CAPTURE_SECONDS", FLOOR_SECONDS);
    let settings = Settings::new(2).write_below(&disk).arg("--rotate-bytes").arg("2MiB").arg("--keep-free");
    let collector = options.iter().fold(settings.arg(FLOOR.to_string()), Settings::arg).start();
    let arguments = format!("--vni 3 --top-speed --size 1000 --flows 100 --seconds {seconds}");
    let mut load = Running::start(&mut generator(collector.address(), &arguments));
    let free = || rustix::fs::statvfs(&disk).map(|found| found.f_bavail * found.f_frsize).unwrap();
    let mut least = u64::MAX;
    // What is looked for is the least, so it is looked for all the time.
    while !load.has_ended() {
        least = least.min(free());
        std::thread::sleep(Duration::from_millis(1));
    }
    let sent: SenderSummary = summary::parse(&load.finish_within(SOON).success().stdout);
    let kept = status(&collector);
    let stopped = collector.stop();
    let ledger = &stopped.summary.ledger;
    println!(
        "{} sent, {} captured, {} not, {} files deleted, {} MiB free at the least of {} to be kept",
        sent.sent,
        ledger.captured,
        ledger.capture_dropped,
        kept.kept.deleted_files,
        least >> 20,
        FLOOR >> 20
    );
    assert!(least >= FLOOR, "{least} bytes were free, and {FLOOR} were to be");
    assert!(kept.kept.deleted_bytes > 2 * (64 << 20), "the disk was filled several times over: {kept:?}");
    assert_eq!(ledger.captured + ledger.capture_dropped, ledger.analysed, "{ledger:?}");
    for file in capture_file::files_in(&stopped.captures()) {
        records_in(&file);
    }
}
