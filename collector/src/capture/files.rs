//! The capture files of one run: which record goes into which, and what happens when the disk refuses.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, FallocateFlags, RenameFlags};
use time::OffsetDateTime;
use time::macros::format_description;
use vxtap_analyzers::StreamId;
use vxtap_analyzers::snapshot::{CaptureFile, CaptureSnapshot};
use vxtap_capfile::pcapng::PacketView;

use super::CaptureFormat;
use super::closing::{ClosedFile, Closing};
use super::merge::{Held, Run};
use super::open_file::{FileStart, Missed, OpenFile, Segment};
use super::output::{Create, Displacement, Output};
use super::rotation::Rotation;
use crate::config::Printable;
use crate::section;
use crate::streams::StreamRegistry;

/// After an error, frames are dropped for so long before the disk is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// So many taken names are passed over before the directory counts as unusable.
const MAX_TAKEN_NAMES: u32 = 10_000;
/// Room that is made sure of before each append: more than an append has.
const ROOM_AT_ONCE: u64 = 5 << 20;
/// A file whose interval is over is kept open for so long, for records that are still under way.
const INTERVAL_GRACE: Duration = Duration::from_millis(300);
/// How often to look whether the open file is still where it was put.
const PLACE_LOOK: Duration = Duration::from_secs(1);

/// What the outside may know, kept up to date by the writer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) error: Option<String>,
    /// The newest files.
    pub(super) files: VecDeque<CaptureFile>,
    pub(super) files_total: u64,
    /// Records that came when later ones were in the file.
    pub(super) late: u64,
    /// Files that somebody deleted, cut or moved away while they were written.
    pub(super) displaced: u64,
}

/// What files are made from.
#[derive(Clone)]
pub(super) struct FilesSettings {
    pub(super) directory: PathBuf,
    /// How the names begin: `vxtap-20261121T014700Z`.
    pub(super) prefix: String,
    pub(super) format: CaptureFormat,
    pub(super) rotation: Rotation,
    /// Whether the records are of now, and time that passes ends files.
    pub(super) live: bool,
    /// Whether a file may describe streams that have no record in it.
    pub(super) ahead: bool,
    pub(super) create: Create,
}

/// Records that were written and records that were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) written: u64,
    pub(super) discarded: u64,
}

/// Writes records to one file after the other.
pub(super) struct CaptureFiles {
    settings: FilesSettings,
    streams: Arc<StreamRegistry>,
    progress: Arc<Mutex<Progress>>,
    closing: Arc<Closing>,
    os: String,
    next_sequence: u32,
    open: Option<OpenFile>,
    segment: Segment,
    missed: Missed,
    /// Not before then, after an error.
    retry_at: Option<Instant>,
    /// After an error: when to see without a record whether it stands.
    look_at: Option<Instant>,
    /// When to look again whether the open file is where it was put.
    place_look_at: Instant,
}

impl CaptureFiles {
    pub(super) fn new(
        settings: FilesSettings,
        streams: Arc<StreamRegistry>,
        progress: Arc<Mutex<Progress>>,
        closing: Arc<Closing>,
    ) -> Self {
        Self {
            os: section::operating_system(),
            settings,
            streams,
            progress,
            closing,
            next_sequence: 1,
            open: None,
            segment: Segment::default(),
            missed: Missed::new(),
            retry_at: None,
            look_at: None,
            place_look_at: Instant::now(),
        }
    }

    /// Writes the records of `runs`, or drops those that the disk refuses, and tells `outcome` what became of how many of which lane.
    pub(super) fn write(&mut self, held: &mut [Held], runs: &mut [Run], mut outcome: impl FnMut(usize, Outcome)) {
        for run in runs.iter().filter(|run| run.bytes.start == 0) {
            for (stream, frames) in &held[run.held].block.marks.refused {
                *self.missed.entry(*stream).or_default() += frames;
            }
        }
        self.leave_if_displaced();
        let mut from = 0;
        loop {
            while runs.get(from).is_some_and(|run| run.records == 0) {
                from += 1;
            }
            let rest = &mut runs[from..];
            if rest.is_empty() {
                return;
            }
            if !self.ready() {
                for run in rest {
                    self.miss(held, run);
                    outcome(held[run.held].lane, Outcome { discarded: run.records, written: 0 });
                }
                return;
            }
            let Some(file) = &mut self.open else { return };
            file.take(held, rest, &self.streams, &mut self.segment);
            if self.segment.records == 0 {
                debug_assert!(file.records > 0, "a new file takes any record");
                self.close();
                continue;
            }
            let written = self.append(held);
            for run in &self.segment.runs {
                let records = run.records;
                let (written, discarded) = if written { (records, 0) } else { (0, records) };
                outcome(held[run.held].lane, Outcome { written, discarded });
            }
        }
    }

