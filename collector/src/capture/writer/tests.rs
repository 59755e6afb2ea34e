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

mod statistics;

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
fn the_frames_of_each_worker_stay_in_order_and_none_is_lost() {
    const FRAMES: u64 = 30_000;
    const WORKERS: u64 = 3;
    for direct in [false, true] {
        let mut run = Run::new();
        run.settings.direct = direct;
        run.settings.blocks = 64;
        run.settings.rotation.bytes = None;
        let (handle, lanes) = run.start(WORKERS as usize);
        let workers: Vec<_> = (0..WORKERS)
            .zip(lanes)
            .map(|(worker, mut lane)| {
                let id = run.streams.intern(&stream(worker as u32));
                std::thread::spawn(move || {
                    let frame = [worker as u8; 300];
                    for number in 0..FRAMES {
                        lane.record(number, id, &frame[..(number % 300) as usize], 1000);
                        if number % 1000 == 0 {
                            lane.flush();
                        }
                    }
                    assert_eq!(lane.dropped(), 0);
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        let status = handle.monitor();
        let result = handle.finish();
        assert_eq!(result.lanes, vec![LaneTotals { written: FRAMES, dropped: 0 }; WORKERS as usize]);
        assert_eq!(status.status().pending, 0);
        let mut next = BTreeMap::new();
        let (packets, _) = contents(&run.only_file());
        assert_eq!(packets.len() as u64, FRAMES * WORKERS);
        for (time, name, _, frame) in packets {
            let expected = next.entry(name).or_insert(0_u64);
            assert_eq!((time, frame.len() as u64), (*expected, *expected % 300));
            *expected += 1;
        }
    }
}

#[test]
fn no_file_is_larger_than_told_and_each_is_whole_by_itself() {
    for direct in [false, true] {
        let mut run = Run::new();
        run.settings.direct = direct;
        run.settings.rotation.bytes = Some(100_000);
        let ids: Vec<_> = (0..7).map(|vni| run.streams.intern(&stream(vni))).collect();
        let (handle, mut lanes) = run.start(1);
        let mut sent = Vec::new();
        for number in 0..2000_u64 {
            let id = ids[(number / 50 % 7) as usize];
            let frame = vec![number as u8; 60 + (number % 1400) as usize];
            lanes[0].record(number, id, &frame, 2000);
            sent.push((number, run.streams.name(id), 2000, frame));
        }
        drop(lanes);
        let monitor = handle.monitor();
        let result = handle.finish();
        let files = run.files();
        assert_eq!((result.lanes, result.files), (totals(2000, 0), files.len() as u64));
        assert!(files.len() > 10, "{}", files.len());
        let mut read = Vec::new();
        for (file, listed) in files.iter().zip(monitor.status().files) {
            let bytes = fs::metadata(file).unwrap().len();
            assert!(bytes <= 100_000, "{bytes}");
            let (packets, interfaces) = contents(file);
            assert!(interfaces > 0);
            assert_eq!(listed.name, file.file_name().unwrap().to_str().unwrap());
            assert_eq!((listed.bytes, listed.frames), (bytes, packets.len() as u64));
            assert!(listed.closed_ns >= Some(listed.opened_ns));
            read.extend(packets);
        }
        assert!(read == sent);
        let numbers: Vec<_> = files.iter().map(|file| file.to_str().unwrap()[..].rsplit_once('-').unwrap().1).collect();
        assert_eq!(numbers[..2], ["00001.pcapng", "00002.pcapng"]);
    }
}

#[test]
fn a_record_that_is_larger_than_a_file_may_be_gets_one_of_its_own() {
    let mut run = Run::new();
    run.settings.rotation.bytes = Some(400);
    let (handle, mut lanes) = run.start(1);
    for time in 0..3 {
        lanes[0].record(time, StreamId(0), &[1; 1000], 1000);
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(3, 0));
    let counts: Vec<_> = run.files().iter().map(|file| contents(file).0.len()).collect();
    assert_eq!(counts, [1, 1, 1]);
}

#[test]
fn a_name_that_is_taken_is_passed_over_and_its_file_left_alone() {
    let run = Run::new();
    let started = time::OffsetDateTime::now_utc();
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    for second in 0..5 {
        let started = (started + Duration::from_secs(second)).format(format).unwrap();
        fs::write(run.directory.path().join(format!("vxtap-{started}-00001.pcapng")), "not mine").unwrap();
    }
    let (handle, mut lanes) = run.start(1);
    lanes[0].record(1, StreamId(0), b"frame", 5);
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(1, 0));
    let files = run.files();
    assert_eq!(files.len(), 6);
    let (theirs, ours): (Vec<_>, Vec<_>) = files.iter().partition(|file| fs::read(file).unwrap() == b"not mine");
    assert_eq!((theirs.len(), ours.len()), (5, 1));
    assert!(ours[0].to_str().unwrap().ends_with("-00002.pcapng"));
    assert_eq!(contents(ours[0]).0.len(), 1);
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

/// Makes a FIFO at the path: its writer waits as soon as 64 KiB are in it and nobody reads.
fn blocked() -> (Create, Arc<Mutex<Option<File>>>) {
    let reader = Arc::new(Mutex::new(None));
    let shared = Arc::clone(&reader);
    let create = move |path: &Path| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600))?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        *shared.lock().unwrap() = Some(file.try_clone()?);
        Ok((file, false))
    };
    (Arc::new(create), reader)
}

#[test]
fn a_stuck_disk_costs_frames_that_are_counted_and_never_time_of_the_worker() {
    let mut run = Run::new();
    run.settings.blocks = 4;
    let (create, reader) = blocked();
    let (handle, mut lane) = run.start_with(256 << 10, create);
    let frame = [7; 1400];
    let start = Instant::now();
    for number in 0..20_000 {
        lane.record(number, StreamId(0), &frame, 1400);
        lane.flush_if_due(start.elapsed().as_nanos() as u64);
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // Four blocks of 182 records are all that can be on their way.
    let taken = 20_000 - lane.dropped();
    assert!((3 * 182..=5 * 183).contains(&taken), "{taken}");
    assert_eq!(handle.dropped(0), lane.dropped());
    assert!(handle.status().pending > 0);
    until("the pipe", || reader.lock().unwrap().is_some());
    let mut pipe = reader.lock().unwrap().take().unwrap();
    let drain = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        let mut total = 0;
        while total < taken * 1432 {
            total += pipe.read(&mut buffer).unwrap() as u64;
        }
        // The writer must not wait for the statistics that end the file.
        pipe
    });
    drop(lane);
    let result = handle.finish();
    drain.join().unwrap();
    assert_eq!(result.lanes, totals(taken, 20_000 - taken));
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

#[test]
fn a_full_disk_costs_frames_and_writing_goes_on_when_there_is_room_again() {
    let run = Run::new();
    let (handle, mut lane) = run.start_with(BLOCK_BYTES, sometimes_full(0..1));
    lane.record(1, StreamId(0), b"lost", 4);
    lane.flush();
    until("the error", || handle.status().error.is_some());
    let error = handle.status().error.unwrap();
    assert!(error.starts_with("cannot write capture file '") && error.contains("No space left on device"), "{error}");
    assert_eq!((run.files(), handle.dropped(0)), (vec![], 1));
    let mut sent = 1;
    until("writing", || {
        sent += 1;
        lane.record(sent, StreamId(0), b"kept", 4);
        lane.flush();
        handle.written(0) > 0
    });
    until("the end of the error", || handle.status().error.is_none());
    drop(lane);
    let result = handle.finish();
    assert_eq!((result.error, result.files), (None, 1));
    assert_eq!(result.lanes[0].written + result.lanes[0].dropped, sent);
    let (packets, _) = contents(&run.only_file());
    assert_eq!(packets.len() as u64, result.lanes[0].written);
    assert!(packets.iter().all(|(.., frame)| frame == b"kept"));
}

#[test]
fn an_error_that_stands_at_the_end_is_told() {
    let run = Run::new();
    let (handle, mut lane) = run.start_with(BLOCK_BYTES, sometimes_full(0..usize::MAX));
    lane.record(1, StreamId(0), b"lost", 4);
    drop(lane);
    let result = handle.finish();
    assert_eq!((result.lanes, result.files, result.bytes), (totals(0, 1), 0, 0));
    assert!(result.error.unwrap().contains("No space left on device"));
    assert_eq!(run.files(), Vec::<PathBuf>::new());
}

#[test]
fn a_file_that_somebody_removes_is_followed_by_the_next() {
    let run = Run::new();
    let (handle, mut lanes) = run.start(1);
    lanes[0].record(1, StreamId(0), b"first", 5);
    lanes[0].flush();
    until("the first frame", || handle.written(0) == 1);
    fs::remove_file(run.only_file()).unwrap();
    lanes[0].record(2, StreamId(0), b"second", 6);
    let monitor = handle.monitor();
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(2, 0));
    let file = run.only_file();
    assert!(file.to_str().unwrap().ends_with("-00002.pcapng"));
    assert_eq!(monitor.displaced(), 1);
    let (packets, _) = contents(&file);
    assert_eq!(packets, [(2, "other streams".to_owned(), 6, b"second".to_vec())]);
}

