//! Followers that are slow, stuck or gone cost the capture nothing.

use std::io::Read as _;
use std::net::Shutdown;

use vxtap_tests::capture_file;
use vxtap_tests::collector::Settings;
use vxtap_tests::compare::{bytes, same_frames};
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::process::{Signal, run_within};
use vxtap_tests::programs::Program;

use super::following::{Followed, body, read_all};
use super::{quiet_machine, shared_machine};

/// 14 MB/s for three seconds: more than a queue and the sockets of a stuck follower hold.
const PPS: u64 = 10_000;
const PACKETS: u64 = 30_000;

fn send(followed: &Followed) {
    let mut command = Program::Sender.command();
    command.args(["generate", "--to", &followed.collector.address().to_string(), "--vni", "6", "--size", "1400"]);
    command.args(["--flows", "100", "--pps", &PPS.to_string(), "--packets", &PACKETS.to_string()]);
    let finished = run_within(SOON, &mut command);
    assert!(finished.status.success(), "{}", finished.stderr);
}

#[test]
fn of_eight_followers_one_is_stuck_and_nothing_is_lost_in_the_capture() {
    let _machine = quiet_machine();
    let followed = Followed::start(Settings::new(2).write().log());
    let stuck = followed.connect_tcp();
    let over_tcp: Vec<_> = (0..3).map(|_| read_all(followed.connect_tcp())).collect();
    let over_http: Vec<_> = (0..4).map(|_| read_all(followed.connect_http())).collect();
    wait_until(SOON, "eight followers", || followed.followers().now.len() == 8);
    send(&followed);
    wait_until(SOON, "all packets in the capture", || {
        let ledger = followed.collector.snapshot().ledger;
        ledger.captured + ledger.kernel_dropped >= PACKETS
    });
    let followers = followed.followers();
    let name = format!("tcp {}", stuck.local_addr().unwrap());
    let of_stuck = followers.now.iter().find(|follower| follower.name == name).expect("the stuck follower");
    assert!(of_stuck.dropped > 0, "{of_stuck:?}");
    let dropped = of_stuck.dropped;
    let stopped = followed.collector.stop();
    // What was told of it while it was there is told at the end as well, in the summary and in the last event.
    assert_eq!((stopped.summary.followers, stopped.summary.follower_dropped), (8, dropped));
    let last = stopped.eve().lines().rfind(|line| line.contains("\"event_type\":\"stats\"")).map(str::to_owned);
    let last: serde_json::Value = serde_json::from_str(&last.expect("an event of statistics")).unwrap();
    let of_followers = &last["stats"]["collector"];
    assert_eq!((&of_followers["followers"], &of_followers["follower_dropped"]), (&8.into(), &dropped.into()));
    assert!(stopped.finished.stderr.contains(&format!("{dropped} records went past the 8 followers")));
    let ledger = &stopped.summary.ledger;
    assert_eq!((ledger.capture_dropped, ledger.not_captured), (0, 0));
    let captured = capture_file::read_all(&stopped.captures()).len() as u64;
    assert_eq!(captured, ledger.captured);
    let streams = over_tcp.into_iter().map(|reader| reader.join().unwrap());
    let streams: Vec<Vec<u8>> =
        streams.chain(over_http.into_iter().map(|reader| body(&reader.join().unwrap()).to_vec())).collect();
    for stream in &streams {
        let parsed = capture_file::parse(stream).unwrap();
        assert_eq!(parsed.tail, 0, "a stream ends in the middle of a block");
        assert_eq!(parsed.records.len() as u64, captured, "a follower that reads gets everything");
    }
}

#[test]
fn a_run_that_writes_nothing_is_followed_too() {
    let _machine = shared_machine();
    let followed = Followed::start(Settings::new(2));
    let mut mirror = Mirror::new(followed.collector.address(), 5, 3);
    let frames: Vec<_> = (0..50).map(|number| udp_frame(Peer::v4(number, 1), Peer::v4(9, 9999), b"here")).collect();
    mirror.send(0, &udp_frame(Peer::v4(99, 1), Peer::v4(9, 9999), b"nobody is there yet"));
    followed.collector.wait_received(1);
    let reader = read_all(followed.connect_http());
    wait_until(SOON, "a follower", || followed.followers().now.len() == 1);
    for (number, frame) in frames.iter().enumerate() {
        mirror.send(number, frame);
    }
    let stopped = followed.collector.stop();
    let ledger = &stopped.summary.ledger;
    assert_eq!((ledger.analysed, ledger.captured, ledger.capture_dropped), (51, 0, 0));
    let parsed = capture_file::parse(body(&reader.join().unwrap())).unwrap();
    same_frames(frames.iter().map(Vec::as_slice), bytes(&parsed.records)).unwrap();
    assert!(!stopped.captures().exists());
}

#[test]
fn a_follower_that_reads_again_is_told_what_it_missed() {
    let _machine = quiet_machine();
    let followed = Followed::start(Settings::new(1).write());
    let paused = followed.connect_tcp();
    wait_until(SOON, "a follower", || followed.followers().now.len() == 1);
    send(&followed);
    wait_until(SOON, "all packets in the capture", || {
        let ledger = followed.collector.snapshot().ledger;
        ledger.captured + ledger.kernel_dropped >= PACKETS
    });
    let dropped = followed.followers().dropped;
    assert!(dropped > 0);
    let reader = read_all(paused);
    wait_until(SOON, "the rest to be taken", || followed.followers().sent + dropped >= PACKETS);
    let captured = followed.collector.stop().summary.ledger.captured;
    let stream = reader.join().unwrap();
    let parsed = capture_file::parse(&stream).unwrap();
    assert_eq!((parsed.tail, parsed.records.len() as u64 + dropped), (0, captured));
    assert_eq!(capture_file::dropped(&stream), Some(dropped), "the statistics tell it");
}

#[test]
fn followers_that_leave_in_the_middle_of_anything_are_gone() {
    let _machine = shared_machine();
    let followed = Followed::start(Settings::new(1).write());
    let mut mirror = Mirror::new(followed.collector.address(), 5, 1);
    let mut sent = 0;
    for over_http in [false, true] {
        for bytes in [0, 1, 200, 3000] {
            let mut stream = if over_http { followed.connect_http() } else { followed.connect_tcp() };
            wait_until(SOON, "a follower", || followed.followers().now.len() == 1);
            stream.set_read_timeout(Some(SOON)).unwrap();
            for number in 0..10 {
                mirror.send(0, &udp_frame(Peer::v4(number, 1), Peer::v4(9, 9999), &[7; 1000]));
                sent += 1;
            }
            stream.read_exact(&mut vec![0; bytes]).unwrap();
            // One says goodbye, the other is gone with bytes unread, which resets the connection.
            if bytes == 200 {
                stream.shutdown(Shutdown::Both).unwrap();
            }
            drop(stream);
            wait_until(SOON, "nobody to follow", || followed.followers().now.is_empty());
        }
    }
    assert_eq!(followed.followers().total, 8);
    let ledger = followed.collector.stop().summary.ledger;
    assert_eq!((ledger.captured, ledger.capture_dropped), (sent, 0));
}

#[test]
fn a_stuck_follower_does_not_keep_the_collector_from_ending() {
    let _machine = shared_machine();
    let followed = Followed::start(Settings::new(1).write());
    let _stuck = (followed.connect_tcp(), followed.connect_http());
    wait_until(SOON, "two followers", || followed.followers().now.len() == 2);
    send(&followed);
    let stopped = followed.collector.stop_by(Signal::INT);
    assert_eq!(stopped.summary.ledger.capture_dropped, 0);
}
