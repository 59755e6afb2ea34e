//! One capture file while it is written: its interfaces, its format, its index.

use std::collections::BTreeMap;
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
use super::stretch::{Counts, Stretch};
use crate::section;
use crate::streams::StreamRegistry;

/// A stream that is described in a file has the streams of lower numbers described before it, if no more than this are not yet: the number
/// of an interface is then the stream's own, and records need not be given another. Interfaces without records are harmless.
const DESCRIBED_AHEAD_MAX: u32 = 64;

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
    /// Whether streams that have no record in it may be described.
    ahead: bool,
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

/// Frames of each stream that should have been captured, are in no file, and were not told of yet.
pub(super) type Missed = BTreeMap<StreamId, u64>;

/// One interface of the file.
struct Interface {
    stream: StreamId,
    link: Link,
    written: Counts,
    /// In the segment being made.
    pending: Counts,
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
    pub(super) ahead: bool,
    pub(super) os: &'a str,
}

impl OpenFile {
    pub(super) fn new(start: FileStart<'_>, segment: &mut Segment) -> Self {
        let FileStart { output, path, name, opened_ns, format, rotation, live, ahead, os } = start;
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
            ahead,
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
        while !run.bytes.is_empty() {
            if let Some(stretch) = held[run.held].stretch(run) {
                if segment.bytes + (stretch.end - stretch.start) > most && segment.records > 0 {
                    return false;
                }
                if self.take_stretch(stretch, room, streams, segment) {
                    run.bytes.start = stretch.end;
                    continue;
                }
            }
            let block = &mut held[run.held].block.bytes[run.bytes.clone()];
            let Some(length) = self.take_record(block, (room, most), streams, segment) else { return false };
            run.bytes.start += length;
        }
        true
    }

    /// Takes all of a stretch without looking at its records; `false` where that cannot be, and nothing was taken.
    fn take_stretch(&mut self, stretch: &Stretch, room: u64, streams: &StreamRegistry, segment: &mut Segment) -> bool {
        let Counts { records, first_ns, last_ns } = stretch.counts();
        let before = self.records + segment.records;
        let fits = self.format == CaptureFormat::Pcapng
            && before > 0
            && self.rotation.records.is_none_or(|most| before + records <= most)
            && last_ns < self.interval_ns.end
            // Whichever of its records comes first or last.
            && !self.is_over(first_ns, self.last_ns.max(segment.last_ns).max(last_ns), before);
        let Some(of_streams) = stretch.streams().filter(|_| fits) else { return false };
        let newest = of_streams.iter().map(|(stream, _)| stream.0).max().unwrap_or(0);
        let prelude_before = segment.prelude.len();
        let new = self.to_be_described(StreamId(newest)).filter(|_| self.interface(StreamId(newest)).is_none());
        for number in new.clone().into_iter().flatten() {
            section::describe(streams, StreamId(number), &mut segment.prelude);
        }
        let interfaces = self.interfaces.len() + new.clone().into_iter().flatten().count();
        let bytes = segment.bytes + (stretch.end - stretch.start);
        let needed = segment.prelude.len() + bytes + interfaces * InterfaceStatistics::MAX_LEN;
        let as_they_are = of_streams.iter().all(|(stream, _)| match self.interface(*stream) {
            Some(number) => number == stream.0,
            None => new.as_ref().is_some_and(|new| new.contains(&stream.0)) && (stream.0 as usize) < interfaces,
        });
        if !as_they_are || needed as u64 > room {
            segment.prelude.truncate(prelude_before);
            return false;
        }
        for number in new.into_iter().flatten() {
            self.add_interface(StreamId(number), streams.link(StreamId(number)));
        }
        for (stream, counts) in of_streams {
            self.note(stream.0, counts);
        }
        segment.first_ns = segment.first_ns.min(first_ns);
        segment.last_ns = segment.last_ns.max(last_ns);
        segment.bytes = bytes;
        segment.records += records;
        true
    }

