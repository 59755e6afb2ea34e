//! The bytes of TCP connections, through the library: the collector tells of them only what protocols make of them.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use vxtap_analyzers::fragments::{Bounds, Reassembler};
use vxtap_analyzers::protocols::Side;
use vxtap_analyzers::tcp::{Budget, Connection, Delivery, Segment};
use vxtap_tests::capture_file::Record;
use vxtap_tests::captures::Capture;
use vxtap_wire::{FiveTuple, FlowKey, FrameView, Link, NetworkId, TcpFlags, protocol};

use super::rows::{Kind, Rows};

/// More than any capture has waiting.
const BUDGET: usize = 64 << 20;

struct Stream {
    /// Of the side whose segment came first.
    tuple: FiveTuple,
    /// The number of the SYN that opened it.
    opened: Option<u32>,
    connection: Connection,
    sides: [Bytes; 2],
}

#[derive(Default)]
struct Bytes {
    sum: Sha256,
    length: usize,
}

/// A row for each direction of `records` that has bytes.
pub(crate) fn rows(records: &[Record]) -> Rows {
    let mut rows = Rows::default();
    let mut budget = Budget::new(BUDGET);
    let mut fragments = Reassembler::new(Bounds::default());
    let mut streams: HashMap<FlowKey, Stream> = HashMap::new();
    for record in records {
        let Some(link) = Link::of_type(record.link_type as u32) else { continue };
        let view = FrameView::parse_link(link, &record.data);
        let whole = view.fragment.and_then(|_| fragments.add(NetworkId::default(), &view, record.time_ns));
        let view = whole.map_or(view, FrameView::parse_ip);
        let Some(tuple) = view.five_tuple.filter(|tuple| tuple.protocol == protocol::TCP) else { continue };
        let Some(segment) = Segment::of(&view, record.time_ns) else { continue };
        let opens = segment.header.flags.has(TcpFlags::SYN) && !segment.header.flags.has(TcpFlags::ACK);
        let opened = opens.then_some(segment.header.sequence);
        let (key, _) = FlowKey::new(NetworkId::default(), &tuple);
        if opens && streams.get(&key).is_some_and(|stream| stream.opened.is_some() && stream.opened != opened) {
            streams.remove(&key).expect("it is there").finish(&mut budget, &mut rows);
        }
        let stream = streams.entry(key).or_insert_with(|| Stream {
            tuple,
            opened: None,
            connection: Connection::default(),
            sides: Default::default(),
        });
        stream.opened = stream.opened.or(opened);
        let from = if tuple == stream.tuple { Side::Originator } else { Side::Responder };
        let sides = &mut stream.sides;
        stream.connection.segment(from, &segment, &mut budget, &mut |delivery| take(sides, delivery));
    }
    for stream in streams.into_values() {
        stream.finish(&mut budget, &mut rows);
    }
    assert_eq!(budget.used(), 0, "what waits is given back");
    rows
}

fn take(sides: &mut [Bytes; 2], delivery: Delivery<'_>) {
    if let Delivery::Data(from, bytes) = delivery {
        let side = &mut sides[from.index()];
        side.sum.update(bytes);
        side.length += bytes.len();
    }
}

impl Stream {
    fn finish(mut self, budget: &mut Budget, rows: &mut Rows) {
        let sides = &mut self.sides;
        self.connection.finish(budget, &mut |delivery| take(sides, delivery));
        let tuples = [self.tuple, self.tuple.reversed()];
        for (tuple, Bytes { sum, length }) in tuples.into_iter().zip(self.sides) {
            let end = |ip: std::net::IpAddr, port: u16| format!("{ip}:{port}");
            let from = end(tuple.source_ip(), tuple.source_port);
            let to = end(tuple.destination_ip(), tuple.destination_port);
            let sum = sum.finalize().iter().fold(String::new(), |sum, byte| format!("{sum}{byte:02x}"));
            if length > 0 {
                rows.add(Kind::Stream, row(&from, &to, &length.to_string(), &sum));
            }
        }
    }
}

/// The same of tshark, but for directions that lack bytes.
pub(crate) fn rows_of_table(capture: &Capture, unit: &str) -> Rows {
    let mut rows = Rows::default();
    for line in capture.table("tcp_streams.tsv").iter().filter(|line| line["unit"] == unit) {
        for (from, to) in [("node0", "node1"), ("node1", "node0")] {
            let cell = |name: &str| line[&format!("{from}_{name}")].as_str();
            if cell("has_gap") == "0" && cell("bytes") != "0" {
                let [from, to] = [&line[from], &line[to]].map(|end| end.replace(['[', ']'], ""));
                rows.add(Kind::Stream, row(&from, &to, cell("bytes"), cell("sha256")));
            }
        }
    }
    rows
}

fn row(from: &str, to: &str, length: &str, sum: &str) -> String {
    format!("{from} > {to} {length} {sum}")
}
