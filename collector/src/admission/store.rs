//! Decisions on the disk: one line each, replaced as a whole.
//!
//! ```text
//! # Which mirror streams vxtap-collector lets in, as it was decided. …
//! accept vxlan vni 4242 from 10.0.0.7
//! reject vni 9
//! end
//! ```
//!
//! The last line tells a whole file from one that was cut. A file that makes no sense is refused with the line: guessing who may come in
//! would be worse than not starting.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use vxtap_analyzers::snapshot::Choice;

use super::rules::Decisions;
use crate::directory_lock::{Lock, Refused};
use crate::selector::Selector;

/// The file in the state directory.
const FILE_NAME: &str = "admission.txt";
/// What is written before it takes that name.
const NEW_NAME: &str = ".admission.txt.new";
/// One collector for each state directory.
const LOCK_NAME: &str = ".vxtap-admission-lock";
/// A file of as many decisions as there may be is shorter.
const MAX_BYTES: u64 = 16 << 20;

const HEAD: &str = "\
# Which mirror streams vxtap-collector lets in, as it was decided over its API or on its dashboard. Of two lines about a stream
# the last one counts. The collector reads this when it starts; change it while none is running. The last line has to be 'end'.
";

/// Why decisions of earlier runs cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file makes no sense.
    #[error("{}:{line}: {reason}: mend that line, or move the file away and decide anew", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// Another collector has the directory.
    #[error("the state directory {} is in use by another collector{}", directory.display(), of(*pid))]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// The other's process.
        pid: Option<u32>,
    },
    /// The system refuses.
    #[error("cannot {operation} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says; part of the text already.
        cause: io::Error,
    },
}

fn of(pid: Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(" (process {pid})"))
}

/// The file of decisions, held by one collector.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    _lock: Lock,
}

impl Store {
    /// Takes `directory`, which is made where it is not there, and reads what was decided.
    pub(crate) fn open(directory: &Path) -> Result<(Self, Decisions), StateError> {
        let failed = |operation| move |cause| StateError::Io { operation, path: directory.to_owned(), cause };
        fs::create_dir_all(directory).map_err(failed("make the state directory"))?;
        let lock = Lock::take(directory, LOCK_NAME).map_err(|refused| match refused {
            Refused::Held { pid } => StateError::Locked { directory: directory.to_owned(), pid },
            Refused::Failed(cause) => failed("lock the state directory")(cause),
        })?;
        let decisions = read(directory)?;
        Ok((Self { directory: directory.to_owned(), _lock: lock }, decisions))
    }

    /// Where decisions are.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    /// Puts `decisions` in the place of what is there. After a crash either is there, whole.
    pub(crate) fn write(&self, decisions: &Decisions) -> Result<(), StateError> {
        let (new, file) = (self.directory.join(NEW_NAME), self.file());
        let mut text = HEAD.to_owned();
        for (choice, selector) in decisions.iter() {
            text.extend([choice.as_str(), " ", &selector.to_string(), "\n"]);
        }
        text.push_str("end\n");
        let written = || {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o644);
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
            let mut output = options.open(&new)?;
            output.write_all(text.as_bytes())?;
            output.sync_all()?;
            fs::rename(&new, &file)?;
            File::open(&self.directory)?.sync_all()
        };
        written().map_err(|cause| StateError::Io { operation: "keep the decision in", path: file.clone(), cause })
    }
}

/// What was decided in `directory`; nothing where there is no file.
pub(crate) fn read(directory: &Path) -> Result<Decisions, StateError> {
    let path = directory.join(FILE_NAME);
    let mut bytes = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Decisions::default()),
        Err(cause) => return Err(StateError::Io { operation: "read the decisions in", path, cause }),
    }
    parse(&bytes).map_err(|(line, reason)| StateError::Damaged { file: path, line, reason })
}

fn parse(bytes: &[u8]) -> Result<Decisions, (usize, String)> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err((1, format!("the file has more than {} MiB: it is none of decisions", MAX_BYTES >> 20)));
    }
    let mut decisions = Decisions::default();
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate().map(|(number, line)| (number + 1, line));
    let mut last = 1;
    for (number, line) in lines.by_ref() {
        last = number;
        let line = std::str::from_utf8(line).map_err(|_| (number, "no text in UTF-8".to_owned()))?.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "end" {
            return match lines.find(|(_, line)| !line.trim_ascii().is_empty()) {
                Some((number, _)) => Err((number, "something behind 'end'".into())),
                None => Ok(decisions),
            };
        }
        let (choice, selector) = line.split_once(' ').unwrap_or((line, ""));
        let choice = [Choice::Accept, Choice::Reject].into_iter().find(|known| known.as_str() == choice);
        let choice = choice.ok_or_else(|| (number, "expected 'accept', 'reject' or 'end'".to_owned()))?;
        let selector = selector.parse::<Selector>().map_err(|error| (number, error.to_string()))?;
        decisions.add(choice, selector).map_err(|_| (number, "too many decisions".to_owned()))?;
    }
    Err((last, "the file ends without 'end': it was cut".into()))
}

#[cfg(test)]
mod tests;
