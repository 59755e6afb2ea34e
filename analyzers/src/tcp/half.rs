//! One direction of a connection: its sequence numbers, what waits, and what the other side says of it.
//!
//! Sequence numbers are extended to 64 bits where they come in, so that nothing behind that has to think of their wrapping.

mod answering;

use crate::sparse::{Content, Piece, Run, Sparse};

use super::answers::Answers;
use super::chunk::{Chunk, Tail};
use super::metrics::{DirectionMetrics, Metrics, count};
use super::{
    AHEAD_MAX, BEHIND_MAX, Budget, Delivery, HOLE_ACKED_NS, HOLE_ACKED_SEGMENTS, HOLE_NS, LATE_SYN_BYTES, STRAYS_MAX,
    WAITING_MAX, WAITING_PIECES_MAX,
};
use crate::protocols::Side;

/// Acknowledgements that say the same after which their sender's hole is repaired (RFC 5681 section 3.2).
const DUPLICATES_OF_LOSS: u8 = 3;

/// What the bytes of one side went through.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// Position of the first byte, where the half begins.
    base: u64,
    /// Position of the next byte to be delivered.
    next: u64,
    /// How far the other side has acknowledged.
    acked: u64,
    /// What waits behind a hole, or for the other side.
    waiting: Option<Box<Waiting>>,
    /// The last bytes delivered.
    tail: Tail,
    /// Sequence number of the FIN, if it was seen; as a number and a flag, since a connection has to be small.
    fin: u32,
    /// The window that the other side last told, if it did.
    window: u16,
    /// How often running the other side said the same.
    duplicates: u8,
    /// How many segments running were far away.
    strays: u8,
    started: bool,
    /// The beginning is the stream's, not where it was picked up.
    from_start: bool,
    syn_seen: bool,
    syn_ack_seen: bool,
    /// The last byte delivered was alone and sent into a closed window.
    probed: bool,
    fin_seen: bool,
    window_told: bool,
    ended: bool,
}

/// What waits: behind a hole where the first piece is further on, otherwise for the other side.
#[derive(Debug)]
struct Waiting {
    sparse: Sparse,
    answers: Answers,
    /// When the hole was opened, or became the first.
    opened_ns: u64,
    mark: Mark,
}

/// What was acknowledged, of what was known to have been sent, at a moment in the past.
#[derive(Clone, Copy, Debug)]
struct Mark {
    acked: u64,
    time_ns: u64,
    segments: u32,
}

/// Where a half's bytes and figures go, and what it needs to know of the segment at hand.
pub(super) struct Outlet<'o, F> {
    pub(super) side: Side,
    pub(super) metrics: &'o mut Metrics,
    pub(super) budget: &'o mut Budget,
    pub(super) deliver: &'o mut F,
    pub(super) time_ns: u64,
    /// How many segments the connection has had.
    pub(super) segments: u32,
    /// Up to this age of a hole what fills it is out of order.
    pub(super) reorder_ns: u64,
    /// Whether anybody wants bytes.
    pub(super) wanted: bool,
    /// What the segment carries is delivered when the other side is at this position; see [`Half::lacks`].
    pub(super) after: Option<u64>,
    /// When what waits for this side's bytes came, of the other side.
    pub(super) awaited_ns: Option<u64>,
}

impl<F> Outlet<'_, F> {
    /// The side's figures, to count something.
    pub(super) fn sent(&mut self) -> &mut DirectionMetrics {
        self.metrics.sent_by_mut(self.side)
    }
}

impl<F: FnMut(Delivery<'_>)> Outlet<'_, F> {
    fn data(&mut self, bytes: &[u8]) {
        if self.wanted && !bytes.is_empty() {
            (self.deliver)(Delivery::Data(self.side, bytes));
        }
    }

    fn came(&mut self, time_ns: Option<u64>) {
        if self.wanted {
            (self.deliver)(Delivery::Came(time_ns));
        }
    }

    fn gap(&mut self, bytes: u64) {
        if self.wanted && bytes > 0 {
            (self.deliver)(Delivery::Gap(self.side, bytes));
        }
    }
}

/// What a side says of the other's bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement {
    pub(super) number: u32,
    pub(super) window: u16,
    /// Without payload, SYN and FIN.
    pub(super) bare: bool,
}

