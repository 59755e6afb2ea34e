//! Alibaba Cloud: `aliyun vpc ListTrafficMirrorSessions` and `ListTrafficMirrorFilters`, and templates of Resource
//! Orchestration Service with `ALIYUN::VPC::TrafficMirrorSession` and `ALIYUN::VPC::TrafficMirrorFilter`.
//!
//! Field names are those of the API's SDK. `aliyun ecs DescribeNetworkInterfaces` and `slb DescribeLoadBalancers` tell
//! addresses.

use super::super::{Action, Provider, RuleDocument};
use super::document::Node;
use super::findings::{Findings, FoundFilter, FoundSession, FoundSource, FoundTarget, SourceKind, goes_on};
use super::rules::{family, ports_of, protocol, put_lists, set_family, word};
use super::{ImportError, Remarks};

type Reader = fn(&Node<'_>, Option<&str>, &mut Findings, &mut Remarks) -> Result<(), ImportError>;

pub(super) fn read(document: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    findings.is_for(Provider::Alibaba, document.place())?;
    if document.value().is_array() {
        return document.items()?.iter().try_for_each(|item| read(item, findings, remarks));
    }
    let mut fields = document.fields()?;
    if fields.has("ROSTemplateFormatVersion") {
        return template(document, findings, remarks);
    }
    let mut wrapped = false;
    for (name, reader) in [("TrafficMirrorSessions", session as Reader), ("TrafficMirrorFilters", filter)] {
        if let Some(list) = fields.take(name) {
            list.items()?.iter().try_for_each(|item| reader(item, None, findings, remarks))?;
            wrapped = true;
        }
    }
    for (outer, inner, id, address) in [
        ("NetworkInterfaceSets", "NetworkInterfaceSet", "NetworkInterfaceId", "PrivateIpAddress"),
        ("LoadBalancers", "LoadBalancer", "LoadBalancerId", "Address"),
    ] {
        if let Some(list) = fields.take(outer) {
            for item in list.fields()?.need(inner)?.items()? {
                let mut item = item.fields()?;
                let id = item.need(id)?.text()?;
                if let Some(address) = item.text(address)? {
                    findings.locate(id, address);
                }
            }
            // A list of all interfaces has much else that is of no meaning here.
            return Ok(());
        }
    }
    if !wrapped {
        let reader = if fields.has("TrafficMirrorSourceIds") { session } else { filter };
        return reader(document, None, findings, remarks);
    }
    if let Some(token) = fields.take("NextToken").filter(|token| token.value() != "") {
        goes_on(token.place(), remarks);
    }
    fields.pass(&["RequestId", "TotalCount", "Count", "MaxResults", "NextToken"]);
    fields.finish(remarks);
    Ok(())
}

fn template(document: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let resources = document.fields()?.need("Resources")?;
    let names: Vec<String> = resources.value().as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    let mut fields = resources.fields()?;
    for name in &names {
        let resource = fields.need(name)?;
        let mut parts = resource.fields()?;
        let reader: Reader = match parts.need("Type")?.text()? {
            "ALIYUN::VPC::TrafficMirrorFilter" => filter,
            "ALIYUN::VPC::TrafficMirrorSession" => session,
            other => {
                remarks.note(resource.place(), format!("passed over: a resource of type {}", other.escape_debug()));
                continue;
            }
        };
        reader(&parts.need("Properties")?, Some(name), findings, remarks)?;
    }
    Ok(())
}

/// An identifier, or the name of the resource in the same template that it is taken from.
fn reference(node: &Node<'_>) -> Result<String, ImportError> {
    if !node.value().is_object() {
        return node.text().map(str::to_owned);
    }
    let mut fields = node.fields()?;
    if let Some(name) = fields.take("Ref") {
        return name.text().map(str::to_owned);
    }
    // { "Fn::GetAtt": ["Filter", "TrafficMirrorFilterId"] }
    let parts = fields.need("Fn::GetAtt")?.items()?;
    let name = parts.first().ok_or_else(|| node.refused("a reference to a resource"))?;
    name.text().map(str::to_owned)
}

fn session(
    node: &Node<'_>,
    resource: Option<&str>,
    findings: &mut Findings,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let mut sources = Vec::new();
    for source in fields.need("TrafficMirrorSourceIds")?.items()? {
        let id = source.text()?.to_owned();
        sources.push(FoundSource::of(SourceKind::Interface, id, source.place()));
    }
    let target = fields.need("TrafficMirrorTargetId")?;
    let endpoint = target.text()?.to_owned();
    findings.add_target(FoundTarget::of(&endpoint, target.place()));
    for (field, fine) in [("TrafficMirrorSessionStatus", "Created"), ("TrafficMirrorSessionBusinessStatus", "Normal")] {
        if let Some(status) = fields.take(field).filter(|status| status.value() != fine) {
            let text = format!("the session is {} there; here it is what Enabled says", status.text()?.escape_debug());
            remarks.note(status.place(), text);
        }
    }
    findings.sessions.push(FoundSession {
        id: fields.text("TrafficMirrorSessionId")?.or(resource).map(str::to_owned),
        name: fields.owned("TrafficMirrorSessionName")?,
        description: fields.owned("TrafficMirrorSessionDescription")?,
        number: Some(fields.need("Priority")?.number_up_to(u32::MAX)?),
        sources,
        filter: Some(reference(&fields.need("TrafficMirrorFilterId")?)?),
        target: endpoint,
        vni: fields.number("VirtualNetworkId", 0xff_ffff)?,
        length: fields.number("PacketLength", u32::MAX)?,
        enabled: fields.truth("Enabled")?,
        place: node.place().clone(),
    });
    fields.pass(&["TrafficMirrorTargetType", "CreationTime", "ResourceGroupId", "Tags", "Tag"]);
    fields.finish(remarks);
    Ok(())
}

fn filter(
    node: &Node<'_>,
    resource: Option<&str>,
    findings: &mut Findings,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let mut filter = FoundFilter::new(node.place().clone());
    filter.id = fields.text("TrafficMirrorFilterId")?.or(resource).map(str::to_owned);
    filter.name = fields.owned("TrafficMirrorFilterName")?;
    filter.description = fields.owned("TrafficMirrorFilterDescription")?;
    put_lists(&mut fields, ("IngressRules", "EgressRules"), &mut filter, |item, _| rule(item, remarks))?;
    findings.filters.push(filter);
    fields.pass(&["TrafficMirrorFilterStatus", "CreationTime", "ResourceGroupId", "Tags", "Tag"]);
    fields.finish(remarks);
    Ok(())
}

fn rule(node: &Node<'_>, remarks: &mut Remarks) -> Result<RuleDocument, ImportError> {
    const ACTIONS: [(&str, Action); 2] = [("accept", Action::Accept), ("drop", Action::Reject)];
    let mut fields = node.fields()?;
    let mut rule = RuleDocument {
        number: Some(fields.need("Priority")?.number_up_to(u32::MAX)?),
        action: Some(word(&fields.need("Action")?, &ACTIONS)?),
        protocol: protocol(&fields.need("Protocol")?)?.into_iter().collect(),
        ..RuleDocument::default()
    };
    rule.source.extend(fields.network("SourceCidrBlock")?);
    rule.destination.extend(fields.network("DestinationCidrBlock")?);
    rule.source_ports = ports_of(&mut fields, "SourcePortRange")?;
    rule.destination_ports = ports_of(&mut fields, "DestinationPortRange")?;
    if let Some(said) = fields.take("IpVersion").filter(|said| said.value() != "") {
        set_family(&mut rule, family(&said)?, said.place())?;
    }
    fields.pass(&[
        "TrafficDirection",
        "TrafficMirrorFilterRuleId",
        "TrafficMirrorFilterRuleStatus",
        "TrafficMirrorFilterId",
    ]);
    fields.finish(remarks);
    Ok(rule)
}
