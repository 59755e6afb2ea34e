//! Frames of capture files.
//!
//! Files are read through a window and copied into the batch, each frame behind room for its VXLAN header, and not
//! mapped: measured at top speed, the page faults of a mapping cost what the copies cost, and a mapped file that
//! somebody cuts short ends the process with a bus error.

use std::path::Path;

use vxtap_capfile::{CaptureReader, Fault, LinkType, MAX_FRAME_BYTES};
use vxtap_wire::{ETHERNET_HEADER_LEN, FrameView, SteerHash};

use crate::batch::{ENOUGH_BYTES, HEADROOM, MAX_FRAMES, Slot, Source};
use crate::control::Counters;
use crate::error::SendError;
use crate::replay::ReplaySettings;
use crate::summary::SkipReason;

/// Reads the frames of several files, one file after the other, as often as asked.
pub(crate) struct Files<'a> {
    settings: &'a ReplaySettings,
    counters: &'a Counters,
    hash: SteerHash,
    ports: u32,
    reader: CaptureReader,
    /// The file that `reader` reads.
    file: usize,
    /// Most frames to give at a time: one from a pipe, where waiting for the next would hold back those that are there.
    most: usize,
    /// Latest time in the file so far; none at its beginning.
    latest_ns: Option<u64>,
    /// A record of another link type, until the file has shown an Ethernet frame.
    foreign: Option<LinkType>,
    ethernet_seen: bool,
    /// Frames given in this loop.
    frames: u64,
    loops: u64,
    ended: bool,
    buffer: Vec<u8>,
}

impl<'a> Files<'a> {
    /// Looks into every file that can be read twice: whether it is a capture file, and has an Ethernet frame.
    pub(crate) fn check(settings: &ReplaySettings) -> Result<(), SendError> {
        for path in &settings.files {
            let is_regular = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
            if path == Path::new("-") || (path.exists() && !is_regular) {
                if settings.loops != 1 {
                    let what = format!("'{}' can be read only once (leave --loops out)", path.display());
                    return Err(SendError::Setting(what));
                }
                continue;
            }
            let mut reader = CaptureReader::open(path)?;
            let mut foreign = None;
            loop {
                match reader.next_record() {
                    Some(Ok(record)) if record.link_type == LinkType::ETHERNET => break,
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

    /// Opens the first file.
    pub(crate) fn open(settings: &'a ReplaySettings, ports: u32, counters: &'a Counters) -> Result<Self, SendError> {
        let reader = CaptureReader::open(&settings.files[0])?;
        Ok(Self {
            settings,
            counters,
            hash: SteerHash::new(settings.transmit.port_seed),
            ports,
            most: most_frames(&reader),
            reader,
            file: 0,
            latest_ns: None,
            foreign: None,
            ethernet_seen: false,
            frames: 0,
            loops: 0,
            ended: false,
            buffer: vec![0; ENOUGH_BYTES + HEADROOM + MAX_FRAME_BYTES],
        })
    }

    /// Goes on to the next file, or to the first again.
    fn next_file(&mut self) -> Result<(), SendError> {
        if let (Some(link_type), false) = (self.foreign, self.ethernet_seen) {
            // Only a pipe comes here: it could not be looked into before.
            return Err(refuse(&self.reader, link_type));
        }
        self.file += 1;
        if self.file == self.settings.files.len() {
            self.file = 0;
            self.loops += 1;
            self.counters.loops.add(1);
            // Files without a single frame would be opened again and again for nothing.
            if self.loops == self.settings.loops || self.frames == 0 {
                self.ended = true;
                return Ok(());
            }
            self.frames = 0;
        }
        self.reader = CaptureReader::open(&self.settings.files[self.file])?;
        self.most = most_frames(&self.reader);
        self.latest_ns = None;
        self.foreign = None;
        self.ethernet_seen = false;
        Ok(())
    }
}

impl Source for Files<'_> {
    fn fill(&mut self, slots: &mut Vec<Slot>) -> Result<(), SendError> {
        let mut used = 0;
        while slots.len() < self.most && used < ENOUGH_BYTES && !self.ended {
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
            if record.link_type != LinkType::ETHERNET {
                self.foreign = Some(record.link_type);
                self.counters.skip(SkipReason::LinkType);
                continue;
            }
            self.ethernet_seen = true;
            if record.data.is_empty() {
                self.counters.skip(SkipReason::EmptyFrame);
                continue;
            }
            // Merged captures can go back in time a little: such a frame follows at once.
            let latest_ns = self.latest_ns.unwrap_or(record.time_ns);
            let gap_ns = record.time_ns.saturating_sub(latest_ns);
            self.latest_ns = Some(latest_ns.max(record.time_ns));
            let flow = flow_hash(self.hash, record.data);
            let (port, len) = ((flow % self.ports) as u16, record.data.len());
            used += HEADROOM;
            self.buffer[used..used + len].copy_from_slice(record.data);
            slots.push(Slot { offset: used, frame_len: len as u32, len: 0, flow, port, gap_ns });
            used += len;
            self.frames += 1;
        }
        Ok(())
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

const fn most_frames(reader: &CaptureReader) -> usize {
    if reader.size().is_some() { MAX_FRAMES } else { 1 }
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
