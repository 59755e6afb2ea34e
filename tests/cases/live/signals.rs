//! The first signal drains, the second one stops at once.

use std::process::Command;

use vxtap_tests::capture_file;
use vxtap_tests::collector::{Settings, get};
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
