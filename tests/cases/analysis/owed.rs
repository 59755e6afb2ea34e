//! Which messages of a capture the packets that arrived allow to be told.
//!
//! A message is owed where every packet came that it is in, and by which it is found: a response needs its request, which names it; a hello
//! or a certificate of TLS needs the records before it; a DNS message over UDP needs nothing. So a packet that was lost
//! in the body of one response is no excuse for the next one, nor is one that was sent again and came then. What this file cannot find in the
//! packets (HTTP/2, QUIC, DNS over TCP, five-tuples of several connections, what is whole only at the end) is owed where nothing of the flow was lost
//! until the whole capture has told it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;

use serde_json::Value;
use vxtap_tests::capture_file::Record;
use vxtap_wire::{FrameView, TcpFlags, Transport};

use super::of_eve;
use super::rows::{Kind, Rows};

/// More than any stream of the captures has.
const STREAM_MAX: usize = 64 << 20;
/// A record of TLS that has messages of the handshake in it, and the messages (RFC 8446 sections 4 and 5.1).
const TLS_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;

/// One end of a flow.
type End = (IpAddr, u16);
/// Which way a packet goes.
type Way = (End, End);

/// The messages of a capture.
#[derive(Default)]
pub(crate) struct Owed {
    /// Of flows that lost nothing.
    pub(crate) of_whole_flows: Rows,
    /// Of flows that lost packets, but none that these messages need.
    pub(crate) of_others: Rows,
    /// What lost packets make impossible, or harder than can be asked.
    pub(crate) not: Rows,
}

/// Sorts the messages of `events`, which are what all of `records` tell, by whether they can be told without those that were `lost`.
pub(crate) fn sort(records: &[Record], lost: &HashSet<usize>, events: &[Value]) -> Owed {
    let packets = Packets::of(records, lost);
    let mut owed = Owed::default();
    let mut places: HashMap<Way, Place> = HashMap::new();
    let mut datagrams: HashMap<(Way, u16, bool), usize> = HashMap::new();
    for event in events {
        let rows = of_eve::rows_of(event);
        let Some(way) = way_of_event(event).filter(|way| packets.is_hit(*way)) else {
            owed.of_whole_flows.extend(rows);
            continue;
        };
        let told_before = || packets.first_loss(way).is_none_or(|loss| time_of(event) < loss);
        let found = match event["event_type"].as_str() {
            Some("http") => packets.http(event, way, places.entry(way).or_default()),
            Some("tls") => packets.tls(way, &rows),
            Some("dns") if event["proto"] == "UDP" => {
                let (id, response) =
                    (event["dns"]["id"].as_u64().unwrap_or_default(), event["dns"]["type"] == "response");
                let at = datagrams.entry((ordered(way), id as u16, response)).or_default();
                *at += 1;
                packets
                    .dns(way, id as u16, response, *at - 1)
                    .map(|came| if came { rows.clone() } else { Rows::default() })
            }
            _ => None,
        };
        let possible = found.unwrap_or_else(|| if told_before() { rows.clone() } else { Rows::default() });
        owed.not.extend(rows.without(&possible));
        owed.of_others.extend(possible);
    }
    owed
}

/// How far the messages of an HTTP connection were found, on both sides.
#[derive(Default)]
struct Place {
    client: usize,
    server: usize,
    /// A message was not found, so the next ones cannot be either.
    gone: bool,
}

/// The packets of a capture.
#[derive(Default)]
struct Packets {
    streams: HashMap<Way, Stream>,
    /// Datagrams that begin as DNS does: those of each way with an identifier, and whether each came.
    datagrams: HashMap<(Way, u16, bool), Vec<bool>>,
    /// When the first packet of a flow was lost.
    losses: HashMap<Way, u64>,
}

/// The bytes of one side of a connection.
#[derive(Default)]
struct Stream {
    base: Option<u32>,
    bytes: Vec<u8>,
    /// Which of them the whole capture has, and which came.
    sent: Vec<bool>,
    came: Vec<bool>,
    /// There are several connections, or numbers that make no sense.
    odd: bool,
}

