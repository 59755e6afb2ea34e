//! Writing without a thread for it.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

/// Writes blocks in the thread of the worker that hands them over.
pub(crate) trait WriteInPlace: fmt::Debug + Send + Sync {
    /// Has what was handed over written and given back; ends the writer when every lane is closed.
    fn write(&self);
}

/// A writer of blocks, which a thread of its own or [`InPlace`] makes write.
pub(crate) trait BlockWriter: Send {
    /// Writes what there is, and where that is nothing what comes within `time`; `false` when every lane is closed and all of it written.
    fn round(&mut self, time: Option<Duration>) -> bool;

    /// Ends what was written.
    fn close(self);
}

/// The writer where there is no thread. Workers wait here for each other, unless they hand over in turns.
pub(crate) struct InPlace<W>(Mutex<Option<W>>);

impl<W: BlockWriter> InPlace<W> {
    pub(crate) const fn new(writer: W) -> Self {
        Self(Mutex::new(Some(writer)))
    }
}

impl<W: BlockWriter> WriteInPlace for InPlace<W> {
    fn write(&self) {
        let mut writer = self.0.lock().unwrap_or_else(|poisoned| {
            // A worker has panicked here. Without an end of theirs the lanes refuse what comes.
            let mut writer = poisoned.into_inner();
            *writer = None;
            writer
        });
        let more = writer.as_mut().is_none_or(|writer| writer.round(Some(Duration::ZERO)));
        if !more && let Some(writer) = writer.take() {
            writer.close();
        }
    }
}

impl<W> fmt::Debug for InPlace<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InPlace")
    }
}
