//! How a run is told to end: by signals, by whoever leaves the dashboard, by a worker that cannot go on.
//!
//! SIGTERM is a manager's: a load balancer may still send, so the run is drained first: it tells that it is not ready, and
//! receives on for a while. SIGINT is a person's, who waits: it ends the run without that.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::config::Time;
use crate::log::LogReopen;
use crate::signals::{Event, Then, on_signal};

/// A request to end the run, that several may make.
#[derive(Clone, Debug)]
pub(crate) struct End {
    asked: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
    wake: Sender<()>,
    woken: Receiver<()>,
    /// What a SIGHUP opens again.
    log: Arc<OnceLock<LogReopen>>,
}

/// How far signals have brought the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No signal has come.
    Untold,
    /// It is being drained.
    Draining,
    /// It ends.
    Ending,
}

impl Stage {
    /// The next stage after `event`, with a drain of `drain` before the end, and what is to be done.
    const fn after(self, event: Event, drain: Duration) -> (Self, Then) {
        match (self, event) {
            (Self::Untold, Event::Terminate) if !drain.is_zero() => (Self::Draining, Then::Call(drain)),
            (Self::Ending, Event::Interrupt | Event::Terminate) => (Self::Ending, Then::Exit),
            (Self::Untold | Self::Draining, _) | (Self::Ending, Event::TimeOver) => (Self::Ending, Then::Wait),
        }
    }
}

impl End {
    /// An end that SIGINT asks for, and SIGTERM after a drain of `drain`; another signal ends a drain, and one more the process.
    /// SIGHUP has the log opened again; where the terminal is gone it asks for the end as well. Made before anything is opened or
    /// announced, so that a signal is never met without its handler.
    pub(crate) fn on_signal(drain: Duration) -> anyhow::Result<Self> {
        let end = Self::new();
        let on_terminal = std::io::stdout().is_terminal();
        let (told, hung_up) = (end.clone(), end.clone());
        let hang_up = move || {
            if let Some(log) = hung_up.log.get() {
                log.ask();
            }
            if on_terminal && !std::io::stdout().is_terminal() {
                hung_up.ask();
            }
        };
        let mut stage = Stage::Untold;
        let asked = move |event| {
            let (next, then) = stage.after(event, drain);
            if stage != next {
                told.enter(next, drain);
            }
            stage = next;
            then
        };
        on_signal(asked, Some(Box::new(hang_up)))?;
        Ok(end)
    }

    fn new() -> Self {
        let (wake, woken) = bounded(1);
        Self { asked: Arc::default(), draining: Arc::default(), wake, woken, log: Arc::default() }
    }

    fn enter(&self, stage: Stage, drain: Duration) {
        match stage {
            Stage::Untold => {}
            Stage::Draining => {
                tracing::info!("draining: not ready, and still receiving for {}; a signal ends that", Time(drain));
                self.draining.store(true, Ordering::SeqCst);
            }
            Stage::Ending => self.ask(),
        }
    }

    /// Has SIGHUP open this log again. One that comes before has nothing to do.
    pub(crate) fn reopen_on_hang_up(&self, log: LogReopen) {
        let set = self.log.set(log);
        debug_assert!(set.is_ok(), "a run has one log");
    }

    /// Asks for the end.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        // A full channel has the wake-up in it.
        let _ = self.wake.try_send(());
    }

    /// Set when the end was asked for.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asked)
    }

    /// Whether it will end, sooner or later: it is drained, or the end was asked for.
    pub(crate) fn is_near(&self) -> bool {
        self.draining.load(Ordering::SeqCst) || self.asked.load(Ordering::SeqCst)
    }

    /// Waits until the end is asked for, or `time` is over. Gives whether it was asked for.
    pub(crate) fn wait(&self, time: Option<Duration>) -> bool {
        let deadline = time.map(|time| Instant::now() + time);
        while !self.asked.load(Ordering::SeqCst) {
            let _ = match deadline {
                Some(deadline) if Instant::now() >= deadline => return false,
                Some(deadline) => self.woken.recv_deadline(deadline).is_ok(),
                None => self.woken.recv().is_ok(),
            };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Story = [(Event, Stage, Then)];

    #[test]
    fn signals_lead_to_the_end_as_the_table_says() {
        use Event::{Interrupt, Terminate, TimeOver};
        use Stage::{Draining, Ending};
        let (half_a_minute, none) = (Duration::from_secs(30), Duration::ZERO);
        let (drain, wait, exit) = (Then::Call(half_a_minute), Then::Wait, Then::Exit);
        let table: &[(Duration, &Story)] = &[
            (half_a_minute, &[(Terminate, Draining, drain), (TimeOver, Ending, wait), (Terminate, Ending, exit)]),
            (half_a_minute, &[(Terminate, Draining, drain), (Terminate, Ending, wait), (Terminate, Ending, exit)]),
            (half_a_minute, &[(Terminate, Draining, drain), (Interrupt, Ending, wait), (Interrupt, Ending, exit)]),
            (half_a_minute, &[(Interrupt, Ending, wait), (Terminate, Ending, exit)]),
            (none, &[(Terminate, Ending, wait), (Interrupt, Ending, exit)]),
        ];
        for (time, story) in table {
            let mut stage = Stage::Untold;
            for (event, next, then) in *story {
                assert_eq!(stage.after(*event, *time), (*next, *then), "{event:?} in {stage:?} of {story:?}");
                stage = *next;
            }
        }
    }

    #[test]
    fn a_drain_is_near_the_end_and_does_not_end_the_wait() {
        let end = End::new();
        assert!(!end.is_near());
        end.enter(Stage::Draining, Duration::from_secs(30));
        assert!(end.is_near() && !end.wait(Some(Duration::ZERO)));
        end.enter(Stage::Ending, Duration::from_secs(30));
        assert!(end.wait(None) && end.flag().load(Ordering::SeqCst));
    }
}
