//! Documents of every cloud, and the policies that they are. See `tests/clouds/README.md`.

use std::path::Path;

use super::*;
use crate::policy::PolicyFile;

/// Documents that belong together.
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) cloud: Cloud,
    pub(crate) files: &'static [&'static str],
}

const fn set(name: &'static str, cloud: Cloud, files: &'static [&'static str]) -> Set {
    Set { name, cloud, files }
}

/// At least two for each cloud.
pub(crate) const SETS: [Set; 14] = [
    set("aws", Cloud::Aws, &["aws-sessions", "aws-filters", "aws-targets", "aws-interfaces"]),
    set("aws-rules-apart", Cloud::Aws, &["aws-rules-apart"]),
    set("gcp", Cloud::Gcp, &["gcp-mirrorings", "gcp-whereabouts"]),
    set("gcp-mirrorings", Cloud::Gcp, &["gcp-mirrorings"]),
    set("gcp-nsi", Cloud::Gcp, &["gcp-nsi-policy"]),
    set("huawei", Cloud::Huawei, &["huawei-sessions", "huawei-filters", "huawei-ports"]),
    set("huawei-request", Cloud::Huawei, &["huawei-request"]),
    set("naver", Cloud::Naver, &["naver-tunnels", "naver-filters", "naver-resources"]),
    set("naver-waiting", Cloud::Naver, &["naver-waiting"]),
    set("alibaba", Cloud::Alibaba, &["alibaba-sessions", "alibaba-filters", "alibaba-whereabouts"]),
    set("alibaba-template", Cloud::Alibaba, &["alibaba-template"]),
    set("oci", Cloud::Oci, &["oci-vtaps", "oci-capture-filter", "oci-whereabouts"]),
    set("oci-sdk", Cloud::Oci, &["oci-sdk"]),
    set("oci-filter-first", Cloud::Oci, &["oci-whereabouts", "oci-capture-filter", "oci-vtaps"]),
];

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clouds")
}

fn input(file: &str) -> Input {
    let file = format!("{file}.json");
    let text = std::fs::read_to_string(directory().join(&file)).expect(&file);
    Input { file, text }
}

