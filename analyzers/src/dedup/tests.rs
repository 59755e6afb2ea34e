use proptest::prelude::*;
use vxtap_wire::{FrameView, IpVersion};

use super::*;

const MILLISECOND: u64 = 1_000_000;
const ONE: StreamId = StreamId(0);
const TWO: StreamId = StreamId(1);
const NETWORK: NetworkId = NetworkId(7);

/// A packet as its sender sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    version: IpVersion,
    protocol: Protocol,
    flow: u8,
    /// IPv4 only.
    identification: u16,
    sequence: u32,
    /// TCP time stamp, if there is one.
    stamp: Option<u32>,
    payload: u8,
    payload_len: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

impl Sent {
    const PLAIN: Self = Self {
        version: IpVersion::V4,
        protocol: Protocol::Tcp,
        flow: 1,
        identification: 0,
        sequence: 1000,
        stamp: None,
        payload: 9,
        payload_len: 40,
    };

    fn transport(&self) -> (u8, Vec<u8>) {
        let mut header = Vec::new();
        let number = match self.protocol {
            Protocol::Tcp => {
                let options = self.stamp.map_or(0, |_| 12);
                header.extend([0x9c, self.flow, 0, 80]);
                header.extend(self.sequence.to_be_bytes());
                header.extend([0, 0, 0, 1, (20 + options) << 2, 0x18, 1, 0, 0, 0, 0, 0]);
                if let Some(stamp) = self.stamp {
                    header.extend([1, 1, 8, 10]);
                    header.extend(stamp.to_be_bytes());
                    header.extend([0, 0, 0, 5]);
                }
                6
            }
            Protocol::Udp => {
                header.extend([0x9c, self.flow, 0, 53, 0, self.payload_len + 8, 0, 0]);
                17
            }
            Protocol::Icmp => {
                let kind = if self.version == IpVersion::V4 { 8 } else { 128 };
                header.extend([kind, 0, 0, 0, 0, self.flow]);
                header.extend((self.sequence as u16).to_be_bytes());
                if self.version == IpVersion::V4 { 1 } else { 58 }
            }
        };
        header.extend((0..self.payload_len).map(|at| at.wrapping_mul(7) ^ self.payload));
        (number, header)
    }

    /// The frame that a mirror sends of it.
    fn seen_by(&self, place: &Place) -> Vec<u8> {
        let (protocol, transport) = self.transport();
        let mut frame = vec![2, 0, 0, 0, 0, place.mac, 2, 0, 0, 0, 1, place.mac];
        if let Some(tag) = place.tag {
            frame.extend([0x81, 0, 0, tag]);
        }
        match self.version {
            IpVersion::V4 => {
                let length = 20 + transport.len() as u16;
                frame.extend([8, 0, 0x45, place.traffic_class]);
                frame.extend(length.to_be_bytes());
                frame.extend(self.identification.to_be_bytes());
                // The header's checksum changes with the TTL.
                frame.extend([0x40, 0, place.ttl, protocol, place.ttl, 0, 10, 0, 0, self.flow, 10, 0, 1, 1]);
            }
            IpVersion::V6 => {
                frame.extend([0x86, 0xdd, 0x60 | place.traffic_class >> 4, place.traffic_class << 4, 0, self.flow]);
                frame.extend((transport.len() as u16).to_be_bytes());
                frame.extend([protocol, place.ttl]);
                let mut address = [0x20; 32];
                (address[15], address[31]) = (self.flow, 1);
                frame.extend(address);
            }
        }
        frame.extend(transport);
        frame.truncate(place.cut);
        frame
    }
}

/// Where a mirror looks.
#[derive(Clone, Copy, Debug)]
struct Place {
    mac: u8,
    tag: Option<u8>,
    ttl: u8,
    traffic_class: u8,
    /// So many bytes of a frame at most.
    cut: usize,
}

const NEAR: Place = Place { mac: 1, tag: None, ttl: 64, traffic_class: 0, cut: 9000 };
const FAR: Place = Place { mac: 7, tag: Some(42), ttl: 63, traffic_class: 0xb8, cut: 9000 };

/// One that knows that the network has two streams.
fn deduplicator(settings: DedupSettings) -> Deduplicator {
    let mut deduplicator = Deduplicator::new(settings);
    let arp = FrameView::parse(&[0; 60]);
    for stream in [ONE, TWO] {
        assert!(!deduplicator.is_duplicate(NETWORK, stream, &arp, 0));
    }
    deduplicator
}

