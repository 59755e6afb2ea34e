//! What an export gives is read back by an import as the policy that it was.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;

use super::*;
use crate::policy::import::tests::SETS;
use crate::policy::import::{Answers, Cloud, Input, import};
use crate::policy::{
    Action, FilterDocument, NetworkService, PolicyFile, PortRange, Ports, Protocol, RuleDocument, VniDocument,
};

fn cloud(provider: Provider) -> Cloud {
    match provider {
        Provider::Aws => Cloud::Aws,
        Provider::Gcp | Provider::GcpNsi => Cloud::Gcp,
        Provider::Huawei => Cloud::Huawei,
        Provider::Alibaba => Cloud::Alibaba,
        Provider::Oci => Cloud::Oci,
        other => panic!("{other} has no documents"),
    }
}

/// The policy that an import makes of the documents. Where sources and targets are on a host is in no document.
fn read_back(policy: &Document, exported: &Exported) -> Document {
    let provider = policy.provider.expect("a provider");
    let mut answers = Answers::default();
    for source in &policy.sources {
        let id = source.description.as_deref().unwrap_or(&source.name);
        let addresses = source.addresses.iter().map(ToString::to_string);
        let known = addresses.chain(source.subnets.iter().map(ToString::to_string)).chain(source.interfaces.clone());
        known.for_each(|known| assert!(answers.add(id, &known), "{id} is in two places"));
    }
    for target in &policy.targets {
        let id = target.description.as_deref().unwrap_or(&target.name);
        // Of Huawei's, the kind is in front.
        let id = id.split_once(' ').map_or(id, |(_, id)| id);
        answers.add(id, target.address.as_deref().expect("an address"));
    }
    let input = |(file, value): &(String, Value)| Input { file: file.clone(), text: value.to_string() };
    let inputs: Vec<Input> = exported.documents.iter().map(input).collect();
    import(cloud(provider), &inputs, &answers).unwrap_or_else(|error| panic!("{error}\n{inputs:#?}")).document
}

fn round_trip(policy: &Document) -> Vec<Lack> {
    let exported = export(policy.provider.expect("a provider"), policy).expect("a cloud with documents");
    assert_eq!(read_back(policy, &exported), *policy, "{:#?}", exported.documents);
    exported.lacks
}

#[test]
fn what_was_imported_is_exported_and_imported_again_as_it_was() {
    let mut seen = 0;
    for set in SETS.iter().filter(|set| set.cloud != Cloud::Naver) {
        // What a cloud has no words for is told, and is in none of these but Oracle's: its description of the source.
        let lacks = round_trip(&set.import().document);
        assert!(lacks.is_empty(), "{}: {lacks:?}", set.name);
        seen += 1;
    }
    assert!(seen >= 10);
}

#[test]
fn clouds_without_documents_and_policies_of_another_cloud_are_refused() {
    let policy = Document { provider: Some(Provider::Aws), ..Document::default() };
    let error = export(Provider::Naver, &policy).unwrap_err().to_string();
    assert_eq!(
        error,
        "naver takes no document that describes its mirrors (expected aws, gcp, gcp-nsi, huawei, alibaba, oci)"
    );
    let error = export(Provider::Vxtap, &policy).unwrap_err().to_string();
    assert!(error.contains("vxtap mirrors by the policy itself"), "{error}");
    let error = export(Provider::Oci, &policy).unwrap_err().to_string();
    assert!(error.contains("the policy has the provider 'aws', not 'oci'"), "{error}");
}

