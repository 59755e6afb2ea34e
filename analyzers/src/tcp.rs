//! TCP: the bytes of a connection in order, and what operators ask of it.
//!
//! [`Connection::segment`] takes every segment of a flow as it comes from the mirror: out of order, twice, in part, or not at all. It
//! delivers the bytes of each side in order and each once; what is in order is delivered where it lies, and only what came before
//! its turn is copied.
//!
//! - **Copies.** Of bytes that come twice the first copy is kept. What was cut off is filled by a later copy, unless the
//!   stream has gone past it.
//! - **Holes.** A hole is waited for, and what is behind it waits. It is given up, and told as [`Delivery::Gap`], when the receiver has
//!   acknowledged it and a little while has passed ([`HOLE_ACKED_SEGMENTS`], [`HOLE_ACKED_NS`]): then the mirror lost
//!   it; when it is old ([`HOLE_NS`]); when too much waits ([`WAITING_MAX`], [`Budget`]); or when the connection is over.
//! - **Both sides.** Bytes that acknowledge what was not seen yet of the other side wait for that, as long as a hole is waited for that was
//!   acknowledged: an answer is delivered after its question though the mirror showed it first, and what comes after a lost question after the
//!   gap. So a loss costs what it took and puts nothing else out of step. Where only one side is seen nothing waits.
//! - **Beginning.** The SYN, or the SYN-ACK that answers it, says where a stream begins. Otherwise it begins with the first
//!   payload or FIN that is seen; what is before that is not delivered. A single byte without PSH does not begin it: that is a
//!   keep-alive probe (RFC 9293 section 3.8.4), whose byte was sent before.
//! - **End.** A side ends at its FIN, once everything before it was delivered; what comes behind it is left out. A RST ends both sides if
//!   its number lies where its sender may be (RFC 5961 section 3), and so does [`Connection::finish`].

use vxtap_wire::{FrameView, Malformed, TcpFlags, TcpHeader, Transport};

use crate::protocols::Side;

mod answers;
mod budget;
mod chunk;
mod half;
mod metrics;

pub use budget::Budget;
pub use metrics::{DirectionMetrics, Metrics};

use half::{Acknowledgement, Half, Outlet};
use metrics::count;

/// What one direction keeps at the most, in bytes, each piece with 64 bytes for itself: the window of a 1 Gbit/s connection over 2 ms,
/// or what is under way in the 10 ms that a hole is waited for at 200 Mbit/s.
pub const WAITING_MAX: usize = 256 << 10;

/// How many pieces one direction keeps at the most, so that putting one in stays cheap: 1024 segments of 256 bytes.
pub const WAITING_PIECES_MAX: usize = 1024;

/// A hole that the receiver has acknowledged is waited for so many segments of the connection. The mirror's two directions may come by
/// different queues, and be a batch of packets apart.
pub const HOLE_ACKED_SEGMENTS: u32 = 16;

/// Or so long, in nanoseconds of packet time: 10 ms. For connections that have few segments; longer than any queue holds a packet.
pub const HOLE_ACKED_NS: u64 = 10_000_000;

/// A hole that was not acknowledged, as far as was seen, is waited for so long, in nanoseconds of packet time: 10 s. By then a segment
/// was sent four times (RFC 6298 section 5: after 1, 2 and 4 s more). One side of the connection may not be mirrored.
pub const HOLE_NS: u64 = 10_000_000_000;

/// After bytes of one side have waited so often in vain for the other's, no more do until any of those are seen: the mirror shows one side.
const UNANSWERED_MAX: u8 = 4;

/// A segment further ahead than this, in bytes, belongs to something else: no window is larger (RFC 7323 section 2.3).
const AHEAD_MAX: i32 = 1 << 30;

/// A segment further back than this, in bytes, belongs to something else. Nobody sends again what was acknowledged, and no system has a
/// window as large as this unless made to.
const BEHIND_MAX: i32 = 64 << 20;

/// After so many segments running that are far away the stream is where they are.
const STRAYS_MAX: u8 = 16;

