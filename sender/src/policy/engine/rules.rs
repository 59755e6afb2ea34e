//! The rules of a session for one direction, sorted by what kind of packet they can match.

use ipnet::IpNet;
use vxtap_wire::{IpVersion, protocol};

use super::facts::{Facts, Ip, value_of, version_of};
use crate::policy::model::{Action, Direction, PortRange, Rule};
use crate::policy::provider::BareRule;

/// What a list of rules says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Accept,
    Reject,
    Next,
    Nothing,
}

impl From<Action> for Said {
    fn from(action: Action) -> Self {
        match action {
            Action::Accept => Self::Accept,
            Action::Reject => Self::Reject,
            Action::Next => Self::Next,
        }
    }
}

/// One list for each family and class of protocols, and one for what is not IP. Each has the rules that can match, in order.
#[derive(Debug)]
pub(super) struct RuleLists {
    v4: [Box<[Matcher]>; CLASSES],
    v6: [Box<[Matcher]>; CLASSES],
    frames: Said,
}

/// TCP, UDP, all others.
const CLASSES: usize = 3;

#[inline]
const fn class(protocol: u8) -> usize {
    match protocol {
        protocol::TCP => 0,
        protocol::UDP => 1,
        _ => 2,
    }
}

impl RuleLists {
    /// `rules`, in the order in which they are tried, for packets that go in `direction`.
    pub(super) fn new(rules: &[Rule], direction: Direction) -> Self {
        let lists = |version| {
            std::array::from_fn(|class| {
                rules.iter().filter_map(|rule| Matcher::new(rule, version, direction, class)).collect()
            })
        };
        Self {
            v4: lists(IpVersion::V4),
            v6: lists(IpVersion::V6),
            frames: rules.iter().find(|rule| rule.frames).map_or(Said::Nothing, |rule| rule.action.into()),
        }
    }

    /// What a session without a filter mirrors.
    pub(super) fn bare(what: BareRule) -> Self {
        let accepts = |yes: bool| -> [Box<[Matcher]>; CLASSES] {
            std::array::from_fn(|_| yes.then(Matcher::all).into_iter().collect())
        };
        Self {
            v4: accepts(true),
            v6: accepts(what != BareRule::Ipv4),
            frames: if what == BareRule::Frames { Said::Accept } else { Said::Nothing },
        }
    }

    /// The action of the first rule that matches.
    #[inline]
    pub(super) fn say(&self, facts: &Facts) -> Said {
        let Some(ip) = &facts.ip else { return self.frames };
        let lists = match ip.version {
            IpVersion::V4 => &self.v4,
            IpVersion::V6 => &self.v6,
        };
        let list = &lists[class(ip.protocol)];
        list.iter().find(|matcher| matcher.matches(ip)).map_or(Said::Nothing, |matcher| matcher.action.into())
    }
}

/// A rule as far as it concerns one family.
#[derive(Debug)]
struct Matcher {
    action: Action,
    /// A bit for each protocol.
    protocols: [u64; 4],
    source: Nets,
    destination: Nets,
    /// The rule's remote side, where it is the source, and where it is the destination.
    remote: (Nets, Nets),
    source_ports: Box<[PortRange]>,
    destination_ports: Box<[PortRange]>,
}

impl Matcher {
    fn all() -> Self {
        let none = || Nets(Box::default());
        Self {
            action: Action::Accept,
            protocols: [u64::MAX; 4],
            source: none(),
            destination: none(),
            remote: (none(), none()),
            source_ports: Box::default(),
            destination_ports: Box::default(),
        }
    }

    /// `rule` for packets of `version` and of a class of protocols; `None` where it matches none of them.
    fn new(rule: &Rule, version: IpVersion, direction: Direction, of_class: usize) -> Option<Self> {
        if rule.family.is_some_and(|family| family != version) {
            return None;
        }
        let mut protocols = [0_u64; 4];
        for number in (0..=u8::MAX).filter(|number| class(*number) == of_class) {
            if rule.protocols.is_empty() || rule.protocols.iter().any(|protocol| protocol.0 == number) {
                protocols[usize::from(number >> 6)] |= 1 << (number & 63);
            }
        }
        if protocols == [0; 4] {
            return None;
        }
        let remote = Nets::new(&rule.remote, version)?;
        Some(Self {
            action: rule.action,
            protocols,
            source: Nets::new(&rule.source, version)?,
            destination: Nets::new(&rule.destination, version)?,
            remote: match direction {
                Direction::Inbound => (remote, Nets(Box::default())),
                Direction::Outbound => (Nets(Box::default()), remote),
            },
            source_ports: rule.source_ports.clone().into(),
            destination_ports: rule.destination_ports.clone().into(),
        })
    }

    #[inline]
    fn matches(&self, ip: &Ip) -> bool {
        self.protocols[usize::from(ip.protocol >> 6)] >> (ip.protocol & 63) & 1 == 1
            && self.source.contains(ip.source)
            && self.destination.contains(ip.destination)
            && self.remote.0.contains(ip.source)
            && self.remote.1.contains(ip.destination)
            && contains_port(&self.source_ports, ip.ports.map(|ports| ports.0))
            && contains_port(&self.destination_ports, ip.ports.map(|ports| ports.1))
    }
}

#[inline]
fn contains_port(ranges: &[PortRange], port: Option<u16>) -> bool {
    ranges.is_empty() || port.is_some_and(|port| ranges.iter().any(|range| range.contains(port)))
}

/// Networks of one family as values and masks; none is any.
#[derive(Debug)]
struct Nets(Box<[(u128, u128)]>);

impl Nets {
    /// Those of `version`; `None` where there are some, but of the other family.
    fn new(nets: &[IpNet], version: IpVersion) -> Option<Self> {
        let own: Box<[_]> = nets.iter().filter(|net| version_of(net) == version).map(value_of).collect();
        (nets.is_empty() || !own.is_empty()).then_some(Self(own))
    }

    #[inline]
    fn contains(&self, address: u128) -> bool {
        self.0.is_empty() || self.0.iter().any(|(value, mask)| address & mask == *value)
    }
}
