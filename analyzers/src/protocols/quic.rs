//! QUIC: what two sides say of themselves in the hellos of the TLS handshake inside.
//!
//! The first packets of versions 1 and 2 are encrypted with keys that follow from the packets themselves. They are
//! opened, the pieces of the hellos put together, and one event is written for each flow; of other versions it has the
//! version only. Then nothing more is read.

mod assembly;
mod event;
mod frames;
mod keys;
mod packet;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::assembly::{Assembly, HANDSHAKE_MAX};
use self::event::Hellos;
use self::frames::{Frame, frames};
use self::keys::{Direction, Keys};
use self::packet::{CONNECTION_ID_MAX, Initial, Packet, Version, is_long, is_version_of_others};
use super::tls::{CLIENT_HELLO, HandshakeMessage, SERVER_HELLO};
use super::{Context, DatagramProtocol, Next, Protocol, Side};

/// A handshake that has not told both hellos in so many datagrams is given up.
pub(super) const DATAGRAMS_MAX: u32 = 64;
/// Packets looked at in one datagram.
const PACKETS_MAX: usize = 8;
/// So many bytes of a datagram that came too early are kept: more than paths take.
const EARLY_MAX: usize = 2 * 1024;
/// So many packets that no key opens, and the flow is given up.
pub(super) const FAILURES_MAX: u32 = 16;
/// So many more datagrams are looked at for a hello once the client has gone on: the mirror may show a packet after later ones.
pub(super) const LATE_MAX: u32 = 8;
/// How often keys are derived for one flow: for its first packet, and anew after a retry.
pub(super) const BEGINNINGS_MAX: u32 = 4;

/// A QUIC connection, as far as its hellos.
#[derive(Debug, Default)]
pub struct Quic {
    /// The version of the packets, 0 while none is known.
    version: u32,
    beginning: Option<Beginning>,
    /// What it began with before it was sent a retry, or other versions.
    former: Option<Beginning>,
    beginnings: u32,
    /// A packet was opened: the keys are right.
    opened: bool,
    datagrams: u32,
    failures: u32,
    crypto: [Assembly; 2],
    scratch: Vec<u8>,
    /// The first datagram that no key opened, and who sent it: the server's answer, where the mirror shows it before the question whose
    /// keys it has.
    early: Option<(Side, Box<[u8]>)>,
    hellos: Hellos,
    /// A datagram was cut.
    cut: bool,
    /// Something was sent that is only sent once the server has said hello.
    answered: bool,
    /// Datagrams since the client sent such.
    late: u32,
    over: bool,
}

/// What the client began with.
#[derive(Debug)]
struct Beginning {
    client_side: Side,
    destination: [u8; CONNECTION_ID_MAX],
    destination_len: usize,
    /// For version 1 and 2: a server may answer in the other one (RFC 9369 section 4).
    keys: [Option<Box<Keys>>; 2],
}

impl Beginning {
    fn new(client_side: Side, destination: &[u8]) -> Self {
        let mut kept = [0; CONNECTION_ID_MAX];
        let destination_len = destination.len().min(CONNECTION_ID_MAX);
        kept[..destination_len].copy_from_slice(&destination[..destination_len]);
        Self { client_side, destination: kept, destination_len, keys: [None, None] }
    }

    /// Whether a packet goes where the first one went.
    fn is_to(&self, initial: &Initial<'_>) -> bool {
        self.destination[..self.destination_len] == *initial.destination
    }

    /// The keys of what `from` sends.
    fn direction(&mut self, version: Version, from: Side) -> Option<&Direction> {
        let place = &mut self.keys[version as usize];
        if place.is_none() {
            *place = Keys::derive(version, &self.destination[..self.destination_len]).map(Box::new);
        }
        let keys = place.as_deref()?;
        Some(if from == self.client_side { &keys.client } else { &keys.server })
    }
}

impl DatagramProtocol for Quic {
    const PROTOCOL: Protocol = Protocol::Quic;

