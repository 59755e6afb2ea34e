use std::net::Ipv4Addr;

use etherparse::PacketBuilder;

use super::*;
use crate::captures;
use crate::geneve::tests::protocol_type;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const KINDS: [Kind; 3] = [Kind::Vxlan, Kind::VxlanGpe, Kind::Geneve];

fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    [&vxlan::header(Vni::new(vni).unwrap())[..], frame].concat()
}

/// GENEVE with AWS's first option, or none.
fn geneve(vni: u32, link: Link, aws: bool, payload: &[u8]) -> Vec<u8> {
    let option: &[u8] = if aws { &[1, 8, 1, 2, 0, 0, 0, 0, 0, 0, 0, 7] } else { &[] };
    let header = geneve::header(Vni::new(vni).unwrap(), protocol_type(link, payload), option.len());
    [&header[..], option, payload].concat()
}

/// An IP packet from 10.0.0.`host` with a datagram to `port`.
fn ip(host: u8, port: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ipv4([10, 0, 0, host], [10, 0, 0, 99], 64).udp(50_000, port);
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn ethernet(host: u8, port: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, host], [10, 0, 0, 99], 64).udp(50_000, port);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).unwrap();
    frame
}

fn known(kind: Kind, datagram: &[u8]) -> Opened<'_> {
    open(kind, datagram, SOURCE, Rules::default()).unwrap()
}

fn up_to(layers: u8, kind: Kind, datagram: &[u8]) -> Opened<'_> {
    open(kind, datagram, SOURCE, Rules { layers: Layers::UpTo(layers), ..Rules::default() }).unwrap()
}

fn vnis(opened: &Opened<'_>) -> Vec<u32> {
    opened.around.as_slice().iter().chain([&opened.vni]).map(|vni| vni.get()).collect()
}

#[test]
fn a_gateway_load_balancers_geneve_comes_off_with_the_mirrors_vxlan_in_it() {
    let frame = ethernet(1, 80, b"inner");
    let datagram = geneve(0, Link::Ip, true, &ip(7, vxlan::PORT, &vxlan(4242, &frame)));
    let opened = known(Kind::Geneve, &datagram);
    assert_eq!((opened.frame, opened.link, vnis(&opened)), (&frame[..], Link::Ethernet, vec![0, 4242]));
    assert_eq!(&datagram[opened.offset..], &frame[..]);
    assert_eq!(opened.source, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)), "the mirror's source, not the balancer");
    assert!(matches!(opened.cookie, Cookie::Balancer(balancer) if balancer.endpoint == 7));
}

#[test]
fn a_tunnel_that_the_mirrored_host_used_stays_in_the_frame() {
    let inside = ethernet(1, 80, b"inner");
    let packet = ip(7, vxlan::PORT, &vxlan(4242, &inside));
    // No balancer says that this VXLAN is the mirror's.
    let datagram = geneve(9, Link::Ip, false, &packet);
    let opened = known(Kind::Geneve, &datagram);
    assert_eq!((opened.frame, opened.link, vnis(&opened), opened.source), (&packet[..], Link::Ip, vec![9], SOURCE));
    let frame = ethernet(7, vxlan::PORT, &vxlan(4242, &inside));
    let datagram = vxlan(5, &frame);
    assert_eq!((known(Kind::Vxlan, &datagram).frame, vnis(&known(Kind::Vxlan, &datagram))), (&frame[..], vec![5]));
}

#[test]
fn what_a_balancer_sends_without_vxlan_is_the_packet_itself() {
    let no_flag = [0; 20];
    for packet in [ip(7, 443, b"x"), ip(7, vxlan::PORT, b"x"), ip(7, vxlan::PORT, &no_flag)] {
        let datagram = geneve(0, Link::Ip, true, &packet);
        let opened = known(Kind::Geneve, &datagram);
        assert_eq!((opened.frame, opened.link, vnis(&opened)), (&packet[..], Link::Ip, vec![0]));
    }
}

#[test]
fn told_so_it_takes_off_as_many_layers_as_there_are_and_no_more_than_four() {
    let mut bomb = ethernet(0, 80, b"end");
    let mut layers = vec![bomb.clone()];
    for depth in 1..=8_u8 {
        bomb = if depth % 2 == 0 {
            ethernet(depth, vxlan::PORT, &vxlan(u32::from(depth), &bomb))
        } else {
            ethernet(depth, geneve::PORT, &geneve(u32::from(depth), Link::Ethernet, false, &bomb))
        };
        layers.push(bomb.clone());
    }
    let datagram = vxlan(9, &bomb);
    for (allowed, taken) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (255, 4)] {
        let opened = up_to(allowed, Kind::Vxlan, &datagram);
        assert_eq!(opened.frame, &layers[9 - taken][..], "{allowed} layers");
        assert_eq!(vnis(&opened), [9, 8, 7, 6][..taken]);
        assert_eq!(&datagram[opened.offset..], opened.frame);
    }
    let two = vxlan(1, &ethernet(3, vxlan::PORT, &vxlan(2, &layers[0])));
    let opened = up_to(4, Kind::Vxlan, &two);
    assert_eq!((opened.frame, vnis(&opened)), (&layers[0][..], vec![1, 2]));
    assert_eq!(opened.source, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)));
}

