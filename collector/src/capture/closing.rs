//! What is done with files once the writer has begun or ended them, on threads of their own: the writer never waits for it.

use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::CaptureError;
use super::pages::Pages;

/// Closed files that wait; one more is not told. A search then makes its index.
const WAITING_MAX: usize = 64;
/// With so many waiting, those that come are not indexed: what is known for an index takes memory.
const INDEXES_MAX: usize = 4;

/// Writes the index of each file that is closed.
#[derive(Debug)]
pub(super) struct Closing {
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

impl Closing {
    pub(super) fn start() -> Result<Self, CaptureError> {
        let (closed, files) = bounded(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("vxtap-index".to_owned())
            .spawn(move || close_all(&files))
            .map_err(CaptureError::Thread)?;
        Ok(Self { closed: Mutex::new(Some(closed)), thread: Mutex::new(Some(thread)) })
    }

    /// A file has got its name.
    pub(super) fn opened(&self, _name: &str) {}

    /// A file is complete.
    pub(super) fn closed(&self, mut file: ClosedFile) {
        let sender = self.closed.lock().ok().and_then(|sender| sender.clone());
        let Some(sender) = sender else { return };
        if sender.len() >= INDEXES_MAX {
            file.pages = None;
        }
        if sender.try_send(file).is_err() {
            tracing::warn!("closed capture files wait too long for their index; it will be made when it is needed");
        }
    }

    /// Whether the directory's file system has room that may be used.
    pub(super) fn may_write(&self) -> bool {
        true
    }

    /// Waits until all that was closed is done.
    pub(super) fn finish(&self) {
        if let Ok(mut sender) = self.closed.lock() {
            sender.take();
        }
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::warn!("the thread that writes indexes of captures ended unexpectedly");
        }
    }
}

/// The thread: until no more files will be closed.
fn close_all(files: &Receiver<ClosedFile>) {
    for file in files {
        let ClosedFile { path, bytes, pages, .. } = file;
        if let Some(pages) = pages
            && let Err(error) = pages.finish().write(&path, bytes)
        {
            // A search makes it again.
            tracing::debug!("cannot write the index of '{}': {error}", path.display());
        }
    }
}
