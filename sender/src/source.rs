//! Frames of capture files.
//!
//! Files are read through a window and copied into the batch, each frame behind room for its tunnel's header, and not
//! mapped: measured at top speed, the page faults of a mapping cost what the copies cost, and a mapped file that
//! somebody cuts short ends the process with a bus error.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use vxtap_capfile::{CaptureReader, Fault, LinkType, MAX_FRAME_BYTES};
use vxtap_wire::{ETHERNET_HEADER_LEN, FrameView, SteerHash};

use crate::batch::{ENOUGH_BYTES, HEADROOM, MAX_FRAMES, Slot, Source};
use crate::control::Counters;
use crate::error::SendError;
use crate::replay::ReplaySettings;
use crate::summary::SkipReason;

mod ethernet;

pub(crate) use ethernet::EthernetFrames;

/// Reads the records of several files, one file after the other, as often as asked.
pub(crate) struct Records<'a> {
    files: &'a [PathBuf],
    most_loops: u64,
    counters: &'a Counters,
    reader: CaptureReader,
    /// The file that `reader` reads.
    file: usize,
    frames_of: EthernetFrames,
    /// The link type of a record without packets, and whether the file has shown one that may have some.
    foreign: Option<LinkType>,
    packets_seen: bool,
    /// No frame of the file has been given.
    at_start: bool,
    /// Frames given in this loop.
    frames: u64,
    loops: u64,
    ended: bool,
}

/// One record as an Ethernet frame, never empty.
pub(crate) struct Record<'a> {
    /// The frame, as far as it was captured.
    pub(crate) bytes: &'a [u8],
    /// Length on the wire.
    pub(crate) wire_len: u32,
    /// When it was captured, in nanoseconds since 1970.
    pub(crate) time_ns: u64,
    /// Whether it is the first of its file.
    pub(crate) is_first: bool,
    /// Whether it may wait for the one after it: from a pipe that may be long in coming.
    pub(crate) may_wait: bool,
}

impl<'a> Records<'a> {
    /// Looks into every file that can be read twice: whether it is a capture file, and may have packets.
    pub(crate) fn check(files: &[PathBuf], loops: u64) -> Result<(), SendError> {
        for path in files {
            let is_regular = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
            if path == Path::new("-") || (path.exists() && !is_regular) {
                if loops != 1 {
                    let what = format!("'{}' can be read only once (leave --loops out)", path.display());
                    return Err(SendError::Setting(what));
                }
                continue;
            }
            let mut reader = CaptureReader::open(path)?;
            let mut foreign = None;
            loop {
                match reader.next_record() {
                    Some(Ok(record)) if EthernetFrames::has_packets(record.link_type) => break,
                    Some(Ok(record)) => {
                        foreign.get_or_insert(record.link_type);
                    }
                    // Damage is counted when the file is replayed.
                    Some(Err(_)) | None => match foreign {
                        Some(link_type) => return Err(refuse(&reader, link_type)),
                        None => break,
                    },
                }
            }
        }
        Ok(())
    }

    /// Opens the first of `files`, at least one; all of them are read `loops` times, 0 is without end.
    pub(crate) fn open(files: &'a [PathBuf], loops: u64, counters: &'a Counters) -> Result<Self, SendError> {
        Ok(Self {
            files,
            most_loops: loops,
            counters,
            reader: CaptureReader::open(&files[0])?,
            file: 0,
            frames_of: EthernetFrames::default(),
            foreign: None,
            packets_seen: false,
            at_start: true,
            frames: 0,
            loops: 0,
            ended: false,
        })
    }

