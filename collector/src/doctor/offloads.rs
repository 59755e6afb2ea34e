//! What the card and the kernel do with frames before the collector sees them.

use super::{Check, Examination, Finding};

const NAME: &str = "offloads";

/// See the module.
pub(super) struct Offloads;

impl Check for Offloads {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for interface in at.interfaces.iter().filter(|interface| !interface.loopback) {
            let name = interface.name.as_str();
            let features = match at.machine.kernel.features(name) {
                Ok(features) => features,
                Err(error) => {
                    findings.push(Finding::unknown(NAME, format!("cannot ask the interface: {error}")).about(name));
                    continue;
                }
            };
            let mut bad = Vec::new();
            if at.data_addresses().next().is_some() {
                if features.gro == Some(false) && at.settings.run.receive.gro {
                    let hint = Finding::hint(NAME, "frames are not merged (GRO is off)");
                    let cost =
                        "Trains of datagrams, as vxtap-sender sends them, come one by one: up to five times the CPU.";
                    bad.push(hint.costs(cost).mend(format!("ethtool -K {name} gro on")));
                }
                if features.rx_checksum == Some(false) {
                    let hint = Finding::hint(NAME, "the card checks no checksums");
                    let cost = "The kernel adds up every datagram that has a checksum.";
                    bad.push(hint.costs(cost).mend(format!("ethtool -K {name} rx on")));
                }
            }
            let merged = [("gro", features.gro), ("lro", features.lro)].into_iter().filter(|(_, on)| *on == Some(true));
            let off: Vec<String> = merged.map(|(feature, _)| format!("{feature} off")).collect();
            if !off.is_empty() && at.packet_interfaces().any(|of| of.name == name) {
                let hint = Finding::hint(NAME, "segments are merged before they are captured");
                let cost = "Captures then have frames that were on no wire, and flows fewer packets than there were.";
                bad.push(hint.costs(cost).mend(format!("ethtool -K {name} {}", off.join(" "))));
            }
            if bad.is_empty() {
                bad.push(Finding::good(NAME, "as they should be"));
            }
            findings.extend(bad.into_iter().map(|finding| finding.about(name)));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;
    use crate::receive::InterfaceFeatures;

    fn machine(features: InterfaceFeatures) -> FakeMachine {
        let fake = FakeMachine::new().interface("eth0", 9001, &["10.0.0.5"]);
        fake.kernel(|kernel| kernel.features.push(("eth0".into(), features)))
    }

    #[test]
    fn what_is_off_is_told_with_the_command_that_turns_it_on() {
        let on = InterfaceFeatures { gro: Some(true), rx_checksum: Some(true), ..InterfaceFeatures::default() };
        only(&machine(on).look(&Offloads, ""), Severity::Good);
        let no_gro = InterfaceFeatures { gro: Some(false), ..on };
        assert_eq!(only(&machine(no_gro).look(&Offloads, ""), Severity::Hint).1, ["ethtool -K eth0 gro on"]);
        only(&machine(no_gro).look(&Offloads, "--no-gro"), Severity::Good);
        let no_checksum = InterfaceFeatures { rx_checksum: Some(false), ..on };
        assert_eq!(only(&machine(no_checksum).look(&Offloads, ""), Severity::Hint).1, ["ethtool -K eth0 rx on"]);
    }

    #[test]
    fn frames_that_are_merged_before_a_raw_mirror_is_captured_are_told_of() {
        let merging = InterfaceFeatures { gro: Some(true), lro: Some(true), ..InterfaceFeatures::default() };
        let raw = "--listen packet://eth0";
        assert_eq!(only(&machine(merging).look(&Offloads, raw), Severity::Hint).1, ["ethtool -K eth0 gro off lro off"]);
        let apart = InterfaceFeatures { gro: Some(false), lro: Some(false), ..merging };
        only(&machine(apart).look(&Offloads, raw), Severity::Good);
    }

    #[test]
    fn what_a_driver_does_not_say_is_not_held_against_it() {
        only(&machine(InterfaceFeatures::default()).look(&Offloads, ""), Severity::Good);
        only(&FakeMachine::new().interface("eth0", 9001, &["10.0.0.5"]).look(&Offloads, ""), Severity::Unknown);
    }
}
