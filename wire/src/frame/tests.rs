//! The view of frames written by hand, header by header.

mod agreement;
pub(crate) mod build;
mod truncation;
mod tshark;

use super::*;
use crate::flow::{IpAddress, protocol};
use crate::vxlan::Vni;
use build::{A4, A6, B4, B6, ethernet, extension, ipv4, ipv4_with, ipv6, tcp, udp};

fn v4(source: [u8; 4], destination: [u8; 4], ports: (u16, u16), protocol: u8) -> FiveTuple {
    FiveTuple {
        source: IpAddress::v4(source),
        destination: IpAddress::v4(destination),
        source_port: ports.0,
        destination_port: ports.1,
        protocol,
        version: IpVersion::V4,
    }
}

fn v6(ports: (u16, u16), protocol: u8) -> FiveTuple {
    FiveTuple {
        source: IpAddress(A6),
        destination: IpAddress(B6),
        source_port: ports.0,
        destination_port: ports.1,
        protocol,
        version: IpVersion::V6,
    }
}

/// The TCP segment that [`build::tcp`] makes.
const SEGMENT: Transport = Transport::Tcp(TcpHeader {
    sequence: 0x0102_0304,
    acknowledgement: 0x0506_0708,
    flags: TcpFlags(TcpFlags::PSH | TcpFlags::ACK),
    window: 0x1000,
});

#[test]
fn a_tcp_segment_in_ipv4_written_byte_by_byte() {
    #[rustfmt::skip]
    let frame = [
        // Ethernet: destination, source, IPv4
        0x02, 0, 0, 0, 0, 0x01,  0x02, 0, 0, 0, 0, 0x02,  0x08, 0x00,
        // IPv4: version 4 and 5 words, TOS, total length 42, identification, DF, TTL 64, TCP, checksum
        0x45, 0x00, 0x00, 0x2a,  0x12, 0x34, 0x40, 0x00,  0x40, 0x06, 0xbe, 0xef,
        // 192.0.2.1 to 198.51.100.2
        192, 0, 2, 1,  198, 51, 100, 2,
        // TCP: 49152 to 443, sequence, acknowledgement, 5 words, PSH and ACK, window, checksum, urgent
        0xc0, 0x00, 0x01, 0xbb,  0x01, 0x02, 0x03, 0x04,  0x05, 0x06, 0x07, 0x08,
        0x50, 0x18, 0x10, 0x00,  0x00, 0x00, 0x00, 0x00,
        // payload, then Ethernet padding
        b'h', b'i',  0, 0, 0, 0,
    ];
    let view = FrameView::parse(&frame);
    assert_eq!(view.five_tuple, Some(v4([192, 0, 2, 1], [198, 51, 100, 2], (49152, 443), protocol::TCP)));
    assert_eq!((view.network, view.transport), (Network::Ipv4, SEGMENT));
    assert_eq!((view.payload(), view.payload_wire_len()), (&b"hi"[..], 2));
    assert_eq!((view.wire_len, view.bytes_missing(), view.network_offset()), (60, 0, 14));
    assert_eq!((view.missing, view.malformed, view.fragment), (Missing::Nothing, None, None));
    assert_eq!((view.vlans.count(), view.tunnels), (0, 0));
}

#[test]
fn a_udp_datagram_in_ipv6_written_byte_by_byte() {
    #[rustfmt::skip]
    let frame = [
        // Ethernet: destination, source, IPv6
        0x02, 0, 0, 0, 0, 0x01,  0x02, 0, 0, 0, 0, 0x02,  0x86, 0xdd,
        // IPv6: version 6, class, flow label, payload length 11, UDP, hop limit 64
        0x60, 0x01, 0x23, 0x45,  0x00, 0x0b, 0x11, 0x40,
        // 2001:db8::1 to 2001:db8::2
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
        // UDP: 5353 to 53, length 11, checksum
        0x14, 0xe9, 0x00, 0x35,  0x00, 0x0b, 0x00, 0x00,
        b'd', b'n', b's',
    ];
    let view = FrameView::parse(&frame);
    assert_eq!(view.five_tuple, Some(v6((5353, 53), protocol::UDP)));
    assert_eq!((view.network, view.transport, view.payload()), (Network::Ipv6, Transport::Udp, &b"dns"[..]));
    assert_eq!((view.missing, view.malformed), (Missing::Nothing, None));
}

