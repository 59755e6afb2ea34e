//! Flows looked into, from frames to events.

use serde_json::Value;
use vxtap_wire::{FrameView, NetworkId, TcpFlags, protocol};

use crate::flow::{Flow, FlowEnd};
use crate::flow_table::FlowTableLimits;
use crate::protocols::EventKinds;
use crate::shard::{PacketMeta, Shard, ShardSettings};
use crate::stream::{StreamId, StreamKey};
use crate::{Analysis, FlowRecord};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const PSH: u8 = TcpFlags::PSH | TcpFlags::ACK;

/// The two ends: last byte of the address, and port. Neither port tells who is the server.
const A: (u8, u16) = (1, 40_000);
const B: (u8, u16) = (2, 50_000);

struct Bench {
    shard: Shard,
    now_ns: u64,
    ended: Vec<(u64, u64, FlowEnd)>,
}

impl Bench {
    fn new() -> Self {
        let settings = ShardSettings { limits: FlowTableLimits::default(), seed: 1 };
        let analysis = Analysis::new(EventKinds::ALL, |_| StreamKey::PLAIN);
        Self { shard: Shard::new(&settings).with_analysis(analysis), now_ns: START, ended: Vec::new() }
    }

    /// Shows a frame, a millisecond after the one before.
    fn see(&mut self, frame: &[u8]) {
        self.now_ns += 1_000_000;
        let meta = PacketMeta { time_ns: self.now_ns, stream: StreamId(0), network: NetworkId(1) };
        let ended = &mut self.ended;
        self.shard.observe(&[(meta, FrameView::parse(frame))], |record: FlowRecord<'_>| {
            ended.push((record.flow.to_responder.frames, record.flow.to_originator.frames, record.end));
        });
    }

    fn events(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        let analysis = self.shard.analysis().unwrap();
        analysis.events().take(|lines, _| {
            events.extend(
                lines
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty())
                    .map(|line| serde_json::from_slice::<Value>(line).unwrap()),
            );
        });
        events
    }

    /// The names of the anomalies told since the last time, each with its type.
    fn anomalies(&mut self) -> Vec<(String, String)> {
        let text = |event: &Value, key: &str| event["anomaly"][key].as_str().unwrap().to_owned();
        let events = self.events();
        let anomalies = events.iter().filter(|event| event["event_type"] == "anomaly");
        anomalies.map(|event| (text(event, "type"), text(event, "event"))).collect()
    }

    fn only_flow(&self) -> &Flow {
        let (mut flows, _) = self.shard.table().part(0, 1 << 20);
        let flow = flows.next().expect("one flow");
        assert!(flows.next().is_none(), "more than one flow");
        flow
    }
}

#[test]
fn looking_into_a_flow_costs_no_more_than_352_bytes_as_long_as_its_protocol_is_not_known() {
    let bytes = size_of::<Option<super::FlowApp>>();
    assert!(bytes <= 352, "{bytes}");
}

/// An IPv4 packet in an Ethernet frame.
fn ipv4(from: u8, to: u8, proto: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((20 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 7]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, proto, 0, 0, 10, 0, 0, from, 10, 0, 0, to]);
    frame.extend(payload);
    frame
}

fn tcp(from: (u8, u16), to: (u8, u16), numbers: (u32, u32), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(from.1.to_be_bytes());
    segment.extend(to.1.to_be_bytes());
    segment.extend(numbers.0.to_be_bytes());
    segment.extend(numbers.1.to_be_bytes());
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    ipv4(from.0, to.0, protocol::TCP, 0, &segment)
}

fn udp(from: (u8, u16), to: (u8, u16), payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(from.1.to_be_bytes());
    datagram.extend(to.1.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    ipv4(from.0, to.0, protocol::UDP, 0, &datagram)
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[test]
fn a_flow_tells_each_anomaly_once_with_its_envelope() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.see(&tcp(A, B, (1, 0), SYN | TcpFlags::FIN, b""));
    }
    let events = bench.events();
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event["anomaly"], serde_json::json!({"type": "decode", "event": "decoder.tcp.flags_syn_fin"}));
    assert_eq!((&event["src_ip"], &event["src_port"]), (&"10.0.0.1".into(), &A.1.into()));
    assert_eq!((&event["pkt_src"], &event["proto"]), (&"wire/pcap".into(), &"TCP".into()));
    assert!(event["flow_id"].is_u64() && event["community_id"].is_string());
    bench.see(&tcp(B, A, (1, 0), 0, b""));
    assert_eq!(bench.anomalies(), [pair("decode", "decoder.tcp.flags_null")]);
    let found = bench.shard.analysis().unwrap().events().anomalies().found().collect::<Vec<_>>();
    assert_eq!(found, [("decoder.tcp.flags_null", 1), ("decoder.tcp.flags_syn_fin", 1)]);
}

