//! One flow: who talks to whom, how much in each direction, and in which state.

use vxtap_wire::{Direction, FiveTuple, FlowKey, FrameView, IcmpHeader, TcpFlags, TcpHeader, Transport};

use crate::app::AppSlot;
use crate::protocols::Protocol;
use crate::sides::Sidedness;
use crate::stream::StreamId;

mod opening;

pub(crate) use opening::Opened;
use opening::{originator_sequence, source_is_originator};

/// What was seen in one direction of a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionCounters {
    /// Frames.
    pub frames: u64,
    /// Bytes of whole frames on the wire, also where the mirror cut them.
    pub bytes: u64,
    /// Time of the first frame, nanoseconds since 1970; 0 for none.
    pub first_ns: u64,
    /// Time of the last frame, nanoseconds since 1970; 0 for none.
    pub last_ns: u64,
    /// TCP flags, all or-ed.
    pub tcp_flags: TcpFlags,
    /// Frames whose end the mirror cut off; ends at the most that the type holds.
    pub cut_frames: u32,
    /// Bytes that it cut off of them.
    pub cut_bytes: u64,
}

impl DirectionCounters {
    /// Counts one frame; its times and flags are the caller's.
    #[inline]
    fn add(&mut self, frame: &FrameView<'_>) {
        self.frames += 1;
        self.bytes += u64::from(frame.wire_len);
        let missing = frame.bytes_missing();
        if missing > 0 {
            self.cut_frames = self.cut_frames.saturating_add(1);
            self.cut_bytes += u64::from(missing);
        }
    }
}

/// How far a TCP connection is, as far as the flags tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcpState {
    /// Not TCP.
    #[default]
    None,
    /// SYN seen.
    SynSent,
    /// SYN and ACK seen from the responder.
    SynReceived,
    /// Handshake complete, or picked up in the middle.
    Established,
    /// FIN from one side.
    FinOne,
    /// FIN from both sides, or RST.
    Closed,
}

impl TcpState {
    /// The name that EVE uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SynSent => "syn_sent",
            Self::SynReceived => "syn_recv",
            Self::Established => "established",
            Self::FinOne => "fin_wait1",
            Self::Closed => "closed",
        }
    }
}

/// State of a flow of any protocol; decides which idle timeout holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// One direction seen, or a TCP handshake under way.
    New,
    /// Both directions seen, or a TCP connection in use.
    Established,
    /// TCP: FIN from both sides, or RST.
    Closed,
}

impl FlowState {
    /// The name that EVE uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Established => "established",
            Self::Closed => "closed",
        }
    }
}

/// Why a flow record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEnd {
    /// Nothing was seen for the idle timeout.
    Idle,
    /// The flow goes on; this is its part since the last record.
    Active,
    /// The table was full and a new flow needed the place.
    Evicted,
    /// A new TCP connection with the same five-tuple began.
    Reused,
    /// The run ended.
    Shutdown,
}

impl FlowEnd {
    /// The name in `flow.reason` of EVE.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "timeout",
            Self::Active => "active_timeout",
            Self::Evicted => "forced",
            Self::Reused => "tcp_reuse",
            Self::Shutdown => "shutdown",
        }
    }
}

/// A flow being followed.
#[derive(Debug)]
pub struct Flow {
    /// Its identity.
    pub key: FlowKey,
    /// The mirror stream that its first frame came by.
    pub stream: StreamId,
    /// Which way the originator's packets go.
    pub originator: Direction,
    /// How far TCP is.
    pub tcp: TcpState,
    /// Type and code of the first ICMP message.
    pub icmp: IcmpHeader,
    /// From originator to responder.
    pub to_responder: DirectionCounters,
    /// From responder to originator.
    pub to_originator: DirectionCounters,
    /// Time of the first frame since the last record, nanoseconds since 1970.
    pub first_ns: u64,
    /// Time of the last frame, nanoseconds since 1970.
    pub last_ns: u64,
    /// Sequence number of the SYN that opened the connection, or where its originator was when it was picked up.
    initial_sequence: u32,
    /// A SYN that may open the next connection, until it is answered.
    opened: Option<Box<Opened>>,
    /// The block that the flow was last noted in; see [`crate::FlowNotes`].
    pub(crate) noted_in: u32,
    /// Bytes that were wanted of it so far.
    pub(crate) noted_bytes: u64,
    /// Somebody asked for one of its frames.
    pub(crate) wanted: bool,
    /// Both directions were counted before the last record.
    answered: bool,
    /// Whether both of its directions were seen.
    pub(crate) sidedness: Sidedness,
    /// Its application layer, where that is analysed.
    pub(crate) app: Option<AppSlot>,
    /// The protocol that was found there.
    pub(crate) app_protocol: Option<Protocol>,
}

/// What a packet means for the flow that it matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It belongs to the flow.
    Same,
    /// It opens a new TCP connection with the five-tuple of one that is over.
    Reopens,
}

