mod losses;
mod upgrade;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{BLOCK_MAX, Http2};
use crate::protocols::testing::{CLIENT, Recorder, SERVER, Step, stream, stream_however_cut};
use crate::protocols::{Guess, Next, Opening, Protocol, Side, StreamProtocol};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that goes into the table.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| {
        assert!(text.len() < 127);
        text.len() as u8
    };
    [&[0x40, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

fn preface() -> Vec<u8> {
    [super::PREFACE.as_slice(), &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])].concat()
}

/// `:method: GET`, `:scheme: http`, `:path`, `:authority`, `user-agent`.
fn get(path: &str) -> Vec<u8> {
    let agent = field("user-agent", "test/2");
    [&[0x82, 0x86][..], &field(":path", path), &field(":authority", "A.example"), &agent].concat()
}

/// `:status: 200`, `content-type`.
fn ok(content_type: &str) -> Vec<u8> {
    [&[0x88][..], &field("content-type", content_type)].concat()
}

fn http(events: &[Value]) -> Vec<Value> {
    let objects = events.iter().filter(|event| event["event_type"] == "http").map(|event| event["http"].clone());
    objects
        .map(|mut http| {
            http.as_object_mut().unwrap().remove("response_time_us");
            http
        })
        .collect()
}

fn anomalies(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["anomaly"]["event"].as_str()).collect()
}

#[test]
fn a_stream_is_an_event_when_both_sides_have_ended_it() {
    let client = [preface(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &get("/a"))].concat();
    let padded = [&[3][..], b"hello", &[0; 3]].concat();
    let server = [
        frame(SETTINGS, 0, 0, &[]),
        frame(SETTINGS, 1, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &[0x48, 3, b'1', b'0', b'3']),
        frame(HEADERS, END_HEADERS, 1, &ok("text/plain; x=y")),
        frame(DATA, 0, 1, b"hello"),
        frame(DATA, END_STREAM | PADDED, 1, &padded),
    ]
    .concat();
    let events = stream_however_cut::<Http2>(&[Step::Data(CLIENT, &client), Step::Data(SERVER, &server)]);
    assert_eq!(events.len(), 1);
    assert!(events[0]["http"]["response_time_us"].is_u64());
    assert_eq!(
        http(&events)[0],
        json!({
            "version": "2", "hostname": "a.example", "url": "/a", "http_user_agent": "test/2",
            "http_content_type": "text/plain", "http_method": "GET", "status": 200, "length": 10, "request_length": 0,
            "interim": [103], "http2": {"stream_id": 1},
        })
    );
}

#[test]
fn blocks_go_on_in_continuations_and_promises_are_requests() {
    let block = get("/a");
    let client = [
        preface(),
        frame(HEADERS, END_STREAM, 1, &block[..5]),
        frame(9, 0, 1, &block[5..20]),
        frame(9, END_HEADERS, 1, &block[20..]),
    ]
    .concat();
    let promise = [&[0, 0, 0, 2][..], &get("/pushed")].concat();
    let server = [
        frame(SETTINGS, 0, 0, &[]),
        frame(5, END_HEADERS, 1, &promise),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &ok("a/b")),
        frame(HEADERS, END_HEADERS, 2, &[0x88]),
        frame(DATA, END_STREAM, 2, b"pushed"),
    ]
    .concat();
    let events = stream_however_cut::<Http2>(&[Step::Data(CLIENT, &client), Step::Data(SERVER, &server)]);
    let http = http(&events);
    assert_eq!((&http[0]["url"], &http[0]["http2"]["stream_id"]), (&json!("/a"), &json!(1)));
    assert_eq!((&http[1]["url"], &http[1]["http2"]["stream_id"]), (&json!("/pushed"), &json!(2)));
    assert_eq!((&http[1]["status"], &http[1]["length"]), (&json!(200), &json!(6)));
    assert!(http.iter().all(|http| http.get("truncated").is_none()), "{http:?}");
}

