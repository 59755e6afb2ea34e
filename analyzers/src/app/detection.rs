//! Finding out which protocol a stream is of, by its first bytes.

use super::streams::StreamAnalyser;
use crate::protocols::{FlowFacts, Guess, Opening, Side};
use crate::tcp::Delivery;

/// So many bytes of both sides are kept while no protocol is sure. What takes more is of none.
const KEPT_MAX: usize = 2048;
/// So many pieces.
const PIECES_MAX: usize = 16;
/// So many bytes are kept for all streams of a shard. Beyond it a stream whose first piece does not tell is of no protocol.
pub(crate) const SHARD_KEPT_MAX: usize = 32 << 20;

/// The beginning of a stream of which it is not known what it is. Takes no memory while nothing has come.
#[derive(Debug, Default)]
pub(super) struct Detection {
    kept: [Vec<u8>; 2],
    /// In the order in which they came: from whom, and how long.
    pieces: Vec<(Side, u16)>,
}

/// What a piece has told.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing; what was given is kept.
    Nothing,
    /// It is no protocol that is known.
    Foreign,
    /// What was given is the analyser's, after what was kept before.
    Protocol(StreamAnalyser),
}

impl Detection {
    /// Looks at the next piece of the stream.
    pub(super) fn take(&mut self, delivery: Delivery<'_>, kept_bytes: &mut usize, flow: &FlowFacts) -> Found {
        let (from, bytes) = match delivery {
            Delivery::Data(from, bytes) => (from, bytes),
            // What comes behind a hole, in the middle of something, may tell all the same; what came before it was too short to.
            Delivery::Gap(from, _) => {
                let kept = std::mem::take(&mut self.kept[from.index()]);
                *kept_bytes = kept_bytes.saturating_sub(kept.len());
                self.pieces.retain(|(side, _)| *side != from);
                return Found::Nothing;
            }
            Delivery::End(_) => return Found::Nothing,
        };
        if self.pieces.len() >= PIECES_MAX {
            return Found::Foreign;
        }
        // The piece where it lies, unless it goes on with one that was kept.
        let own = &mut self.kept[from.index()];
        let joined = !own.is_empty();
        if joined {
            own.extend_from_slice(&bytes[..bytes.len().min(KEPT_MAX)]);
        }
        let [originator, responder] = &self.kept;
        let mut opening = Opening {
            originator,
            responder,
            originator_port: flow.tuple.source_port,
            responder_port: flow.tuple.destination_port,
        };
        if !joined {
            match from {
                Side::Originator => opening.originator = bytes,
                Side::Responder => opening.responder = bytes,
            }
        }
        let found = StreamAnalyser::recognise(&opening);
        let own = &mut self.kept[from.index()];
        let before = if joined { own.len().saturating_sub(bytes.len().min(KEPT_MAX)) } else { 0 };
        own.truncate(before);
        let together = self.kept.iter().map(Vec::len).sum::<usize>() + bytes.len();
        match found {
            Ok(analyser) => Found::Protocol(analyser),
            // A side that says nothing known may be answered by one that does.
            Err(Guess::No) if self.kept.iter().all(Vec::is_empty) && together > KEPT_MAX => Found::Foreign,
            Err(_) if together <= KEPT_MAX && *kept_bytes + bytes.len() <= SHARD_KEPT_MAX => {
                self.kept[from.index()].extend_from_slice(bytes);
                self.pieces.push((from, bytes.len() as u16));
                *kept_bytes += bytes.len();
                Found::Nothing
            }
            Err(_) => Found::Foreign,
        }
    }

    /// Gives what was kept, in the order in which it came.
    pub(super) fn replay(&self, mut give: impl FnMut(Delivery<'_>)) {
        let mut at = [0; 2];
        for (from, length) in &self.pieces {
            let begin = at[from.index()];
            let end = begin + usize::from(*length);
            at[from.index()] = end;
            if let Some(piece) = self.kept[from.index()].get(begin..end) {
                give(Delivery::Data(*from, piece));
            }
        }
    }

    /// Gives back what was kept.
    pub(super) fn forget(&self, kept_bytes: &mut usize) {
        let kept: usize = self.kept.iter().map(Vec::len).sum();
        *kept_bytes = kept_bytes.saturating_sub(kept);
    }
}