#[test]
fn what_a_cloud_has_no_words_for_is_told_with_its_place_in_the_policy() {
    let text = r#"
        provider = "aws"
        [budget]
        max_pps = 1000
        [[source]]
        name = "all"
        interfaces = ["eth*"]
        [[filter]]
        name = "web"
        inbound = [{ number = 1, action = "accept", protocol = ["tcp", "udp"], destination_ports = [80, 443] },
                   { number = 2, action = "reject" }]
        [[target]]
        name = "two"
        member = [{ address = "10.0.0.1" }, { address = "10.0.0.2" }]
        [[session]]
        name = "s"
        number = 1
        source = "all"
        filter = "web"
        target = "two"
        sample = 0.5
    "#;
    let policy = PolicyFile::parse("a.toml", text).unwrap();
    let exported = export(Provider::Aws, &policy.document).unwrap();
    let about: Vec<&str> = exported.lacks.iter().map(|lack| lack.about.as_str()).collect();
    assert_eq!(
        about,
        [
            "budget",
            "session[0].sample",
            "target[0].member",
            "target[0].description",
            "filter[0].inbound[0]",
            "filter[0].inbound[1]",
            "session[0].source"
        ]
    );
    // Two protocols, two ports and two families are eight rules, and the ninth and tenth reject.
    let rules = aws_rules(&exported);
    let numbers: Vec<u64> = rules.iter().map(|rule| rule["RuleNumber"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=10).collect::<Vec<u64>>());
    assert_eq!(rules[9]["RuleAction"], "reject");
    assert_eq!(rules[9]["SourceCidrBlock"], "::/0");
}

/// What is exported of a policy with these rules for inbound packets, one source, one target and one session.
#[test]
fn what_aws_cuts_on_the_way_to_a_load_balancer_is_told_of_sessions_that_want_whole_packets() {
    let session = |number: u32, target: &str, length: &str| {
        format!(
            "[[session]]\nname = \"s{number}\"\nnumber = {number}\nsource = \"one\"\nfilter = \"all\"\ntarget = \"{target}\"\n{length}\n"
        )
    };
    let target = |name: &str, id: &str| {
        format!("[[target]]\nname = \"{name}\"\naddress = \"10.0.0.9\"\ndescription = \"{id}\"\n")
    };
    let text = [
        "provider = \"aws\"\n[[source]]\nname = \"one\"\ndescription = \"eni-1\"\ninterfaces = [\"eth0\"]\n".to_owned(),
        "[[filter]]\nname = \"all\"\n".to_owned(),
        target("nlb", "arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/net/a/1"),
        target("gateway", "vpce-1"),
        target("eni", "eni-2"),
        session(1, "nlb", ""),
        session(2, "nlb", "length = 8500"),
        session(3, "gateway", ""),
        session(4, "gateway", "length = 8447"),
        session(5, "gateway", "length = 8446"),
        session(6, "eni", ""),
        session(7, "nlb", "enabled = false"),
    ];
    let policy = PolicyFile::parse("a.toml", &text.concat()).unwrap();
    let Exported { lacks, notes, .. } = export(Provider::Aws, &policy.document).unwrap();
    let told: Vec<String> = lacks.iter().map(ToString::to_string).collect();
    let noted: Vec<String> = notes.iter().map(ToString::to_string).collect();
    let gateway = "a Gateway Load Balancer carries 8500 bytes: AWS cuts packets to 8446 (8426 over IPv6)";
    assert_eq!(
        told,
        [
            "session[0].length: without it AWS cuts packets to 8500 bytes, its default and its most for a Network Load Balancer".to_owned(),
            "session[6].enabled: AWS mirrors as soon as there is a session: it is left out".to_owned(),
        ]
    );
    assert_eq!(noted, [format!("session[2].length: {gateway}"), format!("session[3].length: {gateway}")]);
}