    fn recognise(payload: &[u8], ports: (u16, u16)) -> bool {
        let is_usual_port = ports.0 == 443 || ports.1 == 443;
        // The bit after the first is 1 but where both sides agreed otherwise, which they cannot have in a first packet.
        if payload.first().is_none_or(|first| first & 0x40 == 0 && !is_usual_port) {
            return false;
        }
        match Packet::read(payload) {
            Some((Packet::Initial(_), _)) => true,
            Some((Packet::Unknown(version), _)) => is_usual_port && is_version_of_others(version),
            Some(_) => is_usual_port,
            None => false,
        }
    }

    fn datagram(&mut self, from: Side, payload: &[u8], missing: u32, cx: &mut Context<'_>) -> Next {
        if self.over {
            return Next::Done;
        }
        self.datagrams += 1;
        self.cut |= missing > 0;
        let failures = self.failures;
        if self.packets(from, payload, cx) == Next::Done {
            return self.finish(cx);
        }
        if self.opened {
            if let Some((side, early)) = self.early.take()
                && side != from
                && self.packets(side, &early, cx) == Next::Done
            {
                return self.finish(cx);
            }
        } else if self.failures > failures && self.early.is_none() && payload.len() <= EARLY_MAX {
            self.early = Some((from, payload.into()));
        }
        // Short headers come with the keys of the connection. Behind a packet there may be anything, so the first byte of
        // the datagram counts.
        if payload.first().is_some_and(|first| !is_long(*first)) && self.version != 0 {
            self.go_on(from);
        }
        self.late += u32::from(self.late > 0);
        let is_over = self.late > LATE_MAX || self.datagrams >= DATAGRAMS_MAX || self.failures >= FAILURES_MAX;
        if self.hellos.are_complete() || is_over { self.finish(cx) } else { Next::More }
    }

    fn kept(&self) -> usize {
        let early = self.early.as_ref().map_or(0, |(_, payload)| payload.len());
        self.crypto.iter().map(Assembly::size).sum::<usize>() + self.scratch.capacity() + early
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        self.finish(cx);
    }
}

impl Quic {
    /// Which side is the client; the originator until a packet could be opened.
    fn client_side(&self) -> Side {
        self.beginning.as_ref().map_or(Side::Originator, |beginning| beginning.client_side)
    }

    /// The packets of a datagram; [`Next::Done`] where no hello will come any more.
    fn packets(&mut self, from: Side, payload: &[u8], cx: &mut Context<'_>) -> Next {
        let mut rest = payload;
        for _ in 0..PACKETS_MAX {
            let Some((packet, behind)) = Packet::read(rest) else { break };
            rest = behind;
            if self.packet(from, packet, cx) == Next::Done {
                return Next::Done;
            }
        }
        Next::More
    }

    /// [`Next::Done`] where no hello will come any more.
    fn packet(&mut self, from: Side, packet: Packet<'_>, cx: &mut Context<'_>) -> Next {
        match packet {
            Packet::Initial(initial) => return self.initial(from, &initial, cx),
            Packet::Unknown(version) if self.version == 0 => {
                self.version = version;
                return Next::Done;
            }
            // Both sides speak one version by then (RFC 9368 section 2.3).
            Packet::Handshake(version) if self.version != 0 => {
                self.version = version.number();
                self.go_on(from);
            }
            _ => {}
        }
        Next::More
    }

    /// A side sent with keys that follow from the server's hello (RFC 9001 section 4.1.4).
    fn go_on(&mut self, from: Side) {
        self.answered = true;
        if from == self.client_side() {
            self.late = self.late.max(1);
        }
    }

    fn initial(&mut self, from: Side, initial: &Initial<'_>, cx: &mut Context<'_>) -> Next {
        if self.beginning.is_none() {
            self.beginnings += 1;
            self.beginning = Some(Beginning::new(from, initial.destination));
            self.crypto.iter_mut().for_each(Assembly::clear);
        }
        let is_client = from == self.client_side();
        // With another destination the client may have begun anew. What it was sent that for is not asked: it may come later, or not.
        let may_be_new = is_client && self.beginning.as_ref().is_some_and(|beginning| !beginning.is_to(initial));
        let is_former = is_client && self.former.as_ref().is_some_and(|former| former.is_to(initial));
        // Acknowledgements and repetitions need not be opened.
        if self.opened && (is_former || self.hellos.has(is_client) && !may_be_new) {
            return Next::More;
        }
        let mut found = self.open(from, initial);
        // Where nothing could be opened so far, this may be the client's first packet, and what came before not.
        if found.is_none() && (!self.opened || may_be_new) && self.beginnings < BEGINNINGS_MAX {
            found = self.begin_anew(from, initial);
        }
        let Some(range) = found else {
            self.failures += 1;
            return Next::More;
        };
        self.opened = true;
        self.version = initial.version.number();
        let mut closed = false;
        for frame in frames(&self.scratch[range]) {
            match frame {
                Frame::Crypto { offset, bytes } => self.crypto[from.index()].insert(offset, bytes),
                Frame::Close => closed = true,
            }
        }
        let next = self.messages(from, cx);
        if closed { Next::Done } else { next }
    }

