//! Whether bytes are a DNS message.

use super::message::{Header, Message, Section};
use super::name::{self, Text};
use crate::protocols::{Guess, Side};

/// Ports of DNS, multicast DNS (RFC 6762) and link-local multicast name resolution (RFC 4795).
const PORTS: [u16; 3] = [53, 5353, 5355];

/// The port of NetBIOS names, whose messages have the form of DNS and are something else.
const NETBIOS: u16 = 137;

/// The highest operation code that is assigned: DNS stateful operations (RFC 8490).
const OPCODE_MAX: u8 = 6;

/// More questions than this has no message that anybody sends.
const QUESTIONS_MAX: u16 = 64;

/// Who asks, by the QR bit of the message that `from` sent. Multicast DNS answers whom nobody asked (RFC 6762 section 8.3).
pub(super) fn client(from: Side, bytes: &[u8], ports: (u16, u16)) -> Option<Side> {
    const MULTICAST: u16 = 5353;
    if ports == (MULTICAST, MULTICAST) {
        return None;
    }
    Some(if Header::read(bytes)?.is_response() { from.other() } else { from })
}

/// Who answers, where the ports say so: one of them, the originator's first, is one of DNS.
pub(super) fn server(ports: (u16, u16)) -> Option<Side> {
    match (PORTS.contains(&ports.0), PORTS.contains(&ports.1)) {
        (true, false) => Some(Side::Originator),
        (false, true) => Some(Side::Responder),
        _ => None,
    }
}

/// Whether `bytes` begin a message. On a port of DNS a header that can be one is enough, so that broken messages are seen as what they
/// are; elsewhere it has to be a message as almost all are.
pub(super) fn message(bytes: &[u8], ports: (u16, u16)) -> Guess {
    if ports.0 == NETBIOS || ports.1 == NETBIOS {
        return Guess::No;
    }
    let Some(header) = Header::read(bytes) else {
        return Guess::Perhaps;
    };
    let known = PORTS.contains(&ports.0) || PORTS.contains(&ports.1);
    if header.opcode() > OPCODE_MAX || header.counts[0] > QUESTIONS_MAX {
        return Guess::No;
    }
    // A response may be a header alone, where the query was not understood; a query asks something.
    if header.counts == [0; 4] && !header.is_response() {
        return Guess::No;
    }
    if known {
        return Guess::Yes;
    }
    if ordinary(header) { question(bytes, header) } else { Guess::No }
}

fn ordinary(header: Header) -> bool {
    /// Standard query, notify and update.
    const OPCODES: [u8; 3] = [0, 4, 5];
    /// TC, RA and the response code: what a query has no use for.
    const OF_RESPONSES: u16 = 0x028f;
    const Z: u16 = 0x0040;
    let [questions, answers, _, additionals] = header.counts;
    OPCODES.contains(&header.opcode())
        && header.flags & Z == 0
        && questions == 1
        && (header.is_response() || (header.flags & OF_RESPONSES == 0 && answers <= 1 && additionals <= 3))
}

/// Whether the question is one that may be asked, and a query is there to its end.
fn question(bytes: &[u8], header: Header) -> Guess {
    const INTERNET: u16 = 1;
    let Some(message) = Message::read(bytes) else { return Guess::Perhaps };
    let Some(question) = message.entries(Section::Questions).next() else { return Guess::Perhaps };
    let mut text = Text::new();
    let plain = question.class == INTERNET
        && question.kind != 0
        && name::read(bytes, question.name_at, &mut text).is_ok()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.*/".contains(byte));
    match (plain, header.is_response() || message.broken.is_none()) {
        (false, _) => Guess::No,
        (true, true) => Guess::Yes,
        (true, false) => Guess::Perhaps,
    }
}
