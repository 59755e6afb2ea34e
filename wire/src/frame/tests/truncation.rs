//! Frames that a mirror has cut, and frames that are noise.

use proptest::prelude::*;

use super::build::{self, ethernet, extension, ipv4, ipv4_with, ipv6, tcp, udp};
use crate::captures;
use crate::flow::protocol;
use crate::frame::walk::Walk;
use crate::frame::{FrameView, Link, MAX_TUNNELS, Malformed, Missing, Transport, ethertype, usual_five_tuple};

/// Asks a view for everything it has, and checks what must hold of any bytes.
fn check(bytes: &[u8]) {
    if let Some(usual) = seen_at_once(bytes) {
        let mut walked = FrameView::unseen(Link::Ethernet, bytes);
        walked.walk(MAX_TUNNELS, Walk::ethernet);
        assert_eq!(format!("{usual:?}"), format!("{walked:?}"));
    }
    if let Some(tuple) = usual_five_tuple(bytes) {
        assert_eq!(FrameView::parse(bytes).five_tuple, Some(tuple));
    }
    for view in [FrameView::parse(bytes), FrameView::parse_ip(bytes)] {
        assert!(view.wire_len as usize >= bytes.len());
        assert_eq!(view.wire_len as usize, bytes.len() + view.bytes_missing() as usize);
        assert!(view.payload().len() <= view.payload_wire_len() as usize);
        assert!(view.five_tuple.is_none() || view.network_offset() < bytes.len());
        assert!(view.bytes_missing() == 0 || view.missing != Missing::Nothing);
        assert!(view.vlans.ids().len() <= 2);
        if let Some(tuple) = view.five_tuple {
            assert_eq!(tuple.reversed().reversed(), tuple);
            assert!(!tuple.to_string().is_empty());
        }
    }
}

/// The view of a frame of the usual shape; `None` for others, and then the view is left as new.
fn seen_at_once(bytes: &[u8]) -> Option<FrameView<'_>> {
    let mut view = FrameView::unseen(Link::Ethernet, bytes);
    if view.see_usual() {
        return Some(view);
    }
    assert_eq!(format!("{view:?}"), format!("{:?}", FrameView::unseen(Link::Ethernet, bytes)));
    None
}

#[test]
fn tcp_and_udp_in_plain_packets_are_seen_at_once_and_all_else_is_walked() {
    let udp_of_4789 = udp(5, 4789, &[0; 20]);
    let mut no_length = ipv4(protocol::TCP, &tcp(1, 2, b"abc"));
    no_length[2..4].fill(0);
    for (frame, at_once) in [
        (ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &tcp(1, 2, b"abc"))), true),
        (ethernet(ethertype::IPV4, &ipv4(protocol::UDP, &udp(1, 2, b""))), true),
        (ethernet(ethertype::IPV6, &ipv6(protocol::TCP, &tcp(1, 2, b"abc"))), true),
        (ethernet(ethertype::IPV6, &ipv6(protocol::UDP, &udp(1, 2, b"abc"))), true),
        (ethernet(ethertype::IPV4, &ipv4(protocol::UDP, &udp_of_4789)), false),
        (ethernet(ethertype::IPV4, &no_length), false),
        (ethernet(ethertype::IPV4, &ipv4_with(&[1; 4], [0; 4], protocol::TCP, &tcp(1, 2, b""))), false),
        (ethernet(ethertype::IPV4, &ipv4_with(&[], [0, 7, 0x20, 0], protocol::TCP, &tcp(1, 2, b""))), false),
        (ethernet(ethertype::IPV4, &ipv4(protocol::ICMP, &[8, 0, 0, 0, 0, 0, 0, 0])), false),
        (ethernet(ethertype::IPV6, &ipv6(0, &extension(protocol::TCP, 0, &tcp(1, 2, b"")))), false),
    ] {
        assert_eq!(seen_at_once(&frame).is_some(), at_once, "{frame:?}");
        assert_eq!(usual_five_tuple(&frame).is_some(), at_once && frame[14] >> 4 == 4, "{frame:?}");
        for len in 0..=frame.len() {
            check(&frame[..len]);
        }
        // With padding behind it.
        check(&[&frame[..], &[0; 9]].concat());
    }
}

