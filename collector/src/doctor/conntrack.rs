//! Connection tracking of the mirrored datagrams.
//!
//! Mirrors send one way, from a port for each flow: each becomes an entry that nobody answers, until the table is full and
//! the kernel drops what is new, of other traffic too.

use std::collections::BTreeSet;

use super::{Check, Examination, Finding};

const NAME: &str = "conntrack";

/// See the module.
pub(super) struct Conntrack;

impl Check for Conntrack {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let ports: BTreeSet<u16> =
            at.data_addresses().map(|address| address.port()).filter(|port| *port != 0).collect();
        if ports.is_empty() {
            return Vec::new();
        }
        let setting = |name: &str| at.machine.number(&format!("/proc/sys/net/netfilter/nf_conntrack_{name}"));
        let Some(count) = setting("count") else {
            return vec![Finding::good(NAME, "not loaded")];
        };
        let most = setting("max").unwrap_or(0);
        let entries = at.machine.read("/proc/net/nf_conntrack");
        let ours = entries.as_deref().map_or(0, |entries| of_ports(entries, &ports));
        let full = most > 0 && count >= most - most / 20;
        let used = format!("{count} of {most} entries");
        let cost =
            "Every flow of the mirrored hosts takes an entry; when the table is full, the kernel drops what is new.";
        let finding = if ours > 0 {
            let found = format!("{ours} entries are of mirrored datagrams ({used} in use)");
            Finding::problem(NAME, if full { format!("the table is full: {found}") } else { found })
        } else if full {
            Finding::problem(NAME, format!("the table is full: {used} in use"))
        } else if count > 0 && entries.is_none() {
            Finding::hint(NAME, format!("at work here ({used} in use); of which ports cannot be seen"))
        } else {
            let found = format!("no entries of mirrored datagrams ({used} in use)");
            return vec![Finding::good(NAME, found)];
        };
        let list: Vec<String> = ports.iter().map(u16::to_string).collect();
        let ports = if list.len() == 1 { list[0].clone() } else { format!("'{{ {} }}'", list.join(", ")) };
        vec![
            finding
                .costs(cost)
                .mend_by(
                    "leave them untracked (entries that are there go within two minutes)",
                    "nft add table inet vxtap",
                )
                .mend("nft add chain inet vxtap raw '{ type filter hook prerouting priority raw; }'")
                .mend(format!("nft add rule inet vxtap raw udp dport {ports} notrack")),
        ]
    }
}

/// Entries of `/proc/net/nf_conntrack` whose first direction goes to one of `ports`.
fn of_ports(entries: &str, ports: &BTreeSet<u16>) -> usize {
    let to_one = |line: &&str| {
        let mut words = line.split_whitespace();
        // Its first port is that of the first direction; what follows is the answer's.
        let port = words.clone().find_map(|word| word.strip_prefix("dport="));
        words.nth(2) == Some("udp") && port.and_then(|port| port.parse().ok()).is_some_and(|port| ports.contains(&port))
    };
    entries.lines().filter(to_one).count()
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    const ENTRIES: &str = "\
ipv4     2 tcp      6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=4789 dport=22 src=10.0.0.2 dst=10.0.0.1 sport=22 dport=4789 [ASSURED] mark=0 use=1
ipv4     2 udp      17 29 src=10.78.0.1 dst=10.78.0.2 sport=50000 dport=4789 [UNREPLIED] src=10.78.0.2 dst=10.78.0.1 sport=4789 dport=50000 mark=0 use=1
ipv6     10 udp      17 29 src=fd78::1 dst=fd78::2 sport=50001 dport=4789 [UNREPLIED] src=fd78::2 dst=fd78::1 sport=4789 dport=50001 mark=0 use=1
ipv4     2 udp      17 29 src=10.78.0.2 dst=10.0.0.53 sport=4789 dport=53 src=10.0.0.53 dst=10.78.0.2 sport=53 dport=4789 mark=0 use=1
";

    fn tracked(count: u64, entries: Option<&str>) -> FakeMachine {
        let fake = FakeMachine::new().sysctl("net/netfilter/nf_conntrack_count", &count.to_string());
        let fake = fake.sysctl("net/netfilter/nf_conntrack_max", "1000");
        match entries {
            Some(entries) => fake.file("/proc/net/nf_conntrack", entries),
            None => fake,
        }
    }

    #[test]
    fn entries_of_the_data_port_are_counted_and_a_rule_mends_it() {
        let (text, mend) = only(&tracked(4, Some(ENTRIES)).look(&Conntrack, ""), Severity::Problem);
        assert!(text.starts_with("2 entries are of mirrored datagrams (4 of 1000 entries in use)"), "{text}");
        assert_eq!(mend.last().unwrap(), "nft add rule inet vxtap raw udp dport 4789 notrack");
        let two = only(&tracked(4, Some(ENTRIES)).look(&Conntrack, "--listen [::]:4789,[::]:53"), Severity::Problem);
        assert!(two.0.starts_with("3 entries"), "{two:?}");
        assert_eq!(two.1.last().unwrap(), "nft add rule inet vxtap raw udp dport '{ 53, 4789 }' notrack");
    }

    #[test]
    fn tracking_of_other_traffic_is_no_matter_until_the_table_is_full() {
        only(&tracked(0, None).look(&Conntrack, ""), Severity::Good);
        only(&tracked(4, Some(ENTRIES)).look(&Conntrack, "--listen [::]:4790"), Severity::Good);
        only(&FakeMachine::new().look(&Conntrack, ""), Severity::Good);
        only(&tracked(5, None).look(&Conntrack, ""), Severity::Hint);
        let (text, _) = only(&tracked(996, Some("")).look(&Conntrack, ""), Severity::Problem);
        assert!(text.starts_with("the table is full"), "{text}");
    }
}
