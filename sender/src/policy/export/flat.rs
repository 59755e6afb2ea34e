//! Rules without lists, for clouds whose rules ask for one thing each.

use std::ops::RangeInclusive;

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
    /// The rule that rejects every packet.
    const fn rejecting_all(number: u32) -> Self {
        Self {
            number: Some(number),
            action: Action::Reject,
            protocol: None,
            family: None,
            source: None,
            destination: None,
            source_ports: None,
            destination_ports: None,
            description: None,
        }
    }

    /// The families of packets that it is for, by what it asks for.
    pub(super) fn families(&self) -> Vec<IpVersion> {
        let by_protocol = self.protocol.and_then(Protocol::only_version);
        let known = self.source.map(family).or(self.destination.map(family)).or(self.family).or(by_protocol);
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

fn family(network: IpNet) -> IpVersion {
    if network.addr().is_ipv6() { IpVersion::V6 } else { IpVersion::V4 }
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
        let mut flat: Vec<(usize, FlatRule)> = Vec::new();
        for (place, rule) in in_order {
            flat.extend(parts(rule).iter().flat_map(&spread).map(|part| (place, part)));
        }
        self.number(&mut flat, at, direction, &spread);
        flat.into_iter().map(|(_, rule)| rule).collect()
    }

    /// Gives each rule a number of its own that the cloud has: the one that it asks for or the next one that is free, and
    /// one before that where there is no room behind. Beside each rule is the place in the file of what it is a part of.
    fn number(
        &mut self,
        flat: &mut Vec<(usize, FlatRule)>,
        at: usize,
        direction: Direction,
        spread: impl Fn(&FlatRule) -> Vec<FlatRule>,
    ) {
        if flat.iter().any(|(_, rule)| rule.number.is_none()) {
            return;
        }
        let known = self.policy.provider.unwrap_or_default().profile().limits.rule_numbers;
        self.make_room(flat, at, direction, &known, spread);
        let wanted: Vec<u32> = flat.iter().filter_map(|(_, rule)| rule.number).collect();
        let given = numbered(&wanted, &known);
        for ((_, rule), number) in flat.iter_mut().zip(&given) {
            rule.number = Some(*number);
        }
        let mut first = 0;
        for parts in flat.chunk_by(|(one, _), (other, _)| one == other) {
            let range = first..first + parts.len();
            first = range.end;
            let (Some(wanted), Some(given)) = (wanted.get(range.clone()), given.get(range)) else { continue };
            if let ([(place, _), ..], [lowest, .., highest]) = (parts, given) {
                let text = format!("is several rules there, with the numbers {lowest} to {highest}");
                self.lack(format!("filter[{at}].{direction}[{place}]"), text);
            } else if let ([(place, _)], [number]) = (parts, given)
                && wanted != given
            {
                let text = format!("has the number {number} there, since others are several rules");
                self.lack(format!("filter[{at}].{direction}[{place}]"), text);
            }
        }
    }

    /// Leaves rules out where the cloud has fewer numbers than there are rules. Without one that accepts less is mirrored,
    /// without one that rejects it would be more: where those alone are too many, one rejects everything.
    fn make_room(
        &mut self,
        flat: &mut Vec<(usize, FlatRule)>,
        at: usize,
        direction: Direction,
        known: &RangeInclusive<u32>,
        spread: impl Fn(&FlatRule) -> Vec<FlatRule>,
    ) {
        let room = (u64::from(*known.end()) + 1).saturating_sub(u64::from(*known.start()));
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let Some(mut excess) = flat.len().checked_sub(room).filter(|excess| *excess != 0) else { return };
        let about = format!("filter[{at}].{direction}");
        let all = flat.len();
        let mut kept: Vec<(usize, FlatRule)> = Vec::with_capacity(room);
        for (place, rule) in flat.drain(..).rev() {
            if excess != 0 && rule.action == Action::Accept {
                excess -= 1;
            } else {
                kept.push((place, rule));
            }
        }
        kept.reverse();
        let numbers = format!("{} to {}", known.start(), known.end());
        if excess == 0 {
            let text = format!(
                "is {all} rules there, more than there are numbers ({numbers}): the last {} that accept are left out",
                all - kept.len()
            );
            self.lack(about, text);
        } else {
            let text = format!("is {all} rules there, more than there are numbers ({numbers}): everything is rejected");
            self.lack(about, text);
            kept = spread(&FlatRule::rejecting_all(*known.start())).into_iter().map(|rule| (0, rule)).collect();
        }
        *flat = kept;
    }
}

/// A number of its own for each of those that are wanted, which are in order: itself or the next one that is free, and one before
/// that where there is no room behind. There are no more of them than numbers that are `known`.
pub(super) fn numbered(wanted: &[u32], known: &RangeInclusive<u32>) -> Vec<u32> {
    let mut given = Vec::with_capacity(wanted.len());
    let mut next = *known.start();
    for wanted in wanted {
        let number = next.max(*wanted);
        next = number.saturating_add(1);
        given.push(number);
    }
    let mut last = *known.end();
    for number in given.iter_mut().rev() {
        *number = last.min(*number);
        last = number.saturating_sub(1);
    }
    given
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
                // No packet has two families.
                let of_protocol = protocol.and_then(Protocol::only_version);
                let mut families =
                    [rule.family, source.map(family), destination.map(family), of_protocol].into_iter().flatten();
                let first = families.next();
                if families.any(|family| Some(family) != first) {
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
