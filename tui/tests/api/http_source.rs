//! [`HttpSource`] against a collector that answers as told, over real connections.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::fake_collector::{Answer, FakeCollector, Request, answer};
use vxtap_analyzers::snapshot::{FlowPage, FlowQuery, FlowSort, Snapshot};
use vxtap_tui::{CapturedFlow, HttpSource, Source as _, SourceError};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn always(bytes: Vec<u8>) -> Answer {
    Box::new(move |_: &Request| Some(bytes.clone()))
}

fn snapshot(started_ns: u64) -> Snapshot {
    Snapshot { started_ns, taken_ns: started_ns + 1, version: "9".into(), ..Snapshot::default() }
}

fn serving(snapshot: &Snapshot) -> Answer {
    always(answer("200 OK", &serde_json::to_string(snapshot).unwrap()))
}

fn source(url: &str, token: Option<&str>) -> HttpSource {
    HttpSource::new(url.parse().unwrap(), token).unwrap()
}

/// What a question to a collector that answers `bytes` ends in.
fn refused(bytes: Vec<u8>) -> String {
    let collector = FakeCollector::start(ANY, always(bytes));
    source(&collector.url(), None).snapshot().unwrap_err().to_string()
}

#[test]
fn a_snapshot_arrives_as_it_was_sent() {
    let collector = FakeCollector::start(ANY, serving(&snapshot(5)));
    assert_eq!(source(&collector.url(), None).snapshot(), Ok(snapshot(5)));
    let requests = collector.requests.lock().unwrap();
    assert_eq!(requests[0].target, "/v1/snapshot");
    assert!(!requests[0].header.iter().any(|line| line.starts_with("authorization")));
}

#[test]
fn every_field_of_a_query_is_asked_for_and_escaped() {
    let page = FlowPage { matching: 3, total: 7, ..FlowPage::default() };
    let collector = FakeCollector::start(ANY, always(answer("200 OK", &serde_json::to_string(&page).unwrap())));
    let query = FlowQuery {
        sort: FlowSort::Originator,
        ascending: true,
        filter: "10.0.0.0/8 & port 443 +ü".into(),
        limit: 500,
    };
    assert_eq!(source(&collector.url(), None).flows(&query), Ok(page));
    let target = &collector.requests.lock().unwrap()[0].target;
    let (path, parameters) = target.split_once('?').unwrap();
    assert_eq!(path, "/v1/flows");
    let parameters: Vec<&str> = parameters.split('&').collect();
    assert_eq!(parameters[0], "sort=originator");
    assert_eq!(parameters[1], "ascending=true");
    assert!(parameters[2].starts_with("filter=10.0.0.0"), "{parameters:?}");
    assert!(parameters[2].contains("%26") && parameters[2].contains("%2B") && parameters[2].ends_with("%C3%BC"));
    assert_eq!(parameters[3], "limit=500");
}

#[test]
fn the_token_is_sent() {
    let collector = FakeCollector::start(ANY, serving(&snapshot(5)));
    source(&collector.url(), Some("Secret")).snapshot().unwrap();
    let requests = collector.requests.lock().unwrap();
    assert!(requests[0].header.contains(&"authorization: bearer secret".to_owned()), "{requests:?}");
}

#[test]
fn a_refused_filter_is_told_apart_from_other_failures() {
    let collector = FakeCollector::start(ANY, always(answer("400 Bad Request", "port: 'x' is no number")));
    let answered = source(&collector.url(), None).flows(&FlowQuery::default());
    assert_eq!(answered, Err(SourceError::Filter("port: 'x' is no number".into())));
}

#[test]
fn a_collector_that_comes_back_is_found_again() {
    let collector = FakeCollector::start(ANY, serving(&snapshot(5)));
    let (address, url) = (collector.address, collector.url());
    let mut source = source(&url, None);
    assert_eq!(source.snapshot().unwrap().started_ns, 5);
    drop(collector);
    let error = source.snapshot().unwrap_err();
    assert!(
        matches!(&error, SourceError::Unreachable(told) if told.contains(&url) && told.contains("refused")),
        "{error}"
    );
    let _collector = FakeCollector::start(address, serving(&snapshot(6)));
    assert_eq!(source.snapshot().unwrap().started_ns, 6);
}

