//! Ports that somebody else has.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::machine::{Machine, Process};
use super::{Check, Examination, Finding};

const NAME: &str = "port";
/// The name of our own process, as the kernel cuts it (15 bytes).
const OURS: &str = "vxtap-collector";
/// State of a TCP socket that listens (`TCP_LISTEN`).
const LISTENING: &str = "0A";

/// See the module.
pub(super) struct Port;

impl Check for Port {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let run = &at.settings.run;
        let data = at.data_addresses().map(|address| (Protocol::Udp, address));
        let served = [
            run.api.as_ref().map(|api| api.address),
            run.follow.as_ref().map(|follow| follow.address),
            run.health.address,
        ];
        let served = served.into_iter().flatten().map(|address| (Protocol::Tcp, address));
        // Port 0 takes a free one.
        let wanted = data.chain(served).filter(|(_, address)| address.port() != 0);
        wanted.map(|(protocol, address)| look(at.machine, protocol, address)).collect()
    }
}

/// Whose ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Udp,
    Tcp,
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

fn look(machine: &Machine, protocol: Protocol, address: SocketAddr) -> Finding {
    let inodes = sockets(machine, protocol, address);
    let about = format!("{} {address}", protocol.name());
    if inodes.is_empty() {
        return Finding::good(NAME, "free").about(about);
    }
    let mut owners: Vec<Process> = Vec::new();
    for owner in inodes.iter().filter_map(|inode| machine.owner_of_socket(*inode)) {
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    let cost = "A collector does not start: the address is in use.";
    if let Some(owner) = owners.iter().find(|owner| owner.name != OURS) {
        let found = format!("process {} ({}) has it", owner.pid, owner.name);
        let finding = Finding::problem(NAME, found).about(about).costs(cost);
        return match unit(machine, owner) {
            Some(unit) => finding.mend(format!("systemctl stop {unit}")),
            None => finding.mend_by("stop it, or give the collector another port", format!("kill {}", owner.pid)),
        };
    }
    if let Some(owner) = owners.first() {
        return Finding::good(NAME, format!("a collector has it (process {})", owner.pid)).about(about);
    }
    let devices = tunnel_devices(machine);
    if protocol == Protocol::Udp && !devices.is_empty() {
        let found = format!("the kernel has it, for a tunnel device: {}", devices.join(" or "));
        let finding = Finding::problem(NAME, found).about(about).costs(cost);
        let finding =
            finding.mend_by("delete the device (a collector needs none)", format!("ip link delete {}", devices[0]));
        return if devices.len() > 1 {
            finding.mend_by("which has the port, tells", "ip -d link show")
        } else {
            finding
        };
    }
    Finding::problem(NAME, "somebody has it, who cannot be seen from here").about(about).costs(cost).mend_by(
        "as root, this names a process; it names none for a tunnel device of the kernel",
        match protocol {
            Protocol::Udp => format!("ss -lunp 'sport = :{}'", address.port()),
            Protocol::Tcp => format!("ss -ltnp 'sport = :{}'", address.port()),
        },
    )
}

/// Inodes of the sockets that keep others from binding `address`.
fn sockets(machine: &Machine, protocol: Protocol, address: SocketAddr) -> BTreeSet<u64> {
    let files = match protocol {
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let mut inodes = BTreeSet::new();
    for line in files
        .iter()
        .filter_map(|file| machine.read(file))
        .flat_map(|text| text.lines().map(String::from).collect::<Vec<_>>())
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = words[..] else { continue };
        if protocol == Protocol::Tcp && state != LISTENING {
            continue;
        }
        let there = socket_address(local).is_some_and(|there| overlaps(there, address));
        inodes.extend(inode.parse::<u64>().ok().filter(|_| there));
    }
    inodes
}

/// `0100007F:12B5`: words of the address as the machine's numbers, then the port.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (number, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(8 * number)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// Whether a socket at `there` keeps another from `wanted`. All addresses of IPv6 are taken for all of IPv4 too, as they are
/// unless a program says otherwise.
fn overlaps(there: SocketAddr, wanted: SocketAddr) -> bool {
    let (a, b) = (there.ip().to_canonical(), wanted.ip().to_canonical());
    let any_of = |any: IpAddr, other: IpAddr| any.is_unspecified() && (any.is_ipv6() || other.is_ipv4());
    there.port() == wanted.port() && (a == b || any_of(a, b) || any_of(b, a))
}

/// The systemd service that `process` is of.
fn unit(machine: &Machine, process: &Process) -> Option<String> {
    let groups = machine.read(&format!("/proc/{}/cgroup", process.pid))?;
    let unit = groups.lines().find_map(|line| line.rsplit('/').next().filter(|name| name.ends_with(".service")))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:\\".contains(c);
    unit.chars().all(plain).then(|| unit.to_owned())
}

/// Devices for which the kernel holds a UDP port.
fn tunnel_devices(machine: &Machine) -> Vec<String> {
    let tunnels = machine.interfaces().into_iter().filter(|interface| ["vxlan", "geneve"].contains(&&*interface.kind));
    tunnels.map(|interface| interface.name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::super::fake::{FakeMachine, only};
    use super::*;

    /// 0.0.0.0:4789 with inode 77, and [::1]:4789 with inode 78.
    const UDP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
        10: 00000000:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0 0\n";
    const UDP6: &str = "  sl  local\n \
        10: 00000000000000000000000001000000:12B5 00000000000000000000000000000000:0000 07 00000000:00000000 \
        00:00000000 00000000     0        0 78 2 0 0\n";
    const LISTEN: &str = "--api none --listen vxlan://[::]:4789";

    fn taken() -> FakeMachine {
        FakeMachine::new().file("/proc/net/udp", UDP)
    }

    fn owned_by(name: &str) -> FakeMachine {
        taken().link("/proc/41/fd/5", "socket:[77]").file("/proc/41/comm", name).file("/proc/40/comm", "other")
    }

    #[test]
    fn a_free_port_is_good_and_so_is_one_of_a_collector() {
        only(&FakeMachine::new().look(&Port, LISTEN), Severity::Good);
        let (text, _) = only(&owned_by("vxtap-collector\n").look(&Port, LISTEN), Severity::Good);
        assert!(text.contains("process 41"), "{text}");
        only(&taken().look(&Port, "--api none --listen vxlan://[::]:4790"), Severity::Good);
    }

    #[test]
    fn another_process_is_named_and_its_service_where_it_has_one() {
        let (text, mend) = only(&owned_by("tcpdump\n").look(&Port, LISTEN), Severity::Problem);
        assert!(text.contains("process 41 (tcpdump)"), "{text}");
        assert_eq!(mend, ["kill 41"]);
        let served = owned_by("x\n").file("/proc/41/cgroup", "0::/system.slice/zeek.service\n");
        assert_eq!(only(&served.look(&Port, LISTEN), Severity::Problem).1, ["systemctl stop zeek.service"]);
        let hostile = owned_by("x\n").file("/proc/41/cgroup", "0::/system.slice/$(reboot).service\n");
        assert_eq!(only(&hostile.look(&Port, LISTEN), Severity::Problem).1, ["kill 41"]);
    }

    #[test]
    fn a_kernel_vxlan_device_is_named() {
        let device =
            taken().interface("vx0", 1450, &[]).file("/sys/class/net/vx0/uevent", "DEVTYPE=vxlan\nINTERFACE=vx0\n");
        let (text, mend) = only(&device.look(&Port, LISTEN), Severity::Problem);
        assert!(text.contains("vx0"), "{text}");
        assert_eq!(mend, ["ip link delete vx0"]);
    }

    #[test]
    fn who_cannot_be_seen_is_told_of_with_how_to_see_him() {
        let (_, mend) = only(&taken().look(&Port, LISTEN), Severity::Problem);
        assert_eq!(mend, ["ss -lunp 'sport = :4789'"]);
    }

    #[test]
    fn only_addresses_that_overlap_are_in_the_way() {
        let both = FakeMachine::new().file("/proc/net/udp6", UDP6);
        for (listen, severity) in [
            ("[::1]:4789", Severity::Problem),
            ("[::]:4789", Severity::Problem),
            ("[::2]:4789", Severity::Good),
            ("127.0.0.1:4789", Severity::Good),
        ] {
            only(&both.look(&Port, &format!("--api none --listen {listen}")), severity);
        }
        for (listen, severity) in [("10.0.0.1:4789", Severity::Problem), ("[::1]:4789", Severity::Good)] {
            only(&taken().look(&Port, &format!("--api none --listen {listen}")), severity);
        }
    }

    #[test]
    fn the_port_of_the_api_is_looked_at_where_somebody_listens_on_it() {
        let row = |state| format!("  1: 0100007F:263D 00000000:0000 {state} 0:0 00:0 0 0 0 9 1 0\n");
        for (state, problems) in [("0A", 1), ("01", 0)] {
            let fake = FakeMachine::new().file("/proc/net/tcp", &row(state));
            let findings = fake.look(&Port, "--listen vxlan://[::]:4789");
            let found = findings.iter().filter(|finding| finding.severity == Severity::Problem).count();
            assert_eq!((findings.len(), found), (2, problems), "{findings:#?}");
        }
    }

    #[test]
    fn the_port_of_the_health_probes_is_looked_at_too() {
        let fake =
            FakeMachine::new().file("/proc/net/tcp", "  1: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 9 1 0\n");
        let findings = fake.look(&Port, "--listen vxlan://[::]:4789 --api none --health 127.0.0.1:8080");
        let found: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Problem).collect();
        assert_eq!((findings.len(), found.len()), (2, 1), "{findings:#?}");
    }

    #[test]
    fn tables_that_make_no_sense_are_passed_over() {
        for text in [
            "",
            "1 2 3",
            "0: ZZ:12B5 0 07 0 0 0 0 0 1",
            "0: 00000000:12B5 0 07 0 0 0 0 0 x",
            "0: é0000000:1 0 07 0 0 0 0 0 1",
        ] {
            only(&FakeMachine::new().file("/proc/net/udp", text).look(&Port, LISTEN), Severity::Good);
        }
    }
}