/// Hands over frames of one byte, one at a time, until one of them is in a file of `directory`; gives how many it took.
fn frames_until_one_is_in(directory: &Path, handle: &CaptureHandle, lane: &mut CaptureLane) -> u64 {
    let mut frames = handle.written(0);
    let captures = || fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.file_name()));
    until("a file in its place", || {
        frames += 1;
        lane.record(frames, StreamId(0), b"x", 1);
        lane.flush();
        until("writing", || handle.written(0) == frames);
        captures().any(|name| name.to_str().is_some_and(|name| name.starts_with("vxtap-") && name.ends_with(".pcapng")))
    });
    frames
}

#[test]
fn when_the_directory_is_moved_away_the_file_is_ended_there_and_the_next_begins_where_it_was_told_to() {
    let mut run = Run::new();
    run.settings.directory = run.directory.path().join("captures");
    let moved = run.directory.path().join("moved");
    let (handle, mut lanes) = run.start(1);
    let first = frames_until_one_is_in(&run.settings.directory, &handle, &mut lanes[0]);
    fs::rename(&run.settings.directory, &moved).unwrap();
    let frames = frames_until_one_is_in(&run.settings.directory, &handle, &mut lanes[0]);
    let monitor = handle.monitor();
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(frames, 0));
    assert_eq!(monitor.displaced(), 1);
    let in_directory = |directory: &Path| {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let captures = entries.filter(|path| path.extension().is_some_and(|end| end == "pcapng"));
        captures.map(|path| contents(&path).0.len() as u64).collect::<Vec<_>>()
    };
    let (there, here) = (in_directory(&moved), in_directory(&run.settings.directory));
    assert_eq!((there.len(), here.len()), (1, 1));
    assert!(there[0] >= first && there[0] + here[0] == frames, "{there:?} {here:?} of {frames}");
}

