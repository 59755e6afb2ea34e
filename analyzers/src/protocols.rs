//! Application protocols: what one has to do to be analysed, and what it is given.
//!
//! A protocol is one file: a type that implements [`StreamProtocol`] (over TCP) or [`DatagramProtocol`] (over UDP), and an arm in the
//! enum that the flow keeps. The bytes of a stream come in order and each once, in pieces of any size, without a copy; where bytes are
//! missing, because the network lost them, the mirror did, or it cut the packet, [`StreamProtocol::gap`] says how many. A
//! protocol never waits for bytes that will not come: it tells what it has, marked as cut.

use crate::json::JsonObject;

pub mod dns;
mod framing;
pub mod http1;
pub mod http2;
mod http_event;
mod kind;
mod message;
pub mod mysql;
mod pending;
pub mod postgresql;
pub mod quic;
pub mod redis;
mod spare;
pub mod ssh;
mod statement;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;

pub use kind::{EventKind, EventKinds, Protocol};
pub use message::{EventHead, Events, FlowFacts};
pub use pending::Pending;

/// One of the two ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Who opened it: the client.
    Originator,
    /// Who answers: the server.
    Responder,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Originator => Self::Responder,
            Self::Responder => Self::Originator,
        }
    }

    /// 0 for the originator, 1 for the responder: for arrays of both.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What the first bytes of a flow say about a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guess {
    /// It is this one.
    Yes,
    /// It may be: more bytes would tell.
    Perhaps,
    /// It is not.
    No,
}

/// The first bytes of a stream, from both sides as far as they are there.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// From the originator.
    pub originator: &'a [u8],
    /// From the responder.
    pub responder: &'a [u8],
    /// The originator's port.
    pub originator_port: u16,
    /// The responder's port. A hint where bytes alone do not tell, no proof.
    pub responder_port: u16,
}

impl Opening<'_> {
    /// The same with the sides the other way round.
    #[must_use]
    pub const fn turned(&self) -> Self {
        Self {
            originator: self.responder,
            responder: self.originator,
            originator_port: self.responder_port,
            responder_port: self.originator_port,
        }
    }
}

/// What a protocol wants after it was given something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The bytes that follow.
    More,
    /// Nothing any more from either side, for instance since the rest is encrypted: the stream needs not be reassembled.
    Done,
    /// What follows is of this protocol, for instance after an upgrade, from both sides. The protocol that said so is finished.
    Becomes(Protocol),
}

/// A protocol over TCP.
pub trait StreamProtocol: Default {
    /// Which one.
    const PROTOCOL: Protocol;

    /// Whether a stream that begins so is of this protocol. Bytes first, port second. The opening of a flow that was picked up in the
    /// middle begins with whatever came first.
    fn recognise(opening: &Opening<'_>) -> Guess;

    /// Who of the two is the client, where the bytes of an opening that was recognised say so. Asked of flows that were picked up in the
    /// middle: there the originator is a guess.
    fn client(_opening: &Opening<'_>) -> Option<Side> {
        None
    }

    /// The next bytes from one side; never empty.
    fn data(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Next;

    /// Takes the next bytes from one side where they are only to be counted, and nothing begins or ends in them: the middle of a body.
    /// Gives whether it did; otherwise nothing has changed, and they come by [`StreamProtocol::data`].
    #[inline]
    fn passes(&mut self, _from: Side, _bytes: &[u8]) -> bool {
        false
    }

    /// So many bytes from that side are missing. What comes next of it begins behind them.
    fn gap(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next;

    /// Nothing more comes from that side: it has closed (FIN), the connection was reset, or the flow is over. Called once
    /// for each side, also after [`Next::Done`].
    fn end(&mut self, from: Side, cx: &mut Context<'_>);

    /// Bytes of memory that it keeps besides itself, until more comes: of a message whose end has not, of requests that wait for answers.
    fn kept(&self) -> usize;

    /// After [`StreamProtocol::data`] gave [`Next::Becomes`]: how many bytes at the end of what it was given are of the new protocol.
    fn unused(&self) -> usize {
        0
    }
}

/// A protocol over UDP.
pub trait DatagramProtocol: Default {
    /// Which one.
    const PROTOCOL: Protocol;

    /// Whether a datagram with these bytes between these ports, the originator's first, is of this protocol.
    fn recognise(payload: &[u8], ports: (u16, u16)) -> bool;

    /// Who of the two is the client, where a first datagram that was recognised says so; asked where the originator is a guess.
    fn client(_from: Side, _payload: &[u8], _ports: (u16, u16)) -> Option<Side> {
        None
    }

    /// One datagram, of whose payload the mirror has cut `missing` bytes off the end.
    fn datagram(&mut self, from: Side, payload: &[u8], missing: u32, cx: &mut Context<'_>) -> Next;

    /// As [`StreamProtocol::kept`].
    fn kept(&self) -> usize;

    /// The flow is over.
    fn end(&mut self, cx: &mut Context<'_>);
}

/// What a protocol knows of the packet and may do.
#[derive(Debug)]
pub struct Context<'a> {
    /// Time of the packet, nanoseconds since 1970. Does not go backwards within a flow.
    pub time_ns: u64,
    /// The flow.
    pub flow: &'a FlowFacts,
    /// Where events go.
    pub events: &'a mut Events,
    /// Of which sides more was sent than was shown; see [`Context::is_unseen`].
    pub unseen: [bool; 2],
    /// Of which sides the beginning was not shown; see [`Context::is_joined`].
    pub joined: [bool; 2],
}

impl Context<'_> {
    /// Whether more was sent by that side than was shown up to now: its peer has acknowledged what has not come, or nothing of the side
    /// was seen at all; when the flow is over, also where the side's end was not seen. Of bytes that wait behind others this may be said too soon, never too late.
    pub const fn is_unseen(&self, side: Side) -> bool {
        self.unseen[side.index()]
    }

    /// Whether the beginning of that side's stream was not shown: its first bytes may be in the middle of anything.
    pub const fn is_joined(&self, side: Side) -> bool {
        self.joined[side.index()]
    }

    /// Writes an event of `kind`, if events of that kind are wanted. `from` is whose address stands first, `tx` the number of the
    /// transaction in the flow, from 0, where there is one. `write` gives the members behind the envelope (`"http":{…}`).
    pub fn event(&mut self, kind: EventKind, from: Side, tx: Option<u64>, write: impl FnOnce(&mut JsonObject<'_>)) {
        let head = EventHead { kind, time_ns: self.time_ns, from, tx };
        self.events.write(head, self.flow, write);
    }

    /// Tells what is wrong with the flow's bytes; counted by its name, which is Suricata's where that has one, in lower case with
    /// underscores. Once for each flow and name is enough: the caller sees to that. What is too much in a second is counted and not told.
    pub fn anomaly(&mut self, from: Side, protocol: Protocol, name: &'static str) {
        if !self.events.admits(name, self.time_ns) {
            return;
        }
        self.event(EventKind::Anomaly, from, None, |json| {
            json.object("anomaly", |json| {
                json.text("app_proto", protocol.as_str());
                json.text("type", "applayer");
                json.text("event", name);
                json.text("layer", "proto_parser");
            });
        });
    }

    /// A request was answered after so many nanoseconds.
    pub fn response_time(&mut self, protocol: Protocol, nanos: u64) {
        self.events.record_response(protocol, nanos);
    }
}
