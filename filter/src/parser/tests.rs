use crate::{Filter, Packet, Tunnel};

/// Says which instructions a filter has: equal filters have equal ones.
fn program(text: &str) -> Vec<vxtap_wire::BpfInstruction> {
    Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).program(1).unwrap()
}

fn refused(text: &str) -> (usize, String) {
    let error = Filter::parse(text).expect_err(text);
    (error.at(), error.what().to_owned())
}

#[test]
fn qualifiers_are_carried_over() {
    let same = [
        ("tcp dst port ftp or ftp-data or domain", "tcp dst port 21 or tcp dst port 20 or tcp dst port 53"),
        ("host 1.2.3.4 or 5.6.7.8", "host 1.2.3.4 or host 5.6.7.8"),
        ("not host 1.2.3.4 and 5.6.7.8", "(not host 1.2.3.4) and host 5.6.7.8"),
        ("src net 10.0.0.0/8 or 192.168.0.0/16", "src net 10.0.0.0/8 or src net 192.168.0.0/16"),
        ("port 1 or (2 and 3)", "port 1 or (port 2 and port 3)"),
        ("port 1 or (tcp) or 2", "port 1 or tcp or port 2"),
        ("host 1.1.1.1 and (port 5 or 6) or 2.2.2.2", "(host 1.1.1.1 and (port 5 or port 6)) or host 2.2.2.2"),
        ("port (1 or not 2)", "port 1 or not port 2"),
        ("port 1 and not (2 or 3)", "port 1 and not (port 2 or port 3)"),
    ];
    for (short, long) in same {
        assert_eq!(program(short), program(long), "{short}");
    }
}

#[test]
fn and_and_or_have_one_precedence_and_not_binds_tighter() {
    assert_eq!(program("ip or tcp and port 80"), program("(ip or tcp) and port 80"));
    assert_ne!(program("ip or tcp and port 80"), program("ip or (tcp and port 80)"));
    assert_eq!(program("not ip and tcp"), program("(not ip) and tcp"));
    assert_eq!(program("! ip && tcp || udp"), program("not ip and tcp or udp"));
}

#[test]
fn arithmetic_has_tcpdumps_precedence() {
    let same = [
        ("ip[0] + ip[1] * 2 = 7", "ip[0] + (ip[1] * 2) = 7"),
        ("ip[0] | ip[1] & 2 = 7", "ip[0] | (ip[1] & 2) = 7"),
        ("ip[0] & ip[1] + 2 = 7", "ip[0] & (ip[1] + 2) = 7"),
        ("ip[0] - ip[1] - ip[2] = 7", "(ip[0] - ip[1]) - ip[2] = 7"),
        ("ip[0] % 3 + ip[1] = 2", "ip[0] % (3 + ip[1]) = 2"),
        ("ip[0] + ip[1] % 3 = 2", "ip[0] + (ip[1] % 3) = 2"),
        ("-ip[0] + ip[1] = 2", "(-ip[0]) + ip[1] = 2"),
    ];
    for (plain, clear) in same {
        assert_eq!(program(plain), program(clear), "{plain}");
    }
}

