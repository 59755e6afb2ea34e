//! A worker of a live run: receives, decapsulates, keeps what it owns, hands over the rest, and tells how it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::Receiver;
use hdrhistogram::Histogram;
use vxtap_analyzers::snapshot::{Distribution, WorkerSnapshot};
use vxtap_analyzers::{Siblings, Wholes};
use vxtap_wire::envelope::Kind;
use vxtap_wire::{FiveTuple, FrameView, Link, SteerHash, usual_five_tuple};

use crate::hand_over::{Inbox, Outbox};
use crate::pipeline::{FrameBatch, Pipeline, PipelineTotals};
use crate::receive::{Batch, ReceiveSocket, SETTLED, Waiter, pin_to_cpu};
use crate::shared::{Question, Shared, WorkerReport};

mod opening;
mod packets;
mod sorting;
pub(crate) use opening::Opening;
pub(crate) use packets::PacketIntake;
use packets::TakenCount;
use sorting::{Sorting, unpack};

/// How often a worker tells how it is.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// The longest that a worker sleeps.
const REST_MAX: Duration = Duration::from_secs(1);
/// How often a worker tells what changes slowly or is long.
const DETAIL_INTERVAL: Duration = Duration::from_secs(1);
/// Slots of the flow table that are looked at between two batches while a question is answered.
const SLOTS_PER_TURN: usize = 4096;
/// How long a stopping worker goes on reading from a socket that never runs empty.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// How long a worker that nothing comes for waits until it looks again whether the log has room.
const ROOM_PAUSE: Duration = Duration::from_millis(1);

/// How long a worker that waits for others at the end sleeps between two looks.
const HAND_OVER_PAUSE: Duration = Duration::from_micros(200);

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) number: u32,
    pub(crate) sockets: Vec<ReceiveSocket>,
    pub(crate) packets: PacketIntake,
    pub(crate) waiter: Waiter,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) questions: Receiver<Question>,
    pub(crate) pipeline: Pipeline,
    pub(crate) shared: Arc<Shared>,
    pub(crate) steering: Steering,
    pub(crate) opening: Opening,
    pub(crate) coalesce: Duration,
    /// Whether to stay on the CPU of the worker's number.
    pub(crate) pin: bool,
}

/// Who owns which flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steering {
    pub(crate) hash: SteerHash,
    pub(crate) workers: u32,
    /// Leaves every flow where the kernel put it, so that tests can see what happens then.
    pub(crate) broken: bool,
}

impl Steering {
    /// The worker that owns the flow of `view`. Frames in no flow are the first worker's.
    #[inline]
    pub(crate) fn owner(&self, view: &FrameView<'_>) -> u32 {
        match &view.five_tuple {
            Some(tuple) => self.owner_of(tuple),
            None => 0,
        }
    }

    /// The same, of a frame that begins as `link` says and is not looked into further than that; and whether it is a fragment.
    #[inline]
    pub(crate) fn owner_unseen(&self, link: Link, frame: &[u8]) -> (u32, bool) {
        if link == Link::Ethernet
            && let Some(tuple) = usual_five_tuple(frame)
        {
            return (self.owner_of(&tuple), false);
        }
        let view = FrameView::parse_link(link, frame);
        (self.owner(&view), view.fragment.is_some())
    }

    /// What worker `number` has to know of the others to tell whose a packet put together of fragments is; `None` where all stays where it is.
    pub(crate) fn siblings(&self, number: u32, wholes: Wholes) -> Option<Siblings> {
        let Self { hash, workers, broken } = *self;
        (workers > 1 && !broken).then_some(Siblings { hash, shards: workers, number, wholes })
    }

    #[inline]
    fn owner_of(&self, tuple: &FiveTuple) -> u32 {
        if self.workers > 1 { self.hash.owner(tuple, self.workers) } else { 0 }
    }
}

/// A worker.
pub(crate) struct Worker {
    parts: WorkerParts,
    batches: u64,
    batch_size: Histogram<u64>,
    batch_time_ns: Histogram<u64>,
    reported: Instant,
    /// Something came since then.
    unreported: bool,
    /// When it last told what is of less interest.
    detailed: Option<Instant>,
    answering: Option<Answering>,
}

