//! When a file ends and the next begins, and which frames share one.

use super::*;

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
