//! The files, shared by the workers of one `read`: whoever asks gets the next chunk.
//!
//! What costs time is the kernel's copy of the bytes. Each worker has its own part of the file copied at the same time as
//! the others; only finding where the records begin goes in turn, since the end of one part tells where the next begins.
//! What is no regular file is read in turn.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vxtap_analyzers::{DropReason, Ledger};
use vxtap_capfile::{CaptureReader, Chunk, Windows};

use super::exchange::SharedFrame;
use super::files::Waiting;
use super::origins::Origins;
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
    file: Current,
    /// The files behind it.
    waiting: VecDeque<Waiting>,
    origins: Arc<Origins>,
    next_number: u64,
}

/// How the file whose turn it is is read.
enum Current {
    /// By windows.
    Windows(Windows),
    /// In turn.
    InTurn,
    /// There is none: the next one is to be opened, where there is one.
    None,
}

/// Where the records are.
struct Records {
    /// The same file.
    file: Option<CaptureReader>,
    /// The first thing that was wrong with a file.
    damage: Option<anyhow::Error>,
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
    pub(super) fn new(files: Vec<Waiting>, workers: u32, origins: Arc<Origins>) -> Self {
        Self {
            claims: Mutex::new(Claims { file: Current::None, waiting: files.into(), origins, next_number: 0 }),
            records: Mutex::new(Records { file: None, damage: None }),
            turns: Turns::default(),
            spare: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// The next chunk, which may be empty, for `worker`; `None` when all files are at their end. Damage on the way counts as one packet,
    /// in `ledger`.
    pub(super) fn next(&self, worker: usize, ledger: &mut Ledger) -> Option<Numbered> {
        let mut chunk = lock(&self.spare[worker]).chunks.pop().unwrap_or_default();
        let mut claims = lock(&self.claims);
        if claims.is_at_the_end() {
            return None;
        }
        let number = claims.next_number;
        claims.next_number += 1;
        let window = match &mut claims.file {
            Current::Windows(windows) => windows.next(),
            Current::InTurn | Current::None => None,
        };
        if let Some(window) = window {
            drop(claims);
            chunk.read(&window);
            let mut records = self.wait_for_turn(number);
            if let Some(Err(error)) = records.file.as_mut().map(|file| file.records_in(&mut chunk)) {
                records.note_damage(error, ledger);
            }
            drop(records);
            self.turns.end();
        } else {
            // Whatever is left of the file, and whether it ends where a record does. Until that is known nobody can say what
            // comes next, so the claims stay locked.
            let mut records = self.wait_for_turn(number);
            let more = records.file.as_mut().map_or(Ok(false), |file| file.next_chunk(&mut chunk));
            let goes_on = matches!(more, Ok(true));
            if let Err(error) = more {
                records.note_damage(error, ledger);
            }
            if !goes_on {
                claims.go_on(&mut records, ledger);
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
        claims.is_at_the_end().then_some(claims.next_number)
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
    pub(super) fn damage(&self) -> Option<anyhow::Error> {
        lock(&self.records).damage.take()
    }
}

impl Claims {
    fn is_at_the_end(&self) -> bool {
        matches!(self.file, Current::None) && self.waiting.is_empty()
    }

    /// Opens the next file that can be opened, if there is one.
    fn go_on(&mut self, records: &mut Records, ledger: &mut Ledger) {
        (self.file, records.file) = (Current::None, None);
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.open() {
                Ok(mut file) => {
                    file.interpret_descriptions(self.origins.interpret());
                    self.file = file.windows().map_or(Current::InTurn, Current::Windows);
                    records.file = Some(file);
                    return;
                }
                Err(error) => records.note_damage(error, ledger),
            }
        }
    }
}

impl Records {
    /// The first one is the run's error; the others are told at once.
    fn note_damage(&mut self, error: impl Into<anyhow::Error>, ledger: &mut Ledger) {
        let error = error.into();
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
