//! What others do to the directory and its files.

use super::*;

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
    assert_eq!(scene.hidden(), [MANIFEST_NAME, LOCK_NAME]);
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
    assert_eq!(scene.hidden(), [MANIFEST_NAME, LOCK_NAME]);
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
