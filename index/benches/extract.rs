//! How long it takes to find one flow in a directory of captures: with indexes, and with `tcpdump -r`.
//!
//! `cargo bench -p vxtap-index --bench extract -- [--bytes N] [--files N] [--flows N] [--directory D]` makes captures, whose indexes
//! are made as the captures are written, and removes them again. The page cache is warm: the captures have just been written, and
//! each way of searching is taken several times, of which the fastest counts.

use std::error::Error;
use std::fs::File;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use vxtap_capfile::pcapng::{InterfaceDescription, PacketHeader, SectionHeader};
use vxtap_capfile::{CaptureReader, LinkType};
use vxtap_filter::Filter;
use vxtap_index::{CommunityId, Extract, IndexBuilder, PageRange, Query, index_path};
use vxtap_wire::{FiveTuple, FlowKey, FrameView, IpAddress, IpVersion, NetworkId, protocol};

const PAGE_BYTES: usize = 1 << 20;
const ROUNDS: usize = 5;
/// So many flows are under way at any time.
const CONCURRENT: usize = 5_000;
const LONG_FLOW: u32 = 0;

struct Options {
    bytes: u64,
    files: u64,
    flows: u32,
    directory: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let directory = options.directory.join(format!("vxtap-extract-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let result = run(&options, &directory);
    std::fs::remove_dir_all(&directory)?;
    result
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { bytes: 64 << 20, files: 4, flows: 10_000, directory: std::env::temp_dir() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--bytes" => options.bytes = value()?.parse()?,
            "--files" => options.files = value()?.parse()?,
            "--flows" => options.flows = value()?.parse()?,
            "--directory" => options.directory = value()?.into(),
            // What cargo adds.
            "--bench" => {}
            _ => return Err(format!("unknown argument {argument}").into()),
        }
    }
    Ok(options)
}

fn run(options: &Options, directory: &Path) -> Result<(), Box<dyn Error>> {
    let made = make(options, directory)?;
    println!(
        "{} files, {:.2} GB, {} records, {} flows, {} pairs of flow and page; indexes {:.1} MB",
        made.captures.len(),
        made.bytes as f64 / 1e9,
        made.records,
        made.flows,
        made.pairs,
        made.index_bytes as f64 / 1e6,
    );
    println!(
        "builder: {:.0} ns for each pair; writing an index: {:.0} ms for each file",
        made.noting.as_nanos() as f64 / made.pairs as f64,
        made.writing.as_secs_f64() * 1e3 / made.captures.len() as f64,
    );
    for (what, flow) in [("a flow in the middle", options.flows / 2), ("a flow in every file", LONG_FLOW)] {
        compare(what, &tuple(flow), &made, directory)?;
    }
    if made.captures.len() < 2 {
        return Ok(());
    }
    std::fs::remove_file(index_path(&made.captures[0]))?;
    let start = Instant::now();
    Extract::new(Query::default()).plan(&made.captures[0]);
    println!("making one index that is missing: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn compare(what: &str, tuple: &FiveTuple, made: &Made, directory: &Path) -> Result<(), Box<dyn Error>> {
    let filter = format!(
        "host {} and host {} and tcp port {} and port {}",
        tuple.source_ip(),
        tuple.destination_ip(),
        tuple.source_port,
        tuple.destination_port
    );
    println!("{what}: {filter}");
    let by_id = Query { community_id: Some(CommunityId::of(tuple)), ..Query::default() };
    let (by_id, found) = search(&by_id, made)?;
    let by_filter = match Filter::parse(&filter) {
        Ok(filter) => {
            let (taken, also_found) = search(&Query { filter: Some(filter), ..Query::default() }, made)?;
            assert_eq!(found, also_found);
            Some(taken)
        }
        Err(error) => {
            println!("  by filter: skipped: {error}");
            None
        }
    };
    let Some(tcpdump) = tcpdump(&filter, made, directory, &found)? else {
        println!("  tcpdump: skipped: it cannot be run");
        return Ok(());
    };
    println!("  tcpdump -r: {:.0} ms", tcpdump.as_secs_f64() * 1e3);
    for (way, taken) in [("Community ID", Some(by_id)), ("filter", by_filter)] {
        if let Some(taken) = taken {
            println!("  by {way}: {:.2} % of tcpdump's time", 100.0 * taken.as_secs_f64() / tcpdump.as_secs_f64());
        }
    }
    Ok(())
}

type Found = Vec<(u64, Vec<u8>)>;

fn search(query: &Query, made: &Made) -> Result<(Duration, Found), Box<dyn Error>> {
    let search = Extract::new(query.clone());
    let way = if query.filter.is_some() { "filter" } else { "Community ID" };
    let mut best = Duration::MAX;
    let mut output = Vec::new();
    for _ in 0..ROUNDS {
        output.clear();
        let start = Instant::now();
        let summary = search.run(&made.captures, &mut output)?;
        let taken = start.elapsed();
        if taken < best {
            best = taken;
            println!(
                "  by {way}: {:.2} ms, {} records of {} looked at, {:.1} MB read",
                taken.as_secs_f64() * 1e3,
                summary.records_written,
                summary.records_examined,
                summary.bytes_read as f64 / 1e6,
            );
        }
    }
    Ok((best, records(CaptureReader::from_reader(Cursor::new(output), "the extract")?)?))
}

fn records(mut reader: CaptureReader) -> Result<Found, Box<dyn Error>> {
    let mut found = Vec::new();
    while let Some(record) = reader.next_record() {
        let record = record?;
        // tcpdump writes microseconds.
        found.push((record.time_ns / 1000, record.data.to_vec()));
    }
    Ok(found)
}

/// Has tcpdump search; `None` where there is no tcpdump. It has to find what was `found`.
fn tcpdump(filter: &str, made: &Made, directory: &Path, found: &Found) -> Result<Option<Duration>, Box<dyn Error>> {
    let list = directory.join("files");
    let mut names = File::create(&list)?;
    for capture in &made.captures {
        writeln!(names, "{}", capture.display())?;
    }
    let output = directory.join("found");
    let mut best = None;
    for _ in 0..2 {
        let start = Instant::now();
        let run = Command::new("tcpdump").arg("-V").arg(&list).arg("-w").arg(&output).arg(filter).output();
        let Ok(run) = run else { return Ok(None) };
        let taken = start.elapsed();
        if !run.status.success() {
            return Err(String::from_utf8_lossy(&run.stderr).into());
        }
        best = Some(best.map_or(taken, |best: Duration| best.min(taken)));
    }
    assert_eq!(&records(CaptureReader::open(&output)?)?, found, "tcpdump finds something else");
    Ok(best)
}

struct Made {
    captures: Vec<PathBuf>,
    bytes: u64,
    records: u64,
    flows: u32,
    pairs: u64,
    index_bytes: u64,
    noting: Duration,
    writing: Duration,
}

/// The client's address and port are of the flow alone.
fn tuple(flow: u32) -> FiveTuple {
    let [_, b, c, d] = (flow / 16).to_be_bytes();
    FiveTuple {
        source: IpAddress::v4([10, b, c, d]),
        destination: IpAddress::v4([172, 16, (flow % 7) as u8, (flow % 251) as u8]),
        source_port: 32_768 + (flow % 16) as u16 * 1_777,
        destination_port: 443,
        protocol: protocol::TCP,
        version: IpVersion::V4,
    }
}

/// A frame of `flow`, in one of both directions.
fn write_frame(frame: &mut Vec<u8>, flow: u32, back: bool, payload: usize) {
    let tuple = if back { tuple(flow).reversed() } else { tuple(flow) };
    frame.clear();
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]);
    frame.extend_from_slice(&(40 + payload as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 1, 0x40, 0, 64, 6, 0, 0]);
    frame.extend_from_slice(&tuple.source.first_four());
    frame.extend_from_slice(&tuple.destination.first_four());
    frame.extend_from_slice(&tuple.source_port.to_be_bytes());
    frame.extend_from_slice(&tuple.destination_port.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.resize(54 + payload, 0x55);
}

/// A generator of numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Makes the captures: short flows that come and go, and one that is always there.
fn make(options: &Options, directory: &Path) -> Result<Made, Box<dyn Error>> {
    let mut made = Made {
        captures: Vec::new(),
        bytes: 0,
        records: 0,
        flows: options.flows,
        pairs: 0,
        index_bytes: 0,
        noting: Duration::ZERO,
        writing: Duration::ZERO,
    };
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut active: Vec<u32> = (1..=CONCURRENT as u32).collect();
    let mut next_flow = CONCURRENT as u32 + 1;
    let per_flow = options.bytes / u64::from(options.flows);
    let mean_record = 700;
    let mut time_ns = 1_700_000_000_000_000_000;
    let mut frame = Vec::new();
    for number in 0..options.files {
        let path = directory.join(format!("vxtap-{number:05}.pcapng"));
        let mut file = File::create(&path)?;
        let mut builder = IndexBuilder::new();
        let mut length = 0_u64;
        let mut block = Vec::new();
        SectionHeader::default().append_to(&mut block);
        let name = "vni 100 from 10.0.0.1";
        InterfaceDescription { name, description: "", link_type: LinkType::ETHERNET }.append_to(&mut block);
        builder.describe(&block);
        while length < options.bytes / options.files {
            let mut flows = Vec::new();
            let mut page = PageRange { offset: length, length: 0, first_ns: time_ns, last_ns: 0, records: 0 };
            while block.len() < PAGE_BYTES - 2048 {
                let slot = random.below(CONCURRENT as u64) as usize;
                let mut flow = active[slot];
                if random.below(10_000) == 0 {
                    flow = LONG_FLOW;
                } else if random.below(per_flow / mean_record + 1) == 0 && next_flow < options.flows {
                    active[slot] = next_flow;
                    next_flow += 1;
                }
                let back = random.below(2) == 0;
                let payload = if random.below(2) == 0 { random.below(100) } else { 1000 + random.below(447) };
                write_frame(&mut frame, flow, back, payload as usize);
                time_ns += 1 + random.below(10_000) / 1000 * 1000;
                PacketHeader { interface: 0, time_ns, wire_len: 0 }.append_to(&mut block, &frame);
                page.records += 1;
                let tuple = FrameView::parse(&frame).five_tuple.ok_or("a frame without a five-tuple")?;
                flows.push(FlowKey::new(NetworkId(100), &tuple).0);
            }
            // A worker names a flow once for a block.
            flows.sort_unstable();
            flows.dedup();
            (page.length, page.last_ns) = (block.len() as u64, time_ns);
            made.pairs += flows.len() as u64;
            made.records += page.records;
            let start = Instant::now();
            builder.page(page, &flows, false);
            made.noting += start.elapsed();
            file.write_all(&block)?;
            length += block.len() as u64;
            block.clear();
        }
        drop(file);
        let start = Instant::now();
        made.index_bytes += builder.write(&path, length)?.bytes;
        made.writing += start.elapsed();
        made.bytes += length;
        made.captures.push(path);
    }
    Ok(made)
}
