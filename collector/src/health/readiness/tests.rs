use super::*;

/// Time between two looks.
const STEP: Duration = Duration::from_millis(100);

type Stretches = [(u64, Stretch)];

/// A collector of two workers whose life is told step by step.
struct Scene {
    machine: Readiness,
    now: Duration,
    seen: Observation,
}

/// What goes on in a stretch of time. All that is not named goes well.
#[derive(Clone, Copy, Default)]
struct Stretch {
    /// Worker 1 does not run.
    stuck: bool,
    /// Datagrams wait at worker 1.
    waiting: bool,
    /// Datagrams that arrive in each step, and how many of them are dropped.
    arriving: (u64, u64),
    /// The capture: failing, or with so many frames that are not written.
    failing: bool,
    pending: u64,
    /// An interface is down.
    down: bool,
}

const CALM: Stretch =
    Stretch { stuck: false, waiting: false, arriving: (0, 0), failing: false, pending: 0, down: false };

impl Scene {
    fn new(rules: ReadinessRules) -> Self {
        let workers = vec![WorkerSeen::default(); 2];
        let capture = Some(CaptureSeen::default());
        let seen = Observation { workers, capture, ..Observation::default() };
        Self { machine: Readiness::new(rules), now: Duration::ZERO, seen }
    }

    /// One that has been running for a while.
    fn running(rules: ReadinessRules) -> Self {
        let mut scene = Self::new(rules);
        scene.pass(1000, CALM);
        assert_eq!(scene.causes(), "");
        scene
    }

    fn pass(&mut self, milliseconds: u64, how: Stretch) {
        for _ in 0..milliseconds / STEP.as_millis() as u64 {
            self.step(STEP, how);
        }
    }

    fn step(&mut self, time: Duration, how: Stretch) {
        self.now += time;
        self.seen.workers[0].turns += 1;
        self.seen.workers[1].turns += u64::from(!how.stuck);
        self.seen.workers[1].waiting = how.waiting;
        self.seen.down = how.down.then(|| "eth1".parse().unwrap());
        self.seen.received += how.arriving.0 - how.arriving.1;
        self.seen.kernel_dropped += how.arriving.1;
        if let Some(capture) = &mut self.seen.capture {
            (capture.failing, capture.pending) = (how.failing, how.pending);
            capture.done += u64::from(!how.failing && how.pending == 0);
        }
        self.machine.observe(self.now, &self.seen);
    }

    /// Names of the causes that count.
    fn causes(&self) -> String {
        causes(&self.machine, RunState::Running)
    }
}

fn causes(machine: &Readiness, state: RunState) -> String {
    machine.not_ready(state).into_iter().map(|reason| reason.cause).collect::<Vec<_>>().join(" ")
}

fn rules() -> ReadinessRules {
    ReadinessRules {
        unready_after: Duration::from_secs(2),
        ready_after: Duration::from_secs(5),
        ..ReadinessRules::default()
    }
}

#[test]
fn every_story_ends_as_it_is_told_in_the_table() {
    let stuck = Stretch { stuck: true, waiting: true, ..CALM };
    let idle_stuck = Stretch { stuck: true, ..CALM };
    let full = Stretch { failing: true, ..CALM };
    let hanging = Stretch { pending: 7, ..CALM };
    let loss = Stretch { arriving: (100, 20), ..CALM };
    let burst = Stretch { arriving: (1000, 400), ..CALM };
    let little_loss = Stretch { arriving: (100, 4), ..CALM };
    let busy = Stretch { arriving: (100, 0), waiting: true, ..CALM };
    let table: &[(&str, &Stretches, &str)] = &[
        ("nothing happens", &[(60_000, CALM)], ""),
        ("a worker that runs may have datagrams waiting", &[(60_000, busy)], ""),
        ("a short stall does not count", &[(1900, stuck), (100, CALM)], ""),
        ("many short stalls do not add up", &[(1500, stuck), (100, CALM), (1500, stuck), (100, CALM)], ""),
        ("a stall counts after its time", &[(2200, stuck)], "worker_stalled"),
        ("a worker without data may sleep a second", &[(1000, idle_stuck), (100, CALM)], ""),
        ("a worker that never runs again is stalled though nothing waits", &[(5200, idle_stuck)], "worker_stalled"),
        ("a stall counts for a while when it is over", &[(3000, stuck), (4900, CALM)], "worker_stalled"),
        ("after that it is ready again", &[(3000, stuck), (5200, CALM)], ""),
        (
            "a stall that comes again begins that time anew",
            &[(3000, stuck), (4000, CALM), (3000, stuck), (4000, CALM)],
            "worker_stalled",
        ),
        ("a full disk counts after its time", &[(2200, full)], "capture_failing"),
        ("one failed write does not", &[(1000, full), (100, CALM)], ""),
        ("the disk has room again", &[(4000, full), (5200, CALM)], ""),
        (
            "a disk that flaps is not trusted",
            &[(4000, full), (2000, CALM), (100, full), (2000, CALM), (100, full), (4000, CALM)],
            "capture_failing",
        ),
        ("a write that hangs counts like one that fails", &[(4300, hanging)], "capture_failing"),
        ("frames that wait for their block count not", &[(1500, hanging), (100, CALM), (1500, hanging)], ""),
        ("a fifth is lost", &[(3000, loss)], "kernel_drops"),
        ("a burst is lost", &[(200, burst), (9000, Stretch { arriving: (1000, 0), ..CALM })], ""),
        ("less than the bound is lost", &[(60_000, little_loss)], ""),
        (
            "loss that is over counts until its window has passed, and a while",
            &[(5000, loss), (11_000, busy)],
            "kernel_drops",
        ),
        ("and then no longer", &[(5000, loss), (17_000, busy)], ""),
        ("a few are lost, and nothing else comes", &[(9000, Stretch { arriving: (1, 1), ..CALM })], ""),
        ("a cable that is put into another socket", &[(1900, Stretch { down: true, ..CALM })], ""),
        ("an interface that stays down", &[(2200, Stretch { down: true, ..CALM })], "interface_down"),
        ("it is up again", &[(4000, Stretch { down: true, ..CALM }), (5200, CALM)], ""),
        ("two causes at once", &[(3000, Stretch { failing: true, ..stuck })], "worker_stalled capture_failing"),
    ];
    for (story, stretches, expected) in table {
        let mut scene = Scene::running(rules());
        for (milliseconds, how) in *stretches {
            scene.pass(*milliseconds, *how);
        }
        assert_eq!(scene.causes(), *expected, "{story}");
    }
}

