//! Counters of the kernel at one moment, by name, so that two moments tell what goes on now.

use std::collections::BTreeMap;

use super::machine::{Interface, Machine};

/// What is counted: `IpExt.InOctets` and its like out of `/proc/net/netstat` and `snmp`, `Ip6ReasmReqds` and its like out
/// of `snmp6`, `cpu.steal` and `cpu.total` in ticks, `softnet.dropped` and `softnet.squeezed` of all CPUs, and
/// `eth0.rx_missed_errors` and its like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters(BTreeMap<String, u64>);

/// Counters of an interface that are looked at.
const OF_INTERFACES: [&str; 4] = ["rx_packets", "rx_missed_errors", "rx_fifo_errors", "rx_over_errors"];

impl Counters {
    /// The counters as they are now.
    pub(super) fn read(machine: &Machine, interfaces: &[Interface]) -> Self {
        let mut counters = Self::default();
        for file in ["/proc/net/netstat", "/proc/net/snmp"] {
            counters.add_pairs_of_lines(&machine.read(file).unwrap_or_default());
        }
        counters.add_lines(&machine.read("/proc/net/snmp6").unwrap_or_default());
        counters.add_cpu(&machine.read("/proc/stat").unwrap_or_default());
        counters.add_softnet(&machine.read("/proc/net/softnet_stat").unwrap_or_default());
        for Interface { name, .. } in interfaces.iter().filter(|interface| interface.in_sys) {
            for counter in OF_INTERFACES {
                let value = machine.number(&format!("/sys/class/net/{name}/statistics/{counter}"));
                counters.add(format!("{name}.{counter}"), value.unwrap_or(0));
            }
        }
        counters
    }

    /// The counter called `name`; 0 where the kernel does not have it.
    pub(super) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// By how much the counter called `name` has grown since `before`.
    pub(super) fn since(&self, before: &Self, name: &str) -> u64 {
        self.get(name).saturating_sub(before.get(name))
    }

    fn add(&mut self, name: impl Into<String>, value: u64) {
        *self.0.entry(name.into()).or_default() += value;
    }

    /// Lines in pairs: names, then values, both behind `TcpExt:` or its like.
    fn add_pairs_of_lines(&mut self, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.chunks_exact(2) {
            let Some((group, names)) = pair[0].split_once(':') else { continue };
            let Some((_, values)) = pair[1].split_once(':') else { continue };
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
                self.add(format!("{group}.{name}"), value.parse().unwrap_or(0));
            }
        }
    }

    /// A name and a value in each line.
    fn add_lines(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(value)) = (words.next(), words.next()) {
                self.add(name, value.parse().unwrap_or(0));
            }
        }
    }

    /// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
    fn add_cpu(&mut self, text: &str) {
        let Some(line) = text.lines().find_map(|line| line.strip_prefix("cpu ")) else { return };
        let ticks: Vec<u64> = line.split_whitespace().take(8).map(|word| word.parse().unwrap_or(0)).collect();
        self.add("cpu.total", ticks.iter().sum());
        self.add("cpu.steal", ticks.get(7).copied().unwrap_or(0));
    }

    /// A line for each CPU, in hexadecimal: processed, dropped, squeezed, …
    fn add_softnet(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace().map(|word| u64::from_str_radix(word, 16).unwrap_or(0)).skip(1);
            self.add("softnet.dropped", words.next().unwrap_or(0));
            self.add("softnet.squeezed", words.next().unwrap_or(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeMachine;

    #[test]
    fn counters_of_every_file_are_found_by_name_and_what_is_not_there_is_zero() {
        let fake = FakeMachine::new()
            .file("/proc/net/netstat", "TcpExt: SyncookiesSent IPReversePathFilter\nTcpExt: 1 7\nIpExt: A\nIpExt: 2\n")
            .file("/proc/net/snmp", "Ip: Forwarding ReasmReqds\nIp: 1 12\nUdp: NoPorts\nUdp: 3\n")
            .file("/proc/net/snmp6", "Ip6ReasmReqds                   \t4\nIp6ReasmFails \t5\n")
            .file("/proc/stat", "cpu  10 20 30 40 50 60 70 80 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 1\n")
            .file("/proc/net/softnet_stat", "00001000 0000000a 00000002 0\n00001000 00000001 00000000 0\n")
            .interface("eth0", 1500, &[])
            .file("/sys/class/net/eth0/statistics/rx_missed_errors", "9\n");
        let counters = fake.counters();
        for (name, value) in [
            ("TcpExt.IPReversePathFilter", 7),
            ("IpExt.A", 2),
            ("Ip.ReasmReqds", 12),
            ("Udp.NoPorts", 3),
            ("Ip6ReasmReqds", 4),
            ("cpu.total", 360),
            ("cpu.steal", 80),
            ("softnet.dropped", 11),
            ("softnet.squeezed", 2),
            ("eth0.rx_missed_errors", 9),
            ("no.such", 0),
        ] {
            assert_eq!(counters.get(name), value, "{name}");
        }
        let later = fake.file("/proc/net/snmp6", "Ip6ReasmReqds 6\n").counters();
        assert_eq!((later.since(&counters, "Ip6ReasmReqds"), later.since(&counters, "Ip6ReasmFails")), (2, 0));
    }

    #[test]
    fn files_that_make_no_sense_give_no_counters() {
        for text in ["", "TcpExt", "TcpExt: A\n", "cpu", "cpu x y", "\u{0}\n\u{0}", "a: b\nc\n"] {
            let fake = FakeMachine::new()
                .file("/proc/net/netstat", text)
                .file("/proc/stat", text)
                .file("/proc/net/softnet_stat", text);
            let _ = fake.counters();
        }
    }
}
