//! What is never mirrored, looked for in a packet.

use ipnet::IpNet;
use vxtap_wire::{FrameView, IpVersion, Network, protocol};

use super::facts::{Facts, Ip, value_of, version_of};
use super::own::OwnTraffic;
use crate::policy::never::{Excluded, NeverMirrored};

/// The list, ready to be looked at.
#[derive(Debug)]
pub(super) struct Exclude {
    own: bool,
    arp: bool,
    dhcp: bool,
    metadata: Networks,
    ntp: Networks,
    activation: Networks,
    resolver: Networks,
    networks: Networks,
}

/// What is found in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Never(Excluded),
    /// Traffic with the cloud's resolver, which a filter may let through.
    Resolver,
}

pub(super) const DHCP_PORTS: [u16; 2] = [67, 68];
pub(super) const DHCPV6_PORTS: [u16; 2] = [546, 547];
pub(super) const NTP_PORT: u16 = 123;
pub(super) const ACTIVATION_PORT: u16 = 1688;
pub(super) const DNS_PORT: u16 = 53;

impl Exclude {
    pub(super) fn new(never: &NeverMirrored) -> Self {
        Self {
            own: never.own,
            arp: never.arp,
            dhcp: never.dhcp,
            metadata: Networks::new(&never.metadata),
            ntp: Networks::new(&never.ntp),
            activation: Networks::new(&never.activation),
            resolver: Networks::new(&never.resolver),
            networks: Networks::new(&never.networks),
        }
    }

    #[inline]
    pub(super) fn find(&self, facts: &Facts, view: &FrameView<'_>, own: &OwnTraffic) -> Found {
        if self.own && own.has(facts, view.payload()) {
            return Found::Never(Excluded::Own);
        }
        let Some(ip) = &facts.ip else {
            let arp = self.arp && view.network == Network::Arp;
            return if arp { Found::Never(Excluded::Arp) } else { Found::Nothing };
        };
        if self.dhcp && is_dhcp(ip) {
            return Found::Never(Excluded::Dhcp);
        }
        if self.metadata.either(ip) {
            return Found::Never(Excluded::Metadata);
        }
        if ip.protocol == protocol::UDP && self.ntp.with_port(ip, NTP_PORT) {
            return Found::Never(Excluded::Ntp);
        }
        if ip.protocol == protocol::TCP && self.activation.with_port(ip, ACTIVATION_PORT) {
            return Found::Never(Excluded::Activation);
        }
        if self.networks.either(ip) {
            return Found::Never(Excluded::Networks);
        }
        let resolver = matches!(ip.protocol, protocol::UDP | protocol::TCP) && self.resolver.with_port(ip, DNS_PORT);
        if resolver { Found::Resolver } else { Found::Nothing }
    }
}

/// Both ports are DHCP's, of the packet's family.
#[inline]
fn is_dhcp(ip: &Ip) -> bool {
    let ports = match ip.version {
        IpVersion::V4 => DHCP_PORTS,
        IpVersion::V6 => DHCPV6_PORTS,
    };
    ip.protocol == protocol::UDP
        && ip.ports.is_some_and(|(source, destination)| ports.contains(&source) && ports.contains(&destination))
}

/// Networks of both families.
#[derive(Debug)]
struct Networks {
    v4: Box<[(u128, u128)]>,
    v6: Box<[(u128, u128)]>,
}

impl Networks {
    fn new(nets: &[IpNet]) -> Self {
        let of = |version| nets.iter().filter(|net| version_of(net) == version).map(value_of).collect();
        Self { v4: of(IpVersion::V4), v6: of(IpVersion::V6) }
    }

    #[inline]
    fn contains(&self, version: IpVersion, address: u128) -> bool {
        let nets = match version {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        };
        nets.iter().any(|(value, mask)| address & mask == *value)
    }

    /// Whether one of the packet's ends is in one of them.
    #[inline]
    fn either(&self, ip: &Ip) -> bool {
        self.contains(ip.version, ip.source) || self.contains(ip.version, ip.destination)
    }

    /// Whether one of the packet's ends is in one of them and has `port`.
    #[inline]
    fn with_port(&self, ip: &Ip, port: u16) -> bool {
        ip.ports.is_some_and(|(source, destination)| {
            (source == port && self.contains(ip.version, ip.source))
                || (destination == port && self.contains(ip.version, ip.destination))
        })
    }
}
