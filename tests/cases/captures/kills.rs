//! A collector that is killed again and again, and what its files are then.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;
use vxtap_tests::capture_file;
use vxtap_tests::collector::Settings;
use vxtap_tests::datagram::{Peer, udp_frame, vxlan};
use vxtap_tests::deadline::{SOON, pause, wait_until};
use vxtap_tests::needs::{disk, have_tools};
use vxtap_tests::process::Signal;
use vxtap_tests::tshark;

use super::{number_from, quiet_machine};

/// What was sent so long before the kill is in a file: what the README promises of new frames. It is the flush time (100 ms), and what the
/// kernel, the order of two workers and a disk under load add; how long the machine stopped the test comes on top.
const IN_FILE_AFTER: Duration = Duration::from_millis(250);
/// Frames that are sent together, each 2 ms.
const TOGETHER: u64 = 16;
/// Where a frame's number is: behind Ethernet, IPv4 and UDP.
const NUMBER_AT: usize = 14 + 20 + 8;

/// Numbered frames under way.
struct Numbered {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Vec<Instant>>,
}

impl Numbered {
    /// Sends to `target` until it is stopped.
    fn start(target: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let sockets: Vec<UdpSocket> = (0..4).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
            let mut sent = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let first = sent.len() as u64 * TOGETHER;
                for number in first..first + TOGETHER {
                    let mut payload = number.to_be_bytes().to_vec();
                    payload.resize(300 + (number % 7) as usize * 100, 0x5a);
                    let frame = udp_frame(Peer::v4((number % 97) as u16, 1000), Peer::v4(9, 53), &payload);
                    // Nobody listens after a kill.
                    let _ = sockets[number as usize % sockets.len()].send_to(&vxlan(8, &frame), target);
                }
                sent.push(Instant::now());
                pause();
            }
            sent
        });
        Self { stop, thread }
    }

    /// When each [`TOGETHER`] frames had been sent.
    fn stop(self) -> Vec<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Length, time of change and content of each file in `directory`, indexes as well.
fn fingerprints(directory: &Path) -> BTreeMap<PathBuf, (u64, SystemTime, u64)> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let fingerprint = |path: PathBuf| {
        let metadata = path.metadata().unwrap();
        let mut hasher = DefaultHasher::new();
        fs::read(&path).unwrap().hash(&mut hasher);
        (path, (metadata.len(), metadata.modified().unwrap(), hasher.finish()))
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    // The list of captures, the lock and the link to the open file belong to whoever runs.
    let own = |path: &PathBuf| {
        !path.ends_with(".vxtap-captures.json") && !path.ends_with(".vxtap-lock") && !path.is_symlink()
    };
    paths.filter(own).map(fingerprint).collect()
}

/// The next of a sequence that looks random and is the same in each run (SplitMix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// What one kill left.
struct Killed {
    frames: u64,
    /// Age of the newest frame that is in a file, at the kill.
    newest: Duration,
    /// How long the machine stopped this test at the most.
    stall: Duration,
    /// Files that ended within a record.
    torn: u64,
}

/// How captures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// Around the page cache: a write is there or not.
    Direct,
    /// Through the page cache, where a kill can end a write within a record.
    Cached(&'static str),
}

impl Written {
    fn settings(self, directory: &Path) -> Settings {
        let settings = Settings::new(2).arg("--write").arg(directory).arg("--rotate-bytes").arg("1MiB");
        match self {
            Self::Direct => settings,
            Self::Cached(format) => settings.arg("--capture-direct=false").arg("--capture-format").arg(format),
        }
    }

    /// How many kills.
    fn kills(self) -> u64 {
        let kills = number_from("VXTAP_KILLS", 10);
        if self == Self::Direct { kills } else { kills.div_ceil(2) }
    }
}

/// Waits until the next collector on `directory` has cut off what a kill left of a record, and ends it. Gives how many files had such
/// an end.
fn mend(written: Written, directory: &Path) -> u64 {
    let collector = written.settings(directory).start();
    let count = |name: &str| collector.get_json::<serde_json::Value>("/v1/snapshot")[name].as_u64().expect(name);
    wait_until(SOON, "files to be whole", || count("capture_torn_waiting") == 0);
    let torn = count("capture_torn_files");
    collector.stop();
    torn
}

