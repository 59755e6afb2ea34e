//! Google Cloud: `gcloud compute packet-mirrorings list|describe --format=json`, and the mirroring rules of Network Security
//! Integration in `gcloud compute network-firewall-policies describe --format=json` (`gcp_nsi`).
//!
//! Field names are those of the Compute API. `gcloud compute networks subnets list`, `forwarding-rules list` and `instances list`
//! tell ranges and addresses.

use super::super::{Action, Direction, Provider, RuleDocument};
use super::document::{Fields, Node};
use super::findings::{Findings, FoundFilter, FoundSession, FoundSource, FoundTarget, SourceKind, goes_on};
use super::rules::{protocol, word};
use super::{ImportError, Remarks, gcp_nsi};

pub(super) fn read(document: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    if document.value().is_array() {
        return document.items()?.iter().try_for_each(|item| read(item, findings, remarks));
    }
    let mut fields = document.fields()?;
    if let Some(items) = fields.take("items") {
        // What the API answers, where gcloud gives the list itself.
        if let Some(token) = fields.take("nextPageToken") {
            goes_on(token.place(), remarks);
        }
        fields.pass(&["kind", "id", "selfLink"]);
        fields.finish(remarks);
        return read(&items, findings, remarks);
    }
    if fields.has("packetMirroringRules") {
        gcp_nsi::policy(document, fields, findings, remarks)
    } else if fields.has("collectorIlb") || fields.has("mirroredResources") {
        session(document, fields, findings, remarks)
    } else if fields.has("action") && fields.has("match") {
        gcp_nsi::rule(document, findings, remarks)
    } else {
        whereabouts(fields, findings)
    }
}

/// A subnet, a forwarding rule or an instance. What has IPv6 alone lacks the fields that the others have.
fn whereabouts(mut fields: Fields<'_>, findings: &mut Findings) -> Result<(), ImportError> {
    let id = path(fields.need("selfLink")?.text()?).to_owned();
    if let Some(network) = first_of(&mut fields, &["ipCidrRange", "internalIpv6Prefix", "externalIpv6Prefix"])? {
        findings.locate(&id, network);
    } else if let Some(address) = fields.text("IPAddress")? {
        // A rule for IPv6 has a network of its own, of which the first address will do.
        findings.locate(&id, address.split('/').next().unwrap_or(address));
    } else if let Some(interfaces) = fields.take("networkInterfaces") {
        for (place, interface) in interfaces.items()?.iter().enumerate() {
            let mut interface = interface.fields()?;
            let Some(address) = address_of(&mut interface)? else { continue };
            if let Some(network) = interface.text("network")? {
                findings.locate_in(&id, path(network), &address);
            }
            if place == 0 {
                findings.locate(&id, &address);
            }
        }
    }
    Ok(())
}

