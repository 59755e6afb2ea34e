//! PostgreSQL: startup and authentication, then one event for each statement when it is answered.

use super::framing::{Framed, Framer, Measure, Message};
use super::statement::STATEMENT_MAX;
use super::{Context, Guess, Next, Opening, Protocol, Side, StreamProtocol};
use session::Session;
use startup::Startup;

mod request;
mod response;
mod session;
mod startup;

/// The port that is registered for it.
const PORT: u16 = 5432;

/// Type and length of a message; the length counts itself and not the type.
const HEADER_LEN: usize = 5;

/// The longest message that the protocol allows is less than this (`PQ_LARGE_MESSAGE_LIMIT`, 1 GiB).
const LENGTH_MAX: u32 = 1 << 30;

/// PostgreSQL's protocol, version 3.
#[derive(Debug, Default)]
pub struct PostgreSql {
    framers: [Framer; 2],
    session: Session,
}

impl StreamProtocol for PostgreSql {
    const PROTOCOL: Protocol = Protocol::PostgreSql;

    fn recognise(opening: &Opening<'_>) -> Guess {
        if opening.originator.is_empty() {
            let server = opening.responder;
            if opening.responder_port == PORT && !server.is_empty() {
                return session::begins(Side::Responder, server);
            }
            // The client speaks first.
            return if server.is_empty() { Guess::Perhaps } else { Guess::No };
        }
        match Startup::begins(opening.originator) {
            // Picked up in the middle.
            Guess::No if opening.originator.first() == Some(&b'Q') || opening.responder_port == PORT => {
                session::begins(Side::Originator, opening.originator)
            }
            guess => guess,
        }
    }

    fn data(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Next {
        self.framers[from.index()].data(from, bytes, &mut self.session, cx)
    }

    fn gap(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next {
        self.framers[from.index()].gap(from, bytes, &mut self.session, cx)
    }

    fn kept(&self) -> usize {
        self.framers.iter().map(Framer::size).sum::<usize>() + self.session.size()
    }

    fn end(&mut self, from: Side, cx: &mut Context<'_>) {
        self.framers[from.index()].end(from, &mut self.session, cx);
        if from == Side::Responder {
            self.session.flush(cx.is_unseen(Side::Responder), cx);
        }
    }
}

impl Framed for Session {
    const WANTED_MAX: usize = HEADER_LEN + 512 + STATEMENT_MAX;

    fn measure(&self, from: Side, bytes: &[u8]) -> Measure {
        if from == Side::Responder && self.waits_for_encryption() {
            // One byte says whether what was asked for is granted; an old server sends an error.
            if matches!(bytes.first(), Some(b'S' | b'N' | b'G')) {
                return Measure::Message { length: 1, wanted: 1 };
            }
        }
        if from == Side::Originator && bytes.first() == Some(&0) {
            return Startup::measure(bytes);
        }
        let Some((kind, rest)) = bytes.split_first() else { return Measure::Unknown };
        if !session::is_known(from, *kind) {
            return Measure::Nonsense;
        }
        match rest.first_chunk::<4>().map(|length| u32::from_be_bytes(*length)) {
            None => Measure::Unknown,
            Some(length) if !(4..=LENGTH_MAX).contains(&length) => Measure::Nonsense,
            Some(length) => {
                Measure::Message { length: u64::from(length) + 1, wanted: HEADER_LEN + session::wanted(from, *kind) }
            }
        }
    }

    fn message(&mut self, from: Side, message: Message<'_>, cx: &mut Context<'_>) -> Next {
        match from {
            Side::Originator => self.client_sent(&message, cx),
            Side::Responder => self.server_sent(&message, cx),
        }
    }

    fn begins(&self, from: Side, bytes: &[u8]) -> Guess {
        match from {
            Side::Originator if Startup::begins(bytes) != Guess::No || session::is_login(bytes) => Guess::Yes,
            Side::Responder if self.waits_for_encryption() => Guess::Yes,
            _ => session::begins(from, bytes),
        }
    }

    fn resumes(&self, from: Side, bytes: &[u8]) -> Guess {
        session::begins(from, bytes)
    }

    fn lost(&mut self, from: Side, cx: &mut Context<'_>) -> Next {
        self.lose(from, cx);
        Next::More
    }
}

#[cfg(test)]
mod tests;
