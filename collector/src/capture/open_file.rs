//! One capture file while it is written: its interfaces, its format, its index.

use std::ops::Range;
use std::path::PathBuf;

use vxtap_analyzers::StreamId;
use vxtap_capfile::pcapng::{InterfaceStatistics, PacketBlock, PacketView};
use vxtap_wire::Link;

use super::CaptureFormat;
use super::merge::{Held, Run};
use super::output::{AppendError, Output};
use super::pages::Pages;
use super::rotation::Rotation;
use crate::section;
use crate::streams::StreamRegistry;

/// The clock was set back, and not by the little that frames overtake each other.
const SET_BACK_NS: u64 = 1_000_000_000;

/// The file that is being written.
pub(super) struct OpenFile {
    pub(super) output: Output,
    /// Under which name it is now: a hidden one until it has a record.
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) opened_ns: u64,
    pub(super) published: bool,
    pub(super) records: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    format: CaptureFormat,
    rotation: Rotation,
    /// Whether records are of now; times that go back far then end the file.
    live: bool,
    /// Records of other times belong into another file.
    pub(super) interval_ns: Range<u64>,
    /// Interface number of each stream; [`NO_INTERFACE`] without.
    numbers: Vec<u32>,
    interfaces: Vec<Interface>,
    /// Interfaces with records in the segment being made.
    touched: Vec<u32>,
    pages: Pages,
}

const NO_INTERFACE: u32 = u32::MAX;

/// One interface of the file.
struct Interface {
    stream: StreamId,
    link: Link,
    written: Counts,
    /// In the segment being made.
    pending: Counts,
}

#[derive(Clone, Copy)]
struct Counts {
    records: u64,
    first_ns: u64,
    last_ns: u64,
}

impl Counts {
    const NONE: Self = Self { records: 0, first_ns: u64::MAX, last_ns: 0 };

    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
    }
}

/// Records that go into the file together.
#[derive(Default)]
pub(super) struct Segment {
    /// Blocks that come before the records.
    prelude: Vec<u8>,
    /// The records: of these runs, or rewritten.
    pub(super) runs: Vec<Run>,
    rewritten: Vec<u8>,
    pub(super) records: u64,
    bytes: usize,
    interfaces_before: usize,
    first_ns: u64,
    last_ns: u64,
}

impl Segment {
    fn clear(&mut self, interfaces: usize) {
        self.prelude.clear();
        self.runs.clear();
        self.rewritten.clear();
        (self.records, self.bytes, self.interfaces_before) = (0, 0, interfaces);
        (self.first_ns, self.last_ns) = (u64::MAX, 0);
    }
}

/// What a file begins with.
pub(super) struct FileStart<'a> {
    pub(super) output: Output,
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) opened_ns: u64,
    pub(super) format: CaptureFormat,
    pub(super) rotation: Rotation,
    pub(super) live: bool,
    pub(super) os: &'a str,
}

impl OpenFile {
    pub(super) fn new(start: FileStart<'_>, segment: &mut Segment) -> Self {
        let FileStart { output, path, name, opened_ns, format, rotation, live, os } = start;
        segment.clear(0);
        match format {
            CaptureFormat::Pcapng => section::begin(os, &mut segment.prelude),
            CaptureFormat::Pcap | CaptureFormat::PcapNanoseconds => format.append_pcap_header(&mut segment.prelude),
        }
        Self {
            output,
            path,
            name,
            opened_ns,
            published: false,
            records: 0,
            first_ns: u64::MAX,
            last_ns: 0,
            format,
            rotation,
            live,
            interval_ns: 0..u64::MAX,
            numbers: Vec::new(),
            interfaces: Vec::new(),
            touched: Vec::new(),
            pages: Pages::new(),
        }
    }

    /// Takes as many records from the head of `runs` into `segment` as go into the file at once, and gives them its interface
    /// numbers. No records: the file is full.
    pub(super) fn take(
        &mut self,
        held: &mut [Held],
        runs: &mut [Run],
        streams: &StreamRegistry,
        segment: &mut Segment,
    ) {
        // What the file begins with is in the segment already.
        if self.output.length() > 0 {
            segment.clear(self.interfaces.len());
        }
        for run in runs.iter_mut().filter(|run| run.records > 0) {
            let start = run.bytes.start;
            let before = segment.records;
            let more = self.take_run(held, run, streams, segment);
            let records = segment.records - before;
            if records > 0 {
                segment.runs.push(Run { held: run.held, bytes: start..run.bytes.start, records });
                run.records = run.records.saturating_sub(records);
            }
            if !more {
                break;
            }
        }
    }

