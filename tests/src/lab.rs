//! A lab in network namespaces, in which the kernel is the mirror source.
//!
//! ```text
//!   client                    host                              target
//!   cli0 ---------------- mir0                              col0
//!   10.77.0.2, fd77::2    10.77.0.1, fd77::1                10.78.0.2, fd78::2
//!                         (tc: every frame, both ways)
//!                           `-> vx0 (kernel VXLAN) -> und0 ----'
//!                                                     10.78.0.1, fd78::1
//! ```
//!
//! What crosses `mir0` is copied by `tc` into a VXLAN device whose outer packets leave by `und0`, so the mirror never
//! mirrors itself. Offloads are off: with them, the mirror would see super-frames and unfinished checksums that were on
//! no wire. Names carry the process number; namespaces of tests that died are swept at the next start.
//!
//! [`Lab::lengthen`] puts a [`Path`] with troubles of its own between host and target.
//!
//! nginx and dnsmasq are always there; [`Service`] starts other servers for the tests that want them.

mod balanced;
mod namespace;
mod path;
mod prober;
mod servers;
mod services;
mod stopped;
mod systemd;
mod watch;

use std::time::Duration;

use tempfile::TempDir;

pub use balanced::{Balanced, Balancer, Target};
pub use namespace::Namespace;
pub use path::{Path, Trouble, Troubled};
pub use prober::{PROBES, Prober};
pub use services::{PASSWORD, Service, USER};
pub use stopped::StoppedThread;
pub use systemd::{Systemd, units};
pub use watch::{Watch, between_marks, has_ended};

use crate::needs::{have_root, have_tools};
use crate::process::Running;

/// The VNI of the mirror session.
pub const VNI: u32 = 4242;
/// Programs that the lab takes.
const TOOLS: [&str; 9] = ["ip", "tc", "ethtool", "tcpdump", "tshark", "nginx", "dnsmasq", "dig", "curl"];
/// The MTU between host and target.
const UNDERLAY_MTU: u32 = 9000;
/// For one exchange between client and host.
const EXCHANGE: Duration = Duration::from_secs(30);

/// Which IP carries the mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Outer {
    /// The mirror source's address.
    pub const fn source(self) -> &'static str {
        match self {
            Self::V4 => "10.78.0.1",
            Self::V6 => "fd78::1",
        }
    }

    /// The mirror target's address.
    pub const fn target(self) -> &'static str {
        match self {
            Self::V4 => "10.78.0.2",
            Self::V6 => "fd78::2",
        }
    }

    /// Length of the headers in front of the inner frame: Ethernet, IP, UDP, VXLAN.
    pub const fn header_len(self) -> usize {
        match self {
            Self::V4 => 14 + 20 + 8 + 8,
            Self::V6 => 14 + 40 + 8 + 8,
        }
    }
}

/// The three namespaces. Dropping it ends the servers and deletes them.
#[derive(Debug)]
pub struct Lab {
    /// The servers' processes; dropped before the namespaces that they are in.
    _servers: Vec<Running>,
    /// The mirrored host.
    pub host: Namespace,
    /// Its client.
    pub client: Namespace,
    /// Where the mirror target is.
    pub target: Namespace,
    /// Which IP carries the mirror.
    pub outer: Outer,
    directory: TempDir,
}

impl Lab {
    /// Builds the lab with its servers running and the mirror off; skips without root or tools.
    pub fn open(outer: Outer) -> Option<Self> {
        if !have_root() || !have_tools(&TOOLS) {
            return None;
        }
        let [host, client, target] = ["host", "client", "target"].map(Namespace::create);
        host.link(("mir0", 1500), &client, "cli0");
        host.link(("und0", UNDERLAY_MTU), &target, "col0");
        host.address("mir0", &["10.77.0.1/24", "fd77::1/64"]);
        client.address("cli0", &["10.77.0.2/24", "fd77::2/64"]);
        address_underlay(&host, &target);
        let directory = TempDir::new().expect("a temporary directory");
        let servers = servers::start(&host, directory.path());
        Some(Self { _servers: servers, host, client, target, outer, directory })
    }

    /// Puts a path between host and target in the place of their link.
    pub fn lengthen(&self) -> Path {
        self.host.ip("link delete und0");
        let path = Path::between((&self.host, "und0"), (&self.target, "col0"), UNDERLAY_MTU);
        address_underlay(&self.host, &self.target);
        path
    }