#[test]
fn a_packet_without_ethernet_header_is_read_by_its_version() {
    let four = ipv4(protocol::TCP, &tcp(1, 2, b"x"));
    assert_eq!(FrameView::parse_ip(&four).five_tuple, Some(v4(A4, B4, (1, 2), protocol::TCP)));
    let six = ipv6(protocol::TCP, &tcp(1, 2, b"x"));
    assert_eq!(FrameView::parse_ip(&six).five_tuple, Some(v6((1, 2), protocol::TCP)));
    assert_eq!(FrameView::parse_ip(&[0x50; 60]).malformed, Some(Malformed::IpVersion));
    assert_eq!(FrameView::parse_ip(&[]).missing, Missing::NetworkHeader);
}

#[test]
fn vlan_tags_are_walked_and_the_first_two_identifiers_kept() {
    let packet = ipv4(protocol::UDP, &udp(1, 2, b""));
    let tag =
        |id: u16, next: u16, inside: &[u8]| [&(0xe000 | id).to_be_bytes()[..], &next.to_be_bytes(), inside].concat();
    let one = tag(7, ethertype::IPV4, &packet);
    let two = tag(8, ethertype::VLAN, &one);
    let three = tag(4095, ethertype::QINQ, &two);
    for (kind, inside, count, ids) in [
        (ethertype::VLAN, &one, 1, &[7][..]),
        (ethertype::QINQ, &two, 2, &[8, 7]),
        (ethertype::QINQ_OLD, &three, 3, &[4095, 8]),
    ] {
        let frame = ethernet(kind, inside);
        let view = FrameView::parse(&frame);
        assert_eq!((view.vlans.count(), view.vlans.ids()), (count, ids));
        assert_eq!(view.five_tuple, Some(v4(A4, B4, (1, 2), protocol::UDP)));
    }
}

#[test]
fn a_chain_of_more_tags_than_are_walked_is_malformed() {
    let chain = |tags: usize| {
        let mut inside = [0x81, 0x00, 0, 1].repeat(tags);
        inside.drain(..2);
        inside.extend(ethertype::IPV4.to_be_bytes());
        inside.extend(ipv4(protocol::TCP, &tcp(1, 2, b"")));
        ethernet(ethertype::VLAN, &inside)
    };
    let (most, more) = (chain(16), chain(17));
    assert!(FrameView::parse(&most).five_tuple.is_some());
    let view = FrameView::parse(&more);
    assert_eq!((view.five_tuple, view.malformed), (None, Some(Malformed::ShimChain)));
}

#[test]
fn mpls_labels_are_walked_to_the_bottom_of_the_stack() {
    let packet = ipv6(protocol::TCP, &tcp(1, 2, b""));
    let frame = ethernet(ethertype::MPLS, &[&[0, 1, 0x00, 64, 0, 2, 0x01, 64][..], &packet].concat());
    assert_eq!(FrameView::parse(&frame).five_tuple, Some(v6((1, 2), protocol::TCP)));
}

#[test]
fn an_ethernet_pseudo_wire_over_mpls_is_looked_through_and_its_length_learnt() {
    let inside = ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &tcp(1, 2, &[7; 100])));
    let mut frame = ethernet(ethertype::MPLS, &[&[0, 1, 0x01, 64, 0, 0, 0, 9][..], &inside].concat());
    let whole = frame.len() as u32;
    let view = FrameView::parse(&frame);
    assert_eq!((view.five_tuple, view.tunnels), (Some(v4(A4, B4, (1, 2), protocol::TCP)), 1));
    frame.truncate(100);
    assert_eq!(FrameView::parse(&frame).wire_len, whole);
}

