//! Disks that are stuck or full.

use super::*;

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
    command.arg(std::env::current_exe().unwrap()).arg(format!("capture::writer::tests::trouble::{test}"));
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
