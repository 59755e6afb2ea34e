//! `current`: a symbolic link to the newest file.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::entry::is_capture_name;

const LINK_NAME: &str = "current";

/// The link in one directory. Something else that has its name is left alone.
#[derive(Debug)]
pub(super) struct Link {
    directory: PathBuf,
}

impl Link {
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Where it leads; `None` where there is none of ours.
    pub(super) fn target(&self) -> Option<String> {
        let target = std::fs::read_link(self.directory.join(LINK_NAME)).ok()?.into_os_string().into_string().ok()?;
        is_capture_name(&target).then_some(target)
    }

    /// Has it lead to `name`. There is no moment without it.
    pub(super) fn point_to(&self, name: &str) -> io::Result<()> {
        let link = self.directory.join(LINK_NAME);
        if self.target().is_none() && std::fs::symlink_metadata(&link).is_ok() {
            let message = format!("'{}' is not a link to a capture file: it is left as it is", link.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        let temporary = self.directory.join(temporary_name());
        let _ = std::fs::remove_file(&temporary);
        symlink(name, &temporary)?;
        std::fs::rename(&temporary, &link).inspect_err(|_| drop(std::fs::remove_file(&temporary)))
    }

    /// Removes it.
    pub(super) fn remove(&self) -> io::Result<()> {
        if self.target().is_some() { std::fs::remove_file(self.directory.join(LINK_NAME)) } else { Ok(()) }
    }
}

/// The name under which the link is made.
fn temporary_name() -> String {
    format!(".vxtap-current.{}", std::process::id())
}
