//! One follower's pcapng section: which records are in it, and under which interface.

use std::collections::HashMap;
use std::sync::Arc;

use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::{InterfaceStatistics, PacketBlock, PacketView};
use vxtap_filter::{Filter, Packet, Tunnel};
use vxtap_wire::Link;

use super::queue::Lost;
use crate::section;
use crate::streams::StreamRegistry;

/// Turns records with stream numbers into a section with interfaces of its own: one for each mirror stream of which a record was
/// wanted, or lost.
#[derive(Debug)]
pub(crate) struct Encoder {
    streams: Arc<StreamRegistry>,
    filter: Filter,
    /// When the follower came, nanoseconds since 1970.
    since_ns: u64,
    known: HashMap<StreamId, Stream, foldhash::fast::RandomState>,
    /// Records come in runs of one stream.
    last: Option<(StreamId, Stream)>,
    interfaces: Vec<Interface>,
}

/// A mirror stream, as filters see it.
#[derive(Clone, Copy, Debug)]
struct Stream {
    tunnel: Tunnel<'static>,
    link: Link,
    interface: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Interface {
    sent: u64,
    dropped: u64,
}

/// What came of a look at some records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Bytes of the records looked at.
    pub(crate) looked_at: usize,
    /// Records that were wanted.
    pub(crate) sent: u64,
}

impl Encoder {
    pub(crate) fn new(streams: Arc<StreamRegistry>, filter: Filter, since_ns: u64) -> Self {
        let (known, interfaces) = (HashMap::default(), Vec::new());
        Self { streams, filter, since_ns, known, last: None, interfaces }
    }

    /// Appends what begins the section.
    pub(crate) fn begin(out: &mut Vec<u8>) {
        section::begin(&section::operating_system(), out);
    }

    /// Appends those of `records` that the filter wants, until `out` has `out_bytes`, or `looked_at` bytes of records
    /// were looked at, or more by one record.
    pub(crate) fn append(&mut self, records: &[u8], looked_at: usize, out_bytes: usize, out: &mut Vec<u8>) -> Progress {
        let mut progress = Progress::default();
        while progress.looked_at < looked_at && out.len() < out_bytes {
            let Some(record) = PacketView::first(&records[progress.looked_at..]) else {
                debug_assert_eq!(progress.looked_at, records.len(), "segments hold whole records");
                progress.looked_at = records.len();
                break;
            };
            progress.looked_at += record.block().len();
            progress.sent += u64::from(self.append_if_wanted(&record, out));
        }
        progress
    }

    fn append_if_wanted(&mut self, record: &PacketView<'_>, out: &mut Vec<u8>) -> bool {
        let id = StreamId(record.interface());
        let stream = match self.last {
            Some((last, stream)) if last == id => stream,
            _ => self.stream(id),
        };
        let Stream { tunnel, link, .. } = stream;
        let packet = Packet { frame: record.frame(), link, wire_len: record.wire_len(), tunnel };
        if !self.filter.matches(&packet) {
            self.last = Some((id, stream));
            return false;
        }
        let number = self.interface(id, stream, out);
        self.interfaces[number as usize].sent += 1;
        let start = out.len();
        out.extend_from_slice(record.block());
        if let Some(mut copy) = PacketBlock::first(&mut out[start..]) {
            copy.set_interface(number);
        }
        true
    }

    fn stream(&mut self, id: StreamId) -> Stream {
        *self.known.entry(id).or_insert_with(|| Stream {
            tunnel: self.streams.tunnel(id),
            link: self.streams.link(id),
            interface: None,
        })
    }

    /// The number of the stream's interface, which is described first where it is new.
    fn interface(&mut self, id: StreamId, mut stream: Stream, out: &mut Vec<u8>) -> u32 {
        let number = stream.interface.unwrap_or_else(|| {
            section::describe(&self.streams, id, out);
            self.interfaces.push(Interface::default());
            self.interfaces.len() as u32 - 1
        });
        if stream.interface.is_none() {
            stream.interface = Some(number);
            self.known.insert(id, stream);
        }
        self.last = Some((id, stream));
        number
    }

    /// Tells what went past the follower here: the statistics of each interface that it concerns.
    pub(crate) fn append_lost(&mut self, lost: &Lost, now_ns: u64, out: &mut Vec<u8>) {
        for (id, count) in lost {
            let stream = self.stream(*id);
            let number = self.interface(*id, stream, out);
            self.interfaces[number as usize].dropped += count;
            self.append_statistics(number, now_ns, out);
        }
    }

    /// Appends what ends the section: the statistics of all interfaces.
    pub(crate) fn end(&self, now_ns: u64, out: &mut Vec<u8>) {
        (0..self.interfaces.len() as u32).for_each(|number| self.append_statistics(number, now_ns, out));
    }

    fn append_statistics(&self, number: u32, now_ns: u64, out: &mut Vec<u8>) {
        let Interface { sent, dropped } = self.interfaces[number as usize];
        InterfaceStatistics {
            interface: number,
            taken_ns: now_ns,
            start_ns: self.since_ns,
            end_ns: now_ns,
            received: sent + dropped,
            dropped: Some(dropped),
        }
        .append_to(out);
    }
}
