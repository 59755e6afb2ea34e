//! CPUs for workers, and whether they are really there.

use super::machine::Machine;
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

/// What a control group lets its processes have.
struct Limit {
    cpus: f64,
    /// The group's directory.
    place: String,
    /// The command that lifts it.
    lift: String,
}

fn quota(at: &Examination<'_>) -> Option<Finding> {
    let groups = at.machine.read("/proc/self/cgroup")?;
    let limits = groups.lines().flat_map(|line| limits(at.machine, line));
    let Limit { cpus, place, lift } = limits.min_by(|one, other| one.cpus.total_cmp(&other.cpus))?;
    let workers = at.settings.run.pipeline.workers;
    (cpus < f64::from(workers)).then(|| {
        Finding::problem(NAME, format!("{workers} workers may use {cpus:.2} CPUs together (control group {place}/)"))
            .costs("When its share of 100 ms is used up, the collector stands still for the rest, and queues run full.")
            .mend(lift)
            .mend_by("in a container or unit: no CPU limit (CPUQuota=, --cpus, limits.cpu), or fewer --workers", "")
    })
}

/// The limits of the group that a line of `/proc/self/cgroup` names (`0::/a/b` of version 2, `1:cpu,cpuacct:/a/b` of version 1), and
/// of those above, which count as well.
fn limits(machine: &Machine, line: &str) -> Vec<Limit> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(own)) = (parts.next(), parts.next()) else { return Vec::new() };
    let root = match controllers {
        "" => "/sys/fs/cgroup".to_owned(),
        some if some.split(',').any(|controller| controller == "cpu") => format!("/sys/fs/cgroup/{some}"),
        _ => return Vec::new(),
    };
    let whole = own.trim_end_matches('/');
    let above = whole.rmatch_indices('/').map(|(end, _)| &whole[..end]);
    let limit = |group: &str| {
        let directory = format!("{root}{group}");
        let (numbers, file, unlimited) = if controllers.is_empty() {
            (machine.read(&format!("{directory}/cpu.max"))?, "cpu.max", "max")
        } else {
            let [quota, period] =
                ["quota", "period"].map(|of| machine.read(&format!("{directory}/cpu.cfs_{of}_us")).unwrap_or_default());
            (format!("{quota} {period}"), "cpu.cfs_quota_us", "-1")
        };
        let numbers: Vec<f64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [quota, period] = numbers[..] else { return None };
        let lift = format!("echo {unlimited} > {directory}/{file}");
        (quota >= 0.0 && period > 0.0).then(|| Limit { cpus: quota / period, place: directory, lift })
    };
    std::iter::once(whole).chain(above).filter_map(limit).collect()
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

    #[test]
    fn a_limit_of_control_groups_of_version_1_counts_as_well() {
        let groups = |quota: &str| {
            let fake = machine(0, 0).file("/proc/self/cgroup", "9:memory:/x\n1:cpu,cpuacct:/a/b\n0::/a\n:\n\n");
            let group = "/sys/fs/cgroup/cpu,cpuacct/a";
            let fake = fake.file(&format!("{group}/cpu.cfs_quota_us"), quota);
            let fake = fake.file(&format!("{group}/cpu.cfs_period_us"), "100000\n");
            fake.file("/sys/fs/cgroup/memory/x/cpu.cfs_quota_us", "1\n")
        };
        only(&groups("-1\n").look(&Cpu, "--workers 2"), Severity::Good);
        only(&groups("200000\n").look(&Cpu, "--workers 2"), Severity::Good);
        let (text, mend) = only(&groups("150000\n").look(&Cpu, "--workers 2"), Severity::Problem);
        assert!(text.contains("may use 1.50 CPUs"), "{text}");
        assert_eq!(mend, ["echo -1 > /sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us"]);
    }
}