/// Whether each of these copies, a millisecond apart, is a duplicate.
fn judged(copies: &[(StreamId, Sent, Place)]) -> Vec<bool> {
    let mut deduplicator = deduplicator(DedupSettings::default());
    let mut time_ns = 0;
    let judge = |(stream, sent, place): &(StreamId, Sent, Place)| {
        time_ns += MILLISECOND;
        let frame = sent.seen_by(place);
        deduplicator.is_duplicate(NETWORK, *stream, &FrameView::parse(&frame), time_ns)
    };
    copies.iter().map(judge).collect()
}

#[test]
fn the_second_mirrors_copy_is_a_duplicate_whatever_the_way_did_to_it() {
    for version in [IpVersion::V4, IpVersion::V6] {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
            for identification in [0, 5] {
                let sent = Sent { version, protocol, identification, ..Sent::PLAIN };
                let headers = FrameView::parse(&sent.seen_by(&FAR)).headers_len();
                let numbered = protocol == Protocol::Tcp || (version == IpVersion::V4 && identification != 0);
                for (cut, duplicate) in [(9000, true), (24, true), (23, numbered), (8, numbered), (0, numbered)] {
                    let far = Place { cut: headers + cut, ..FAR };
                    assert_eq!(judged(&[(ONE, sent, NEAR), (TWO, sent, far)]), [false, duplicate], "{sent:?} {far:?}");
                    assert_eq!(judged(&[(TWO, sent, far), (ONE, sent, NEAR)]), [false, duplicate], "{sent:?} {far:?}");
                    assert_eq!(judged(&[(TWO, sent, far), (ONE, sent, far)]), [false, true], "{sent:?} {far:?}");
                }
            }
        }
    }
}

#[test]
fn datagrams_without_identification_are_told_apart_by_their_payload_however_many_there_are() {
    let mut deduplicator = deduplicator(DedupSettings::default());
    for version in [IpVersion::V4, IpVersion::V6] {
        for (stream, place, duplicate) in [(ONE, NEAR, false), (TWO, FAR, true)] {
            for payload in 0..200 {
                let frame = Sent { version, protocol: Protocol::Udp, payload, ..Sent::PLAIN }.seen_by(&place);
                let judged = deduplicator.is_duplicate(NETWORK, stream, &FrameView::parse(&frame), 5);
                assert_eq!(judged, duplicate, "{payload}");
            }
        }
    }
    assert_eq!(deduplicator.forgotten(), 0);
}

#[test]
fn another_packet_is_no_copy() {
    let v4 = Sent { stamp: Some(1), ..Sent::PLAIN };
    let udp = Sent { protocol: Protocol::Udp, ..v4 };
    let icmp = Sent { protocol: Protocol::Icmp, ..v4 };
    for (one, other) in [
        (v4, Sent { identification: 1, ..v4 }),
        (v4, Sent { sequence: 1001, ..v4 }),
        (v4, Sent { stamp: Some(2), ..v4 }),
        (v4, Sent { payload: 8, ..v4 }),
        (v4, Sent { payload_len: 41, ..v4 }),
        (v4, Sent { flow: 2, ..v4 }),
        (v4, Sent { version: IpVersion::V6, ..v4 }),
        (v4, udp),
        (udp, Sent { payload: 8, ..udp }),
        (icmp, Sent { sequence: 1001, payload_len: 40, ..icmp }),
    ] {
        assert_eq!(judged(&[(ONE, one, NEAR), (TWO, other, FAR)]), [false, false], "{one:?} {other:?}");
    }
}

#[test]
fn a_retransmission_that_nothing_tells_from_the_first_is_kept_on_both_sides_of_its_copies() {
    let sent = Sent::PLAIN;
    let (one, two) = ((ONE, sent, NEAR), (TWO, sent, FAR));
    for (copies, duplicates) in [
        (vec![one, one, two, two], vec![false, false, true, true]),
        (vec![one, two, one, two], vec![false, true, false, true]),
        (vec![one, two, two, one], vec![false, true, false, true]),
        (vec![two, one, one, one], vec![false, true, false, false]),
        // The second mirror lost the first copy.
        (vec![one, one, two], vec![false, false, true]),
    ] {
        assert_eq!(judged(&copies), duplicates);
    }
}

