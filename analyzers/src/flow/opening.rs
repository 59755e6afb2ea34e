//! Who opened a flow, and whether a packet opens the next one with the same five-tuple.

use vxtap_wire::{Direction, FiveTuple, FrameView, TcpFlags, TcpHeader, Transport};

use super::{DirectionCounters, Fit, Flow, TcpState};

/// A connection that was silent for so long, in nanoseconds, is over when a SYN with another number comes: Linux forgets a closed
/// connection after 60 s, and an open one that is used has been heard of, or has sent keep-alives.
const SILENT_NS: u64 = 60_000_000_000;

/// A SYN that comes after its connection was picked up lies at most so many bytes before what was seen first.
const LATE_SYN_BYTES: u32 = 64 << 10;

/// A SYN in a connection that seems to be open. It opens the next one if a SYN-ACK answers it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    direction: Direction,
    sequence: u32,
    /// When it came first.
    time_ns: u64,
    /// Of it and of its retransmissions.
    own: DirectionCounters,
    /// Its direction's counters before it.
    before: DirectionCounters,
    /// When the last frame before it came.
    before_ns: u64,
}

impl Flow {
    /// Whether `frame`, which goes in `direction` and came at `time_ns`, belongs to this flow or opens the next one.
    #[inline]
    pub(crate) fn fit(&self, direction: Direction, time_ns: u64, frame: &FrameView<'_>) -> Fit {
        let Transport::Tcp(tcp) = frame.transport else { return Fit::Same };
        if !tcp.flags.has(TcpFlags::SYN) || tcp.flags.has(TcpFlags::RST | TcpFlags::FIN) {
            return Fit::Same;
        }
        self.fit_syn(direction, time_ns, tcp)
    }

    #[inline(never)]
    fn fit_syn(&self, direction: Direction, time_ns: u64, tcp: TcpHeader) -> Fit {
        let reopens = if tcp.flags.has(TcpFlags::ACK) {
            // In a simultaneous open (RFC 9293 section 3.5) each side answers with the number of its own SYN.
            let is_of_this = direction == self.originator && tcp.sequence == self.initial_sequence;
            !is_of_this && self.opened.as_ref().is_some_and(|opened| opened.is_answered_by(direction, tcp))
        } else if self.tcp == TcpState::Closed {
            // The very same SYN again is a retransmission or a second copy, however late.
            direction != self.originator || tcp.sequence != self.initial_sequence
        } else {
            time_ns >= self.last_ns.saturating_add(SILENT_NS) && !self.is_own_syn(direction, tcp.sequence)
        };
        if reopens { Fit::Reopens } else { Fit::Same }
    }

    /// Remembers a SYN that may open the next connection: its other end may have forgotten this one.
    #[inline]
    pub(super) fn note_opening(&mut self, direction: Direction, time_ns: u64, frame: &FrameView<'_>) {
        const OPENING: u8 = TcpFlags::SYN | TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN;
        if let Transport::Tcp(tcp) = frame.transport
            && tcp.flags.0 & OPENING == TcpFlags::SYN
            && !matches!(self.tcp, TcpState::None | TcpState::Closed)
            && !self.is_own_syn(direction, tcp.sequence)
        {
            self.note_syn(direction, tcp.sequence, time_ns, frame);
        }
    }

    #[cold]
    fn note_syn(&mut self, direction: Direction, sequence: u32, time_ns: u64, frame: &FrameView<'_>) {
        match &mut self.opened {
            Some(opened) if opened.direction == direction && opened.sequence == sequence => opened.own.add(frame),
            opened => {
                let before = if direction == self.originator { self.to_responder } else { self.to_originator };
                let before_ns = self.last_ns;
                let mut own = DirectionCounters {
                    first_ns: time_ns,
                    last_ns: time_ns,
                    tcp_flags: TcpFlags(TcpFlags::SYN),
                    ..DirectionCounters::default()
                };
                own.add(frame);
                *opened = Some(Box::new(Opened { direction, sequence, time_ns, own, before, before_ns }));
            }
        }
    }

    fn is_own_syn(&self, direction: Direction, sequence: u32) -> bool {
        direction == self.originator && self.initial_sequence.wrapping_sub(sequence) < LATE_SYN_BYTES
    }

    /// Gives what the flow was counted of the SYN that opens the next one, which is not its own.
    pub(crate) fn give_opening(&mut self) -> Option<Box<Opened>> {
        let opened = self.opened.take()?;
        let counters =
            if opened.direction == self.originator { &mut self.to_responder } else { &mut self.to_originator };
        let own = &opened.own;
        if counters.frames == opened.before.frames + own.frames {
            *counters = opened.before;
        } else {
            // Others came after it, or a record was written in between.
            counters.frames = counters.frames.checked_sub(own.frames)?;
            counters.bytes = counters.bytes.saturating_sub(own.bytes);
            counters.cut_frames = counters.cut_frames.saturating_sub(own.cut_frames);
            counters.cut_bytes = counters.cut_bytes.saturating_sub(own.cut_bytes);
        }
        if self.last_ns == opened.time_ns {
            self.last_ns = opened.before_ns;
        }
        Some(opened)
    }

    /// Takes what was counted of the SYN that opened this flow.
    pub(crate) fn take_opening(&mut self, opened: &Opened) {
        if self.originator != opened.direction {
            return;
        }
        let time_ns = opened.time_ns;
        self.to_responder = opened.own;
        (self.first_ns, self.last_ns) = (time_ns, time_ns);
        self.initial_sequence = opened.sequence;
        self.tcp = TcpState::SynSent;
    }
}

impl Opened {
    /// Whether a SYN-ACK answers this very SYN (RFC 9293 section 3.5).
    fn is_answered_by(&self, direction: Direction, tcp: TcpHeader) -> bool {
        direction != self.direction && tcp.acknowledgement == self.sequence.wrapping_add(1)
    }
}

/// Where the originator of a connection is that is seen first with `tcp`.
pub(super) const fn originator_sequence(from_originator: bool, tcp: TcpHeader) -> u32 {
    match (from_originator, tcp.flags.has(TcpFlags::SYN)) {
        (true, _) => tcp.sequence,
        // Its SYN takes a number.
        (false, true) => tcp.acknowledgement.wrapping_sub(1),
        (false, false) => tcp.acknowledgement,
    }
}

/// Whether the first packet seen of a flow came from the side that opened it.
///
/// A SYN or an ICMP request says so, a SYN with ACK or a reply says the contrary. A connection picked up in the middle,
/// or a UDP flow that begins with an answer, is told by a well-known port on the source's side only.
pub(super) fn source_is_originator(tuple: &FiveTuple, frame: &FrameView<'_>) -> bool {
    match frame.transport {
        Transport::Tcp(tcp) if tcp.flags.has(TcpFlags::SYN) => !tcp.flags.has(TcpFlags::ACK),
        Transport::Icmp(icmp) => {
            // Replies: echo, timestamp, information and address mask; ICMPv6 echo.
            !(tuple.is_icmp()
                && match tuple.version {
                    vxtap_wire::IpVersion::V4 => matches!(icmp.kind, 0 | 14 | 16 | 18),
                    vxtap_wire::IpVersion::V6 => icmp.kind == 129,
                })
        }
        _ => !(tuple.source_port < 1024 && tuple.source_port != 0 && tuple.destination_port >= 1024),
    }
}
