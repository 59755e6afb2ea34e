//! DNS over UDP and TCP, multicast DNS and LLMNR among it: one event for each message.

use super::framing::{Framed, Framer, Measure, Message as Frame};
use super::{Context, DatagramProtocol, EventKind, Guess, Next, Opening, Protocol, Side, StreamProtocol};
use anomaly::{Anomalies, Anomaly};
use message::{Message, Section, read_u16};
use outstanding::Outstanding;
use write::About;

mod anomaly;
mod data;
mod message;
mod name;
mod names;
mod outstanding;
mod recognise;
mod resync;
mod write;

/// DNS over UDP.
#[derive(Debug, Default)]
pub struct DnsDatagrams {
    conversation: Conversation,
}

impl DatagramProtocol for DnsDatagrams {
    const PROTOCOL: Protocol = Protocol::Dns;

    fn recognise(payload: &[u8], ports: (u16, u16)) -> bool {
        recognise::message(payload, ports) == Guess::Yes
    }

    fn client(from: Side, payload: &[u8], ports: (u16, u16)) -> Option<Side> {
        recognise::client(from, payload, ports)
    }

    fn datagram(&mut self, from: Side, payload: &[u8], missing: u32, cx: &mut Context<'_>) -> Next {
        self.conversation.message(from, payload, missing > 0, cx);
        Next::More
    }

    fn kept(&self) -> usize {
        self.conversation.size()
    }

    fn end(&mut self, _: &mut Context<'_>) {}
}

/// DNS over TCP: each message behind its length (RFC 1035, section 4.2.2).
#[derive(Debug, Default)]
pub struct DnsStream {
    sides: [Framer; 2],
    conversation: Conversation,
    begun: bool,
}

impl DnsStream {
    /// Before anything of a flow.
    fn begin(&mut self, from: Side, cx: &Context<'_>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let tuple = &cx.flow.tuple;
        self.conversation.server = recognise::server((tuple.source_port, tuple.destination_port));
        // With the handshake the other side would have been seen as well: the flow was picked up in the middle, perhaps of a message.
        if cx.is_unseen(from.other()) {
            self.sides.iter_mut().for_each(Framer::doubt);
        }
    }
}

impl StreamProtocol for DnsStream {
    const PROTOCOL: Protocol = Protocol::Dns;

    fn recognise(opening: &Opening<'_>) -> Guess {
        let ports = (opening.originator_port, opening.responder_port);
        let bytes = if opening.originator.is_empty() { opening.responder } else { opening.originator };
        if bytes.is_empty() {
            return Guess::Perhaps;
        }
        begins(bytes, ports)
    }

    fn client(opening: &Opening<'_>) -> Option<Side> {
        let ports = (opening.originator_port, opening.responder_port);
        // The bytes may be from the middle of a message.
        if let Some(server) = recognise::server(ports) {
            return Some(server.other());
        }
        let from = if opening.originator.is_empty() { Side::Responder } else { Side::Originator };
        let bytes = if from == Side::Originator { opening.originator } else { opening.responder };
        recognise::client(from, bytes.get(2..)?, ports)
    }

    fn data(&mut self, from: Side, bytes: &[u8], cx: &mut Context<'_>) -> Next {
        self.begin(from, cx);
        // Nobody answers half a question: what the client began with was in the middle of one.
        let (client, server) = (from.other().index(), self.conversation.server.unwrap_or(Side::Responder));
        if from == server && !self.conversation.begun[client] && self.sides[client].size() > 0 {
            self.sides[client].doubt();
        }
        self.sides[from.index()].data(from, bytes, &mut self.conversation, cx)
    }

    fn gap(&mut self, from: Side, bytes: u64, cx: &mut Context<'_>) -> Next {
        self.begin(from, cx);
        self.sides[from.index()].gap(from, bytes, &mut self.conversation, cx)
    }

    fn kept(&self) -> usize {
        self.sides.iter().map(Framer::size).sum::<usize>() + self.conversation.size()
    }

    fn end(&mut self, from: Side, cx: &mut Context<'_>) {
        self.sides[from.index()].end(from, &mut self.conversation, cx);
    }
}

/// Whether a message with its length in front begins here.
fn begins(bytes: &[u8], ports: (u16, u16)) -> Guess {
    let Some(length) = read_u16(bytes, 0) else { return Guess::Perhaps };
    if usize::from(length) < message::Header::LEN {
        return Guess::No;
    }
    let there = bytes.get(2..).unwrap_or_default();
    let there = there.get(..usize::from(length)).unwrap_or(there);
    match recognise::message(there, ports) {
        Guess::Perhaps if there.len() == usize::from(length) => Guess::No,
        guess => guess,
    }
}

impl Framed for Conversation {
    const WANTED_MAX: usize = 2 + u16::MAX as usize;

