//! The keeper of a capture directory: what happens to capture files once the writer has opened or closed them.
//!
//! A thread of its own keeps the list of the directory's files ([`manifest`]), deletes the oldest when they are too
//! many, too old or leave too little space ([`kept`], [`space`]), and has closed files compressed ([`compress`]) and
//! given to a program ([`hook`]). Nothing is ever deleted that no collector wrote here: a file counts as ours where the
//! list says so and device, inode, time of birth, length and time of last change agree with it. Whatever else is in the
//! directory stays.
//!
//! The writer says which file it has opened or closed and never waits. Messages go through a queue of
//! [`QUEUE_MESSAGES`]; when three quarters of it are taken, [`Keeper::may_write`] says no until the keeper has caught
//! up: the writer then drops and counts, and makes no more files, so that no message is ever lost.
//!
//! A process that is killed leaves a directory that the next start sets right: files that were open count as closed, and what is
//! behind their last whole record is cut off ([`torn`]),
//! begun compressions are removed or finished, hooks that were due are run (again, where one was under way).

mod compress;
mod entry;
mod hook;
mod kept;
mod link;
mod manifest;
mod space;
mod tidy;
mod torn;
mod troubles;
mod voice;
mod work;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use thiserror::Error;
use vxtap_analyzers::snapshot::KeptSnapshot;

use self::kept::{Kept, Machine, Surroundings};
use self::space::free_bytes;
pub use self::torn::TornFiles;
use self::work::Message;
use crate::directory_lock::{self as lock, Refused};

/// Messages of the writer that the keeper has not taken yet.
const QUEUE_MESSAGES: usize = 4096;
/// How long the writer waits for the keeper to make room before it drops. What comes meanwhile waits in the blocks.
const ROOM_WITHIN: Duration = Duration::from_millis(100);
/// Between two looks at the room meanwhile.
const ROOM_LOOK: Duration = Duration::from_millis(1);
/// What a file system may take for its own books when something is written.
const BOOKS: u64 = 256 << 10;

/// How long [`Keeper::finish`] waits for compressions and hooks.
const FINISH_WITHIN: Duration = Duration::from_mins(1);

/// The writer has to drop: the floor of free space is undercut.
const NO_ROOM: u8 = 1;
/// The writer has to drop: it makes files faster than they can be listed.
const QUEUE_FULL: u8 = 2;

/// What a keeper is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeeperSettings {
    /// The capture directory.
    pub directory: PathBuf,
    /// When closed files are deleted.
    pub retention: Retention,
    /// What is run for each closed file.
    pub hook: Option<Hook>,
    /// How closed files are compressed; `None` leaves them as they are.
    pub compress: Option<CompressionLevel>,
}

/// When closed files are deleted, the oldest first; whichever limit is reached first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The most bytes that the captures may have together, the open one included, indexes not. It is exceeded for as
    /// long as it takes to look: 10 to 500 ms, by how near it is.
    pub bytes: Option<u64>,
    /// How long after it was closed a file is kept.
    pub age: Option<Duration>,
    /// Bytes that are to stay free on the file system. Deleting begins before that, by what can be written until the
    /// next look.
    pub free_bytes: Option<u64>,
}

/// A program that is run for each closed file, one at a time, in the order of the files; where files are compressed,
/// after that. What it says goes to the log.
///
/// It finds in its environment `VXTAP_FILE` (absolute path), `VXTAP_FILE_BYTES` (length of that file),
/// `VXTAP_FILE_RECORDS`, and `VXTAP_FILE_FIRST` and `VXTAP_FILE_LAST` (time of the earliest and latest record, seconds
/// since 1970 with nine decimals). The last three are not set for a file whose writer was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program and its arguments, in which `{file}` is the path of the file and `{name}` its name. No shell sees
    /// them.
    pub command: Vec<String>,
    /// After so long it is killed, with all processes of its group.
    pub limit: Duration,
}

/// Level of zstd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressionLevel(i32);

impl CompressionLevel {
    /// Zstd's own default.
    pub const DEFAULT: Self = Self(3);

