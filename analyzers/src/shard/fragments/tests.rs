use serde_json::Value;
use vxtap_wire::{IpAddress, IpVersion, NetworkId, SteerHash, protocol};

use super::*;
use crate::flow::Flow;
use crate::flow_table::FlowTableLimits;
use crate::protocols::EventKinds;
use crate::shard::ShardSettings;
use crate::stream::{StreamId, StreamKey};
use crate::{Analysis, FlowTable};

const START: u64 = 1_700_000_000_000_000_000;
const CLIENT: (u8, u16) = (1, 40_000);
const SERVER: (u8, u16) = (2, 53);
const MORE: u16 = 0x2000;

/// Two shards: the one that has the flow of client and server, and the one that gets the fragments of its packets.
struct Pair {
    owner: Shard,
    other: Shard,
    owner_number: u32,
    wholes: Wholes,
    time_ns: u64,
    /// What the notes of the shard with the fragments said of the frame that it saw last.
    wanted: u64,
    notes: [FlowNotes; 2],
}

fn shard(siblings: Siblings) -> Shard {
    let settings = ShardSettings { limits: FlowTableLimits::default(), seed: 1 };
    let analysis = Analysis::new(EventKinds::ALL, |_| StreamKey::PLAIN);
    Shard::new(&settings).with_analysis(analysis).with_siblings(Some(siblings))
}

fn address(last: u8) -> IpAddress {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[10, 0, 0, last]);
    IpAddress(address)
}

fn kept() -> FlowNotes {
    FlowNotes { kept: true, stamp: 3, ..FlowNotes::default() }
}

impl Pair {
    fn new(wholes: Wholes) -> Self {
        let hash = SteerHash::new(7);
        let tuple = FiveTuple {
            source: address(CLIENT.0),
            destination: address(SERVER.0),
            source_port: CLIENT.1,
            destination_port: SERVER.1,
            protocol: protocol::UDP,
            version: IpVersion::V4,
        };
        let owner_number = hash.owner(&tuple, 2);
        let of = |number| shard(Siblings { hash, shards: 2, number, wholes });
        let (owner, other) = (of(owner_number), of(1 - owner_number));
        Self { owner, other, owner_number, wholes, time_ns: START, wanted: 0, notes: [kept(), kept()] }
    }

    /// The owner sees a frame of the flow; gives whether the frame is wanted.
    fn flow_frame(&mut self, frame: &[u8]) -> bool {
        let meta = self.next();
        let notes = &mut self.notes[0];
        self.owner.observe_noting(&[(meta, FrameView::parse(frame))], 0, notes, |_| ());
        notes.wanted & 1 != 0
    }

    /// The other one sees a fragment; its packet goes to the owner where it is whole. Gives how many have gone.
    fn fragment(&mut self, frame: &[u8]) -> u32 {
        self.fragment_asked_for(frame, false)
    }

    fn fragment_asked_for(&mut self, frame: &[u8], asked_for: bool) -> u32 {
        let (meta, view) = (self.next(), FrameView::parse(frame));
        assert!(view.fragment.is_some());
        let [of_owner, of_other] = &mut self.notes;
        of_other.asked_for = u64::from(asked_for);
        self.other.observe_noting(&[(meta, view)], 0, of_other, |_| ());
        self.wanted = of_other.wanted;
        if self.wholes == Wholes::Found {
            self.owner.look_at_fragment(meta, &view, asked_for, of_owner, |_| ());
        }
        let (mut gone, owner) = (0, &mut self.owner);
        self.other.hand_over_wholes(|number, packet| {
            assert_eq!(number, self.owner_number);
            owner.take_whole(packet, of_owner, |_| ());
            gone += 1;
            true
        });
        gone
    }

    fn next(&mut self) -> PacketMeta {
        self.time_ns += 1_000_000;
        PacketMeta { time_ns: self.time_ns, stream: StreamId(0), network: NetworkId(1) }
    }
}

