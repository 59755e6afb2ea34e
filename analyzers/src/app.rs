//! The application layer of one flow: its bytes put in order, its protocol found, and what the protocol wants done.

use vxtap_wire::{FrameView, Transport, protocol};

use crate::analysis::Analysis;
use crate::anomaly::{Anomaly, AnomalySet};
use crate::protocols::{Context, FlowFacts, Next, Protocol, Side};
use crate::tcp::{Connection, Delivery, Metrics, Segment};

mod arena;
mod datagrams;
mod detection;
mod memory;
mod streams;
mod work;

pub(crate) use arena::{AppSlot, Arena};
use datagrams::Datagrams;
use detection::{Detection, Found};
pub(crate) use memory::Memory;
use streams::StreamAnalyser;
use work::Work;

/// What is known of a flow's application layer; in an [`Arena`], and only where something is analysed. Of one piece: no part of it is
/// much larger than the others.
#[derive(Debug)]
pub(crate) struct FlowApp {
    facts: FlowFacts,
    /// Time of the newest packet: what protocols are told does not go backwards.
    now_ns: u64,
    layer: Layer,
    /// Anomalies that were told.
    anomalies: AnomalySet,
}

/// A packet of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'v, 'a> {
    pub(crate) from: Side,
    pub(crate) view: &'v FrameView<'a>,
    pub(crate) time_ns: u64,
    /// Who opened the flow was seen; otherwise it is a guess.
    pub(crate) certain: bool,
    /// What its fragments have shown.
    pub(crate) fragments: Option<Anomaly>,
}

/// What is known of a flow after a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// The sides are the other way round than was thought.
    pub(crate) turned: bool,
    /// The protocol, where it was found.
    pub(crate) protocol: Option<Protocol>,
}

#[derive(Debug)]
enum Layer {
    Tcp(TcpLayer),
    Udp(Datagrams),
    /// Nothing that anybody looks into.
    Other,
}

#[derive(Debug)]
struct TcpLayer {
    connection: Connection,
    stream: Stream,
    /// When what was told last came.
    told_ns: u64,
}

impl TcpLayer {
    /// Takes what `connection` delivers at `now_ns`: what has waited came earlier, but is told behind what was told before.
    #[inline]
    fn take(stream: &mut Stream, told_ns: &mut u64, now_ns: u64, delivery: Delivery<'_>, work: &mut Work<'_>) {
        if let Delivery::Came(time_ns) = delivery {
            work.time_ns = time_ns.map_or(now_ns, |time_ns| time_ns.clamp(*told_ns, now_ns));
            return;
        }
        *told_ns = work.time_ns;
        stream.take(delivery, work);
    }
}

impl FlowApp {
    /// The application layer of a new flow.
    pub(crate) fn new(facts: FlowFacts) -> Self {
        let layer = match facts.tuple.protocol {
            protocol::TCP => Layer::Tcp(TcpLayer {
                connection: Connection::default(),
                stream: Stream::Unknown(Detection::default()),
                told_ns: 0,
            }),
            protocol::UDP => Layer::Udp(Datagrams::default()),
            _ => Layer::Other,
        };
        Self { facts, now_ns: 0, layer, anomalies: AnomalySet::default() }
    }

    /// What the flow's events say of it.
    pub(crate) const fn facts(&self) -> &FlowFacts {
        &self.facts
    }

    /// The protocol, where it was found.
    pub(crate) const fn protocol(&self) -> Option<Protocol> {
        match &self.layer {
            Layer::Tcp(layer) => match &layer.stream {
                Stream::Known { protocol, .. } => Some(*protocol),
                Stream::Unknown(_) | Stream::Foreign => None,
            },
            Layer::Udp(datagrams) => datagrams.protocol(),
            Layer::Other => None,
        }
    }

    /// What operators ask of a TCP connection.
    pub(crate) const fn metrics(&self) -> Option<&Metrics> {
        match &self.layer {
            Layer::Tcp(layer) => Some(layer.connection.metrics()),
            Layer::Udp(_) | Layer::Other => None,
        }
    }

    /// Takes a packet. Gives what that has told of its flow, where it was looked into.
    #[inline]
    pub(crate) fn packet(&mut self, arrival: &Arrival<'_, '_>, analysis: &mut Analysis) -> Option<Told> {
        self.now_ns = self.now_ns.max(arrival.time_ns);
        let ordinary = arrival.fragments.is_none() && Anomaly::is_none_in(arrival.view);
        if ordinary && self.passes(arrival) {
            return None;
        }
        Some(self.look(arrival, ordinary, analysis))
    }

    /// Takes a packet of which there is nothing to tell, and in which nothing is to be read: a segment that goes on where its sender was, in
    /// good order, and carries no more than the middle of a body. Most packets are such, and so this is kept short. Gives
    /// whether it is one; others are left as they are.
    #[inline]
    fn passes(&mut self, arrival: &Arrival<'_, '_>) -> bool {
        let Layer::Tcp(TcpLayer { connection, stream, .. }) = &mut self.layer else { return false };
        let Some(segment) = Segment::of(arrival.view, self.now_ns) else { return false };
        let payload = segment.payload;
        let passes =
            connection.is_next(arrival.from, &segment) && (payload.is_empty() || stream.passes(arrival.from, payload));
        if passes {
            connection.follow(arrival.from, &segment);
        }
        passes
    }

