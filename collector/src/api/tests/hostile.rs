//! Clients that are slow, greedy, broken or gone.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// All that comes until the server closes; what came so far when it resets the connection.
fn read_all(mut stream: &TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn ask(server: &Server, request: &str) -> String {
    let mut stream = connect(server);
    // The server may have closed before all was written.
    let _ = stream.write_all(request.as_bytes());
    read_all(&stream)
}

fn status_line(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "{what} within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn healthy(server: &Server) -> bool {
    let answer = ask(server, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    status_line(&answer) == "HTTP/1.1 200 OK"
}

fn nobody() -> Arc<FakeMonitor> {
    Arc::new(FakeMonitor::new(Snapshot::default()))
}

#[test]
fn connections_beyond_the_bound_are_refused_and_places_become_free_again() {
    let server = serve_within(Limits { connections: 3, ..Limits::DEFAULT }, nobody());
    let held: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            // An answer proves that the connection has its place.
            assert_eq!(stream.read(&mut [0]).unwrap(), 1);
            stream
        })
        .collect();
    let mut beyond = connect(&server);
    let mut answer = String::new();
    beyond.read_to_string(&mut answer).unwrap();
    assert_eq!(status_line(&answer), "HTTP/1.1 503 Service Unavailable");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({"error": "too many connections"}));
    drop(held);
    eventually("places are free", || healthy(&server));
}

#[test]
fn a_client_that_never_ends_its_request_loses_its_place() {
    let limits = Limits { connections: 1, head_timeout: Duration::from_millis(100), ..Limits::DEFAULT };
    let server = serve_within(limits, nobody());
    for start in ["", "GET /healthz HTT", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n"] {
        let mut slow = connect(&server);
        slow.write_all(start.as_bytes()).unwrap();
        // Ends only because the server closes.
        let answer = read_all(&slow);
        assert!(!answer.contains("200"), "{answer}");
        eventually("the next client is served", || healthy(&server));
    }
}

#[test]
fn a_client_that_does_not_take_its_answer_loses_its_place() {
    let page = FlowPage {
        flows: vec![
            FlowSnapshot {
                worker: 0,
                community_id: "x".repeat(2000),
                network: None,
                network_name: None,
                stream: String::new(),
                protocol: "TCP".into(),
                originator: "10.1.1.1".parse().unwrap(),
                originator_port: None,
                responder: "10.1.1.2".parse().unwrap(),
                responder_port: None,
                state: "new".into(),
                app: None,
                frames_to_responder: 0,
                frames_to_originator: 0,
                bytes_to_responder: 0,
                bytes_to_originator: 0,
                tcp_flags_to_responder: 0,
                tcp_flags_to_originator: 0,
                first_ns: 0,
                last_ns: 0,
            };
            10_000
        ],
        matching: 10_000,
        total: 10_000,
    };
    let (asked, was_asked) = mpsc::channel();
    let asked = Mutex::new(asked);
    let limits = Limits { connections: 1, stall_timeout: Duration::from_millis(100), ..Limits::DEFAULT };
    let server = serve_within(
        limits,
        FakeMonitor::with_flows(move |_| {
            asked.lock().unwrap().send(()).unwrap();
            Ok(page.clone())
        }),
    );
    let mut stuck = connect(&server);
    stuck.write_all(b"GET /v1/flows HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    was_asked.recv_timeout(DEADLINE).unwrap();
    eventually("the next client is served", || healthy(&server));
    let taken = read_all(&stuck).len();
    assert!(taken < 20_000_000, "all {taken} bytes came: the answer was not given up");
}

#[test]
fn requests_that_are_not_http_are_refused_and_the_next_one_is_served() {
    let server = serve(nobody());
    let long = "x".repeat(64 * 1024);
    let many = "x: 1\r\n".repeat(200);
    for (request, expected) in [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), "HTTP/1.1 400 Bad Request"),
        ("GET\r\n\r\n".to_owned(), "HTTP/1.1 400 Bad Request"),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "HTTP/1.1 431 Request Header Fields Too Large"),
        (
            format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"),
            "HTTP/1.1 431 Request Header Fields Too Large",
        ),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "HTTP/1.1 431 Request Header Fields Too Large"),
    ] {
        let answer = ask(&server, &request);
        // A reset may overtake the answer to a client that is still sending.
        assert!(answer.is_empty() || status_line(&answer) == expected, "{} -> {answer}", &request[..20]);
        assert!(healthy(&server));
    }
}

