use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vxtap_analyzers::snapshot::Act;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// Counts its calls and answers as told.
#[derive(Clone, Default)]
struct Told {
    snapshots: Arc<AtomicU64>,
    flows: Arc<Mutex<Vec<FlowQuery>>>,
    decisions: Arc<Mutex<Vec<Ruling>>>,
    down: Arc<AtomicBool>,
    dropped: Arc<AtomicBool>,
}

struct ToldSource(Told);

impl Source for ToldSource {
    fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
        let taken_ns = self.0.snapshots.fetch_add(1, Ordering::SeqCst) + 1;
        if self.0.down.load(Ordering::SeqCst) {
            return Err(SourceError::Unreachable("down".into()));
        }
        Ok(Snapshot { taken_ns, ..Snapshot::default() })
    }

    fn flows(&mut self, query: &FlowQuery) -> Result<FlowPage, SourceError> {
        self.0.flows.lock().unwrap().push(query.clone());
        Ok(FlowPage::default())
    }

    fn decide(&mut self, decision: &Ruling) -> Result<(), SourceError> {
        self.0.decisions.lock().unwrap().push(decision.clone());
        Err(SourceError::Refused("no".into()))
    }
}

impl Drop for ToldSource {
    fn drop(&mut self) {
        self.0.dropped.store(true, Ordering::SeqCst);
    }
}

fn next(poller: &mut Poller) -> Update {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(update) = poller.next().unwrap() {
            return update;
        }
        assert!(Instant::now() < deadline, "no update came");
        std::thread::yield_now();
    }
}

#[test]
fn snapshots_come_by_themselves_and_flows_when_they_are_wanted() {
    let told = Told::default();
    let mut poller = Poller::start(Box::new(ToldSource(told.clone())), Duration::from_millis(1)).unwrap();
    for _ in 0..3 {
        assert!(matches!(next(&mut poller), Update::Snapshot(Ok(_))));
    }
    assert!(told.flows.lock().unwrap().is_empty());
    let query = FlowQuery { filter: "tcp".into(), ..FlowQuery::default() };
    poller.want(Some(query.clone()));
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Update::Flows { query: asked, answer } = next(&mut poller) {
            assert_eq!((asked, answer), (query, Ok(FlowPage::default())));
            break;
        }
        assert!(Instant::now() < deadline, "no flows came");
    }
}

#[test]
fn other_flows_are_asked_for_at_once_and_not_at_the_next_round() {
    let told = Told::default();
    let mut poller = Poller::start(Box::new(ToldSource(told.clone())), Duration::from_hours(1)).unwrap();
    assert!(matches!(next(&mut poller), Update::Snapshot(Ok(_))));
    for filter in ["tcp", "udp"] {
        poller.want(Some(FlowQuery { filter: filter.into(), ..FlowQuery::default() }));
        assert!(matches!(next(&mut poller), Update::Flows { query, .. } if query.filter == filter));
    }
    assert_eq!(told.snapshots.load(Ordering::SeqCst), 1);
}

#[test]
fn flows_are_not_asked_of_a_collector_that_is_not_there() {
    let told = Told::default();
    told.down.store(true, Ordering::SeqCst);
    let mut poller = Poller::start(Box::new(ToldSource(told.clone())), Duration::from_millis(1)).unwrap();
    poller.want(Some(FlowQuery::default()));
    for _ in 0..3 {
        assert!(matches!(next(&mut poller), Update::Snapshot(Err(SourceError::Unreachable(_)))));
    }
    assert!(told.flows.lock().unwrap().is_empty());
    told.down.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + DEADLINE;
    while !matches!(next(&mut poller), Update::Flows { .. }) {
        assert!(Instant::now() < deadline, "no flows came after the collector came back");
    }
}

#[test]
fn leaving_ends_the_thread_and_gives_the_source_up() {
    let told = Told::default();
    // Nobody takes the updates: the thread waits for room in the queue when it is told to stop.
    let poller = Poller::start(Box::new(ToldSource(told.clone())), Duration::from_millis(1)).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while told.snapshots.load(Ordering::SeqCst) <= QUEUE as u64 {
        assert!(Instant::now() < deadline, "the queue never filled");
        std::thread::yield_now();
    }
    drop(poller);
    while !told.dropped.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "the thread did not end");
        std::thread::yield_now();
    }
    assert!(told.snapshots.load(Ordering::SeqCst) <= 2 * QUEUE as u64 + 2);
}

#[test]
fn a_source_that_panics_is_told_and_does_not_hang_the_session() {
    struct Panics;
    impl Source for Panics {
        fn snapshot(&mut self) -> Result<Snapshot, SourceError> {
            panic!("the source broke (this panic is part of a test)");
        }

        fn flows(&mut self, _: &FlowQuery) -> Result<FlowPage, SourceError> {
            Ok(FlowPage::default())
        }
    }
    let mut poller = Poller::start(Box::new(Panics), Duration::from_millis(1)).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while poller.next().is_ok() {
        assert!(Instant::now() < deadline, "nobody noticed");
        std::thread::yield_now();
    }
}

#[test]
fn a_decision_is_told_at_once_and_followed_by_a_snapshot() {
    let told = Told::default();
    let mut poller = Poller::start(Box::new(ToldSource(told.clone())), Duration::from_hours(1)).unwrap();
    assert!(matches!(next(&mut poller), Update::Snapshot(Ok(_))));
    let decision = Ruling { act: Act::Accept, selector: "vni 7".into() };
    poller.decide(decision.clone());
    match next(&mut poller) {
        Update::Decided { decision: answered, answer } => {
            assert_eq!((answered, answer), (decision.clone(), Err(SourceError::Refused("no".into()))));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(next(&mut poller), Update::Snapshot(Ok(_))));
    assert_eq!(*told.decisions.lock().unwrap(), [decision]);
}