impl Packets {
    fn of(records: &[Record], lost: &HashSet<usize>) -> Self {
        let mut packets = Self::default();
        for (number, record) in records.iter().enumerate() {
            let view = FrameView::parse(&record.data);
            let Some(tuple) = view.five_tuple else { continue };
            let way = ((tuple.source_ip(), tuple.source_port), (tuple.destination_ip(), tuple.destination_port));
            let came = !lost.contains(&number);
            if !came {
                // In whole microseconds, as times of events.
                let time_ns = record.time_ns / 1000 * 1000;
                let loss = packets.losses.entry(ordered(way)).or_insert(time_ns);
                *loss = time_ns.min(*loss);
            }
            if view.fragment.is_some() {
                continue;
            }
            match (view.transport, view.payload()) {
                (Transport::Tcp(header), payload) => {
                    packets.streams.entry(way).or_default().take(header.sequence, header.flags, payload, came);
                }
                (Transport::Udp, &[high, low, flags, ..]) => {
                    let key = (ordered(way), u16::from_be_bytes([high, low]), flags & 0x80 != 0);
                    packets.datagrams.entry(key).or_default().push(came);
                }
                _ => {}
            }
        }
        packets
    }

    fn is_hit(&self, way: Way) -> bool {
        self.losses.contains_key(&ordered(way))
    }

    fn first_loss(&self, way: Way) -> Option<u64> {
        self.losses.get(&ordered(way)).copied()
    }

    /// Both sides of a connection, where their bytes are known.
    fn sides(&self, way: Way) -> Option<(&Stream, &Stream)> {
        let side = |way: Way| self.streams.get(&way).filter(|stream| !stream.odd);
        Some((side(way)?, side((way.1, way.0))?))
    }

    /// The rows of an exchange of HTTP/1 that can be told; `None` where it is not found.
    fn http(&self, event: &Value, way: Way, place: &mut Place) -> Option<Rows> {
        let (client, server) = self.sides(way)?;
        let http = &event["http"];
        let text = |member: &str| http[member].as_str();
        let was_gone = std::mem::replace(&mut place.gone, true);
        if was_gone || !text("protocol")?.starts_with("HTTP/1") || http["truncated"] == true {
            return None;
        }
        let request = client.head(place.client, &[&format!("{} {}", text("http_method")?, text("url")?)])?;
        place.client = request.end;
        let statuses = http["interim"].as_array().into_iter().flatten().chain(Some(&http["status"]));
        let mut response_came = true;
        for status in statuses.filter_map(Value::as_u64) {
            let response =
                server.head(place.server, &[&format!("HTTP/1.1 {status}"), &format!("HTTP/1.0 {status}")])?;
            place.server = response.end;
            response_came &= server.has(response);
        }
        place.gone = false;
        let mut asked = event.clone();
        let members = asked["http"].as_object_mut()?;
        members.remove("status");
        members.remove("interim");
        let request_came = client.has(request);
        Some(match (request_came, response_came) {
            (false, _) => Rows::default(),
            (true, false) => of_eve::rows_of(&asked),
            (true, true) => of_eve::rows_of(event),
        })
    }

    /// Those of `rows`, of a handshake of TLS, that can be told.
    fn tls(&self, way: Way, rows: &Rows) -> Option<Rows> {
        let (client, server) = self.sides(way)?;
        let mut possible = Rows::default();
        for (kind, row, times) in rows.iter() {
            let (side, message) = match kind {
                Kind::Certificate => (server, CERTIFICATE),
                _ if row.starts_with("client") => (client, CLIENT_HELLO),
                _ => (server, SERVER_HELLO),
            };
            if side.has(0..side.end_of_handshake(message)?) {
                (0..times).for_each(|_| possible.add(kind, row.to_owned()));
            }
        }
        Some(possible)
    }

    /// Whether datagram number `at` of those with an identifier came.
    fn dns(&self, way: Way, id: u16, response: bool, at: usize) -> Option<bool> {
        self.datagrams.get(&(ordered(way), id, response))?.get(at).copied()
    }
}