#[test]
fn a_call_of_grpc_is_told_with_its_messages() {
    let request = [get("/pkg.Greeter/SayHello"), field("content-type", "application/grpc")].concat();
    let client = [
        preface(),
        frame(HEADERS, END_HEADERS, 1, &request),
        frame(DATA, 0, 1, b"\0\0\0\0\x02h"),
        frame(DATA, END_STREAM, 1, b"i"),
    ]
    .concat();
    let trailer = [field("grpc-status", "5"), field("grpc-message", "not%20found")].concat();
    let server = [
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &ok("application/grpc")),
        frame(DATA, 0, 1, b"\0\0\0\0\x01a\0\0\0\0\x01b"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailer),
    ]
    .concat();
    let events = stream_however_cut::<Http2>(&[Step::Data(CLIENT, &client), Step::Data(SERVER, &server)]);
    assert_eq!(
        http(&events)[0]["grpc"],
        json!({
            "service": "pkg.Greeter", "method": "SayHello", "status": 5, "message": "not%20found",
            "request_messages": 1, "response_messages": 2,
        })
    );
}

#[test]
fn a_reset_ends_a_stream() {
    let client = [preface(), frame(HEADERS, END_HEADERS, 1, &get("/a")), frame(3, 0, 1, &[0, 0, 0, 8])].concat();
    let server = [frame(SETTINGS, 0, 0, &[]), frame(DATA, 0, 1, b"late")].concat();
    let events = stream_however_cut::<Http2>(&[Step::Data(CLIENT, &client), Step::Data(SERVER, &server)]);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["http"]["http2"], json!({"stream_id": 1, "request": {"error_code": "CANCEL"}}));
}

#[test]
fn a_connection_joined_in_the_middle_is_told_without_the_names_that_are_not_known() {
    // Index 62 is from before; the authority is spelt out.
    let request = [&[0x82, 0xbe][..], &field(":authority", "b.example")].concat();
    let next = [&[0x82, 0x84, 0xbe][..]].concat();
    let client =
        [frame(HEADERS, END_STREAM | END_HEADERS, 7, &request), frame(HEADERS, END_STREAM | END_HEADERS, 9, &next)]
            .concat();
    let server = [
        frame(HEADERS, END_HEADERS, 7, &[0x88]),
        frame(DATA, END_STREAM, 7, b"x"),
        frame(HEADERS, END_HEADERS | END_STREAM, 9, &[0x8d]),
        frame(DATA, END_STREAM, 5, b"of a request before"),
    ]
    .concat();
    // Who opened it was the server, as far as was seen.
    for (client_side, server_side) in [(CLIENT, SERVER), (SERVER, CLIENT)] {
        let steps = [Step::Data(client_side, &client[..]), Step::Data(server_side, &server)];
        let events = stream_however_cut::<Http2>(&steps);
        let http = http(&events);
        assert_eq!((http[0].get("url"), &http[0]["hostname"]), (None, &json!("b.example")));
        assert_eq!((&http[0]["truncated"], &http[0]["status"]), (&json!(true), &json!(200)));
        assert_eq!((&http[1]["url"], &http[1]["hostname"]), (&json!("/"), &json!("b.example")));
        assert_eq!((http[1].get("truncated"), &http[1]["status"]), (None, &json!(404)));
        assert_eq!((&http[2]["http2"]["stream_id"], &http[2]["length"]), (&json!(5), &json!(19)));
        assert!(anomalies(&events).is_empty());
    }
}

#[test]
fn a_gap_within_data_is_counted_over() {
    let client = [preface(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &get("/a"))].concat();
    let server = [
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &ok("text/plain")),
        frame(DATA, END_STREAM, 1, &[b'x'; 1000]),
    ]
    .concat();
    let cut = server.len() - 500;
    let next_client = frame(HEADERS, END_STREAM | END_HEADERS, 3, &get("/b"));
    let next_server = frame(HEADERS, END_STREAM | END_HEADERS, 3, &[0x88, 0xbe]);
    let events = stream_however_cut::<Http2>(&[
        Step::Data(CLIENT, &client),
        Step::Data(SERVER, &server[..cut]),
        Step::Gap(SERVER, 400),
        Step::Data(SERVER, &server[cut + 400..]),
        Step::Data(CLIENT, &next_client),
        Step::Data(SERVER, &next_server),
    ]);
    let http = http(&events);
    assert_eq!((&http[0]["length"], &http[0]["truncated"]), (&json!(600), &json!(true)));
    // The table is what it was.
    assert_eq!((&http[1]["http_content_type"], http[1].get("truncated")), (&json!("text/plain"), None));
}

