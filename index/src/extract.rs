//! A search over captures, from their names to one capture of what was found.

mod prepare;

use std::collections::HashSet;
use std::io::{self, Write};
use std::num::NonZero;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use thiserror::Error;

use crate::query::{self, Query};
use crate::sweep::{Candidate, Stretch, Sweep, Swept};
use prepare::{Prepare, Prepared};

/// So many captures are prepared at once at most: an index that has to be made takes memory (see
/// [`IndexBuilder`](crate::IndexBuilder)).
const MAX_THREADS: usize = 4;

/// Finds records in captures and writes them into one, in the order of time.
///
/// Of a capture that has an index only the pages are read that may have such records. Of one that has none, or one that is
/// damaged or of what the capture was before, the index is made first, and kept where the directory can be written and
/// the capture is complete.
///
/// Records keep time, lengths and bytes; interfaces keep name and description, and those with the same ones and the same link type
/// become one. Times become nanoseconds; comments and other options of packets are left out. Records that wait for their place
/// in the order of time take 64 MiB at most; where pages overlap by more, some records come late and are
/// counted ([`ExtractSummary::records_late`]).
#[derive(Clone, Debug)]
pub struct Extract {
    query: Query,
    keep_indexes: bool,
    stop: Arc<AtomicBool>,
}

/// What came of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtractSummary {
    /// Captures that were looked at.
    pub files: u64,
    /// Those of them that had no index of use.
    pub files_without_index: u64,
    /// Indexes that were made and kept.
    pub indexes_kept: u64,
    /// Bytes that the captures have on the disk.
    pub bytes_total: u64,
    /// Bytes of captures that were read, unpacked where they are compressed; without their indexes.
    pub bytes_read: u64,
    /// Records whose headers were looked at in the search.
    pub records_examined: u64,
    /// Records that were found and written.
    pub records_written: u64,
    /// Records written behind one of a later time.
    pub records_late: u64,
    /// Captures that could not be read to their end. What is in front of the damage was searched.
    pub damaged: Vec<DamagedCapture>,
}

/// A capture that cannot be read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedCapture {
    /// The file.
    pub file: PathBuf,
    /// What is wrong and where, for people.
    pub what: String,
}

