//! Finding out which protocol a stream is of, by its first bytes.

use super::streams::StreamAnalyser;
use super::work::Work;
use crate::protocols::{Guess, Opening, Side};
use crate::tcp::Delivery;

/// So many bytes of both sides are kept while no protocol is sure. What takes more is of none.
const KEPT_MAX: usize = 2048;
/// So many pieces.
const PIECES_MAX: usize = 16;
/// So many pieces more are passed over of a side whose beginning was not shown, as long as the other one has said nothing: 256 KiB of what
/// may be the middle of a body. What the other side says then may tell.
const PASSED_MAX: u8 = 180;
/// So many bytes are kept for all streams of a shard. Beyond it a stream whose first piece does not tell is of no protocol.
pub(crate) const SHARD_KEPT_MAX: usize = 32 << 20;

/// The beginning of a stream of which it is not known what it is. Small as long as nothing is kept: most streams tell what they are with
/// their first piece.
#[derive(Debug, Default)]
pub(super) struct Detection {
    kept: Option<Box<Kept>>,
    /// Which sides have ended already: a server may close its half before the client says anything.
    ended: [bool; 2],
    /// Of which sides bytes are missing already, or were passed over.
    lost: [bool; 2],
    /// The side of which too much has come to be kept, and how many pieces of it were passed over.
    passed: Option<(Side, u8)>,
}

/// Pieces that did not tell.
#[derive(Debug, Default)]
struct Kept {
    bytes: [Vec<u8>; 2],
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
        let (from, bytes) = match delivery {
            Delivery::Data(from, bytes) => (from, bytes),
            // What comes behind a hole, in the middle of something, may tell all the same; what came before it was too short to.
            Delivery::Gap(from, _) => {
                self.lose(from, work.kept_bytes);
                return Found::Nothing;
            }
            Delivery::End(from) => {
                self.ended[from.index()] = true;
                return Found::Nothing;
            }
            Delivery::Came(_) => return Found::Nothing,
        };
        if let Some((side, count)) = &mut self.passed
            && *side == from
        {
            *count += 1;
            return if *count < PASSED_MAX { Found::Nothing } else { Found::Foreign };
        }
        let (found, turn) = match &mut self.kept {
            Some(kept) => kept.recognise_with(from, bytes, work),
            None => recognise(&opening([&[], &[]], (from, bytes), work), work.may_turn),
        };
        match found {
            Ok(analyser) => {
                if turn {
                    work.turn();
                    self.ended.swap(0, 1);
                    self.lost.swap(0, 1);
                    if let Some(kept) = &mut self.kept {
                        kept.turn();
                    }
                }
                Found::Protocol(analyser)
            }
            Err(_) => match self.keep((from, bytes), work.kept_bytes) {
                Found::Foreign if self.may_pass_over(from, work) => {
                    self.lose(from, work.kept_bytes);
                    self.passed = Some((from, 1));
                    Found::Nothing
                }
                found => found,
            },
        }
    }

    /// Whether a side of which too much has come may be in the middle of something, and what the other one says may yet tell of what.
    fn may_pass_over(&self, from: Side, work: &Work<'_>) -> bool {
        let other_is_kept = self.kept.as_ref().is_some_and(|kept| !kept.bytes[from.other().index()].is_empty());
        work.joined[from.index()] && !other_is_kept && self.passed.is_none()
    }

    /// Forgets what was kept of a side: what comes next does not go on with it.
    fn lose(&mut self, from: Side, kept_bytes: &mut usize) {
        self.lost[from.index()] = true;
        if let Some(kept) = &mut self.kept {
            let forgotten = std::mem::take(&mut kept.bytes[from.index()]).len();
            *kept_bytes = kept_bytes.saturating_sub(forgotten);
            kept.pieces.retain(|(side, _)| *side != from);
        }
    }

    /// Keeps a piece that has not told: a side that says nothing known may be answered by one that does.
    fn keep(&mut self, (from, bytes): (Side, &[u8]), kept_bytes: &mut usize) -> Found {
        if self.kept_len() + bytes.len() > KEPT_MAX || *kept_bytes + bytes.len() > SHARD_KEPT_MAX {
            return Found::Foreign;
        }
        let kept = self.kept.get_or_insert_default();
        if kept.pieces.len() >= PIECES_MAX {
            return Found::Foreign;
        }
        kept.bytes[from.index()].extend_from_slice(bytes);
        kept.pieces.push((from, bytes.len() as u16));
        *kept_bytes += bytes.len();
        Found::Nothing
    }

    /// The sides that have ended.
    pub(super) fn ended(&self) -> impl Iterator<Item = Side> {
        let ended = self.ended;
        [Side::Originator, Side::Responder].into_iter().filter(move |side| ended[side.index()])
    }

    /// The sides that bytes are missing of.
    pub(super) const fn lost(&self) -> [bool; 2] {
        self.lost
    }

    /// Gives what was kept, in the order in which it came.
    pub(super) fn replay(&self, mut give: impl FnMut(Delivery<'_>)) {
        let Some(kept) = &self.kept else { return };
        let mut at = [0; 2];
        for (from, length) in &kept.pieces {
            let begin = at[from.index()];
            let end = begin + usize::from(*length);
            at[from.index()] = end;
            if let Some(piece) = kept.bytes[from.index()].get(begin..end) {
                give(Delivery::Data(*from, piece));
            }
        }
    }

    /// Gives back what was kept.
    pub(super) fn forget(&self, kept_bytes: &mut usize) {
        *kept_bytes = kept_bytes.saturating_sub(self.kept_len());
    }

    fn kept_len(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.bytes.iter().map(Vec::len).sum())
    }
}

impl Kept {
    /// Whether `bytes` behind what is kept tell.
    fn recognise_with(&mut self, from: Side, bytes: &[u8], work: &Work<'_>) -> (Result<StreamAnalyser, Guess>, bool) {
        // The piece where it lies, unless it goes on with one that was kept.
        let own = &mut self.bytes[from.index()];
        let before = own.len();
        if before > 0 {
            own.extend_from_slice(&bytes[..bytes.len().min(KEPT_MAX)]);
        }
        let [originator, responder] = &self.bytes;
        let piece = if before > 0 { &self.bytes[from.index()] } else { bytes };
        let found = recognise(&opening([originator, responder], (from, piece), work), work.may_turn);
        self.bytes[from.index()].truncate(before);
        found
    }

    fn turn(&mut self) {
        self.bytes.swap(0, 1);
        for (from, _) in &mut self.pieces {
            *from = from.other();
        }
    }
}

/// The opening of a flow whose sides have sent this, but for `piece` in place of what one of them has.
fn opening<'a>([originator, responder]: [&'a [u8]; 2], piece: (Side, &'a [u8]), work: &Work<'_>) -> Opening<'a> {
    let (originator, responder) = match piece {
        (Side::Originator, bytes) => (bytes, responder),
        (Side::Responder, bytes) => (originator, bytes),
    };
    let tuple = &work.facts.tuple;
    Opening { originator, responder, originator_port: tuple.source_port, responder_port: tuple.destination_port }
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