    /// Takes any other packet; of an `ordinary` one it is known that nothing is wrong with it by itself.
    #[inline(never)]
    fn look(&mut self, arrival: &Arrival<'_, '_>, ordinary: bool, analysis: &mut Analysis) -> Told {
        let mut found = if ordinary { AnomalySet::default() } else { Anomaly::of_packet(arrival.view) };
        if let Some(anomaly) = arrival.fragments {
            found.insert(anomaly);
        }
        let turned = self.payload(arrival, analysis, &mut found);
        if !found.is_empty() {
            let from = if turned { arrival.from.other() } else { arrival.from };
            self.tell(found, from, analysis);
        }
        Told { turned, protocol: self.protocol() }
    }

    #[cold]
    fn tell(&mut self, found: AnomalySet, from: Side, analysis: &mut Analysis) {
        for anomaly in found.iter() {
            if self.anomalies.insert(anomaly) {
                analysis.events.flow_anomaly(anomaly, from, self.now_ns, &self.facts);
            }
        }
    }

    /// Takes what the packet carries. Gives whether that turned the sides round.
    #[inline]
    fn payload(&mut self, arrival: &Arrival<'_, '_>, analysis: &mut Analysis, found: &mut AnomalySet) -> bool {
        let Arrival { from, view, certain, .. } = *arrival;
        let now_ns = self.now_ns;
        let Analysis { events, budget, kept_bytes, memory, .. } = analysis;
        let may_turn = !certain && !self.facts.is_told();
        let mut work = Work {
            time_ns: self.now_ns,
            facts: &mut self.facts,
            events,
            kept_bytes,
            memory,
            may_turn,
            turned: false,
            unseen: [false; 2],
            joined: [false; 2],
        };
        match &mut self.layer {
            Layer::Tcp(TcpLayer { connection, stream, told_ns }) => {
                let Some(segment) = Segment::of(view, self.now_ns) else { return false };
                let wanted = stream.wants_bytes();
                if wanted && connection.may_deliver(&segment) {
                    work.unseen = connection.unseen_with(from, &segment);
                    work.joined = connection.joined();
                }
                let overlaps = connection.metrics().sent_by(from).overlaps;
                connection.segment(from, &segment, budget, &mut |delivery| {
                    TcpLayer::take(stream, told_ns, now_ns, delivery, &mut work);
                });
                if connection.metrics().sent_by(from).overlaps != overlaps {
                    found.insert(Anomaly::StreamOverlap);
                }
                if work.turned {
                    connection.turn();
                }
                if wanted && !stream.wants_bytes() {
                    connection.stop_buffering(budget);
                }
            }
            Layer::Udp(datagrams) if matches!(view.transport, Transport::Udp) => {
                let payload = view.payload();
                let missing = view.payload_wire_len().saturating_sub(payload.len() as u32);
                datagrams.take(from, payload, missing, &mut work);
            }
            Layer::Udp(_) | Layer::Other => {}
        }
        work.turned
    }

    /// The flow is over: what waits is told, and what was kept for it is given back.
    pub(crate) fn end(&mut self, analysis: &mut Analysis) {
        let Analysis { events, budget, kept_bytes, memory, .. } = analysis;
        let now_ns = self.now_ns;
        let facts = &mut self.facts;
        let mut work = Work {
            time_ns: self.now_ns,
            facts,
            events,
            kept_bytes,
            memory,
            may_turn: false,
            turned: false,
            unseen: [false; 2],
            joined: [false; 2],
        };
        match &mut self.layer {
            Layer::Tcp(TcpLayer { connection, stream, told_ns }) => {
                work.unseen = connection.open();
                work.joined = connection.joined();
                connection.finish(budget, &mut |delivery| {
                    TcpLayer::take(stream, told_ns, now_ns, delivery, &mut work);
                });
                stream.forget(work.kept_bytes);
            }
            Layer::Udp(datagrams) => datagrams.end(&mut work),
            Layer::Other => {}
        }
    }
}

/// Some of the two sides, in a byte.
#[derive(Clone, Copy, Debug)]
struct SideSet(u8);

impl SideSet {
    const fn of([originator, responder]: [bool; 2]) -> Self {
        Self(originator as u8 | (responder as u8) << 1)
    }

    const fn has(self, side: Side) -> bool {
        self.0 & 1 << side.index() != 0
    }
}

/// The application layer of a TCP connection.
#[derive(Debug)]
enum Stream {
    /// Not found yet.
    Unknown(Detection),
    Known {
        protocol: Protocol,
        /// `None` for a protocol that only its name is known of.
        analyser: Option<StreamAnalyser>,
        /// It wants no more bytes.
        done: bool,
        /// How many of the sides have told it that they end. After both it is dropped: nothing can come.
        ended: u8,
        /// Of which sides bytes were missing before it was found: what it is given does not begin where they did.
        joined: SideSet,
        /// Bytes that it keeps, as they are counted.
        kept: u32,
    },
    /// Of none that is known.
    Foreign,
}

