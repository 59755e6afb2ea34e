use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use tempfile::TempDir;
use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::{PacketHeader, PacketView};
use vxtap_wire::Link;

use super::super::compress::{FRAME_BYTES, Unfinished};
use super::super::manifest::MANIFEST_NAME;
use super::super::space::QUIET_MARGIN;
use super::super::torn::REST_BYTES;
use super::super::{CompressionLevel, Hook, Retention};
use super::jobs::MAX_WAITING_HOOKS;
use super::*;
use crate::capture::CaptureFormat;
use crate::said::said_during;
use crate::section;
use crate::streams::StreamRegistry;

const MIB: u64 = 1 << 20;

/// What the clocks say, and how the free space comes about.
struct World {
    elapsed: Duration,
    now: SystemTime,
    free: Box<dyn Fn(&Path) -> u64 + Send>,
}

#[derive(Clone)]
struct Simulated(Arc<Mutex<World>>);

impl Surroundings for Simulated {
    fn now(&self) -> SystemTime {
        self.0.lock().unwrap().now
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().elapsed
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        Ok((self.0.lock().unwrap().free)(directory))
    }
}

/// A capture directory in a simulated world.
struct Scene {
    parent: TempDir,
    world: Simulated,
    settings: KeeperSettings,
}

impl Scene {
    fn new() -> Self {
        Self::below(tempfile::tempdir().unwrap())
    }

    fn below(parent: TempDir) -> Self {
        let directory = parent.path().join("captures");
        fs::create_dir(&directory).unwrap();
        let world = World { elapsed: Duration::ZERO, now: SystemTime::now(), free: Box::new(|_| u64::MAX) };
        let settings = KeeperSettings { directory, retention: Retention::default(), hook: None, compress: None };
        Self { parent, world: Simulated(Arc::new(Mutex::new(world))), settings }
    }

    fn keeping_bytes(bytes: u64) -> Self {
        let mut scene = Self::new();
        scene.settings.retention.bytes = Some(bytes);
        scene
    }

    fn with_hook() -> Self {
        let mut scene = Self::new();
        scene.settings.hook = Some(Hook { command: vec!["true".to_owned()], limit: Duration::from_secs(1) });
        scene
    }

    fn compressing() -> Self {
        let mut scene = Self::new();
        scene.settings.compress = Some(CompressionLevel::DEFAULT);
        scene
    }

    fn begin(&self) -> Kept {
        let begun = Instant::now();
        loop {
            match Kept::begin(self.settings.clone(), Box::new(self.world.clone())) {
                // A child that another test has just forked has the lock of an earlier run until it is another program.
                Err(KeeperError::Locked { .. }) if begun.elapsed() < Duration::from_secs(20) => {
                    std::thread::yield_now();
                }
                begun => return begun.unwrap(),
            }
        }
    }

    fn pass(&self, time: Duration) {
        let mut world = self.world.0.lock().unwrap();
        world.elapsed += time;
        world.now += time;
    }

    fn set_free(&self, free: impl Fn(&Path) -> u64 + Send + 'static) {
        self.world.0.lock().unwrap().free = Box::new(free);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.settings.directory.join(name)
    }

    fn open(&self, kept: &mut Kept, number: u32, bytes: u64) -> String {
        let name = name(number);
        fs::write(self.path(&name), vec![number as u8; bytes as usize]).unwrap();
        kept.opened(&name);
        name
    }

    fn close(kept: &mut Kept, name: &str, bytes: u64) {
        kept.closed(&ClosedCapture { name: name.to_owned(), bytes, records: 3, first_ns: 1, last_ns: 2 });
    }

    /// A file that was opened and closed.
    fn write(&self, kept: &mut Kept, number: u32, bytes: u64) -> String {
        let name = self.open(kept, number, bytes);
        Self::close(kept, &name, bytes);
        name
    }

    /// Names of the files that are not hidden, the link left out.
    fn visible(&self) -> Vec<String> {
        let names = fs::read_dir(&self.settings.directory).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with('.') && name != "current").collect();
        names.sort();
        names
    }

    fn hidden(&self) -> Vec<String> {
        let names = fs::read_dir(&self.settings.directory).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.starts_with('.')).collect();
        names.sort();
        names
    }
}

fn name(number: u32) -> String {
    format!("vxtap-20261121T014700Z-{number:05}.pcapng")
}

fn names(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(name).collect()
}

/// Capacity less what the captures have.
fn disk(capacity: u64) -> impl Fn(&Path) -> u64 + Send {
    move |directory| {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let captures = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".pcapng"));
        capacity.saturating_sub(captures.map(|entry| entry.metadata().unwrap().len()).sum())
    }
}

/// The id of a process that has ended.
fn dead_pid() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn the_oldest_files_are_deleted_first_and_no_more_than_needed() {
    let scene = Scene::keeping_bytes(100);
    let mut kept = scene.begin();
    for number in 1..=3 {
        scene.write(&mut kept, number, 30);
    }
    kept.look();
    assert_eq!(scene.visible(), names(1..=3));
    scene.write(&mut kept, 4, 30);
    kept.look();
    assert_eq!(scene.visible(), names(2..=4));
    assert_eq!((kept.status().files, kept.status().bytes), (3, 90));
    assert_eq!((kept.status().deleted_files, kept.status().deleted_bytes), (1, 30));
}

