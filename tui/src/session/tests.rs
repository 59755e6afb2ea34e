use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::backend::TestBackend;
use vxtap_analyzers::snapshot::{Act, FlowPage, FlowQuery, Ruling, Snapshot};

use super::*;
use crate::poller::Update;
use crate::sample;
use crate::save::Saved;
use crate::source::{CapturedFlow, SourceError};

/// Everything outside of a session, as a script: the time goes on only where the session waits for keys.
#[derive(Default)]
struct World {
    now: Cell<Duration>,
    /// What happens, and when.
    script: RefCell<VecDeque<(Duration, Happening)>>,
    updates: RefCell<VecDeque<Update>>,
    wanted: RefCell<Vec<Option<FlowQuery>>>,
    saved: RefCell<Vec<CapturedFlow>>,
    decided: RefCell<Vec<Ruling>>,
    /// Whose the terminal is, if not ours.
    turn: RefCell<Option<Turn>>,
    /// How often the session looked for updates between two waits: how often it went round.
    rounds: Cell<u64>,
}

enum Happening {
    Event(Event),
    Update(Box<dyn FnOnce() -> Update>),
    Turn(Turn),
    KeyboardGone,
}

#[derive(Clone)]
struct Worldly(Rc<World>);

impl Clock for Worldly {
    fn now(&self) -> Duration {
        self.0.now.get()
    }
}

impl Input for Worldly {
    fn next(&mut self, timeout: Duration) -> io::Result<Option<Event>> {
        let deadline = self.0.now.get() + timeout;
        let mut script = self.0.script.borrow_mut();
        let Some((at, _)) = script.front() else { panic!("the session went on after its script") };
        if *at > deadline {
            self.0.now.set(deadline);
            return Ok(None);
        }
        self.0.now.set((*at).max(self.0.now.get()));
        match script.pop_front().map(|(_, happening)| happening) {
            Some(Happening::Event(event)) => Ok(Some(event)),
            Some(Happening::Update(update)) => {
                self.0.updates.borrow_mut().push_back(update());
                Ok(None)
            }
            Some(Happening::Turn(turn)) => {
                self.0.turn.replace(Some(turn));
                Ok(None)
            }
            Some(Happening::KeyboardGone) => Err(io::Error::other("hung up")),
            None => Ok(None),
        }
    }
}

impl Jobs for Worldly {
    fn turn(&mut self) -> Result<Turn, TuiError> {
        let turn = *self.0.turn.borrow();
        if turn == Some(Turn::Regained) {
            self.0.turn.replace(None);
        }
        Ok(turn.unwrap_or(Turn::Ours))
    }
}

impl Updates for Worldly {
    fn want(&mut self, flows: Option<FlowQuery>) {
        let mut wanted = self.0.wanted.borrow_mut();
        if wanted.last() != Some(&flows) {
            wanted.push(flows);
        }
    }

    fn save(&mut self, flow: CapturedFlow) {
        self.0.saved.borrow_mut().push(flow);
    }

    fn decide(&mut self, decision: Ruling) {
        self.0.decided.borrow_mut().push(decision);
    }

    fn next(&mut self) -> Result<Option<Update>, SourceGone> {
        self.0.rounds.set(self.0.rounds.get() + 1);
        Ok(self.0.updates.borrow_mut().pop_front())
    }
}

/// A whole session of a script, on an 80x24 terminal.
struct Replay {
    world: Rc<World>,
    draws: Rc<Cell<u64>>,
    screen: String,
    result: Result<Exit, TuiError>,
}

fn replay(script: impl IntoIterator<Item = (u64, Happening)>) -> Replay {
    replay_until(script, &|_| false)
}

fn replay_until(script: impl IntoIterator<Item = (u64, Happening)>, stopped: &dyn Fn(&World) -> bool) -> Replay {
    let script = script.into_iter().map(|(millis, happening)| (Duration::from_millis(millis), happening)).collect();
    let world = Rc::new(World { script: RefCell::new(script), ..World::default() });
    let worldly = Worldly(Rc::clone(&world));
    let draws = Rc::new(Cell::new(0));
    let mut session = Session {
        terminal: Terminal::new(Counting { backend: TestBackend::new(80, 24), flushes: Rc::clone(&draws) }).unwrap(),
        input: worldly.clone(),
        clock: worldly.clone(),
        updates: worldly.clone(),
        jobs: worldly,
        app: App::new(Theme::new(true), None, Duration::from_secs(1)),
    };
    let result = session.run(&|| stopped(&world));
    let screen = session.terminal.backend().backend.to_string();
    Replay { world, draws, screen, result }
}

