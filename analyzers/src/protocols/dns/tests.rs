use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{CLIENT, Recorder, SERVER, Step, datagrams, stream, stream_however_cut};
use super::super::{DatagramProtocol, Guess, Next, Opening, Side, StreamProtocol};
use super::{DnsDatagrams, DnsStream};

mod missing;

fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [id, flags, counts[0], counts[1], counts[2], counts[3]].iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn question(host: &str, kind: u16) -> Vec<u8> {
    [name(host), kind.to_be_bytes().to_vec(), vec![0, 1]].concat()
}

/// A record of the name that the message's question has.
fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    [&[0xc0, 12], &kind.to_be_bytes()[..], &[0, 1, 0, 0, 0, 60], &length, data].concat()
}

fn query(id: u16, host: &str) -> Vec<u8> {
    [header(id, 0x0100, [1, 0, 0, 0]), question(host, 1)].concat()
}

/// An answer to `host` with these records.
fn response(id: u16, host: &str, records: &[Vec<u8>]) -> Vec<u8> {
    [header(id, 0x8180, [1, records.len() as u16, 0, 0]), question(host, 1), records.concat()].concat()
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn dns(events: &[Value]) -> Vec<Value> {
    events.iter().filter(|event| event["event_type"] == "dns").map(|event| event["dns"].clone()).collect()
}

fn anomalies(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["anomaly"]["event"].as_str()).collect()
}

/// The one answer of a response with this record.
fn answer(kind: u16, data: &[u8]) -> Value {
    let events = datagrams::<DnsDatagrams>(&[(SERVER, &response(1, "a.b", &[record(kind, data)]))]).0;
    assert_eq!(anomalies(&events), Vec::<&str>::new());
    dns(&events)[0]["answers"][0].clone()
}

#[test]
fn a_query_and_its_answer_are_two_events_and_the_answer_says_how_long_it_took() {
    let (events, next) = datagrams::<DnsDatagrams>(&[
        (CLIENT, &query(7, "www.example.org")),
        (SERVER, &response(7, "www.example.org", &[record(5, &name("x.org")), record(1, &[192, 0, 2, 7])])),
    ]);
    assert_eq!(next, Next::More);
    assert_eq!(
        dns(&events),
        [
            json!({
                "version": 3, "type": "request", "tx_id": 0, "id": 7, "flags": "100", "rd": true, "opcode": 0,
                "rcode": "NOERROR", "queries": [{"rrname": "www.example.org", "rrtype": "A"}],
            }),
            json!({
                "version": 3, "type": "response", "tx_id": 1, "id": 7, "flags": "8180", "qr": true, "rd": true, "ra": true,
                "opcode": 0, "rcode": "NOERROR", "queries": [{"rrname": "www.example.org", "rrtype": "A"}],
                "answers": [
                    {"rrname": "www.example.org", "rrtype": "CNAME", "ttl": 60, "rdata": "x.org"},
                    {"rrname": "www.example.org", "rrtype": "A", "ttl": 60, "rdata": "192.0.2.7"},
                ],
                "grouped": {"A": ["192.0.2.7"], "CNAME": ["x.org"]},
                "response_time_us": 1000,
            }),
        ]
    );
    assert_eq!((&events[0]["src_ip"], &events[1]["src_ip"]), (&json!("10.0.0.1"), &json!("10.0.0.2")));
}

