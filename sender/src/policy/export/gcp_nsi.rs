//! Google's Network Security Integration: the mirroring rules of a network firewall policy, added one by one with curl.
//!
//! `gcloud compute network-firewall-policies import` would take them as well, but it overwrites the firewall's own rules.

use serde_json::{Value, json};

use super::super::{Action, Direction, PortRange, Provider, RuleDocument, SessionDocument};
use super::flat::{everything, numbered};
use super::gcp::google_name;
use super::{Export, object};

pub(super) fn write(export: &mut Export<'_>) {
    let policy = export.policy;
    let mut sessions: Vec<(usize, &SessionDocument)> = policy.sessions.iter().enumerate().collect();
    if sessions.iter().all(|(_, session)| session.number.is_some()) {
        sessions.sort_by_key(|(_, session)| session.number);
    }
    let name = policy_name(&sessions, export);
    let mut listed = Vec::new();
    let last = sessions.len().saturating_sub(1);
    for (place, (at, session)) in sessions.into_iter().enumerate() {
        if session.enabled == Some(false) {
            export.lack(format!("session[{at}].enabled"), "its rules are written, and disabled");
        }
        let Some(filter) = policy.filters.iter().position(|filter| Some(&filter.name) == session.filter.as_ref())
        else {
            export.lack(format!("session[{at}].filter"), "without a filter there is no rule: the session is left out");
            continue;
        };
        let documents = &policy.filters[filter];
        let mut directed: Vec<(Direction, &RuleDocument)> =
            documents.inbound.iter().map(|rule| (Direction::Inbound, rule)).collect();
        directed.extend(documents.outbound.iter().map(|rule| (Direction::Outbound, rule)));
        directed.sort_by_key(|(_, rule)| rule.number);
        listed.extend(directed.into_iter().map(|(direction, rule)| (place, session, filter, direction, rule)));
    }
    let wanted: Vec<u32> = listed.iter().map(|(.., rule)| rule.number.unwrap_or_default()).collect();
    let given = numbered(&wanted, &Provider::GcpNsi.profile().limits.rule_numbers);
    let mut rules = Vec::new();
    for ((place, session, filter, direction, rule), number) in listed.into_iter().zip(given) {
        let about = format!("filter[{filter}].{direction}");
        if let Some(wanted) = rule.number.filter(|wanted| *wanted != number) {
            export.lack(&about, format!("rule {wanted} has number {number} there: all rules are in one list"));
        }
        if rule.action == Some(Action::Next) && place != last {
            export.lack(&about, format!("rule {number} goes to the next policy there, not to the next session"));
        }
        if !rule.source_ports.0.is_empty() {
            export
                .lack(&about, format!("rule {number} asks for source ports, which rules there cannot: it is left out"));
            continue;
        }
        rules.push(value(export, session, &name, direction, rule, number));
    }
    let file = "policy.json".to_owned();
    export.commands.push(format!(
        "# PROJECT and FIREWALL_POLICY, which has to be there, come from the environment.\n\
         url=\"https://compute.googleapis.com/compute/v1/projects/$PROJECT/global/firewallPolicies/$FIREWALL_POLICY\"\n\
         jq -c '.packetMirroringRules[]' {file} | while read -r rule; do\n    \
         printf %s \"$rule\" | curl -fsS -X POST -H \"Authorization: Bearer $(gcloud auth print-access-token)\" \
         -H 'Content-Type: application/json' -d @- \"$url/addPacketMirroringRule\"\n\
         done"
    ));
    export.document(file, json!({"name": name, "packetMirroringRules": rules}));
}

/// The name of the firewall policy. An import names the sessions of one by it, with the number of the first rule where there are
/// several.
fn policy_name(sessions: &[(usize, &SessionDocument)], export: &Export<'_>) -> String {
    let Some((_, first)) = sessions.first() else { return "vxtap".to_owned() };
    let filter = export.policy.filters.iter().find(|filter| Some(&filter.name) == first.filter.as_ref());
    let number =
        filter.and_then(|filter| filter.inbound.iter().chain(&filter.outbound).filter_map(|rule| rule.number).min());
    let ending = number.filter(|_| sessions.len() > 1).map(|number| format!("-{number}"));
    let base = ending.and_then(|ending| first.name.strip_suffix(ending.as_str()));
    base.unwrap_or(&first.name).to_owned()
}

fn value(
    export: &Export<'_>,
    session: &SessionDocument,
    policy: &str,
    direction: Direction,
    rule: &RuleDocument,
    number: u32,
) -> Value {
    let list = |values: Vec<Value>| (!values.is_empty()).then(|| Value::from(values));
    // A family without ranges is said by the range of all of it, on the side that the direction asks about.
    let all = rule.family.filter(|_| rule.source.is_empty() && rule.destination.is_empty()).map(everything);
    let networks = |networks: &[ipnet::IpNet], of: Direction| {
        let all = all.iter().filter(|_| of == direction);
        list(networks.iter().chain(all).map(|network| network.to_string().into()).collect())
    };
    let ports = |ports: &[PortRange]| list(ports.iter().map(|range| range.to_string().into()).collect());
    let protocols: Vec<String> = match rule.protocol.as_slice() {
        [] => vec!["all".to_owned()],
        protocols => protocols.iter().copied().map(google_name).collect(),
    };
    let layer4 = protocols
        .into_iter()
        .map(|protocol| object([("ipProtocol", Some(protocol.into())), ("ports", ports(&rule.destination_ports.0))]));
    let mut labels = Vec::new();
    let mut accounts = Vec::new();
    let mut resources = Vec::new();
    for source in &session.source {
        let id = export.source_id(source);
        if id.contains("/networks/") {
            resources.push(Value::from(id));
        } else if id.contains('@') {
            accounts.push(Value::from(id));
        } else if id != policy {
            labels.push(json!({"name": id}));
        }
    }
    let action = match rule.action {
        Some(Action::Reject) => "do_not_mirror",
        Some(Action::Next) => "goto_next",
        Some(Action::Accept) | None => "mirror",
    };
    object([
        ("priority", Some(number.into())),
        ("action", Some(action.into())),
        ("direction", Some(if direction == Direction::Inbound { "INGRESS" } else { "EGRESS" }.into())),
        ("description", rule.description.clone().map(Value::from)),
        ("disabled", (session.enabled == Some(false)).then(|| true.into())),
        ("securityProfileGroup", (action == "mirror").then(|| export.target_id(&session.target).into())),
        ("targetSecureTags", list(labels)),
        ("targetServiceAccounts", list(accounts)),
        ("targetResources", list(resources)),
        (
            "match",
            Some(object([
                ("srcIpRanges", networks(&rule.source, Direction::Inbound)),
                ("destIpRanges", networks(&rule.destination, Direction::Outbound)),
                ("layer4Configs", list(layer4.collect())),
            ])),
        ),
    ])
}
