use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::testing::{CLIENT, Recorder, SERVER, Step, stream, stream_however_cut};
use super::super::{Guess, Next, Opening, Protocol, Side, StreamProtocol};
use super::building::{
    client_hello, der, message, protocols, record, sequence, server_hello, server_name, sized, words,
};
use super::certificate::{ALTERNATIVE_MAX, ALTERNATIVES_BYTES, ALTERNATIVES_MAX};
use super::hellos::{PROTOCOLS_BYTES, PROTOCOLS_MAX};
use super::samples::{self, Sample};
use super::{MESSAGE_MAX, Tls};

mod missing;

fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn pieces(sample: Sample) -> Vec<(Side, Vec<u8>)> {
    sample.iter().map(|(is_client, digits)| (if *is_client { CLIENT } else { SERVER }, unhex(digits))).collect()
}

fn steps(pieces: &[(Side, Vec<u8>)]) -> Vec<Step<'_>> {
    pieces.iter().map(|(side, bytes)| Step::Data(*side, bytes)).collect()
}

/// The `tls` object of the only event.
fn only(events: &[Value]) -> &Value {
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["event_type"], "tls");
    assert_eq!(events[0]["src_ip"], "10.0.0.1");
    &events[0]["tls"]
}

fn tls_of(sample: Sample) -> Value {
    let pieces = pieces(sample);
    let steps = steps(&pieces);
    assert_eq!(stream::<Tls>(&steps).1, Next::Done);
    only(&stream_however_cut::<Tls>(&steps)).clone()
}

#[test]
fn hellos_of_1_3_are_all_that_is_in_clear() {
    // The fingerprints are what Wireshark says of these bytes, as in all the tests with samples.
    let tls = tls_of(samples::RFC_8448);
    assert_eq!(tls["sni"], "server");
    assert_eq!(tls["version"], "TLS 1.3");
    assert_eq!(
        tls["ja3"],
        json!({
            "hash": "da4dea34fe6d4ce5f0725df3f2682fa0",
            "string": "771,4865-4867-4866,0-65281-10-35-51-43-13-45-28,29-23-24-25-256-257-258-259-260,",
        })
    );
    assert_eq!(tls["ja3s"], json!({"hash": "eb1d94daa7e0344597e756a1fb6e7054", "string": "771,4865,51-43"}));
    assert_eq!(tls["server_handshake"]["cipher"], 0x1301);
    assert!(tls.get("truncated").is_none() && tls.get("session_resumed").is_none());
}

#[test]
fn a_handshake_of_1_2_tells_the_certificate() {
    let tls = tls_of(samples::FULL);
    let mut expected = json!({
        "subject": "C=NZ, ST=Otago, O=Example Org, OU=Web, CN=www.example.org, Email=hostmaster@example.org",
        "issuerdn": "C=NZ, ST=Otago, O=Example Org, OU=Web, CN=www.example.org, Email=hostmaster@example.org",
        "subjectaltname": [
            "www.example.org", "*.example.net", "192.0.2.7", "2001:db8::7", "a@example.org", "https://example.org/x",
        ],
        "serial": "01:02:03:04:05:06:07:08",
        "fingerprint": "3f:72:c1:66:2b:29:1f:a8:2f:43:d5:8f:24:f5:c1:32:76:d5:c6:c1",
        "sni": "www.example.org",
        "version": "TLS 1.2",
        "notbefore": "2026-11-21T13:12:50",
        "notafter": "2036-11-18T13:12:50",
        "chain_length": 1,
        "ja3": {
            "hash": "cf4a2ce561d0036efb769e5714b0154b",
            "string": "771,49195-49199-255,0-11-10-35-16-22-23-13,29-23-30-25-24,0-1-2",
        },
        "client_alpns": ["h2", "http/1.1"],
        "server_alpns": ["h2"],
        "server_handshake": {"cipher": 0xc02b},
    });
    assert_eq!(tls["ja3s"]["hash"], "afbc203706421f15554867b55caf16d6");
    assert!(tls["ja4"].as_str().unwrap().starts_with("t12d0308h2_"));
    for fingerprint in ["ja3s", "ja4"] {
        expected[fingerprint] = tls[fingerprint].clone();
    }
    assert_eq!(tls, expected);
}

#[test]
fn a_server_that_turns_encryption_on_without_a_certificate_resumes_a_session() {
    let tls = tls_of(samples::RESUMED);
    assert_eq!(tls["session_resumed"], true);
    assert_eq!(tls["ja3s"]["hash"], "79d63d20e65217c6056fbf2804b8cdae");
    assert!(tls.get("subject").is_none() && tls.get("truncated").is_none());
}