#[test]
fn a_file_that_is_moved_away_or_cut_is_left_within_a_second_though_no_frame_comes() {
    type Displace = fn(&Path);
    let ways: [(&str, Displace); 3] = [
        ("moved", |path| fs::rename(path, path.with_extension("old")).unwrap()),
        ("replaced", |path| {
            fs::rename(path, path.with_extension("old")).unwrap();
            fs::write(path, "another program's").unwrap();
        }),
        ("cut", |path| drop(OpenOptions::new().write(true).truncate(true).open(path).unwrap())),
    ];
    for (way, displace) in ways {
        let run = Run::new();
        let (handle, mut lanes) = run.start(1);
        lanes[0].record(1, StreamId(0), b"first", 5);
        lanes[0].flush();
        until("the first frame", || handle.written(0) == 1);
        let file = run.only_file();
        displace(&file);
        let monitor = handle.monitor();
        until(way, || monitor.displaced() == 1);
        lanes[0].record(2, StreamId(0), b"second", 6);
        drop(lanes);
        assert_eq!(handle.finish().lanes, totals(2, 0), "{way}");
        let next = run.files().pop().unwrap();
        assert!(next.to_str().unwrap().ends_with("-00002.pcapng"), "{way}: {}", next.display());
        assert_eq!(contents(&next).0.len(), 1, "{way}");
        match way {
            "cut" => assert_eq!(fs::read(&file).unwrap(), b"", "nothing was written behind a hole"),
            _ => assert_eq!(contents(&file.with_extension("old")).0.len(), 1, "{way}"),
        }
        let index = vxtap_index::index_path(&file);
        assert!(!index.exists(), "{way}: an index of what is not there");
        assert_eq!(monitor.displaced(), 1, "{way}");
    }
}

