use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use super::super::tests::{Patient, until};
use super::*;
use crate::health::ReadinessRules;

/// Nothing that these tests do is a matter of the workers.
fn patient() -> Patient {
    Patient::well(ReadinessRules { unready_after: Duration::from_hours(1), ..ReadinessRules::default() })
}

/// Lets this process have as many files open as it may: ordinary users begin with 1,024, and both ends of a thousand connections are here.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn a_thousand_connections_that_say_little_or_nothing_keep_no_probe_out() {
    allow_many_files();
    let patient = patient();
    let mut held = Vec::new();
    for number in 0..1000 {
        let mut stream = TcpStream::connect(patient.address).unwrap();
        match number % 4 {
            0 => {}
            1 => stream.write_all(b"GET /rea").unwrap(),
            2 => stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n").unwrap(),
            _ => stream.write_all(b"\x16\x03\x01\x02").unwrap_or(()),
        }
        held.push(stream);
        if number % 100 == 99 {
            let begun = Instant::now();
            assert_eq!(patient.get("/readyz").0, 200, "after {number}");
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
    }
    let health = patient.state.snapshot();
    assert!(health.connections >= 1010 && health.evicted > 500, "{health:?}");
    drop(held);
    until("a quick answer", || patient.get("/healthz").0 == 200);
}

#[test]
fn a_probe_that_keeps_its_connection_stays_while_silent_ones_make_room() {
    allow_many_files();
    let patient = patient();
    let mut probe = TcpStream::connect(patient.address).unwrap();
    let mut ask = || {
        probe.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = [0; 1000];
        let len = probe.read(&mut answer).unwrap();
        assert!(answer[..len].starts_with(b"HTTP/1.1 200 OK\r\n"), "{:?}", String::from_utf8_lossy(&answer[..len]));
    };
    ask();
    let mut held = Vec::new();
    for round in 0..5 {
        for _ in 0..100 {
            held.push(TcpStream::connect(patient.address).unwrap());
        }
        let expected = 100 * (round + 1);
        until("all to be taken", || patient.state.snapshot().connections > expected);
        ask();
    }
    assert!(patient.state.snapshot().evicted > 300);
}

#[test]
fn of_connections_that_are_heard_from_in_one_moment_the_later_one_is_the_less_silent() {
    let connections = Connections::default();
    let heard: Vec<_> = (0..100).map(|_| connections.hear()).collect();
    heard[0].now();
    let last: Vec<_> = heard.iter().map(|heard| heard.last.load(Ordering::Relaxed)).collect();
    assert!(last[1..].is_sorted_by(|one, next| one < next) && last[0] > last[99], "{last:?}");
}

#[test]
fn garbage_is_answered_with_400_and_closed() {
    let patient = patient();
    let tls = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0xff, 0xfe];
    let long = vec![b'A'; 20_000];
    for garbage in
        [&tls[..], b"\0\0\0\0\0\0\0\0\r\n\r\n", b"HELO there\r\n\r\n", b"GET\r\n\r\n", b"GET /readyz HTTP/9.9\r\n\r\n"]
    {
        let answer = patient.say(garbage);
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{garbage:?}: {answer}");
    }
    let answer = patient.say(&long);
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(patient.get("/readyz").0, 200);
}

#[test]
fn other_paths_and_methods_are_told_what_there_is() {
    let patient = patient();
    let (status, body) = patient.get("/status");
    assert!(status == 404 && body.contains("expected /readyz"), "{body}");
    let answer = patient.say(b"POST /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    // What some load balancers ask with.
    let answer = patient.say(b"HEAD /readyz HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") || answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_probe_that_only_connects_is_no_request() {
    let patient = patient();
    let before = patient.state.snapshot();
    drop(TcpStream::connect(patient.address).unwrap());
    until("the connection to be taken", || patient.state.snapshot().connections > before.connections);
    assert_eq!(patient.state.snapshot().requests, before.requests);
}

#[test]
fn a_probe_behind_a_header_of_the_proxy_protocol_is_answered() {
    let patient = patient();
    let request = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let line = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 8080\r\n".to_vec();
    // LOCAL, as a balancer that asks by itself says (HAProxy), and PROXY with addresses and an extension (AWS).
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
    let proxy =
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x1f\x90".as_slice(), b"\x04\0\x01\0"]
            .concat();
    for header in [line, local, proxy] {
        let answer = patient.say(&[&header, request.as_slice()].concat());
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{}: {answer}", header.escape_ascii());
        // In pieces, the request after the header.
        let mut stream = TcpStream::connect(patient.address).unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in header.chunks(7).chain([request.as_slice()]) {
            stream.write_all(piece).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{}: {answer}", header.escape_ascii());
    }
    // Once: a second one is no request.
    let twice = [b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n".as_slice(), request].concat();
    assert!(patient.say(&twice).starts_with("HTTP/1.1 400 "));
}

#[test]
fn half_a_header_of_the_proxy_protocol_holds_a_connection_no_longer_than_half_a_request() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.write_all(b"PROXY TCP4 192.0.2.1").unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    let taken = runtime.block_on(async {
        let mut server = tokio::net::TcpStream::from_std(server).unwrap();
        proxy_header::take_off(&mut server, Duration::from_millis(50)).await
    });
    assert_eq!(taken.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}