#[test]
fn every_place_where_a_frame_can_be_cut_is_named() {
    let frame = ethernet(
        ethertype::VLAN,
        &[&[0, 7, 0x08, 0x00][..], &ipv4_with(&[1; 4], [0; 4], protocol::TCP, &tcp(1, 2, &[0; 100]))].concat(),
    );
    for (len, missing, ports) in [
        (0, Missing::LinkHeader, None),
        (13, Missing::LinkHeader, None),
        (14, Missing::Shim, None),
        (17, Missing::Shim, None),
        (18, Missing::NetworkHeader, None),
        (37, Missing::NetworkHeader, None),
        (38, Missing::NetworkExtension, Some((0, 0))),
        (41, Missing::NetworkExtension, Some((0, 0))),
        (42, Missing::TransportHeader, Some((0, 0))),
        (45, Missing::TransportHeader, Some((0, 0))),
        (46, Missing::TransportHeader, Some((1, 2))),
        (61, Missing::TransportHeader, Some((1, 2))),
        (62, Missing::Payload, Some((1, 2))),
        (161, Missing::Payload, Some((1, 2))),
        (162, Missing::Nothing, Some((1, 2))),
    ] {
        let view = FrameView::parse(&frame[..len]);
        let found = view.five_tuple.map(|tuple| (tuple.source_port, tuple.destination_port));
        assert_eq!((view.missing, found, view.malformed), (missing, ports, None), "{len} bytes");
        let knows_length = len >= 38;
        assert_eq!(view.wire_len, if knows_length { 162 } else { len as u32 }, "{len} bytes");
    }
    let view = FrameView::parse(&frame[..70]);
    assert_eq!((view.payload().len(), view.payload_wire_len(), view.bytes_missing()), (8, 100, 92));
}

#[test]
fn tcp_options_that_are_cut_leave_the_fixed_header() {
    let mut segment = tcp(1, 2, &[1; 12]);
    segment[12] = 0x80;
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &segment));
    let view = FrameView::parse(&frame[..60]);
    assert_eq!((view.missing, view.malformed), (Missing::TransportHeader, None));
    assert!(matches!(view.transport, Transport::Tcp(_)));
    assert_eq!((view.payload(), view.payload_wire_len()), (&[][..], 0));
}

#[test]
fn extension_headers_that_are_cut_leave_the_addresses() {
    let frame = ethernet(ethertype::IPV6, &ipv6(0, &extension(60, 3, &extension(protocol::TCP, 0, &tcp(1, 2, b"")))));
    for len in 54..94 {
        let view = FrameView::parse(&frame[..len]);
        assert_eq!((view.missing, view.transport), (Missing::NetworkExtension, Transport::Other), "{len} bytes");
        assert_eq!(view.five_tuple.map(|tuple| tuple.source_port), Some(0), "{len} bytes");
    }
    assert_eq!(FrameView::parse(&frame[..94]).missing, Missing::TransportHeader);
}

#[test]
fn a_tunnel_that_is_cut_keeps_its_own_five_tuple_and_says_what_is_missing() {
    let inner = ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &tcp(1, 2, &[0; 50])));
    let vxlan = [&[8, 0, 0, 0, 0, 0, 7, 0][..], &inner].concat();
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::UDP, &udp(5, 4789, &vxlan)));
    for (len, missing, source_port, tunnels) in [
        (41, Missing::TransportHeader, 5, 0),
        (42, Missing::Shim, 5, 0),
        (50, Missing::Shim, 5, 0),
        (51, Missing::LinkHeader, 5, 0),
        (83, Missing::NetworkHeader, 5, 0),
        (84, Missing::TransportHeader, 0, 1),
        (88, Missing::TransportHeader, 1, 1),
        (104, Missing::Payload, 1, 1),
        (154, Missing::Nothing, 1, 1),
    ] {
        let view = FrameView::parse(&frame[..len]);
        assert_eq!(view.five_tuple.map(|tuple| tuple.source_port), Some(source_port), "{len} bytes");
        assert_eq!((view.missing, view.tunnels, view.wire_len), (missing, tunnels, 154), "{len} bytes");
    }
}

#[test]
fn a_packet_that_the_tunnel_carries_in_part_has_payload_missing_though_the_frame_is_whole() {
    // As ERSPAN with truncation sends: the inner packet says 140 bytes, 60 are carried.
    let inner = ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &tcp(1, 2, &[7; 100])));
    let gre = [&[0, 0, 0x88, 0xbe][..], &inner[..74]].concat();
    // Ethernet padding must not pass for the rest.
    let frame = [ethernet(ethertype::IPV4, &ipv4(protocol::GRE, &gre)), vec![0xee; 30]].concat();
    let view = FrameView::parse(&frame);
    assert_eq!((view.payload(), view.payload_wire_len()), (&[7; 20][..], 100));
    assert_eq!((view.missing, view.bytes_missing(), view.wire_len as usize), (Missing::Payload, 0, frame.len()));
}

#[test]
fn an_ip_length_larger_than_the_frame_counts_as_truncation() {
    let mut packet = ipv4(protocol::TCP, &tcp(1, 2, b"abc"));
    packet[2..4].copy_from_slice(&[0xff, 0xff]);
    let frame = ethernet(ethertype::IPV4, &packet);
    let view = FrameView::parse(&frame);
    assert_eq!((view.wire_len, view.missing, view.malformed), (14 + 65_535, Missing::Payload, None));
    assert_eq!((view.payload(), view.payload_wire_len()), (&b"abc"[..], 65_495));
}

