//! What rules of all clouds are made of: words, protocols, ports, families.

use ipnet::IpNet;
use vxtap_wire::IpVersion;

use super::super::{Action, Direction, PortRange, Ports, Protocol, RuleDocument};
use super::ImportError;
use super::document::{Fields, Node, Place};
use super::findings::FoundFilter;

/// The actions of most clouds.
pub(super) const ACCEPT_OR_REJECT: [(&str, Action); 2] = [("accept", Action::Accept), ("reject", Action::Reject)];

/// Puts the rules of two lists, which `fields` has under these names, into `filter`.
pub(super) fn put_lists(
    fields: &mut Fields<'_>,
    (inbound, outbound): (&str, &str),
    filter: &mut FoundFilter,
    mut rule: impl FnMut(&Node<'_>, Direction) -> Result<RuleDocument, ImportError>,
) -> Result<(), ImportError> {
    for (list, direction) in [(inbound, Direction::Inbound), (outbound, Direction::Outbound)] {
        for item in fields.list(list)? {
            let rule = rule(&item, direction)?;
            filter.rules(direction).push(rule);
        }
    }
    Ok(())
}

/// The direction of a rule, `ingress` or `egress`: what its field says, or what the list is for that it is in.
pub(super) fn direction(
    fields: &mut Fields<'_>,
    name: &str,
    listed: Option<Direction>,
) -> Result<Direction, ImportError> {
    const DIRECTIONS: [(&str, Direction); 2] = [("ingress", Direction::Inbound), ("egress", Direction::Outbound)];
    let said = match (fields.has(name), listed) {
        (false, Some(listed)) => return Ok(listed),
        _ => fields.need(name)?,
    };
    let direction = word(&said, &DIRECTIONS)?;
    if listed.is_some_and(|listed| listed != direction) {
        return Err(said.refused("the direction of the list that it is in"));
    }
    Ok(direction)
}

/// The ports of a field, as [`ports`] has them.
pub(super) fn ports_of(fields: &mut Fields<'_>, name: &str) -> Result<Ports, ImportError> {
    let range = fields.take(name).map(|node| ports(&node)).transpose()?.flatten();
    Ok(Ports(range.into_iter().collect()))
}

/// The meaning of a word, in any case.
pub(super) fn word<T: Copy>(node: &Node<'_>, words: &[(&str, T)]) -> Result<T, ImportError> {
    let text = node.text()?;
    let meaning = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, meaning)| *meaning);
    meaning.ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        node.refused(&known.join(" or "))
    })
}

/// A protocol by name or number; `None` is every protocol.
pub(super) fn protocol(node: &Node<'_>) -> Result<Option<Protocol>, ImportError> {
    let text = match node.value() {
        serde_json::Value::Number(number) => number.to_string(),
        _ => node.text()?.trim().to_owned(),
    };
    if text.eq_ignore_ascii_case("all") || text.eq_ignore_ascii_case("any") || text == "-1" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|()| node.refused("a protocol by name or number, or all"))
}

/// Ports as one text: `80`, `80-200` or `80/200`; `None` is every port.
pub(super) fn ports(node: &Node<'_>) -> Result<Option<PortRange>, ImportError> {
    let text = match node.value() {
        serde_json::Value::Number(number) => number.to_string(),
        _ => node.text()?.trim().to_owned(),
    };
    if matches!(text.as_str(), "" | "-1/-1" | "-1") || text.eq_ignore_ascii_case("all") {
        return Ok(None);
    }
    let expected = || node.refused("ports, the lower one first, such as 80 or 80-200, or all");
    let (first, last) = text.split_once(['-', '/']).unwrap_or((&text, &text));
    let (first, last) = (first.trim().parse().ok(), last.trim().parse().ok());
    first.zip(last).and_then(|(first, last)| PortRange::new(first, last)).map(Some).ok_or_else(expected)
}

/// Ports as an object with the first and the last one, under the names that the cloud has for them.
pub(super) fn port_object(node: &Node<'_>, first: &str, last: &str) -> Result<PortRange, ImportError> {
    let mut fields = node.fields()?;
    let port = |node: Node<'_>| node.number_up_to(u32::from(u16::MAX)).map(|port| port as u16);
    let (first, last) = (port(fields.need(first)?)?, port(fields.need(last)?)?);
    PortRange::new(first, last).ok_or_else(|| node.refused("a range of ports, the lower one first"))
}

/// A family by the clouds' words for it.
pub(super) fn family(node: &Node<'_>) -> Result<IpVersion, ImportError> {
    word(node, &[("IPv4", IpVersion::V4), ("IPv6", IpVersion::V6), ("4", IpVersion::V4), ("6", IpVersion::V6)])
}

/// Gives `rule` the family that the document says. Addresses say it as well, and may not contradict.
pub(super) fn set_family(rule: &mut RuleDocument, family: IpVersion, place: &Place) -> Result<(), ImportError> {
    let networks = || rule.source.iter().chain(&rule.destination).chain(&rule.remote);
    let is_of = |network: &IpNet| network.addr().is_ipv6() == (family == IpVersion::V6);
    if let Some(other) = networks().find(|network| !is_of(network)) {
        let expected = if family == IpVersion::V6 { "IPv6, as the rule says" } else { "IPv4, as the rule says" };
        return Err(ImportError::Value {
            place: place.clone(),
            found: other.to_string(),
            expected: expected.to_owned(),
        });
    }
    if networks().next().is_none() {
        rule.family = Some(family);
    }
    Ok(())
}
