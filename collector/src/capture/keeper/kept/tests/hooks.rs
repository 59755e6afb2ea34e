//! Programs that are run for closed files.

use super::*;

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
