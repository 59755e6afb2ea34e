//! Searches of what has been captured, over real connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use tempfile::TempDir;
use vxtap_capfile::LinkType;
use vxtap_capfile::pcapng::{InterfaceDescription, PacketHeader, SectionHeader};
use vxtap_index::CommunityId;
use vxtap_wire::FrameView;

use super::*;
use crate::api::connection::{self, Client, Limits};
use crate::api::extract::{ExtractBody, Part, StopWhenDropped};
use crate::follow::seen::{Block, Reader};

const DEADLINE: Duration = Duration::from_secs(20);
const START_NS: u64 = 1_795_255_200_000_000_000;

/// A UDP packet between 10.0.0.1 and 10.0.0.2, from `port`, with so many bytes behind its header.
fn frame(port: u16, length: u16) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((28 + length).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([port.to_be_bytes(), 53_u16.to_be_bytes(), (8 + length).to_be_bytes(), [0, 0]].concat());
    frame.extend(std::iter::repeat_n(0, length.into()));
    frame
}

fn id(port: u16) -> String {
    let frame = frame(port, 0);
    let tuple = FrameView::parse(&frame).five_tuple.unwrap();
    CommunityId::of(&tuple).to_string().replace('+', "%2B").replace('=', "%3D").replace('/', "%2F")
}

/// A capture in which record `number`, a millisecond after the one before, is of the flow from port 1000 + `number` % 5.
fn write_capture(directory: &Path, name: &str, records: u16, length: u16) {
    let mut bytes = Vec::new();
    SectionHeader::default().append_to(&mut bytes);
    InterfaceDescription { name: "eth0", description: "", link_type: LinkType::ETHERNET }.append_to(&mut bytes);
    for number in 0..records {
        let header = PacketHeader { interface: 0, time_ns: START_NS + u64::from(number) * 1_000_000, wire_len: 0 };
        header.append_to(&mut bytes, &frame(1000 + number % 5, length));
    }
    std::fs::write(directory.join(name), bytes).unwrap();
}

/// A server over a directory with one capture of 100 records.
fn searched() -> (TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    write_capture(directory.path(), "a.pcapng", 100, 4);
    let server = serve(capturing(directory.path()));
    (directory, server)
}

fn capturing(directory: &Path) -> Arc<FakeMonitor> {
    Arc::new(FakeMonitor { captures: Some(directory.to_owned()), ..FakeMonitor::new(Snapshot::default()) })
}

/// The records of the answer at `path`.
fn records(server: &Server, path: &str) -> Vec<(u64, Vec<u8>)> {
    let mut response = agent().get(format!("http://{}{path}", server.address())).call().unwrap();
    assert_eq!(response.status(), 200, "{path}: {}", response.body_mut().read_to_string().unwrap());
    assert_eq!(response.headers()["content-type"], "application/x-pcapng");
    let bytes = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    let blocks = Reader::default().read(&bytes);
    assert_eq!(blocks.first(), Some(&Block::Header));
    blocks
        .into_iter()
        .filter_map(|block| match block {
            Block::Record(_, time_ns, frame) => Some((time_ns, frame)),
            _ => None,
        })
        .collect()
}

#[test]
fn what_was_captured_is_found_by_flow_by_filter_and_by_time() {
    let (_directory, server) = searched();
    let flow = records(&server, &format!("/v1/extract?flow={}", id(1003)));
    assert_eq!(flow.len(), 20);
    assert!(flow.iter().all(|(_, bytes)| *bytes == frame(1003, 4)));
    assert_eq!(records(&server, "/v1/extract?filter=src+port+1003"), flow);
    let early =
        records(&server, "/v1/extract?filter=src%20port%201003&since=1795255200.01&until=2026-11-21T10:00:00.05Z");
    assert_eq!(early, flow[2..10]);
    assert_eq!(records(&server, "/v1/extract?since=-1h&filter=arp"), []);
}