impl Stream {
    const fn wants_bytes(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Known { done: false, .. })
    }

    fn take(&mut self, delivery: Delivery<'_>, work: &mut Work<'_>) {
        let delivery = work.sided(delivery);
        match self {
            Self::Unknown(detection) => {
                let was_turned = work.turned;
                match detection.take(delivery, work) {
                    Found::Nothing => {}
                    Found::Foreign => {
                        detection.forget(work.kept_bytes);
                        *self = Self::Foreign;
                    }
                    Found::Protocol(analyser) => {
                        let delivery = if was_turned { delivery } else { work.sided(delivery) };
                        let earlier = std::mem::take(detection);
                        *self = Self::Known {
                            protocol: analyser.protocol(),
                            analyser: Some(analyser),
                            done: false,
                            ended: 0,
                            joined: SideSet::of(earlier.lost()),
                            kept: 0,
                        };
                        earlier.replay(|delivery| self.analyse(delivery, work));
                        earlier.forget(work.kept_bytes);
                        self.analyse(delivery, work);
                        earlier.ended().for_each(|side| self.analyse(Delivery::End(side), work));
                    }
                }
            }
            Self::Known { .. } => self.analyse(delivery, work),
            Self::Foreign => {}
        }
    }

    /// Takes the next bytes of a side where nobody reads them; gives whether that is so.
    #[inline]
    fn passes(&mut self, from: Side, bytes: &[u8]) -> bool {
        match self {
            Self::Unknown(_) => false,
            Self::Known { analyser: Some(analyser), done: false, .. } => analyser.passes(from, bytes),
            Self::Known { .. } | Self::Foreign => true,
        }
    }

    /// Gives the analyser what was delivered, and what replaces it what is left of that.
    fn analyse(&mut self, delivery: Delivery<'_>, work: &mut Work<'_>) {
        let Self::Known { analyser: place, done, ended, joined, kept, .. } = self else { return };
        let Some(analyser) = place else { return };
        let (mut cx, memory) = work.parts();
        let joined = *joined;
        for side in [Side::Originator, Side::Responder] {
            cx.joined[side.index()] |= joined.has(side);
        }
        let next = match delivery {
            Delivery::End(from) => {
                analyser.end(from, &mut cx);
                *ended += 1;
                memory.change(kept, analyser.kept());
                // The flow may stay in the table for long.
                if *ended == 2 {
                    *place = None;
                    memory.change(kept, 0);
                }
                return;
            }
            _ if *done => return,
            Delivery::Came(_) => return,
            Delivery::Data(from, bytes) => analyser.data(from, bytes, &mut cx),
            Delivery::Gap(from, bytes) => analyser.gap(from, bytes, &mut cx),
        };
        if memory.change(kept, analyser.kept()) {
            return self.give_up(work);
        }
        match next {
            Next::More => {}
            Next::Done => *done = true,
            Next::Becomes(protocol) => {
                let unused = analyser.unused();
                memory.change(kept, 0);
                let analyser = self.replace(protocol, &mut cx);
                *self = Self::Known { protocol, done: analyser.is_none(), analyser, ended: 0, joined, kept: 0 };
                if let Delivery::Data(from, bytes) = delivery
                    && let Some(rest) = bytes.len().checked_sub(unused).and_then(|at| bytes.get(at..))
                    && !rest.is_empty()
                {
                    // No protocol becomes itself, so this ends.
                    self.analyse(Delivery::Data(from, rest), work);
                }
            }
        }
    }

    /// All analysers together keep too much: what this one knows is told, as what is cut off, and nothing more is read.
    #[cold]
    fn give_up(&mut self, work: &mut Work<'_>) {
        let Self::Known { analyser: place, done, kept, .. } = self else { return };
        let (mut cx, memory) = work.parts();
        cx.unseen = [true; 2];
        if let Some(mut analyser) = place.take() {
            for side in [Side::Originator, Side::Responder] {
                analyser.end(side, &mut cx);
            }
        }
        *done = true;
        memory.change(kept, 0);
        memory.given_up += 1;
    }

    /// The analyser of the protocol that the stream goes on with.
    fn replace(&mut self, protocol: Protocol, cx: &mut Context<'_>) -> Option<StreamAnalyser> {
        let Self::Known { analyser, .. } = self else { return None };
        let mut old = match (analyser.take()?, protocol) {
            (StreamAnalyser::Http1(http1), Protocol::Http2) => {
                return Some(StreamAnalyser::Http2(Box::new(http1.into_http2())));
            }
            (old, _) => old,
        };
        for side in [Side::Originator, Side::Responder] {
            old.end(side, cx);
        }
        StreamAnalyser::of(protocol)
    }

    fn forget(&mut self, kept_bytes: &mut usize) {
        if let Self::Unknown(detection) = self {
            std::mem::take(detection).forget(kept_bytes);
        }
    }
}

#[cfg(test)]
mod tests;
