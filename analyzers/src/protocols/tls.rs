//! TLS over TCP: what two sides say of themselves before the rest is encrypted.
//!
//! Versions SSL 3.0 to TLS 1.3, and the hello of version 2 that old clients begin with. Records are not collected: what
//! is in them goes on as it comes, and only a handshake message that is cut in two is kept. One event is written for
//! each connection: with 1.3 when the server has said hello; before, when the client has answered the server's hellos,
//! or an earlier session goes on; otherwise when bytes are missing, the connection ends, or a side refuses, with what
//! is known. Then nothing more is read.

mod alert;
#[cfg(test)]
pub(super) mod building;
mod certificate;
mod der;
pub(super) mod extension;
pub(super) mod fingerprint;
mod handshake;
pub(super) mod hello;
pub(super) mod hellos;
mod hex;
mod name;
pub(super) mod reader;
mod record;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
mod version;

use self::alert::Alert;
pub(super) use self::handshake::{CLIENT_HELLO, Message as HandshakeMessage, SERVER_HELLO};
use self::handshake::{Handshake, Message, Progress, is_message};
use self::record::{Content, HEADER_LEN, Header, Part, Records};
use super::{Context, Guess, Next, Opening, Pending, Protocol, Side, StreamProtocol};

/// The longest handshake message that is kept when it is cut: chains of certificates have up to some tens of KiB.
pub(super) const MESSAGE_MAX: usize = 128 * 1024;

/// A connection that has sent so many bytes and is still not done with its hellos is given up: 0-RTT data, or one side
/// alone.
pub(super) const BYTES_MAX: u64 = 512 * 1024;

/// A TLS connection.
#[derive(Debug, Default)]
pub struct Tls {
    halves: [Half; 2],
    handshake: Handshake,
    /// Bytes so far, of both sides.
    seen: u64,
    over: bool,
}

/// What one side sends.
#[derive(Debug, Default)]
struct Half {
    records: Records,
    /// A message whose end has not come yet.
    pending: Pending,
    /// The first byte of an alert whose second has not come yet.
    alert: Option<u8>,
    state: State,
    ended: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Records in clear come.
    #[default]
    Clear,
    /// A gap was there: a record may come or not.
    Behind,
    /// What comes is of no use: it is encrypted, or its place in the records is not known.
    Closed,
}

impl StreamProtocol for Tls {
    const PROTOCOL: Protocol = Protocol::Tls;

    fn recognise(opening: &Opening<'_>) -> Guess {
        let guesses = [guess(opening.originator), guess(opening.responder)];
        if guesses.contains(&Guess::Yes) {
            Guess::Yes
        } else if guesses.contains(&Guess::No) {
            Guess::No
        } else {
            Guess::Perhaps
        }
    }

    fn client(opening: &Opening<'_>) -> Option<Side> {
        // Type of the record, version, length, then the type of the first handshake message (RFC 8446 sections 4 and 5.1).
        const HANDSHAKE: u8 = 22;
        const CLIENT_HELLO: u8 = 1;
        const SERVER_HELLO: u8 = 2;
        [(Side::Originator, opening.originator), (Side::Responder, opening.responder)].into_iter().find_map(
            |(from, bytes)| match (bytes.first(), bytes.get(5)) {
                (Some(&HANDSHAKE), Some(&CLIENT_HELLO)) => Some(from),
                (Some(&HANDSHAKE), Some(&SERVER_HELLO)) => Some(from.other()),
                _ => None,
            },
        )
    }

