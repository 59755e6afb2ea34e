//! Mirror streams: several sources, addresses and VNIs at a time, and the files that they go into.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use vxtap_tests::capture_file;
use vxtap_tests::collector::Settings;
use vxtap_tests::compare::{bytes, same_frames};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame, udp_frame};

use super::shared_machine;

fn frames(count: u16) -> Vec<Vec<u8>> {
    (0..count).map(|number| udp_frame(Peer::v4(number, 1), Peer::v4(2, 2), &[number as u8; 700])).collect()
}

#[test]
fn one_listener_on_all_addresses_takes_ipv4_and_ipv6() {
    let _machine = shared_machine();
    let collector = Settings::listening(2, &["vxlan://[::]:0"]).write().start();
    let port = collector.address().port();
    let frames = frames(20);
    for (number, loopback) in ["127.0.0.1", "::1"].into_iter().enumerate() {
        let mut mirror = Mirror::new(SocketAddr::new(loopback.parse().unwrap(), port), 8, 2);
        for (place, frame) in frames.iter().enumerate().filter(|(place, _)| place % 2 == number) {
            mirror.send(place, frame);
        }
    }
    let stopped = collector.stop();
    let captured = capture_file::read_all(&stopped.captures());
    same_frames(frames.iter().map(Vec::as_slice), bytes(&captured)).unwrap();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &captured {
        *names.entry(&record.interface).or_default() += 1;
    }
    let expected = BTreeMap::from([("vni 8 from 127.0.0.1", 10), ("vni 8 from ::1", 10)]);
    assert_eq!(names, expected);
}

#[test]
fn several_listeners_feed_the_same_workers() {
    let _machine = shared_machine();
    let listen = ["vxlan://127.0.0.1:0", "vxlan://[::1]:0", "vxlan://127.0.0.2:0"];
    let collector = Settings::listening(2, &listen).start();
    let (a, b) = (Peer::v4(1, 1000), Peer::v4(2, 2000));
    for (round, address) in collector.addresses().iter().enumerate() {
        let mut mirror = Mirror::new(*address, 8, 2);
        mirror.send(0, &tcp_frame(a, b, round as u32, b"to"));
        mirror.send(1, &tcp_frame(b, a, round as u32, b"fro"));
    }
    let ledger = collector.stop().summary.ledger;
    assert_eq!((ledger.received, ledger.flows), (6, 1), "one flow, whichever listener took it");
}

#[test]
fn the_same_five_tuple_under_two_vnis_is_two_flows() {
    let _machine = shared_machine();
    let collector = Settings::new(4).log().start();
    let (a, b) = (Peer::v4(1, 1000), Peer::v4(2, 2000));
    for vni in [0, 1, 0x00ff_ffff] {
        let mut mirror = Mirror::new(collector.address(), vni, 2);
        mirror.send(0, &tcp_frame(a, b, 0, b"to"));
        mirror.send(1, &tcp_frame(b, a, 0, b"fro"));
    }
    let stopped = collector.stop();
    assert_eq!(stopped.summary.ledger.flows, 3);
    assert_eq!(stopped.eve().lines().filter(|line| line.contains(r#""event_type":"flow""#)).count(), 3);
}

#[test]
fn rotated_files_are_bounded_and_together_have_every_frame() {
    const LIMIT: u64 = 64 << 10;
    let _machine = shared_machine();
    let collector = Settings::new(2).write().arg("--rotate-bytes").arg(LIMIT.to_string()).start();
    let mut mirror = Mirror::new(collector.address(), 8, 4);
    let frames = frames(1000);
    for (place, frame) in frames.iter().enumerate() {
        mirror.send(place, frame);
    }
    let stopped = collector.stop();
    let files = capture_file::files_in(&stopped.captures());
    assert!(files.len() > 10, "{} files", files.len());
    for file in &files {
        let length = fs::metadata(file).unwrap().len();
        assert!(length <= LIMIT, "{} has {length} bytes", file.display());
        assert!(!capture_file::read(file).is_empty(), "{} has no frame", file.display());
    }
    same_frames(frames.iter().map(Vec::as_slice), bytes(&capture_file::read_all(&stopped.captures()))).unwrap();
}

#[test]
fn a_run_without_outputs_keeps_nothing_and_says_so() {
    let _machine = shared_machine();
    let collector = Settings::new(1).start();
    Mirror::new(collector.address(), 8, 1).send(0, &frames(1)[0]);
    let stopped = collector.stop();
    let ledger = &stopped.summary.ledger;
    assert_eq!((ledger.analysed, ledger.captured, ledger.not_captured), (1, 0, 1));
    assert!(stopped.finished.stderr.contains("nothing is kept on disk"), "{}", stopped.finished.stderr);
    assert!(!stopped.captures().exists());
}
