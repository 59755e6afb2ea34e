//! The one capture that all records that were found go into, in the order of time.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Write};

use vxtap_capfile::pcapng::{InterfaceDescription, PacketHeader, SectionHeader};

use crate::capture::{Interface, Record};

/// Records that wait for their place take so many bytes at most.
pub(crate) const MAX_WAITING_BYTES: usize = 64 << 20;
/// So many interfaces are told apart, as long as their names and descriptions are not too long together.
const MAX_INTERFACES: usize = 1 << 18;
const MAX_TEXT_BYTES: usize = 64 << 20;
/// The name of what all others of a link type share.
const OTHER_INTERFACES: &str = "other interfaces";
/// What a record that waits takes besides its frame.
const RECORD_BYTES: usize = 64;
/// So much is written at a time.
const WRITE_BYTES: usize = 256 << 10;

/// Puts records in order and writes them. What goes wrong when they are written is told at the end.
pub(crate) struct Output<W> {
    to: W,
    buffer: Vec<u8>,
    interfaces: Vec<Interface>,
    numbers: HashMap<(String, String, u32), u32>,
    text_bytes: usize,
    /// Interfaces whose description is written.
    described: usize,
    waiting: BinaryHeap<Waiting>,
    waiting_bytes: usize,
    max_waiting_bytes: usize,
    pub(crate) written: u64,
    /// Records that came too late for their place.
    pub(crate) late: u64,
    last_ns: u64,
    failure: Option<io::Error>,
}

/// Where a record was: records of the same time keep this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) time_ns: u64,
    /// The file's number among those that were read.
    pub(crate) file: u32,
    pub(crate) offset: u64,
}

struct Waiting {
    place: Place,
    interface: u32,
    wire_len: u32,
    frame: Box<[u8]>,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(to: W) -> Self {
        Self::with_bound(to, MAX_WAITING_BYTES)
    }

    fn with_bound(to: W, max_waiting_bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(WRITE_BYTES);
        let application = concat!("vxtap ", env!("CARGO_PKG_VERSION"));
        SectionHeader { hardware: "", os: "", application }.append_to(&mut buffer);
        Self {
            to,
            buffer,
            interfaces: Vec::new(),
            numbers: HashMap::new(),
            text_bytes: 0,
            described: 0,
            waiting: BinaryHeap::new(),
            waiting_bytes: 0,
            max_waiting_bytes,
            written: 0,
            late: 0,
            last_ns: 0,
            failure: None,
        }
    }

    /// The number that `interface` has in the output: the same for all that have the same name, description and link type, and
    /// for all of a link type beyond the bounds on interfaces.
    pub(crate) fn number(&mut self, interface: &Interface) -> u32 {
        let mut interface = interface.clone();
        let mut key = (interface.name.clone(), interface.description.clone(), interface.link_type.0);
        let known = self.numbers.get(&key);
        if known.is_none() && (self.interfaces.len() >= MAX_INTERFACES || self.text_bytes >= MAX_TEXT_BYTES) {
            (interface.name, interface.description) = (OTHER_INTERFACES.to_owned(), String::new());
            key = (interface.name.clone(), String::new(), interface.link_type.0);
        }
        let (interfaces, text_bytes) = (&mut self.interfaces, &mut self.text_bytes);
        *self.numbers.entry(key).or_insert_with(|| {
            *text_bytes += interface.name.len() + interface.description.len();
            interfaces.push(interface);
            interfaces.len() as u32 - 1
        })
    }

    /// Takes a record, which came from the interface of this number.
    pub(crate) fn take(&mut self, place: Place, interface: u32, record: &Record<'_>) {
        self.waiting_bytes += RECORD_BYTES + record.frame.len();
        let (wire_len, frame) = (record.wire_len, record.frame.into());
        self.waiting.push(Waiting { place, interface, wire_len, frame });
        while self.waiting_bytes > self.max_waiting_bytes {
            self.write_first();
        }
    }

    /// Writes what is earlier than `time_ns`: all that comes from now on is of that time or later.
    pub(crate) fn write_before(&mut self, time_ns: u64) {
        while self.waiting.peek().is_some_and(|first| first.place.time_ns < time_ns) {
            self.write_first();
        }
    }

