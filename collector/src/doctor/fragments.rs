//! Outer datagrams that come in fragments.

use super::machine::SysctlKey;
use super::{Check, Examination, Finding};

const NAME: &str = "fragments";

/// See the module.
pub(super) struct Fragments;

/// IP version, fragments that came, packets that were given up, and the setting for their memory.
const VERSIONS: [(&str, &str, &str, [&str; 3]); 2] = [
    ("IPv4", "Ip.ReasmReqds", "Ip.ReasmFails", ["net", "ipv4", "ipfrag_high_thresh"]),
    ("IPv6", "Ip6ReasmReqds", "Ip6ReasmFails", ["net", "ipv6", "ip6frag_high_thresh"]),
];
/// What the memory is raised to.
const HIGH_BYTES: u64 = 64 << 20;

impl Check for Fragments {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        if at.data_addresses().next().is_none() {
            return Vec::new();
        }
        let bad: Vec<Finding> = VERSIONS.iter().filter_map(|of| look(at, *of)).collect();
        if bad.is_empty() {
            return vec![Finding::good(NAME, format!("none came in {}", at.watched()))];
        }
        bad
    }
}

fn look(at: &Examination<'_>, (version, came, given_up, memory): (&str, &str, &str, [&str; 3])) -> Option<Finding> {
    let (came, given_up) = (at.grown(came), at.grown(given_up));
    if came == 0 && given_up == 0 {
        return None;
    }
    let found = format!("{came} came in {}, {given_up} packets were given up", at.watched());
    let finding = if given_up > 0 { Finding::problem(NAME, found) } else { Finding::hint(NAME, found) };
    let finding = finding
        .about(version)
        .costs(
            "The kernel puts fragments together on one CPU, and a packet of which one is lost is gone, uncounted here.",
        )
        .mend_by("have datagrams fit: raise the MTU on the way, or cut at the mirror (packet length)", "");
    let key = SysctlKey::new(&memory);
    match at.machine.sysctl(&key) {
        Some(bytes) if given_up > 0 && bytes < HIGH_BYTES => Some(finding.mend_sysctl(key, HIGH_BYTES.to_string())),
        _ => Some(finding),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    fn machine(came: u32, given_up: u32) -> FakeMachine {
        let fake = FakeMachine::new().sysctl("net/ipv4/ipfrag_high_thresh", "4194304");
        fake.file("/proc/net/snmp", &format!("Ip: ReasmReqds ReasmFails\nIp: {came} {given_up}\n"))
    }

    #[test]
    fn fragments_that_come_now_are_told_of_and_those_given_up_are_a_problem() {
        let before = machine(10, 1).counters();
        only(&machine(10, 1).look_since(&Fragments, "", &before), Severity::Good);
        let (text, mend) = only(&machine(18, 1).look_since(&Fragments, "", &before), Severity::Hint);
        assert!(text.contains("8 came"), "{text}");
        assert_eq!(mend, Vec::<String>::new());
        let (_, mend) = only(&machine(18, 4).look_since(&Fragments, "", &before), Severity::Problem);
        assert_eq!(mend, ["sysctl -w net.ipv4.ipfrag_high_thresh=67108864"]);
    }
}
