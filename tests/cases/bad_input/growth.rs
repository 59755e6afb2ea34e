//! Messages that say they are long, or are: what is kept of them, and what is told.

use std::iter::repeat_n;

use serde_json::Value;
use vxtap_tests::datagram::{Peer, tcp_frame, udp_frame};

use super::watched::Watched;

/// Connections at a time, all in the middle of an endless message.
const CONNECTIONS: u16 = 40;
/// What comes on each of them.
const STREAM: usize = 1 << 19;
/// The payload of a segment.
const SEGMENT: usize = 1400;

const SERVER: Peer = Peer { address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 1)), port: 8000 };

/// Two ends of a TCP connection and what they have sent.
struct Talk {
    client: Peer,
    server: Peer,
    sent: [u32; 2],
    frames: Vec<Vec<u8>>,
}

impl Talk {
    fn new(port: u16) -> Self {
        Self { client: Peer::v4(2, port), server: SERVER, sent: [1, 1], frames: Vec::new() }
    }

    fn client(mut self, bytes: &[u8]) -> Self {
        self.say(0, self.client, self.server, bytes);
        self
    }

    fn server(mut self, bytes: &[u8]) -> Self {
        self.say(1, self.server, self.client, bytes);
        self
    }

    fn say(&mut self, side: usize, from: Peer, to: Peer, bytes: &[u8]) {
        for segment in bytes.chunks(SEGMENT) {
            self.frames.push(tcp_frame(from, to, self.sent[side], segment));
            self.sent[side] += segment.len() as u32;
        }
    }
}

