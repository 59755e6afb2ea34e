use super::*;

fn settings(accept: &[&str], reject: &[&str], state: Option<PathBuf>) -> AdmissionSettings {
    let selectors = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    AdmissionSettings { policy: Policy { accept: selectors(accept), reject: selectors(reject) }, state }
}

fn verdict(admission: &Admission, stream: &str) -> Verdict {
    admission.rules().verdict(&stream.parse::<Selector>().unwrap().origin().unwrap())
}

const STREAM: &str = "vxlan vni 7 from 10.0.0.7";

#[test]
fn a_decision_is_in_force_and_outlives_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(&[], &[], Some(directory.path().to_owned()));
    let admission = Admission::open(&settings).unwrap();
    let before = admission.generation();
    assert_eq!(verdict(&admission, STREAM), Verdict::Waiting);
    assert_eq!(admission.decide(Act::Accept, "from 10.0.0.7/32 vni 7 vxlan").unwrap(), STREAM);
    assert_ne!(admission.generation(), before);
    assert_eq!(verdict(&admission, STREAM), Verdict::Accepted);
    assert_eq!(verdict(&Admission::read_only(&settings).unwrap(), STREAM), Verdict::Accepted);
    drop(admission);
    let again = Admission::open(&settings).unwrap();
    assert_eq!(verdict(&again, STREAM), Verdict::Accepted);
    let snapshot = again.snapshot();
    assert_eq!(snapshot.decisions, [Decision { choice: Choice::Accept, selector: STREAM.into() }]);
    assert_eq!((snapshot.decisions_total, snapshot.accepts_all), (1, false));
}

#[test]
fn a_decision_that_cannot_be_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let admission = Admission::open(&settings(&[], &["from 10.0.0.0/8"], Some(directory.path().to_owned()))).unwrap();
    let before = admission.generation();
    for (selector, told) in
        [("nobody", "expected 'all'"), (STREAM, "the configuration rejects 'vxlan vni 7 from 10.0.0.7'")]
    {
        let error = admission.decide(Act::Accept, selector).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    std::fs::create_dir(directory.path().join(".admission.txt.new")).unwrap();
    let error = admission.decide(Act::Accept, "vni 9").unwrap_err().to_string();
    assert!(error.contains("cannot keep the decision"), "{error}");
    assert_eq!((admission.generation(), admission.snapshot().decisions_total), (before, 0));
    assert_eq!(verdict(&admission, "vxlan vni 9 from 11.0.0.1"), Verdict::Waiting);
}

#[test]
fn what_was_decided_is_taken_back_for_good_and_what_was_not_cannot_be() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(&["vni 7"], &[], Some(directory.path().to_owned()));
    let admission = Admission::open(&settings).unwrap();
    admission.decide(Act::Reject, "from 10.0.0.0/8").unwrap();
    let before = admission.generation();
    let error = admission.decide(Act::Forget, STREAM).unwrap_err().to_string();
    assert!(error.contains("nothing was decided about exactly 'vxlan vni 7 from 10.0.0.7'"), "{error}");
    assert_eq!((admission.generation(), verdict(&admission, STREAM)), (before, Verdict::Rejected));
    assert_eq!(admission.decide(Act::Forget, "from 10.1.2.3/8").unwrap(), "from 10.0.0.0/8");
    assert_ne!(admission.generation(), before);
    assert_eq!(verdict(&admission, STREAM), Verdict::Accepted, "as configured");
    drop(admission);
    assert_eq!(Admission::open(&settings).unwrap().snapshot().decisions_total, 0);
}

#[test]
fn the_line_at_the_start_says_who_comes_in() {
    let told = |accept: &[&str], reject: &[&str]| Admission::open(&settings(accept, reject, None)).unwrap().told();
    assert!(told(&["all"], &[]).starts_with("admission: every mirror stream is let in (--accept"));
    assert!(told(&["all"], &["vni 5"]).contains("but those of 1 selectors of --reject"));
    assert!(told(&["vni 5"], &[]).contains("wait to be accepted; decisions end with the run"));
}
