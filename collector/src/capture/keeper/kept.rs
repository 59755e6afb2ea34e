//! The files of a capture directory, and what is decided about them.
//!
//! Everything here happens on the keeper's thread and waits for nothing but the file system; compressions and hooks are
//! handed out as jobs. What the clock and the file system say comes from [`Surroundings`].

mod attach;
mod jobs;
mod mending;
mod retention;

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use super::entry::{Closed, Entry, Identity, Records, Standing, is_capture_name, look_up, modified, nanoseconds};
use super::link::Link;
use super::lock::{LOCK_NAME, Lock, Refused};
use super::manifest::Manifest;
use super::space::{LONGEST_LOOK, Pace};
use super::torn::TornFiles;
use super::troubles::{Trouble, Troubles};
use super::voice::Voice;
use super::{ClosedCapture, KeeperError, KeeperSettings, KeptSnapshot};

/// The most files that are kept track of.
const MAX_FILES: usize = 100_000;
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
        super::space::free_bytes(directory)
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
    /// Being looked through for the end of what is whole in it.
    looking: Option<(String, Arc<AtomicBool>)>,
    /// A hook is under way for it.
    hooking: Option<(String, Arc<AtomicBool>)>,
    /// Could not be deleted; not tried again before the next survey.
    refused: HashSet<String>,
    survey_at: Duration,
    /// Files that are called like captures and were not in the list when the directory was looked through.
    look_alikes: Vec<String>,
    /// Whether space is short, so that compression has to wait.
    short: bool,
    status: KeptSnapshot,
    torn: TornFiles,
    voice: Voice,
    troubles: Troubles,
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
            looking: None,
            hooking: None,
            refused: HashSet::new(),
            survey_at: SURVEY_EVERY,
            look_alikes: Vec::new(),
            short: false,
            status: KeptSnapshot::default(),
            torn: TornFiles::default(),
            voice: Voice::default(),
            troubles: Troubles::default(),
        };
        kept.tidy(true);
        kept.manifest.save().map_err(|error| KeeperError::unusable(&kept.settings.directory, error))?;
        kept.count();
        Ok(kept)
    }

    pub(super) const fn status(&self) -> &KeptSnapshot {
        &self.status
    }

    /// What became of files whose writers were killed.
    pub(super) const fn torn(&self) -> TornFiles {
        self.torn
    }

    /// Whether the writer has to wait for room.
    pub(super) const fn is_paused(&self) -> bool {
        self.status.paused
    }

    /// The writer has published `name`.
    pub(super) fn opened(&mut self, name: &str) {
        self.attach();
        if !self.take_in_if_there(name) {
            return;
        }
        let pointed = self.link.point_to(name);
        self.note_link(pointed);
        self.bound();
    }

    /// The writer has closed a file.
    pub(super) fn closed(&mut self, closed: &ClosedCapture) {
        self.attach();
        if self.manifest.get(&closed.name).is_none() && !self.take_in_if_there(&closed.name) {
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

    /// The writer has ended: nothing is open any more, whatever it said.
    pub(super) fn close_all(&mut self) {
        let open = self.manifest.entries().iter().filter(|entry| entry.closed.is_none());
        let open: Vec<String> = open.map(|entry| entry.name.clone()).collect();
        for name in open {
            self.close_as_found(&name);
        }
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
            self.tell_look_alikes();
        }
        self.delete_aged();
        let room = self.delete_surplus().min(self.keep_free());
        if self.refused.is_empty() {
            self.relieve(Trouble::Deletion);
        }
        self.save();
        self.count();
        let least = if self.status.paused { PAUSED_LOOK } else { Duration::ZERO };
        self.pace.next_look(self.surroundings.elapsed(), room, least)
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
        // Not that there is room again: nothing more is written.
        self.status.paused = false;
        self.save();
        self.count();
    }

    /// Takes a file that the writer has published into the list. `false` where somebody has removed it, or the directory with it: that is
    /// no error, and an index that was written for it since goes as well.
    fn take_in_if_there(&mut self, name: &str) -> bool {
        let taken = self.take_in(name);
        match &taken {
            Ok(()) => self.relieve(Trouble::Tracking),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.remove_index(name),
            Err(error) => {
                self.complain(Trouble::Tracking, format!("cannot keep track of capture file '{name}': {error}"));
            }
        }
        taken.is_ok()
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
            torn: false,
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
            Err(error) => {
                return self.complain(Trouble::Look, format!("cannot look at capture file '{name}': {error}"));
            }
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
        self.relieve(Trouble::Look);
        for (name, standing) in standings {
            self.note_standing(&name, standing);
        }
        self.age_from_now();
    }

    /// Has files that were closed in what is the future now, since the clock was set back, count as closed now. The oldest file would else
    /// not be old for as long as the clock takes to get there, and all that come after it are deleted after it.
    fn age_from_now(&mut self) {
        let now = nanoseconds(self.surroundings.now());
        let is_ahead = |entry: &&Entry| entry.closed.is_some_and(|closed| closed.closed_ns > now);
        let ahead: Vec<String> =
            self.manifest.entries().iter().filter(is_ahead).map(|entry| entry.name.clone()).collect();
        for name in ahead {
            self.manifest.change(&name, |entry| {
                entry.closed = entry.closed.map(|closed| Closed { closed_ns: now, ..closed });
            });
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
                self.complain(Trouble::Look, format!("cannot look at capture file '{name}': {error}"));
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
        self.say(&format!("capture file '{name}' {what}: it stays, and counts for no limit any more"));
    }

    fn take_from_list(&mut self, name: &str) {
        self.refused.remove(name);
        self.troubles.forget(name);
        self.show_trouble();
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
        self.note_link(set);
    }

    fn note_link(&mut self, set: io::Result<()>) {
        match set {
            Ok(()) => self.relieve(Trouble::Link),
            Err(error) => self.complain(Trouble::Link, format!("cannot set the link to the newest capture: {error}")),
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
                self.say(&format!("cannot remove the index of '{name}': {error}"));
            }
            _ => {}
        }
    }

    /// Keeps the list, and the files that wait for their hook, within their bounds.
    fn bound(&mut self) {
        while self.manifest.entries().len() > MAX_FILES
            && let Some(name) = self.manifest.entries().front().map(|entry| entry.name.clone())
        {
            self.leave_alone(&name, &format!("is older than the {MAX_FILES} that are kept track of"));
        }
    }

    fn save(&mut self) {
        if self.place.is_none() {
            return;
        }
        match self.manifest.save() {
            Ok(()) => self.relieve(Trouble::List),
            Err(error) => {
                let directory = self.settings.directory.display();
                self.complain(Trouble::List, format!("cannot write the list of captures in '{directory}': {error}"));
            }
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
        self.torn.waiting = self.manifest.entries().iter().filter(|entry| entry.torn).count() as u64;
        let due = |entry: &&Entry| entry.closed.is_some() && entry.hook_due && self.settings.hook.is_some();
        self.status.hook_waiting = (self.manifest.entries().iter().filter(due).count() as u64)
            .saturating_sub(u64::from(self.hooking.is_some()));
        self.status.hook_under_way = self.hooking.is_some();
    }

    /// Tells of something that is wrong from now on.
    fn complain(&mut self, trouble: Trouble, error: String) {
        self.say(&error);
        self.troubles.begin(trouble, error);
        self.show_trouble();
    }

    /// The same of `file`: over at the latest when that is gone.
    fn complain_of(&mut self, file: &str, trouble: Trouble, error: String) {
        self.say(&error);
        self.troubles.begin_with(file, trouble, error);
        self.show_trouble();
    }

    /// Something is not wrong, or not any more.
    fn relieve(&mut self, trouble: Trouble) {
        self.troubles.end(trouble);
        self.show_trouble();
    }

    fn show_trouble(&mut self) {
        if self.status.error.as_deref() != self.troubles.last() {
            self.status.error = self.troubles.last().map(str::to_owned);
        }
    }

    fn say(&mut self, text: &str) {
        if self.voice.may_say(text, self.surroundings.elapsed()) {
            tracing::warn!("{}", crate::config::Printable(text));
        }
    }
}

impl Place {
    fn take(directory: &Path) -> Result<Self, Refused> {
        let lock = Lock::take(directory, LOCK_NAME)?;
        let metadata = std::fs::metadata(directory).map_err(Refused::Failed)?;
        Ok(Self { lock, device: metadata.dev(), inode: metadata.ino() })
    }

    fn is(&self, directory: &Path) -> bool {
        let is_same = |found: std::fs::Metadata| (found.dev(), found.ino()) == (self.device, self.inode);
        std::fs::metadata(directory).is_ok_and(is_same) && self.lock.is_in(directory)
    }
}

#[cfg(test)]
mod tests;
