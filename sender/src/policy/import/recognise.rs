//! Which cloud a document is of, by names that only that cloud's documents have, in their exact spelling.

use std::fmt;

use serde_json::{Map, Value};

use super::document::{Node, Place};
use super::{Cloud, ImportError};

/// How deep names are looked for: a wrapper, its list, the object in it and its parts.
const DEPTH: usize = 5;

/// Whose document it is; more clouds than can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A cloud whose documents can be read.
    Cloud(Cloud),
    /// Azure's virtual network TAP, which has neither filters nor sessions.
    Azure,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cloud(cloud) => cloud.fmt(f),
            Self::Azure => f.write_str("azure"),
        }
    }
}

/// Refuses a document of another cloud, and one of no cloud.
pub(super) fn check(document: &Node<'_>, cloud: Cloud) -> Result<(), ImportError> {
    let mut evidence = Vec::new();
    gather(document.value(), document.place(), DEPTH, &mut evidence);
    if evidence.iter().any(|(origin, _)| *origin == Origin::Cloud(cloud)) {
        return Ok(());
    }
    match evidence.into_iter().next() {
        Some((found, place)) => Err(ImportError::OtherCloud { place, found, asked: cloud }),
        None if says_nothing(document.value(), cloud) => Ok(()),
        None => Err(ImportError::Unknown { place: document.place().clone(), asked: cloud }),
    }
}

fn gather(value: &Value, place: &Place, depth: usize, evidence: &mut Vec<(Origin, Place)>) {
    if depth == 0 {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                if let Some(origin) = origin(key, map) {
                    evidence.push((origin, place.field(key)));
                }
                gather(value, &place.field(key), depth - 1, evidence);
            }
        }
        Value::Array(values) => {
            // The first items tell what the list is of.
            for (index, value) in values.iter().take(3).enumerate() {
                gather(value, &place.item(index), depth - 1, evidence);
            }
        }
        _ => {}
    }
}

/// The cloud whose documents alone have a field of that name beside those.
fn origin(key: &str, beside: &Map<String, Value>) -> Option<Origin> {
    let cloud = match key {
        "TrafficMirrorTargets"
        | "TrafficMirrorTarget"
        | "TrafficMirrorFilterRules"
        | "TrafficMirrorFilterRule"
        | "IngressFilterRules"
        | "EgressFilterRules"
        | "SessionNumber"
        | "RuleNumber"
        | "NetworkServices"
        | "AddNetworkServices"
        | "NetworkLoadBalancerArn"
        | "GatewayLoadBalancerEndpointId"
        | "LoadBalancerArn"
        | "NetworkInterfaces" => Cloud::Aws,
        "ResourceType" if text(beside, key).is_some_and(|text| text.starts_with("traffic-mirror-")) => Cloud::Aws,
        // The description of a target that is a network interface has little else.
        "TrafficMirrorTargetId" if beside.contains_key("OwnerId") || beside.contains_key("Type") => Cloud::Aws,
        "TrafficMirrorSourceIds"
        | "TrafficMirrorSessionStatus"
        | "TrafficMirrorFilterStatus"
        | "TrafficMirrorTargetType"
        | "TrafficMirrorFilterName"
        | "IngressRules"
        | "EgressRules"
        | "ROSTemplateFormatVersion"
        | "NetworkInterfaceSets"
        | "LoadBalancerId" => Cloud::Alibaba,
        "traffic_mirror_sessions"
        | "traffic_mirror_session"
        | "traffic_mirror_filters"
        | "traffic_mirror_filter"
        | "traffic_mirror_filter_rules"
        | "traffic_mirror_filter_rule"
        | "traffic_mirror_sources"
        | "traffic_mirror_target_id"
        | "traffic_mirror_filter_id"
        | "fixed_ips"
        | "vip_address" => Cloud::Huawei,
        "collectorIlb"
        | "mirroredResources"
        | "packetMirroringRules"
        | "mirroringDeploymentGroup"
        | "mirroringEndpointGroup"
        | "securityProfileGroup"
        | "isMirroringCollector"
        | "ipCidrRange" => Cloud::Gcp,
        "id" if text(beside, key).is_some_and(|text| text.starts_with("ocid1.")) => Cloud::Oci,
        "kind" if text(beside, key).is_some_and(|text| text.starts_with("compute#")) => Cloud::Gcp,
        "destinationNetworkInterfaceIPConfiguration"
        | "destinationLoadBalancerFrontEndIPConfiguration"
        | "tapConfigurations"
        | "virtualNetworkTap" => return Some(Origin::Azure),
        _ => {
            let plain: String = key.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_lowercase();
            match plain.as_str() {
                // Oracle's command line, SDKs and Terraform spell them in three ways.
                "vtapcapturefilterrules" | "capturefilterid" | "isvtapenabled" | "vxlannetworkidentifier" => Cloud::Oci,
                _ if ["mirrortunnel", "mirrorfilter", "mirrorresource", "getmirror"]
                    .iter()
                    .any(|begin| plain.starts_with(begin)) =>
                {
                    Cloud::Naver
                }
                _ => return None,
            }
        }
    };
    Some(Origin::Cloud(cloud))
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key)?.as_str()
}

/// An answer without any session, filter or rule, as a cloud gives that has none of them.
fn says_nothing(value: &Value, cloud: Cloud) -> bool {
    match (value, cloud) {
        (Value::Array(values), Cloud::Gcp) => values.is_empty(),
        (Value::Object(map), Cloud::Oci) => map.get("data").and_then(Value::as_array).is_some_and(Vec::is_empty),
        (Value::Object(map), Cloud::Aws | Cloud::Alibaba) => ["TrafficMirrorSessions", "TrafficMirrorFilters"]
            .iter()
            .any(|key| map.get(*key).and_then(Value::as_array).is_some_and(Vec::is_empty)),
        _ => false,
    }
}
