//! The programs for what is not plain VXLAN: options of any length, IP without Ethernet, VXLAN in that.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::Link;
use crate::envelope::{Rules, open};
use crate::frame::tests::build;
use crate::geneve;
use crate::geneve::tests::protocol_type;

/// A GENEVE datagram with `words` words of options of a class that nobody knows.
fn geneve(link: Link, words: usize, payload: &[u8]) -> Vec<u8> {
    let mut datagram = geneve::header(Vni::default(), protocol_type(link, payload), words * 4).to_vec();
    // One option as long as options get, and then the rest.
    let mut left = words;
    while left > 0 {
        let length = (left - 1).min(31);
        datagram.extend([0x77, 0x77, 1, length as u8]);
        datagram.extend(vec![0xee; length * 4]);
        left -= 1 + length;
    }
    datagram.extend_from_slice(payload);
    datagram
}

/// A VXLAN-GPE datagram with the P bit.
fn gpe(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x0c, 0, 0, next, 0, 0, 7, 0][..], payload].concat()
}

/// What the collector says of the frame in a datagram.
fn collector(kind: Kind, datagram: &[u8], workers: u32) -> u32 {
    let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let opened = open(kind, datagram, source, Rules::default()).unwrap();
    FrameView::parse_link(opened.link, opened.frame).five_tuple.map_or(0, |tuple| HASH.owner(&tuple, workers))
}

fn agree(kind: Kind, datagram: &[u8], what: &str) {
    for workers in [1, 2, 3, 4, 7, 16, 31] {
        let kernel = run(&steer_program(kind, HASH, workers), datagram);
        assert_eq!(kernel, collector(kind, datagram, workers), "{what}, {workers} workers");
    }
}

/// The IP packets, and frames, that the programs know.
fn packets() -> Vec<(&'static str, Link, Vec<u8>)> {
    let (t, u) = (tcp(1000, 443, b"abc"), udp(2000, 53, b"abc"));
    let fragment = [&[protocol::UDP, 0, 0, 1, 1, 2, 3, 4][..], &u].concat();
    let tag = |id: u8, next: u16, inside: &[u8]| [&[0, id][..], &next.to_be_bytes(), inside].concat();
    let tagged = tag(7, ethertype::IPV4, &ipv4(protocol::TCP, &t));
    let inner = ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &tcp(1234, 80, b"xyz")));
    let vxlan = [&vxlan::header(Vni::new(9).unwrap())[..], &inner].concat();
    let inner_tagged = [&vxlan::header(Vni::new(9).unwrap())[..], &ethernet(ethertype::VLAN, &tagged)].concat();
    let no_flag = [&[0_u8; 8][..], &inner].concat();
    vec![
        ("IPv4", Link::Ip, ipv4(protocol::TCP, &t)),
        ("IPv4 with options", Link::Ip, ipv4_with(&[1; 40], [0; 4], protocol::UDP, &u)),
        (
            "an IPv4 fragment to VXLAN's port",
            Link::Ip,
            ipv4_with(&[], [1, 2, 0x20, 0], protocol::UDP, &udp(1, 4789, &vxlan)),
        ),
        ("IPv6", Link::Ip, ipv6(protocol::UDP, &u)),
        ("an IPv6 fragment", Link::Ip, ipv6(protocol::IPV6_FRAGMENT, &fragment)),
        ("ICMP", Link::Ip, ipv4(protocol::ICMP, &[8, 0, 0, 0, 1, 2, 3, 4])),
        ("Ethernet", Link::Ethernet, ethernet(ethertype::IPV6, &ipv6(protocol::TCP, &t))),
        ("two tags", Link::Ethernet, ethernet(ethertype::QINQ, &tag(8, ethertype::VLAN, &tagged))),
        ("VXLAN in IPv4", Link::Ip, ipv4(protocol::UDP, &udp(50_000, 4789, &vxlan))),
        ("VXLAN in IPv4 with options", Link::Ip, ipv4_with(&[1; 8], [0; 4], protocol::UDP, &udp(50_000, 4789, &vxlan))),
        ("VXLAN in IPv6", Link::Ip, ipv6(protocol::UDP, &udp(50_000, 4789, &vxlan))),
        ("VXLAN around a tag", Link::Ip, ipv4(protocol::UDP, &udp(50_000, 4789, &inner_tagged))),
        ("no VXLAN on its port", Link::Ip, ipv4(protocol::UDP, &udp(50_000, 4789, &no_flag))),
        ("no VXLAN on its port, IPv6", Link::Ip, ipv6(protocol::UDP, &udp(50_000, 4789, &no_flag))),
    ]
}

#[test]
fn behind_geneve_options_of_any_length_kernel_and_collector_agree() {
    for (name, link, payload) in packets() {
        for words in [0, 1, 2, 7, 32, 63] {
            agree(Kind::Geneve, &geneve(link, words, &payload), &format!("{name} behind {words} words"));
        }
    }
}

#[test]
fn vxlan_in_a_gateway_load_balancers_geneve_goes_by_the_innermost_flow() {
    let inner = ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &tcp(1234, 80, b"xyz")));
    let vxlan = [&vxlan::header(Vni::new(9).unwrap())[..], &inner].concat();
    let packet = ipv4(protocol::UDP, &udp(50_000, 4789, &vxlan));
    let mut datagram = geneve::header(Vni::default(), ethertype::IPV4, 8).to_vec();
    datagram.extend([0x01, 0x08, 3, 1, 1, 2, 3, 4]);
    datagram.extend(&packet);
    agree(Kind::Geneve, &datagram, "AWS");
    assert_eq!(collector(Kind::Geneve, &datagram, 31), owner(&inner, 31));
}

#[test]
fn a_port_set_to_vxlan_gpe_goes_by_its_next_protocol() {
    for (name, link, payload) in packets() {
        // It does not look for VXLAN in what it carries.
        if name.starts_with("VXLAN") {
            continue;
        }
        let next = match (link, payload[0] >> 4) {
            (Link::Ethernet, _) => 3,
            (Link::Ip, 4) => 1,
            _ => 2,
        };
        agree(Kind::VxlanGpe, &gpe(next, &payload), name);
    }
    let frame = ethernet(ethertype::IPV4, &ipv4(protocol::TCP, &tcp(1, 2, b"")));
    agree(Kind::VxlanGpe, &[&vxlan::header(Vni::default())[..], &frame].concat(), "without the P bit");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn generated_frames_in_geneve_get_the_same_owner_from_both(
        frame in build::frame(),
        words in 0..=63_usize,
        workers in 1..=64u32,
    ) {
        let datagram = geneve(Link::Ethernet, words, &frame.bytes);
        let kernel = run(&steer_program(Kind::Geneve, HASH, workers), &datagram);
        prop_assert!(kernel < workers);
        if is_known_to_the_program(&frame.bytes) {
            prop_assert_eq!(kernel, owner(&frame.bytes, workers));
        }
    }
}
