//! Which files are deleted, and when the writer has to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::entry::{Entry, Standing, nanoseconds};
use super::super::space::QUIET_MARGIN;
use super::super::troubles::Trouble;
use super::Kept;

impl Kept {
    /// The oldest closed file that can be deleted now. One for which a hook runs is passed over. One that is being
    /// compressed is waited for, or passed over as well where it is `urgent`.
    fn oldest(&self, urgent: bool) -> Option<String> {
        for entry in self.manifest.entries() {
            let is_busy =
                |job: &Option<(String, Arc<AtomicBool>)>| job.as_ref().is_some_and(|(name, _)| *name == entry.name);
            if entry.closed.is_none() || is_busy(&self.hooking) || self.refused.contains(&entry.name) {
                continue;
            }
            if is_busy(&self.compressing) {
                self.compressing.iter().for_each(|(_, cancel)| cancel.store(true, Ordering::Relaxed));
                if urgent {
                    continue;
                }
                return None;
            }
            return Some(entry.name.clone());
        }
        None
    }

    /// Deletes a file, if it still is what was written. Gives the bytes that this frees. In any case it is not the
    /// [`Kept::oldest`] any more.
    fn delete(&mut self, name: &str, why: &str) -> u64 {
        let Some(entry) = self.manifest.get(name) else { return 0 };
        let (path, bytes) = (entry.path(&self.settings.directory), self.closed_bytes(name));
        let allocated = match entry.standing(&self.settings.directory) {
            Ok(Standing::Intact { allocated }) => allocated,
            other => {
                self.note_standing(name, other);
                return 0;
            }
        };
        if let Err(error) = std::fs::remove_file(&path) {
            self.refused.insert(name.to_owned());
            self.complain(Trouble::Deletion, format!("cannot delete capture file '{name}': {error}"));
            return 0;
        }
        tracing::debug!("deleted capture file '{name}': {why}");
        self.status.deleted_files += 1;
        self.status.deleted_bytes += bytes;
        self.remove_index(name);
        self.take_from_list(name);
        allocated
    }

    pub(super) fn delete_aged(&mut self) {
        let Some(age) = self.settings.retention.age else { return };
        let now = nanoseconds(self.surroundings.now());
        let age = age.as_nanos().try_into().unwrap_or(u64::MAX);
        let is_aged = |entry: &Entry| entry.closed.is_some_and(|closed| now.saturating_sub(closed.closed_ns) >= age);
        while let Some(name) = self.oldest(false)
            && self.manifest.get(&name).is_some_and(is_aged)
        {
            self.delete(&name, "it is too old");
        }
    }

    /// Deletes while the files together are too large; gives the room that is left.
    pub(super) fn delete_surplus(&mut self) -> u64 {
        let Some(limit) = self.settings.retention.bytes else { return u64::MAX };
        let mut bytes = self.bytes();
        while bytes > limit {
            let Some(name) = self.oldest(false) else { return 0 };
            bytes = bytes.saturating_sub(self.closed_bytes(&name));
            self.delete(&name, "the files together were too large");
        }
        limit - bytes
    }

    /// Deletes while too little is free, and decides whether the writer may write; gives the room that is left.
    pub(super) fn keep_free(&mut self) -> u64 {
        let Some(floor) = self.settings.retention.free_bytes else { return u64::MAX };
        let Some(before) = self.free() else { return 0 };
        let mut free = before;
        let mut wanted = floor.saturating_add(self.pace.margin());
        // A file that somebody still reads frees nothing until he is done, and some file systems take their time: not more is
        // deleted at once than is enough by its size.
        let mut freed = 0;
        while free < wanted && before.saturating_add(freed) < wanted {
            let Some(name) = self.oldest(true) else { break };
            freed += self.delete(&name, "too little space was free");
            free = self.free().unwrap_or(free);
        }
        self.pace.note(self.surroundings.elapsed(), before, free);
        wanted = floor.saturating_add(self.pace.margin());
        self.short = free < wanted;
        let nothing_left = (self.short || self.status.paused) && self.oldest(true).is_none();
        // The margin is for deleting in time. A writer is not held back for it where there is nothing to delete: it holds the floor itself, and
        // on a small disk beside a machine without time the margin may be more than there can ever be.
        let least = floor.saturating_add(QUIET_MARGIN);
        let paused = if self.status.paused {
            (self.short || nothing_left) && free < least.saturating_add(QUIET_MARGIN)
        } else {
            free < floor || (nothing_left && free < least)
        };
        if paused && !self.status.paused {
            self.say(&format!(
                "too little space is free in '{}', and {}: frames are not captured until there is room again",
                self.settings.directory.display(),
                if nothing_left {
                    "no closed capture is left to delete"
                } else {
                    "deleting captures has not helped yet"
                },
            ));
        }
        self.set_paused(paused);
        free.saturating_sub(wanted)
    }

    fn free(&mut self) -> Option<u64> {
        match self.surroundings.free_bytes(&self.settings.directory) {
            Ok(free) => {
                self.relieve(Trouble::Space);
                Some(free)
            }
            Err(error) => {
                let directory = self.settings.directory.display();
                self.complain(Trouble::Space, format!("cannot ask how much is free in '{directory}': {error}"));
                None
            }
        }
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        if self.status.paused && !paused {
            tracing::info!("there is room for captures again");
        }
        self.status.paused = paused;
    }
}
