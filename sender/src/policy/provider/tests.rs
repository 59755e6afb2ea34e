//! What each service's documents say, rule by rule.
//!
//! A case names the rule, gives a policy (a source `eni` and a target `collector` are always there) and packets with the session
//! that mirrors each. Packets are written `in tcp 10.0.0.1:5 > 10.0.0.2:80`.

use std::sync::Arc;

use vxtap_wire::{FrameView, protocol};

use crate::policy::testing::{Packet, packet_of};
use crate::policy::{Decider, Decision, Direction, Engine, Interface, OwnTraffic, Pass, Policy, PolicyFile, Provider};

/// `in tcp 10.0.0.1:5 > [2001:db8::1]:80` as a packet.
fn written(text: &str) -> Packet {
    let words: Vec<&str> = text.split(' ').collect();
    let [direction, protocol, source, ">", destination] = words[..] else { panic!("{text}") };
    let direction = if direction == "in" { Direction::Inbound } else { Direction::Outbound };
    let protocol = match protocol {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "icmp" => protocol::ICMP,
        "icmpv6" => protocol::ICMPV6,
        other => other.parse().unwrap(),
    };
    let end = |text: &str| -> (String, u16) {
        let (address, port) = text.rsplit_once(':').unwrap();
        (address.trim_matches(['[', ']']).to_owned(), port.parse().unwrap())
    };
    let (source, destination) = (end(source), end(destination));
    packet_of(direction, protocol, (&source.0, source.1), (&destination.0, destination.1))
}

fn parse(text: &str) -> Result<Arc<Policy>, String> {
    let text = format!(
        "{text}\n[[source]]\nname = \"eni\"\ninterfaces = \"eth0\"\n[[target]]\nname = \"collector\"\naddress = \"192.0.2.7\"\n"
    );
    PolicyFile::parse("p", &text).map(|file| Arc::new(file.policy)).map_err(|error| error.to_string())
}

fn decider(text: &str) -> Decider {
    let policy = parse(text).unwrap_or_else(|error| panic!("{error}"));
    let interface = Interface { name: "eth0".into(), ..Interface::default() };
    Decider::new(Arc::new(Engine::new(&policy, &interface).unwrap()), Arc::<OwnTraffic>::default())
}

fn decide(decider: &mut Decider, packet: &str) -> Decision {
    let packet = written(packet);
    decider.decide(packet.direction, &FrameView::parse_outermost(&packet.bytes()), 0)
}

/// Holds for one rule of a service's documents: which session mirrors each packet, `-` for none.
fn documented(rule: &str, policy: &str, cases: &[(&str, &str)]) {
    let mut decider = decider(policy);
    for (packet, expected) in cases {
        let mirrored = match decide(&mut decider, packet) {
            Decision::Mirror(mirror) => decider.engine().policy().sessions[mirror.session].name.clone(),
            Decision::Pass(_) => "-".into(),
        };
        assert_eq!(mirrored, *expected, "{rule}: {packet}");
    }
}

/// A policy that the service does not have is refused, with these words.
fn refused(rule: &str, policy: &str, words: &[&str]) {
    let error = parse(policy).expect_err(rule);
    for word in words {
        assert!(error.contains(word), "{rule}: {error}");
    }
}

/// A filter `f` and a session `s` of it.
fn one(provider: &str, inbound: &str, outbound: &str) -> String {
    format!(
        "provider = \"{provider}\"\n[[filter]]\nname = \"f\"\ninbound = [{inbound}]\noutbound = [{outbound}]\n\
         [[session]]\nname = \"s\"\nnumber = 1\nsource = \"eni\"\nfilter = \"f\"\ntarget = \"collector\"\nvni = 5\nenabled = true\n"
    )
}

/// Two sessions with a filter each, inbound rules only.
fn two(provider: &str, first: &str, second: &str) -> String {
    format!(
        "provider = \"{provider}\"\n[[filter]]\nname = \"one\"\ninbound = [{first}]\n[[filter]]\nname = \"two\"\ninbound = [{second}]\n\
         [[session]]\nname = \"second\"\nnumber = 2\nsource = \"eni\"\nfilter = \"two\"\ntarget = \"collector\"\nenabled = true\nvni = 2\n\
         [[session]]\nname = \"first\"\nnumber = 1\nsource = \"eni\"\nfilter = \"one\"\ntarget = \"collector\"\nenabled = true\nvni = 1\n"
    )
}