#[test]
fn the_open_file_counts_and_is_never_deleted() {
    let scene = Scene::keeping_bytes(100);
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 30);
    scene.open(&mut kept, 2, 500);
    kept.look();
    assert_eq!(scene.visible(), names([2]));
    assert_eq!(kept.status().bytes, 500);
}

#[test]
fn a_file_is_deleted_when_it_was_closed_so_long_ago() {
    let mut scene = Scene::new();
    scene.settings.retention.age = Some(Duration::from_mins(1));
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 10);
    scene.pass(Duration::from_secs(40));
    scene.write(&mut kept, 2, 10);
    scene.pass(Duration::from_secs(19));
    kept.look();
    assert_eq!(scene.visible(), names([1, 2]));
    scene.pass(Duration::from_secs(1));
    kept.look();
    assert_eq!(scene.visible(), names([2]));
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_files_from_growing_old() {
    let mut scene = Scene::new();
    scene.settings.retention.age = Some(Duration::from_mins(1));
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 10);
    scene.world.0.lock().unwrap().now -= Duration::from_hours(24);
    scene.write(&mut kept, 2, 10);
    // The next survey sees that it was set back; what was closed before counts as closed then.
    scene.pass(SURVEY_EVERY);
    kept.look();
    scene.pass(Duration::from_secs(59));
    kept.look();
    assert_eq!(scene.visible(), names([1, 2]));
    scene.pass(Duration::from_secs(1));
    kept.look();
    assert_eq!(scene.visible(), Vec::<String>::new());
}

#[test]
fn a_restart_finds_the_files_of_killed_runs_and_the_open_one_counts_as_closed() {
    let mut scene = Scene::new();
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 30);
    scene.write(&mut kept, 2, 30);
    scene.open(&mut kept, 3, 30);
    // Killed: nothing is finished.
    drop(kept);
    scene.settings.retention.bytes = Some(40);
    let mut kept = scene.begin();
    assert_eq!((kept.status().files, kept.status().bytes), (3, 90));
    kept.look();
    assert_eq!(scene.visible(), names([3]));
    scene.settings.retention.bytes = Some(0);
    drop(kept);
    scene.begin().look();
    assert_eq!(scene.visible(), names([]));
}

#[test]
fn files_that_only_look_like_captures_survive_every_limit() {
    let mut scene = Scene::keeping_bytes(0);
    scene.settings.retention.age = Some(Duration::ZERO);
    scene.settings.retention.free_bytes = Some(u64::MAX);
    scene.set_free(|_| 0);
    let foreign = [name(1), name(7), format!("{}.zst", name(8)), "vxtap-x.pcapng".to_owned(), "notes".to_owned()];
    for foreign in &foreign {
        fs::write(scene.path(foreign), "mine").unwrap();
    }
    fs::write(scene.path(&format!(".{}.vxidx", name(7))), "mine").unwrap();
    let mut kept = scene.begin();
    scene.write(&mut kept, 2, 30);
    kept.look();
    drop(kept);
    scene.begin().look();
    let mut expected = foreign.to_vec();
    expected.sort();
    assert_eq!(scene.visible(), expected);
    assert!(scene.hidden().contains(&format!(".{}.vxidx", name(7))));
}

#[test]
fn a_file_that_another_program_replaced_or_changed_survives_and_is_not_counted() {
    type Change = fn(&Scene, &Path);
    let changes: [(&str, Change); 6] = [
        ("renamed over", |scene, path| {
            let other = scene.parent.path().join("other");
            fs::write(&other, vec![1; 30]).unwrap();
            fs::rename(other, path).unwrap();
        }),
        ("made anew", |_, path| {
            fs::remove_file(path).unwrap();
            fs::write(path, vec![1; 30]).unwrap();
        }),
        ("cut", |_, path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10).unwrap()),
        ("appended to", |_, path| fs::write(path, vec![1; 40]).unwrap()),
        ("written over", |_, path| fs::write(path, vec![9; 30]).unwrap()),
        ("a link", |scene, path| {
            let other = scene.parent.path().join("other");
            fs::rename(path, &other).unwrap();
            symlink(other, path).unwrap();
        }),
    ];
    for restarted in [false, true] {
        for (what, change) in changes {
            let mut scene = Scene::new();
            scene.settings.retention.bytes = Some(35);
            let mut kept = scene.begin();
            let name = scene.write(&mut kept, 1, 30);
            // A clock's tick, so that the times of two writes differ.
            std::thread::sleep(Duration::from_millis(10));
            change(&scene, &scene.path(&name));
            let after = fs::read(scene.path(&name)).unwrap();
            if restarted {
                drop(kept);
                kept = scene.begin();
            }
            scene.write(&mut kept, 2, 30);
            kept.look();
            assert_eq!(fs::read(scene.path(&name)).unwrap(), after, "{what}, {restarted}");
            assert_eq!(kept.status().deleted_files, 0, "{what}, {restarted}");
            scene.pass(SURVEY_EVERY);
            kept.look();
            assert_eq!((kept.status().files, kept.status().bytes), (1, 30), "{what}, {restarted}");
        }
    }
}

