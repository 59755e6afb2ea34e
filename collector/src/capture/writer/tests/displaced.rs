//! Files and directories that others remove, move or cut while they are written.

use super::*;

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