#[test]
fn a_path_with_control_characters_is_not_echoed_as_it_came() {
    let server = serve(nobody());
    let answer = ask(&server, "GET /%1b[31m\u{9b}x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(!answer.contains(['\u{1b}', '\u{9b}']), "{answer}");
}

#[test]
fn a_web_page_with_a_name_of_its_own_cannot_read_the_api() {
    let server = serve(nobody());
    let answer = ask(&server, "GET /v1/snapshot HTTP/1.1\r\nhost: evil.example:9789\r\nconnection: close\r\n\r\n");
    assert_eq!(status_line(&answer), "HTTP/1.1 403 Forbidden");
}

#[test]
fn a_web_page_that_asks_for_an_address_gets_nothing_either_without_a_token() {
    let server = serve(nobody());
    for origin in ["http://evil.example", "null"] {
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\norigin: {origin}\r\nconnection: close\r\n\r\n");
        let answer = ask(&server, &request);
        assert_eq!(status_line(&answer), "HTTP/1.1 403 Forbidden", "{answer}");
        assert!(answer.contains("without --api-token, requests of web pages are refused"), "{answer}");
    }
}

#[test]
fn a_client_that_closes_its_side_early_does_not_hold_the_server() {
    let server = serve_within(Limits { connections: 1, ..Limits::DEFAULT }, nobody());
    let half = connect(&server);
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&half), "");
    eventually("the next client is served", || healthy(&server));
}

#[test]
fn health_is_answered_while_the_monitor_is_stuck() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let server = serve(FakeMonitor::with_flows(move |_| {
        let _ = released.lock().unwrap().recv();
        Ok(FlowPage::default())
    }));
    let stuck: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(b"GET /v1/flows HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert!(healthy(&server));
    drop(stuck);
    drop(release);
    eventually("flows are answered again", || get(&server, "/v1/flows").status == 200);
}

#[test]
fn stopping_lets_a_request_under_way_end_and_frees_the_port() {
    let (asked, was_asked) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (asked, released) = (Mutex::new(asked), Mutex::new(released));
    let server = serve(FakeMonitor::with_flows(move |_| {
        asked.lock().unwrap().send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        Ok(FlowPage { total: 77, ..FlowPage::default() })
    }));
    let address = server.address();
    let mut under_way = connect(&server);
    under_way.write_all(b"GET /v1/flows HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let idle = connect(&server);
    was_asked.recv_timeout(DEADLINE).unwrap();
    let stopping = std::thread::spawn(move || server.stop());
    eventually("nothing is accepted any more", || TcpStream::connect(address).is_err());
    release.send(()).unwrap();
    let answer = read_all(&under_way);
    assert_eq!(status_line(&answer), "HTTP/1.1 200 OK");
    assert!(answer.contains("\"total\":77"), "{answer}");
    assert_eq!(read_all(&idle), "");
    stopping.join().unwrap();
    Server::bind(&ApiSettings { address, token: None }).unwrap().serve(nobody()).unwrap();
}

#[test]
fn stopping_does_not_wait_for_a_monitor_that_never_answers() {
    let (asked, was_asked) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (asked, released) = (Mutex::new(asked), Mutex::new(released));
    let server = serve(FakeMonitor::with_flows(move |_| {
        asked.lock().unwrap().send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        Ok(FlowPage::default())
    }));
    let mut under_way = connect(&server);
    under_way.write_all(b"GET /v1/flows HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    was_asked.recv_timeout(DEADLINE).unwrap();
    let begun = Instant::now();
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(release);
}