/// Starts a collector on `directory`, kills it under load after `life`, and checks what is in the new files.
fn kill_one(written: Written, directory: &Path, life: Duration) -> Killed {
    let before = fingerprints(directory);
    let mut collector = written.settings(directory).start();
    let numbered = Numbered::start(collector.address());
    let begin = Instant::now();
    while begin.elapsed() < life {
        pause();
    }
    let killed_at = Instant::now();
    collector.process().signal(Signal::KILL);
    let finished = collector.finish();
    assert!(!finished.panicked() && finished.status.code().is_none(), "{}", finished.stderr);
    let sent = numbered.stop();
    let torn = if written == Written::Direct { 0 } else { mend(written, directory) };
    let after = fingerprints(directory);
    // What was still being made at the last kill (an index, the list of files) the next start may tidy away, and nothing else.
    let unfinished = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    for (path, fingerprint) in &before {
        let is_gone = !after.contains_key(path);
        assert!(is_gone && unfinished(path) || after.get(path) == Some(fingerprint), "{} was touched", path.display());
    }
    let new = capture_file::files_in(directory).into_iter().filter(|path| !before.contains_key(path));
    let mut found = HashSet::new();
    for record in new.flat_map(|path| capture_file::read(&path)) {
        let number = record.data[NUMBER_AT..].first_chunk().expect("a number");
        assert!(found.insert(u64::from_be_bytes(*number)), "a frame is there twice");
    }
    // A machine that stops this test stops the collector too.
    let stall = sent.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    let allowed = IN_FILE_AFTER + stall;
    let due =
        sent.iter().take_while(|at| killed_at.saturating_duration_since(**at) > allowed).count() as u64 * TOGETHER;
    let missing: Vec<u64> = (0..due).filter(|number| !found.contains(number)).collect();
    assert!(missing.is_empty(), "{} of {due} are missing, from {:?} on ({allowed:?})", missing.len(), missing.first());
    let newest = found
        .iter()
        .max()
        .map_or(life, |number| killed_at.saturating_duration_since(sent[(number / TOGETHER) as usize]));
    Killed { frames: found.len() as u64, newest, stall, torn }
}

#[test]
fn a_killed_collector_leaves_whole_files_and_the_next_one_goes_on_beside_them() {
    kill_again_and_again(Written::Direct);
}

#[test]
fn what_a_kill_leaves_in_the_page_cache_is_whole_after_the_next_start() {
    kill_again_and_again(Written::Cached("pcapng"));
}

#[test]
fn what_a_kill_leaves_of_classic_files_is_whole_after_the_next_start() {
    kill_again_and_again(Written::Cached("pcap"));
}

fn kill_again_and_again(written: Written) {
    let _machine = quiet_machine();
    // On other file systems nothing goes around the page cache.
    let Some(disk) = disk() else { return };
    let place = TempDir::new_in(disk).unwrap();
    let directory = place.path().join("captures");
    let (mut state, mut frames, mut torn) = (8, 0, 0);
    let mut worst = (Duration::ZERO, Duration::ZERO);
    let kills = written.kills();
    for kill in 0..kills {
        let life = Duration::from_micros(200_000 + random(&mut state) % 700_000);
        let killed = kill_one(written, &directory, life);
        frames += killed.frames;
        torn += killed.torn;
        worst = worst.max((killed.newest, killed.stall));
        // Each file to its end: what is cut is a panic.
        let files = capture_file::files_in(&directory);
        assert!(files.iter().all(|file| !capture_file::read(file).is_empty()), "kill {kill} left an empty file");
        if have_tools(&["tshark"]) {
            let last = files.last().expect("a file");
            tshark::read(last).unwrap_or_else(|error| panic!("after kill {kill}, {life:?}: {error}"));
        }
    }
    let files = capture_file::files_in(&directory).len();
    let (newest, stall) = worst;
    println!(
        "{written:?}, {kills} kills: {frames} frames in {files} files, {torn} of which ended within a record; at worst the last {newest:?} before \
         the kill are missing, and the test was stopped for {stall:?} then"
    );
    assert!(frames > kills * 1000, "{frames}");
}
