//! How much of a CPU mirroring may take: measured ten times a second for the whole process, threads and kernel work
//! done for it included, and held by giving up flows, lengths or packets like any budget.
//!
//! What cannot be given up is the taking of frames out of the ring and the decision about them: a policy that wants less lets
//! the kernel's filter see fewer.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::shed::Shedder;
use crate::policy::Shed;

const INTERVAL: Duration = Duration::from_millis(100);

/// Holds the process's CPU time to a budget.
#[derive(Debug)]
pub(super) struct Governor {
    /// CPU time in a time, 1 is one whole CPU; `None` is without limit.
    budget: Option<f64>,
    shedder: Shedder,
    measured: Instant,
    cpu: Duration,
    /// The longest packet since then.
    longest: u32,
    usage: f64,
}

impl Governor {
    /// `percent` of one CPU.
    pub(super) fn new(percent: Option<f64>, how: Shed, now: Instant) -> Self {
        Self {
            budget: percent.map(|percent| percent / 100.0),
            shedder: Shedder::new(how),
            measured: now,
            cpu: cpu_time(),
            longest: 0,
            usage: 0.0,
        }
    }

    /// Another budget; what is given up for now stays where the way to do so does.
    pub(super) fn set(&mut self, percent: Option<f64>, how: Shed) {
        let budget = percent.map(|percent| percent / 100.0);
        if budget.is_none() || self.shedder.how() != how {
            self.shedder = Shedder::new(how);
        }
        self.budget = budget;
    }

    /// Measures, if it is time to.
    pub(super) fn begin(&mut self, now: Instant) {
        let passed = now.duration_since(self.measured);
        if passed < INTERVAL {
            return;
        }
        let cpu = cpu_time();
        self.usage = cpu.saturating_sub(self.cpu).as_secs_f64() / passed.as_secs_f64();
        (self.measured, self.cpu) = (now, cpu);
        if let Some(budget) = self.budget {
            self.shedder.adapt(self.usage / budget, self.longest);
        }
        self.longest = 0;
    }

    /// Whether packets of the flow with the hash `flow` are mirrored for now; this one would be `len` bytes.
    #[inline]
    pub(super) fn keeps(&mut self, flow: u32, len: u32) -> bool {
        self.longest = self.longest.max(len);
        self.shedder.keeps(flow)
    }

    /// What packets are cut to for now.
    #[inline]
    pub(super) const fn length(&self) -> u32 {
        self.shedder.length()
    }

    /// CPU time in a time when it was last measured, 1 is one whole CPU.
    pub(super) const fn usage(&self) -> f64 {
        self.usage
    }

    /// The share of flows that is kept.
    pub(super) fn kept(&self) -> f64 {
        self.shedder.kept()
    }
}

/// CPU time of the whole process so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_over_its_budget_gives_up_flows_and_takes_them_back_when_it_is_idle() {
        let start = Instant::now();
        let mut governor = Governor::new(Some(1.0), Shed::Flows, start);
        let spun = Instant::now();
        while cpu_time().saturating_sub(governor.cpu) < Duration::from_millis(20) {
            assert!(spun.elapsed() < Duration::from_mins(1), "no CPU time in a minute");
            std::hint::black_box(0);
        }
        governor.begin(start + INTERVAL);
        assert!(governor.usage() >= 0.2, "{}", governor.usage());
        assert!(governor.kept() < 1.0 && !governor.keeps(u32::MAX, 100));
        // Idle by the times that it is told, whatever the CPU time of other tests is.
        governor.budget = Some(1e9);
        for n in 2..100 {
            governor.begin(start + INTERVAL * n);
        }
        assert!(governor.keeps(u32::MAX, 100));
    }

    #[test]
    fn without_a_budget_nothing_is_given_up() {
        let start = Instant::now();
        let mut governor = Governor::new(None, Shed::Flows, start);
        governor.begin(start + INTERVAL);
        assert!(governor.keeps(u32::MAX, 100) && governor.length() == u32::MAX);
    }
}
