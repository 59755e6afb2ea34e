//! What becomes of frames once they are out of a ring, which takes neither ring nor root.

use vxtap_ring::{Checksum, Offload, PacketType, SuperFrame, SuperFrameKind};

use super::*;
use crate::control::Control;

const TAG: VlanTag = VlanTag { tpid: 0x8100, tci: 0x0064 };

/// A TCP packet over IPv4 with so much payload, its checksum not finished.
fn tcp(payload: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64);
    packet.tcp(40_000, 80, 1, 1).write(&mut frame, &vec![9; payload]).unwrap();
    // The sum of the pseudo-header: two addresses, the protocol, the length.
    let sum = 2 * 0xc000 + 2 * 0x0200 + 3 + 6 + 20 + payload as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[50..52].copy_from_slice(&(sum as u16).to_be_bytes());
    frame
}

fn frame(bytes: &[u8], vlan: Option<VlanTag>, offload: Offload) -> Frame<'_> {
    Frame {
        bytes,
        wire_len: bytes.len() as u32,
        time_ns: 5,
        packet_type: PacketType::Outgoing,
        interface: 1,
        vlan,
        checksum_missing: offload.checksum.is_some(),
        offload,
    }
}

const CHECKSUM: Checksum = Checksum { start: 34, offset: 16 };

fn unfinished(segment_bytes: u16) -> Offload {
    let super_frame = SuperFrame { kind: SuperFrameKind::TcpV4, segment_bytes, ecn: false };
    Offload { checksum: Some(CHECKSUM), super_frame: (segment_bytes > 0).then_some(super_frame) }
}

/// What is given of `frame` by a sink that breaks after each `most`, and what was counted.
fn made(frame: &Frame<'_>, filter: Option<&str>, longest: usize, most: usize) -> (Vec<(Vec<u8>, u32)>, Control) {
    let control = Control::default();
    let filter = filter.map(|text| Filter::parse(text).unwrap());
    let mut maker =
        Maker { filter, decides_all: false, longest, scratch: vec![0; 100_000], counters: control.counters() };
    let mut packets = Vec::new();
    let mut given = 0;
    loop {
        let mut left = most;
        // As it comes out of the ring.
        let mut bytes = frame.bytes.to_vec();
        let Frame { wire_len, time_ns, packet_type, interface, vlan, checksum_missing, offload, .. } = *frame;
        let known = Frame { bytes: &[], wire_len, time_ns, packet_type, interface, vlan, checksum_missing, offload };
        let (done, _) = maker.make(&mut FrameMut::new(&mut bytes, known), 0, given, &mut |packet| {
            packets.push((packet.bytes.to_vec(), packet.wire_len));
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if done == 0 {
            return (packets, control);
        }
        assert!(done > given, "it does not go on");
        given = done;
    }
}

fn is_right(packet: &[u8]) -> bool {
    let headers = etherparse::PacketHeaders::from_ethernet_slice(packet).unwrap();
    let (Some(etherparse::NetHeaders::Ipv4(ip, _)), Some(etherparse::TransportHeader::Tcp(tcp))) =
        (headers.net, headers.transport)
    else {
        panic!("not TCP over IPv4");
    };
    tcp.checksum == tcp.calc_checksum_ipv4(&ip, headers.payload.slice()).unwrap()
        && usize::from(ip.total_len) == 40 + headers.payload.slice().len()
}

#[test]
fn a_frame_that_needs_nothing_is_lent_as_it_is() {
    let bytes = tcp(100);
    let (packets, _) = made(&frame(&bytes, None, Offload::default()), None, 60, 10);
    assert_eq!(packets, [(bytes.clone(), bytes.len() as u32)]);
}

#[test]
fn a_tag_is_put_back_and_a_checksum_finished() {
    let bytes = tcp(101);
    let (packets, _) = made(&frame(&bytes, Some(TAG), unfinished(0)), None, usize::MAX, 10);
    let (packet, wire_len) = &packets[0];
    assert_eq!((packet.len(), *wire_len as usize), (bytes.len() + 4, bytes.len() + 4));
    assert_eq!(packet[..18], [&bytes[..12], &[0x81, 0, 0, 0x64, 8, 0]].concat());
    assert!(is_right(packet));
}

#[test]
fn a_checksum_is_that_of_the_whole_packet_also_where_less_is_wanted() {
    let bytes = tcp(1000);
    let (whole, _) = made(&frame(&bytes, None, unfinished(0)), None, usize::MAX, 10);
    assert!(is_right(&whole[0].0));
    let (cut, control) = made(&frame(&bytes, Some(TAG), unfinished(0)), None, 60, 10);
    assert_eq!((cut[0].0.len(), cut[0].1), (64, 1058));
    assert_eq!(cut[0].0[18..], whole[0].0[14..60]);
    assert_eq!(control.counters().capture.checksums_unknown.get(), 0);
    let missing = Frame { wire_len: 1100, ..frame(&bytes, None, unfinished(0)) };
    assert_eq!(made(&missing, None, 60, 10).1.counters().capture.checksums_unknown.get(), 1);
}

#[test]
fn a_super_frame_gives_all_its_packets_once_however_few_are_taken_at_a_time() {
    let bytes = tcp(10_000);
    let super_frame = frame(&bytes, Some(TAG), unfinished(1448));
    let (all, control) = made(&super_frame, None, usize::MAX, 100);
    assert_eq!((all.len(), all.last().unwrap().0.len()), (7, 4 + 54 + 10_000 - 6 * 1448));
    assert!(all.iter().all(|(packet, wire_len)| is_right(packet) && packet.len() == *wire_len as usize));
    let counters = &control.counters().capture;
    assert_eq!((counters.super_frames.get(), counters.cut_into.get()), (1, 7));
    for most in 1..8 {
        let (some, control) = made(&super_frame, None, usize::MAX, most);
        assert_eq!(some, all);
        assert_eq!(control.counters().capture.cut_into.get(), 7);
    }
}

#[test]
fn what_is_no_super_frame_though_it_says_so_is_skipped_and_counted() {
    let bytes = vec![0xff; 5000];
    let (packets, control) = made(&frame(&bytes, None, unfinished(1448)), None, usize::MAX, 10);
    assert!(packets.is_empty());
    assert_eq!(control.progress().skipped, 1);
    assert_eq!(control.counters().skipped[SkipReason::SuperFrame as usize].get(), 1);
}

#[test]
fn a_filter_decides_on_tagged_frames_with_their_tag_in_its_place() {
    let bytes = tcp(100);
    for (text, wanted) in
        [("vlan 100 and tcp port 80", 1), ("vlan 101", 0), ("tcp port 80", 0), ("ether[12:2] = 0x8100", 1)]
    {
        let (packets, control) = made(&frame(&bytes, Some(TAG), Offload::default()), Some(text), usize::MAX, 10);
        assert_eq!(packets.len(), wanted, "{text}");
        assert_eq!(control.counters().skipped[SkipReason::Filter as usize].get() as usize, 1 - wanted);
    }
    // Of others the kernel has decided.
    assert_eq!(made(&frame(&bytes, None, Offload::default()), Some("udp"), usize::MAX, 10).0.len(), 1);
}
