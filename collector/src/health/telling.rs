//! What the service manager is told, and when: that the collector receives, how it is, that it ends, and that it lives.

use std::fmt::Write as _;
use std::time::Duration;

use vxtap_analyzers::snapshot::{HealthSnapshot, RunState};

use super::readiness::Observation;
use crate::manager::Manager;

/// Signs of life are given so many times in the time after which the manager kills.
const SIGNS: u32 = 4;

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    /// What others are told.
    pub(super) state: RunState,
    /// Whether all workers have run.
    pub(super) started: bool,
    /// Whether workers receive no more.
    pub(super) finishing: bool,
}

/// Tells the service manager.
#[derive(Debug)]
pub(crate) struct Telling {
    manager: Manager,
    /// What it does, in words, when all is well.
    receiving: String,
    ready: bool,
    stopping: bool,
    status: String,
    /// When the last sign of life was given, and the workers' turns at that time.
    sign: Option<(Duration, Vec<u64>)>,
}

impl Telling {
    /// Tells `manager` of a collector that listens on `listeners`.
    pub(crate) fn new(manager: Manager, listeners: &[String]) -> Self {
        let receiving = format!("receiving on {}", listeners.join(", "));
        Self { manager, receiving, ready: false, stopping: false, status: String::new(), sign: None }
    }

    /// Tells what is new at `now` of the run at `stage`, of which this was `seen` and concluded.
    pub(super) fn tell(&mut self, now: Duration, stage: Stage, health: &HealthSnapshot, seen: &Observation) {
        if !self.manager.is_there() {
            return;
        }
        let Stage { state, started, finishing } = stage;
        let mut lines = String::new();
        let ends = matches!(state, RunState::Draining | RunState::Stopped);
        if started && !self.ready {
            lines.push_str("READY=1\n");
        }
        if ends && !self.stopping {
            lines.push_str("STOPPING=1\n");
        }
        let status = match (ends, health.ready) {
            (true, _) => state.as_str().to_owned(),
            (false, true) => self.receiving.clone(),
            (false, false) => format!("{}, and not ready for traffic: {}", self.receiving, causes(health)),
        };
        if status != self.status {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "STATUS={status}");
        }
        if !lines.is_empty() && self.manager.tell(&lines) {
            self.ready |= started;
            self.stopping |= ends;
            self.status = status;
        }
        self.give_sign(now, finishing, seen);
    }

    /// Says that the collector lives, if it does: every worker has made a turn since the last time. One that is
    /// `finishing` has no workers any more, and as long as the manager gives it.
    fn give_sign(&mut self, now: Duration, finishing: bool, seen: &Observation) {
        let Some(limit) = self.manager.watchdog() else { return };
        let turns: Vec<u64> = seen.workers.iter().map(|worker| worker.turns).collect();
        if let Some((at, last)) = &self.sign {
            let all_moved = turns.iter().zip(last).all(|(now, last)| now > last);
            if now.saturating_sub(*at) < limit / SIGNS || !(all_moved || finishing) {
                return;
            }
        }
        if self.manager.tell("WATCHDOG=1") {
            self.sign = Some((now, turns));
        }
    }
}

/// Names of what speaks against traffic: the words about it change too often to be told each time.
fn causes(health: &HealthSnapshot) -> String {
    health.not_ready.iter().map(|reason| reason.cause.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
