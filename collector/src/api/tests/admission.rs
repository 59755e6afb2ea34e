//! Deciding over the API, and everything that is no decision.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;
use crate::admission::{AdmissionSettings, Policy};

const TOKEN: &str = "0123456789abcdef";
const JSON: &str = "content-type: application/json";

/// A monitor whose configuration rejects one source.
fn monitor() -> FakeMonitor {
    let policy = Policy { accept: Vec::new(), reject: vec!["from 192.0.2.0/24".parse().unwrap()] };
    let admission = Admission::open(&AdmissionSettings { policy, state: None }).unwrap();
    FakeMonitor { admission, ..FakeMonitor::new(Snapshot::default()) }
}

fn decided(monitor: &FakeMonitor) -> u64 {
    monitor.admission.snapshot().decisions_total
}

/// Status and error of a request with these header lines and this body.
fn send(server: &Server, line: &str, headers: &[&str], body: &[u8]) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let mut request = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    request.extend(headers.iter().flat_map(|header| [*header, "\r\n"]));
    request.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n"]);
    stream.write_all(request.as_bytes()).unwrap();
    // The server may answer, and close, before it has taken all.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {line}: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn a_decision_is_taken_and_told_in_its_own_words() {
    let monitor = Arc::new(monitor());
    let server = serve(Arc::clone(&monitor));
    let body = br#"{"stream": "from 10.0.0.7/32 vni 7 (web) vxlan"}"#;
    let (status, answer) = send(&server, "POST /v1/admission/accept", &[JSON], body);
    assert_eq!((status, answer), (200, json!({"choice": "accept", "stream": "vxlan vni 7 from 10.0.0.7"})));
    let (status, answer) = send(&server, "POST /v1/admission/reject", &[JSON], br#"{"stream": "vni 9"}"#);
    assert_eq!((status, answer), (200, json!({"choice": "reject", "stream": "vni 9"})));
    assert_eq!(decided(&monitor), 2);
    let (status, answer) = send(&server, "POST /v1/admission/forget", &[JSON], br#"{"stream": "vni 9"}"#);
    assert_eq!((status, answer), (200, json!({"choice": "forget", "stream": "vni 9"})));
    let (status, answer) = send(&server, "POST /v1/admission/forget", &[JSON], br#"{"stream": "vni 9"}"#);
    assert_eq!((status, decided(&monitor)), (404, 1));
    assert!(answer["error"].as_str().unwrap().contains("nothing was decided about exactly 'vni 9'"), "{answer}");
    let shown = get(&server, "/v1/admission");
    assert_eq!((shown.status, &shown.json()["accepts_all"]), (200, &json!(false)));
}

#[test]
fn without_the_token_nothing_is_decided() {
    let monitor = Arc::new(monitor());
    let settings = ApiSettings { token: Some(TOKEN.into()), ..loopback() };
    let server = Server::bind(&settings).unwrap().serve(Arc::clone(&monitor) as Arc<dyn Monitor>).unwrap();
    let body = br#"{"stream": "all"}"#;
    for header in ["authorization: Bearer 0123456789abcdee", "authorization: Basic 0123456789abcdef", "x: y"] {
        for path in
            ["POST /v1/admission/accept", "POST /v1/admission/reject", "POST /v1/admission/forget", "GET /v1/admission"]
        {
            let (status, answer) = send(&server, path, &[JSON, header], body);
            assert_eq!(status, 401, "{path} with {header}");
            assert!(answer["error"].as_str().unwrap().contains("a token is needed"));
        }
    }
    assert_eq!(decided(&monitor), 0);
    let token = format!("authorization: Bearer {TOKEN}");
    assert_eq!(send(&server, "POST /v1/admission/accept", &[JSON, &token], body).0, 200);
    assert_eq!(decided(&monitor), 1);
}

#[test]
fn a_page_of_another_site_decides_nothing() {
    let monitor = Arc::new(monitor());
    let server = serve(Arc::clone(&monitor));
    let body = br#"{"stream": "all"}"#;
    // What a browser sends for a page without asking first has another media type, and its origin.
    for (header, status) in [
        ("content-type: text/plain", 415),
        ("content-type: application/x-www-form-urlencoded", 415),
        ("x: y", 415),
        ("content-type: application/json\r\norigin: http://evil.example", 403),
        ("content-type: application/json\r\norigin: null", 403),
    ] {
        assert_eq!(send(&server, "POST /v1/admission/accept", &[header], body).0, status, "{header}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let (status, answer) = send(&server, &format!("{method} /v1/admission/accept"), &[JSON], body);
        assert_eq!((status, &answer["error"]), (405, &json!("only POST is answered here")), "{method}");
    }
    assert_eq!(send(&server, "POST /v1/admission", &[JSON], body).0, 405);
    assert_eq!(decided(&monitor), 0);
}

#[test]
fn a_body_that_is_no_decision_is_refused_with_what_was_expected() {
    let monitor = Arc::new(monitor());
    let server = serve(Arc::clone(&monitor));
    let deep = "[".repeat(5000);
    let long = format!(r#"{{"stream": "{}"}}"#, "x".repeat(9000));
    for (body, status, told) in [
        (&b""[..], 400, "the body is not understood"),
        (b"{}", 400, "missing field `stream`"),
        (br#"{"stream": 5}"#, 400, "invalid type"),
        (br#"{"stream": "vni 7", "forever": true}"#, 400, "unknown field `forever`"),
        (br#"{"stream": ""}"#, 400, "expected 'all'"),
        (br#"{"stream": "vni 99999999"}"#, 400, "'99999999' is no VNI"),
        (b"{\"stream\": \"\\u001b[2J\"}", 400, "'\\u{1b}[2J'"),
        (b"\xff\xfe\x00", 400, "the body is not understood"),
        (deep.as_bytes(), 400, "invalid type: sequence"),
        (long.as_bytes(), 413, "more than 8192 bytes"),
        (br#"{"stream": "vxlan vni 7 from 192.0.2.1"}"#, 409, "the configuration rejects"),
    ] {
        let (answered, answer) = send(&server, "POST /v1/admission/accept", &[JSON], body);
        let error = answer["error"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (answered, error.contains(told)),
            (status, true),
            "{:.60}: {answered} {error}",
            String::from_utf8_lossy(body)
        );
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    assert_eq!(decided(&monitor), 0);
}
