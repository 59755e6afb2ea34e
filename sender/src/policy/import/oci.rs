//! Oracle Cloud: `oci network vtap` and `oci network capture-filter`, `list` or `get`, and the inputs of `create`.
//!
//! The command line prints names with dashes around a `data`, SDKs have them in camel case and Terraform with underscores: all
//! are read. `oci network vnic get`, `subnet get` and `oci nlb network-load-balancer get` tell addresses.

use super::super::{Action, Direction, PortRange, Ports, Protocol, Provider, RuleDocument};
use super::document::{Fields, Node};
use super::findings::{Findings, FoundFilter, FoundSession, FoundSource, FoundTarget, SourceKind, goes_on};
use super::rules::{port_object, protocol, word};
use super::{ImportError, Remarks};

pub(super) fn read(document: &Node<'_>, findings: &mut Findings, remarks: &mut Remarks) -> Result<(), ImportError> {
    findings.is_for(Provider::Oci, document.place())?;
    let mut fields = match document.value() {
        serde_json::Value::Array(_) => {
            return document.items()?.iter().try_for_each(|item| read(item, findings, remarks));
        }
        _ => document.fields()?,
    };
    if let Some(data) = fields.take("data") {
        if let Some(page) = fields.take("opc-next-page") {
            goes_on(page.place(), remarks);
        }
        fields.pass(&["etag"]);
        fields.finish(remarks);
        return match data.value().get("items") {
            // Network load balancers come as a collection.
            Some(_) => read(&data.fields()?.need("items")?, findings, remarks),
            None => read(&data, findings, remarks),
        };
    }
    if fields.has("capture-filter-id") {
        session(document, fields, findings, remarks)
    } else if fields.has("vtap-capture-filter-rules") || fields.has("filter-type") {
        filter(document, fields, findings, remarks)
    } else {
        whereabouts(fields, findings)
    }
}

/// An interface, a subnet or a load balancer.
fn whereabouts(mut fields: Fields<'_>, findings: &mut Findings) -> Result<(), ImportError> {
    let id = fields.need("id")?.text()?;
    if let Some(address) = fields.text("private-ip")? {
        findings.locate(id, address);
    } else if let Some(network) = fields.text("cidr-block")? {
        findings.locate(id, network);
    } else if let Some(addresses) = fields.take("ip-addresses")
        && let Some(first) = addresses.items()?.first()
    {
        findings.locate(id, first.fields()?.need("ip-address")?.text()?);
    }
    Ok(())
}

fn session(
    node: &Node<'_>,
    mut fields: Fields<'_>,
    findings: &mut Findings,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    let name = fields.owned("display-name")?;
    let state = fields.text("lifecycle-state")?.unwrap_or_default();
    if state.starts_with("TERMINAT") {
        let text = format!("passed over: the VTAP {} is {state}", name.as_deref().unwrap_or_default().escape_debug());
        remarks.note(node.place(), text);
        return Ok(());
    }
    let source = fields.need("source-id")?;
    let kind = match fields.take("source-type") {
        None => SourceKind::Interface,
        Some(said) => match said.text()? {
            "VNIC" => SourceKind::Interface,
            "SUBNET" => SourceKind::Subnet,
            other => {
                let text =
                    format!("a source of type {} is no interface of a host: here it is a tag", other.escape_debug());
                remarks.lost(said.place(), text);
                SourceKind::Tag
            }
        },
    };
    let source = FoundSource::of(kind, source.text()?, source.place());
    let (id, address) = (fields.text("target-id")?, fields.text("target-ip")?);
    let Some(endpoint) = id.or(address).map(str::to_owned) else {
        return Err(ImportError::Missing { place: node.place().clone(), field: "target-id".to_owned() });
    };
    let place = node.place().field(if id.is_some() { "target-id" } else { "target-ip" });
    findings.add_target(FoundTarget { address: address.map(str::to_owned), ..FoundTarget::of(&endpoint, &place) });
    if let Some(mode) = fields.take("traffic-mode").filter(|mode| mode.value() != "DEFAULT") {
        remarks.lost(mode.place(), format!("left out: traffic mode {}", super::document::shown(mode.value())));
    }
    if let Some(protocol) = fields.take("encapsulation-protocol").filter(|protocol| protocol.value() != "VXLAN") {
        return Err(protocol.refused("VXLAN, the only encapsulation of a VTAP"));
    }
    findings.sessions.push(FoundSession {
        id: fields.owned("id")?,
        name,
        description: None,
        number: None,
        sources: vec![source],
        filter: Some(fields.need("capture-filter-id")?.text()?.to_owned()),
        target: endpoint,
        vni: fields.number("vxlan-network-identifier", 0xff_ffff)?,
        length: fields.number("max-packet-size", u32::MAX)?,
        enabled: fields.truth("is-vtap-enabled")?,
        place: node.place().clone(),
    });
    fields.pass(&[
        "compartment-id",
        "vcn-id",
        "defined-tags",
        "freeform-tags",
        "system-tags",
        "lifecycle-state-details",
        "time-created",
        "target-type",
        "source-private-endpoint-ip",
        "source-private-endpoint-subnet-id",
    ]);
    fields.finish(remarks);
    Ok(())
}

