//! What is due for closed files, compression first and then the hook, and what becomes of it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags};

use super::super::compress::{Compression, Unfinished};
use super::super::entry::{Closed, Entry, Identity, Standing, look_up};
use super::super::hook::Run;
use super::super::troubles::Trouble;
use super::Kept;

/// The most files that wait for their hook.
pub(super) const MAX_WAITING_HOOKS: usize = 1000;

impl Kept {
    /// The next file to compress, if none is being compressed.
    pub(in super::super) fn next_compression(&mut self) -> Option<Compression> {
        let level = self.settings.compress?;
        if self.compressing.is_some() || self.short || self.place.is_none() {
            return None;
        }
        let entry = self.manifest.entries().iter().find(|entry| {
            // What is torn is whole first.
            entry.closed.is_some() && entry.compress_due && !entry.torn
        })?;
        let cancel = Arc::new(AtomicBool::new(false));
        let directory = &self.settings.directory;
        let compression = Compression {
            name: entry.name.clone(),
            source: entry.path(directory),
            identity: entry.identity,
            temporary: directory.join(format!(".{}.zst.{}", entry.name, std::process::id())),
            level,
            cancel: Arc::clone(&cancel),
        };
        self.compressing = Some((entry.name.clone(), cancel));
        Some(compression)
    }

    /// A compression has ended.
    pub(in super::super) fn compressed(&mut self, compression: &Compression, result: Result<(), Unfinished>) {
        self.compressing = None;
        let name = &compression.name;
        let result = result.and_then(|()| {
            self.put_in_place(compression).map_err(|error| {
                let _ = std::fs::remove_file(&compression.temporary);
                Unfinished::Failed(error)
            })
        });
        match result {
            Ok(()) => {
                self.status.compressed += 1;
                self.relieve(Trouble::Compression);
            }
            Err(Unfinished::Cancelled) => {}
            Err(Unfinished::Failed(error)) => {
                if self.manifest.get(name).is_some() {
                    let error = format!("cannot compress capture file '{name}': {error}; it stays as it is");
                    self.complain_of(name, Trouble::Compression, error);
                }
                self.manifest.change(name, |entry| entry.compress_due = false);
            }
        }
    }

    /// The next file for the hook, if none is under way: the oldest that waits, once it is compressed.
    pub(in super::super) fn next_hook(&mut self) -> Option<Run> {
        let hook = self.settings.hook.clone()?;
        while self.hooking.is_none() && self.place.is_some() {
            let entry = self.manifest.entries().iter().find(|entry| entry.closed.is_some() && entry.hook_due)?;
            if entry.torn || (entry.compress_due && self.settings.compress.is_some()) {
                return None;
            }
            let name = entry.name.clone();
            if !matches!(entry.standing(&self.settings.directory), Ok(Standing::Intact { .. })) {
                self.skip_hook(&name);
                continue;
            }
            let file = entry.path(&self.settings.directory);
            let cancel = Arc::new(AtomicBool::new(false));
            let run = Run {
                hook,
                file: std::path::absolute(&file).unwrap_or(file),
                bytes: entry.closed.map_or(0, |closed| closed.bytes),
                records: entry.closed.and_then(|closed| closed.records),
                name: name.clone(),
                cancel: Arc::clone(&cancel),
            };
            self.hooking = Some((name, cancel));
            self.status.hook_runs += 1;
            return Some(run);
        }
        None
    }

    /// A hook has ended.
    pub(in super::super) fn hooked(&mut self, run: &Run, result: Result<(), String>) {
        self.hooking = None;
        self.manifest.change(&run.name, |entry| entry.hook_due = false);
        match result {
            Ok(()) => self.relieve(Trouble::Hook),
            Err(failure) => {
                self.status.hook_failures += 1;
                tracing::warn!("{failure}");
                self.troubles.begin(Trouble::Hook, failure);
                self.show_trouble();
            }
        }
    }

    /// Gives the compressed file its name, and removes the original. Killed anywhere in between, the next start goes on.
    fn put_in_place(&mut self, compression: &Compression) -> io::Result<()> {
        let directory = self.settings.directory.clone();
        let gone = || io::Error::new(io::ErrorKind::NotFound, "it is no longer there, or no longer as it was");
        let original = self.manifest.get(&compression.name).cloned().ok_or_else(gone)?;
        let Standing::Intact { .. } = original.standing(&directory)? else { return Err(gone()) };
        let metadata = look_up(&compression.temporary)?.ok_or_else(gone)?;
        let closed = original
            .closed
            .map(|closed| Closed { records: closed.records, ..Closed::as_found(&metadata, closed.closed_ns) });
        let successor = Entry {
            name: format!("{}.zst", original.name),
            identity: Identity::of(&metadata),
            closed,
            compress_due: false,
            replaces: Some(original.name.clone()),
            ..original.clone()
        };
        let path = successor.path(&directory);
        self.manifest.announce(&successor);
        rename_exclusively(&compression.temporary, &path)?;
        if let Err(error) = std::fs::remove_file(original.path(&directory)) {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let name = successor.name.clone();
        self.manifest.succeed(successor);
        if self.link.target().as_deref() == Some(&original.name) {
            let pointed = self.link.point_to(&name);
            self.note_link(pointed);
        }
        Ok(())
    }

    /// Whether nothing is under way, and nothing waits that could still be done.
    pub(in super::super) fn is_done(&self) -> bool {
        self.compressing.is_none()
            && self.hooking.is_none()
            && (self.place.is_none()
                || !self.manifest.entries().iter().any(|entry| entry.closed.is_some() && self.is_due(entry)))
    }

    /// Whether no job is under way.
    pub(in super::super) const fn is_idle(&self) -> bool {
        self.compressing.is_none() && self.hooking.is_none() && self.looking.is_none()
    }

    /// Has the jobs that are under way given up.
    pub(in super::super) fn cancel(&self) {
        for (_, cancel) in self.compressing.iter().chain(&self.hooking).chain(&self.looking) {
            cancel.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn is_due(&self, entry: &Entry) -> bool {
        (entry.hook_due && self.settings.hook.is_some()) || (entry.compress_due && self.settings.compress.is_some())
    }

    pub(super) fn bound_hooks(&mut self) {
        if self.settings.hook.is_none() {
            return;
        }
        let hooking = self.hooking.as_ref().map(|(name, _)| name);
        let waits = |entry: &&Entry| entry.closed.is_some() && entry.hook_due && Some(&entry.name) != hooking;
        let waiting: Vec<String> =
            self.manifest.entries().iter().filter(waits).map(|entry| entry.name.clone()).collect();
        for name in waiting.iter().take(waiting.len().saturating_sub(MAX_WAITING_HOOKS)) {
            self.skip_hook(name);
            self.say(&format!(
                "the hook is slower than files are closed: it is not run for '{name}', {MAX_WAITING_HOOKS} others wait"
            ));
        }
    }

    fn skip_hook(&mut self, name: &str) {
        self.status.hook_skipped += 1;
        self.manifest.change(name, |entry| entry.hook_due = false);
    }
}

/// Renames a file, but not over another.
fn rename_exclusively(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot do both at once.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if look_up(to)?.is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        }
        result => Ok(result?),
    }
}
