use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use proptest::prelude::*;

use super::*;

const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const TARGET_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A super-frame to be made.
#[derive(Clone, Debug)]
struct Made {
    v6: bool,
    tcp: bool,
    payload: Vec<u8>,
    segment: u16,
    id: u16,
    sequence: u32,
    flags: u8,
    /// TCP options: no-operations.
    options: usize,
    vlans: usize,
    tunnel: Tunnel,
    ecn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    None,
    /// Around an Ethernet frame; with an outer UDP checksum or without.
    Vxlan {
        v6: bool,
        checksum: bool,
    },
    /// Around an IP packet.
    Ipip {
        v6: bool,
    },
    Gre,
}

/// Word by word, as RFC 1071 says it.
fn plain_sum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for word in pieces.concat().chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn pseudo_header(ip: &[u8], protocol: u8, len: usize) -> Vec<u8> {
    let addresses = if ip[0] >> 4 == 4 { &ip[12..20] } else { &ip[8..40] };
    [addresses, &[0, protocol], &(len as u32).to_be_bytes()].concat()
}

impl Made {
    /// The IP packet as the kernel has it: lengths of the whole, in the checksum's place the sum of the pseudo-header. With
    /// the offset of its transport header.
    fn packet(&self) -> (Vec<u8>, usize) {
        let (ip_len, protocol) = (if self.v6 { 40 } else { 20 }, if self.tcp { TCP } else { UDP });
        let transport = if self.tcp {
            let mut tcp = vec![1; 20 + self.options * 4];
            tcp[..20]
                .copy_from_slice(&[0x30, 0x39, 0, 80, 0, 0, 0, 0, 1, 2, 3, 4, 0, self.flags, 0xfa, 0xf0, 0, 0, 0, 0]);
            tcp[4..8].copy_from_slice(&self.sequence.to_be_bytes());
            tcp[12] = ((tcp.len() / 4) as u8) << 4;
            tcp
        } else {
            let len = (8 + self.payload.len()) as u16;
            [&[0x30, 0x39, 1, 187][..], &len.to_be_bytes(), &[0, 0]].concat()
        };
        let behind_ip = transport.len() + self.payload.len();
        let ip = self.ip(self.v6, protocol, behind_ip);
        let mut packet = [ip, transport, self.payload.clone()].concat();
        let pseudo = pseudo_header(&packet, protocol, behind_ip);
        let place = ip_len + if self.tcp { 16 } else { 6 };
        packet[place..place + 2].copy_from_slice(&plain_sum(&[&pseudo]).to_be_bytes());
        (packet, ip_len)
    }

    fn ip(&self, v6: bool, protocol: u8, behind: usize) -> Vec<u8> {
        if v6 {
            let mut ip = vec![0x20; 40];
            ip[..8].copy_from_slice(&[0x60, 2, 3, 4, 0, 0, protocol, 64]);
            ip[4..6].copy_from_slice(&(behind as u16).to_be_bytes());
            ip[39] = 7;
            return ip;
        }
        let mut ip = vec![0x45, 2, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2];
        ip[2..4].copy_from_slice(&((20 + behind) as u16).to_be_bytes());
        ip[4..6].copy_from_slice(&self.id.to_be_bytes());
        let checksum = !plain_sum(&[&ip]);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        ip
    }

