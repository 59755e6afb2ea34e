//! Connections that begin as HTTP/1.1 and go on in HTTP/2, where something of the change is missing.

use serde_json::{Value, json};

use super::{END_HEADERS, END_STREAM, HEADERS, SETTINGS, anomalies, frame, http, preface};
use crate::protocols::http1::Http1;
use crate::protocols::testing::{CLIENT, Recorder, SERVER};
use crate::protocols::{Next, Protocol, Side, StreamProtocol};

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

/// Settings, and the answer to the first stream.
fn answer() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, &[]), frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x88])].concat()
}

/// What both protocols tell, one after the other. Bytes of `None` are missing, as many as one says.
fn events(steps: &[(Side, Option<&[u8]>)]) -> Vec<Value> {
    let mut recorder = Recorder::new(6, 80);
    let mut http1 = Http1::default();
    let mut http2 = None;
    for (from, bytes) in steps {
        recorder.step(|cx| match (&mut http2, bytes) {
            (None, None) => assert_eq!(http1.gap(*from, 1, cx), Next::More),
            (None, Some(bytes)) => {
                if http1.data(*from, bytes, cx) == Next::Becomes(Protocol::Http2) {
                    let rest = &bytes[bytes.len() - http1.unused()..];
                    let begun = http2.insert(std::mem::take(&mut http1).into_http2());
                    if !rest.is_empty() {
                        begun.data(*from, rest, cx);
                    }
                }
            }
            (Some(http2), None) => assert_eq!(http2.gap(*from, 1, cx), Next::More),
            (Some(http2), Some(bytes)) => assert_eq!(http2.data(*from, bytes, cx), Next::More),
        });
    }
    let mut http2 = http2.expect("HTTP/2");
    for side in [CLIENT, SERVER] {
        recorder.step(|cx| http2.end(side, cx));
    }
    recorder.take()
}

/// The answer to the first stream: what it says of the request, and whether it is marked.
fn first_stream(events: &[Value]) -> (Value, bool) {
    let told = http(events);
    let mut streams = told.iter().filter(|http| http["http2"]["stream_id"] == 1);
    let stream = streams.next().expect("stream 1");
    assert!(streams.next().is_none(), "{events:?}");
    assert_eq!(stream["status"], 200);
    (stream["url"].clone(), stream.get("truncated").is_some())
}

#[test]
fn the_preface_makes_http2_of_it_whoever_has_lost_that_the_server_agrees() {
    let client = [GET, &preface()].concat();
    let answer = answer();
    for size in [1, 7, 1000] {
        let mut steps: Vec<_> = client.chunks(size).map(|piece| (CLIENT, Some(piece))).collect();
        steps.push((SERVER, Some(&answer)));
        let events = events(&steps);
        assert_eq!(anomalies(&events), [""; 0]);
        assert_eq!(
            http(&events)[0],
            json!({
                "hostname": "a.example", "url": "/a", "http_method": "GET", "protocol": "HTTP/1.1",
                "length": 0, "request_length": 0, "truncated": true,
            })
        );
        assert_eq!(first_stream(&events), (json!("/a"), false));
        assert_eq!(http(&events).len(), 2);
    }
}

#[test]
fn a_response_that_the_preface_has_overtaken_is_passed_over() {
    let (preface, answer) = (preface(), answer());
    let server = [SWITCHING, &answer].concat();
    for size in [1, 7, 1000] {
        let mut steps = vec![(CLIENT, Some(GET)), (CLIENT, Some(&preface[..]))];
        // A first piece of one byte does not tell that it is not a frame's.
        let (first, rest) = server.split_at(12);
        steps.push((SERVER, Some(first)));
        steps.extend(rest.chunks(size).map(|piece| (SERVER, Some(piece))));
        let events = events(&steps);
        assert_eq!((anomalies(&events), first_stream(&events)), (vec![], (json!("/a"), false)));
    }
}

#[test]
fn a_first_stream_whose_request_is_not_seen_or_not_whole_is_marked() {
    let (preface, answer) = (preface(), answer());
    let rest = [(SERVER, Some(SWITCHING)), (CLIENT, Some(&preface[..])), (SERVER, Some(&answer[..]))];
    assert_eq!(first_stream(&events(&rest)), (Value::Null, true));
    // Its packets have come in another order: the request last.
    let late = [rest[0], (CLIENT, Some(GET)), rest[1], rest[2]];
    assert_eq!(first_stream(&events(&late)), (Value::Null, true));
    assert!(anomalies(&events(&late)).is_empty());
    let cut = [&[(CLIENT, Some(&GET[..30])), (CLIENT, None)], &rest[..]].concat();
    assert_eq!(first_stream(&events(&cut)), (json!("/a"), true));
}

#[test]
fn the_preface_is_found_behind_bytes_that_are_missing() {
    let (preface, answer) = (preface(), answer());
    let steps = [
        (CLIENT, Some(&b"GET /before HTTP/1.1\r\nHost: a.example\r\n\r\n"[..])),
        (CLIENT, None),
        (CLIENT, Some(&preface)),
        (SERVER, Some(&answer)),
    ];
    let events = events(&steps);
    assert!(anomalies(&events).is_empty());
    assert_eq!(first_stream(&events), (Value::Null, true));
    assert_eq!((&http(&events)[0]["url"], &http(&events)[0]["truncated"]), (&json!("/before"), &json!(true)));
}