#[test]
fn an_error_says_where_and_what() {
    let wrong = [
        ("tcp prot 80", 4, "expected 'and', 'or' or the end, not 'prot'"),
        ("tcp and", 7, "expected a primitive such as 'host', 'port' or 'tcp', but the filter ends"),
        ("host www.example.org", 5, "names such as 'www.example.org' are not looked up; write an address"),
        ("net home", 4, "names such as 'home' are not looked up; write a net"),
        ("port nosuch", 5, "no port is called 'nosuch'; write its number"),
        ("port 70000", 5, "a port is at most 65535"),
        ("udp port ftp", 9, "'ftp' is the name of a port of TCP"),
        (
            "tcp host 1.2.3.4",
            0,
            "there is no 'host' of tcp; it can be of 'ether', 'ip', 'ip6', 'arp' or 'rarp', or of nothing",
        ),
        ("net 10/8", 4, "write a net with a dot, such as 10.0/8"),
        ("net 1.2.3.4/24", 4, "the address has bits outside its mask"),
        ("net 1.2.3.0/33", 12, "expected a prefix length of at most 32, not '33'"),
        ("proto tcp", 6, "expected a protocol; as a name write '\\tcp', not 'tcp'"),
        ("1.2.3.4", 0, "nothing says what '1.2.3.4' is; write 'host', 'net', 'port' before it"),
        ("ip or 5", 6, "nothing says what '5' is; write 'host', 'net', 'port' before it"),
        ("(tcp", 4, "expected 'and', 'or' or ')', but the filter ends"),
        ("tcp[13] & 2", 11, "expected an operator or a comparison such as '=', but the filter ends"),
        ("ip[0] / 0 = 1", 8, "division by zero"),
        ("vlan 4096", 5, "a VLAN identifier is at most 4095"),
        ("vni 16777216", 4, "a VNI is at most 16777215"),
        ("vni", 3, "expected a VNI, but the filter ends"),
        ("mpls and vlan", 9, "there is no 'vlan' behind 'mpls'"),
        (
            "inbound",
            0,
            "'inbound' is not supported: it is for other link types, or for what a mirrored frame does not tell",
        ),
        ("tcp and not tcp", 0, "no packet can match this"),
        ("outer dst 1.2.3.4", 6, "expected 'src': of the outer packet only the source is known, not 'dst'"),
    ];
    for (text, at, what) in wrong {
        assert_eq!(refused(text), (at, what.to_owned()), "{text}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = |open: &str, close: &str, n: usize| format!("{}tcp{}", open.repeat(n), close.repeat(n));
    assert!(Filter::parse(&deep("(", ")", 90)).is_ok());
    assert!(refused(&deep("(", ")", 5000)).1.contains("nested"));
    assert!(refused(&deep("not ", "", 5000)).1.contains("nested"));
    let sum = |n: usize| format!("ip[0]{} = 1", " + ip[1]".repeat(n));
    assert!(Filter::parse(&sum(100)).is_ok());
    assert!(refused(&sum(5000)).1.contains("operations"));
    assert!(refused(&format!("{}ip[0] = 1", "- ".repeat(5000))).1.contains("nested"));
    assert!(refused(&"x".repeat(70_000)).1.contains("longer than"));
    let list = |n: usize| (0..n).map(|n| format!("ip[{n}]={n}")).collect::<Vec<_>>().join(" or ");
    assert!(Filter::parse(&list(1000)).is_ok());
    assert!(refused(&list(3500)).1.contains("too long"));
}

#[test]
fn a_filter_of_white_space_matches_everything() {
    for text in ["", " \t\r\n"] {
        assert!(Filter::parse(text).unwrap().matches(&Packet::default()), "{text:?}");
    }
}

#[test]
fn what_is_around_the_frame_can_be_asked_for() {
    let tunnel = Tunnel {
        vni: Some(5),
        network: Some("blue sky"),
        outer_source: Some([10, 1, 2, 3].into()),
        ..Tunnel::default()
    };
    let packet = Packet { tunnel, ..Packet::default() };
    let matches = |text: &str, packet: &Packet<'_>| Filter::parse(text).unwrap().matches(packet);
    for text in [
        "vni 5",
        "vni 0x5",
        "network \"blue sky\"",
        "outer src 10.1.2.3",
        "outer src net 10.1.0.0/16",
        "outer src 10.1",
    ] {
        assert!(matches(text, &packet), "{text}");
        assert!(!matches(text, &Packet::default()), "{text}");
        assert!(!matches(&format!("not {text}"), &packet), "{text}");
    }
    for text in ["vni 6", "network blue", "outer src 10.1.2.4", "outer src ::1", "vni 5 and vni 6 or network red"] {
        assert!(!matches(text, &packet), "{text}");
    }
    let named = Packet { tunnel: Tunnel { network: Some("tcp"), ..Tunnel::default() }, ..Packet::default() };
    assert!(matches("network tcp", &named));
}
