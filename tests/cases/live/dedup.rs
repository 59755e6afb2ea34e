//! Copies on one mirror stream (`--dedup window`), which only times tell from retransmissions.

use std::thread;
use std::time::Duration;

use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame};

use super::shared_machine;

/// Packets, each of which is sent twice.
const PACKETS: u32 = 30;
/// Longer than copies are apart, and as soon as a retransmission comes in a fast network; many are in one batch.
const RETRANSMITTED_AFTER: Duration = Duration::from_millis(2);

/// A collector that takes what has come in 100 ms as one batch.
fn collector() -> Collector {
    Settings::new(1).arg("--dedup").arg("window").arg("--coalesce").arg("100ms").start()
}

fn packet(number: u32) -> Vec<u8> {
    tcp_frame(Peer::v4(1, 1000), Peer::v4(2, 2000), number, b"x")
}

#[test]
fn a_retransmission_in_the_batch_of_its_packet_is_no_copy() {
    let _machine = shared_machine();
    let collector = collector();
    let mut mirror = Mirror::new(collector.address(), 8, 1);
    for number in 0..PACKETS {
        mirror.send(0, &packet(number));
        // Not to wait for anything: the time between the two is what is tested.
        thread::sleep(RETRANSMITTED_AFTER);
        mirror.send(0, &packet(number));
    }
    let ledger = collector.stop().summary.ledger;
    assert_eq!((ledger.received, ledger.duplicates), (u64::from(2 * PACKETS), 0));
}

#[test]
fn what_one_mirror_sends_twice_at_once_is_a_copy() {
    let _machine = shared_machine();
    let collector = collector();
    let mut mirror = Mirror::new(collector.address(), 8, 1);
    for number in 0..PACKETS {
        mirror.send(0, &packet(number));
        mirror.send(0, &packet(number));
    }
    let ledger = collector.stop().summary.ledger;
    assert_eq!(ledger.received, u64::from(2 * PACKETS));
    // A pair that the machine has torn apart is none.
    assert!(ledger.duplicates > 0 && ledger.duplicates <= u64::from(PACKETS), "{ledger:?}");
}
