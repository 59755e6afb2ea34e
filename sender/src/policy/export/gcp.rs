//! Google Cloud: request bodies of `packetMirrorings.insert`, sent with curl, since gcloud takes no document for them.

use serde_json::{Value, json};

use super::super::{FilterDocument, Protocol, RuleDocument, SessionDocument, VniDocument};
use super::flat::everything;
use super::{Export, object};

pub(super) fn write(export: &mut Export<'_>) {
    let policy = export.policy;
    export.commands.push(
        "# PROJECT, REGION and NETWORK (the name of the VPC) come from the environment; jq adds the network.\n\
         url=\"https://compute.googleapis.com/compute/v1/projects/$PROJECT/regions/$REGION/packetMirrorings\"\n\
         insert() {\n    \
         jq --arg network \"projects/$PROJECT/global/networks/$NETWORK\" '.network.url = $network' \"$1\" |\n        \
         curl -fsS -X POST -H \"Authorization: Bearer $(gcloud auth print-access-token)\" \
         -H 'Content-Type: application/json' -d @- \"$url\"\n}"
            .to_owned(),
    );
    let mut number = 0;
    for (at, session) in policy.sessions.iter().enumerate() {
        if session.length.is_some() {
            export.lack(format!("session[{at}].length"), "the cloud mirrors whole packets");
        }
        if matches!(session.vni, Some(VniDocument::Is(_))) {
            export.lack(format!("session[{at}].vni"), "the cloud sends no VNI");
        }
        let filter = session.filter.as_ref().and_then(|name| policy.filters.iter().find(|filter| filter.name == *name));
        let parts = match filter {
            None => vec![None],
            Some(filter) => parts(filter).into_iter().map(Some).collect(),
        };
        if parts.len() != 1 {
            let text = "a mirroring has one rule there: there is one mirroring for each of them";
            export.lack(format!("session[{at}].filter"), text);
        }
        for (place, part) in parts.into_iter().enumerate() {
            number += 1;
            let name = if place == 0 { session.name.clone() } else { format!("{}-{}", session.name, place + 1) };
            let file = format!("session-{number}.json");
            export.commands.push(format!("insert {file}"));
            let value = value(export, session, &name, part);
            export.document(file, value);
        }
    }
}

/// A filter's rules, each with the direction that it is for.
fn parts(filter: &FilterDocument) -> Vec<(&'static str, &RuleDocument)> {
    if filter.inbound == filter.outbound {
        return filter.inbound.iter().map(|rule| ("BOTH", rule)).collect();
    }
    let inbound = filter.inbound.iter().map(|rule| ("INGRESS", rule));
    inbound.chain(filter.outbound.iter().map(|rule| ("EGRESS", rule))).collect()
}

fn value(export: &Export<'_>, session: &SessionDocument, name: &str, part: Option<(&str, &RuleDocument)>) -> Value {
    let mut subnetworks = Vec::new();
    let mut instances = Vec::new();
    let mut tags = Vec::new();
    for source in &session.source {
        let id = export.source_id(source);
        if id.contains("/subnetworks/") {
            subnetworks.push(json!({"url": id}));
        } else if id.contains("/instances/") {
            instances.push(json!({"url": id}));
        } else {
            tags.push(Value::from(id));
        }
    }
    let list = |values: Vec<Value>| (!values.is_empty()).then(|| Value::from(values));
    let filter = part.map(|(direction, rule)| {
        // A family without ranges is said by the range of all of it: without any the cloud mirrors IPv4.
        let all = rule.family.filter(|_| rule.remote.is_empty()).map(everything);
        let networks = rule.remote.iter().chain(&all).map(|network| Value::from(network.to_string())).collect();
        let protocols = rule.protocol.iter().map(|protocol| Value::from(google_name(*protocol))).collect();
        object([
            ("cidrRanges", list(networks)),
            ("IPProtocols", list(protocols)),
            ("direction", Some(direction.into())),
        ])
    });
    object([
        ("name", Some(name.into())),
        ("description", session.description.clone().map(Value::from)),
        ("priority", session.number.map(Value::from)),
        ("collectorIlb", Some(json!({"url": export.target_id(&session.target)}))),
        (
            "mirroredResources",
            Some(object([("subnetworks", list(subnetworks)), ("instances", list(instances)), ("tags", list(tags))])),
        ),
        ("filter", filter),
        ("enable", session.enabled.map(|enabled| Value::from(if enabled { "TRUE" } else { "FALSE" }))),
    ])
}

/// A protocol as both of Google's services have it: the few that have a name there, and the others by number.
pub(super) fn google_name(protocol: Protocol) -> String {
    const NAMES: [&str; 7] = ["tcp", "udp", "icmp", "esp", "ah", "ipip", "sctp"];
    match protocol.name().filter(|name| NAMES.contains(name)) {
        Some(name) => name.to_owned(),
        None => protocol.0.to_string(),
    }
}