#[test]
fn data_of_records_is_told_in_suricatas_form_where_it_has_one() {
    assert_eq!(
        answer(28, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])["rdata"],
        "2001:0db8:0000:0000:0000:0000:0000:0001"
    );
    assert_eq!(answer(15, &[&[0, 10][..], &name("mx.a.b")].concat())["rdata"], "mx.a.b");
    let start = [name("ns.a.b"), name("root.a.b")].concat();
    let numbers: Vec<u8> = [1u32, 2, 3, 4, 5].iter().flat_map(|number| number.to_be_bytes()).collect();
    assert_eq!(
        answer(6, &[start, numbers].concat())["soa"],
        json!({"mname": "ns.a.b", "rname": "root.a.b", "serial": 1, "refresh": 2, "retry": 3, "expire": 4, "minimum": 5})
    );
    assert_eq!(
        answer(33, &[&[0, 1, 0, 2, 0x1f, 0x90][..], &name("s.a.b")].concat())["srv"],
        json!({"priority": 1, "weight": 2, "port": 8080, "name": "s.a.b"})
    );
    assert_eq!(answer(44, &[4, 2, 0xab, 0xcd])["sshfp"], json!({"fingerprint": "ab:cd", "algo": 4, "type": 2}));
    assert_eq!(
        answer(41, &[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2])["opt"],
        json!([{"code": 8, "data": "00011800c00002", "client_subnet": "192.0.2.0/24"}])
    );
    let events = datagrams::<DnsDatagrams>(&[(SERVER, &response(1, "a.b", &[record(16, b"\x02ab\x01c")]))]).0;
    assert_eq!(dns(&events)[0]["answers"].as_array().unwrap().len(), 2);
    assert_eq!(dns(&events)[0]["grouped"], json!({"TXT": ["ab", "c"]}));
}

#[test]
fn data_of_other_records_is_told_in_short() {
    assert_eq!(answer(257, b"\x00\x05issueca.org")["rdata"], "0 issue \"ca.org\"");
    assert_eq!(answer(43, &[0x30, 0x39, 13, 2, 0xab])["rdata"], "12345 13 2 ab");
    assert_eq!(answer(48, &[1, 1, 3, 13, 9, 9, 9])["rdata"], "257 3 13");
    let signed = [&[0, 1, 13, 2, 0, 0, 0, 60, 0, 0, 0, 2, 0, 0, 0, 1, 0, 7][..], &name("a.b"), b"signature"].concat();
    assert_eq!(answer(46, &signed)["rdata"], "A 13 2 60 2 1 7 a.b");
    assert_eq!(answer(47, &[&name("c.b")[..], &[0, 1, 0x40]].concat())["rdata"], "c.b A");
    assert_eq!(
        answer(65, b"\x00\x01\x00\x00\x01\x00\x06\x02h2\x02h3\x00\x03\x00\x02\x01\xbb\x00\x04\x00\x04\xc0\x00\x02\x01")
            ["rdata"],
        "1 . alpn=h2,h3 port=443 ipv4hint=192.0.2.1"
    );
    let pointer = [&[0, 1, 0, 2][..], b"\x01u\x03E2U\x00", &name("x.b")].concat();
    assert_eq!(answer(35, &pointer)["rdata"], "1 2 \"u\" \"E2U\" \"\" x.b");
    assert_eq!(answer(52, &[3, 1, 1, 0xfe])["rdata"], "3 1 1 fe");
}

#[test]
fn what_is_left_of_a_message_that_the_mirror_cut_is_told_without_an_anomaly() {
    let whole = response(1, "a.b", &[record(1, &[192, 0, 2, 7]), record(1, &[192, 0, 2, 8])]);
    let mut recorder = Recorder::new(vxtap_wire::protocol::UDP, 53);
    let mut analysed = DnsDatagrams::default();
    recorder.step(|cx| analysed.datagram(SERVER, &whole[..whole.len() - 6], 6, cx));
    let events = recorder.take();
    assert_eq!(anomalies(&events), Vec::<&str>::new());
    let message = &dns(&events)[0];
    assert_eq!(message["truncated"], true);
    assert_eq!(message["answers"].as_array().unwrap().len(), 1);
    // The same bytes without a cut contradict their own header.
    recorder.step(|cx| analysed.datagram(SERVER, &whole[..whole.len() - 6], 0, cx));
    recorder.step(|cx| analysed.datagram(SERVER, &whole[..whole.len() - 6], 0, cx));
    assert_eq!(anomalies(&recorder.take()), ["malformed_data"]);
}

