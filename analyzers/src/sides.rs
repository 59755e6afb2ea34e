//! Flows of which only one direction is seen, by mirror stream, and what that is most likely the sign of.
//!
//! A flow is judged when its second direction comes, or when so much of one direction has been seen that the other one must have been
//! there: TCP that acknowledges, in frames enough; and UDP that asks where there is always an answer (DNS, NTP, SNMP, RADIUS, QUIC).
//! A SYN that nobody answers says nothing of the mirror.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};
use vxtap_wire::{FiveTuple, TcpFlags, protocol};

use crate::flow::{Flow, FlowEnd};
use crate::stream::StreamId;

mod cause;

pub use cause::OneSidedCause;

/// Frames of one direction after which the other one is missing.
const FRAMES_ENOUGH: u64 = 4;
/// Ports of UDP services that answer.
const ANSWERING: [u16; 7] = [53, 123, 161, 443, 1812, 1813, 5353];
/// Flows that are remembered, about: with twice as many judged all counts of [`Recent`] are halved.
const RECENT_FLOWS: u64 = 512;
/// Streams with counts of their own; others share one.
const STREAMS_MAX: usize = 4096;

/// Whether a flow has been judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Sidedness {
    /// Not yet.
    #[default]
    Open,
    /// One direction is missing.
    OneSided,
    /// Both were seen, or it is none that can be judged.
    Settled,
}

/// What a frame, or the end, says of a flow's directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// Both are seen.
    Both,
    /// The second one has come after all.
    Late,
    /// One is missing.
    OneSided,
}

impl Sidedness {
    /// How a new flow stands.
    pub(crate) fn of(protocol_number: u8, ports: [u16; 2]) -> Self {
        match protocol_number {
            protocol::TCP => Self::Open,
            protocol::UDP if ports.iter().any(|port| ANSWERING.contains(port)) => Self::Open,
            _ => Self::Settled,
        }
    }
}

/// Flows of one mirror stream by the directions that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SideCounts {
    /// Flows of which both directions were seen.
    pub both: u64,
    /// Flows of which only the originator was heard.
    pub originator_only: u64,
    /// Flows of which only the responder was heard.
    pub responder_only: u64,
    /// The same of late, with what points to the cause.
    #[serde(skip)]
    pub(crate) recent: Recent,
}

/// Judged flows of late: older ones count less and less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recent {
    pub(crate) both: u64,
    pub(crate) originator_only: u64,
    pub(crate) responder_only: u64,
    /// An address that most one-sided flows have in common, if there is one: the mirrored machine.
    host: Option<IpAddr>,
    host_votes: u64,
    turns: u64,
    pub(crate) from_host: u64,
    pub(crate) to_host: u64,
    /// A responder's port that most one-sided flows have in common, if there is one.
    pub(crate) port: Option<u16>,
    port_votes: u64,
    pub(crate) port_one_sided: u64,
    pub(crate) port_both: u64,
}

impl SideCounts {
    /// Flows judged.
    pub const fn judged(&self) -> u64 {
        self.both + self.one_sided()
    }

    /// Flows of which one direction is missing.
    pub const fn one_sided(&self) -> u64 {
        self.originator_only + self.responder_only
    }

    /// Adds what another worker has counted.
    pub fn merge(&mut self, other: &Self) {
        self.both += other.both;
        self.originator_only += other.originator_only;
        self.responder_only += other.responder_only;
        self.recent.merge(&other.recent);
    }

    /// The share of one-sided flows among those judged of late, 0 to 1; `None` while too few were judged to tell.
    pub fn share(&self) -> Option<f64> {
        let Recent { both, originator_only, responder_only, .. } = self.recent;
        let one_sided = originator_only + responder_only;
        let judged = both + one_sided;
        (judged >= cause::FLOWS_ENOUGH).then(|| one_sided as f64 / judged as f64)
    }

    /// What the one-sided flows of late are most likely the sign of; `None` where there are few.
    pub fn cause(&self) -> Option<OneSidedCause> {
        cause::of(&self.recent, self.share()?)
    }

    fn note(&mut self, judgement: Judgement, flow: &Flow) {
        let tuple = flow.five_tuple();
        // The direction that was seen first, or alone.
        let from_originator = match judgement {
            Judgement::Late => flow.to_responder.first_ns <= flow.to_originator.first_ns,
            _ => flow.to_responder.frames > 0,
        };
        let recent = &mut self.recent;
        match judgement {
            Judgement::Both => {
                self.both += 1;
                recent.both += 1;
                recent.port_both += u64::from(recent.port == Some(tuple.destination_port));
            }
            Judgement::Late => {
                self.both += 1;
                recent.both += 1;
                let (all, late) = if from_originator {
                    (&mut self.originator_only, &mut recent.originator_only)
                } else {
                    (&mut self.responder_only, &mut recent.responder_only)
                };
                *all = all.saturating_sub(1);
                *late = late.saturating_sub(1);
                recent.take_back(if from_originator { tuple.source_ip() } else { tuple.destination_ip() }, &tuple);
            }
            Judgement::OneSided => {
                let ends = (tuple.source_ip(), tuple.destination_ip());
                let (from, to) = if from_originator {
                    self.originator_only += 1;
                    recent.originator_only += 1;
                    ends
                } else {
                    self.responder_only += 1;
                    recent.responder_only += 1;
                    (ends.1, ends.0)
                };
                recent.vote_host(from, to);
                recent.vote_port(tuple.destination_port);
            }
        }
        if recent.both + recent.originator_only + recent.responder_only >= 2 * RECENT_FLOWS {
            recent.halve();
        }
    }
}