/// A SYN that comes after its stream was picked up is taken for its SYN when not more bytes than this are between.
const LATE_SYN_BYTES: u64 = 64 << 10;

/// How far beyond what was seen of its sender a RST may lie, in bytes: the scale of windows is not followed, 1 MiB is common.
const RESET_WINDOW: u64 = 1 << 20;

/// The most bytes that one segment may lack.
const CUT_MAX: u32 = 1 << 20;

/// One segment, as far as the mirror has shown it.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Its header.
    pub header: TcpHeader,
    /// Its payload, as far as it is there.
    pub payload: &'a [u8],
    /// Bytes of payload that were sent and cut off by the mirror.
    pub missing: u32,
    /// When it came, nanoseconds since 1970.
    pub time_ns: u64,
}

impl<'a> Segment<'a> {
    /// The segment in `view`, if that has one whose payload can be told from its header.
    #[inline]
    pub fn of(view: &FrameView<'a>, time_ns: u64) -> Option<Self> {
        let Transport::Tcp(header) = view.transport else { return None };
        let payload = view.payload();
        let missing = view.payload_wire_len().saturating_sub(payload.len() as u32);
        (view.malformed != Some(Malformed::TcpDataOffset)).then_some(Self { header, payload, missing, time_ns })
    }
}

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery<'a> {
    /// The next bytes of a side; never empty.
    Data(Side, &'a [u8]),
    /// So many bytes of a side are missing; never 0. What comes next of it begins behind them.
    Gap(Side, u64),
    /// No more comes from a side. Told once for each.
    End(Side),
    /// What follows came at this time, nanoseconds since 1970, and has waited since; `None` when that is over.
    Came(Option<u64>),
}

/// One TCP connection.
#[derive(Debug)]
pub struct Connection {
    halves: [Half; 2],
    metrics: Metrics,
    segments: u32,
    /// How often bytes of either side have waited in vain for the other's since any of those were seen.
    unanswered: [u8; 2],
    wanted: bool,
    over: bool,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            halves: <[Half; 2]>::default(),
            metrics: Metrics::default(),
            segments: 0,
            unanswered: [0; 2],
            wanted: true,
            over: false,
        }
    }
}