#[test]
fn a_collector_that_never_answers_is_given_up_soon() {
    let collector = FakeCollector::start(ANY, Box::new(|_| None));
    let start = Instant::now();
    let error = source(&collector.url(), None).snapshot().unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable(told) if told.contains("no answer in time")), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn nobody_who_listens_is_told_in_one_line() {
    let port = TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let error = source(&format!("http://{port}"), None).snapshot().unwrap_err().to_string();
    assert!(error.contains("can't get") && error.contains("/v1/snapshot") && !error.contains('\n'), "{error}");
}

#[test]
fn answers_that_are_no_snapshot_are_told_so() {
    for (bytes, told) in [
        (answer("200 OK", "{"), "can't be read"),
        (answer("200 OK", r#"{"started_ns": -1}"#), "another version"),
        (answer("401 Unauthorized", ""), "--token or VXTAP_API_TOKEN"),
        (answer("404 Not Found", ""), "is a vxtap collector listening"),
        (answer("500 Internal Server Error", "out of order"), "out of order"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "can't get"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec(), "can't get"),
        (Vec::new(), "can't get"),
    ] {
        let error = refused(bytes.clone());
        assert!(error.contains(told), "{:?}: {error}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let body = "[".repeat(17 << 20);
    let error = refused(answer("200 OK", &body));
    assert!(error.contains("longer than"), "{error}");
}

#[test]
fn a_redirection_is_not_followed_so_that_the_token_stays_here() {
    let thief = FakeCollector::start(ANY, serving(&snapshot(5)));
    let moved = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}/v1/snapshot\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        thief.url()
    );
    let collector = FakeCollector::start(ANY, always(moved.into_bytes()));
    let error = source(&collector.url(), Some("secret")).snapshot().unwrap_err();
    assert!(error.to_string().contains("302"), "{error}");
    assert!(thief.requests.lock().unwrap().is_empty());
}

const FLOW: &str = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=";

/// What a collector that answers `bytes` gives of a flow that is asked for with `filter`, and how that ended.
fn flow(bytes: Vec<u8>, token: Option<&str>, filter: &str) -> (Vec<u8>, Result<(), SourceError>, Vec<Request>) {
    let collector = FakeCollector::start(ANY, always(bytes));
    let captured = source(&collector.url(), token).captured().unwrap();
    let mut output = Vec::new();
    let ended = captured.copy_flow(&CapturedFlow { community_id: FLOW.into(), filter: filter.into() }, &mut output);
    let requests = collector.requests.lock().unwrap().clone();
    (output, ended, requests)
}

#[test]
fn the_packets_of_a_flow_are_asked_for_by_its_id_and_copied() {
    let body = "x".repeat(300_000);
    let (output, ended, requests) = flow(answer("200 OK", &body), Some("Secret"), "");
    assert_eq!((output.len(), ended), (body.len(), Ok(())));
    assert_eq!(requests[0].target, "/v1/extract?flow=1%3ALQU9qZlK%2BB5F3KDmev6m5PMibrg%3D");
    assert!(requests[0].header.contains(&"authorization: bearer secret".to_owned()), "{requests:?}");
    let (_, ended, requests) = flow(answer("200 OK", &body), None, "network \"blue\"");
    assert_eq!(ended, Ok(()));
    assert!(requests[0].target.ends_with("%3D&filter=network%20%22blue%22"), "{}", requests[0].target);
}

#[test]
fn a_flow_that_is_refused_or_breaks_off_is_told_so() {
    for (bytes, told) in [
        (answer("409 Conflict", r#"{"error":"nothing is captured"}"#), "answered 409 Conflict: nothing is captured"),
        (answer("503 Service Unavailable", r#"{"error":"2 searches"}"#), "2 searches"),
        (answer("401 Unauthorized", ""), "--token or VXTAP_API_TOKEN"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_vec(), "broke off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec(), "broke off"),
    ] {
        let error = flow(bytes, None, "").1.unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