#[test]
fn a_search_that_makes_no_sense_is_answered_with_the_place() {
    let (_directory, server) = searched();
    for (query, told) in [
        ("", "nothing is looked for: expected at least one of filter, flow, since and until"),
        ("?filter=", "nothing is looked for"),
        ("?filter=nonsense", "filter: capture filter, character 1:"),
        ("?flow=1:abc", "flow: '1:abc' is not a Community ID: expected '1:' and 28 characters"),
        ("?since=yesterday", "since: expected a time such as 2026-11-21T10:00:00Z"),
        ("?until=5m", "until: expected a time such as"),
        ("?since=-1m&until=-2m", "no time is between since and until"),
        ("?colour=red", "unknown field `colour`"),
        ("?flow=%1b[31m", "is not a Community ID"),
    ] {
        let answer = get(&server, &format!("/v1/extract{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.error().contains(told), "{query}: {}", answer.error());
        assert!(!answer.error().contains('\u{1b}'));
    }
}

#[test]
fn a_collector_that_captures_nothing_says_how_to_capture() {
    let server = serve(Arc::new(FakeMonitor::new(Snapshot::default())));
    let answer = get(&server, "/v1/extract?filter=tcp");
    assert_eq!(answer.status, 409);
    assert_eq!(answer.error(), "nothing is captured: start the collector with --write DIR to write captures");
    let gone = serve(capturing(Path::new("/no/such/directory")));
    let answer = get(&gone, "/v1/extract?filter=tcp");
    assert_eq!(answer.status, 500);
    assert!(answer.error().contains("cannot open '/no/such/directory'"), "{}", answer.error());
}

#[test]
fn captures_are_searched_with_the_token_only() {
    let (directory, _) = searched();
    let token = "0123456789abcdef";
    let settings = ApiSettings { token: Some(token.into()), ..loopback() };
    let server = Server::bind(&settings).unwrap().serve(capturing(directory.path())).unwrap();
    assert_eq!(get(&server, "/v1/extract?filter=udp").status, 401);
    assert_eq!(status(&server, "/v1/extract?filter=udp", token), 200);
}

/// The status of the answer at `path`, which may be packets.
fn status(server: &Server, path: &str, token: &str) -> u16 {
    let request = agent().get(format!("http://{}{path}", server.address()));
    request.header("authorization", format!("Bearer {token}")).call().unwrap().status().as_u16()
}

/// Asks for all packets and takes none of them, so that the search cannot end.
fn stalled(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET /v1/extract?filter=udp HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    stream
}

#[test]
fn two_search_at_a_time_and_who_leaves_makes_room() {
    let directory = tempfile::tempdir().unwrap();
    // More than what sockets and queues take on loopback.
    for number in 0..16 {
        write_capture(directory.path(), &format!("{number:02}.pcapng"), 2000, 1400);
    }
    let server = serve(capturing(directory.path()));
    let clients = [stalled(&server), stalled(&server)];
    let answer = get(&server, "/v1/extract?filter=arp");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.error(), "2 searches are under way already: try again when one has ended");
    assert_eq!(get(&server, "/v1/snapshot").status, 200, "others are answered");
    drop(clients);
    let end = Instant::now() + DEADLINE;
    while status(&server, "/v1/extract?filter=arp", "") != 200 {
        assert!(Instant::now() < end, "the searches of clients that left go on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_answer_that_lacks_what_a_damaged_capture_had_breaks_off_behind_all_that_was_found() {
    let (directory, server) = searched();
    write_capture(directory.path(), "b.pcapng", 10, 4);
    let path = directory.path().join("b.pcapng");
    let bytes = std::fs::read(&path).unwrap();
    // In the middle, and more behind it: no file that still grows.
    let damaged = [&bytes[..bytes.len() / 2], &[0xff; 64], &bytes[bytes.len() / 2..]].concat();
    std::fs::write(&path, damaged).unwrap();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET /v1/extract?filter=udp HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..head]));
    let packet = frame(1003, 4);
    let packets = answer.windows(packet.len()).filter(|bytes| *bytes == packet).count();
    assert!(packets >= 20, "{packets} packets of the capture that is whole");
    assert!(!answer.ends_with(b"0\r\n\r\n"), "it has no last chunk");
}

#[test]
fn an_answer_that_fails_before_any_of_it_was_written_is_written_first() {
    // So little that it waits with the head for more, to be written at once.
    const FOUND: usize = 4 << 10;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let answer = async |Extension(client): Extension<Client>| {
        let (sender, parts) = tokio::sync::mpsc::channel(1);
        sender.send(Part::Failed("damaged".into())).await.unwrap();
        Body::new(ExtractBody::new(vec![7; FOUND].into(), parts, StopWhenDropped::default(), &client))
    };
    let router = axum::Router::new().route("/", axum::routing::get(answer));
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        answer
    });
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    runtime.block_on(async {
        let (stream, peer) = listener.accept().await.unwrap();
        connection::serve(stream, peer, router, Limits::DEFAULT, stopped).await;
    });
    let answer = reader.join().unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{} bytes came", answer.len());
    assert!(answer.windows(FOUND).any(|part| part == [7; FOUND]), "all that was found came");
    assert!(!answer.ends_with(b"0\r\n\r\n"), "it has no last chunk");
}
