use std::collections::{HashMap, HashSet};

use vxtap_wire::vxlan::Vni;
use vxtap_wire::{FiveTuple, FlowKey, FrameView, NetworkId, TcpHeader, Transport};

use super::super::frame::tests::judge;
use super::*;
use crate::transmit::TransmitSettings;

const PORTS: u32 = 16;

fn settings(packets: u64) -> GenerateSettings {
    let transmit = TransmitSettings::new("127.0.0.1".parse().unwrap(), Vni::new(1).unwrap());
    GenerateSettings { packets: Some(packets), flows: 50, ..GenerateSettings::new(transmit) }
}

/// Every frame of a run, with its slot.
fn all(settings: &GenerateSettings) -> Vec<(Vec<u8>, Slot)> {
    let mut source = Conversations::new(settings, PORTS);
    let (mut frames, mut slots) = (Vec::new(), Vec::new());
    loop {
        slots.clear();
        source.fill(&mut slots).unwrap();
        if slots.is_empty() {
            return frames;
        }
        let bytes = source.bytes();
        let frame = |slot: &Slot| (bytes[slot.offset..slot.offset + slot.frame_len as usize].to_vec(), *slot);
        frames.extend(slots.iter().map(frame));
    }
}

fn tcp(frame: &[u8]) -> Option<(FiveTuple, TcpHeader, u32)> {
    let view = FrameView::parse(frame);
    match view.transport {
        Transport::Tcp(header) => Some((view.five_tuple.unwrap(), header, view.payload_wire_len())),
        _ => None,
    }
}

#[test]
fn every_frame_is_right_and_fits_vxlan_over_ipv6_on_a_path_of_1500_bytes() {
    let frames = all(&settings(30_000));
    assert_eq!(frames.len(), 30_000);
    for (frame, _) in &frames {
        judge(frame);
        assert!(frame.len() <= 1444, "{}", frame.len());
    }
    assert!(frames.iter().any(|(frame, _)| frame.len() > 1400));
}

#[test]
fn both_directions_of_a_flow_have_one_hash_and_one_port() {
    let mut of_flow = HashMap::new();
    let mut ports = HashSet::new();
    for (frame, slot) in all(&settings(10_000)) {
        let tuple = FrameView::parse(&frame).five_tuple.unwrap();
        assert_eq!(slot.flow, SteerHash::new(0).hash(&tuple));
        assert_eq!(u32::from(slot.port), SteerHash::new(0).owner(&tuple, PORTS));
        let (key, _) = FlowKey::new(NetworkId(0), &tuple);
        assert_eq!(*of_flow.entry(key).or_insert(slot.port), slot.port);
        ports.insert(slot.port);
    }
    assert_eq!(ports.len(), PORTS as usize);
    assert!(of_flow.len() > 50, "finished conversations are followed by new ones");
}

#[test]
fn undisturbed_connections_are_without_a_gap_from_handshake_to_end() {
    let settings = GenerateSettings { retransmit_percent: 0, reorder_percent: 0, ..settings(50_000) };
    // What comes next from each end, by the five-tuple of its segments.
    let mut expected: HashMap<FiveTuple, u32> = HashMap::new();
    let (mut opened, mut closed) = (0, 0);
    for (frame, _) in all(&settings) {
        let Some((tuple, header, payload)) = tcp(&frame) else { continue };
        let control = u32::from(header.flags.has(TcpFlags::SYN | TcpFlags::FIN));
        if header.flags.has(TcpFlags::SYN) {
            assert!(!expected.contains_key(&tuple), "a five-tuple came again");
            opened += u32::from(!header.flags.has(TcpFlags::ACK));
        } else {
            assert_eq!(header.sequence, expected[&tuple]);
        }
        if header.flags.has(TcpFlags::ACK) {
            assert_eq!(header.acknowledgement, expected[&tuple.reversed()]);
        }
        closed += u32::from(header.flags.has(TcpFlags::FIN | TcpFlags::RST));
        expected.insert(tuple, header.sequence.wrapping_add(payload + control));
    }
    assert!(opened > 500 && closed > 500, "{opened} opened, {closed} closed");
}

/// Of the data segments, how many came again, and how many came behind one with a later sequence number.
fn disturbed(retransmit_percent: u8, reorder_percent: u8) -> (f64, f64) {
    let settings = GenerateSettings { retransmit_percent, reorder_percent, ..settings(60_000) };
    let (mut segments, mut again, mut behind) = (0.0, 0.0, 0.0);
    let mut seen = HashSet::new();
    let mut latest: HashMap<FiveTuple, u32> = HashMap::new();
    for (frame, _) in all(&settings) {
        let Some((tuple, header, payload)) = tcp(&frame) else { continue };
        if payload == 0 {
            continue;
        }
        segments += 1.0;
        if !seen.insert((tuple, header.sequence)) {
            again += 1.0;
            continue;
        }
        let latest = latest.entry(tuple).or_insert(header.sequence);
        if header.sequence.wrapping_sub(*latest) > u32::MAX / 2 {
            behind += 1.0;
        } else {
            *latest = header.sequence;
        }
    }
    (again / segments * 100.0, behind / segments * 100.0)
}

