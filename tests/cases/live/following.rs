//! Captures can be followed while they are written: soon, and whole records only.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vxtap_tests::capture_file::{self, Parsed};
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, pause, within};
use vxtap_tests::needs::{disk, have_tools};
use vxtap_tests::process::Running;
use vxtap_tests::programs::Program;
use vxtap_tests::tshark;

use super::{quiet_machine, shared_machine};

/// From sending a packet to reading it in the file.
const VISIBLE: Duration = Duration::from_millis(250);
const PACKETS: u32 = 100;

/// What the only capture file holds now.
fn look(collector: &Collector) -> Parsed {
    let Ok(entries) = fs::read_dir(collector.captures()) else { return Parsed::default() };
    let Some(file) =
        entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "pcapng"))
    else {
        return Parsed::default();
    };
    capture_file::parse(&fs::read(&file).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// Moments between 0 and 40 ms, evenly spread and repeatable (a Weyl sequence), so that they fall anywhere in the
/// collector's own rhythm.
fn random_delay(number: u32) -> Duration {
    Duration::from_nanos(u64::from(number.wrapping_mul(2_654_435_769)) * 40_000_000 / u64::from(u32::MAX))
}

#[test]
fn a_packet_is_in_the_capture_file_within_a_quarter_of_a_second() {
    let _machine = quiet_machine();
    // In memory where that is possible: what a busy disk makes its writers wait is not the collector's doing.
    let memory = Path::new("/dev/shm");
    let settings = Settings::new(2);
    let settings = if TempDir::new_in(memory).is_ok() { settings.write_below(memory) } else { settings.write() };
    let collector = settings.start();
    let mut mirror = Mirror::new(collector.address(), 5, 3);
    let mut worst = Duration::ZERO;
    for number in 0..PACKETS {
        let until = Instant::now() + random_delay(number);
        while Instant::now() < until {
            pause();
        }
        let marker = format!("packet number {number:08}");
        let frame = udp_frame(Peer::v4(number as u16, 1000), Peer::v4(9, 53), marker.as_bytes());
        let sent = Instant::now();
        mirror.send(number as usize, &frame);
        let taken = within(SOON, &marker, || {
            let there = look(&collector).records.iter().any(|record| record.data == frame);
            there.then(|| sent.elapsed())
        });
        worst = worst.max(taken);
    }
    println!("worst of {PACKETS}: {worst:?}");
    assert!(worst <= VISIBLE, "the slowest of {PACKETS} packets took {worst:?}");
    collector.stop();
}

/// A sender that goes on until it is dropped, at a rate at which tshark can read the whole file a hundred times.
fn steady_sender(collector: &Collector) -> Running {
    let mut command = Program::Sender.command();
    command.args(["generate", "--to", &collector.address().to_string(), "--vni", "6", "--pps", "50"]);
    Running::start(command.args(["--flows", "10", "--seconds", "600"]))
}

/// What tshark says of a file that ends within a record.
const CUT: &str = "cut short in the middle of a packet";

/// Lets tshark read the open file a hundred times. Gives how often it came into the middle of a write.
fn poll_with_tshark(settings: Settings) -> usize {
    let collector = settings.start();
    let mut sender = steady_sender(&collector);
    let file = within(SOON, "a capture file", || capture_file::files_in(&collector.captures()).pop());
    let mut cut = 0;
    let mut frames = Vec::new();
    for _ in 0..100 {
        let lines = tshark::fields(&file, &["frame.number"]).or_else(|error| {
            assert!(error.contains(CUT), "{error}");
            cut += 1;
            // The write was under way; it is over before tshark has started again.
            tshark::fields(&file, &["frame.number"])
        });
        frames.push(lines.unwrap().len());
    }
    assert!(!sender.has_ended(), "the sender ended before the polling: {}", sender.stderr());
    assert!(frames[99] > frames[0] + 100, "the file did not grow: {} frames, then {}", frames[0], frames[99]);
    drop(sender);
    collector.stop();
    cut
}

#[test]
fn tshark_reads_the_open_file_a_hundred_times() {
    let _machine = shared_machine();
    if !have_tools(&["tshark"]) {
        return;
    }
    let cut = poll_with_tshark(Settings::new(2).write());
    println!("{cut} of 100 came into the middle of a write");
    assert!(cut <= 2, "{cut} of 100 came into the middle of a write");
}

#[test]
fn tshark_reads_a_file_written_around_the_page_cache_a_hundred_times_without_an_error() {
    let _machine = shared_machine();
    if !have_tools(&["tshark"]) {
        return;
    }
    let Some(disk) = disk() else { return };
    assert_eq!(poll_with_tshark(Settings::new(2).write_below(&disk).arg("--capture-direct")), 0);
}

/// Looks at the open file until it has been seen at forty sizes. Gives the bytes of cut records seen.
fn look_forty_times(settings: Settings) -> usize {
    let collector = settings.start();
    let sender = steady_sender(&collector);
    let mut sizes = std::collections::BTreeSet::new();
    let mut cut = 0;
    within(SOON, "forty sizes of the file", || {
        let parsed = look(&collector);
        if parsed.tail > 0 {
            cut += parsed.tail;
            // What was cut is completed by the same write, not by the next one.
            let records = parsed.records.len();
            within(Duration::from_millis(50), "the rest of the record", || {
                (look(&collector).records.len() > records).then_some(())
            });
        }
        sizes.insert(parsed.records.len());
        (sizes.len() >= 40).then_some(())
    });
    drop(sender);
    collector.stop();
    cut
}

#[test]
fn the_open_file_is_whole_records_but_for_a_write_under_way() {
    let _machine = shared_machine();
    look_forty_times(Settings::new(2).write());
}

#[test]
fn a_file_written_around_the_page_cache_is_whole_records_at_every_look() {
    let _machine = shared_machine();
    let Some(disk) = disk() else { return };
    assert_eq!(look_forty_times(Settings::new(2).write_below(&disk).arg("--capture-direct")), 0);
}
