//! The files, shared by the workers of one `read`: whoever asks gets the next chunk.

use std::sync::{Mutex, MutexGuard, PoisonError};

use vxtap_analyzers::{DropReason, Ledger};
use vxtap_capfile::{CaptureReader, Chunk, ReadError};

use super::exchange::SharedFrame;

/// The files being read.
pub(super) struct FileReader {
    state: Mutex<State>,
    /// Chunks that are not in use.
    spare: Mutex<Vec<Chunk>>,
    /// Lists of frames that are not in use.
    spare_lists: Mutex<Vec<Vec<SharedFrame>>>,
}

struct State {
    /// Files still to be read, the next one last.
    files: Vec<CaptureReader>,
    next_number: u64,
    /// The first thing that was wrong with a file.
    damage: Option<ReadError>,
}

/// A chunk and its place in the order of the files.
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) chunk: Chunk,
}

impl FileReader {
    pub(super) fn new(mut files: Vec<CaptureReader>) -> Self {
        files.reverse();
        Self {
            state: Mutex::new(State { files, next_number: 0, damage: None }),
            spare: Mutex::default(),
            spare_lists: Mutex::default(),
        }
    }

    /// The next chunk; `None` when all files are at their end. Damage on the way counts as one packet, in `ledger`.
    pub(super) fn next(&self, ledger: &mut Ledger) -> Option<Numbered> {
        let mut chunk = lock(&self.spare).pop().unwrap_or_default();
        let mut state = lock(&self.state);
        loop {
            match state.files.last_mut()?.next_chunk(&mut chunk) {
                Ok(true) => {
                    let number = state.next_number;
                    state.next_number += 1;
                    return Some(Numbered { number, chunk });
                }
                Ok(false) => {
                    state.files.pop();
                }
                Err(error) => {
                    ledger.received += 1;
                    ledger.drop_one(DropReason::FileDamaged);
                    // The first one is the run's error; the others are told at once.
                    if state.damage.is_none() {
                        state.damage = Some(error);
                    } else {
                        tracing::error!("{error}");
                    }
                    state.files.pop();
                }
            }
        }
    }

    /// How many chunks there were, once all files are at their end.
    pub(super) fn chunks_in_all(&self) -> Option<u64> {
        let state = lock(&self.state);
        state.files.is_empty().then_some(state.next_number)
    }

    /// Takes a chunk back for use.
    pub(super) fn give_back(&self, chunk: Chunk) {
        lock(&self.spare).push(chunk);
    }

    /// An empty list.
    pub(super) fn empty_list(&self) -> Vec<SharedFrame> {
        lock(&self.spare_lists).pop().unwrap_or_default()
    }

    /// Takes a list back for use.
    pub(super) fn give_back_list(&self, mut list: Vec<SharedFrame>) {
        list.clear();
        lock(&self.spare_lists).push(list);
    }

    /// What was wrong with a file; the first, where there were several.
    pub(super) fn damage(&self) -> Option<ReadError> {
        lock(&self.state).damage.take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
