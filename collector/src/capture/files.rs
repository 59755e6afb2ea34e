//! The capture files of one run: which record goes into which, and what happens when the disk refuses.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, RenameFlags};
use time::OffsetDateTime;
use time::macros::format_description;
use vxtap_analyzers::StreamId;
use vxtap_analyzers::snapshot::{CaptureFile, CaptureSnapshot};
use vxtap_capfile::pcapng::{InterfaceStatistics, PacketBlock};

use super::output::{Create, Output};
use crate::section;
use crate::streams::StreamRegistry;

/// After an error, frames are dropped for so long before the disk is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// So many taken names are passed over before the directory counts as unusable.
const MAX_TAKEN_NAMES: u32 = 10_000;

/// What the outside may know, kept up to date by the writer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) error: Option<String>,
    /// The newest files.
    pub(super) files: VecDeque<CaptureFile>,
    pub(super) files_total: u64,
}

/// What files are made from.
pub(super) struct FilesSettings {
    pub(super) directory: PathBuf,
    pub(super) rotate_bytes: Option<u64>,
    pub(super) started: SystemTime,
    pub(super) create: Create,
}

/// Records that were written and records that were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) written: u64,
    pub(super) discarded: u64,
}

/// Writes blocks of records to one file after the other.
pub(super) struct CaptureFiles {
    settings: FilesSettings,
    streams: Arc<StreamRegistry>,
    progress: Arc<Mutex<Progress>>,
    /// `vxtap-20261121T014700Z`.
    prefix: String,
    os: String,
    next_sequence: u32,
    open: Option<OpenFile>,
    /// Blocks that come before the records of the next append.
    prelude: Vec<u8>,
    /// Not before then, after an error.
    retry_at: Option<Instant>,
}

/// The file that is being written.
struct OpenFile {
    output: Output,
    /// Under which name it is now: a hidden one until it has a record.
    path: PathBuf,
    name: String,
    opened_ns: u64,
    published: bool,
    frames: u64,
    /// Interface number of each stream; [`NO_INTERFACE`] without.
    numbers: Vec<u32>,
    interfaces: Vec<Interface>,
}

const NO_INTERFACE: u32 = u32::MAX;

/// One interface of the file.
struct Interface {
    stream: StreamId,
    frames: u64,
    first_ns: u64,
    last_ns: u64,
}

/// Records at the head of a block that go into the open file together.
struct Segment {
    bytes: usize,
    frames: u64,
    interfaces_before: usize,
}

impl CaptureFiles {
    pub(super) fn new(settings: FilesSettings, streams: Arc<StreamRegistry>, progress: Arc<Mutex<Progress>>) -> Self {
        let started = OffsetDateTime::from(settings.started);
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let started = started.format(format).unwrap_or_else(|_| nanoseconds(settings.started).to_string());
        Self {
            prefix: format!("vxtap-{started}"),
            os: section::operating_system(),
            settings,
            streams,
            progress,
            next_sequence: 1,
            open: None,
            prelude: Vec::new(),
            retry_at: None,
        }
    }

    /// Writes the records in `block`, or drops those that the disk refuses.
    pub(super) fn write(&mut self, block: &mut [u8]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut rest = block;
        while !rest.is_empty() {
            if !self.ready() {
                outcome.discarded += count(rest);
                break;
            }
            let Some(segment) = self.take_segment(rest) else { break };
            if segment.frames == 0 {
                self.close();
                continue;
            }
            let (records, others) = rest.split_at_mut(segment.bytes);
            if self.append(records, &segment) {
                outcome.written += segment.frames;
            } else {
                outcome.discarded += segment.frames;
            }
            rest = others;
        }
        outcome
    }

    /// Sees to it that a file is open; `false` while the disk is not to be tried.
    fn ready(&mut self) -> bool {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        if self.open.as_ref().is_some_and(|file| file.published && file.output.is_deleted()) {
            // Somebody removed it. What is in it is lost, what comes goes into the next.
            self.forget();
        }
        if self.open.is_none() {
            match self.begin() {
                Ok(file) => self.open = Some(file),
                Err(error) => {
                    let directory = self.settings.directory.display();
                    self.fail(format!("cannot make a capture file in '{directory}': {error}"));
                    return false;
                }
            }
        }
        true
    }