#[test]
fn a_removed_directory_is_made_again() {
    let mut run = Run::new();
    run.settings.directory = run.directory.path().join("captures");
    let (handle, mut lanes) = run.start(1);
    for round in 1..=2 {
        // The keeper may put something in while it is removed: its list of files comes after the file.
        until("removing", || fs::remove_dir_all(&run.settings.directory).is_ok());
        lanes[0].record(round, StreamId(0), b"kept", 4);
        lanes[0].flush();
        until("writing", || handle.written(0) == round);
        let made = fs::read_dir(&run.settings.directory).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(made.filter(|path| path.extension().is_some_and(|end| end == "pcapng")).count(), 1);
    }
    drop(lanes);
    assert_eq!(handle.finish().error, None);
}

#[test]
fn a_removed_directory_is_made_again_where_space_is_to_stay_free() {
    let mut run = Run::new();
    run.settings.directory = run.directory.path().join("captures");
    run.settings.keeping.retention.free_bytes = Some(1);
    let (handle, mut lanes) = run.start(1);
    until("removing", || fs::remove_dir_all(&run.settings.directory).is_ok());
    lanes[0].record(1, StreamId(0), b"kept", 4);
    lanes[0].flush();
    until("writing", || handle.written(0) == 1);
    drop(lanes);
    assert_eq!(handle.finish().error, None);
}

#[test]
fn a_directory_that_could_not_be_made_again_is_made_when_it_can_though_no_frame_comes() {
    let mut run = Run::new();
    let parent = run.directory.path().join("disk");
    run.settings.directory = parent.join("captures");
    let (handle, mut lanes) = run.start(1);
    until("removing", || fs::remove_dir_all(&parent).is_ok());
    fs::write(&parent, "no directory").unwrap();
    lanes[0].record(1, StreamId(0), b"lost", 4);
    lanes[0].flush();
    until("the error", || handle.status().error.is_some());
    fs::remove_file(&parent).unwrap();
    until("the end of the error", || handle.status().error.is_none());
    drop(lanes);
    assert_eq!(handle.finish().error, None);
}

