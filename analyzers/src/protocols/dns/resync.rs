//! Finding messages where it is not known that one begins: behind a gap, and where a flow was picked up in the middle.
//!
//! Two bytes of length and a header of twelve are soon found in the data of records, so what begins there is believed only if it is whole
//! sense, or answers a question that was asked.

use super::message::{Header, Message, Section, read_u16};
use super::name::{self, Text};
use super::outstanding::Outstanding;
use crate::protocols::Guess;

/// The least that a question takes: the root, type and class (RFC 1035, section 4.1.2).
const QUESTION_MIN: usize = 5;
/// The least that a record takes: the root, type, class, TTL and length (RFC 1035, section 4.1.3).
const RECORD_MIN: usize = 11;

/// Behind the first byte so many headers that can be one are looked at in a piece: each may take as long as a message has records.
const TRIES_MAX: usize = 16;

/// Where in `bytes` a message begins. In the middle of a segment, behind the rest of another message, one is only believed that is there to
/// its end, or answers a question.
pub(super) fn find(bytes: &[u8], answers: Option<bool>, asked: &Outstanding) -> (usize, Guess) {
    let first = begins(bytes, answers, asked);
    if first != Guess::No {
        return (0, first);
    }
    let may_begin = |at: &usize| {
        let there = &bytes[*at..];
        let length = read_u16(there, 0).map(usize::from);
        let header = there.get(2..).and_then(Header::read);
        length
            .zip(header)
            .is_some_and(|(length, header)| length >= Header::LEN && is_plausible(header, length, answers))
    };
    let found = (1..bytes.len())
        .filter(may_begin)
        .take(TRIES_MAX)
        .find(|at| begins(&bytes[*at..], answers, asked) == Guess::Yes);
    found.map_or((0, Guess::No), |at| (at, Guess::Yes))
}

/// Whether a message begins here behind its length, sent by who answers, or asks, where that is known. `Perhaps` until it is there to its
/// end.
pub(super) fn begins(bytes: &[u8], answers: Option<bool>, asked: &Outstanding) -> Guess {
    let Some(length) = read_u16(bytes, 0).map(usize::from) else { return Guess::Perhaps };
    if length < Header::LEN {
        return Guess::No;
    }
    let there = bytes.get(2..).unwrap_or_default();
    let Some(header) = Header::read(there) else { return Guess::Perhaps };
    if !is_plausible(header, length, answers) {
        return Guess::No;
    }
    if header.is_response() && asked.knows(header.id) {
        return Guess::Yes;
    }
    let Some((message, behind)) = there.split_at_checked(length) else { return Guess::Perhaps };
    if is_sense(message) && goes_on(behind, answers) { Guess::Yes } else { Guess::No }
}

/// Whether a message of `length` bytes may have this header.
fn is_plausible(header: Header, length: usize, answers: Option<bool>) -> bool {
    /// Query, notify and update; nobody sends others over TCP, but for sessions, whose messages have no records (RFC 8490).
    const OPCODES: [u8; 3] = [0, 4, 5];
    const QUERY: u8 = 0;
    /// A bit that has to be zero.
    const Z: u16 = 0x0040;
    /// TC, RA and the response code: zero in what asks.
    const OF_RESPONSES: u16 = 0x028f;
    /// The last response code that a header can have, but for 11 that RFC 8490 has for sessions.
    const RCODE_MAX: u16 = 10;
    let [questions, records @ ..] = header.counts;
    let [answered, authorities, additionals] = records;
    let least = usize::from(questions) * QUESTION_MIN + records.map(usize::from).iter().sum::<usize>() * RECORD_MIN;
    // A query may have the SOA that a transfer is to begin from (RFC 1995, section 3), EDNS and a signature.
    let is_query =
        questions == 1 && (header.opcode() != QUERY || answered == 0 && authorities <= 1 && additionals <= 3);
    answers.is_none_or(|answers| answers == header.is_response())
        && OPCODES.contains(&header.opcode())
        && header.flags & Z == 0
        // One question at the most (RFC 9619); the later messages of a transfer have none (RFC 5936, section 2.2).
        && questions <= 1
        && Header::LEN + least <= length
        && if header.is_response() { header.flags & 15 <= RCODE_MAX } else { header.flags & OF_RESPONSES == 0 && is_query }
}

/// Whether a message consists of what its header counts, to the last byte, and all of that has a name.
fn is_sense(bytes: &[u8]) -> bool {
    let Some(message) = Message::read(bytes) else { return false };
    let is_named = |section| {
        message.entries(section).all(|entry| {
            let mut text = Text::new();
            entry.kind != 0 && name::read(bytes, entry.name_at, &mut text).is_ok()
        })
    };
    let sections = [Section::Questions, Section::Answers, Section::Authorities, Section::Additionals];
    message.header.counts != [0; 4] && message.is_exact() && sections.into_iter().all(is_named)
}

/// Whether the next message may begin so.
fn goes_on(bytes: &[u8], answers: Option<bool>) -> bool {
    let Some(length) = read_u16(bytes, 0).map(usize::from) else { return true };
    let header = bytes.get(2..).and_then(Header::read);
    length >= Header::LEN && header.is_none_or(|header| is_plausible(header, length, answers))
}
