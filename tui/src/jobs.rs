//! Job control: the shell stops the program and lets it go on, and meanwhile the terminal is the shell's.
//!
//! A program that is only stopped leaves its screen, a hidden cursor and raw mode to the shell, and when it goes on the shell has
//! set modes of its own: keys are echoed into the screen and come a line at a time.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;
use signal_hook::SigId;
use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::{flag, low_level};

use crate::session::TuiError;
use crate::terminal::Owner;

/// Whose the terminal is just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Ours, and what is on it is what was drawn last.
    Ours,
    /// Ours again, and what is on it is unknown.
    Regained,
    /// Another job's: nothing can be drawn.
    Away,
}

/// Tells whose turn it is.
pub(crate) trait Jobs {
    /// To be asked before each drawing. Stops the process if it was told so, and returns when it goes on.
    fn turn(&mut self) -> Result<Turn, TuiError>;
}

/// The jobs of the shell that the process runs in.
pub(crate) struct ShellJobs {
    terminal: Arc<Owner>,
    /// SIGTSTP came.
    stop: Arc<AtomicBool>,
    /// SIGCONT came.
    goes_on: Arc<AtomicBool>,
    /// SIGTSTP stops the process without us: nothing is on the terminal.
    by_default: Arc<AtomicBool>,
    ids: Vec<SigId>,
    away: bool,
}

impl ShellJobs {
    /// Takes the signals of job control over, until it is dropped; `terminal` is ours.
    pub(crate) fn watch(terminal: Arc<Owner>) -> Result<Self, TuiError> {
        let mut jobs = Self {
            terminal,
            stop: Arc::default(),
            goes_on: Arc::default(),
            by_default: Arc::default(),
            ids: Vec::new(),
            away: false,
        };
        // This one stays: without any action SIGTSTP would do nothing at all from then on.
        let catch = TuiError::terminal("catch the signals of job control");
        flag::register_conditional_default(SIGTSTP, Arc::clone(&jobs.by_default))
            .and_then(|_| {
                jobs.ids.push(flag::register(SIGTSTP, Arc::clone(&jobs.stop))?);
                jobs.ids.push(flag::register(SIGCONT, Arc::clone(&jobs.goes_on))?);
                Ok(())
            })
            .map_err(catch)?;
        Ok(jobs)
    }
}

impl Jobs for ShellJobs {
    fn turn(&mut self) -> Result<Turn, TuiError> {
        if self.stop.swap(false, Ordering::SeqCst) {
            if !self.away {
                self.terminal.give_back();
            }
            low_level::emulate_default_handler(SIGTSTP).map_err(TuiError::terminal("stop as the shell asked"))?;
            self.away = true;
        }
        if self.goes_on.swap(false, Ordering::SeqCst) && !self.away {
            // Stopped without being asked (SIGSTOP).
            self.terminal.step_aside();
            self.away = true;
        }
        if !self.away {
            return Ok(Turn::Ours);
        }
        if !has_terminal(io::stdout()) {
            return Ok(Turn::Away);
        }
        self.terminal.take_again()?;
        self.away = false;
        Ok(Turn::Regained)
    }
}

impl Drop for ShellJobs {
    fn drop(&mut self) {
        self.by_default.store(true, Ordering::SeqCst);
        for id in self.ids.drain(..) {
            low_level::unregister(id);
        }
    }
}

/// Whether this process may read `terminal` and set its modes: the system stops one that does so from the background. What is
/// no terminal of a job is everybody's.
pub(crate) fn has_terminal(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).map_or(true, |foreground| foreground == getpgrp())
}