#[test]
fn a_block_that_the_mirror_has_cut_is_told_as_far_as_it_goes() {
    let client = [preface(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &get("/a"))].concat();
    let server = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_STREAM | END_HEADERS, 1, &ok("text/plain"))].concat();
    // Within the last field, the user agent; within the content type.
    let steps = [
        Step::Data(CLIENT, &client[..client.len() - 3]),
        Step::Gap(CLIENT, 3),
        Step::Data(SERVER, &server[..server.len() - 3]),
        Step::Gap(SERVER, 3),
    ];
    let events = stream_however_cut::<Http2>(&steps);
    let http = http(&events);
    assert_eq!((&http[0]["url"], &http[0]["hostname"]), (&json!("/a"), &json!("a.example")));
    assert_eq!((&http[0]["status"], &http[0]["truncated"]), (&json!(200), &json!(true)));
    assert!(http[0].get("http_user_agent").is_none() && anomalies(&events).is_empty());
}

#[test]
fn a_gap_anywhere_does_not_keep_later_streams_from_being_told() {
    let client = [preface(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &get("/a"))].concat();
    let server = [
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &ok("text/plain")),
        frame(DATA, END_STREAM, 1, b"hello"),
    ]
    .concat();
    let later_client = frame(HEADERS, END_STREAM | END_HEADERS, 3, &get("/b"));
    let later_server = frame(HEADERS, END_STREAM | END_HEADERS, 3, &ok("a/b"));
    for (side, bytes) in [(CLIENT, &client), (SERVER, &server)] {
        for begin in 0..bytes.len() {
            for length in [1, 3, 9, 20] {
                let end = (begin + length).min(bytes.len());
                let cut = [
                    Step::Data(side, &bytes[..begin]),
                    Step::Gap(side, (end - begin) as u64),
                    Step::Data(side, &bytes[end..]),
                ];
                let other = if side == CLIENT { Step::Data(SERVER, &server) } else { Step::Data(CLIENT, &client) };
                let mut steps: Vec<_> = cut.into_iter().filter(|step| !matches!(step, Step::Data(_, []))).collect();
                steps.insert(if side == CLIENT { steps.len() } else { 0 }, other);
                steps.extend([Step::Data(CLIENT, &later_client[..]), Step::Data(SERVER, &later_server)]);
                let (events, _) = stream::<Http2>(&steps);
                let http = http(&events);
                let later = http.iter().find(|http| http["http2"]["stream_id"] == 3);
                let later = later.unwrap_or_else(|| panic!("{side:?} {begin}..{end}: {events:?}"));
                // What was cut within a frame's content may look like a frame.
                if later.get("url").is_some() {
                    assert_eq!((&later["url"], &later["hostname"]), (&json!("/b"), &json!("a.example")));
                }
                assert!(http.len() <= 3, "{http:?}");
            }
        }
    }
}

#[test]
fn streams_beyond_those_that_are_followed_are_told_as_far_as_they_went() {
    let mut client = preface();
    for n in 0..300u32 {
        client.extend(frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &[0x82, 0x84]));
    }
    let events = stream_however_cut::<Http2>(&[Step::Data(CLIENT, &client)]);
    assert_eq!(http(&events).len(), 300);
    assert_eq!(anomalies(&events), ["too_many_streams"]);
    assert_eq!(http(&events)[0]["truncated"], true);
}