    /// Levels from 1, the fastest, to 19, the smallest; `None` for others.
    pub const fn new(level: i32) -> Option<Self> {
        if level >= 1 && level <= 19 { Some(Self(level)) } else { None }
    }
}

/// A file that the writer has closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClosedCapture {
    /// Its name in the directory.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Time of its earliest record, in nanoseconds since 1970.
    pub first_ns: u64,
    /// Time of its latest record.
    pub last_ns: u64,
}

/// A keeper that cannot begin.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// The directory is not there and cannot be made.
    #[error("cannot make the capture directory '{}': {source}", directory.display())]
    MakeDirectory {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process keeps the directory.
    #[error(
        "the capture directory '{}' is in use by another collector{}: end that one first, or give this one a directory of its own",
        directory.display(),
        pid.map_or_else(String::new, |pid| format!(", process {pid}"))
    )]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// The other process, as it says.
        pid: Option<u32>,
    },
    /// This user cannot write to the directory.
    #[error(
        "cannot write to the capture directory '{}' as user {user}: it is user {owner}'s, with mode {mode:04o}; {}, \
         or take another directory",
        directory.display(),
        if user == owner { "make it writable (chmod u+rwx)".to_owned() } else { format!("have it given to this user (chown {user})") }
    )]
    NotWritable {
        /// The directory.
        directory: PathBuf,
        /// Id of the user that this process runs as.
        user: u32,
        /// Id of the user that the directory belongs to.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The directory cannot be used for another reason.
    #[error("cannot use the capture directory '{}': {source}", directory.display())]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start the thread that keeps captures: {0}")]
    Thread(io::Error),
}

impl KeeperError {
    fn unusable(directory: &Path, source: io::Error) -> Self {
        let directory = directory.to_owned();
        match directory.metadata() {
            Ok(metadata) if source.kind() == io::ErrorKind::PermissionDenied => Self::NotWritable {
                user: rustix::process::geteuid().as_raw(),
                owner: metadata.uid(),
                mode: metadata.mode() & 0o7777,
                directory,
            },
            _ => Self::Unusable { directory, source },
        }
    }
}

impl Refused {
    fn into_error(self, directory: &Path) -> KeeperError {
        match self {
            Self::Held { pid } => KeeperError::Locked { directory: directory.to_owned(), pid },
            Self::Failed(source) => KeeperError::unusable(directory, source),
        }
    }
}

/// What the keeper's thread and the others share.
#[derive(Debug)]
struct Shared {
    /// Why the writer may not write; 0 where it may.
    hold: AtomicU8,
    status: Mutex<KeptSnapshot>,
    torn: Mutex<TornFiles>,
    /// Whether what is due is to be done before the end.
    orderly: AtomicBool,
    /// For how long.
    finish_within: Duration,
}

/// Keeps a capture directory, in a thread of its own. Dropped instead of finished, it gives up at once what is under way.
#[derive(Debug)]
pub(crate) struct Keeper {
    messages: Option<Sender<Message>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The directory, and what is to stay free of its file system.
    floor: Option<(PathBuf, u64)>,
}

impl Keeper {
    /// Makes the directory if needed, locks it, finds the files of earlier runs, tidies up after them, and starts the
    /// thread. To be called before the writer makes its first file there.
    pub(crate) fn start(settings: KeeperSettings) -> Result<Self, KeeperError> {
        Self::start_with(settings, Box::new(Machine::new()), FINISH_WITHIN)
    }

    fn start_with(
        settings: KeeperSettings,
        surroundings: Box<dyn Surroundings>,
        finish_within: Duration,
    ) -> Result<Self, KeeperError> {
        let directory = &settings.directory;
        DirBuilder::new()
            .recursive(true)
            .create(directory)
            .map_err(|source| KeeperError::MakeDirectory { directory: directory.clone(), source })?;
        let floor = settings.retention.free_bytes.map(|floor| (directory.clone(), floor));
        let kept = Kept::begin(settings, surroundings)?;
        let shared = Arc::new(Shared {
            hold: AtomicU8::new(0),
            status: Mutex::new(kept.status().clone()),
            torn: Mutex::new(kept.torn()),
            orderly: AtomicBool::new(false),
            finish_within,
        });
        let (sender, messages) = bounded(QUEUE_MESSAGES);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("vxtap-keeper".to_owned())
            .spawn(move || work::work(kept, messages, &of_thread))
            .map_err(KeeperError::Thread)?;
        Ok(Self { messages: Some(sender), shared, thread: Some(thread), floor })
    }

