//! Finding out which protocol a stream is of, by its first bytes.

use super::streams::StreamAnalyser;
use super::work::Work;
use crate::protocols::{Guess, Opening, Side};
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
    /// What was given is the analyser's, after what was kept before. The sides may have been turned round.
    Protocol(StreamAnalyser),
}

impl Detection {
    /// Looks at the next piece of the stream.
    pub(super) fn take(&mut self, delivery: Delivery<'_>, work: &mut Work<'_>) -> Found {
        let kept_bytes = &mut *work.kept_bytes;
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
            originator_port: work.facts.tuple.source_port,
            responder_port: work.facts.tuple.destination_port,
        };
        if !joined {
            match from {
                Side::Originator => opening.originator = bytes,
                Side::Responder => opening.responder = bytes,
            }
        }
        let (found, turn) = recognise(&opening, work.may_turn);
        let own = &mut self.kept[from.index()];
        let before = if joined { own.len().saturating_sub(bytes.len().min(KEPT_MAX)) } else { 0 };
        own.truncate(before);
        let together = self.kept.iter().map(Vec::len).sum::<usize>() + bytes.len();
        match found {
            Ok(analyser) => {
                if turn {
                    work.turn();
                    self.turn();
                }
                Found::Protocol(analyser)
            }
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

    fn turn(&mut self) {
        self.kept.swap(0, 1);
        for (from, _) in &mut self.pieces {
            *from = from.other();
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

/// The analyser of a stream that begins so, and whether its sides are the other way round, where they may be.
fn recognise(opening: &Opening<'_>, may_turn: bool) -> (Result<StreamAnalyser, Guess>, bool) {
    let found = StreamAnalyser::recognise(opening);
    if !may_turn {
        return (found, false);
    }
    match found {
        Ok(analyser) => {
            let turn = analyser.client(opening) == Some(Side::Responder);
            (Ok(analyser), turn)
        }
        // Some protocols are known by what only one side says.
        Err(guess) => match StreamAnalyser::recognise(&opening.turned()) {
            Ok(analyser) => (Ok(analyser), true),
            Err(_) => (Err(guess), false),
        },
    }
}
