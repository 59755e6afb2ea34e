//! Writing without a thread for it.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{BlockLane, Marks};

/// Writes blocks in the thread of the worker that hands them over.
pub(super) trait WriteInPlace: fmt::Debug + Send + Sync {
    /// Has what was handed over written and given back; ends the writer when every lane is closed.
    fn write(&self);
}

/// A writer of blocks, which a thread of its own makes write, or the workers do ([`write_in_place`]).
pub(crate) trait BlockWriter: Send {
    /// Writes what there is, and where that is nothing what comes within `time`; `false` when every lane is closed and all of it written.
    fn round(&mut self, time: Option<Duration>) -> bool;

    /// Ends what was written.
    fn close(self);
}

/// From now on whoever hands over to one of `lanes`, which are all that end in the queue of `writer`, has it write. They wait for each other
/// here, unless they hand over in turns.
pub(crate) fn write_in_place<M: Marks>(lanes: &mut [BlockLane<M>], writer: impl BlockWriter + 'static) {
    let writer: Arc<dyn WriteInPlace> = Arc::new(InPlace(Mutex::new(Some(writer))));
    for lane in lanes {
        lane.in_place = Some(Arc::clone(&writer));
    }
}

/// The writer where there is no thread; `None` when it has ended.
struct InPlace<W>(Mutex<Option<W>>);

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
