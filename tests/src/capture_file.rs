//! Capture files as `pcap-parser` reads them, which neither the collector nor the sender uses.

use std::fs;
use std::path::{Path, PathBuf};

use pcap_parser::pcapng::{Block, parse_block_be, parse_block_le};
use pcap_parser::traits::PcapNGPacketBlock as _;
use pcap_parser::{LegacyPcapBlock, PcapHeader, nom, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_header};

/// Link type of Ethernet frames.
pub const ETHERNET: i32 = 1;

/// Option of interface statistics: frames dropped for want of resources.
const ISB_IFDROP: u16 = 5;

/// One record of a capture file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Name of its interface; empty in a pcap file or where it has none.
    pub interface: String,
    /// Link type.
    pub link_type: i32,
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Length of the frame when it was sent.
    pub original_len: usize,
    /// The bytes that are there.
    pub data: Vec<u8>,
}

impl Record {
    /// Whether it contains `needle` anywhere.
    pub fn contains(&self, needle: &[u8]) -> bool {
        self.data.windows(needle.len()).any(|window| window == needle)
    }
}

/// What is in a file that may still be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Whole records.
    pub records: Vec<Record>,
    /// Names of the interfaces, those without records included.
    pub interfaces: Vec<String>,
    /// Bytes behind the last whole record or block.
    pub tail: usize,
}

/// The records of the file at `path`.
///
/// # Panics
/// When it is not a capture file, or has anything but whole records.
pub fn read(path: &Path) -> Vec<Record> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let parsed = parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(parsed.tail, 0, "{} ends in the middle of a block", path.display());
    parsed.records
}

/// The capture files in `directory`, in the order in which they were begun.
pub fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("cannot list {}: {error}", directory.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pcapng" || extension == "pcap"))
        .collect();
    files.sort();
    files
}

/// The records of all capture files in `directory`, in the order of the files.
pub fn read_all(directory: &Path) -> Vec<Record> {
    files_in(directory).iter().flat_map(|file| read(file)).collect()
}

/// Writes the bytes of `records` to a pcap file at `path`, of the link type that the first has, or of Ethernet where there is none.
///
/// # Panics
/// When it cannot be written.
pub fn write(path: &Path, records: &[Record]) {
    let link_type = records.first().map_or(ETHERNET, |record| record.link_type);
    // Magic of nanosecond times, version 2.4, time zone, accuracy, snap length, link type.
    let header: [u32; 6] = [0xa1b2_3c4d, 2 | 4 << 16, 0, 0, 1 << 18, link_type as u32];
    let mut file: Vec<u8> = header.iter().flat_map(|field| field.to_le_bytes()).collect();
    for record in records {
        let (seconds, nanoseconds) = (record.time_ns / 1_000_000_000, record.time_ns % 1_000_000_000);
        let lengths = (record.data.len() as u32, record.original_len as u32);
        let fields = [seconds as u32, nanoseconds as u32, lengths.0, lengths.1];
        file.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        file.extend_from_slice(&record.data);
    }
    fs::write(path, file).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// Reads pcap of either byte order, microseconds or nanoseconds, or pcapng.
///
/// # Errors
/// When the bytes break the format; a file that only ends too early is no error, see [`Parsed::tail`].
pub fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    match bytes.first_chunk() {
        None => Ok(Parsed { tail: bytes.len(), ..Parsed::default() }),
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => parse_pcapng(bytes),
        _ => parse_pcap(bytes),
    }
}

/// Frames that a pcapng stream says are missing: the last statistics of each of its interfaces together; `None` where one
/// has none, or they do not say.
pub fn dropped(bytes: &[u8]) -> Option<u64> {
    let mut interfaces: Vec<Option<u64>> = Vec::new();
    let mut rest = bytes;
    while let Ok((behind, block)) = parse_block_le(rest) {
        match block {
            Block::InterfaceDescription(_) => interfaces.push(None),
            Block::InterfaceStatistics(statistics) => {
                let option = statistics.options.iter().find(|option| option.code.0 == ISB_IFDROP)?;
                *interfaces.get_mut(statistics.if_id as usize)? =
                    Some(u64::from_le_bytes(option.value.as_ref().try_into().ok()?));
            }
            _ => {}
        }
        rest = behind;
    }
    interfaces.into_iter().sum()
}