impl Half {
    /// Whether it is known where its bytes begin.
    pub(super) const fn has_started(&self) -> bool {
        self.started
    }

    /// Whether nothing more comes.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the beginning is the stream's.
    pub(super) const fn is_from_start(&self) -> bool {
        self.from_start
    }

    /// Sequence number of the first byte, if the beginning is the stream's.
    pub(super) fn first(&self) -> Option<u32> {
        self.from_start.then_some(self.base as u32)
    }

    /// Begins at `sequence`.
    pub(super) fn begin(&mut self, sequence: u32, from_start: bool) {
        // One turn of the numbers is left below, so that what is before the beginning has a position as well.
        self.base = (1 << 32) + u64::from(sequence);
        self.next = self.base;
        self.acked = self.base;
        self.started = true;
        self.from_start = from_start;
    }

    /// The position of `sequence`; `None` where that is too far from where the stream is.
    pub(super) fn position(&self, sequence: u32) -> Option<u64> {
        let distance = sequence.wrapping_sub(self.next as u32).cast_signed();
        (-BEHIND_MAX..=AHEAD_MAX).contains(&distance).then(|| self.next.wrapping_add_signed(i64::from(distance)))
    }

    /// Whether bytes at `sequence` are the next, and nothing waits or has ended.
    #[inline]
    pub(super) fn is_next(&self, sequence: u32) -> bool {
        self.started && self.next as u32 == sequence && !self.fin_seen && !self.ended && !self.waits()
    }

    /// Whether something waits.
    #[inline]
    pub(super) const fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Goes on behind `bytes`, which are the next and were delivered if anybody wants them.
    #[inline]
    pub(super) fn take_next(&mut self, bytes: &[u8], wanted: bool) {
        let chunk = Chunk { start: self.next, bytes, cut: 0 };
        self.strays = 0;
        self.advance(&chunk, wanted);
    }

    #[inline]
    fn advance(&mut self, chunk: &Chunk<'_>, wanted: bool) {
        if wanted {
            self.tail.follow(chunk);
        }
        self.probed = chunk.len() == 1 && self.window_told && self.window == 0;
        self.next = chunk.end();
    }

    /// Position behind the last byte seen.
    fn highest(&self) -> u64 {
        self.waiting.as_ref().and_then(|waiting| waiting.sparse.end()).unwrap_or(self.next)
    }

    fn fin_position(&self) -> Option<u64> {
        if self.fin_seen { self.position(self.fin) } else { None }
    }

    /// Position of the first thing known behind the hole; `None` where there is none.
    fn hole_end(&self) -> Option<u64> {
        match self.waiting.as_ref()?.sparse.first() {
            Some(piece) => (piece.start > self.next).then_some(piece.start),
            None => self.fin_position(),
        }
    }

    /// A SYN whose payload begins behind `sequence`; gives whether it fits.
    pub(super) fn syn<F>(&mut self, sequence: u32, has_ack: bool, out: &mut Outlet<'_, F>) -> bool {
        let first = sequence.wrapping_add(1);
        if !self.started {
            self.begin(first, true);
        }
        let late = |position: u64| !self.from_start && self.base.wrapping_sub(position) <= LATE_SYN_BYTES;
        if !self.position(first).is_some_and(|position| position == self.base || late(position)) {
            return false;
        }
        self.from_start = true;
        // Where both sides open at once, each sends its SYN first without and then with an ACK.
        let seen = if has_ack { &mut self.syn_ack_seen } else { &mut self.syn_seen };
        if std::mem::replace(seen, true) {
            count(&mut out.sent().retransmissions);
        }
        true
    }

    /// What the receiver of these bytes says of them; gives whether it says nothing new while bytes are under way to it.
    #[inline]
    pub(super) fn acknowledge(&mut self, ack: Acknowledgement) -> bool {
        let same_window = self.window_told && self.window == ack.window;
        (self.window, self.window_told) = (ack.window, true);
        let Some(position) = self.started.then(|| self.position(ack.number)).flatten() else { return false };
        if position > self.acked {
            self.acked = position;
            self.duplicates = 0;
            return false;
        }
        let duplicate = position == self.acked && ack.bare && same_window && self.highest() > self.acked;
        if duplicate {
            self.duplicates = self.duplicates.saturating_add(1);
        }
        duplicate
    }

