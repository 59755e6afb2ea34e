use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::flow::tests::any_tuple;

const HASH: SteerHash = SteerHash::new(0x5eed);

fn v4(source: [u8; 4], source_port: u16, destination: [u8; 4], destination_port: u16) -> FiveTuple {
    FiveTuple {
        source: IpAddress::v4(source),
        destination: IpAddress::v4(destination),
        source_port,
        destination_port,
        protocol: protocol::TCP,
        version: IpVersion::V4,
    }
}

fn v6(source: [u16; 8], source_port: u16, destination: [u16; 8], destination_port: u16) -> FiveTuple {
    let address = |segments: [u16; 8]| IpAddress(std::net::Ipv6Addr::from(segments).octets());
    FiveTuple {
        source: address(source),
        destination: address(destination),
        version: IpVersion::V6,
        ..v4([0; 4], source_port, [0; 4], destination_port)
    }
}

#[test]
fn the_function_is_pinned_because_kernel_collector_and_sender_must_agree() {
    let four = v4([192, 0, 2, 1], 49152, [198, 51, 100, 2], 443);
    let six = v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 5353, [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2], 53);
    let gre = FiveTuple { protocol: protocol::GRE, ..four };
    let hashes = [0, 1, 0x5eed].map(|seed| [four, six, gre].map(|tuple| SteerHash::new(seed).hash(&tuple)));
    let pinned = [
        [0x95e0_8b22, 0xa31f_7416, 0x5125_1024],
        [0x8846_a729, 0x1164_f82e, 0x2e46_e2be],
        [0x17cd_ad32, 0xf4fa_696e, 0xffef_17b3],
    ];
    assert_eq!(hashes, pinned, "{hashes:#x?}");
}

#[test]
fn ports_count_for_protocols_that_have_them_and_only_there() {
    let tuple = v4([10, 0, 0, 1], 1000, [10, 0, 0, 2], 80);
    let without = FiveTuple { source_port: 0, destination_port: 0, ..tuple };
    for (protocol, counts) in [
        (protocol::TCP, true),
        (protocol::UDP, true),
        (protocol::UDP_LITE, true),
        (protocol::SCTP, true),
        (protocol::ICMP, false),
        (protocol::ICMPV6, false),
        (protocol::GRE, false),
    ] {
        let (with, without) = (FiveTuple { protocol, ..tuple }, FiveTuple { protocol, ..without });
        assert_eq!(HASH.hash(&with) != HASH.hash(&without), counts, "protocol {protocol}");
    }
}

#[test]
fn no_workers_count_as_one() {
    assert_eq!(HASH.owner(&v4([10, 0, 0, 1], 1, [10, 0, 0, 2], 2), 0), 0);
}

/// That `flows` spread over each number of workers as chance would have it, or better: the sum of squared differences
/// from the even share, in units of that share, is below the 99.99th percentile of its distribution.
fn assert_even(name: &str, flows: &[FiveTuple]) {
    for seed in [0, 0x5eed, 0xdead_beef] {
        for (workers, most) in [(2, 15.1), (3, 18.4), (4, 21.1), (8, 29.9), (16, 44.3), (31, 67.6)] {
            let mut counts = vec![0u32; workers as usize];
            for flow in flows {
                counts[SteerHash::new(seed).owner(flow, workers) as usize] += 1;
            }
            let share = flows.len() as f64 / f64::from(workers);
            let chi_square: f64 = counts.iter().map(|&count| (f64::from(count) - share).powi(2) / share).sum();
            assert!(chi_square < most, "{name}, seed {seed:#x}, {workers} workers: {chi_square:.1}, {counts:?}");
        }
    }
}

