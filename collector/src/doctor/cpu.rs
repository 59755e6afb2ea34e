//! CPUs for workers, and whether they are really there.

use super::{Check, Examination, Finding};

const NAME: &str = "cpu";
/// Share of CPU time that a host may take away before it shows, in percent.
const STEAL_HINT: f64 = 2.0;
/// Share at which packets will be lost, in percent.
const STEAL_PROBLEM: f64 = 10.0;

/// See the module.
pub(super) struct Cpu;

impl Check for Cpu {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = [workers(at), steal(at), quota(at)].into_iter().flatten().collect();
        if findings.is_empty() {
            let workers = at.settings.run.pipeline.workers;
            findings.push(Finding::good(NAME, format!("enough for {workers} workers, none of it taken away")));
        }
        findings
    }
}

fn workers(at: &Examination<'_>) -> Option<Finding> {
    let workers = u64::from(at.settings.run.pipeline.workers);
    let stat = at.machine.read("/proc/stat")?;
    let of_one =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let cpus = stat.lines().filter(of_one).count() as u64;
    (cpus > 0 && workers > cpus).then(|| {
        Finding::hint(NAME, format!("{workers} workers for {cpus} CPUs"))
            .costs("Workers wait for each other's turns, and sockets' queues run full in between.")
            .mend_by("give each worker a CPU", format!("--workers {cpus}"))
    })
}

fn steal(at: &Examination<'_>) -> Option<Finding> {
    let total = at.grown("cpu.total");
    let percent = 100.0 * at.grown("cpu.steal") as f64 / total.max(1) as f64;
    if percent < STEAL_HINT {
        return None;
    }
    let found = format!("the host took {percent:.0} % of the CPU time away in {}", at.watched());
    let finding = if percent < STEAL_PROBLEM { Finding::hint(NAME, found) } else { Finding::problem(NAME, found) };
    Some(
        finding
            .costs("While a CPU is away nobody empties the sockets' queues.")
            .mend_by("take a machine type with CPUs of its own (no burstable one), or a bigger --receive-buffer", ""),
    )
}

/// What the control group lets this process have (version 2).
fn quota(at: &Examination<'_>) -> Option<Finding> {
    let groups = at.machine.read("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/').to_owned();
    // A limit of any group above counts as well.
    let mut place = own.as_str();
    let mut least: Option<(f64, String)> = None;
    loop {
        let limit = at.machine.read(&format!("/sys/fs/cgroup{place}/cpu.max")).unwrap_or_default();
        let numbers: Vec<f64> = limit.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if let [quota, period] = numbers[..]
            && period > 0.0
            && least.as_ref().is_none_or(|(least, _)| quota / period < *least)
        {
            least = Some((quota / period, place.to_owned()));
        }
        match place.rsplit_once('/') {
            Some((above, _)) => place = above,
            None => break,
        }
    }
    let (cpus, place) = least?;
    let workers = at.settings.run.pipeline.workers;
    (cpus < f64::from(workers)).then(|| {
        Finding::problem(NAME, format!("{workers} workers may use {cpus:.2} CPUs together (control group {place}/)"))
            .costs("When its share of 100 ms is used up, the collector stands still for the rest, and queues run full.")
            .mend(format!("echo max > /sys/fs/cgroup{place}/cpu.max"))
            .mend_by("in a container or unit: no CPU limit (CPUQuota=, --cpus, limits.cpu), or fewer --workers", "")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    fn machine(idle: u64, steal: u64) -> FakeMachine {
        FakeMachine::new().file("/proc/stat", &format!("cpu  0 0 0 {idle} 0 0 0 {steal} 0 0\ncpu0 0\ncpu1 0\n"))
    }

    #[test]
    fn more_workers_than_cpus_are_told_of() {
        only(&machine(0, 0).look(&Cpu, "--workers 2"), Severity::Good);
        assert_eq!(only(&machine(0, 0).look(&Cpu, "--workers 3"), Severity::Hint).1, ["--workers 2"]);
    }

    #[test]
    fn time_taken_by_the_host_counts_while_it_is_watched() {
        let before = machine(1000, 500).counters();
        for (idle, steal, severity) in
            [(1100, 501, Severity::Good), (1095, 505, Severity::Hint), (1050, 550, Severity::Problem)]
        {
            only(&machine(idle, steal).look_since(&Cpu, "--workers 2", &before), severity);
        }
    }

    #[test]
    fn the_tightest_limit_of_all_groups_above_counts() {
        let grouped = |outer: &str, inner: &str| {
            let fake = machine(0, 0).file("/proc/self/cgroup", "0::/a/b\n");
            fake.file("/sys/fs/cgroup/a/cpu.max", outer).file("/sys/fs/cgroup/a/b/cpu.max", inner)
        };
        only(&grouped("max 100000\n", "max 100000\n").look(&Cpu, "--workers 2"), Severity::Good);
        only(&grouped("200000 100000\n", "max 100000\n").look(&Cpu, "--workers 2"), Severity::Good);
        let (text, mend) =
            only(&grouped("50000 100000\n", "150000 100000\n").look(&Cpu, "--workers 2"), Severity::Problem);
        assert!(text.contains("may use 0.50 CPUs"), "{text}");
        assert_eq!(mend, ["echo max > /sys/fs/cgroup/a/cpu.max"]);
        only(&grouped("", "0 0\n").look(&Cpu, "--workers 2"), Severity::Good);
    }
}