    /// Whether a RST with this sequence number may come from this half's side.
    pub(super) fn fits_reset(&self, sequence: u32, window: u64) -> bool {
        let Some(position) = self.position(sequence) else { return false };
        // One below, as after a keep-alive probe.
        let low = self.acked.min(self.next).saturating_sub(1);
        (low..=self.highest().max(self.acked).saturating_add(window)).contains(&position)
    }

    /// A segment's payload at `sequence`. Gives whether it is more than a probe.
    pub(super) fn payload<F: FnMut(Delivery<'_>)>(
        &mut self,
        sequence: u32,
        payload: &[u8],
        cut: u32,
        out: &mut Outlet<'_, F>,
    ) -> bool {
        let Some(start) = self.position(sequence) else {
            count(&mut out.sent().outside);
            self.strays = self.strays.saturating_add(1);
            if self.strays < STRAYS_MAX || self.ended || self.fin_seen {
                return false;
            }
            self.jump(sequence, out);
            return self.payload(sequence, payload, cut, out);
        };
        self.strays = 0;
        let mut chunk = Chunk { start, bytes: payload, cut };
        if self.waiting.is_some() || start != self.next {
            if chunk.len() == 1 && start + 1 == self.highest() {
                return false;
            }
            self.count_order(&chunk, out);
        }
        chunk.skip_to(self.next);
        if let Some(fin) = self.fin_position()
            && chunk.end_at(fin)
        {
            count(&mut out.sent().outside);
        }
        if chunk.len() > 0 && !self.ended {
            self.place(&chunk, out);
        }
        true
    }

    /// Counts a segment that is not simply the next: what was sent again, what is late, what contradicts.
    fn count_order<F>(&self, chunk: &Chunk<'_>, out: &mut Outlet<'_, F>) {
        let (start, end) = (chunk.start, chunk.end());
        let waiting = self.waiting.as_ref();
        let overlap =
            |start, run: &Run<'_>| waiting.map(|waiting| waiting.sparse.overlap(start, run)).unwrap_or_default();
        let (whole, cut) = (overlap(start, &Run::Bytes(chunk.bytes)), overlap(chunk.cut_start(), &Run::Cut(chunk.cut)));
        let delivered = self.next.min(end).saturating_sub(start.max(self.base));
        let seen = delivered + whole.bytes + cut.bytes;
        if whole.differs || self.tail.differs(self.next, chunk) {
            count(&mut out.sent().overlaps);
        }
        if seen > 0 {
            if !(self.probed && seen == 1 && start + 1 == self.next) {
                out.sent().retransmitted_bytes += seen;
                count(&mut out.sent().retransmissions);
            }
        } else if start < self.base {
            count(&mut out.sent().out_of_order);
        } else if let Some(opened_ns) = waiting.and_then(|waiting| waiting.sparse.time_behind(start)) {
            let repaired = start == self.acked && self.duplicates >= DUPLICATES_OF_LOSS;
            if repaired || out.time_ns.saturating_sub(opened_ns) > out.reorder_ns {
                out.sent().retransmitted_bytes += chunk.len();
                count(&mut out.sent().retransmissions);
            } else {
                count(&mut out.sent().out_of_order);
            }
        }
    }

    /// Delivers `chunk`, of which nothing was delivered yet, or has it wait.
    fn place<F: FnMut(Delivery<'_>)>(&mut self, chunk: &Chunk<'_>, out: &mut Outlet<'_, F>) {
        let in_order = chunk.start == self.next;
        let meets_waiting = self
            .waiting
            .as_ref()
            .and_then(|waiting| waiting.sparse.first())
            .is_some_and(|first| chunk.end() > first.start);
        if in_order && !meets_waiting && out.after.is_none() {
            self.pass(chunk, out);
            return self.drain(out);
        }
        self.keep(chunk, out);
        self.drain(out);
        while let Some(waiting) = &self.waiting {
            let full = waiting.sparse.cost() > WAITING_MAX || waiting.sparse.len() > WAITING_PIECES_MAX;
            if full {
                out.budget.direction_full += 1;
            } else if out.budget.is_spent() && waiting.sparse.cost() > 0 {
                out.budget.shard_full += 1;
            } else {
                break;
            }
            self.skip_hole(out);
        }
    }