    fn measure(&self, from: Side, bytes: &[u8]) -> Measure {
        // By what the client said first a flow is known to be DNS; if it was not that, what it said was in the middle of a message.
        let is_first = !self.begun[from.index()] && (from == Side::Originator || self.messages == 0);
        match read_u16(bytes, 0) {
            None => Measure::Unknown,
            Some(length) if usize::from(length) < message::Header::LEN => Measure::Nonsense,
            Some(_) if is_first && begins(bytes, (53, 53)) == Guess::No => Measure::Nonsense,
            Some(length) => Measure::Message { length: u64::from(length) + 2, wanted: Self::WANTED_MAX },
        }
    }

    fn message(&mut self, from: Side, frame: Frame<'_>, cx: &mut Context<'_>) -> Next {
        self.message(from, frame.bytes.get(2..).unwrap_or_default(), frame.cut, cx);
        Next::More
    }

    fn resumes(&self, from: Side, bytes: &[u8]) -> Guess {
        resync::begins(bytes, self.answers(from), &self.outstanding)
    }

    fn seek(&self, from: Side, bytes: &[u8]) -> (usize, Guess) {
        resync::find(bytes, self.answers(from), &self.outstanding)
    }

    fn lost(&mut self, _: Side, _: &mut Context<'_>) -> Next {
        Next::More
    }
}

/// What is known of a flow between its messages.
#[derive(Debug, Default)]
struct Conversation {
    messages: u64,
    outstanding: Outstanding,
    told: Anomalies,
    client: Option<Side>,
    /// Who answers, by the ports of a stream.
    server: Option<Side>,
    /// Of which sides a message was told.
    begun: [bool; 2],
}

impl Conversation {
    /// Memory that what waits takes, in bytes.
    const fn size(&self) -> usize {
        self.outstanding.size()
    }

    /// Whether a side answers, where that is known.
    fn answers(&self, from: Side) -> Option<bool> {
        self.server.or(self.client.map(Side::other)).map(|server| server == from)
    }

    fn message(&mut self, from: Side, bytes: &[u8], cut: bool, cx: &mut Context<'_>) {
        let Some(message) = Message::read(bytes) else {
            if !cut {
                let mut found = Anomalies::default();
                found.add(Anomaly::MalformedData);
                self.tell(found, from, cx);
            }
            return;
        };
        let mut found = self.direction(from, &message, cx);
        let header = message.header;
        if header.flags & 0x0040 != 0 {
            found.add(Anomaly::ZFlagSet);
        }
        if header.opcode() > 6 {
            found.add(Anomaly::InvalidOpcode);
        }
        let response_ns = if header.is_response() {
            self.outstanding.answer(header.id).map(|asked| cx.time_ns.saturating_sub(asked))
        } else {
            self.outstanding.ask(header.id, cx.time_ns);
            None
        };
        if let Some(nanos) = response_ns {
            cx.response_time(Protocol::Dns, nanos);
        }
        self.begun[from.index()] = true;
        let about = About { tx_id: self.messages, response_ns, cut };
        self.messages += 1;
        let mut seen = Anomalies::default();
        cx.event(EventKind::Dns, from, None, |json| {
            json.object("dns", |json| seen = write::members(json, &message, about));
        });
        match message.broken {
            Some(Section::Questions | Section::Answers) => seen.add(Anomaly::MalformedData),
            Some(Section::Authorities) => seen.add(Anomaly::InvalidAuthorities),
            Some(Section::Additionals) => seen.add(Anomaly::InvalidAdditionals),
            None => {}
        }
        if cut {
            // What is missing is the mirror's doing.
            for anomaly in [Anomaly::MalformedData, Anomaly::InvalidAuthorities, Anomaly::InvalidAdditionals] {
                seen.remove(anomaly);
            }
        }
        self.tell(found, from, cx);
        self.tell(seen, from, cx);
    }

    /// Who asked first is the client; between equals (the same port on both sides, as in multicast) there is none.
    fn direction(&mut self, from: Side, message: &Message<'_>, cx: &Context<'_>) -> Anomalies {
        let mut found = Anomalies::default();
        let tuple = &cx.flow.tuple;
        if tuple.source_port == tuple.destination_port {
            return found;
        }
        let response = message.header.is_response();
        let client = *self.client.get_or_insert(if response { from.other() } else { from });
        if client == from && response {
            found.add(Anomaly::NotRequest);
        } else if client != from && !response {
            found.add(Anomaly::NotResponse);
        }
        found
    }

    fn tell(&mut self, found: Anomalies, from: Side, cx: &mut Context<'_>) {
        for anomaly in self.told.learn(found) {
            cx.anomaly(from, Protocol::Dns, anomaly.as_str());
        }
    }
}

#[cfg(test)]
mod tests;