#[test]
fn a_directory_that_cannot_be_is_an_error_at_the_start() {
    let run = Run::new();
    let file = run.directory.path().join("file");
    fs::write(&file, "").unwrap();
    for directory in [file.clone(), file.join("captures")] {
        let settings = CaptureSettings::new(directory);
        let error = run.captures(1, Input::Live).start(Some(&settings)).unwrap_err().to_string();
        assert!(error.starts_with("cannot make the capture directory '") && !error.contains('\n'), "{error}");
    }
    let settings = CaptureSettings::new(PathBuf::from("/proc"));
    let error = run.captures(1, Input::Live).start(Some(&settings)).unwrap_err().to_string();
    assert!(error.starts_with("cannot use the capture directory '/proc': "), "{error}");
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

/// Set for the process that runs on the small disk: where that is.
const SMALL_DISK: &str = "VXTAP_TEST_SMALL_DISK";

#[test]
fn on_a_disk_that_fills_up_every_file_stays_whole_and_every_frame_is_accounted_for() {
    let Some(disk) = std::env::var_os(SMALL_DISK) else {
        return on_a_small_disk("on_a_disk_that_fills_up_every_file_stays_whole_and_every_frame_is_accounted_for");
    };
    let mut run = Run::new();
    run.settings.directory = PathBuf::from(disk);
    let (handle, mut lanes) = run.start(1);
    let frame = [3; 1400];
    // Each write brings a new stream, so the one that fails takes an interface description with it.
    let (mut sent, mut stream_number) = (0, 0);
    let mut write = |lane: &mut CaptureLane| {
        if handle.status().error.is_none() {
            stream_number += 1;
        }
        for _ in 0..40 {
            lane.record(sent, run.streams.intern(&stream(stream_number)), &frame, 1400);
            sent += 1;
        }
        lane.flush();
        until("an end of the write", || handle.written(0) + handle.dropped(0) == sent);
    };
    until("the error", || {
        write(&mut lanes[0]);
        handle.status().error.is_some()
    });
    let (written, full) = (handle.written(0), handle.status());
    assert!(written > 1000 && full.error.unwrap().contains("No space left on device"));
    let file = run.settings.directory.join(&full.files[0].name);
    let (packets, interfaces) = records(&file);
    assert_eq!((packets.len() as u64, interfaces as u64), (written, written / 40));
    // Room again: the same file goes on, with the stream of the write that failed.
    fs::remove_file(run.settings.directory.join("ballast")).unwrap();
    until("writing", || {
        write(&mut lanes[0]);
        handle.written(0) > written
    });
    drop(lanes);
    let result = handle.finish();
    assert_eq!(result.lanes[0].written + result.lanes[0].dropped, sent);
    let (packets, _) = contents(&file);
    assert_eq!(packets.len() as u64, result.lanes[0].written);
    assert!(packets.iter().all(|(_, name, ..)| name.starts_with("vni ")));
    assert_eq!(packets.last().unwrap().1, format!("vni {stream_number} from 10.0.0.7"));
}

#[test]
fn a_disk_that_has_room_again_is_known_to_without_a_frame_that_tries_it() {
    let Some(disk) = std::env::var_os(SMALL_DISK) else {
        return on_a_small_disk("a_disk_that_has_room_again_is_known_to_without_a_frame_that_tries_it");
    };
    let mut run = Run::new();
    run.settings.directory = PathBuf::from(disk);
    let (handle, mut lanes) = run.start(1);
    let mut sent = 0;
    until("the error", || {
        for _ in 0..40 {
            lanes[0].record(sent, run.streams.intern(&stream(1)), &[3; 1400], 1400);
            sent += 1;
        }
        lanes[0].flush();
        handle.status().error.is_some()
    });
    fs::remove_file(run.settings.directory.join("ballast")).unwrap();
    for file in fs::read_dir(&run.settings.directory).unwrap().flatten() {
        if file.path().extension().is_some_and(|extension| extension == "pcapng") {
            fs::remove_file(file.path()).unwrap();
        }
    }
    // Nothing comes any more, as where a load balancer sends it elsewhere.
    until("the end of the error", || handle.status().error.is_none());
    let left = fs::read_dir(&run.settings.directory).unwrap().flatten();
    let left: Vec<_> =
        left.map(|entry| entry.file_name()).filter(|name| name.to_string_lossy().contains("room")).collect();
    assert!(left.is_empty(), "{left:?}");
    drop(lanes);
    handle.finish();
}

/// Runs this test again in a process that has a file system of 6 MiB, of which 3 are taken.
fn on_a_small_disk(test: &str) {
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=6m none \"$1\" || exit 77
        head -c 3145728 /dev/zero > \"$1/ballast\" && exec \"$2\" --exact \"$3\" --nocapture";
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(disk.path());
    command.arg(std::env::current_exe().unwrap()).arg(format!("capture::writer::tests::{test}"));
    let output = command.env(SMALL_DISK, disk.path()).output();
    match output {
        Ok(output) if output.status.success() => {
            assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        }
        Ok(output) if output.status.code() == Some(77) || output.stdout.is_empty() => {
            println!("skipped: no file system of one's own here: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => println!("skipped: no unshare"),
        Err(error) => panic!("{error}"),
    }
}

/// Times of the packets of a file.
fn times(path: &Path) -> Vec<u64> {
    contents(path).0.iter().map(|packet| packet.0).collect()
}

#[test]
fn a_file_ends_after_so_many_frames() {
    let mut run = Run::new();
    run.settings.rotation.records = Some(3);
    let (handle, mut lanes) = run.start(1);
    for time_ns in 0..7 {
        lanes[0].record(time_ns, StreamId(0), b"frame", 5);
    }
    drop(lanes);
    assert_eq!(handle.finish().files, 3);
    let files: Vec<_> = run.files().iter().map(|path| times(path)).collect();
    assert_eq!(files, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
}

#[test]
fn files_end_at_whole_intervals_of_the_clock_and_quiet_ones_leave_none() {
    const MINUTE: u64 = 60_000_000_000;
    let mut run = Run::new();
    run.settings.rotation.interval = Some(Duration::from_mins(1));
    let (handle, mut lanes) = run.start(1);
    // Far in the past, so the clock closes each file when it looks.
    for time_ns in [MINUTE - 2, MINUTE - 1, MINUTE, MINUTE + 5, 7 * MINUTE - 1, 7 * MINUTE] {
        lanes[0].record(time_ns, StreamId(0), b"frame", 5);
    }
    drop(lanes);
    assert_eq!(handle.finish().files, 4);
    let files: Vec<_> = run.files().iter().map(|path| times(path)).collect();
    let expected = [vec![MINUTE - 2, MINUTE - 1], vec![MINUTE, MINUTE + 5], vec![7 * MINUTE - 1], vec![7 * MINUTE]];
    assert_eq!(files, expected);
}

#[test]
fn a_file_whose_interval_is_over_is_closed_though_nothing_comes() {
    let mut run = Run::new();
    run.settings.rotation.interval = Some(Duration::from_secs(1));
    let (handle, mut lanes) = run.start(1);
    lanes[0].record(unix_ns(), StreamId(0), b"frame", 5);
    lanes[0].flush();
    lanes[0].rest();
    until("the end of the file", || handle.status().files.first().is_some_and(|file| file.closed_ns.is_some()));
    drop(lanes);
    assert_eq!(handle.finish().files, 1);
}

#[test]
fn a_frame_that_comes_late_is_in_no_file_of_the_next_interval() {
    const HOUR: u64 = 3_600_000_000_000;
    let mut run = Run::new();
    run.settings.rotation.interval = Some(Duration::from_hours(1));
    let (handle, mut lanes) = run.start(1);
    // An hour that begins later, so that the clock closes nothing.
    let hour = (unix_ns() / HOUR + 2) * HOUR;
    for (written, time_ns) in (1..).zip([hour + 5, hour - 5, hour + 6]) {
        lanes[0].record(time_ns, StreamId(0), b"frame", 5);
        // In a block of its own: within one, records are put in order.
        lanes[0].flush();
        until("the frame in a file", || handle.written(0) == written);
    }
    drop(lanes);
    assert_eq!(handle.finish().files, 3);
    let files: Vec<_> = run.files().iter().map(|path| times(path)).collect();
    assert_eq!(files, [vec![hour + 5], vec![hour - 5], vec![hour + 6]]);
}

#[test]
fn a_clock_that_is_set_back_begins_a_new_file() {
    let run = Run::new();
    let (handle, mut lanes) = run.start(1);
    let now = unix_ns();
    lanes[0].record(now, StreamId(0), b"before", 6);
    lanes[0].flush();
    lanes[0].record(now - 3_600_000_000_000, StreamId(0), b"after", 5);
    drop(lanes);
    assert_eq!(handle.finish().files, 2);
    let files: Vec<_> = run.files().iter().map(|path| times(path)).collect();
    assert_eq!(files, [vec![now], vec![now - 3_600_000_000_000]]);
}

#[test]
fn each_vni_has_files_of_its_own_when_they_are_split() {
    let mut run = Run::new();
    run.settings.split = Some(CaptureSplit::Vni);
    let ids = [run.streams.intern(&stream(7)), run.streams.intern(&stream(9)), run.streams.intern(&StreamKey::PLAIN)];
    let (handle, mut lanes) = run.start(1);
    for (time_ns, id) in (0..6).zip([0, 0, 1, 0, 2, 1]) {
        lanes[0].record(time_ns, ids[id], b"frame", 5);
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(6, 0));
    let files: Vec<_> = run.files().iter().map(|path| (path.to_str().unwrap().to_owned(), times(path))).collect();
    let label = |path: &str| path.split('-').nth_back(1).unwrap().to_owned();
    let files: Vec<_> = files.iter().map(|(path, times)| (label(path), times.clone())).collect();
    let expected = [("plain", vec![4]), ("vni7", vec![0, 1, 3]), ("vni9", vec![2, 5])];
    assert_eq!(files, expected.map(|(label, times)| (label.to_owned(), times)));
}

#[test]
fn each_named_network_and_each_vni_in_none_has_files_of_its_own_when_they_are_split_by_network() {
    let mut run = Run::new();
    run.settings.split = Some(CaptureSplit::Network);
    let blue = NamedNetwork { name: "blue.west".into(), streams: "vni 7-8".parse().unwrap() };
    run.streams = Arc::new(StreamRegistry::new().with_networks(Networks::new(&[blue])));
    let keys = [stream(7), stream(8), stream(9), StreamKey::PLAIN];
    let ids: Vec<_> = keys.iter().map(|key| run.streams.intern(key)).collect();
    let (handle, mut lanes) = run.start(1);
    for (time_ns, id) in (0..7).zip([0, 1, 2, 0, 3, 1, 2]) {
        lanes[0].record(time_ns, ids[id], b"frame", 5);
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes, totals(7, 0));
    let label = |path: &Path| path.to_str().unwrap().split_once("Z-").unwrap().1.to_owned();
    let files: Vec<_> = run.files().iter().map(|path| (label(path), times(path))).collect();
    let expected = [
        ("net-blue.west-00001.pcapng", vec![0, 1, 3, 5]),
        ("plain-00001.pcapng", vec![4]),
        ("vni9-00001.pcapng", vec![2, 6]),
    ];
    assert_eq!(files, expected.map(|(label, times)| (label.to_owned(), times)));
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
fn frames_of_several_workers_come_out_in_the_order_of_time() {
    let mut run = Run::new();
    run.settings.blocks = 64;
    let (handle, mut lanes) = run.start(3);
    // In the future, so that nothing goes out before the end however slow the machine is.
    let now = unix_ns() + 3_600_000_000_000;
    // Each lane by itself is in order; handed over in pieces.
    for round in 0..50_u64 {
        for (number, lane) in (0..).zip(&mut lanes) {
            for frame in 0..10 {
                lane.record(now + round * 1000 + frame * 90 + number, StreamId(0), b"frame", 5);
            }
            if (round + number) % 7 == 0 {
                lane.flush();
            }
        }
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes.iter().map(|lane| lane.written).sum::<u64>(), 1500);
    let times = times(&run.only_file());
    assert_eq!(times.len(), 1500);
    assert!(times.is_sorted());
}

#[test]
fn workers_that_take_turns_leave_the_order_of_the_input_whatever_the_times_say() {
    let run = Run::new();
    let (handle, mut lanes) = run.captures(2, Input::Turns).start(Some(&run.settings)).unwrap();
    let mut expected = Vec::new();
    for turn in 0..20_u64 {
        // Time goes back from turn to turn.
        let time_ns = 1000 - turn;
        expected.push(time_ns);
        let worker = (turn % 2) as usize;
        lanes[worker].record(time_ns, StreamId(0), b"frame", 5);
        // The one that has nothing to say is ahead or behind.
        lanes[1 - worker].end_turn(turn);
        lanes[worker].end_turn(turn);
    }
    drop(lanes);
    assert_eq!(handle.finish().lanes.iter().map(|lane| lane.written).sum::<u64>(), 20);
    assert_eq!(times(&run.only_file()), expected);
}

#[test]
fn workers_that_hand_over_in_turns_leave_the_order_of_the_input_with_a_thread_that_writes_and_without() {
    // Around the page cache a thread of its own writes; on a file system in memory nobody can.
    for direct in [true, false] {
        let mut run = Run::new();
        run.settings.direct = direct;
        let (handle, lanes) =
            run.captures(3, Input::InOrder).start_with(Some(&run.settings), 4096, creator(direct)).unwrap();
        let turn = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for mut lane in lanes {
                let turn = &turn;
                scope.spawn(move || {
                    lane.set_when_full(blocks::WhenFull::Wait);
                    loop {
                        let number = turn.fetch_add(1, Ordering::Relaxed) as u64;
                        if number >= 300 {
                            break;
                        }
                        lane.begin_turn(number);
                        // None, less than a block, and several blocks; time goes back from turn to turn.
                        for record in 0..number % 40 {
                            lane.record(1_000_000 - number * 100 + record, StreamId(0), &[7; 400], 400);
                        }
                        lane.end_own_turn();
                    }
                });
            }
        });
        let result = handle.finish();
        assert_eq!(result.error, None);
        let expected =
            (0..300).flat_map(|number| (0..number % 40).map(move |record| 1_000_000 - number * 100 + record));
        assert!(times(&run.only_file()).into_iter().eq(expected.clone()), "direct: {direct}");
        assert_eq!(result.lanes.iter().map(|lane| lane.written).sum::<u64>(), expected.count() as u64);
        assert!(vxtap_index::index_path(&run.only_file()).exists());
    }
}

#[test]
fn a_worker_that_panics_in_its_turn_does_not_keep_the_others_waiting() {
    let run = Run::new();
    let (handle, mut lanes) = run.captures(2, Input::InOrder).start(Some(&run.settings)).unwrap();
    let mut second = lanes.pop().unwrap();
    let mut first = lanes.pop().unwrap();
    let panicked = std::thread::spawn(move || {
        first.begin_turn(0);
        first.record(1, StreamId(0), b"frame", 5);
        panic!("on purpose");
    });
    second.begin_turn(1);
    second.record(2, StreamId(0), b"frame", 5);
    second.end_own_turn();
    assert!(panicked.join().is_err());
    drop(second);
    assert_eq!(handle.finish().lanes.iter().map(|lane| lane.written).sum::<u64>(), 2);
    assert_eq!(times(&run.only_file()), [1, 2]);
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