impl Flow {
    /// The flow that begins with `frame`, nothing counted yet.
    pub(crate) fn begin(key: FlowKey, direction: Direction, stream: StreamId, frame: &FrameView<'_>) -> Self {
        let tuple = key.five_tuple(direction);
        let from_originator = source_is_originator(&tuple, frame);
        let (icmp, initial_sequence) = match frame.transport {
            Transport::Icmp(icmp) => (icmp, 0),
            Transport::Tcp(tcp) => (IcmpHeader { kind: 0, code: 0 }, originator_sequence(from_originator, tcp)),
            _ => (IcmpHeader { kind: 0, code: 0 }, 0),
        };
        Self {
            key,
            stream,
            originator: if from_originator { direction } else { direction.reversed() },
            tcp: TcpState::None,
            icmp,
            to_responder: DirectionCounters::default(),
            to_originator: DirectionCounters::default(),
            first_ns: 0,
            noted_in: 0,
            noted_bytes: 0,
            wanted: false,
            answered: false,
            sidedness: Sidedness::of(key.protocol, [tuple.source_port, tuple.destination_port]),
            app: None,
            app_protocol: None,
            last_ns: 0,
            initial_sequence,
            opened: None,
        }
    }

    /// Counts `frame`. Gives whether the state, and with it the idle timeout, changed.
    #[inline]
    pub(crate) fn count(&mut self, direction: Direction, time_ns: u64, frame: &FrameView<'_>) -> bool {
        self.note_opening(direction, time_ns, frame);
        let from_originator = direction == self.originator;
        let counters = if from_originator { &mut self.to_responder } else { &mut self.to_originator };
        let first = counters.frames == 0;
        if first {
            counters.first_ns = time_ns;
        }
        counters.add(frame);
        counters.last_ns = counters.last_ns.max(time_ns);
        if self.first_ns == 0 {
            self.first_ns = time_ns;
        }
        self.last_ns = self.last_ns.max(time_ns);
        let Transport::Tcp(tcp) = frame.transport else {
            // The second direction makes it another state.
            return first && self.tcp == TcpState::None && self.state() == FlowState::Established;
        };
        counters.tcp_flags.0 |= tcp.flags.0;
        // The state of nearly every frame: none that has a FIN in it before is in it.
        if self.tcp == TcpState::Established && !tcp.flags.has(TcpFlags::FIN | TcpFlags::RST) {
            return false;
        }
        // This frame is counted already, which makes no difference to TCP that has a state. It has none while headers were cut; then the timer,
        // which is early rather than late, need not be set.
        let before = self.state();
        self.tcp = self.next_tcp_state(from_originator, tcp);
        self.state() != before
    }

    #[inline(never)]
    fn next_tcp_state(&self, from_originator: bool, tcp: TcpHeader) -> TcpState {
        let flags = tcp.flags;
        let both_fin =
            self.to_responder.tcp_flags.has(TcpFlags::FIN) && self.to_originator.tcp_flags.has(TcpFlags::FIN);
        match self.tcp {
            TcpState::Closed => TcpState::Closed,
            _ if flags.has(TcpFlags::RST) || both_fin => TcpState::Closed,
            _ if flags.has(TcpFlags::FIN) => TcpState::FinOne,
            TcpState::FinOne => TcpState::FinOne,
            TcpState::None | TcpState::SynSent if flags.has(TcpFlags::SYN) => {
                if flags.has(TcpFlags::ACK) {
                    TcpState::SynReceived
                } else {
                    TcpState::SynSent
                }
            }
            // Only the originator's ACK ends the handshake; the responder's first data does as well when that is lost.
            TcpState::SynReceived if flags.has(TcpFlags::SYN) || !(from_originator || flags.has(TcpFlags::PSH)) => {
                TcpState::SynReceived
            }
            _ => TcpState::Established,
        }
    }

    /// The state that decides which idle timeout holds.
    #[inline]
    pub const fn state(&self) -> FlowState {
        match self.tcp {
            TcpState::None => {
                if self.answered || self.to_responder.frames > 0 && self.to_originator.frames > 0 {
                    FlowState::Established
                } else {
                    FlowState::New
                }
            }
            TcpState::SynSent | TcpState::SynReceived => FlowState::New,
            TcpState::Established | TcpState::FinOne => FlowState::Established,
            TcpState::Closed => FlowState::Closed,
        }
    }

    /// Whether a SYN, of either side, has said who opened the flow.
    pub(crate) const fn is_certain(&self) -> bool {
        self.to_responder.tcp_flags.has(TcpFlags::SYN) || self.to_originator.tcp_flags.has(TcpFlags::SYN)
    }

    /// The responder has opened the flow.
    #[cold]
    pub(crate) const fn turn(&mut self) {
        self.originator = self.originator.reversed();
        std::mem::swap(&mut self.to_responder, &mut self.to_originator);
    }

    /// The protocol in it, where it was looked for and found.
    pub const fn app_protocol(&self) -> Option<Protocol> {
        self.app_protocol
    }

    /// The five-tuple of the originator's packets.
    pub const fn five_tuple(&self) -> FiveTuple {
        self.key.five_tuple(self.originator)
    }

    /// Forgets what was counted, after a record of it was written; the flow goes on.
    pub(crate) fn restart(&mut self) {
        // What decides the state stays: who has spoken, and what TCP has seen of FINs.
        self.answered |= self.to_responder.frames > 0 && self.to_originator.frames > 0;
        for counters in [&mut self.to_responder, &mut self.to_originator] {
            *counters = DirectionCounters { tcp_flags: counters.tcp_flags, ..DirectionCounters::default() };
        }
        self.first_ns = 0;
    }

    /// Frames counted since the last record.
    pub(crate) const fn frames(&self) -> u64 {
        self.to_responder.frames + self.to_originator.frames
    }
}

/// A flow, or a part of one, that is to be told about.
#[derive(Clone, Copy, Debug)]
pub struct FlowRecord<'a> {
    /// The flow as it stood.
    pub flow: &'a Flow,
    /// Why now.
    pub end: FlowEnd,
}

#[cfg(test)]
mod tests;