/// A question that is being answered, some slots at a time.
struct Answering {
    question: Question,
    from: usize,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        Self {
            parts,
            batches: 0,
            batch_size: histogram(1 << 16),
            batch_time_ns: histogram(10_000_000_000),
            reported: Instant::now(),
            unreported: false,
            detailed: None,
            answering: None,
        }
    }

    /// Works until told to stop, and then until nothing is under way. An error is a socket that cannot be read any more.
    pub(crate) fn run(mut self) -> std::io::Result<PipelineTotals> {
        if self.parts.pin
            && let Err(error) = pin_to_cpu(self.parts.number)
        {
            tracing::warn!("worker {} is not pinned to a CPU: {error}", self.parts.number);
        }
        let mut batch = Batch::new();
        let result = self.receive_until_stopped(&mut batch);
        if result.is_err() {
            self.parts.shared.stop.store(true, Ordering::SeqCst);
        }
        self.finish_hand_over();
        self.report();
        result.map(|()| self.parts.pipeline.finish())
    }

    fn receive_until_stopped(&mut self, batch: &mut Batch) -> std::io::Result<()> {
        let mut stopping: Option<Instant> = None;
        loop {
            let mut received = 0;
            let mut more = false;
            for socket in 0..self.parts.sockets.len() {
                let kind = self.parts.sockets[socket].kind;
                more |= batch.receive(self.parts.sockets[socket].fd())?;
                if !batch.is_empty() {
                    let datagrams = self.take(batch, kind);
                    self.parts.sockets[socket].note_received(batch.messages(), datagrams);
                    received += datagrams;
                }
            }
            if !self.parts.packets.is_empty() {
                let taken = self.take_packets();
                received += taken.received;
                more |= taken.more;
            }
            let parcels = self.take_parcels();
            let sent = self.parts.outbox.flush();
            self.parts.shared.pulses()[self.parts.number as usize].beat(self.parts.pipeline.ledger.received);
            let now_ns = unix_ns();
            self.parts.pipeline.flush_if_due(now_ns);
            self.answer_some();
            if self.reported.elapsed() >= REPORT_INTERVAL {
                self.parts.pipeline.advance(now_ns);
                self.report();
            } else if received == 0 && self.parts.pipeline.is_behind() {
                self.parts.pipeline.advance(now_ns);
            }
            if self.parts.shared.stop.load(Ordering::Relaxed) {
                let since = *stopping.get_or_insert_with(Instant::now);
                // Frames of an interface are in sight only some time after they came.
                let settled = self.parts.packets.is_empty() || since.elapsed() > SETTLED;
                if (received == 0 && !more && settled) || since.elapsed() > DRAIN_TIME {
                    return Ok(());
                }
                continue;
            }
            if more || parcels || self.answering.is_some() {
                continue;
            }
            if received > 0 || !sent {
                // What waits to be written does not wait for longer because of it.
                let coalesce = self.until_flush(now_ns).map_or(self.parts.coalesce, |due| due.min(self.parts.coalesce));
                if !coalesce.is_zero() {
                    std::thread::sleep(coalesce);
                }
                continue;
            }
            self.wait(now_ns);
        }
    }

    /// How long after `now_ns` something is to be handed over to the writers, or to be gone on with; `None` while nothing waits for that.
    fn until_flush(&self, now_ns: u64) -> Option<Duration> {
        let flush = self.parts.pipeline.next_flush_ns().map(|due| Duration::from_nanos(due.saturating_sub(now_ns)));
        let behind = self.parts.pipeline.is_behind().then_some(ROOM_PAUSE);
        flush.into_iter().chain(behind).min()
    }

    /// How long a worker that nothing comes for sleeps at the longest.
    fn rest_time(&self, now_ns: u64) -> Duration {
        // What came last is told in time; then once a second is enough, to let packet time pass and to tell that all is well.
        let until_report =
            if self.unreported { REPORT_INTERVAL.saturating_sub(self.reported.elapsed()) } else { REST_MAX };
        self.until_flush(now_ns).map_or(until_report, |due| due.min(until_report))
    }

    fn wait(&mut self, now_ns: u64) {
        let timeout = self.rest_time(now_ns);
        self.parts.pipeline.rest();
        let WorkerParts { sockets, packets, waiter, inbox, questions, shared, .. } = &mut self.parts;
        waiter.wait(sockets.iter().map(ReceiveSocket::fd).chain(packets.fds()), timeout, || {
            inbox.is_empty() && questions.is_empty() && !shared.stop.load(Ordering::SeqCst)
        });
        self.parts.pipeline.rise(unix_ns());
    }

    /// Takes one batch of datagrams, out of a socket of `kind`, through decapsulation, steering and, for what is its own, analysis.
    fn take(&mut self, batch: &Batch, kind: Kind) -> u64 {
        let begun = Instant::now();
        let now_ns = unix_ns();
        let WorkerParts { number, pipeline, outbox, steering, opening, .. } = &mut self.parts;
        pipeline.streams.refresh();
        let mut sorting = Sorting::new(*number, pipeline, outbox, *steering);
        let mut frames = FrameBatch::new();
        let mut received = 0;
        for train in batch.trains() {
            let mut before = None;
            for datagram in train.datagrams() {
                received += 1;
                sorting.pipeline.ledger.received_bytes += datagram.payload.len() as u64;
                let opened = opening.open(sorting.pipeline, kind, &datagram, now_ns, &mut before);
                let Some((entrant, reserved_bits)) = opened else { continue };
                sorting.sort(&entrant, reserved_bits, &mut frames);
            }
        }
        sorting.analyse(&frames);
        pipeline.ledger.received += received;
        self.note_batch(received, begun);
        received
    }

    /// Takes frames out of the rings through steering and, for what is its own, analysis.
    fn take_packets(&mut self) -> TakenCount {
        let begun = Instant::now();
        let WorkerParts { number, pipeline, outbox, steering, opening, packets, .. } = &mut self.parts;
        pipeline.streams.refresh();
        let mut sorting = Sorting::new(*number, pipeline, outbox, *steering);
        let taken = packets.take(&mut sorting, *opening);
        if taken.received > 0 {
            self.note_batch(taken.received, begun);
        }
        taken
    }

    fn note_batch(&mut self, received: u64, begun: Instant) {
        self.batches += 1;
        self.unreported = true;
        self.batch_size.saturating_record(received);
        self.batch_time_ns.saturating_record(begun.elapsed().as_nanos() as u64);
    }

    /// Takes what other workers handed over. Gives whether there was anything.
    fn take_parcels(&mut self) -> bool {
        let WorkerParts { inbox, pipeline, outbox, .. } = &mut self.parts;
        let mut any = false;
        while let Some(parcel) = inbox.next() {
            any = true;
            unpack(&parcel, pipeline, outbox);
            inbox.give_back(parcel);
        }
        self.unreported |= any;
        any
    }

    /// Waits until no worker has anything for another any more, taking what they hand over.
    fn finish_hand_over(&mut self) {
        self.send_all();
        let shared = Arc::clone(&self.parts.shared);
        self.take_until_last(&shared.receiving);
        // Fragments came to their workers until then, and what those have put together is on its way now. Of that nothing else comes.
        self.send_all();
        self.take_until_last(&shared.putting_together);
    }

    /// Sends what is pending.
    fn send_all(&mut self) {
        // All workers come here and go on taking, so there will be room.
        while !self.parts.outbox.flush() {
            self.take_parcels();
            std::thread::sleep(HAND_OVER_PAUSE);
        }
    }

    /// This worker has sent all that it is counted for in `senders`: takes what comes until all others have.
    fn take_until_last(&mut self, senders: &AtomicU32) {
        senders.fetch_sub(1, Ordering::SeqCst);
        loop {
            // In this order: what was sent before the last worker stopped sending is there when the count is 0.
            let all_done = senders.load(Ordering::SeqCst) == 0;
            let any = self.take_parcels();
            if all_done && !any {
                return;
            }
            // Of packets put together on the way; what finds no room has another turn.
            self.parts.outbox.flush();
            if !any {
                std::thread::sleep(HAND_OVER_PAUSE);
            }
        }
    }

    /// Goes on with answering a question about flows, or begins the next.
    fn answer_some(&mut self) {
        if self.answering.is_none() {
            self.answering = self.parts.questions.try_recv().ok().map(|question| Answering { question, from: 0 });
        }
        let Some(Answering { question, from }) = &mut self.answering else { return };
        let table = self.parts.pipeline.flows();
        let (flows, next) = table.part(*from, SLOTS_PER_TURN);
        let (number, registry) = (self.parts.number, &self.parts.shared.registry);
        for flow in flows {
            question
                .list
                .add(number, flow, || (registry.name(flow.stream), registry.networks().name_of(flow.key.network)));
        }
        match next {
            Some(next) => *from = next,
            None => {
                if let Some(Answering { question, .. }) = self.answering.take() {
                    // Whoever asked may have gone.
                    let _ = question.reply.try_send(question.list.finish());
                }
            }
        }
    }

    fn report(&mut self) {
        self.reported = Instant::now();
        self.unreported = false;
        if self.parts.number == 0 {
            self.parts.packets.tell_conditions();
        }
        let of_sockets: u64 = self.parts.sockets.iter().map(|socket| socket.buffer_bytes).sum();
        let receive_buffer = of_sockets + self.parts.packets.buffer_bytes();
        let pipeline = &mut self.parts.pipeline;
        pipeline.ledger.kernel_dropped = self.parts.packets.kernel_drops();
        pipeline.ledger.kernel_dropped_trains = 0;
        for socket in &mut self.parts.sockets {
            socket.look();
            let drops = socket.drops();
            pipeline.ledger.kernel_dropped += drops.counted;
            pipeline.ledger.kernel_dropped_trains += drops.trains;
        }
        debug_assert_eq!(pipeline.ledger.check_worker_received(), Ok(()), "worker {}", self.parts.number);
        let shard = pipeline.shard_counters();
        pipeline.ledger.flows = shard.flows;
        let shard = *pipeline.shard_counters();
        let snapshot = WorkerSnapshot {
            worker: self.parts.number,
            ledger: pipeline.ledger,
            flows_active: pipeline.flows().len() as u64,
            flows_max: u64::from(pipeline.flows().limits().flows_max),
            flows_evicted: shard.flows_evicted,
            not_ip: shard.not_ip,
            truncated: shard.truncated,
            malformed: shard.malformed,
            too_deep: shard.too_deep,
            receive_buffer,
            batches: self.batches,
            batch_size: Distribution::of(&self.batch_size),
            batch_time_ns: Distribution::of(&self.batch_time_ns),
            analysis: pipeline.analysis_snapshot(),
        };
        pipeline.streams.tell_losses();
        let mut report = self.parts.shared.report(self.parts.number);
        let WorkerReport { worker, streams, turned_away, sides, pairs } = &mut *report;
        *worker = snapshot;
        pipeline.streams.publish(streams);
        pipeline.streams.publish_turned_away(unix_ns(), turned_away);
        if self.detailed.is_none_or(|detailed| detailed.elapsed() >= DETAIL_INTERVAL) {
            self.detailed = Some(self.reported);
            sides.clear();
            sides.extend(pipeline.sides());
            pairs.clear();
            pairs.extend_from_slice(pipeline.duplicate_pairs());
        }
    }
}

/// A histogram up to `max` with two digits; larger values count as `max`.
fn histogram(max: u64) -> Histogram<u64> {
    Histogram::new_with_max(max, 2).expect("bounds that the library takes: at least 2, and at most 5 digits")
}

/// Now, in nanoseconds since 1970.
pub(crate) fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64)
}

#[cfg(test)]
mod tests;