    /// Takes the record at the head of `records`; gives its length there. `None` where the segment or the file is full.
    fn take_record(
        &mut self,
        records: &mut [u8],
        (room, most): (u64, usize),
        streams: &StreamRegistry,
        segment: &mut Segment,
    ) -> Option<usize> {
        let record = PacketView::first(records)?;
        let block_len = record.block().len();
        let stream = StreamId(record.interface());
        let known = self.interface(stream);
        let link = match known.and_then(|number| self.interfaces.get(number as usize)) {
            Some(interface) => interface.link,
            None => streams.link(stream),
        };
        let length = match self.format {
            CaptureFormat::Pcapng => block_len,
            _ => CaptureFormat::pcap_record_len(link, record.frame()),
        };
        let bytes = segment.bytes + length;
        if bytes > most && segment.records > 0 {
            return None;
        }
        let time_ns = record.time_ns();
        let prelude_before = segment.prelude.len();
        let new = if known.is_none() { self.to_be_described(stream) } else { None };
        let describes = self.format == CaptureFormat::Pcapng;
        for number in new.clone().into_iter().flatten().filter(|_| describes) {
            section::describe(streams, StreamId(number), &mut segment.prelude);
        }
        // The statistics that end the file have their place kept.
        let statistics = match self.format {
            CaptureFormat::Pcapng => self.interfaces.len() + new.clone().into_iter().flatten().count(),
            _ => 0,
        };
        let needed = segment.prelude.len() + bytes + statistics * InterfaceStatistics::MAX_LEN;
        let before = self.records + segment.records;
        if before > 0 && (needed as u64 > room || self.is_over(time_ns, self.last_ns.max(segment.last_ns), before)) {
            segment.prelude.truncate(prelude_before);
            return None;
        }
        if before == 0 {
            self.interval_ns = self.rotation.interval_of(time_ns);
        }
        for number in new.into_iter().flatten() {
            self.add_interface(StreamId(number), streams.link(StreamId(number)));
        }
        let number = self.interface(stream)?;
        self.note(number, &Counts { records: 1, first_ns: time_ns, last_ns: time_ns });
        if self.format != CaptureFormat::Pcapng {
            self.format.append_pcap_record(&record, link, &mut segment.rewritten);
        } else if number != stream.0
            && let Some(mut record) = PacketBlock::first(records)
        {
            record.set_interface(number);
        }
        segment.first_ns = segment.first_ns.min(time_ns);
        segment.last_ns = segment.last_ns.max(time_ns);
        segment.bytes = bytes;
        segment.records += 1;
        Some(block_len)
    }

    /// The streams that are to be described so that `stream`, which is not, is: itself, and those of lower numbers that are not
    /// described, where there are few of them.
    fn to_be_described(&self, stream: StreamId) -> Option<Range<u32>> {
        let next = self.interfaces.len() as u32;
        let ahead = stream.0.checked_sub(next).is_some_and(|ahead| ahead < DESCRIBED_AHEAD_MAX);
        // Every interface so far has the number of its stream.
        let in_step = self.interfaces.last().is_none_or(|last| last.stream.0 + 1 == next);
        let first = if self.ahead && ahead && in_step { next } else { stream.0 };
        Some(first..stream.0.checked_add(1)?)
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
    fn note(&mut self, number: u32, counts: &Counts) {
        let pending = &mut self.interfaces[number as usize].pending;
        if pending.records == 0 {
            self.touched.push(number);
        }
        pending.add(counts);
    }

    /// Appends the segment, or notes its records as `missed`.
    pub(super) fn append(&mut self, held: &[Held], segment: &Segment, missed: &mut Missed) -> Result<(), AppendError> {
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
            } else {
                *missed.entry(interface.stream).or_default() += interface.pending.records;
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
        // A page begins with a block: the header of a classic file is none.
        let start = if before == 0 { self.format.header_len() } else { before };
        let ends_block = segment.runs.last().is_some_and(|run| run.bytes.end == held[run.held].block.bytes.len());
        self.pages.add(start, self.output.length() - start, segment.records, times, blocks, ends_block);
        Ok(())
    }

    /// Ends the file with the statistics of its interfaces. What was `missed` of their streams counts as dropped, and is
    /// taken out: it is told once. A file without them is whole too, so a full disk is no reason to
    /// complain here. Gives what is known for its index.
    pub(super) fn end(mut self, now_ns: u64, missed: &mut Missed) -> (Self, Pages) {
        if self.format == CaptureFormat::Pcapng {
            let mut statistics = Vec::new();
            for (number, Interface { written, stream, .. }) in (0..).zip(&self.interfaces) {
                // Where an interface has no records, the file has: it was counted all the while.
                let (start_ns, end_ns) = match written.records {
                    0 => (self.first_ns, self.last_ns),
                    _ => (written.first_ns, written.last_ns),
                };
                let dropped = missed.remove(stream).unwrap_or(0);
                InterfaceStatistics {
                    interface: number,
                    taken_ns: now_ns,
                    start_ns,
                    end_ns,
                    received: written.records + dropped,
                    dropped: Some(dropped),
                }
                .append_to(&mut statistics);
            }
            let _ = self.output.append(&[&statistics]);
        }
        let pages = std::mem::replace(&mut self.pages, Pages::new());
        (self, pages)
    }
}
