//! Followers of the live capture: quick ones, slow ones, and those that leave.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use vxtap_analyzers::{StreamId, StreamKey};
use vxtap_capfile::pcapng::PacketHeader;
use vxtap_wire::vxlan::Vni;

use super::*;
use crate::follow::seen::{Block, Reader, blocks};
use crate::streams::StreamRegistry;

const DEADLINE: Duration = Duration::from_secs(20);
const IPV4: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0];
const ARP: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 6];
const NAME: &str = "vni 7 from 10.0.0.7";

/// A monitor whose hub knows one mirror stream.
fn monitor() -> Arc<FakeMonitor> {
    let streams = StreamRegistry::new();
    let key = StreamKey::vxlan("10.0.0.7".parse().unwrap(), Vni::new(7).unwrap());
    assert_eq!(streams.intern(&key), StreamId(0));
    Arc::new(FakeMonitor { hub: Hub::new(Arc::new(streams)), ..FakeMonitor::new(Snapshot::default()) })
}

/// So long that the server is soon in the middle of one.
fn long_frame() -> Vec<u8> {
    let mut frame = IPV4.to_vec();
    frame.resize(60_000, 1);
    frame
}

fn record(time_ns: u64, frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketHeader { interface: 0, time_ns, wire_len: 0 }.append_to(&mut bytes, frame);
    bytes
}

/// A follower that takes the chunks of HTTP apart by hand.
struct Client {
    stream: TcpStream,
    /// Taken from the stream and not looked at yet.
    rest: Vec<u8>,
    reader: Reader,
}

impl Client {
    fn follow(server: &Server, path: &str) -> Self {
        let mut client = Self::send(server, path);
        let head = client.take_until(b"\r\n\r\n");
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for line in ["content-type: application/x-pcapng", "transfer-encoding: chunked", "cache-control: no-store"] {
            assert!(head.contains(line), "{head}");
        }
        client
    }

    /// Asks, and reads nothing.
    fn send(server: &Server, path: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        Self { stream, rest: Vec::new(), reader: Reader::default() }
    }

    fn take_until(&mut self, mark: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.rest.windows(mark.len()).position(|window| window == mark) {
                return self.rest.drain(..at + mark.len()).collect();
            }
            self.fill();
        }
    }

    fn fill(&mut self) {
        let mut buffer = [0; 16 << 10];
        let length = self.stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the connection ended");
        self.rest.extend_from_slice(&buffer[..length]);
    }

    /// The next chunk's blocks; none is the end.
    fn chunk(&mut self) -> Vec<Block> {
        let line = String::from_utf8(self.take_until(b"\r\n")).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        while self.rest.len() < length + 2 {
            self.fill();
        }
        let chunk: Vec<u8> = self.rest.drain(..length + 2).take(length).collect();
        self.reader.read(&chunk)
    }

    /// Everything until the end.
    fn until_the_end(&mut self) -> Vec<Block> {
        let mut all = Vec::new();
        loop {
            match self.chunk() {
                chunk if chunk.is_empty() => return all,
                chunk => all.extend(chunk),
            }
        }
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "{what} within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_follower_gets_the_header_at_once_and_records_as_they_come_and_statistics_at_the_end() {
    let monitor = monitor();
    let server = serve(Arc::clone(&monitor));
    let mut client = Client::follow(&server, "/v1/live.pcapng?filter=arp");
    assert_eq!(client.chunk(), [Block::Header]);
    monitor.hub.publish(&[&record(1, &IPV4), &record(2, &ARP)]);
    let expected = [Block::Interface(NAME.into()), Block::Record(NAME.into(), 2, ARP.into())];
    assert_eq!(client.chunk(), expected);
    let follower = &monitor.hub.snapshot().now[0];
    assert_eq!(follower.name, format!("http {}", client.stream.local_addr().unwrap()));
    assert_eq!((follower.filter.as_str(), follower.sent), ("arp", 1));
    monitor.hub.close();
    assert_eq!(client.until_the_end(), [Block::Statistics(NAME.into(), 1, 0)]);
}

#[test]
fn a_filter_or_a_query_that_is_none_is_answered_with_the_place() {
    let monitor = monitor();
    let server = serve(Arc::clone(&monitor));
    let answer = get(&server, "/v1/live.pcapng?filter=nonsense%1b");
    assert_eq!(answer.status, 400);
    let expected = vxtap_filter::Filter::parse("nonsense\u{1b}").unwrap_err();
    assert_eq!(answer.error(), expected.to_string());
    assert!(!answer.error().contains('\u{1b}'), "{}", answer.error());
    let answer = get(&server, "/v1/live.pcapng?fitler=arp");
    assert_eq!(answer.status, 400);
    assert!(answer.error().contains("unknown field `fitler`, expected `filter`"), "{}", answer.error());
    assert_eq!(monitor.hub.snapshot().total, 0);
}