impl Connection {
    /// What was found so far.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether it was reset or finished: it takes nothing any more.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Takes a segment that `from` sent, and delivers what it makes ready: first what its acknowledgement tells of the other side's
    /// bytes, then its own bytes.
    pub fn segment(
        &mut self,
        from: Side,
        segment: &Segment<'_>,
        budget: &mut Budget,
        deliver: &mut impl FnMut(Delivery<'_>),
    ) {
        if self.over {
            return;
        }
        if self.is_next(from, segment) {
            if self.wanted && !segment.payload.is_empty() {
                deliver(Delivery::Data(from, segment.payload));
            }
            return self.follow(from, segment);
        }
        self.segments = self.segments.wrapping_add(1);
        let header = segment.header;
        let flags = header.flags;
        if flags.has(TcpFlags::RST) {
            return self.reset(from, segment, budget, deliver);
        }
        if flags.has(TcpFlags::SYN) {
            let has_ack = flags.has(TcpFlags::ACK);
            let (half, mut out) = self.half(from, segment.time_ns, budget, deliver);
            if !half.syn(header.sequence, has_ack, &mut out) {
                count(&mut out.sent().outside);
                return;
            }
            let other = &mut self.halves[from.other().index()];
            if has_ack && !other.has_started() {
                other.begin(header.acknowledgement, true);
            }
        }
        self.shake_hands(from, segment);
        self.acknowledgement(from, segment, budget, deliver);
        self.payload(from, segment, budget, deliver);
        self.answers(segment.time_ns, budget, deliver);
    }

    /// The connection is over: delivers what waits, with gaps for what is missing, and ends both sides. To be called before a
    /// connection is dropped, since the budget has to have its bytes back.
    pub fn finish(&mut self, budget: &mut Budget, deliver: &mut impl FnMut(Delivery<'_>)) {
        if self.over {
            return;
        }
        // Everything has waited for too long now.
        self.answers(u64::MAX, budget, deliver);
        for side in [Side::Originator, Side::Responder] {
            let (half, mut out) = self.half(side, 0, budget, deliver);
            half.close(&mut out);
        }
        self.over = true;
    }

    /// Whether the segment may have anything delivered: bytes, a gap or an end.
    #[inline]
    pub(crate) fn may_deliver(&self, segment: &Segment<'_>) -> bool {
        !segment.payload.is_empty()
            || segment.missing > 0
            || segment.header.flags.has(TcpFlags::FIN | TcpFlags::RST)
            || self.halves.iter().any(Half::waits)
    }

    /// Which sides have not ended.
    pub(crate) fn open(&self) -> [bool; 2] {
        [&self.halves[0], &self.halves[1]].map(|half| !half.has_ended())
    }

    /// Of which sides the beginning was not seen.
    #[inline]
    pub(crate) fn joined(&self) -> [bool; 2] {
        [&self.halves[0], &self.halves[1]].map(|half| !half.is_from_start())
    }

    /// Of which sides more was sent than was delivered, when a segment from `from` comes that is not taken yet: what their peers have
    /// acknowledged says so, or nothing of them was seen.
    #[inline]
    pub(crate) fn unseen_with(&self, from: Side, segment: &Segment<'_>) -> [bool; 2] {
        let TcpHeader { flags, acknowledgement, .. } = segment.header;
        let (own, other) = (&self.halves[from.index()], &self.halves[from.other().index()]);
        let mut unseen = [false; 2];
        unseen[from.index()] = own.is_seen() && own.is_unseen(None);
        unseen[from.other().index()] = other.is_unseen(flags.has(TcpFlags::ACK).then_some(acknowledgement));
        unseen
    }

    /// The sides are the other way round: what was the originator's is the responder's.
    pub fn turn(&mut self) {
        self.halves.swap(0, 1);
        self.unanswered.swap(0, 1);
        self.metrics.turn();
    }

    /// Nobody wants bytes any more: gives back what waits. From now on only ends are delivered, and figures go on.
    pub fn stop_buffering(&mut self, budget: &mut Budget) {
        self.wanted = false;
        for half in &mut self.halves {
            half.stop_buffering(budget);
        }
    }

    /// Whether a segment goes on where its sender was, or carries nothing, in a connection where nothing waits, with an acknowledgement
    /// and whole. Nearly all do, the last one of the handshake among them, and for them there is a shorter way: [`Connection::follow`].
    #[inline]
    pub(crate) fn is_next(&self, from: Side, segment: &Segment<'_>) -> bool {
        const UNUSUAL: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST;
        let TcpHeader { flags, window, sequence, acknowledgement } = segment.header;
        flags.0 & (UNUSUAL | TcpFlags::ACK) == TcpFlags::ACK
            && window != 0
            && segment.missing == 0
            && !self.over
            && if segment.payload.is_empty() {
                // It acknowledges, wherever it stands.
                !self.halves[from.index()].waits()
            } else {
                self.halves[from.index()].is_next(sequence) && !self.is_early(from, acknowledgement)
            }
            && !self.halves[from.other().index()].waits()
    }

    /// Whether bytes that `from` sent with this acknowledgement wait for the other side's.
    #[inline]
    fn is_early(&self, from: Side, acknowledgement: u32) -> bool {
        !self.halves[from.other().index()].has_come_to(acknowledgement) && self.after(from, acknowledgement).is_some()
    }

    /// Where the other side has to be before such bytes are delivered, if it is not there and they wait for it.
    #[inline(never)]
    fn after(&self, from: Side, acknowledgement: u32) -> Option<u64> {
        if !self.wanted || self.unanswered[from.index()] >= UNANSWERED_MAX {
            return None;
        }
        self.halves[from.other().index()].lacks(acknowledgement)
    }

    /// Delivers what waited for bytes of the other side that have come, or that do not come any more: a hole is given up before. Of either
    /// side, since what is delivered may have been waited for as well.
    fn answers(&mut self, time_ns: u64, budget: &mut Budget, deliver: &mut impl FnMut(Delivery<'_>)) {
        let mut go_on = self.halves.iter().any(Half::waits);
        while std::mem::take(&mut go_on) {
            for side in [Side::Originator, Side::Responder] {
                let reached = self.halves[side.other().index()].reached();
                let (half, mut out) = self.half(side, time_ns, budget, deliver);
                go_on |= half.answer(reached, &mut out);
            }
            go_on = go_on || self.settle_answers(time_ns, budget, deliver);
        }
    }

    /// Goes on where bytes have waited for too long, one step; gives whether there were any.
    fn settle_answers(&mut self, time_ns: u64, budget: &mut Budget, deliver: &mut impl FnMut(Delivery<'_>)) -> bool {
        let overdue = |side: Side| Some((side, self.halves[side.index()].overdue(time_ns, self.segments)?));
        let mut overdue = [Side::Originator, Side::Responder].into_iter().filter_map(overdue);
        // Where each waits for the other, one of them waits for what is missing. One that is behind a hole itself has not waited in vain:
        // the other may wait for that hole.
        let is_missing = |(side, _): &(Side, u64)| !self.halves[side.other().index()].is_held();
        let is_held = |(side, _): &(Side, u64)| self.halves[side.index()].is_held();
        let Some((side, after)) = overdue.clone().find(is_missing).or_else(|| overdue.find(is_held)) else {
            return false;
        };
        let (other, mut out) = self.half(side.other(), time_ns, budget, deliver);
        if !other.skip_acknowledged(after, &mut out) {
            let (half, mut out) = self.half(side, time_ns, budget, deliver);
            half.answer(after, &mut out);
        }
        self.unanswered[side.index()] = self.unanswered[side.index()].saturating_add(1);
        true
    }

    /// Takes such a segment: what [`Connection::acknowledgement`] and [`Connection::payload`] would do, but for its payload, which the
    /// caller has delivered if anybody wants it.
    #[inline]
    pub(crate) fn follow(&mut self, from: Side, segment: &Segment<'_>) {
        self.segments = self.segments.wrapping_add(1);
        let TcpHeader { window, acknowledgement: number, .. } = segment.header;
        if !self.metrics.handshake_is_over() {
            self.shake_hands(from, segment);
        }
        let bare = segment.payload.is_empty();
        if self.halves[from.other().index()].acknowledge(Acknowledgement { number, window, bare }) {
            count(&mut self.metrics.sent_by_mut(from).duplicate_acks);
        }
        if bare {
            return;
        }
        self.halves[from.index()].take_next(segment.payload, self.wanted);
        self.unanswered[from.other().index()] = 0;
        if self.halves[Side::Originator.index()].is_from_start() {
            self.metrics.payload(from, segment.time_ns);
        }
    }

    /// What the segment is to the handshake, if that is not over.
    #[inline(never)]
    fn shake_hands(&mut self, from: Side, segment: &Segment<'_>) {
        let first = self.halves[from.other().index()].first();
        self.metrics.handshake(from, segment.header, first, segment.time_ns);
        // Who has sent nothing yet acknowledges the other's SYN, though that was not seen.
        let TcpHeader { flags, sequence, acknowledgement, .. } = segment.header;
        let has_sent_nothing = self.halves[from.index()].first() == Some(sequence);
        let answers_syn = has_sent_nothing && flags.0 & (TcpFlags::SYN | TcpFlags::ACK) == TcpFlags::ACK;
        let other = &mut self.halves[from.other().index()];
        if answers_syn && !other.has_started() {
            other.begin(acknowledgement, false);
        }
    }

    /// What `from` says of the other side's bytes.
    fn acknowledgement(
        &mut self,
        from: Side,
        segment: &Segment<'_>,
        budget: &mut Budget,
        deliver: &mut impl FnMut(Delivery<'_>),
    ) {
        let TcpHeader { flags, window, acknowledgement: number, .. } = segment.header;
        let opens_or_ends = flags.has(TcpFlags::SYN | TcpFlags::FIN);
        if window == 0 && !opens_or_ends {
            count(&mut self.metrics.sent_by_mut(from).zero_windows);
        }
        if flags.has(TcpFlags::ACK) {
            let bare = !opens_or_ends && segment.payload.is_empty() && segment.missing == 0;
            if self.halves[from.other().index()].acknowledge(Acknowledgement { number, window, bare }) {
                count(&mut self.metrics.sent_by_mut(from).duplicate_acks);
            }
            let (half, mut out) = self.half(from.other(), segment.time_ns, budget, deliver);
            half.settle(&mut out);
        }
    }

    /// Payload and FIN that `from` sent.
    fn payload(
        &mut self,
        from: Side,
        segment: &Segment<'_>,
        budget: &mut Budget,
        deliver: &mut impl FnMut(Delivery<'_>),
    ) {
        let flags = segment.header.flags;
        let missing = segment.missing.min(CUT_MAX);
        let len = segment.payload.len() as u64 + u64::from(missing);
        let (syn, fin) = (flags.has(TcpFlags::SYN), flags.has(TcpFlags::FIN));
        let sequence = segment.header.sequence.wrapping_add(u32::from(syn));
        let after =
            if flags.has(TcpFlags::ACK) && len > 0 { self.after(from, segment.header.acknowledgement) } else { None };
        let (half, mut out) = self.half(from, segment.time_ns, budget, deliver);
        out.after = after;
        if !half.has_started() && (fin || len > 1 || len == 1 && flags.has(TcpFlags::PSH)) {
            half.begin(sequence, false);
        }
        if !half.has_started() {
            return;
        }
        let is_data = len > 0 && half.payload(sequence, segment.payload, missing, &mut out);
        if fin && !half.finish_at(sequence.wrapping_add(len as u32), &mut out) && len == 0 {
            count(&mut out.sent().retransmissions);
        }
        half.settle(&mut out);
        if is_data {
            self.unanswered[from.other().index()] = 0;
        }
        if is_data && self.halves[Side::Originator.index()].is_from_start() {
            self.metrics.payload(from, segment.time_ns);
        }
    }

    /// A RST: where it fits, everything is over.
    fn reset(
        &mut self,
        from: Side,
        segment: &Segment<'_>,
        budget: &mut Budget,
        deliver: &mut impl FnMut(Delivery<'_>),
    ) {
        let [own, other] = [&self.halves[from.index()], &self.halves[from.other().index()]];
        let header = segment.header;
        let fits = if own.has_started() {
            own.fits_reset(header.sequence, RESET_WINDOW)
        } else {
            // The answer to a SYN: it has no number of its own, and acknowledges (RFC 9293 section 3.10.7.3).
            !(header.flags.has(TcpFlags::ACK) && other.has_started())
                || other.fits_reset(header.acknowledgement, RESET_WINDOW)
        };
        if fits {
            self.finish(budget, deliver);
        } else {
            count(&mut self.metrics.sent_by_mut(from).outside);
        }
    }

    /// One half, and where its bytes and figures go.
    fn half<'o, F>(
        &'o mut self,
        side: Side,
        time_ns: u64,
        budget: &'o mut Budget,
        deliver: &'o mut F,
    ) -> (&'o mut Half, Outlet<'o, F>) {
        let reorder_ns = self.metrics.reorder_ns();
        let (segments, wanted) = (self.segments, self.wanted);
        let awaited_ns = self.halves[side.other().index()].held_since();
        (
            &mut self.halves[side.index()],
            Outlet {
                side,
                metrics: &mut self.metrics,
                budget,
                deliver,
                time_ns,
                segments,
                reorder_ns,
                wanted,
                after: None,
                awaited_ns,
            },
        )
    }
}

#[cfg(test)]
mod tests;
