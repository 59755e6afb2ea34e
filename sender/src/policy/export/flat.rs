//! Rules without lists, for clouds whose rules ask for one thing each.

use ipnet::IpNet;
use vxtap_wire::IpVersion;

use super::super::{Action, Direction, FilterDocument, PortRange, Protocol, RuleDocument};
use super::Export;

/// A rule that asks for one thing of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FlatRule {
    /// Its number, where rules have one.
    pub(super) number: Option<u32>,
    pub(super) action: Action,
    pub(super) protocol: Option<Protocol>,
    pub(super) family: Option<IpVersion>,
    pub(super) source: Option<IpNet>,
    pub(super) destination: Option<IpNet>,
    pub(super) source_ports: Option<PortRange>,
    pub(super) destination_ports: Option<PortRange>,
    pub(super) description: Option<String>,
}

impl FlatRule {
    /// The families of packets that it is for, by what it asks for.
    pub(super) fn families(&self) -> Vec<IpVersion> {
        let of = |network: IpNet| if network.addr().is_ipv6() { IpVersion::V6 } else { IpVersion::V4 };
        let by_protocol = match self.protocol {
            Some(Protocol::ICMP) => Some(IpVersion::V4),
            Some(Protocol::ICMPV6) => Some(IpVersion::V6),
            _ => None,
        };
        let known = self.source.map(of).or(self.destination.map(of)).or(self.family).or(by_protocol);
        known.map_or_else(|| vec![IpVersion::V4, IpVersion::V6], |family| vec![family])
    }

    /// The rule with both of its address ranges said: one for each family.
    pub(super) fn addressed(&self) -> Vec<Self> {
        let families = self.families();
        let with = |family: IpVersion| {
            let all = everything(family);
            Self { source: self.source.or(Some(all)), destination: self.destination.or(Some(all)), ..self.clone() }
        };
        families.into_iter().map(with).collect()
    }
}

/// All addresses of a family.
pub(super) fn everything(family: IpVersion) -> IpNet {
    match family {
        IpVersion::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
        IpVersion::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

impl Export<'_> {
    /// The rules of a filter in one direction as they are tried, each as often as `spread` says; numbers stay unique and in order.
    pub(super) fn flat(
        &mut self,
        filter: &FilterDocument,
        at: usize,
        direction: Direction,
        spread: impl Fn(&FlatRule) -> Vec<FlatRule>,
    ) -> Vec<FlatRule> {
        let rules = match direction {
            Direction::Inbound => &filter.inbound,
            Direction::Outbound => &filter.outbound,
        };
        // Numbers put rules in order, wherever they are in the file; without any it is the file that does.
        let mut in_order: Vec<(usize, &RuleDocument)> = rules.iter().enumerate().collect();
        in_order.sort_by_key(|(_, rule)| rule.number);
        let mut flat = Vec::new();
        let mut next = 0;
        for (place, rule) in in_order {
            let parts: Vec<FlatRule> = parts(rule).iter().flat_map(&spread).collect();
            let mut moved = false;
            for mut part in parts {
                if let Some(number) = part.number {
                    let given = number.max(next);
                    moved |= given != number;
                    (part.number, next) = (Some(given), given.saturating_add(1));
                }
                flat.push(part);
            }
            if moved {
                let about = format!("filter[{at}].{direction}[{place}]");
                self.lack(about, "is several rules there, with numbers behind its own");
            }
        }
        flat
    }
}

/// A rule as rules without lists.
fn parts(rule: &RuleDocument) -> Vec<FlatRule> {
    fn each<T: Copy>(list: &[T]) -> Vec<Option<T>> {
        if list.is_empty() { vec![None] } else { list.iter().copied().map(Some).collect() }
    }
    let mut parts = Vec::new();
    for protocol in each(&rule.protocol) {
        for source in each(&rule.source) {
            for destination in each(&rule.destination) {
                let family = |network: Option<IpNet>| network.map(|network| network.addr().is_ipv6());
                if family(source).zip(family(destination)).is_some_and(|(source, destination)| source != destination) {
                    continue;
                }
                for source_ports in each(&rule.source_ports.0) {
                    for destination_ports in each(&rule.destination_ports.0) {
                        parts.push(FlatRule {
                            number: rule.number,
                            action: rule.action.unwrap_or(Action::Accept),
                            protocol,
                            family: rule.family,
                            source,
                            destination,
                            source_ports,
                            destination_ports,
                            description: rule.description.clone(),
                        });
                    }
                }
            }
        }
    }
    parts
}
