use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use tempfile::TempDir;
use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::{PacketHeader, PacketView};
use vxtap_wire::Link;

use super::super::compress::{FRAME_BYTES, Unfinished};
use super::super::lock::LOCK_NAME;
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

mod compression;
mod hooks;
mod others;
mod space;
mod torn;

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
    others.extend([format!(".{}.{dead}", name(9)), MANIFEST_NAME.into(), LOCK_NAME.into()]);
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
fn the_same_complaint_is_told_once_a_minute_and_many_are_bounded() {
    let mut voice = Voice::default();
    assert!(voice.may_say("one", Duration::ZERO));
    assert!(!voice.may_say("one", Duration::from_secs(59)));
    assert!(voice.may_say("one", Duration::from_mins(1)));
    let said = (0..100).filter(|number| voice.may_say(&number.to_string(), Duration::from_secs(61))).count();
    assert_eq!(said, 15);
}

/// Looks through the file that is next, as the keeper's jobs do.
fn mend(kept: &mut Kept) {
    let look = kept.next_look().expect("a file to look through");
    let result = look.run();
    kept.looked(&look, result);
    kept.look();
}
