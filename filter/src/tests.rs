use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What filters are made of, and some that they are not.
#[rustfmt::skip]
const TOKENS: [&str; 96] = [
    "and", "or", "not", "&&", "||", "!", "(", ")", "[", "]", ":", "/", "+", "-", "*", "%", "&", "|", "^", "<<", ">>", "=",
    "==", "!=", "<", "<=", ">", ">=", "src", "dst", "host", "net", "mask", "port", "portrange", "proto", "protochain",
    "gateway", "broadcast", "multicast", "less", "greater", "len", "vlan", "mpls", "pppoes", "pppoed", "geneve", "llc",
    "vni", "network", "outer", "ether", "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "pim",
    "iso", "isis", "stp", "l1", "inbound", "0", "1", "2", "4", "80", "0x800", "4096", "99999", "4294967296", "10.0",
    "10.0.0.1", "255.255.0.0", "::", "::1", "fe80::1", "0:1:2:3:4:5", "80-90", "http", "ftp-data", "tcpflags", "tcp-syn",
    "\\tcp", "\\ip", "name", "\"blue\"", "#", "é",
];

/// Filters without shifts of offsets, each of one primitive.
#[rustfmt::skip]
const PRIMITIVES: [&str; 24] = [
    "ip", "ip6", "arp", "tcp", "udp", "icmp", "host 10.0.0.1", "src 10.0.0.2", "dst net 10.0.0.0/8", "port 80",
    "src port 53", "tcp dst port 80", "portrange 50-100", "ether broadcast", "ip multicast", "ip[8] = 64", "ip[1] > 2",
    "tcp[13] & 2 != 0", "udp[2:2] = 53", "len > 90", "ether[12:2] < 0x900", "ip6 host ::1", "vni 5", "ip[0] & 0xf = 5",
];

/// A frame that is long enough for all of them, of bytes that they ask for.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let header = select(vec![[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06], [0x81, 0x00], [0x00, 0x20]]);
    let first = select(vec![0x45, 0x46, 0x4f, 0x60, 0x00]);
    let rest = vec(select(vec![0, 1, 2, 6, 10, 17, 53, 64, 80, 224, 255]), 120);
    (header, first, rest, select(vec![1, 6, 17, 58]), any::<bool>()).prop_map(
        |(kind, first, mut frame, protocol, fragment)| {
            frame[12..14].copy_from_slice(&kind);
            frame[14] = first;
            if !fragment {
                frame[20..22].copy_from_slice(&[0, 0]);
            }
            if kind == [0x08, 0x00] {
                frame[23] = protocol;
            }
            frame
        },
    )
}

/// A filter of primitives, and the same as a function of what each primitive says.
#[derive(Clone, Debug)]
enum Shape {
    Primitive(usize),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

impl Shape {
    fn text(&self) -> String {
        match self {
            Self::Primitive(at) => PRIMITIVES[*at].to_owned(),
            Self::Not(inner) => format!("not ({})", inner.text()),
            Self::And(left, right) => format!("({}) and ({})", left.text(), right.text()),
            Self::Or(left, right) => format!("({}) or ({})", left.text(), right.text()),
        }
    }

    fn holds(&self, primitives: &[bool]) -> bool {
        match self {
            Self::Primitive(at) => primitives[*at],
            Self::Not(inner) => !inner.holds(primitives),
            Self::And(left, right) => left.holds(primitives) && right.holds(primitives),
            Self::Or(left, right) => left.holds(primitives) || right.holds(primitives),
        }
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let primitive = (0..PRIMITIVES.len()).prop_map(Shape::Primitive);
    primitive.prop_recursive(6, 24, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|inner| Shape::Not(Box::new(inner))),
            pair.clone().prop_map(|(left, right)| Shape::And(Box::new(left), Box::new(right))),
            pair.prop_map(|(left, right)| Shape::Or(Box::new(left), Box::new(right))),
        ]
    })
}

/// Whatever is said of `text`, the place is in it, and all that can be asked of a filter can be asked.
fn survives(text: &str, frame: &[u8]) {
    match Filter::parse(text) {
        Ok(filter) => {
            let packet = Packet { frame, wire_len: frame.len() as u32, ..Packet::default() };
            filter.matches(&packet);
            assert!(filter.may_match(&FlowFacts::no_flow()));
            if let Ok(program) = filter.program(96) {
                assert!((1..=program::MAX_STEPS).contains(&program.len()));
            }
        }
        Err(error) => {
            assert!(text.is_char_boundary(error.at()), "{text:?}: {error:?}");
            let shown = format!("{error}{}", error.with_caret().to_string().replacen('\n', "", 1));
            assert!(!shown.contains(char::is_control), "{text:?}: {shown:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_words_are_a_filter_or_an_error_with_its_place(words in vec(select(&TOKENS[..]), 0..30), frame in vec(any::<u8>(), 0..100)) {
        survives(&words.join(" "), &frame);
        survives(&words.concat(), &frame);
    }

    #[test]
    fn any_text_is_a_filter_or_an_error_with_its_place(text in any::<String>(), bytes in vec(any::<u8>(), 0..60)) {
        survives(&text, &bytes);
        survives(&String::from_utf8_lossy(&bytes), &bytes);
    }

    #[test]
    fn a_simplified_filter_says_what_its_primitives_say(shape in shape(), frames in vec(frame(), 20), vni in 4_u32..7) {
        let text = shape.text();
        let primitives = PRIMITIVES.map(|text| Filter::parse(text).unwrap());
        let filter = Filter::parse(&text);
        for frame in &frames {
            let tunnel = Tunnel { vni: Some(vni), ..Tunnel::default() };
            let packet = Packet { frame, wire_len: frame.len() as u32, tunnel, ..Packet::default() };
            let each: Vec<bool> = primitives.iter().map(|filter| filter.matches(&packet)).collect();
            // What is refused is refused because nothing can match.
            let got = filter.as_ref().is_ok_and(|filter| filter.matches(&packet));
            prop_assert_eq!(got, shape.holds(&each), "{} {:02x?}", &text, frame);
        }
    }
}

#[test]
fn a_frame_that_ends_before_what_is_asked_for_does_not_match() {
    let frame = [0; 13];
    let packet = Packet { frame: &frame, wire_len: 60, ..Packet::default() };
    for text in ["ip", "not ip", "ether[13] = 0 or len > 0", "ether[0] = 1 or not ether[13] = 0"] {
        assert!(!Filter::parse(text).unwrap().matches(&packet), "{text}");
    }
    assert!(Filter::parse("len > 0 or ether[13] = 0").unwrap().matches(&packet));
}

#[test]
fn a_chain_of_headers_that_goes_round_ends() {
    // An authentication header whose length leads back to it.
    let mut frame = [0; 100];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame[20] = 51;
    frame[54..56].copy_from_slice(&[51, 8]);
    let packet = Packet { frame: &frame, wire_len: 100, ..Packet::default() };
    assert!(!Filter::parse("ip6 protochain 6").unwrap().matches(&packet));
}

#[test]
fn clones_are_one_filter_and_threads_may_share_it() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    let filter = Filter::parse("tcp").unwrap();
    shared(&filter);
    assert_eq!(filter.clone().text(), "tcp");
}
