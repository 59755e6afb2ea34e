//! What is never mirrored unless the policy says otherwise.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;

use super::provider::Provider;

/// Traffic that no session mirrors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeverMirrored {
    /// Our own tunnels and health checks ([`super::Engine`] is told which).
    pub own: bool,
    /// ARP and RARP.
    pub arp: bool,
    /// DHCP (UDP 67, 68) and DHCPv6 (UDP 546, 547).
    pub dhcp: bool,
    /// From or to the cloud's metadata service.
    pub metadata: Vec<IpNet>,
    /// NTP (UDP 123) with the cloud's clock.
    pub ntp: Vec<IpNet>,
    /// Windows activation (TCP 1688) with the cloud's server.
    pub activation: Vec<IpNet>,
    /// DNS (port 53) with the cloud's resolver, unless the filter has it as a network service.
    pub resolver: Vec<IpNet>,
    /// From or to networks that the policy names.
    pub networks: Vec<IpNet>,
}

/// Why something is never mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Excluded {
    /// Our own tunnels and health checks, and what comes back because of them.
    Own,
    /// ARP.
    Arp,
    /// DHCP.
    Dhcp,
    /// Metadata.
    Metadata,
    /// The cloud's clock.
    Ntp,
    /// Windows activation.
    Activation,
    /// The cloud's resolver.
    Resolver,
    /// Networks that the policy names.
    Networks,
}

impl Excluded {
    /// All reasons, in the order in which they are looked for.
    pub const ALL: [Self; 8] =
        [Self::Own, Self::Arp, Self::Dhcp, Self::Metadata, Self::Ntp, Self::Activation, Self::Networks, Self::Resolver];

    /// Its key in `[never]`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Arp => "arp",
            Self::Dhcp => "dhcp",
            Self::Metadata => "metadata",
            Self::Ntp => "ntp",
            Self::Activation => "activation",
            Self::Resolver => "resolver",
            Self::Networks => "networks",
        }
    }
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// 169.254.0.0/16: where the clouds have their metadata services.
const LINK_LOCAL: IpNet = v4([169, 254, 0, 0], 16);

const fn v4(octets: [u8; 4], len: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
}

/// A single IPv6 address.
const fn v6(segments: [u16; 8]) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_segments(segments), 128))
}

/// fd00:ec2::`last`, where AWS has its services.
const fn ec2(last: u16) -> IpNet {
    v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, last])
}

impl NeverMirrored {
    /// Nothing at all.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// What `provider`'s service never mirrors: ARP, DHCP, metadata, clock and Windows activation, as AWS documents
    /// it; the others where they document nothing. Addresses are those that each cloud gives its services, and the link-local
    /// block, where all clouds have some, otherwise.
    pub fn of(provider: Provider) -> Self {
        let base = Self {
            own: true,
            arp: true,
            dhcp: true,
            metadata: vec![LINK_LOCAL],
            ntp: vec![LINK_LOCAL],
            activation: vec![LINK_LOCAL],
            ..Self::default()
        };
        match provider {
            Provider::Aws => Self {
                metadata: vec![v4([169, 254, 169, 254], 32), ec2(0x254)],
                ntp: vec![v4([169, 254, 169, 123], 32), ec2(0x123)],
                activation: vec![v4([169, 254, 169, 250], 31), ec2(0x250), ec2(0x251)],
                resolver: vec![v4([169, 254, 169, 253], 32), ec2(0x253)],
                ..base
            },
            // The metadata server is the clock and the resolver, too.
            Provider::Gcp | Provider::GcpNsi => {
                Self { metadata: vec![LINK_LOCAL, v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254])], ..base }
            }
            // The host's agent, which is resolver and source of health probes, too, has an address of its own.
            Provider::Azure => Self {
                metadata: vec![v4([169, 254, 169, 254], 32), v4([168, 63, 129, 16], 32)],
                activation: vec![v4([20, 118, 99, 224], 32), v4([40, 83, 235, 53], 32)],
                ..base
            },
            // Metadata at 100.100.100.200, clock and activation in the same reserved block.
            Provider::Alibaba => Self {
                metadata: vec![v4([100, 100, 100, 200], 32)],
                ntp: vec![v4([100, 100, 0, 0], 16)],
                activation: vec![v4([100, 100, 0, 0], 16)],
                ..base
            },
            Provider::Vxtap | Provider::Huawei | Provider::Naver | Provider::Oci => base,
        }
    }

    /// The networks that `reason` is about.
    pub fn networks_of(&self, reason: Excluded) -> &[IpNet] {
        match reason {
            Excluded::Metadata => &self.metadata,
            Excluded::Ntp => &self.ntp,
            Excluded::Activation => &self.activation,
            Excluded::Resolver => &self.resolver,
            Excluded::Networks => &self.networks,
            Excluded::Own | Excluded::Arp | Excluded::Dhcp => &[],
        }
    }
}