#[test]
fn a_list_cut_at_any_byte_still_starts_and_deletes_nothing_foreign() {
    let listed = |scene: &Scene| {
        let mut kept = scene.begin();
        scene.write(&mut kept, 1, 30);
        scene.open(&mut kept, 2, 30);
    };
    // Hundreds of directories: better in memory.
    let scene = || Scene::below(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap());
    let whole = scene();
    listed(&whole);
    let length = fs::metadata(whole.path(MANIFEST_NAME)).unwrap().len();
    assert!(length > 300, "{length}");
    let mut most_deleted = 0;
    // The numbers in a list have more or fewer digits.
    for cut in 0..=length + 50 {
        let mut scene = scene();
        listed(&scene);
        fs::write(scene.path(&name(3)), "mine").unwrap();
        let list = fs::OpenOptions::new().write(true).open(scene.path(MANIFEST_NAME)).unwrap();
        list.set_len(cut.min(list.metadata().unwrap().len())).unwrap();
        scene.settings.retention.bytes = Some(0);
        let mut kept = scene.begin();
        kept.look();
        assert_eq!(fs::read(scene.path(&name(3))).unwrap(), b"mine", "cut at {cut}");
        most_deleted = most_deleted.max(kept.status().deleted_files);
        // What was not deleted is not known, what is known was deleted.
        assert_eq!(scene.visible().len() as u64, 3 - kept.status().deleted_files, "cut at {cut}");
        assert_eq!(kept.status().files, 0, "cut at {cut}");
    }
    assert_eq!(most_deleted, 2);
}

#[test]
fn a_list_that_lies_deletes_nothing() {
    let scene = Scene::keeping_bytes(0);
    fs::write(scene.parent.path().join("outside.pcapng"), "mine").unwrap();
    fs::write(scene.path(&name(1)), "mine").unwrap();
    let outside = fs::metadata(scene.parent.path().join("outside.pcapng")).unwrap();
    let lines = [
        serde_json::json!({"name": "../outside.pcapng", "device": outside.dev(), "inode": outside.ino(), "order": 0, "opened_ns": 0}),
        serde_json::json!({"name": name(1), "device": outside.dev(), "inode": outside.ino(), "order": 1, "opened_ns": 0}),
        serde_json::json!({"name": name(2), "replaces": name(1), "device": 1, "inode": 1, "order": 2, "opened_ns": 0}),
    ];
    let mut text = "not json\n\u{0}\n{\"gone\":3}\n".to_owned();
    text.extend(lines.iter().map(|line| line.to_string() + "\n"));
    fs::write(scene.path(MANIFEST_NAME), text).unwrap();
    let mut kept = scene.begin();
    kept.look();
    assert_eq!(kept.status().files, 0);
    assert_eq!(scene.visible(), names([1]));
    assert!(scene.parent.path().join("outside.pcapng").exists());
}

#[test]
fn the_floor_of_free_space_holds_while_the_writer_fills_the_disk() {
    const CAPACITY: u64 = 400 * MIB;
    const FLOOR: u64 = 64 * MIB;
    const FILE: u64 = 8 * MIB;
    for rate in [30 * MIB, 200 * MIB, 1000 * MIB] {
        let mut scene = Scene::new();
        scene.settings.retention.free_bytes = Some(FLOOR);
        scene.set_free(disk(CAPACITY));
        let mut kept = scene.begin();
        let (mut number, mut written, mut total) = (0, FILE, 0);
        let mut file: Option<(String, fs::File)> = None;
        let mut wait = kept.look();
        while total < 3 * CAPACITY {
            // The system wakes the keeper a little late, and the writer goes on until then.
            let wait_and_late = wait + Duration::from_millis(8);
            scene.pass(wait_and_late);
            let mut bytes = (rate as f64 * wait_and_late.as_secs_f64()) as u64;
            assert!(!kept.is_paused(), "there is always a file to delete");
            while bytes > 0 {
                if written == FILE {
                    if let Some((name, _)) = file.take() {
                        Scene::close(&mut kept, &name, FILE);
                    }
                    number += 1;
                    let name = name(number);
                    let made = fs::File::create(scene.path(&name)).unwrap();
                    kept.opened(&name);
                    (file, written) = (Some((name, made)), 0);
                }
                let now = bytes.min(FILE - written);
                (written, bytes, total) = (written + now, bytes - now, total + now);
                file.as_ref().unwrap().1.set_len(written).unwrap();
            }
            let free = disk(CAPACITY)(&scene.settings.directory);
            assert!(free >= FLOOR, "{free} bytes were free at {rate} bytes a second");
            wait = kept.look();
        }
        assert!(kept.status().deleted_bytes > CAPACITY);
        // Not everything was deleted for it.
        assert!(kept.status().bytes > CAPACITY / 2, "{}", kept.status().bytes);
    }
}

#[test]
fn for_free_space_no_more_is_deleted_than_needed() {
    let mut scene = Scene::new();
    scene.settings.retention.free_bytes = Some(50 * MIB);
    let capacity = 50 * MIB + 5 * 4 * MIB;
    scene.set_free(disk(capacity));
    let mut kept = scene.begin();
    for number in 1..=5 {
        scene.write(&mut kept, number, 4 * MIB);
    }
    kept.look();
    // 6.4 MiB are wanted above the floor.
    assert_eq!(scene.visible(), names(3..=5));
    scene.pass(Duration::from_secs(1));
    kept.look();
    assert_eq!(scene.visible(), names(3..=5));
    assert!(!kept.is_paused());
}

