//! Redis: one event for each command when it is answered. Values are skipped by their lengths.

use super::{Context, Guess, Next, Opening, Protocol, Side, StreamProtocol};
use resp::Walker;
use session::Session;

mod command;
mod names;
mod reply;
mod resp;
mod session;

/// The port that is registered for it.
const PORT: u16 = 6379;

/// Redis and what speaks its protocol, versions 2 and 3 of it.
#[derive(Debug, Default)]
pub struct Redis {
    walkers: [Walker; 2],
    session: Session,
    /// Something of the side was seen.
    began: [bool; 2],
}

impl StreamProtocol for Redis {
    const PROTOCOL: Protocol = Protocol::Redis;

    fn recognise(opening: &Opening<'_>) -> Guess {
        if opening.originator.is_empty() {
            // What a server says alone, picked up in the middle, has too little form to be known by.
            return match opening.responder.first() {
                None => Guess::Perhaps,
                Some(_) if opening.responder_port == PORT => resp::begins(opening.responder, Side::Responder),
                Some(_) => Guess::No,
            };
        }
        match resp::begins(opening.originator, Side::Originator) {
            Guess::No if opening.responder_port == PORT => command::begins_inline(opening.originator),
            guess => guess,
        }
    }

    fn client(opening: &Opening<'_>) -> Option<Side> {
        match (opening.originator_port, opening.responder_port) {
            (_, PORT) => None,
            (PORT, _) => Some(Side::Responder),
            // An array of texts may be a command, and an answer or a message.
            _ => {
                let (length, name) = resp::first_value(opening.originator)?;
                let is_whole = length == name.len() as u64;
                let may_be = if is_whole { names::is_command(name) } else { length <= names::LONGEST };
                // Of a subscription's answer the last value is a number.
                let is_answer =
                    command::is_subscription(name) && opening.originator.windows(2).any(|two| two == b"\n:");
                (!may_be || is_answer).then_some(Side::Responder)
            }
        }
    }

    fn data(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Next {
        let Self { walkers, session, began } = self;
        let walker = &mut walkers[from.index()];
        if !std::mem::replace(&mut began[from.index()], true) && cx.is_joined(from) {
            session.join(from);
            if resp::begins(bytes, from) == Guess::No {
                // In the middle of a value.
                walker.lose();
            }
        }
        if walker.is_lost() {
            // Where a packet begins, what it begins with is seen; one that does not even show that is left out.
            if resp::begins(bytes, from) != Guess::Yes || (from == Side::Responder && !session.is_waiting()) {
                return Next::More;
            }
            walker.find();
        }
        let mut next = Next::More;
        walker.feed(bytes, from == Side::Originator, |step| {
            if next == Next::More {
                next = session.step(from, step, cx);
            }
        });
        if next == Next::More && walker.is_lost() {
            session.lose(from, cx);
        }
        next
    }

    fn gap(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next {
        let Self { walkers, session, .. } = self;
        let walker = &mut walkers[from.index()];
        let mut next = Next::More;
        if walker.is_within_value(bytes) {
            session.hole(from);
            walker.skip(bytes, |step| next = session.step(from, step, cx));
        } else if !walker.is_lost() {
            walker.lose();
            session.lose(from, cx);
        }
        next
    }

    fn kept(&self) -> usize {
        self.session.size()
    }

    fn end(&mut self, from: Side, cx: &mut Context<'_>) {
        if from == Side::Responder {
            self.session.end(cx);
        }
    }
}

#[cfg(test)]
mod tests;
