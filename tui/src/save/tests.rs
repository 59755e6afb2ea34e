use std::io::Write;
use std::sync::mpsc::{TrySendError, sync_channel};
use std::time::{Duration, Instant};

use time::macros::datetime;

use super::*;
use crate::source::SourceError;

const ID: &str = "1:LQ/9q+lK+B5F3KDmev6m5PMibrg=";
const DEADLINE: Duration = Duration::from_secs(20);

/// Captures that answer with what they were made with.
struct Fake(Result<Vec<u8>, SourceError>);

impl Captured for Fake {
    fn copy_flow(&self, community_id: &str, output: &mut dyn Write) -> Result<(), SourceError> {
        assert_eq!(community_id, ID);
        let bytes = self.0.clone()?;
        output.write_all(&bytes).map_err(|error| SourceError::Refused(error.to_string()))
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn wait<T>(mut next: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = next() {
            return found;
        }
        assert!(Instant::now() < end, "nothing came within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn saved(answer: Result<Vec<u8>, SourceError>, directory: &Path) -> Result<Saved, String> {
    let mut saver = Saver::new(Some(Arc::new(Fake(answer))), directory.to_owned());
    saver.save(ID.into());
    wait(|| saver.next())
}

#[test]
fn a_name_has_only_letters_and_digits_of_the_flow_and_the_time() {
    let now = datetime!(2026-11-21 09:08:07.9 UTC);
    assert_eq!(file_name(ID, now, 1), "vxtap-flow-LQ9qlKB5-20261121T090807Z.pcapng");
    assert_eq!(file_name("1:../../\u{1b}é", now, 2), "vxtap-flow--20261121T090807Z-2.pcapng");
}

#[test]
fn a_flow_is_saved_into_a_new_file_each_time() {
    let directory = tempfile::tempdir().unwrap();
    let files: Vec<String> = (1..=3)
        .map(|packets| {
            let saved = saved(Ok(packets::capture(packets)), directory.path()).unwrap();
            assert_eq!(saved.packets, packets as u64);
            assert_eq!(fs::read(directory.path().join(&saved.file)).unwrap(), packets::capture(packets));
            saved.file
        })
        .collect();
    assert_eq!(names(directory.path()).len(), 3, "{files:?}");
    let now = datetime!(2026-11-21 09:08:07 UTC);
    let made: Vec<String> = (0..3).map(|_| create(directory.path(), ID, now).unwrap().1).collect();
    assert!(made[0].ends_with("07Z.pcapng") && made[1].ends_with("07Z-2.pcapng") && made[2].ends_with("07Z-3.pcapng"));
}

#[test]
fn what_cannot_be_saved_is_told_and_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let refused = SourceError::Refused("nothing is captured".into());
    let half = packets::capture(2);
    for (answer, told) in [
        (Err(refused), "nothing is captured"),
        (Ok(packets::capture(0)), "no packet of this flow is in the captures"),
        (Ok(half[..half.len() - 4].to_vec()), "no whole pcapng file"),
    ] {
        let error = saved(answer, directory.path()).unwrap_err();
        assert!(error.contains(told), "{error}");
        assert_eq!(names(directory.path()), [""; 0], "{told}");
    }
    let error = saved(Ok(packets::capture(1)), &directory.path().join("no/such")).unwrap_err();
    assert!(error.starts_with("can't write vxtap-flow-LQ9qlKB5-") && error.contains("No such file"), "{error}");
    let mut nowhere = Saver::new(None, directory.path().to_owned());
    nowhere.save(ID.into());
    assert!(wait(|| nowhere.next()).is_err());
}

#[test]
fn a_session_that_ends_leaves_no_half_of_a_file() {
    /// Writes a packet, and then waits to be told to go on.
    struct Slow(std::sync::Mutex<Receiver<()>>);
    impl Captured for Slow {
        fn copy_flow(&self, _: &str, output: &mut dyn Write) -> Result<(), SourceError> {
            output.write_all(&packets::capture(1)).unwrap();
            let _ = self.0.lock().unwrap().recv();
            output.write_all(&packets::block(6, &[0; 20])).map_err(|error| SourceError::Refused(error.to_string()))
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (go_on, told) = sync_channel(1);
    let mut saver = Saver::new(Some(Arc::new(Slow(std::sync::Mutex::new(told)))), directory.path().to_owned());
    saver.save(ID.into());
    wait(|| names(directory.path()).first().map(drop));
    drop(saver);
    assert_eq!(names(directory.path()), [""; 0]);
    go_on.send(()).unwrap();
    wait(|| matches!(go_on.try_send(()), Err(TrySendError::Disconnected(()))).then_some(()));
    assert_eq!(names(directory.path()), [""; 0]);
}