#[test]
fn a_pppoe_session_is_walked_and_its_control_packets_are_not_ip() {
    let session = |ppp: u16, inside: &[u8]| {
        let length = (inside.len() as u16 + 2).to_be_bytes();
        let header = [0x11, 0x00, 0x12, 0x34, length[0], length[1]];
        ethernet(ethertype::PPPOE_SESSION, &[&header[..], &ppp.to_be_bytes(), inside].concat())
    };
    let frame = session(0x0021, &ipv4(protocol::TCP, &tcp(1, 2, b"")));
    assert_eq!(FrameView::parse(&frame).five_tuple, Some(v4(A4, B4, (1, 2), protocol::TCP)));
    let frame = session(0x0057, &ipv6(protocol::TCP, &tcp(1, 2, b"")));
    assert_eq!(FrameView::parse(&frame).five_tuple, Some(v6((1, 2), protocol::TCP)));
    let frame = session(0xc021, b"configure-request");
    let view = FrameView::parse(&frame);
    assert_eq!((view.five_tuple, view.network, view.payload()), (None, Network::Other, &b"configure-request"[..]));
    let view = FrameView::parse(&frame[..30]);
    assert_eq!((view.missing, view.wire_len), (Missing::Payload, frame.len() as u32));
}

#[test]
fn ethertypes_behind_llc_and_snap_are_found_and_other_llc_is_not_ip() {
    let packet = ipv4(protocol::TCP, &tcp(1, 2, b""));
    let snap = [&[0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00][..], &packet].concat();
    let frame = ethernet(snap.len() as u16, &snap);
    assert_eq!(FrameView::parse(&frame).five_tuple, Some(v4(A4, B4, (1, 2), protocol::TCP)));
    // Spanning tree: LLC 42 42 03 and 35 bytes, padded.
    let mut spanning_tree = ethernet(38, &[&[0x42, 0x42, 0x03][..], &[0; 43]].concat());
    let view = FrameView::parse(&spanning_tree);
    assert_eq!((view.five_tuple, view.network, view.missing), (None, Network::Other, Missing::Nothing));
    spanning_tree.truncate(20);
    let view = FrameView::parse(&spanning_tree);
    assert_eq!((view.missing, view.wire_len), (Missing::Payload, 52));
}

#[test]
fn arp_has_no_five_tuple() {
    #[rustfmt::skip]
    let arp = [
        // Ethernet, IPv4, lengths 6 and 4, request
        0, 1, 0x08, 0x00, 6, 4, 0, 1,
        2, 0, 0, 0, 0, 1,  192, 0, 2, 1,  0, 0, 0, 0, 0, 0,  192, 0, 2, 2,
    ];
    let frame = ethernet(ethertype::ARP, &arp);
    let view = FrameView::parse(&frame);
    assert_eq!((view.network, view.five_tuple, view.missing), (Network::Arp, None, Missing::Nothing));
    let view = FrameView::parse(&frame[..30]);
    assert_eq!((view.network, view.missing, view.wire_len), (Network::Arp, Missing::NetworkHeader, 42));
}

#[test]
fn an_unknown_ethertype_is_neither_malformed_nor_truncated() {
    let frame = ethernet(0x88cc, &[1; 46]);
    let view = FrameView::parse(&frame);
    assert_eq!((view.network, view.five_tuple), (Network::Other, None));
    assert_eq!((view.missing, view.malformed, view.payload().len()), (Missing::Nothing, None, 46));
}

#[test]
fn ipv4_options_are_walked_over() {
    let packet = ipv4_with(&[0x94, 0x04, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0], protocol::TCP, &tcp(1, 2, b"abc"));
    let frame = ethernet(ethertype::IPV4, &packet);
    let view = FrameView::parse(&frame);
    assert_eq!(view.five_tuple, Some(v4(A4, B4, (1, 2), protocol::TCP)));
    assert_eq!((view.transport, view.payload()), (SEGMENT, &b"abc"[..]));
}

