//! Whether a flow's packets can match, before any is read.
//!
//! An answer is `No` only if it holds for every frame that the flow can have been in. A VLAN tag, an MPLS label or LLC in
//! front of the IP header hides it from most primitives, and a cut frame ends the filter; so what fits the flow is never
//! certain, and what contradicts it is certain only where the frame has no other IP header than the flow's.

use vxtap_wire::{Direction as Way, FiveTuple, FlowKey, IpAddress, IpVersion, protocol};

use crate::tree::{Condition, ConditionId, Direction, Family, Host, Net, Primitive, Tree};

/// What is known of a flow, for [`Filter::may_match`](crate::Filter::may_match). What is not known is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlowFacts<'a> {
    /// The flow; `None` for frames in no flow (ARP, cut IP headers), or of any. Its network id is not looked at.
    pub key: Option<FlowKey>,
    /// Whether no packet of the flow came in a tunnel inside its frame (IP in IP, GRE, VXLAN in the frame), so that the
    /// addresses of `key` are those of the outermost IP header. If it is false, `key` rules nothing out.
    pub direct: bool,
    /// The VNI, if all packets of the flow have the same.
    pub vni: Option<u32>,
    /// Name of the network, if all packets of the flow are in the same.
    pub network: Option<&'a str>,
}

impl<'a> FlowFacts<'a> {
    /// Of the flow `key`. Say also [`FlowFacts::direct`] where it is so.
    pub fn of(key: FlowKey) -> Self {
        Self { key: Some(key), ..Self::default() }
    }

    /// Of frames that are in no flow.
    pub fn no_flow() -> Self {
        Self::default()
    }

    /// The same, and no packet came in a tunnel inside its frame (`FrameView::tunnels` was 0 for each).
    #[must_use]
    pub fn direct(self) -> Self {
        Self { direct: true, ..self }
    }

    /// The same, and each packet has this VNI.
    #[must_use]
    pub fn with_vni(self, vni: u32) -> Self {
        Self { vni: Some(vni), ..self }
    }

    /// The same, and each packet is in the network of this name.
    #[must_use]
    pub fn with_network(self, name: &'a str) -> Self {
        Self { network: Some(name), ..self }
    }
}

/// What is certain of the packets of a flow, for those of each way by itself: bit 0 for those from the lower end of its key, bit 1
/// for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    /// A packet may match.
    may: u8,
    /// Every packet does; never without the same bit in `may`.
    must: u8,
}

const BOTH_WAYS: u8 = 3;

impl Answer {
    const NO: Self = Self { may: 0, must: 0 };
    const MAYBE: Self = Self { may: BOTH_WAYS, must: 0 };
    const YES: Self = Self { may: BOTH_WAYS, must: BOTH_WAYS };

    fn of_known(fits: Option<bool>) -> Self {
        match fits {
            Some(true) => Self::YES,
            Some(false) => Self::NO,
            None => Self::MAYBE,
        }
    }

    const fn not(self) -> Self {
        Self { may: !self.must & BOTH_WAYS, must: !self.may & BOTH_WAYS }
    }
}

/// A filter as it is asked of flows: half a million of them for one search. Nested no deeper than the parser allows.
#[derive(Debug)]
pub(crate) enum Question {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Vni(u32),
    Network(String),
    /// What the packets' own headers answer.
    Header(Primitive),
    /// Nothing is certain.
    Open,
}

impl Question {
    /// What `tree` asks.
    pub(crate) fn new(tree: &Tree) -> Self {
        tree.root.map_or(Self::All(Vec::new()), |root| Self::of(tree, root))
    }

    fn of(tree: &Tree, id: ConditionId) -> Self {
        match tree.get(id) {
            Some((Condition::And(..), _)) => Self::All(Self::list(tree, id)),
            Some((Condition::Or(..), _)) => Self::Any(Self::list(tree, id)),
            Some((Condition::Not(inner), _)) => Self::Not(Box::new(Self::of(tree, *inner))),
            Some((Condition::Primitive(Primitive::Vni(vni)), _)) => Self::Vni(*vni),
            Some((Condition::Primitive(Primitive::Network(name)), _)) => Self::Network(name.clone()),
            // Behind a word that shifts offsets, the others would look elsewhere.
            Some((Condition::Primitive(primitive), _)) if !tree.shifted(id) => Self::Header(primitive.clone()),
            _ => Self::Open,
        }
    }

    /// What is joined by the same word as `id`. Long lists lean to the left: they are walked in a loop.
    fn list(tree: &Tree, mut id: ConditionId) -> Vec<Self> {
        let is_and = |id| matches!(tree.get(id), Some((Condition::And(..), _)));
        let and = is_and(id);
        let mut list = Vec::new();
        while let Some((Condition::And(left, right) | Condition::Or(left, right), _)) = tree.get(id)
            && is_and(id) == and
        {
            list.push(Self::of(tree, *right));
            id = *left;
        }
        list.push(Self::of(tree, id));
        list.reverse();
        list
    }

