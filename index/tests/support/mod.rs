//! Captures made for tests, and what a search in them has to find.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use vxtap_capfile::pcapng::{InterfaceDescription, PacketHeader, Padding, SectionHeader};
use vxtap_capfile::{CaptureReader, LinkType};
use vxtap_filter::{Packet, Tunnel};
use vxtap_index::{CommunityId, Extract, ExtractSummary, IndexBuilder, PageRange, Query};
use vxtap_wire::{FlowKey, FrameView, NetworkId};

/// VNI of each interface that a test's captures have.
pub const VNIS: [u32; 4] = [7, 7000, 9, 7];
/// The interface that does not tell its VNI and source, as those that a collector does not tell apart.
const OTHER: usize = 3;
pub const START_NS: u64 = 1_700_000_000_000_000_000;

/// A record as a test knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub time_ns: u64,
    pub interface: usize,
    pub wire_len: u32,
    pub frame: Vec<u8>,
}

pub fn source(interface: usize) -> [u8; 4] {
    [192, 0, 2, interface as u8 + 1]
}

pub fn interface_name(interface: usize) -> String {
    let [a, b, c, d] = source(interface);
    if interface == OTHER {
        return "other streams".to_owned();
    }
    format!("vni {} from {a}.{b}.{c}.{d}", VNIS[interface])
}

/// An Ethernet frame with `payload` behind `ether_type`.
pub fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend_from_slice(&ether_type.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// An IPv4 packet; `fragment` is the word with flags and offset.
pub fn ipv4(ends: [[u8; 4]; 2], protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 9]);
    packet.extend_from_slice(&fragment.to_be_bytes());
    packet.extend_from_slice(&[64, protocol, 0, 0]);
    packet.extend_from_slice(&ends.concat());
    packet.extend_from_slice(payload);
    packet
}

pub fn tcp(ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let mut segment: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    segment.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(payload);
    segment
}

pub fn udp(ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let mut datagram: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    datagram.extend_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    datagram
}

/// A frame of one of a few flows, made in one of the ways that frames are: plain, tagged, tunnelled and so on.
pub fn frame(flow: u8, way: u8, length: usize) -> Vec<u8> {
    let (client, server) = ([10, 0, 0, flow % 4], [10, 1, 0, flow / 4]);
    let ports = [40_000 + u16::from(flow), [80, 443, 53][usize::from(flow) % 3]];
    let payload = vec![flow; length];
    let ends = [client, server];
    let back = [server, client];
    match way {
        0 | 1 => ethernet(0x0800, &ipv4(ends, 6, 0, &tcp(ports, &payload))),
        2 => ethernet(0x0800, &ipv4(back, 6, 0, &tcp([ports[1], ports[0]], &payload))),
        3 => ethernet(0x0800, &ipv4(ends, 17, 0, &udp(ports, &payload))),
        4 => ethernet(0x8100, &[&[0, flow, 8, 0], ipv4(ends, 6, 0, &tcp(ports, &payload)).as_slice()].concat()),
        5 => ethernet(0x0800, &ipv4(ends, 6, 0x2000, &tcp(ports, &payload))),
        6 => ethernet(0x0800, &ipv4([[172, 16, 0, 1]; 2], 4, 0, &ipv4(ends, 6, 0, &tcp(ports, &payload)))),
        7 => ethernet(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1]),
        8 => ethernet(0x0800, &ipv4(back, 1, 0, &[3, 1, 0, 0, 0, 0, 0, 0])),
        9 => ethernet(0x0800, &ipv4(ends, 6, 0, &tcp(ports, &payload)))[..36].to_vec(),
        10 => ethernet(
            0x0800,
            &ipv4(ends, 51, 0, &[&[6, 4, 0, 0, 0, 0, 0, 0], [0; 16].as_slice(), &tcp(ports, b"")].concat()),
        ),
        _ => vec![flow; length % 20],
    }
}

/// Writes a capture as the collector does: `pages` records to an append.
pub struct Writer {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    builder: IndexBuilder,
    interfaces: Vec<usize>,
}

impl Writer {
    pub fn new(path: PathBuf) -> Self {
        Self { path, bytes: Vec::new(), builder: IndexBuilder::new(), interfaces: Vec::new() }
    }

    pub fn append(&mut self, records: &[Made]) {
        let mut prelude = Vec::new();
        if self.bytes.is_empty() {
            SectionHeader { application: "test", ..SectionHeader::default() }.append_to(&mut prelude);
        }
        let mut blocks = Vec::new();
        let mut flows = Vec::new();
        let mut other_frames = false;
        for record in records {
            let number = self.interfaces.iter().position(|known| *known == record.interface).unwrap_or_else(|| {
                let name = interface_name(record.interface);
                InterfaceDescription { name: &name, description: "", link_type: LinkType::ETHERNET }
                    .append_to(&mut prelude);
                self.interfaces.push(record.interface);
                self.interfaces.len() - 1
            });
            PacketHeader { interface: number as u32, time_ns: record.time_ns, wire_len: record.wire_len }
                .append_to(&mut blocks, &record.frame);
            let view = FrameView::parse(&record.frame);
            other_frames |= !IndexBuilder::is_plain(&view);
            let network = NetworkId(VNIS[record.interface]);
            flows.extend(view.five_tuple.map(|tuple| FlowKey::new(network, &tuple).0));
        }
        self.builder.describe(&prelude);
        let page = PageRange {
            offset: self.bytes.len() as u64,
            length: (prelude.len() + blocks.len()) as u64,
            first_ns: records.iter().map(|record| record.time_ns).min().unwrap_or(0),
            last_ns: records.iter().map(|record| record.time_ns).max().unwrap_or(0),
            records: records.len() as u64,
        };
        self.builder.page(page, &flows, other_frames);
        self.bytes.extend_from_slice(&prelude);
        self.bytes.extend_from_slice(&blocks);
        // So long that the builder does not make one page of this append and the next.
        Padding::append_to(&mut self.bytes, IndexBuilder::MIN_PAGE_BYTES as usize);
    }

