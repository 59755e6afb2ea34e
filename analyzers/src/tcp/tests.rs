use super::*;

mod answers;
mod model;
mod order;
mod timing;

const CLIENT: Side = Side::Originator;
const SERVER: Side = Side::Responder;
const MILLI: u64 = 1_000_000;
const START: u64 = 1_700_000_000_000 * MILLI;
/// Sequence numbers of both SYNs: the client's wraps soon.
const CLIENT_SYN: u32 = u32::MAX - 3;
const SERVER_SYN: u32 = 7_000;

/// A connection in a test, and what it delivered: `c:abc` and `s:abc` are bytes, `c:~3` a gap, `c:.` an end.
struct Bench {
    connection: Connection,
    budget: Budget,
    told: Vec<String>,
    time_ns: u64,
}

/// A segment in a test. Sequence and acknowledgement number count from the first byte of either side, which is 0.
#[derive(Clone, Copy)]
struct Sent<'a> {
    from: Side,
    flags: u8,
    at: i64,
    ack: i64,
    payload: &'a [u8],
    missing: u32,
    window: u16,
}

/// Payload with ACK, as most segments are.
fn data(from: Side, at: i64, payload: &[u8]) -> Sent<'_> {
    Sent { from, flags: TcpFlags::ACK | TcpFlags::PSH, at, ack: 0, payload, missing: 0, window: 1000 }
}

fn ack(from: Side, at: i64, ack: i64) -> Sent<'static> {
    Sent { flags: TcpFlags::ACK, ack, ..data(from, at, b"") }
}

fn flagged(flags: u8, from: Side, at: i64, ack: i64) -> Sent<'static> {
    Sent { flags, ack, ..data(from, at, b"") }
}

fn fin(from: Side, at: i64) -> Sent<'static> {
    flagged(TcpFlags::FIN | TcpFlags::ACK, from, at, 0)
}

fn first(side: Side) -> u32 {
    [CLIENT_SYN, SERVER_SYN][side.index()].wrapping_add(1)
}

fn name(side: Side) -> &'static str {
    ["c", "s"][side.index()]
}

impl Bench {
    /// Nothing seen yet.
    fn new() -> Self {
        Self { connection: Connection::default(), budget: Budget::default(), told: Vec::new(), time_ns: START }
    }

    /// The handshake seen, in 10 ms to the server and back and 2 ms to the client and back.
    fn open() -> Self {
        let mut bench = Self::new();
        bench.see(&flagged(TcpFlags::SYN, CLIENT, -1, 0));
        bench.pass(10 * MILLI);
        bench.see(&flagged(TcpFlags::SYN | TcpFlags::ACK, SERVER, -1, 0));
        bench.pass(2 * MILLI);
        bench.see(&ack(CLIENT, 0, 0));
        bench
    }

    fn pass(&mut self, nanos: u64) {
        self.time_ns += nanos;
    }

    fn see(&mut self, sent: &Sent<'_>) {
        let header = TcpHeader {
            sequence: first(sent.from).wrapping_add(sent.at as u32),
            acknowledgement: first(sent.from.other()).wrapping_add(sent.ack as u32),
            flags: TcpFlags(sent.flags),
            window: sent.window,
        };
        let segment = Segment { header, payload: sent.payload, missing: sent.missing, time_ns: self.time_ns };
        let told = &mut self.told;
        self.connection.segment(sent.from, &segment, &mut self.budget, &mut |delivery| told.push(drawn(delivery)));
    }

    fn finish(&mut self) {
        let told = &mut self.told;
        self.connection.finish(&mut self.budget, &mut |delivery| told.push(drawn(delivery)));
    }

    /// What was told since this was last asked, but when it came.
    fn told(&mut self) -> String {
        self.told.retain(|told| !told.starts_with('@'));
        self.told_with_times()
    }

    /// The same with `@5` in front of what came 5 ms after the start and has waited, and `@` behind that.
    fn told_with_times(&mut self) -> String {
        std::mem::take(&mut self.told).join(" ")
    }

    fn of(&self, side: Side) -> DirectionMetrics {
        *self.connection.metrics().sent_by(side)
    }
}

fn drawn(delivery: Delivery<'_>) -> String {
    match delivery {
        Delivery::Data(side, bytes) => format!("{}:{}", name(side), String::from_utf8_lossy(bytes)),
        Delivery::Gap(side, bytes) => format!("{}:~{bytes}", name(side)),
        Delivery::End(side) => format!("{}:.", name(side)),
        Delivery::Came(Some(time_ns)) => format!("@{}", (time_ns - START) / MILLI),
        Delivery::Came(None) => "@".to_owned(),
    }
}

#[test]
fn a_connection_without_buffers_is_small() {
    assert!(size_of::<Connection>() <= 300, "{} bytes", size_of::<Connection>());
}

#[test]
fn what_is_in_order_is_delivered_where_it_lies() {
    let payload = b"GET / HTTP/1.1".to_vec();
    let header =
        TcpHeader { sequence: 5, acknowledgement: 0, flags: TcpFlags(TcpFlags::ACK | TcpFlags::PSH), window: 9 };
    let segment = Segment { header, payload: &payload, missing: 0, time_ns: START };
    let mut same = false;
    Connection::default().segment(CLIENT, &segment, &mut Budget::default(), &mut |delivery| {
        same = matches!(delivery, Delivery::Data(CLIENT, bytes) if std::ptr::eq(bytes, payload.as_slice()));
    });
    assert!(same);
}

#[test]
fn a_segment_is_taken_from_a_view_with_what_the_mirror_cut_off() {
    let mut packet = vec![0x45, 0, 0, 50, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    packet.extend([0, 80, 0, 81, 0, 0, 0, 9, 0, 0, 0, 8, 0x50, 0x10, 0, 7, 0, 0, 0, 0]);
    packet.extend(b"abcd");
    let segment = Segment::of(&FrameView::parse_ip(&packet), 3).unwrap();
    assert_eq!((segment.payload, segment.missing, segment.time_ns), (&b"abcd"[..], 6, 3));
    assert_eq!((segment.header.sequence, segment.header.acknowledgement, segment.header.window), (9, 8, 7));
    // A header of 4 bytes.
    packet[32] = 0x10;
    assert!(Segment::of(&FrameView::parse_ip(&packet), 3).is_none());
    packet[9] = 17;
    assert!(Segment::of(&FrameView::parse_ip(&packet), 3).is_none());
}