fn parse_pcap(bytes: &[u8]) -> Result<Parsed, String> {
    let (mut rest, header) = parse_pcap_header(bytes).map_err(|error| format!("bad file header: {}", short(&error)))?;
    let mut parsed = Parsed::default();
    loop {
        let frame = if header.is_bigendian() { parse_pcap_frame_be(rest) } else { parse_pcap_frame(rest) };
        match frame {
            Ok((behind, block)) => {
                parsed.records.push(legacy_record(&header, &block));
                rest = behind;
            }
            Err(nom::Err::Incomplete(_)) => break,
            Err(error) => return Err(format!("bad record {}: {}", parsed.records.len(), short(&error))),
        }
        if rest.is_empty() {
            break;
        }
    }
    parsed.tail = rest.len();
    Ok(parsed)
}

fn legacy_record(header: &PcapHeader, block: &LegacyPcapBlock<'_>) -> Record {
    let fraction = u64::from(block.ts_usec) * if header.is_nanosecond_precision() { 1 } else { 1000 };
    Record {
        interface: String::new(),
        link_type: header.network.0,
        time_ns: u64::from(block.ts_sec) * 1_000_000_000 + fraction,
        original_len: block.origlen as usize,
        data: block.data[..block.caplen as usize].to_vec(),
    }
}

struct Interface {
    name: String,
    link_type: i32,
    ns_per_tick: u64,
    snaplen: u32,
}

fn parse_pcapng(bytes: &[u8]) -> Result<Parsed, String> {
    let mut parsed = Parsed::default();
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut rest = bytes;
    let mut big = false;
    while !rest.is_empty() {
        // A section header tells the byte order of what follows it.
        if let Some([0x0a, 0x0d, 0x0d, 0x0a, _, _, _, _, magic @ ..]) = rest.first_chunk::<12>() {
            big = *magic == [0x1a, 0x2b, 0x3c, 0x4d];
            interfaces.clear();
        }
        let block = if big { parse_block_be(rest) } else { parse_block_le(rest) };
        let (behind, block) = match block {
            Ok(block) => block,
            Err(nom::Err::Incomplete(_)) => break,
            Err(error) => return Err(format!("bad block at byte {}: {}", bytes.len() - rest.len(), short(&error))),
        };
        match block {
            Block::InterfaceDescription(description) => {
                let name = description.if_name().and_then(Result::ok).unwrap_or_default().to_owned();
                parsed.interfaces.push(name.clone());
                let decimals = u32::from(description.if_tsresol);
                let ns_per_tick = 9_u32.checked_sub(decimals).map(|zeros| 10_u64.pow(zeros));
                let ns_per_tick = ns_per_tick.ok_or("times finer than nanoseconds, or binary")?;
                let link_type = description.linktype.0;
                interfaces.push(Interface { name, link_type, ns_per_tick, snaplen: description.snaplen });
            }
            Block::EnhancedPacket(packet) => {
                let interface = interfaces
                    .get(packet.if_id as usize)
                    .ok_or_else(|| format!("record {} is of no interface", parsed.records.len()))?;
                let ticks = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                parsed.records.push(Record {
                    interface: interface.name.clone(),
                    link_type: interface.link_type,
                    time_ns: ticks * interface.ns_per_tick,
                    original_len: packet.origlen as usize,
                    data: packet.packet_data().to_vec(),
                });
            }
            Block::SimplePacket(packet) => {
                let interface = interfaces.first().ok_or("a simple packet of no interface")?;
                let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
                parsed.records.push(Record {
                    interface: interface.name.clone(),
                    link_type: interface.link_type,
                    time_ns: 0,
                    original_len: packet.origlen as usize,
                    data: packet.data[..packet.origlen.min(snaplen) as usize].to_vec(),
                });
            }
            _ => {}
        }
        rest = behind;
    }
    parsed.tail = rest.len();
    Ok(parsed)
}

/// The error without the input that it quotes.
fn short<E: std::fmt::Debug>(error: &nom::Err<E>) -> String {
    let text = format!("{error:?}");
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests;
