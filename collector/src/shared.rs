//! What the threads of a live run share: the order to stop, what each worker reports, and questions to them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use vxtap_analyzers::dedup::PairDuplicates;
use vxtap_analyzers::snapshot::{FlowPage, WorkerSnapshot};
use vxtap_analyzers::{FlowList, SideCounts, StreamCounters, StreamId};

use crate::pipeline::TurnedAwayReport;
use crate::receive::Waker;
use crate::streams::StreamRegistry;

/// Questions that wait for one worker at the most; whoever asks one more is told to come back.
pub(crate) const QUESTIONS_MAX: usize = 4;

/// Streams whose counters are taken from a report at a time.
const STREAMS_AT_ONCE: usize = 4096;

/// Shared by all threads of one run.
pub(crate) struct Shared {
    /// Set once: receive what is there, finish, end.
    pub(crate) stop: AtomicBool,
    /// Workers that still receive.
    pub(crate) receiving: AtomicU32,
    /// Workers that may still get fragments, and hand over what they make whole.
    pub(crate) putting_together: AtomicU32,
    /// Mirror streams.
    pub(crate) registry: Arc<StreamRegistry>,
    reports: Vec<Mutex<WorkerReport>>,
    pulses: Vec<Pulse>,
}

/// A worker's signs of life, for whoever must not wait for it: a report is locked while it is written.
#[derive(Debug, Default)]
// Two workers must not write to one cache line.
#[repr(align(128))]
pub(crate) struct Pulse {
    turns: AtomicU64,
    received: AtomicU64,
}

impl Pulse {
    /// The worker has made a turn, and has received so much in all.
    #[inline]
    pub(crate) fn beat(&self, received: u64) {
        self.turns.store(self.turns() + 1, Ordering::Relaxed);
        self.received.store(received, Ordering::Relaxed);
    }

    /// Turns that the worker has made.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Datagrams that it has received.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// What a worker last said of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerReport {
    pub(crate) worker: WorkerSnapshot,
    /// By stream number.
    pub(crate) streams: Vec<StreamCounters>,
    /// Streams that are not let in.
    pub(crate) turned_away: TurnedAwayReport,
    /// Flows by the directions that were seen.
    pub(crate) sides: Vec<(StreamId, SideCounts)>,
    /// Copies of packets by the streams that they came by.
    pub(crate) pairs: Vec<PairDuplicates>,
}

impl WorkerReport {
    /// The report of a worker that has not said anything yet.
    fn of(number: u32) -> Self {
        let worker = WorkerSnapshot { worker: number, ..WorkerSnapshot::default() };
        Self { worker, ..Self::default() }
    }
}

/// A question to one worker: which of its flows go onto this list?
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) list: FlowList,
    pub(crate) reply: Sender<FlowPage>,
}

/// How to ask one worker.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    questions: Sender<Question>,
    waker: Waker,
}

impl Shared {
    pub(crate) fn new(workers: u32, registry: Arc<StreamRegistry>) -> Self {
        Self {
            stop: AtomicBool::new(false),
            receiving: AtomicU32::new(workers),
            putting_together: AtomicU32::new(workers),
            registry,
            reports: (0..workers).map(|number| Mutex::new(WorkerReport::of(number))).collect(),
            pulses: (0..workers).map(|_| Pulse::default()).collect(),
        }
    }

    /// Each worker's signs of life.
    pub(crate) fn pulses(&self) -> &[Pulse] {
        &self.pulses
    }

    /// The place of `worker`'s report. Held for the time of a copy only.
    pub(crate) fn report(&self, worker: u32) -> MutexGuard<'_, WorkerReport> {
        self.reports[worker as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workers' counters, in their order.
    pub(crate) fn workers(&self) -> Vec<WorkerSnapshot> {
        (0..self.reports.len() as u32).map(|worker| self.report(worker).worker.clone()).collect()
    }

    /// The counters of each stream, by its number, all workers together.
    pub(crate) fn streams(&self) -> Vec<StreamCounters> {
        let mut sums: Vec<StreamCounters> = Vec::new();
        for worker in 0..self.reports.len() as u32 {
            // In parts, for a worker that wants to report waits as long as one takes.
            for start in (0..).step_by(STREAMS_AT_ONCE) {
                let report = self.report(worker);
                let Some(counters) = report.streams.get(start..).filter(|rest| !rest.is_empty()) else { break };
                let counters = &counters[..counters.len().min(STREAMS_AT_ONCE)];
                if sums.len() < start + counters.len() {
                    sums.resize(start + counters.len(), StreamCounters::default());
                }
                sums[start..].iter_mut().zip(counters).for_each(|(sum, counters)| sum.merge(counters));
            }
        }
        sums
    }

    /// Flows of each mirror stream by the directions that were seen, all workers together.
    pub(crate) fn sides(&self) -> HashMap<StreamId, SideCounts> {
        let mut sums: HashMap<StreamId, SideCounts> = HashMap::new();
        for worker in 0..self.reports.len() as u32 {
            for (stream, counts) in &self.report(worker).sides {
                sums.entry(*stream).or_default().merge(counts);
            }
        }
        sums
    }

    /// Copies of packets by the streams that they came by, as the workers tell them.
    pub(crate) fn pairs(&self) -> Vec<PairDuplicates> {
        (0..self.reports.len() as u32).flat_map(|worker| self.report(worker).pairs.clone()).collect()
    }

    /// What each worker tells of the streams that it has turned away.
    pub(crate) fn turned_away(&self) -> impl Iterator<Item = TurnedAwayReport> + '_ {
        (0..self.reports.len() as u32).map(|worker| self.report(worker).turned_away.clone())
    }
}

impl Asker {
    /// A way to ask the worker that `waker` wakes, and the worker's end of it.
    pub(crate) fn new(waker: Waker) -> (Self, Receiver<Question>) {
        let (questions, receiver) = bounded(QUESTIONS_MAX);
        (Self { questions, waker }, receiver)
    }

    /// Puts the question. Gives whether there was room for it.
    pub(crate) fn ask(&self, question: Question) -> bool {
        let asked = self.questions.try_send(question).is_ok();
        self.waker.wake();
        asked
    }

    /// Wakes the worker, for it to see that it is to stop.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }
}
