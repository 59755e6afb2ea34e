//! AWS: inputs of `aws ec2 create-traffic-mirror-{target,filter,filter-rule,session} --cli-input-json`.

use serde_json::{Value, json};

use super::super::import::LOAD_BALANCER_LENGTH;
use super::super::{Action, Direction, NetworkService, PortRange, SessionDocument, VniDocument};
use super::flat::FlatRule;
use super::{Export, object};

/// What a Gateway Load Balancer's MTU of 8500 leaves for a packet, by AWS's own count of headers.
const GATEWAY_LENGTH: u32 = 8446;
const GATEWAY_LENGTH_V6: u32 = 8426;

pub(super) fn write(export: &mut Export<'_>) {
    let policy = export.policy;
    for (at, target) in policy.targets.iter().enumerate() {
        let id = export.target_id(&target.name);
        let field = match id {
            _ if id.starts_with("arn:") => "NetworkLoadBalancerArn",
            _ if id.starts_with("vpce-") => "GatewayLoadBalancerEndpointId",
            _ => "NetworkInterfaceId",
        };
        if field == "NetworkInterfaceId" && !id.starts_with("eni-") {
            let text = format!("'{id}' is no identifier of AWS (expected eni-…, vpce-… or the ARN of a load balancer)");
            export.lack(format!("target[{at}].description"), text);
        }
        let file = format!("target-{}.json", at + 1);
        export.commands.push(created("target", at, &file, "TrafficMirrorTarget.TrafficMirrorTargetId"));
        export.document(
            file,
            object([
                (field, Some(id.into())),
                ("TagSpecifications", Some(name("traffic-mirror-target", &target.name))),
            ]),
        );
    }
    for (at, filter) in policy.filters.iter().enumerate() {
        let file = format!("filter-{}.json", at + 1);
        export.commands.push(created("filter", at, &file, "TrafficMirrorFilter.TrafficMirrorFilterId"));
        export.document(
            file,
            object([
                ("Description", filter.description.clone().map(Value::from)),
                ("TagSpecifications", Some(name("traffic-mirror-filter", &filter.name))),
            ]),
        );
        if filter.services.contains(&NetworkService::AmazonDns) {
            let file = format!("filter-{}-services.json", at + 1);
            export.commands.push(format!(
                "aws ec2 modify-traffic-mirror-filter-network-services --cli-input-json file://{file} \
                 --traffic-mirror-filter-id \"$filter_{}\"",
                at + 1
            ));
            let value = json!({"TrafficMirrorFilterId": filter.name, "AddNetworkServices": ["amazon-dns"]});
            export.document(file, value);
        }
        let mut number = 0;
        for direction in Direction::BOTH {
            for rule in export.flat(filter, at, direction, FlatRule::addressed) {
                number += 1;
                let file = format!("filter-{}-rule-{number}.json", at + 1);
                export.commands.push(format!(
                    "aws ec2 create-traffic-mirror-filter-rule --cli-input-json file://{file} \
                     --traffic-mirror-filter-id \"$filter_{}\"",
                    at + 1
                ));
                export.document(file, rule_value(&rule, &filter.name, direction));
            }
        }
    }
    sessions(export);
}

/// Tells what AWS cuts of the packets of a session that asks for whole ones. To a network interface it cuts what the path does not carry, as
/// everybody does.
fn length(export: &mut Export<'_>, at: usize, session: &SessionDocument) {
    let about = format!("session[{at}].length");
    let target = export.target_id(&session.target);
    if session.length.is_none() && target.starts_with("arn:") {
        let text = format!(
            "without it AWS cuts packets to {LOAD_BALANCER_LENGTH} bytes, its default and its most for a Network Load Balancer"
        );
        export.lack(about, text);
    } else if session.length.is_none_or(|length| length > GATEWAY_LENGTH) && target.starts_with("vpce-") {
        let text = format!(
            "a Gateway Load Balancer carries {LOAD_BALANCER_LENGTH} bytes: AWS cuts packets to {GATEWAY_LENGTH} ({GATEWAY_LENGTH_V6} over IPv6)"
        );
        export.note(about, text);
    }
}

fn sessions(export: &mut Export<'_>) {
    let policy = export.policy;
    let mut number = 0;
    for (at, session) in policy.sessions.iter().enumerate() {
        if session.enabled == Some(false) {
            export.lack(format!("session[{at}].enabled"), "AWS mirrors as soon as there is a session: it is left out");
            continue;
        }
        length(export, at, session);
        let filter = session.filter.as_deref().unwrap_or_default();
        let place = |found: Option<usize>| found.map_or(0, |at| at + 1);
        let filter_number = place(policy.filters.iter().position(|known| known.name == filter));
        let target_number = place(policy.targets.iter().position(|known| known.name == session.target));
        for (name_of_it, source) in export.one_source_each(at, session) {
            number += 1;
            if !source.starts_with("eni-") {
                let text = format!("'{source}' is no identifier of AWS (expected eni-… as the source's description)");
                export.lack(format!("session[{at}].source"), text);
            }
            let file = format!("session-{number}.json");
            export.commands.push(format!(
                "aws ec2 create-traffic-mirror-session --cli-input-json file://{file} \
                 --traffic-mirror-filter-id \"$filter_{filter_number}\" --traffic-mirror-target-id \"$target_{target_number}\""
            ));
            let vni = match session.vni {
                Some(VniDocument::Is(vni)) => Some(vni),
                Some(VniDocument::Auto) | None => None,
            };
            let value = object([
                ("NetworkInterfaceId", Some(source.into())),
                ("TrafficMirrorFilterId", Some(filter.into())),
                ("TrafficMirrorTargetId", Some(session.target.as_str().into())),
                ("SessionNumber", session.number.map(Value::from)),
                ("VirtualNetworkId", vni.map(Value::from)),
                ("PacketLength", session.length.map(Value::from)),
                ("Description", session.description.clone().map(Value::from)),
                ("TagSpecifications", Some(name("traffic-mirror-session", &name_of_it))),
            ]);
            export.document(file, value);
        }
    }
}

/// The command that makes an object and keeps its identifier.
fn created(what: &str, at: usize, file: &str, query: &str) -> String {
    format!(
        "{what}_{}=$(aws ec2 create-traffic-mirror-{what} --cli-input-json file://{file} --query {query} --output text)",
        at + 1
    )
}

fn name(kind: &str, name: &str) -> Value {
    json!([{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}])
}

fn rule_value(rule: &FlatRule, filter: &str, direction: Direction) -> Value {
    let range =
        |range: Option<PortRange>| range.map(|range| json!({"FromPort": range.first(), "ToPort": range.last()}));
    object([
        ("TrafficMirrorFilterId", Some(filter.into())),
        ("TrafficDirection", Some(if direction == Direction::Inbound { "ingress" } else { "egress" }.into())),
        ("RuleNumber", rule.number.map(Value::from)),
        ("RuleAction", Some(if rule.action == Action::Accept { "accept" } else { "reject" }.into())),
        ("Protocol", rule.protocol.map(|protocol| Value::from(protocol.0))),
        ("SourceCidrBlock", rule.source.map(|network| Value::from(network.to_string()))),
        ("DestinationCidrBlock", rule.destination.map(|network| Value::from(network.to_string()))),
        ("SourcePortRange", range(rule.source_ports)),
        ("DestinationPortRange", range(rule.destination_ports)),
        ("Description", rule.description.clone().map(Value::from)),
    ])
}