#[test]
fn who_refuses_and_why_is_told() {
    let tls = tls_of(samples::REFUSED);
    let refused = json!({"from": "server", "level": "fatal", "code": 40, "description": "handshake_failure"});
    assert_eq!(tls["alert"], refused);
    assert_eq!(tls["version"], "UNDETERMINED");
    assert_eq!(tls["ja3"]["hash"], "cbb40adb98ca04f1a4f52ff029dd6b1f");

    let tls = tls_of(samples::DISTRUSTED);
    assert_eq!(tls["alert"], json!({"from": "client", "level": "fatal", "code": 48, "description": "unknown_ca"}));
    assert_eq!(tls["serial"], "01:02:03:04:05:06:07:08");
    assert_eq!(tls["ja3s"]["hash"], "10b29985cd0ecd878ac083f059c42d51");
}

#[test]
fn the_hello_after_a_retry_is_the_one_that_counts() {
    let tls = tls_of(samples::RETRIED);
    assert_eq!(tls["version"], "TLS 1.3");
    assert_eq!(tls["ja3"]["hash"], "b76a0e4d93920eb9a4ff1bb9c8879387");
    assert_eq!(tls["ja3s"]["hash"], "15af977ce25de452b96affa2addb1036");
    assert!(tls.get("session_resumed").is_none());

    let tls = tls_of(samples::RETRIED_AND_RESUMED);
    assert_eq!(tls["ja3s"]["hash"], "2253c82f03b621c5144709b393fde2c9");
    assert_eq!(tls["session_resumed"], true);
}

#[test]
fn the_server_took_so_long_to_say_hello() {
    let mut recorder = Recorder::new(vxtap_wire::protocol::TCP, 443);
    let mut tls = Tls::default();
    for (side, bytes) in pieces(samples::RETRIED) {
        recorder.step(|cx| tls.data(side, &bytes, cx));
    }
    let responses = recorder.events.responses(Protocol::Tls).unwrap();
    assert_eq!(responses.len(), 1);
    assert!((990_000..1_010_000).contains(&responses.max()));
}

#[test]
fn data_of_the_client_before_the_server_has_said_hello_is_skipped() {
    let [(_, client), (_, server)] = <[_; 2]>::try_from(pieces(samples::RFC_8448)).unwrap();
    let early = [record(20, &[1]), record(23, &[0xaa; 50])].concat();
    let steps = [Step::Data(CLIENT, &client), Step::Data(CLIENT, &early), Step::Data(SERVER, &server)];
    let events = stream_however_cut::<Tls>(&steps);
    assert_eq!(only(&events)["version"], "TLS 1.3");
    assert!(only(&events).get("truncated").is_none());
}

#[test]
fn a_client_may_begin_with_a_hello_of_version_2() {
    let body = [vec![1, 3, 1], words(&[6, 0, 16]), vec![0, 0, 0x35, 7, 0, 0xc0], vec![5; 16]].concat();
    let hello = [words(&[0x8000 | body.len() as u16]), body].concat();
    let opening = |originator| Opening { originator, responder: &[], originator_port: 40_000, responder_port: 443 };
    assert_eq!(Tls::recognise(&opening(&hello)), Guess::Yes);
    assert_eq!(Tls::recognise(&opening(&hello[..2])), Guess::Perhaps);
    let answer = record(22, &[server_hello(0x0301, 0x35, &[]), message(14, &[])].concat());
    let events = stream_however_cut::<Tls>(&[Step::Data(CLIENT, &hello), Step::Data(SERVER, &answer)]);
    let tls = only(&events);
    assert_eq!(tls["version"], "TLSv1");
    assert_eq!(tls["ja3s"]["string"], "769,53,");
    assert!(tls.get("ja3").is_none() && tls.get("truncated").is_none());
}

#[test]
fn the_side_that_says_client_hello_is_the_client() {
    let hello = record(22, &client_hello(0x0303, &[0x1301], &[(0, server_name("a.example"))]));
    let answer = record(22, &server_hello(0x0303, 0x1301, &[(43, words(&[0x0304]))]));
    let (events, next) = stream::<Tls>(&[Step::Data(SERVER, &hello), Step::Data(CLIENT, &answer)]);
    assert_eq!(next, Next::Done);
    assert_eq!(events[0]["src_ip"], "10.0.0.2");
    assert_eq!(events[0]["tls"]["sni"], "a.example");
}

