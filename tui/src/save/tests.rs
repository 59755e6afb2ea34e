use std::io::Write;
use std::sync::mpsc::{TrySendError, sync_channel};
use std::time::{Duration, Instant};

use time::macros::datetime;

use super::*;
use crate::source::SourceError;

const ID: &str = "1:LQ/9q+lK+B5F3KDmev6m5PMibrg=";
const DEADLINE: Duration = Duration::from_secs(20);

fn wanted() -> CapturedFlow {
    CapturedFlow { community_id: ID.into(), filter: "vni 7".into() }
}

/// Captures that answer with what they were made with, and then with the error.
struct Fake(Vec<u8>, Option<SourceError>);

impl Captured for Fake {
    fn copy_flow(&self, flow: &CapturedFlow, output: &mut dyn Write) -> Result<(), SourceError> {
        assert_eq!(*flow, wanted());
        output.write_all(&self.0).map_err(|error| SourceError::Refused(error.to_string()))?;
        self.1.clone().map_or(Ok(()), Err)
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

fn saved(answer: Fake, directory: &Path) -> Result<Saved, String> {
    let mut saver = Saver::new(Some(Arc::new(answer)), directory.to_owned());
    saver.save(wanted());
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
            let saved = saved(Fake(packets::capture(packets), None), directory.path()).unwrap();
            assert_eq!((saved.packets, saved.lacks), (packets as u64, None));
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
    let refused = || Some(SourceError::Refused("nothing is captured".into()));
    let half = packets::capture(1);
    for (answer, told) in [
        (Fake(Vec::new(), refused()), "nothing is captured"),
        (Fake(packets::capture(0), refused()), "nothing is captured"),
        (Fake(packets::capture(0), None), "no packet of this flow is in the captures"),
        (Fake(half[..half.len() - 4].to_vec(), None), "no whole pcapng file"),
    ] {
        let error = saved(answer, directory.path()).unwrap_err();
        assert!(error.contains(told), "{error}");
        assert_eq!(names(directory.path()), [""; 0], "{told}");
    }
    let error = saved(Fake(packets::capture(1), None), &directory.path().join("no/such")).unwrap_err();
    assert!(error.starts_with("can't write vxtap-flow-LQ9qlKB5-") && error.contains("No such file"), "{error}");
    let mut nowhere = Saver::new(None, directory.path().to_owned());
    nowhere.save(wanted());
    assert!(wait(|| nowhere.next()).is_err());
}

#[test]
fn an_answer_that_breaks_off_leaves_the_packets_that_came_whole_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let broken = || SourceError::Unreachable("the answer broke off".into());
    let cut = |bytes: &[u8]| bytes[..bytes.len() - 4].to_vec();
    let (two, three) = (packets::capture(2), packets::capture(3));
    for (answer, why) in [
        (Fake(two.clone(), Some(broken())), "the answer broke off"),
        (Fake(cut(&three), Some(broken())), "the answer broke off"),
        (Fake(cut(&three), None), "no whole pcapng file"),
        (Fake([&two, &b"<html>an error</html>"[..]].concat(), Some(broken())), "the answer broke off"),
    ] {
        let Saved { packets, file, lacks } = saved(answer, directory.path()).unwrap();
        assert_eq!((packets, fs::read(directory.path().join(file)).unwrap()), (2, two.clone()));
        assert!(lacks.as_ref().is_some_and(|told| told.contains(why)), "{lacks:?}");
    }
}

#[test]
fn a_session_that_ends_leaves_no_half_of_a_file() {
    /// Writes a packet, and then waits to be told to go on.
    struct Slow(std::sync::Mutex<Receiver<()>>);
    impl Captured for Slow {
        fn copy_flow(&self, _: &CapturedFlow, output: &mut dyn Write) -> Result<(), SourceError> {
            output.write_all(&packets::capture(1)).unwrap();
            let _ = self.0.lock().unwrap().recv();
            output.write_all(&packets::block(6, &[0; 20])).map_err(|error| SourceError::Refused(error.to_string()))
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (go_on, told) = sync_channel(1);
    let mut saver = Saver::new(Some(Arc::new(Slow(std::sync::Mutex::new(told)))), directory.path().to_owned());
    saver.save(wanted());
    wait(|| names(directory.path()).first().map(drop));
    drop(saver);
    assert_eq!(names(directory.path()), [""; 0]);
    go_on.send(()).unwrap();
    wait(|| matches!(go_on.try_send(()), Err(TrySendError::Disconnected(()))).then_some(()));
    assert_eq!(names(directory.path()), [""; 0]);
}