#[test]
fn files_that_free_nothing_since_they_are_read_are_not_all_deleted_at_once() {
    let mut scene = Scene::new();
    scene.settings.retention.free_bytes = Some(50 * MIB);
    scene.set_free(|_| 50 * MIB);
    let mut kept = scene.begin();
    for number in 1..=6 {
        scene.write(&mut kept, number, 4 * MIB);
    }
    kept.look();
    assert_eq!(scene.visible(), names(3..=6));
    kept.look();
    assert_eq!(scene.visible(), names(5..=6));
}

#[test]
fn the_writer_pauses_when_nothing_is_left_to_delete_and_goes_on_by_itself() {
    const FLOOR: u64 = 50 * MIB;
    let mut scene = Scene::new();
    scene.settings.retention.free_bytes = Some(FLOOR);
    let free = Arc::new(std::sync::atomic::AtomicU64::new(FLOOR + QUIET_MARGIN - 1));
    scene.set_free({
        let free = Arc::clone(&free);
        move |_| free.load(Ordering::Relaxed)
    });
    let mut kept = scene.begin();
    scene.open(&mut kept, 1, 30);
    kept.look();
    assert!(kept.is_paused());
    // Once there is a little room, it would end at once again.
    free.store(FLOOR + QUIET_MARGIN + 1, Ordering::Relaxed);
    assert!(kept.look() <= Duration::from_millis(100));
    assert!(kept.is_paused());
    free.store(FLOOR + 2 * QUIET_MARGIN, Ordering::Relaxed);
    kept.look();
    assert!(!kept.is_paused());
    // Down to the margin is no reason to stop.
    let mut wait = kept.look();
    for step in 1..=100 {
        scene.pass(wait);
        free.store(FLOOR + 2 * QUIET_MARGIN - QUIET_MARGIN * step / 100, Ordering::Relaxed);
        wait = kept.look();
        assert!(!kept.is_paused());
    }
    assert_eq!(scene.visible(), names([1]));
}

#[test]
fn a_writer_with_nothing_to_delete_is_not_held_back_for_looks_that_come_late() {
    const FLOOR: u64 = 24 * MIB;
    let mut scene = Scene::new();
    scene.settings.retention.free_bytes = Some(FLOOR);
    let free = Arc::new(std::sync::atomic::AtomicU64::new(FLOOR));
    scene.set_free({
        let free = Arc::clone(&free);
        move |_| free.load(Ordering::Relaxed)
    });
    let mut kept = scene.begin();
    scene.open(&mut kept, 1, 30);
    for _ in 0..5 {
        let wait = kept.look();
        scene.pass(wait + Duration::from_millis(200));
    }
    assert!(kept.is_paused());
    // By looks that are so late, and a rate of 256 MiB/s, 52 MiB might be needed: more than the disk ever has.
    free.store(62 * MIB, Ordering::Relaxed);
    kept.look();
    assert!(!kept.is_paused());
    free.store(FLOOR + 2 * QUIET_MARGIN, Ordering::Relaxed);
    kept.look();
    assert!(!kept.is_paused());
}

#[test]
fn hooks_come_in_the_order_of_the_files_one_at_a_time_and_their_file_stays_meanwhile() {
    let mut scene = Scene::with_hook();
    scene.settings.retention.bytes = Some(60);
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 30);
    scene.write(&mut kept, 2, 30);
    let first = kept.next_hook().unwrap();
    assert_eq!((first.name.as_str(), first.bytes), (name(1).as_str(), 30));
    assert!(kept.next_hook().is_none());
    scene.write(&mut kept, 3, 30);
    scene.write(&mut kept, 4, 30);
    kept.look();
    assert_eq!(scene.visible(), names([1, 4]));
    assert_eq!(kept.status().hook_skipped, 2);
    kept.hooked(&first, Ok(()));
    assert_eq!(kept.next_hook().unwrap().name, name(4));
    assert_eq!((kept.status().hook_runs, kept.status().hook_failures), (2, 0));
}

#[test]
fn a_hook_that_was_due_when_the_collector_was_killed_is_run_after_the_next_start() {
    let scene = Scene::with_hook();
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 30);
    let first = kept.next_hook().unwrap();
    kept.hooked(&first, Ok(()));
    scene.write(&mut kept, 2, 30);
    kept.next_hook().unwrap();
    scene.open(&mut kept, 3, 30);
    drop(kept);
    let mut kept = scene.begin();
    let again = kept.next_hook().unwrap();
    assert_eq!((again.name.clone(), again.records.map(|records| records.count)), (name(2), Some(3)));
    kept.hooked(&again, Ok(()));
    // What was open is looked through first, and is no capture here.
    mend(&mut kept);
    let killed = kept.next_hook().unwrap();
    assert_eq!((killed.name.clone(), killed.records), (name(3), None));
    kept.hooked(&killed, Ok(()));
    assert!(kept.next_hook().is_none());
    assert!(kept.is_done());
}