#[test]
fn first_bytes_tell_tls_from_others() {
    let guess = |originator: &[u8], responder: &[u8]| {
        Tls::recognise(&Opening { originator, responder, originator_port: 40_000, responder_port: 443 })
    };
    let hello = record(22, &client_hello(0x0303, &[0x1301], &[]));
    assert_eq!(guess(&hello, b""), Guess::Yes);
    assert_eq!(guess(&hello[..4], b""), Guess::Perhaps);
    assert_eq!(guess(&[], &record(22, &server_hello(0x0303, 0x1301, &[]))), Guess::Yes);
    assert_eq!(guess(&[], &record(21, &[2, 40])), Guess::Yes);
    assert_eq!(guess(b"GET / HTTP/1.1", b""), Guess::No);
    assert_eq!(guess(b"SSH-2.0-", b""), Guess::No);
    // A record of an unknown kind, of another version, too long.
    assert_eq!(guess(&[19, 3, 1, 0, 5, 1], b""), Guess::No);
    assert_eq!(guess(&[22, 2, 1, 0, 5, 1], b""), Guess::No);
    assert_eq!(guess(&[22, 3, 1, 0xff, 0, 1], b""), Guess::No);
}

#[test]
fn what_contradicts_the_protocol_is_told_once() {
    let hello = record(22, &client_hello(0x0303, &[0x1301], &[]));
    let too_long = record(22, &[11, 0xff, 0xff, 0xff, 0]);
    for (bad, name) in [
        (&b"HTTP/1.1"[..], "invalid_record_type"),
        (&[22, 9, 9, 0, 1, 1], "invalid_record_version"),
        (&[22, 3, 3, 0xff, 0xff, 1], "invalid_record_length"),
        (&too_long, "invalid_handshake_message"),
    ] {
        let steps = [Step::Data(CLIENT, &hello), Step::Data(SERVER, bad)];
        assert_eq!(stream::<Tls>(&steps).1, Next::Done);
        let events = stream_however_cut::<Tls>(&steps);
        assert_eq!(events.len(), 2);
        assert_eq!(events[0]["anomaly"]["event"], name);
        assert_eq!(events[1]["tls"]["truncated"], true);
    }
}

/// A server's flight with this certificate.
fn flight(certificate: &[u8]) -> Vec<u8> {
    let chain = message(11, &sized(3, &[sized(3, certificate), sized(3, b"no certificate")].concat()));
    let messages = [server_hello(0x0303, 0xc02f, &[]), chain, message(14, &[])].concat();
    messages.chunks(1 << 14).flat_map(|piece| record(22, piece)).collect()
}

/// A certificate with this subject and these alternative names.
fn certificate(subject: &[u8], alternatives: &[u8]) -> Vec<u8> {
    let time = der(0x17, b"491231235959Z");
    let extension = sequence(&[der(6, &[0x55, 0x1d, 0x11]), der(1, &[0xff]), der(4, &der(0x30, alternatives))]);
    let fields = [
        der(0xa0, &der(2, &[2])),
        der(2, &[0x00, 0xff]),
        sequence(&[]),
        sequence(&[]),
        sequence(&[time, der(0x18, b"20500101000000Z")]),
        der(0x30, subject),
        sequence(&[]),
        der(0xa3, &sequence(&[extension])),
    ];
    sequence(&[sequence(&fields), sequence(&[]), der(3, &[0])])
}

fn tls_with(certificate: &[u8]) -> Value {
    let hello = record(22, &client_hello(0x0303, &[0xc02f], &[]));
    let (events, _) = stream::<Tls>(&[Step::Data(CLIENT, &hello), Step::Data(SERVER, &flight(certificate))]);
    only(&events).clone()
}

#[test]
fn a_client_may_name_many_protocols_and_that_there_are_more_is_told() {
    let offer = |count: usize, length: usize| {
        let name = "p".repeat(length);
        let hello = client_hello(0x0303, &[0x1301], &[(16, protocols(&vec![&name[..]; count]))]);
        let (events, _) = stream::<Tls>(&[Step::Data(CLIENT, &record(22, &hello))]);
        let tls = only(&events);
        (tls["client_alpns"].as_array().unwrap().len(), tls.get("client_alpns_cut").cloned())
    };
    assert_eq!(offer(61, 8), (61, None));
    assert_eq!(offer(PROTOCOLS_MAX, 8), (PROTOCOLS_MAX, None));
    assert_eq!(offer(PROTOCOLS_MAX + 1, 8), (PROTOCOLS_MAX, Some(json!(true))));
    assert_eq!(offer(60, 250), ((PROTOCOLS_BYTES - 1) / 250, Some(json!(true))));
}