    fn write_first(&mut self) {
        let Some(Waiting { place, interface, wire_len, frame }) = self.waiting.pop() else { return };
        self.waiting_bytes -= RECORD_BYTES + frame.len();
        for interface in self.interfaces.iter().take(interface as usize + 1).skip(self.described) {
            let Interface { name, description, link_type, .. } = interface;
            InterfaceDescription { name, description, link_type: *link_type }.append_to(&mut self.buffer);
            self.described += 1;
        }
        self.late += u64::from(place.time_ns < self.last_ns);
        self.last_ns = self.last_ns.max(place.time_ns);
        self.written += 1;
        PacketHeader { interface, time_ns: place.time_ns, wire_len }.append_to(&mut self.buffer, &frame);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.failure.is_none() {
            self.failure = self.to.write_all(&self.buffer).err();
        }
        self.buffer.clear();
    }

    /// Whether nothing more can be written.
    pub(crate) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Writes all that waits.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            self.write_first();
        }
        self.flush();
        match self.failure.take() {
            Some(error) => Err(error),
            None => self.to.flush(),
        }
    }
}

/// The heap has the greatest on top, which is to be the earliest.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        other.place.cmp(&self.place)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Waiting {}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use vxtap_capfile::{CaptureReader, LinkType};

    use super::*;
    use crate::capture::tests::interface;

    fn take<W: Write>(output: &mut Output<W>, time_ns: u64, offset: u64, frame: &[u8]) {
        let number = output.number(&interface("one", ""));
        let record = Record { time_ns: Some(time_ns), interface: 0, link_type: LinkType::ETHERNET, wire_len: 0, frame };
        output.take(Place { time_ns, file: 0, offset }, number, &record);
    }

    fn times(capture: &[u8]) -> Vec<(u64, u8)> {
        let mut reader = CaptureReader::from_reader(Cursor::new(capture.to_vec()), "the output").unwrap();
        let mut times = Vec::new();
        while let Some(record) = reader.next_record() {
            let record = record.unwrap();
            times.push((record.time_ns, record.data[0]));
        }
        times
    }

    #[test]
    fn records_come_out_in_the_order_of_time_and_then_of_place() {
        let mut written = Vec::new();
        let mut output = Output::new(&mut written);
        for (time_ns, offset) in [(5, 1), (3, 9), (3, 2), (8, 3), (5, 0)] {
            take(&mut output, time_ns, offset, &[offset as u8]);
        }
        output.write_before(5);
        assert_eq!(output.written, 2);
        output.finish().unwrap();
        assert_eq!((output.written, output.late), (5, 0));
        assert_eq!(times(&written), [(3, 2), (3, 9), (5, 0), (5, 1), (8, 3)]);
    }

    #[test]
    fn records_that_would_wait_beyond_the_bound_are_written_and_what_then_comes_late_is_counted() {
        let mut written = Vec::new();
        let mut output = Output::with_bound(&mut written, 2 * (RECORD_BYTES + 10));
        for time_ns in [9, 7, 8, 1] {
            take(&mut output, time_ns, 0, &[time_ns as u8; 10]);
            assert!(output.waiting_bytes <= output.max_waiting_bytes);
        }
        output.finish().unwrap();
        assert_eq!((output.written, output.late), (4, 1));
        assert_eq!(times(&written), [(7, 7), (1, 1), (8, 8), (9, 9)]);
    }

    #[test]
    fn interfaces_that_are_alike_are_one() {
        let mut output = Output::new(Vec::new());
        let numbers = [("a", "x"), ("b", "x"), ("a", "x"), ("a", "y")]
            .map(|(name, description)| output.number(&interface(name, description)));
        assert_eq!(numbers, [0, 1, 0, 2]);
    }

    #[test]
    fn interfaces_beyond_the_bounds_share_one() {
        let mut output = Output::new(Vec::new());
        assert_eq!(output.number(&interface("known", "")), 0);
        output.text_bytes = MAX_TEXT_BYTES;
        assert_eq!(output.number(&interface("new", "")), 1);
        assert_eq!(output.number(&interface("newer", "x")), 1);
        assert_eq!(output.number(&interface("known", "")), 0);
        assert_eq!(output.interfaces[1].name, OTHER_INTERFACES);
    }

    #[test]
    fn what_goes_wrong_with_the_output_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output::new(Full);
        take(&mut output, 1, 1, &[1]);
        assert_eq!(output.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