    /// The frame and what the kernel says of it.
    fn frame(&self) -> (Vec<u8>, Offload) {
        let ethernet = |v6: bool| {
            let mut ethernet = [TARGET_MAC, SOURCE_MAC].concat();
            for _ in 0..self.vlans {
                ethernet.extend([0x81, 0, 0, 5]);
            }
            ethernet.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
            ethernet
        };
        let (packet, mut transport) = self.packet();
        let (outer_v6, protocol, between) = match self.tunnel {
            Tunnel::None => (self.v6, 0, Vec::new()),
            Tunnel::Vxlan { v6, checksum } => {
                let inner = ethernet(self.v6);
                let len = (8 + 8 + inner.len() + packet.len()) as u16;
                let mut udp = [&[0xc0, 0, 0x12, 0xb5][..], &len.to_be_bytes(), &[0, 0]].concat();
                if checksum {
                    udp[6..8].fill(0xee);
                }
                (v6, UDP, [&udp[..], &[8, 0, 0, 0, 0, 0, 9, 0], &inner].concat())
            }
            Tunnel::Ipip { v6 } => (v6, if self.v6 { 41 } else { 4 }, Vec::new()),
            Tunnel::Gre => (false, 47, [&[0, 0][..], if self.v6 { &[0x86, 0xdd] } else { &[8, 0] }].concat()),
        };
        let mut frame = ethernet(outer_v6);
        if self.tunnel != Tunnel::None {
            frame.extend(self.ip(outer_v6, protocol, between.len() + packet.len()));
        }
        frame.extend(between);
        transport += frame.len();
        frame.extend(packet);
        let kind = match (self.tcp, self.v6) {
            (true, false) => SuperFrameKind::TcpV4,
            (true, true) => SuperFrameKind::TcpV6,
            (false, _) => SuperFrameKind::Udp,
        };
        let offload = Offload {
            checksum: Some(Checksum { start: transport as u16, offset: if self.tcp { 16 } else { 6 } }),
            super_frame: Some(SuperFrame { kind, segment_bytes: self.segment, ecn: self.ecn }),
        };
        (frame, offload)
    }
}

fn cut(frame: &[u8], offload: &Offload) -> Vec<Vec<u8>> {
    let segments = Segments::of(frame, frame.len() as u32, offload, true).expect("it can be cut");
    (0..segments.count())
        .map(|index| {
            assert!(segments.is_whole(index));
            let mut out = vec![0xaa; segments.len(index)];
            assert_eq!(segments.write(index, &mut out), out.len());
            out
        })
        .collect()
}

/// Checks `packet` and all that is in it to its last byte, and gives where its innermost transport header is.
fn check_packet(packet: &[u8], expected: &Made, index: usize) -> usize {
    let (ip_len, protocol, len) = if packet[0] >> 4 == 4 {
        assert_eq!(plain_sum(&[&packet[..20]]), 0xffff, "the IPv4 header's checksum");
        let id = u16::from_be_bytes([packet[4], packet[5]]);
        assert_eq!(id, expected.id.wrapping_add(index as u16));
        (20, packet[9], usize::from(u16::from_be_bytes([packet[2], packet[3]])))
    } else {
        (40, packet[6], 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]])))
    };
    assert_eq!(len, packet.len(), "the IP header's length");
    let behind = &packet[ip_len..];
    match protocol {
        TCP | UDP => {
            let is_tunnel = protocol == UDP && behind[2..4] == [0x12, 0xb5];
            if protocol == UDP {
                assert_eq!(usize::from(u16::from_be_bytes([behind[4], behind[5]])), behind.len());
            }
            let has_none = matches!(expected.tunnel, Tunnel::Vxlan { checksum: false, .. }) && is_tunnel;
            if has_none {
                assert_eq!(behind[6..8], [0, 0]);
            } else {
                let pseudo = pseudo_header(packet, protocol, behind.len());
                assert_eq!(plain_sum(&[&pseudo, behind]), 0xffff, "the transport checksum");
            }
            if is_tunnel {
                let inner = 16 + 14 + expected.vlans * 4;
                return ip_len + inner + check_packet(&behind[inner..], expected, index);
            }
            ip_len
        }
        4 | 41 => ip_len + check_packet(behind, expected, index),
        47 => ip_len + 4 + check_packet(&behind[4..], expected, index),
        other => panic!("protocol {other}"),
    }
}

fn check(made: &Made) {
    let (frame, offload) = made.frame();
    let packets = cut(&frame, &offload);
    let ethernet = 14 + made.vlans * 4;
    let mut payload = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        assert_eq!(packet[..ethernet], frame[..ethernet]);
        let transport = ethernet + check_packet(&packet[ethernet..], made, index);
        let (is_first, is_last) = (index == 0, index + 1 == packets.len());
        let header = if made.tcp {
            let sequence = u32::from_be_bytes(*packet[transport + 4..].first_chunk().unwrap());
            assert_eq!(sequence, made.sequence.wrapping_add(payload.len() as u32));
            let mut flags = made.flags;
            if !is_last {
                flags &= !0x09;
            }
            if !is_first && made.ecn {
                flags &= !0x80;
            }
            assert_eq!(packet[transport + 13], flags, "packet {index}");
            20 + made.options * 4
        } else {
            8
        };
        let piece = &packet[transport + header..];
        assert!(is_last || piece.len() == usize::from(made.segment));
        assert!(!piece.is_empty() || made.payload.is_empty());
        payload.extend_from_slice(piece);
    }
    assert_eq!(payload, made.payload);
}