fn filter(
    node: &Node<'_>,
    mut fields: Fields<'_>,
    findings: &mut Findings,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    let mut filter = FoundFilter::new(node.place().clone());
    filter.id = fields.owned("id")?;
    filter.name = fields.owned("display-name")?;
    if fields.text("filter-type")?.is_some_and(|kind| kind != "VTAP") {
        remarks.note(node.place(), "passed over: a capture filter of flow logs, not of a VTAP");
        return Ok(());
    }
    for item in fields.list("vtap-capture-filter-rules")? {
        if let Some((direction, rule)) = rule(&item, remarks)? {
            filter.rules(direction).push(rule);
        }
    }
    findings.filters.push(filter);
    fields.pass(&[
        "compartment-id",
        "defined-tags",
        "freeform-tags",
        "system-tags",
        "lifecycle-state",
        "time-created",
        "flow-log-capture-filter-rules",
    ]);
    fields.finish(remarks);
    Ok(())
}

/// A rule; `None` where it accepts something narrower than a policy can say.
fn rule(node: &Node<'_>, remarks: &mut Remarks) -> Result<Option<(Direction, RuleDocument)>, ImportError> {
    const DIRECTIONS: [(&str, Direction); 2] = [("INGRESS", Direction::Inbound), ("EGRESS", Direction::Outbound)];
    const ACTIONS: [(&str, Action); 2] = [("INCLUDE", Action::Accept), ("EXCLUDE", Action::Reject)];
    let mut fields = node.fields()?;
    let direction = word(&fields.need("traffic-direction")?, &DIRECTIONS)?;
    // The API does not require it and documents no default: what is listed is to be mirrored.
    let action = fields.take("rule-action").map(|node| word(&node, &ACTIONS)).transpose()?.unwrap_or(Action::Accept);
    let mut rule = RuleDocument { action: Some(action), ..RuleDocument::default() };
    rule.protocol.extend(fields.take("protocol").map(|node| protocol(&node)).transpose()?.flatten());
    rule.source.extend(fields.network("source-cidr")?);
    rule.destination.extend(fields.network("destination-cidr")?);
    for (name, protocol) in [("tcp-options", Protocol::TCP), ("udp-options", Protocol::UDP)] {
        let Some(options) = fields.take(name) else { continue };
        let mut ranges = options.fields()?;
        let range = |node: Option<Node<'_>>| -> Result<Vec<PortRange>, ImportError> {
            Ok(node.map(|node| port_object(&node, "min", "max")).transpose()?.into_iter().collect())
        };
        let (source, destination) = (ranges.take("source-port-range"), ranges.take("destination-port-range"));
        if (source.is_some() || destination.is_some()) && rule.protocol != [protocol] {
            return Err(options.refused(&format!("no ports of {protocol} in a rule for another protocol")));
        }
        rule.source_ports = Ports(range(source)?);
        rule.destination_ports = Ports(range(destination)?);
        ranges.finish(remarks);
    }
    let icmp = fields.take("icmp-options");
    fields.finish(remarks);
    let Some(icmp) = icmp else { return Ok(Some((direction, rule))) };
    if action == Action::Accept {
        remarks.lost(icmp.place(), "a policy has no ICMP types: the rule that includes this one is left out");
        return Ok(None);
    }
    remarks.lost(icmp.place(), "a policy has no ICMP types: the rule excludes all of its protocol");
    Ok(Some((direction, rule)))
}
