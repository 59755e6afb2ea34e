use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vxtap_capfile::pcapng::PacketHeader;

use super::super::seen::{Block, Reader};
use super::*;
use crate::streams::StreamRegistry;

const DEADLINE: Duration = Duration::from_secs(20);
const IPV4: [u8; 14] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0];

fn settings() -> FollowSettings {
    FollowSettings { address: "127.0.0.1:0".parse().unwrap(), insecure: false, filter: String::new() }
}

fn serve() -> (Hub, PcapOverIp) {
    let hub = Hub::new(Arc::default());
    let server = PcapOverIp::bind(&settings()).unwrap().serve(hub.clone()).unwrap();
    (hub, server)
}

fn name() -> String {
    StreamRegistry::OTHER_NAME.to_owned()
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

/// A client that looks at whole blocks.
struct Client {
    stream: TcpStream,
    reader: Reader,
}

impl Client {
    fn connect(server: &PcapOverIp) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream, reader: Reader::default() }
    }

    /// The next block that means something; `None` at the end.
    fn block(&mut self) -> Option<Block> {
        loop {
            let mut head = [0; 8];
            match self.stream.read(&mut head[..1]).unwrap() {
                0 => return None,
                _ => self.stream.read_exact(&mut head[1..]).unwrap(),
            }
            let length = u32::from_le_bytes(*head.last_chunk().unwrap()) as usize;
            let mut block = head.to_vec();
            block.resize(length, 0);
            self.stream.read_exact(&mut block[8..]).unwrap();
            if let Some(found) = self.reader.read(&block).pop() {
                return Some(found);
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
fn other_machines_are_let_in_only_where_that_is_asked_for() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:57012"] {
        let settings = FollowSettings { address: address.parse().unwrap(), ..settings() };
        let error = PcapOverIp::bind(&settings).unwrap_err().to_string();
        let told = format!("cannot serve followers on {address}, because other machines can reach it");
        assert!(error.starts_with(&told) && error.contains("--follow-insecure"), "{error}");
    }
    let insecure = FollowSettings { address: "0.0.0.0:0".parse().unwrap(), insecure: true, ..settings() };
    assert_ne!(PcapOverIp::bind(&insecure).unwrap().address.port(), 0);
}

#[test]
fn an_address_in_use_and_a_filter_that_is_none_are_told() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let error = PcapOverIp::bind(&FollowSettings { address, ..settings() }).unwrap_err().to_string();
    assert_eq!(error, format!("cannot serve followers on {address}: address in use: choose another with --follow"));
    let error = PcapOverIp::bind(&FollowSettings { filter: "arp or".into(), ..settings() }).unwrap_err();
    assert_eq!(error.to_string(), Filter::parse("arp or").unwrap_err().to_string());
}

#[test]
fn who_connects_gets_the_stream_at_once_and_its_end() {
    let (hub, server) = serve();
    let mut client = Client::connect(&server);
    assert_eq!(client.block(), Some(Block::Header));
    hub.publish(&[&record(9, &IPV4)]);
    assert_eq!(client.block(), Some(Block::Interface(name())));
    assert_eq!(client.block(), Some(Block::Record(name(), 9, IPV4.into())));
    assert_eq!(hub.snapshot().now[0].name, format!("tcp {}", client.stream.local_addr().unwrap()));
    hub.close();
    assert_eq!(client.block(), Some(Block::Statistics(name(), 1, 0)));
    assert_eq!(client.block(), None);
    server.stop();
}

#[test]
fn the_filter_of_the_settings_goes_for_everybody() {
    let hub = Hub::new(Arc::default());
    let settings = FollowSettings { filter: "arp".into(), ..settings() };
    let server = PcapOverIp::bind(&settings).unwrap().serve(hub.clone()).unwrap();
    let mut client = Client::connect(&server);
    assert_eq!(client.block(), Some(Block::Header));
    hub.publish(&[&record(9, &IPV4)]);
    hub.close();
    assert_eq!(client.block(), None);
    drop(server);
}

#[test]
fn a_client_that_ends_its_own_direction_reads_on_and_one_that_talks_is_not_heard() {
    let (hub, server) = serve();
    let mut client = Client::connect(&server);
    client.stream.write_all(&vec![b'x'; 100_000]).unwrap();
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.block(), Some(Block::Header));
    // Long enough for a block without meaning to have come.
    std::thread::sleep(PROBE_INTERVAL + PROBE_INTERVAL / 2);
    hub.publish(&[&record(9, &IPV4)]);
    assert_eq!(client.block(), Some(Block::Interface(name())));
    assert_eq!(client.block(), Some(Block::Record(name(), 9, IPV4.into())));
    drop(server);
}

#[test]
fn a_client_that_leaves_is_gone_soon_though_nothing_is_captured() {
    let (hub, server) = serve();
    let mut client = Client::connect(&server);
    assert_eq!(client.block(), Some(Block::Header));
    assert!(hub.is_followed());
    let begun = Instant::now();
    drop(client);
    eventually("nobody follows", || !hub.is_followed());
    println!("gone after {:?}", begun.elapsed());
    drop(server);
}

#[test]
fn a_client_that_leaves_within_a_record_is_gone() {
    let (hub, server) = serve();
    let mut client = Client::connect(&server);
    assert_eq!(client.block(), Some(Block::Header));
    let frame = long_frame();
    (0..200).for_each(|time| hub.publish(&[&record(time, &frame)]));
    client.stream.read_exact(&mut [0; 1000]).unwrap();
    drop(client);
    eventually("nobody follows", || !hub.is_followed());
    drop(server);
}

#[test]
fn a_client_that_never_reads_keeps_neither_others_nor_the_end_waiting() {
    let (hub, server) = serve();
    let _stuck = Client::connect(&server);
    let mut quick = Client::connect(&server);
    assert_eq!(quick.block(), Some(Block::Header));
    let frame = long_frame();
    for time in 0..600 {
        hub.publish(&[&record(time, &frame)]);
        while !matches!(quick.block(), Some(Block::Record(..))) {}
    }
    eventually("both follow", || hub.snapshot().now.len() == 2);
    let snapshot = hub.snapshot();
    let quick_name = format!("tcp {}", quick.stream.local_addr().unwrap());
    let (of_quick, of_stuck): (Vec<_>, Vec<_>) = snapshot.now.iter().partition(|follower| follower.name == quick_name);
    assert_eq!((of_quick[0].sent, of_quick[0].dropped), (600, 0));
    assert!(of_stuck[0].dropped > 100, "{:?}", of_stuck[0]);
    let begun = Instant::now();
    hub.close();
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!hub.is_followed());
}
