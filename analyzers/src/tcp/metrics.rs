//! What operators ask of a connection: round-trip times, retransmissions, loss.

use std::num::NonZeroU64;

use vxtap_wire::{TcpFlags, TcpHeader};

use crate::protocols::Side;

/// Figures of one connection, as seen from where the mirror stands. They only grow.
///
/// Times are differences between times of packets; one that would be 0 or negative since the mirror changed the order is not told
/// or told as 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Nothing of this happens to most connections, and so it takes no memory before it does.
    directions: Option<Box<[DirectionMetrics; 2]>>,
    /// From the SYN to the SYN-ACK, nanoseconds: there and back between mirror and responder. `None` where either was not seen, or the
    /// SYN was sent again, since nobody can tell which one was answered (Karn). What comes again sooner than 100 ms is a second
    /// copy by the mirror: no system sends again so soon (RFC 6298 section 2.1 has 1 s).
    ///
    /// tshark's `tcp.analysis.initial_rtt` is the sum of both round-trip times.
    pub responder_rtt_ns: Option<NonZeroU64>,
    /// From the SYN-ACK to the originator's ACK of it, nanoseconds: there and back between mirror and originator. `None` as above,
    /// and where the first ACK that was seen acknowledges more.
    pub originator_rtt_ns: Option<NonZeroU64>,
    /// From the first byte of the originator to the first byte of the responder after it, nanoseconds. A greeting that comes before
    /// the request is no answer. `None` where the beginning of the connection was not seen.
    pub first_byte_ns: Option<NonZeroU64>,
    /// Time of the SYN, then of the SYN-ACK; 0 where it is ambiguous.
    handshake_ns: u64,
    /// Time of the originator's first byte; 0 for none.
    request_ns: u64,
    stage: Stage,
}

/// Figures of what one side sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionMetrics {
    /// Bytes that the mirror lost: never seen, yet acknowledged by the other side.
    pub lost_bytes: u64,
    /// Bytes that the mirror cut off, of segments that it showed.
    pub cut_bytes: u64,
    /// Bytes never seen, skipped, and never acknowledged as far as was seen: the other side may lack them as well, or its
    /// acknowledgements are not mirrored.
    pub missing_bytes: u64,
    /// Payload bytes that were sent again.
    pub retransmitted_bytes: u64,
    /// Segments sent again: a payload byte in them was seen before; or a SYN or a bare FIN was; or they fill a hole later than the order of
    /// packets is mixed up (the first copy was lost before the mirror). The time is the handshake's whole round-trip time,
    /// 3 ms where that is not known; after three duplicate acknowledgements of the hole (RFC 5681 section 3.2) it is none.
    ///
    /// tshark counts the same, but goes by the end of a segment, so a segment sent again together with new bytes is none to it;
    /// it says "spurious" where the bytes were acknowledged. Keep-alive probes (one byte, or none, just before the next)
    /// and the byte of a zero-window probe count for neither. A mirror that shows packets twice makes retransmissions.
    pub retransmissions: u32,
    /// Segments behind which others had come already, and that are no retransmissions: the order was changed on the way. Also
    /// those from before the point where the connection was picked up.
    pub out_of_order: u32,
    /// Acknowledgements by this side that say nothing new while data is under way to it (RFC 5681 section 2): no payload, no SYN or FIN,
    /// number and window the same. tshark counts them also where nothing is under way.
    pub duplicate_acks: u32,
    /// Segments in which this side said that it takes no more (no SYN, FIN or RST among them). tshark counts so too.
    pub zero_windows: u32,
    /// Segments with other bytes in place of those that came first, which are kept. Compared are the bytes that wait, and the last 15
    /// of those that were delivered; further back nothing is kept to compare with.
    pub overlaps: u32,
    /// Segments that were not taken: far from where the stream is, behind its end, or a SYN or RST that does not fit.
    pub outside: u32,
}

/// How far the handshake is, for its times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing seen.
    #[default]
    Before,
    /// SYN seen.
    Syn(Side),
    /// SYN-ACK seen.
    SynAck(Side),
    /// Over, or not seen.
    Over,
}

/// Figures of a side to which nothing happened.
const NONE: DirectionMetrics = DirectionMetrics {
    lost_bytes: 0,
    cut_bytes: 0,
    missing_bytes: 0,
    retransmitted_bytes: 0,
    retransmissions: 0,
    out_of_order: 0,
    duplicate_acks: 0,
    zero_windows: 0,
    overlaps: 0,
    outside: 0,
};

