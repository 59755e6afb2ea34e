//! Files that are compressed, and kills and failures on the way.

use super::*;

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
    assert_eq!(scene.hidden(), [MANIFEST_NAME, LOCK_NAME]);
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
        assert_eq!(scene.hidden(), [MANIFEST_NAME, LOCK_NAME], "step {step}");
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
