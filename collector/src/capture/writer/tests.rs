use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pcap_parser::{Block, PcapBlockOwned, PcapNGSlice};
use tempfile::TempDir;
use vxtap_analyzers::{StreamId, StreamKey};
use vxtap_capfile::CaptureReader;
use vxtap_index::{Extract, Query};
use vxtap_wire::vxlan::Vni;

use super::*;
use crate::capture::{CaptureFormat, CaptureSplit, CaptureTotals, LaneTotals};
use crate::networks::{NamedNetwork, Networks};

const DEADLINE: Duration = Duration::from_secs(20);

fn stream(vni: u32) -> StreamKey {
    StreamKey::vxlan(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)), Vni::new(vni).unwrap())
}

/// A run of captures into a directory of its own.
struct Run {
    directory: TempDir,
    streams: Arc<StreamRegistry>,
    settings: CaptureSettings,
}

impl Run {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = CaptureSettings::new(directory.path().to_owned());
        Self { directory, streams: Arc::default(), settings }
    }

    fn captures(&self, workers: usize, input: Input) -> Captures {
        let streams = Arc::clone(&self.streams);
        Captures { hub: Hub::new(Arc::clone(&streams)), streams, workers, input }
    }

    fn start(&self, workers: usize) -> (CaptureHandle, Vec<CaptureLane>) {
        self.captures(workers, Input::Live).start(Some(&self.settings)).unwrap()
    }

    fn start_with(&self, block_bytes: usize, create: Create) -> (CaptureHandle, CaptureLane) {
        let captures = self.captures(1, Input::Live);
        let (handle, mut lanes) = captures.start_with(Some(&self.settings), block_bytes, create).unwrap();
        (handle, lanes.remove(0))
    }

    /// Visible files, in the order of their names.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let visible = |path: &PathBuf| path.extension().is_some_and(|end| end == "pcapng" || end == "pcap");
        let mut files: Vec<_> = entries
            .filter(|path| visible(path) && !path.file_name().unwrap().as_encoded_bytes().starts_with(b"."))
            .collect();
        files.sort();
        files
    }

    fn only_file(&self) -> PathBuf {
        let mut files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

/// Time, interface name, length on the wire, frame.
type Packet = (u64, String, u32, Vec<u8>);

/// What a reader that is not ours finds in a finished file, and how many interfaces.
fn contents(path: &Path) -> (Vec<Packet>, usize) {
    let (packets, interfaces, statistics) = blocks_of(path);
    assert_eq!(statistics, interfaces);
    (packets, interfaces)
}

/// The same of a file that is being written.
fn records(path: &Path) -> (Vec<Packet>, usize) {
    let (packets, interfaces, statistics) = blocks_of(path);
    assert_eq!(statistics, 0);
    (packets, interfaces)
}

/// Packets, interfaces and statistics blocks.
fn blocks_of(path: &Path) -> (Vec<Packet>, usize, usize) {
    let bytes = fs::read(path).unwrap();
    let (mut names, mut packets, mut statistics) = (Vec::new(), Vec::new(), 0);
    for block in PcapNGSlice::from_slice(&bytes).unwrap() {
        match block.unwrap() {
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                let name = interface.options.iter().find(|option| option.code.0 == 2).unwrap();
                names.push(String::from_utf8(name.value[..name.len as usize].to_vec()).unwrap());
                assert_eq!((interface.linktype.0, interface.if_tsresol), (1, 9));
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let time = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let frame = packet.data[..packet.caplen as usize].to_vec();
                packets.push((time, names[packet.if_id as usize].clone(), packet.origlen, frame));
            }
            PcapBlockOwned::NG(Block::InterfaceStatistics(_)) => statistics += 1,
            _ => {}
        }
    }
    (packets, names.len(), statistics)
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn totals(written: u64, dropped: u64) -> Vec<LaneTotals> {
    vec![LaneTotals { written, dropped }]
}

mod displaced;
mod order;
mod rotation;
mod statistics;
mod trouble;

#[test]
fn frames_come_out_with_time_stream_name_and_length_on_the_wire() {
    for direct in [false, true] {
        let mut run = Run::new();
        run.settings.direct = direct;
        let (first, second) = (run.streams.intern(&stream(4242)), run.streams.intern(&StreamKey::PLAIN));
        let (handle, mut lanes) = run.start(1);
        // The second stream comes first, so its number in the file is not its number in the run.
        lanes[0].record(1_700_000_000_123_456_789, second, b"one", 3);
        lanes[0].record(1_700_000_000_123_456_790, first, b"two, cut", 1500);
        lanes[0].record(5, second, &[], 60);
        drop(lanes);
        let result = handle.finish();
        let path = run.only_file();
        let bytes = fs::metadata(&path).unwrap().len();
        assert_eq!(result, CaptureTotals { lanes: totals(3, 0), bytes, files: 1, error: None });
        let (plain, vni) = ("plain".to_owned(), "vni 4242 from 10.0.0.7".to_owned());
        let expected = [
            // A file is in the order of time.
            (5, plain.clone(), 60, Vec::new()),
            (1_700_000_000_123_456_789, plain, 3, b"one".to_vec()),
            (1_700_000_000_123_456_790, vni, 1500, b"two, cut".to_vec()),
        ];
        assert_eq!(contents(&path), (expected.to_vec(), 2));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("vxtap-20") && name.ends_with("Z-00001.pcapng") && name.len() == 35, "{name}");
    }
}