/// The address that an instance's interface is known by.
fn address_of(interface: &mut Fields<'_>) -> Result<Option<String>, ImportError> {
    if let Some(address) = first_of(interface, &["networkIP", "ipv6Address"])? {
        return Ok(Some(address.to_owned()));
    }
    for access in interface.list("ipv6AccessConfigs")? {
        if let Some(address) = access.fields()?.owned("externalIpv6")? {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

/// What the first of these fields says that is there.
fn first_of<'a>(fields: &mut Fields<'a>, names: &[&str]) -> Result<Option<&'a str>, ImportError> {
    for name in names {
        if let Some(text) = fields.text(name)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn session(
    node: &Node<'_>,
    mut fields: Fields<'_>,
    findings: &mut Findings,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    findings.is_for(Provider::Gcp, node.place())?;
    let name = fields.need("name")?.text()?.to_owned();
    let collector = fields.need("collectorIlb")?;
    let endpoint = path(collector.fields()?.need("url")?.text()?).to_owned();
    let short = last_part(&endpoint).to_owned();
    findings.add_target(FoundTarget { name: Some(short), ..FoundTarget::of(&endpoint, collector.place()) });
    let mut sources = match fields.take("mirroredResources") {
        Some(resources) => sources(&resources, remarks)?,
        None => Vec::new(),
    };
    if let Some(network) = fields.take("network") {
        // Which interface of a machine with several is meant. Addresses of a subnet are in its network anyway.
        let id = path(network.fields()?.need("url")?.text()?);
        for source in &mut sources {
            source.network = Some((id.to_owned(), network.place().clone()));
        }
    }
    let filter = match fields.take("filter") {
        Some(filter) => rules(&filter, &name, remarks)?,
        None => None,
    };
    let filter = filter.map(|filter| {
        findings.filters.push(filter);
        name.clone()
    });
    findings.sessions.push(FoundSession {
        id: None,
        name: Some(name),
        description: fields.owned("description")?,
        number: fields.number("priority", u32::MAX)?,
        sources,
        filter,
        target: endpoint,
        vni: None,
        length: None,
        enabled: fields.truth("enable")?,
        place: node.place().clone(),
    });
    fields.pass(&["kind", "id", "creationTimestamp", "selfLink", "selfLinkWithId", "region"]);
    fields.finish(remarks);
    Ok(())
}

fn sources(resources: &Node<'_>, remarks: &mut Remarks) -> Result<Vec<FoundSource>, ImportError> {
    let mut fields = resources.fields()?;
    let mut sources = Vec::new();
    for (list, kind) in [("subnetworks", SourceKind::Subnet), ("instances", SourceKind::Interface)] {
        for item in fields.list(list)? {
            let id = path(item.fields()?.need("url")?.text()?).to_owned();
            let name = Some(last_part(&id).to_owned());
            sources.push(FoundSource { name, ..FoundSource::of(kind, id, item.place()) });
        }
    }
    for tag in fields.list("tags")? {
        sources.push(FoundSource::of(SourceKind::Tag, tag.text()?, tag.place()));
    }
    fields.finish(remarks);
    Ok(sources)
}

/// The filter, with one rule for each direction; `None` where it lets everything through that is mirrored at all.
fn rules(node: &Node<'_>, name: &str, remarks: &mut Remarks) -> Result<Option<FoundFilter>, ImportError> {
    const DIRECTIONS: [(&str, &[Direction]); 3] =
        [("BOTH", &Direction::BOTH), ("INGRESS", &[Direction::Inbound]), ("EGRESS", &[Direction::Outbound])];
    let mut fields = node.fields()?;
    let mut rule = RuleDocument { action: Some(Action::Accept), ..RuleDocument::default() };
    for network in fields.list("cidrRanges")? {
        rule.remote.push(network.network()?);
    }
    let mut every_protocol = false;
    for item in fields.list("IPProtocols")? {
        match protocol(&item)? {
            Some(protocol) => rule.protocol.push(protocol),
            None => every_protocol = true,
        }
    }
    if every_protocol {
        rule.protocol.clear();
    }
    let directions = fields.take("direction").map(|node| word(&node, &DIRECTIONS)).transpose()?;
    fields.finish(remarks);
    let directions = directions.unwrap_or(&Direction::BOTH);
    if rule.remote.is_empty() && rule.protocol.is_empty() && directions.len() == Direction::BOTH.len() {
        return Ok(None);
    }
    let mut filter = FoundFilter::new(node.place().clone());
    filter.name = Some(name.to_owned());
    for direction in directions {
        filter.rules(*direction).push(rule.clone());
    }
    Ok(Some(filter))
}

/// The part of a resource's URL from its project on: the same resource has several hosts and versions in front.
pub(super) fn path(url: &str) -> &str {
    url.find("projects/").map_or(url, |begin| &url[begin..])
}

/// A resource's own name.
pub(super) fn last_part(url: &str) -> &str {
    url.rsplit('/').find(|part| !part.is_empty()).unwrap_or(url)
}