/// What a shard tells of `frames`.
fn told_of(what: &str, frames: &[Vec<u8>]) -> Vec<Value> {
    let mut watched = Watched::keeping(what);
    watched.observe(frames.iter().map(Vec::as_slice));
    watched.finish().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The beginning of a stream by each of which a protocol is known, in the middle of a message whose end does not come, and what
/// it goes on with.
fn endless() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let mut found = vec![
        ("an HTTP header", b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(), b"value ".to_vec()),
        ("HTTP headers", b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec(), b"Name: value\r\n".to_vec()),
        ("an HTTP request line", b"GET /".to_vec(), b"path/".to_vec()),
        ("a chunk's length", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), b"0".to_vec()),
        ("HTTP trailers", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".to_vec(), b"a: b\r\n".to_vec()),
        ("an SSH banner", b"SSH-2.0-".to_vec(), b"software".to_vec()),
        ("an SSH packet", b"SSH-2.0-a\r\n\x00\xff\xff\xff\x04\x14".to_vec(), b"name,".to_vec()),
        ("a Redis value", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$999999999\r\n".to_vec(), b"value".to_vec()),
        ("a Redis array", b"*999999\r\n$3\r\nDEL\r\n".to_vec(), b"$3\r\nkey\r\n".to_vec()),
        ("a nest of Redis arrays", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n".to_vec(), b"*9\r\n".to_vec()),
        (
            "a DNS message",
            [&b"\xff\xff\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"[..], b"\x01a"].concat(),
            b"\x3f".to_vec(),
        ),
    ];
    let postgresql = b"\x00\x00\x00\x16\x00\x03\x00\x00user\x00someone\x00\x00".to_vec();
    found.push(("a PostgreSQL query", [&postgresql[..], b"Q\x3f\xff\xff\xffSELECT "].concat(), b"1 + ".to_vec()));
    // A handshake of 16 MiB in records of 1 KiB: type, version, length.
    let record: Vec<u8> = [&b"\x16\x03\x03\x04\x00"[..], &[1; 1024]].concat();
    let opening = [&b"\x16\x03\x01\x00\x2b\x01\xff\xff\xff\x03\x03"[..], &[7; 32], b"\x00\xff\xfe\x13\x01"].concat();
    found.push(("a TLS hello", opening, record));
    // HEADERS without an end, and CONTINUATION of 1 KiB each: an index of the static table, again and again.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec();
    let opening = [&preface[..], b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"].concat();
    let continuation = [&b"\x00\x04\x00\x09\x00\x00\x00\x00\x01"[..], &[0x84; 1024]].concat();
    found.push(("HTTP/2 headers", opening, continuation));
    let table = [&b"\x00\x04\x00\x09\x00\x00\x00\x00\x01\x40\x01a\x7f\xf6\x06"[..], &[b'v'; 1009]].concat();
    found.push(("an HPACK table", [&preface[..], b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"].concat(), table));
    found
}

#[test]
fn messages_without_an_end_are_not_kept_however_many_connections_send_them() {
    for (what, opening, filler) in endless() {
        let mut stream = opening;
        while stream.len() < STREAM {
            stream.extend_from_slice(&filler);
        }
        let mut frames = Talk::new(1).client(&stream).frames;
        let mut watched = Watched::new(what);
        for connection in 0..CONNECTIONS {
            for frame in &mut frames {
                // The client's port.
                frame[34..36].copy_from_slice(&(20_000 + connection).to_be_bytes());
            }
            watched.observe(frames.iter().map(Vec::as_slice));
        }
        watched.finish();
    }
}

#[test]
fn a_head_of_a_megabyte_hides_no_request_behind_it() {
    let long: Vec<u8> = repeat_n(b'x', 1 << 20).collect();
    let head = [b"GET /before HTTP/1.1\r\nHost: a\r\nCookie: ", &long[..], b"\r\n\r\n"].concat();
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    let talk = Talk::new(20_000).client(&head).server(answer);
    let talk = talk.client(b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n").server(answer);
    let events = told_of("a long head", &talk.frames);
    let urls: Vec<&Value> = events.iter().filter_map(|event| event.pointer("/http/url")).collect();
    assert_eq!(urls, ["/before", "/behind"]);
}

/// A name of 250 bytes that no terminal should see, in labels.
fn long_name() -> Vec<u8> {
    let mut name: Vec<u8> = repeat_n([&[49][..], &[0x1b; 49]].concat(), 5).flatten().collect();
    name.push(0);
    name
}

/// A response of about `length` bytes: one long name, and records that point to it twice each.
fn pointing_response(length: usize) -> Vec<u8> {
    let name = long_name();
    let mut message = b"\x12\x34\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    message.extend_from_slice(&name);
    message.extend_from_slice(&[0, 5, 0, 1]);
    let mut records = 0u16;
    while message.len() + 14 < length {
        // CNAME, IN, a TTL of 0, two bytes of data.
        message.extend_from_slice(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x00\x00\x02\xc0\x0c");
        records += 1;
    }
    message[6..8].copy_from_slice(&records.to_be_bytes());
    message
}

#[test]
fn dns_records_that_point_to_one_long_name_do_not_become_an_event_without_bounds() {
    let server = Peer { port: 53, ..SERVER };
    let over_udp: Vec<Vec<u8>> =
        (0..64).map(|number| udp_frame(server, Peer::v4(3, 30_000 + number), &pointing_response(60_000))).collect();
    let events = told_of("pointers over UDP", &over_udp);
    assert_eq!(events.iter().filter(|event| event["event_type"] == "dns").count(), 64);

    let message = pointing_response(65_000);
    let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    let mut talk = Talk { server, ..Talk::new(30_000) };
    for _ in 0..4 {
        talk = talk.server(&framed);
    }
    let events = told_of("pointers over TCP", &talk.frames);
    assert_eq!(events.iter().filter(|event| event["event_type"] == "dns").count(), 4);
}

#[test]
fn a_few_bytes_that_stand_for_a_long_header_do_not_make_an_event_without_bounds() {
    // One header of 4000 bytes into the table, and then 16,000 times its index.
    let literal = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'v'; 4000]].concat();
    let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00".to_vec();
    let mut headers = |stream: u32, block: &[u8]| {
        frames.extend_from_slice(&(block.len() as u32).to_be_bytes()[1..]);
        // HEADERS, END_STREAM and END_HEADERS.
        frames.extend_from_slice(&[1, 5]);
        frames.extend_from_slice(&stream.to_be_bytes());
        frames.extend_from_slice(block);
    };
    headers(1, &[&b"\x82\x84\x86"[..], &literal].concat());
    for stream in (3..40).step_by(2) {
        headers(stream, &[&b"\x82\x84\x86"[..], &[0xbe; 16_000]].concat());
    }
    headers(41, b"\x82\x86\x04\x07/behind");
    let events = told_of("an HPACK bomb", &Talk::new(20_000).client(&frames).frames);
    let requests: Vec<&Value> = events.iter().filter(|event| event["event_type"] == "http").collect();
    assert_eq!(requests.len(), 21, "{requests:?}");
    assert!(requests.iter().any(|event| event["http"]["url"] == "/behind"), "{:?}", requests.last());
}
