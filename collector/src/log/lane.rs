//! A worker's side of the log.

use vxtap_analyzers::protocols::{EventKind, EventKinds};

use super::{PATIENCE, lines_in};
use crate::blocks::{BlockLane, WhenFull};

/// Takes the events of one worker. Dropping it hands over what it has; the log ends when every lane is dropped.
#[derive(Debug)]
pub struct EventLane {
    blocks: BlockLane,
    wanted: EventKinds,
    /// The line being made: its length is not known before.
    line: Vec<u8>,
    longest: usize,
}

impl EventLane {
    /// Sets what happens when the writer has all blocks; a new lane refuses.
    pub(crate) fn set_when_full(&mut self, when_full: WhenFull) {
        self.blocks.set_when_full(when_full);
    }

    /// From now on the lane waits for a writer that has all blocks, unless that is stuck ([`PATIENCE`]). For the end of a run; a lane that
    /// waited already goes on with that.
    pub(crate) fn wait_when_full(&mut self) {
        if self.blocks.when_full() == WhenFull::Refuse {
            self.blocks.set_when_full(WhenFull::WaitUpTo(PATIENCE));
        }
    }

    pub(super) const fn new(blocks: BlockLane, wanted: EventKinds, longest: usize) -> Self {
        Self { blocks, wanted, line: Vec::new(), longest }
    }

    /// Bytes of events that may be put off and for which there is room now, without limit where the lane waits. A lane that refuses keeps half
    /// its blocks for those that cannot be put off.
    #[inline]
    pub(crate) fn room(&mut self) -> usize {
        match self.blocks.when_full() {
            WhenFull::Refuse if self.blocks.is_half_empty() => self.longest,
            WhenFull::Refuse => 0,
            WhenFull::Wait | WhenFull::WaitUpTo(_) => usize::MAX,
        }
    }

    /// Whether events of `kind` are wanted. Others are not to be made; the lane takes what it is given.
    #[inline]
    pub const fn wants(&self, kind: EventKind) -> bool {
        self.wanted.has(kind)
    }

    /// The kinds of events that are wanted.
    pub const fn wanted(&self) -> EventKinds {
        self.wanted
    }

    /// Has `write` make one event: one JSON object in one line, with or without the line's end. It is counted as dropped where
    /// the writer is so far behind that no block is empty, or where it is longer than a block. Nothing written is
    /// no event.
    pub fn event(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.line.clear();
        write(&mut self.line);
        match self.line.last() {
            None => return,
            Some(b'\n') => {}
            Some(_) => self.line.push(b'\n'),
        }
        let line = &self.line;
        let _ = self.blocks.append(line.len(), |block| block.extend_from_slice(line));
        // One long line must not keep its memory.
        if self.line.capacity() > self.longest {
            self.line = Vec::new();
        }
    }

    /// Takes `count` events, one line each with its line feed: what [`vxtap_analyzers::protocols::Events::take`] gives. More than
    /// one block holds go into several, cut between lines; those that no block takes, and a line longer than a block, are
    /// counted as dropped.
    pub fn lines(&mut self, lines: &[u8], count: u64) {
        let (mut rest, mut left) = (lines, count);
        while rest.len() > self.longest {
            let is_end = |byte: &u8| *byte == b'\n';
            let end = rest[..self.longest].iter().rposition(is_end).or_else(|| rest.iter().position(is_end));
            let Some(end) = end else { break };
            let (piece, behind) = rest.split_at(end + 1);
            let records = lines_in(piece).min(left);
            self.append(piece, records);
            (rest, left) = (behind, left - records);
        }
        if left > 0 {
            self.append(rest, left);
        }
    }

    fn append(&mut self, lines: &[u8], count: u64) {
        let _ = self.blocks.append_several(lines.len(), count, |block| block.extend_from_slice(lines));
    }

    /// Hands over a block that is not full when its first event has waited for the flush time. To be called after each
    /// batch and when [`EventLane::next_flush_ns`] has come. `now_ns` is any clock that does not go backwards.
    #[inline]
    pub fn flush_if_due(&mut self, now_ns: u64) {
        self.blocks.flush_if_due(now_ns);
    }

    /// When [`EventLane::flush_if_due`] has to be called next, on its clock; `None` while nothing waits.
    #[inline]
    pub fn next_flush_ns(&self) -> Option<u64> {
        self.blocks.next_flush_ns()
    }

    /// Hands over what there is.
    pub fn flush(&mut self) {
        self.blocks.flush();
    }

    /// Events dropped by this lane; part of [`super::LogMonitor`]'s count.
    pub const fn dropped(&self) -> u64 {
        self.blocks.refused()
    }
}