impl Stream {
    fn take(&mut self, sequence: u32, flags: TcpFlags, payload: &[u8], came: bool) {
        let opens = flags.has(TcpFlags::SYN);
        let first = sequence.wrapping_add(u32::from(opens));
        // A probe for a window or of a peer is none of its bytes.
        if !opens && (payload.is_empty() || payload.len() == 1 && !flags.has(TcpFlags::PSH)) {
            return;
        }
        let base = *self.base.get_or_insert(first);
        self.odd |= opens && base != first;
        let at = first.wrapping_sub(base) as usize;
        if self.odd || at + payload.len() > STREAM_MAX {
            self.odd = true;
            return;
        }
        let end = at + payload.len();
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
            self.sent.resize(end, false);
            self.came.resize(end, false);
        }
        for (at, byte) in (at..).zip(payload) {
            if !std::mem::replace(&mut self.sent[at], true) {
                self.bytes[at] = *byte;
            }
            self.came[at] |= came;
        }
    }

    /// Whether all bytes of a place came.
    fn has(&self, place: Range<usize>) -> bool {
        self.came.get(place).is_some_and(|came| came.iter().all(|came| *came))
    }

    /// Where a head of HTTP is that begins as one of `beginnings`, from `from` on.
    fn head(&self, from: usize, beginnings: &[&str]) -> Option<Range<usize>> {
        let starts = |at: usize| beginnings.iter().any(|text| self.bytes[at..].starts_with(text.as_bytes()));
        let start = (from..self.bytes.len()).find(|at| starts(*at))?;
        let ends = |at: &usize| self.bytes[*at..].starts_with(b"\r\n\r\n") || self.bytes[*at..].starts_with(b"\n\n");
        let end = (start..self.bytes.len()).find(ends)?;
        let length = if self.bytes[end] == b'\r' { 4 } else { 2 };
        Some(start..end + length).filter(|place| self.sent[place.clone()].iter().all(|sent| *sent))
    }

    /// Where the record ends that has the end of the first `message`, of those before encryption.
    fn end_of_handshake(&self, message: u8) -> Option<usize> {
        let (mut at, mut handshake) = (0, Vec::new());
        let mut read = 0;
        loop {
            let header: &[u8; 5] = self.bytes.get(at..)?.first_chunk()?;
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if header[0] != TLS_HANDSHAKE || header[1] != 3 {
                return None;
            }
            handshake.extend_from_slice(self.bytes.get(at + 5..at + 5 + length)?);
            at += 5 + length;
            while let Some(&[kind, high, middle, low]) = handshake[read..].first_chunk() {
                let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                if handshake.len() < read + 4 + length {
                    break;
                }
                if kind == message {
                    return Some(at);
                }
                read += 4 + length;
            }
        }
    }
}

/// The same for both ways.
fn ordered((one, other): Way) -> Way {
    if one <= other { (one, other) } else { (other, one) }
}

fn way_of_event(event: &Value) -> Option<Way> {
    let end = |address: &str, port: &str| {
        let address = event[address].as_str()?.parse().ok()?;
        Some((address, event[port].as_u64().unwrap_or_default() as u16))
    };
    Some((end("src_ip", "src_port")?, end("dest_ip", "dest_port")?))
}

/// Nanoseconds since 1970, in whole microseconds.
fn time_of(event: &Value) -> u64 {
    let text = event["timestamp"].as_str().expect("every event has a time");
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6][offset_hour sign:mandatory][offset_minute]"
    );
    let time = time::OffsetDateTime::parse(text, &format).expect("a time as EVE has it");
    u64::try_from(time.unix_timestamp_nanos()).expect("after 1970")
}

#[test]
fn a_message_is_owed_where_its_own_packets_came() {
    use vxtap_tests::datagram::{Peer, tcp_frame};
    let (client, server) = (Peer::v4(1, 40_000), Peer::v4(2, 80));
    let record = |number: u64, data: Vec<u8>| Record {
        interface: String::new(),
        link_type: 1,
        time_ns: 1_000 * number,
        original_len: data.len(),
        data,
    };
    let exchange = [
        (true, "GET /a HTTP/1.1\r\n\r\n"),
        (false, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
        (false, "body"),
        (true, "GET /b HTTP/1.1\r\n\r\n"),
        (false, "HTTP/1.1 404 No\r\n\r\n"),
    ];
    let mut sent = [1, 1];
    let records: Vec<Record> = (0..)
        .zip(exchange)
        .map(|(number, (asks, text))| {
            let (from, to) = if asks { (client, server) } else { (server, client) };
            let frame = tcp_frame(from, to, sent[usize::from(asks)], text.as_bytes());
            sent[usize::from(asks)] += text.len() as u32;
            record(number, frame)
        })
        .collect();
    let event = |url: &str, status: u16| {
        serde_json::json!({
            "timestamp": "1970-01-01T00:00:01.000000+0000", "event_type": "http", "proto": "TCP",
            "src_ip": client.address.to_string(), "src_port": client.port,
            "dest_ip": server.address.to_string(), "dest_port": server.port,
            "http": {"http_method": "GET", "url": url, "protocol": "HTTP/1.1", "status": status},
        })
    };
    let events = [event("/a", 200), event("/b", 404)];
    let owed = |lost: &[usize]| {
        let owed = sort(&records, &lost.iter().copied().collect(), &events);
        [&owed.of_whole_flows, &owed.of_others, &owed.not].map(|rows| rows.count(Kind::Http))
    };
    assert_eq!(owed(&[]), [4, 0, 0]);
    assert_eq!(owed(&[2]), [0, 4, 0], "a body is no part of what is told");
    assert_eq!(owed(&[1]), [0, 3, 1]);
    assert_eq!(owed(&[0]), [0, 2, 2], "nobody knows what the response answers");
    assert_eq!(owed(&[3, 4]), [0, 2, 2]);
}