    /// Takes a packet for the client's first one, and opens it. Keys that have opened others are kept where it is none.
    fn begin_anew(&mut self, from: Side, initial: &Initial<'_>) -> Option<Range<usize>> {
        self.beginnings += 1;
        let earlier = self.beginning.replace(Beginning::new(from, initial.destination));
        let found = self.open(from, initial);
        if found.is_none() && self.opened {
            self.beginning = earlier;
        } else {
            self.former = earlier.filter(|_| self.opened);
            self.crypto.iter_mut().for_each(Assembly::clear);
        }
        found
    }

    /// Opens a packet; gives where in the scratch its frames are.
    fn open(&mut self, from: Side, initial: &Initial<'_>) -> Option<Range<usize>> {
        let beginning = self.beginning.as_mut()?;
        let range = beginning.direction(initial.version, from)?.open(initial, &mut self.scratch)?;
        let message = if from == beginning.client_side { CLIENT_HELLO } else { SERVER_HELLO };
        // A cut packet has no tag to tell whether the keys fit: its frames have to.
        let fits = initial.whole
            || match frames(&self.scratch[range.clone()]).next() {
                Some(Frame::Crypto { offset: 0, bytes }) => bytes.first() == Some(&message),
                Some(Frame::Crypto { offset, .. }) => offset < HANDSHAKE_MAX as u64,
                _ => false,
            };
        fits.then_some(range)
    }

    /// Reads what is there of the handshake of one side. [`Next::Done`] where it is no handshake.
    fn messages(&mut self, from: Side, cx: &mut Context<'_>) -> Next {
        let is_client = from == self.client_side();
        let mut rest = self.crypto[from.index()].beginning();
        while let Some((message, length)) = HandshakeMessage::read(rest) {
            let is_read =
                if message.whole { self.hellos.message(is_client, message, cx) } else { length <= HANDSHAKE_MAX };
            if !is_read {
                cx.anomaly(from, Protocol::Quic, "error_on_data");
                return Next::Done;
            }
            if !message.whole {
                break;
            }
            rest = &rest[length..];
        }
        Next::More
    }

    /// Writes what is known, and forgets it.
    fn finish(&mut self, cx: &mut Context<'_>) -> Next {
        if !self.over {
            self.salvage(cx);
            if self.lacks() {
                self.hellos.lack();
            }
            self.hellos.write(self.version, self.client_side(), cx);
        }
        *self = Self { over: true, ..Self::default() };
        Next::Done
    }

    /// Whether a hello is not there that was sent. Nothing acknowledges datagrams, so what was sent later has to tell.
    fn lacks(&self) -> bool {
        // Of other versions nobody looks for hellos.
        let is_readable = Version::of(self.version).is_some();
        // A packet that could be opened, or not, is the client's with its hello or an answer to that.
        let is_shown = self.hellos.has(true) && !self.answered && self.failures == 0 && !self.cut;
        is_readable && !self.hellos.are_complete() && (!is_shown || self.crypto.iter().any(Assembly::has_holes))
    }

    /// Has a look at hellos whose end has not come.
    fn salvage(&mut self, cx: &mut Context<'_>) {
        for side in [Side::Originator, Side::Responder] {
            let is_client = side == self.client_side();
            if !self.hellos.has(is_client)
                && let Some((message, _)) = HandshakeMessage::read(self.crypto[side.index()].beginning())
            {
                self.hellos.message(is_client, message, cx);
            }
        }
    }
}
