//! Huawei Cloud: request bodies of the VPC API v3, sent with curl.

use serde_json::{Value, json};
use vxtap_wire::IpVersion;

use super::super::{Action, Direction, PortRange, Protocol, VniDocument};
use super::flat::FlatRule;
use super::{Export, object};

pub(super) fn write(export: &mut Export<'_>) {
    let policy = export.policy;
    export.commands.push(
        "# REGION, PROJECT_ID and TOKEN (of IAM) come from the environment; jq puts identifiers in the place of names.\n\
         url=\"https://vpc.$REGION.myhuaweicloud.com/v3/$PROJECT_ID/vpc\"\n\
         post() { curl -fsS -X POST -H \"X-Auth-Token: $TOKEN\" -H 'Content-Type: application/json' -d @- \"$url/$1\"; }"
            .to_owned(),
    );
    for (at, filter) in policy.filters.iter().enumerate() {
        let number = at + 1;
        let file = format!("filter-{number}.json");
        export
            .commands
            .push(format!("filter_{number}=$(post traffic-mirror-filters < {file} | jq -r .traffic_mirror_filter.id)"));
        let value = object([
            ("name", Some(filter.name.as_str().into())),
            ("description", filter.description.clone().map(Value::from)),
        ]);
        export.document(file, json!({"traffic_mirror_filter": value}));
        let mut rule_number = 0;
        for direction in Direction::BOTH {
            for rule in export.flat(filter, at, direction, one_family_each) {
                let Some(value) = rule_value(export, at, direction, &rule, &filter.name) else { continue };
                rule_number += 1;
                let file = format!("filter-{number}-rule-{rule_number}.json");
                export.commands.push(format!(
                    "jq --arg id \"$filter_{number}\" '.traffic_mirror_filter_rule.traffic_mirror_filter_id = $id' {file} \
                     | post traffic-mirror-filter-rules"
                ));
                export.document(file, json!({"traffic_mirror_filter_rule": value}));
            }
        }
    }
    for (at, session) in policy.sessions.iter().enumerate() {
        let filter = session.filter.as_deref().unwrap_or_default();
        let filter_number = policy.filters.iter().position(|known| known.name == filter).map_or(0, |at| at + 1);
        let target = export.target_id(&session.target);
        // An import has the kind in front of the identifier, which does not tell it.
        let (kind, target) = target.split_once(' ').unwrap_or(("eni", target));
        let sources: Vec<&str> = session.source.iter().map(|source| export.source_id(source)).collect();
        let vni = match session.vni {
            Some(VniDocument::Is(vni)) => Some(vni.to_string()),
            Some(VniDocument::Auto) => {
                export.lack(format!("session[{at}].vni"), "the cloud takes VNI 1 where none is given");
                None
            }
            None => None,
        };
        let value = object([
            ("name", Some(session.name.as_str().into())),
            ("description", session.description.clone().map(Value::from)),
            ("traffic_mirror_filter_id", Some(filter.into())),
            ("traffic_mirror_sources", Some(sources.into())),
            ("traffic_mirror_target_id", Some(target.into())),
            ("traffic_mirror_target_type", Some(kind.into())),
            // The API has these as text in requests.
            ("virtual_network_id", vni.map(Value::from)),
            ("packet_length", session.length.map(|length| Value::from(length.to_string()))),
            ("priority", session.number.map(Value::from)),
            ("enabled", session.enabled.map(|enabled| Value::from(enabled.to_string()))),
        ]);
        let file = format!("session-{}.json", at + 1);
        export.commands.push(format!(
            "jq --arg id \"$filter_{filter_number}\" '.traffic_mirror_session.traffic_mirror_filter_id = $id' {file} \
             | post traffic-mirror-sessions"
        ));
        export.document(file, json!({"traffic_mirror_session": value}));
    }
}

/// A rule has one family there.
fn one_family_each(rule: &FlatRule) -> Vec<FlatRule> {
    rule.families().into_iter().map(|family| FlatRule { family: Some(family), ..rule.clone() }).collect()
}

fn rule_value(
    export: &mut Export<'_>,
    at: usize,
    direction: Direction,
    rule: &FlatRule,
    filter: &str,
) -> Option<Value> {
    let mut any_port = false;
    let protocol = match rule.protocol {
        None => "ALL",
        Some(Protocol::TCP) => "TCP",
        Some(Protocol::UDP) => "UDP",
        Some(Protocol::ICMP) => "ICMP",
        Some(Protocol::ICMPV6) => "ICMPV6",
        Some(other) => {
            let about = format!("filter[{at}].{direction}");
            match rule.action {
                Action::Accept => {
                    export.lack(about, format!("the cloud has no rules for {other}: one that accepts it is left out"));
                    return None;
                }
                Action::Reject | Action::Next => {
                    export.lack(about, format!("the cloud has no rules for {other}: one that rejects it rejects all"));
                    any_port = true;
                    "ALL"
                }
            }
        }
    };
    let ports = |ports: Option<PortRange>| {
        ports.filter(|_| !any_port).map(|ports| Value::from(format!("{}-{}", ports.first(), ports.last())))
    };
    Some(object([
        ("traffic_mirror_filter_id", Some(filter.into())),
        ("direction", Some(if direction == Direction::Inbound { "ingress" } else { "egress" }.into())),
        ("priority", rule.number.map(Value::from)),
        ("action", Some(if rule.action == Action::Accept { "accept" } else { "reject" }.into())),
        ("protocol", Some(protocol.into())),
        ("ethertype", Some(if rule.family == Some(IpVersion::V6) { "IPv6" } else { "IPv4" }.into())),
        ("source_cidr_block", rule.source.map(|network| Value::from(network.to_string()))),
        ("destination_cidr_block", rule.destination.map(|network| Value::from(network.to_string()))),
        ("source_port_range", ports(rule.source_ports)),
        ("destination_port_range", ports(rule.destination_ports)),
        ("description", rule.description.clone().map(Value::from)),
    ]))
}