    fn data(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Next {
        if self.over {
            return Next::Done;
        }
        self.seen += bytes.len() as u64;
        let mut bytes = bytes;
        while self.halves[from.index()].state != State::Closed {
            match self.halves[from.index()].records.next(&mut bytes) {
                Ok(Some(part)) => match self.part(from, part, cx) {
                    Ok(Progress::More) => {}
                    Ok(Progress::Complete) => return self.finish(cx),
                    Err(name) => return self.give_up(from, name, cx),
                },
                Ok(None) => break,
                Err(no_record) => return self.give_up(from, no_record.0, cx),
            }
        }
        if self.seen > BYTES_MAX {
            self.handshake.lack();
            return self.finish(cx);
        }
        self.next()
    }

    fn gap(&mut self, from: Side, _bytes: u64, cx: &mut Context<'_>) -> Next {
        if self.over {
            return Next::Done;
        }
        if self.halves[from.index()].state == State::Closed {
            return self.next();
        }
        self.handshake.lack();
        self.salvage(from, cx);
        // What the server still had to say is gone, or what the client thinks of it.
        if self.handshake.is_served() || self.handshake.has_server() && from != self.handshake.client_side() {
            return self.finish(cx);
        }
        let half = &mut self.halves[from.index()];
        half.records.lose();
        half.alert = None;
        half.state = State::Behind;
        self.next()
    }

    fn kept(&self) -> usize {
        self.halves.iter().map(|half| half.pending.size()).sum::<usize>() + self.handshake.size()
    }

    fn end(&mut self, from: Side, cx: &mut Context<'_>) {
        self.halves[from.index()].ended = true;
        if self.over {
            return;
        }
        self.salvage(from, cx);
        if from != self.handshake.client_side() || self.halves.iter().all(|half| half.ended) {
            self.handshake.lack();
            self.finish(cx);
        }
    }
}

impl Tls {
    const fn next(&self) -> Next {
        if self.over { Next::Done } else { Next::More }
    }

    /// Writes what is known, and forgets it.
    fn finish(&mut self, cx: &mut Context<'_>) -> Next {
        if !self.over {
            self.handshake.write(cx);
        }
        *self = Self { over: true, ..Self::default() };
        Next::Done
    }

    /// What came is no TLS. Behind a gap that is no wonder, nor where the flow was picked up in the middle, perhaps of a record.
    fn give_up(&mut self, from: Side, name: &'static str, cx: &mut Context<'_>) -> Next {
        let is_from_start = self.handshake.begins_with(from) && !cx.is_joined(from);
        if self.halves[from.index()].state == State::Behind || !is_from_start {
            self.close(from);
            self.handshake.lack();
            let is_closed = self.halves.iter().all(|half| half.state == State::Closed);
            return if is_closed { self.finish(cx) } else { self.next() };
        }
        cx.anomaly(from, Protocol::Tls, name);
        self.handshake.lack();
        self.finish(cx)
    }

    /// A piece of a record's payload.
    fn part(&mut self, from: Side, part: Part<'_>, cx: &mut Context<'_>) -> Result<Progress, &'static str> {
        match part.content {
            Content::Handshake => self.messages(from, part.bytes, cx),
            Content::HelloOfVersion2 => self.hello_of_version_2(from, part, cx),
            Content::Alert => Ok(self.alert(from, part)),
            Content::ChangeCipherSpec => {
                if from == self.handshake.client_side() && !self.handshake.is_retrying() {
                    self.close(from);
                }
                Ok(self.handshake.change_cipher(from))
            }
            Content::ApplicationData => {
                // The client of 1.3 may send data before the server has said hello (RFC 8446 section 2.3). Otherwise
                // the handshake is over, or was before the flow was picked up.
                if from == self.handshake.client_side() && self.handshake.has_client() && !self.handshake.has_server() {
                    self.close(from);
                    return Ok(Progress::More);
                }
                self.handshake.lack();
                Ok(Progress::Complete)
            }
            Content::Heartbeat => Ok(Progress::More),
        }
    }

    fn close(&mut self, from: Side) {
        let half = &mut self.halves[from.index()];
        half.state = State::Closed;
        half.pending.clear();
    }