    fn begin(&mut self) -> io::Result<OpenFile> {
        let name = self.name();
        let path = self.settings.directory.join(format!(".{name}.{}", std::process::id()));
        let created = (self.settings.create)(&path)?;
        Ok(OpenFile {
            output: Output::new(created),
            path,
            name,
            opened_ns: nanoseconds(SystemTime::now()),
            published: false,
            frames: 0,
            numbers: Vec::new(),
            interfaces: Vec::new(),
        })
    }

    fn name(&self) -> String {
        format!("{}-{:05}.pcapng", self.prefix, self.next_sequence)
    }

    /// Takes as many records from the head of `block` as go into the open file at once, gives them its interface
    /// numbers, and puts what has to come before them into `self.prelude`. No frames: the file is full.
    fn take_segment(&mut self, block: &mut [u8]) -> Option<Segment> {
        let file = self.open.as_mut()?;
        self.prelude.clear();
        if file.output.length() == 0 {
            section::begin(&self.os, &mut self.prelude);
        }
        // This append and the one that ends the file.
        let taken = file.output.length() + 2 * file.output.padding_bytes();
        let room = self.settings.rotate_bytes.unwrap_or(u64::MAX).saturating_sub(taken);
        let most = file.output.append_bytes();
        let mut segment = Segment { bytes: 0, frames: 0, interfaces_before: file.interfaces.len() };
        while let Some(mut record) = PacketBlock::first(&mut block[segment.bytes..]) {
            let bytes = segment.bytes + record.len();
            if bytes > most && segment.frames > 0 {
                break;
            }
            let stream = StreamId(record.interface());
            let prelude_before = self.prelude.len();
            let known = file.interface(stream);
            if known.is_none() {
                section::describe(&self.streams, stream, &mut self.prelude);
            }
            // The statistics that end the file have their place kept.
            let interfaces = file.interfaces.len() + usize::from(known.is_none());
            let needed = self.prelude.len() + bytes + interfaces * InterfaceStatistics::MAX_LEN;
            if needed as u64 > room && file.frames + segment.frames > 0 {
                self.prelude.truncate(prelude_before);
                break;
            }
            let number = known.unwrap_or_else(|| file.add_interface(stream));
            file.interfaces[number as usize].count(record.time_ns());
            record.set_interface(number);
            segment.bytes = bytes;
            segment.frames += 1;
        }
        debug_assert!(segment.frames > 0 || file.frames > 0, "a new file takes any record");
        (segment.frames > 0 || file.frames > 0).then_some(segment)
    }

    /// Appends prelude and records to the open file; `false` where the disk refuses them.
    fn append(&mut self, records: &mut [u8], segment: &Segment) -> bool {
        let Some(file) = &mut self.open else { return false };
        let before = file.output.length();
        let appended = file.output.append([&self.prelude, records]);
        let (source, intact) = match appended {
            Ok(()) if file.published => {
                self.count(before, segment.frames);
                return true;
            }
            Ok(()) => match self.publish() {
                Ok(()) => {
                    self.count(before, segment.frames);
                    return true;
                }
                Err(error) => (error, false),
            },
            Err(error) => (error.source, error.intact),
        };
        let path = self.settings.directory.join(self.open.as_ref().map_or("", |file| &file.name));
        self.fail(format!("cannot write capture file '{}': {source}", path.display()));
        match &mut self.open {
            Some(file) if intact && file.published => file.take_back(records, segment),
            _ => self.forget(),
        }
        false
    }

