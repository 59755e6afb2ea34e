//! The list of a directory's own files, that a later run finds them by.
//!
//! JSON lines, one for each thing that happened: a file as it is now, or that it is gone. The last line about a file
//! holds. Lines are appended; now and then, and at each start, the list is written anew beside and renamed. So it can
//! be cut at any byte: the cut line is lost, and a file that no line tells of is nobody's and stays. A line that cannot
//! be read is passed over, for what a line claims counts only where the file itself agrees.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, is_capture_name};

pub(super) const MANIFEST_NAME: &str = ".vxtap-captures.json";
/// A list that is longer is not read to its end.
const MAX_BYTES: u64 = 256 << 20;
/// So many lines more than files, and the list is written anew.
const SLACK_LINES: usize = 256;

/// The list, in memory and in its file.
#[derive(Debug)]
pub(super) struct Manifest {
    path: PathBuf,
    /// In the order in which they were opened.
    entries: VecDeque<Entry>,
    /// What lines are appended to; `None` when the list has to be written anew.
    file: Option<File>,
    length: u64,
    lines: usize,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Gone { gone: Cow<'a, str> },
    Kept(Cow<'a, Entry>),
}

impl Manifest {
    /// Reads what the list of `directory` says. Only a list that cannot be opened is an error; without one, there are
    /// no files.
    pub(super) fn load(directory: &Path) -> io::Result<Self> {
        let path = directory.join(MANIFEST_NAME);
        let mut bytes = Vec::new();
        let mut options = OpenOptions::new();
        options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        match options.open(&path) {
            Ok(file) => drop(file.take(MAX_BYTES).read_to_end(&mut bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self { path, entries: parse(&bytes), file: None, length: 0, lines: 0 })
    }

    pub(super) const fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        // The oldest and the newest are asked for most.
        if self.entries.front().is_some_and(|entry| entry.name == name) {
            return Some(0);
        }
        self.entries.iter().rposition(|entry| entry.name == name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(self.index_of(name)?)
    }

    /// What the next file's [`Entry::order`] is to be.
    pub(super) fn next_order(&self) -> u64 {
        self.entries.back().map_or(0, |entry| entry.order.saturating_add(1))
    }

    /// Adds `entry`, or puts it in the place of the one with its name.
    pub(super) fn put(&mut self, entry: Entry) {
        self.append(&Line::Kept(Cow::Borrowed(&entry)));
        match self.index_of(&entry.name).and_then(|index| self.entries.get_mut(index)) {
            Some(place) => *place = entry,
            None => self.entries.push_back(entry),
        }
    }

    /// Changes the entry called `name`.
    pub(super) fn change(&mut self, name: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.get(name).cloned() {
            change(&mut entry);
            self.put(entry);
        }
    }

    /// Says that `successor` is about to take the place of the file that it replaces.
    pub(super) fn announce(&mut self, successor: &Entry) {
        self.append(&Line::Kept(Cow::Borrowed(successor)));
    }

    /// `successor` has taken the place of the file that it replaces.
    pub(super) fn succeed(&mut self, successor: Entry) {
        let Some(old) = successor.replaces.clone() else { return };
        let successor = Entry { replaces: None, ..successor };
        self.append(&Line::Gone { gone: old.as_str().into() });
        self.append(&Line::Kept(Cow::Borrowed(&successor)));
        match self.index_of(&old).and_then(|index| self.entries.get_mut(index)) {
            Some(place) => *place = successor,
            None => self.entries.push_back(successor),
        }
    }

    /// Takes the file called `name` from the list.
    pub(super) fn forget(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.remove(self.index_of(name)?);
        self.append(&Line::Gone { gone: name.into() });
        entry
    }

    /// Sees to it that the file says what is known here. After an error it is to be called again.
    pub(super) fn save(&mut self) -> io::Result<()> {
        if self.file.is_some() && self.lines <= 2 * self.entries.len() + SLACK_LINES {
            return Ok(());
        }
        let temporary = self.path.with_file_name(format!("{MANIFEST_NAME}.{}", std::process::id()));
        let written = self.write_anew(&temporary);
        if written.is_err() {
            // A full disk needs the room, and the list that is there still holds.
            let _ = std::fs::remove_file(&temporary);
        }
        written
    }

    /// Has the list written anew when its file was removed or replaced.
    pub(super) fn look(&mut self) {
        self.file.take_if(|file| match (file.metadata(), std::fs::symlink_metadata(&self.path)) {
            (Ok(open), Ok(found)) => (open.dev(), open.ino()) != (found.dev(), found.ino()),
            _ => true,
        });
    }

    fn write_anew(&mut self, temporary: &Path) -> io::Result<()> {
        let _ = std::fs::remove_file(temporary);
        let mut options = OpenOptions::new();
        let mut writer = BufWriter::new(options.append(true).create_new(true).mode(0o644).open(temporary)?);
        let mut length = 0;
        for entry in &self.entries {
            let line = encode(&Line::Kept(Cow::Borrowed(entry)));
            length += line.len() as u64;
            writer.write_all(&line)?;
        }
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        std::fs::rename(temporary, &self.path)?;
        (self.file, self.length, self.lines) = (Some(file), length, self.entries.len());
        Ok(())
    }

    /// Appends a line, or notes that the list has to be written anew.
    fn append(&mut self, line: &Line<'_>) {
        let Some(file) = &mut self.file else { return };
        let line = encode(line);
        if file.write_all(&line).is_ok() {
            self.length += line.len() as u64;
            self.lines += 1;
        } else {
            // A part of the line must not run into the next.
            let _ = file.set_len(self.length);
            self.file = None;
        }
    }
}

fn encode(line: &Line<'_>) -> Vec<u8> {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}

fn parse(bytes: &[u8]) -> VecDeque<Entry> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut entries: Vec<Option<Entry>> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Gone { gone }) => {
                if let Some(place) = places.remove(gone.as_ref()) {
                    entries[place] = None;
                }
            }
            Ok(Line::Kept(entry)) if is_capture_name(&entry.name) => {
                let entry = entry.into_owned();
                if let Some(place) = places.get(&entry.name) {
                    entries[*place] = Some(entry);
                } else {
                    places.insert(entry.name.clone(), entries.len());
                    entries.push(Some(entry));
                }
            }
            _ => {}
        }
    }
    let mut entries: Vec<Entry> = entries.into_iter().flatten().collect();
    // A compressed file keeps the place of its original.
    entries.sort_by_cached_key(|entry| entry.order);
    entries.into()
}