#[test]
fn heads_without_an_end_in_thousands_of_flows_take_bounded_memory_and_no_other_flow_its_events() {
    const LIMIT: usize = 128 << 20;
    let head = [&b"GET /long HTTP/1.1\r\nHost: a\r\nX-Filler: "[..], &vec![b'x'; 60_000]].concat();
    let mut bench = Bench::new();
    let mut told = 0;
    for port in 1..3_000 {
        bench.see(&tcp((3, port), B, (1, 1), PSH, &head));
        let kept = bench.shard.analysis().unwrap().bytes_kept();
        assert!(kept <= LIMIT + 2 * head.len(), "{kept}");
        told += bench.events().iter().filter(|event| event["http"]["truncated"] == true).count() as u64;
    }
    let given_up = bench.shard.analysis().unwrap().snapshot().protocols_given_up;
    assert!(given_up > 500 && told == given_up, "{given_up} given up, {told} told");
    // Whoever keeps no more than is usual goes on.
    bench.see(&tcp(A, B, (1, 1), PSH, b"GET /short HTTP/1.1\r\n"));
    bench.see(&tcp(A, B, (22, 1), PSH, b"Host: a\r\n\r\n"));
    bench.see(&tcp(B, A, (1, 33), PSH, b"HTTP/1.1 204 No Content\r\n\r\n"));
    let events = bench.events();
    assert_eq!((&events[0]["http"]["url"], &events[0]["http"]["status"]), (&"/short".into(), &204.into()));
    bench.shard.finish(|_| {});
    assert_eq!(bench.shard.analysis().unwrap().bytes_kept(), 0, "all was given back");
}

#[test]
fn what_was_lost_before_the_protocol_was_found_is_known_to_it() {
    let mut bench = Bench::new();
    bench.see(&tcp(A, B, (99, 0), SYN, b""));
    bench.see(&tcp(B, A, (499, 100), SYN | ACK, b""));
    // The head of a request of 50 bytes is missing.
    bench.see(&tcp(A, B, (150, 500), PSH, b"GET some: of its body"));
    for _ in 0..40 {
        bench.see(&tcp(B, A, (500, 171), ACK, b""));
    }
    bench.see(&tcp(B, A, (500, 171), PSH, b"HTTP/1.1 204 No Content\r\n\r\n"));
    let events = bench.events();
    let [event] = &events[..] else { panic!("{events:#?}") };
    assert_eq!((&event["http"]["status"], &event["http"]["truncated"]), (&204.into(), &true.into()));
}

#[test]
fn segments_that_contradict_each_other_are_an_anomaly_and_repeated_or_cut_ones_are_none() {
    let mut bench = Bench::new();
    bench.see(&tcp(A, B, (100, 0), SYN, b""));
    bench.see(&tcp(A, B, (111, 0), PSH, b"0123456789"));
    bench.see(&tcp(A, B, (111, 0), PSH, b"0123456789"));
    let cut = tcp(A, B, (111, 0), PSH, b"0123456789");
    bench.see(&cut[..60]);
    assert_eq!(bench.anomalies(), []);
    bench.see(&tcp(A, B, (111, 0), PSH, b"0123456xxx"));
    assert_eq!(bench.anomalies(), [pair("stream", "stream.reassembly_overlap_different_data")]);
}

#[test]
fn wrong_lengths_are_told_of_the_flow_and_of_frames_in_none() {
    let mut bench = Bench::new();
    let mut wrong = udp(A, B, b"abc");
    wrong[38..40].copy_from_slice(&[0, 3]);
    bench.see(&wrong);
    assert_eq!(bench.anomalies(), [pair("decode", "decoder.udp.hlen_invalid")]);
    let mut wrong = udp(A, B, b"abc");
    wrong[14] = 0x43;
    bench.see(&wrong);
    let events = bench.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["anomaly"]["event"], "decoder.ipv4.hlen_too_small");
    assert!(events[0].get("src_ip").is_none() && events[0].get("flow_id").is_none());
}