#[test]
fn a_layer_in_fragments_stays_and_is_told_once_where_it_would_have_come_off() {
    let inner = ethernet(3, 80, b"inner");
    let whole = ethernet(2, vxlan::PORT, &vxlan(2, &inner));
    let fragment = |frame: &[u8], field: [u8; 2]| {
        let mut frame = frame.to_vec();
        frame[20..22].copy_from_slice(&field);
        frame
    };
    let (first, later) = (fragment(&whole, [0x20, 0]), fragment(&whole, [0x20, 3]));
    let other = fragment(&ethernet(2, 80, &vxlan(2, &inner)), [0x20, 0]);
    let six = |offset_and_more: u8| {
        let ip = [&[0x60, 0, 0, 0, 0, 16, 44, 64][..], &[7; 32]].concat();
        let udp = [&[17, 0, 0, offset_and_more, 0, 0, 0, 1, 0, 1][..], &vxlan::PORT.to_be_bytes(), &[0; 4]].concat();
        [&[0; 12][..], &[0x86, 0xdd], &ip, &udp].concat()
    };
    for (what, frame, told) in [
        ("whole", &whole, false),
        ("the first", &first, true),
        ("a later one", &later, false),
        ("to another port", &other, false),
        ("no packet", &b"frame".to_vec(), false),
        ("the first of IPv6", &six(1), true),
        ("a later one of IPv6", &six(9), false),
    ] {
        let datagram = vxlan(1, frame);
        let opened = up_to(2, Kind::Vxlan, &datagram);
        assert_eq!(opened.layer_in_fragments, told, "{what}");
        assert_eq!(opened.frame == &frame[..], what != "whole", "{what}");
        assert!(!known(Kind::Vxlan, &datagram).layer_in_fragments, "{what}: the mirrored host's own");
        assert!(!up_to(1, Kind::Vxlan, &datagram).layer_in_fragments, "{what}: one layer alone comes off");
    }
}

#[test]
fn an_unknown_critical_option_is_dropped_unless_told_otherwise() {
    let datagram = [&[2, 0x40, 0x65, 0x58, 0, 0, 1, 0, 0, 0, 0x80, 1, 0, 0, 0, 12][..], b"frame"].concat();
    assert_eq!(open(Kind::Geneve, &datagram, SOURCE, Rules::default()), Err(EnvelopeError::UnknownCritical));
    let rules = Rules { accept_unknown_critical: true, ..Rules::default() };
    assert_eq!(open(Kind::Geneve, &datagram, SOURCE, rules).unwrap().frame, b"frame");
}

#[test]
fn flags_of_all_ones_are_vxlan_on_its_own_port_and_no_version_of_gpe() {
    let mut datagram = vxlan(7, b"frame");
    datagram[0] = 0xff;
    let opened = known(Kind::Vxlan, &datagram);
    assert!(opened.reserved_bits_set && opened.frame == b"frame" && vnis(&opened) == [7]);
    let error = open(Kind::VxlanGpe, &datagram, SOURCE, Rules::default());
    assert_eq!(error, Err(EnvelopeError::Gpe(GpeError::Version)));
}

/// A small generator, so that a failure comes again (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % bound as u64) as usize
    }
}

#[test]
fn a_hundred_thousand_mutations_open_to_a_part_of_themselves_or_to_an_error() {
    let inner = ethernet(1, 80, b"inner");
    let mut seeds = vec![
        vxlan(1, &ethernet(2, vxlan::PORT, &vxlan(3, &ethernet(4, geneve::PORT, &geneve(5, Link::Ip, false, &inner))))),
        geneve(0, Link::Ip, true, &ip(7, vxlan::PORT, &vxlan(4242, &inner))),
        [&[0x3f, 0, 0x65, 0x58, 0, 0, 1, 0][..], &[0; 252], &inner].concat(),
    ];
    for capture in captures::ethernet().unwrap_or_default() {
        if ["vxlan", "geneve"].contains(&capture.class.as_str()) {
            let datagrams = capture.records.iter().filter_map(|record| outer_datagram(Link::Ethernet, &record.bytes));
            seeds.extend(datagrams.take(10).map(|datagram| datagram.payload.to_vec()));
        }
    }
    let mut dice = Dice(0x5eed);
    let (mut opened_count, mut deepest) = (0, 0);
    for _ in 0..100_000 {
        let mut bytes = seeds[dice.below(seeds.len())].clone();
        for _ in 0..dice.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = dice.below(bytes.len().min(120));
            match dice.below(3) {
                0 => bytes[at] ^= 1 << dice.below(8),
                1 => bytes[at] = dice.below(256) as u8,
                _ => bytes.truncate(at),
            }
        }
        let kind = KINDS[dice.below(3)];
        let layers = match dice.below(6) {
            0 => Layers::Known,
            layers => Layers::UpTo(layers as u8),
        };
        let rules = Rules { layers, accept_unknown_critical: dice.below(2) == 0 };
        if let Ok(opened) = open(kind, &bytes, SOURCE, rules) {
            assert!(!opened.frame.is_empty());
            let end = opened.offset + opened.frame.len();
            assert_eq!(&bytes[opened.offset..end], opened.frame, "{bytes:x?}");
            assert!(opened.around.as_slice().len() < MAX_LAYERS);
            deepest = deepest.max(opened.around.as_slice().len());
            opened_count += 1;
            let view = crate::FrameView::parse_link(opened.link, opened.frame);
            assert!(view.payload().len() <= opened.frame.len());
        }
    }
    assert!(opened_count > 20_000 && deepest >= 2, "{opened_count} opened, up to {deepest} around");
}
