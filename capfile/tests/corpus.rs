//! Capture files written by others, compared with what trusted tools say is in them and with another reader.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use pcap_parser::traits::{PcapNGPacketBlock as _, PcapReaderIterator};
use pcap_parser::{Block, PcapBlockOwned, PcapError};
use vxtap_capfile::{CaptureReader, Record};

/// The captures, from `VXTAP_CAPTURES` or beside the repository. Without them a test passes with a message, unless
/// `VXTAP_NO_SKIP=1` is set.
fn captures() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/captures");
    let directory = std::env::var_os("VXTAP_CAPTURES").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    if directory.join("MANIFEST.tsv").is_file() {
        return Some(directory);
    }
    assert!(
        std::env::var_os("VXTAP_NO_SKIP").is_none_or(|value| value != "1"),
        "no captures in {}",
        directory.display()
    );
    println!("skipped: no captures");
    None
}

/// One line of the manifest.
struct Listed {
    path: PathBuf,
    name: String,
    class: String,
    /// `None` where the trusted tools reject the file.
    packets: Option<u64>,
    link_type: String,
}

fn manifest(directory: &Path) -> Vec<Listed> {
    let text = fs::read_to_string(directory.join("MANIFEST.tsv")).unwrap();
    let listed: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            Listed {
                path: directory.join(fields[1]).join(fields[2]),
                name: fields[0].to_owned(),
                class: fields[1].to_owned(),
                packets: fields[8].parse().ok(),
                link_type: fields[9].to_owned(),
            }
        })
        .collect();
    assert!(listed.len() > 50);
    listed
}

/// Time, length on the wire, frame.
type Packet = (u64, u32, Vec<u8>);

fn read(file: Vec<u8>) -> Result<Vec<Packet>, String> {
    let mut reader = CaptureReader::from_reader(Cursor::new(file), "corpus").map_err(|error| error.to_string())?;
    let mut packets = Vec::new();
    while let Some(record) = reader.next_record() {
        let Record { time_ns, wire_len, data, .. } = record.map_err(|error| error.to_string())?;
        packets.push((time_ns, wire_len, data.to_vec()));
    }
    Ok(packets)
}

#[test]
fn every_file_has_the_packets_link_type_and_bytes_that_trusted_tools_find() {
    let Some(directory) = captures() else { return };
    for listed in manifest(&directory) {
        let Some(expected) = listed.packets else {
            assert!(CaptureReader::open(&listed.path).is_err(), "{}", listed.name);
            continue;
        };
        let mut reader = CaptureReader::open(&listed.path).unwrap();
        let (mut captured, mut wire, mut ethernet) = (0, 0, 0);
        while let Some(record) = reader.next_record() {
            let record = record.unwrap_or_else(|error| panic!("{error}"));
            captured += record.data.len() as u64;
            wire += u64::from(record.wire_len);
            ethernet += u64::from(record.link_type == vxtap_capfile::LinkType::ETHERNET);
        }
        assert_eq!(reader.records(), expected, "{}", listed.name);
        match listed.link_type.as_str() {
            "ether" => assert_eq!(ethernet, expected, "{}", listed.name),
            "per-packet" => assert!(ethernet > 0 && ethernet < expected, "{}", listed.name),
            _ => assert_eq!(ethernet, 0, "{}", listed.name),
        }
        if listed.link_type == "per-packet" {
            // The sums in the summary of such a file have its other blocks in them.
            continue;
        }
        let summary = directory.join("expected").join(&listed.class).join(&listed.name).join("summary.json");
        let summary: serde_json::Value = serde_json::from_slice(&fs::read(summary).unwrap()).unwrap();
        assert_eq!(summary["captured_bytes"], captured, "{}", listed.name);
        assert_eq!(summary["wire_bytes"], wire, "{}", listed.name);
    }
}

/// What pcap-parser reads; times as seconds and fraction in its own units, scaled to nanoseconds.
fn other_reader(file: &[u8]) -> Vec<Packet> {
    let mut reader: Box<dyn PcapReaderIterator> =
        pcap_parser::create_reader(1 << 20, Cursor::new(file.to_vec())).unwrap();
    let (mut packets, mut interfaces, mut fraction) = (Vec::new(), Vec::new(), 1000);
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                match &block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        fraction = if header.is_nanosecond_precision() { 1 } else { 1000 };
                    }
                    PcapBlockOwned::Legacy(packet) => {
                        let time = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_usec) * fraction;
                        packets.push((time, packet.origlen, packet.data.to_vec()));
                    }
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                        interfaces.push((interface.ts_offset(), interface.ts_resolution().unwrap()));
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let (offset, resolution) = interfaces[packet.if_id as usize];
                        let (seconds, ticks) = packet.decode_ts(offset as u64, resolution);
                        let nanos = u64::from(ticks) * 1_000_000_000 / resolution;
                        let time = u64::from(seconds) * 1_000_000_000 + nanos;
                        packets.push((time, packet.origlen, packet.packet_data().to_vec()));
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        let time = packets.last().map_or(0, |packet: &Packet| packet.0);
                        packets.push((time, packet.origlen, packet.packet_data().to_vec()));
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return packets,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn another_reader_finds_the_same_times_lengths_and_frames() {
    let Some(directory) = captures() else { return };
    for listed in manifest(&directory).iter().filter(|listed| listed.packets.is_some()) {
        let file = fs::read(&listed.path).unwrap();
        let (ours, other) = (read(file.clone()).unwrap(), other_reader(&file));
        assert_eq!(ours.len(), other.len(), "{}", listed.name);
        for (number, (ours, other)) in ours.iter().zip(&other).enumerate() {
            assert!(ours == other, "{} record {number}: {:?} {:?}", listed.name, ours.0, other.0);
        }
    }
}

#[test]
fn every_shorter_prefix_of_a_file_ends_in_what_was_whole() {
    let Some(directory) = captures() else { return };
    for listed in manifest(&directory) {
        let file = fs::read(&listed.path).unwrap();
        // Every length of the small files, and some of the large.
        let step = (file.len() / 2000).max(1) | 1;
        for length in (0..file.len().min(1 << 18)).step_by(step) {
            let Ok(mut reader) = CaptureReader::from_reader(Cursor::new(file[..length].to_vec()), "prefix") else {
                continue;
            };
            let mut bytes = 0;
            while let Some(Ok(record)) = reader.next_record() {
                bytes += record.data.len();
            }
            assert!(bytes <= length && reader.offset() <= length as u64);
            assert!(reader.next_record().is_none());
        }
    }
}
