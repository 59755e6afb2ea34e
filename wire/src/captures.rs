//! Captures that others made, and what trusted tools say is in them, for this crate's own tests.
//!
//! They lie in `../shared/captures` beside the workspace or where `VXTAP_CAPTURES` says.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::FrameView;
use pcap_parser::pcapng::Block;
use pcap_parser::{Linktype, PcapBlockOwned, PcapError, create_reader};

/// One frame of a capture file, or one IP packet of a tunnel that carries no Ethernet.
pub(crate) struct Record {
    pub(crate) bytes: Vec<u8>,
    /// Its length before the capturing machine cut it.
    pub(crate) original_len: u32,
    pub(crate) is_ethernet: bool,
}

impl Record {
    pub(crate) fn view(&self) -> FrameView<'_> {
        if self.is_ethernet { FrameView::parse(&self.bytes) } else { FrameView::parse_ip(&self.bytes) }
    }
}

/// One capture with Ethernet frames.
pub(crate) struct Capture {
    pub(crate) class: String,
    pub(crate) name: String,
    pub(crate) records: Vec<Record>,
    /// Where what trusted tools say about it is.
    pub(crate) expected: PathBuf,
}

impl Capture {
    /// The rows of a table of expectations by column, none where there is no such table.
    pub(crate) fn table(&self, file: &str) -> Vec<Vec<String>> {
        fs::read_to_string(self.expected.join(file)).map(|text| rows(&text)).unwrap_or_default()
    }

    /// The inner frames of each VXLAN and GENEVE unit, as editcap cut them out; `vxlan_5.pcap` is unit `vxlan:5`.
    pub(crate) fn decapsulated(&self) -> Vec<(String, Vec<Record>)> {
        let Ok(entries) = fs::read_dir(self.expected.join("decap")) else { return Vec::new() };
        let mut units: Vec<_> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "pcap"))
            .map(|path| (path.file_stem().unwrap().to_str().unwrap().replace('_', ":"), read(&path)))
            .collect();
        units.sort_by(|a, b| a.0.cmp(&b.0));
        units
    }
}

/// All captures with Ethernet frames; `None`, and a line that says so, where there are none on this machine.
pub(crate) fn ethernet() -> Option<Vec<Capture>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let root = env::var_os("VXTAP_CAPTURES").map_or_else(beside, PathBuf::from);
    let Ok(manifest) = fs::read_to_string(root.join("MANIFEST.tsv")) else {
        let no_skip = env::var("VXTAP_NO_SKIP").unwrap_or_default();
        assert!(!no_skip.split(',').any(|need| need == "1" || need == "captures"), "no captures in {}", root.display());
        println!("skipped: no captures");
        return None;
    };
    let captures: Vec<_> = rows(&manifest)
        .into_iter()
        .filter(|row| row[9] == "ether")
        .map(|row| Capture {
            records: read(&root.join(&row[1]).join(&row[2])),
            expected: root.join("expected").join(&row[1]).join(&row[0]),
            class: row[1].clone(),
            name: row[0].clone(),
        })
        .collect();
    assert!(captures.len() > 50, "only {} captures", captures.len());
    Some(captures)
}

/// Every Ethernet frame there is: of the captures as they are, and of what is in their tunnels.
pub(crate) fn all_frames() -> Option<Vec<(String, Record)>> {
    let mut frames = Vec::new();
    for capture in ethernet()? {
        let named = |unit: &str, records: Vec<Record>| {
            let place = |at| format!("{} {unit} frame {}", capture.name, at + 1);
            records.into_iter().enumerate().map(|(at, record)| (place(at), record)).collect::<Vec<_>>()
        };
        for (unit, records) in capture.decapsulated() {
            frames.extend(named(&unit, records));
        }
        frames.extend(named("-", capture.records));
    }
    Some(frames)
}

fn rows(table: &str) -> Vec<Vec<String>> {
    table.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// The Ethernet frames and bare IP packets of a pcap or pcapng file.
fn read(path: &Path) -> Vec<Record> {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = create_reader(1 << 20, file).unwrap();
    let mut records = Vec::new();
    let mut link_types = Vec::new();
    let mut add = |link_type: Linktype, bytes: &[u8], original_len: u32| {
        let is_ethernet = link_type == Linktype::ETHERNET;
        if is_ethernet || [Linktype::RAW, Linktype::IPV4, Linktype::IPV6].contains(&link_type) {
            records.push(Record { bytes: bytes.to_vec(), original_len, is_ethernet });
        }
    };
    loop {
        match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => link_types = vec![header.network],
                    PcapBlockOwned::Legacy(record) => add(link_types[0], record.data, record.origlen),
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => link_types.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => link_types.push(interface.linktype),
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        let bytes = &packet.data[..packet.caplen as usize];
                        add(link_types[packet.if_id as usize], bytes, packet.origlen);
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                reader.consume(used);
            }
            Err(PcapError::Eof) => return records,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}
