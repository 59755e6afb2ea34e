use proptest::prelude::*;
use vxtap_wire::{Missing, Transport};

use super::*;

const MILLI: u64 = 1_000_000;
const START: u64 = 1_700_000_000_000 * MILLI;
const NETWORK: NetworkId = NetworkId(5);
const MORE: bool = true;
const LAST: bool = false;

/// An IPv4 fragment of UDP, its header with four bytes of options; `offset` in bytes.
fn v4(identification: u16, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let total = (24 + payload.len() as u16).to_be_bytes();
    let word = ((offset / 8) | (u16::from(more) << 13)).to_be_bytes();
    let head = [&[0x46, 0][..], &total, &identification.to_be_bytes(), &word, &[64, 17, 0, 0]].concat();
    [&head[..], &[10, 0, 0, 1, 10, 0, 0, 2], &[1, 1, 1, 1], payload].concat()
}

/// An IPv6 fragment of UDP behind a hop-by-hop header and a longer destination options header.
fn v6(identification: u32, offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let length = (8 + 16 + 8 + payload.len() as u16).to_be_bytes();
    let hop_by_hop = [60, 0, 1, 4, 0, 0, 0, 0];
    let destination = [44, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let fragment = [&[17, 0][..], &(offset | u16::from(more)).to_be_bytes(), &identification.to_be_bytes()].concat();
    let head = [&[0x60, 0, 0, 0][..], &length, &[0, 64], &[0xfd; 16], &[0xfe; 16]].concat();
    [&head[..], &hop_by_hop, &destination, &fragment, payload].concat()
}

/// UDP from port 1000 to 2000 with `payload`.
fn udp(payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    [&[0x03, 0xe8, 0x07, 0xd0][..], &length, &[0, 0], payload].concat()
}

struct Bench {
    reassembler: Reassembler,
    time_ns: u64,
}

impl Bench {
    fn new() -> Self {
        Self::within(Bounds::default())
    }

    fn within(bounds: Bounds) -> Self {
        Self { reassembler: Reassembler::new(bounds), time_ns: START }
    }

    fn see(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        self.reassembler.add(NETWORK, &FrameView::parse_ip(packet), self.time_ns).map(<[u8]>::to_vec)
    }

    fn counters(&self) -> FragmentCounters {
        *self.reassembler.counters()
    }
}

/// The payload of a whole UDP packet, which has to be right in all its headers.
fn whole(packet: &[u8]) -> String {
    let view = FrameView::parse_ip(packet);
    assert_eq!((view.transport, view.fragment, view.malformed), (Transport::Udp, None, None));
    assert_eq!((view.missing, view.bytes_missing()), (Missing::Nothing, 0));
    let ports = view.five_tuple.map(|tuple| (tuple.source_port, tuple.destination_port));
    assert_eq!(ports, Some((1000, 2000)));
    String::from_utf8(view.payload().to_vec()).unwrap()
}

/// Cuts `udp` into fragments of `size` bytes.
fn cut(udp: &[u8], size: usize, fragment: impl Fn(u16, bool, &[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let parts = udp.chunks(size).enumerate();
    parts.map(|(at, part)| fragment((at * size) as u16, (at + 1) * size < udp.len(), part)).collect()
}

#[test]
fn fragments_of_either_version_make_a_whole_packet_in_any_order() {
    let udp = udp(b"a question that is longer than one fragment");
    for fragments in
        [cut(&udp, 16, |at, more, part| v4(9, at, more, part)), cut(&udp, 16, |at, more, part| v6(9, at, more, part))]
    {
        for first in 0..fragments.len() {
            let mut bench = Bench::new();
            let order = (0..fragments.len()).map(|at| &fragments[(first + at * 3) % fragments.len()]);
            let given: Vec<_> = order.map(|fragment| bench.see(fragment)).collect();
            let (last, before) = given.split_last().unwrap();
            assert!(before.iter().all(Option::is_none));
            assert_eq!(whole(last.as_ref().unwrap()), "a question that is longer than one fragment");
            assert_eq!(bench.reassembler.bytes(), 0);
            assert_eq!(bench.counters(), FragmentCounters { fragments: 4, reassembled: 1, ..Default::default() });
        }
    }
}

#[test]
fn the_header_of_a_whole_packet_has_a_right_checksum_and_no_fragment_in_it() {
    let mut bench = Bench::new();
    bench.see(&v4(9, 0, MORE, &udp(b"12345678")));
    let packet = bench.see(&v4(9, 16, LAST, b"9")).unwrap();
    let words: u32 = packet[..24].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    assert_eq!((words & 0xffff) + (words >> 16), 0xffff);
    assert_eq!((packet.len(), &packet[2..4], &packet[6..8]), (41, &[0, 41][..], &[0, 0][..]));
}

#[test]
fn an_ipv6_packet_loses_its_fragment_header_and_keeps_the_others() {
    let mut bench = Bench::new();
    bench.see(&v6(9, 8, LAST, b"question"));
    let packet = bench.see(&v6(9, 0, MORE, &udp(b"question")[..8])).unwrap();
    assert_eq!((packet.len(), packet[6], packet[40], packet[48]), (40 + 24 + 16, 0, 60, 17));
    assert_eq!(whole(&packet), "question");
}

#[test]
fn fragments_of_different_packets_stay_apart() {
    let parts = cut(&udp(b"12345678"), 8, |at, more, part| v4(9, at, more, part));
    let mut bench = Bench::new();
    bench.see(&parts[0]);
    let mut other_network = FrameView::parse_ip(&parts[1]);
    assert_eq!(bench.reassembler.add(NetworkId(6), &other_network, START), None);
    other_network.five_tuple = other_network.five_tuple.map(|tuple| tuple.reversed());
    assert_eq!(bench.reassembler.add(NETWORK, &other_network, START), None);
    assert_eq!(bench.see(&v4(10, 8, LAST, b"12345678")), None);
    let mut icmp = parts[1].clone();
    icmp[9] = 1;
    assert_eq!(bench.see(&icmp), None);
    assert!(bench.see(&parts[1]).is_some());
}

#[test]
fn a_packet_that_is_whole_costs_nothing() {
    let mut bench = Bench::new();
    let mut packet = v4(9, 0, LAST, &udp(b"whole"));
    assert_eq!(bench.see(&packet), None);
    packet[6] = 0x40;
    assert_eq!(bench.see(&packet), None);
    let reassembler = &bench.reassembler;
    assert_eq!(reassembler.packets.capacity() + reassembler.waiting.capacity() + reassembler.over.capacity(), 0);
    assert_eq!(bench.counters(), FragmentCounters::default());
}

#[test]
fn the_same_fragment_twice_changes_nothing() {
    for fragment in [v6 as fn(u32, u16, bool, &[u8]) -> Vec<u8>, |id, at, more, part| v4(id as u16, at, more, part)] {
        let parts = cut(&udp(b"abcdefgh12345678"), 8, |at, more, part| fragment(9, at, more, part));
        let mut bench = Bench::new();
        for part in &parts[..2] {
            assert_eq!((bench.see(part), bench.see(part)), (None, None));
        }
        assert_eq!(whole(&bench.see(&parts[2]).unwrap()), "abcdefgh12345678");
        // A second copy of the last one opens nothing.
        assert_eq!((bench.see(&parts[2]), bench.reassembler.bytes()), (None, 0));
        assert_eq!(bench.counters(), FragmentCounters { fragments: 6, reassembled: 1, ..Default::default() });
    }
}

#[test]
fn an_identification_may_come_again_after_a_short_time() {
    let parts = cut(&udp(b"12345678"), 8, |at, more, part| v4(9, at, more, part));
    let mut bench = Bench::new();
    for _ in 0..3 {
        assert!(bench.see(&parts[0]).is_none());
        assert!(bench.see(&parts[1]).is_some());
        bench.time_ns += OVER_NS;
    }
    assert_eq!(bench.counters().reassembled, 3);
}

#[test]
fn of_ipv4_fragments_that_overlap_the_first_copy_is_kept() {
    let mut bench = Bench::new();
    bench.see(&v4(9, 8, MORE, b"abcdefgh"));
    bench.see(&v4(9, 0, MORE, &udp(b"ABCDEFGHIJKLMNOPqrstuvwx")[..24]));
    let packet = bench.see(&v4(9, 16, LAST, b"xxxxxxxxqrstuvwx")).unwrap();
    assert_eq!(whole(&packet), "abcdefghIJKLMNOPqrstuvwx");
    assert_eq!((bench.counters().different, bench.counters().overlapping), (2, 0));
}

#[test]
fn an_ipv6_packet_with_fragments_that_overlap_is_given_up_with_all_that_comes_of_it() {
    let mut bench = Bench::new();
    bench.see(&v6(9, 0, MORE, &udp(b"abcdefgh")[..16]));
    // The same bytes, but not the same fragment (RFC 8200 section 4.5).
    assert_eq!(bench.see(&v6(9, 8, MORE, b"abcdefgh")), None);
    assert_eq!(bench.reassembler.bytes(), 0);
    assert_eq!(bench.see(&v6(9, 0, MORE, &udp(b"abcdefgh")[..16])), None);
    assert_eq!(bench.see(&v6(9, 16, LAST, b"i")), None);
    assert_eq!(bench.counters(), FragmentCounters { fragments: 4, overlapping: 1, ..Default::default() });
}

#[test]
fn what_the_mirror_cut_off_ends_the_packet_and_its_length_stays() {
    for fragment in [v6 as fn(u32, u16, bool, &[u8]) -> Vec<u8>, |id, at, more, part| v4(id as u16, at, more, part)] {
        let udp = udp(b"a question that is longer than one fragment");
        let parts = cut(&udp, 16, |at, more, part| fragment(9, at, more, part));
        let mut bench = Bench::new();
        for (at, part) in parts.iter().enumerate() {
            let part = if at == 1 { &part[..part.len() - 5] } else { &part[..] };
            let Some(packet) = bench.see(part) else { continue };
            let view = FrameView::parse_ip(&packet);
            assert_eq!((view.transport, view.missing, view.malformed), (Transport::Udp, Missing::Payload, None));
            assert_eq!((view.payload(), view.payload_wire_len()), (&b"a question that is "[..], 43));
        }
        assert_eq!((bench.counters().reassembled, bench.counters().cut), (1, 1));
    }
}

#[test]
fn a_copy_that_is_whole_fills_what_was_cut_off() {
    let mut bench = Bench::new();
    let first = v6(9, 0, MORE, &udp(b"abcdefgh")[..16]);
    bench.see(&first[..first.len() - 3]);
    bench.see(&first);
    assert_eq!(whole(&bench.see(&v6(9, 16, LAST, b"i")).unwrap()), "abcdefgh");
}

#[test]
fn a_header_that_is_cut_off_leaves_nothing_of_the_payload() {
    let mut bench = Bench::new();
    let first = v4(9, 0, MORE, &udp(b"abcdefgh"));
    bench.see(&first[..22]);
    let packet = bench.see(&v4(9, 16, LAST, b"i")).unwrap();
    assert_eq!((packet.len(), bench.counters().cut), (22, 1));
    assert_eq!(FrameView::parse_ip(&packet).bytes_missing(), 41 - 22);
}

#[test]
fn a_packet_is_waited_for_thirty_seconds() {
    let mut bench = Bench::new();
    let parts = cut(&udp(b"12345678"), 8, |at, more, part| v4(9, at, more, part));
    bench.see(&parts[0]);
    bench.time_ns += 30_000 * MILLI;
    assert_eq!(bench.see(&parts[1]), None);
    assert_eq!(bench.counters().timed_out, 1);
    bench.reassembler.expire(bench.time_ns + 30_000 * MILLI - 1);
    assert!(bench.reassembler.bytes() > 0);
    bench.reassembler.expire(bench.time_ns + 30_000 * MILLI);
    assert_eq!((bench.counters().timed_out, bench.reassembler.bytes()), (2, 0));
}

#[test]
fn the_oldest_packet_makes_room() {
    let mut bench = Bench::within(Bounds { packets: 3, ..Bounds::default() });
    for identification in 0..4 {
        bench.see(&v4(identification, 0, MORE, &udp(b"")));
    }
    assert_eq!(bench.counters().too_many, 1);
    assert!(bench.see(&v4(1, 8, LAST, b"")).is_none(), "empty");
    assert!(bench.see(&v4(1, 8, LAST, b"i")).is_some());
    assert!(bench.see(&v4(0, 8, LAST, b"i")).is_none(), "the oldest is gone");
}

#[test]
fn bytes_and_fragments_are_bounded() {
    let mut bench = Bench::within(Bounds { bytes: 5000, ..Bounds::default() });
    for identification in 0..100 {
        bench.see(&v4(identification, 0, MORE, &[0; 1000]));
        assert!(bench.reassembler.bytes() <= 5000);
    }
    assert_eq!(bench.counters().too_many, 96);
    let mut bench = Bench::new();
    for at in 1..=129 {
        bench.see(&v4(9, at * 8, MORE, &[0; 8]));
    }
    assert_eq!((bench.counters().too_many, bench.reassembler.bytes()), (1, 0));
}

#[test]
fn fragments_that_cannot_be_are_left_out() {
    let mut bench = Bench::new();
    let wrong = [
        ("not a multiple of 8", v4(9, 0, MORE, b"123456789")),
        ("beyond the longest packet", v4(9, 65_512, LAST, b"1234567890123456")),
        ("empty", v4(9, 8, LAST, b"")),
    ];
    for (what, packet) in &wrong {
        assert_eq!(bench.see(packet), None, "{what}");
    }
    assert_eq!(bench.counters().malformed, 3);
    let mut bench = Bench::new();
    bench.see(&v4(9, 16, LAST, b"12345678"));
    bench.see(&v4(9, 24, MORE, b"behind12"));
    bench.see(&v4(9, 16, LAST, b"1234"));
    assert_eq!(bench.counters().malformed, 2);
    bench.see(&v4(10, 16, MORE, b"12345678"));
    bench.see(&v4(10, 8, LAST, b"12345678"));
    assert_eq!(bench.counters().malformed, 3);
}

#[test]
fn fragments_inside_a_tunnel_are_put_together() {
    let tunnelled = |inside: &[u8]| {
        let total = (20 + inside.len() as u16).to_be_bytes();
        let outer = [&[0x45, 0][..], &total, &[0, 0, 0, 0, 64, 4, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]].concat();
        [&[2; 12][..], &[8, 0], &outer, inside].concat()
    };
    let mut reassembler = Reassembler::new(Bounds::default());
    let first = tunnelled(&v4(9, 0, MORE, &udp(b"abcdefgh")));
    assert_eq!(reassembler.add(NETWORK, &FrameView::parse(&first), START), None);
    let last = tunnelled(&v4(9, 16, LAST, b"i"));
    let packet = reassembler.add(NETWORK, &FrameView::parse(&last), START).unwrap();
    assert_eq!(FrameView::parse_ip(packet).headers_len(), 32, "the tunnel is not in it");
}

proptest! {
    /// Fragments of any packet in any order give it back.
    #[test]
    fn a_packet_comes_back_however_it_was_cut(
        payload in prop::collection::vec(b'a'..=b'z', 9..400), size in 1..8usize, v6_wanted in any::<bool>(),
        seed in prop::collection::vec(any::<u16>(), 60),
    ) {
        let udp = udp(&payload);
        let mut parts = cut(&udp, size * 8, |at, more, part| if v6_wanted { v6(9, at, more, part) } else { v4(9, at, more, part) });
        prop_assume!(parts.len() > 1);
        let mut keys = seed.iter();
        parts.sort_by_cached_key(|_| keys.next());
        let mut bench = Bench::new();
        let given: Vec<_> = parts.iter().filter_map(|part| bench.see(part)).collect();
        prop_assert_eq!(given.len(), 1);
        prop_assert_eq!(whole(&given[0]).into_bytes(), payload);
    }

    /// Any bytes: nothing panics, memory stays within its bounds, and everything is given back in the end.
    #[test]
    fn anything_at_all_keeps_memory_bounded(
        packets in prop::collection::vec(
            (any::<bool>(), 0..4u32, 0..40u16, any::<bool>(), 0..80usize, 0..100usize, any::<(u16, u8)>(), 0..200u64),
            0..200,
        ),
    ) {
        let bounds = Bounds { packets: 4, bytes: 1000, fragments: 6, ..Bounds::default() };
        let mut bench = Bench::within(bounds);
        for (is_v4, identification, offset, more, len, kept, (place, byte), later) in packets {
            let payload = vec![byte; len];
            let mut packet = if is_v4 {
                v4(identification as u16, offset * 8, more, &payload)
            } else {
                v6(identification, offset * 8, more, &payload)
            };
            if byte % 4 == 0 {
                let place = usize::from(place) % packet.len();
                packet[place] = byte;
            }
            let kept = packet.len().saturating_sub(kept.saturating_sub(60));
            bench.time_ns += later * MILLI;
            if let Some(whole) = bench.see(&packet[..kept]) {
                prop_assert!(whole.len() <= 65_535 + 40);
                FrameView::parse_ip(&whole);
            }
            prop_assert!(bench.reassembler.bytes() <= bounds.bytes);
            prop_assert!(bench.reassembler.packets.len() <= bounds.packets + OVER_MAX + 1);
        }
        bench.reassembler.expire(u64::MAX);
        prop_assert_eq!((bench.reassembler.bytes(), bench.reassembler.packets.len()), (0, 0));
    }
}