    /// The writer has given this file its name. Several may be open at a time; the last one to be opened is where
    /// `current` leads.
    pub(crate) fn opened(&self, name: &str) {
        self.send(Message::Opened(name.to_owned()));
    }

    /// The writer has closed this file: nothing of this process has it open for writing any more, and its index is
    /// written, if it is to have one. From now on it may be compressed and deleted. What is not closed when the keeper
    /// ends is closed by that.
    pub(crate) fn closed(&self, closed: ClosedCapture) {
        self.send(Message::Closed(closed));
    }

    /// Whether there is room to write. `false` while the floor of free space is undercut and nothing is left to delete,
    /// and while the keeper is far behind: the writer then drops and counts. To be asked before each write.
    #[inline]
    pub(crate) fn may_write(&self) -> bool {
        self.shared.hold.load(Ordering::Relaxed) == 0
    }

    /// Whether `bytes` can be written now without undercutting what is to stay free. The keeper deletes ahead of the writer, but a
    /// machine without time may not let it: then the writer waits for it, for up to 100 ms. To be asked before each write; it is one
    /// system call where there is a floor.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        let Some((directory, floor)) = &self.floor else { return true };
        let wanted = floor.saturating_add(bytes).saturating_add(BOOKS);
        // A directory that cannot be asked, since somebody removed it, is the writer's to make again, and its error to tell otherwise.
        let is_there = || free_bytes(directory).map_or(true, |free| free >= wanted);
        if is_there() {
            return true;
        }
        let deadline = Instant::now() + ROOM_WITHIN;
        while Instant::now() < deadline {
            if let Some(messages) = &self.messages {
                // A queue that is full wakes the keeper as well.
                let _ = messages.try_send(Message::Short);
            }
            std::thread::sleep(ROOM_LOOK);
            if is_there() {
                return true;
            }
        }
        false
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> KeptSnapshot {
        self.shared.status()
    }

    /// A view that can be given to others and outlives the run.
    pub(crate) fn monitor(&self) -> KeeperMonitor {
        KeeperMonitor { shared: Arc::clone(&self.shared) }
    }

    /// Waits, up to 60 s, until the files that were closed are compressed and their hooks are done; gives up the rest for
    /// the next start to do. List and link are right then, and the directory is free for another.
    pub(crate) fn finish(mut self) {
        self.shared.orderly.store(true, Ordering::Relaxed);
        self.end();
    }

    fn send(&self, message: Message) {
        let Some(messages) = &self.messages else { return };
        if messages.len() >= QUEUE_MESSAGES / 4 * 3 {
            self.shared.hold.fetch_or(QUEUE_FULL, Ordering::Relaxed);
        }
        if messages.try_send(message).is_err() {
            // Only where the writer wrote on all the same, or the thread died.
            let mut status = self.shared.status.lock().unwrap_or_else(PoisonError::into_inner);
            status.error =
                Some("the keeper of captures did not take a message: a file is not kept track of".to_owned());
        }
    }

    fn end(&mut self) {
        self.messages = None;
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the keeper of captures ended unexpectedly");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// A view of a keeper, that outlives it.
#[derive(Clone, Debug)]
pub(crate) struct KeeperMonitor {
    shared: Arc<Shared>,
}

impl KeeperMonitor {
    /// What the keeper has done and is doing, or had done at its end.
    pub(crate) fn status(&self) -> KeptSnapshot {
        self.shared.status()
    }

    /// What became of files whose writers were killed.
    pub(crate) fn torn(&self) -> TornFiles {
        *self.shared.torn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn status(&self) -> KeptSnapshot {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests;
