//! `extract`: finds a flow, or whatever else a filter and times describe, in captures, and writes it into one.
//!
//! The search is `vxtap-index`'s. Here is what it is told, where what was found goes, and how its end is reported.

mod criteria;
mod moment;
mod new_file;

use std::fs::{self, Metadata};
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use vxtap_index::{Extract, ExtractError, ExtractSummary, captures_in};

use crate::signals::{Then, on_signal};
use crate::worker::unix_ns;
pub use criteria::{Criteria, CriteriaError};
pub use moment::Moment;
use new_file::{CreateError, NewFile};

/// The most damaged captures that are named.
const MAX_NAMED: usize = 20;

/// Settings of `vxtap-collector extract`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtractSettings {
    /// Captures, and directories with captures; at least one.
    pub captures: Vec<PathBuf>,
    /// What is looked for.
    pub criteria: Criteria,
    /// Where it goes.
    pub output: ExtractOutput,
    /// Whether a file that is there already is replaced.
    pub force: bool,
}

/// Where what was found goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtractOutput {
    /// Standard output, unless that is a terminal.
    Stdout,
    /// A file, which appears when it is complete.
    File(PathBuf),
}

/// Why a search did not do all that was asked.
#[derive(Debug, thiserror::Error)]
pub enum ExtractFailure {
    /// It was asked for what cannot be: nothing was written.
    #[error("{0}")]
    Arguments(String),
    /// Something went wrong on the way. Where captures are damaged, what could be read of them was searched and written.
    #[error(transparent)]
    Run(#[from] anyhow::Error),
}

/// Searches as `settings` say. A signal ends the search, and leaves no file behind.
pub fn extract(settings: &ExtractSettings) -> Result<ExtractSummary, ExtractFailure> {
    let begun = Instant::now();
    let query = settings.criteria.query(unix_ns()).map_err(|error| ExtractFailure::Arguments(error.told_with("--")))?;
    let captures = captures(&settings.captures, &settings.output)?;
    let destination = Destination::open(settings)?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    // The second one does not wait for the search to notice.
    let end = move |_| if asked.swap(true, Ordering::Relaxed) { Then::Exit } else { Then::Wait };
    on_signal(end, None)?;
    let search = Extract::new(query).stopped_by(stop);
    let summary = match destination {
        Destination::Stdout => search.run_listed(&captures, io::stdout().lock()).map_err(failure)?,
        Destination::File(mut file) => {
            let summary = search.run_listed(&captures, file.writer()).map_err(failure)?;
            let name = shown(file.target());
            file.publish().with_context(|| format!("cannot write {name}"))?;
            summary
        }
    };
    for damaged in summary.damaged.iter().take(MAX_NAMED) {
        tracing::warn!("{} is damaged: {}", shown(&damaged.file), damaged.what.escape_debug());
    }
    tracing::info!("{}", line(&summary, begun.elapsed().as_secs_f64()));
    match summary.damaged.len() {
        0 => Ok(summary),
        damaged => Err(anyhow::anyhow!(
            "{damaged} of {} captures cannot be read to their end: what is in front of the damage was searched",
            summary.files
        )
        .into()),
    }
}

fn failure(error: ExtractError) -> ExtractFailure {
    match error {
        ExtractError::Open { .. } | ExtractError::List { .. } => ExtractFailure::Arguments(error.to_string()),
        ExtractError::Write(_) | ExtractError::Stopped => ExtractFailure::Run(error.into()),
    }
}

/// The captures that `inputs` name, without the one that an earlier search left where `output` goes.
fn captures(inputs: &[PathBuf], output: &ExtractOutput) -> Result<Vec<PathBuf>, ExtractFailure> {
    let earlier = match output {
        ExtractOutput::File(file) => fs::metadata(file).ok(),
        ExtractOutput::Stdout => None,
    };
    let is_earlier = |metadata: &Metadata| {
        earlier.as_ref().is_some_and(|earlier| (earlier.dev(), earlier.ino()) == (metadata.dev(), metadata.ino()))
    };
    let mut captures = Vec::new();
    for input in inputs {
        let cannot = |what: &str, error: &io::Error| {
            ExtractFailure::Arguments(format!("cannot {what} {}: {error}", shown(input)))
        };
        let metadata = fs::metadata(input).map_err(|error| cannot("open", &error))?;
        if metadata.is_dir() {
            let listed = captures_in(input).map_err(|error| cannot("list the directory", &error))?;
            captures.extend(listed.into_iter().filter(|path| !fs::metadata(path).is_ok_and(|file| is_earlier(&file))));
        } else if is_earlier(&metadata) {
            let text = format!("{} would be read and replaced: write to another file", shown(input));
            return Err(ExtractFailure::Arguments(text));
        } else {
            captures.push(input.clone());
        }
    }
    if captures.is_empty() {
        let names: Vec<String> = inputs.iter().take(MAX_NAMED).map(|input| shown(input)).collect();
        let text = format!("no capture in {}: expected files that end in .pcapng or .pcap", names.join(", "));
        return Err(ExtractFailure::Arguments(text));
    }
    Ok(captures)
}

/// Where what was found goes, open.
enum Destination {
    Stdout,
    File(NewFile),
}

impl Destination {
    fn open(settings: &ExtractSettings) -> Result<Self, ExtractFailure> {
        let refused = |text: String| Err(ExtractFailure::Arguments(text));
        match &settings.output {
            ExtractOutput::Stdout if io::stdout().is_terminal() => {
                refused("standard output is a terminal: name a file with -o, or send it to a program".into())
            }
            ExtractOutput::Stdout => Ok(Self::Stdout),
            ExtractOutput::File(file) => match NewFile::create(file, settings.force) {
                Ok(file) => Ok(Self::File(file)),
                Err(CreateError::Exists) => refused(format!("{} is there already: --force replaces it", shown(file))),
                Err(CreateError::NoFile) => refused(format!("{} is there and is no regular file", shown(file))),
                Err(CreateError::Io(error)) => refused(format!("cannot write {}: {error}", shown(file))),
            },
        }
    }
}

/// `12 records of 3 captures (2 with an index), 3221225472 bytes on the disk; 65536 bytes read in 0.012 s`. Of compressed captures more can
/// be read than there is.
fn line(summary: &ExtractSummary, seconds: f64) -> String {
    let ExtractSummary { files, files_without_index, bytes_total, bytes_read, records_written, records_late, .. } =
        summary;
    let indexed = files - files_without_index;
    let late = match records_late {
        0 => String::new(),
        late => format!(", {late} of them behind a later one"),
    };
    format!(
        "{records_written} records{late} of {files} captures ({indexed} with an index), \
         {bytes_total} bytes on the disk; {bytes_read} bytes read in {seconds:.3} s"
    )
}

/// A file's name in quotes, with nothing in it that would act on a terminal.
fn shown(path: &Path) -> String {
    format!("'{}'", path.display().to_string().escape_debug())
}

#[cfg(test)]
mod tests;
