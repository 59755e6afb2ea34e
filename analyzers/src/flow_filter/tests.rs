use super::*;

fn flow() -> FlowSnapshot {
    FlowSnapshot {
        worker: 1,
        community_id: String::new(),
        network: Some(42),
        network_name: Some("blue".to_owned()),
        stream: "vni 42 from 10.200.0.1".to_owned(),
        protocol: "TCP".to_owned(),
        originator: "10.0.0.1".parse().unwrap(),
        originator_port: Some(40_000),
        responder: "192.0.2.7".parse().unwrap(),
        responder_port: Some(443),
        state: "established".to_owned(),
        app: Some("tls".to_owned()),
        frames_to_responder: 0,
        frames_to_originator: 0,
        bytes_to_responder: 0,
        bytes_to_originator: 0,
        tcp_flags_to_responder: 0,
        tcp_flags_to_originator: 0,
        first_ns: 0,
        last_ns: 0,
    }
}

#[test]
fn every_kind_of_word_selects_by_its_field() {
    for (filter, wanted) in [
        ("", true),
        ("tcp", true),
        ("UDP", false),
        ("!udp", true),
        ("10.0.0.1", true),
        ("10.0.0.2", false),
        ("10.0.0.0/8", true),
        ("192.0.2.0/24", true),
        ("0.0.0.0/0", true),
        ("::/0", false),
        ("port 443", true),
        (":40000", true),
        ("port 80", false),
        ("vni 42", true),
        ("vni 43", false),
        ("network blue", true),
        ("!network red", true),
        ("app TLS", true),
        ("app http", false),
        ("worker 1", true),
        ("worker 0", false),
        ("state established", true),
        ("state closed", false),
        ("stream 10.200", true),
        ("stream other", false),
        ("tcp port 443 vni 42 !10.9.0.0/16", true),
        ("tcp port 443 vni 43", false),
    ] {
        assert_eq!(filter.parse::<FlowFilter>().unwrap().matches(&flow()), wanted, "{filter}");
    }
}

#[test]
fn what_cannot_be_understood_is_named_with_what_was_expected() {
    for (filter, message) in [
        (
            "tcp nonsense",
            "'nonsense' in the filter: expected a protocol, an address, a prefix, 'port N', 'vni N', 'network NAME', 'app NAME', 'worker N', 'state NAME' or 'stream TEXT'",
        ),
        ("port", "'port' in the filter: expected a port number behind 'port'"),
        ("port 70000", "'70000' in the filter: expected a port, 0 to 65535"),
        (
            "10.0.0.0/33",
            "'10.0.0.0/33' in the filter: expected a protocol, an address, a prefix, 'port N', 'vni N', 'network NAME', 'app NAME', 'worker N', 'state NAME' or 'stream TEXT'",
        ),
        ("state open", "'open' in the filter: expected new, established or closed"),
        (
            "\u{1b}[31m",
            "'\\u{1b}[31m' in the filter: expected a protocol, an address, a prefix, 'port N', 'vni N', 'network NAME', 'app NAME', 'worker N', 'state NAME' or 'stream TEXT'",
        ),
    ] {
        assert_eq!(filter.parse::<FlowFilter>().unwrap_err().to_string(), message, "{filter}");
    }
}

#[test]
fn a_filter_has_at_most_32_words() {
    assert!("tcp ".repeat(32).parse::<FlowFilter>().is_ok());
    assert!("tcp ".repeat(33).parse::<FlowFilter>().is_err());
}