    /// Gives `sink` record after record until it breaks (that record is taken, too) or there are no more, and counts those that have
    /// no frame. Gives whether there may be more.
    pub(crate) fn give(&mut self, mut sink: impl FnMut(&Record<'_>) -> ControlFlow<()>) -> Result<bool, SendError> {
        while !self.ended {
            let may_wait = self.reader.size().is_some();
            let record = match self.reader.next_record() {
                Some(Ok(record)) => record,
                Some(Err(error)) if matches!(error.fault, Fault::Io(_)) => return Err(error.into()),
                Some(Err(error)) => {
                    if self.loops == 0 {
                        tracing::warn!("{error}; the rest of the file is skipped");
                    }
                    self.counters.skip(SkipReason::FileDamaged);
                    continue;
                }
                None => {
                    self.next_file()?;
                    continue;
                }
            };
            if !EthernetFrames::has_packets(record.link_type) {
                self.foreign = Some(record.link_type);
                self.counters.skip(SkipReason::LinkType);
                continue;
            }
            self.packets_seen = true;
            if record.data.is_empty() {
                self.counters.skip(SkipReason::EmptyFrame);
                continue;
            }
            let Some((bytes, wire_len)) = self.frames_of.frame(&record) else {
                self.counters.skip(SkipReason::LinkType);
                continue;
            };
            self.frames += 1;
            let record = Record {
                bytes,
                wire_len,
                time_ns: record.time_ns,
                is_first: std::mem::replace(&mut self.at_start, false),
                may_wait,
            };
            if sink(&record).is_break() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes on to the next file, or to the first again.
    fn next_file(&mut self) -> Result<(), SendError> {
        if let (Some(link_type), false) = (self.foreign, self.packets_seen) {
            // Only a pipe comes here: it could not be looked into before.
            return Err(refuse(&self.reader, link_type));
        }
        self.file += 1;
        if self.file == self.files.len() {
            self.file = 0;
            self.loops += 1;
            self.counters.loops.add(1);
            // Files without a single frame would be opened again and again for nothing.
            if self.loops == self.most_loops || self.frames == 0 {
                self.ended = true;
                return Ok(());
            }
            self.frames = 0;
        }
        self.reader = CaptureReader::open(&self.files[self.file])?;
        self.foreign = None;
        self.packets_seen = false;
        self.at_start = true;
        Ok(())
    }
}

/// Batches of the frames of several files.
pub(crate) struct Files<'a> {
    records: Records<'a>,
    hash: SteerHash,
    ports: u32,
    /// Latest time in the file so far.
    latest_ns: u64,
    buffer: Vec<u8>,
}

impl<'a> Files<'a> {
    /// Opens the first file.
    pub(crate) fn open(settings: &'a ReplaySettings, ports: u32, counters: &'a Counters) -> Result<Self, SendError> {
        Ok(Self {
            records: Records::open(&settings.files, settings.loops, counters)?,
            hash: SteerHash::new(settings.transmit.port_seed),
            ports,
            latest_ns: 0,
            buffer: vec![0; ENOUGH_BYTES + HEADROOM + MAX_FRAME_BYTES],
        })
    }
}

impl Source for Files<'_> {
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), SendError> {
        let Self { records, hash, ports, latest_ns, buffer } = self;
        let mut used = 0;
        records.give(|record| {
            // Merged captures can go back in time a little: such a frame follows at once.
            if record.is_first {
                *latest_ns = record.time_ns;
            }
            let gap_ns = record.time_ns.saturating_sub(*latest_ns);
            *latest_ns = record.time_ns.max(*latest_ns);
            let flow = flow_hash(*hash, record.bytes);
            let (port, len) = ((flow % *ports) as u16, record.bytes.len());
            used += HEADROOM;
            buffer[used..used + len].copy_from_slice(record.bytes);
            slots.push(Slot {
                offset: used,
                frame_len: len as u32,
                flow,
                port,
                gap_ns,
                captured_ns: record.time_ns,
                wire_len: record.wire_len,
                ..Slot::default()
            });
            used += len;
            let is_enough = slots.len() == MAX_FRAMES || used >= ENOUGH_BYTES || !record.may_wait;
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(())
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

fn refuse(reader: &CaptureReader, link_type: LinkType) -> SendError {
    SendError::LinkType { file: reader.name().to_owned(), link_type }
}

/// The steer hash of the frame's innermost five-tuple, or without one a hash of its MAC addresses; equal for both
/// directions.
#[inline]
pub(crate) fn flow_hash(hash: SteerHash, frame: &[u8]) -> u32 {
    if let Some(five_tuple) = FrameView::parse(frame).five_tuple {
        return hash.hash(&five_tuple);
    }
    let Some(header) = frame.first_chunk::<ETHERNET_HEADER_LEN>() else { return 0 };
    let words = |at: usize| {
        let high = u16::from_be_bytes([header[at], header[at + 1]]);
        let low = u32::from_be_bytes([header[at + 2], header[at + 3], header[at + 4], header[at + 5]]);
        (high, low)
    };
    let ((to_high, to_low), (from_high, from_low)) = (words(0), words(6));
    hash.mix(from_low, to_low, from_high, to_high)
}

#[cfg(test)]
mod tests;