impl Recent {
    /// The mirrored machine is one end of every flow: once it is the candidate, no vote goes against it. Which end is tried next alternates.
    fn vote_host(&mut self, from: IpAddr, to: IpAddr) {
        match self.host {
            Some(host) if host == from => {
                self.host_votes += 1;
                self.from_host += 1;
            }
            Some(host) if host == to => {
                self.host_votes += 1;
                self.to_host += 1;
            }
            Some(_) if self.host_votes > 0 => self.host_votes -= 1,
            _ => {
                self.turns += 1;
                self.host = Some(if self.turns & 1 == 0 { from } else { to });
                self.host_votes = 1;
                (self.from_host, self.to_host) = if self.turns & 1 == 0 { (1, 0) } else { (0, 1) };
            }
        }
    }

    fn vote_port(&mut self, port: u16) {
        match self.port {
            Some(known) if known == port => {
                self.port_votes += 1;
                self.port_one_sided += 1;
            }
            Some(_) if self.port_votes > 0 => self.port_votes -= 1,
            _ => {
                (self.port, self.port_votes) = (Some(port), 1);
                (self.port_one_sided, self.port_both) = (1, 0);
            }
        }
    }

    /// A flow, heard from `from` alone at first, is whole after all: its votes are taken back.
    fn take_back(&mut self, from: IpAddr, tuple: &FiveTuple) {
        match self.host {
            Some(host) if [tuple.source_ip(), tuple.destination_ip()].contains(&host) => {
                let count = if host == from { &mut self.from_host } else { &mut self.to_host };
                *count = count.saturating_sub(1);
                self.host_votes = self.host_votes.saturating_sub(1);
            }
            _ => self.host_votes += 1,
        }
        if self.port == Some(tuple.destination_port) {
            self.port_votes = self.port_votes.saturating_sub(1);
            self.port_one_sided = self.port_one_sided.saturating_sub(1);
            self.port_both += 1;
        } else {
            self.port_votes += 1;
        }
    }

    fn halve(&mut self) {
        let Self { both, originator_only, responder_only, host_votes, from_host, to_host, .. } = self;
        for count in [both, originator_only, responder_only, host_votes, from_host, to_host] {
            *count /= 2;
        }
        let Self { port_votes, port_one_sided, port_both, .. } = self;
        for count in [port_votes, port_one_sided, port_both] {
            *count /= 2;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.both += other.both;
        self.originator_only += other.originator_only;
        self.responder_only += other.responder_only;
        // Where two workers have another candidate, the one that more flows speak for is kept.
        let hosts = |recent: &Self| recent.from_host + recent.to_host;
        if self.host == other.host {
            self.from_host += other.from_host;
            self.to_host += other.to_host;
        } else if hosts(other) > hosts(self) {
            (self.host, self.from_host, self.to_host) = (other.host, other.from_host, other.to_host);
        }
        if self.port == other.port {
            self.port_one_sided += other.port_one_sided;
            self.port_both += other.port_both;
        } else if other.port_one_sided > self.port_one_sided {
            (self.port, self.port_one_sided, self.port_both) = (other.port, other.port_one_sided, other.port_both);
        }
    }
}

/// The counts of one shard. A flow counts for the mirror stream of its first frame.
#[derive(Debug, Default)]
pub(crate) struct Sides {
    streams: HashMap<StreamId, SideCounts, FixedState>,
    others: SideCounts,
}

impl Sides {
    #[cold]
    pub(crate) fn note(&mut self, judgement: Judgement, flow: &Flow) {
        let room = self.streams.len() < STREAMS_MAX;
        let counts = match self.streams.get_mut(&flow.stream) {
            Some(counts) => counts,
            None if room => self.streams.entry(flow.stream).or_default(),
            None => &mut self.others,
        };
        counts.note(judgement, flow);
    }

    /// Notes that `flow` ends as it is.
    pub(crate) fn end(&mut self, flow: &mut Flow, end: FlowEnd) {
        // A question that was asked just now may be answered; one that is silent for long will not be.
        let asked = flow.key.protocol == protocol::UDP && end == FlowEnd::Idle && flow.frames() > 0;
        if asked && flow.sidedness == Sidedness::Open {
            flow.sidedness = Sidedness::OneSided;
            self.note(Judgement::OneSided, flow);
        }
    }

    /// The counts of each stream.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (StreamId, &SideCounts)> {
        self.streams.iter().map(|(stream, counts)| (*stream, counts))
    }
}

impl Flow {
    /// What the frame that was just counted says of the flow's directions; mostly nothing.
    #[inline]
    pub(crate) fn judge(&mut self) -> Option<Judgement> {
        if self.sidedness == Sidedness::Settled {
            return None;
        }
        let (there, back) = (&self.to_responder, &self.to_originator);
        if there.frames > 0 && back.frames > 0 {
            let late = self.sidedness == Sidedness::OneSided;
            self.sidedness = Sidedness::Settled;
            return Some(if late { Judgement::Late } else { Judgement::Both });
        }
        let (frames, flags) = (there.frames + back.frames, TcpFlags(there.tcp_flags.0 | back.tcp_flags.0));
        let enough = frames >= FRAMES_ENOUGH && (self.key.protocol != protocol::TCP || flags.has(TcpFlags::ACK));
        if self.sidedness == Sidedness::Open && enough {
            self.sidedness = Sidedness::OneSided;
            return Some(Judgement::OneSided);
        }
        None
    }
}

#[cfg(test)]
mod tests;