#[test]
fn each_ipv4_fragment_has_ports_0_the_first_one_too() {
    for (word, offset, more) in [(0x2000u16, 0, true), (0x2005, 40, true), (0x0005, 40, false)] {
        let [high, low] = word.to_be_bytes();
        let packet = ipv4_with(&[], [0xab, 0xcd, high, low], protocol::UDP, &udp(1, 2, b"abc"));
        let frame = ethernet(ethertype::IPV4, &packet);
        let view = FrameView::parse(&frame);
        assert_eq!(view.five_tuple, Some(v4(A4, B4, (0, 0), protocol::UDP)));
        assert_eq!(view.fragment, Some(Fragment { identification: 0xabcd, offset, more }));
        assert_eq!((view.transport, view.payload().len()), (Transport::Other, 11));
    }
    // Don't fragment is no fragment.
    let frame = ethernet(ethertype::IPV4, &ipv4_with(&[], [0xab, 0xcd, 0x40, 0], protocol::UDP, &udp(1, 2, b"")));
    assert_eq!(FrameView::parse(&frame).fragment, None);
}

#[test]
fn ipv6_extension_headers_are_walked_over() {
    // Hop-by-hop, routing, destination options, authentication, then TCP.
    let mut inside = tcp(1, 2, b"abc");
    inside = [&[protocol::TCP, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2][..], &inside].concat();
    inside = extension(protocol::AH, 0, &inside);
    inside = extension(60, 2, &inside);
    inside = extension(43, 0, &inside);
    let frame = ethernet(ethertype::IPV6, &ipv6(0, &inside));
    let view = FrameView::parse(&frame);
    assert_eq!(view.five_tuple, Some(v6((1, 2), protocol::TCP)));
    assert_eq!((view.transport, view.payload(), view.missing), (SEGMENT, &b"abc"[..], Missing::Nothing));
}

#[test]
fn an_authentication_header_in_ipv4_is_walked_over() {
    let inside = [&[protocol::UDP, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2][..], &[0; 12], &udp(1, 2, b"abc")].concat();
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::AH, &inside));
    let view = FrameView::parse(&frame);
    assert_eq!((view.five_tuple, view.payload()), (Some(v4(A4, B4, (1, 2), protocol::UDP)), &b"abc"[..]));
}

#[test]
fn a_longer_chain_of_extension_headers_than_is_walked_is_malformed() {
    let chain = |headers: usize| {
        let inside =
            (1..headers).fold(extension(protocol::TCP, 0, &tcp(1, 2, b"")), |inside, _| extension(60, 0, &inside));
        ethernet(ethertype::IPV6, &ipv6(60, &inside))
    };
    let (most, more) = (chain(127), chain(128));
    assert_eq!(FrameView::parse(&most).five_tuple, Some(v6((1, 2), protocol::TCP)));
    let view = FrameView::parse(&more);
    assert_eq!(
        (view.five_tuple.map(|tuple| tuple.source_port), view.malformed),
        (Some(0), Some(Malformed::Ipv6ExtensionChain))
    );
}

#[test]
fn all_ipv6_fragments_of_a_packet_have_the_same_five_tuple() {
    // The first fragment begins with a destination options header, which the second has not.
    let options = extension(protocol::UDP, 0, &udp(1, 2, b"abc"));
    for (word, offset, more, inside) in [(0x0001u16, 0, true, &options[..]), (0x0010, 16, false, b"rest")] {
        let [high, low] = word.to_be_bytes();
        let fragment = [&[60, 0, high, low, 0xde, 0xad, 0xbe, 0xef][..], inside].concat();
        let frame = ethernet(ethertype::IPV6, &ipv6(protocol::IPV6_FRAGMENT, &fragment));
        let view = FrameView::parse(&frame);
        assert_eq!(view.five_tuple, Some(v6((0, 0), 60)));
        assert_eq!(view.fragment, Some(Fragment { identification: 0xdead_beef, offset, more }));
    }
}

