//! The floor of free space, and the writer that is held back for it.

use super::*;

/// Capacity less what the captures have.
fn disk(capacity: u64) -> impl Fn(&Path) -> u64 + Send {
    move |directory| {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let captures = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".pcapng"));
        capacity.saturating_sub(captures.map(|entry| entry.metadata().unwrap().len()).sum())
    }
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
