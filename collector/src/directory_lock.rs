//! One collector for each directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Name of the file that is locked in a directory of captures. It stays when the lock is released: removing it could let in
/// two at once.
pub(crate) const LOCK_NAME: &str = ".vxtap-lock";
/// A longer content is not a pid.
const MAX_PID_BYTES: u64 = 20;

/// The lock of a directory, held until it is dropped. The system releases it when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    name: &'static str,
}

/// A lock that was not granted.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Another process has it.
    Held {
        /// Its id, as it wrote it.
        pid: Option<u32>,
    },
    /// The file cannot be made or locked.
    Failed(io::Error),
}

impl Lock {
    /// Locks the file called `name` in `directory`, or says at once why not.
    pub(crate) fn take(directory: &Path, name: &'static str) -> Result<Self, Refused> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o644);
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let mut file = options.open(directory.join(name)).map_err(Refused::Failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Refused::Held { pid: read_pid(&mut file) }),
            Err(TryLockError::Error(error)) => return Err(Refused::Failed(error)),
        }
        // Whoever is refused reads it. A full disk is no reason to refuse this one.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { file, name })
    }

    /// Whether the locked file still is the one that others would find.
    pub(crate) fn is_in(&self, directory: &Path) -> bool {
        match (self.file.metadata(), std::fs::symlink_metadata(directory.join(self.name))) {
            (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
            _ => false,
        }
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(MAX_PID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
