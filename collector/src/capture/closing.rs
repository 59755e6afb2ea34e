//! What is done with files once the writer has begun or ended them, on threads of their own: the writer never waits for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::CaptureError;
use super::keeper::{ClosedCapture, Keeper, KeeperMonitor, KeeperSettings};
use super::pages::Pages;
use crate::settings::{CaptureSettings, Keeping};

/// Closed files that wait; one more goes to the keeper without an index, which a search then makes.
const WAITING_MAX: usize = 64;
/// With so many waiting, those that come are not indexed: what is known for an index takes memory.
const INDEXES_MAX: usize = 4;

/// Writes the index of each file that is closed, and gives the file to the keeper.
#[derive(Debug)]
pub(super) struct Closing {
    keeper: Arc<Keeper>,
    /// `None` when no more files will be closed.
    closed: Mutex<Option<Sender<ClosedFile>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A file that is complete.
#[derive(Debug)]
pub(super) struct ClosedFile {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) records: u64,
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    /// What is known for its index.
    pub(super) pages: Option<Pages>,
}

impl ClosedFile {
    fn capture(self) -> ClosedCapture {
        let Self { name, bytes, records, first_ns, last_ns, .. } = self;
        ClosedCapture { name, bytes, records, first_ns, last_ns }
    }
}

impl Closing {
    pub(super) fn start(settings: &CaptureSettings) -> Result<Self, CaptureError> {
        let Keeping { retention, hook, compress } = settings.keeping.clone();
        let keeper = KeeperSettings { directory: settings.directory.clone(), retention, hook, compress };
        let keeper = Arc::new(Keeper::start(keeper)?);
        let (closed, files) = bounded(WAITING_MAX);
        let of_thread = Arc::clone(&keeper);
        let thread = std::thread::Builder::new()
            .name("vxtap-index".to_owned())
            .spawn(move || close_all(&files, &of_thread))
            .map_err(CaptureError::Thread)?;
        Ok(Self { keeper, closed: Mutex::new(Some(closed)), thread: Mutex::new(Some(thread)) })
    }

    /// A file has got its name.
    pub(super) fn opened(&self, name: &str) {
        self.keeper.opened(name);
    }

    /// A file is complete.
    pub(super) fn closed(&self, mut file: ClosedFile) {
        let sender = self.closed.lock().ok().and_then(|sender| sender.clone());
        let Some(sender) = sender else { return };
        if sender.len() >= INDEXES_MAX {
            file.pages = None;
        }
        if let Err(TrySendError::Full(file) | TrySendError::Disconnected(file)) = sender.try_send(file) {
            self.keeper.closed(file.capture());
        }
    }

    /// Whether so many bytes may be written to the directory's file system now; waits a little for room.
    pub(super) fn may_write(&self, bytes: u64) -> bool {
        self.keeper.may_write() && self.keeper.has_room_for(bytes)
    }

    /// A view of the keeper that outlives the run.
    pub(super) fn monitor(&self) -> KeeperMonitor {
        self.keeper.monitor()
    }

    /// Waits until all that was closed is done.
    pub(super) fn finish(self) {
        let Self { keeper, closed, thread } = self;
        drop(closed);
        let thread = thread.into_inner().ok().flatten();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::warn!("the thread that writes indexes of captures ended unexpectedly");
        }
        if let Some(keeper) = Arc::into_inner(keeper) {
            keeper.finish();
        }
    }
}

/// The thread: until no more files will be closed.
fn close_all(files: &Receiver<ClosedFile>, keeper: &Keeper) {
    for mut file in files {
        let ClosedFile { path, bytes, pages, .. } = &mut file;
        if let Some(pages) = pages.take()
            && let Err(error) = pages.finish().write(path, *bytes)
        {
            // A search makes it again.
            tracing::debug!("cannot write the index of '{}': {error}", path.display());
        }
        keeper.closed(file.capture());
    }
}