/// A test backend that counts the screens that were drawn.
struct Counting {
    backend: TestBackend,
    flushes: Rc<Cell<u64>>,
}

impl Backend for Counting {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a ratatui::buffer::Cell)>,
    {
        self.flushes.set(self.flushes.get() + 1);
        self.backend.draw(content).map_err(io::Error::other)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.backend.hide_cursor().map_err(io::Error::other)
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.backend.show_cursor().map_err(io::Error::other)
    }

    fn get_cursor_position(&mut self) -> io::Result<ratatui::layout::Position> {
        self.backend.get_cursor_position().map_err(io::Error::other)
    }

    fn set_cursor_position<P: Into<ratatui::layout::Position>>(&mut self, position: P) -> io::Result<()> {
        self.backend.set_cursor_position(position).map_err(io::Error::other)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.backend.clear().map_err(io::Error::other)
    }

    fn clear_region(&mut self, clear_type: ratatui::backend::ClearType) -> io::Result<()> {
        self.backend.clear_region(clear_type).map_err(io::Error::other)
    }

    fn size(&self) -> io::Result<ratatui::layout::Size> {
        self.backend.size().map_err(io::Error::other)
    }

    fn window_size(&mut self) -> io::Result<ratatui::backend::WindowSize> {
        self.backend.window_size().map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.backend.flush().map_err(io::Error::other)
    }
}