fn flows(table: &FlowTable) -> Vec<&Flow> {
    table.part(0, 1 << 20).0.collect()
}

fn events(shard: &mut Shard) -> Vec<Value> {
    let mut events = Vec::new();
    shard.analysis().unwrap().events().take(|lines, _| {
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        events.extend(lines.map(|line| serde_json::from_slice::<Value>(line).unwrap()));
    });
    events
}

fn ipv4((from, to): (u8, u8), field: u16, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let head = [&[0x45, 0][..], &length, &[0, 77], &field.to_be_bytes(), &[64, protocol::UDP, 0, 0]].concat();
    [&[2; 12][..], &[8, 0], &head, &[10, 0, 0, from, 10, 0, 0, to], payload].concat()
}

fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length, &[0, 0], payload].concat()
}

fn question() -> Vec<u8> {
    let message = [&[0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], b"\x01a\x02de\x00", &[0, 16, 0, 1]].concat();
    ipv4((CLIENT.0, SERVER.0), 0, &udp(CLIENT.1, SERVER.1, &message))
}

/// The answer, of more than 200 bytes, in two fragments.
fn answer() -> [Vec<u8>; 2] {
    let head = [&[0, 9, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..], b"\x01a\x02de\x00", &[0, 16, 0, 1]].concat();
    let text = [&[0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 201, 200][..], &[b'x'; 200]].concat();
    let datagram = udp(SERVER.1, CLIENT.1, &[head, text].concat());
    let way = (SERVER.0, CLIENT.0);
    [ipv4(way, MORE, &datagram[..160]), ipv4(way, 20, &datagram[160..])]
}

#[test]
fn a_packet_that_becomes_whole_beside_its_flow_is_counted_and_looked_into_there() {
    for (wholes, handed_over) in [(Wholes::HandedOver, 1), (Wholes::Found, 0)] {
        let mut pair = Pair::new(wholes);
        pair.flow_frame(&question());
        let [first, last] = answer();
        assert_eq!((pair.fragment(&first), pair.fragment(&last)), (0, handed_over));
        let [flow] = flows(pair.owner.table())[..] else { panic!("one flow") };
        assert_eq!((flow.to_responder.frames, flow.to_originator.frames), (1, 1));
        assert_eq!(flow.to_originator.bytes, last.len() as u64, "the frame that made it whole");
        let [of_fragments] = flows(pair.other.table())[..] else { panic!("one flow") };
        assert_eq!((of_fragments.key.low_port, of_fragments.to_responder.frames), (0, 1), "the first fragment alone");
        assert_eq!((pair.owner.counters().frames, pair.other.counters().frames), (1, 2), "each frame where it came");
        let dns: Vec<Value> = events(&mut pair.owner).into_iter().map(|event| event["dns"].clone()).collect();
        assert_eq!((&dns[0]["type"], &dns[1]["type"], dns.len()), (&"request".into(), &"response".into(), 2));
        assert_eq!((&dns[1]["tx_id"], &dns[1]["response_time_us"]), (&1.into(), &2000.into()), "{wholes:?}");
        assert_eq!(events(&mut pair.other), Vec::<Value>::new());
    }
}

#[test]
fn a_packet_that_becomes_whole_on_the_shard_of_its_flow_stays_there() {
    let mut pair = Pair::new(Wholes::HandedOver);
    // The fragments come to the flow's own shard.
    std::mem::swap(&mut pair.owner, &mut pair.other);
    let [first, last] = answer();
    assert_eq!((pair.fragment(&first), pair.fragment(&last)), (0, 0));
    assert_eq!((flows(pair.other.table()).len(), flows(pair.owner.table()).len()), (2, 0));
}

