//! Where a summary goes, and whether that can be written at the end, seen before the run begins.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Access, access};
use rustix::io::Errno;

/// Where a summary goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SummaryTarget {
    StandardOutput,
    File(PathBuf),
}

impl FromStr for SummaryTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected a file, or - for standard output".to_owned()),
            "-" => Ok(Self::StandardOutput),
            file => Ok(Self::File(file.into())),
        }
    }
}

/// The file of a summary cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the summary to '{}': {source} (expected a file for --summary, in a directory that is there)", path.display())]
pub(super) struct NoPlace {
    path: PathBuf,
    source: io::Error,
}

/// Sees whether `target` can be written, as far as that shows without touching the file: a run of weeks is not to end with no account
/// of it.
pub(super) fn see_place(target: Option<&SummaryTarget>) -> Result<(), NoPlace> {
    let Some(SummaryTarget::File(path)) = target else { return Ok(()) };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let seen = match access(path, Access::WRITE_OK) {
        Ok(()) if path.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Err(Errno::NOENT) => access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from),
        seen => seen.map_err(io::Error::from),
    };
    seen.map_err(|source| NoPlace { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_is_told_and_one_that_can_be_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| SummaryTarget::File(directory.path().join(name));
        for (name, reason) in [(".", "directory"), ("none/summary.json", "No such file")] {
            let error = see_place(Some(&file(name))).unwrap_err().to_string();
            assert!(error.starts_with("cannot write the summary to '") && error.contains(reason), "{error}");
        }
        see_place(Some(&file("summary.json"))).unwrap();
        assert!(!directory.path().join("summary.json").exists());
        std::fs::write(directory.path().join("old.json"), "old").unwrap();
        see_place(Some(&file("old.json"))).unwrap();
        assert_eq!(std::fs::read(directory.path().join("old.json")).unwrap(), b"old");
        see_place(Some(&SummaryTarget::StandardOutput)).unwrap();
        see_place(None).unwrap();
    }
}