    /// Where the lab keeps its files.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Turns the mirror on.
    pub fn mirror(&self) {
        let (source, target) = (self.outer.source(), self.outer.target());
        self.host.ip(&format!(
            "link add vx0 mtu 8900 type vxlan id {VNI} local {source} remote {target} dstport 4789 dev und0 nolearning"
        ));
        // The device must say nothing of its own: only what is mirrored may leave by it.
        self.host.ip("link set vx0 addrgenmode none");
        self.host.quiet_offloads("vx0");
        self.host.ip("link set vx0 up");
        self.copy_to("vx0");
    }

    /// Has `tc` copy what crosses `mir0`, both ways, to `device`.
    fn copy_to(&self, device: &str) {
        self.host.run("tc qdisc add dev mir0 clsact");
        for direction in ["ingress", "egress"] {
            let filter = format!("tc filter add dev mir0 {direction} protocol all prio 1");
            self.host.run(&format!("{filter} u32 match u32 0 0 action mirred egress mirror dev {device}"));
        }
    }

    /// Lets client and host leave cutting and checksums to their network cards, as hosts do: `mir0` then sees super-frames and
    /// checksums that are not finished.
    pub fn turn_offloads_on(&self) {
        for (namespace, device) in [(&self.host, "mir0"), (&self.client, "cli0")] {
            let features = "tx on tso on gso on gro on tx-udp-segmentation on";
            namespace.run(&format!("ethtool -K {device} {features}"));
        }
    }

    /// Has the kernel copy what crosses `mir0` to `tap1` in the host's namespace. On the way it must do what a network card
    /// would: `tap1` has what would be on a wire.
    pub fn tap(&self) {
        self.host.ip("link add tap0 mtu 1500 type veth peer name tap1 mtu 1500");
        for device in ["tap0", "tap1"] {
            self.host.ip(&format!("link set {device} addrgenmode none"));
            self.host.run(&format!("ethtool -K {device} tx off tso off gso off gro off tx-udp-segmentation off"));
            self.host.ip(&format!("link set {device} up"));
        }
        self.copy_to("tap0");
    }

    /// Makes traffic of every kind between client and host, over IPv4 and IPv6, between two marks.
    ///
    /// When it returns, the last mark has crossed `mir0`.
    pub fn traffic(&self) {
        self.between_marks(|| self.talk());
    }

    /// Makes the traffic that `act` makes, between two marks.
    ///
    /// When it returns, the last mark has crossed `mir0`.
    pub fn between_marks(&self, act: impl FnOnce()) {
        self.mark(watch::BEGIN);
        act();
        self.mark(watch::END);
    }

    /// Makes traffic of every kind, without marks.
    pub fn talk(&self) {
        for address in ["10.77.0.1", "[fd77::1]"] {
            // Two transfers on one connection, one that a full window takes long for, one that fails.
            self.client.run(&format!(
                "curl -sS --fail -o /dev/null -o /dev/null http://{address}/small http://{address}/small"
            ));
            self.client.run(&format!("curl -sS --fail -o /dev/null http://{address}/large"));
            self.client.run(&format!("curl -sS -o /dev/null http://{address}/none"));
        }
        for server in ["10.77.0.1", "fd77::1"] {
            for query in ["a.lab.test A", "a.lab.test AAAA", "long.lab.test TXT", "none.lab.test A"] {
                self.client.run(&format!("dig +tries=1 +time=5 @{server} {query}"));
                self.client.run(&format!("dig +tcp +tries=1 +time=5 @{server} {query}"));
            }
            self.client.run(&format!("ping -q -c 5 -i 0.05 -s 1200 {server}"));
            // Fragments.
            self.client.run(&format!("ping -q -c 3 -i 0.05 -s 4000 {server}"));
        }
        for peer in ["10.77.0.2", "fd77::2"] {
            self.host.run(&format!("ping -q -c 3 -i 0.05 {peer}"));
        }
    }

    /// Sends one ping whose payload is `mark`, and sees it answered.
    fn mark(&self, mark: [u8; 8]) {
        self.client.run(&format!("ping -q -c 1 -p {:016x} 10.77.0.1", u64::from_be_bytes(mark)));
    }
}

/// Gives the devices between host and target their addresses.
fn address_underlay(host: &Namespace, target: &Namespace) {
    host.address("und0", &["10.78.0.1/24", "fd78::1/64"]);
    target.address("col0", &["10.78.0.2/24", "fd78::2/64"]);
}