#[test]
fn ja4_of_a_client_without_signature_algorithms_ends_without_an_underscore() {
    // FoxIO's JA4.md; the first is SHA-256 over "000b".
    let print = |extensions: &[(u16, Vec<u8>)]| {
        let (events, _) = stream::<Tls>(&[Step::Data(CLIENT, &record(22, &client_hello(0x0301, &[1], extensions)))]);
        only(&events)["ja4"].as_str().unwrap()[24..].to_owned()
    };
    assert_eq!(print(&[(11, sized(1, &[0]))]), "bcb145a8c2a7");
    assert_eq!(print(&[]), "000000000000");
}

#[test]
fn names_have_the_form_that_eve_has() {
    let attribute = |kind: &[u8], tag, value: &[u8]| sequence(&[der(6, kind), der(tag, value)]);
    let subject = [
        der(0x31, &[attribute(&[0x55, 4, 3], 0x13, b"a"), attribute(&[0x55, 4, 11], 0x0c, "ü".as_bytes())].concat()),
        der(0x31, &attribute(&[0x2a, 0x86, 0x48, 0x01], 0x1e, &[0x20, 0xac, 0, 0x41])),
        der(0x31, &attribute(&[0x55, 4, 5], 0x03, &[0xab, 0x01])),
    ];
    let tls = tls_with(&certificate(&subject.concat(), &[]));
    assert_eq!(tls["subject"], "CN=a + OU=ü, 1.2.840.1=€A, serialNumber=AB01");
    assert_eq!(tls["issuerdn"], "");
    assert_eq!(tls["serial"], "00:FF");
    assert_eq!(tls["notbefore"], "2049-12-31T23:59:59");
    assert_eq!(tls["notafter"], "2050-01-01T00:00:00");
    assert_eq!(tls["chain_length"], 2);
}

#[test]
fn absurd_certificates_make_no_absurd_events() {
    let long = "x".repeat(ALTERNATIVE_MAX + 7);
    let names = [der(0x82, long.as_bytes()), der(0x82, b"a.example").repeat(3000)].concat();
    let attribute = sequence(&[der(6, &[0x55, 4, 3]), der(0x0c, "y".repeat(60_000).as_bytes())]);
    let tls = tls_with(&certificate(&der(0x31, &attribute), &names));
    let listed = tls["subjectaltname"].as_array().unwrap();
    assert_eq!((listed.len(), &tls["subjectaltname_cut"]), (ALTERNATIVES_MAX, &json!(true)));
    assert_eq!(listed[0].as_str().unwrap().len(), ALTERNATIVE_MAX);
    assert_eq!(tls["subject"].as_str().unwrap().len(), super::name::NAME_MAX);

    let names = der(0x82, &[b'z'; 250]);
    let tls = tls_with(&certificate(&der(0x31, &attribute), &names.repeat(200)));
    let listed = tls["subjectaltname"].as_array().unwrap().len();
    assert_eq!((listed, &tls["subjectaltname_cut"]), ((ALTERNATIVES_BYTES - 1) / 250, &json!(true)));
    let tls = tls_with(&certificate(&der(0x31, &attribute), &names.repeat(60)));
    assert_eq!((tls["subjectaltname"].as_array().unwrap().len(), tls.get("subjectaltname_cut")), (60, None));

    // Lengths beyond the end, or of no certificate at all: the rest of the event stands.
    for broken in [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0x80, 0, 0], b"hello", &[]] {
        let tls = tls_with(broken);
        assert_eq!(tls["version"], "TLS 1.2");
        assert!(tls.get("subject").is_none());
    }
}

#[test]
fn fingerprints_leave_out_values_that_mean_nothing() {
    let plain = client_hello(0x0303, &[0x1301, 0xc02b], &[(0, server_name("a")), (10, sized(2, &words(&[29])))]);
    let greased = client_hello(
        0x0303,
        &[0x0a0a, 0x1301, 0xc02b],
        &[(0x1a1a, vec![]), (0, server_name("a")), (10, sized(2, &words(&[0xfafa, 29])))],
    );
    let print = |hello: &[u8]| {
        let (events, _) = stream::<Tls>(&[Step::Data(CLIENT, &record(22, hello))]);
        let tls = only(&events);
        (tls["ja3"].clone(), tls["ja4"].clone())
    };
    assert_eq!(print(&plain).0["string"], "771,4865-49195,0-10,29,");
    assert_eq!(print(&plain), print(&greased));
}

