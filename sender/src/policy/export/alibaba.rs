//! Alibaba Cloud: a template of Resource Orchestration Service.

use serde_json::{Map, Value, json};
use vxtap_wire::IpVersion;

use super::super::{Action, Direction, PortRange, Protocol, VniDocument};
use super::flat::FlatRule;
use super::{Export, object};

pub(super) fn write(export: &mut Export<'_>) {
    let policy = export.policy;
    let mut resources = Map::new();
    for (at, filter) in policy.filters.iter().enumerate() {
        let mut rules = |direction| -> Vec<Value> {
            let flat = export.flat(filter, at, direction, FlatRule::addressed);
            flat.iter().filter_map(|rule| rule_value(export, at, direction, rule)).collect()
        };
        let (inbound, outbound) = (rules(Direction::Inbound), rules(Direction::Outbound));
        let list = |rules: Vec<Value>| (!rules.is_empty()).then(|| Value::from(rules));
        let properties = object([
            ("TrafficMirrorFilterName", Some(filter.name.as_str().into())),
            ("TrafficMirrorFilterDescription", filter.description.clone().map(Value::from)),
            ("IngressRules", list(inbound)),
            ("EgressRules", list(outbound)),
        ]);
        let resource = json!({"Type": "ALIYUN::VPC::TrafficMirrorFilter", "Properties": properties});
        resources.insert(format!("Filter{:03}", at + 1), resource);
    }
    for (at, session) in policy.sessions.iter().enumerate() {
        let filter = policy.filters.iter().position(|filter| Some(&filter.name) == session.filter.as_ref());
        let reference =
            filter.map(|at| json!({"Fn::GetAtt": [format!("Filter{:03}", at + 1), "TrafficMirrorFilterId"]}));
        let target = export.target_id(&session.target);
        let kind = match target {
            _ if target.starts_with("eni-") => "NetworkInterface",
            _ => "SLB",
        };
        let sources: Vec<&str> = session.source.iter().map(|source| export.source_id(source)).collect();
        let vni = match session.vni {
            Some(VniDocument::Is(vni)) => Some(vni),
            Some(VniDocument::Auto) | None => None,
        };
        let properties = object([
            ("TrafficMirrorSessionName", Some(session.name.as_str().into())),
            ("TrafficMirrorSessionDescription", session.description.clone().map(Value::from)),
            ("TrafficMirrorFilterId", reference),
            ("TrafficMirrorSourceIds", Some(sources.into())),
            ("TrafficMirrorTargetId", Some(target.into())),
            ("TrafficMirrorTargetType", Some(kind.into())),
            ("Priority", session.number.map(Value::from)),
            ("VirtualNetworkId", vni.map(Value::from)),
            ("PacketLength", session.length.map(Value::from)),
            ("Enabled", session.enabled.map(Value::from)),
        ]);
        let resource = json!({"Type": "ALIYUN::VPC::TrafficMirrorSession", "Properties": properties});
        resources.insert(format!("Session{:03}", at + 1), resource);
    }
    export.document(
        "template.json".to_owned(),
        json!({"ROSTemplateFormatVersion": "2015-09-01", "Resources": resources}),
    );
    export.commands.push(
        "# REGION comes from the environment.\n\
         aliyun ros CreateStack --RegionId \"$REGION\" --StackName vxtap --TemplateBody \"$(cat template.json)\""
            .to_owned(),
    );
}

fn rule_value(export: &mut Export<'_>, at: usize, direction: Direction, rule: &FlatRule) -> Option<Value> {
    let about = format!("filter[{at}].{direction}");
    if rule.families() == [IpVersion::V6] {
        // Less is mirrored without the rule if it accepts; if it rejects, nothing of IPv6 is mirrored anyway.
        export.lack(about, "a template has no rules for IPv6: they are left out");
        return None;
    }
    let mut any_port = false;
    let protocol = match rule.protocol {
        None => "ALL",
        Some(Protocol::TCP) => "TCP",
        Some(Protocol::UDP) => "UDP",
        Some(Protocol::ICMP) => "ICMP",
        Some(other) if rule.action == Action::Accept => {
            export.lack(about, format!("the cloud has no rules for {other}: one that accepts it is left out"));
            return None;
        }
        Some(other) => {
            export.lack(about, format!("the cloud has no rules for {other}: one that rejects it rejects all"));
            any_port = true;
            "ALL"
        }
    };
    if let Some(description) = &rule.description {
        export.lack(format!("filter[{at}].{direction}"), format!("rules have no description there: '{description}'"));
    }
    let ports = |ports: Option<PortRange>| {
        ports.filter(|_| !any_port).map(|ports| Value::from(format!("{}/{}", ports.first(), ports.last())))
    };
    Some(object([
        ("Priority", rule.number.map(Value::from)),
        ("Action", Some(if rule.action == Action::Accept { "accept" } else { "drop" }.into())),
        ("Protocol", Some(protocol.into())),
        ("SourceCidrBlock", rule.source.map(|network| Value::from(network.to_string()))),
        ("DestinationCidrBlock", rule.destination.map(|network| Value::from(network.to_string()))),
        ("SourcePortRange", ports(rule.source_ports)),
        ("DestinationPortRange", ports(rule.destination_ports)),
    ]))
}
