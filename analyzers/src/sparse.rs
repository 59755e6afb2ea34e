//! Bytes at positions, with holes between them: what came before its turn, of TCP segments and of IP fragments.

use std::collections::VecDeque;

/// What a piece is counted as besides its bytes, about what it takes of memory: so that tiny pieces are bounded as well.
pub(crate) const PIECE_COST: usize = 64;

/// Pieces in the order of their positions. No two overlap: of what comes twice the first copy is kept. Only bytes that the mirror had
/// cut off are filled in by a later copy that has them.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    pieces: VecDeque<Piece>,
    cost: usize,
}

/// Some bytes side by side.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Position of the first.
    pub(crate) start: u64,
    /// How many; never 0.
    pub(crate) len: u32,
    pub(crate) content: Content,
    /// When they came.
    pub(crate) time_ns: u64,
}

/// What is known of bytes.
#[derive(Debug)]
pub(crate) enum Content {
    /// All.
    Bytes(Box<[u8]>),
    /// That they were sent, and cut off by the mirror.
    Cut,
    /// That they were seen; nobody wanted them.
    Seen,
}

/// Bytes to be put in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run<'a> {
    Bytes(&'a [u8]),
    Cut(u32),
    Seen(u32),
}

impl Run<'_> {
    pub(crate) fn len(&self) -> u32 {
        match *self {
            Self::Bytes(bytes) => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Self::Cut(len) | Self::Seen(len) => len,
        }
    }

    /// What of it a piece from `from` to `to` keeps.
    fn content(&self, from: u64, to: u64) -> Content {
        match self {
            Self::Bytes(bytes) => Content::Bytes(bytes.get(from as usize..to as usize).unwrap_or_default().into()),
            Self::Cut(_) => Content::Cut,
            Self::Seen(_) => Content::Seen,
        }
    }
}

/// How much of some bytes is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overlap {
    /// So many, those that were cut off included.
    pub(crate) bytes: u64,
    /// Whether any of them is another byte.
    pub(crate) differs: bool,
}

impl Piece {
    /// Position behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + u64::from(self.len)
    }

    fn cost(&self) -> usize {
        match &self.content {
            Content::Bytes(bytes) => PIECE_COST + bytes.len(),
            Content::Cut | Content::Seen => PIECE_COST,
        }
    }

    fn bytes(&self, from: u64, to: u64) -> Option<&[u8]> {
        let Content::Bytes(bytes) = &self.content else { return None };
        bytes.get((from - self.start) as usize..(to - self.start) as usize)
    }
}

impl Sparse {
    /// Memory that the pieces take, about, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.cost
    }

    /// How many pieces.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The first piece.
    pub(crate) fn first(&self) -> Option<&Piece> {
        self.pieces.front()
    }

    /// Position behind the last piece.
    pub(crate) fn end(&self) -> Option<u64> {
        self.pieces.back().map(Piece::end)
    }

    /// All pieces in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// When the first piece behind `position` came.
    pub(crate) fn time_behind(&self, position: u64) -> Option<u64> {
        self.pieces.get(self.at(position)).map(|piece| piece.time_ns)
    }

    /// Takes the first piece out.
    pub(crate) fn pop(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.cost -= piece.cost();
        Some(piece)
    }

    /// What of `run`, which begins at `start`, is there.
    pub(crate) fn overlap(&self, start: u64, run: &Run<'_>) -> Overlap {
        let end = start + u64::from(run.len());
        let mut overlap = Overlap::default();
        for piece in self.pieces.range(self.at(start)..).take_while(|piece| piece.start < end) {
            let (from, to) = (piece.start.max(start), piece.end().min(end));
            overlap.bytes += to - from;
            if let (Run::Bytes(new), Some(old)) = (run, piece.bytes(from, to)) {
                overlap.differs |= new.get((from - start) as usize..(to - start) as usize) != Some(old);
            }
        }
        overlap
    }

    /// Puts in what of `run`, which begins at `start` and came at `time_ns`, is not there.
    pub(crate) fn insert(&mut self, start: u64, run: &Run<'_>, time_ns: u64) {
        let end = start + u64::from(run.len());
        if !matches!(run, Run::Cut(_)) {
            self.uncover(start, end);
        }
        let mut at = self.at(start);
        let mut from = start;
        while from < end {
            let (piece_start, piece_end) =
                self.pieces.get(at).map_or((u64::MAX, u64::MAX), |piece| (piece.start, piece.end()));
            if piece_start <= from {
                from = piece_end;
                at += 1;
                continue;
            }
            let to = piece_start.min(end);
            let content = run.content(from - start, to - start);
            at = self.put(at, Piece { start: from, len: (to - from) as u32, content, time_ns });
            from = to;
        }
    }

    /// Forgets the bytes, and keeps where they were.
    pub(crate) fn hollow(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        self.cost = 0;
        for mut piece in pieces {
            if matches!(piece.content, Content::Bytes(_)) {
                piece.content = Content::Seen;
            }
            self.put(self.pieces.len(), piece);
        }
    }

    /// Index of the first piece that ends behind `position`.
    fn at(&self, position: u64) -> usize {
        // Most of what comes is behind everything that is there.
        if self.pieces.back().is_none_or(|piece| piece.end() <= position) {
            return self.pieces.len();
        }
        self.pieces.partition_point(|piece| piece.end() <= position)
    }

    /// Puts `piece` in as number `at`, and gives the number of the one behind it. Pieces of which only is known that they were seen
    /// become one.
    fn put(&mut self, at: usize, piece: Piece) -> usize {
        if matches!(piece.content, Content::Seen)
            && let Some(before) = at.checked_sub(1).and_then(|before| self.pieces.get_mut(before))
            && matches!(before.content, Content::Seen)
            && before.end() == piece.start
            && let Some(len) = before.len.checked_add(piece.len)
        {
            before.len = len;
            return at;
        }
        self.cost += piece.cost();
        self.pieces.insert(at, piece);
        at + 1
    }

    /// Takes what was cut off between `start` and `end` out, to make room for the bytes themselves.
    fn uncover(&mut self, start: u64, end: u64) {
        let mut at = self.at(start);
        while let Some(piece) = self.pieces.get(at).filter(|piece| piece.start < end) {
            if !matches!(piece.content, Content::Cut) {
                at += 1;
                continue;
            }
            let (piece_start, piece_end, time_ns) = (piece.start, piece.end(), piece.time_ns);
            self.cost -= piece.cost();
            self.pieces.remove(at);
            for (from, to) in [(piece_start, start), (end, piece_end)] {
                if from < to {
                    at = self.put(at, Piece { start: from, len: (to - from) as u32, content: Content::Cut, time_ns });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