    /// Delivers `chunk`, which is the next.
    fn pass<F: FnMut(Delivery<'_>)>(&mut self, chunk: &Chunk<'_>, out: &mut Outlet<'_, F>) {
        out.data(chunk.bytes);
        out.gap(u64::from(chunk.cut));
        if chunk.cut > 0 {
            out.sent().cut_bytes += u64::from(chunk.cut);
        }
        self.advance(chunk, out.wanted);
    }

    /// Keeps `chunk` until what is before it has come, and what it answers.
    fn keep<F>(&mut self, chunk: &Chunk<'_>, out: &mut Outlet<'_, F>) {
        let waiting = self.wait(out);
        let before = waiting.sparse.cost();
        let len = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
        let run = if out.wanted { Run::Bytes(chunk.bytes) } else { Run::Seen(len) };
        waiting.sparse.insert(chunk.start, &run, out.time_ns);
        waiting.sparse.insert(chunk.cut_start(), &Run::Cut(chunk.cut), out.time_ns);
        // Of what comes twice the first copy says what it answers; and what is noted takes no more memory than the bytes are counted as.
        if let Some(after) = out.after
            && waiting.sparse.cost() > before
        {
            waiting.answers.note(chunk.start, after, out.time_ns, out.segments);
        }
        out.budget.change(before, waiting.sparse.cost());
    }

    /// A hole that was opened later than the mark ends behind what it says, however far ahead acknowledgements are: the mirror may
    /// show one direction later than the other.
    fn mark<F>(&self, out: &Outlet<'_, F>) -> Mark {
        let known = self.fin_position().unwrap_or_else(|| self.highest());
        Mark { acked: self.acked.min(known), time_ns: out.time_ns, segments: out.segments }
    }

    fn wait<F>(&mut self, out: &Outlet<'_, F>) -> &mut Waiting {
        let mark = self.mark(out);
        let fresh = || Waiting { sparse: Sparse::default(), answers: Answers::default(), opened_ns: out.time_ns, mark };
        self.waiting.get_or_insert_with(|| Box::new(fresh()))
    }

    /// Delivers what waits, up to the next hole or what waits for the other side, and the end if it is there.
    fn drain<F: FnMut(Delivery<'_>)>(&mut self, out: &mut Outlet<'_, F>) {
        if let Some(mut waiting) = self.waiting.take() {
            let before = waiting.sparse.cost();
            let mut came_ns = None;
            while waiting.sparse.first().is_some_and(|piece| piece.start == self.next)
                && !waiting.answers.hold(self.next)
            {
                let Some(piece) = waiting.sparse.pop() else { break };
                if piece.time_ns != out.time_ns && came_ns != Some(piece.time_ns) {
                    came_ns = Some(piece.time_ns);
                    out.came(came_ns);
                }
                self.pass_piece(&piece, out);
            }
            if came_ns.is_some() {
                out.came(None);
            }
            out.budget.change(before, waiting.sparse.cost());
            let fin_waits = self.fin_position().is_some_and(|fin| fin > self.next);
            if let Some(first) = waiting.sparse.first() {
                waiting.opened_ns = first.time_ns;
            }
            self.waiting = (waiting.sparse.len() > 0 || fin_waits).then_some(waiting);
        }
        if self.fin_position() == Some(self.next) {
            self.end(out);
        }
    }

    fn pass_piece<F: FnMut(Delivery<'_>)>(&mut self, piece: &Piece, out: &mut Outlet<'_, F>) {
        let (bytes, cut): (&[u8], u32) = match &piece.content {
            Content::Bytes(bytes) => (bytes, 0),
            Content::Cut => (&[], piece.len),
            Content::Seen => {
                self.next = piece.end();
                return;
            }
        };
        self.pass(&Chunk { start: piece.start, bytes, cut }, out);
    }

    /// The sender ends its stream at `sequence`. Gives whether that is news.
    pub(super) fn finish_at<F: FnMut(Delivery<'_>)>(&mut self, sequence: u32, out: &mut Outlet<'_, F>) -> bool {
        let position = self.position(sequence).filter(|position| *position >= self.highest());
        match position {
            Some(position) if !self.fin_seen => {
                (self.fin, self.fin_seen) = (sequence, true);
                if position > self.next {
                    self.wait(out);
                }
                self.drain(out);
                true
            }
            Some(_) if self.fin == sequence => false,
            _ => {
                count(&mut out.sent().outside);
                true
            }
        }
    }