fn of_rules(provider: Provider, rules: &str) -> Exported {
    let number = if provider == Provider::Oci { "" } else { "number = 1" };
    let text = format!(
        r#"
        provider = "{provider}"
        [[source]]
        name = "eni-s"
        interfaces = ["eth0"]
        [[filter]]
        name = "f"
        inbound = [{rules}]
        [[target]]
        name = "eni-t"
        address = "10.9.0.2"
        [[session]]
        name = "s"
        {number}
        source = "eni-s"
        filter = "f"
        target = "eni-t"
        "#
    );
    let policy = PolicyFile::parse("a.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    export(provider, &policy.document).expect("a cloud with documents")
}

/// The rules that AWS is given, in the order of the documents.
fn aws_rules(exported: &Exported) -> Vec<&Value> {
    exported.documents.iter().filter(|(name, _)| name.contains("-rule-")).map(|(_, rule)| rule).collect()
}

/// The numbers and actions of the rules that AWS is given.
fn numbers(exported: &Exported) -> Vec<(u64, &str)> {
    let number = |rule: &Value| rule["RuleNumber"].as_u64().expect("a number");
    let action = |rule: &Value| if rule["RuleAction"] == "accept" { "accept" } else { "reject" };
    aws_rules(exported).into_iter().map(|rule| (number(rule), action(rule))).collect()
}

#[test]
fn rules_that_the_file_has_in_another_order_than_their_numbers_keep_their_numbers() {
    let exported = of_rules(
        Provider::Aws,
        r#"{ number = 200, action = "accept", source = "0.0.0.0/0", destination = "0.0.0.0/0" },
           { number = 100, action = "reject", protocol = "tcp", source = "0.0.0.0/0", destination = "0.0.0.0/0",
             destination_ports = 22 }"#,
    );
    assert_eq!(numbers(&exported), [(100, "reject"), (200, "accept")]);
    let about: Vec<&str> = exported.lacks.iter().map(|lack| lack.about.as_str()).collect();
    assert!(!about.contains(&"filter[0].inbound[0]") && !about.contains(&"filter[0].inbound[1]"), "{about:?}");
    // A rule that is several pushes away those that are tried behind it, and its place is the file's.
    let exported = of_rules(
        Provider::Aws,
        r#"{ number = 2, action = "accept", source = "0.0.0.0/0" },
           { number = 1, action = "reject", protocol = "tcp", source = "0.0.0.0/0", destination_ports = [22, 23] }"#,
    );
    assert_eq!(numbers(&exported), [(1, "reject"), (2, "reject"), (3, "accept")]);
}

#[test]
fn rules_that_have_no_room_behind_take_numbers_before_theirs_and_stay_in_order() {
    let exported = of_rules(
        Provider::Aws,
        r#"{ number = 1, action = "accept", protocol = "udp", source = "0.0.0.0/0" },
           { number = 32766, action = "accept", source = "0.0.0.0/0" },
           { number = 32765, action = "reject", protocol = "tcp", source = "0.0.0.0/0",
             destination_ports = [22, 23, 24, 25] }"#,
    );
    let rejected = (32_762..=32_765).map(|number| (number, "reject"));
    let expected: Vec<(u64, &str)> = [(1, "accept")].into_iter().chain(rejected).chain([(32_766, "accept")]).collect();
    assert_eq!(numbers(&exported), expected);
    let lack = |lack: &Lack| lack.about == "filter[0].inbound[2]" && lack.text.ends_with("the numbers 32762 to 32765");
    assert!(exported.lacks.iter().any(lack), "{:?}", exported.lacks);
}

#[test]
fn numbers_are_those_that_there_are_however_many_are_wanted() {
    use super::flat::numbered;
    assert_eq!(numbered(&[1, 1, 1, 9], &(1..=9)), [1, 2, 3, 9]);
    assert_eq!(numbered(&[8, 9, 9, 9], &(1..=9)), [6, 7, 8, 9]);
    assert_eq!(numbered(&[9; 9], &(1..=9)), (1..=9).collect::<Vec<u32>>());
    assert_eq!(numbered(&[3, 9, 9], &(1..=9)), [3, 8, 9]);
    assert_eq!(numbered(&[u32::MAX, u32::MAX], &(0..=u32::MAX)), [u32::MAX - 1, u32::MAX]);
    assert!(numbered(&[], &(1..=9)).is_empty());
}

#[test]
fn of_more_rules_than_there_are_numbers_those_that_accept_are_left_out() {
    let ports = |count: u32| (1..=count).map(|port| (port * 2).to_string()).collect::<Vec<_>>().join(", ");
    let ports_200 = ports(200);
    let many = |first: &str, second: &str| {
        format!(
            r#"{{ number = 7, action = "{first}", protocol = "tcp", source = "0.0.0.0/0", source_ports = [{ports_200}],
                  destination_ports = [{}] }},
               {{ number = 9, action = "{second}", protocol = "tcp", source = "0.0.0.0/0", source_ports = [{ports_200}],
                  destination_ports = [{}] }}"#,
            ports(100),
            ports(80)
        )
    };
    // 20,000 and 16,000 of 32,766.
    let exported = of_rules(Provider::Aws, &many("reject", "accept"));
    let given = numbers(&exported);
    assert_eq!(given.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (1..=32_766).collect::<Vec<_>>());
    assert!(given.iter().take(20_000).all(|(_, action)| *action == "reject"));
    assert!(given.iter().skip(20_000).all(|(_, action)| *action == "accept"));
    let told = |exported: &Exported, text: &str| exported.lacks.iter().any(|lack| lack.text.contains(text));
    assert!(told(&exported, "numbers (1 to 32766): the last 3234 that accept are left out"), "{:?}", exported.lacks);
    let exported = of_rules(Provider::Aws, &many("reject", "reject"));
    assert_eq!(numbers(&exported), [(1, "reject"), (2, "reject")]);
    assert_eq!(aws_rules(&exported)[0]["DestinationCidrBlock"], "0.0.0.0/0");
    assert!(told(&exported, "everything is rejected"), "{:?}", exported.lacks);
}

