//! The directory itself: what an earlier run left in it, and what to do when it is removed and made again.

use super::super::entry::{Entry, Standing, look_up};
use super::super::manifest::Manifest;
use super::super::tidy;
use super::super::troubles::Trouble;
use super::{Kept, Place};

impl Kept {
    /// Sees to it that the lock and the list are those of the directory that is there now. Without one there is no place.
    pub(super) fn attach(&mut self) {
        let directory = self.settings.directory.clone();
        if self.place.as_ref().is_some_and(|place| place.is(&directory)) {
            return;
        }
        if self.place.take().is_some() {
            let removed = format!("the capture directory '{}' or the lock in it was removed", directory.display());
            self.complain(Trouble::Directory, removed);
        }
        if !directory.is_dir() {
            return;
        }
        match Place::take(&directory) {
            Ok(place) => self.place = Some(place),
            Err(refused) => return self.complain(Trouble::Directory, refused.into_error(&directory).to_string()),
        }
        match Manifest::load(&directory) {
            Ok(manifest) => {
                let before = std::mem::replace(&mut self.manifest, manifest);
                for entry in before.entries() {
                    // The same directory, with another lock in it.
                    let is_here = matches!(entry.standing(&directory), Ok(Standing::Intact { .. }));
                    if is_here && self.manifest.get(&entry.name).is_none() {
                        self.manifest.put(entry.clone());
                    }
                }
                self.tidy(false);
                self.relieve(Trouble::Directory);
                tracing::info!("captures are kept in '{}' again", directory.display());
            }
            Err(error) => {
                self.place = None;
                let unread = format!("cannot read the list of captures in '{}': {error}", directory.display());
                self.complain(Trouble::Directory, unread);
            }
        }
    }

    /// Sets right what a killed run has left.
    pub(super) fn tidy(&mut self, has_not_begun: bool) {
        let directory = self.settings.directory.clone();
        let entries: Vec<Entry> = self.manifest.entries().iter().cloned().collect();
        for entry in entries {
            if let Some(old) = entry.replaces.as_deref() {
                self.finish_replacement(&entry, old);
            } else if entry.closed.is_none() && has_not_begun {
                self.close_as_found(&entry.name);
                self.manifest.change(&entry.name, |entry| entry.torn = true);
            }
        }
        self.survey();
        let found = match tidy::find(&directory, has_not_begun, |name| self.manifest.get(name).is_some()) {
            Ok(found) => found,
            Err(error) => return self.say(&format!("cannot list '{}': {error}", directory.display())),
        };
        for leftover in found.leftovers {
            match std::fs::remove_file(&leftover) {
                Ok(()) => tracing::info!("removed '{}', which a killed collector left", leftover.display()),
                Err(error) => self.say(&format!("cannot remove '{}': {error}", leftover.display())),
            }
        }
        self.look_alikes = found.look_alikes;
        if has_not_begun {
            self.tell_look_alikes();
        }
        if self.link.target().is_some_and(|target| self.manifest.get(&target).is_none()) {
            self.set_link();
        }
    }

    /// Tells of files that are called like captures and that the list does not have. In a directory that was made again while the writer
    /// ran they may be its own: it told of those before the next survey, and only then is it time to tell of the others.
    pub(super) fn tell_look_alikes(&mut self) {
        let found = std::mem::take(&mut self.look_alikes);
        let directory = &self.settings.directory;
        let is_strange =
            |name: &&String| self.manifest.get(name).is_none() && !matches!(look_up(&directory.join(name)), Ok(None));
        let mut strange = found.iter().filter(is_strange);
        if let Some(first) = strange.next() {
            tracing::info!(
                "{} files in '{}' are called like captures, '{first}' for one, and no list says that a collector wrote \
                 them here: they stay, and count for no limit",
                1 + strange.count(),
                directory.display()
            );
        }
    }

    /// Finishes what [`Kept::put_in_place`] had begun when the collector was killed.
    fn finish_replacement(&mut self, successor: &Entry, old: &str) {
        let directory = self.settings.directory.clone();
        if matches!(successor.standing(&directory), Ok(Standing::Intact { .. })) {
            if let Some(original) = self.manifest.get(old)
                && matches!(original.standing(&directory), Ok(Standing::Intact { .. }))
            {
                let _ = std::fs::remove_file(original.path(&directory));
            }
            self.manifest.forget(old);
            self.manifest.change(&successor.name, |entry| entry.replaces = None);
        } else {
            // It never got its name.
            self.manifest.forget(&successor.name);
        }
    }
}
