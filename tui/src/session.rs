//! One session: keys and updates in, screens out, until the user leaves.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::Event;
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::layout::{Position, Rect};

use crate::app::{App, Connection, Outcome};
use crate::clock::{Clock, SystemClock};
use crate::jobs::{Jobs, ShellJobs, Turn};
use crate::keyboard::Keyboard;
use crate::poller::{Poller, SourceGone, Updates};
use crate::screens;
use crate::source::Source;
use crate::terminal::Takeover;
use crate::theme::Theme;

/// The screen is drawn at most this often, which is as fast as a slow line takes it.
const FRAME: Duration = Duration::from_millis(100);
/// How long a key press may wait for others before the screen is drawn: held keys are drawn together.
const KEY_FRAME: Duration = Duration::from_millis(30);

/// How the screens are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TuiOptions {
    /// How often the source is asked.
    pub interval: Duration,
    /// Whether to use colours; without, bold, dim and reversed text tell the same.
    pub color: bool,
    /// What is looked at, for the screens: the address of the API. `None` in process.
    pub origin: Option<String>,
}

impl TuiOptions {
    /// The shortest interval; shorter ones count as this.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(100);
}

impl Default for TuiOptions {
    /// Once a second, colours unless the environment sets `NO_COLOR` to anything.
    fn default() -> Self {
        let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { interval: Duration::from_secs(1), color, origin: None }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The user left.
    Quit,
    /// It was told to stop.
    Stopped,
}

/// Why a session failed. The terminal has been given back.
#[derive(Debug, thiserror::Error)]
pub enum TuiError {
    /// There is nothing to draw on.
    #[error("standard output is not a terminal: run this in one, or read the collector's API with curl instead")]
    NoTerminal,
    /// There is one, and it shows lines only.
    #[error(
        "the terminal cannot be drawn on (TERM=dumb): run this in another, or read the collector's API with curl instead"
    )]
    DumbTerminal,
    /// The terminal does not do as it is told, or is gone.
    #[error("can't {operation}: {error}")]
    Terminal {
        /// What was tried.
        operation: &'static str,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The thread that asks the source could not be started.
    #[error("can't start the thread that asks the collector: {0}")]
    Thread(#[source] io::Error),
    /// A thread of this process panicked; its message has been printed.
    #[error("the screens were closed because a thread of this process panicked")]
    Panicked,
}

impl TuiError {
    pub(crate) fn terminal(operation: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Terminal { operation, error }
    }
}

/// Shows the screens on the terminal of this process until the user leaves or `stop` is set.
///
/// The terminal is given back on every way out. Nothing else should write to it meanwhile. A signal that ends the process
/// is the caller's to catch: it sets `stop` and the session ends within a tenth of a second. SIGTSTP and SIGCONT are caught here:
/// a process that is stopped leaves the terminal to the shell.
pub fn run(source: Box<dyn Source>, options: TuiOptions, stop: Arc<AtomicBool>) -> Result<Exit, TuiError> {
    let interval = options.interval.max(TuiOptions::MIN_INTERVAL);
    let app = App::new(Theme::new(options.color), options.origin, interval);
    let (takeover, terminal) = Takeover::begin()?;
    let input = Keyboard::start().map_err(TuiError::terminal("read the keyboard"))?;
    let updates = Poller::start(source, interval).map_err(TuiError::Thread)?;
    let jobs = ShellJobs::watch(takeover.owner())?;
    let mut session = Session { terminal, input, clock: SystemClock::new(), updates, jobs, app };
    let result = session.run(&|| stop.load(Ordering::SeqCst) || takeover.panicked());
    // Nobody reads the terminal any more when it is given back, and it is back before the source is waited for.
    let Session { input, updates, jobs, .. } = session;
    drop((input, jobs));
    let panicked = takeover.panicked();
    drop((takeover, updates, stop));
    if panicked { Err(TuiError::Panicked) } else { result }
}

/// Key presses and other events of a terminal.
pub(crate) trait Input {
    /// The next event, waited for at most `timeout`.
    fn next(&mut self, timeout: Duration) -> io::Result<Option<Event>>;
}

/// A session over anything that is a terminal, a keyboard, a clock and a source.
pub(crate) struct Session<B: Backend, I, C, U, J> {
    pub(crate) terminal: Terminal<B>,
    pub(crate) input: I,
    pub(crate) clock: C,
    pub(crate) updates: U,
    pub(crate) jobs: J,
    pub(crate) app: App,
}

impl<B, I, C, U, J> Session<B, I, C, U, J>
where
    B: Backend,
    B::Error: Into<io::Error>,
    I: Input,
    C: Clock,
    U: Updates,
    J: Jobs,
{
    /// Runs until the user leaves or `stopped` says so.
    pub(crate) fn run(&mut self, stopped: &dyn Fn() -> bool) -> Result<Exit, TuiError> {
        // When the screen has to be drawn again; now, for the first.
        let mut due = Some(Duration::ZERO);
        let mut drawn = Duration::ZERO;
        loop {
            if stopped() {
                return Ok(Exit::Stopped);
            }
            if self.take_updates()? == Outcome::Changed {
                due = due.or(Some(drawn + FRAME));
            }
            let now = self.clock.now();
            if self.shows_time_passing() {
                due = due.or(Some(drawn + Duration::from_secs(1)));
            }
            let turn = self.jobs.turn()?;
            if turn == Turn::Regained {
                self.forget_screen()?;
                due = Some(now);
            }
            if turn != Turn::Away && due.is_some_and(|due| due <= now) {
                self.draw(now)?;
                (due, drawn) = (None, now);
            }
            let wait = due.filter(|_| turn != Turn::Away).map_or(FRAME, |due| due.saturating_sub(now).min(FRAME));
            match self.input.next(wait).map_err(TuiError::terminal("read the keyboard"))? {
                None => {}
                Some(Event::Key(key)) => match self.app.key(&key) {
                    Outcome::Quit => return Ok(Exit::Quit),
                    Outcome::Changed => {
                        self.fit()?;
                        self.updates.want(self.app.wanted_flows());
                        if let Some(flow) = self.app.take_flow_to_save() {
                            self.updates.save(flow);
                        }
                        if let Some(decision) = self.app.take_decision() {
                            self.updates.decide(decision);
                        }
                        due = Some(drawn + KEY_FRAME);
                    }
                    Outcome::Same => {}
                },
                Some(Event::Paste(text)) if self.app.paste(&text) == Outcome::Same => {}
                Some(_) => due = Some(drawn + KEY_FRAME),
            }
        }
    }

    fn take_updates(&mut self) -> Result<Outcome, TuiError> {
        let mut outcome = Outcome::Same;
        while let Some(update) = self.updates.next().map_err(|SourceGone| TuiError::Panicked)? {
            if self.app.update(update, self.clock.now()) == Outcome::Changed {
                outcome = Outcome::Changed;
            }
        }
        Ok(outcome)
    }

    /// Whether the screen tells how old its data are, which changes by itself.
    fn shows_time_passing(&self) -> bool {
        matches!(self.app.connection, Connection::Lost { since: Some(_), .. })
    }

    fn fit(&mut self) -> Result<(), TuiError> {
        let size = self.terminal.size().map_err(Into::into).map_err(TuiError::terminal("size the terminal up"))?;
        self.app.fit(size);
        Ok(())
    }

    /// The next drawing draws everything, at the size that the terminal has by then.
    fn forget_screen(&mut self) -> Result<(), TuiError> {
        let size = self.terminal.size().map_err(Into::into).map_err(TuiError::terminal("size the terminal up"))?;
        // `clear` would ask the terminal for its cursor, and the answer would come as keys.
        let cleared = self.terminal.resize(Rect::from((Position::ORIGIN, size)));
        cleared.map_err(Into::into).map_err(TuiError::terminal("clear the terminal"))
    }

    fn draw(&mut self, now: Duration) -> Result<(), TuiError> {
        self.fit()?;
        // How many flows there is room for may have changed.
        self.updates.want(self.app.wanted_flows());
        let app = &self.app;
        let drawn = self.terminal.draw(|frame| screens::draw(frame, app, now));
        drawn.map_err(Into::into).map_err(TuiError::terminal("draw on the terminal"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