#[test]
fn a_block_that_is_too_long_is_passed_over() {
    let part = vec![0; 40_000];
    let client = [
        preface(),
        frame(HEADERS, END_STREAM, 1, &part),
        frame(9, END_HEADERS, 1, &part),
        frame(HEADERS, END_STREAM | END_HEADERS, 3, &get("/b")),
    ]
    .concat();
    let server = [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x88])].concat();
    let events = stream_however_cut::<Http2>(&[Step::Data(CLIENT, &client), Step::Data(SERVER, &server)]);
    let http = http(&events);
    assert_eq!((&http[0]["http2"]["stream_id"], &http[0]["truncated"]), (&json!(1), &json!(true)));
    assert_eq!(http[1]["url"], "/b");
}

#[test]
fn what_cannot_be_decoded_is_told_once() {
    let client = [
        preface(),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff, 0xff, 0xff, 0xff, 0xff]),
        frame(HEADERS, END_STREAM | END_HEADERS, 3, &[0x40, 0x85, 0, 0]),
    ]
    .concat();
    let events = stream_however_cut::<Http2>(&[Step::Data(CLIENT, &client)]);
    assert_eq!(anomalies(&events), ["failed_decompression"]);
    let events = stream_however_cut::<Http2>(&[Step::Data(CLIENT, b"PRI * HTTP/3.0")]);
    assert_eq!(anomalies(&events), ["invalid_client_magic"]);
}

#[test]
fn the_protocol_is_known_by_its_bytes_from_either_side() {
    let recognise = |originator: &[u8], responder: &[u8]| {
        Http2::recognise(&Opening { originator, responder, originator_port: 40_000, responder_port: 80 })
    };
    assert_eq!(recognise(&preface(), b""), Guess::Yes);
    assert_eq!(recognise(b"PRI", b""), Guess::Perhaps);
    assert_eq!(recognise(b"", &frame(SETTINGS, 0, 0, &[])), Guess::Yes);
    assert_eq!(recognise(b"GET / HTTP/1.1\r\n", b""), Guess::No);
    assert_eq!(recognise(&[0x16, 3, 1, 0, 100], b""), Guess::No);
}

#[test]
fn response_times_are_recorded() {
    let mut recorder = Recorder::new(6, 80);
    let mut http2 = Http2::default();
    let client = [preface(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &get("/a"))].concat();
    recorder.step(|cx| http2.data(CLIENT, &client, cx));
    recorder.step(|cx| http2.data(SERVER, &frame(HEADERS, END_HEADERS, 1, &[0x88]), cx));
    assert_eq!(recorder.events.responses(Protocol::Http2).unwrap().len(), 1);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        Just(get("/x")),
        Just(ok("application/grpc")),
        prop::collection::vec(any::<u8>(), 0..60),
        Just(vec![0x82; 40_000]),
    ];
    let well_formed = (0..11u8, any::<u8>(), 0..6u32, payload)
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload));
    prop_oneof![8 => well_formed, 1 => prop::collection::vec(any::<u8>(), 1..40), 1 => Just(preface())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_any_pieces_never_panic_and_keep_memory_bounded(
        steps in prop::collection::vec((any::<bool>(), prop::option::weighted(0.9, any_frame()), 1..3_000u64, 0..9usize), 1..60),
    ) {
        let mut recorder = Recorder::new(6, 80);
        let mut http2 = Http2::default();
        for (from_client, bytes, missing, kept) in steps {
            let from = if from_client { Side::Originator } else { Side::Responder };
            recorder.step(|cx| match bytes {
                Some(bytes) => {
                    let (first, rest) = bytes.split_at(kept.min(bytes.len() - 1));
                    for piece in [first, rest].into_iter().filter(|piece| !piece.is_empty()) {
                        assert_eq!(http2.data(from, piece, cx), Next::More);
                    }
                }
                None => {
                    http2.gap(from, missing, cx);
                }
            });
            for reader in &http2.readers {
                prop_assert!(reader.kept.len() <= BLOCK_MAX && reader.block_len() <= BLOCK_MAX);
            }
        }
        for side in [CLIENT, SERVER] {
            recorder.step(|cx| http2.end(side, cx));
        }
        recorder.take();
    }
}