#[test]
fn a_hook_that_cannot_follow_is_not_run_for_the_oldest() {
    let scene = Scene::with_hook();
    let mut kept = scene.begin();
    let count = MAX_WAITING_HOOKS as u32 + 2;
    for number in 1..=count {
        scene.write(&mut kept, number, 1);
    }
    assert_eq!(kept.status().hook_skipped, 2);
    assert_eq!(kept.next_hook().unwrap().name, name(3));
    assert_eq!(scene.visible().len(), count as usize);
}

#[test]
fn compression_keeps_contents_time_and_place_and_the_hook_gets_the_compressed_file() {
    let mut scene = Scene::compressing();
    scene.settings.hook = Scene::with_hook().settings.hook;
    let mut kept = scene.begin();
    let contents: Vec<u8> = (0..2 * FRAME_BYTES + 12_345).map(|at| (at / 7 % 251) as u8).collect();
    let name = name(1);
    fs::write(scene.path(&name), &contents).unwrap();
    fs::write(scene.path(&format!(".{name}.vxidx")), "index").unwrap();
    kept.opened(&name);
    let changed = fs::metadata(scene.path(&name)).unwrap().modified().unwrap();
    Scene::close(&mut kept, &name, contents.len() as u64);
    assert!(kept.next_hook().is_none(), "the hook waits for the compression");
    let job = kept.next_compression().unwrap();
    let result = job.run();
    kept.compressed(&job, result);
    let compressed = format!("{name}.zst");
    assert_eq!(scene.visible(), std::slice::from_ref(&compressed));
    assert_eq!(fs::read_link(scene.path("current")).unwrap(), Path::new(&compressed));
    assert!(scene.hidden().contains(&format!(".{name}.vxidx")), "the index is that of the compressed file now");
    let bytes = fs::read(scene.path(&compressed)).unwrap();
    assert_eq!(zstd::decode_all(bytes.as_slice()).unwrap(), contents);
    assert_eq!(fs::metadata(scene.path(&compressed)).unwrap().modified().unwrap(), changed);
    // Each frame stands for itself.
    let first = zstd::zstd_safe::find_frame_compressed_size(&bytes).unwrap();
    let second = zstd::bulk::decompress(
        &bytes[first..][..zstd::zstd_safe::find_frame_compressed_size(&bytes[first..]).unwrap()],
        FRAME_BYTES,
    );
    assert_eq!(second.unwrap(), &contents[FRAME_BYTES..2 * FRAME_BYTES]);
    // The table at the end: frames, flags, magic.
    assert_eq!(bytes[bytes.len() - 9..][..4], 3_u32.to_le_bytes());
    kept.look();
    assert_eq!(kept.status().bytes, bytes.len() as u64);
    assert_eq!(kept.next_hook().unwrap().file, scene.path(&compressed));
    // The next run knows it, and retention takes its index as well.
    drop(kept);
    scene.settings.retention.bytes = Some(0);
    scene.begin().look();
    assert_eq!(scene.visible(), names([]));
    assert_eq!(scene.hidden(), [MANIFEST_NAME, super::super::lock::LOCK_NAME]);
}

#[test]
fn a_kill_at_any_step_of_a_compression_leaves_one_whole_file_and_no_more() {
    for step in 0..4 {
        let scene = Scene::compressing();
        let mut kept = scene.begin();
        let name = scene.write(&mut kept, 1, 5000);
        let job = kept.next_compression().unwrap();
        job.run().unwrap();
        if step == 0 {
            fs::OpenOptions::new().write(true).open(&job.temporary).unwrap().set_len(7).unwrap();
        }
        let original = kept.manifest.get(&name).unwrap().clone();
        let metadata = fs::metadata(&job.temporary).unwrap();
        let successor = Entry {
            name: format!("{name}.zst"),
            identity: Identity::of(&metadata),
            closed: Some(Closed::as_found(&metadata, 0)),
            compress_due: false,
            replaces: Some(name.clone()),
            ..original
        };
        if step >= 2 {
            kept.manifest.announce(&successor);
        }
        if step >= 3 {
            fs::rename(&job.temporary, scene.path(&successor.name)).unwrap();
        }
        drop(kept);
        let kept = scene.begin();
        let expected = if step >= 3 { successor.name } else { name };
        assert_eq!(scene.visible(), std::slice::from_ref(&expected), "step {step}");
        assert_eq!(scene.hidden(), [MANIFEST_NAME, super::super::lock::LOCK_NAME], "step {step}");
        assert!(kept.manifest.get(&expected).is_some_and(|entry| entry.replaces.is_none()), "step {step}");
        assert_eq!(kept.status().files, 1, "step {step}");
    }
}