#[test]
fn wherever_a_message_is_cut_no_half_value_and_no_empty_list_is_told() {
    let authority = [name("ns.a.b"), name("root.a.b"), [0, 0, 0, 9].repeat(5)].concat();
    let service = [vec![0, 1, 0, 2, 0, 53], name("s.a.b")].concat();
    let records = [
        record(1, &[192, 0, 2, 7]),
        record(5, &name("www.a.b")),
        record(6, &authority),
        record(33, &service),
        record(16, b"\x05first\x06second"),
        record(44, &[1, 2, 0xab, 0xcd]),
        record(43, &[0x12, 0x34, 8, 2, 0xfe, 0xdc]),
        record(65, &[&[0, 1][..], &name("h.a.b"), &[0, 3, 0, 2, 1, 0xbb]].concat()),
    ];
    let subnet = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0, 213, 61, 29];
    let mut whole = [&response(1, "a.b", &records)[..], &subnet].concat();
    whole[11] = 1;
    let read = |there: usize| {
        let mut recorder = Recorder::new(vxtap_wire::protocol::UDP, 53);
        let missing = (whole.len() - there) as u32;
        recorder.step(|cx| DnsDatagrams::default().datagram(SERVER, &whole[..there], missing, cx));
        let events = recorder.take();
        assert_eq!(anomalies(&events), Vec::<&str>::new(), "{there}");
        dns(&events)[0].clone()
    };
    let all = read(whole.len());
    assert_eq!((all["answers"].as_array().unwrap().len(), all["grouped"].as_object().unwrap().len()), (9, 6));
    assert_eq!(all["additionals"][0]["opt"][0]["client_subnet"], "213.61.29.0/24");
    for there in 12..whole.len() {
        let part = read(there);
        assert_eq!(part["truncated"], true);
        for section in ["answers", "additionals"] {
            let told = part.get(section).map_or(&[][..], |list| list.as_array().unwrap());
            for (record, whole) in told.iter().zip(all[section].as_array().unwrap()) {
                let mut without_data = whole.clone();
                without_data.as_object_mut().unwrap().retain(|key, _| ["rrname", "rrtype", "ttl"].contains(&&key[..]));
                let is_last = std::ptr::eq(record, told.last().unwrap());
                assert!(record == whole || is_last && *record == without_data, "{there}: {record}");
            }
        }
        if let Some(grouped) = part.get("grouped") {
            let grouped = grouped.as_object().unwrap();
            assert!(!grouped.is_empty() && grouped.iter().all(|(key, list)| *list == all["grouped"][key]), "{there}");
        }
    }
}

#[test]
fn a_loop_of_pointers_is_an_anomaly_and_the_message_is_told() {
    let looped = [header(1, 0x8180, [1, 1, 0, 0]), question("a.b", 1), record(5, &[0xc0, 33])].concat();
    assert_eq!(looped[33], 0xc0, "the pointer lies where it points");
    let (events, _) = datagrams::<DnsDatagrams>(&[(SERVER, &looped)]);
    assert_eq!(anomalies(&events), ["infinite_loop"]);
    assert_eq!(dns(&events)[0]["answers"], json!([{"rrname": "a.b", "rrtype": "CNAME", "ttl": 60}]));
}

#[test]
fn a_response_from_who_asks_is_an_anomaly() {
    let (events, _) = datagrams::<DnsDatagrams>(&[
        (CLIENT, &query(1, "a.b")),
        (CLIENT, &response(1, "a.b", &[])),
        (SERVER, &query(1, "a.b")),
    ]);
    assert_eq!(anomalies(&events), ["not_request", "not_response"]);
}

#[test]
fn messages_over_tcp_are_cut_by_their_lengths() {
    let (ask, tell) = (framed(&query(1, "a.b")), framed(&response(1, "a.b", &[record(1, &[1, 2, 3, 4])])));
    let both = [&ask[..], &framed(&query(2, "c.b"))].concat();
    let events = stream_however_cut::<DnsStream>(&[Step::Data(CLIENT, &both), Step::Data(SERVER, &tell)]);
    let told: Vec<_> = dns(&events).iter().map(|dns| (dns["tx_id"].clone(), dns["id"].clone())).collect();
    assert_eq!(told, [(json!(0), json!(1)), (json!(1), json!(2)), (json!(2), json!(1))]);
}

