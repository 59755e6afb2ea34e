use proptest::prelude::*;

use super::*;

fn decisions(texts: &[(Choice, &str)]) -> Decisions {
    let mut decisions = Decisions::default();
    for (choice, text) in texts {
        decisions.add(*choice, text.parse().unwrap()).unwrap();
    }
    decisions
}

fn some() -> Decisions {
    decisions(&[(Choice::Accept, "vxlan vni 4242 from 10.0.0.7"), (Choice::Reject, "vni 9-11 from fd00::/8")])
}

#[test]
fn decisions_survive_and_the_file_is_for_people() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("deep/state");
    let (store, before) = Store::open(&state).unwrap();
    assert_eq!(before, Decisions::default());
    store.write(&some()).unwrap();
    let text = fs::read_to_string(store.file()).unwrap();
    assert!(text.ends_with("accept vxlan vni 4242 from 10.0.0.7\nreject vni 9-11 from fd00::/8\nend\n"), "{text}");
    assert_eq!(read(&state).unwrap(), some());
    let others: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(others.len(), 2, "the file and its lock: {others:?}");
}

#[test]
fn a_second_collector_is_told_who_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (held, _) = Store::open(directory.path()).unwrap();
    let error = Store::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("in use by another collector (process"), "{error}");
    drop(held);
    Store::open(directory.path()).unwrap();
}

#[test]
fn a_file_cut_anywhere_is_refused_or_was_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    store.write(&some()).unwrap();
    let whole = fs::read(store.file()).unwrap();
    for length in 0..whole.len() - 1 {
        assert!(parse(&whole[..length]).is_err(), "cut to {length} bytes");
    }
    assert!(parse(&whole[..whole.len() - 1]).is_ok(), "the last line's end is no loss");
}

#[test]
fn a_damaged_file_is_refused_with_its_line() {
    for (text, line, told) in [
        ("", 1, "without 'end'"),
        ("accept vni 5\n", 2, "without 'end'"),
        ("# a\n\nallow vni 5\nend\n", 3, "expected 'accept', 'reject' or 'end'"),
        ("accept vni x\nend\n", 1, "'x' is no VNI"),
        ("accept\nend\n", 1, "expected 'all'"),
        ("end\naccept vni 5\n", 2, "something behind 'end'"),
        ("accept vni 5\n\u{0}\u{0}\nend", 2, "expected 'accept'"),
    ] {
        let (at, reason) = parse(text.as_bytes()).unwrap_err();
        assert_eq!((at, reason.contains(told)), (line, true), "{text:?}: line {at}: {reason}");
    }
    assert_eq!(parse(b"end\n\xff").unwrap_err().0, 2);
    assert_eq!(parse(b"accept vni \xff\nend").unwrap_err(), (1, "no text in UTF-8".into()));
}

#[test]
fn a_decision_that_cannot_be_kept_leaves_the_file_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    store.write(&some()).unwrap();
    // A directory under that name cannot be written to, by root neither.
    fs::create_dir(directory.path().join(NEW_NAME)).unwrap();
    let error = store.write(&Decisions::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot keep the decision in"), "{error}");
    assert_eq!(read(directory.path()).unwrap(), some());
}

proptest! {
    #[test]
    fn any_bytes_are_decisions_or_refused(bytes: Vec<u8>) {
        if let Err((line, reason)) = parse(&bytes) {
            prop_assert!(line >= 1 && !reason.contains(char::is_control));
        }
    }
}
