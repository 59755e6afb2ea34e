//! MySQL and MariaDB: the handshake, then one event for each command when it is answered.

use super::framing::{Framed, Framer, Measure, Message};
use super::statement::STATEMENT_MAX;
use super::{Context, Guess, Next, Opening, Protocol, Side, StreamProtocol};
use command::Command;
use greeting::Login;
use packet::{HEADER_LEN, Packet};
use session::Session;

mod attributes;
mod command;
mod greeting;
mod packet;
mod reply;
mod session;

/// The port that is registered for it.
const PORT: u16 = 3306;

/// MySQL's protocol, version 4.1 and later (protocol version 10).
#[derive(Debug, Default)]
pub struct MySql {
    framers: [Framer; 2],
    session: Session,
}

impl StreamProtocol for MySql {
    const PROTOCOL: Protocol = Protocol::MySql;

    fn recognise(opening: &Opening<'_>) -> Guess {
        if !opening.responder.is_empty() {
            let guess = greeting::begins(opening.responder);
            if guess != Guess::No {
                return guess;
            }
        }
        if opening.originator.is_empty() {
            // The server speaks first.
            return if opening.responder.is_empty() { Guess::Perhaps } else { Guess::No };
        }
        // Picked up in the middle.
        match Command::begins(opening.originator) {
            Guess::Yes if opening.responder_port != PORT && !Command::is_statement(opening.originator) => Guess::No,
            Guess::No => Login::begins(opening.originator),
            guess => guess,
        }
    }

    fn data(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Next {
        self.sends(from);
        self.framers[from.index()].data(from, bytes, &mut self.session, cx)
    }

    fn gap(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next {
        self.sends(from);
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

impl MySql {
    fn sends(&mut self, from: Side) {
        if from == Side::Responder {
            self.session.server_speaks();
        }
    }
}

impl Framed for Session {
    const WANTED_MAX: usize = HEADER_LEN + 64 + STATEMENT_MAX;

    fn measure(&self, from: Side, bytes: &[u8]) -> Measure {
        let Some(length) = packet::length(bytes) else { return Measure::Unknown };
        let first = bytes.get(HEADER_LEN).copied();
        if first.is_none() && length > 0 {
            return Measure::Unknown;
        }
        Measure::Message {
            length: u64::from(length) + HEADER_LEN as u64,
            wanted: HEADER_LEN + self.wanted(from, first.unwrap_or_default()),
        }
    }

    fn message(&mut self, from: Side, message: Message<'_>, cx: &mut Context<'_>) -> Next {
        match Packet::read(&message) {
            Some(packet) => self.packet(from, &packet, cx),
            None => Next::More,
        }
    }

    fn begins(&self, from: Side, bytes: &[u8]) -> Guess {
        match (from, Login::begins(bytes)) {
            (Side::Responder, _) if self.reply_begins(bytes) != Guess::No => Guess::Yes,
            (Side::Responder, _) => greeting::begins(bytes),
            (Side::Originator, Guess::No) => Command::begins(bytes),
            (Side::Originator, guess) => guess,
        }
    }

    fn resumes(&self, from: Side, bytes: &[u8]) -> Guess {
        match from {
            Side::Originator => Command::begins(bytes),
            Side::Responder => self.reply_begins(bytes),
        }
    }

    fn lost(&mut self, from: Side, cx: &mut Context<'_>) -> Next {
        self.lose(from, cx);
        Next::More
    }
}

#[cfg(test)]
mod tests;
