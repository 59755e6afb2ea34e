//! Receive queues: how packets are spread over CPUs before a socket gets them, and what the card lost.

use super::machine::Interface;
use super::{Check, Examination, Finding};
use crate::receive::InterfaceFeatures;

const NAME: &str = "queues";
/// What a card counts when it had nowhere to put a frame.
const LOST: [&str; 3] = ["rx_missed_errors", "rx_fifo_errors", "rx_over_errors"];

/// See the module.
pub(super) struct Queues;

impl Check for Queues {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let outside = at.interfaces.iter().filter(|interface| !interface.loopback);
        outside.flat_map(|interface| look(at, interface)).collect()
    }
}

fn look(at: &Examination<'_>, interface: &Interface) -> Vec<Finding> {
    let name = interface.name.as_str();
    if !interface.in_sys {
        let unseen = "not looked at, nor what the card lost: /sys shows the interfaces of another network namespace";
        return vec![
            Finding::unknown(NAME, unseen)
                .about(name)
                .mend_by("run it in the mount namespace that goes with this one, or by `ip netns exec`", ""),
        ];
    }
    let features = at.machine.kernel.features(name).unwrap_or_default();
    let mut bad: Vec<Finding> = lost(at, name, &features).into_iter().collect();
    let directory = format!("/sys/class/net/{name}/queues");
    let queues: Vec<String> = at.machine.names(&directory).into_iter().filter(|of| of.starts_with("rx-")).collect();
    let spread_later = queues.iter().any(|queue| {
        let cpus = at.machine.read(&format!("{directory}/{queue}/rps_cpus")).unwrap_or_default();
        cpus.chars().any(|digit| digit.is_ascii_hexdigit() && digit != '0')
    });
    let cpus = cpus(at);
    let many = queues.len() > 1;
    if !many && !spread_later && cpus > 1 {
        let hint = Finding::hint(NAME, format!("one receive queue for {cpus} CPUs")).costs(
            "One CPU does the kernel's part for every datagram: at some 500,000 to 1,000,000 a second it is full.",
        );
        let more = [("combined", features.combined_queues), ("rx", features.rx_queues)].into_iter().find_map(
            |(kind, queues)| {
                let (_, most) = queues.filter(|(now, most)| most > now)?;
                Some(format!("ethtool -L {name} {kind} {}", u64::from(most).min(cpus)))
            },
        );
        let later = || {
            let mask = if cpus >= 32 { "ffffffff".into() } else { format!("{:x}", (1_u64 << cpus) - 1) };
            format!("echo {mask} > {directory}/rx-0/rps_cpus")
        };
        bad.push(hint.mend(more.unwrap_or_else(later)));
    }
    if many && features.udp_hash_has_ports == Some(false) {
        bad.push(
            Finding::hint(NAME, "the card spreads UDP over queues by addresses alone")
                .costs("All datagrams of one mirror source go to one queue, and one CPU.")
                .mend(format!("ethtool -N {name} rx-flow-hash udp4 sdfn"))
                .mend(format!("ethtool -N {name} rx-flow-hash udp6 sdfn")),
        );
    }
    if bad.is_empty() {
        bad.push(Finding::good(NAME, format!("{} for {cpus} CPUs, nothing lost by the card", queues.len().max(1))));
    }
    bad.into_iter().map(|finding| finding.about(name)).collect()
}

/// Frames that the card lost while it was watched, which no ledger has.
fn lost(at: &Examination<'_>, name: &str, features: &InterfaceFeatures) -> Option<Finding> {
    let counters: Vec<_> = LOST
        .iter()
        .map(|counter| (counter, at.grown(&format!("{name}.{counter}"))))
        .filter(|(_, lost)| *lost > 0)
        .collect();
    let (counter, lost) = counters.first()?;
    let finding = Finding::problem(NAME, format!("the card lost {lost} frames in {} ({counter})", at.watched()))
        .costs("They never reach the kernel, so they are in no ledger.");
    Some(match features.ring {
        Some((now, most)) if now < most => finding.mend(format!("ethtool -G {name} rx {most}")),
        _ => finding.mend_by("have more CPUs take packets from the card, or fewer packets come", ""),
    })
}

