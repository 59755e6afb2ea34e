use vxtap_filter::Filter;

use super::*;
use crate::capture::CaptureFilter;

fn criteria(filter: &str) -> Criteria {
    Criteria { filter: Some(CaptureFilter(Filter::parse(filter).unwrap())), ..Criteria::default() }
}

fn told(settings: &ExtractSettings) -> String {
    match extract(settings) {
        Err(ExtractFailure::Arguments(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn settings(captures: &[&Path], output: &Path) -> ExtractSettings {
    ExtractSettings {
        captures: captures.iter().map(|path| (*path).to_owned()).collect(),
        criteria: criteria("tcp"),
        output: ExtractOutput::File(output.to_owned()),
        force: false,
    }
}

#[test]
fn a_search_needs_something_to_look_for() {
    assert_eq!(Criteria::default().query(0).unwrap_err(), CriteriaError::Nothing);
    assert_eq!(criteria("  ").query(0).unwrap_err(), CriteriaError::Nothing);
    assert!(criteria("tcp").query(0).is_ok());
    assert!(Criteria { since: Some(Moment::At(0)), ..Criteria::default() }.query(0).is_ok());
}

#[test]
fn times_are_taken_from_one_now_and_in_order() {
    let moments = |since: &str, until: &str| {
        let (since, until) = (Some(since.parse().unwrap()), Some(until.parse().unwrap()));
        Criteria { since, until, ..Criteria::default() }.query(1_000_000_000_000)
    };
    let query = moments("-10s", "-1s").unwrap();
    assert_eq!((query.since_ns, query.until_ns), (Some(990_000_000_000), Some(999_000_000_000)));
    assert_eq!(moments("-1s", "-1s").unwrap_err(), CriteriaError::NoTime);
    assert_eq!(moments("-1s", "-10s").unwrap_err(), CriteriaError::NoTime);
}

#[test]
fn what_cannot_be_searched_or_written_is_named_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (empty, output) = (directory.path().join("empty"), directory.path().join("out.pcapng"));
    fs::create_dir(&empty).unwrap();
    let nothing = Path::new("no\u{1b}[31m such");
    assert!(told(&settings(&[nothing], &output)).starts_with("cannot open 'no\\u{1b}[31m such': No such file"));
    let text = told(&settings(&[&empty], &output));
    assert!(text.contains("no capture in '") && text.contains("expected files that end in .pcapng"), "{text}");
    let capture = directory.path().join("a.pcapng");
    fs::write(&capture, b"").unwrap();
    assert!(told(&settings(&[&capture], &capture)).contains("a.pcapng' would be read and replaced"));
    assert!(told(&settings(&[&capture], &empty)).contains("is no regular file"));
    assert!(told(&settings(&[&capture], &empty.join("no/out"))).contains("cannot write '"));
    fs::write(&output, b"mine").unwrap();
    assert!(told(&settings(&[&capture], &output)).contains("out.pcapng' is there already: --force replaces it"));
    assert_eq!(fs::read(&output).unwrap(), b"mine");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
}

#[test]
fn what_an_earlier_search_left_is_not_searched_again() {
    let directory = tempfile::tempdir().unwrap();
    let (capture, output) = (directory.path().join("a.pcapng"), directory.path().join("out.pcapng"));
    for file in [&capture, &output] {
        fs::write(file, b"").unwrap();
    }
    let to = ExtractOutput::File(output);
    assert_eq!(captures(&[directory.path().to_owned()], &to).unwrap(), [capture]);
    assert_eq!(captures(&[directory.path().to_owned()], &ExtractOutput::Stdout).unwrap().len(), 2);
}

#[test]
fn a_damaged_capture_is_searched_up_to_the_damage_and_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (good, bad) = (directory.path().join("a.pcapng"), directory.path().join("no capture\u{1b}.pcapng"));
    let mut bytes = Vec::new();
    vxtap_capfile::pcapng::SectionHeader::default().append_to(&mut bytes);
    fs::write(&good, bytes).unwrap();
    fs::write(&bad, b"these are the notes of a meeting, not packets").unwrap();
    let output = directory.path().join("out.pcapng");
    let error = extract(&settings(&[&good, &bad], &output)).unwrap_err();
    assert!(matches!(error, ExtractFailure::Run(_)));
    assert!(error.to_string().starts_with("1 of 2 captures cannot be read to their end"), "{error}");
    assert!(output.exists());
}