#[test]
fn a_run_without_frames_leaves_no_file() {
    let run = Run::new();
    let (handle, lanes) = run.start(2);
    drop(lanes);
    assert_eq!(
        handle.finish(),
        CaptureTotals { lanes: [totals(0, 0), totals(0, 0)].concat(), ..CaptureTotals::default() }
    );
    assert_eq!(run.files(), Vec::<PathBuf>::new());
}

#[test]
fn a_frame_of_slow_traffic_is_in_the_file_when_the_flush_time_has_passed() {
    for direct in [false, true] {
        let mut run = Run::new();
        run.settings.direct = direct;
        let (handle, mut lanes) = run.start(1);
        let clock = Instant::now();
        for number in 1..=3 {
            lanes[0].record(number, StreamId(0), b"slow", 4);
            let sent = Instant::now();
            let asked = clock.elapsed().as_nanos() as u64;
            lanes[0].flush_if_due(asked);
            let due = lanes[0].next_flush_ns().unwrap();
            // To the nanosecond: no sooner, and with a quarter of the flush time left for the writer.
            assert_eq!(u128::from(due - asked), (run.settings.flush / 4 * 3).as_nanos());
            until("the flush time", || clock.elapsed().as_nanos() as u64 >= due);
            lanes[0].flush_if_due(clock.elapsed().as_nanos() as u64);
            assert_eq!(lanes[0].next_flush_ns(), None);
            until("the frame in the file", || {
                let Some(file) = run.files().into_iter().next() else { return false };
                let Ok(mut reader) = CaptureReader::open(file) else { return false };
                while let Some(record) = reader.next_record() {
                    record.unwrap();
                }
                reader.records() == number
            });
            let elapsed = sent.elapsed();
            assert!(elapsed >= handed_over_after(run.settings.flush), "{elapsed:?}");
        }
        drop(lanes);
        assert_eq!(handle.finish().lanes, totals(3, 0));
    }
}

#[test]
fn while_nothing_comes_the_writer_uses_no_time() {
    let run = Run::new();
    let (handle, mut lanes) = run.start(1);
    lanes[0].record(1, StreamId(0), b"frame", 5);
    lanes[0].flush();
    until("the frame", || handle.written(0) == 1);
    let switches = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let names_writer =
            |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "vxtap-capture");
        let mut counts: Vec<(PathBuf, String)> = tasks
            .filter(names_writer)
            .filter_map(|task| Some((task.clone(), fs::read_to_string(task.join("status")).ok()?)))
            .map(|(task, status)| {
                let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
                (task, lines.collect())
            })
            .collect();
        counts.sort();
        counts
    };
    // Writers of tests that run beside this one come and go; this one's stays, falls asleep, and then does not move.
    until("a while without a wake-up", || {
        let (before, start) = (switches(), Instant::now());
        until("a while", || start.elapsed() > Duration::from_millis(300));
        let after = switches();
        before.iter().any(|writer| after.contains(writer))
    });
    drop(lanes);
    handle.finish();
}

/// Makes files; the ones at `full` are on a disk without room.
fn sometimes_full(full: std::ops::Range<usize>) -> Create {
    let made = AtomicUsize::new(0);
    Arc::new(move |path| {
        let file = File::create_new(path)?;
        if full.contains(&made.fetch_add(1, Ordering::Relaxed)) {
            return Ok((OpenOptions::new().write(true).open("/dev/full")?, false));
        }
        Ok((file, false))
    })
}

/// Whether files in `directory` can be written around the page cache; some file systems say that they do and do not.
fn writes_directly(directory: &Path) -> bool {
    const EXT4: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    [EXT4, XFS].contains(&(rustix::fs::statfs(directory).unwrap().f_type as u64))
}