#[test]
fn five_streams_have_a_packet_and_the_fifth_is_not_counted() {
    let mut deduplicator = deduplicator(DedupSettings::default());
    let frame = Sent::PLAIN.seen_by(&NEAR);
    let view = FrameView::parse(&frame);
    let judged: Vec<bool> =
        (0..5).map(|stream| deduplicator.is_duplicate(NETWORK, StreamId(stream), &view, 5)).collect();
    assert_eq!(judged, [false, true, true, true, false]);
    assert_eq!(deduplicator.total(), 3);
    let pairs: Vec<_> = deduplicator.pairs().iter().map(|pair| (pair.first, pair.second.0, pair.duplicates)).collect();
    assert_eq!(pairs, [(ONE, 1, 1), (ONE, 2, 1), (ONE, 3, 1)]);
}

#[test]
fn a_copy_after_the_window_is_a_packet_of_its_own() {
    let frame = Sent::PLAIN.seen_by(&NEAR);
    let view = FrameView::parse(&frame);
    let window_ns = 10 * MILLISECOND;
    for (after, duplicate) in [(0, true), (9, true), (11, false), (4_400_000_000, false)] {
        let mut deduplicator = deduplicator(DedupSettings { window_ns, ..DedupSettings::default() });
        let begin = 1_700_000_000_000_000_000;
        assert!(!deduplicator.is_duplicate(NETWORK, ONE, &view, begin));
        assert_eq!(deduplicator.is_duplicate(NETWORK, TWO, &view, begin + after * MILLISECOND), duplicate, "{after}");
        // What was not the first one's copy leaves that to be met.
        assert_eq!(deduplicator.is_duplicate(NETWORK, TWO, &view, begin - 1), !duplicate, "{after}");
    }
}

#[test]
fn networks_of_one_stream_cost_nothing_and_networks_do_not_meet() {
    let frame = Sent::PLAIN.seen_by(&NEAR);
    let view = FrameView::parse(&frame);
    let mut deduplicator = Deduplicator::new(DedupSettings::default());
    for (stream, network) in [(0, 1), (1, 2), (0, 1), (1, 2)] {
        assert!(!deduplicator.is_duplicate(NetworkId(network), StreamId(stream), &view, 5));
    }
    assert!(deduplicator.table.is_none() && deduplicator.batch.capacity() == 0);
    // The first packet of a second stream in network 1 begins it.
    for (stream, network, duplicate) in [(2, 1, false), (0, 1, true), (1, 2, false), (3, 2, false)] {
        assert_eq!(deduplicator.is_duplicate(NetworkId(network), StreamId(stream), &view, 5), duplicate);
    }
}

#[test]
fn modes_say_whether_a_stream_repeats_itself() {
    let frame = Sent::PLAIN.seen_by(&NEAR);
    let view = FrameView::parse(&frame);
    for (mode, alone, soon, late) in [
        (DedupMode::Off, false, false, false),
        (DedupMode::On, false, false, false),
        (DedupMode::Window, true, true, false),
    ] {
        let settings = DedupSettings { mode, ..DedupSettings::default() };
        let mut only = Deduplicator::new(settings);
        let judged = [0, 50_000].map(|time_ns| only.is_duplicate(NETWORK, ONE, &view, time_ns));
        assert_eq!(judged, [false, alone]);
        let mut one_of_two = deduplicator(settings);
        let judged = [0, 50_000, 5 * MILLISECOND].map(|time_ns| one_of_two.is_duplicate(NETWORK, ONE, &view, time_ns));
        assert_eq!(judged, [false, soon, late], "{mode:?}");
        assert_eq!(one_of_two.is_duplicate(NETWORK, TWO, &view, 6 * MILLISECOND), mode != DedupMode::Off);
    }
}