/// Adds one, and stays at the end of the range.
pub(super) fn count(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}

/// The time when order is taken for mixed up rather than repaired, while no round-trip time is known: what tshark takes.
const REORDER_NS: u64 = 3_000_000;

/// What comes again within this time was not sent again.
const COPY_NS: u64 = 100_000_000;

impl Metrics {
    /// The sides are the other way round. Only of connections whose handshake was not seen, so that there are no times of it.
    pub(super) fn turn(&mut self) {
        if let Some(directions) = &mut self.directions {
            directions.swap(0, 1);
        }
        (self.responder_rtt_ns, self.originator_rtt_ns, self.first_byte_ns) = (None, None, None);
        self.request_ns = 0;
        self.stage = Stage::Over;
    }

    /// Figures of what `side` sent.
    pub fn sent_by(&self, side: Side) -> &DirectionMetrics {
        self.directions.as_ref().map_or(&NONE, |directions| &directions[side.index()])
    }

    /// The same, to count something.
    #[cold]
    pub(super) fn sent_by_mut(&mut self, side: Side) -> &mut DirectionMetrics {
        &mut self.directions.get_or_insert_default()[side.index()]
    }

    /// A segment that fills a hole so long after it was opened is a retransmission, in nanoseconds.
    pub(super) fn reorder_ns(&self) -> u64 {
        match (self.responder_rtt_ns, self.originator_rtt_ns) {
            (Some(responder), Some(originator)) => responder.get().saturating_add(originator.get()),
            _ => REORDER_NS,
        }
    }

    /// Whether [`Metrics::handshake`] has nothing to learn any more.
    #[inline]
    pub(super) fn handshake_is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// A segment of the handshake, or what may end it; `first` is the sequence number of the other side's first byte, where known.
    pub(super) fn handshake(&mut self, from: Side, header: TcpHeader, first: Option<u32>, time_ns: u64) {
        let (syn, ack) = (header.flags.has(TcpFlags::SYN), header.flags.has(TcpFlags::ACK));
        match (self.stage, syn, ack) {
            (Stage::Over, ..) | (_, false, false) => {}
            (Stage::Before, true, false) => {
                self.stage = Stage::Syn(from);
                self.handshake_ns = time_ns;
            }
            (Stage::Syn(by) | Stage::SynAck(by), true, _) if by == from && self.is_copy(time_ns) => {}
            (Stage::Syn(by), true, false) if by == from => self.handshake_ns = 0,
            (Stage::Syn(by), true, true) if by != from => {
                self.responder_rtt_ns = elapsed(self.handshake_ns, time_ns);
                self.stage = Stage::SynAck(from);
                self.handshake_ns = time_ns;
            }
            (Stage::Before, true, true) => {
                self.stage = Stage::SynAck(from);
                self.handshake_ns = time_ns;
            }
            // A SYN that its answer overtook is the first: seen after a SYN-ACK that came first as well, it changes nothing.
            (Stage::SynAck(by), true, false) if by != from && self.responder_rtt_ns.is_none() => {}
            (Stage::SynAck(by), false, true) => {
                if by != from {
                    if first == Some(header.acknowledgement) {
                        self.originator_rtt_ns = elapsed(self.handshake_ns, time_ns);
                    }
                    self.stage = Stage::Over;
                }
            }
            // Anything again, both sides opening at once, or a connection that was picked up in the middle.
            _ => self.stage = Stage::Over,
        }
    }

    /// Whether a segment of the handshake that comes again now is but another copy of it.
    const fn is_copy(&self, time_ns: u64) -> bool {
        self.handshake_ns != 0 && time_ns < self.handshake_ns.saturating_add(COPY_NS)
    }

    /// Payload, other than a probe's, from a side of a connection whose beginning was seen.
    #[inline]
    pub(super) fn payload(&mut self, from: Side, time_ns: u64) {
        match from {
            Side::Originator if self.request_ns == 0 => self.request_ns = time_ns,
            Side::Responder if self.first_byte_ns.is_none() => {
                self.first_byte_ns = elapsed(self.request_ns, time_ns);
            }
            _ => {}
        }
    }
}

/// The time from `earlier`, which may be unknown (0), to `later`; at least a nanosecond.
fn elapsed(earlier: u64, later: u64) -> Option<NonZeroU64> {
    if earlier == 0 { None } else { NonZeroU64::new(later.checked_sub(earlier)?.max(1)) }
}
