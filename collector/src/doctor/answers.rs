//! Whether this machine would answer, or pass on, what a raw mirror shows it.
//!
//! Mirrored packets come with their own addresses to this machine's MAC address, and a packet socket only watches: the
//! kernel's stack gets them too. It drops IPv4 packets for others without a word, unless it forwards; for IPv6 it needs a
//! route for them, or it answers that there is none.

use super::machine::{Interface, SysctlKey};
use super::{Check, Examination, Finding};

const NAME: &str = "answers";
/// Metric of the entry that the kernel shows where there is no IPv6 default route.
const NO_ROUTE_METRIC: &str = "ffffffff";

/// See the module.
pub(super) struct Answers;

impl Check for Answers {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let mirrored: Vec<&Interface> = at.packet_interfaces().collect();
        let mut findings = Vec::new();
        for interface in &mirrored {
            let bad = [forwards(at, interface), answers_unroutable(at, interface), answers_arp(at, interface)];
            let before = findings.len();
            findings.extend(bad.into_iter().flatten());
            findings.extend(answers_broadcasts(at));
            if findings.len() == before {
                findings.push(Finding::good(NAME, "mirrored packets are neither passed on nor answered"));
            }
            for finding in &mut findings[before..] {
                finding.about.clone_from(&interface.name);
            }
        }
        findings
    }
}

fn forwards(at: &Examination<'_>, interface: &Interface) -> Option<Finding> {
    let v4 = SysctlKey::new(&["net", "ipv4", "conf", &interface.name, "forwarding"]);
    // IPv6 is forwarded where all interfaces are told to.
    let v6 = SysctlKey::new(&["net", "ipv6", "conf", "all", "forwarding"]);
    let on: Vec<(&str, &SysctlKey)> = [("IPv4", &v4), ("IPv6", &v6)]
        .into_iter()
        .filter(|(_, key)| at.machine.sysctl(key).unwrap_or(0) != 0)
        .collect();
    if on.is_empty() {
        return None;
    }
    let families: Vec<&str> = on.iter().map(|(family, _)| *family).collect();
    let mut finding = Finding::problem(NAME, format!("{} packets are forwarded", families.join(" and ")))
        .costs("Mirrored packets are routed on to where they went already: doubled traffic, resets, or a loop.");
    // Not for `--fix`: this may be a router, or have containers.
    for (_, key) in on {
        finding = finding.mend(format!("sysctl -w {key}=0"));
    }
    let own: Vec<String> = interface.addresses.iter().filter(|of| of.is_ipv4()).map(ToString::to_string).collect();
    let name = &interface.name;
    let finding = finding
        .mend_by(
            "or, where it has to forward, keep what is not for it from the stack (the collector still sees it)",
            "nft add table netdev vxtap",
        )
        .mend(format!("nft add chain netdev vxtap mirror '{{ type filter hook ingress device {name} priority 0; }}'"))
        .mend(format!("nft add rule netdev vxtap mirror ip daddr != '{{ {} }}' drop", own.join(", ")));
    Some(finding)
}

fn answers_unroutable(at: &Examination<'_>, interface: &Interface) -> Option<Finding> {
    let disabled = SysctlKey::new(&["net", "ipv6", "conf", &interface.name, "disable_ipv6"]);
    if at.machine.sysctl(&disabled) != Some(0) {
        return None;
    }
    let routes = at.machine.read("/proc/net/ipv6_route")?;
    let is_default = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Destination, its length, source, its length, next hop, metric, …
        words.len() > 6
            && words[0].bytes().all(|digit| digit == b'0')
            && words[1] == "00"
            && words[5] != NO_ROUTE_METRIC
    };
    if routes.lines().any(is_default) {
        return None;
    }
    Some(
        Finding::problem(NAME, "there is no IPv6 route for what is not on this link")
            .costs("The kernel tells senders of mirrored IPv6 packets that there is no route (ICMPv6), as if it were a router.")
            .mend("ip -6 route add blackhole default metric 4294967294"),
    )
}

