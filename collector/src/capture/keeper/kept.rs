//! The files of a capture directory, and what is decided about them.
//!
//! Everything here happens on the keeper's thread and waits for nothing but the file system; compressions and hooks are handed
//! out as jobs. What the clock and the file system say comes from [`Surroundings`].

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{CWD, RenameFlags};

use super::compress::{Compression, Unfinished};
use super::entry::{Closed, Entry, Identity, Records, Standing, is_capture_name, look_up, modified, nanoseconds};
use super::hook::Run;
use super::link::Link;
use super::lock::{Lock, Refused};
use super::manifest::Manifest;
use super::space::{LONGEST_LOOK, Pace};
use super::voice::Voice;
use super::{ClosedCapture, KeeperError, KeeperSettings, KeeperStatus, tidy};

/// The most files that are kept track of.
const MAX_FILES: usize = 100_000;
/// The most files that wait for their hook.
const MAX_WAITING_HOOKS: usize = 1000;
/// How often all files are looked at: somebody may have removed some.
const SURVEY_EVERY: Duration = Duration::from_secs(5);
/// How often to look whether there is room again.
const PAUSED_LOOK: Duration = Duration::from_millis(50);

/// The clocks and the file system's free space.
pub(super) trait Surroundings: Send {
    fn now(&self) -> SystemTime;
    /// A clock that does not go backwards.
    fn elapsed(&self) -> Duration;
    /// Bytes that this user can still write below `directory`.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
}

