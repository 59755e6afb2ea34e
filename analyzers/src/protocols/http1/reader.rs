//! Where one side of a connection is.

use super::chunked::{Chunked, LineScan};
use super::exchange::Place;
use super::framing::Framing;
use super::start;
use crate::protocols::{Guess, Side};

/// Where one side is.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) state: State,
    /// The beginning of a head.
    pub(super) kept: Vec<u8>,
    /// When the head's first byte came.
    pub(super) started_ns: u64,
    /// What is kept was found after bytes that were not understood: if it is no head, that is no surprise.
    pub(super) doubtful: bool,
    /// Where the message stands that comes.
    pub(super) place: Place,
    /// No message was seen yet.
    pub(super) fresh: bool,
    pub(super) ended: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum State {
    /// At or in a head.
    #[default]
    Head,
    /// In the rest of a head that is too long.
    HeadRest(LineScan, Framing),
    /// So many bytes of a body are to come, not 0.
    Body(u64),
    Chunked(Chunked),
    UntilEnd,
    /// Behind the head of a response whose request is not known: its body so framed, or the next head, of which the beginning is kept.
    BodyOrHead(Framing),
    /// Where the next message begins is not known.
    Lost,
}

impl Reader {
    /// Whether a head may begin with `bytes`: that of a `response`, or of either where that is not known.
    pub(super) fn begins(&self, bytes: &[u8], response: Option<bool>) -> bool {
        let may = |response| {
            if !self.doubtful {
                return start::may_begin(bytes, response);
            }
            // The first byte alone may be missing.
            let is_request = || self.fresh && !response && start::guess_request(bytes) == Guess::Yes;
            start::resumes(bytes, response) || is_request()
        };
        match response {
            Some(response) => may(response),
            None => may(true) || may(false),
        }
    }
}

pub(super) fn reader_state(readers: &mut [Reader; 2], from: Side, state: State) {
    readers[from.index()].state = state;
}
