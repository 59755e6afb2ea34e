use std::collections::{HashMap, HashSet};

use vxtap_wire::vxlan::Vni;
use vxtap_wire::{FlowKey, FrameView, NetworkId, Transport};

use super::super::frame::tests::judge;
use super::*;
use crate::transmit::TransmitSettings;

fn all(size: FrameSize, flows: u32, packets: u64) -> Vec<Vec<u8>> {
    let transmit = TransmitSettings::new("127.0.0.1".parse().unwrap(), Vni::new(1).unwrap());
    let settings = GenerateSettings { flows, packets: Some(packets), ..GenerateSettings::new(transmit) };
    let mut source = Load::new(&settings, size, 16);
    let (mut frames, mut slots) = (Vec::new(), Vec::new());
    loop {
        slots.clear();
        source.fill(&mut slots).unwrap();
        if slots.is_empty() {
            return frames;
        }
        for slot in &slots {
            let frame = &source.bytes()[slot.offset..slot.offset + slot.frame_len as usize];
            let tuple = FrameView::parse(frame).five_tuple.unwrap();
            assert_eq!(slot.flow, SteerHash::new(0).hash(&tuple));
            assert_eq!(u32::from(slot.port), slot.flow % 16);
            frames.push(frame.to_vec());
        }
    }
}

#[test]
fn every_frame_has_the_size_asked_for_is_right_and_unlike_all_others() {
    for size in [64, 65, 200, 1400, 9216] {
        let frames = all(FrameSize::Bytes(size), 40, 2_500);
        assert_eq!(frames.len(), 2_500);
        for frame in &frames {
            judge(frame);
            assert_eq!(frame.len(), usize::from(size));
        }
        assert_eq!(frames.iter().collect::<HashSet<_>>().len(), frames.len());
    }
}

#[test]
fn all_flows_send_equally_in_both_directions() {
    let mut directions: HashMap<_, u32> = HashMap::new();
    for frame in all(FrameSize::Bytes(200), 100, 20_000) {
        let (key, direction) = FlowKey::new(NetworkId(0), &FrameView::parse(&frame).five_tuple.unwrap());
        *directions.entry((key, direction)).or_default() += 1;
    }
    assert_eq!(directions.len(), 200);
    assert!(directions.values().all(|count| *count == 100));
}

#[test]
fn tcp_load_is_a_stream_without_gaps() {
    let mut next = HashMap::new();
    let mut segments = 0;
    for frame in all(FrameSize::Bytes(300), 20, 5_000) {
        let view = FrameView::parse(&frame);
        let Transport::Tcp(header) = view.transport else { continue };
        let tuple = view.five_tuple.unwrap();
        assert_eq!(*next.entry(tuple).or_insert(header.sequence), header.sequence);
        next.insert(tuple, header.sequence.wrapping_add(view.payload_wire_len()));
        segments += 1;
    }
    assert_eq!(segments, 2_500);
}

#[test]
fn imix_is_seven_small_four_middle_and_one_large() {
    let mut counts: HashMap<usize, u32> = HashMap::new();
    for frame in all(FrameSize::Imix, 50, 12_000) {
        judge(&frame);
        *counts.entry(frame.len()).or_default() += 1;
    }
    assert_eq!(counts.len(), 3);
    for (size, expected) in [(64, 7_000), (570, 4_000), (1518, 1_000)] {
        assert!(counts[&size].abs_diff(expected) < 300, "{size}: {}", counts[&size]);
    }
}