    /// Writes the file, and its index beside it if `index`.
    pub fn close(self, index: bool) {
        std::fs::write(&self.path, &self.bytes).unwrap();
        if index {
            self.builder.write(&self.path, self.bytes.len() as u64).unwrap();
        }
    }
}

/// What a search for `query` in captures with `files` has to find, in order.
pub fn expected(files: &[Vec<Made>], query: &Query) -> Vec<Made> {
    let mut found: Vec<Made> = files.iter().flatten().filter(|record| is_wanted(record, query)).cloned().collect();
    found.sort_by_key(|record| record.time_ns);
    found
}

fn is_wanted(record: &Made, query: &Query) -> bool {
    let tuple = FrameView::parse(&record.frame).five_tuple;
    let tunnel = match record.interface {
        OTHER => Tunnel::default(),
        known => Tunnel { vni: Some(VNIS[known]), outer_source: Some(source(known).into()), ..Tunnel::default() },
    };
    let packet = Packet { frame: &record.frame, wire_len: record.wire_len, tunnel, ..Packet::default() };
    query.since_ns.is_none_or(|since| record.time_ns >= since)
        && query.until_ns.is_none_or(|until| record.time_ns < until)
        && query.community_id.is_none_or(|id| tuple.is_some_and(|tuple| CommunityId::of(&tuple) == id))
        && query.filter.as_ref().is_none_or(|filter| filter.matches(&packet))
}

/// What a search finds.
pub fn extract(query: &Query, inputs: &[PathBuf]) -> (Vec<Made>, ExtractSummary) {
    extract_with(&Extract::new(query.clone()).keep_indexes(false), inputs)
}

pub fn extract_with(extract: &Extract, inputs: &[PathBuf]) -> (Vec<Made>, ExtractSummary) {
    let mut output = Vec::new();
    let summary = extract.run(inputs, &mut output).unwrap();
    let numbers = interfaces_of(&output);
    let mut found = Vec::new();
    let mut reader = CaptureReader::from_reader(std::io::Cursor::new(output.clone()), "the extract").unwrap();
    while let Some(record) = reader.next_record() {
        let record = record.unwrap();
        let (time_ns, wire_len, frame) = (record.time_ns, record.wire_len, record.data.to_vec());
        found.push(Made { time_ns, interface: 0, wire_len, frame });
    }
    for (made, interface) in found.iter_mut().zip(numbers) {
        made.interface = interface;
    }
    assert_eq!(found.len() as u64, summary.records_written);
    (found, summary)
}

/// Of each record in an extract the interface as tests number it, by its name; `usize::MAX` for another.
fn interfaces_of(capture: &[u8]) -> Vec<usize> {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let names: BTreeMap<String, usize> = (0..VNIS.len()).map(|number| (interface_name(number), number)).collect();
    let (mut described, mut of_records) = (Vec::new(), Vec::new());
    let mut rest = capture;
    while !rest.is_empty() {
        let (block, behind) = rest.split_at(word(rest, 4) as usize);
        match word(block, 0) {
            1 => {
                let length = usize::from(u16::from_le_bytes([block[18], block[19]]));
                let name = (block[16] == 2).then(|| String::from_utf8_lossy(&block[20..20 + length]).into_owned());
                described.push(name.and_then(|name| names.get(&name).copied()).unwrap_or(usize::MAX));
            }
            6 => of_records.push(described[word(block, 8) as usize]),
            _ => {}
        }
        rest = behind;
    }
    of_records
}

/// Every record that `vxtap_capfile` reads from the file at `path`, and whether it met damage.
pub fn read(path: &Path) -> (Vec<(u64, u32, Vec<u8>)>, bool) {
    let mut records = Vec::new();
    let Ok(mut reader) = CaptureReader::open(path) else { return (records, true) };
    while let Some(record) = reader.next_record() {
        match record {
            Ok(record) => records.push((record.time_ns, record.wire_len, record.data.to_vec())),
            Err(_) => return (records, true),
        }
    }
    (records, false)
}

/// Writes `bytes` to `path` compressed; with its length in the header if `stated`.
pub fn compress(path: &Path, bytes: &[u8], stated: bool) {
    let mut encoder = zstd::Encoder::new(std::fs::File::create(path).unwrap(), 1).unwrap();
    if stated {
        encoder.set_pledged_src_size(Some(bytes.len() as u64)).unwrap();
        encoder.include_contentsize(true).unwrap();
    }
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap();
}

/// Makes a file look as if it was written long ago, so that its index is kept.
pub fn make_old(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_hours(1)).unwrap();
}