#[test]
fn a_reader_never_meets_a_cut_record_where_files_are_written_directly() {
    let mut run = Run::new();
    if !writes_directly(run.directory.path()) {
        println!("skipped: {} is not on a disk", run.directory.path().display());
        return;
    }
    run.settings.direct = true;
    let (handle, mut lanes) = run.start(1);
    let monitor = handle.monitor();
    let enough = Arc::new(AtomicBool::new(false));
    let seen_enough = Arc::clone(&enough);
    let worker = std::thread::spawn(move || {
        let frame = [1; 1400];
        let begun = Instant::now();
        // As long as a busy disk takes to be seen growing that often.
        for burst in 0_usize.. {
            if seen_enough.load(Ordering::Relaxed) || begun.elapsed() > Duration::from_mins(1) {
                break;
            }
            for time in 0..burst % 120 {
                lanes[0].record(time as u64, StreamId(0), &frame[..time * 11], 1400);
            }
            lanes[0].flush();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    until("the file", || monitor.written(0) > 0);
    let file = File::open(run.only_file()).unwrap();
    let (mut at, mut growths, mut looks) = (0, 0, 0);
    let mut buffer = vec![0; 8 << 20];
    while !worker.is_finished() || at < file.metadata().unwrap().len() {
        looks += 1;
        let mut length = 0;
        loop {
            match file.read_at(&mut buffer[length..], at + length as u64).unwrap() {
                0 => break,
                count => length += count,
            }
        }
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let block = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
            assert!(block >= 12 && block <= rest.len(), "a block of {block} bytes, {} are there", rest.len());
            assert_eq!(rest[block - 4..block], rest[4..8]);
            rest = &rest[block..];
        }
        growths += u32::from(length > 0);
        at += length as u64;
        enough.store(growths > 50 && looks > 200, Ordering::Relaxed);
    }
    worker.join().unwrap();
    assert_eq!(handle.finish().error, None);
    assert!(growths > 50 && looks > 200, "{growths} {looks}");
}

/// Times of the packets of a file.
fn times(path: &Path) -> Vec<u64> {
    contents(path).0.iter().map(|packet| packet.0).collect()
}

#[test]
fn classic_files_have_the_frames_with_their_times_and_lengths() {
    for (format, resolution) in [(CaptureFormat::Pcap, 1000), (CaptureFormat::PcapNanoseconds, 1)] {
        let mut run = Run::new();
        run.settings.format = format;
        run.settings.rotation.bytes = Some(24 + 2 * 16 + 7 + 2);
        let (handle, mut lanes) = run.start(1);
        lanes[0].record(1_700_000_000_123_456_789, StreamId(0), b"one cut", 1500);
        lanes[0].record(1_700_000_000_123_456_999, StreamId(0), b"ab", 2);
        lanes[0].record(1_700_000_001_000_000_000, StreamId(0), b"next", 4);
        drop(lanes);
        assert_eq!(handle.finish().lanes, totals(3, 0));
        let mut packets = Vec::new();
        for path in run.files() {
            assert_eq!(path.extension().unwrap(), "pcap");
            let mut reader = CaptureReader::open(&path).unwrap();
            while let Some(record) = reader.next_record() {
                let record = record.unwrap();
                packets.push((record.time_ns, record.wire_len, record.data.to_vec()));
            }
        }
        let round = |time: u64| time / resolution * resolution;
        let expected = [
            (round(1_700_000_000_123_456_789), 1500, b"one cut".to_vec()),
            (round(1_700_000_000_123_456_999), 2, b"ab".to_vec()),
            (1_700_000_001_000_000_000, 4, b"next".to_vec()),
        ];
        assert_eq!(packets, expected);
        assert_eq!(run.files().len(), 2);
    }
}

#[test]
fn a_search_by_the_index_that_a_classic_file_gets_while_it_is_written_finds_every_record() {
    for format in [CaptureFormat::Pcap, CaptureFormat::PcapNanoseconds] {
        let mut run = Run::new();
        run.settings.format = format;
        let (handle, mut lanes) = run.start(1);
        for number in 0..50 {
            lanes[0].record(1_700_000_000_000_000_000 + u64::from(number), StreamId(0), &[number; 70], 70);
        }
        drop(lanes);
        handle.finish();
        let query = Query { since_ns: Some(1), ..Query::default() };
        let mut found = Vec::new();
        let summary = Extract::new(query).run(&run.files(), &mut found).unwrap();
        assert_eq!((summary.files, summary.files_without_index), (1, 0));
        assert_eq!((summary.records_written, summary.damaged), (50, Vec::new()));
    }
}

#[test]
fn a_closed_file_has_an_index_beside_it() {
    let run = Run::new();
    let (handle, mut lanes) = run.start(1);
    lanes[0].record(unix_ns(), StreamId(0), b"frame", 5);
    drop(lanes);
    assert_eq!(handle.finish().files, 1);
    assert!(vxtap_index::index_path(&run.only_file()).exists());
}

#[test]
fn whoever_reads_a_fifo_gets_all_frames_and_the_statistics() {
    let mut run = Run::new();
    let fifo = run.directory.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    run.settings.directory = fifo.clone();
    let copy = run.directory.path().join("copy.pcapng");
    let reader = std::thread::spawn({
        let copy = copy.clone();
        move || io::copy(&mut File::open(fifo).unwrap(), &mut File::create(copy).unwrap()).unwrap()
    });
    // What is read from a file waits for somebody who takes it.
    let (handle, mut lanes) = run.captures(1, Input::Turns).start(Some(&run.settings)).unwrap();
    for time_ns in 0..1000 {
        lanes[0].record(time_ns, StreamId(0), b"frame", 5);
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(1000, 0));
    reader.join().unwrap();
    assert_eq!(contents(&copy).0.len(), 1000);
}

#[test]
fn frames_of_now_that_nobody_takes_out_of_a_fifo_are_counted_and_nothing_waits() {
    let mut run = Run::new();
    let fifo = run.directory.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    run.settings.directory = fifo;
    let (handle, mut lanes) = run.start(1);
    for time_ns in 0..1000 {
        lanes[0].record(time_ns, StreamId(0), b"frame", 5);
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(0, 1000));
}
