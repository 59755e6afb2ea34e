use vxtap_wire::{FrameView, NetworkId};

use super::*;
use crate::flow_table::FlowTableLimits;
use crate::shard::{PacketMeta, Shard, ShardSettings};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;
const ACK: u8 = 0x10;
const SYN: u8 = 0x02;

/// The mirrored machine.
const HOST: [u8; 4] = [10, 0, 0, 1];

fn peer(number: u32) -> [u8; 4] {
    [192, 168, (number >> 8) as u8, number as u8]
}

fn frame(proto: u8, from: ([u8; 4], u16), to: ([u8; 4], u16), flags: u8) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, proto, 0, 0]);
    frame.extend(from.0);
    frame.extend(to.0);
    frame.extend(from.1.to_be_bytes());
    frame.extend(to.1.to_be_bytes());
    match proto {
        protocol::TCP => frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]),
        _ => frame.extend([0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    }
    frame
}

struct Bench(Shard);

impl Bench {
    fn new() -> Self {
        Self(Shard::new(&ShardSettings { limits: FlowTableLimits::default(), seed: 1 }))
    }

    fn see(&mut self, stream: u32, time_ns: u64, frame: &[u8]) {
        let meta = PacketMeta { time_ns, stream: StreamId(stream), network: NetworkId(1) };
        self.0.observe(&[(meta, FrameView::parse(frame))], |_| ());
    }

    /// A connection of which `there` and `back` frames are seen.
    fn tcp(&mut self, client: ([u8; 4], u16), server: ([u8; 4], u16), there: usize, back: usize) {
        for _ in 0..there {
            self.see(0, START, &frame(protocol::TCP, client, server, ACK));
        }
        for _ in 0..back {
            self.see(0, START, &frame(protocol::TCP, server, client, ACK));
        }
    }

    fn counts(&self, stream: u32) -> SideCounts {
        self.0.sides().find(|(id, _)| id.0 == stream).map(|(_, counts)| *counts).unwrap_or_default()
    }

    fn judged(&self, stream: u32) -> (u64, u64, u64) {
        let SideCounts { both, originator_only, responder_only, .. } = self.counts(stream);
        (both, originator_only, responder_only)
    }
}

#[test]
fn a_connection_is_one_sided_once_so_much_of_it_was_seen_that_the_other_side_must_have_spoken() {
    let mut bench = Bench::new();
    let (client, server) = ((peer(1), 40_000), (HOST, 80));
    bench.tcp(client, server, 3, 0);
    assert_eq!(bench.judged(0), (0, 0, 0));
    bench.tcp(client, server, 5, 0);
    assert_eq!(bench.judged(0), (0, 1, 0));
    // It comes after all, and is whole from then on.
    bench.tcp(client, server, 0, 9);
    assert_eq!(bench.judged(0), (1, 0, 0));
    bench.tcp((peer(2), 40_000), server, 0, 4);
    assert_eq!(bench.judged(0), (1, 0, 1));
    bench.tcp((peer(3), 40_000), server, 1, 1);
    assert_eq!(bench.judged(0), (2, 0, 1));
}

#[test]
fn syns_that_nobody_answers_and_udp_that_needs_no_answer_say_nothing_of_the_mirror() {
    let mut bench = Bench::new();
    for _ in 0..9 {
        bench.see(0, START, &frame(protocol::TCP, (peer(1), 40_000), (HOST, 80), SYN));
        bench.see(0, START, &frame(protocol::UDP, (peer(1), 40_000), (HOST, 514), 0));
    }
    bench.0.advance(START + 3600 * SECOND, &mut |_| ());
    assert_eq!(bench.judged(0), (0, 0, 0));
}

#[test]
fn a_question_that_stays_without_answer_counts_when_it_is_given_up() {
    let mut bench = Bench::new();
    for number in 0..3 {
        bench.see(4, START, &frame(protocol::UDP, (peer(number), 40_000), (HOST, 53), 0));
    }
    bench.see(4, START, &frame(protocol::UDP, (HOST, 53), (peer(2), 40_000), 0));
    assert_eq!(bench.judged(4), (1, 0, 0));
    bench.0.advance(START + 3600 * SECOND, &mut |_| ());
    assert_eq!(bench.judged(4), (1, 2, 0));
}

