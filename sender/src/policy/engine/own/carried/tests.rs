use std::net::{IpAddr, Ipv6Addr};

use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

const HOST: [u8; 4] = [10, 9, 0, 1];
const COLLECTOR: [u8; 4] = [10, 9, 0, 2];
const OUTER: ([u8; 4], [u8; 4]) = ([192, 0, 2, 1], [198, 51, 100, 1]);
const PORT: u16 = 49_152;
/// Protocol numbers (IANA): IP in IP, IPv6 in IP, GRE, EtherIP.
const IPIP: u8 = 4;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;
const ETHERIP: u8 = 97;

fn v6(last: u16) -> [u8; 16] {
    Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, last).octets()
}

fn own() -> OwnTraffic {
    let mut own = OwnTraffic::default();
    for (host, collector) in [(IpAddr::from(HOST), IpAddr::from(COLLECTOR)), (IpAddr::from(v6(1)), IpAddr::from(v6(2)))]
    {
        assert!(own.add_target((collector, 4789).into()));
        assert!(own.add_sockets(host, PORT..=PORT + 15));
    }
    own
}

fn build(builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

/// An IP packet with these ends, and a mirrored frame in VXLAN behind its ports.
fn packet(source: ([u8; 4], u16), destination: ([u8; 4], u16)) -> Vec<u8> {
    build(PacketBuilder::ipv4(source.0, destination.0, 64).udp(source.1, destination.1), &[0x08; 60])
}

fn copy() -> Vec<u8> {
    packet((HOST, PORT + 3), (COLLECTOR, 4789))
}

fn copy_v6() -> Vec<u8> {
    build(PacketBuilder::ipv6(v6(1), v6(2), 64).udp(PORT, 4789), &[0x08; 60])
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], kind.to_be_bytes().as_slice(), payload].concat()
}

/// A frame of an IPv4 packet of `protocol`.
fn ip(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv4(OUTER.0, OUTER.1, 64).write(&mut packet, protocol.into(), payload).unwrap();
    ethernet(ethertype::IPV4, &packet)
}

/// The same of an IPv6 packet.
fn ip6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ipv6(v6(0x101), v6(0x102), 64).write(&mut packet, protocol.into(), payload).unwrap();
    ethernet(ethertype::IPV6, &packet)
}

/// A frame of a UDP datagram.
fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    ethernet(ethertype::IPV4, &build(PacketBuilder::ipv4(OUTER.0, OUTER.1, 64).udp(55_555, port), payload))
}

