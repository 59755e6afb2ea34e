use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use vxtap_analyzers::{StreamId, StreamKey};
use vxtap_capfile::pcapng::PacketHeader;
use vxtap_wire::vxlan::Vni;

use super::seen::{Block, Reader, blocks};
use super::*;

/// Ethernet frames without anything in them but their type.
const IPV4: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0];
const ARP: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 6];

/// Mirror streams with VNIs 100, 101, …, numbered from 0.
fn streams(count: u32) -> Arc<StreamRegistry> {
    let streams = StreamRegistry::new();
    for number in 0..count {
        let source = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
        assert_eq!(streams.intern(&StreamKey::vxlan(source, Vni::new(100 + number).unwrap())), StreamId(number));
    }
    Arc::new(streams)
}

fn name(stream: u32) -> String {
    format!("vni {} from 10.0.0.7", 100 + stream)
}

/// Records of these streams with these frames, the first at `time_ns`, the others a nanosecond later each.
fn run(time_ns: u64, records: &[(u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (time_ns, (interface, frame)) in (time_ns..).zip(records) {
        PacketHeader { interface: *interface, time_ns, wire_len: 0 }.append_to(&mut bytes, frame);
    }
    bytes
}

fn all() -> Filter {
    Filter::parse("").unwrap()
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The chunks that a follower gives before it has to wait, or ends.
fn chunks(follower: &mut Follower) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    loop {
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        match follower.poll_chunk(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(chunk)) => chunks.push(chunk),
            Poll::Pending if flag.0.load(Ordering::SeqCst) => {}
            Poll::Pending | Poll::Ready(None) => return chunks,
        }
    }
}

fn take(follower: &mut Follower) -> Vec<u8> {
    chunks(follower).concat()
}

fn ended(follower: &mut Follower) -> bool {
    follower.poll_chunk(&mut Context::from_waker(Waker::noop())) == Poll::Ready(None)
}

/// A hub whose queues hold `segments` segments.
fn small_hub(segments: usize) -> Hub {
    Hub::with_bounds(streams(4), Bounds { bytes: 1 << 20, segments })
}

#[test]
fn the_header_comes_at_once_and_statistics_at_the_end() {
    let hub = Hub::new(streams(1));
    let mut follower = hub.follow(all(), "a").unwrap();
    let mut reader = Reader::default();
    assert_eq!(reader.read(&take(&mut follower)), [Block::Header]);
    hub.publish(&[&run(5, &[(0, &IPV4)])]);
    let expected = [Block::Interface(name(0)), Block::Record(name(0), 5, IPV4.to_vec())];
    assert_eq!(reader.read(&take(&mut follower)), expected);
    hub.close();
    assert_eq!(reader.read(&take(&mut follower)), [Block::Statistics(name(0), 1, 0)]);
    assert!(ended(&mut follower));
}

#[test]
fn interfaces_are_numbered_by_each_follower_as_their_first_records_come() {
    let hub = Hub::new(streams(4));
    let mut early = hub.follow(all(), "early").unwrap();
    hub.publish(&[&run(1, &[(3, &IPV4), (1, &IPV4)]), &run(3, &[(3, &IPV4)])]);
    let mut late = hub.follow(all(), "late").unwrap();
    hub.publish(&[&run(4, &[(0, &ARP), (1, &IPV4)])]);
    let names = |follower: &mut Follower| -> Vec<(bool, String)> {
        let blocks = blocks(&take(follower));
        let named = blocks.into_iter().filter_map(|block| match block {
            Block::Interface(name) => Some((true, name)),
            Block::Record(name, ..) => Some((false, name)),
            _ => None,
        });
        named.collect()
    };
    let (interface, record) = (|stream| (true, name(stream)), |stream| (false, name(stream)));
    let expected = [interface(3), record(3), interface(1), record(1), record(3), interface(0), record(0), record(1)];
    assert_eq!(names(&mut early), expected);
    assert_eq!(names(&mut late), [interface(0), record(0), interface(1), record(1)]);
}

#[test]
fn a_follower_gets_what_its_filter_wants_and_no_interface_without_records() {
    let hub = Hub::new(streams(3));
    let mut follower = hub.follow(Filter::parse("arp").unwrap(), "a").unwrap();
    hub.publish(&[&run(1, &[(0, &IPV4), (1, &ARP), (2, &IPV4), (1, &IPV4), (1, &ARP)])]);
    hub.close();
    let expected = [
        Block::Header,
        Block::Interface(name(1)),
        Block::Record(name(1), 2, ARP.to_vec()),
        Block::Record(name(1), 5, ARP.to_vec()),
        Block::Statistics(name(1), 2, 0),
    ];
    assert_eq!(blocks(&take(&mut follower)), expected);
    assert_eq!(hub.snapshot().now[0].sent, 2);
}

#[test]
fn a_full_queue_loses_records_and_says_where_and_how_many() {
    let hub = small_hub(4);
    let mut follower = hub.follow(all(), "slow").unwrap();
    for time in 1..=4 {
        hub.publish(&[&run(time, &[(0, &IPV4)])]);
    }
    hub.publish(&[&run(5, &[(0, &IPV4), (1, &IPV4), (1, &ARP)])]);
    hub.publish(&[&run(8, &[(1, &ARP)])]);
    let snapshot = hub.snapshot();
    assert_eq!((snapshot.now[0].sent, snapshot.now[0].dropped, snapshot.dropped), (0, 4, 4));
    // What was refused is told after what was taken, though nothing more has come.
    let mut expected = vec![Block::Header, Block::Interface(name(0))];
    expected.extend((1..=4).map(|time| Block::Record(name(0), time, IPV4.to_vec())));
    let mut reader = Reader::default();
    let mut seen = reader.read(&take(&mut follower));
    let told = seen.split_off(expected.len());
    assert_eq!(seen, expected);
    let interface = Block::Interface(name(1));
    let (zero, one) = (Block::Statistics(name(0), 5, 1), Block::Statistics(name(1), 3, 3));
    // The streams come in any order.
    assert!(told == [zero.clone(), interface.clone(), one.clone()] || told == [interface, one, zero], "{told:?}");
    hub.publish(&[&run(9, &[(1, &IPV4)])]);
    hub.close();
    let expected =
        [Block::Record(name(1), 9, IPV4.to_vec()), Block::Statistics(name(0), 5, 1), Block::Statistics(name(1), 4, 3)];
    assert_eq!(reader.read(&take(&mut follower)), expected);
}

#[test]
fn after_it_was_full_a_queue_takes_nothing_until_half_of_it_is_free() {
    let hub = small_hub(4);
    let slow = hub.follow(all(), "slow").unwrap();
    let publish = |time| {
        hub.publish(&[&run(time, &[(0, &IPV4)])]);
        hub.snapshot().dropped
    };
    let context = Context::from_waker(Waker::noop());
    let pop = || assert!(matches!(slow.queue.poll_next(&context), Poll::Ready(_)));
    assert_eq!([1, 2, 3, 4, 5].map(publish), [0, 0, 0, 0, 1]);
    pop();
    assert_eq!(publish(6), 2);
    pop();
    assert_eq!([7, 8, 9].map(publish), [2, 2, 3], "two are waiting, and two more fit");
}

#[test]
fn a_queue_is_bounded_by_bytes_too_but_an_empty_one_takes_anything() {
    let record = run(1, &[(0, &IPV4)]);
    let hub = Hub::with_bounds(streams(1), Bounds { bytes: 3 * record.len(), segments: 100 });
    let mut follower = hub.follow(all(), "a").unwrap();
    for _ in 0..4 {
        hub.publish(&[&record]);
    }
    assert_eq!(hub.snapshot().dropped, 1);
    take(&mut follower);
    hub.publish(&[&record.repeat(10)]);
    assert_eq!((take(&mut follower).len(), hub.snapshot().dropped), (10 * record.len(), 1));
}

#[test]
fn one_slow_follower_costs_the_others_nothing() {
    let hub = small_hub(2);
    let _stuck = hub.follow(all(), "stuck").unwrap();
    let mut quick = hub.follow(all(), "quick").unwrap();
    for time in 0..100 {
        hub.publish(&[&run(time, &[(0, &IPV4)])]);
        take(&mut quick);
    }
    let snapshot = hub.snapshot();
    let counts: Vec<_> = snapshot.now.iter().map(|follower| (follower.sent, follower.dropped)).collect();
    assert_eq!(counts, [(0, 98), (100, 0)]);
    drop(quick);
    let snapshot = hub.snapshot();
    assert_eq!((snapshot.now.len(), snapshot.total, snapshot.sent, snapshot.dropped), (1, 2, 100, 98));
}

#[test]
fn places_are_limited_and_free_again_when_a_follower_leaves() {
    let hub = Hub::new(streams(1));
    assert!(!hub.is_followed());
    let mut followers: Vec<Follower> = (0..Hub::MAX_FOLLOWERS).map(|_| hub.follow(all(), "a").unwrap()).collect();
    assert_eq!(hub.follow(all(), "a").unwrap_err(), TooManyFollowers);
    followers.pop();
    followers.push(hub.follow(all(), "a").unwrap());
    assert!(hub.is_followed());
    followers.clear();
    assert!(!hub.is_followed());
}

#[test]
fn who_comes_when_all_is_over_gets_the_header_and_the_end() {
    let hub = Hub::new(streams(1));
    hub.close();
    let mut follower = hub.follow(all(), "late").unwrap();
    assert_eq!(blocks(&take(&mut follower)), [Block::Header]);
    assert!(ended(&mut follower));
}

#[test]
fn a_follower_that_waits_is_woken_by_records_and_by_the_end() {
    let hub = Hub::new(streams(1));
    let mut follower = hub.follow(all(), "a").unwrap();
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut waits = |expected: bool| {
        let mut context = Context::from_waker(&waker);
        let mut polls = 0;
        while follower.poll_chunk(&mut context).is_ready() && polls < 10 {
            polls += 1;
        }
        assert_eq!(polls < 10, expected);
        flag.0.swap(false, Ordering::SeqCst)
    };
    assert!(!waits(true));
    hub.publish(&[&run(1, &[(0, &IPV4)])]);
    assert!(waits(true), "woken by records");
    hub.close();
    assert!(waits(false), "woken by the end");
}

#[test]
fn chunks_are_whole_blocks_of_bounded_size_and_others_get_their_turn() {
    let hub = Hub::new(streams(1));
    let mut wants_all = hub.follow(all(), "all").unwrap();
    let mut wants_none = hub.follow(Filter::parse("arp").unwrap(), "none").unwrap();
    let frame = [&IPV4[..], &[7; 1400]].concat();
    let records = run(1, &vec![(0, frame.as_slice()); 700]);
    hub.publish(&[&records]);
    let chunks = chunks(&mut wants_all);
    let mut reader = Reader::default();
    let mut seen = 0;
    for chunk in &chunks {
        assert!(chunk.len() < (64 << 10) + 2 * 1500, "{}", chunk.len());
        seen += reader.read(chunk).len();
    }
    assert_eq!(seen, 702, "header, interface and records");
    assert!(chunks.len() > 15, "{}", chunks.len());
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    assert!(wants_none.poll_chunk(&mut context).is_ready(), "the header");
    assert_eq!(wants_none.poll_chunk(&mut context), Poll::Pending);
    assert!(flag.0.load(Ordering::SeqCst), "it has more to look at and asks for its next turn");
}

#[test]
fn what_clients_say_of_themselves_is_shown_escaped_and_short() {
    let hub = Hub::new(streams(1));
    let filter = Filter::parse(&" ".repeat(5000)).unwrap();
    let _follower = hub.follow(filter, "tcp \u{1b}[2J\u{9b}\n\u{202e}").unwrap();
    let snapshot = hub.snapshot();
    assert_eq!(snapshot.now[0].name, r"tcp \u{1b}[2J\u{9b}\n\u{202e}");
    assert_eq!(snapshot.now[0].filter.chars().count(), 201);
    assert!(snapshot.now[0].since_ns > 0);
}

/// What happens to a hub with one follower.
#[derive(Clone, Debug)]
enum Event {
    Publish(Vec<u8>),
    Take,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![2 => prop::collection::vec(0..4_u8, 1..6).prop_map(Event::Publish), 1 => Just(Event::Take)]
}

proptest! {
    #[test]
    fn every_record_is_sent_or_counted_as_dropped_and_order_is_kept(events in prop::collection::vec(event(), 0..60)) {
        let hub = small_hub(3);
        let mut follower = hub.follow(all(), "a").unwrap();
        let (mut stream, mut time, mut published) = (Vec::new(), 0, [0; 4]);
        for event in events {
            match event {
                Event::Publish(records) => {
                    let of: Vec<(u32, &[u8])> = records.iter().map(|stream| (u32::from(*stream), &IPV4[..])).collect();
                    hub.publish(&[&run(time, &of)]);
                    time += records.len() as u64;
                    for stream in records {
                        published[usize::from(stream)] += 1;
                    }
                }
                Event::Take => stream.extend(take(&mut follower)),
            }
        }
        hub.close();
        stream.extend(take(&mut follower));
        let blocks = blocks(&stream);
        let times: Vec<u64> = blocks.iter().filter_map(|block| match block {
            Block::Record(_, time, _) => Some(*time),
            _ => None,
        }).collect();
        prop_assert!(times.is_sorted());
        let snapshot = hub.snapshot();
        prop_assert_eq!(snapshot.sent, times.len() as u64);
        prop_assert_eq!(snapshot.sent + snapshot.dropped, published.iter().sum::<u64>());
        for (number, published) in published.into_iter().enumerate() {
            let told = blocks.iter().rev().find_map(|block| match block {
                Block::Statistics(of, received, dropped) if *of == name(number as u32) => Some((*received, *dropped)),
                _ => None,
            });
            let sent = blocks.iter().filter(|block| matches!(block, Block::Record(of, ..) if *of == name(number as u32)));
            let (received, dropped) = told.unwrap_or_default();
            prop_assert_eq!((received, received - dropped), (published, sent.count() as u64));
        }
    }
}