#[test]
fn what_is_wrong_with_the_last_fragment_is_told_once_and_of_the_packets_flow() {
    for wholes in [Wholes::HandedOver, Wholes::Found] {
        let mut pair = Pair::new(wholes);
        pair.flow_frame(&question());
        events(&mut pair.owner);
        let [first, _] = answer();
        let payload = &first[34..];
        // The last one has the end of the first one as well.
        let last = ipv4((SERVER.0, CLIENT.0), 19, &[&payload[152..], &[b'x'; 100]].concat());
        pair.fragment(&first);
        pair.fragment(&last);
        let anomalies = |events: Vec<Value>| -> Vec<(Value, Value)> {
            let told = events.into_iter().filter(|event| event["event_type"] == "anomaly");
            told.map(|event| (event["anomaly"]["event"].clone(), event["src_port"].clone())).collect()
        };
        let told = anomalies(events(&mut pair.owner));
        assert_eq!(told, [("decoder.ipv4.frag_overlap".into(), SERVER.1.into())], "{wholes:?}");
        assert_eq!(anomalies(events(&mut pair.other)), []);
    }
}

#[test]
fn a_packet_that_finds_no_room_on_its_way_is_counted() {
    let mut pair = Pair::new(Wholes::HandedOver);
    for frame in answer() {
        let meta = pair.next();
        pair.other.observe(&[(meta, FrameView::parse(&frame))], |_| ());
    }
    pair.other.hand_over_wholes(|_, _| false);
    pair.other.hand_over_wholes(|_, _| panic!("it is gone"));
    let counters = *pair.other.analysis().unwrap().fragments.counters();
    assert_eq!((counters.reassembled, counters.hand_over_full), (1, 1));
}

#[test]
fn who_asks_for_the_last_fragment_gets_the_flow_of_the_packet_from_then_on() {
    for wholes in [Wholes::HandedOver, Wholes::Found] {
        let mut pair = Pair::new(wholes);
        assert!(!pair.flow_frame(&question()));
        let [first, last] = answer();
        pair.fragment(&first);
        assert!(!pair.flow_frame(&question()), "nobody has asked");
        pair.fragment_asked_for(&last, true);
        assert_eq!(pair.wanted, 1);
        assert!(pair.flow_frame(&question()), "{wholes:?}");
    }
}

#[test]
fn the_last_fragment_is_wanted_where_those_before_it_were() {
    let mut pair = Pair::new(Wholes::HandedOver);
    let [first, last] = answer();
    pair.fragment_asked_for(&first, true);
    pair.fragment(&last);
    assert_eq!(pair.wanted, 1);
}

#[test]
fn a_whole_packet_counts_for_how_much_is_wanted_of_its_flow() {
    for wholes in [Wholes::HandedOver, Wholes::Found] {
        let mut pair = Pair::new(wholes);
        pair.notes[0].flow_bytes_max = Some(200);
        pair.flow_frame(&question());
        let beyond = |pair: &Pair| pair.notes[0].beyond & 1 != 0;
        pair.flow_frame(&question());
        assert!(!beyond(&pair));
        for fragment in answer() {
            pair.fragment(&fragment);
        }
        pair.flow_frame(&question());
        assert!(beyond(&pair), "{wholes:?}");
    }
}

#[test]
fn a_block_knows_the_last_fragment_in_it_though_the_flow_of_those_before_is_gone() {
    let mut pair = Pair::new(Wholes::HandedOver);
    pair.other = {
        let settings =
            ShardSettings { limits: FlowTableLimits { flows_max: 1, ..FlowTableLimits::default() }, seed: 1 };
        let analysis = Analysis::new(EventKinds::ALL, |_| StreamKey::PLAIN);
        Shard::new(&settings).with_analysis(analysis).with_siblings(pair.other.siblings)
    };
    let [first, last] = answer();
    pair.fragment(&first);
    // Of other hosts, whose flow takes the place.
    pair.fragment(&ipv4((8, 9), MORE, &[0; 8]));
    pair.notes[1].keys.clear();
    assert_eq!(pair.fragment(&last), 1);
    let own = FrameView::parse(&last).five_tuple.unwrap();
    assert_eq!(pair.notes[1].keys, [FlowKey::new(NetworkId(1), &own).0]);
}