#[test]
fn segments_come_again_and_overtake_each_other_as_often_as_asked() {
    assert_eq!(disturbed(0, 0), (0.0, 0.0));
    let (again, behind) = disturbed(10, 0);
    assert!((6.0..12.0).contains(&again) && behind == 0.0, "{again} {behind}");
    let (again, behind) = disturbed(0, 20);
    // A segment whose successor comes from the other end cannot be overtaken.
    assert!(again == 0.0 && (5.0..20.0).contains(&behind), "{again} {behind}");
}

#[test]
fn the_seed_decides_every_byte() {
    let of_seed = |seed| all(&GenerateSettings { seed, ..settings(5_000) });
    assert!(of_seed(7) == of_seed(7));
    assert!(of_seed(7) != of_seed(8));
}

#[test]
fn the_share_of_ipv6_is_as_asked() {
    for (percent, expected) in [(0, 0.0..=0.0), (100, 100.0..=100.0), (30, 15.0..=45.0)] {
        let mut keys = HashSet::new();
        for (frame, _) in all(&GenerateSettings { ipv6_percent: percent, ..settings(20_000) }) {
            let tuple = FrameView::parse(&frame).five_tuple.unwrap();
            keys.insert(FlowKey::new(NetworkId(0), &tuple).0);
        }
        let v6 = keys.iter().filter(|key| key.version == IpVersion::V6).count();
        let share = v6 as f64 / keys.len() as f64 * 100.0;
        assert!(expected.contains(&share), "{percent}: {share}");
    }
}

#[test]
fn an_answer_carries_the_identifier_of_its_question_and_each_question_its_own() {
    let mut questions: HashMap<FiveTuple, Vec<u8>> = HashMap::new();
    let mut answers = 0;
    for (frame, _) in all(&settings(30_000)) {
        let view = FrameView::parse(&frame);
        if view.transport != Transport::Udp {
            continue;
        }
        let (tuple, message) = (view.five_tuple.unwrap(), view.payload());
        if message[2] & 0x80 == 0 {
            questions.insert(tuple, message.to_vec());
        } else {
            let question = &questions[&tuple.reversed()];
            assert_eq!(message[..2], question[..2]);
            assert_eq!(message[12..question.len()], question[12..]);
            answers += 1;
        }
    }
    let identifiers: HashSet<_> = questions.values().map(|message| [message[0], message[1]]).collect();
    assert!(answers > 100 && identifiers.len() > questions.len() * 9 / 10);
}

#[test]
fn http_bodies_are_as_long_as_announced_and_tls_records_end_where_they_say() {
    let settings = GenerateSettings { retransmit_percent: 0, reorder_percent: 0, ..settings(60_000) };
    let (mut streams, mut ended): (HashMap<FiveTuple, Vec<u8>>, HashSet<FiveTuple>) = Default::default();
    for (frame, _) in all(&settings) {
        let Some((tuple, header, _)) = tcp(&frame) else { continue };
        streams.entry(tuple).or_default().extend_from_slice(FrameView::parse(&frame).payload());
        if header.flags.has(TcpFlags::FIN | TcpFlags::RST) {
            ended.extend([tuple, tuple.reversed()]);
        }
    }
    let (mut messages, mut hellos) = (0, 0);
    for (tuple, mut rest) in streams.iter().map(|(tuple, bytes)| (tuple, bytes.as_slice())) {
        if !ended.contains(tuple) {
            continue;
        }
        while !rest.is_empty() {
            let len = if [tuple.source_port, tuple.destination_port].contains(&443) {
                assert!((20..=23).contains(&rest[0]) && rest[1] == 3, "{:?}", &rest[..5]);
                hellos += u32::from(rest[0] == 22);
                5 + usize::from(u16::from_be_bytes([rest[3], rest[4]]))
            } else {
                messages += 1;
                let head_len = rest.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
                let head = std::str::from_utf8(&rest[..head_len]).unwrap();
                let body = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                head_len + body.map_or(0, |len| len.parse().unwrap())
            };
            rest = &rest[len..];
        }
    }
    assert!(messages > 500 && hellos > 200, "{messages} messages, {hellos} hellos");
}
