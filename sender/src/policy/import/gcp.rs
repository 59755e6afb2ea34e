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

/// A subnet, a forwarding rule or an instance.
fn whereabouts(mut fields: Fields<'_>, findings: &mut Findings) -> Result<(), ImportError> {
    let id = path(fields.need("selfLink")?.text()?).to_owned();
    if let Some(network) = fields.text("ipCidrRange")? {
        findings.locate(&id, network);
    } else if let Some(address) = fields.text("IPAddress")? {
        findings.locate(&id, address);
    } else if let Some(interfaces) = fields.take("networkInterfaces")
        && let Some(first) = interfaces.items()?.first()
    {
        findings.locate(&id, first.fields()?.need("networkIP")?.text()?);
    }
    Ok(())
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
    let sources = match fields.take("mirroredResources") {
        Some(resources) => sources(&resources, remarks)?,
        None => Vec::new(),
    };
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
        description: fields.text("description")?.map(str::to_owned),
        number: fields.take("priority").map(|node| node.number_up_to(u32::MAX)).transpose()?,
        sources,
        filter,
        target: endpoint,
        vni: None,
        length: None,
        enabled: fields.take("enable").map(|node| node.truth()).transpose()?,
        place: node.place().clone(),
    });
    // The network says which interface of a machine with several is meant; a source selects interfaces.
    fields.pass(&["kind", "id", "creationTimestamp", "selfLink", "selfLinkWithId", "region", "network"]);
    fields.finish(remarks);
    Ok(())
}

fn sources(resources: &Node<'_>, remarks: &mut Remarks) -> Result<Vec<FoundSource>, ImportError> {
    let mut fields = resources.fields()?;
    let mut sources = Vec::new();
    for (list, kind) in [("subnetworks", SourceKind::Subnet), ("instances", SourceKind::Interface)] {
        for item in fields.take(list).map(|list| list.items()).transpose()?.unwrap_or_default() {
            let id = path(item.fields()?.need("url")?.text()?).to_owned();
            let name = Some(last_part(&id).to_owned());
            sources.push(FoundSource { kind, id, name, place: item.place().clone() });
        }
    }
    for tag in fields.take("tags").map(|list| list.items()).transpose()?.unwrap_or_default() {
        let id = tag.text()?.to_owned();
        sources.push(FoundSource { kind: SourceKind::Tag, id, name: None, place: tag.place().clone() });
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
    for network in fields.take("cidrRanges").map(|list| list.items()).transpose()?.unwrap_or_default() {
        rule.remote.push(network.network()?);
    }
    let mut every_protocol = false;
    for item in fields.take("IPProtocols").map(|list| list.items()).transpose()?.unwrap_or_default() {
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