#[test]
fn fragments_with_other_bytes_are_told_of_the_flow_that_they_are_counted_in() {
    const MORE: u16 = 0x2000;
    let mut bench = Bench::new();
    bench.see(&ipv4(1, 2, protocol::UDP, MORE, &[1; 16]));
    bench.see(&ipv4(1, 2, protocol::UDP, MORE, &[1; 16]));
    assert_eq!(bench.anomalies(), [], "a second copy");
    bench.see(&ipv4(1, 2, protocol::UDP, MORE | 1, &[9; 16]));
    assert_eq!(bench.anomalies(), [pair("decode", "decoder.ipv4.frag_overlap")]);
    bench.see(&ipv4(1, 2, protocol::UDP, MORE | 9, &[9; 13]));
    assert_eq!(bench.anomalies(), [pair("decode", "decoder.ipv4.frag_pkt_too_large")]);
}

#[test]
fn fragments_that_nothing_follows_are_given_up_as_time_passes() {
    let mut bench = Bench::new();
    bench.see(&ipv4(1, 2, protocol::UDP, 0x2000, &[1; 16]));
    assert!(bench.shard.analysis().unwrap().fragments.bytes() > 0);
    bench.shard.advance(START + 40 * SECOND, &mut |_| ());
    assert_eq!(bench.shard.analysis().unwrap().fragments.bytes(), 0);
}

