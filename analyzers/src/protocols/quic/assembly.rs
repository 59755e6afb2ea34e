//! The handshake of one side, out of pieces that come in any order.

use std::ops::Range;

/// Pieces that reach further than this are left out: hellos have a few KiB.
pub(crate) const HANDSHAKE_MAX: usize = 64 * 1024;
/// Runs of bytes with gaps between them; a piece that would make more is left out. Clients cut their hello into a
/// dozen, and shuffle them.
pub(crate) const RUNS_MAX: usize = 64;

/// What is there of the handshake of one side.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    bytes: Vec<u8>,
    /// What of the bytes is there: in order, apart from each other.
    runs: Vec<Range<usize>>,
}

impl Assembly {
    /// Memory that this takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity() + self.runs.capacity() * size_of::<Range<usize>>()
    }

    /// Puts a piece in its place.
    pub(crate) fn insert(&mut self, offset: u64, piece: &[u8]) {
        let Some(start) = usize::try_from(offset).ok().filter(|start| *start <= HANDSHAKE_MAX) else {
            return;
        };
        let mut run = start..start + piece.len();
        if piece.is_empty() || run.end > HANDSHAKE_MAX {
            return;
        }
        let touches = |other: &Range<usize>| other.start <= run.end && run.start <= other.end;
        let first = self.runs.iter().position(touches);
        if first.is_none() && self.runs.len() == RUNS_MAX {
            return;
        }
        if self.bytes.len() < run.end {
            self.bytes.resize(run.end, 0);
        }
        self.bytes[run.clone()].copy_from_slice(piece);
        let at = first.unwrap_or_else(|| self.runs.partition_point(|other| other.start < run.start));
        let count = self.runs[at..].iter().take_while(|other| other.start <= run.end && run.start <= other.end).count();
        for other in self.runs.drain(at..at + count) {
            run = run.start.min(other.start)..run.end.max(other.end);
        }
        self.runs.insert(at, run);
    }

    /// What is there from the beginning on, up to the first gap.
    pub(crate) fn beginning(&self) -> &[u8] {
        match self.runs.first() {
            Some(run) if run.start == 0 => &self.bytes[run.clone()],
            _ => &[],
        }
    }

    /// Whether a piece is there, but not what is in front of it.
    pub(crate) fn has_holes(&self) -> bool {
        self.runs.last().is_some_and(|run| run.start > 0)
    }

    /// Forgets all, and gives back the memory.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
