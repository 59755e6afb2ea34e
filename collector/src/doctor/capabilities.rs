//! What this process may not do.

use std::net::SocketAddr;

use super::machine::{Machine, capability};
use super::receive_buffer::is_buffer_beyond_limit;
use super::{Check, Examination, Finding};

const NAME: &str = "capabilities";
/// Ports below this need a capability, unless the kernel is told another bound.
const FIRST_FREE_PORT: u64 = 1024;

/// See the module.
pub(super) struct Capabilities;

impl Check for Capabilities {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let mut missing = Vec::new();
        if let Some(address) = low_port(at)
            && !at.machine.capability(capability::NET_BIND_SERVICE)
        {
            let found = format!("CAP_NET_BIND_SERVICE is missing, which port {} needs", address.port());
            missing.push(Finding::problem(NAME, found).costs("A run does not start.").mend(grant(at)));
        }
        if at.packet_interfaces().next().is_some() && !at.machine.capability(capability::NET_RAW) {
            let found = "CAP_NET_RAW is missing, which packet:// needs";
            missing.push(Finding::problem(NAME, found).costs("A run does not start.").mend(grant(at)));
        }
        let counts = [capability::BPF, capability::SYS_ADMIN].iter().any(|number| at.machine.capability(*number));
        if takes_trains(at) && !counts {
            let found = "CAP_BPF is missing, without which datagrams that come to a socket cannot be counted";
            missing.push(
                Finding::hint(NAME, found)
                    .costs("What the kernel drops in trains counts once for each train (kernel_dropped_trains).")
                    .mend(grant(at))
                    .mend("--no-gro"),
            );
        }
        if missing.is_empty() {
            missing.push(Finding::good(NAME, "all that the run needs"));
        }
        missing
    }
}

/// The first port that only some may bind.
fn low_port(at: &Examination<'_>) -> Option<SocketAddr> {
    let first_free = at.machine.number("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or(FIRST_FREE_PORT);
    at.data_addresses().find(|address| address.port() != 0 && u64::from(address.port()) < first_free)
}

fn takes_trains(at: &Examination<'_>) -> bool {
    at.settings.run.receive.gro && at.data_addresses().next().is_some()
}

/// Gives the program every capability that the run has use for: `setcap` takes those away that it does not name.
pub(super) fn grant(at: &Examination<'_>) -> String {
    let useful = [
        ("cap_net_bind_service", low_port(at).is_some()),
        ("cap_net_raw", at.packet_interfaces().next().is_some()),
        ("cap_net_admin", is_buffer_beyond_limit(at)),
        ("cap_bpf", takes_trains(at)),
    ];
    let names: Vec<&str> = useful.into_iter().filter_map(|(name, is_useful)| is_useful.then_some(name)).collect();
    format!("setcap {}+ep \"$(command -v vxtap-collector)\"", names.join(","))
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
    fn each_command_gives_all_capabilities_of_use_since_it_takes_the_others_away() {
        let limited = FakeMachine::new().capabilities(0).sysctl("net/core/rmem_max", "212992");
        let expected = "setcap cap_net_bind_service,cap_net_admin,cap_bpf+ep \"$(command -v vxtap-collector)\"";
        for finding in limited.look(&Capabilities, "--listen vxlan://[::]:789") {
            let mend = format!("{finding:?}");
            assert!(mend.contains(&expected.escape_debug().to_string()), "{mend}");
        }
        let (_, mend) =
            only(&limited.look(&super::super::receive_buffer::ReceiveBuffer, "--no-gro"), Severity::Problem);
        assert_eq!(mend[1], "setcap cap_net_admin+ep \"$(command -v vxtap-collector)\"");
    }

    #[test]
    fn a_low_port_needs_a_capability_or_a_kernel_that_says_otherwise() {
        let low = "--listen vxlan://[::]:789";
        let counts = || FakeMachine::new().capabilities(1 << 39);
        let (text, mend) = only(&counts().look(&Capabilities, low), Severity::Problem);
        assert!(text.contains("port 789"), "{text}");
        assert_eq!(mend, ["setcap cap_net_bind_service,cap_bpf+ep \"$(command -v vxtap-collector)\""]);
        only(&counts().look(&Capabilities, ""), Severity::Good);
        only(&FakeMachine::new().capabilities(1 << 39 | 1 << 10).look(&Capabilities, low), Severity::Good);
        only(&counts().sysctl("net/ipv4/ip_unprivileged_port_start", "0").look(&Capabilities, low), Severity::Good);
    }
}
