use proptest::prelude::*;

use super::*;
use crate::envelope::outer_datagram;
use crate::frame::tests::build::{ethernet, ipv4, ipv6, tcp, udp};
use crate::{FrameView, IpVersion, Missing, Network, protocol, vxlan};

/// The link header of each link before an IPv4 packet, as programs write it.
fn headers() -> Vec<(Link, Vec<u8>)> {
    let sll = [&[0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &[8, 0]].concat();
    let sll2 = [&[8, 0][..], &[0, 0, 0, 0, 0, 3, 0, 1, 4, 6, 2, 0, 0, 0, 0, 1, 0, 0]].concat();
    let nflog = |number: fn(u16) -> [u8; 2], attributes: &[(u16, &[u8])]| {
        let mut header = vec![2, 0, 0, 5];
        for (kind, value) in attributes {
            header.extend(number(value.len() as u16 + 4));
            header.extend(number(*kind));
            header.extend(*value);
            header.resize(header.len().next_multiple_of(4), 0);
        }
        header.extend(number(1000));
        header.extend(number(9));
        header
    };
    let attributes: &[(u16, &[u8])] = &[(1, &[8, 0, 1, 0]), (10, b"mirror\0"), (4, &[0, 0, 0, 2])];
    vec![
        (Link::Ethernet, ethernet(ethertype::IPV4, &[])),
        (Link::Ip, vec![]),
        (Link::Loopback, vec![2, 0, 0, 0]),
        (Link::Loopback, vec![0, 0, 0, 2]),
        (Link::LinuxSll, sll),
        (Link::LinuxSll2, sll2),
        (Link::Ppp, vec![0xff, 0x03, 0x00, 0x21]),
        (Link::Ppp, vec![0x00, 0x21]),
        (Link::Ppp, vec![0x21]),
        (Link::Nflog, nflog(u16::to_le_bytes, attributes)),
        (Link::Nflog, nflog(u16::to_be_bytes, attributes)),
    ]
}

#[test]
fn a_packet_is_found_behind_the_header_of_every_link() {
    let packet = ipv4(protocol::TCP, &tcp(1234, 80, b"hello"));
    for (link, header) in headers() {
        let frame = [&header[..], &packet].concat();
        let whole = FrameView::parse_link(link, &frame);
        let tuple = whole.five_tuple.expect("a five-tuple");
        assert_eq!((tuple.source_port, tuple.destination_port), (1234, 80), "{link:?}");
        assert_eq!((whole.payload(), whole.wire_len as usize), (&b"hello"[..], frame.len()), "{link:?}");
        assert_eq!((whole.missing, whole.malformed), (Missing::Nothing, None), "{link:?}");
        assert_eq!(whole.network_offset(), header.len(), "{link:?}");

        let cut = FrameView::parse_link(link, &frame[..frame.len() - 3]);
        assert_eq!((cut.payload(), cut.wire_len as usize), (&b"he"[..], frame.len()), "{link:?}");
        assert_eq!(cut.missing, Missing::Payload, "{link:?}");
    }
    let links: std::collections::BTreeSet<Link> = headers().into_iter().map(|(link, _)| link).collect();
    assert_eq!(links.len(), Link::ALL.len());
}

#[test]
fn a_mirrors_envelope_is_found_behind_the_header_of_every_link_and_tags() {
    let inner = vxlan::header(vxlan::Vni::new(7).unwrap());
    let datagram = ipv4(protocol::UDP, &udp(50_000, 4789, &inner));
    for (link, header) in headers() {
        let frame = [&header[..], &datagram].concat();
        let outer = outer_datagram(link, &frame).unwrap_or_else(|| panic!("{link:?}"));
        assert_eq!((outer.destination_port, outer.payload), (4789, &inner[..]), "{link:?}");
        assert_eq!(&frame[outer.payload_offset..], inner, "{link:?}");
    }
    let tagged = [&[0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x81, 0, 0, 9, 8, 0][..], &datagram].concat();
    assert_eq!(outer_datagram(Link::LinuxSll, &tagged).map(|outer| outer.payload), Some(&inner[..]));
    assert_eq!(FrameView::parse_link(Link::LinuxSll, &tagged).vlans.ids(), [9]);
}

#[test]
fn ipv6_is_found_by_the_family_of_every_system() {
    let packet = ipv6(protocol::UDP, &udp(5, 53, b"x"));
    for family in [10_u32, 24, 28, 30] {
        for header in [family.to_le_bytes(), family.to_be_bytes()] {
            let frame = [&header[..], &packet].concat();
            let view = FrameView::parse_link(Link::Loopback, &frame);
            assert_eq!(view.five_tuple.map(|tuple| tuple.version), Some(IpVersion::V6), "{header:?}");
        }
    }
    let frame = [&[0x00, 0x57][..], &packet].concat();
    assert_eq!(FrameView::parse_link(Link::Ppp, &frame).network, Network::Ipv6);
    let frame = [&[10, 0, 0, 0, 44, 0, 9, 0][..], &packet].concat();
    assert_eq!(FrameView::parse_link(Link::Nflog, &frame).network, Network::Ipv6);
}

#[test]
fn what_no_ethertype_names_is_no_packet_and_whole() {
    let rest = [0x45; 40];
    for (what, link, header) in [
        ("another family", Link::Loopback, &[18, 0, 0, 0][..]),
        ("LLC in a cooked frame", Link::LinuxSll, &[0, 1, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0, 4]),
        ("netlink", Link::LinuxSll, &[0, 4, 0x03, 0x38, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]),
        ("PPP's own protocol", Link::Ppp, &[0xff, 0x03, 0xc0, 0x21]),
        ("a log of bridged frames", Link::Nflog, &[7, 0, 0, 0, 44, 0, 9, 0]),
        ("a log of another version", Link::Nflog, &[2, 1, 0, 0, 44, 0, 9, 0]),
    ] {
        let frame = [header, &rest].concat();
        let view = FrameView::parse_link(link, &frame);
        assert_eq!((view.network, view.five_tuple, view.missing), (Network::Other, None, Missing::Nothing), "{what}");
        assert_eq!(outer_datagram(link, &frame), None, "{what}");
        let (ethernet, at) = link.as_ethernet(&frame);
        assert_eq!((&ethernet[12..], &frame[at..at + 40]), (&[0x88, 0xb5][..], &frame[at..at + 40]), "{what}");
    }
}

#[test]
fn arp_in_a_cooked_frame_is_arp() {
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &[0; 20]].concat();
    let frame = [&[0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 6][..], &arp].concat();
    assert_eq!(FrameView::parse_link(Link::LinuxSll, &frame).network, Network::Arp);
}

