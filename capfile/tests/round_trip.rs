//! What is written comes back, through this crate's reader and through readers of others.

use std::io::Cursor;

use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_parser::{Block as OtherBlock, PcapBlockOwned, PcapNGSlice};
use proptest::prelude::*;
use vxtap_capfile::pcapng::{InterfaceDescription, InterfaceStatistics, PacketHeader, Padding, SectionHeader};
use vxtap_capfile::{CaptureReader, LinkType};

/// Interface, time, length on the wire, frame.
type Packet = (u32, u64, u32, Vec<u8>);

const INTERFACES: u32 = 3;

fn written(packets: &[Packet], padded: bool) -> Vec<u8> {
    let mut out = Vec::new();
    SectionHeader { hardware: "x86_64", os: "linux", application: "vxtap 1" }.append_to(&mut out);
    for number in 0..INTERFACES {
        let name = format!("vni {number} from 10.0.0.7");
        InterfaceDescription { name: &name, description: "inner frames", link_type: LinkType(number + 1) }
            .append_to(&mut out);
    }
    for (interface, time_ns, wire_len, frame) in packets {
        PacketHeader { interface: *interface, time_ns: *time_ns, wire_len: *wire_len }.append_to(&mut out, frame);
        if padded {
            Padding::append_to(&mut out, 64);
        }
    }
    for interface in 0..INTERFACES {
        InterfaceStatistics { interface, received: 5, ..InterfaceStatistics::default() }.append_to(&mut out);
    }
    out
}

fn ours(file: Vec<u8>) -> Vec<Packet> {
    let mut reader = CaptureReader::from_reader(Cursor::new(file), "written").unwrap();
    let mut packets = Vec::new();
    while let Some(record) = reader.next_record() {
        let record = record.unwrap();
        packets.push((record.link_type.0 - 1, record.time_ns, record.wire_len, record.data.to_vec()));
    }
    assert_eq!(reader.records(), packets.len() as u64);
    packets
}

fn pcap_parser_reads(file: &[u8]) -> Vec<Packet> {
    let mut packets = Vec::new();
    for block in PcapNGSlice::from_slice(file).unwrap() {
        if let PcapBlockOwned::NG(OtherBlock::EnhancedPacket(packet)) = block.unwrap() {
            let time_ns = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
            let frame = packet.data[..packet.caplen as usize].to_vec();
            packets.push((packet.if_id, time_ns, packet.origlen, frame));
        }
    }
    packets
}

fn pcap_file_reads(file: Vec<u8>) -> Vec<Packet> {
    let mut reader = PcapNgReader::new(Cursor::new(file)).unwrap();
    let mut packets = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.unwrap() {
            let time_ns = packet.timestamp.as_nanos() as u64;
            packets.push((packet.interface_id, time_ns, packet.original_len, packet.data.into_owned()));
        }
    }
    packets
}

fn packets() -> impl Strategy<Value = Vec<Packet>> {
    let frame = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..70),
        (1..70_000_usize).prop_map(|length| vec![0x5a; length]),
    ];
    let packet = (0..INTERFACES, any::<u64>(), any::<u32>(), frame).prop_map(|(interface, time, wire, frame)| {
        let wire = wire.max(frame.len() as u32);
        (interface, time, wire, frame)
    });
    proptest::collection::vec(packet, 0..20)
}

proptest! {
    #[test]
    fn packets_come_back_as_they_were_written(packets in packets(), padded in any::<bool>()) {
        let file = written(&packets, padded);
        prop_assert_eq!(&ours(file.clone()), &packets);
        prop_assert_eq!(&pcap_parser_reads(&file), &packets);
        prop_assert_eq!(&pcap_file_reads(file), &packets);
    }
}

#[test]
fn names_of_interfaces_come_back() {
    let file = written(&[], false);
    let mut reader = PcapNgReader::new(Cursor::new(file)).unwrap();
    while reader.next_block().is_some() {}
    let names: Vec<String> = reader.interfaces().iter().map(|interface| format!("{:?}", interface.options)).collect();
    assert_eq!(names.len(), 3);
    assert!(names[2].contains("IfName(\"vni 2 from 10.0.0.7\")") && names[2].contains("IfTsResol(9)"), "{}", names[2]);
}
