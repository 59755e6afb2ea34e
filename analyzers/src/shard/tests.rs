use vxtap_wire::{TcpFlags, protocol};

use super::*;
use crate::flow::{FlowState, TcpState};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;

/// A record as a value: who, frames and bytes each way, why.
type Ended = (u16, u64, u64, u64, u64, FlowEnd);

struct Bench {
    shard: Shard,
    ended: Vec<Ended>,
}

fn settings(limits: FlowTableLimits) -> ShardSettings {
    ShardSettings { limits, seed: 3 }
}

impl Bench {
    fn new(limits: FlowTableLimits) -> Self {
        Self { shard: Shard::new(&settings(limits)), ended: Vec::new() }
    }

    fn see(&mut self, time_ns: u64, frame: &[u8]) {
        self.see_in(NetworkId(1), time_ns, frame);
    }

    fn see_in(&mut self, network: NetworkId, time_ns: u64, frame: &[u8]) {
        let meta = PacketMeta { time_ns, stream: StreamId(0), network };
        let ended = &mut self.ended;
        self.shard.observe(&[(meta, FrameView::parse(frame))], |record| ended.push(value(&record)));
    }

    fn advance(&mut self, now_ns: u64) {
        let ended = &mut self.ended;
        self.shard.advance(now_ns, &mut |record: FlowRecord<'_>| ended.push(value(&record)));
    }

    fn only_flow(&self) -> &Flow {
        let (mut flows, _) = self.shard.table().part(0, 1 << 20);
        let flow = flows.next().expect("one flow");
        assert!(flows.next().is_none(), "more than one flow");
        flow
    }
}

fn value(record: &FlowRecord<'_>) -> Ended {
    let flow = record.flow;
    (
        flow.five_tuple().source_port,
        flow.to_responder.frames,
        flow.to_responder.bytes,
        flow.to_originator.frames,
        flow.to_originator.bytes,
        record.end,
    )
}

/// An Ethernet frame with IPv4 and TCP or UDP, 54 or 42 bytes and the payload.
fn frame(proto: u8, from: (u8, u16), to: (u8, u16), tcp: (u32, u8), payload: usize) -> Vec<u8> {
    let transport = if proto == protocol::TCP { 20 } else { 8 };
    let total = (20 + transport + payload) as u16;
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend(total.to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, from.0, 10, 0, 0, to.0]);
    frame.extend(from.1.to_be_bytes());
    frame.extend(to.1.to_be_bytes());
    if proto == protocol::TCP {
        frame.extend(tcp.0.to_be_bytes());
        frame.extend([0, 0, 0, 0, 0x50, tcp.1, 0xff, 0xff, 0, 0, 0, 0]);
    } else {
        frame.extend(((8 + payload) as u16).to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.resize(frame.len() + payload, 0);
    frame
}

const CLIENT: (u8, u16) = (1, 40_000);
const SERVER: (u8, u16) = (2, 80);
const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const FIN: u8 = TcpFlags::FIN;
const RST: u8 = TcpFlags::RST;

fn up(sequence: u32, flags: u8, payload: usize) -> Vec<u8> {
    frame(protocol::TCP, CLIENT, SERVER, (sequence, flags), payload)
}

fn down(sequence: u32, flags: u8, payload: usize) -> Vec<u8> {
    frame(protocol::TCP, SERVER, CLIENT, (sequence, flags), payload)
}

#[test]
fn a_connection_goes_through_its_states_and_counts_both_directions() {
    let mut bench = Bench::new(FlowTableLimits::default());
    let steps: [(Vec<u8>, TcpState, FlowState); 7] = [
        (up(100, SYN, 0), TcpState::SynSent, FlowState::New),
        (down(500, SYN | ACK, 0), TcpState::SynReceived, FlowState::New),
        (up(101, ACK, 0), TcpState::Established, FlowState::Established),
        (up(101, ACK, 10), TcpState::Established, FlowState::Established),
        (down(501, ACK | FIN, 20), TcpState::FinOne, FlowState::Established),
        (up(111, ACK, 0), TcpState::FinOne, FlowState::Established),
        (up(111, ACK | FIN, 0), TcpState::Closed, FlowState::Closed),
    ];
    for (at, (frame, tcp, state)) in steps.into_iter().enumerate() {
        bench.see(START + at as u64, &frame);
        let flow = bench.only_flow();
        assert_eq!((flow.tcp, flow.state()), (tcp, state), "step {at}");
    }
    let flow = bench.only_flow();
    assert_eq!((flow.to_responder.frames, flow.to_responder.bytes), (5, 5 * 54 + 10));
    assert_eq!((flow.to_originator.frames, flow.to_originator.bytes), (2, 2 * 54 + 20));
    assert_eq!((flow.first_ns, flow.last_ns), (START, START + 6));
    assert_eq!(flow.to_responder.tcp_flags.0, SYN | ACK | FIN);
}

#[test]
fn frames_that_the_mirror_cut_are_counted_by_direction_for_udp_as_for_tcp() {
    for proto in [protocol::TCP, protocol::UDP] {
        let mut bench = Bench::new(FlowTableLimits::default());
        let (up, down) = (frame(proto, CLIENT, SERVER, (1, ACK), 500), frame(proto, SERVER, CLIENT, (1, ACK), 300));
        bench.see(START, &up);
        bench.see(START + 1, &down[..96]);
        bench.see(START + 2, &down[..100]);
        bench.see(START + 3, &down);
        let (flow, whole) = (bench.only_flow(), down.len() as u64);
        assert_eq!((flow.to_responder.cut_frames, flow.to_responder.cut_bytes), (0, 0));
        assert_eq!((flow.to_originator.frames, flow.to_originator.bytes), (3, 3 * whole));
        assert_eq!((flow.to_originator.cut_frames, flow.to_originator.cut_bytes), (2, 2 * whole - 196));
    }
}

#[test]
fn who_opened_the_flow_is_told_by_syn_ack_and_by_a_well_known_port() {
    let mut bench = Bench::new(FlowTableLimits::default());
    bench.see(START, &down(1, SYN | ACK, 0));
    assert_eq!(bench.only_flow().five_tuple().source_port, CLIENT.1);
    let mut bench = Bench::new(FlowTableLimits::default());
    bench.see(START, &down(1, ACK, 100));
    assert_eq!(bench.only_flow().five_tuple().source_port, CLIENT.1);
    let mut bench = Bench::new(FlowTableLimits::default());
    bench.see(START, &frame(protocol::UDP, (2, 53), (1, 5353), (0, 0), 30));
    assert_eq!(bench.only_flow().five_tuple().source_port, 5353);
    let mut bench = Bench::new(FlowTableLimits::default());
    bench.see(START, &frame(protocol::UDP, (2, 5000), (1, 6000), (0, 0), 30));
    assert_eq!(bench.only_flow().five_tuple().source_port, 5000);
}

#[test]
fn same_five_tuple_in_two_networks_is_two_flows() {
    let mut bench = Bench::new(FlowTableLimits::default());
    bench.see_in(NetworkId(1), START, &up(1, ACK, 0));
    bench.see_in(NetworkId(2), START, &up(1, ACK, 0));
    assert_eq!(bench.shard.table().len(), 2);
}

#[test]
fn silence_ends_a_flow_by_its_state() {
    let mut bench = Bench::new(FlowTableLimits::default());
    bench.see(START, &up(1, SYN, 0));
    bench.advance(START + 59 * SECOND);
    assert_eq!(bench.ended, []);
    bench.advance(START + 61 * SECOND);
    assert_eq!(bench.ended, [(CLIENT.1, 1, 54, 0, 0, FlowEnd::Idle)]);
    assert!(bench.shard.table().is_empty());

    bench.ended.clear();
    let start = START + 1000 * SECOND;
    bench.see(start, &up(1, ACK, 0));
    bench.see(start, &down(1, RST, 0));
    bench.advance(start + 11 * SECOND);
    assert_eq!(bench.ended, [(CLIENT.1, 1, 54, 1, 54, FlowEnd::Idle)], "a closed flow has the short timeout");
}

#[test]
fn a_packet_after_too_long_a_silence_is_a_new_flow_though_no_timer_fired() {
    let mut bench = Bench::new(FlowTableLimits::default());
    let udp = frame(protocol::UDP, (1, 5000), (2, 6000), (0, 0), 8);
    bench.see(START, &udp);
    bench.see(START + 10_000 * SECOND, &udp);
    assert_eq!(bench.ended, [(5000, 1, 50, 0, 0, FlowEnd::Idle)]);
    assert_eq!(bench.only_flow().first_ns, START + 10_000 * SECOND);
    assert_eq!(bench.shard.counters().flows, 2);
}

#[test]
fn a_new_syn_after_the_end_opens_the_next_flow_and_a_repeated_one_does_not() {
    let mut bench = Bench::new(FlowTableLimits::default());
    bench.see(START, &up(100, SYN, 0));
    bench.see(START + 1, &down(1, RST | ACK, 0));
    bench.see(START + 2, &up(100, SYN, 0));
    assert_eq!(bench.ended, [], "the same SYN again is a retransmission");
    bench.see(START + 3, &up(7777, SYN, 0));
    assert_eq!(bench.ended, [(CLIENT.1, 2, 108, 1, 54, FlowEnd::Reused)]);
    assert_eq!(bench.only_flow().to_responder.frames, 1);
}

#[test]
fn a_syn_during_an_open_connection_changes_nothing() {
    let mut bench = Bench::new(FlowTableLimits::default());
    bench.see(START, &up(100, ACK, 5));
    bench.see(START + 1, &up(9999, SYN, 0));
    assert_eq!((bench.ended.len(), bench.only_flow().to_responder.frames), (0, 2));
}

#[test]
fn the_active_timeout_reports_parts_that_add_up() {
    let limits = FlowTableLimits { active_ns: 100 * SECOND, ..FlowTableLimits::default() };
    let mut bench = Bench::new(limits);
    for at in 0..250 {
        bench.see(START + at * SECOND, &up(1, ACK, 0));
    }
    let ended = &mut bench.ended;
    bench.shard.finish(|record| ended.push(value(&record)));
    let ends: Vec<FlowEnd> = ended.iter().map(|ended| ended.5).collect();
    assert_eq!(ends, [FlowEnd::Active, FlowEnd::Active, FlowEnd::Shutdown]);
    assert_eq!(ended.iter().map(|ended| ended.1).sum::<u64>(), 250);
    assert_eq!(bench.shard.counters().flows, 1);
}

#[test]
fn a_flow_that_is_silent_for_longer_than_the_active_timeout_is_told_once_and_holds_up_nothing() {
    for active in [1, 2, 60, 299, 599] {
        let limits = FlowTableLimits { active_ns: active * SECOND, ..FlowTableLimits::default() };
        let mut bench = Bench::new(limits);
        bench.see(START, &up(1, ACK, 0));
        // Packets of another flow move time on, second by second and by leaps.
        for at in (0..500).chain([550, 590, 599]) {
            bench.see(START + at * SECOND, &frame(protocol::UDP, (7, 7), (8, 8), (0, 0), 8));
        }
        let of_first = |ended: &&Ended| ended.0 == CLIENT.1;
        let told: Vec<FlowEnd> = bench.ended.iter().filter(of_first).map(|ended| ended.5).collect();
        assert_eq!(told, [FlowEnd::Active], "{active}");
        bench.see(START + 599 * SECOND, &up(1, ACK, 0));
        bench.see(START + 1300 * SECOND, &frame(protocol::UDP, (7, 7), (8, 8), (0, 0), 8));
        let told: Vec<FlowEnd> = bench.ended.iter().filter(of_first).map(|ended| ended.5).collect();
        assert_eq!(told.last(), Some(&FlowEnd::Idle), "{active}: {told:?}");
    }
}

#[test]
fn a_udp_flow_that_was_answered_stays_so_after_its_active_report() {
    let mut bench = Bench::new(FlowTableLimits { active_ns: 100 * SECOND, ..FlowTableLimits::default() });
    let there = frame(protocol::UDP, (1, 6000), (2, 7000), (0, 0), 8);
    let back = frame(protocol::UDP, (2, 7000), (1, 6000), (0, 0), 8);
    for at in 0..10 {
        bench.see(START + at * 60 * SECOND, &there);
        bench.see(START + at * 60 * SECOND, &back);
    }
    let ended = &mut bench.ended;
    bench.shard.finish(|record| ended.push(value(&record)));
    assert_eq!(bench.shard.counters().flows, 1);
    assert!(ended.iter().all(|ended| ended.5 != FlowEnd::Idle));
    assert_eq!(ended.iter().map(|ended| ended.1).sum::<u64>(), 10);
}

#[test]
fn at_the_bound_new_flows_evict_old_ones_and_every_flow_gets_a_record() {
    let limits = FlowTableLimits { flows_max: 10, ..FlowTableLimits::default() };
    let mut bench = Bench::new(limits);
    for port in 0..100u16 {
        let udp = frame(protocol::UDP, (1, 10_000 + port), (2, 6000), (0, 0), 8);
        bench.see(START + u64::from(port) * SECOND / 100, &udp);
    }
    assert_eq!(bench.shard.table().len(), 10);
    assert_eq!(bench.shard.counters().flows_evicted, 90);
    let ended = &mut bench.ended;
    bench.shard.finish(|record| ended.push(value(&record)));
    let mut ports: Vec<u16> = ended.iter().map(|ended| ended.0).collect();
    ports.sort_unstable();
    assert_eq!(ports, (10_000..10_100).collect::<Vec<_>>());
}

#[test]
fn frames_in_no_flow_are_counted() {
    let mut bench = Bench::new(FlowTableLimits::default());
    let mut arp = vec![0xff; 12];
    arp.extend([0x08, 0x06]);
    arp.resize(42, 0);
    bench.see(START, &arp);
    bench.see(START, &[1, 2, 3]);
    bench.see(START, &up(1, ACK, 100)[..60]);
    let counters = bench.shard.counters();
    assert_eq!((counters.frames, counters.not_ip, counters.truncated, counters.flows), (3, 2, 1, 1));
    assert_eq!(bench.only_flow().to_responder.bytes, 154, "a cut frame counts with its length on the wire");
}

#[test]
fn time_that_goes_back_ends_nothing_and_breaks_nothing() {
    let mut bench = Bench::new(FlowTableLimits::default());
    bench.see(START + 5000 * SECOND, &up(1, ACK, 0));
    bench.see(START, &up(1, ACK, 0));
    bench.see(START + 5000 * SECOND, &down(1, ACK, 0));
    assert_eq!((bench.ended.len(), bench.only_flow().last_ns), (0, START + 5000 * SECOND));
}

#[test]
fn how_frames_are_put_into_batches_does_not_change_the_result() {
    let frames: Vec<Vec<u8>> = (0..500u32)
        .map(|at| {
            let port = 1024 + (at * 7919 % 60) as u16;
            let flags = if at % 17 == 0 {
                SYN
            } else if at % 13 == 0 {
                RST
            } else {
                ACK
            };
            frame(protocol::TCP, (1, port), SERVER, (at, flags), (at % 50) as usize)
        })
        .collect();
    let run = |size: usize| {
        let mut shard = Shard::new(&settings(FlowTableLimits { flows_max: 40, ..FlowTableLimits::default() }));
        let mut ended = Vec::new();
        let all: Vec<_> = frames
            .iter()
            .enumerate()
            .map(|(at, frame)| {
                let meta = PacketMeta { time_ns: START + at as u64 * SECOND / 10, ..PacketMeta::default() };
                (meta, FrameView::parse(frame))
            })
            .collect();
        for batch in all.chunks(size) {
            shard.observe(batch, |record| ended.push(value(&record)));
        }
        shard.finish(|record| ended.push(value(&record)));
        ended.sort_by_key(|ended| (ended.0, ended.1, ended.2));
        let frames: u64 = ended.iter().map(|ended| ended.1 + ended.3).sum();
        assert_eq!(frames, 500, "every frame is in one record");
        ended.iter().map(|ended| ended.1 + ended.3).sum::<u64>()
    };
    assert_eq!(run(1), run(64));
    assert_eq!(run(7), run(500));
}
