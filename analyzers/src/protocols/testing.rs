//! Feeding a protocol in tests.

use std::net::IpAddr;

use serde_json::Value;
use vxtap_wire::{FiveTuple, IpVersion, protocol};

use super::{Context, DatagramProtocol, EventKinds, Events, FlowFacts, Next, Protocol, Side, StreamProtocol};

pub(crate) const CLIENT: Side = Side::Originator;
pub(crate) const SERVER: Side = Side::Responder;

/// What happens to a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'a> {
    Data(Side, &'a [u8]),
    Gap(Side, u64),
    /// From here on more was, or was not, sent by the side than is shown.
    Unseen(Side, bool),
    /// The beginning of the side was not shown.
    Joined(Side),
}

/// Events and what else a protocol told, from a client at 10.0.0.1 port 40000 to a server at 10.0.0.2.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) facts: FlowFacts,
    pub(crate) events: Events,
    /// Time of the next step, nanoseconds; each step takes a millisecond.
    pub(crate) time_ns: u64,
    /// Of which sides more was sent than is shown.
    pub(crate) unseen: [bool; 2],
    /// Of which sides the beginning is not shown.
    pub(crate) joined: [bool; 2],
}

impl Recorder {
    pub(crate) fn new(protocol: u8, server_port: u16) -> Self {
        let tuple = FiveTuple {
            source: IpAddr::from([10, 0, 0, 1]).into(),
            destination: IpAddr::from([10, 0, 0, 2]).into(),
            source_port: 40_000,
            destination_port: server_port,
            protocol,
            version: IpVersion::V4,
        };
        let facts = FlowFacts::new(tuple, 7, [].into());
        Self {
            facts,
            events: Events::new(EventKinds::ALL),
            time_ns: 1_000_000_000,
            unseen: [false; 2],
            joined: [false; 2],
        }
    }

    /// What `act` does with the context of the next millisecond.
    pub(crate) fn step<R>(&mut self, act: impl FnOnce(&mut Context<'_>) -> R) -> R {
        self.time_ns += 1_000_000;
        act(&mut Context {
            time_ns: self.time_ns,
            flow: &self.facts,
            events: &mut self.events,
            unseen: self.unseen,
            joined: self.joined,
        })
    }

    /// The events so far, which are forgotten.
    pub(crate) fn take(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        self.events.take(|lines, count| {
            let lines = std::str::from_utf8(lines).unwrap();
            events.extend(lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
            assert_eq!(events.len() as u64, count);
        });
        events
    }
}

/// Gives the steps to a fresh `P` and then ends both sides; gives the events and what it wanted in the end. After
/// [`Next::Done`] or [`Next::Becomes`] nothing is given any more.
///
/// The same must come where bytes are first offered as ones that are only to be counted, as a flow does.
pub(crate) fn stream<P: StreamProtocol>(steps: &[Step<'_>]) -> (Vec<Value>, Next) {
    let read = stream_offered::<P>(steps, false);
    assert_eq!(stream_offered::<P>(steps, true), read);
    read
}

fn stream_offered<P: StreamProtocol>(steps: &[Step<'_>], offered: bool) -> (Vec<Value>, Next) {
    let mut recorder = Recorder::new(protocol::TCP, 80);
    let mut analysed = P::default();
    let mut next = Next::More;
    for step in steps {
        if next != Next::More {
            break;
        }
        if let Step::Unseen(side, unseen) = *step {
            recorder.unseen[side.index()] = unseen;
            continue;
        }
        if let Step::Joined(side) = *step {
            recorder.joined[side.index()] = true;
            continue;
        }
        next = recorder.step(|cx| match *step {
            Step::Data(from, bytes) if offered && analysed.passes(from, bytes) => Next::More,
            Step::Data(from, bytes) => analysed.data(from, bytes, cx),
            Step::Gap(from, bytes) => analysed.gap(from, bytes, cx),
            Step::Unseen(..) | Step::Joined(_) => unreachable!("taken above"),
        });
    }
    for side in [CLIENT, SERVER] {
        recorder.step(|cx| analysed.end(side, cx));
    }
    (recorder.take(), next)
}

/// The same events must come however the bytes are cut into pieces: gives the steps whole, byte by byte and in pieces of
/// 7 bytes, and compares all but the times. Gives the events.
pub(crate) fn stream_however_cut<P: StreamProtocol>(steps: &[Step<'_>]) -> Vec<Value> {
    let (whole, _) = stream::<P>(steps);
    for size in [1, 7] {
        let mut cut = Vec::new();
        for step in steps {
            match *step {
                Step::Data(from, bytes) => cut.extend(bytes.chunks(size).map(|bytes| Step::Data(from, bytes))),
                other @ (Step::Gap(..) | Step::Unseen(..) | Step::Joined(_)) => cut.push(other),
            }
        }
        let (pieces, _) = stream::<P>(&cut);
        assert_eq!(timeless(pieces), timeless(whole.clone()), "in pieces of {size} bytes");
    }
    whole
}

/// Gives what both sides say to a fresh `P` with bytes of `noise` in it, each at its place modulo the length (the lowest bit says whose), in
/// pieces of `cut` bytes, perhaps with a gap of `gap` bytes behind each, and then all of it backwards.
pub(crate) fn damaged_stream<P: StreamProtocol>(
    sides: &mut [(Side, Vec<u8>); 2],
    noise: &[(u16, u8)],
    cut: usize,
    gap: u64,
) {
    for (at, byte) in noise {
        let bytes = &mut sides[usize::from(at & 1)].1;
        let at = usize::from(at >> 1) % bytes.len();
        bytes[at] = *byte;
    }
    let mut steps = Vec::new();
    for (side, bytes) in &*sides {
        for piece in bytes.chunks(cut) {
            steps.push(Step::Data(*side, piece));
            if gap % 3 == 1 {
                steps.push(Step::Gap(*side, gap));
            }
        }
    }
    stream::<P>(&steps);
    steps.reverse();
    stream::<P>(&steps);
}

/// Gives datagrams, whole, to a fresh `P`, and ends the flow.
pub(crate) fn datagrams<P: DatagramProtocol>(steps: &[(Side, &[u8])]) -> (Vec<Value>, Next) {
    let port = if P::PROTOCOL == Protocol::Quic { 443 } else { 53 };
    let mut recorder = Recorder::new(protocol::UDP, port);
    let mut analysed = P::default();
    let mut next = Next::More;
    for (from, payload) in steps {
        if next == Next::More {
            next = recorder.step(|cx| analysed.datagram(*from, payload, 0, cx));
        }
    }
    recorder.step(|cx| analysed.end(cx));
    (recorder.take(), next)
}

fn timeless(mut events: Vec<Value>) -> Vec<Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|key, _| key != "timestamp" && !key.ends_with("_us"));
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    events.iter_mut().for_each(strip);
    events
}