#[test]
fn the_capture_is_followed_with_the_token_only() {
    let monitor = monitor();
    monitor.hub.close();
    let token = "0123456789abcdef";
    let settings = ApiSettings { token: Some(token.into()), ..loopback() };
    let server = Server::bind(&settings).unwrap().serve(Arc::clone(&monitor) as _).unwrap();
    assert_eq!(get_with(&server, "/v1/live.pcapng", None).status, 401);
    assert_eq!(get_with(&server, "/v1/live.pcapng", Some("0123456789abcdeX")).status, 401);
    let url = format!("http://{}/v1/live.pcapng", server.address());
    let mut answer = agent().get(url).header("authorization", format!("Bearer {token}")).call().unwrap();
    assert_eq!(blocks(&answer.body_mut().read_to_vec().unwrap()), [Block::Header]);
}

#[test]
fn a_follower_that_leaves_is_gone_at_once_though_nothing_is_captured() {
    let monitor = monitor();
    let server = serve(Arc::clone(&monitor));
    let mut client = Client::follow(&server, "/v1/live.pcapng");
    assert_eq!(client.chunk(), [Block::Header]);
    assert!(monitor.hub.is_followed());
    drop(client);
    eventually("nobody follows", || !monitor.hub.is_followed());
}

#[test]
fn a_follower_that_leaves_within_a_record_is_gone_at_once() {
    let monitor = monitor();
    let server = serve(Arc::clone(&monitor));
    let mut client = Client::follow(&server, "/v1/live.pcapng");
    // More than the sockets take, so that the server is in the middle of a record when it ends.
    let frame = long_frame();
    (0..200).for_each(|time| monitor.hub.publish(&[&record(time, &frame)]));
    client.stream.read_exact(&mut [0; 1000]).unwrap();
    client.stream.shutdown(Shutdown::Both).unwrap();
    drop(client);
    eventually("nobody follows", || !monitor.hub.is_followed());
}

#[test]
fn a_follower_that_never_reads_costs_no_more_than_its_queue_and_others_are_served() {
    let monitor = monitor();
    let server = serve(Arc::clone(&monitor));
    let mut stuck = Client::send(&server, "/v1/live.pcapng");
    eventually("somebody follows", || monitor.hub.is_followed());
    let mut quick = Client::follow(&server, "/v1/live.pcapng");
    assert_eq!(quick.chunk(), [Block::Header]);
    let frame = long_frame();
    let rounds = 1000_u64;
    for time in 0..rounds {
        monitor.hub.publish(&[&record(time, &frame)]);
        let mut taken = 0;
        while taken == 0 {
            taken = quick.chunk().iter().filter(|block| matches!(block, Block::Record(..))).count();
        }
        assert_eq!(taken, 1);
    }
    assert_eq!(get(&server, "/healthz").status, 200);
    let snapshot = monitor.hub.snapshot();
    let counts = |of: &Client| {
        let name = format!("http {}", of.stream.local_addr().unwrap());
        let follower = snapshot.now.iter().find(|follower| follower.name == name).unwrap();
        (follower.sent, follower.dropped)
    };
    assert_eq!(counts(&quick), (rounds, 0));
    let (_, dropped) = counts(&stuck);
    assert!(dropped > rounds / 2, "{dropped}");
    // When it reads after all, it is told what it missed.
    monitor.hub.close();
    stuck.take_until(b"\r\n\r\n");
    let seen = stuck.until_the_end();
    let records = seen.iter().filter(|block| matches!(block, Block::Record(..))).count() as u64;
    assert_eq!(records + dropped, rounds);
    assert_eq!(seen.last(), Some(&Block::Statistics(NAME.into(), rounds, dropped)));
}

#[test]
fn more_followers_than_there_are_places_for_are_told_so() {
    let monitor = monitor();
    let server = serve(Arc::clone(&monitor));
    let followers: Vec<_> = (0..Hub::MAX_FOLLOWERS).map(|_| Client::follow(&server, "/v1/live.pcapng")).collect();
    let answer = get(&server, "/v1/live.pcapng");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.error(), "32 programs follow the capture already, and no more can");
    drop(followers);
    eventually("places are free", || !monitor.hub.is_followed());
}

#[test]
fn a_server_stops_within_its_grace_though_a_follower_never_reads() {
    let monitor = monitor();
    let server = serve(Arc::clone(&monitor));
    let _stuck = Client::send(&server, "/v1/live.pcapng");
    eventually("somebody follows", || monitor.hub.is_followed());
    let frame = long_frame();
    (0..200).for_each(|time| monitor.hub.publish(&[&record(time, &frame)]));
    let begun = Instant::now();
    monitor.hub.close();
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!monitor.hub.is_followed());
}