fn answers_arp(at: &Examination<'_>, interface: &Interface) -> Option<Finding> {
    let key = |of: &str| SysctlKey::new(&["net", "ipv4", "conf", of, "proxy_arp"]);
    let on: Vec<SysctlKey> =
        ["all", &interface.name].into_iter().map(key).filter(|key| at.machine.sysctl(key).unwrap_or(0) != 0).collect();
    let first = on.first()?;
    let finding = Finding::problem(NAME, format!("ARP is answered for others ({first} is 1)"))
        .costs("Mirrored ARP requests are answered: hosts then send here what is not for this machine.");
    Some(on.iter().fold(finding, |finding, key| finding.mend(format!("sysctl -w {key}=0"))))
}

fn answers_broadcasts(at: &Examination<'_>) -> Option<Finding> {
    let key = SysctlKey::new(&["net", "ipv4", "icmp_echo_ignore_broadcasts"]);
    (at.machine.sysctl(&key) == Some(0)).then(|| {
        Finding::problem(NAME, "pings to broadcast addresses are answered")
            .costs("Mirrored ones are answered too.")
            .mend_sysctl(key, "1")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    const LISTEN: &str = "--listen packet://eth0";
    const NO_DEFAULT: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
        00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";

    fn machine() -> FakeMachine {
        FakeMachine::new()
            .interface("eth0", 1460, &["10.0.0.5", "fd00::5"])
            .sysctl("net/ipv4/conf/eth0/forwarding", "0")
    }

    #[test]
    fn a_machine_that_does_not_forward_says_nothing_to_anybody() {
        only(&machine().look(&Answers, LISTEN), Severity::Good);
        assert_eq!(machine().look(&Answers, ""), []);
    }

    #[test]
    fn forwarding_is_found_in_either_family_and_not_for_fix() {
        let (text, mend) =
            only(&machine().sysctl("net/ipv4/conf/eth0/forwarding", "1").look(&Answers, LISTEN), Severity::Problem);
        assert!(text.contains("IPv4 packets are forwarded"), "{text}");
        assert_eq!(mend[0], "sysctl -w net.ipv4.conf.eth0.forwarding=0");
        assert_eq!(mend[3], "nft add rule netdev vxtap mirror ip daddr != '{ 10.0.0.5 }' drop");
        let findings = machine().sysctl("net/ipv6/conf/all/forwarding", "1").look(&Answers, LISTEN);
        assert!(findings[0].mend.iter().all(|mend| mend.fix.is_none()), "{findings:#?}");
        assert!(only(&findings, Severity::Problem).0.contains("IPv6"));
    }

    #[test]
    fn ipv6_without_a_default_route_answers_and_with_a_black_hole_it_does_not() {
        let v6 = |routes: &str| {
            machine().sysctl("net/ipv6/conf/eth0/disable_ipv6", "0").file("/proc/net/ipv6_route", routes)
        };
        let (_, mend) = only(&v6(NO_DEFAULT).look(&Answers, LISTEN), Severity::Problem);
        assert_eq!(mend, ["ip -6 route add blackhole default metric 4294967294"]);
        let hole = NO_DEFAULT.replace("ffffffff", "fffffffe") + NO_DEFAULT;
        only(&v6(&hole).look(&Answers, LISTEN), Severity::Good);
        only(&v6(NO_DEFAULT).sysctl("net/ipv6/conf/eth0/disable_ipv6", "1").look(&Answers, LISTEN), Severity::Good);
    }

    #[test]
    fn answers_to_arp_and_to_broadcasts_are_found() {
        let (_, mend) =
            only(&machine().sysctl("net/ipv4/conf/all/proxy_arp", "1").look(&Answers, LISTEN), Severity::Problem);
        assert_eq!(mend, ["sysctl -w net.ipv4.conf.all.proxy_arp=0"]);
        let (_, mend) = only(
            &machine().sysctl("net/ipv4/icmp_echo_ignore_broadcasts", "0").look(&Answers, LISTEN),
            Severity::Problem,
        );
        assert_eq!(mend, ["sysctl -w net.ipv4.icmp_echo_ignore_broadcasts=1"]);
    }
}