    /// Handshake messages, several in a record or one in several.
    fn messages(&mut self, from: Side, piece: &[u8], cx: &mut Context<'_>) -> Result<Progress, &'static str> {
        let Self { halves, handshake, .. } = self;
        let half = &mut halves[from.index()];
        let state = &mut half.state;
        let mut result = Ok(Progress::More);
        let fits = half.pending.with(piece, MESSAGE_MAX, |bytes| {
            let mut used = 0;
            while let Some((message, length)) = Message::read(&bytes[used..]) {
                if !is_message(message.kind) || length > MESSAGE_MAX {
                    result = Err("invalid_handshake_message");
                    break;
                }
                if !message.whole {
                    break;
                }
                // A message in its place: the gap is over.
                *state = State::Clear;
                used += length;
                result = handshake.message(from, message, cx);
                if result != Ok(Progress::More) {
                    break;
                }
            }
            used
        });
        if fits { result } else { Err("invalid_handshake_message") }
    }

    fn hello_of_version_2(
        &mut self,
        from: Side,
        part: Part<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Progress, &'static str> {
        let Self { halves, handshake, .. } = self;
        let mut result = Ok(());
        let length = usize::from(part.length);
        let fits = halves[from.index()].pending.with(part.bytes, length, |bytes| {
            if bytes.len() < length {
                return 0;
            }
            result = handshake.hello_of_version_2(from, bytes, cx);
            bytes.len()
        });
        if fits { result.map(|()| Progress::More) } else { Err("invalid_sslv2_header") }
    }

    fn alert(&mut self, from: Side, part: Part<'_>) -> Progress {
        if part.length != 2 {
            // An encrypted one: the handshake is over.
            self.handshake.lack();
            return Progress::Complete;
        }
        let first = &mut self.halves[from.index()].alert;
        let payload = match (first.take(), part.bytes) {
            (None, &[level]) => {
                *first = Some(level);
                return Progress::More;
            }
            (Some(level), &[code]) | (None, &[level, code]) => [level, code],
            _ => return Progress::More,
        };
        let alert = Alert::read(payload, from, self.handshake.client_side());
        alert.map_or(Progress::More, |alert| self.handshake.alert(alert))
    }

    /// Has a look at the beginning of a message whose end will not come.
    fn salvage(&mut self, from: Side, cx: &mut Context<'_>) {
        let half = &mut self.halves[from.index()];
        let message = Message::read(half.pending.bytes()).filter(|(message, _)| is_message(message.kind));
        // Only what is whole can be wrong, and only what is whole completes anything.
        let _ = match message {
            _ if half.records.content() == Some(Content::HelloOfVersion2) => {
                self.handshake.hello_of_version_2(from, half.pending.bytes(), cx).map(|()| Progress::More)
            }
            Some((message, _)) => self.handshake.message(from, message, cx),
            None => Ok(Progress::More),
        };
        half.pending.clear();
    }
}

/// What the first bytes of one side say.
fn guess(bytes: &[u8]) -> Guess {
    if bytes.is_empty() {
        return Guess::Perhaps;
    }
    if bytes[0] & 0xf8 == 0x80 {
        return guess_version_2(bytes);
    }
    let mut header = [22, 3, 1, 0, 64];
    let there = bytes.len().min(HEADER_LEN);
    header[..there].copy_from_slice(&bytes[..there]);
    let Ok(header) = Header::read(header) else {
        return Guess::No;
    };
    if there < HEADER_LEN {
        return Guess::Perhaps;
    }
    let payload = &bytes[HEADER_LEN..];
    let is_plausible = match header.content {
        Content::Handshake => match payload {
            [] => return Guess::Perhaps,
            // Picked up in the middle: an encrypted message has any first byte, a certificate is 11.
            [kind, ..] => header.length >= 4 && (matches!(*kind, CLIENT_HELLO | SERVER_HELLO) || is_message(*kind)),
        },
        Content::ChangeCipherSpec => header.length == 1 && payload.first().is_none_or(|byte| *byte == 1),
        Content::Alert => header.length == 2 || header.length >= 16 && header.length <= 256,
        Content::ApplicationData => header.length > 0,
        Content::Heartbeat | Content::HelloOfVersion2 => false,
    };
    if is_plausible { Guess::Yes } else { Guess::No }
}

/// The hello of version 2: its type, the version it offers, lengths that add up (RFC 5246 appendix E.2).
fn guess_version_2(bytes: &[u8]) -> Guess {
    let mut reader = reader::Reader::new(bytes);
    let mut read = || {
        let length = reader.u16()? & 0x7fff;
        let (kind, version) = (reader.u8()?, reader.u16()?);
        let lengths = [reader.u16()?, reader.u16()?, reader.u16()?];
        Some((length, kind, version, lengths))
    };
    match read() {
        None if bytes.get(2).is_none_or(|kind| *kind == CLIENT_HELLO) => Guess::Perhaps,
        Some((length, CLIENT_HELLO, 0x0002 | 0x0300..=0x0304, [ciphers, session, challenge]))
            if ciphers % 3 == 0
                && u32::from(length) == 9 + u32::from(ciphers) + u32::from(session) + u32::from(challenge) =>
        {
            Guess::Yes
        }
        _ => Guess::No,
    }
}