    /// Skips holes that nobody will fill any more.
    pub(super) fn settle<F: FnMut(Delivery<'_>)>(&mut self, out: &mut Outlet<'_, F>) {
        let Some(hole_end) = self.hole_end() else { return };
        let now = self.mark(out);
        let Some(waiting) = &mut self.waiting else { return };
        let Mark { acked, time_ns, segments } = waiting.mark;
        let mark_is_old = now.segments.wrapping_sub(segments) >= HOLE_ACKED_SEGMENTS
            || now.time_ns.saturating_sub(time_ns) >= HOLE_ACKED_NS;
        let just_acked = acked < hole_end && now.acked >= hole_end;
        if mark_is_old || just_acked {
            waiting.mark = now;
        }
        if out.time_ns.saturating_sub(waiting.opened_ns) >= HOLE_NS {
            self.skip_hole(out);
        }
        while mark_is_old && self.hole_end().is_some_and(|hole_end| hole_end <= acked) {
            self.skip_hole(out);
        }
    }

    /// Gives up the first thing that is waited for, a hole or the other side's bytes, and delivers what is behind it.
    fn skip_hole<F: FnMut(Delivery<'_>)>(&mut self, out: &mut Outlet<'_, F>) {
        if self.is_held() {
            if let Some(waiting) = &mut self.waiting {
                waiting.answers.give_up();
            }
            return self.drain(out);
        }
        let Some(end) = self.hole_end() else {
            self.waiting = None;
            return;
        };
        self.skip(end, out);
        self.drain(out);
    }

    /// Goes on at `end`, behind bytes that were never seen.
    fn skip<F: FnMut(Delivery<'_>)>(&mut self, end: u64, out: &mut Outlet<'_, F>) {
        let gap = end.saturating_sub(self.next);
        let lost = self.acked.clamp(self.next, end.max(self.next)) - self.next;
        if gap > 0 {
            let sent = out.sent();
            sent.lost_bytes += lost;
            sent.missing_bytes += gap - lost;
        }
        // It was there to be told when what is behind it came, or what the other side sent when it had it: that is told next, with its own time.
        let behind_ns = self.waiting.as_ref().and_then(|waiting| waiting.sparse.first()).map(|piece| piece.time_ns);
        let came_ns = behind_ns.into_iter().chain(out.awaited_ns).min();
        if came_ns.is_some() {
            out.came(came_ns);
        }
        out.gap(gap);
        if came_ns.is_some() {
            out.came(None);
        }
        self.tail = Tail::default();
        self.next += gap;
    }

    /// Goes where the segments are, after so many were far away: numbers between are taken for missing.
    fn jump<F: FnMut(Delivery<'_>)>(&mut self, sequence: u32, out: &mut Outlet<'_, F>) {
        while self.waiting.is_some() {
            self.skip_hole(out);
        }
        let distance = sequence.wrapping_sub(self.next as u32);
        self.skip(self.next + u64::from(distance), out);
        self.strays = 0;
    }

    /// No more comes: delivers what waits, and ends.
    pub(super) fn close<F: FnMut(Delivery<'_>)>(&mut self, out: &mut Outlet<'_, F>) {
        while self.waiting.is_some() {
            self.skip_hole(out);
        }
        // One byte more acknowledged than seen is a FIN that was not seen.
        if !self.fin_seen && self.acked > self.next + 1 {
            self.skip(self.acked, out);
        }
        self.end(out);
    }

    fn end<F: FnMut(Delivery<'_>)>(&mut self, out: &mut Outlet<'_, F>) {
        if !self.ended {
            self.ended = true;
            (out.deliver)(Delivery::End(out.side));
        }
    }

    /// Nobody wants bytes any more: only where they were is kept.
    pub(super) fn stop_buffering(&mut self, budget: &mut Budget) {
        self.tail = Tail::default();
        if let Some(waiting) = &mut self.waiting {
            waiting.answers.give_up();
            let before = waiting.sparse.cost();
            waiting.sparse.hollow();
            budget.change(before, waiting.sparse.cost());
        }
    }
}