/// The real ones.
pub(super) struct Machine {
    started: Instant,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Surroundings for Machine {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(directory)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// The files of one directory.
pub(super) struct Kept {
    settings: KeeperSettings,
    surroundings: Box<dyn Surroundings>,
    /// The directory that the lock and the list are of; a new one under the same name is another.
    place: Option<Place>,
    manifest: Manifest,
    link: Link,
    pace: Pace,
    /// Being compressed, and how to have it given up.
    compressing: Option<(String, Arc<AtomicBool>)>,
    /// A hook is under way for it.
    hooking: Option<(String, Arc<AtomicBool>)>,
    /// Could not be deleted; not tried again before the next survey.
    refused: HashSet<String>,
    survey_at: Duration,
    /// Whether space is short, so that compression has to wait.
    short: bool,
    status: KeeperStatus,
    voice: Voice,
}

struct Place {
    lock: Lock,
    device: u64,
    inode: u64,
}

impl Kept {
    /// Locks the directory, finds the files of earlier runs and tidies up after them.
    pub(super) fn begin(settings: KeeperSettings, surroundings: Box<dyn Surroundings>) -> Result<Self, KeeperError> {
        let directory = &settings.directory;
        let place = Place::take(directory).map_err(|refused| refused.into_error(directory))?;
        let manifest = Manifest::load(directory).map_err(|error| KeeperError::unusable(directory, error))?;
        let mut kept = Self {
            link: Link::in_directory(directory),
            settings,
            surroundings,
            place: Some(place),
            manifest,
            pace: Pace::new(),
            compressing: None,
            hooking: None,
            refused: HashSet::new(),
            survey_at: SURVEY_EVERY,
            short: false,
            status: KeeperStatus::default(),
            voice: Voice::default(),
        };
        kept.tidy(true);
        kept.manifest.save().map_err(|error| KeeperError::unusable(&kept.settings.directory, error))?;
        kept.count();
        Ok(kept)
    }

    pub(super) const fn status(&self) -> &KeeperStatus {
        &self.status
    }

    /// Whether the writer has to wait for room.
    pub(super) const fn is_paused(&self) -> bool {
        self.status.paused
    }

    /// The writer has published `name`.
    pub(super) fn opened(&mut self, name: &str) {
        self.attach();
        if let Err(error) = self.take_in(name) {
            self.complain(format!("cannot keep track of capture file '{name}': {error}"));
            return;
        }
        // There is one open file; of an earlier one no more will be said.
        let earlier = self.manifest.entries().iter().filter(|entry| entry.closed.is_none() && entry.name != name);
        let earlier: Vec<String> = earlier.map(|entry| entry.name.clone()).collect();
        for name in earlier {
            self.close_as_found(&name);
        }
        if let Err(error) = self.link.point_to(name) {
            self.complain(format!("cannot make the link to the newest capture: {error}"));
        }
        self.bound();
    }

    /// The writer has closed a file.
    pub(super) fn closed(&mut self, closed: &ClosedCapture) {
        self.attach();
        if self.manifest.get(&closed.name).is_none()
            && let Err(error) = self.take_in(&closed.name)
        {
            self.complain(format!("cannot keep track of capture file '{}': {error}", closed.name));
            return;
        }
        self.close_at(&closed.name, nanoseconds(self.surroundings.now()));
        let Some(found) = self.manifest.get(&closed.name).and_then(|entry| entry.closed) else { return };
        if found.bytes >= closed.bytes {
            let records = Records { count: closed.records, first_ns: closed.first_ns, last_ns: closed.last_ns };
            self.manifest.change(&closed.name, |entry| {
                entry.closed = Some(Closed { records: Some(records), ..found });
            });
        } else {
            self.leave_alone(&closed.name, "was cut by another program");
        }
        self.bound_hooks();
    }

    /// Does what is due; gives how soon to look again.
    pub(super) fn look(&mut self) -> Duration {
        self.attach();
        if self.place.is_none() {
            self.set_paused(false);
            (self.status.files, self.status.bytes) = (0, 0);
            return LONGEST_LOOK;
        }
        if self.surroundings.elapsed() >= self.survey_at {
            self.survey();
        }
        self.delete_aged();
        let room = self.delete_surplus().min(self.keep_free());
        self.save();
        self.count();
        if self.status.paused { PAUSED_LOOK } else { self.pace.next_look(room) }
    }

    /// The next file to compress, if none is being compressed.
    pub(super) fn next_compression(&mut self) -> Option<Compression> {
        let level = self.settings.compress?;
        if self.compressing.is_some() || self.short || self.place.is_none() {
            return None;
        }
        let entry = self.manifest.entries().iter().find(|entry| entry.closed.is_some() && entry.compress_due)?;
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
    pub(super) fn compressed(&mut self, compression: &Compression, result: Result<(), Unfinished>) {
        self.compressing = None;
        let name = &compression.name;
        let result = result.and_then(|()| {
            self.put_in_place(compression).map_err(|error| {
                let _ = std::fs::remove_file(&compression.temporary);
                Unfinished::Failed(error)
            })
        });
        match result {
            Ok(()) => self.status.compressed += 1,
            Err(Unfinished::Cancelled) => {}
            Err(Unfinished::Failed(error)) => {
                if self.manifest.get(name).is_some() {
                    self.complain(format!("cannot compress capture file '{name}': {error}; it stays as it is"));
                }
                self.manifest.change(name, |entry| entry.compress_due = false);
            }
        }
    }

    /// The next file for the hook, if none is under way: the oldest that waits, once it is compressed.
    pub(super) fn next_hook(&mut self) -> Option<Run> {
        let hook = self.settings.hook.clone()?;
        while self.hooking.is_none() && self.place.is_some() {
            let entry = self.manifest.entries().iter().find(|entry| entry.closed.is_some() && entry.hook_due)?;
            if entry.compress_due && self.settings.compress.is_some() {
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
    pub(super) fn hooked(&mut self, run: &Run, result: Result<(), String>) {
        self.hooking = None;
        self.manifest.change(&run.name, |entry| entry.hook_due = false);
        if let Err(failure) = result {
            self.status.hook_failures += 1;
            tracing::warn!("{failure}");
            self.status.error = Some(failure);
        }
    }

    /// Whether nothing is under way, and nothing waits that could still be done.
    pub(super) fn is_done(&self) -> bool {
        self.compressing.is_none()
            && self.hooking.is_none()
            && (self.place.is_none()
                || !self.manifest.entries().iter().any(|entry| entry.closed.is_some() && self.is_due(entry)))
    }

    /// Whether no job is under way.
    pub(super) const fn is_idle(&self) -> bool {
        self.compressing.is_none() && self.hooking.is_none()
    }

    /// Has the jobs that are under way given up.
    pub(super) fn cancel(&self) {
        for (_, cancel) in self.compressing.iter().chain(&self.hooking) {
            cancel.store(true, Ordering::Relaxed);
        }
    }

    /// Leaves the directory so that the next run finds it right.
    pub(super) fn end(&mut self) {
        let waiting =
            self.manifest.entries().iter().filter(|entry| entry.closed.is_some() && self.is_due(entry)).count();
        if waiting > 0 {
            tracing::warn!(
                "{waiting} capture files still wait to be compressed or for their hook: the next start goes on"
            );
        }
        self.set_paused(false);
        self.save();
        self.count();
    }

    fn is_due(&self, entry: &Entry) -> bool {
        (entry.hook_due && self.settings.hook.is_some()) || (entry.compress_due && self.settings.compress.is_some())
    }

    /// Sees to it that the lock and the list are those of the directory that is there now. Without one there is no place.
    fn attach(&mut self) {
        let directory = self.settings.directory.clone();
        if self.place.as_ref().is_some_and(|place| place.is(&directory)) {
            return;
        }
        if self.place.take().is_some() {
            self.complain(format!("the capture directory '{}' or the lock in it was removed", directory.display()));
        }
        if !directory.is_dir() {
            return;
        }
        match Place::take(&directory) {
            Ok(place) => self.place = Some(place),
            Err(refused) => return self.complain(refused.into_error(&directory).to_string()),
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
                tracing::info!("captures are kept in '{}' again", directory.display());
            }
            Err(error) => {
                self.place = None;
                self.complain(format!("cannot read the list of captures in '{}': {error}", directory.display()));
            }
        }
    }

    /// Sets right what a killed run has left.
    fn tidy(&mut self, has_not_begun: bool) {
        let directory = self.settings.directory.clone();
        let entries: Vec<Entry> = self.manifest.entries().iter().cloned().collect();
        for entry in entries {
            if let Some(old) = entry.replaces.as_deref() {
                self.finish_replacement(&entry, old);
            } else if entry.closed.is_none() && has_not_begun {
                self.close_as_found(&entry.name);
            }
        }
        self.survey();
        let found = match tidy::find(&directory, has_not_begun, |name| self.manifest.get(name).is_some()) {
            Ok(found) => found,
            Err(error) => return self.complain(format!("cannot list '{}': {error}", directory.display())),
        };
        for leftover in found.leftovers {
            match std::fs::remove_file(&leftover) {
                Ok(()) => tracing::info!("removed '{}', which a killed collector left", leftover.display()),
                Err(error) => self.complain(format!("cannot remove '{}': {error}", leftover.display())),
            }
        }
        if let Some(first) = found.look_alikes.first() {
            tracing::info!(
                "{} files in '{}' are called like captures, '{first}' for one, and no list says that a collector wrote \
                 them here: they stay, and count for no limit",
                found.look_alikes.len(),
                directory.display()
            );
        }
        if self.link.target().is_some_and(|target| self.manifest.get(&target).is_none()) {
            self.set_link();
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

    /// Takes a file that the writer has published into the list.
    fn take_in(&mut self, name: &str) -> io::Result<()> {
        if !is_capture_name(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no name of a capture file"));
        }
        let metadata = look_up(&self.settings.directory.join(name))?.ok_or(io::ErrorKind::NotFound)?;
        self.manifest.forget(name);
        self.manifest.put(Entry {
            name: name.to_owned(),
            identity: Identity::of(&metadata),
            order: self.manifest.next_order(),
            opened_ns: nanoseconds(self.surroundings.now()),
            closed: None,
            hook_due: self.settings.hook.is_some(),
            compress_due: self.settings.compress.is_some(),
            replaces: None,
        });
        Ok(())
    }

    /// Notes that nobody writes to `name` any more, since when the file shows.
    fn close_as_found(&mut self, name: &str) {
        let Some(entry) = self.manifest.get(name) else { return };
        let modified =
            look_up(&entry.path(&self.settings.directory)).ok().flatten().map_or(0, |found| modified(&found));
        self.close_at(name, modified.min(nanoseconds(self.surroundings.now())));
    }

    /// Notes that nobody writes to `name` since `closed_ns`.
    fn close_at(&mut self, name: &str, closed_ns: u64) {
        let Some(entry) = self.manifest.get(name) else { return };
        let found = match look_up(&entry.path(&self.settings.directory)) {
            Ok(Some(metadata)) if entry.identity.is_of(&metadata) => metadata,
            Ok(Some(_)) => return self.leave_alone(name, "was replaced"),
            Ok(None) => return self.drop_removed(name),
            Err(error) => return self.complain(format!("cannot look at capture file '{name}': {error}")),
        };
        let closed = Closed::as_found(&found, closed_ns);
        self.manifest.change(name, |entry| entry.closed = Some(closed));
    }

    /// Looks at all files: some may have been removed, replaced or changed.
    fn survey(&mut self) {
        self.survey_at = self.surroundings.elapsed() + SURVEY_EVERY;
        self.refused.clear();
        self.manifest.look();
        let directory = &self.settings.directory;
        let standings = self.manifest.entries().iter().map(|entry| (entry.name.clone(), entry.standing(directory)));
        let standings: Vec<_> =
            standings.filter(|(_, standing)| !matches!(standing, Ok(Standing::Intact { .. }))).collect();
        for (name, standing) in standings {
            self.note_standing(&name, standing);
        }
    }

    /// Draws the consequence of a standing that is not that of an intact file.
    fn note_standing(&mut self, name: &str, standing: io::Result<Standing>) {
        match standing {
            Ok(Standing::Intact { .. }) => {}
            Ok(Standing::Gone) => self.drop_removed(name),
            Ok(Standing::Replaced) => self.leave_alone(name, "was replaced"),
            Ok(Standing::Changed) => self.leave_alone(name, "was cut or written to by another program"),
            Err(error) => {
                self.refused.insert(name.to_owned());
                self.complain(format!("cannot look at capture file '{name}': {error}"));
            }
        }
    }

    /// Somebody else removed a file.
    fn drop_removed(&mut self, name: &str) {
        self.take_from_list(name);
        self.remove_index(name);
    }

    /// A file is no longer what the writer left: from now on it is somebody else's.
    fn leave_alone(&mut self, name: &str, what: &str) {
        self.take_from_list(name);
        self.say(format!("capture file '{name}' {what}: it stays, and counts for no limit any more"));
    }

    fn take_from_list(&mut self, name: &str) {
        self.refused.remove(name);
        let forgotten = self.manifest.forget(name);
        if forgotten.is_some_and(|entry| entry.hook_due && self.settings.hook.is_some()) {
            let is_under_way = self.hooking.as_ref().is_some_and(|(hooking, _)| hooking == name);
            self.status.hook_skipped += u64::from(!is_under_way);
        }
        if self.link.target().as_deref() == Some(name) {
            self.set_link();
        }
    }

    /// Has the link lead to the newest file, or removes it.
    fn set_link(&mut self) {
        let set = match self.manifest.entries().back() {
            Some(newest) => self.link.point_to(&newest.name),
            None => self.link.remove(),
        };
        if let Err(error) = set {
            self.complain(format!("cannot set the link to the newest capture: {error}"));
        }
    }

    /// Removes the index of a capture that is gone, in whichever form it was kept.
    fn remove_index(&mut self, name: &str) {
        let directory = &self.settings.directory;
        let plain = directory.join(name.strip_suffix(".zst").unwrap_or(name));
        let mut compressed = plain.clone().into_os_string();
        compressed.push(".zst");
        let is_there = |path: &Path| !matches!(look_up(path), Ok(None));
        if is_there(&plain) || is_there(&PathBuf::from(compressed)) {
            return;
        }
        match std::fs::remove_file(vxtap_index::index_path(&plain)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.complain(format!("cannot remove the index of '{name}': {error}"));
            }
            _ => {}
        }
    }

    /// The oldest closed file that can be deleted now. One for which a hook runs is passed over. One that is being compressed is
    /// waited for, or passed over as well where it is `urgent`.
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
            self.complain(format!("cannot delete capture file '{name}': {error}"));
            return 0;
        }
        tracing::debug!("deleted capture file '{name}': {why}");
        self.status.deleted_files += 1;
        self.status.deleted_bytes += bytes;
        self.remove_index(name);
        self.take_from_list(name);
        allocated
    }

    fn delete_aged(&mut self) {
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
    fn delete_surplus(&mut self) -> u64 {
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
    fn keep_free(&mut self) -> u64 {
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
        let paused = if self.status.paused {
            self.short || (nothing_left && free < wanted.saturating_add(self.pace.margin()))
        } else {
            free < floor || (self.short && nothing_left)
        };
        if paused && !self.status.paused {
            self.say(format!(
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
            Ok(free) => Some(free),
            Err(error) => {
                self.complain(format!(
                    "cannot ask how much is free in '{}': {error}",
                    self.settings.directory.display()
                ));
                None
            }
        }
    }

    fn set_paused(&mut self, paused: bool) {
        if self.status.paused && !paused {
            tracing::info!("there is room for captures again");
        }
        self.status.paused = paused;
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
        if self.link.target().as_deref() == Some(&original.name)
            && let Err(error) = self.link.point_to(&name)
        {
            self.complain(format!("cannot set the link to the newest capture: {error}"));
        }
        Ok(())
    }

    /// Keeps the list, and the files that wait for their hook, within their bounds.
    fn bound(&mut self) {
        while self.manifest.entries().len() > MAX_FILES
            && let Some(name) = self.manifest.entries().front().map(|entry| entry.name.clone())
        {
            self.leave_alone(&name, &format!("is older than the {MAX_FILES} that are kept track of"));
        }
    }

    fn bound_hooks(&mut self) {
        if self.settings.hook.is_none() {
            return;
        }
        let hooking = self.hooking.as_ref().map(|(name, _)| name);
        let waits = |entry: &&Entry| entry.closed.is_some() && entry.hook_due && Some(&entry.name) != hooking;
        let waiting: Vec<String> =
            self.manifest.entries().iter().filter(waits).map(|entry| entry.name.clone()).collect();
        for name in waiting.iter().take(waiting.len().saturating_sub(MAX_WAITING_HOOKS)) {
            self.skip_hook(name);
            self.say(format!(
                "the hook is slower than files are closed: it is not run for '{name}', {MAX_WAITING_HOOKS} others wait"
            ));
        }
    }

    fn skip_hook(&mut self, name: &str) {
        self.status.hook_skipped += 1;
        self.manifest.change(name, |entry| entry.hook_due = false);
    }

    fn save(&mut self) {
        if self.place.is_some()
            && let Err(error) = self.manifest.save()
        {
            let directory = self.settings.directory.display();
            self.complain(format!("cannot write the list of captures in '{directory}': {error}"));
        }
    }

    /// Bytes of all files, the open one included.
    fn bytes(&self) -> u64 {
        let bytes = |entry: &Entry| match entry.closed {
            Some(closed) => closed.bytes,
            None => look_up(&entry.path(&self.settings.directory)).ok().flatten().map_or(0, |found| found.len()),
        };
        self.manifest.entries().iter().map(bytes).sum()
    }

    fn closed_bytes(&self, name: &str) -> u64 {
        self.manifest.get(name).and_then(|entry| entry.closed).map_or(0, |closed| closed.bytes)
    }

    fn count(&mut self) {
        self.status.files = self.manifest.entries().len() as u64;
        self.status.bytes = self.bytes();
        let due = |entry: &&Entry| entry.closed.is_some() && entry.hook_due && self.settings.hook.is_some();
        self.status.hook_waiting = (self.manifest.entries().iter().filter(due).count() as u64)
            .saturating_sub(u64::from(self.hooking.is_some()));
        self.status.hook_under_way = self.hooking.is_some();
    }

    /// Tells of something that went wrong.
    fn complain(&mut self, error: String) {
        self.say(error.clone());
        self.status.error = Some(error);
    }

    fn say(&mut self, text: String) {
        if self.voice.may_say(&text, self.surroundings.elapsed()) {
            tracing::warn!("{}", crate::config::Printable(&text));
        }
    }
}

impl Place {
    fn take(directory: &Path) -> Result<Self, Refused> {
        let lock = Lock::take(directory)?;
        let metadata = std::fs::metadata(directory).map_err(Refused::Failed)?;
        Ok(Self { lock, device: metadata.dev(), inode: metadata.ino() })
    }

    fn is(&self, directory: &Path) -> bool {
        let is_same = |found: std::fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        std::fs::metadata(directory).is_ok_and(is_same) && self.lock.is_in(directory)
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

#[cfg(test)]
mod tests;