#[test]
fn an_atomic_ipv6_fragment_is_a_whole_packet() {
    let inside = [&[protocol::UDP, 0xff, 0, 0, 1, 2, 3, 4][..], &udp(1, 2, b"abc")].concat();
    let frame = ethernet(ethertype::IPV6, &ipv6(protocol::IPV6_FRAGMENT, &inside));
    let view = FrameView::parse(&frame);
    assert_eq!((view.five_tuple, view.fragment), (Some(v6((1, 2), protocol::UDP)), None));
}

#[test]
fn sctp_and_udp_lite_have_ports_and_a_payload() {
    let sctp = [&[0, 1, 0, 2][..], &[0; 8], b"abc"].concat();
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::SCTP, &sctp));
    let view = FrameView::parse(&frame);
    assert_eq!(view.five_tuple, Some(v4(A4, B4, (1, 2), protocol::SCTP)));
    assert_eq!((view.transport, view.payload()), (Transport::Sctp, &b"abc"[..]));
    // The third field of UDP-Lite is how much the checksum covers: 8 bytes, not a length.
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::UDP_LITE, &[0, 1, 0, 2, 0, 8, 0, 0, b'a', b'b']));
    let view = FrameView::parse(&frame);
    assert_eq!(view.five_tuple, Some(v4(A4, B4, (1, 2), protocol::UDP_LITE)));
    assert_eq!((view.transport, view.payload()), (Transport::Udp, &b"ab"[..]));
}

#[test]
fn an_icmp_request_and_its_reply_are_one_flow_and_an_error_is_not() {
    let icmp =
        |kind: u8, code: u8| ethernet(ethertype::IPV4, &ipv4(protocol::ICMP, &[kind, code, 0, 0, 0, 9, 0, 1, 7]));
    let (request, error) = (icmp(8, 0), icmp(3, 1));
    let view = FrameView::parse(&request);
    assert_eq!(view.five_tuple, Some(v4(A4, B4, (8, 0), protocol::ICMP)));
    assert_eq!((view.transport, view.payload()), (Transport::Icmp(IcmpHeader { kind: 8, code: 0 }), &[7][..]));
    assert_eq!(FrameView::parse(&error).five_tuple, Some(v4(A4, B4, (3, 1), protocol::ICMP)));
    let six = ethernet(ethertype::IPV6, &ipv6(protocol::ICMPV6, &[129, 0, 0, 0, 0, 9, 0, 1]));
    assert_eq!(FrameView::parse(&six).five_tuple, Some(v6((129, 128), protocol::ICMPV6)));
    // ICMPv6 in IPv4 is nothing that is looked into.
    let odd = ethernet(ethertype::IPV4, &ipv4(protocol::ICMPV6, &[129, 0, 0, 0, 0, 9, 0, 1]));
    assert_eq!(FrameView::parse(&odd).five_tuple, Some(v4(A4, B4, (0, 0), protocol::ICMPV6)));
}

#[test]
fn another_protocol_has_addresses_only() {
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::ESP, &[1; 40]));
    let view = FrameView::parse(&frame);
    assert_eq!(view.five_tuple, Some(v4(A4, B4, (0, 0), protocol::ESP)));
    assert_eq!((view.transport, view.payload().len()), (Transport::Other, 40));
}

#[test]
fn tcp_options_are_no_payload() {
    let mut segment = tcp(1, 2, &[[1, 1, 1, 0].as_slice(), b"abc"].concat());
    segment[12] = 0x60;
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &segment));
    assert_eq!(FrameView::parse(&frame).payload(), b"abc");
}