fn key(code: KeyCode) -> Happening {
    Happening::Event(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn letter(c: char) -> Happening {
    key(KeyCode::Char(c))
}

fn snapshot(snapshot: Snapshot) -> Happening {
    Happening::Update(Box::new(|| Update::Snapshot(Ok(Box::new(snapshot)))))
}

fn flows(filter: &str, answer: Result<FlowPage, SourceError>) -> Happening {
    let query = FlowQuery { filter: filter.into(), ..FlowQuery::default() };
    Happening::Update(Box::new(|| Update::Flows { query, answer }))
}

#[test]
fn a_user_watches_looks_at_a_flow_and_leaves() {
    let replay = replay([
        (10, snapshot(sample::busy(1))),
        (1010, snapshot(sample::busy(2))),
        (1500, letter('2')),
        (1600, flows("", Ok(sample::flows(50, 2)))),
        (2000, letter('/')),
        (2100, letter('t')),
        (2200, letter('c')),
        (2300, letter('p')),
        (2400, key(KeyCode::Enter)),
        (2500, flows("tcp", Ok(sample::flows(20, 2)))),
        (3000, key(KeyCode::Down)),
        (3100, key(KeyCode::Enter)),
        (4000, letter('x')),
        (5000, letter('q')),
    ]);
    assert_eq!(replay.result.unwrap(), Exit::Quit);
    assert!(replay.screen.contains("192.168.0.1:50001"), "{}", replay.screen);
    assert!(replay.screen.contains("FIN SYN ACK (0x13)"), "{}", replay.screen);
    let wanted = replay.world.wanted.borrow();
    let filters: Vec<_> = wanted.iter().map(|query| query.as_ref().map(|query| query.filter.as_str())).collect();
    assert_eq!(filters, [None, Some(""), Some("tcp")]);
}

#[test]
fn a_user_saves_a_flow_and_is_told_where() {
    let file = "vxtap-flow-LQU9qZlK-20261121T100000Z.pcapng";
    let saved = move || Update::Saved(Ok(Saved { packets: 7, file: file.into(), lacks: None }));
    let replay = replay([
        (10, snapshot(sample::busy(1))),
        (1500, letter('2')),
        (1600, flows("", Ok(sample::flows(50, 2)))),
        (2000, key(KeyCode::Down)),
        (2100, letter('f')),
        (2200, letter('f')),
        (3000, Happening::Update(Box::new(saved))),
        (5000, letter('q')),
    ]);
    assert_eq!(replay.result.unwrap(), Exit::Quit);
    let flow = &sample::flows(50, 2).flows[1];
    let wanted = CapturedFlow { community_id: flow.community_id.clone(), filter: "vni 4243".into() };
    assert_eq!(*replay.world.saved.borrow(), [wanted]);
    assert!(replay.screen.contains(&format!("saved 7 packets to {file}")), "{}", replay.screen);
}

#[test]
fn nothing_is_drawn_while_nothing_changes() {
    let quiet = replay([(10, snapshot(sample::busy(1))), (600_000, letter('q'))]);
    assert_eq!(quiet.draws.get(), 2, "the empty screen and the snapshot");
    let keys = replay([(10, snapshot(sample::busy(1))), (500, letter('x')), (900, letter('x')), (1000, letter('q'))]);
    assert_eq!(keys.draws.get(), 2, "keys that do nothing");
}

#[test]
fn updates_and_keys_in_quick_succession_are_drawn_together() {
    let held_key = (0..1000).map(|at| (1000 + at, key(KeyCode::Tab)));
    let many = replay(held_key.chain([(2100, letter('q'))]));
    assert!((20..=40).contains(&many.draws.get()), "{}", many.draws.get());
    let flood = (0..1000).map(|at| (1000 + at, snapshot(sample::busy(1 + at))));
    let many = replay(flood.chain([(2100, letter('q'))]));
    assert!((4..=15).contains(&many.draws.get()), "{}", many.draws.get());
}

#[test]
fn waiting_for_keys_is_no_busy_loop() {
    let quiet = replay([(10, snapshot(sample::busy(1))), (60_000, letter('q'))]);
    assert!(quiet.world.rounds.get() < 700, "{} rounds in a minute", quiet.world.rounds.get());
}

#[test]
fn the_age_of_old_data_goes_on_by_itself() {
    let lost = Happening::Update(Box::new(|| Update::Snapshot(Err(SourceError::Unreachable("refused".into())))));
    let replay = replay([(10, snapshot(sample::busy(1))), (1010, lost), (42_500, letter('q'))]);
    assert!(replay.screen.contains("connection lost, trying again (data are 42s old)"), "{}", replay.screen);
    assert!(replay.draws.get() < 50, "{}", replay.draws.get());
}

#[test]
fn ctrl_c_leaves_even_while_a_filter_is_written() {
    let control_c = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
    let replay = replay([
        (10, snapshot(sample::busy(1))),
        (20, letter('2')),
        (30, letter('/')),
        (40, letter('q')),
        (50, Happening::Event(control_c)),
    ]);
    assert_eq!(replay.result.unwrap(), Exit::Quit);
    assert_eq!(replay.world.now.get(), Duration::from_millis(50));
}

#[test]
fn a_session_that_is_told_to_stop_ends_within_a_tenth_of_a_second() {
    let told = Duration::from_secs(5);
    let replay = replay_until([(600_000, letter('q'))], &|world| world.now.get() >= told);
    assert_eq!(replay.result.unwrap(), Exit::Stopped);
    assert!(replay.world.now.get() <= told + Duration::from_millis(100));
}

#[test]
fn a_terminal_that_is_gone_ends_the_session_with_what_was_tried() {
    let replay = replay([(10, Happening::KeyboardGone)]);
    assert_eq!(replay.result.unwrap_err().to_string(), "can't read the keyboard: hung up");
}

#[test]
fn a_resized_terminal_is_drawn_again() {
    let resized = replay([(500, Happening::Event(Event::Resize(80, 24))), (1000, letter('q'))]);
    assert_eq!(resized.draws.get(), 2);
}

#[test]
fn nothing_is_drawn_while_another_job_has_the_terminal_and_everything_when_it_is_ours_again() {
    let script = |back: Option<u64>| {
        let away = [(10, snapshot(sample::busy(1))), (500, Happening::Turn(Turn::Away))];
        let meanwhile = [(1000, snapshot(sample::busy(2))), (2000, snapshot(sample::busy(3)))];
        let back = back.map(|at| (at, Happening::Turn(Turn::Regained)));
        replay(away.into_iter().chain(meanwhile).chain(back).chain([(4000, letter('q'))]))
    };
    let away = script(None);
    assert_eq!(away.draws.get(), 2, "the empty screen and the first snapshot");
    assert!(away.world.rounds.get() < 100, "{} rounds in four seconds", away.world.rounds.get());
    let back = script(Some(3000));
    assert_eq!(back.draws.get(), 3);
    assert!(back.screen.contains("up 00:00:03"), "{}", back.screen);
}

#[test]
fn a_decision_goes_to_the_source_once_it_was_confirmed() {
    let key = |c| Happening::Event(Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)));
    let replay = replay([
        (0, Happening::Update(Box::new(|| Update::Snapshot(Ok(Box::new(sample::waiting(90))))))),
        (1_000, key('4')),
        (1_100, key('a')),
        (1_200, key('y')),
        (1_300, key('q')),
    ]);
    assert!(matches!(replay.result, Ok(Exit::Quit)));
    let decision = Ruling { act: Act::Accept, selector: "vxlan vni 99 from 10.0.9.9".into() };
    assert_eq!(*replay.world.decided.borrow(), [decision]);
}