/// A search that cannot be made.
#[derive(Debug, Error)]
pub enum ExtractError {
    /// A file or directory that was named cannot be opened.
    #[error("cannot open '{}': {source}", path.display().to_string().escape_debug())]
    Open {
        /// The name.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory cannot be listed.
    #[error("cannot list the directory '{}': {source}", directory.display().to_string().escape_debug())]
    List {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was found cannot be written.
    #[error("cannot write the extract: {0}")]
    Write(io::Error),
    /// It was told to stop ([`Extract::stopped_by`]); what was written by then is no whole capture.
    #[error("the search was stopped before its end")]
    Stopped,
}

impl Extract {
    /// A search for what `query` wants.
    pub fn new(query: Query) -> Self {
        Self { query, keep_indexes: true, stop: Arc::default() }
    }

    /// Sets whether indexes that had to be made are kept beside their captures; by default they are.
    #[must_use]
    pub fn keep_indexes(self, keep_indexes: bool) -> Self {
        Self { keep_indexes, ..self }
    }

    /// Ends the search once `stop` is set: before the next capture that is prepared, or the next page that is read.
    #[must_use]
    pub fn stopped_by(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// Searches `inputs`, which are captures and directories with captures ([`captures_in`]), and writes a pcapng file to `output`:
    /// one without records where nothing is found.
    pub fn run(&self, inputs: &[PathBuf], output: impl Write) -> Result<ExtractSummary, ExtractError> {
        self.run_listed(&captures(inputs)?, output)
    }

    /// The same of captures that were listed ([`captures_in`]), while a collector may be writing beside them: one that it has compressed
    /// since is read under its new name, one that it has deleted is left out.
    pub fn run_listed(&self, captures: &[PathBuf], output: impl Write) -> Result<ExtractSummary, ExtractError> {
        let mut summary = ExtractSummary::default();
        let mut candidates = Vec::new();
        for (path, prepared) in captures.iter().zip(self.prepare(captures)) {
            if prepared.gone {
                continue;
            }
            summary.files += 1;
            summary.files_without_index += u64::from(!prepared.had_index);
            summary.indexes_kept += u64::from(prepared.kept);
            summary.bytes_total += prepared.stored_bytes;
            summary.bytes_read += prepared.bytes_read;
            summary.damaged.extend(prepared.damage.map(|what| DamagedCapture { file: path.clone(), what }));
            candidates.extend(prepared.candidate);
        }
        let swept = Sweep::new(&self.query, candidates, output).stopped_by(&self.stop).run();
        if self.is_stopped() {
            return Err(ExtractError::Stopped);
        }
        let swept = swept.map_err(ExtractError::Write)?;
        let Swept { bytes_read, examined, written, late, damaged } = swept;
        summary.bytes_read += bytes_read;
        (summary.records_examined, summary.records_written, summary.records_late) = (examined, written, late);
        for (file, damage) in damaged {
            if summary.damaged.iter().any(|known| known.file == file) {
                continue;
            }
            if self.keep_indexes {
                // It fitted the capture's ends and not what is between them: the next search makes it anew.
                let _ = std::fs::remove_file(crate::index_path(&file));
            }
            summary.damaged.push(DamagedCapture { file, what: damage.to_string() });
        }
        Ok(summary)
    }

    /// The ranges of `capture`, in bytes, that a search reads; of a compressed one those of what was compressed. All of it where the
    /// capture can have no index.
    pub fn plan(&self, capture: &Path) -> Vec<Range<u64>> {
        let prepared = Prepare::new(&self.query, self.keep_indexes).capture(capture);
        match prepared.candidate {
            Some(Candidate { stretch: Stretch::Pages(pages), .. }) => query::ranges(&pages),
            Some(Candidate { stretch: Stretch::Whole, .. }) => std::iter::once(0..prepared.stored_bytes).collect(),
            None => Vec::new(),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Finds out what of each capture has to be read, several captures at a time.
    fn prepare(&self, captures: &[PathBuf]) -> Vec<Prepared> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS).min(captures.len());
        let next = AtomicUsize::new(0);
        let done: Vec<Mutex<Prepared>> = captures.iter().map(|_| Mutex::default()).collect();
        let work = || {
            let mut prepare = Prepare::new(&self.query, self.keep_indexes);
            while !self.is_stopped() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let (Some(capture), Some(place)) = (captures.get(number), done.get(number)) else { break };
                let prepared = prepare.capture(capture);
                if let Ok(mut place) = place.lock() {
                    *place = prepared;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // Without it the others have more to do.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        done.into_iter().map(|place| place.into_inner().unwrap_or_default()).collect()
    }
}

/// The captures in `directory`, sorted by name: files that end in `.pcapng`, `.pcap`, `.pcapng.zst` or `.pcap.zst` and are not
/// hidden. Of a capture that is there compressed and not, the latter.
pub fn captures_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut captures = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_capture = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            let plain = name.strip_suffix(".zst").unwrap_or(name);
            let (stem, format) = plain.rsplit_once('.').unwrap_or_default();
            !stem.is_empty() && !name.starts_with('.') && matches!(format, "pcapng" | "pcap")
        });
        if is_capture {
            captures.push(path);
        }
    }
    captures.sort();
    let plain: HashSet<PathBuf> = captures.iter().cloned().collect();
    captures.retain(|path| !crate::is_compressed(path) || !plain.contains(&path.with_extension("")));
    Ok(captures)
}

/// The captures that `inputs` name, in that order.
fn captures(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, ExtractError> {
    let mut captures = Vec::new();
    for input in inputs {
        let metadata = std::fs::metadata(input).map_err(|source| ExtractError::Open { path: input.clone(), source })?;
        if metadata.is_dir() {
            let listed =
                captures_in(input).map_err(|source| ExtractError::List { directory: input.clone(), source })?;
            captures.extend(listed);
        } else {
            captures.push(input.clone());
        }
    }
    Ok(captures)
}
