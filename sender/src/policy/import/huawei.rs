//! Huawei Cloud: answers of the VPC API v3 (`traffic-mirror-sessions`, `traffic-mirror-filters`,
//! `traffic-mirror-filter-rules`), and the bodies of its requests.
//!
//! Field names are those of the API's SDK. Requests have numbers and truths as text, answers as what they are. `GET /v1/…/ports`
//! and `GET /v3/…/elb/loadbalancers` tell addresses.

use super::super::{Action, Direction, Ports, Provider, RuleDocument};
use super::document::Node;
use super::findings::{Findings, FoundFilter, FoundRule, FoundSession, FoundSource, FoundTarget, SourceKind, goes_on};
use super::rules::{family, ports, protocol, set_family, word};
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
        sources.push(FoundSource { kind: SourceKind::Interface, id, name: None, place: source.place().clone() });
    }
    let target = fields.need("traffic_mirror_target_id")?;
    let endpoint = target.text()?.to_owned();
    let kind = fields.text("traffic_mirror_target_type")?.map(str::to_owned);
    findings.add_target(FoundTarget { kind, ..FoundTarget::of(&endpoint, target.place()) });
    findings.sessions.push(FoundSession {
        id: fields.text("id")?.map(str::to_owned),
        name: fields.text("name")?.map(str::to_owned),
        description: fields.text("description")?.map(str::to_owned),
        number: Some(fields.need("priority")?.number_up_to(u32::MAX)?),
        sources,
        filter: Some(fields.need("traffic_mirror_filter_id")?.text()?.to_owned()),
        target: endpoint,
        vni: fields.take("virtual_network_id").map(|node| node.number_up_to(0xff_ffff)).transpose()?,
        length: fields.take("packet_length").map(|node| node.number_up_to(u32::MAX)).transpose()?,
        enabled: fields.take("enabled").map(|node| node.truth()).transpose()?,
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
    filter.id = fields.text("id")?.map(str::to_owned);
    filter.name = fields.text("name")?.map(str::to_owned);
    filter.description = fields.text("description")?.map(str::to_owned);
    for (list, direction) in [("ingress_rules", Direction::Inbound), ("egress_rules", Direction::Outbound)] {
        for item in fields.take(list).map(|list| list.items()).transpose()?.unwrap_or_default() {
            let (_, rule) = rule_of(&item, Some(direction), remarks)?;
            filter.rules(direction).push(rule);
        }
    }
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
    const DIRECTIONS: [(&str, Direction); 2] = [("ingress", Direction::Inbound), ("egress", Direction::Outbound)];
    const ACTIONS: [(&str, Action); 2] = [("accept", Action::Accept), ("reject", Action::Reject)];
    let mut fields = node.fields()?;
    let direction = match (fields.take("direction"), listed) {
        (Some(said), _) => word(&said, &DIRECTIONS)?,
        (None, Some(listed)) => listed,
        (None, None) => word(&fields.need("direction")?, &DIRECTIONS)?,
    };
    let mut rule = RuleDocument {
        number: Some(fields.need("priority")?.number_up_to(u32::MAX)?),
        action: Some(word(&fields.need("action")?, &ACTIONS)?),
        protocol: protocol(&fields.need("protocol")?)?.into_iter().collect(),
        description: fields.text("description")?.map(str::to_owned),
        ..RuleDocument::default()
    };
    let network =
        |node: Option<Node<'_>>| node.filter(|node| node.value() != "").map(|node| node.network()).transpose();
    rule.source.extend(network(fields.take("source_cidr_block"))?);
    rule.destination.extend(network(fields.take("destination_cidr_block"))?);
    let range = |node: Option<Node<'_>>| node.map(|node| ports(&node)).transpose().map(Option::flatten);
    rule.source_ports = Ports(range(fields.take("source_port_range"))?.into_iter().collect());
    rule.destination_ports = Ports(range(fields.take("destination_port_range"))?.into_iter().collect());
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
    let addresses = fields.take("fixed_ips").map(|list| list.items()).transpose()?.unwrap_or_default();
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