#[test]
fn what_is_no_whole_ip_header_is_kept() {
    let sent = Sent::PLAIN.seen_by(&NEAR);
    let mut arp = [0; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    for frame in [&arp[..], &sent[..20], &sent[..40], &[]] {
        let mut deduplicator = deduplicator(DedupSettings::default());
        let view = FrameView::parse(frame);
        let judged = [ONE, TWO].map(|stream| deduplicator.is_duplicate(NETWORK, stream, &view, 5));
        assert_eq!(judged, [false, false], "{} bytes", frame.len());
    }
}

#[test]
fn a_table_that_is_too_small_forgets_and_never_takes_more_memory() {
    let mut deduplicator = deduplicator(DedupSettings { packets_max: 64, ..DedupSettings::default() });
    for sequence in 0..1000 {
        let frame = Sent { sequence, ..Sent::PLAIN }.seen_by(&NEAR);
        assert!(!deduplicator.is_duplicate(NETWORK, ONE, &FrameView::parse(&frame), 5));
    }
    assert_eq!(deduplicator.forgotten(), 1000 - 64);
    let last = Sent { sequence: 999, ..Sent::PLAIN }.seen_by(&FAR);
    assert!(deduplicator.is_duplicate(NETWORK, TWO, &FrameView::parse(&last), 5), "the newest is there");
}

/// A packet and what becomes of it: milliseconds after the one before it, and until each mirror tells of it.
#[derive(Clone, Copy, Debug)]
struct Step {
    packet: Packet,
    after: u64,
    delays: [u64; 2],
}

#[derive(Clone, Copy, Debug)]
enum Packet {
    New(Sent),
    /// One that was sent before, once more: as it was, or with other marks.
    Again {
        back: usize,
        marked: bool,
    },
}

fn sent() -> impl Strategy<Value = Sent> {
    let version = prop_oneof![Just(IpVersion::V4), Just(IpVersion::V6)];
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Icmp)];
    let stamp = prop_oneof![Just(None), (0..3_u32).prop_map(Some)];
    (version, protocol, 0..3_u8, 0..3_u16, 0..4_u32, stamp, 0..3_u8, 0..70_u8).prop_map(
        |(version, protocol, flow, identification, sequence, stamp, payload, payload_len)| Sent {
            version,
            protocol,
            flow,
            identification,
            sequence,
            stamp,
            payload,
            payload_len,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let again = (0..8_usize, any::<bool>()).prop_map(|(back, marked)| Packet::Again { back, marked });
    let packet = prop_oneof![sent().prop_map(Packet::New), again];
    (packet, 0..30_u64, [0..8_u64, 0..8_u64]).prop_map(|(packet, after, delays)| Step { packet, after, delays })
}

/// The same, but such that headers alone tell one from the other.
fn numbered(mut step: Step) -> Step {
    if let Packet::New(sent) = &mut step.packet
        && sent.protocol != Protocol::Tcp
    {
        (sent.version, sent.identification) = (IpVersion::V4, sent.identification + 1);
    }
    step
}

/// What was sent, each with the time.
fn packets(steps: &[Step]) -> Vec<(Sent, u64)> {
    let (mut packets, mut now) = (Vec::<(Sent, u64)>::new(), 1_700_000_000_000_u64);
    for step in steps {
        now += step.after;
        let packet = match step.packet {
            Packet::New(sent) => sent,
            Packet::Again { back, marked } => {
                let before = packets.iter().rev().nth(back).map_or(Sent::PLAIN, |(sent, _)| *sent);
                let (identification, stamp) = (before.identification + 1, before.stamp.map(|stamp| stamp + 1));
                if marked { Sent { identification, stamp, ..before } } else { before }
            }
        };
        packets.push((packet, now));
    }
    packets
}

/// Both mirrors' copies in the order in which they come: time, stream, number of the packet.
fn copies(packets: &[(Sent, u64)], steps: &[Step], in_order: bool) -> Vec<(u64, usize, usize)> {
    let mut copies = Vec::new();
    let mut last = [0; 2];
    for (number, ((_, time), step)) in packets.iter().zip(steps).enumerate() {
        for (stream, (delay, last)) in step.delays.iter().zip(&mut last).enumerate() {
            let mut at = time + delay;
            if in_order {
                at = at.max(*last);
                *last = at;
            }
            copies.push((at, stream, number));
        }
    }
    copies.sort_by_key(|(at, _, _)| *at);
    copies
}

/// Has every copy judged, in batches, and gives for each packet how many of its copies, or of those equal to it, were kept.
fn kept(packets: &[(Sent, u64)], copies: &[(u64, usize, usize)], places: [Place; 2]) -> Vec<(Sent, usize)> {
    let mut deduplicator = deduplicator(DedupSettings::default());
    let frames: Vec<_> =
        copies.iter().map(|(_, stream, number)| packets[*number].0.seen_by(&places[*stream])).collect();
    let mut kept = Vec::<(Sent, usize)>::new();
    for (copies, frames) in copies.chunks(BATCH_MAX).zip(frames.chunks(BATCH_MAX)) {
        let meta = |(at, stream, _): &(u64, usize, usize)| PacketMeta {
            time_ns: at * MILLISECOND,
            stream: [ONE, TWO][*stream],
            network: NETWORK,
        };
        let batch: Vec<_> =
            copies.iter().zip(frames).map(|(copy, frame)| (meta(copy), FrameView::parse(frame))).collect();
        let duplicates = deduplicator.duplicates(&batch);
        for (at, (_, _, number)) in copies.iter().enumerate() {
            let sent = packets[*number].0;
            let one = usize::from(duplicates & 1 << at == 0);
            match kept.iter_mut().find(|(other, _)| same(other, &sent)) {
                Some((_, count)) => *count += one,
                None => kept.push((sent, one)),
            }
        }
    }
    assert_eq!(deduplicator.total(), deduplicator.pairs().iter().map(|pair| pair.duplicates).sum::<u64>());
    kept
}

/// Whether both are the same bytes on the wire.
fn same(one: &Sent, other: &Sent) -> bool {
    one.seen_by(&NEAR) == other.seen_by(&NEAR)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Copies of one mirror overtake each other, and its frames are tagged and re-marked.
    #[test]
    fn of_each_packet_sent_one_copy_is_kept_whatever_the_order(steps in prop::collection::vec(step(), 1..80)) {
        let packets = packets(&steps);
        for (sent, kept) in kept(&packets, &copies(&packets, &steps, false), [NEAR, FAR]) {
            prop_assert_eq!(kept, packets.iter().filter(|(other, _)| same(other, &sent)).count(), "{:?}", sent);
        }
    }

    /// A cut copy may be of any packet with the same headers: in order it is counted for the right one. What differs behind the cut
    /// alone is told apart no more, so one copy of each is kept in all, and none of what is alone with its headers is lost.
    #[test]
    fn of_packets_that_one_mirror_cuts_as_many_are_kept_as_were_sent(
        steps in prop::collection::vec(step().prop_map(numbered), 1..80),
        // Ethernet, tag, IPv6, and TCP with time stamps, or without them.
        cut in prop_oneof![Just(18 + 40 + 32), Just(18 + 40 + 20), Just(18 + 40 + 32 + 10), Just(18 + 40 + 32 + 40)],
        first in 0..2_usize,
    ) {
        let packets = packets(&steps);
        let mut places = [NEAR, FAR];
        places[first].cut = cut;
        let kept = kept(&packets, &copies(&packets, &steps, true), places);
        prop_assert_eq!(kept.iter().map(|(_, kept)| kept).sum::<usize>(), packets.len());
    }

    /// Nothing that comes panics, and memory stays what it is.
    #[test]
    fn any_bytes_are_kept_or_removed(frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..120), 0..3_u32, any::<u64>()), 0..70)) {
        let mut deduplicator = deduplicator(DedupSettings { packets_max: 16, mode: DedupMode::Window, ..DedupSettings::default() });
        for (frame, stream, time_ns) in frames {
            for view in [FrameView::parse(&frame), FrameView::parse_ip(&frame)] {
                deduplicator.is_duplicate(NETWORK, StreamId(stream), &view, time_ns);
            }
        }
    }
}

#[test]
fn a_packet_that_another_shard_counts_is_known_and_not_counted() {
    let mut deduplicator = deduplicator(DedupSettings::default());
    let meta = |stream| PacketMeta { time_ns: MILLISECOND, stream, network: NETWORK };
    let (near, far) = (Sent::PLAIN.seen_by(&NEAR), Sent::PLAIN.seen_by(&FAR));
    assert!(!deduplicator.is_copy_elsewhere(&meta(ONE), &FrameView::parse(&near)));
    assert!(deduplicator.is_copy_elsewhere(&meta(TWO), &FrameView::parse(&far)));
    assert_eq!((deduplicator.total(), deduplicator.pairs().len()), (0, 0));
}