#[test]
fn tunnels_of_the_mirrored_host_are_looked_through() {
    let packet = ipv6(protocol::TCP, &tcp(1, 2, b"abc"));
    let inner = ethernet(ethertype::IPV6, &packet);
    let vxlan = [&crate::vxlan::header(Vni::default())[..], &inner].concat();
    // GENEVE: one word of options, transparent Ethernet, VNI.
    let geneve = [&[1, 0, 0x65, 0x58, 0, 0, 5, 0, 0x01, 0x08, 1, 0][..], &inner].concat();
    let geneve_ip = [&[0, 0, 0x86, 0xdd, 0, 0, 5, 0][..], &packet].concat();
    let gre = |flags: u16, kind: u16, more: &[u8], inside: &[u8]| {
        ipv4(protocol::GRE, &[&flags.to_be_bytes()[..], &kind.to_be_bytes(), more, inside].concat())
    };
    // ERSPAN type III: version, VLAN, session; time stamp; SGT; P, frame type, hardware, O.
    let erspan = |kind: u8, o: u8| [0x20, 0, 0, 1, 0, 0, 0, 0, 0, 0, kind << 2, o];
    let mpls = [&[0, 1, 0x01, 64][..], &packet].concat();
    for (name, outer) in [
        ("IPv6 in IPv4", ipv4(protocol::IPV6, &packet)),
        ("GRE", gre(0, 0x86dd, &[], &packet)),
        ("GRE with checksum, key and sequence number", gre(0xb000, 0x86dd, &[0; 12], &packet)),
        ("Ethernet in GRE", gre(0x2000, ethertype::TRANSPARENT_ETHERNET, &[0; 4], &inner)),
        ("MPLS in GRE", gre(0, ethertype::MPLS, &[], &mpls)),
        ("ERSPAN type I", gre(0, ethertype::ERSPAN_II, &[], &inner)),
        ("ERSPAN type II", gre(0x1000, ethertype::ERSPAN_II, &[0; 12], &inner)),
        ("ERSPAN type III", gre(0x1000, ethertype::ERSPAN_III, &[&[0; 4][..], &erspan(0, 0)].concat(), &inner)),
        (
            "ERSPAN type III with a platform header",
            gre(0x1000, ethertype::ERSPAN_III, &[&[0; 4][..], &erspan(0, 1), &[0; 8]].concat(), &inner),
        ),
        ("ERSPAN type III of IP", gre(0x1000, ethertype::ERSPAN_III, &[&[0; 4][..], &erspan(2, 0)].concat(), &packet)),
        ("VXLAN", ipv4(protocol::UDP, &udp(50000, 4789, &vxlan))),
        ("GENEVE", ipv4(protocol::UDP, &udp(50000, 6081, &geneve))),
        ("IPv6 in GENEVE", ipv4(protocol::UDP, &udp(50000, 6081, &geneve_ip))),
    ] {
        let frame = ethernet(ethertype::IPV4, &outer);
        let view = FrameView::parse(&frame);
        assert_eq!(view.five_tuple, Some(v6((1, 2), protocol::TCP)), "{name}");
        assert_eq!((view.network, view.transport, view.payload()), (Network::Ipv6, SEGMENT, &b"abc"[..]), "{name}");
        assert_eq!((view.tunnels, view.missing, view.malformed), (1, Missing::Nothing, None), "{name}");
        assert_eq!(view.wire_len as usize, frame.len(), "{name}");
    }
    let frame = ethernet(ethertype::IPV6, &ipv6(protocol::IPV4, &ipv4(protocol::TCP, &tcp(1, 2, b""))));
    assert_eq!(FrameView::parse(&frame).five_tuple, Some(v4(A4, B4, (1, 2), protocol::TCP)));
}