#[test]
fn a_frame_of_more_than_65535_bytes_is_seen_whole() {
    // What a host sees of its own big segments: a total length of 0.
    let mut packet = ipv4(protocol::TCP, &tcp(1, 2, &[]));
    packet[2..4].fill(0);
    packet.resize(80_000, 7);
    let frame = ethernet(ethertype::IPV4, &packet);
    let view = FrameView::parse(&frame);
    assert_eq!((view.payload().len(), view.wire_len, view.missing), (79_960, 80_014, Missing::Nothing));
}

#[test]
fn padding_behind_an_empty_ipv6_packet_is_no_payload() {
    let mut frame = ethernet(ethertype::IPV6, &[0; 40]);
    frame[14] = 0x60;
    frame[20] = protocol::ESP;
    frame.resize(60, 0);
    let view = FrameView::parse(&frame);
    assert_eq!((view.payload(), view.payload_wire_len(), view.missing), (&[][..], 0, Missing::Nothing));
}

proptest! {
    #[test]
    fn every_shorter_prefix_says_so_and_never_more_than_the_longer_one(frame in build::frame()) {
        let whole = FrameView::parse(&frame.bytes);
        prop_assert_eq!((whole.missing, whole.malformed), (Missing::Nothing, None));
        let mut before = Missing::LinkHeader;
        for len in 0..frame.bytes.len() {
            let bytes = &frame.bytes[..len];
            check(bytes);
            let view = FrameView::parse(bytes);
            prop_assert!(view.missing <= before, "{:?} with {} bytes, {:?} with one less", view.missing, len, before);
            prop_assert_eq!(view.malformed, None);
            // What is there is what the whole frame has.
            prop_assert!(whole.payload().starts_with(view.payload()));
            if view.missing <= Missing::TransportHeader {
                let (cut, whole) = (view.five_tuple.unwrap(), whole.five_tuple.unwrap());
                prop_assert_eq!((cut.source, cut.destination), (whole.source, whole.destination));
                prop_assert_eq!(cut.protocol, whole.protocol);
            }
            if view.missing <= Missing::Payload {
                prop_assert_eq!(view.five_tuple, whole.five_tuple);
                prop_assert_eq!((view.transport, view.payload_wire_len()), (whole.transport, whole.payload_wire_len()));
            }
            before = view.missing;
        }
    }

    #[test]
    fn the_length_on_the_wire_is_recovered_from_the_ip_header(frame in build::frame(), cut in 0..200usize) {
        let whole = FrameView::parse(&frame.bytes);
        let packet_end = whole.wire_len as usize - padding(&frame.bytes);
        let view = FrameView::parse(&frame.bytes[..frame.bytes.len().saturating_sub(cut)]);
        if view.five_tuple.is_some() {
            prop_assert_eq!(view.wire_len as usize, packet_end.max(view.bytes.len()));
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn noise_behind_a_known_ethertype_never_panics(
        kind in prop::sample::select(vec![
            ethertype::IPV4,
            ethertype::IPV6,
            ethertype::ARP,
            ethertype::VLAN,
            ethertype::MPLS,
            ethertype::PPPOE_SESSION,
            40,
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        check(&ethernet(kind, &bytes));
    }
}

/// How many bytes behind the IP packet are padding, by the IP header's own length.
fn padding(frame: &[u8]) -> usize {
    let view = FrameView::parse(frame);
    let packet = &frame[view.network_offset()..];
    let length = if packet[0] >> 4 == 4 {
        usize::from(u16::from_be_bytes([packet[2], packet[3]]))
    } else {
        40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]))
    };
    packet.len() - length
}

#[test]
fn captured_frames_with_bits_flipped_and_ends_cut_never_panic() {
    let Some(frames) = captures::all_frames() else { return };
    let mut random = Random(0x5eed);
    let mut malformed = [0usize; 2];
    for (_, record) in frames {
        check(&record.bytes);
        for _ in 0..8 {
            let mut bytes = record.bytes.clone();
            for _ in 0..random.below(6) {
                // Headers are in front.
                let at = random.below(bytes.len().min(120));
                bytes[at] ^= 1 << random.below(8);
            }
            bytes.truncate(random.below(bytes.len() + 1).max(random.below(100)));
            check(&bytes);
            malformed
                [usize::from(FrameView::parse(&bytes).malformed.is_some_and(|what| what != Malformed::IpVersion))] += 1;
        }
    }
    assert!(malformed[0] > 10_000 && malformed[1] > 1_000, "the mutations reach too little: {malformed:?}");
}

/// Xorshift: the same sequence in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