fn tunnels() -> impl Strategy<Value = Tunnel> {
    prop_oneof![
        3 => Just(Tunnel::None),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(v6, checksum)| Tunnel::Vxlan { v6, checksum }),
        1 => any::<bool>().prop_map(|v6| Tunnel::Ipip { v6 }),
        1 => Just(Tunnel::Gre),
    ]
}

fn super_frames() -> impl Strategy<Value = Made> {
    let shape = (any::<bool>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..9000), 1_u16..3000, 0_usize..=10);
    let values = (any::<u16>(), any::<u32>(), any::<u8>(), 0_usize..3, tunnels(), any::<bool>());
    (shape, values).prop_map(|((v6, tcp, payload, segment, options), (id, sequence, flags, vlans, tunnel, ecn))| {
        // Not more packets than is quick to check.
        let segment = segment.max((payload.len() / 100) as u16);
        Made { v6, tcp, payload, segment, id, sequence, flags, options, vlans, tunnel, ecn }
    })
}

fn tcp_v4(payload: usize, segment: u16) -> Made {
    Made {
        v6: false,
        tcp: true,
        payload: (0..payload).map(|byte| byte as u8).collect(),
        segment,
        id: 0xfffe,
        sequence: u32::MAX - 1000,
        flags: 0x19 | 0x80,
        options: 3,
        vlans: 0,
        tunnel: Tunnel::None,
        ecn: true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn packets_of_a_super_frame_are_right_and_put_together_give_its_payload(made in super_frames()) {
        check(&made);
    }

    #[test]
    fn any_bytes_with_any_offload_are_cut_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        made in super_frames(),
        cut_at in any::<usize>(),
        changed in any::<usize>(),
        start in any::<u16>(),
        wire_len in 0_u32..100_000,
    ) {
        let (mut frame, mut offload) = made.frame();
        frame.truncate(cut_at % (frame.len() + 1));
        if !frame.is_empty() {
            let at = changed % frame.len().min(120);
            frame[at] ^= (changed >> 8) as u8;
        }
        for (frame, checksum) in [(&frame, offload.checksum), (&bytes, offload.checksum), (&frame, None),
                                  (&frame, Some(Checksum { start: start % 300, offset: start }))] {
            offload.checksum = checksum;
            if let Some(segments) = Segments::of(frame, wire_len.max(frame.len() as u32), &offload, false) {
                let mut out = [0; 4096];
                for index in 0..segments.count().min(100) {
                    let written = segments.write(index, &mut out);
                    prop_assert!(written <= segments.len(index));
                }
            }
            if let Some(checksum) = checksum {
                finished_checksum(frame, checksum);
            }
        }
    }

    #[test]
    fn what_is_written_into_less_room_is_the_beginning_of_the_packet(made in super_frames(), room in 0_usize..400) {
        let (frame, offload) = made.frame();
        let segments = Segments::of(&frame, frame.len() as u32, &offload, true).unwrap();
        let whole = cut(&frame, &offload);
        for (index, whole) in whole.iter().enumerate().take(5) {
            let mut out = vec![0; room];
            let written = segments.write(index, &mut out);
            prop_assert_eq!(&out[..written], &whole[..room.min(whole.len())]);
        }
    }
}

