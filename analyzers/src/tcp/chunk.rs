//! Payload at its place in the stream.

/// How many of the last delivered bytes are kept to compare with.
const TAIL: usize = 15;

/// The payload of a segment: bytes, and behind them so many that were cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    pub(super) start: u64,
    pub(super) bytes: &'a [u8],
    pub(super) cut: u32,
}

impl Chunk<'_> {
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64 + u64::from(self.cut)
    }

    pub(super) fn end(&self) -> u64 {
        self.start + self.len()
    }

    /// Position of what was cut off.
    pub(super) fn cut_start(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Leaves out what is before `position`.
    pub(super) fn skip_to(&mut self, position: u64) {
        let skip = position.saturating_sub(self.start).min(self.len());
        let bytes = skip.min(self.bytes.len() as u64);
        self.bytes = self.bytes.get(bytes as usize..).unwrap_or_default();
        self.cut -= (skip - bytes) as u32;
        self.start += skip;
    }

    /// Leaves out what is behind `position`; gives whether there was something.
    pub(super) fn end_at(&mut self, position: u64) -> bool {
        if self.end() <= position {
            return false;
        }
        let len = position.saturating_sub(self.start);
        let bytes = len.min(self.bytes.len() as u64);
        self.bytes = self.bytes.get(..bytes as usize).unwrap_or_default();
        self.cut = (len - bytes) as u32;
        true
    }
}

/// The last bytes delivered, as long as nothing was missing behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    bytes: [u8; TAIL],
    /// How many of them, at the end, are of the stream.
    len: u8,
}

impl Tail {
    /// `chunk` comes behind.
    pub(super) fn follow(&mut self, chunk: &Chunk<'_>) {
        if chunk.cut > 0 {
            self.len = 0;
        } else if let Some(last) = chunk.bytes.last_chunk::<TAIL>() {
            self.bytes = *last;
            self.len = TAIL as u8;
        } else {
            let new = chunk.bytes.len();
            self.bytes.copy_within(new.., 0);
            self.bytes[TAIL - new..].copy_from_slice(chunk.bytes);
            self.len = (self.len + new as u8).min(TAIL as u8);
        }
    }

    /// Whether `chunk` has another byte in place of one of these, which end at `next`.
    pub(super) fn differs(&self, next: u64, chunk: &Chunk<'_>) -> bool {
        let begin = next.saturating_sub(u64::from(self.len));
        let (from, to) = (chunk.start.max(begin), chunk.cut_start().min(next));
        if from >= to {
            return false;
        }
        let first = TAIL - (next - from) as usize;
        let old = self.bytes.get(first..first + (to - from) as usize);
        old != chunk.bytes.get((from - chunk.start) as usize..(to - chunk.start) as usize)
    }
}
