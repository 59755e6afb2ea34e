//! Cutting one side of a stream into messages that begin with their length.

use super::{Context, Guess, Next, Pending, Side};

/// What the bytes at a message's start say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// More bytes are needed to tell.
    Unknown,
    /// A message of `length` bytes, its header included, the first `wanted` of which are of interest.
    Message { length: u64, wanted: usize },
    /// No message begins so.
    Nonsense,
}

/// The beginning of a message, as much as was wanted of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// From its header on.
    pub(super) bytes: &'a [u8],
    /// The whole, in bytes, with its header.
    pub(super) length: u64,
    /// Less is there than was wanted: the rest is missing.
    pub(super) cut: bool,
}

/// A protocol whose messages begin with their length.
pub(super) trait Framed {
    /// The most bytes of a message that are ever wanted, and the most that are kept of one side.
    const WANTED_MAX: usize;

    /// How long the message is that begins here. Bytes are never empty.
    fn measure(&self, from: Side, bytes: &[u8]) -> Measure;

    /// The next message.
    fn message(&mut self, from: Side, message: Message<'_>, cx: &mut Context<'_>) -> Next;

    /// Where a side is picked up in the middle: whether a message begins with the first bytes that are seen of it.
    fn begins(&self, _: Side, _: &[u8]) -> Guess {
        Guess::Yes
    }

    /// After bytes were missing: whether a message begins here, where a packet does.
    fn resumes(&self, from: Side, bytes: &[u8]) -> Guess;

    /// The same of bytes behind the first as well, where the protocol can tell a message from what else may be there: at which one begins.
    fn seek(&self, from: Side, bytes: &[u8]) -> (usize, Guess) {
        (0, self.resumes(from, bytes))
    }

    /// Where messages of that side begin is not known any more: bytes are missing, or make no sense.
    fn lost(&mut self, from: Side, cx: &mut Context<'_>) -> Next;
}

/// Where one side of a stream is between its messages. What is not wanted of a message is skipped, not kept.
#[derive(Debug, Default)]
pub(super) struct Framer {
    pending: Pending,
    skip: u64,
    lost: bool,
    /// Something of the side was seen, or missed.
    began: bool,
}

impl Framer {
    /// The next bytes of the side.
    pub(super) fn data<F: Framed>(&mut self, from: Side, piece: &[u8], to: &mut F, cx: &mut Context<'_>) -> Next {
        if !std::mem::replace(&mut self.began, true) && cx.is_joined(from) && to.begins(from, piece) == Guess::No {
            self.lost = true;
            let next = to.lost(from, cx);
            if next != Next::More {
                return next;
            }
        }
        let skipped = self.skip.min(piece.len() as u64);
        self.skip -= skipped;
        let piece = piece.get(skipped as usize..).unwrap_or_default();
        if piece.is_empty() {
            return Next::More;
        }
        let Self { pending, skip, lost, .. } = self;
        let mut next = Next::More;
        let kept = pending.with(piece, F::WANTED_MAX, |bytes| {
            let newest = bytes.len() - piece.len();
            let mut used = 0;
            while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty() && next == Next::More) {
                if *lost {
                    match to.seek(from, rest) {
                        (at, Guess::Yes) => {
                            *lost = false;
                            used += at;
                            continue;
                        }
                        (_, Guess::Perhaps) => break,
                        // What was kept from earlier pieces is no message; the newest may begin one.
                        (_, Guess::No) if used < newest => {
                            used = newest;
                            continue;
                        }
                        (_, Guess::No) => return bytes.len(),
                    }
                }
                match to.measure(from, rest) {
                    Measure::Unknown => break,
                    Measure::Nonsense => {
                        *lost = true;
                        next = to.lost(from, cx);
                        return bytes.len();
                    }
                    Measure::Message { length, wanted } => {
                        let length = length.max(1);
                        let shown = length.min(wanted.clamp(1, F::WANTED_MAX) as u64) as usize;
                        let Some(shown) = rest.get(..shown) else { break };
                        next = to.message(from, Message { bytes: shown, length, cut: false }, cx);
                        let here = length.min(rest.len() as u64);
                        *skip = length - here;
                        used += here as usize;
                    }
                }
            }
            used
        });
        if !kept && next == Next::More {
            self.lost = true;
            next = to.lost(from, cx);
        }
        next
    }

    /// So many bytes of the side are missing. Within a message whose length is known that is no more than a hole.
    pub(super) fn gap<F: Framed>(&mut self, from: Side, bytes: u64, to: &mut F, cx: &mut Context<'_>) -> Next {
        self.began = true;
        if self.skip >= bytes {
            self.skip -= bytes;
            return Next::More;
        }
        if self.skip == 0
            && let Some((left, next)) = self.cut(from, to, cx)
        {
            self.skip = left.saturating_sub(bytes);
            if left >= bytes || next != Next::More {
                return next;
            }
        }
        self.pending.clear();
        self.skip = 0;
        if self.lost {
            return Next::More;
        }
        self.lost = true;
        to.lost(from, cx)
    }

    /// What is kept does not begin with a message, nor need what comes next.
    pub(super) fn doubt(&mut self) {
        self.pending.clear();
        self.lost = true;
    }

    /// Memory that what is kept of a message takes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.pending.size()
    }

    /// Nothing more comes.
    pub(super) fn end<F: Framed>(&mut self, from: Side, to: &mut F, cx: &mut Context<'_>) {
        self.cut(from, to, cx);
        self.pending.clear();
    }

    /// Gives the beginning of a message that is not there to its end; gives how many bytes of it are missing.
    fn cut<F: Framed>(&mut self, from: Side, to: &mut F, cx: &mut Context<'_>) -> Option<(u64, Next)> {
        let bytes = self.pending.bytes();
        if self.lost || bytes.is_empty() {
            return None;
        }
        let Measure::Message { length, .. } = to.measure(from, bytes) else { return None };
        let left = length.saturating_sub(bytes.len() as u64);
        let next = to.message(from, Message { bytes, length, cut: true }, cx);
        self.pending.clear();
        Some((left, next))
    }
}

#[cfg(test)]
mod tests;