#[test]
fn a_compression_that_fails_leaves_the_original_and_whatever_has_its_name() {
    let scene = Scene::compressing();
    let mut kept = scene.begin();
    let name = scene.write(&mut kept, 1, 5000);
    let compressed = format!("{name}.zst");
    fs::write(scene.path(&compressed), "mine").unwrap();
    let job = kept.next_compression().unwrap();
    let result = job.run();
    kept.compressed(&job, result);
    assert_eq!(scene.visible(), [name.clone(), compressed.clone()]);
    assert_eq!(fs::read(scene.path(&compressed)).unwrap(), b"mine");
    assert!(!job.temporary.exists());
    assert!(kept.next_compression().is_none(), "it is not tried again");
    assert!(kept.status().error.as_ref().unwrap().contains("cannot compress capture file"));
    fs::remove_file(scene.path(&compressed)).unwrap();
    let next = scene.write(&mut kept, 2, 5000);
    let job = kept.next_compression().unwrap();
    let result = job.run();
    kept.compressed(&job, result);
    assert_eq!((kept.status().compressed, &kept.status().error), (1, &None), "the next one is well again");
    fs::remove_file(scene.path(&format!("{next}.zst"))).unwrap();
    fs::write(scene.path(&compressed), "mine").unwrap();
    drop(kept);
    let kept = scene.begin();
    assert_eq!(kept.status().files, 1);
    assert_eq!(fs::read(scene.path(&compressed)).unwrap(), b"mine");
}

#[test]
fn a_compression_is_given_up_when_its_file_has_to_go() {
    let mut scene = Scene::compressing();
    scene.settings.retention.bytes = Some(0);
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 5000);
    let job = kept.next_compression().unwrap();
    kept.look();
    assert_eq!(scene.visible(), names([1]));
    let result = job.run();
    assert!(matches!(result, Err(Unfinished::Cancelled)));
    kept.compressed(&job, result);
    kept.look();
    assert_eq!(scene.visible(), names([]));
    assert_eq!(kept.status().compressed, 0);
}

#[test]
fn leftovers_of_a_killed_collector_are_removed_and_nothing_else() {
    let scene = Scene::new();
    let (dead, own) = (dead_pid(), std::process::id());
    let leftovers = [
        format!(".{}.{dead}", name(1)),
        format!(".{}.{own}", name(2)),
        format!(".{}.zst.{dead}", name(3)),
        format!(".{}.vxidx.{dead}-4", name(4)),
        format!(".{}.{dead}.room", name(5)),
        format!(".vxtap-20261121T014700Z-00006.pcap.{dead}"),
        format!(".vxtap-20261121T014700Z-00006.pcap.zst.{dead}"),
        format!(".vxtap-20261121T014700Z-00006.pcap.vxidx.{dead}-1"),
        format!("{MANIFEST_NAME}.{dead}"),
    ];
    // Process 1 is there.
    let mut others = vec![
        format!(".{}.1", name(1)),
        format!(".{}.x", name(1)),
        format!(".{}.", name(1)),
        format!(".{}.-{dead}", name(1)),
        format!(".other.pcapng.{dead}"),
        format!(".{}.1.room", name(5)),
        format!(".vxtap-x.pcapx.{dead}"),
        format!(".vxtap-notes.{dead}"),
    ];
    for name in leftovers.iter().chain(&others) {
        fs::write(scene.path(name), "x").unwrap();
    }
    fs::create_dir(scene.path(&format!(".{}.{dead}", name(9)))).unwrap();
    others.extend([format!(".{}.{dead}", name(9)), MANIFEST_NAME.into(), super::super::lock::LOCK_NAME.into()]);
    others.sort();
    let _kept = scene.begin();
    assert_eq!(scene.hidden(), others);
}

#[test]
fn the_link_leads_to_the_newest_file_and_goes_with_the_last() {
    let mut scene = Scene::new();
    let mut kept = scene.begin();
    let link = scene.path("current");
    scene.write(&mut kept, 1, 30);
    assert_eq!(fs::read_link(&link).unwrap(), Path::new(&name(1)));
    scene.write(&mut kept, 2, 30);
    assert_eq!(fs::read_link(&link).unwrap(), Path::new(&name(2)));
    drop(kept);
    scene.settings.retention.bytes = Some(0);
    scene.begin().look();
    assert!(fs::symlink_metadata(&link).is_err());
    // What somebody else called so stays.
    fs::write(&link, "mine").unwrap();
    let mut kept = scene.begin();
    scene.open(&mut kept, 3, 30);
    assert_eq!(fs::read(&link).unwrap(), b"mine");
    assert!(kept.status().error.as_ref().unwrap().contains("is not a link to a capture file"));
    fs::remove_file(&link).unwrap();
    scene.open(&mut kept, 4, 30);
    assert_eq!(kept.status().error, None, "it can be set again");
}

#[test]
fn a_capture_that_somebody_removed_takes_its_index_along() {
    let scene = Scene::new();
    let mut kept = scene.begin();
    let name = scene.write(&mut kept, 1, 30);
    scene.write(&mut kept, 2, 30);
    fs::write(scene.path(&format!(".{name}.vxidx")), "index").unwrap();
    fs::remove_file(scene.path(&name)).unwrap();
    scene.pass(SURVEY_EVERY);
    kept.look();
    assert_eq!(kept.status().files, 1);
    assert_eq!(kept.status().deleted_files, 0);
    assert_eq!(scene.hidden(), [MANIFEST_NAME, super::super::lock::LOCK_NAME]);
}

