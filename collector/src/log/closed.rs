//! The closed files of a log: `eve-20261121T130000Z-00001.json` was closed at that time (UTC), the first in that second.
//!
//! Their names sort as they were closed. Only regular files with such names are ever deleted: what was renamed or
//! compressed is nobody's business here.

use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::capture::rename_exclusively;

/// What a name looks like: 0 stands for any digit.
const TEMPLATE: &[u8] = b"eve-00000000T000000Z-00000.json";
/// The most files that are closed in one second.
const SEQUENCE_MAX: u32 = 99_999;

/// Gives closed files their names and deletes the oldest.
#[derive(Debug)]
pub(super) struct ClosedFiles {
    directory: PathBuf,
    /// How many stay.
    keep: Option<u32>,
    /// Second and number of the last name.
    second: u64,
    sequence: u32,
}

impl ClosedFiles {
    pub(super) const fn new(directory: PathBuf, keep: Option<u32>) -> Self {
        Self { directory, keep, second: 0, sequence: 0 }
    }

    /// Gives the file at `path` the name of one that was closed at `unix_ns`, over no other file.
    pub(super) fn rename(&mut self, path: &Path, unix_ns: u64) -> io::Result<()> {
        let second = unix_ns / 1_000_000_000;
        if second != self.second {
            (self.second, self.sequence) = (second, 0);
        }
        let format = format_description!("eve-[year][month][day]T[hour][minute][second]Z");
        let time = i64::try_from(second).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
        let prefix = time.and_then(|time| time.format(format).ok());
        let prefix = prefix.ok_or_else(|| io::Error::other("the clock is beyond the calendar"))?;
        while self.sequence < SEQUENCE_MAX {
            self.sequence += 1;
            let name = format!("{prefix}-{:05}.json", self.sequence);
            match rename_exclusively(path, &self.directory.join(name)) {
                // Of a run that ended in this very second.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result,
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "every name is taken"))
    }

    /// Deletes the oldest until no more are there than are to stay.
    pub(super) fn prune(&self) -> io::Result<()> {
        let Some(keep) = self.keep else { return Ok(()) };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_closed(name.as_encoded_bytes()) && entry.file_type()?.is_file() {
                names.push(name);
            }
        }
        names.sort_unstable();
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        for name in &names[..names.len().saturating_sub(keep)] {
            match std::fs::remove_file(self.directory.join(name)) {
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        Ok(())
    }
}

fn is_closed(name: &[u8]) -> bool {
    let fits = |(byte, wanted): (&u8, &u8)| if *wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
    name.len() == TEMPLATE.len() && name.iter().zip(TEMPLATE).all(fits)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn names_sort_as_files_were_closed_and_none_is_taken_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("eve.json");
        fs::write(directory.path().join("eve-20231114T221320Z-00001.json"), "there").unwrap();
        let mut closed = ClosedFiles::new(directory.path().to_owned(), None);
        let begin = 1_700_000_000_000_000_000;
        for (number, after_ns) in [0, 1, 999_999_999, 1_000_000_000, 90_000_000_000].into_iter().enumerate() {
            fs::write(&path, number.to_string()).unwrap();
            closed.rename(&path, begin + after_ns).unwrap();
        }
        let names = names(directory.path());
        assert!(names.iter().all(|name| is_closed(name.as_bytes())), "{names:?}");
        let texts = names.iter().map(|name| fs::read_to_string(directory.path().join(name)).unwrap());
        assert_eq!(texts.collect::<Vec<_>>(), ["there", "0", "1", "2", "3", "4"]);
    }

    #[test]
    fn the_oldest_are_deleted_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let others =
            ["eve-20261121T130000Z-00001.json.gz", "eve-2026.json", "eve.json", "xeve-20261121T130000Z-1.json"];
        let closed = ["20251231T235959Z-00009", "20261121T130000Z-00001", "20261121T130000Z-00002"];
        let closed = closed.map(|name| format!("eve-{name}.json"));
        for name in others.iter().copied().chain(closed.iter().map(String::as_str)) {
            fs::write(directory.path().join(name), "").unwrap();
        }
        fs::create_dir(directory.path().join("eve-20200101T000000Z-00001.json")).unwrap();
        ClosedFiles::new(directory.path().to_owned(), Some(2)).prune().unwrap();
        let left = names(directory.path());
        let gone = others
            .iter()
            .copied()
            .chain(closed.iter().map(String::as_str))
            .filter(|name| !left.contains(&(*name).to_owned()));
        assert_eq!(gone.collect::<Vec<_>>(), [closed[0].as_str()]);
    }
}