#[test]
fn a_family_without_ranges_is_all_of_its_addresses_for_google() {
    for (family, all) in [("4", "0.0.0.0/0"), ("6", "::/0")] {
        let exported = of_rules(Provider::Gcp, &format!(r#"{{ family = {family}, protocol = "tcp" }}"#));
        assert_eq!(exported.documents[0].1["filter"]["cidrRanges"], serde_json::json!([all]));
        let rule = format!(r#"{{ number = 1, action = "accept", family = {family} }}"#);
        let exported = of_rules(Provider::GcpNsi, &rule);
        let asked = &exported.documents[0].1["packetMirroringRules"][0]["match"];
        assert_eq!(asked["srcIpRanges"], serde_json::json!([all]));
        assert_eq!(asked["destIpRanges"], Value::Null);
    }
    let exported = of_rules(Provider::Gcp, r#"{ family = 6, remote = "2001:db8::/32" }"#);
    assert_eq!(exported.documents[0].1["filter"]["cidrRanges"], serde_json::json!(["2001:db8::/32"]));
}

#[test]
fn a_rule_that_rejects_all_protocols_in_the_place_of_one_has_no_ports() {
    let rule = r#"{ number = 1, action = "reject", protocol = "sctp", source = "10.0.0.0/8", source_ports = [99],
                    destination_ports = [7] }"#;
    let huawei = of_rules(Provider::Huawei, rule);
    let huawei = &huawei.documents.iter().find(|(name, _)| name.contains("-rule-")).expect("a rule").1;
    let rule_of_huawei = &huawei["traffic_mirror_filter_rule"];
    assert_eq!(rule_of_huawei["protocol"], "ALL");
    assert_eq!(rule_of_huawei["source_port_range"], Value::Null);
    assert_eq!(rule_of_huawei["destination_port_range"], Value::Null);
    let alibaba = of_rules(Provider::Alibaba, rule);
    let rule_of_alibaba = &alibaba.documents[0].1["Resources"]["Filter001"]["Properties"]["IngressRules"][0];
    assert_eq!(rule_of_alibaba["Protocol"], "ALL");
    assert_eq!(rule_of_alibaba["SourcePortRange"], Value::Null);
    assert_eq!(rule_of_alibaba["DestinationPortRange"], Value::Null);
}

#[test]
fn rules_that_no_packet_matches_are_not_exported() {
    let exported = of_rules(
        Provider::Aws,
        r#"{ number = 1, action = "accept", protocol = ["icmp", "icmpv6"], source = ["0.0.0.0/0", "::/0"] },
           { number = 9, action = "accept", protocol = ["icmp", "icmpv6"], family = 6 }"#,
    );
    let asked = |rule: &&Value| (rule["Protocol"].as_u64(), rule["SourceCidrBlock"].as_str().map(str::to_owned));
    let asked: Vec<_> = aws_rules(&exported).iter().map(asked).collect();
    let (four, six) = ((Some(1), Some("0.0.0.0/0".to_owned())), (Some(58), Some("::/0".to_owned())));
    assert_eq!(asked, [four, six.clone(), six]);
}

#[test]
fn protocols_that_google_has_no_name_for_are_numbers() {
    let asked =
        r#"protocol = ["tcp", "udp", "icmp", "esp", "ah", "ipip", "sctp", "icmpv6", "gre", "igmp", "ospf", 200]"#;
    let expected = ["tcp", "udp", "icmp", "esp", "ah", "ipip", "sctp", "58", "47", "2", "89", "200"];
    let exported = of_rules(Provider::Gcp, &format!("{{ {asked} }}"));
    assert_eq!(exported.documents[0].1["filter"]["IPProtocols"], serde_json::json!(expected));
    let exported = of_rules(Provider::GcpNsi, &format!(r#"{{ number = 1, action = "accept", {asked} }}"#));
    let configs = &exported.documents[0].1["packetMirroringRules"][0]["match"]["layer4Configs"];
    let names: Vec<_> =
        configs.as_array().unwrap().iter().map(|config| config["ipProtocol"].as_str().unwrap()).collect();
    assert_eq!(names, expected);
}

#[test]
fn rules_of_both_directions_in_googles_one_list_have_numbers_that_it_has() {
    let text = r#"
        provider = "gcp-nsi"
        [[source]]
        name = "s"
        interfaces = ["eth0"]
        [[filter]]
        name = "f"
        inbound = [{ number = 2147483647, action = "accept" }]
        outbound = [{ number = 2147483647, action = "accept" }]
        [[target]]
        name = "t"
        address = "10.9.0.2"
        [[session]]
        name = "x"
        source = "s"
        filter = "f"
        target = "t"
    "#;
    let policy = PolicyFile::parse("a.toml", text).unwrap_or_else(|error| panic!("{error}"));
    let exported = export(Provider::GcpNsi, &policy.document).unwrap();
    let rules = exported.documents[0].1["packetMirroringRules"].as_array().unwrap();
    let numbers: Vec<_> = rules.iter().map(|rule| rule["priority"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2_147_483_646, 2_147_483_647]);
}

#[test]
fn the_script_uses_every_document_once() {
    for set in SETS.iter().filter(|set| set.cloud != Cloud::Naver) {
        let policy = set.import().document;
        let exported = export(policy.provider.unwrap(), &policy).unwrap();
        assert!(exported.script.starts_with("#!/bin/sh\n"));
        for (name, _) in &exported.documents {
            let uses =
                exported.script.split(|c: char| c.is_whitespace() || c == '/' || c == ')').filter(|word| word == name);
            assert_eq!(uses.count(), 1, "{}: {name} in\n{}", set.name, exported.script);
        }
    }
}

/// Address ranges of one family.
fn network(ipv6: bool) -> BoxedStrategy<IpNet> {
    if ipv6 {
        (any::<u128>(), 0..=128_u8)
            .prop_map(|(bits, prefix)| IpNet::V6(Ipv6Net::new(bits.into(), prefix).unwrap().trunc()))
            .boxed()
    } else {
        (any::<u32>(), 0..=32_u8)
            .prop_map(|(bits, prefix)| IpNet::V4(Ipv4Net::new(bits.into(), prefix).unwrap().trunc()))
            .boxed()
    }
}

fn ports() -> impl Strategy<Value = Ports> {
    proptest::option::of((1..=u16::MAX, 1..=u16::MAX)).prop_map(|range| {
        let range = range.and_then(|(one, other)| PortRange::new(one.min(other), one.max(other)));
        Ports(range.into_iter().collect())
    })
}

/// A rule as `provider` has them, without its number.
fn rule(provider: Provider) -> impl Strategy<Value = RuleDocument> {
    let protocols =
        prop_oneof![Just(None), Just(Some(Protocol::TCP)), Just(Some(Protocol::UDP)), Just(Some(Protocol::ICMP)),];
    let ipv6 = if provider == Provider::Alibaba { Just(false).boxed() } else { any::<bool>().boxed() };
    (protocols, ipv6, any::<bool>(), ports(), ports(), proptest::option::of("[a-z ]{1,12}")).prop_flat_map(
        move |(protocol, ipv6, accepts, source_ports, destination_ports, description)| {
            let ipv6 = ipv6 && protocol != Some(Protocol::ICMP);
            let has_ports = protocol.is_some_and(Protocol::has_ports);
            let described = !matches!(provider, Provider::Alibaba | Provider::Oci);
            (network(ipv6), network(ipv6)).prop_map(move |(source, destination)| RuleDocument {
                action: Some(if accepts { Action::Accept } else { Action::Reject }),
                protocol: protocol.into_iter().collect(),
                source: vec![source],
                destination: vec![destination],
                source_ports: if has_ports { source_ports.clone() } else { Ports::default() },
                destination_ports: if has_ports { destination_ports.clone() } else { Ports::default() },
                description: description.clone().filter(|_| described),
                ..RuleDocument::default()
            })
        },
    )
}

fn rules(provider: Provider) -> impl Strategy<Value = Vec<RuleDocument>> {
    let numbered = provider != Provider::Oci;
    proptest::collection::vec((rule(provider), 1..50_u32), 0..5).prop_map(move |rules| {
        let mut number = 0;
        let number_it = |(mut rule, step): (RuleDocument, u32)| {
            number += step;
            rule.number = numbered.then_some(number);
            rule
        };
        rules.into_iter().map(number_it).collect()
    })
}

/// What can be told of one session, with a source, a filter and a target of its own.
#[derive(Clone, Debug)]
struct Part {
    rules: [Vec<RuleDocument>; 2],
    vni: Option<u32>,
    length: Option<u32>,
    enabled: Option<bool>,
    dns: bool,
}

fn policy(provider: Provider) -> impl Strategy<Value = Document> {
    let vni = proptest::option::of(0..=0xff_ffff_u32);
    let length = proptest::option::of(64..=1460_u32);
    let enabled = if provider == Provider::Aws { Just(None).boxed() } else { any::<Option<bool>>().boxed() };
    let part = (rules(provider), rules(provider), vni, length, enabled, any::<bool>()).prop_map(
        |(inbound, outbound, vni, length, enabled, dns)| Part { rules: [inbound, outbound], vni, length, enabled, dns },
    );
    proptest::collection::vec(part, 1..4).prop_map(move |parts| assembled(provider, parts))
}

fn assembled(provider: Provider, parts: Vec<Part>) -> Document {
    let mut policy = Document { provider: Some(provider), ..Document::default() };
    for (at, part) in parts.into_iter().enumerate() {
        let (source, target) = match provider {
            Provider::Oci => (format!("ocid1.vnic.oc1.iad.s{at}"), format!("ocid1.networkloadbalancer.oc1.iad.t{at}")),
            _ => (format!("eni-s{at}"), format!("eni-t{at}")),
        };
        policy.sources.push(SourceDocument {
            name: source.clone(),
            addresses: vec![[10, 0, 0, at as u8].into()],
            ..SourceDocument::default()
        });
        let [inbound, outbound] = part.rules;
        policy.filters.push(FilterDocument {
            name: format!("filter {at}"),
            services: if part.dns && provider == Provider::Aws { vec![NetworkService::AmazonDns] } else { Vec::new() },
            description: None,
            inbound,
            outbound,
        });
        policy.targets.push(TargetDocument {
            name: target.clone(),
            address: Some(format!("10.9.9.{at}")),
            description: (provider == Provider::Huawei).then(|| format!("eni {target}")),
            ..TargetDocument::default()
        });
        policy.sessions.push(SessionDocument {
            name: format!("session {at}"),
            number: (provider != Provider::Oci).then_some(at as u32 * 10 + 1),
            source: vec![source],
            filter: Some(format!("filter {at}")),
            target,
            vni: part.vni.map(VniDocument::Is),
            length: part.length,
            enabled: part.enabled,
            ..SessionDocument::default()
        });
    }
    policy
}

/// Google's mirrorings: one rule a direction, and the filter has the session's name.
fn mirrorings() -> impl Strategy<Value = Document> {
    let protocols =
        proptest::collection::vec(prop_oneof![Just(Protocol::TCP), Just(Protocol::UDP), Just(Protocol(132))], 0..3);
    let networks = proptest::collection::vec(any::<bool>().prop_flat_map(network), 0..3);
    let part = (protocols, networks, 0..3_usize, any::<Option<bool>>(), proptest::option::of(0..=65_535_u32));
    proptest::collection::vec(part, 1..4).prop_map(|parts| {
        let mut policy = Document { provider: Some(Provider::Gcp), ..Document::default() };
        for (at, (protocol, remote, directions, enabled, number)) in parts.into_iter().enumerate() {
            let id = format!("projects/p/regions/r/subnetworks/s{at}");
            policy.sources.push(SourceDocument {
                name: format!("s{at}"),
                subnets: vec![format!("10.{at}.0.0/16").parse().unwrap()],
                description: Some(id),
                ..SourceDocument::default()
            });
            policy.targets.push(TargetDocument {
                name: format!("t{at}"),
                address: Some(format!("10.9.9.{at}")),
                description: Some(format!("projects/p/regions/r/forwardingRules/t{at}")),
                ..TargetDocument::default()
            });
            let name = format!("m{at}");
            // A filter that asks for nothing is none.
            let asks = !protocol.is_empty() || !remote.is_empty() || directions != 0;
            if asks {
                let rule = RuleDocument { action: Some(Action::Accept), protocol, remote, ..RuleDocument::default() };
                policy.filters.push(FilterDocument {
                    name: name.clone(),
                    inbound: if directions == 2 { Vec::new() } else { vec![rule.clone()] },
                    outbound: if directions == 1 { Vec::new() } else { vec![rule] },
                    ..FilterDocument::default()
                });
            }
            policy.sessions.push(SessionDocument {
                name: name.clone(),
                number,
                source: vec![format!("s{at}")],
                filter: asks.then_some(name),
                target: format!("t{at}"),
                enabled,
                ..SessionDocument::default()
            });
        }
        policy
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_policy_of_aws_comes_back_as_it_was(policy in policy(Provider::Aws)) {
        prop_assert_eq!(round_trip(&policy), []);
    }

    #[test]
    fn any_policy_of_huawei_comes_back_as_it_was(policy in policy(Provider::Huawei)) {
        prop_assert_eq!(round_trip(&policy), []);
    }

    #[test]
    fn any_policy_of_alibaba_comes_back_as_it_was(policy in policy(Provider::Alibaba)) {
        prop_assert_eq!(round_trip(&policy), []);
    }

    #[test]
    fn any_policy_of_oracle_comes_back_as_it_was(policy in policy(Provider::Oci)) {
        prop_assert_eq!(round_trip(&policy), []);
    }

    #[test]
    fn any_policy_of_google_comes_back_as_it_was(policy in mirrorings()) {
        prop_assert_eq!(round_trip(&policy), []);
    }
}