#[test]
fn a_frame_as_one_of_ethernet_says_the_same() {
    let packet = ipv4(protocol::TCP, &tcp(1234, 80, b"hello"));
    for (link, header) in headers() {
        let frame = [&header[..], &packet].concat();
        let (ethernet, at) = link.as_ethernet(&frame);
        let again = [&ethernet[..], &frame[at..]].concat();
        assert_eq!(again[14..], packet, "{link:?}");
        assert_eq!(FrameView::parse(&again).five_tuple, FrameView::parse_link(link, &frame).five_tuple, "{link:?}");
    }
}

#[test]
fn a_link_is_the_one_of_its_type_number_and_place() {
    for (place, link) in Link::ALL.into_iter().enumerate() {
        assert_eq!((link.number(), Link::of_type(link.type_number())), (place, Some(link)));
    }
    assert_eq!(Link::of_type(253), None);
    assert_eq!(Link::of_type(108), Some(Link::Loopback));
    assert_eq!(Link::of_type(50), Some(Link::Ppp));
}

proptest! {
    #[test]
    fn no_bytes_make_a_link_header_panic_or_reach_behind_the_frame(
        link in prop::sample::select(&Link::ALL[..]),
        header in prop::sample::select(headers()),
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        keep in 0_usize..60,
    ) {
        for frame in [bytes.clone(), [&header.1[..header.1.len().min(keep)], &bytes].concat()] {
            let (_, at) = link.as_ethernet(&frame);
            prop_assert!(at <= frame.len());
            let view = FrameView::parse_link(link, &frame);
            prop_assert!(view.headers_len() + view.payload().len() <= frame.len());
            let _ = outer_datagram(link, &frame);
        }
    }
}
