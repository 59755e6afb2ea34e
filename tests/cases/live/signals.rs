//! The first signal drains, the second one stops at once.

use std::process::Command;
use std::time::Instant;

use vxtap_tests::capture_file;
use vxtap_tests::collector::{Collector, Settings, get};
use vxtap_tests::compare::{bytes, same_frames};
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::process::{Signal, run_within};

use super::shared_machine;

fn drains(signal: Signal) {
    let _machine = shared_machine();
    let collector = Settings::new(2).write().log().start();
    let mut mirror = Mirror::new(collector.address(), 11, 4);
    let frames: Vec<Vec<u8>> =
        (0..60).map(|number| udp_frame(Peer::v4(number, 7), Peer::v4(1, 9), b"sent before the signal")).collect();
    for (number, frame) in frames.iter().enumerate() {
        mirror.send(number, frame);
    }
    let stopped = collector.stop_by(signal);
    let captured = capture_file::read_all(&stopped.captures());
    same_frames(frames.iter().map(Vec::as_slice), bytes(&captured)).unwrap();
    assert_eq!(stopped.eve().lines().filter(|line| line.contains(r#""event_type":"flow""#)).count(), frames.len());
}

#[test]
fn all_that_was_sent_before_sigterm_is_in_the_files() {
    drains(Signal::TERM);
}

#[test]
fn all_that_was_sent_before_sigint_is_in_the_files() {
    drains(Signal::INT);
}

#[test]
fn a_second_signal_ends_the_program_at_once_and_not_well() {
    let _machine = shared_machine();
    let settings = Settings::new(1);
    // Nobody reads this pipe, so the summary, and with it the end of the run, waits forever.
    let made = run_within(SOON, Command::new("mkfifo").arg(settings.summary()));
    assert!(made.status.success(), "{}", made.stderr);
    let mut collector = settings.start();
    let api = collector.api().to_owned();
    let process = collector.process();
    process.signal(Signal::TERM);
    wait_until(SOON, "the API to go, which it does when all is drained", || get(&format!("{api}/healthz")).0 == 0);
    assert!(!process.has_ended(), "it did not wait for the reader of its summary");
    process.signal(Signal::INT);
    assert_ne!(collector.finish().code(), 0);
}

/// A collector that drains for a long time, and was told to.
fn draining(time: &'static str) -> (Collector, Mirror, Vec<Vec<u8>>) {
    let collector = Settings::new(2).write().health().drain(time).start();
    let mut mirror = Mirror::new(collector.address(), 11, 4);
    let frames: Vec<Vec<u8>> =
        (0..60).map(|number| udp_frame(Peer::v4(number, 7), Peer::v4(1, 9), b"before and after")).collect();
    assert_eq!(collector.probe("/readyz").0, 200);
    frames[..30].iter().enumerate().for_each(|(number, frame)| mirror.send(number, frame));
    collector.process_ref().signal(Signal::TERM);
    wait_until(SOON, "the signal to be told", || collector.probe("/readyz").0 == 503);
    (collector, mirror, frames)
}

#[test]
fn a_drain_is_not_ready_and_receives_on_until_the_second_signal_which_ends_it_in_order() {
    let _machine = shared_machine();
    let (collector, mut mirror, frames) = draining("10m");
    let (_, body) = collector.probe("/readyz");
    assert!(body.contains(r#""ready":false,"state":"draining""#), "{body}");
    assert_eq!((collector.get("/readyz").0, collector.probe("/healthz").0), (503, 200));
    assert_eq!(collector.snapshot().state.as_str(), "draining");
    frames[30..].iter().enumerate().for_each(|(number, frame)| mirror.send(number, frame));
    collector.wait_received(60);
    let stopped = collector.stop();
    let captured = capture_file::read_all(&stopped.captures());
    same_frames(frames.iter().map(Vec::as_slice), bytes(&captured)).unwrap();
}

#[test]
fn a_drain_ends_by_itself_after_its_time_and_an_interrupt_does_not_drain() {
    let _machine = shared_machine();
    let (collector, ..) = draining("1s");
    let begun = Instant::now();
    assert_eq!(collector.finish().code(), 0);
    assert!(begun.elapsed() < SOON / 2, "{:?}", begun.elapsed());
    let collector = Settings::new(1).drain("10m").start();
    collector.stop_by(Signal::INT);
}