#[test]
fn another_parser_finds_packets_of_a_long_super_frame_right() {
    let made = tcp_v4(60_000, 1448);
    check(&made);
    let (frame, offload) = made.frame();
    let packets = cut(&frame, &offload);
    assert_eq!(packets.len(), 42);
    for packet in packets {
        let headers = PacketHeaders::from_ethernet_slice(&packet).unwrap();
        let (Some(NetHeaders::Ipv4(ip, _)), Some(TransportHeader::Tcp(tcp))) = (headers.net, headers.transport) else {
            panic!("not TCP over IPv4");
        };
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(&ip, headers.payload.slice()).unwrap());
    }
}

#[test]
fn fin_and_psh_are_on_the_last_packet_and_cwr_on_the_first_alone() {
    let (frame, offload) = tcp_v4(3000, 1000).frame();
    let flags: Vec<u8> = cut(&frame, &offload).iter().map(|packet| packet[14 + 20 + 13]).collect();
    assert_eq!(flags, [0x90, 0x10, 0x19]);
    // With accurate ECN the flag is part of a number that all packets carry.
    let (frame, offload) = Made { ecn: false, ..tcp_v4(3000, 1000) }.frame();
    let flags: Vec<u8> = cut(&frame, &offload).iter().map(|packet| packet[14 + 20 + 13]).collect();
    assert_eq!(flags, [0x90, 0x90, 0x99]);
}

#[test]
fn packets_that_were_merged_without_identifications_have_none_again() {
    let (frame, offload) = Made { id: 0, ..tcp_v4(3000, 1000) }.frame();
    let ids = |is_outgoing| {
        let segments = Segments::of(&frame, frame.len() as u32, &offload, is_outgoing).unwrap();
        let mut out = [0; 100];
        (0..segments.count())
            .map(|index| {
                segments.write(index, &mut out);
                u16::from_be_bytes([out[18], out[19]])
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(false), [0, 0, 0]);
    assert_eq!(ids(true), [0, 1, 2]);
}

#[test]
fn a_super_frame_that_is_cut_gives_packets_as_far_as_they_are_there() {
    let (frame, offload) = tcp_v4(3000, 1000).frame();
    let there = 14 + 20 + 32 + 1500;
    let segments = Segments::of(&frame[..there], frame.len() as u32, &offload, true).unwrap();
    assert_eq!(segments.count(), 3);
    let whole: Vec<bool> = (0..3).map(|index| segments.is_whole(index)).collect();
    assert_eq!(whole, [true, false, false]);
    let mut out = [0; 2000];
    let written: Vec<usize> = (0..3).map(|index| segments.write(index, &mut out)).collect();
    assert_eq!(written, [1066, 566, 66]);
}

#[test]
fn the_jumbo_header_of_a_long_ipv6_super_frame_is_on_no_packet() {
    let made = Made { v6: true, vlans: 1, ..tcp_v4(100_000, 1428) };
    let (mut frame, mut offload) = made.frame();
    let ip = 14 + 4;
    frame[ip + 4..ip + 6].fill(0);
    frame[ip + 6] = 0;
    let jumbo = [TCP, 0, 0xc2, 4, 0, 1, 0x86, 0xc8];
    frame.splice(ip + 40..ip + 40, jumbo);
    if let Some(checksum) = &mut offload.checksum {
        checksum.start += 8;
    }
    let mut payload = Vec::new();
    for (index, packet) in cut(&frame, &offload).iter().enumerate() {
        let transport = ip + check_packet(&packet[ip..], &made, index);
        payload.extend_from_slice(&packet[transport + 32..]);
    }
    assert_eq!(payload, made.payload);
}

#[test]
fn an_unfinished_checksum_is_finished() {
    for payload in [0, 1, 17, 1400] {
        let payload = vec![0x5a; payload];
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(SOURCE_MAC, TARGET_MAC)
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
            .udp(1234, 53)
            .write(&mut frame, &payload)
            .unwrap();
        let right = frame[40..42].to_vec();
        let sum = plain_sum(&[&pseudo_header(&frame[14..], UDP, 8 + payload.len())]);
        frame[40..42].copy_from_slice(&sum.to_be_bytes());
        let finished = finished_checksum(&frame, Checksum { start: 34, offset: 6 });
        assert_eq!(finished, Some((40, [right[0], right[1]])));
    }
    assert_eq!(finished_checksum(&[0; 41], Checksum { start: 34, offset: 6 }), None);
}
