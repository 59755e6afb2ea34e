//! Whether sockets get the receive buffer that the run asks for, and whether the machine has that much for UDP.

use super::capabilities::{grant, may_force_buffers};
use super::machine::SysctlKey;
use super::{Check, Examination, Finding};
use crate::config::Size;

const NAME: &str = "receive_buffer";
/// What the kernel counts for a datagram of about 1,450 bytes (measured), in bytes.
const DATAGRAM_COST: u64 = 2304;
/// What `net.ipv4.udp_mem` counts in.
const PAGE_BYTES: u64 = 4096;

/// See the module.
pub(super) struct ReceiveBuffer;

impl Check for ReceiveBuffer {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let sockets = at.data_addresses().count() as u64 * u64::from(at.settings.run.pipeline.workers);
        if sockets == 0 {
            return Vec::new();
        }
        let mut findings = vec![granted(at)];
        findings.extend(memory(at, sockets));
        findings
    }
}

/// Whether sockets get less than is asked for, unless a capability goes past the limit.
pub(super) fn is_buffer_beyond_limit(at: &Examination<'_>) -> bool {
    let most = at.machine.sysctl(&limit());
    at.data_addresses().next().is_some() && most.is_some_and(|most| most < at.settings.run.receive.buffer_bytes as u64)
}

fn limit() -> SysctlKey {
    SysctlKey::new(&["net", "core", "rmem_max"])
}

fn granted(at: &Examination<'_>) -> Finding {
    let wanted = at.settings.run.receive.buffer_bytes as u64;
    let key = limit();
    if may_force_buffers(at.machine) {
        return Finding::good(NAME, format!("each socket gets the {} asked for (CAP_NET_ADMIN)", Size(wanted)));
    }
    let Some(most) = at.machine.sysctl(&key) else {
        return Finding::unknown(NAME, "the kernel does not show net.core.rmem_max here");
    };
    if most >= wanted {
        return Finding::good(NAME, format!("each socket gets the {} asked for", Size(wanted)));
    }
    let found = format!(
        "each socket gets {} instead of {}: {key} is lower, and CAP_NET_ADMIN, which goes past it, is missing",
        Size(most),
        Size(wanted)
    );
    // The kernel doubles what is asked for, to have room for its own part.
    let room = 2 * most / DATAGRAM_COST;
    let cost = format!("A burst of more than about {room} datagrams of 1,450 bytes is dropped (kernel_dropped).");
    Finding::problem(NAME, found)
        .costs(cost)
        .mend_sysctl(key, wanted.to_string())
        .mend_by("or give the program the capability (a unit: AmbientCapabilities=CAP_NET_ADMIN)", grant(at))
}

/// All sockets together against what the kernel lets UDP have.
fn memory(at: &Examination<'_>, sockets: u64) -> Option<Finding> {
    let limits = at.machine.read("/proc/sys/net/ipv4/udp_mem")?;
    let limits: Vec<u64> = limits.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [low, pressure, most] = limits[..] else { return None };
    let wanted = 2 * sockets * at.settings.run.receive.buffer_bytes as u64;
    let has = most.saturating_mul(PAGE_BYTES);
    if wanted <= has {
        return None;
    }
    let found = format!(
        "the {sockets} sockets may queue {} MiB together, all UDP of the machine no more than {} MiB (net.ipv4.udp_mem)",
        wanted >> 20,
        has >> 20
    );
    let pages = wanted.div_ceil(PAGE_BYTES) + low;
    let finding = Finding::hint(NAME, found)
        .costs("When several workers are behind at once, the kernel drops before their queues are full.")
        .mend_by("ask for less", format!("--receive-buffer {}MiB", ((has / 2 / sockets) >> 20).max(1)));
    // Only where there is memory for it.
    let total = at.machine.read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:").map(str::to_owned))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    });
    let fits = total.is_some_and(|total| wanted <= total / 4);
    let key = SysctlKey::new(&["net", "ipv4", "udp_mem"]);
    Some(if fits { finding.mend_sysctl(key, format!("{} {} {pages}", low, pressure.max(pages))) } else { finding })
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    #[test]
    fn a_buffer_above_the_limit_needs_the_capability() {
        let limited = || FakeMachine::new().capabilities(0).sysctl("net/core/rmem_max", "212992");
        let (text, mend) = only(&limited().look(&ReceiveBuffer, ""), Severity::Problem);
        assert!(text.contains("208KiB instead of 64MiB") && text.contains("about 184 datagrams"), "{text}");
        assert_eq!(mend[0], "sysctl -w net.core.rmem_max=67108864");
        assert!(mend[1].starts_with("setcap cap_net_admin"), "{mend:?}");
        only(&limited().look(&ReceiveBuffer, "--receive-buffer 200KiB"), Severity::Good);
        only(&limited().capabilities(1 << 12).look(&ReceiveBuffer, ""), Severity::Good);
        only(&limited().sysctl("net/core/rmem_max", "67108864").look(&ReceiveBuffer, ""), Severity::Good);
        only(&FakeMachine::new().capabilities(0).look(&ReceiveBuffer, ""), Severity::Unknown);
    }

    #[test]
    fn sockets_that_may_queue_more_than_udp_may_have_are_told_of() {
        let small = |memory: &str| {
            let fake = FakeMachine::new().capabilities(1 << 12).sysctl("net/ipv4/udp_mem", "23901\t31868\t47802");
            fake.file("/proc/meminfo", &format!("MemTotal:       {memory} kB\nMemFree: 1 kB\n"))
        };
        // 4 workers x 2 x 64 MiB are 131,072 pages.
        let findings = small("2000000").look(&ReceiveBuffer, "--workers 4");
        assert_eq!(findings[1].severity, Severity::Hint, "{findings:#?}");
        assert_eq!(only(&findings[1..], Severity::Hint).1, ["--receive-buffer 23MiB"]);
        let findings = small("16000000").look(&ReceiveBuffer, "--workers 4");
        assert_eq!(only(&findings[1..], Severity::Hint).1[1], "sysctl -w net.ipv4.udp_mem='23901 154973 154973'");
        assert_eq!(small("2000000").look(&ReceiveBuffer, "--workers 1").len(), 1);
    }
}
