//! Anything may arrive on the port: it is counted, and nothing else happens.

use std::fs;

use vxtap_tests::captures::Captures;
use vxtap_tests::collector::Settings;
use vxtap_tests::datagram::{Mirror, vxlan};

use super::shared_machine;

/// Longest UDP payload over IPv4.
const LONGEST: usize = 65_507;
const MEMORY: u64 = 400 << 20;

#[test]
fn malformed_bytes_as_datagrams_are_counted_and_harm_nothing() {
    let _machine = shared_machine();
    let Some(captures) = Captures::open() else { return };
    let mut collector = Settings::new(2).write().log().start();
    let mut mirror = Mirror::new(collector.address(), 3, 4);
    let (mut sent, mut bare) = (0_u64, 0_u64);
    for capture in captures.of(&["malformed"]) {
        // The file itself, in pieces; its frames as they are; its frames as inner frames.
        let mut payloads: Vec<Vec<u8>> = fs::read(&capture.path).unwrap().chunks(LONGEST).map(<[u8]>::to_vec).collect();
        if capture.link_type != "unreadable" {
            for record in capture.records() {
                payloads.push(vxlan(3, &record.data));
                payloads.push(record.data);
            }
        }
        // Every length that a header could be cut to.
        payloads.extend((0..9).map(|length| vxlan(3, &[])[..length.min(8)].to_vec()));
        for payload in payloads {
            bare += u64::from(payload.len() <= 8);
            mirror.send_payload(sent as usize, &payload);
            sent += 1;
        }
    }
    collector.wait_received(sent);
    assert_eq!(collector.get("/healthz").0, 200);
    let (_, peak) = collector.process().memory().expect("it runs");
    assert!(peak < MEMORY, "{peak} bytes");
    let stopped = collector.stop();
    let ledger = &stopped.summary.ledger;
    assert_eq!((ledger.received, ledger.kernel_dropped), (sent, 0));
    let short = ledger.dropped.get("vxlan_too_short").copied().unwrap_or(0);
    let empty = ledger.dropped.get("vxlan_empty_frame").copied().unwrap_or(0);
    assert!(short + empty >= bare, "{:?}", ledger.dropped);
    assert!(ledger.dropped.contains_key("vxlan_flag_clear") && ledger.analysed > 0, "{ledger:?}");
}