#[test]
fn after_a_gap_over_tcp_the_next_message_is_found() {
    let tell = |id| framed(&response(id, "a.b", &[record(1, &[1, 2, 3, 4])]));
    let (first, second) = (tell(1), tell(2));
    // The rest of one message is missing; more than that is; a whole one is.
    for (there, missing) in [(20, first.len() - 20), (20, first.len() + 9), (first.len(), 500)] {
        let (events, _) = stream::<DnsStream>(&[
            Step::Data(SERVER, &first[..there]),
            Step::Gap(SERVER, missing as u64),
            Step::Data(SERVER, &second),
        ]);
        assert_eq!(anomalies(&events), Vec::<&str>::new());
        let told = dns(&events);
        assert_eq!((&told[0]["id"], &told[1]["id"]), (&json!(1), &json!(2)));
        assert_eq!(told[0]["truncated"] == true, there == 20);
    }
}

#[test]
fn dns_is_recognised_by_its_bytes_and_broken_dns_on_its_port() {
    let ask = query(1, "www.example.org");
    assert!(DnsDatagrams::recognise(&ask, (40_000, 53)));
    assert!(DnsDatagrams::recognise(&ask, (40_000, 1053)));
    assert!(DnsDatagrams::recognise(&ask[..14], (40_000, 53)));
    assert!(!DnsDatagrams::recognise(&ask[..14], (40_000, 1053)));
    assert!(!DnsDatagrams::recognise(&ask, (137, 137)));
    assert!(!DnsDatagrams::recognise(b"GET / HTTP/1.1\r\n", (40_000, 1053)));
    let open = |bytes, port| {
        DnsStream::recognise(&Opening {
            originator: bytes,
            responder: b"",
            originator_port: 40_000,
            responder_port: port,
        })
    };
    let ask = framed(&ask);
    assert_eq!([open(&ask, 53), open(&ask, 1053)], [Guess::Yes, Guess::Yes]);
    assert_eq!([open(&ask[..9], 53), open(&ask[..20], 1053)], [Guess::Perhaps, Guess::Perhaps]);
    assert_eq!(
        [open(b"GET / HTTP/1.1\r\n\r\n", 80), open(b"\x16\x03\x01\x02\x00\x01", 443)],
        [Guess::No, Guess::Perhaps]
    );
    assert_eq!(open(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdef", 443), Guess::No);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_in_any_pieces_never_panic(
        noise in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..8),
        cut in 1usize..60,
        gaps: bool,
    ) {
        let mut message = [
            header(1, 0x8180, [1, 6, 0, 1]),
            question("host.a.b", 1),
            record(1, &[1, 2, 3, 4]),
            record(6, &[&name("ns.a.b")[..], &[0; 20]].concat()),
            record(16, b"\x02ab\x01c"),
            record(65, b"\x00\x01\x00\x00\x01\x00\x03\x02h2\x00\x04\x00\x04\xc0\x00\x02\x01"),
            record(46, &[&[0; 18][..], &name("a.b")].concat()),
            record(35, &[&[0, 1, 0, 2][..], b"\x01u\x03E2U\x00", &[0xc0, 12]].concat()),
            record(41, &[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]),
        ].concat();
        for (at, byte) in noise {
            let at = usize::from(at) % message.len();
            message[at] = byte;
        }
        let (events, _) = datagrams::<DnsDatagrams>(&[(SERVER, &message), (CLIENT, &message[..cut.min(message.len())])]);
        prop_assert!(events.len() <= 12);
        let bytes = [framed(&message), framed(&message)].concat();
        let mut steps = Vec::new();
        for piece in bytes.chunks(cut) {
            steps.push(Step::Data(Side::Responder, piece));
            if gaps {
                steps.push(Step::Gap(Side::Responder, cut as u64));
            }
        }
        stream::<DnsStream>(&steps);
    }
}
