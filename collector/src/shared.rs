//! What the threads of a live run share: the order to stop, what each worker reports, and questions to them.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use vxtap_analyzers::snapshot::{FlowPage, WorkerSnapshot};
use vxtap_analyzers::{FlowList, StreamCounters};

use crate::receive::Waker;
use crate::streams::StreamRegistry;

/// Questions that wait for one worker at the most; whoever asks one more is told to come back.
pub(crate) const QUESTIONS_MAX: usize = 4;

/// Shared by all threads of one run.
pub(crate) struct Shared {
    /// Set once: receive what is there, finish, end.
    pub(crate) stop: AtomicBool,
    /// Workers that still receive.
    pub(crate) receiving: AtomicU32,
    /// Mirror streams.
    pub(crate) streams: Arc<StreamRegistry>,
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
}

impl WorkerReport {
    /// The report of a worker that has not said anything yet.
    fn of(number: u32) -> Self {
        let worker = WorkerSnapshot { worker: number, ..WorkerSnapshot::default() };
        Self { worker, streams: Vec::new() }
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
    pub(crate) fn new(workers: u32, streams: Arc<StreamRegistry>) -> Self {
        Self {
            stop: AtomicBool::new(false),
            receiving: AtomicU32::new(workers),
            streams,
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

    /// Copies of all reports, in the workers' order.
    pub(crate) fn reports(&self) -> Vec<WorkerReport> {
        (0..self.reports.len() as u32).map(|worker| self.report(worker).clone()).collect()
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
