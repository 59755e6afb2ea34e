use vxtap_wire::{FiveTuple, IpAddress, IpVersion, NetworkId};

use super::*;
use crate::Filter;

/// TCP from 10.0.0.1:40000 to 192.168.1.1:443.
fn web() -> FlowFacts<'static> {
    facts(6, 40_000, 443)
}

fn facts(protocol: u8, source_port: u16, destination_port: u16) -> FlowFacts<'static> {
    let tuple = FiveTuple {
        source: IpAddress::v4([10, 0, 0, 1]),
        destination: IpAddress::v4([192, 168, 1, 1]),
        source_port,
        destination_port,
        protocol,
        version: IpVersion::V4,
    };
    FlowFacts::of(FlowKey::new(NetworkId(7), &tuple).0).direct()
}

fn may(filter: &str, facts: &FlowFacts<'_>) -> bool {
    Filter::parse(filter).unwrap().may_match(facts)
}

#[test]
fn what_contradicts_the_flow_cannot_match() {
    let never = [
        "host 1.2.3.4",
        "net 172.16.0.0/12",
        "host ::1",
        "port 80",
        "udp",
        "udp port 443",
        "ip6",
        "arp",
        "arp host 10.0.0.1",
        "icmp",
        "ip proto 17",
        "portrange 1-442",
        "host 10.0.0.1 and port 80",
        "port 80 or host 1.2.3.4",
        "not not host 1.2.3.4",
    ];
    for filter in never {
        assert!(!may(filter, &web()), "{filter}");
    }
}

#[test]
fn what_fits_the_flow_may_match() {
    let possible = [
        "",
        "host 10.0.0.1",
        "src 192.168.1.1",
        "net 10.0.0.0/8",
        "tcp port 443",
        "portrange 400-500",
        "ip",
        "tcp",
        "ether host 1:2:3:4:5:6",
        "ip[8] = 3",
        "less 3",
        "vlan",
        "ah",
        "proto gre",
        "tcp[13] = 2",
    ];
    for filter in possible {
        assert!(may(filter, &web()), "{filter}");
    }
}

#[test]
fn what_fits_is_not_certain_because_a_tag_would_hide_it() {
    for filter in ["not host 10.0.0.1", "not tcp", "not port 443", "not ip"] {
        assert!(may(filter, &web()), "{filter}");
    }
}

#[test]
fn both_ends_are_those_of_one_packet() {
    assert!(may("src 10.0.0.1 and dst port 443", &web()));
    assert!(may("src 192.168.1.1 and src port 443", &web()));
    assert!(!may("src 10.0.0.1 and src port 443", &web()));
    assert!(!may("src and dst net 10.0.0.0/8", &web()));
}

#[test]
fn behind_a_shift_of_offsets_nothing_is_certain() {
    assert!(may("vlan and host 1.2.3.4", &web()));
    assert!(may("vlan or host 1.2.3.4", &web()));
    assert!(!may("host 1.2.3.4 and (less 100 or vlan)", &web()));
}

#[test]
fn fragments_may_have_any_port() {
    assert!(may("port 80", &facts(17, 0, 0)));
    assert!(!may("tcp port 80", &facts(17, 0, 0)));
}

#[test]
fn a_flow_whose_packets_came_in_tunnels_of_their_own_may_match_anything() {
    let tunnelled = FlowFacts { direct: false, ..web() };
    assert!(may("host 1.2.3.4", &tunnelled));
    assert!(may("host 1.2.3.4", &FlowFacts::no_flow()));
}

#[test]
fn vni_and_network_are_certain_both_ways_where_they_are_known() {
    let known = web().with_vni(5).with_network("blue");
    assert!(may("vni 5", &known) && !may("not vni 5", &known));
    assert!(!may("vni 6", &known) && may("not vni 6", &known));
    assert!(may("network blue", &known) && !may("network red", &known));
    assert!(may("vni 6 or port 443", &known));
    assert!(!may("vlan and vni 6", &known));
    assert!(may("vni 6 and network red", &web()));
    assert!(!may("vni 6", &FlowFacts::no_flow().with_vni(5)));
}