#[test]
fn flows_as_networks_have_them_spread_evenly_over_workers() {
    let n = || 0..10_000u16;
    let octets = |n: u16| n.to_be_bytes();
    let flows: [(&str, Vec<FiveTuple>); 8] = [
        (
            "one client's connections to one server",
            n().map(|n| v4([10, 0, 0, 1], 32_768 + n, [10, 0, 0, 2], 443)).collect(),
        ),
        ("one client's even ports", n().map(|n| v4([10, 0, 0, 1], 20_000 + 2 * n, [10, 0, 0, 2], 443)).collect()),
        (
            "many clients of one server",
            n().map(|n| v4([10, 1, octets(n)[0], octets(n)[1]], 50_000, [10, 0, 0, 2], 443)).collect(),
        ),
        (
            "clients that each count ports up",
            n().map(|n| v4([10, 1, 0, octets(n)[1]], 32_768 + n / 256, [10, 0, 0, 2], 443)).collect(),
        ),
        (
            "a mesh of hosts on one port",
            (0..142u8).flat_map(|a| (0..a).map(move |b| v4([10, 0, 0, a], 7946, [10, 0, 0, b], 7946))).collect(),
        ),
        ("a scan of all ports from one port", n().map(|n| v4([203, 0, 113, 9], 61_000, [10, 0, 0, 2], n)).collect()),
        (
            "IPv6 hosts numbered alike in subnet and interface",
            n().map(|n| v6([0x2001, 0xdb8, 0, n, 0, 0, 0, n], 50_000, [0x2001, 0xdb8, 0, 1, 0, 0, 0, 2], 443))
                .collect(),
        ),
        (
            "addresses only",
            n().map(|n| FiveTuple {
                protocol: protocol::ESP,
                ..v4([10, 1, octets(n)[0], octets(n)[1]], 0, [10, 9, 0, 1], 0)
            })
            .collect(),
        ),
    ];
    for (name, flows) in flows {
        assert_even(name, &flows);
    }
}

#[test]
fn flows_that_mirror_each_other_do_not_collide() {
    // a.1 <-> b.2 and a.2 <-> b.1, for all pairs of hosts in two subnets: each has its own hash.
    let mut hashes = HashSet::new();
    for low in 0..100 {
        for high in 0..100 {
            hashes.insert(HASH.hash(&v4([10, 0, 0, low], 5000, [10, 0, 1, high], 5000)));
        }
    }
    // Chance makes 10,000 hashes of 32 bits collide 0.01 times.
    assert_eq!(hashes.len(), 10_000);
    // a:1 <-> b:2 and a:2 <-> b:1.
    let ports: HashSet<_> =
        (0..100).flat_map(|a| (0..100).map(move |b| HASH.hash(&v4([10, 0, 0, 1], a, [10, 0, 0, 2], b)))).collect();
    assert_eq!(ports.len(), 10_000);
}

#[test]
fn words_of_an_ipv6_address_are_not_interchangeable() {
    let of = |address: [u16; 8]| HASH.hash(&v6(address, 1, [0x2001, 0xdb8, 0, 0, 0, 0, 0, 9], 2));
    assert_ne!(of([0x2001, 0xdb8, 0, 1, 0, 0, 0, 2]), of([0x2001, 0xdb8, 0, 2, 0, 0, 0, 1]));
    assert_ne!(of([0x2001, 0xdb8, 0, 1, 0, 0, 0, 1]), of([0x2001, 0xdb8, 0, 2, 0, 0, 0, 2]));
}

#[test]
fn another_seed_moves_flows_to_other_workers() {
    let moved = (0..1000u16)
        .map(|port| v4([10, 0, 0, 1], port, [10, 0, 0, 2], 80))
        .filter(|flow| SteerHash::new(1).owner(flow, 4) != SteerHash::new(2).owner(flow, 4))
        .count();
    assert!((650..850).contains(&moved), "{moved} of 1000");
}

proptest! {
    #[test]
    fn a_packet_and_its_reply_have_one_owner(tuple in any_tuple(), seed in any::<u32>(), workers in 1..64u32) {
        let hash = SteerHash::new(seed);
        prop_assert_eq!(hash.hash(&tuple), hash.hash(&tuple.reversed()));
        prop_assert!(hash.owner(&tuple, workers) < workers);
    }
}
