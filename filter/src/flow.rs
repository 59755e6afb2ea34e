//! Whether a flow's packets can match, before any is read.
//!
//! An answer is `No` only if it holds for every frame that the flow can have been in. A VLAN tag, an MPLS label or LLC in
//! front of the IP header hides it from most primitives, and a cut frame ends the filter; so what fits the flow is never
//! certain, and what contradicts it is certain only where the frame has no other IP header than the flow's.

use vxtap_wire::{Direction as Way, FiveTuple, FlowKey, IpVersion, protocol};

use crate::tree::{Condition, ConditionId, Direction, Family, Host, Primitive, Tree};

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

/// What is certain of the packets that go one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    No,
    Maybe,
    Yes,
}

impl Answer {
    fn of(possible: bool) -> Self {
        if possible { Self::Maybe } else { Self::No }
    }

    fn of_known(fits: Option<bool>) -> Self {
        match fits {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Maybe,
        }
    }
}

/// Whether a packet of the flow can match.
pub(crate) fn may_match(tree: &Tree, facts: &FlowFacts<'_>) -> bool {
    let Some(root) = tree.root else { return true };
    match facts.key.filter(|_| facts.direct) {
        None => answer(tree, root, facts, None) != Answer::No,
        Some(key) => [Way::LowToHigh, Way::HighToLow]
            .iter()
            .any(|way| answer(tree, root, facts, Some(&key.five_tuple(*way))) != Answer::No),
    }
}

/// Long lists lean to the left: they are walked in a loop.
fn answer(tree: &Tree, mut id: ConditionId, facts: &FlowFacts<'_>, packet: Option<&FiveTuple>) -> Answer {
    let mut behind = Vec::new();
    while let Some((Condition::And(left, _) | Condition::Or(left, _), _)) = tree.get(id) {
        behind.push(id);
        id = *left;
    }
    let mut result = single(tree, id, facts, packet);
    while let Some(id) = behind.pop() {
        result = match (result, tree.get(id)) {
            (Answer::Yes | Answer::Maybe, Some((Condition::And(_, right), _))) => {
                result.min(answer(tree, *right, facts, packet))
            }
            (Answer::No | Answer::Maybe, Some((Condition::Or(_, right), _))) => {
                result.max(answer(tree, *right, facts, packet))
            }
            _ => result,
        };
    }
    result
}

fn single(tree: &Tree, id: ConditionId, facts: &FlowFacts<'_>, packet: Option<&FiveTuple>) -> Answer {
    match tree.get(id) {
        Some((Condition::Not(inner), _)) => match answer(tree, *inner, facts, packet) {
            Answer::No => Answer::Yes,
            Answer::Maybe => Answer::Maybe,
            Answer::Yes => Answer::No,
        },
        Some((Condition::Primitive(primitive), _)) => match primitive {
            Primitive::Vni(vni) => Answer::of_known(facts.vni.map(|known| known == *vni)),
            Primitive::Network(name) => Answer::of_known(facts.network.map(|known| known == name)),
            // Behind a word that shifts offsets, the others would look elsewhere.
            _ if tree.shifted(id) => Answer::Maybe,
            primitive => packet.map_or(Answer::Maybe, |packet| Answer::of(possible(primitive, packet))),
        },
        Some((Condition::And(..) | Condition::Or(..), _)) => answer(tree, id, facts, packet),
        _ => Answer::Maybe,
    }
}

/// Whether a frame whose outermost IP header is that of `packet` can have what the primitive asks for.
fn possible(primitive: &Primitive, packet: &FiveTuple) -> bool {
    let v4 = packet.version == IpVersion::V4;
    match primitive {
        Primitive::Host { direction, net, place: Host::Any | Host::Ip } => at_ends(*direction, |source| {
            net.contains(if source { packet.source_ip() } else { packet.destination_ip() })
        }),
        Primitive::LinkType(0x0800) => v4,
        Primitive::LinkType(0x86dd) => !v4,
        Primitive::Host { place: Host::Arp | Host::Rarp, .. } | Primitive::LinkType(0x0806 | 0x8035) => false,
        Primitive::IpProtocol { family, number } => {
            let version = match family {
                Family::Any => true,
                Family::V4 => v4,
                Family::V6 => !v4,
            };
            let own = u32::from(packet.protocol);
            version && (own == *number || hides_others(*number) || hides_others(own))
        }
        Primitive::Port { direction, protocols, low, high } => {
            // A fragment is in a flow without ports, and the first one has some.
            let unknown = packet.source_port == 0 && packet.destination_port == 0;
            let fits = |port: u16| unknown || (*low..=*high).contains(&port);
            protocols.contains(&u32::from(packet.protocol))
                && at_ends(*direction, |source| fits(if source { packet.source_port } else { packet.destination_port }))
        }
        _ => true,
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

fn at_ends(direction: Direction, end: impl Fn(bool) -> bool) -> bool {
    match direction {
        Direction::Source => end(true),
        Direction::Destination => end(false),
        Direction::Either => end(true) || end(false),
        Direction::Both => end(true) && end(false),
    }
}

#[cfg(test)]
mod tests;