#[test]
fn a_directory_that_was_removed_and_made_again_is_kept_again() {
    let scene = Scene::keeping_bytes(50);
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 30);
    fs::remove_dir_all(&scene.settings.directory).unwrap();
    kept.look();
    kept.look();
    assert_eq!((kept.status().files, kept.is_paused()), (0, false));
    assert!(kept.status().error.as_ref().unwrap().contains("was removed"));
    fs::create_dir(&scene.settings.directory).unwrap();
    scene.write(&mut kept, 2, 30);
    scene.write(&mut kept, 3, 30);
    kept.look();
    assert_eq!(kept.status().error, None);
    assert_eq!(scene.visible(), names([3]));
    assert!(Kept::begin(scene.settings.clone(), Box::new(scene.world.clone())).is_err(), "it is locked again");
    drop(kept);
    assert_eq!(scene.begin().status().files, 1);
}

#[test]
fn files_of_a_directory_that_the_writer_made_again_are_not_called_somebody_elses_and_are_deleted() {
    let scene = Scene::keeping_bytes(50);
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 30);
    fs::remove_dir_all(&scene.settings.directory).unwrap();
    fs::create_dir(&scene.settings.directory).unwrap();
    // The keeper looks between the moment in which the writer gives the file its name and the one in which it says so.
    fs::write(scene.path(&name(2)), [2; 30]).unwrap();
    fs::write(scene.path(&name(9)), [9; 30]).unwrap();
    let ((), said) = said_during(|| {
        kept.look();
        kept.opened(&name(2));
        Scene::close(&mut kept, &name(2), 30);
    });
    assert!(!said.contains("are called like captures"), "{said}");
    let ((), said) = said_during(|| {
        scene.pass(SURVEY_EVERY);
        kept.look();
    });
    assert!(said.contains("1 files in"), "{said}");
    assert!(said.contains(&name(9)) && said.contains("count for no limit"), "{said}");
    scene.write(&mut kept, 3, 30);
    kept.look();
    assert_eq!(scene.visible(), names([3, 9]));
}

#[test]
fn a_file_that_is_gone_before_the_keeper_hears_of_it_is_no_error_and_leaves_no_index() {
    let scene = Scene::new();
    let mut kept = scene.begin();
    let gone = scene.open(&mut kept, 1, 30);
    fs::remove_dir_all(&scene.settings.directory).unwrap();
    fs::create_dir(&scene.settings.directory).unwrap();
    fs::write(scene.path(&format!(".{gone}.vxidx")), "index").unwrap();
    let ((), said) = said_during(|| {
        kept.look();
        Scene::close(&mut kept, &gone, 30);
        kept.opened(&name(2));
    });
    assert!(!said.contains("keep track"), "{said}");
    assert_eq!(kept.status().error, None, "there is a directory again");
    kept.look();
    assert_eq!(kept.status().files, 0);
    assert_eq!(scene.hidden(), [MANIFEST_NAME, super::super::lock::LOCK_NAME]);
}

#[test]
fn a_list_that_somebody_removed_is_written_again() {
    let scene = Scene::new();
    let mut kept = scene.begin();
    scene.write(&mut kept, 1, 30);
    fs::remove_file(scene.path(MANIFEST_NAME)).unwrap();
    scene.pass(SURVEY_EVERY);
    kept.look();
    drop(kept);
    assert_eq!(scene.begin().status().files, 1);
}

#[test]
fn looks_that_come_too_late_and_writers_that_are_fast_widen_the_margin_for_a_while() {
    let mut pace = Pace::new();
    let mut now = Duration::ZERO;
    pace.note(now, 900 * MIB, 900 * MIB);
    assert_eq!(pace.margin(), QUIET_MARGIN);
    // 512 MiB a second.
    now += Duration::from_secs(1);
    pace.note(now, 388 * MIB, 388 * MIB);
    assert_eq!(pace.margin(), 2 * QUIET_MARGIN);
    now += pace.next_look(now, 0, Duration::ZERO) + Duration::from_millis(90);
    pace.note(now, 388 * MIB, 388 * MIB);
    assert!(pace.margin() > 7 * QUIET_MARGIN, "{}", pace.margin());
    for _ in 0..100 {
        now += pace.next_look(now, u64::MAX, Duration::ZERO);
        pace.note(now, 388 * MIB, 388 * MIB);
    }
    assert_eq!(pace.margin(), QUIET_MARGIN);
}

#[test]
fn the_same_complaint_is_told_once_a_minute_and_many_are_bounded() {
    let mut voice = Voice::default();
    assert!(voice.may_say("one", Duration::ZERO));
    assert!(!voice.may_say("one", Duration::from_secs(59)));
    assert!(voice.may_say("one", Duration::from_mins(1)));
    let said = (0..100).filter(|number| voice.may_say(&number.to_string(), Duration::from_secs(61))).count();
    assert_eq!(said, 15);
}

/// A capture of five records in `format`, and where it is whole.
fn capture(format: CaptureFormat) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    match format {
        CaptureFormat::Pcapng => {
            section::begin("", &mut bytes);
            section::describe(&StreamRegistry::new(), StreamId(0), &mut bytes);
        }
        _ => format.append_pcap_header(&mut bytes),
    }
    let mut ends = Vec::new();
    for number in 0..5 {
        let mut record = Vec::new();
        let header = PacketHeader { interface: 0, time_ns: 1_700_000_000_000_000_000 + number, wire_len: 100 };
        header.append_to(&mut record, &[number as u8; 70]);
        match format {
            CaptureFormat::Pcapng => bytes.extend_from_slice(&record),
            _ => format.append_pcap_record(&PacketView::first(&record).unwrap(), Link::Ethernet, &mut bytes),
        }
        ends.push(bytes.len());
    }
    (bytes, ends)
}

