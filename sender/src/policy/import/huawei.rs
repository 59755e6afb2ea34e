//! Huawei Cloud: answers of the VPC API v3 (`traffic-mirror-sessions`, `traffic-mirror-filters`,
//! `traffic-mirror-filter-rules`), and the bodies of its requests.
//!
//! Field names are those of the API's SDK. Requests have numbers and truths as text, answers as what they are. `GET /v1/…/ports`
//! and `GET /v3/…/elb/loadbalancers` tell addresses.

use super::super::{Direction, Provider, RuleDocument};
use super::document::Node;
use super::findings::{Findings, FoundFilter, FoundRule, FoundSession, FoundSource, FoundTarget, SourceKind, goes_on};
use super::rules::{ACCEPT_OR_REJECT, direction, family, ports_of, protocol, put_lists, set_family, word};
use super::{ImportError, Remarks};

type Reader = fn(&Node<'_>, &mut Findings, &mut Remarks) -> Result<(), ImportError>;
const LISTS: [(&str, Reader); 9] = [
    ("traffic_mirror_sessions", session),
    ("traffic_mirror_session", session),
    ("traffic_mirror_filters", filter),
    ("traffic_mirror_filter", filter),
    ("traffic_mirror_filter_rules", rule),
    ("traffic_mirror_filter_rule", rule),
    ("ports", port),
    ("port", port),
    ("loadbalancers", load_balancer),
];

pub(super) fn read(document: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    findings.is_for(Provider::Huawei, document.place())?;
    if document.value().is_array() {
        return document.items()?.iter().try_for_each(|item| read(item, findings, remarks));
    }
    let mut fields = document.fields()?;
    let mut wrapped = false;
    for (name, reader) in LISTS {
        if let Some(list) = fields.take(name) {
            list.one_or_more()?.iter().try_for_each(|item| reader(item, findings, remarks))?;
            wrapped = true;
        }
    }
    if !wrapped {
        let reader = if fields.has("traffic_mirror_sources") {
            session
        } else if fields.has("direction") {
            rule
        } else {
            filter
        };
        return reader(document, findings, remarks);
    }
    if let Some(page) = fields.take("page_info")
        && page.fields()?.has("next_marker")
    {
        goes_on(page.place(), remarks);
    }
    fields.pass(&["request_id", "ports_links"]);
    fields.finish(remarks);
    Ok(())
}

fn session(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let mut sources = Vec::new();
    for source in fields.need("traffic_mirror_sources")?.items()? {
        let id = source.text()?.to_owned();
        sources.push(FoundSource::of(SourceKind::Interface, id, source.place()));
    }
    let target = fields.need("traffic_mirror_target_id")?;
    let endpoint = target.text()?.to_owned();
    let kind = fields.owned("traffic_mirror_target_type")?;
    findings.add_target(FoundTarget { kind, ..FoundTarget::of(&endpoint, target.place()) });
    findings.sessions.push(FoundSession {
        id: fields.owned("id")?,
        name: fields.owned("name")?,
        description: fields.owned("description")?,
        number: Some(fields.need("priority")?.number_up_to(u32::MAX)?),
        sources,
        filter: Some(fields.need("traffic_mirror_filter_id")?.text()?.to_owned()),
        target: endpoint,
        vni: fields.number("virtual_network_id", 0xff_ffff)?,
        length: fields.number("packet_length", u32::MAX)?,
        enabled: fields.truth("enabled")?,
        place: node.place().clone(),
    });
    // `type` is the kind of the sources, of which there is one.
    fields.pass(&["project_id", "type", "created_at", "updated_at"]);
    fields.finish(remarks);
    Ok(())
}

fn filter(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let mut filter = FoundFilter::new(node.place().clone());
    filter.id = fields.owned("id")?;
    filter.name = fields.owned("name")?;
    filter.description = fields.owned("description")?;
    put_lists(&mut fields, ("ingress_rules", "egress_rules"), &mut filter, |item, direction| {
        rule_of(item, Some(direction), remarks).map(|(_, rule)| rule)
    })?;
    findings.filters.push(filter);
    fields.pass(&["project_id", "created_at", "updated_at"]);
    fields.finish(remarks);
    Ok(())
}

fn rule(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let filter = node.fields()?.need("traffic_mirror_filter_id")?.text()?.to_owned();
    let (direction, rule) = rule_of(node, None, remarks)?;
    findings.rules.push(FoundRule { filter, direction, rule, place: node.place().clone() });
    Ok(())
}

fn rule_of(
    node: &Node<'_>,
    listed: Option<Direction>,
    remarks: &mut Remarks,
) -> Result<(Direction, RuleDocument), ImportError> {
    let mut fields = node.fields()?;
    let direction = direction(&mut fields, "direction", listed)?;
    let mut rule = RuleDocument {
        number: Some(fields.need("priority")?.number_up_to(u32::MAX)?),
        action: Some(word(&fields.need("action")?, &ACCEPT_OR_REJECT)?),
        protocol: protocol(&fields.need("protocol")?)?.into_iter().collect(),
        description: fields.owned("description")?,
        ..RuleDocument::default()
    };
    rule.source.extend(fields.network("source_cidr_block")?);
    rule.destination.extend(fields.network("destination_cidr_block")?);
    rule.source_ports = ports_of(&mut fields, "source_port_range")?;
    rule.destination_ports = ports_of(&mut fields, "destination_port_range")?;
    if let Some(said) = fields.take("ethertype") {
        set_family(&mut rule, family(&said)?, said.place())?;
    }
    fields.pass(&["id", "project_id", "traffic_mirror_filter_id", "created_at", "updated_at"]);
    fields.finish(remarks);
    Ok((direction, rule))
}

fn port(node: &Node<'_>, findings: &mut Findings, _: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let id = fields.need("id")?.text()?;
    let addresses = fields.list("fixed_ips")?;
    if let Some(first) = addresses.first() {
        findings.locate(id, first.fields()?.need("ip_address")?.text()?);
    }
    Ok(())
}

fn load_balancer(node: &Node<'_>, findings: &mut Findings, _: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let id = fields.need("id")?.text()?;
    if let Some(address) = fields.text("vip_address")? {
        findings.locate(id, address);
    }
    Ok(())
}
