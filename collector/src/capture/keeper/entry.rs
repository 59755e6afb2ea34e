//! What is known of one capture file, and whether the file under its name still is that one.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::capture::CaptureFormat;

/// The longest name that is taken: `NAME_MAX`, less what hidden names put around it.
const MAX_NAME_BYTES: usize = 200;

/// A capture file that this directory's collectors wrote. What cannot be shown to be this file is never deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) identity: Identity,
    /// Counts the files of the directory: a clock that is set back does not change which is older.
    pub(super) order: u64,
    pub(super) opened_ns: u64,
    /// `None` while it is written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) closed: Option<Closed>,
    /// Whether a hook is to be run for it once it is closed.
    #[serde(default)]
    pub(super) hook_due: bool,
    /// Whether it is to be compressed once it is closed.
    #[serde(default)]
    pub(super) compress_due: bool,
    /// Whether it may end within a record: its writer was killed, and nobody has looked yet.
    #[serde(default)]
    pub(super) torn: bool,
    /// The file that this one takes the place of: it is removed as soon as this one has its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<String>,
}

/// Which file it is. A name is no proof, and neither is an inode alone, which is given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// When the file was made; `None` where the file system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born_ns: Option<u64>,
}

/// A file as it was left by its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closed {
    pub(super) closed_ns: u64,
    pub(super) bytes: u64,
    pub(super) modified_ns: u64,
    /// `None` where the writer was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) records: Option<Records>,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Records {
    pub(super) count: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
}

/// What is now under the name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The file, as it was left. It takes so many bytes on the disk.
    Intact {
        /// Bytes that its removal frees.
        allocated: u64,
    },
    /// Nothing.
    Gone,
    /// Another file.
    Replaced,
    /// The file, with a length or a time of its last change that its writer did not give it.
    Changed,
}

impl Entry {
    pub(super) fn path(&self, directory: &Path) -> std::path::PathBuf {
        directory.join(&self.name)
    }

    /// Looks at what is under the name. An open file counts as intact whatever its length.
    pub(super) fn standing(&self, directory: &Path) -> io::Result<Standing> {
        let Some(found) = look_up(&self.path(directory))? else { return Ok(Standing::Gone) };
        if !self.identity.is_of(&found) {
            return Ok(Standing::Replaced);
        }
        let as_left =
            self.closed.is_none_or(|closed| closed.bytes == found.len() && closed.modified_ns == modified(&found));
        Ok(if as_left { Standing::Intact { allocated: found.blocks() * 512 } } else { Standing::Changed })
    }
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), born_ns: metadata.created().ok().map(nanoseconds) }
    }

    /// Whether `metadata` is that of this file: a regular file, not a link to one.
    pub(super) fn is_of(&self, metadata: &Metadata) -> bool {
        let other = Self::of(metadata);
        let born = self.born_ns.zip(other.born_ns);
        metadata.is_file()
            && (self.device, self.inode) == (other.device, other.inode)
            && born.is_none_or(|(one, other)| one == other)
    }
}

impl Closed {
    /// The file as `metadata` shows it.
    pub(super) fn as_found(metadata: &Metadata, closed_ns: u64) -> Self {
        Self { closed_ns, bytes: metadata.len(), modified_ns: modified(metadata), records: None }
    }
}

/// The metadata of what is at `path`, not of what a link there leads to; `None` where nothing is.
pub(super) fn look_up(path: &Path) -> io::Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// When the file was changed last, in nanoseconds since 1970.
pub(super) fn modified(metadata: &Metadata) -> u64 {
    metadata.modified().map_or(0, nanoseconds)
}

/// Whether a capture file can be called so. Nothing in a manifest can lead out of the directory, or to a hidden file.
pub(super) fn is_capture_name(name: &str) -> bool {
    let plain = name.strip_suffix(".zst").unwrap_or(name);
    CaptureFormat::is_of_name(plain)
        && !name.starts_with('.')
        && name.len() <= MAX_NAME_BYTES
        && !name.contains(|c: char| c == '/' || c.is_control())
}

/// Nanoseconds since 1970.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos().try_into().unwrap_or(u64::MAX))
}
