//! What a kill left of a record at the end of a file.

use super::*;

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
