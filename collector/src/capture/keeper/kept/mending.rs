//! Files whose writers were killed: what is behind their last whole record is cut off.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::OFlags;
use vxtap_index::Whole;

use super::super::entry::{Closed, Entry, Standing};
use super::super::torn::{Look, REST_BYTES};
use super::super::troubles::Trouble;
use super::Kept;

impl Kept {
    /// The next file to look through, if none is being looked through.
    pub(in super::super) fn next_look(&mut self) -> Option<Look> {
        if self.looking.is_some() || self.place.is_none() {
            return None;
        }
        let entry = self.manifest.entries().iter().find(|entry| entry.torn && entry.closed.is_some())?;
        let cancel = Arc::new(AtomicBool::new(false));
        let path = entry.path(&self.settings.directory);
        let look = Look { name: entry.name.clone(), path, cancel: Arc::clone(&cancel) };
        self.looking = Some((entry.name.clone(), cancel));
        Some(look)
    }

    /// A look has ended.
    pub(in super::super) fn looked(&mut self, look: &Look, result: io::Result<Whole>) {
        self.looking = None;
        let name = &look.name;
        let Some(entry) = self.manifest.get(name).cloned() else { return };
        let cut = match result {
            // The next start looks again.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => Err(format!("cannot see whether capture file '{name}' ends with a whole record: {error}")),
            Ok(Whole { bytes, length }) if length - bytes > REST_BYTES => {
                Err(format!("capture file '{name}' cannot be read beyond byte {bytes}: it stays as it is"))
            }
            Ok(whole) => self.cut(&entry, whole).map_err(|error| {
                format!("cannot cut off what is behind the last whole record of capture file '{name}': {error}")
            }),
        };
        match cut {
            Ok(closed) => self.manifest.change(name, |entry| (entry.closed, entry.torn) = (closed, false)),
            Err(complaint) => {
                self.complain_of(name, Trouble::Torn, complaint);
                self.manifest.change(name, |entry| entry.torn = false);
            }
        }
    }

    /// Cuts off what is not whole, if anything is; gives how the file is left.
    fn cut(&mut self, entry: &Entry, Whole { bytes, length }: Whole) -> io::Result<Option<Closed>> {
        let Some(closed) = entry.closed.filter(|_| bytes < length) else { return Ok(entry.closed) };
        let directory = &self.settings.directory;
        let is_as_left = closed.bytes == length && matches!(entry.standing(directory)?, Standing::Intact { .. });
        let mut options = OpenOptions::new();
        let file =
            options.write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(entry.path(directory))?;
        if !is_as_left || !entry.identity.is_of(&file.metadata()?) {
            return Err(io::Error::other("it was changed meanwhile"));
        }
        file.set_len(bytes)?;
        self.torn.files += 1;
        self.torn.bytes += length - bytes;
        tracing::info!(
            "capture file '{}' ended within a record when its collector was killed: its last {} bytes are cut off",
            entry.name,
            length - bytes
        );
        Ok(Some(Closed::as_found(&file.metadata()?, closed.closed_ns)))
    }
}