    /// Notes by streams that the records of `run`, which no file has taken, are in none.
    fn miss(&mut self, held: &[Held], run: &Run) {
        let mut rest = &held[run.held].block.bytes[run.bytes.clone()];
        while let Some(record) = PacketView::first(rest) {
            *self.missed.entry(StreamId(record.interface())).or_default() += 1;
            rest = &rest[record.block().len()..];
        }
    }

    /// Sees to it that a file is open; `false` while the disk is not to be tried.
    fn ready(&mut self) -> bool {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        if !self.closing.may_write(ROOM_AT_ONCE) {
            let directory = self.settings.directory.display();
            self.fail(format!("the file system of '{directory}' has less free space than is to be kept free"));
            return false;
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
        let start = FileStart {
            output: Output::new(self.create(&path)?),
            path,
            name,
            opened_ns: nanoseconds(SystemTime::now()),
            format: self.settings.format,
            rotation: self.settings.rotation,
            live: self.settings.live,
            ahead: self.settings.ahead,
            os: &self.os,
        };
        Ok(OpenFile::new(start, &mut self.segment))
    }

    /// Makes a file in the directory, and the directory again where it was removed while we ran.
    fn create(&self, path: &Path) -> io::Result<(File, bool)> {
        match (self.settings.create)(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&self.settings.directory)?;
                (self.settings.create)(path)
            }
            made => made,
        }
    }

    fn name(&self) -> String {
        let FilesSettings { prefix, format, .. } = &self.settings;
        format!("{prefix}-{:05}.{}", self.next_sequence, format.extension())
    }

    /// Appends the segment to the open file; `false` where the disk refuses it.
    fn append(&mut self, held: &[Held]) -> bool {
        let Some(file) = &mut self.open else { return false };
        let before = file.output.length();
        let appended = file.append(held, &self.segment, &mut self.missed);
        let (source, intact) = match appended {
            Ok(()) if file.published => {
                self.count(before);
                return true;
            }
            Ok(()) => match self.publish() {
                Ok(()) => {
                    self.count(before);
                    return true;
                }
                Err(error) => (error, false),
            },
            Err(error) => (error.source, error.intact),
        };
        let path = self.settings.directory.join(self.open.as_ref().map_or("", |file| &file.name));
        self.fail(format!("cannot write capture file '{}': {source}", path.display()));
        if !(intact && self.open.as_ref().is_some_and(|file| file.published)) {
            self.forget();
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
                    self.closing.opened(&name);
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
    fn count(&mut self, length_before: u64) {
        (self.retry_at, self.look_at) = (None, None);
        let Some(file) = &self.open else { return };
        let mut progress = lock(&self.progress);
        progress.bytes += file.output.length() - length_before;
        if let Some(listed) = progress.listed(&file.name) {
            (listed.bytes, listed.frames) = (file.output.length(), file.records);
        }
        if progress.error.take().is_some() {
            tracing::info!("captures are written again, to '{}'", file.name);
        }
    }

    fn fail(&mut self, error: String) {
        self.retry_at = Some(Instant::now() + RETRY_AFTER);
        self.look_at = self.retry_at;
        let mut progress = lock(&self.progress);
        if progress.error.as_ref() != Some(&error) {
            tracing::warn!("{error}; frames are not captured until this is mended");
        }
        progress.error = Some(error);
    }

    /// Tries whether the disk takes something again, where the time to try has come and no record with it: a collector that gets
    /// no traffic because it cannot write would otherwise never hear that it can.
    pub(super) fn look_again(&mut self) {
        if self.looks_at_place() && self.place_look_at <= Instant::now() {
            self.leave_if_displaced();
        }
        if self.look_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.leave_if_displaced();
        if !self.closing.may_write(ROOM_AT_ONCE) || self.try_room().is_err() {
            // What was said of it stands. A record may find room all the same, and tries when its time has come.
            self.look_at = Some(Instant::now() + RETRY_AFTER);
            return;
        }
        (self.retry_at, self.look_at) = (None, None);
        if lock(&self.progress).error.take().is_some() {
            tracing::info!("captures can be written again, into '{}'", self.settings.directory.display());
        }
    }

    /// When [`CaptureFiles::look_again`] will have something to do.
    pub(super) fn look_again_in(&self) -> Option<Duration> {
        let place = self.looks_at_place().then_some(self.place_look_at);
        self.look_at.into_iter().chain(place).min().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Takes and gives back room for one append.
    fn try_room(&self) -> io::Result<()> {
        let path = self.settings.directory.join(format!(".{}.{}.room", self.name(), std::process::id()));
        let (file, _) = self.create(&path)?;
        let taken = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, ROOM_AT_ONCE);
        drop(file);
        std::fs::remove_file(&path)?;
        match taken {
            // The file system cannot tell.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            taken => Ok(taken?),
        }
    }

    /// Whether the place of the open file is looked at though no record comes: where it goes on for as long as nobody ends it.
    fn looks_at_place(&self) -> bool {
        self.settings.live && self.open.as_ref().is_some_and(|file| file.published)
    }

    /// Goes on to the next file, in the configured place, if somebody has removed, cut or moved the open one. A file that was moved,
    /// alone or with its directory, is ended where it is; that takes a look at its name, which is due once a second.
    fn leave_if_displaced(&mut self) {
        let Some(file) = self.open.as_ref().filter(|file| file.published) else { return };
        let displacement = file.output.harm().or_else(|| {
            let now = Instant::now();
            let is_due = self.place_look_at <= now;
            if is_due {
                self.place_look_at = now + PLACE_LOOK;
            }
            is_due.then(|| file.output.displacement(&file.path)).flatten()
        });
        let Some(displacement) = displacement else { return };
        lock(&self.progress).displaced += 1;
        let path = file.path.display().to_string();
        let path = Printable(&path);
        match displacement {
            Displacement::Deleted => {
                tracing::warn!("capture file '{path}' was deleted while it was written: what was in it is lost");
                self.forget();
            }
            Displacement::Cut => {
                tracing::warn!(
                    "capture file '{path}' was cut by another program while it was written: it is left as it is"
                );
                self.forget();
            }
            Displacement::Moved(now) => {
                let is_hidden = now.is_some() && now == std::path::absolute(&file.path).ok();
                let to = match now {
                    Some(_) if is_hidden => "hidden behind what was mounted over its directory".to_owned(),
                    Some(now) => format!("moved to '{}'", now.display()),
                    None => "moved away".to_owned(),
                };
                tracing::warn!(
                    "capture file '{path}' was {} while it was written: it is ended there, and the next one begins where \
                     captures were told to be",
                    Printable(&to)
                );
                if let Some(file) = self.end() {
                    // An index would be written beside the name that it had.
                    self.closing.closed(ClosedFile { pages: None, ..file });
                }
            }
        }
    }

    /// Gives the open file up as it is.
    fn forget(&mut self) {
        let Some(file) = self.open.take() else { return };
        if file.published {
            self.note_closed(&file.name, file.output.length());
            let OpenFile { output, path, name, records, first_ns, last_ns, .. } = file;
            let bytes = output.length();
            // The keeper looks at the file as it is when it is closed.
            drop(output);
            self.closing.closed(ClosedFile { path, name, bytes, records, first_ns, last_ns, pages: None });
        } else {
            // Nothing is in it. If it cannot be removed, the disk's error is known already.
            let _ = std::fs::remove_file(&file.path);
        }
    }

    /// Ends the open file.
    pub(super) fn close(&mut self) {
        // One that was moved since the last look would get an index where it is not.
        self.place_look_at = Instant::now();
        self.leave_if_displaced();
        if let Some(file) = self.end() {
            self.closing.closed(file);
        }
    }

    /// Ends the open file; gives what is to be done with it, if there is anything in it.
    fn end(&mut self) -> Option<ClosedFile> {
        if !self.open.as_ref()?.published {
            self.forget();
            return None;
        }
        let file = self.open.take()?;
        let before = file.output.length();
        let (file, pages) = file.end(nanoseconds(SystemTime::now()), &mut self.missed);
        let OpenFile { output, path, name, records, first_ns, last_ns, .. } = file;
        let bytes = output.length();
        drop(output);
        lock(&self.progress).bytes += bytes - before;
        self.note_closed(&name, bytes);
        Some(ClosedFile { path, name, bytes, records, first_ns, last_ns, pages: Some(pages) })
    }

    /// Ends the open file if its interval is over though no record has come to say so: there are none before `past_ns`.
    pub(super) fn close_if_over(&mut self, past_ns: u64) {
        if self.over_at_ns().is_some_and(|at| past_ns >= at) {
            self.close();
        }
    }

    /// When [`CaptureFiles::close_if_over`] will have something to do.
    pub(super) fn over_at_ns(&self) -> Option<u64> {
        let file = self.open.as_ref().filter(|file| self.settings.live && file.interval_ns.end != u64::MAX)?;
        Some(file.interval_ns.end.saturating_add(INTERVAL_GRACE.as_nanos() as u64))
    }

    fn note_closed(&self, name: &str, length: u64) {
        if let Some(listed) = lock(&self.progress).listed(name) {
            listed.bytes = length;
            listed.closed_ns = Some(nanoseconds(SystemTime::now()));
        }
    }
}

impl Progress {
    /// The file of this name; it is one of the newest.
    fn listed(&mut self, name: &str) -> Option<&mut CaptureFile> {
        self.files.iter_mut().rev().find(|file| file.name == name)
    }
}

/// How the names of all files of a run begin that was started at this time.
pub(super) fn prefix(started: SystemTime) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let text = OffsetDateTime::from(started).format(format).unwrap_or_else(|_| nanoseconds(started).to_string());
    format!("vxtap-{text}")
}

/// Renames a file, but not over another.
pub(crate) fn rename_exclusively(from: &Path, to: &Path) -> io::Result<()> {
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
