//! What a collector does whose ledger does not balance, which only a debug build lets be done.
#![cfg(debug_assertions)]

use vxtap_tests::collector::Settings;
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::process::Signal;

use super::shared_machine;

#[test]
fn a_packet_that_is_nowhere_ends_the_run_with_1_and_is_told() {
    let _machine = shared_machine();
    let mut collector = Settings::new(2).env("VXTAP_BREAK_LEDGER", "1").start();
    let mut mirror = Mirror::new(collector.address(), 8, 2);
    for number in 0..10 {
        mirror.send(0, &udp_frame(Peer::v4(number, 1), Peer::v4(99, 2), b"x"));
    }
    collector.wait_received(10);
    collector.process().signal(Signal::TERM);
    let finished = collector.finish();
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
    assert!(finished.stderr.contains("the ledger does not balance: received "), "{}", finished.stderr);
    assert!(!finished.panicked(), "{}", finished.stderr);
}