    /// Gives the open file its name. A name that is taken, by another collector that began in the same second, is passed
    /// over.
    fn publish(&mut self) -> io::Result<()> {
        for _ in 0..MAX_TAKEN_NAMES {
            let name = self.name();
            let path = self.settings.directory.join(&name);
            self.next_sequence += 1;
            let Some(file) = &mut self.open else { break };
            match rename_exclusively(&file.path, &path) {
                Ok(()) => {
                    (file.path, file.name, file.published) = (path, name, true);
                    let (name, opened_ns) = (file.name.clone(), file.opened_ns);
                    let mut progress = lock(&self.progress);
                    progress.files_total += 1;
                    if progress.files.len() == CaptureSnapshot::MAX_FILES {
                        progress.files.pop_front();
                    }
                    progress.files.push_back(CaptureFile { name, opened_ns, ..CaptureFile::default() });
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "every name is taken"))
    }

    /// After a successful append.
    fn count(&mut self, length_before: u64, frames: u64) {
        self.retry_at = None;
        let Some(file) = &mut self.open else { return };
        file.frames += frames;
        let mut progress = lock(&self.progress);
        progress.bytes += file.output.length() - length_before;
        if let Some(listed) = progress.files.back_mut() {
            (listed.bytes, listed.frames) = (file.output.length(), file.frames);
        }
        if progress.error.take().is_some() {
            tracing::info!("captures are written again, to '{}'", file.name);
        }
    }

    fn fail(&mut self, error: String) {
        self.retry_at = Some(Instant::now() + RETRY_AFTER);
        let mut progress = lock(&self.progress);
        if progress.error.as_ref() != Some(&error) {
            tracing::warn!("{error}; frames are not captured until this is mended");
        }
        progress.error = Some(error);
    }

    /// Gives the open file up as it is.
    fn forget(&mut self) {
        let Some(file) = self.open.take() else { return };
        if file.published {
            self.note_closed(file.output.length());
        } else {
            // Nothing is in it. If it cannot be removed, the disk's error is known already.
            let _ = std::fs::remove_file(&file.path);
        }
    }

    /// Ends the open file with the statistics of its interfaces.
    pub(super) fn close(&mut self) {
        let Some(mut file) = self.open.take() else { return };
        let taken_ns = nanoseconds(SystemTime::now());
        self.prelude.clear();
        for (number, interface) in (0..).zip(&file.interfaces) {
            InterfaceStatistics {
                interface: number,
                taken_ns,
                start_ns: interface.first_ns,
                end_ns: interface.last_ns,
                received: interface.frames,
                dropped: None,
            }
            .append_to(&mut self.prelude);
        }
        let before = file.output.length();
        // A file without statistics is whole too, so a full disk is no reason to complain here.
        let _ = file.output.append([&self.prelude, &[]]);
        lock(&self.progress).bytes += file.output.length() - before;
        self.note_closed(file.output.length());
    }

    fn note_closed(&self, length: u64) {
        if let Some(listed) = lock(&self.progress).files.back_mut() {
            listed.bytes = length;
            listed.closed_ns = Some(nanoseconds(SystemTime::now()));
        }
    }
}

impl OpenFile {
    fn interface(&self, stream: StreamId) -> Option<u32> {
        self.numbers.get(stream.0 as usize).copied().filter(|number| *number != NO_INTERFACE)
    }

    fn add_interface(&mut self, stream: StreamId) -> u32 {
        let number = self.interfaces.len() as u32;
        let index = stream.0 as usize;
        if self.numbers.len() <= index {
            self.numbers.resize(index + 1, NO_INTERFACE);
        }
        self.numbers[index] = number;
        self.interfaces.push(Interface { stream, frames: 0, first_ns: u64::MAX, last_ns: 0 });
        number
    }

    /// Undoes what [`CaptureFiles::take_segment`] noted of records that were not written.
    fn take_back(&mut self, mut records: &mut [u8], segment: &Segment) {
        while let Some(record) = PacketBlock::first(records) {
            self.interfaces[record.interface() as usize].frames -= 1;
            let bytes = record.len();
            records = &mut records[bytes..];
        }
        for interface in self.interfaces.drain(segment.interfaces_before..) {
            self.numbers[interface.stream.0 as usize] = NO_INTERFACE;
        }
    }
}

impl Interface {
    fn count(&mut self, time_ns: u64) {
        self.frames += 1;
        self.first_ns = self.first_ns.min(time_ns);
        self.last_ns = self.last_ns.max(time_ns);
    }
}

fn count(mut records: &mut [u8]) -> u64 {
    let mut count = 0;
    while let Some(record) = PacketBlock::first(records) {
        count += 1;
        let bytes = record.len();
        records = &mut records[bytes..];
    }
    count
}

/// Renames a file, but not over another.
fn rename_exclusively(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot do both at once.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if to.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        }
        result => Ok(result?),
    }
}

pub(super) fn lock(progress: &Mutex<Progress>) -> std::sync::MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos().try_into().unwrap_or(u64::MAX))
}
