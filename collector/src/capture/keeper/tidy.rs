//! What killed collectors leave in a capture directory: hidden files that never got their names.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, geteuid, test_kill_process};

use super::entry::is_capture_name;
use crate::capture::CaptureFormat;

/// What a directory has besides the files of its list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Hidden files that a collector which no longer runs was writing.
    pub(super) leftovers: Vec<PathBuf>,
    /// Names that look like captures of ours.
    pub(super) look_alikes: Vec<String>,
}

/// Looks through `directory`. `is_known` tells files of the list. What has this process's id is a leftover only where
/// this process `has_not_begun` to write: then it is of one that had the id before, as is usual in containers.
pub(super) fn find(directory: &Path, has_not_begun: bool, is_known: impl Fn(&str) -> bool) -> io::Result<Found> {
    let mut found = Found::default();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with("vxtap-") && is_capture_name(&name) && !is_known(&name) {
            found.look_alikes.push(name);
        } else if writer_of(&name).is_some_and(|pid| is_gone(pid, has_not_begun)) && is_own(&entry.path()) {
            found.leftovers.push(entry.path());
        }
    }
    found.look_alikes.sort();
    Ok(found)
}

/// The process that a hidden file's name names as its writer: `.vxtap-` and what it is to become, and the pid at its end. Behind it
/// there is a number in the name of an index, and `.room` in that of a file which only tries whether there is room.
fn writer_of(name: &str) -> Option<Pid> {
    let name = name.strip_prefix(".vxtap-")?;
    let (stem, writer) = name.strip_suffix(".room").unwrap_or(name).rsplit_once('.')?;
    let is_index = stem.strip_suffix(".vxidx").is_some_and(CaptureFormat::is_of_name);
    let is_ours = matches!(stem, "captures.json" | "current")
        || CaptureFormat::is_of_name(stem.strip_suffix(".zst").unwrap_or(stem));
    let pid = match writer.split_once('-') {
        Some((pid, number)) if is_index && is_number(number) => pid,
        None if is_ours || is_index => writer,
        _ => return None,
    };
    if is_number(pid) { Pid::from_raw(pid.parse().ok()?) } else { None }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_gone(pid: Pid, has_not_begun: bool) -> bool {
    if pid.as_raw_nonzero().get().cast_unsigned() == std::process::id() {
        return has_not_begun;
    }
    test_kill_process(pid) == Err(Errno::SRCH)
}

/// Whether this user made what is at `path`, and it is a file or a link.
fn is_own(path: &Path) -> bool {
    std::fs::symlink_metadata(path)
        .is_ok_and(|found| (found.is_file() || found.is_symlink()) && found.uid() == geteuid().as_raw())
}