const ALL_V4: &str = "{ number = 100, action = \"accept\", source = \"0.0.0.0/0\", destination = \"0.0.0.0/0\" }";

#[test]
fn aws_filters() {
    documented(
        "rules are tried by number, the lowest first, and the first match decides",
        &one(
            "aws",
            "{ number = 200, action = \"accept\", protocol = 6, source = \"0.0.0.0/0\", destination = \"0.0.0.0/0\" },
             { number = 100, action = \"reject\", protocol = 6, source = \"10.0.0.0/8\", destination = \"0.0.0.0/0\" }",
            "",
        ),
        &[("in tcp 10.1.1.1:5 > 10.0.0.2:80", "-"), ("in tcp 11.1.1.1:5 > 10.0.0.2:80", "s")],
    );
    documented(
        "no rules in a direction: nothing is mirrored in that direction",
        &one("aws", ALL_V4, ""),
        &[("in tcp 10.0.0.1:5 > 10.0.0.2:80", "s"), ("out tcp 10.0.0.2:80 > 10.0.0.1:5", "-")],
    );
    documented(
        "IPv4 and IPv6 need separate rules: 0.0.0.0/0 does not cover IPv6",
        &one("aws", ALL_V4, ""),
        &[("in tcp [2001:db8::1]:5 > [2001:db8::2]:80", "-")],
    );
    documented(
        "no protocol is all protocols; ports are ranges",
        &one(
            "aws",
            "{ number = 1, action = \"accept\", protocol = \"udp\", source = \"0.0.0.0/0\", destination = \"10.0.0.0/8\", destination_ports = \"5000-6000\" },
             { number = 2, action = \"accept\", source = \"192.168.0.0/16\", destination = \"0.0.0.0/0\" }",
            "",
        ),
        &[
            ("in udp 1.1.1.1:9 > 10.0.0.2:5000", "s"),
            ("in udp 1.1.1.1:9 > 10.0.0.2:6000", "s"),
            ("in udp 1.1.1.1:9 > 10.0.0.2:6001", "-"),
            ("in udp 1.1.1.1:9 > 11.0.0.2:5000", "-"),
            ("in 47 192.168.1.1:0 > 10.0.0.2:0", "s"),
        ],
    );
    refused("a rule has a number", &one("aws", "{ action = \"accept\" }", ""), &["without a number", "1 to 32766"]);
    refused(
        "a session has a filter",
        "provider = \"aws\"\n[[session]]\nname = \"s\"\nnumber = 1\nsource = \"eni\"\ntarget = \"collector\"\n",
        &["no filter", "aws requires one"],
    );
}

#[test]
fn aws_sessions() {
    documented(
        "sessions are tried by ascending number, and each packet is mirrored once",
        &two("aws", "{ number = 1, action = \"accept\", protocol = 6 }", ALL_V4),
        &[("in tcp 10.0.0.1:5 > 10.0.0.2:80", "first"), ("in udp 10.0.0.1:5 > 10.0.0.2:80", "second")],
    );
    let reject = two("aws", "{ number = 1, action = \"reject\", protocol = 6 }", ALL_V4);
    documented(
        "open: a reject ends its session, since the first session whose filter matches mirrors",
        &reject,
        &[("in tcp 10.0.0.1:5 > 10.0.0.2:80", "second")],
    );
    documented(
        "… unless the policy says that it ends the search",
        &reject.replacen('\n', "\n[semantics]\nreject_ends = \"all\"\n", 1),
        &[("in tcp 10.0.0.1:5 > 10.0.0.2:80", "-"), ("in udp 10.0.0.1:5 > 10.0.0.2:80", "second")],
    );
    refused(
        "session numbers are 1 to 32766",
        &two("aws", ALL_V4, ALL_V4).replace("number = 2\n", "number = 32767\n"),
        &["32767", "1 to 32766"],
    );
    refused(
        "two sessions of an interface have different numbers",
        &two("aws", ALL_V4, ALL_V4).replace("number = 2\n", "number = 1\n"),
        &["number 1", "'second'", "'first'"],
    );
    refused(
        "a packet length is at most 8500",
        &format!("{}length = 8501\n", one("aws", ALL_V4, "")),
        &["8501", "1 to 8500"],
    );
}

#[test]
fn aws_traffic_that_cannot_be_mirrored() {
    let all = one("aws", ALL_V4, ALL_V4);
    documented(
        "DHCP, instance metadata, NTP and Windows activation are not mirrored",
        &all,
        &[
            ("out udp 10.0.0.2:68 > 10.0.0.1:67", "-"),
            ("in udp 10.0.0.1:67 > 10.0.0.2:68", "-"),
            ("out tcp 10.0.0.2:5 > 169.254.169.254:80", "-"),
            ("in tcp 169.254.169.254:80 > 10.0.0.2:5", "-"),
            ("out udp 10.0.0.2:5 > 169.254.169.123:123", "-"),
            ("out tcp 10.0.0.2:5 > 169.254.169.250:1688", "-"),
            ("out tcp 10.0.0.2:5 > 169.254.169.251:1688", "-"),
            // What only looks like it is.
            ("out udp 10.0.0.2:5 > 10.0.0.9:123", "s"),
            ("out tcp 10.0.0.2:5 > 10.0.0.9:1688", "s"),
            ("out udp 10.0.0.2:67 > 10.0.0.9:53", "s"),
        ],
    );
    documented(
        "each has an override",
        &all.replacen('\n', "\n[never]\nmetadata = false\nntp = false\nactivation = false\ndhcp = false\n", 1),
        &[
            ("out udp 10.0.0.2:68 > 10.0.0.1:67", "s"),
            ("out tcp 10.0.0.2:5 > 169.254.169.254:80", "s"),
            ("out udp 10.0.0.2:5 > 169.254.169.123:123", "s"),
            ("out tcp 10.0.0.2:5 > 169.254.169.250:1688", "s"),
        ],
    );
    documented(
        "the resolver is not eligible, so that an accept-all rule misses it",
        &all,
        &[("out udp 10.0.0.2:5 > 169.254.169.253:53", "-"), ("out udp 10.0.0.2:5 > 8.8.8.8:53", "s")],
    );
    let with_dns = one("aws", "", "{ number = 1, action = \"reject\", protocol = 17 }")
        .replace("name = \"f\"\n", "name = \"f\"\nservices = \"amazon-dns\"\n");
    documented(
        "with the service amazon-dns all its traffic is mirrored, in and out",
        &with_dns,
        &[
            ("out udp 10.0.0.2:5 > 169.254.169.253:53", "s"),
            ("in udp 169.254.169.253:53 > 10.0.0.2:5", "s"),
            ("out udp 10.0.0.2:5 > 8.8.8.8:53", "-"),
        ],
    );
    documented(
        "open: whether a reject beats the service; the policy may say so",
        &with_dns.replacen('\n', "\n[semantics]\nservice_beats_rules = false\n", 1),
        &[("out udp 10.0.0.2:5 > 169.254.169.253:53", "-")],
    );
    documented(
        "the resolver at the second address of the VPC is named by the policy",
        &with_dns.replacen('\n', "\n[never]\nresolver = [\"10.0.0.2\"]\n", 1),
        &[("out udp 10.0.0.9:5 > 10.0.0.2:53", "s")],
    );
}

/// Google's policies have no numbers in rules and no source or destination.
fn gcp(inbound: &str, outbound: &str) -> String {
    one("gcp", inbound, outbound)
}

#[test]
fn gcp_packet_mirroring() {
    let range = "{ remote = \"203.0.113.0/24\", protocol = \"tcp\" }";
    documented(
        "ranges match the source of ingress and the destination of egress: the remote side",
        &gcp(range, range),
        &[
            ("in tcp 203.0.113.5:5 > 10.0.0.2:80", "s"),
            ("out tcp 10.0.0.2:80 > 203.0.113.5:5", "s"),
            ("in tcp 10.0.0.9:5 > 203.0.113.5:80", "-"),
            ("out tcp 203.0.113.5:80 > 10.0.0.9:5", "-"),
            ("in udp 203.0.113.5:5 > 10.0.0.2:80", "-"),
        ],
    );
    documented(
        "no ranges: all IPv4, and no IPv6",
        &gcp("{}", "{}"),
        &[("in tcp 1.2.3.4:5 > 10.0.0.2:80", "s"), ("in tcp [2001:db8::1]:5 > [2001:db8::2]:80", "-")],
    );
    documented(
        "both families need 0.0.0.0/0 and ::/0",
        &gcp("{ remote = [\"0.0.0.0/0\", \"::/0\"] }", ""),
        &[("in tcp 1.2.3.4:5 > 10.0.0.2:80", "s"), ("in tcp [2001:db8::1]:5 > [2001:db8::2]:80", "s")],
    );
    documented(
        "a policy without a filter mirrors all IPv4",
        "provider = \"gcp\"\n[[session]]\nname = \"s\"\nsource = \"eni\"\ntarget = \"collector\"\n",
        &[("out tcp 10.0.0.2:80 > 1.2.3.4:5", "s"), ("in tcp [2001:db8::1]:5 > [2001:db8::2]:80", "-")],
    );
    documented(
        "a direction is left out by having no rules",
        &gcp("{}", ""),
        &[("out tcp 10.0.0.2:80 > 1.2.3.4:5", "-")],
    );
    documented(
        "link-local addresses (metadata) are not mirrored",
        &gcp("{}", "{}"),
        &[("out udp 10.0.0.2:5 > 169.254.169.254:53", "-"), ("out tcp 10.0.0.2:5 > 169.254.1.1:80", "-")],
    );
    refused("there are no ports", &gcp("{ protocol = \"tcp\", destination_ports = 80 }", ""), &["no ports"]);
    refused("there is no reject", &gcp("{ action = \"reject\" }", ""), &["'reject'", "accept alone"]);
    refused("there is no other side", &gcp("{ destination = \"10.0.0.0/8\" }", ""), &["'destination'", "'remote'"]);
    refused("there is no order", &gcp("{ number = 1 }", ""), &["no number", "file's order"]);
}

#[test]
fn gcp_priorities() {
    let policy = |first: &str, second: &str| {
        format!(
            "provider = \"gcp\"\n[[session]]\nname = \"a\"\n{first}source = \"eni\"\ntarget = \"collector\"\n\
             [[session]]\nname = \"b\"\n{second}source = \"eni\"\ntarget = \"collector\"\n"
        )
    };
    let packet = "in tcp 1.2.3.4:5 > 10.0.0.2:80";
    documented("open: the lower priority wins", &policy("priority = 1001\n", "priority = 7\n"), &[(packet, "b")]);
    documented("the priority is 1000 where none is given", &policy("", "priority = 999\n"), &[(packet, "b")]);
    documented("open: the first of equal ones wins", &policy("", "priority = 1000\n"), &[(packet, "a")]);
}

#[test]
fn gcp_network_security_integration() {
    let rules = one(
        "gcp-nsi",
        "{ priority = 1, action = \"reject\", source = \"203.0.113.0/24\" }, { priority = 2, action = \"accept\", protocol = \"tcp\", destination_ports = 80 }",
        "{ priority = 0, action = \"accept\", protocol = \"udp\", destination_ports = 53 }",
    );
    documented(
        "a session is decided about by who initiates it, and then both directions are mirrored",
        &rules,
        &[
            ("in tcp 198.51.100.1:1000 > 10.0.0.2:80", "s"),
            ("out tcp 10.0.0.2:80 > 198.51.100.1:1000", "s"),
            ("out udp 10.0.0.2:2000 > 8.8.8.8:53", "s"),
            ("in udp 8.8.8.8:53 > 10.0.0.2:2000", "s"),
            // Initiated here, to a port that only ingress rules have.
            ("out tcp 10.0.0.2:3000 > 198.51.100.1:80", "-"),
            ("in tcp 198.51.100.1:80 > 10.0.0.2:3000", "-"),
            // DO_NOT_MIRROR, by priority.
            ("in tcp 203.0.113.9:1000 > 10.0.0.2:80", "-"),
            ("out tcp 10.0.0.2:80 > 203.0.113.9:1000", "-"),
        ],
    );
    documented(
        "GOTO_NEXT lets the next level decide, and so does no match",
        &two(
            "gcp-nsi",
            "{ priority = 0, action = \"next\", source = \"10.0.0.0/8\" }, { priority = 1, action = \"accept\", protocol = \"tcp\" }",
            "{ priority = 0, action = \"accept\" }",
        ),
        &[
            ("in tcp 10.0.0.1:5 > 10.0.0.2:80", "second"),
            ("in tcp 11.0.0.1:5 > 10.0.0.2:80", "first"),
            ("in udp 11.0.0.1:5 > 10.0.0.2:80", "second"),
        ],
    );
    documented(
        "DO_NOT_MIRROR is final",
        &two("gcp-nsi", "{ priority = 0, action = \"reject\" }", "{ priority = 0, action = \"accept\" }"),
        &[("in tcp 10.0.0.1:5 > 10.0.0.2:80", "-")],
    );
    refused(
        "priorities are unique",
        &one("gcp-nsi", "{ priority = 0, action = \"accept\" }, { priority = 0, action = \"reject\" }", ""),
        &["two inbound rules have number 0"],
    );
}

#[test]
fn huawei_five_tuple_examples() {
    documented(
        "the overview's filter: inbound TCP from 172.16.0.0/24 ports 10000-10001 to 10.0.0.3/32 port 80 accepted, outbound all from \
         192.168.0.0/24 to 10.2.0.0/24 rejected",
        &one(
            "huawei",
            "{ priority = 1, action = \"accept\", protocol = \"tcp\", source = \"172.16.0.0/24\", source_ports = \"10000-10001\", destination = \"10.0.0.3/32\", destination_ports = 80 }",
            "{ priority = 1, action = \"reject\", source = \"192.168.0.0/24\", destination = \"10.2.0.0/24\" }",
        ),
        &[
            ("in tcp 172.16.0.7:10000 > 10.0.0.3:80", "s"),
            ("in tcp 172.16.0.7:10001 > 10.0.0.3:80", "s"),
            ("in tcp 172.16.0.7:10002 > 10.0.0.3:80", "-"),
            ("in tcp 172.16.1.7:10000 > 10.0.0.3:80", "-"),
            ("in tcp 172.16.0.7:10000 > 10.0.0.4:80", "-"),
            ("in tcp 172.16.0.7:10000 > 10.0.0.3:81", "-"),
            ("in udp 172.16.0.7:10000 > 10.0.0.3:80", "-"),
            ("out tcp 192.168.0.9:5 > 10.2.0.1:443", "-"),
            ("out icmp 192.168.0.9:0 > 10.2.0.1:0", "-"),
            // No rule: not mirrored either.
            ("out tcp 192.168.0.9:5 > 10.3.0.1:443", "-"),
        ],
    );
}

#[test]
fn huawei_two_sessions_with_priorities_1_and_2_on_one_source() {
    let policy = two(
        "huawei",
        "{ priority = 1, action = \"reject\", protocol = \"tcp\", destination_ports = 22 }, { priority = 2, action = \"accept\", protocol = \"tcp\" }",
        "{ priority = 1, action = \"accept\" }",
    );
    documented(
        "sessions are tried by priority; a match in the first ends the search, even a reject; without one the second is tried",
        &policy,
        &[
            ("in tcp 10.0.0.1:5 > 10.0.0.2:80", "first"),
            ("in tcp 10.0.0.1:5 > 10.0.0.2:22", "-"),
            ("in udp 10.0.0.1:5 > 10.0.0.2:53", "second"),
        ],
    );
    let mut decider = decider(&policy);
    let rejected = decide(&mut decider, "in tcp 10.0.0.1:5 > 10.0.0.2:22");
    assert_eq!(rejected, Decision::Pass(Pass::Rejected(0)));
}

#[test]
fn huawei_defaults_and_bounds() {
    let minimal = "provider = \"huawei\"\n[[filter]]\nname = \"f\"\n[[session]]\nname = \"s\"\nnumber = 1\nsource = \"eni\"\nfilter = \"f\"\ntarget = \"collector\"\n";
    let policy = parse(minimal).unwrap();
    let session = &policy.sessions[0];
    // 96 bytes, VNI 1, off until somebody turns it on.
    assert_eq!((session.length, session.vni.get(), session.enabled), (Some(96), 1, false));
    refused("a packet length is 1 to 1460", &format!("{minimal}length = 1461\n"), &["1461", "1 to 1460"]);
    refused(
        "rule priorities are 1 to 65535",
        &one("huawei", "{ priority = 65536, action = \"accept\" }", ""),
        &["65536", "1 to 65535"],
    );
    refused(
        "rule priorities are unique in a direction",
        &one("huawei", "{ priority = 1, action = \"accept\" }, { priority = 1, action = \"reject\" }", ""),
        &["number 1", "different"],
    );
    assert!(
        parse(&one("huawei", "{ priority = 1, action = \"accept\" }", "{ priority = 1, action = \"accept\" }")).is_ok()
    );
    refused(
        "ports are for TCP and UDP only",
        &one("huawei", "{ priority = 1, action = \"accept\", protocol = \"icmp\", destination_ports = 80 }", ""),
        &["icmp has no ports"],
    );
    refused(
        "priorities of sessions are 1 to 32766",
        &minimal.replace("number = 1", "number = 0"),
        &["0 is out of range", "1 to 32766"],
    );
}

#[test]
fn naver_tunnels() {
    let policy = parse(&one("naver", "{ number = 1, action = \"accept\" }", "")).unwrap();
    assert_eq!(policy.sessions[0].length, Some(1450), "blank is 1450 bytes on KVM");
    refused(
        "the customer picks the VNI",
        &one("naver", "", "").replace("vni = 5\n", ""),
        &["no 'vni'", "naver requires one"],
    );
    refused("a packet length is 64 to 8900", &format!("{}length = 63\n", one("naver", "", "")), &["63", "64 to 8900"]);
    documented(
        "open: order and actions of rules, taken as everywhere: by number, the first match decides",
        &one(
            "naver",
            "{ number = 2, action = \"accept\" }, { number = 1, action = \"reject\", protocol = \"tcp\" }",
            "",
        ),
        &[("in tcp 1.1.1.1:1 > 10.0.0.2:80", "-"), ("in udp 1.1.1.1:1 > 10.0.0.2:80", "s")],
    );
}

#[test]
fn alibaba_sessions() {
    let minimal = "provider = \"alibaba\"\n[[filter]]\nname = \"f\"\n[[session]]\nname = \"s\"\nnumber = 1\nsource = \"eni\"\nfilter = \"f\"\ntarget = \"collector\"\n";
    let policy = parse(minimal).unwrap();
    let session = &policy.sessions[0];
    // 1500 bytes, a VNI of the service's choice, off until somebody turns it on.
    assert_eq!((session.length, session.vni_chosen, session.enabled), (Some(1500), true, false));
    let other = "[[source]]\nname = \"other\"\ninterfaces = \"eth1\"\n[[session]]\nname = \"t\"\nnumber = 1\nsource = \"other\"\nfilter = \"f\"\ntarget = \"collector\"\n";
    refused(
        "a session's priority is unique in the account and region",
        &format!("{minimal}{other}"),
        &["number 1", "'t'", "'s'"],
    );
    refused("a packet length is 64 to 8500", &format!("{minimal}length = 63\n"), &["63", "64 to 8500"]);
    documented(
        "rules are tried by priority in each direction",
        &one(
            "alibaba",
            "{ priority = 5, action = \"accept\" }, { priority = 4, action = \"reject\", source = \"10.0.0.0/8\" }",
            "{ priority = 4, action = \"accept\" }",
        ),
        &[
            ("in tcp 10.0.0.1:1 > 10.0.0.2:80", "-"),
            ("in tcp 11.0.0.1:1 > 10.0.0.2:80", "s"),
            ("out tcp 10.0.0.2:80 > 10.0.0.1:1", "s"),
        ],
    );
    documented(
        "metadata at 100.100.100.200",
        &one("alibaba", "", "{ priority = 1, action = \"accept\" }"),
        &[("out tcp 10.0.0.2:5 > 100.100.100.200:80", "-"), ("out tcp 10.0.0.2:5 > 100.100.2.136:53", "s")],
    );
}

#[test]
fn oci_capture_filters() {
    let policy = |inbound: &str| one("oci", inbound, "").replace("number = 1\n", "");
    documented(
        "rules are tried in the list's order, and the first match applies",
        &policy(
            "{ action = \"reject\", source = \"10.0.0.0/8\" }, { action = \"accept\", protocol = \"tcp\" }, { action = \"accept\", source = \"10.0.0.0/8\" }",
        ),
        &[
            ("in tcp 10.0.0.1:1 > 10.0.0.2:80", "-"),
            ("in tcp 11.0.0.1:1 > 10.0.0.2:80", "s"),
            ("in udp 11.0.0.1:1 > 10.0.0.2:80", "-"),
        ],
    );
    documented(
        "an absent field is any, of both families",
        &policy("{ action = \"accept\" }"),
        &[("in 47 10.0.0.1:0 > 10.0.0.2:0", "s"), ("in icmpv6 [2001:db8::1]:0 > [2001:db8::2]:0", "s")],
    );
    refused(
        "rules have no numbers",
        &one("oci", "{ number = 1, action = \"accept\" }", "").replace("number = 1\nsource", "source"),
        &["no number", "file's order"],
    );
    let off = parse(&policy("").replace("enabled = true\n", "")).unwrap();
    assert!(!off.sessions[0].enabled, "isVtapEnabled is false by default");
}

#[test]
fn azure_taps() {
    let tap = "provider = \"azure\"\n[[session]]\nname = \"s\"\nsource = \"eni\"\ntarget = \"collector\"\n";
    documented(
        "no filters: all traffic of the interface in both directions; no IPv6",
        tap,
        &[
            ("in tcp 1.1.1.1:1 > 10.0.0.2:80", "s"),
            ("out 47 10.0.0.2:0 > 1.1.1.1:0", "s"),
            ("in tcp [2001:db8::1]:5 > [2001:db8::2]:80", "-"),
        ],
    );
    documented("health probes come from 168.63.129.16", tap, &[("in tcp 168.63.129.16:9 > 10.0.0.2:80", "-")]);
    refused(
        "there are no filters",
        &format!("{tap}filter = \"f\"\n[[filter]]\nname = \"f\"\n"),
        &["azure has no filters"],
    );
}

#[test]
fn our_own_profile_has_what_the_others_have() {
    documented(
        "rules without numbers are tried in the file's order; a bare rule is every frame",
        &one(
            "vxtap",
            "{ action = \"reject\", remote = \"10.0.0.0/8\" }, { action = \"accept\" }",
            "{ action = \"reject\", remote = \"10.0.0.0/8\" }, { action = \"accept\" }",
        ),
        &[
            ("in tcp 10.0.0.1:1 > 11.0.0.2:80", "-"),
            ("out tcp 10.0.0.1:1 > 11.0.0.2:80", "s"),
            ("out tcp 11.0.0.2:80 > 10.0.0.1:1", "-"),
            ("in icmpv6 [2001:db8::1]:0 > [2001:db8::2]:0", "s"),
        ],
    );
    let mut decider = decider(&one("vxtap", "{ action = \"accept\" }", ""));
    // LLDP: not IP, and not ARP.
    let frame = [&[1, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xcc][..], &[0; 46]].concat();
    let decision = decider.decide(Direction::Inbound, &FrameView::parse_outermost(&frame), 0);
    assert!(matches!(decision, Decision::Mirror(_)));
}

#[test]
fn every_profile_can_do_what_it_says() {
    for provider in Provider::ALL {
        let limits = provider.profile().limits;
        assert!(limits.default_length.is_none_or(|length| limits.lengths.contains(&length)), "{provider}");
        assert!(
            limits.default_session_number.is_none_or(|number| limits.session_numbers.contains(&number)),
            "{provider}"
        );
        assert_eq!(provider.name().parse(), Ok(provider));
    }
}
