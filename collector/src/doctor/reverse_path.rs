//! The reverse-path filter: the kernel drops IPv4 datagrams from where it would not answer by the same interface.

use super::machine::{Interface, SysctlKey};
use super::{Check, Examination, Finding};

const NAME: &str = "reverse_path";
/// Packets that the filter dropped.
const DROPPED: &str = "TcpExt.IPReversePathFilter";

/// See the module.
pub(super) struct ReversePath;

impl Check for ReversePath {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        if at.data_addresses().next().is_none() {
            return Vec::new();
        }
        let v4 = at.interfaces.iter().filter(|of| !of.loopback && of.addresses.iter().any(std::net::IpAddr::is_ipv4));
        v4.map(|interface| look(at, interface)).collect()
    }
}

fn key(interface: &str) -> SysctlKey {
    SysctlKey::new(&["net", "ipv4", "conf", interface, "rp_filter"])
}

fn look(at: &Examination<'_>, interface: &Interface) -> Finding {
    let name = interface.name.as_str();
    let (Some(all), Some(own)) = (at.machine.sysctl(&key("all")), at.machine.sysctl(&key(name))) else {
        return Finding::unknown(NAME, "the kernel does not show rp_filter").about(name);
    };
    // The greater of both counts (Documentation/networking/ip-sysctl.rst).
    let now = at.grown(DROPPED);
    let ever = at.after.get(DROPPED);
    match all.max(own) {
        0 => Finding::good(NAME, "off").about(name),
        1 if now == 0 && ever == 0 && by_default_route(at, name) => {
            Finding::good(NAME, "strict, but answers to everybody leave by it").about(name)
        }
        1 => {
            let dropped = match (now, ever) {
                (0, 0) => "it has no default route, and the filter is strict".to_owned(),
                (0, ever) => format!("strict; {ever} packets dropped since the start"),
                (now, _) => format!("strict; {now} packets dropped in {}", at.watched()),
            };
            Finding::problem(NAME, dropped)
                .about(name)
                .costs(
                    "The kernel drops, without a word, mirrored datagrams from sources to which it would not answer by this \
                     interface.",
                )
                // Loose: 2 is more than a strict 1 in `all`.
                .mend_sysctl(key(name), "2")
        }
        _ if now > 0 => Finding::problem(NAME, format!("loose; {now} packets dropped in {}", at.watched()))
            .about(name)
            .costs("The kernel drops datagrams from sources to which it has no route at all.")
            .mend_sysctl(key("all"), "0")
            .mend_sysctl(key(name), "0"),
        _ => Finding::good(NAME, "loose").about(name),
    }
}

/// Whether the IPv4 route for all else leaves by `interface`.
fn by_default_route(at: &Examination<'_>, interface: &str) -> bool {
    let routes = at.machine.read("/proc/net/route").unwrap_or_default();
    routes.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Interface, destination, gateway, flags, …, mask.
        words.len() > 7 && words[0] == interface && words[1] == "00000000" && words[7] == "00000000"
    })
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    fn machine(all: u32, own: u32, dropped: u64) -> FakeMachine {
        FakeMachine::new()
            .interface("eth0", 9001, &["10.0.0.5"])
            .sysctl("net/ipv4/conf/all/rp_filter", &all.to_string())
            .sysctl("net/ipv4/conf/eth0/rp_filter", &own.to_string())
            .file("/proc/net/netstat", &format!("TcpExt: IPReversePathFilter\nTcpExt: {dropped}\n"))
    }

    fn with_default_route(fake: FakeMachine) -> FakeMachine {
        let routes = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                      eth0 00000000 0100000A 0003 0 0 100 00000000 0 0 0\n";
        fake.file("/proc/net/route", routes)
    }

    #[test]
    fn the_greater_of_both_settings_counts() {
        for (all, own, severity) in [
            (0, 0, Severity::Good),
            (1, 0, Severity::Problem),
            (0, 1, Severity::Problem),
            (1, 2, Severity::Good),
            (2, 0, Severity::Good),
        ] {
            only(&machine(all, own, 0).look(&ReversePath, ""), severity);
        }
        let (text, mend) = only(&machine(1, 1, 0).look(&ReversePath, ""), Severity::Problem);
        assert!(text.contains("no default route"), "{text}");
        assert_eq!(mend, ["sysctl -w net.ipv4.conf.eth0.rp_filter=2"]);
    }

    #[test]
    fn strict_on_the_way_to_everybody_drops_nothing_until_it_has_dropped() {
        only(&with_default_route(machine(1, 0, 0)).look(&ReversePath, ""), Severity::Good);
        let (text, _) = only(&with_default_route(machine(1, 0, 8)).look(&ReversePath, ""), Severity::Problem);
        assert!(text.contains("8 packets dropped since"), "{text}");
    }

    #[test]
    fn a_loose_filter_that_drops_now_is_to_be_off() {
        let before = machine(2, 2, 3).counters();
        let (text, mend) = only(&machine(2, 2, 7).look_since(&ReversePath, "", &before), Severity::Problem);
        assert!(text.contains("4 packets dropped in"), "{text}");
        assert_eq!(mend.len(), 2, "{mend:?}");
        only(&machine(2, 2, 7).look(&ReversePath, ""), Severity::Good);
    }

    #[test]
    fn an_interface_without_ipv4_is_not_looked_at() {
        let fake = FakeMachine::new().interface("eth0", 9001, &["fd00::1"]);
        assert_eq!(fake.look(&ReversePath, ""), []);
    }
}