/// Leaves `bytes` in the file that was open when its collector was killed, and gives its name.
fn leave_open(scene: &Scene, extension: &str, bytes: &[u8]) -> String {
    let name = format!("vxtap-20261121T014700Z-00001.{extension}");
    let mut kept = scene.begin();
    fs::write(scene.path(&name), bytes).unwrap();
    kept.opened(&name);
    name
}

/// Looks through the file that is next, as the keeper's jobs do.
fn mend(kept: &mut Kept) {
    let look = kept.next_look().expect("a file to look through");
    let result = look.run();
    kept.looked(&look, result);
    kept.look();
}

#[test]
fn the_next_start_cuts_off_what_a_kill_left_of_a_record_in_every_format() {
    for (format, extension) in
        [(CaptureFormat::Pcapng, "pcapng"), (CaptureFormat::Pcap, "pcap"), (CaptureFormat::PcapNanoseconds, "pcap")]
    {
        let (bytes, ends) = capture(format);
        for cut in (ends[0]..=bytes.len()).step_by(7).chain([bytes.len()]) {
            let scene = Scene::new();
            let name = leave_open(&scene, extension, &bytes[..cut]);
            let mut kept = scene.begin();
            assert_eq!(kept.torn(), TornFiles { waiting: 1, ..TornFiles::default() });
            mend(&mut kept);
            let whole = *ends.iter().rev().find(|end| **end <= cut).unwrap();
            assert!(fs::read(scene.path(&name)).unwrap() == bytes[..whole], "{extension} cut at {cut}");
            let rest = (cut - whole) as u64;
            assert_eq!(kept.torn(), TornFiles { files: u64::from(rest > 0), bytes: rest, waiting: 0 });
            // It still counts as the file that a collector wrote.
            scene.pass(SURVEY_EVERY);
            kept.look();
            assert_eq!((kept.status().files, kept.status().bytes), (1, whole as u64));
            assert_eq!(kept.status().error, None);
            drop(kept);
            assert_eq!(scene.begin().torn(), TornFiles::default(), "nothing is left to do");
        }
    }
}

#[test]
fn compression_and_hook_wait_until_a_torn_file_is_whole() {
    let mut scene = Scene::with_hook();
    scene.settings.compress = Some(CompressionLevel::DEFAULT);
    let (bytes, ends) = capture(CaptureFormat::Pcapng);
    let name = leave_open(&scene, "pcapng", &bytes[..bytes.len() - 3]);
    let mut kept = scene.begin();
    assert!(kept.next_compression().is_none() && kept.next_hook().is_none());
    mend(&mut kept);
    assert!(kept.next_hook().is_none(), "it is compressed first");
    let job = kept.next_compression().unwrap();
    let result = job.run();
    kept.compressed(&job, result);
    let hook = kept.next_hook().unwrap();
    assert_eq!(hook.name, format!("{name}.zst"));
    let compressed = fs::read(scene.path(&hook.name)).unwrap();
    assert_eq!(zstd::decode_all(compressed.as_slice()).unwrap(), bytes[..ends[3]]);
}

#[test]
fn a_look_that_is_given_up_is_made_at_the_next_start() {
    let scene = Scene::new();
    let (bytes, ends) = capture(CaptureFormat::Pcap);
    let name = leave_open(&scene, "pcap", &bytes[..bytes.len() - 1]);
    let mut kept = scene.begin();
    let look = kept.next_look().unwrap();
    assert!(kept.next_look().is_none(), "one at a time");
    kept.cancel();
    let result = look.run();
    assert!(!kept.is_idle());
    kept.looked(&look, result);
    assert!(kept.is_idle());
    kept.end();
    drop(kept);
    mend(&mut scene.begin());
    assert_eq!(fs::read(scene.path(&name)).unwrap(), bytes[..ends[3]]);
}

#[test]
fn a_file_is_not_cut_where_much_more_than_one_write_is_damaged_or_somebody_changed_it() {
    let (bytes, ends) = capture(CaptureFormat::Pcapng);
    let mut damaged = bytes.clone();
    damaged[ends[1] + 5] ^= 0xff;
    damaged.resize(ends[1] + REST_BYTES as usize + 1, 0);
    let scene = Scene::new();
    let name = leave_open(&scene, "pcapng", &damaged);
    let mut kept = scene.begin();
    mend(&mut kept);
    assert!(fs::read(scene.path(&name)).unwrap() == damaged);
    let told = kept.status().error.clone().unwrap();
    assert_eq!(told, format!("capture file '{name}' cannot be read beyond byte {}: it stays as it is", ends[1]));
    assert_eq!((kept.torn(), kept.status().files), (TornFiles::default(), 1));

    let scene = Scene::new();
    let name = leave_open(&scene, "pcapng", &bytes[..bytes.len() - 1]);
    let mut kept = scene.begin();
    let look = kept.next_look().unwrap();
    let result = look.run();
    fs::write(scene.path(&name), &bytes).unwrap();
    kept.looked(&look, result);
    assert_eq!(fs::read(scene.path(&name)).unwrap(), bytes);
    assert!(kept.status().error.clone().unwrap().contains("it was changed meanwhile"));
}