#[test]
fn it_starts_when_every_worker_has_run_and_is_ready_at_once() {
    let mut scene = Scene::new(rules());
    assert_eq!(scene.causes(), "starting");
    scene.machine.observe(Duration::ZERO, &Observation::default());
    assert!(!scene.machine.is_started(), "nothing was seen of any worker");
    scene.pass(10_000, Stretch { stuck: true, ..CALM });
    assert_eq!(scene.causes(), "starting", "a worker that has not run is no stall yet");
    scene.pass(100, CALM);
    assert!(scene.machine.is_started());
    assert_eq!((scene.causes().as_str(), scene.machine.changes()), ("", 1));
}

#[test]
fn draining_and_the_end_count_at_once_whatever_is_seen() {
    let scene = Scene::running(rules());
    assert_eq!(causes(&scene.machine, RunState::Draining), "draining");
    assert_eq!(causes(&scene.machine, RunState::Stopped), "stopped");
    let mut scene = scene;
    scene.pass(3000, Stretch { stuck: true, waiting: true, ..CALM });
    assert_eq!(causes(&scene.machine, RunState::Draining), "draining worker_stalled");
}

#[test]
fn a_machine_that_stood_still_blames_nobody() {
    let mut scene = Scene::running(rules());
    // The process was stopped for an hour; the first look comes before the workers have run.
    scene.step(Duration::from_hours(1), Stretch { stuck: true, waiting: true, ..CALM });
    assert_eq!(scene.causes(), "");
    scene.pass(500, CALM);
    assert_eq!(scene.causes(), "");
    // It does not hide a stall that goes on.
    scene.pass(2200, Stretch { stuck: true, waiting: true, ..CALM });
    assert_eq!(scene.causes(), "worker_stalled");
}

#[test]
fn rules_can_leave_causes_out() {
    let all = Stretch { arriving: (100, 50), failing: true, ..CALM };
    let mut scene = Scene::running(ReadinessRules { drop_share: None, without_capture: true, ..rules() });
    scene.pass(60_000, all);
    assert_eq!(scene.causes(), "");
    let mut scene = Scene::running(ReadinessRules { drop_share: Some(0.5), ..rules() });
    scene.pass(60_000, all);
    assert_eq!(scene.causes(), "capture_failing", "half is not above a half");
    let mut scene = Scene::running(rules());
    scene.seen.capture = None;
    scene.pass(60_000, Stretch { arriving: (100, 0), failing: true, ..CALM });
    assert_eq!(scene.causes(), "");
}

#[test]
fn a_reason_says_since_when_how_much_and_when_it_will_be_over() {
    let mut scene = Scene::running(rules());
    scene.pass(4000, Stretch { stuck: true, waiting: true, arriving: (100, 30), ..CALM });
    let reasons = scene.machine.not_ready(RunState::Running);
    assert_eq!(reasons[0].detail, "worker 1: no turn for 4s, and packets wait");
    assert_eq!(reasons[1].detail, "the kernel dropped 30.0 % of the last 10s (5 % is the bound)");
    assert!((1.8..2.2).contains(&reasons[0].seconds), "{reasons:?}");
    assert!((3.4..3.8).contains(&reasons[1].seconds), "{reasons:?}");
    scene.pass(3200, CALM);
    let reasons = scene.machine.not_ready(RunState::Running);
    assert_eq!(reasons[0].detail, "worker 1: no turn for 4s, and packets wait; gone for 3s, ready after 5s");
    assert_eq!(scene.machine.changes(), 2);
}

#[test]
fn the_window_of_drops_stays_small_however_often_is_looked() {
    let mut window = DropWindow::default();
    for step in 0..1_000_000_u64 {
        let totals = (step * 10, step);
        let (received, dropped) = window.over(Duration::from_millis(step), Duration::from_secs(10), totals);
        assert_eq!(received, dropped * 10);
        assert!(dropped <= 10_700, "{dropped}");
    }
    assert!(window.looks.len() <= WINDOW_LOOKS as usize + 2, "{}", window.looks.len());
}
