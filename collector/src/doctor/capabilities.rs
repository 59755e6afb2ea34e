//! What this process may not do.

use super::machine::{Machine, capability};
use super::{Check, Examination, Finding};

const NAME: &str = "capabilities";
/// Ports below this need a capability, unless the kernel is told another bound.
const FIRST_FREE_PORT: u64 = 1024;

/// See the module.
pub(super) struct Capabilities;

impl Check for Capabilities {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let mut missing = Vec::new();
        let first_free = at.machine.number("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or(FIRST_FREE_PORT);
        let low = at.data_addresses().find(|address| address.port() != 0 && u64::from(address.port()) < first_free);
        if let Some(address) = low
            && !at.machine.capability(capability::NET_BIND_SERVICE)
        {
            let found = format!("CAP_NET_BIND_SERVICE is missing, which port {} needs", address.port());
            missing
                .push(Finding::problem(NAME, found).costs("A run does not start.").mend(grant("cap_net_bind_service")));
        }
        if at.packet_interfaces().next().is_some() && !at.machine.capability(capability::NET_RAW) {
            let found = "CAP_NET_RAW is missing, which packet:// needs";
            missing.push(Finding::problem(NAME, found).costs("A run does not start.").mend(grant("cap_net_raw")));
        }
        let counts = [capability::BPF, capability::SYS_ADMIN].iter().any(|number| at.machine.capability(*number));
        if at.settings.run.receive.gro && at.data_addresses().next().is_some() && !counts {
            let found = "CAP_BPF is missing, without which datagrams that come to a socket cannot be counted";
            missing.push(
                Finding::hint(NAME, found)
                    .costs("What the kernel drops in trains counts once for each train (kernel_dropped_trains).")
                    .mend(grant("cap_bpf"))
                    .mend("--no-gro"),
            );
        }
        if missing.is_empty() {
            missing.push(Finding::good(NAME, "all that the run needs"));
        }
        missing
    }
}

/// Gives the program `capability` and those that a receiver has use for.
pub(super) fn grant(capability: &str) -> String {
    format!("setcap {capability}+ep \"$(command -v vxtap-collector)\"")
}

/// Whether receive buffers may go past the system's limit.
pub(super) fn may_force_buffers(machine: &Machine) -> bool {
    machine.capability(capability::NET_ADMIN)
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    #[test]
    fn a_raw_mirror_needs_a_capability() {
        let fake = |bits| FakeMachine::new().interface("eth0", 1500, &[]).capabilities(bits);
        let raw = "--listen packet://eth0";
        assert!(only(&fake(0).look(&Capabilities, raw), Severity::Problem).0.contains("CAP_NET_RAW"));
        only(&fake(1 << 13).look(&Capabilities, raw), Severity::Good);
    }

    #[test]
    fn drops_of_trains_are_counted_by_who_may_count_or_takes_no_trains() {
        let fake = |bits| FakeMachine::new().capabilities(bits);
        let (text, mend) = only(&fake(0).look(&Capabilities, ""), Severity::Hint);
        assert!(text.contains("CAP_BPF") && mend[1] == "--no-gro", "{text} {mend:?}");
        only(&fake(1 << 21).look(&Capabilities, ""), Severity::Good);
        only(&fake(0).look(&Capabilities, "--no-gro"), Severity::Good);
    }

    #[test]
    fn a_low_port_needs_a_capability_or_a_kernel_that_says_otherwise() {
        let low = "--listen vxlan://[::]:789";
        let counts = || FakeMachine::new().capabilities(1 << 39);
        let (text, mend) = only(&counts().look(&Capabilities, low), Severity::Problem);
        assert!(text.contains("port 789"), "{text}");
        assert_eq!(mend, ["setcap cap_net_bind_service+ep \"$(command -v vxtap-collector)\""]);
        only(&counts().look(&Capabilities, ""), Severity::Good);
        only(&FakeMachine::new().capabilities(1 << 39 | 1 << 10).look(&Capabilities, low), Severity::Good);
        only(&counts().sysctl("net/ipv4/ip_unprivileged_port_start", "0").look(&Capabilities, low), Severity::Good);
    }
}