#[test]
fn ja4_of_clients_that_others_have_seen() {
    // From a capture of TLS 1.0, whose JA3 lists all that JA4 is made of.
    let ciphers = [
        49172, 49162, 57, 56, 136, 135, 49167, 49157, 53, 132, 49170, 49160, 22, 19, 49165, 49155, 10, 49171, 49161,
        51, 50, 154, 153, 69, 68, 49166, 49156, 47, 150, 65, 7, 49169, 49159, 49164, 49154, 5, 4, 21, 18, 9, 20, 17, 8,
        6, 3, 255,
    ];
    let extensions = [(11, sized(1, &[0, 1, 2])), (10, sized(2, &words(&[24, 23]))), (35, vec![]), (15, vec![1])];
    let hello = record(22, &client_hello(0x0301, &ciphers, &extensions));
    let (events, _) = stream::<Tls>(&[Step::Data(CLIENT, &hello)]);
    assert_eq!(only(&events)["ja3"]["hash"], "503053a0c5b2bd9b9334bf7f3d3b8852");
    assert_eq!(only(&events)["ja4"], "t10i460400_234845559c90_282f11336259");

    // Protocols whose ends are no letters or digits are told by their hexadecimal digits.
    for (protocol, ends) in [("spdy/3.1", "s1"), ("h", "hh"), ("\u{1}x", "08"), ("", "00")] {
        let hello = record(22, &client_hello(0x0303, &[1], &[(16, protocols(&[protocol]))]));
        let (events, _) = stream::<Tls>(&[Step::Data(CLIENT, &hello)]);
        assert_eq!(only(&events)["ja4"].as_str().unwrap()[8..10], *ends, "{protocol:?}");
    }
}

#[test]
fn a_hello_with_too_many_ciphers_gets_no_fingerprint() {
    let hello = record(22, &client_hello(0x0303, &[0x1301; 5000], &[(0, server_name("a"))]));
    let (events, _) = stream::<Tls>(&[Step::Data(CLIENT, &hello)]);
    let tls = only(&events);
    assert_eq!(tls["sni"], "a");
    assert!(tls.get("ja3").is_none() && tls.get("ja4").is_none());
}

/// Feeds pieces and gaps; memory stays in its bounds and there is one event at most besides anomalies.
fn feed(steps: &[(bool, Vec<u8>, u8)]) -> Result<(), TestCaseError> {
    let mut recorder = Recorder::new(vxtap_wire::protocol::TCP, 443);
    let mut tls = Tls::default();
    for (is_client, bytes, gap) in steps {
        let side = if *is_client { CLIENT } else { SERVER };
        if !bytes.is_empty() {
            recorder.step(|cx| tls.data(side, bytes, cx));
        }
        if *gap == 0 {
            recorder.step(|cx| tls.gap(side, 9, cx));
        }
        for half in &tls.halves {
            prop_assert!(half.pending.bytes().len() <= MESSAGE_MAX);
        }
    }
    for side in [CLIENT, SERVER] {
        recorder.step(|cx| tls.end(side, cx));
    }
    let events = recorder.take();
    prop_assert!(events.iter().filter(|event| event["event_type"] == "tls").count() <= 1);
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_never_panic_and_stay_in_bounds(
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..200), any::<u8>()), 0..20),
    ) {
        feed(&steps)?;
    }

    #[test]
    fn handshakes_with_wrong_bytes_never_panic_and_stay_in_bounds(
        which in 0usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        size in 1usize..2000,
    ) {
        let sample = [
            samples::RFC_8448, samples::FULL, samples::RESUMED, samples::DISTRUSTED, samples::RETRIED_AND_RESUMED,
        ][which];
        let mut pieces = pieces(sample);
        for (index, byte) in changes {
            let total: usize = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
            let mut at = index.index(total);
            for (_, bytes) in &mut pieces {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                    break;
                }
                at -= bytes.len();
            }
        }
        let steps: Vec<_> = pieces
            .iter()
            .flat_map(|(side, bytes)| bytes.chunks(size).map(move |bytes| (*side == CLIENT, bytes.to_vec(), 1)))
            .collect();
        feed(&steps)?;
    }

    #[test]
    fn certificates_with_wrong_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let subject = der(0x31, &sequence(&[der(6, &[0x55, 4, 3]), der(0x1e, b"abcd")]));
        let mut bytes = certificate(&subject, &der(0x82, b"x"));
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        super::certificate::Certificate::read(&bytes[..cut.index(bytes.len())], false);
        super::certificate::Certificate::read(&bytes, true);
    }
}
