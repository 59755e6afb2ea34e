use std::os::unix::net::UnixDatagram;

use vxtap_analyzers::snapshot::NotReady;

use super::super::readiness::WorkerSeen;
use super::*;

/// A manager that reads what it is told.
struct Listening {
    socket: UnixDatagram,
    telling: Telling,
}

const RUNNING: Stage = Stage { state: RunState::Running, started: true, finishing: false };

impl Listening {
    fn new(watchdog: Option<Duration>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let manager = Manager::at(path.as_os_str(), watchdog).unwrap();
        Self { socket, telling: Telling::new(manager, &["vxlan://[::]:4789".to_owned()]) }
    }

    /// What it is told when this is seen.
    fn told(&mut self, milliseconds: u64, stage: Stage, health: &HealthSnapshot, turns: &[u64]) -> Vec<String> {
        let workers = turns.iter().map(|turns| WorkerSeen { turns: *turns, waiting: false }).collect();
        let seen = Observation { workers, ..Observation::default() };
        self.telling.tell(Duration::from_millis(milliseconds), stage, health, &seen);
        let mut told = Vec::new();
        let mut bytes = [0; 1000];
        while let Ok(len) = self.socket.recv(&mut bytes) {
            told.push(String::from_utf8(bytes[..len].to_vec()).unwrap());
        }
        told
    }
}

fn ready() -> HealthSnapshot {
    HealthSnapshot { ready: true, ..HealthSnapshot::default() }
}

fn not_ready(cause: &str, seconds: f64) -> HealthSnapshot {
    let reason = NotReady { cause: cause.into(), detail: format!("for {seconds} s"), seconds };
    HealthSnapshot { not_ready: vec![reason], ..HealthSnapshot::default() }
}

#[test]
fn it_says_once_that_it_receives_and_that_it_ends_and_its_status_when_that_changes() {
    let mut manager = Listening::new(None);
    let starting = Stage { state: RunState::Starting, started: false, finishing: false };
    let told = manager.told(0, starting, &not_ready("starting", 0.0), &[0]);
    assert_eq!(told, ["STATUS=receiving on vxlan://[::]:4789, and not ready for traffic: starting\n"]);
    let told = manager.told(100, RUNNING, &ready(), &[1]);
    assert_eq!(told, ["READY=1\nSTATUS=receiving on vxlan://[::]:4789\n"]);
    assert!(manager.told(200, RUNNING, &ready(), &[2]).is_empty());
    let told = manager.told(300, RUNNING, &not_ready("capture_failing", 2.0), &[3]);
    assert_eq!(told, ["STATUS=receiving on vxlan://[::]:4789, and not ready for traffic: capture_failing\n"]);
    assert!(
        manager.told(400, RUNNING, &not_ready("capture_failing", 2.1), &[4]).is_empty(),
        "only numbers have changed"
    );
    let draining = Stage { state: RunState::Draining, ..RUNNING };
    assert_eq!(manager.told(500, draining, &not_ready("draining", 0.0), &[5]), ["STOPPING=1\nSTATUS=draining\n"]);
    let stopped = Stage { state: RunState::Stopped, finishing: true, ..RUNNING };
    assert_eq!(manager.told(600, stopped, &not_ready("stopped", 0.0), &[5]), ["STATUS=stopped\n"]);
}

#[test]
fn signs_of_life_need_a_turn_of_every_worker() {
    let mut manager = Listening::new(Some(Duration::from_secs(4)));
    let sign = ["WATCHDOG=1"];
    let mut told = |at: u64, finishing: bool, turns: &[u64]| {
        let told = manager.told(at, Stage { finishing, ..RUNNING }, &ready(), turns);
        told.into_iter().filter(|lines| lines.starts_with("WATCHDOG")).collect::<Vec<_>>()
    };
    assert_eq!(told(0, false, &[5, 5]), sign, "the first is for having started");
    assert!(told(900, false, &[9, 9]).is_empty(), "not more often than is of use");
    assert_eq!(told(1000, false, &[10, 10]), sign);
    assert!(told(2100, false, &[20, 10]).is_empty(), "one worker stands");
    assert!(told(9000, false, &[99, 10]).is_empty());
    assert_eq!(told(9100, false, &[99, 11]), sign, "it runs again");
    assert_eq!(told(10_200, true, &[99, 11]), sign, "workers have ended, and the rest is being written");
}
