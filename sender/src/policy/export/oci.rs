//! Oracle Cloud: inputs of `oci network capture-filter create` and `oci network vtap create`, `--from-json`.

use serde_json::{Value, json};

use super::super::{Action, Direction, PortRange, Protocol, VniDocument};
use super::flat::FlatRule;
use super::{Export, object};

pub(super) fn write(export: &mut Export<'_>) {
    let policy = export.policy;
    export.commands.push("# COMPARTMENT and VCN, their OCIDs, come from the environment.".to_owned());
    for (at, filter) in policy.filters.iter().enumerate() {
        let number = at + 1;
        let mut rules = Vec::new();
        for direction in Direction::BOTH {
            let flat = export.flat(filter, at, direction, |rule| vec![rule.clone()]);
            rules.extend(flat.iter().filter_map(|rule| rule_value(export, at, direction, rule)));
        }
        if let Some(description) = &filter.description {
            export.lack(format!("filter[{at}].description"), format!("left out: '{description}'"));
        }
        let file = format!("filter-{number}.json");
        export.commands.push(format!(
            "filter_{number}=$(oci network capture-filter create --from-json file://{file} --compartment-id \"$COMPARTMENT\" \
             --query data.id --raw-output)"
        ));
        export
            .document(file, json!({"displayName": filter.name, "filterType": "VTAP", "vtapCaptureFilterRules": rules}));
    }
    let mut number = 0;
    for (at, session) in policy.sessions.iter().enumerate() {
        let filter = session.filter.as_deref().unwrap_or_default();
        let filter_number = policy.filters.iter().position(|known| known.name == filter).map_or(0, |at| at + 1);
        let target = export.target_id(&session.target);
        let (id, address, kind) = match target {
            _ if target.starts_with("ocid1.networkloadbalancer.") => (Some(target), None, "NETWORK_LOAD_BALANCER"),
            _ if target.starts_with("ocid1.vnic.") => (Some(target), None, "VNIC"),
            _ => (None, Some(target), "IP_ADDRESS"),
        };
        if address.is_some_and(|address| address.parse::<std::net::IpAddr>().is_err()) {
            let text = format!("'{target}' is no OCID of a VNIC or a network load balancer, and no address");
            export.lack(format!("session[{at}].target"), text);
        }
        if let Some(description) = &session.description {
            export.lack(format!("session[{at}].description"), format!("left out: '{description}'"));
        }
        let vni = match session.vni {
            Some(VniDocument::Is(vni)) => Some(vni),
            Some(VniDocument::Auto) | None => None,
        };
        for (name, source) in export.one_source_each(at, session) {
            number += 1;
            let source_kind = if source.starts_with("ocid1.subnet.") { "SUBNET" } else { "VNIC" };
            if !source.starts_with("ocid1.") {
                let text = format!("'{source}' is no OCID (expected one as the source's description)");
                export.lack(format!("session[{at}].source"), text);
            }
            let file = format!("session-{number}.json");
            export.commands.push(format!(
                "oci network vtap create --from-json file://{file} --compartment-id \"$COMPARTMENT\" --vcn-id \"$VCN\" \
                 --capture-filter-id \"$filter_{filter_number}\""
            ));
            let value = object([
                ("displayName", Some(name.into())),
                ("sourceId", Some(source.into())),
                ("sourceType", Some(source_kind.into())),
                ("targetId", id.map(Value::from)),
                ("targetIp", address.map(Value::from)),
                ("targetType", Some(kind.into())),
                ("captureFilterId", Some(filter.into())),
                ("encapsulationProtocol", Some("VXLAN".into())),
                ("vxlanNetworkIdentifier", vni.map(Value::from)),
                ("maxPacketSize", session.length.map(Value::from)),
                ("isVtapEnabled", session.enabled.map(Value::from)),
            ]);
            export.document(file, value);
        }
    }
}

fn rule_value(export: &mut Export<'_>, at: usize, direction: Direction, rule: &FlatRule) -> Option<Value> {
    let known = [Protocol::ICMP, Protocol::TCP, Protocol::UDP, Protocol::ICMPV6];
    let mut protocol = rule.protocol;
    if let Some(other) = protocol.filter(|protocol| !known.contains(protocol)) {
        let about = format!("filter[{at}].{direction}");
        if rule.action == Action::Accept {
            export.lack(about, format!("the cloud has no rules for {other}: one that includes it is left out"));
            return None;
        }
        export.lack(about, format!("the cloud has no rules for {other}: one that excludes it excludes all"));
        protocol = None;
    }
    if let Some(description) = &rule.description {
        export.lack(format!("filter[{at}].{direction}"), format!("rules have no description there: '{description}'"));
    }
    let range = |ports: Option<PortRange>| ports.map(|ports| json!({"min": ports.first(), "max": ports.last()}));
    let ports = object([
        ("sourcePortRange", range(rule.source_ports)),
        ("destinationPortRange", range(rule.destination_ports)),
    ]);
    let ports = ports.as_object().is_some_and(|ports| !ports.is_empty()).then_some(ports);
    // A family without addresses is said by the addresses of all of it.
    let all = rule.family.filter(|_| rule.source.is_none() && rule.destination.is_none()).map(super::flat::everything);
    let network = |network: Option<ipnet::IpNet>| network.map(|network| Value::from(network.to_string()));
    Some(object([
        ("trafficDirection", Some(if direction == Direction::Inbound { "INGRESS" } else { "EGRESS" }.into())),
        ("ruleAction", Some(if rule.action == Action::Accept { "INCLUDE" } else { "EXCLUDE" }.into())),
        ("sourceCidr", network(rule.source.or(all))),
        ("destinationCidr", network(rule.destination)),
        ("protocol", protocol.map(|protocol| Value::from(protocol.0.to_string()))),
        ("tcpOptions", ports.clone().filter(|_| protocol == Some(Protocol::TCP))),
        ("udpOptions", ports.filter(|_| protocol == Some(Protocol::UDP))),
    ]))
}
