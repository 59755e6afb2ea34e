//! NAVER Cloud: lists of mirror tunnels, mirror filters and mirror resources.
//!
//! NAVER documents these objects and what they hold, but no names of their fields and no API for them. The names here follow
//! what its documented VPC APIs do: `…No` and `…Name`, lists named `…List` inside `get…Response`, and words as objects of `code` and
//! `codeName`. Rules are read with the fields of its network ACLs. A remark says so for every document.

use super::super::{Action, Provider, RuleDocument};
use super::document::Node;
use super::findings::{Findings, FoundFilter, FoundSession, FoundSource, FoundTarget, SourceKind};
use super::rules::{ports_of, protocol, put_lists, word};
use super::{ImportError, Remarks};

type Reader = fn(&Node<'_>, &mut Findings, &mut Remarks) -> Result<(), ImportError>;
const LISTS: [(&str, Reader); 3] =
    [("mirrorTunnelList", session), ("mirrorFilterList", filter), ("mirrorResourceList", resource)];

pub(super) fn read(document: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    findings.is_for(Provider::Naver, document.place())?;
    remarks.note(
        document.place(),
        "NAVER documents no field names for its mirrors: compare the policy with what the console shows",
    );
    part(document, findings, remarks)
}

fn part(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    if node.value().is_array() {
        return node.items()?.iter().try_for_each(|item| part(item, findings, remarks));
    }
    let mut fields = node.fields()?;
    for wrapper in ["getMirrorTunnelListResponse", "getMirrorFilterListResponse", "getMirrorResourceListResponse"] {
        if let Some(inner) = fields.take(wrapper) {
            return part(&inner, findings, remarks);
        }
    }
    let mut listed = false;
    for (name, reader) in LISTS {
        if let Some(list) = fields.take(name) {
            list.items()?.iter().try_for_each(|item| reader(item, findings, remarks))?;
            listed = true;
        }
    }
    if listed {
        fields.pass(&["requestId", "returnCode", "returnMessage", "totalRows"]);
        fields.finish(remarks);
        return Ok(());
    }
    let reader = if fields.has("mirrorTunnelNo") {
        session
    } else if fields.has("mirrorResourceNo") {
        resource
    } else {
        filter
    };
    reader(node, findings, remarks)
}

/// A word, also as an object of `code` and `codeName`.
fn code<'a>(node: &Node<'a>) -> Result<Node<'a>, ImportError> {
    if node.value().is_object() { node.fields()?.need("code") } else { Ok(node.clone()) }
}

fn session(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let source = fields.need("mirrorSourceNo")?;
    let source = FoundSource {
        name: fields.owned("mirrorSourceName")?,
        ..FoundSource::of(SourceKind::Interface, reference(&source)?, source.place())
    };
    let mut enabled = None;
    if let Some(status) = fields.take("mirrorTunnelStatus") {
        let status = code(&status)?;
        let word = status.text()?.to_ascii_lowercase();
        // A tunnel between accounts mirrors only after the other side has accepted it.
        if ["wait", "reject", "shut", "delet"].iter().any(|state| word.contains(state)) {
            enabled = Some(false);
            let text = format!("the tunnel is {}: the session is not enabled", super::document::shown(status.value()));
            remarks.note(status.place(), text);
        }
    }
    findings.sessions.push(FoundSession {
        id: Some(reference(&fields.need("mirrorTunnelNo")?)?),
        name: fields.owned("mirrorTunnelName")?,
        description: fields.owned("mirrorTunnelDescription")?,
        number: None,
        sources: vec![source],
        filter: fields.take("mirrorFilterNo").map(|node| reference(&node)).transpose()?,
        target: reference(&fields.need("mirrorDestinationNo")?)?,
        vni: Some(fields.need("vni")?.number_up_to(0xff_ffff)?),
        length: fields.number("packetLength", u32::MAX)?,
        enabled,
        place: node.place().clone(),
    });
    fields.pass(&["vpcNo", "regionCode", "mirrorFilterName", "mirrorDestinationName", "createDate"]);
    fields.finish(remarks);
    Ok(())
}

/// What something is referred to by: numbers that are written as text, or as numbers.
fn reference(node: &Node<'_>) -> Result<String, ImportError> {
    match node.value() {
        serde_json::Value::Number(number) => Ok(number.to_string()),
        _ => node.text().map(str::to_owned),
    }
}

/// A mirror resource: a source or a destination, with the interface or the load balancer that it is.
fn resource(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    const ROLES: [(&str, bool); 4] = [("source", false), ("src", false), ("destination", true), ("dest", true)];
    let mut fields = node.fields()?;
    let id = reference(&fields.need("mirrorResourceNo")?)?;
    let name = fields.owned("mirrorResourceName")?;
    let is_target = word(&code(&fields.need("mirrorResourceRole")?)?, &ROLES)?;
    let address = fields.owned("ip")?;
    if is_target {
        findings.add_target(FoundTarget { name, address, ..FoundTarget::of(&id, node.place()) });
    } else if let Some(address) = address {
        findings.locate(&id, &address);
    }
    fields.pass(&[
        "networkInterfaceNo",
        "loadBalancerInstanceNo",
        "mirrorResourceType",
        "vpcNo",
        "subnetNo",
        "regionCode",
        "createDate",
    ]);
    fields.finish(remarks);
    Ok(())
}

fn filter(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let mut filter = FoundFilter::new(node.place().clone());
    filter.id = Some(reference(&fields.need("mirrorFilterNo")?)?);
    filter.name = fields.owned("mirrorFilterName")?;
    filter.description = fields.owned("mirrorFilterDescription")?;
    put_lists(&mut fields, ("inboundRuleList", "outboundRuleList"), &mut filter, |item, _| rule(item, remarks))?;
    findings.filters.push(filter);
    fields.pass(&["vpcNo", "regionCode", "createDate"]);
    fields.finish(remarks);
    Ok(())
}

fn rule(node: &Node<'_>, remarks: &mut Remarks) -> Result<RuleDocument, ImportError> {
    const ACTIONS: [(&str, Action); 5] = [
        ("ALLOW", Action::Accept),
        ("ACCEPT", Action::Accept),
        ("DENY", Action::Reject),
        ("REJECT", Action::Reject),
        ("DROP", Action::Reject),
    ];
    let mut fields = node.fields()?;
    let mut rule = RuleDocument {
        number: fields.number("priority", u32::MAX)?,
        action: Some(word(&code(&fields.need("ruleAction")?)?, &ACTIONS)?),
        protocol: protocol(&code(&fields.need("protocolType")?)?)?.into_iter().collect(),
        ..RuleDocument::default()
    };
    rule.source.extend(fields.network("sourceIpBlock")?);
    rule.destination.extend(fields.network("destinationIpBlock")?);
    rule.source_ports = ports_of(&mut fields, "sourcePortRange")?;
    rule.destination_ports = ports_of(&mut fields, "destinationPortRange")?;
    rule.description = fields.owned("ruleDescription")?;
    fields.pass(&["mirrorFilterNo", "ruleNo"]);
    fields.finish(remarks);
    Ok(rule)
}