#[test]
fn a_response_that_comes_first_turns_the_flow_round() {
    let mut bench = Bench::new();
    // The server's ports says nothing: the flow begins with a response, then a request.
    bench.see(&tcp(A, B, (1000, 500), PSH, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(bench.only_flow().five_tuple().source_port, B.1);
    assert_eq!((bench.only_flow().to_responder.frames, bench.only_flow().to_originator.frames), (0, 1));
    bench.see(&tcp(B, A, (500, 1038), PSH, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"));
    bench.see(&tcp(A, B, (1038, 528), PSH, b"HTTP/1.1 204 No Content\r\n\r\n"));
    let events = bench.events();
    let request = events.iter().find(|event| event["http"]["url"] == "/a").expect("the request");
    assert_eq!((&request["src_port"], &request["http"]["status"]), (&B.1.into(), &204.into()));
    assert!(events.iter().all(|event| event["src_port"] == B.1), "{events:?}");
    assert_eq!((bench.only_flow().to_responder.frames, bench.only_flow().to_originator.frames), (1, 2));
}

#[test]
fn a_handshake_that_was_seen_is_worth_more_than_what_the_bytes_say() {
    let mut bench = Bench::new();
    bench.see(&tcp(A, B, (999, 0), SYN, b""));
    bench.see(&tcp(A, B, (1000, 500), PSH, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(bench.only_flow().five_tuple().source_port, A.1);
}

#[test]
fn a_dns_answer_that_comes_first_turns_the_flow_round_and_multicast_does_not() {
    let mut answer = vec![0, 9, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    answer.extend(b"\x01a\x02de\x00\x00\x01\x00\x01");
    let mut bench = Bench::new();
    bench.see(&udp((1, 4053), (2, 4000), &answer));
    assert_eq!(bench.only_flow().five_tuple().source_port, 4000);
    let mut bench = Bench::new();
    bench.see(&udp((1, 5353), (2, 5353), &answer));
    assert_eq!(bench.only_flow().five_tuple().source_ip().to_string(), "10.0.0.1");
}

#[test]
fn a_flow_of_which_something_was_told_is_not_turned_round() {
    let mut bench = Bench::new();
    bench.see(&tcp(A, B, (999, 0), 0, b""));
    bench.see(&tcp(A, B, (1000, 500), PSH, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(bench.only_flow().five_tuple().source_port, A.1);
}

/// A connection in use, its first segments seen.
fn open_connection() -> Bench {
    let mut bench = Bench::new();
    bench.see(&tcp(A, B, (100, 0), SYN, b""));
    bench.see(&tcp(B, A, (500, 101), SYN | ACK, b""));
    bench.see(&tcp(A, B, (101, 501), ACK, b""));
    bench
}

#[test]
fn a_syn_that_is_answered_opens_the_next_flow_which_has_it() {
    let mut bench = open_connection();
    bench.see(&tcp(A, B, (70_000_000, 0), SYN, b""));
    assert_eq!(bench.ended, [], "it may be forged");
    bench.see(&tcp(A, B, (70_000_000, 0), SYN, b""));
    bench.see(&tcp(B, A, (9, 70_000_001), SYN | ACK, b""));
    assert_eq!(bench.ended, [(2, 1, FlowEnd::Reused)]);
    let flow = bench.only_flow();
    assert_eq!((flow.to_responder.frames, flow.to_originator.frames), (2, 1));
    assert_eq!(flow.five_tuple().source_port, A.1);
    bench.see(&tcp(A, B, (70_000_000, 0), SYN, b""));
    bench.see(&tcp(B, A, (9, 70_000_001), SYN | ACK, b""));
    assert_eq!(bench.ended.len(), 1, "copies of the handshake belong to it");
}

#[test]
fn repeated_handshakes_and_answers_to_other_syns_open_nothing() {
    let mut bench = open_connection();
    bench.see(&tcp(A, B, (100, 0), SYN, b""));
    bench.see(&tcp(B, A, (500, 101), SYN | ACK, b""));
    bench.see(&tcp(A, B, (70_000_000, 0), SYN, b""));
    bench.see(&tcp(B, A, (501, 101), ACK, b""));
    bench.see(&tcp(B, A, (500, 101), SYN | ACK, b""));
    assert_eq!((bench.ended.len(), bench.shard.table().len()), (0, 1));
}

#[test]
fn a_syn_after_a_long_silence_opens_the_next_flow_at_once() {
    let mut bench = open_connection();
    bench.now_ns += 61 * SECOND;
    bench.see(&tcp(A, B, (100, 0), SYN, b""));
    assert_eq!(bench.ended, [], "the same SYN again");
    bench.now_ns += 61 * SECOND;
    bench.see(&tcp(A, B, (70_000_000, 0), SYN, b""));
    assert_eq!(bench.ended, [(3, 1, FlowEnd::Reused)]);
    assert_eq!(bench.only_flow().to_responder.frames, 1);
}

#[test]
fn a_simultaneous_open_is_one_flow_of_the_side_that_came_first() {
    let mut bench = Bench::new();
    bench.see(&tcp(A, B, (100, 0), SYN, b""));
    bench.see(&tcp(B, A, (500, 0), SYN, b""));
    bench.see(&tcp(A, B, (100, 501), SYN | ACK, b""));
    bench.see(&tcp(B, A, (500, 101), SYN | ACK, b""));
    bench.see(&tcp(A, B, (101, 501), PSH, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(bench.ended, []);
    let flow = bench.only_flow();
    assert_eq!((flow.to_responder.frames, flow.to_originator.frames), (3, 2));
    assert_eq!(flow.five_tuple().source_port, A.1);
}

#[test]
fn a_request_is_told_where_the_server_has_closed_its_half_before() {
    let mut bench = open_connection();
    bench.see(&tcp(B, A, (501, 101), TcpFlags::FIN | ACK, b""));
    bench.see(&tcp(A, B, (101, 502), PSH, b"GET /half HTTP/1.1\r\nHost: a\r\n\r\n"));
    bench.see(&tcp(A, B, (131, 502), TcpFlags::FIN | ACK, b""));
    let ended = &mut bench.ended;
    bench.shard.finish(|record| ended.push((record.flow.to_responder.frames, 0, record.end)));
    let events = bench.events();
    let urls: Vec<&Value> =
        events.iter().filter(|event| event["event_type"] == "http").map(|event| &event["http"]["url"]).collect();
    assert_eq!(urls, ["/half"], "{events:?}");
}

#[test]
fn a_flow_that_is_picked_up_within_a_long_body_is_told_by_what_the_other_side_says() {
    let request = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    // Where the beginning was shown it is of no protocol.
    for (begins, told) in [(false, 1), (true, 0)] {
        // In large segments, and in many small ones.
        for size in [1400, 90] {
            let mut bench = if begins { open_connection() } else { Bench::new() };
            for n in 0..100 {
                bench.see(&tcp(B, A, (501 + size * n, 101), PSH, &vec![b'x'; size as usize]));
            }
            bench.see(&tcp(A, B, (101, 501 + size * 100), PSH, request));
            bench.shard.finish(|_| {});
            let events = bench.events();
            let urls = events.iter().filter(|event| event["http"]["url"] == "/next").count();
            assert_eq!(urls, told, "{size}: {events:?}");
        }
    }
}
