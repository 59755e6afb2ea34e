use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::mirror::status::Reloads;
use crate::mirror::steward::{Outcome, Refusal};
use crate::policy::{Direction, Encapsulation};

struct Port {
    address: SocketAddr,
    requests: Option<Receiver<Request>>,
    ledger: Arc<Ledger>,
    _server: Server,
}

fn port(token: Option<&str>) -> Port {
    let (requests, received) = channel();
    let ledger = Arc::<Ledger>::default();
    let session = crate::mirror::status::SessionStatus {
        name: "s".to_owned(),
        number: 7,
        enabled: true,
        vni: 107,
        encapsulation: Encapsulation::Vxlan,
        target: "c".to_owned(),
    };
    let reloads = Reloads { accepted: 2, refused: 5, accepted_at: 1.5e9, error: Some("p.toml:3:1: no".to_owned()) };
    let status =
        Status { policy: "p.toml".to_owned(), generation: 3, reloads, sessions: vec![session], targets: vec![] };
    let address = "127.0.0.1:0".parse().unwrap();
    let bound = BoundServer::bind(&ControlSettings { address, token: token.map(str::to_owned) }).unwrap();
    let address = bound.address();
    let shown =
        Shown { ledger: Arc::clone(&ledger), control: Arc::default(), status: Arc::new(Mutex::new(status)), requests };
    Port { address, requests: Some(received), ledger, _server: bound.serve(shown).unwrap() }
}

/// Status and body of the answer to `request`.
fn ask(port: &Port, request: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(port.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("{request} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}\r\n", port.address);
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn sessions_are_shown_with_their_counts() {
    let port = port(None);
    port.ledger.session("s").direction(Direction::Inbound).mirrored.add(2, 120);
    port.ledger.session("old").direction(Direction::Outbound).mirrored.add(1, 60);
    let (status, body) = ask(&port, "GET /v1/sessions", "");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["generation"]), (200, &3.into()));
    let session = &body["sessions"][0];
    assert_eq!((&session["name"], &session["vni"], &session["enabled"]), (&"s".into(), &107.into(), &true.into()));
    assert_eq!(session["inbound"]["mirrored"], serde_json::json!({"packets": 2, "bytes": 120}));
    assert_eq!(body["gone"][0]["session"], "old");
}

#[test]
fn metrics_have_the_clouds_four_pairs_by_session_and_direction() {
    let port = port(None);
    let session = port.ledger.session("s");
    session.direction(Direction::Inbound).mirrored.add(2, 120);
    session.direction(Direction::Outbound).skipped[crate::summary::SkipReason::CpuBudget as usize].add(3, 300);
    let (status, body) = ask(&port, "GET /metrics", "");
    assert_eq!(status, 200);
    for line in [
        "vxtap_sender_mirrored_packets_total{session=\"s\",direction=\"inbound\"} 2",
        "vxtap_sender_mirrored_bytes_total{session=\"s\",direction=\"inbound\"} 120",
        "vxtap_sender_skipped_packets_total{session=\"s\",direction=\"outbound\"} 3",
        "vxtap_sender_skipped_bytes_total{session=\"s\",direction=\"outbound\"} 300",
        "vxtap_sender_skipped_packets_by_reason_total{session=\"s\",direction=\"outbound\",reason=\"cpu_budget\"} 3",
        "vxtap_sender_session_enabled{session=\"s\"} 1",
        "vxtap_sender_policy_generation 3",
    ] {
        assert!(body.lines().any(|found| found == line), "no {line} in:\n{body}");
    }
    assert!(body.ends_with("# EOF\n"));
}

#[test]
fn reloads_are_in_the_metrics_by_what_became_of_them_with_the_time_of_the_last_one_accepted() {
    let port = port(None);
    let (_, body) = ask(&port, "GET /metrics", "");
    for line in [
        "vxtap_sender_policy_reloads_total{outcome=\"accepted\"} 2",
        "vxtap_sender_policy_reloads_total{outcome=\"refused\"} 5",
        "vxtap_sender_policy_accepted_timestamp_seconds 1500000000.0",
        "vxtap_sender_policy_refused 1",
    ] {
        assert!(body.lines().any(|found| found == line), "no {line} in:\n{body}");
    }
    let (_, body) = ask(&port, "GET /v1/sessions", "");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["reloads"]["refused"], &body["reloads"]["error"]), (&5.into(), &"p.toml:3:1: no".into()));
}

#[test]
fn changes_go_to_the_steward_and_his_answer_comes_back() {
    let mut port = port(None);
    let requests = port.requests.take().unwrap();
    let steward = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for request in requests.iter().take(4) {
            match request {
                Request::Reload(answer) if seen.is_empty() => {
                    seen.push("reload".to_owned());
                    answer(Ok(Outcome { generation: 4, in_force: true }));
                }
                Request::Reload(answer) => answer(Err(Refusal::Policy("p.toml:3:1: no".to_owned()))),
                Request::Enable { session, on, answer } => {
                    seen.push(format!("{session} {on}"));
                    let known = session == "7";
                    answer(if known {
                        Ok(Outcome { generation: 5, in_force: false })
                    } else {
                        Err(Refusal::UnknownSession(session))
                    });
                }
                _ => panic!("another request"),
            }
        }
        seen
    });
    assert_eq!(ask(&port, "POST /v1/reload", ""), (200, "{\"generation\":4,\"in_force\":true}".to_owned()));
    let (status, body) = ask(&port, "POST /v1/reload", "");
    assert_eq!((status, body.as_str()), (422, "{\"error\":\"p.toml:3:1: no\"}"));
    assert_eq!(ask(&port, "POST /v1/sessions/7/disable", "").0, 200);
    assert_eq!(ask(&port, "POST /v1/sessions/a%20b/enable", "").0, 404);
    assert_eq!(steward.join().unwrap(), ["reload", "7 false", "a b true"]);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let port = port(None);
    for (request, status, expected) in [
        ("GET /", 404, "/v1/sessions"),
        ("POST /v1/sessions/7/burn", 404, "enable"),
        ("GET /v1/reload", 405, "POST changes"),
        ("DELETE /metrics", 405, "GET shows"),
    ] {
        let (given, body) = ask(&port, request, "");
        assert!(given == status && body.contains(expected), "{request}: {given} {body}");
    }
    assert_eq!(ask(&port, "GET /healthz", ""), (200, "ok\n".to_owned()));
}

#[test]
fn a_web_page_can_neither_see_nor_change_anything() {
    let port = port(None);
    for request in ["GET /metrics", "POST /v1/reload"] {
        assert_eq!(ask(&port, request, "origin: http://page.example\r\n").0, 403);
    }
    let mut stream = TcpStream::connect(port.address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: page.example\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[test]
fn off_loopback_a_token_is_needed() {
    let address = "0.0.0.0:0".parse().unwrap();
    let error = BoundServer::bind(&ControlSettings { address, token: None }).err().unwrap();
    assert!(error.is_usage() && error.to_string().contains("--control-token"), "{error}");
    let port = port(Some("0123456789abcdef"));
    assert_eq!(ask(&port, "GET /metrics", "").0, 401);
    assert_eq!(ask(&port, "GET /metrics", "authorization: Bearer 0123456789abcdef\r\n").0, 200);
    assert!(!format!("{:?}", ControlSettings { address, token: Some("0123456789abcdef".to_owned()) }).contains("0123"));
}