#[test]
fn a_tunnel_without_an_ip_packet_keeps_its_own_five_tuple() {
    let gre = |kind: u16, inside: &[u8]| {
        ethernet(ethertype::IPV4, &ipv4(protocol::GRE, &[&[0, 0][..], &kind.to_be_bytes(), inside].concat()))
    };
    let arp = ethernet(ethertype::ARP, &[&[0, 1, 8, 0, 6, 4, 0, 1][..], &[0; 20]].concat());
    for frame in [
        gre(ethertype::TRANSPARENT_ETHERNET, &arp),
        gre(ethertype::TRANSPARENT_ETHERNET, &ethernet(0x88cc, &[0; 46])),
        gre(0x880b, &[0; 30]),
        gre(ethertype::IPV4, &[0x45, 0, 0, 40]),
        gre(ethertype::IPV6, &[0x45; 60]),
        // Version 1 and a routing field are not walked.
        ethernet(
            ethertype::IPV4,
            &ipv4(protocol::GRE, &[&[0x30, 0x01, 0x08, 0][..], &ipv4(protocol::TCP, &[0; 20])].concat()),
        ),
        ethernet(
            ethertype::IPV4,
            &ipv4(protocol::GRE, &[&[0x40, 0x00, 0x08, 0][..], &ipv4(protocol::TCP, &[0; 20])].concat()),
        ),
    ] {
        let view = FrameView::parse(&frame);
        assert_eq!(view.five_tuple, Some(v4(A4, B4, (0, 0), protocol::GRE)), "{frame:x?}");
        assert_eq!((view.network, view.network_offset(), view.tunnels), (Network::Ipv4, 14, 0), "{frame:x?}");
        assert_eq!(view.payload().len(), frame.len() - 34, "{frame:x?}");
    }
}

#[test]
fn datagrams_to_a_tunnel_port_that_are_no_tunnel_stay_what_they_are() {
    for (port, payload) in [(4789, &[0; 40][..]), (4789, &[8; 7]), (4789, b""), (6081, &[0xff; 40]), (6081, &[0; 7])] {
        let frame = ethernet(ethertype::IPV4, &ipv4(protocol::UDP, &udp(53, port, payload)));
        let view = FrameView::parse(&frame);
        assert_eq!((view.five_tuple, view.tunnels), (Some(v4(A4, B4, (53, port), protocol::UDP)), 0));
        assert_eq!((view.payload(), view.missing, view.malformed), (payload, Missing::Nothing, None));
    }
}

#[test]
fn only_so_many_tunnels_are_looked_through() {
    let nested = |tunnels: u8| {
        let packet = (0..tunnels).fold(ipv4(protocol::TCP, &tcp(1, 2, b"")), |packet, _| ipv4(protocol::IPV4, &packet));
        ethernet(ethertype::IPV4, &packet)
    };
    let (most, more) = (nested(MAX_TUNNELS), nested(MAX_TUNNELS + 1));
    let view = FrameView::parse(&most);
    assert_eq!((view.five_tuple, view.tunnels), (Some(v4(A4, B4, (1, 2), protocol::TCP)), MAX_TUNNELS));
    let view = FrameView::parse(&more);
    assert_eq!((view.five_tuple, view.tunnels), (Some(v4(A4, B4, (0, 0), protocol::IPV4)), MAX_TUNNELS));
}

#[test]
fn the_outermost_packet_is_the_tunnel_and_what_it_carries_is_payload() {
    let inside = ipv4(protocol::TCP, &tcp(1, 2, b"data"));
    let vxlan = [&crate::vxlan::header(Vni::new(7).unwrap())[..], &ethernet(ethertype::IPV4, &inside)].concat();
    for (protocol, ports, payload, packet) in [
        (protocol::IPV4, (0, 0), &inside, inside.clone()),
        (protocol::UDP, (9, 4789), &vxlan, udp(9, 4789, &vxlan)),
        (protocol::TCP, (1, 2), &b"data".to_vec(), tcp(1, 2, b"data")),
    ] {
        let frame = ethernet(ethertype::IPV4, &ipv4(protocol, &packet));
        let view = FrameView::parse_outermost(&frame);
        assert_eq!((view.five_tuple, view.tunnels), (Some(v4(A4, B4, ports, protocol)), 0));
        assert_eq!((view.payload(), view.network_offset(), view.malformed), (&payload[..], 14, None));
    }
}

