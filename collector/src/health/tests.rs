use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;
use crate::manager::Manager;
use crate::shared::Shared;

const DEADLINE: Duration = Duration::from_secs(20);

/// A collector that is nothing but its signs of life, with a health port.
pub(super) struct Patient {
    pub(super) state: Arc<HealthState>,
    pub(super) address: SocketAddr,
    pub(super) shared: Arc<Shared>,
    pub(super) end: End,
    _health: Health,
}

impl Patient {
    /// One that has made its first turns.
    pub(super) fn well(rules: ReadinessRules) -> Self {
        let patient = Self::new(rules);
        patient.live();
        until("readiness", || patient.get("/readyz").0 == 200);
        patient
    }

    fn new(rules: ReadinessRules) -> Self {
        let shared = Arc::new(Shared::new(2, Arc::default()));
        let end = End::on_signal(Duration::ZERO).unwrap();
        let state = Arc::new(HealthState::new(rules, end.clone()));
        let port = HealthPort::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.address;
        let observer = Observer::new(Arc::clone(&shared), vec![Vec::new(), Vec::new()], None);
        let telling = Telling::new(Manager::default(), &[]);
        let health = Health::start(Arc::clone(&state), observer, Some(port), telling).unwrap();
        Self { state, address, shared, end, _health: health }
    }

    /// Both workers make a turn.
    pub(super) fn live(&self) {
        self.shared.pulses().iter().for_each(|pulse| pulse.beat(0));
    }

    /// Status and body of the answer at `path`.
    pub(super) fn get(&self, path: &str) -> (u16, String) {
        let answer = self.say(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes());
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, answer.split_once("\r\n\r\n").unwrap_or_default().1.to_owned())
    }

    /// What comes back for these bytes, until the connection is closed.
    pub(super) fn say(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // It may be closed before all is written.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

pub(super) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn quick() -> ReadinessRules {
    let time = Duration::from_millis(300);
    ReadinessRules { unready_after: time, ready_after: time, ..ReadinessRules::default() }
}

#[test]
fn a_collector_is_ready_when_its_workers_have_run_and_until_it_is_told_to_end() {
    let patient = Patient::new(quick());
    let (status, body) = patient.get("/readyz");
    assert_eq!(status, 503, "{body}");
    assert!(body.contains(r#""ready":false,"state":"starting""#) && body.contains(r#""cause":"starting""#), "{body}");
    assert_eq!(patient.get("/healthz").0, 200);
    patient.live();
    until("readiness", || patient.get("/readyz").0 == 200);
    let (_, body) = patient.get("/");
    assert_eq!(body, r#"{"ready":true,"state":"running","reason":"receiving","not_ready":[]}"#);
    patient.end.ask();
    let (status, body) = patient.get("/readyz");
    assert!(status == 503 && body.contains(r#""state":"draining""#), "at once, and not at the next look: {body}");
    assert_eq!(patient.get("/healthz"), (200, r#"{"alive":true,"state":"draining"}"#.to_owned()));
}

#[test]
fn a_worker_that_stands_still_is_told_of_though_its_report_is_locked() {
    let patient = Patient::well(quick());
    // As a worker does that is stopped while it tells how it is.
    let _report = patient.shared.report(1);
    until("the other worker alone to be no cause", || {
        patient.shared.pulses()[0].beat(0);
        let (status, body) = patient.get("/readyz");
        status == 503 && body.contains("worker 1: no turn for 3s") && body.contains("worker_stalled")
    });
    until("readiness to come back", || {
        patient.live();
        patient.get("/readyz").0 == 200
    });
    assert_eq!(patient.state.snapshot().changes, 3);
}

#[test]
fn an_address_that_is_taken_is_told_with_the_flag() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let error = HealthPort::bind(address).unwrap_err().to_string();
    let expected = format!("cannot serve the health port on {address}: address in use: choose another with --health");
    assert_eq!(error, expected);
}