/// CPUs that there are.
fn cpus(at: &Examination<'_>) -> u64 {
    let stat = at.machine.read("/proc/stat").unwrap_or_default();
    let of_one =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    (stat.lines().filter(of_one).count() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    fn machine(queues: u32, features: InterfaceFeatures) -> FakeMachine {
        let fake = FakeMachine::new().interface("eth0", 9001, &["10.0.0.5"]);
        let fake = fake.file("/proc/stat", "cpu  0 0\ncpu0 0 0\ncpu1 0 0\ncpu2 0 0\ncpu3 0 0\nintr 0\n");
        let fake = fake.kernel(|kernel| kernel.features.push(("eth0".into(), features)));
        (0..queues).fold(fake, |fake, queue| {
            fake.file(&format!("/sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), "00000000\n")
        })
    }

    const NONE: InterfaceFeatures = InterfaceFeatures {
        gro: None,
        lro: None,
        rx_checksum: None,
        ring: None,
        combined_queues: None,
        rx_queues: None,
        udp_hash_has_ports: None,
    };

    #[test]
    fn what_sys_tells_of_another_namespace_is_not_told_of_this_one() {
        let fake = machine(1, NONE).file("/sys/class/net/eth0/ifindex", "77\n");
        let fake = fake.file("/sys/class/net/eth0/statistics/rx_missed_errors", "5\n");
        let before = fake.counters();
        let fake = fake.file("/sys/class/net/eth0/statistics/rx_missed_errors", "9\n");
        let (text, _) = only(&fake.look_since(&Queues, "", &before), Severity::Unknown);
        assert!(text.contains("another network namespace"), "{text}");
    }

    #[test]
    fn one_queue_for_several_cpus_is_mended_by_more_queues_or_by_spreading_later() {
        let more = InterfaceFeatures { combined_queues: Some((1, 8)), ..NONE };
        assert_eq!(only(&machine(1, more).look(&Queues, ""), Severity::Hint).1, ["ethtool -L eth0 combined 4"]);
        let apart = InterfaceFeatures { combined_queues: Some((0, 0)), rx_queues: Some((1, 2)), ..NONE };
        assert_eq!(only(&machine(1, apart).look(&Queues, ""), Severity::Hint).1, ["ethtool -L eth0 rx 2"]);
        let (_, mend) = only(&machine(1, NONE).look(&Queues, ""), Severity::Hint);
        assert_eq!(mend, ["echo f > /sys/class/net/eth0/queues/rx-0/rps_cpus"]);
        let spread = machine(1, NONE).file("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0000000f\n");
        only(&spread.look(&Queues, ""), Severity::Good);
        only(&machine(4, NONE).look(&Queues, ""), Severity::Good);
        only(&machine(1, NONE).file("/proc/stat", "cpu 0\ncpu0 0\n").look(&Queues, ""), Severity::Good);
    }

    #[test]
    fn a_hash_of_addresses_alone_is_told_of_where_there_are_queues_to_choose_from() {
        let by_address = InterfaceFeatures { udp_hash_has_ports: Some(false), ..NONE };
        let (_, mend) = only(&machine(4, by_address).look(&Queues, ""), Severity::Hint);
        assert_eq!(mend[0], "ethtool -N eth0 rx-flow-hash udp4 sdfn");
        only(
            &machine(4, InterfaceFeatures { udp_hash_has_ports: Some(true), ..NONE }).look(&Queues, ""),
            Severity::Good,
        );
    }

    #[test]
    fn frames_that_the_card_loses_now_are_a_problem() {
        let lossy = |lost: &str| {
            let ring = InterfaceFeatures { ring: Some((512, 4096)), ..NONE };
            machine(4, ring).file("/sys/class/net/eth0/statistics/rx_missed_errors", lost)
        };
        let before = lossy("5\n").counters();
        only(&lossy("5\n").look_since(&Queues, "", &before), Severity::Good);
        let (text, mend) = only(&lossy("12\n").look_since(&Queues, "", &before), Severity::Problem);
        assert!(text.contains("lost 7 frames") && text.contains("rx_missed_errors"), "{text}");
        assert_eq!(mend, ["ethtool -G eth0 rx 4096"]);
    }
}
