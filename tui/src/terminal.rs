//! The user's terminal: taken over, and given back however the session ends.

use std::io::{self, IsTerminal as _, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use crate::session::TuiError;

/// Whether standard output is a terminal that screens can be drawn on: one that says of itself that it is dumb (`TERM=dumb`, as
/// shells in editors and jobs of build servers do) would print what moves the cursor.
pub fn can_draw() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|name| name != "dumb")
}

type PanicHook = Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// The terminal while the screens are on it. Dropping it gives the terminal back.
pub(crate) struct Takeover {
    owner: Arc<Owner>,
    previous_hook: PanicHook,
}

/// Whose the terminal is. Everything that is written to it goes through here, so that nothing is drawn any more once it has
/// been given back, by whichever thread.
pub(crate) struct Owner {
    /// Whether it is ours.
    taken: Mutex<bool>,
    panicked: AtomicBool,
}

impl Owner {
    /// Does `write` if the terminal is ours.
    fn with<T: Default>(&self, write: impl FnOnce(&mut bool) -> T) -> T {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if *taken { write(&mut taken) } else { T::default() }
    }

    /// Puts the terminal back as it was; only the first call does anything. Errors are of no use to anybody here.
    pub(crate) fn give_back(&self) {
        self.with(|taken| {
            *taken = false;
            let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
            let _ = disable_raw_mode();
        });
    }

    /// Leaves the screen to whoever has the terminal now, and its modes as they are: they are not ours to set any more.
    pub(crate) fn step_aside(&self) {
        self.with(|taken| {
            *taken = false;
            let _ = execute!(io::stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
        });
    }

    /// Makes the terminal ours again, whatever others made of it meanwhile.
    pub(crate) fn take_again(&self) -> Result<(), TuiError> {
        // Raw mode is only set by one who takes it for not set.
        disable_raw_mode().map_err(TuiError::terminal("set the terminal's mode"))?;
        self.take()
    }

    /// Makes the terminal ours: raw mode, alternate screen, no cursor, and what is pasted told from what is typed: a line of
    /// text is no row of keys.
    fn take(&self) -> Result<(), TuiError> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = true;
        enable_raw_mode().map_err(TuiError::terminal("switch the terminal to raw mode"))?;
        execute!(io::stdout(), EnterAlternateScreen, Hide, EnableBracketedPaste)
            .map_err(TuiError::terminal("clear the terminal"))
    }
}

impl Takeover {
    /// Takes the terminal of standard output over.
    pub(crate) fn begin() -> Result<(Self, Terminal<CrosstermBackend<Output>>), TuiError> {
        if !io::stdout().is_terminal() {
            return Err(TuiError::NoTerminal);
        }
        if !can_draw() {
            return Err(TuiError::DumbTerminal);
        }
        let owner = Arc::new(Owner { taken: Mutex::new(false), panicked: AtomicBool::new(false) });
        // A panic on any thread would write over the screens, so the terminal is given back first.
        let previous_hook: PanicHook = std::panic::take_hook().into();
        let (told, hook) = (Arc::clone(&owner), Arc::clone(&previous_hook));
        std::panic::set_hook(Box::new(move |info| {
            told.panicked.store(true, Ordering::SeqCst);
            told.give_back();
            hook(info);
        }));
        let output = Output { frame: Vec::new(), owner: Arc::clone(&owner) };
        let takeover = Self { owner, previous_hook };
        takeover.owner.take()?;
        let terminal =
            Terminal::new(CrosstermBackend::new(output)).map_err(TuiError::terminal("size the terminal up"))?;
        Ok((takeover, terminal))
    }

    /// Who has the terminal, for whoever hands it to others for a while.
    pub(crate) fn owner(&self) -> Arc<Owner> {
        Arc::clone(&self.owner)
    }

    /// Whether a thread panicked since; then the terminal has been given back already.
    pub(crate) fn panicked(&self) -> bool {
        self.owner.panicked.load(Ordering::SeqCst)
    }
}

impl Drop for Takeover {
    fn drop(&mut self) {
        self.owner.give_back();
        // A hook can't be changed during a panic; ours does nothing more than the previous one by now.
        if !std::thread::panicking() {
            let previous = Arc::clone(&self.previous_hook);
            std::panic::set_hook(Box::new(move |info| previous(info)));
        }
    }
}

/// What is drawn: a whole screen goes out in one write, so that it does not come apart on a slow line.
pub(crate) struct Output {
    frame: Vec<u8>,
    owner: Arc<Owner>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let frame = std::mem::take(&mut self.frame);
        let written = self.owner.with(|_| {
            let mut stdout = io::stdout().lock();
            Some(stdout.write_all(&frame).and_then(|()| stdout.flush()))
        });
        // The room is kept for the next frame.
        self.frame = frame;
        self.frame.clear();
        written.unwrap_or(Ok(()))
    }
}