    /// Takes records from the head of `run`, and gives whether the segment takes more.
    fn take_run(&mut self, held: &mut [Held], run: &mut Run, streams: &StreamRegistry, segment: &mut Segment) -> bool {
        // This append and the one that ends the file.
        let taken = self.output.length() + 2 * self.output.padding_bytes();
        let room = self.rotation.bytes.unwrap_or(u64::MAX).saturating_sub(taken);
        let most = self.output.append_bytes();
        let block = &mut held[run.held].block.bytes;
        while let Some(record) = PacketView::first(&block[run.bytes.clone()]) {
            let block_len = record.block().len();
            let stream = StreamId(record.interface());
            let known = self.interface(stream);
            let link = match known.and_then(|number| self.interfaces.get(number as usize)) {
                Some(interface) => interface.link,
                None => streams.link(stream),
            };
            let length = match self.format {
                CaptureFormat::Pcapng => block_len,
                _ => CaptureFormat::pcap_record_len(link, record.frame().len()),
            };
            let bytes = segment.bytes + length;
            if bytes > most && segment.records > 0 {
                return false;
            }
            let time_ns = record.time_ns();
            let prelude_before = segment.prelude.len();
            if known.is_none() && self.format == CaptureFormat::Pcapng {
                section::describe(streams, stream, &mut segment.prelude);
            }
            // The statistics that end the file have their place kept.
            let statistics = match self.format {
                CaptureFormat::Pcapng => self.interfaces.len() + usize::from(known.is_none()),
                _ => 0,
            };
            let needed = segment.prelude.len() + bytes + statistics * InterfaceStatistics::MAX_LEN;
            let records = self.records + segment.records;
            if records > 0
                && (needed as u64 > room || self.is_over(time_ns, self.last_ns.max(segment.last_ns), records))
            {
                segment.prelude.truncate(prelude_before);
                return false;
            }
            if records == 0 {
                self.interval_ns = self.rotation.interval_of(time_ns);
            }
            let number = known.unwrap_or_else(|| self.add_interface(stream, link));
            self.note(number, time_ns);
            if self.format != CaptureFormat::Pcapng {
                self.format.append_pcap_record(&record, link, &mut segment.rewritten);
            } else if let Some(mut record) = PacketBlock::first(&mut block[run.bytes.clone()]) {
                record.set_interface(number);
            }
            segment.first_ns = segment.first_ns.min(time_ns);
            segment.last_ns = segment.last_ns.max(time_ns);
            segment.bytes = bytes;
            segment.records += 1;
            run.bytes.start += block_len;
        }
        true
    }

    /// Whether a record of this time is for the next file, when this one has `records` up to `last_ns`.
    fn is_over(&self, time_ns: u64, last_ns: u64, records: u64) -> bool {
        let set_back = self.live && (time_ns.saturating_add(SET_BACK_NS) < last_ns || time_ns < self.interval_ns.start);
        set_back || time_ns >= self.interval_ns.end || self.rotation.records.is_some_and(|most| records >= most)
    }

    #[inline]
    fn interface(&self, stream: StreamId) -> Option<u32> {
        self.numbers.get(stream.0 as usize).copied().filter(|number| *number != NO_INTERFACE)
    }

    fn add_interface(&mut self, stream: StreamId, link: Link) -> u32 {
        let number = self.interfaces.len() as u32;
        let index = stream.0 as usize;
        if self.numbers.len() <= index {
            self.numbers.resize(index + 1, NO_INTERFACE);
        }
        self.numbers[index] = number;
        self.interfaces.push(Interface { stream, link, written: Counts::NONE, pending: Counts::NONE });
        number
    }

    #[inline]
    fn note(&mut self, number: u32, time_ns: u64) {
        let pending = &mut self.interfaces[number as usize].pending;
        if pending.records == 0 {
            self.touched.push(number);
        }
        pending.add(&Counts { records: 1, first_ns: time_ns, last_ns: time_ns });
    }

    /// Appends the segment.
    pub(super) fn append(&mut self, held: &[Held], segment: &Segment) -> Result<(), AppendError> {
        let before = self.output.length();
        let mut parts: Vec<&[u8]> = vec![&segment.prelude];
        if self.format == CaptureFormat::Pcapng {
            parts.extend(segment.runs.iter().map(|run| &held[run.held].block.bytes[run.bytes.clone()]));
        } else {
            parts.push(&segment.rewritten);
        }
        let appended = self.output.append(&parts);
        for number in self.touched.drain(..) {
            let interface = &mut self.interfaces[number as usize];
            if appended.is_ok() {
                interface.written.add(&interface.pending);
            }
            interface.pending = Counts::NONE;
        }
        if appended.is_err() {
            for interface in self.interfaces.drain(segment.interfaces_before..) {
                self.numbers[interface.stream.0 as usize] = NO_INTERFACE;
            }
            return appended;
        }
        self.records += segment.records;
        self.first_ns = self.first_ns.min(segment.first_ns);
        self.last_ns = self.last_ns.max(segment.last_ns);
        self.pages.describe(&segment.prelude);
        let blocks = segment.runs.iter().map(|run| &held[run.held]);
        let times = (segment.first_ns, segment.last_ns);
        self.pages.add(before, self.output.length() - before, segment.records, times, blocks);
        Ok(())
    }

    /// Ends the file with the statistics of its interfaces. A file without them is whole too, so a full disk is no reason to
    /// complain here. Gives what is known for its index.
    pub(super) fn end(mut self, now_ns: u64) -> (Self, Pages) {
        if self.format == CaptureFormat::Pcapng {
            let mut statistics = Vec::new();
            for (number, Interface { written, .. }) in (0..).zip(&self.interfaces) {
                InterfaceStatistics {
                    interface: number,
                    taken_ns: now_ns,
                    start_ns: written.first_ns,
                    end_ns: written.last_ns,
                    received: written.records,
                    dropped: None,
                }
                .append_to(&mut statistics);
            }
            let _ = self.output.append(&[&statistics]);
        }
        let pages = std::mem::replace(&mut self.pages, Pages::new());
        (self, pages)
    }
}
