use vxtap_wire::{FrameView, NetworkId};

use super::super::{PacketMeta, Shard, ShardSettings};
use crate::analysis::Analysis;
use crate::flow::{FlowEnd, FlowRecord};
use crate::flow_table::FlowTableLimits;
use crate::protocols::{EventKind, EventKinds};
use crate::stream::{StreamId, StreamKey};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;
const FLOWS: u16 = 100;

/// A shard that tells of its flows, and why each of them ended by its port.
struct Bench {
    shard: Shard,
    ended: Vec<(u16, FlowEnd)>,
}

impl Bench {
    /// A shard with so many flows of one packet, that time out after 5 s.
    fn new(flows_max: u32) -> Self {
        let limits = FlowTableLimits { flows_max, other_new_ns: 5 * SECOND, ..FlowTableLimits::default() };
        let analysis = Analysis::new(EventKinds::NONE.with(EventKind::Flow), |_| StreamKey::PLAIN);
        let shard = Shard::new(&ShardSettings { limits, seed: 3 }).with_analysis(analysis);
        let mut bench = Self { shard, ended: Vec::new() };
        (0..FLOWS).for_each(|port| bench.see(START, port));
        bench
    }

    fn see(&mut self, time_ns: u64, port: u16) {
        let mut frame = vec![2; 12];
        frame.extend([8, 0, 0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([(10_000 + port).to_be_bytes(), 6000u16.to_be_bytes(), 16u16.to_be_bytes(), [0; 2]].concat());
        frame.extend([0; 8]);
        let meta = PacketMeta { time_ns, stream: StreamId(0), network: NetworkId(1) };
        let ended = &mut self.ended;
        let end = |record: FlowRecord<'_>| ended.push((record.flow.five_tuple().source_port - 10_000, record.end));
        self.shard.observe(&[(meta, FrameView::parse(&frame))], end);
    }

    /// Lets time pass, and gives how many events that made.
    fn advance(&mut self, now_ns: u64) -> u64 {
        let ended = &mut self.ended;
        let end = |record: FlowRecord<'_>| ended.push((record.flow.five_tuple().source_port - 10_000, record.end));
        self.shard.advance(now_ns, &mut { end });
        let mut made = 0;
        self.shard.analysis().unwrap().events().take(|_, count| made = count);
        made
    }

    /// The ports of the flows that ended, each for its silence.
    fn timed_out(&self) -> Vec<u16> {
        assert!(self.ended.iter().all(|(_, end)| *end == FlowEnd::Idle), "{:?}", self.ended);
        let mut ports: Vec<u16> = self.ended.iter().map(|(port, _)| *port).collect();
        ports.sort_unstable();
        ports
    }
}

#[test]
fn flows_that_time_out_together_end_as_there_is_room_for_what_is_told_of_them() {
    let mut bench = Bench::new(1000);
    bench.shard.set_room(2000);
    let now = START + 30 * SECOND;
    let mut made = Vec::new();
    loop {
        made.push(bench.advance(now));
        if bench.shard.behind_ns().is_none() {
            break;
        }
        assert_eq!(bench.shard.behind_ns(), Some(now));
        assert!(made.len() < usize::from(FLOWS), "it comes to an end");
    }
    assert!(made.len() > 5 && made.iter().all(|made| *made < 20), "{made:?}");
    assert_eq!(bench.timed_out(), (0..FLOWS).collect::<Vec<_>>());
    assert!(bench.shard.table().is_empty());
}

#[test]
fn a_packet_for_a_flow_that_was_put_off_begins_the_next_one_and_the_old_one_timed_out() {
    let mut bench = Bench::new(1000);
    bench.shard.set_room(0);
    let now = START + 30 * SECOND;
    assert_eq!(bench.advance(now), 0);
    bench.see(now + 1, 7);
    assert_eq!(bench.timed_out(), [7]);
    bench.shard.set_room(usize::MAX);
    assert_eq!(bench.advance(now + 2), u64::from(FLOWS));
    assert_eq!(bench.timed_out(), (0..FLOWS).collect::<Vec<_>>());
    assert_eq!(bench.shard.table().len(), 1, "the new one");
}

#[test]
fn a_full_table_takes_the_place_of_flows_that_were_put_off_and_they_timed_out() {
    let mut bench = Bench::new(FLOWS.into());
    bench.shard.set_room(0);
    let now = START + 30 * SECOND;
    bench.advance(now);
    for port in 0..FLOWS {
        bench.see(now, FLOWS + port);
    }
    assert_eq!(bench.timed_out(), (0..FLOWS).collect::<Vec<_>>());
    assert_eq!(bench.shard.counters().flows_evicted, 0);
    bench.see(now, 3 * FLOWS);
    assert_eq!(bench.shard.counters().flows_evicted, 1);
}

#[test]
fn where_there_is_no_room_for_ten_seconds_flows_end_all_the_same() {
    let mut bench = Bench::new(1000);
    bench.shard.set_room(0);
    let now = START + 30 * SECOND;
    assert_eq!(bench.advance(now), 0);
    assert_eq!(bench.advance(now + 10 * SECOND - 1), 0);
    assert_eq!(bench.advance(now + 10 * SECOND), u64::from(FLOWS));
    assert_eq!(bench.timed_out().len(), usize::from(FLOWS));
    assert_eq!(bench.shard.behind_ns(), None);
}