#[test]
fn ethernet_padding_is_never_taken_for_a_header() {
    // Each packet ends behind its IP header; what follows looks like a header and is padding.
    let padding = [0x45, 0, 0, 0, 0x50, 0x10, 1, 1, 1, 1, 0, 0, 0x50, 0x10, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1];
    for protocol in [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::ICMP, protocol::IPV4, protocol::GRE] {
        let frame = ethernet(ethertype::IPV4, &[&ipv4(protocol, &[])[..], &padding].concat());
        let view = FrameView::parse(&frame);
        assert_eq!(view.five_tuple, Some(v4(A4, B4, (0, 0), protocol)));
        assert_eq!((view.malformed, view.missing), (Some(Malformed::PacketTooShort), Missing::Nothing));
        assert_eq!((view.payload(), view.wire_len), (&[][..], 60));
    }
    let frame = ethernet(ethertype::IPV6, &[&ipv6(protocol::NO_NEXT_HEADER, &[])[..], &padding].concat());
    let view = FrameView::parse(&frame);
    assert_eq!((view.payload_wire_len(), view.malformed), (0, None));
}

#[test]
fn headers_that_contradict_themselves_are_named() {
    let patched = |at: usize, byte: u8, mut packet: Vec<u8>| {
        packet[at] = byte;
        ethernet(ethertype::IPV4, &packet)
    };
    let segment = || ipv4(protocol::TCP, &tcp(1, 2, b"abc"));
    let datagram = || ipv4(protocol::UDP, &udp(1, 2, b"abc"));
    for (frame, malformed, tuple) in [
        (patched(0, 0x65, segment()), Malformed::IpVersion, None),
        (patched(0, 0x44, segment()), Malformed::Ipv4HeaderLength, None),
        (patched(3, 19, segment()), Malformed::Ipv4TotalLength, Some((0, 0))),
        (patched(32, 0x40, segment()), Malformed::TcpDataOffset, Some((1, 2))),
        (patched(32, 0x60, segment()), Malformed::TcpDataOffset, Some((1, 2))),
        (patched(25, 7, datagram()), Malformed::UdpLength, Some((1, 2))),
        (patched(25, 12, datagram()), Malformed::UdpLength, Some((1, 2))),
    ] {
        let view = FrameView::parse(&frame);
        assert_eq!((view.malformed, view.missing), (Some(malformed), Missing::Nothing), "{frame:x?}");
        assert_eq!(view.five_tuple.map(|tuple| (tuple.source_port, tuple.destination_port)), tuple, "{frame:x?}");
    }
    let frame = ethernet(ethertype::IPV6, &segment());
    assert_eq!(FrameView::parse(&frame).malformed, Some(Malformed::IpVersion));
}

#[test]
fn lengths_of_0_mean_to_the_end_of_the_frame() {
    let mut packet = ipv4(protocol::TCP, &tcp(1, 2, b"offloaded"));
    packet[2..4].fill(0);
    let frame = ethernet(ethertype::IPV4, &packet);
    let view = FrameView::parse(&frame);
    assert_eq!((view.payload(), view.missing, view.malformed), (&b"offloaded"[..], Missing::Nothing, None));
    let mut packet = ipv6(protocol::UDP, &udp(1, 2, b"offloaded"));
    packet[4..6].fill(0);
    packet[44..46].fill(0);
    let frame = ethernet(ethertype::IPV6, &packet);
    let view = FrameView::parse(&frame);
    assert_eq!((view.payload(), view.missing, view.malformed), (&b"offloaded"[..], Missing::Nothing, None));
}

#[test]
fn udp_payload_ends_where_the_udp_length_says() {
    let mut datagram = udp(1, 2, b"abc");
    datagram.extend(b"surplus");
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::UDP, &datagram));
    let view = FrameView::parse(&frame);
    assert_eq!((view.payload(), view.payload_wire_len(), view.missing), (&b"abc"[..], 3, Missing::Nothing));
}