#[test]
fn questions_under_way_when_the_run_ends_are_not_missing_their_answer() {
    let mut bench = Bench::new();
    bench.see(0, START, &frame(protocol::UDP, (peer(1), 40_000), (HOST, 53), 0));
    bench.0.finish(|_| ());
    assert_eq!(bench.judged(0), (0, 0, 0));
}

#[test]
fn each_cause_is_told_by_what_is_missing() {
    type Traffic = fn(&mut Bench, u32);
    let whole: Traffic = |bench, number| bench.tcp((peer(number), 40_000), (HOST, 443), 4, 4);
    let cases: &[(&str, Traffic, Option<OneSidedCause>)] = &[
        ("everything", whole, None),
        // A balancer that hashes source and destination: half of the flows show one direction here, half the other.
        (
            "split",
            |bench, number| {
                let (there, back) = if number % 2 == 0 { (5, 0) } else { (0, 5) };
                bench.tcp((peer(number), 40_000), (HOST, 443), there, back);
            },
            Some(OneSidedCause::DirectionsSplit),
        ),
        // Only ingress of a server.
        (
            "ingress",
            |bench, number| bench.tcp((peer(number), 40_000), (HOST, 443), 5, 0),
            Some(OneSidedCause::DirectionMissing),
        ),
        // Only ingress of a machine that is server and client: by roles both are missing, by the machine one is.
        (
            "ingress of both",
            |bench, number| {
                if number % 2 == 0 {
                    bench.tcp((peer(number), 40_000), (HOST, 443), 5, 0);
                } else {
                    bench.tcp((HOST, 40_000 + number as u16), (peer(number), 443), 0, 5);
                }
            },
            Some(OneSidedCause::DirectionMissing),
        ),
        // A filter that takes port 80 in one direction only.
        (
            "filter",
            |bench, number| match number % 2 {
                0 => bench.tcp((peer(number), 40_000), (HOST, 443), 4, 4),
                _ => bench.tcp((peer(number), 40_000), (HOST, 80), 5, 0),
            },
            Some(OneSidedCause::Filter { port: 80 }),
        ),
        // One in fifty: nothing unusual.
        (
            "rare",
            |bench, number| {
                let back = if number % 50 == 0 { 0 } else { 4 };
                bench.tcp((peer(number), 40_000), (HOST, 443), 4, back);
            },
            None,
        ),
    ];
    for (name, traffic, cause) in cases {
        let mut bench = Bench::new();
        (0..10).for_each(|number| traffic(&mut bench, number));
        assert_eq!(bench.counts(0).cause(), None, "{name}: too few flows to tell");
        (10..3000).for_each(|number| traffic(&mut bench, number));
        assert_eq!(bench.counts(0).cause(), *cause, "{name}: {:?}", bench.counts(0));
        let SideCounts { both, originator_only, responder_only, .. } = bench.counts(0);
        assert_eq!(both + originator_only + responder_only, 3000, "{name}");
    }
}

#[test]
fn a_fault_that_was_mended_is_forgotten_and_workers_add_up() {
    let mut bench = Bench::new();
    (0..2000).for_each(|number| bench.tcp((peer(number), 40_000), (HOST, 443), 5, 0));
    let broken = bench.counts(0);
    assert!(broken.share().unwrap() > 0.99);
    (2000..9000).for_each(|number| bench.tcp((peer(number), 40_000), (HOST, 443), 4, 4));
    let mended = bench.counts(0);
    assert!(mended.share().unwrap() < 0.05, "{mended:?}");
    assert_eq!((mended.cause(), mended.one_sided()), (None, 2000));
    let mut sum = broken;
    sum.merge(&broken);
    assert_eq!((sum.originator_only, sum.cause()), (4000, Some(OneSidedCause::DirectionMissing)));
}
