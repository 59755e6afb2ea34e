//! Whether a mirrored frame fits into a datagram.

use super::{Check, Examination, Finding};

const NAME: &str = "mtu";
/// What stands around an inner frame within the MTU of an IPv4 path: IP 20, UDP 8, VXLAN 8; and the inner Ethernet header,
/// which an MTU does not count: 14.
pub(super) const OVERHEAD_V4: u64 = 50;
/// The same for IPv6.
pub(super) const OVERHEAD_V6: u64 = 70;
/// The MTU of most hosts.
const USUAL_MTU: u64 = 1500;

/// See the module.
pub(super) struct Mtu;

impl Check for Mtu {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        if at.data_addresses().next().is_none() {
            return Vec::new();
        }
        at.interfaces.iter().filter(|interface| !interface.loopback).map(|of| look(&of.name, of.mtu)).collect()
    }
}

fn look(name: &str, mtu: u64) -> Finding {
    let (v4, v6) = (mtu.saturating_sub(OVERHEAD_V4), mtu.saturating_sub(OVERHEAD_V6));
    let found = format!("{mtu}: packets of up to {v4} bytes arrive whole over IPv4, {v6} over IPv6");
    if mtu >= USUAL_MTU + OVERHEAD_V6 {
        return Finding::good(NAME, found).about(name);
    }
    Finding::problem(NAME, found)
        .about(name)
        .costs(
            "Full-sized packets of hosts with the usual MTU of 1,500 are cut by the mirror, dropped, or come as fragments, \
             which the kernel has to put together.",
        )
        .mend(format!("ip link set dev {name} mtu 9000"))
        .mend_by("the network in between has to carry it too (clouds: 9001 AWS, 8896 Google), or the mirrored hosts need less", format!(
            "ip link set dev IF mtu {v6}"
        ))
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    #[test]
    fn a_path_needs_room_for_the_tunnel_around_a_full_packet() {
        for (mtu, severity) in
            [(1500, Severity::Problem), (1569, Severity::Problem), (1570, Severity::Good), (9001, Severity::Good)]
        {
            let fake = FakeMachine::new().interface("eth0", mtu, &["10.0.0.5"]).interface("lo", 1500, &["127.0.0.1"]);
            only(&fake.look(&Mtu, ""), severity);
        }
        let fake = FakeMachine::new().interface("eth0", 1500, &["10.0.0.5"]);
        let (text, mend) = only(&fake.look(&Mtu, ""), Severity::Problem);
        assert!(text.contains("up to 1450 bytes arrive whole over IPv4, 1430 over IPv6"), "{text}");
        assert_eq!(mend[0], "ip link set dev eth0 mtu 9000");
    }
}
