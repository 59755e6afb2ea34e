use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

struct Scene {
    directory: TempDir,
    settings: KeeperSettings,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = KeeperSettings {
            directory: directory.path().join("captures"),
            retention: Retention::default(),
            hook: None,
            compress: None,
        };
        Self { directory, settings }
    }

    /// Runs `script` for each file.
    fn with_hook(script: &str) -> Self {
        let mut scene = Self::new();
        let words = ["sh", "-c", script, "hook", "{file}", "{name}"];
        scene.settings.hook = Some(Hook { command: words.map(str::to_owned).into(), limit: DEADLINE });
        scene
    }

    fn start(&self) -> Keeper {
        Keeper::start(self.settings.clone()).unwrap()
    }

    fn write(&self, keeper: &Keeper, number: u64, bytes: u64) -> String {
        self.write_as(keeper, "pcapng", number, bytes)
    }

    fn write_as(&self, keeper: &Keeper, extension: &str, number: u64, bytes: u64) -> String {
        let name = format!("vxtap-20261121T014700Z-{number:05}.{extension}");
        fs::write(self.settings.directory.join(&name), vec![0; bytes as usize]).unwrap();
        keeper.opened(&name);
        let (first_ns, last_ns) = (number * 1_000_000_000 + 5, (number + 1) * 1_000_000_000);
        keeper.closed(ClosedCapture { name: name.clone(), bytes, records: number + 10, first_ns, last_ns });
        name
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_second_keeper_is_refused_with_the_directory_and_the_process() {
    let scene = Scene::new();
    let first = scene.start();
    let error = Keeper::start(scene.settings.clone()).unwrap_err().to_string();
    let directory = scene.settings.directory.display();
    let pid = std::process::id();
    assert_eq!(
        error,
        format!(
            "the capture directory '{directory}' is in use by another collector, process {pid}: end that one first, or \
             give this one a directory of its own"
        )
    );
    first.finish();
    scene.start().finish();
}

#[test]
fn the_lock_of_a_killed_process_does_not_hinder() {
    let scene = Scene::new();
    fs::create_dir(&scene.settings.directory).unwrap();
    let file = fs::File::create(scene.settings.directory.join(lock::LOCK_NAME)).unwrap();
    file.lock().unwrap();
    // From here on the child alone holds the lock.
    let mut holder = Command::new("sleep").arg("1000").stdin(Stdio::from(file)).spawn().unwrap();
    fs::write(scene.settings.directory.join(lock::LOCK_NAME), format!("{}\n", holder.id())).unwrap();
    let refused = Keeper::start(scene.settings.clone());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(matches!(refused, Err(KeeperError::Locked { pid: Some(pid), .. }) if pid == holder.id()), "{refused:?}");
    scene.start().finish();
}

#[test]
fn a_directory_that_cannot_be_written_to_is_told_with_owner_and_mode() {
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let denied = io::Error::from(io::ErrorKind::PermissionDenied);
    let error = KeeperError::unusable(directory.path(), denied).to_string();
    let user = rustix::process::geteuid().as_raw();
    assert!(error.contains(&format!("it is user {user}'s, with mode 0555; make it writable")), "{error}");
    if user != 0 {
        let settings = KeeperSettings { directory: directory.path().to_owned(), ..Scene::new().settings };
        assert!(matches!(Keeper::start(settings), Err(KeeperError::NotWritable { .. })));
    }
}

#[test]
fn every_file_has_its_hook_in_order_with_its_figures_at_exit_too() {
    let mut scene = Scene::with_hook("");
    let out = scene.out();
    let script = format!(
        "echo \"$1 $2 $VXTAP_FILE $VXTAP_FILE_BYTES $VXTAP_FILE_RECORDS $VXTAP_FILE_FIRST $VXTAP_FILE_LAST\" >> '{}'; cat",
        out.display()
    );
    scene.settings.hook.as_mut().unwrap().command[2] = script;
    let keeper = scene.start();
    let names: Vec<String> = (1..=3).map(|number| scene.write(&keeper, number, 100 + number)).collect();
    // The writer ended without a word about this one.
    let last = "vxtap-20261121T014700Z-00004.pcapng";
    fs::write(scene.settings.directory.join(last), "four").unwrap();
    keeper.opened(last);
    let monitor = keeper.monitor();
    keeper.finish();
    let mut expected = Vec::new();
    for (number, name) in (1..).zip(&names) {
        let file = scene.settings.directory.join(name).display().to_string();
        let (bytes, records, last) = (100 + number, number + 10, number + 1);
        expected.push(format!("{file} {name} {file} {bytes} {records} {number}.000000005 {last}.000000000"));
    }
    let file = scene.settings.directory.join(last).display().to_string();
    expected.push(format!("{file} {last} {file} 4   "));
    let told = fs::read_to_string(out).unwrap();
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    let status = monitor.status();
    assert_eq!((status.hook_runs, status.hook_failures, status.hook_waiting), (4, 0, 0));
    assert!(!status.hook_under_way);
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_all_that_it_started() {
    let mut scene = Scene::with_hook("");
    let out = scene.out();
    let hook = scene.settings.hook.as_mut().unwrap();
    hook.command[2] = format!("sleep 1000 & echo $! > '{0}.new'; mv '{0}.new' '{0}'; wait", out.display());
    hook.limit = Duration::from_millis(300);
    let keeper = scene.start();
    scene.write(&keeper, 1, 100);
    until("the failure", || keeper.status().hook_failures == 1);
    let error = keeper.status().error.unwrap();
    assert!(error.contains("was killed after its time limit of 0.3 s"), "{error}");
    let started = fs::read_to_string(&out).unwrap();
    // Whoever takes orphans in may leave it a zombie for a moment.
    let stat = format!("/proc/{}/stat", started.trim());
    until("its end", || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")));
    keeper.finish();
}

#[test]
fn hooks_that_fail_are_counted_and_told_with_command_and_exit_code() {
    let scene = Scene::with_hook("printf 'bad \\033[31m' >&2; exit 7");
    let keeper = scene.start();
    scene.write(&keeper, 1, 100);
    scene.write(&keeper, 2, 100);
    until("both failures", || keeper.status().hook_failures == 2);
    let error = keeper.status().error.unwrap();
    assert!(error.starts_with("the hook 'sh -c printf"), "{error}");
    assert!(error.ends_with("00002.pcapng' failed with exit code 7"), "{error}");
    keeper.finish();

    let mut scene = Scene::new();
    scene.settings.hook = Some(Hook { command: vec!["/nonexistent/hook".into()], limit: DEADLINE });
    let keeper = scene.start();
    scene.write(&keeper, 1, 100);
    until("the failure", || keeper.status().hook_failures == 1);
    let error = keeper.status().error.unwrap();
    assert!(error.contains("'/nonexistent/hook'") && error.contains("cannot be run: No such file"), "{error}");
    keeper.finish();
}

#[test]
fn a_hook_that_never_ends_or_never_stops_talking_does_not_hold_up_the_end() {
    // The last has done its work when its own exit code is there, whoever it left behind.
    for (script, failures) in [("sleep 1000", 1), ("yes", 1), ("sleep 5 & exit 0", 0)] {
        let scene = Scene::with_hook(script);
        let machine = Box::new(Machine::new());
        let keeper = Keeper::start_with(scene.settings.clone(), machine, Duration::from_millis(200)).unwrap();
        scene.write(&keeper, 1, 100);
        let monitor = keeper.monitor();
        let start = Instant::now();
        keeper.finish();
        assert!(start.elapsed() < Duration::from_secs(10), "{script}");
        assert_eq!(monitor.status().hook_runs, 1, "{script}");
        assert_eq!(monitor.status().hook_failures, failures, "{script}");
    }
}

#[test]
fn files_are_compressed_before_their_hooks_and_all_is_done_at_the_end() {
    let mut scene = Scene::with_hook("");
    let out = scene.out();
    scene.settings.hook.as_mut().unwrap().command[2] =
        format!("zstd=${{VXTAP_FILE##*.}}; echo $zstd >> '{}'", out.display());
    scene.settings.compress = CompressionLevel::new(1);
    let keeper = scene.start();
    let names: Vec<String> = (1..=3).map(|number| scene.write(&keeper, number, 3 << 20)).collect();
    let monitor = keeper.monitor();
    keeper.finish();
    assert_eq!(fs::read_to_string(out).unwrap(), "zst\nzst\nzst\n");
    assert_eq!(monitor.status().compressed, 3);
    for name in names {
        let path = scene.settings.directory.join(name);
        assert!(!path.exists());
        let compressed = fs::read(path.with_extension("pcapng.zst")).unwrap();
        assert_eq!(zstd::decode_all(compressed.as_slice()).unwrap(), vec![0; 3 << 20]);
    }
}

#[test]
fn a_keeper_that_is_far_behind_stops_the_writer_and_loses_no_message() {
    let scene = Scene::new();
    let keeper = scene.start();
    let mut held = false;
    for number in 0.. {
        held |= !keeper.may_write();
        if number >= QUEUE_MESSAGES as u64 * 2 {
            break;
        }
        until("room in the queue", || keeper.may_write());
        scene.write(&keeper, number, 1);
    }
    // Whether the keeper fell behind is the machine's affair; that nothing was lost is not.
    let monitor = keeper.monitor();
    keeper.finish();
    let files = QUEUE_MESSAGES as u64 * 2;
    assert_eq!((monitor.status().files, monitor.status().error), (files, None), "held: {held}");
}

#[test]
fn levels_of_compression_have_bounds() {
    assert_eq!(CompressionLevel::new(3), Some(CompressionLevel::DEFAULT));
    assert!(CompressionLevel::new(1).is_some() && CompressionLevel::new(19).is_some());
    assert!(
        CompressionLevel::new(0).is_none()
            && CompressionLevel::new(20).is_none()
            && CompressionLevel::new(-1).is_none()
    );
}

#[test]
fn classic_files_are_linked_compressed_given_to_the_hook_and_found_and_deleted_by_the_next_run() {
    let mut scene = Scene::with_hook("");
    let out = scene.out();
    scene.settings.hook.as_mut().unwrap().command[2] = format!("echo \"$2\" >> '{}'", out.display());
    scene.settings.compress = CompressionLevel::new(1);
    let keeper = scene.start();
    let names: Vec<String> = (1..=3).map(|number| scene.write_as(&keeper, "pcap", number, 3000)).collect();
    let monitor = keeper.monitor();
    keeper.finish();
    let compressed: Vec<String> = names.iter().map(|name| format!("{name}.zst")).collect();
    assert_eq!(fs::read_to_string(out).unwrap().lines().collect::<Vec<_>>(), compressed);
    assert_eq!((monitor.status().compressed, monitor.status().files, monitor.status().error), (3, 3, None));
    let link = scene.settings.directory.join("current");
    assert_eq!(fs::read_link(&link).unwrap(), PathBuf::from(&compressed[2]));

    scene.settings.retention.bytes = Some(0);
    let keeper = scene.start();
    until("that they are found and deleted", || keeper.status().deleted_files == 3);
    keeper.finish();
    assert!(compressed.iter().all(|name| !scene.settings.directory.join(name).exists()));
}
