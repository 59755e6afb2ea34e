use proptest::prelude::*;
use serde_json::{Value, json};

use super::Http1;
use crate::protocols::testing::{CLIENT, Recorder, SERVER, Step, stream, stream_however_cut};
use crate::protocols::{EventKinds, Events, Guess, Next, Opening, Protocol, StreamProtocol};

const GET: &[u8] =
    b"GET /a?b=c HTTP/1.1\r\nHost: WWW.Example.com:8080\r\nUser-Agent: test/1\r\nReferer: http://r.example/\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello";

/// The object `http` of the events, without times.
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

fn whole(client: &[u8], server: &[u8]) -> Vec<Value> {
    stream_however_cut::<Http1>(&[Step::Data(CLIENT, client), Step::Data(SERVER, server)])
}

#[test]
fn a_request_and_its_response_are_one_event_as_suricata_writes_it() {
    let events = whole(GET, OK);
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((&event["src_port"], &event["tx_id"]), (&json!(40_000), &json!(0)));
    let keys: Vec<&str> = event["http"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(keys.contains(&"response_time_us"));
    assert_eq!(
        http(&events)[0],
        json!({
            "hostname": "www.example.com", "http_port": 8080, "url": "/a?b=c", "http_user_agent": "test/1",
            "http_content_type": "text/html", "http_refer": "http://r.example/", "http_method": "GET",
            "protocol": "HTTP/1.1", "status": 200, "length": 5, "request_length": 0,
        })
    );
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let client = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\nPOST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\nGET /4 HTTP/1.1\nHost: a\n\n";
    let server = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 7\n\n";
    let events = whole(client, server);
    let told: Vec<_> = http(&events)
        .iter()
        .map(|http| {
            (http["url"].clone(), http["status"].clone(), http["length"].clone(), http["request_length"].clone())
        })
        .collect();
    let expected = [("/1", 200, 2, 0), ("/2", 200, 0, 0), ("/3", 204, 0, 3), ("/4", 304, 0, 0)];
    assert_eq!(
        told,
        expected.map(|(url, status, length, sent)| (json!(url), json!(status), json!(length), json!(sent)))
    );
    assert_eq!(events[3]["tx_id"], 3);
    assert!(anomalies(&events).is_empty());
}

#[test]
fn chunks_trailers_and_interim_responses_are_followed() {
    let client = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let server = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\nEnd: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let events = whole(client, server);
    let http = http(&events);
    assert_eq!((&http[0]["interim"], &http[0]["length"]), (&json!([100, 103]), &json!(16)));
    assert_eq!(http[0]["request_length"], 11);
    assert_eq!((&http[1]["status"], http[1].get("url")), (&json!(200), None), "a response without a request");
    assert_eq!(anomalies(&events), ["unable_to_match_response_to_request"]);
}

#[test]
fn a_body_may_end_with_the_connection() {
    let events = whole(b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nall that comes\r\nHTTP/1.0 200 OK\r\n\r\n");
    assert_eq!(events.len(), 1);
    assert_eq!((&events[0]["http"]["length"], events[0]["http"].get("truncated")), (&json!(35), None));
}

#[test]
fn requests_without_a_response_are_told_at_the_end() {
    let events = whole(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /cut", b"");
    let http = http(&events);
    let urls: Vec<_> = http.iter().map(|http| (http["url"].as_str().unwrap(), http.get("truncated"))).collect();
    assert_eq!(urls, [("/1", None), ("/2", None), ("/cut", Some(&json!(true)))]);
    assert!(http.iter().all(|http| http.get("status").is_none() && http["length"] == 0));
}

#[test]
fn a_flow_may_begin_with_a_response_from_whoever_opened_it() {
    let events =
        stream_however_cut::<Http1>(&[Step::Data(CLIENT, OK), Step::Data(SERVER, GET), Step::Data(CLIENT, OK)]);
    let http = http(&events);
    assert_eq!((http[0].get("url"), &http[0]["status"]), (None, &json!(200)));
    assert_eq!(http[1]["url"], "/a?b=c");
    assert_eq!((&events[1]["src_port"], &events[1]["tx_id"]), (&json!(80), &json!(1)));
    assert!(anomalies(&events).is_empty());
}

#[test]
fn an_upgrade_changes_the_protocol_and_says_where_the_new_one_begins() {
    let client = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let server = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05Hello";
    let mut recorder = Recorder::new(6, 80);
    let mut http1 = Http1::default();
    recorder.step(|cx| http1.data(CLIENT, client, cx));
    assert_eq!(recorder.step(|cx| http1.data(SERVER, server, cx)), Next::Becomes(Protocol::WebSocket));
    assert_eq!(http1.unused(), 7);
    assert_eq!(recorder.take()[0]["http"]["status"], 101);
}

#[test]
fn an_upgrade_to_http2_keeps_the_request_as_its_first_stream() {
    let client = b"GET /robots.txt HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let mut recorder = Recorder::new(6, 80);
    let mut http1 = Http1::default();
    recorder.step(|cx| http1.data(CLIENT, client, cx));
    let next = recorder.step(|cx| http1.data(SERVER, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", cx));
    assert_eq!((next, http1.unused()), (Next::Becomes(Protocol::Http2), 0));
    let mut http2 = http1.into_http2();
    recorder.take();
    let frames = b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88";
    recorder.step(|cx| http2.data(SERVER, frames, cx));
    let events = recorder.take();
    let http = &events[0]["http"];
    assert_eq!(
        (&http["url"], &http["hostname"], &http["status"]),
        (&json!("/robots.txt"), &json!("a.example"), &json!(200))
    );
    assert_eq!(http["http2"]["stream_id"], 1);
}

#[test]
fn what_a_tunnel_carries_is_told_by_its_first_byte() {
    let connect = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
    for (first, expected) in [(&b"\x16\x03\x01"[..], Next::Becomes(Protocol::Tls)), (b"SSH-2.0", Next::Done)] {
        let steps = [
            Step::Data(CLIENT, connect),
            Step::Data(SERVER, b"HTTP/1.1 200 Connection established\r\nContent-Length: 4\r\n\r\n"),
            Step::Data(CLIENT, first),
        ];
        let (events, next) = stream::<Http1>(&steps);
        assert_eq!(next, expected);
        assert_eq!(
            (&events[0]["http"]["hostname"], &events[0]["http"]["http_port"]),
            (&json!("a.example"), &json!(443))
        );
        assert_eq!(stream_however_cut::<Http1>(&steps).len(), 1);
    }
    let refused = whole(connect, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(refused[0]["http"]["length"], 2);
}

#[test]
fn redirects_ranges_and_absolute_targets_are_told() {
    let client = b"GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 10.9.8.7\r\n\r\nBREW /pot HTTP/1.1\r\nHost: a\r\n\r\n";
    let server = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\nHTTP/1.1 206 Partial Content\r\nLocation: /z\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nab";
    let events = whole(client, server);
    let http = http(&events);
    assert_eq!((&http[0]["hostname"], &http[0]["url"]), (&json!("b.example"), &json!("http://b.example/x")));
    assert_eq!((&http[0]["redirect"], &http[0]["xff"]), (&json!("/y"), &json!("10.9.8.7")));
    assert_eq!((http[1].get("redirect"), &http[1]["content_range"]["size"]), (None, &json!(5)));
    assert_eq!(anomalies(&events), ["host_header_ambiguous", "request_line_unknown_method"]);
}

#[test]
fn each_contradiction_is_told_once() {
    let request = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nno colon\r\n\r\n0\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nbody";
    let events = whole(&[&request[..], request].concat(), response);
    assert_eq!(
        anomalies(&events),
        [
            "missing_host_header",
            "request_field_missing_colon",
            "content_length_and_transfer_encoding_in_request",
            "duplicate_content_length_field_in_response",
        ]
    );
    let bad_chunk = whole(GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n");
    assert_eq!(anomalies(&bad_chunk), ["invalid_response_chunk_len"]);
    assert_eq!(http(&bad_chunk)[0]["truncated"], true);
    let bad_status = whole(GET, b"HTTP/1.1 abc\r\n\r\n");
    assert_eq!(anomalies(&bad_status), ["response_invalid_status"]);
}

#[test]
fn requests_without_a_version_are_told_as_far_as_they_can_be_read() {
    let events = whole(b"OPTIONS HTTP/1.1\r\nHost: a\r\n\r\nGET/\r\nHost: a\r\n\r\n", b"");
    let http = http(&events);
    assert_eq!((&http[0]["http_method"], &http[0]["url"]), (&json!("OPTIONS"), &json!("HTTP/1.1")));
    assert_eq!((&http[1]["http_method"], http[1].get("url")), (&json!("GET/"), None));
    assert_eq!(anomalies(&events), ["request_line_missing_protocol", "request_line_unknown_method_no_protocol"]);
}

#[test]
fn a_gap_within_a_body_is_counted_over() {
    let steps = [
        Step::Data(CLIENT, GET),
        Step::Data(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789"),
        Step::Gap(SERVER, 980),
        Step::Data(SERVER, b"0123456789"),
        Step::Data(CLIENT, GET),
        Step::Data(SERVER, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n01"),
        Step::Gap(SERVER, 98),
        Step::Data(SERVER, b"\r\n0\r\n\r\n"),
        Step::Data(CLIENT, GET),
        Step::Data(SERVER, OK),
    ];
    let events = stream_however_cut::<Http1>(&steps);
    let told: Vec<_> =
        http(&events).iter().map(|http| (http["length"].clone(), http.get("truncated").cloned())).collect();
    let cut = Some(json!(true));
    assert_eq!(told, [(json!(20), cut.clone()), (json!(11), cut), (json!(5), None)]);
    assert!(anomalies(&events).is_empty());
}

#[test]
fn a_gap_anywhere_does_not_keep_the_next_exchange_from_being_told() {
    let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nEnd: 1\r\n\r\n";
    for (side, message) in [(CLIENT, GET), (SERVER, OK), (SERVER, &response[..])] {
        for begin in 0..message.len() {
            for end in begin + 1..=message.len() {
                let cut = [
                    Step::Data(side, &message[..begin]),
                    Step::Gap(side, (end - begin) as u64),
                    Step::Data(side, &message[end..]),
                ];
                let cut = cut.into_iter().filter(|step| !matches!(step, Step::Data(_, [])));
                let other = if side == CLIENT { Step::Data(SERVER, OK) } else { Step::Data(CLIENT, GET) };
                let mut steps: Vec<_> = cut.collect();
                steps.insert(if side == CLIENT { steps.len() } else { 0 }, other);
                steps.push(Step::Data(CLIENT, b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"));
                steps.push(Step::Data(SERVER, OK));
                let (events, next) = stream::<Http1>(&steps);
                assert_eq!(next, Next::More);
                let http = http(&events);
                let last = http.last().unwrap();
                assert_eq!((&last["url"], &last["status"]), (&json!("/next"), &json!(200)), "{side:?} {begin}..{end}");
                assert!(http.len() <= 3, "{http:?}");
                // A byte of a body more or less is not told from the body.
                assert!(anomalies(&events).is_empty(), "{side:?} {begin}..{end}: {events:?}");
            }
        }
    }
}

#[test]
fn a_version_that_is_cut_is_not_taken_for_a_part_of_the_target() {
    let line = b"GET /a?b=c HTTP/1.1";
    for end in b"GET /a?b=c".len()..=line.len() {
        let (events, _) = stream::<Http1>(&[Step::Data(CLIENT, &line[..end]), Step::Gap(CLIENT, 400)]);
        let http = http(&events);
        assert_eq!(http.len(), 1, "{end}");
        assert_eq!((&http[0]["url"], &http[0]["truncated"]), (&json!("/a?b=c"), &json!(true)), "{end}");
    }
}

#[test]
fn a_lost_head_does_not_shift_the_responses_behind_it() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let requests = ["/1", "/2", "/3"].map(get);
    let told = |steps: &[Step<'_>]| -> Vec<_> {
        let (events, _) = stream::<Http1>(steps);
        let of = |http: Value| (http["url"].clone(), http.get("status").cloned(), http.get("truncated").is_some());
        http(&events).into_iter().map(of).collect()
    };
    let created = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
    // That bytes are missing is known only when the next request was seen.
    let waits = [
        Step::Data(CLIENT, &requests[0]),
        Step::Unseen(SERVER, true),
        Step::Data(CLIENT, &requests[1]),
        Step::Unseen(SERVER, false),
        Step::Gap(SERVER, 500),
        Step::Data(SERVER, created),
        Step::Data(CLIENT, &requests[2]),
        Step::Data(SERVER, OK),
    ];
    let expected =
        [(json!("/1"), None, true), (json!("/2"), Some(json!(201)), false), (json!("/3"), Some(json!(200)), false)];
    assert_eq!(told(&waits), expected);
    // Two requests may be missing, and the answer to the first: whose the next is, is not known.
    let both_sides = [
        Step::Data(CLIENT, &requests[0]),
        Step::Gap(SERVER, 500),
        Step::Gap(CLIENT, 100),
        Step::Data(SERVER, created),
        Step::Data(CLIENT, &requests[2]),
        Step::Data(SERVER, OK),
    ];
    let expected =
        [(json!("/1"), None, true), (Value::Null, Some(json!(201)), true), (json!("/3"), Some(json!(200)), false)];
    assert_eq!(told(&both_sides), expected);
}

/// What a client that does not wait is told to have asked and to have been answered.
fn pipeline(steps: &[Step<'_>]) -> Vec<(String, u64, bool)> {
    let events = stream_however_cut::<Http1>(steps);
    assert!(anomalies(&events).is_empty(), "{events:#?}");
    let of = |http: Value| {
        let url = http["url"].as_str().unwrap_or_default().to_owned();
        (url, http["status"].as_u64().unwrap_or_default(), http["truncated"] == true)
    };
    http(&events).into_iter().map(of).collect()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

fn answer(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok").into_bytes()
}

#[test]
fn behind_a_lost_response_no_request_of_a_pipeline_gets_the_answer_of_another() {
    let requests = [get("/1"), get("/2"), get("/3")].concat();
    let (first, third, later, fourth) = (answer(201), answer(203), get("/4"), answer(404));
    let steps = [
        Step::Data(CLIENT, &requests),
        Step::Data(SERVER, &first),
        Step::Gap(SERVER, 40),
        Step::Data(SERVER, &third),
        Step::Data(CLIENT, &later),
        Step::Data(SERVER, &fourth),
    ];
    let expected =
        [("/1", 201, false), ("/2", 0, true), ("/3", 0, true), ("", 203, true), ("/4", 0, true), ("", 404, true)];
    assert_eq!(pipeline(&steps), expected.map(|(url, status, cut)| (url.to_owned(), status, cut)));
}

#[test]
fn when_all_that_was_asked_is_answered_behind_a_gap_a_pipeline_goes_on() {
    let requests = [get("/1"), get("/2"), get("/3")].concat();
    let chunked = b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe";
    let rest = [answer(202), answer(203)].concat();
    let (later, last) = ([get("/4"), get("/5")].concat(), [answer(404), answer(405)].concat());
    let steps = [
        Step::Data(CLIENT, &requests),
        Step::Data(SERVER, chunked),
        Step::Gap(SERVER, 10),
        Step::Data(SERVER, &rest),
        Step::Data(CLIENT, &later),
        Step::Data(SERVER, &last),
    ];
    let expected = [
        ("/1", 201, true),
        ("/2", 0, true),
        ("/3", 0, true),
        ("", 202, true),
        ("", 203, true),
        ("/4", 404, false),
        ("/5", 405, false),
    ];
    assert_eq!(pipeline(&steps), expected.map(|(url, status, cut)| (url.to_owned(), status, cut)));
}

#[test]
fn behind_a_lost_request_no_response_of_a_pipeline_is_given_to_another() {
    let (first, third) = ([get("/1"), get("/2")].concat(), get("/4"));
    let answers = [answer(201), answer(202), answer(203), answer(404)].concat();
    let steps =
        [Step::Data(CLIENT, &first), Step::Gap(CLIENT, 30), Step::Data(CLIENT, &third), Step::Data(SERVER, &answers)];
    let expected = [("/4", 0, true), ("/1", 201, false), ("/2", 202, false), ("", 203, true), ("", 404, true)];
    assert_eq!(pipeline(&steps), expected.map(|(url, status, cut)| (url.to_owned(), status, cut)));
    // A client that waits: the answer to what was lost may be seen before it is known that something was.
    let (first, second, third) = (get("/1"), get("/3"), answer(203));
    let two = [answer(201), answer(202)].concat();
    let steps = [
        Step::Data(CLIENT, &first),
        Step::Unseen(CLIENT, true),
        Step::Data(SERVER, &two),
        Step::Gap(CLIENT, 30),
        Step::Unseen(CLIENT, false),
        Step::Data(CLIENT, &second),
        Step::Data(SERVER, &third),
    ];
    let expected = [("/1", 201, false), ("", 202, true), ("/3", 203, false)];
    assert_eq!(pipeline(&steps), expected.map(|(url, status, cut)| (url.to_owned(), status, cut)));
    // The first of all is lost.
    let steps = [Step::Gap(CLIENT, 30), Step::Data(CLIENT, &first), Step::Data(SERVER, &answers)];
    assert_eq!(pipeline(&steps)[..2], [("/1".to_owned(), 0, true), (String::new(), 201, true)]);
}

#[test]
fn a_response_that_comes_late_is_not_given_to_a_request_behind_it() {
    // The head of a response to what was asked before the flow was picked up, a request while its body comes, the rest.
    let (request, response) = (get("/1"), answer(201));
    let steps = [
        Step::Unseen(CLIENT, true),
        Step::Data(SERVER, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello"),
        Step::Unseen(CLIENT, false),
        Step::Data(CLIENT, &request),
        Step::Data(SERVER, b"body"),
        Step::Data(SERVER, &response),
    ];
    assert_eq!(pipeline(&steps), [(String::new(), 200, true), ("/1".to_owned(), 201, false)]);
}

#[test]
fn where_the_mirror_shows_one_side_its_messages_are_marked_and_no_anomaly_is_told() {
    let answers = [answer(201), answer(202)].concat();
    let expected = [(String::new(), 201, true), (String::new(), 202, true)];
    assert_eq!(pipeline(&[Step::Unseen(CLIENT, true), Step::Data(SERVER, &answers)]), expected);
    let requests = [get("/1"), get("/2")].concat();
    let expected = [("/1".to_owned(), 0, true), ("/2".to_owned(), 0, true)];
    assert_eq!(pipeline(&[Step::Unseen(SERVER, true), Step::Data(CLIENT, &requests)]), expected);
}

#[test]
fn what_a_flow_is_picked_up_in_the_middle_of_is_no_message() {
    let (request, response) = (get("/next"), answer(202));
    let joined = [Step::Joined(CLIENT), Step::Joined(SERVER)];
    let begun_in_body = [
        Step::Data(CLIENT, b"d\xe2\xc0\x182\xae8z/ of a body\r\nand a line: of it\r\n\r\n"),
        Step::Data(SERVER, b"HTTP/1.1 201 X\r\nContent-Length: 2\r\n\r\nok"),
    ];
    let begun_in_chunks = [Step::Data(SERVER, b"5\r\nhello\r\n0\r\n\r\n")];
    let next = [Step::Data(CLIENT, &request), Step::Data(SERVER, &response)];
    let expected = ("/next".to_owned(), 202, false);
    let steps: Vec<_> = joined.iter().chain(&begun_in_body).chain(&next).copied().collect();
    assert_eq!(pipeline(&steps), [(String::new(), 201, true), expected.clone()]);
    let steps: Vec<_> = joined.iter().chain(&begun_in_chunks).chain(&next).copied().collect();
    assert_eq!(pipeline(&steps), [expected]);
}

#[test]
fn a_request_without_its_first_byte_is_told_and_marked() {
    let (request, response) = (get("/1"), answer(200));
    let joined = [Step::Joined(CLIENT), Step::Data(CLIENT, &request[1..]), Step::Data(SERVER, &response)];
    let lost = [Step::Gap(CLIENT, 1), Step::Data(CLIENT, &request[1..]), Step::Data(SERVER, &response)];
    for steps in [joined, lost] {
        let (events, _) = stream::<Http1>(&steps);
        let http = http(&events);
        assert_eq!(
            (&http[0]["url"], &http[0]["status"], &http[0]["truncated"]),
            (&json!("/1"), &json!(200), &json!(true))
        );
        assert_eq!((http.len(), anomalies(&events).len()), (1, 0));
    }
}

#[test]
fn an_interim_response_or_the_end_of_a_body_that_is_lost_is_marked() {
    let post = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234";
    let done = answer(200);
    let expected = [("/up".to_owned(), 200, true)];
    let body = [Step::Data(CLIENT, post), Step::Unseen(CLIENT, true), Step::Data(SERVER, &done)];
    assert_eq!(pipeline(&body), expected);
    let early = [Step::Data(CLIENT, post), Step::Data(SERVER, &done), Step::Data(CLIENT, b"56789")];
    assert_eq!(pipeline(&early), [("/up".to_owned(), 200, false)], "a server may answer before all has come");
    let whole = [&post[..], b"56789"].concat();
    let interim = [Step::Data(CLIENT, &whole), Step::Gap(SERVER, 25), Step::Data(SERVER, &done)];
    assert_eq!(pipeline(&interim), expected);
}

#[test]
fn the_answer_to_a_head_that_was_not_seen_is_followed_by_the_next_answer() {
    let to_head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
    for body in [&b""[..], b"HTTP/1.1 is what this is about", b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", b"HTTP/1.1 20"] {
        let with_body =
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
        let answers = [with_body, to_head.to_vec(), answer(201)].concat();
        let events = stream_however_cut::<Http1>(&[Step::Unseen(CLIENT, true), Step::Data(SERVER, &answers)]);
        let lengths: Vec<_> = http(&events).iter().map(|http| http["length"].as_u64().unwrap()).collect();
        assert_eq!(lengths, [body.len() as u64, 0, 2], "{body:?}");
        assert!(anomalies(&events).is_empty());
    }
}

#[test]
fn a_request_of_which_no_more_than_its_method_was_shown_is_not_answered_to_the_one_before() {
    let (first, second) = (get("/1"), answer(202));
    let cut = [Step::Data(CLIENT, &first), Step::Data(CLIENT, b"GET "), Step::Gap(CLIENT, 80), Step::Gap(SERVER, 500)];
    let steps = [&cut[..], &[Step::Data(SERVER, &second)]].concat();
    let expected = [("/1", 0, true), ("", 202, true)];
    assert_eq!(pipeline(&steps), expected.map(|(url, status, cut)| (url.to_owned(), status, cut)));
}

#[test]
fn of_a_flow_that_is_picked_up_the_first_answer_seen_is_to_any_of_the_requests_before() {
    let (first, second, response, third, last) = (get("/1"), get("/2"), answer(202), get("/3"), answer(203));
    let joined = [Step::Joined(CLIENT), Step::Joined(SERVER), Step::Unseen(SERVER, true)];
    let both = [Step::Data(CLIENT, &first), Step::Data(CLIENT, &second), Step::Unseen(SERVER, false)];
    // The first answer is lost, or the client does not wait for it.
    let lost = [Step::Data(SERVER, &response), Step::Data(CLIENT, &third), Step::Data(SERVER, &last)];
    let steps = [&joined[..], &both, &lost].concat();
    let expected = [("/1", 0, true), ("/2", 0, true), ("", 202, true), ("/3", 0, true), ("", 203, true)];
    assert_eq!(pipeline(&steps), expected.map(|(url, status, cut)| (url.to_owned(), status, cut)));
    // When both are answered it goes on.
    let two = [Step::Data(SERVER, &response), Step::Data(SERVER, &response)];
    let steps = [&joined[..], &both, &two, &lost[1..]].concat();
    let expected = [("/1", 0, true), ("/2", 0, true), ("", 202, true), ("", 202, true), ("/3", 203, false)];
    assert_eq!(pipeline(&steps), expected.map(|(url, status, cut)| (url.to_owned(), status, cut)));
    // So is the request that it answers.
    let steps = [Step::Data(CLIENT, &first), Step::Gap(CLIENT, 80), Step::Data(SERVER, &response)];
    let steps = [&joined[..], &steps].concat();
    let expected = [("/1", 0, true), ("", 202, true)];
    assert_eq!(pipeline(&steps), expected.map(|(url, status, cut)| (url.to_owned(), status, cut)));
}

#[test]
fn the_answer_to_a_lost_request_that_comes_late_shows_that_the_client_does_not_wait() {
    let (second, third) = (get("/2"), get("/3"));
    let (one, two, three) = (answer(201), answer(202), answer(203));
    let steps = [
        Step::Gap(CLIENT, 40),
        Step::Unseen(SERVER, true),
        Step::Data(CLIENT, &second),
        Step::Data(SERVER, &one),
        Step::Data(CLIENT, &third),
        Step::Unseen(SERVER, false),
        Step::Data(SERVER, &two),
        Step::Data(SERVER, &three),
    ];
    let expected = [("/2", 0, true), ("", 201, true), ("/3", 0, true), ("", 202, true), ("", 203, true)];
    assert_eq!(pipeline(&steps), expected.map(|(url, status, cut)| (url.to_owned(), status, cut)));
}

#[test]
fn of_a_pipeline_that_is_picked_up_in_the_middle_nobody_knows_which_answer_is_whose() {
    let (requests, later) = ([get("/2"), get("/3")].concat(), get("/4"));
    let (one, rest) = (answer(201), [answer(202), answer(203), answer(204)].concat());
    let steps = [
        Step::Joined(CLIENT),
        Step::Joined(SERVER),
        Step::Data(CLIENT, &requests),
        Step::Data(SERVER, &one),
        Step::Data(CLIENT, &later),
        Step::Data(SERVER, &rest),
    ];
    let told = pipeline(&steps);
    assert!(told.iter().all(|(url, status, cut)| *cut && (url.is_empty() || *status == 0)), "{told:?}");
    assert_eq!(told.len(), 7);
}

#[test]
fn of_a_pipeline_that_is_picked_up_the_answer_that_has_begun_is_told_apart_as_well() {
    let requests: Vec<_> = (1..=4).map(|number| get(&format!("/{number}"))).collect();
    let begun = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nbo";
    let rest = [&b"dy"[..], &answer(202)].concat();
    let mut steps = vec![Step::Joined(CLIENT), Step::Data(CLIENT, &requests[0]), Step::Data(SERVER, begun)];
    steps.extend(requests[1..].iter().map(|request| Step::Data(CLIENT, request)));
    steps.push(Step::Data(SERVER, &rest));
    let told = pipeline(&steps);
    assert!(told.iter().all(|(url, status, cut)| *cut && (url.is_empty() || *status == 0)), "{told:?}");
    let answers: Vec<_> = told.iter().map(|told| told.1).filter(|status| *status != 0).collect();
    assert_eq!((answers, told.len()), (vec![201, 202], 6));
}

#[test]
fn no_anomaly_is_told_of_what_follows_an_answer_whose_request_may_be_another() {
    // HEAD and the answer to the request before it are lost.
    let (first, to_head, next) = (get("/1"), b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", answer(203));
    let (head, chunks) =
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", [answer(203), answer(204)].concat());
    for (answer, next) in [(&to_head[..], &next), (head, &chunks)] {
        let steps =
            [Step::Data(CLIENT, &first), Step::Gap(SERVER, 500), Step::Data(SERVER, answer), Step::Data(SERVER, next)];
        assert!(anomalies(&stream_however_cut::<Http1>(&steps)).is_empty());
        let steps =
            [Step::Joined(CLIENT), Step::Data(CLIENT, &first), Step::Data(SERVER, answer), Step::Data(SERVER, next)];
        assert!(anomalies(&stream_however_cut::<Http1>(&steps)).is_empty());
    }
}

#[test]
fn bytes_that_are_missing_behind_an_answer_without_a_request_are_not_taken_for_its_body() {
    let to_head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
    let (next, last) = (answer(201), answer(202));
    let steps = [
        Step::Unseen(CLIENT, true),
        Step::Data(SERVER, to_head),
        Step::Gap(SERVER, 100),
        Step::Data(SERVER, &next),
        Step::Data(SERVER, &last),
    ];
    let events = stream_however_cut::<Http1>(&steps);
    let told: Vec<_> = http(&events).iter().map(|http| (http["status"].clone(), http["length"].clone())).collect();
    assert_eq!(told, [(json!(200), json!(0)), (json!(201), json!(2)), (json!(202), json!(2))]);
}

#[test]
fn an_answer_takes_the_time_since_the_last_byte_before_it_though_the_end_of_the_request_is_cut() {
    let post = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Le";
    let response = answer(200);
    let times = |steps: &[Step<'_>]| -> Vec<_> {
        let (events, _) = stream::<Http1>(steps);
        events.iter().map(|event| event["http"]["response_time_us"].clone()).collect()
    };
    // Each step takes a millisecond.
    let cut = [Step::Data(CLIENT, post), Step::Gap(CLIENT, 40)];
    let body = [Step::Data(CLIENT, b"some of its body"), Step::Gap(CLIENT, 80)];
    let answered = [Step::Data(SERVER, &response)];
    assert_eq!(times(&[&cut[..], &answered].concat()), [json!(1000)]);
    assert_eq!(times(&[&cut[..], &body, &answered].concat()), [json!(1000)]);
    assert_eq!(times(&[&cut[..], &body[..1], &answered].concat()), [json!(1000)]);
    // More of it was sent and not shown; or more of it comes.
    let lost = [Step::Unseen(CLIENT, true)];
    assert_eq!(times(&[&cut[..], &lost, &answered].concat()), [Value::Null]);
    let begun = [Step::Data(SERVER, &response[..30])];
    let rest = [Step::Data(SERVER, &response[30..])];
    assert_eq!(times(&[&cut[..], &begun, &body, &rest].concat()), [Value::Null]);
}

#[test]
fn a_mirror_that_cuts_each_packet_is_told_as_far_as_it_goes() {
    let response = b"HTTP/1.1 200 OK\r\nDate: Mon, 21 Oct 2013 20:13:21 GMT\r\nContent-Type: text/html\r\nContent-Length: 3000\r\n\r\n";
    let mut steps = Vec::new();
    for _ in 0..3 {
        steps.extend([Step::Data(CLIENT, &GET[..42]), Step::Gap(CLIENT, GET.len() as u64 - 42)]);
        steps.extend([Step::Data(SERVER, &response[..42]), Step::Gap(SERVER, 1400 - 42)]);
        steps.extend([Step::Data(SERVER, &[b'x'; 42]), Step::Gap(SERVER, 1400 - 42)]);
    }
    let (events, _) = stream::<Http1>(&steps);
    let http = http(&events);
    assert_eq!(http.len(), 3, "{events:#?}");
    for told in http {
        assert_eq!((&told["url"], &told["status"], &told["truncated"]), (&json!("/a?b=c"), &json!(200), &json!(true)));
    }
    assert!(anomalies(&events).is_empty());
}

#[test]
fn a_head_that_is_too_long_is_told_as_far_as_it_was_kept() {
    let filler = format!("X-Filler: {}\r\n", "x".repeat(1_000_000));
    let client = format!("GET /long HTTP/1.1\r\nHost: a\r\n{filler}\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    let server = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{filler}\r\nokHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    );
    let steps = [Step::Data(CLIENT, client.as_bytes()), Step::Data(SERVER, server.as_bytes())];
    let events = stream_however_cut::<Http1>(&steps);
    let told: Vec<_> = http(&events)
        .iter()
        .map(|http| (http["url"].clone(), http["status"].clone(), http.get("truncated").is_some()))
        .collect();
    assert_eq!(told, [(json!("/long"), json!(200), true), (json!("/next"), json!(404), false)]);
    assert_eq!(anomalies(&events), ["request_field_too_long", "response_field_too_long"]);
}

#[test]
fn requests_beyond_those_that_may_wait_are_told_at_once_and_put_nothing_out_of_step() {
    let asked = |n: u32| if n.is_multiple_of(3) { "HEAD" } else { "GET" };
    let requests: Vec<_> = (0..1100u32).map(|n| format!("{} /{n} HTTP/1.1\r\nHost: a\r\n\r\n", asked(n))).collect();
    let responses: Vec<_> = (0..1100u32)
        .map(|n| format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", if n.is_multiple_of(3) { "" } else { "ok" }))
        .collect();
    let after = get("/after");
    let (requests, responses) = (requests.concat(), responses.concat());
    let events = stream::<Http1>(&[
        Step::Data(CLIENT, requests.as_bytes()),
        Step::Data(SERVER, responses.as_bytes()),
        Step::Data(CLIENT, &after),
        Step::Data(SERVER, OK),
    ]);
    let http = http(&events.0);
    assert!(anomalies(&events.0).is_empty(), "{:?}", anomalies(&events.0));
    assert_eq!(http.len(), 76 + 1024 + 76 + 1);
    assert!(http.iter().all(|http| http.get("truncated").is_none()));
    assert_eq!((&http[0]["url"], http[0].get("status")), (&json!("/1024"), None));
    for n in 0..1024u32 {
        let told = &http[76 + n as usize];
        let length = if n.is_multiple_of(3) { 0 } else { 2 };
        assert_eq!((&told["url"], &told["length"]), (&json!(format!("/{n}")), &json!(length)));
    }
    assert_eq!((&http[1176]["url"], &http[1176]["status"]), (&json!("/after"), &json!(200)));
}

#[test]
fn requests_whose_text_is_more_than_may_wait_are_told_at_once_and_their_responses_with_the_same_number() {
    let long = "x".repeat(7_000);
    let requests: Vec<_> = (0..50).map(|n| get(&format!("/{n}?{long}"))).collect();
    let (requests, responses) = (requests.concat(), answer(200).repeat(50));
    let (events, _) = stream::<Http1>(&[Step::Data(CLIENT, &requests), Step::Data(SERVER, &responses)]);
    let of = |event: &Value| (event["tx_id"].as_u64().unwrap(), event["http"].get("url").is_some());
    let (mut asked, mut answered): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for event in &events {
        let place = if event["http"].get("status").is_some() { &mut answered } else { &mut asked };
        place.push(of(event));
    }
    assert!(!asked.is_empty() && asked.iter().all(|(_, has_url)| *has_url));
    let alone: Vec<u64> = answered.iter().filter(|(_, has_url)| !has_url).map(|(tx, _)| *tx).collect();
    assert_eq!(alone, asked.iter().map(|(tx, _)| *tx).collect::<Vec<_>>());
    assert_eq!(answered.iter().map(|(tx, _)| *tx).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
}

#[test]
fn response_times_are_recorded_though_no_event_is_wanted() {
    let mut recorder = Recorder::new(6, 80);
    recorder.events = Events::new(EventKinds::NONE);
    let mut http1 = Http1::default();
    recorder.step(|cx| http1.data(CLIENT, GET, cx));
    recorder.step(|cx| http1.data(SERVER, OK, cx));
    assert_eq!(recorder.events.responses(Protocol::Http1).unwrap().len(), 1);
    assert!(recorder.take().is_empty());
}

#[test]
fn the_protocol_is_known_by_its_bytes_from_either_side() {
    let recognise = |originator, responder| {
        Http1::recognise(&Opening { originator, responder, originator_port: 40_000, responder_port: 80 })
    };
    assert_eq!(recognise(GET, b""), Guess::Yes);
    assert_eq!(recognise(b"", OK), Guess::Yes);
    assert_eq!(recognise(OK, b""), Guess::Yes);
    assert_eq!(recognise(b"GE", b""), Guess::Perhaps);
    assert_eq!(recognise(b"SSH-2.0-x\r\n", b""), Guess::No);
    assert_eq!(recognise(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""), Guess::No);
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        Just(GET.to_vec()),
        Just(OK.to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel".to_vec()),
        Just(b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec()),
        Just(b"CONNECT a:1 HTTP/1.1\r\n\r\n".to_vec()),
        Just(vec![b'a'; 70_000]),
        prop::collection::vec(any::<u8>(), 1..60),
    ];
    (prop::collection::vec(part, 1..4), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(
        |(parts, begin, end)| {
            let bytes = parts.concat();
            let (begin, end) = (begin.index(bytes.len()), end.index(bytes.len()));
            bytes[begin.min(end)..=begin.max(end)].to_vec()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_any_pieces_never_panic_and_keep_memory_bounded(
        steps in prop::collection::vec((any::<bool>(), prop::option::weighted(0.8, piece()), 1..3_000u64), 1..40),
    ) {
        let mut recorder = Recorder::new(6, 80);
        let mut http1 = Http1::default();
        for (from_client, bytes, missing) in steps {
            let from = if from_client { CLIENT } else { SERVER };
            let next = recorder.step(|cx| match bytes {
                Some(bytes) => http1.data(from, &bytes, cx),
                None => http1.gap(from, missing, cx),
            });
            for reader in &http1.readers {
                prop_assert!(reader.kept.len() <= super::HEAD_MAX);
            }
            if next != Next::More {
                break;
            }
        }
        recorder.step(|cx| http1.end(CLIENT, cx));
        recorder.step(|cx| http1.end(SERVER, cx));
        recorder.take();
    }
}
