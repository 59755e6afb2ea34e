//! The user's terminal: taken over, and given back however the session ends.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::cursor::{Hide, Show};
use crossterm::event::{self, Event};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::session::{Input, TuiError};

/// A whole screen goes out in one write, so that it does not come apart on a slow line.
const OUTPUT_BUFFER: usize = 64 << 10;

type Output = CrosstermBackend<BufWriter<Stdout>>;
type PanicHook = Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// The terminal while the screens are on it. Dropping it gives the terminal back.
pub(crate) struct Takeover {
    state: Arc<State>,
    previous_hook: PanicHook,
}

#[derive(Default)]
struct State {
    taken: AtomicBool,
    panicked: AtomicBool,
}

impl State {
    /// Puts the terminal back as it was; only the first call does anything. Errors are of no use to anybody here.
    fn give_back(&self) {
        if self.taken.swap(false, Ordering::SeqCst) {
            let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
            let _ = disable_raw_mode();
        }
    }
}

impl Takeover {
    /// Takes the terminal of standard output over: raw mode, alternate screen, no cursor.
    pub(crate) fn begin() -> Result<(Self, Terminal<Output>), TuiError> {
        if !io::stdout().is_terminal() {
            return Err(TuiError::NoTerminal);
        }
        let state = Arc::new(State::default());
        // A panic on any thread would write over the screens, so the terminal is given back first.
        let previous_hook: PanicHook = std::panic::take_hook().into();
        let (told, hook) = (Arc::clone(&state), Arc::clone(&previous_hook));
        std::panic::set_hook(Box::new(move |info| {
            told.panicked.store(true, Ordering::SeqCst);
            told.give_back();
            hook(info);
        }));
        let takeover = Self { state, previous_hook };
        takeover.state.taken.store(true, Ordering::SeqCst);
        enable_raw_mode().map_err(TuiError::terminal("switch the terminal to raw mode"))?;
        execute!(io::stdout(), EnterAlternateScreen, Hide).map_err(TuiError::terminal("clear the terminal"))?;
        let output = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout());
        let terminal =
            Terminal::new(CrosstermBackend::new(output)).map_err(TuiError::terminal("size the terminal up"))?;
        Ok((takeover, terminal))
    }

    /// Whether a thread panicked since; then the terminal has been given back already.
    pub(crate) fn panicked(&self) -> bool {
        self.state.panicked.load(Ordering::SeqCst)
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        self.state.give_back();
        let _ = io::stdout().flush();
        // A hook can't be changed during a panic; ours does nothing more than the previous one by now.
        if !std::thread::panicking() {
            let previous = Arc::clone(&self.previous_hook);
            std::panic::set_hook(Box::new(move |info| previous(info)));
        }
    }
}

/// The keys of the terminal.
pub(crate) struct TerminalInput;

impl Input for TerminalInput {
    fn next(&mut self, timeout: Duration) -> io::Result<Option<Event>> {
        if event::poll(timeout)? { event::read().map(Some) } else { Ok(None) }
    }
}
