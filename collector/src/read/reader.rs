//! The files, shared by the workers of one `read`: whoever asks gets the next chunk.
//!
//! What costs time is the kernel's copy of the bytes. Each worker has its own part of the file copied at the same time as
//! the others; only finding where the records begin goes in turn, since the end of one part tells where the next begins.
//! What is no regular file is read in turn.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vxtap_analyzers::{DropReason, Ledger};
use vxtap_capfile::{CaptureReader, Chunk, ReadError, Windows};

use super::exchange::SharedFrame;
use crate::turns::Turns;

/// The files being read.
pub(super) struct FileReader {
    claims: Mutex<Claims>,
    records: Mutex<Records>,
    /// The chunk whose records are to be found.
    turns: Turns,
    /// What each worker fills and is not in use. It comes back to the worker that filled it, in whose CPU's cache it may be still.
    spare: Vec<Mutex<Spare>>,
}

#[derive(Default)]
struct Spare {
    chunks: Vec<Chunk>,
    lists: Vec<Vec<SharedFrame>>,
}

/// What is not yet read.
struct Claims {
    /// Files, the current one first; `None` where a file has to be read in turn.
    files: VecDeque<Option<Windows>>,
    next_number: u64,
}

/// Where the records are.
struct Records {
    /// The same files.
    files: VecDeque<CaptureReader>,
    /// The first thing that was wrong with a file.
    damage: Option<ReadError>,
}

/// A chunk and its place in the order of the files.
pub(super) struct Numbered {
    pub(super) number: u64,
    /// The worker that took it.
    pub(super) taker: usize,
    pub(super) chunk: Chunk,
}

impl FileReader {
    /// The files for `workers` workers, which are numbered from 0.
    pub(super) fn new(files: Vec<CaptureReader>, workers: u32) -> Self {
        let mut files = VecDeque::from(files);
        let claims = Claims { files: files.iter_mut().map(CaptureReader::windows).collect(), next_number: 0 };
        Self {
            claims: Mutex::new(claims),
            records: Mutex::new(Records { files, damage: None }),
            turns: Turns::default(),
            spare: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// The next chunk, which may be empty, for `worker`; `None` when all files are at their end. Damage on the way counts as one packet,
    /// in `ledger`.
    pub(super) fn next(&self, worker: usize, ledger: &mut Ledger) -> Option<Numbered> {
        let mut chunk = lock(&self.spare[worker]).chunks.pop().unwrap_or_default();
        let mut claims = lock(&self.claims);
        let file = claims.files.front_mut()?;
        let window = file.as_mut().and_then(Windows::next);
        let number = claims.next_number;
        claims.next_number += 1;
        if let Some(window) = window {
            drop(claims);
            chunk.read(&window);
            let mut records = self.wait_for_turn(number);
            if let Some(Err(error)) = records.files.front_mut().map(|file| file.records_in(&mut chunk)) {
                records.note_damage(error, ledger);
            }
            drop(records);
            self.turns.end();
        } else {
            // Whatever is left of the file, and whether it ends where a record does. Until that is known nobody can say what
            // comes next, so the claims stay locked.
            let mut records = self.wait_for_turn(number);
            let more = records.files.front_mut().map_or(Ok(false), |file| file.next_chunk(&mut chunk));
            if !matches!(more, Ok(true)) {
                claims.files.pop_front();
                records.files.pop_front();
            }
            if let Err(error) = more {
                records.note_damage(error, ledger);
            }
            drop(records);
            self.turns.end();
        }
        Some(Numbered { number, taker: worker, chunk })
    }

    /// Every chunk has its turn, and none waits for anything else in it: those before this one are being read already.
    fn wait_for_turn(&self, number: u64) -> MutexGuard<'_, Records> {
        self.turns.wait(number);
        lock(&self.records)
    }

    /// How many chunks there were, once all files are at their end.
    pub(super) fn chunks_in_all(&self) -> Option<u64> {
        let claims = lock(&self.claims);
        claims.files.is_empty().then_some(claims.next_number)
    }

    /// Takes a chunk of `taker`'s back for use.
    pub(super) fn give_back(&self, taker: usize, chunk: Chunk) {
        lock(&self.spare[taker]).chunks.push(chunk);
    }

    /// An empty list for `taker` to fill.
    pub(super) fn empty_list(&self, taker: usize) -> Vec<SharedFrame> {
        lock(&self.spare[taker]).lists.pop().unwrap_or_default()
    }

    /// Takes a list that `taker` filled back for use.
    pub(super) fn give_back_list(&self, taker: usize, mut list: Vec<SharedFrame>) {
        list.clear();
        lock(&self.spare[taker]).lists.push(list);
    }

    /// What was wrong with a file; the first, where there were several.
    pub(super) fn damage(&self) -> Option<ReadError> {
        lock(&self.records).damage.take()
    }
}

impl Records {
    /// The first one is the run's error; the others are told at once.
    fn note_damage(&mut self, error: ReadError, ledger: &mut Ledger) {
        ledger.received += 1;
        ledger.drop_one(DropReason::FileDamaged);
        if self.damage.is_none() {
            self.damage = Some(error);
        } else {
            tracing::error!("{error}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
