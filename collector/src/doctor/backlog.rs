//! The queue between card and stack, where packets wait that another CPU is to handle.

use super::machine::SysctlKey;
use super::{Check, Examination, Finding};

const NAME: &str = "backlog";
/// What the queue is raised to.
const BACKLOG: u64 = 10_000;
/// What the kernel may do in one turn.
const BUDGET: u64 = 600;

/// See the module.
pub(super) struct Backlog;

impl Check for Backlog {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let dropped = at.grown("softnet.dropped");
        let squeezed = at.grown("softnet.squeezed");
        let mut findings = Vec::new();
        if dropped > 0 {
            let finding = Finding::problem(NAME, format!("the kernel dropped {dropped} packets in {}", at.watched()))
                .costs("They were dropped before any socket, so they are in no ledger.");
            findings.push(raise(at, finding, "netdev_max_backlog", BACKLOG));
        }
        // A few happen on any machine at work.
        if squeezed > 100 {
            let found = format!("the kernel broke off {squeezed} times in {} with packets left", at.watched());
            let finding = Finding::hint(NAME, found).costs("Packets wait at the card, whose ring may run over.");
            findings.push(raise(at, finding, "netdev_budget", BUDGET));
        }
        if findings.is_empty() {
            findings.push(Finding::good(NAME, format!("nothing dropped in {}", at.watched())));
        }
        findings
    }
}

/// Adds the setting that mends it, if it is lower than `to`.
fn raise(at: &Examination<'_>, finding: Finding, setting: &str, to: u64) -> Finding {
    let key = SysctlKey::new(&["net", "core", setting]);
    match at.machine.sysctl(&key) {
        Some(now) if now >= to => finding.mend_by("have more CPUs take part (see queues), or fewer packets come", ""),
        _ => finding.mend_sysctl(key, to.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    fn machine(dropped: u32, squeezed: u32) -> FakeMachine {
        FakeMachine::new()
            .sysctl("net/core/netdev_max_backlog", "1000")
            .file("/proc/net/softnet_stat", &format!("00000001 {dropped:08x} {squeezed:08x} 0\n"))
    }

    #[test]
    fn what_is_dropped_now_counts_and_what_was_once_does_not() {
        let before = machine(9, 9).counters();
        only(&machine(9, 99).look_since(&Backlog, "", &before), Severity::Good);
        let (text, mend) = only(&machine(12, 9).look_since(&Backlog, "", &before), Severity::Problem);
        assert!(text.contains("dropped 3 packets"), "{text}");
        assert_eq!(mend, ["sysctl -w net.core.netdev_max_backlog=10000"]);
        assert_eq!(
            only(&machine(9, 300).look_since(&Backlog, "", &before), Severity::Hint).1,
            ["sysctl -w net.core.netdev_budget=600"]
        );
        let raised = machine(12, 9).sysctl("net/core/netdev_max_backlog", "10000");
        assert_eq!(only(&raised.look_since(&Backlog, "", &before), Severity::Problem).1, Vec::<String>::new());
    }
}
