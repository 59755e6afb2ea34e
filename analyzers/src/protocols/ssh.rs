//! SSH: the banners of both sides and what they offer for the key exchange. What follows is encrypted.

use std::fmt::Write as _;

use arrayvec::ArrayVec;
use md5::{Digest as _, Md5};

use super::framing::{Framed, Framer, Measure, Message};
use super::{Context, EventKind, Guess, Next, Opening, Protocol, Side, StreamProtocol};
use crate::json::JsonObject;
use offer::Offer;

mod offer;

/// What every banner begins with (RFC 4253, section 4.2).
const BANNER: &[u8] = b"SSH-";

/// The most bytes of a banner that are kept; RFC 4253, section 4.2 allows 255 with the end of the line.
const BANNER_MAX: usize = 255;

/// The most lines that a server may send in front of its banner.
const LINES_MAX: u8 = 32;

/// The most bytes of a key exchange message that are looked at.
const OFFER_MAX: usize = 16 * 1024;

/// SSH, version 2 and what announces itself like it.
#[derive(Debug, Default)]
pub struct Ssh {
    framers: [Framer; 2],
    session: Session,
}

impl StreamProtocol for Ssh {
    const PROTOCOL: Protocol = Protocol::Ssh;

    fn recognise(opening: &Opening<'_>) -> Guess {
        let begins = |bytes: &[u8]| match (bytes.starts_with(BANNER), BANNER.starts_with(bytes)) {
            (true, _) => Guess::Yes,
            (false, true) => Guess::Perhaps,
            (false, false) => Guess::No,
        };
        match (begins(opening.originator), begins(opening.responder)) {
            (Guess::Yes, _) | (_, Guess::Yes) => Guess::Yes,
            (Guess::Perhaps, Guess::Perhaps) => Guess::Perhaps,
            _ => Guess::No,
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
        let side = &mut self.session.sides[from.index()];
        side.over = true;
        if self.session.sides.iter().all(|side| side.over) {
            self.session.tell(cx);
        }
    }
}

/// What is known of both sides.
#[derive(Debug, Default)]
struct Session {
    sides: [Peer; 2],
    told: bool,
    cut: bool,
}

#[derive(Debug, Default)]
struct Peer {
    lines: u8,
    banner: Option<ArrayVec<u8, BANNER_MAX>>,
    offer: Option<Box<str>>,
    /// Nothing more is expected of it.
    over: bool,
}

impl Session {
    fn size(&self) -> usize {
        self.sides.iter().filter_map(|side| side.offer.as_ref()).map(|offer| offer.len()).sum()
    }
}

impl Framed for Session {
    const WANTED_MAX: usize = OFFER_MAX;

    fn measure(&self, from: Side, bytes: &[u8]) -> Measure {
        if self.sides[from.index()].banner.is_none() {
            return match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => Measure::Message { length: end as u64 + 1, wanted: OFFER_MAX },
                None if bytes.len() > OFFER_MAX / 2 => Measure::Nonsense,
                None => Measure::Unknown,
            };
        }
        match bytes.first_chunk::<4>().map(|length| u32::from_be_bytes(*length)) {
            None => Measure::Unknown,
            // RFC 4253, section 6.1: 35,000 bytes have to be taken, more need not.
            Some(length) if !(6..=256 * 1024).contains(&length) => Measure::Nonsense,
            Some(length) => Measure::Message { length: u64::from(length) + 4, wanted: OFFER_MAX },
        }
    }

    fn message(&mut self, from: Side, message: Message<'_>, cx: &mut Context<'_>) -> Next {
        let side = &mut self.sides[from.index()];
        if side.over {
            return Next::More;
        }
        if side.banner.is_none() {
            side.lines += 1;
            let line = message.bytes.trim_ascii_end();
            if line.starts_with(BANNER) {
                side.banner = Some(line.iter().copied().take(BANNER_MAX).collect());
            } else if side.lines > LINES_MAX {
                side.over = true;
            }
        } else {
            // The first message after the banner is the offer; what comes instead is not of version 2.
            let offer = Offer::read(message.bytes);
            self.cut |= offer.is_none() && (message.cut || message.length > message.bytes.len() as u64);
            side.offer = offer.map(|offer| offer.algorithms(from));
            side.over = true;
        }
        if self.sides.iter().all(|side| side.over) {
            self.tell(cx);
            return Next::Done;
        }
        Next::More
    }

    fn resumes(&self, _: Side, _: &[u8]) -> Guess {
        Guess::No
    }

    fn lost(&mut self, from: Side, cx: &mut Context<'_>) -> Next {
        let side = &mut self.sides[from.index()];
        self.cut |= !side.over;
        side.over = true;
        if self.sides.iter().all(|side| side.over) {
            self.tell(cx);
            return Next::Done;
        }
        Next::More
    }
}

impl Session {
    fn tell(&mut self, cx: &mut Context<'_>) {
        if self.told || self.sides.iter().all(|side| side.banner.is_none()) {
            return;
        }
        self.told = true;
        if !are_sides_known(cx) {
            return;
        }
        // What was lost before the other side's banner told the protocol is no gap that this was told of.
        let lacks = |side: Side| {
            let peer = &self.sides[side.index()];
            (peer.banner.is_none() || peer.offer.is_none()) && (cx.is_joined(side) || cx.is_unseen(side))
        };
        let cut = self.cut || lacks(Side::Originator) || lacks(Side::Responder);
        let sides = &self.sides;
        cx.event(EventKind::Ssh, Side::Originator, None, |json| {
            json.object("ssh", |json| {
                for (key, side) in [("client", &sides[0]), ("server", &sides[1])] {
                    if let Some(banner) = &side.banner {
                        json.object(key, |json| side.members(json, banner));
                    }
                }
                if cut {
                    json.flag("truncated", true);
                }
            });
        });
    }
}

/// Whether it is known which side is the client: banners and offers of both look alike. Without the handshake of TCP the ports have to tell.
fn are_sides_known(cx: &Context<'_>) -> bool {
    const WELL_KNOWN: std::ops::Range<u16> = 1..1024;
    let tuple = &cx.flow.tuple;
    let by_ports = WELL_KNOWN.contains(&tuple.destination_port) && !WELL_KNOWN.contains(&tuple.source_port);
    by_ports || !cx.is_joined(Side::Originator) || !cx.is_joined(Side::Responder)
}

impl Peer {
    /// The members of `client` or `server`: `SSH-2.0-OpenSSH_7.4 comment`.
    fn members(&self, json: &mut JsonObject<'_>, banner: &[u8]) {
        let rest = banner.get(BANNER.len()..).unwrap_or_default();
        let mut parts = rest.splitn(2, |byte| *byte == b'-');
        json.text("proto_version", parts.next().unwrap_or_default());
        if let Some(software) = parts.next() {
            json.text("software_version", software.split(|byte| *byte == b' ').next().unwrap_or_default());
        }
        if let Some(offer) = &self.offer {
            json.object("hassh", |json| {
                let mut hash = String::with_capacity(32);
                for byte in Md5::digest(offer.as_bytes()) {
                    let _ = write!(hash, "{byte:02x}");
                }
                json.text("hash", hash);
                json.text("string", offer.as_bytes());
            });
        }
    }
}

#[cfg(test)]
mod tests;