/// What tunnels make of a packet, by name.
fn carriers(packet: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let kind: u16 = if packet[0] >> 4 == 4 { ethertype::IPV4 } else { ethertype::IPV6 };
    let frame = ethernet(kind, packet);
    let vxlan = [&[8, 0, 0, 0, 0, 0, 42, 0], frame.as_slice()].concat();
    // With an option of 12 bytes (RFC 8926 section 3.4).
    let mut geneve = vec![3, 0, 0x65, 0x58, 0, 0, 42, 0];
    geneve.extend_from_slice(&[1, 2, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
    let kind_bytes = kind.to_be_bytes();
    let gre = [&[0, 0], kind_bytes.as_slice(), packet].concat();
    // Checksum, key and sequence number (RFC 2890), with an Ethernet frame in it.
    let gretap = [&[0xb0, 0, 0x65, 0x58, 1, 2, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9], frame.as_slice()].concat();
    let ip_in_ip = if kind == ethertype::IPV4 { IPIP } else { IPV6_IN_IP };
    // PPPoE session with PPP's protocol number (RFC 2516, RFC 1332, RFC 5072).
    let pppoe = [&[0x11, 0, 0, 7, 0, 0, 0, if kind == ethertype::IPV4 { 0x21 } else { 0x57 }], packet].concat();
    // A routing header of type 4 with one segment (RFC 8754 section 2).
    let srh = [[ip_in_ip, 2, 4, 0, 0, 0, 0, 0].as_slice(), &v6(0x103), packet].concat();
    let mut twice = vec![8, 0, 0, 0, 0, 0, 7, 0];
    twice.extend(udp(8472, &vxlan));
    vec![
        ("VXLAN at its port", udp(4789, &vxlan)),
        ("VXLAN at Linux's old port", udp(8472, &vxlan)),
        ("VXLAN at any port", udp(12_345, &vxlan)),
        ("GENEVE with an option", udp(6081, &[geneve.as_slice(), &frame].concat())),
        ("GRE", ip(GRE, &gre)),
        ("GRE over IPv6", ip6(GRE, &gre)),
        ("GRE with all fields and Ethernet", ip(GRE, &gretap)),
        ("IP in IP", ip(ip_in_ip, packet)),
        ("IP in IPv6", ip6(ip_in_ip, packet)),
        ("EtherIP", ip(ETHERIP, &[&[0x30, 0], frame.as_slice()].concat())),
        ("segment routing", ip6(43, &srh)),
        ("a datagram of anybody's format", udp(7, packet)),
        ("one byte of header", udp(7, &[&[0xaa], packet].concat())),
        ("PPPoE", ethernet(ethertype::PPPOE_SESSION, &pppoe)),
        ("MPLS", ethernet(ethertype::MPLS, &[&[0, 1, 1, 64], packet].concat())),
        (
            "VLAN tags",
            [&udp(8472, &vxlan)[..12], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6], &udp(8472, &vxlan)[12..]].concat(),
        ),
        ("VXLAN in VXLAN", udp(4789, &twice)),
        ("an ICMP error about GRE", ip(protocol::ICMP, &[&[3, 3, 0, 0, 0, 0, 0, 0], &ip(GRE, &gre)[14..]].concat())),
    ]
}

#[test]
fn a_copy_is_found_in_every_tunnel_that_hides_nothing() {
    let own = own();
    for (name, frame) in carriers(&copy()).into_iter().chain(carriers(&copy_v6())) {
        assert!(own.is_carried_in(&frame), "{name}");
    }
}

#[test]
fn other_packets_of_the_same_tunnels_are_not_ours() {
    let own = own();
    let others = [
        ("another port of the collector's", packet((HOST, 53), (COLLECTOR, 4790))),
        ("another host's port", packet((HOST, 53), ([10, 9, 0, 3], 4789))),
        ("another's socket", packet((COLLECTOR, PORT), (HOST, 53))),
        ("a port behind ours", packet((HOST, PORT + 16), (COLLECTOR, 53))),
    ];
    for (what, other) in others {
        for (name, frame) in carriers(&other) {
            assert!(!own.is_carried_in(&frame), "{what} in {name}");
        }
    }
}

#[test]
fn copies_behind_address_translation_are_found_by_the_end_that_was_left() {
    let own = own();
    for translated in [packet((HOST, PORT), ([10, 96, 0, 7], 14_789)), packet(([10, 9, 9, 9], 1024), (COLLECTOR, 4789))]
    {
        for (name, frame) in carriers(&translated) {
            assert!(own.is_carried_in(&frame), "{name}");
        }
    }
}

#[test]
fn a_copy_that_nothing_carries_and_data_over_tcp_are_left_to_others() {
    let own = own();
    assert!(!own.is_carried_in(&ethernet(ethertype::IPV4, &copy())));
    assert!(!own.is_carried_in(&ethernet(ethertype::IPV6, &copy_v6())));
    let mut download = Vec::new();
    PacketBuilder::ethernet2([0; 6], [0; 6])
        .ipv4(OUTER.0, OUTER.1, 64)
        .tcp(80, 5, 1, 1)
        .write(&mut download, &copy())
        .unwrap();
    assert!(!own.is_carried_in(&download));
    assert!(!OwnTraffic::default().is_carried_in(&udp(8472, &copy())));
}

#[test]
fn a_copy_is_found_as_soon_as_its_ports_are_there_and_within_what_is_looked_through() {
    let own = own();
    for (name, frame) in carriers(&copy()) {
        let end = frame.len() - 60 - 8 + 4;
        assert!(own.is_carried_in(&frame[..end]) && !own.is_carried_in(&frame[..end - 1]), "{name}");
    }
    let behind = |len: usize| udp(9, &[vec![0; len], copy()].concat());
    let most = LOOKED_THROUGH - (14 + 20 + 8) - 24;
    assert!(own.is_carried_in(&behind(most)) && !own.is_carried_in(&behind(most + 1)));
}

#[test]
fn addresses_that_look_like_the_protocol_do_not_hide_a_copy_and_data_of_nothing_else_is_given_up() {
    let own = own();
    let behind = |len: usize| udp(9, &[vec![0x11; len], copy()].concat());
    // The outer header's own checksum or ports may be such bytes as well.
    assert!(own.is_carried_in(&behind(24)));
    assert!(!own.is_carried_in(&behind(MOST_LOOKS)));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(frame in prop::collection::vec(prop_oneof![Just(0x11_u8), Just(0x45), Just(0x81), Just(0), any::<u8>()], 0..600)) {
        own().is_carried_in(&frame);
    }
}