    /// Whether a packet of the flow can match.
    pub(crate) fn may_match(&self, facts: &FlowFacts<'_>) -> bool {
        let packet = facts.key.filter(|_| facts.direct).map(|key| key.five_tuple(Way::LowToHigh));
        self.answer(facts, packet.as_ref()).may != 0
    }

    /// `packet` is the five-tuple of packets from the lower end.
    fn answer(&self, facts: &FlowFacts<'_>, packet: Option<&FiveTuple>) -> Answer {
        match self {
            Self::All(list) => {
                let mut all = Answer::YES;
                for one in list {
                    let Answer { may, must } = one.answer(facts, packet);
                    all = Answer { may: all.may & may, must: all.must & must };
                    if all == Answer::NO {
                        break;
                    }
                }
                all
            }
            Self::Any(list) => {
                let mut any = Answer::NO;
                for one in list {
                    let Answer { may, must } = one.answer(facts, packet);
                    any = Answer { may: any.may | may, must: any.must | must };
                    if any == Answer::YES {
                        break;
                    }
                }
                any
            }
            Self::Not(inner) => inner.answer(facts, packet).not(),
            Self::Vni(vni) => Answer::of_known(facts.vni.map(|known| known == *vni)),
            Self::Network(name) => Answer::of_known(facts.network.map(|known| known == name)),
            Self::Header(primitive) => {
                let may = packet.map_or(BOTH_WAYS, |packet| possible(primitive, packet));
                Answer { may, must: 0 }
            }
            Self::Open => Answer::MAYBE,
        }
    }
}

/// Of which ways a frame whose outermost IP header is that of `packet`, or of the other way's packets, can have what the primitive
/// asks for.
fn possible(primitive: &Primitive, packet: &FiveTuple) -> u8 {
    let v4 = packet.version == IpVersion::V4;
    let both = |possible: bool| if possible { BOTH_WAYS } else { 0 };
    match primitive {
        Primitive::Host { direction, net, place: Host::Any | Host::Ip } => {
            at_ends(*direction, contains(*net, packet.source, v4), contains(*net, packet.destination, v4))
        }
        Primitive::LinkType(0x0800) => both(v4),
        Primitive::LinkType(0x86dd) => both(!v4),
        Primitive::Host { place: Host::Arp | Host::Rarp, .. } | Primitive::LinkType(0x0806 | 0x8035) => 0,
        Primitive::IpProtocol { family, number } => {
            let version = match family {
                Family::Any => true,
                Family::V4 => v4,
                Family::V6 => !v4,
            };
            let own = u32::from(packet.protocol);
            both(version && (own == *number || hides_others(*number) || hides_others(own)))
        }
        Primitive::Port { direction, protocols, low, high } => {
            if !protocols.contains(&u32::from(packet.protocol)) {
                return 0;
            }
            // A fragment is in a flow without ports, and the first one has some.
            let unknown = packet.source_port == 0 && packet.destination_port == 0;
            let fits = |port: u16| unknown || (*low..=*high).contains(&port);
            at_ends(*direction, fits(packet.source_port), fits(packet.destination_port))
        }
        _ => BOTH_WAYS,
    }
}

fn contains(net: Net, address: IpAddress, v4: bool) -> bool {
    match net {
        Net::V4 { address: wanted, mask } => v4 && u32::from_be_bytes(address.first_four()) & mask == wanted,
        Net::V6 { address: wanted, mask } => !v4 && u128::from_be_bytes(address.0) & mask == wanted,
    }
}

/// Protocols that a flow's own may be behind: extension headers, security headers, tunnels. In a frame that was cut one of
/// them is the flow's own.
fn hides_others(number: u32) -> bool {
    const HIP: u32 = 139;
    const SHIM6: u32 = 140;
    const MOBILITY: u32 = 135;
    const ROUTING: u32 = 43;
    const DESTINATION_OPTIONS: u32 = 60;
    let known = [protocol::IPV6_FRAGMENT, protocol::AH, protocol::ESP, protocol::GRE, protocol::IPV4, protocol::IPV6];
    matches!(number, 0 | ROUTING | DESTINATION_OPTIONS | MOBILITY | HIP | SHIM6 | 253..)
        || known.iter().any(|one| u32::from(*one) == number)
}

/// The ways whose packets have what fits at the end that is meant, where it is known what fits at the lower and the higher end.
fn at_ends(direction: Direction, low: bool, high: bool) -> u8 {
    let source = u8::from(low) | u8::from(high) << 1;
    let destination = u8::from(high) | u8::from(low) << 1;
    match direction {
        Direction::Source => source,
        Direction::Destination => destination,
        Direction::Either => source | destination,
        Direction::Both => source & destination,
    }
}

#[cfg(test)]
mod tests;