impl Set {
    pub(crate) fn import(&self) -> Imported {
        let inputs: Vec<Input> = self.files.iter().map(|file| input(file)).collect();
        import(self.cloud, &inputs, &Answers::default()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

fn of_text(cloud: Cloud, text: &str) -> Result<Imported, ImportError> {
    import(cloud, &[Input { file: "a.json".to_owned(), text: text.to_owned() }], &Answers::default())
}

fn told(imported: &Imported) -> String {
    let line = |remark: &Remark| format!("# {}: {remark}\n", if remark.lost { "lacking" } else { "note" });
    imported.remarks.iter().map(line).collect()
}

#[test]
fn documents_of_every_cloud_are_the_policy_beside_them_with_everything_told_that_it_lacks() {
    let mut differ = Vec::new();
    for set in &SETS {
        let imported = set.import();
        let toml = imported.document.to_toml().expect(set.name);
        let made = format!("{}\n{toml}", told(&imported));
        let file = directory().join(format!("{}.toml", set.name));
        if std::fs::read_to_string(&file).unwrap_or_default() != made {
            differ.push(format!("{} should be, if that is right:\n{made}", file.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn every_policy_that_is_made_is_one_that_can_be_used() {
    for set in &SETS {
        let toml = set.import().document.to_toml().expect(set.name);
        let read = PolicyFile::parse(set.name, &toml).unwrap_or_else(|error| panic!("{error}\n{toml}"));
        assert_eq!(read.document, set.import().document, "{}", set.name);
    }
}

#[test]
fn documents_of_another_cloud_are_told_as_that() {
    for set in &SETS {
        for asked in Cloud::ALL.into_iter().filter(|asked| *asked != set.cloud) {
            for file in set.files {
                let error = import(asked, &[input(file)], &Answers::default()).expect_err(file).to_string();
                let expected = format!("this is a document of {}, not of {asked}", set.cloud);
                assert!(error.contains(&expected), "{file} as {asked}: {error}");
            }
        }
    }
    let azure = r#"{"destinationPort": 4789, "destinationNetworkInterfaceIPConfiguration": {"id": "x"}}"#;
    let error = of_text(Cloud::Aws, azure).unwrap_err().to_string();
    assert!(error.contains("this is a document of azure, not of aws"), "{error}");
}

#[test]
fn wrong_documents_are_refused_with_the_place_and_what_was_expected() {
    for (cloud, text, expected) in [
        (Cloud::Aws, "", "a.json: $: no document of aws (expected what `aws ec2 describe-traffic-mirror-sessions`"),
        (Cloud::Aws, "{\n  \"a\": }", "a.json: line 2, column 8: no JSON: expected value (expected JSON: aws prints"),
        (
            Cloud::Gcp,
            "collectorIlb:\n  url: x\n",
            "line 1, column 1: no JSON: expected value (expected JSON: gcloud prints it with",
        ),
        (Cloud::Gcp, r#"{"a": 1}"#, "a.json: $: no document of gcp (expected"),
        (
            Cloud::Aws,
            r#"{"TrafficMirrorSessions": [{"SessionNumber": 1, "NetworkInterfaceId": "eni-1", "TrafficMirrorTargetId": "t"}]}"#,
            "a.json: $.TrafficMirrorSessions[0]: the field TrafficMirrorFilterId is missing",
        ),
        (
            Cloud::Aws,
            r#"{"TrafficMirrorSessions": [{"SessionNumber": "first", "NetworkInterfaceId": "eni-1"}]}"#,
            r#"$.TrafficMirrorSessions[0].SessionNumber: "first" (expected a whole number, 0 or more)"#,
        ),
        (
            Cloud::Aws,
            r#"{"RuleNumber": 1, "TrafficMirrorFilterId": "f", "TrafficDirection": "ingress", "RuleAction": "mirror"}"#,
            r#"$.RuleAction: "mirror" (expected accept or reject)"#,
        ),
        (
            Cloud::Aws,
            r#"{"RuleNumber": 1, "TrafficMirrorFilterId": "f", "TrafficDirection": "ingress", "RuleAction": "accept",
                "SourcePortRange": {"FromPort": 9, "ToPort": 8}}"#,
            "$.SourcePortRange: {\"FromPort\":9,\"ToPort\":8} (expected a range of ports, the lower one first)",
        ),
        (
            Cloud::Aws,
            r#"{"IngressFilterRules": [{"RuleNumber": 1, "TrafficDirection": "egress", "RuleAction": "accept"}]}"#,
            "$.IngressFilterRules[0].TrafficDirection: \"egress\" (expected the direction of the list that it is in)",
        ),
        (
            Cloud::Huawei,
            r#"{"traffic_mirror_filter": {"id": "f", "ingress_rules": [{"priority": 1, "direction": "egress"}]}}"#,
            "$.traffic_mirror_filter.ingress_rules[0].direction: \"egress\" (expected the direction of the list that it is in)",
        ),
        (
            Cloud::Huawei,
            r#"{"traffic_mirror_filter_rule": {"traffic_mirror_filter_id": "f", "direction": "ingress", "protocol": "TCP",
                "ethertype": "IPv6", "source_cidr_block": "10.0.0.0/8", "action": "accept", "priority": 1}}"#,
            "$.traffic_mirror_filter_rule.ethertype: 10.0.0.0/8 (expected IPv6, as the rule says)",
        ),
        (
            Cloud::Huawei,
            r#"{"traffic_mirror_session": {"name": "s", "priority": 1, "traffic_mirror_filter_id": "f", "traffic_mirror_sources": [],
                "traffic_mirror_target_id": "t", "virtual_network_id": 16777216}}"#,
            "$.traffic_mirror_session.virtual_network_id: 16777216 (expected a number from 0 to 16777215)",
        ),
        (
            Cloud::Alibaba,
            r#"{"IngressRules": [{"Priority": 1, "Action": "accept", "Protocol": "TCP", "DestinationPortRange": "200/1"}]}"#,
            "$.IngressRules[0].DestinationPortRange: \"200/1\" (expected ports, the lower one first",
        ),
        (
            Cloud::Oci,
            r#"{"vtap-capture-filter-rules": [{"traffic-direction": "INGRESS", "protocol": "1",
                "tcp-options": {"destination-port-range": {"min": 1, "max": 2}}}]}"#,
            "(expected no ports of tcp in a rule for another protocol)",
        ),
        (
            Cloud::Gcp,
            r#"{"packetMirroringRules": [{"priority": 1, "action": "mirror", "direction": "INGRESS", "match": {}}]}"#,
            "$.packetMirroringRules[0]: the field securityProfileGroup is missing",
        ),
    ] {
        let error = of_text(cloud, text).map(|imported| told(&imported)).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn a_second_page_that_is_not_there_is_told() {
    for (cloud, text, place) in [
        (Cloud::Aws, r#"{"TrafficMirrorSessions": [], "NextToken": "x"}"#, "$.NextToken"),
        (Cloud::Alibaba, r#"{"TrafficMirrorFilters": [], "NextToken": "x"}"#, "$.NextToken"),
        (Cloud::Huawei, r#"{"traffic_mirror_sessions": [], "page_info": {"next_marker": "x"}}"#, "$.page_info"),
        (
            Cloud::Gcp,
            r#"{"kind": "compute#packetMirroringList", "items": [], "nextPageToken": "x"}"#,
            "$.nextPageToken",
        ),
        (Cloud::Oci, r#"{"data": [], "opc-next-page": "x"}"#, r#"$["opc-next-page"]"#),
    ] {
        let imported = of_text(cloud, text).expect(text);
        assert!(imported.remarks.any_lost());
        let expected = format!("# lacking: a.json: {place}: the list goes on");
        assert!(told(&imported).contains(&expected), "{}", told(&imported));
    }
}

#[test]
fn answers_say_where_sources_and_targets_are_and_each_has_to_be_asked_for() {
    let answers = |pairs: &[(&str, &str)]| {
        let mut answers = Answers::default();
        assert!(pairs.iter().all(|(id, value)| answers.add(id, value)));
        import(Cloud::Aws, &[input("aws-rules-apart")], &answers)
    };
    let imported = answers(&[("eni-1", "eth0"), ("tmt-1", "[2001:db8::9]:4790")]).unwrap();
    assert!(!imported.remarks.any_lost(), "{}", told(&imported));
    assert_eq!(imported.document.sources[0].interfaces, ["eth0"]);
    assert_eq!(imported.document.targets[0].address.as_deref(), Some("2001:db8::9"));
    assert_eq!(imported.document.targets[0].port, Some(4790));
    let imported = answers(&[("eni-1", "10.0.0.0/24"), ("vpce-1", "collector.example.com")]).unwrap();
    assert_eq!(imported.document.sources[0].subnets, ["10.0.0.0/24".parse().unwrap()]);
    assert_eq!(imported.document.targets[0].address.as_deref(), Some("collector.example.com"));
    for (pair, expected) in [
        (("eni-2", "eth0"), "no source and no target of these documents is 'eni-2' (there are: eni-1, tmt-1, vpce-1)"),
        (("eni-1", "an interface"), "expected an interface's name, an address or a network of this host"),
        (("tmt-1", "host:0"), "expected HOST, HOST:PORT or [ADDRESS]:PORT"),
    ] {
        let error = answers(&[pair]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_is_described_twice_is_there_once_and_may_not_differ() {
    let inputs = [input("aws-filters"), input("aws-sessions"), input("aws-filters"), input("aws-targets")];
    let twice = import(Cloud::Aws, &inputs, &Answers::default()).unwrap();
    assert_eq!(twice.document.filters.len(), 2);
    let mut other = input("aws-filters");
    other.text = other.text.replace("\"reject\"", "\"accept\"");
    let error = import(Cloud::Aws, &[input("aws-filters"), other], &Answers::default()).unwrap_err().to_string();
    assert!(error.contains("a filter tmf-04812ff784EXAMPLE differs from the one in aws-filters.json"), "{error}");
}

#[test]
fn documents_of_both_of_googles_services_are_two_policies() {
    let error = import(Cloud::Gcp, &[input("gcp-mirrorings"), input("gcp-nsi-policy")], &Answers::default());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("a document for the profile gcp-nsi differs from the one in gcp-mirrorings.json: $[0]"),
        "{error}"
    );
}

#[test]
fn a_filter_that_no_document_has_is_told_and_mirrors_nothing() {
    let imported = import(Cloud::Aws, &[input("aws-sessions"), input("aws-targets")], &Answers::default()).unwrap();
    assert!(imported.document.filters.iter().all(|filter| filter.inbound.is_empty() && filter.outbound.is_empty()));
    assert!(told(&imported).contains("no document has the filter tmf-04812ff784EXAMPLE"), "{}", told(&imported));
}

#[test]
fn a_rule_that_no_packet_matches_is_told_and_the_others_are_a_policy() {
    let rule = |number: u32, protocol: &str, source: &str, destination: &str| {
        format!(
            r#"{{"TrafficDirection": "ingress", "RuleNumber": {number}, "RuleAction": "accept", {protocol}
                "SourceCidrBlock": "{source}", "DestinationCidrBlock": "{destination}"}}"#
        )
    };
    let rules = [
        rule(1, r#""Protocol": 58,"#, "0.0.0.0/0", "0.0.0.0/0"),
        rule(2, r#""Protocol": 1,"#, "::/0", "::/0"),
        rule(3, "", "0.0.0.0/0", "::/0"),
        rule(4, r#""Protocol": 6,"#, "0.0.0.0/0", "0.0.0.0/0"),
        rule(5, r#""Protocol": 58,"#, "::/0", "::/0"),
    ];
    let text = format!(
        r#"{{"TrafficMirrorFilters": [{{"TrafficMirrorFilterId": "tmf-1", "IngressFilterRules": [{}]}}]}}"#,
        rules.join(", ")
    );
    let imported = of_text(Cloud::Aws, &text).unwrap();
    let numbers: Vec<_> = imported.document.filters[0].inbound.iter().map(|rule| rule.number).collect();
    assert_eq!(numbers, [Some(4), Some(5)]);
    // The policy mirrors the same without them.
    assert!(!imported.remarks.any_lost());
    for number in 1..=3 {
        let expected = format!("not kept: inbound rule {number} matches no packet");
        assert!(told(&imported).contains(&expected), "{}", told(&imported));
    }
}

#[test]
fn a_session_of_aws_without_a_length_has_that_of_its_target() {
    let session = |number: u32, target: &str, length: &str| {
        format!(
            r#"{{"TrafficMirrorSessionId": "tms-{number}", "TrafficMirrorTargetId": "{target}", "TrafficMirrorFilterId": "tmf-1",
                "NetworkInterfaceId": "eni-1", "SessionNumber": {number}{length}}}"#
        )
    };
    let sessions = [
        session(1, "tmt-nlb", ""),
        session(2, "tmt-nlb", r#", "PacketLength": 100"#),
        session(3, "tmt-eni", ""),
        session(4, "tmt-vpce", ""),
    ];
    // Targets may be told in a later document than the sessions.
    let text = format!(
        r#"{{"TrafficMirrorSessions": [{}]}}
           {{"TrafficMirrorTargets": [
               {{"TrafficMirrorTargetId": "tmt-nlb", "NetworkLoadBalancerArn": "arn:aws:elasticloadbalancing:r:1:loadbalancer/net/v/7"}},
               {{"TrafficMirrorTargetId": "tmt-eni", "NetworkInterfaceId": "eni-2"}},
               {{"TrafficMirrorTargetId": "tmt-vpce", "GatewayLoadBalancerEndpointId": "vpce-1"}}]}}"#,
        sessions.join(", ")
    );
    let imported = of_text(Cloud::Aws, &text).unwrap();
    let lengths: Vec<_> = imported.document.sessions.iter().map(|session| session.length).collect();
    assert_eq!(lengths, [Some(8_500), Some(100), None, None]);
}

#[test]
fn no_document_however_mangled_makes_an_import_panic() {
    /// `value` with one of the values in it replaced, the one at `left` from the outermost on.
    fn mangle(value: &Value, with: &Value, left: &mut Option<usize>) -> Value {
        match left {
            Some(0) => {
                *left = None;
                return with.clone();
            }
            Some(number) => *number -= 1,
            None => return value.clone(),
        }
        match value {
            Value::Array(values) => values.iter().map(|value| mangle(value, with, left)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), mangle(value, with, left))).collect(),
            other => other.clone(),
        }
    }
    let replacements = [Value::Null, Value::from(-1), Value::from("\u{1b}[2J"), Value::from(vec![Value::Null])];
    let mut outcomes = [0_u32; 2];
    for set in &SETS {
        for file in set.files {
            let text = input(file).text;
            let documents: Vec<Value> =
                serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap();
            for document in &documents {
                for with in &replacements {
                    for place in 0.. {
                        let mut left = Some(place);
                        let mangled = mangle(document, with, &mut left);
                        if left.is_some() {
                            break;
                        }
                        match of_text(set.cloud, &mangled.to_string()) {
                            Ok(imported) => {
                                outcomes[0] += 1;
                                assert!(!told(&imported).replace('\n', "").contains(char::is_control));
                            }
                            Err(error) => {
                                outcomes[1] += 1;
                                assert!(!error.to_string().contains(char::is_control), "{error:?}");
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(outcomes.iter().all(|count| *count > 100), "{outcomes:?}");
}

#[test]
fn services_that_are_added_to_a_filter_of_aws_may_come_before_it_as_exported_files_are_sorted() {
    let file = |file: &str, text: &str| Input { file: file.to_owned(), text: text.to_owned() };
    let services = r#"{"TrafficMirrorFilterId": "web", "AddNetworkServices": ["amazon-dns"]}"#;
    let filter = r#"{"Description": "of the web", "TagSpecifications": [{"ResourceType": "traffic-mirror-filter", "Tags": [{"Key": "Name", "Value": "web"}]}]}"#;
    let rule = r#"{"TrafficMirrorFilterId": "web", "TrafficDirection": "ingress", "RuleNumber": 1, "RuleAction": "accept", "SourceCidrBlock": "0.0.0.0/0", "DestinationCidrBlock": "0.0.0.0/0"}"#;
    let inputs =
        [file("filter-1.json", filter), file("filter-1-services.json", services), file("filter-1-rule-1.json", rule)];
    let made = |order: [usize; 3]| {
        let inputs = order.map(|at| Input { file: inputs[at].file.clone(), text: inputs[at].text.clone() });
        import(Cloud::Aws, &inputs, &Answers::default()).unwrap().document.to_toml().unwrap()
    };
    let as_written = made([0, 1, 2]);
    assert_eq!(as_written.matches("[[filter]]").count(), 1, "{as_written}");
    assert!(as_written.contains("amazon-dns") && as_written.contains("of the web"), "{as_written}");
    for order in [[2, 1, 0], [1, 0, 2], [1, 2, 0]] {
        assert_eq!(made(order), as_written, "{order:?}");
    }
}

#[test]
fn what_has_ipv6_alone_in_google_is_found_and_spoils_no_list_that_it_is_in() {
    let mirroring = r#"[{"name": "m", "collectorIlb": {"url": "projects/p/regions/r/forwardingRules/collector"},
        "network": {"url": "projects/p/global/networks/prod"},
        "mirroredResources": {"subnetworks": [{"url": "projects/p/regions/r/subnetworks/web"}],
            "instances": [{"url": "projects/p/zones/z/instances/six"}, {"url": "projects/p/zones/z/instances/outside"}]}}]"#;
    let instance = |name: &str, interface: &str| {
        format!(
            r#"{{"kind": "compute#instance", "name": "{name}", "selfLink": "https://www.googleapis.com/compute/v1/projects/p/zones/z/instances/{name}",
                "networkInterfaces": [{{"network": "https://www.googleapis.com/compute/v1/projects/p/global/networks/prod",
                    "stackType": "IPV6_ONLY"{interface}}}]}}"#
        )
    };
    let instances = [
        instance("none", ""),
        instance("six", r#", "ipv6Address": "fd20:1::2""#),
        instance(
            "outside",
            r#", "ipv6AccessConfigs": [{"externalIpv6": "2600:1900::2", "externalIpv6PrefixLength": 96}]"#,
        ),
    ];
    let subnets = r#"[{"kind": "compute#subnetwork", "selfLink": "projects/p/regions/r/subnetworks/web", "stackType": "IPV6_ONLY",
        "internalIpv6Prefix": "fd20:1::/64"}]"#;
    let rules = r#"[{"kind": "compute#forwardingRule", "selfLink": "projects/p/regions/r/forwardingRules/collector",
        "IPAddress": "fd20:1:0:0:0:1:0:0/96", "ipVersion": "IPV6", "isMirroringCollector": true}]"#;
    let text = format!("{mirroring}\n[{}]\n{subnets}\n{rules}", instances.join(", "));
    let imported = of_text(Cloud::Gcp, &text).unwrap();
    assert!(!imported.remarks.any_lost(), "{}", told(&imported));
    let document = &imported.document;
    assert_eq!(document.sources[0].subnets, ["fd20:1::/64".parse().unwrap()]);
    let addresses: Vec<_> = document.sources[1..].iter().flat_map(|source| &source.addresses).collect();
    assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["fd20:1::2", "2600:1900::2"]);
    assert_eq!(document.targets[0].address.as_deref(), Some("fd20:1:0:0:0:1:0:0"));
}
