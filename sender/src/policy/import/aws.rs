//! AWS: `aws ec2 describe-traffic-mirror-{sessions,filters,filter-rules,targets}`, and the inputs of `create-…`.
//!
//! Field names are those of the EC2 API. `describe-network-interfaces` and `elbv2 describe-load-balancers` tell addresses.

use super::super::{Direction, NetworkService, Ports, Provider, RuleDocument};
use super::document::{Fields, Node};
use super::findings::{Findings, FoundFilter, FoundRule, FoundSession, FoundSource, FoundTarget, SourceKind, goes_on};
use super::rules::{ACCEPT_OR_REJECT, direction, port_object, protocol, put_lists, word};
use super::{ImportError, Remarks};

/// The packet length of a session with a network load balancer as its target, where it says none. To other targets whole packets go.
pub(in crate::policy) const LOAD_BALANCER_LENGTH: u32 = 8_500;

/// Lists and single objects by the names that answers have for them.
type Reader = fn(&Node<'_>, &mut Findings, &mut Remarks) -> Result<(), ImportError>;
const LISTS: [(&str, Reader); 10] = [
    ("TrafficMirrorSessions", session),
    ("TrafficMirrorSession", session),
    ("TrafficMirrorFilters", filter),
    ("TrafficMirrorFilter", filter),
    ("TrafficMirrorFilterRules", rule),
    ("TrafficMirrorFilterRule", rule),
    ("TrafficMirrorTargets", target),
    ("TrafficMirrorTarget", target),
    ("NetworkInterfaces", network_interface),
    ("LoadBalancers", load_balancer),
];

pub(super) fn read(document: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    findings.is_for(Provider::Aws, document.place())?;
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
    if wrapped {
        if let Some(token) = fields.take("NextToken") {
            goes_on(token.place(), remarks);
        }
        fields.pass(&["ResponseMetadata", "ClientToken"]);
        fields.finish(remarks);
        return Ok(());
    }
    single(&fields)(document, findings, remarks)
}

/// What a document is that has no list: the input of a `create-…` command, or an item by itself.
fn single(fields: &Fields<'_>) -> Reader {
    if fields.has("SessionNumber") {
        session
    } else if fields.has("RuleNumber") {
        rule
    } else if fields.has("NetworkInterfaceId")
        || fields.has("NetworkLoadBalancerArn")
        || fields.has("GatewayLoadBalancerEndpointId")
    {
        target
    } else {
        filter
    }
}

fn session(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let name = name_tag(node)?;
    let interface = fields.need("NetworkInterfaceId")?;
    let source = FoundSource::of(SourceKind::Interface, interface.text()?, interface.place());
    findings.sessions.push(FoundSession {
        id: fields.owned("TrafficMirrorSessionId")?,
        name,
        description: fields.owned("Description")?,
        number: Some(fields.need("SessionNumber")?.number_up_to(u32::MAX)?),
        sources: vec![source],
        filter: Some(fields.need("TrafficMirrorFilterId")?.text()?.to_owned()),
        target: fields.need("TrafficMirrorTargetId")?.text()?.to_owned(),
        vni: fields.number("VirtualNetworkId", 0xff_ffff)?,
        length: fields.number("PacketLength", u32::MAX)?,
        enabled: None,
        place: node.place().clone(),
    });
    fields.pass(&["OwnerId", "Tags", "TagSpecifications", "ClientToken", "DryRun"]);
    fields.finish(remarks);
    Ok(())
}

fn filter(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let id = fields.owned("TrafficMirrorFilterId")?;
    let mut services = Vec::new();
    let listed = [fields.take("NetworkServices"), fields.take("AddNetworkServices")];
    let is_addition = listed[1].is_some();
    for service in listed.into_iter().flatten() {
        for service in service.items()? {
            match service.text()? {
                "amazon-dns" => services.push(NetworkService::AmazonDns),
                other => remarks.lost(service.place(), format!("left out: the network service '{other}' is not known")),
            }
        }
    }
    let earlier = id.as_ref().and_then(|id| {
        let named = |filter: &&mut FoundFilter| filter.id.as_ref() == Some(id) || filter.name.as_ref() == Some(id);
        findings.filters.iter_mut().find(named)
    });
    if is_addition && let Some(filter) = earlier {
        filter.services.extend(services);
    } else {
        let mut filter = FoundFilter::new(node.place().clone());
        filter.id = id;
        filter.name = name_tag(node)?;
        filter.description = fields.owned("Description")?;
        filter.services = services;
        filter.is_addition = is_addition;
        // What was added to it may have come first, as files are sorted by name.
        let is_of_it = |earlier: &mut FoundFilter| {
            earlier.is_addition && earlier.id.is_some() && (earlier.id == filter.id || earlier.id == filter.name)
        };
        let additions: Vec<_> = findings.filters.extract_if(.., is_of_it).collect();
        filter.services.extend(additions.into_iter().flat_map(|addition| addition.services));
        put_lists(&mut fields, ("IngressFilterRules", "EgressFilterRules"), &mut filter, |item, direction| {
            rule_of(item, Some(direction), remarks).map(|(_, rule)| rule)
        })?;
        findings.filters.push(filter);
    }
    fields.pass(&["Tags", "TagSpecifications", "ClientToken", "DryRun"]);
    fields.finish(remarks);
    Ok(())
}

fn rule(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let filter = node.fields()?.need("TrafficMirrorFilterId")?.text()?.to_owned();
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
    let direction = direction(&mut fields, "TrafficDirection", listed)?;
    let mut rule = RuleDocument {
        number: Some(fields.need("RuleNumber")?.number_up_to(u32::MAX)?),
        action: Some(word(&fields.need("RuleAction")?, &ACCEPT_OR_REJECT)?),
        protocol: fields.take("Protocol").map(|node| protocol(&node)).transpose()?.flatten().into_iter().collect(),
        description: fields.owned("Description")?,
        ..RuleDocument::default()
    };
    rule.source.extend(fields.network("SourceCidrBlock")?);
    rule.destination.extend(fields.network("DestinationCidrBlock")?);
    let range = |node: Option<Node<'_>>| node.map(|node| port_object(&node, "FromPort", "ToPort")).transpose();
    rule.source_ports = Ports(range(fields.take("SourcePortRange"))?.into_iter().collect());
    rule.destination_ports = Ports(range(fields.take("DestinationPortRange"))?.into_iter().collect());
    fields.pass(&[
        "TrafficMirrorFilterRuleId",
        "TrafficMirrorFilterId",
        "Tags",
        "TagSpecifications",
        "ClientToken",
        "DryRun",
    ]);
    fields.finish(remarks);
    Ok((direction, rule))
}

fn target(node: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let id = fields.owned("TrafficMirrorTargetId")?;
    let endpoint = ["NetworkInterfaceId", "NetworkLoadBalancerArn", "GatewayLoadBalancerEndpointId"]
        .into_iter()
        .find_map(|name| fields.take(name).map(|endpoint| (name, endpoint)));
    let Some((kind, endpoint)) = endpoint else {
        return Err(ImportError::Missing {
            place: node.place().clone(),
            field: "NetworkInterfaceId, NetworkLoadBalancerArn or GatewayLoadBalancerEndpointId".to_owned(),
        });
    };
    if kind == "GatewayLoadBalancerEndpointId" {
        remarks.note(
            endpoint.place(),
            "AWS sends GENEVE around VXLAN to a gateway load balancer; vxtap-sender sends VXLAN to the address that you give",
        );
    }
    let default_length = (kind == "NetworkLoadBalancerArn").then_some(LOAD_BALANCER_LENGTH);
    let found = FoundTarget::of(endpoint.text()?, endpoint.place());
    findings.targets.push(FoundTarget { id, name: name_tag(node)?, default_length, ..found });
    if let Some(description) = fields.take("Description") {
        // The target's own description is where its identifier has to be.
        remarks.note(description.place(), format!("not kept: {}", super::document::shown(description.value())));
    }
    fields.pass(&["Type", "OwnerId", "Tags", "TagSpecifications", "ClientToken", "DryRun"]);
    fields.finish(remarks);
    Ok(())
}

fn network_interface(node: &Node<'_>, findings: &mut Findings, _: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let id = fields.need("NetworkInterfaceId")?.text()?;
    if let Some(address) = fields.text("PrivateIpAddress")? {
        findings.locate(id, address);
    } else if let Some(addresses) = fields.take("Ipv6Addresses")
        && let Some(first) = addresses.items()?.first()
    {
        findings.locate(id, first.fields()?.need("Ipv6Address")?.text()?);
    }
    Ok(())
}

fn load_balancer(node: &Node<'_>, findings: &mut Findings, _: &mut Remarks) -> Result<(), ImportError> {
    let mut fields = node.fields()?;
    let id = fields.need("LoadBalancerArn")?.text()?;
    if let Some(name) = fields.text("DNSName")? {
        findings.locate(id, name);
    }
    Ok(())
}

/// The name that an object is tagged with, also in the input of a `create-…` command.
fn name_tag(node: &Node<'_>) -> Result<Option<String>, ImportError> {
    let mut fields = node.fields()?;
    let mut lists: Vec<Node<'_>> = fields.take("Tags").into_iter().collect();
    for specification in fields.list("TagSpecifications")? {
        lists.extend(specification.fields()?.take("Tags"));
    }
    for list in lists {
        for tag in list.items()? {
            let mut tag = tag.fields()?;
            if tag.text("Key")? == Some("Name") {
                return Ok(tag.text("Value")?.map(str::to_owned));
            }
        }
    }
    Ok(None)
}
