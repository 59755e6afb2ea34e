//! Asks the source from a thread of its own, so that a slow or dead collector never holds up the keys.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vxtap_analyzers::snapshot::{FlowPage, FlowQuery, Ruling, Snapshot};

use crate::save::{Saved, Saver};
use crate::source::{CapturedFlow, Source, SourceError};

/// Answers that may wait for the screen; when it does not take them the asking waits.
const QUEUE: usize = 4;
/// How long leaving waits for an answer under way; after that the thread ends by itself when the answer comes.
const FAREWELL: Duration = Duration::from_millis(250);

/// An answer of the source.
#[derive(Debug)]
pub(crate) enum Update {
    Snapshot(Result<Box<Snapshot>, SourceError>),
    Flows {
        query: FlowQuery,
        answer: Result<FlowPage, SourceError>,
    },
    /// What came of a decision about a stream.
    Decided {
        decision: Ruling,
        answer: Result<(), SourceError>,
    },
    /// What came of saving a flow.
    Saved(Result<Saved, String>),
}

/// Where the session gets its updates: a [`Poller`], or a script in tests.
pub(crate) trait Updates {
    /// Says which flows are on the screen; `None` for none.
    fn want(&mut self, flows: Option<FlowQuery>);

    /// Begins to save the packets of `flow` into a file of the current directory.
    fn save(&mut self, flow: CapturedFlow);

    /// Has the collector decide about a stream.
    fn decide(&mut self, decision: Ruling);

    /// The next update if there is one; an error when there will be none any more.
    fn next(&mut self) -> Result<Option<Update>, SourceGone>;
}

/// The thread that asks the source ended: the source panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceGone;

/// Asks a source every interval, and at once when other flows are wanted.
pub(crate) struct Poller {
    wanted: Arc<Wanted>,
    updates: Receiver<Update>,
    /// Nothing is ever sent on it: it hangs up when the thread ends.
    ended: Receiver<()>,
    saver: Saver,
}

#[derive(Default)]
struct Wanted {
    state: Mutex<WantedState>,
    changed: Condvar,
}

#[derive(Default)]
struct WantedState {
    flows: Option<FlowQuery>,
    /// The flows of `flows` have not been asked for yet.
    fresh: bool,
    /// The decision that the source is to be told; of several that are not told yet the last.
    decision: Option<Ruling>,
    stop: bool,
}

impl Wanted {
    /// The state; that another thread panicked with the lock in its hand has no bearing on it.
    fn lock(&self) -> MutexGuard<'_, WantedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Poller {
    /// Starts asking `source` every `interval`.
    pub(crate) fn start(source: Box<dyn Source>, interval: Duration) -> std::io::Result<Self> {
        let saver = Saver::new(source.captured(), PathBuf::new());
        let wanted = Arc::new(Wanted::default());
        let (sender, updates) = sync_channel(QUEUE);
        let (alive, ended) = sync_channel(0);
        let asked = Arc::clone(&wanted);
        std::thread::Builder::new().name("tui-poller".into()).spawn(move || {
            let _alive = alive;
            ask(source, &asked, &sender, interval);
        })?;
        Ok(Self { wanted, updates, ended, saver })
    }
}

impl Updates for Poller {
    fn want(&mut self, flows: Option<FlowQuery>) {
        let mut state = self.wanted.lock();
        if state.flows != flows {
            state.fresh = flows.is_some();
            state.flows = flows;
            self.wanted.changed.notify_one();
        }
    }

    fn save(&mut self, flow: CapturedFlow) {
        self.saver.save(flow);
    }

    fn decide(&mut self, decision: Ruling) {
        self.wanted.lock().decision = Some(decision);
        self.wanted.changed.notify_one();
    }

    fn next(&mut self) -> Result<Option<Update>, SourceGone> {
        if let Some(saved) = self.saver.next() {
            return Ok(Some(Update::Saved(saved)));
        }
        match self.updates.try_recv() {
            Ok(update) => Ok(Some(update)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(SourceGone),
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.wanted.lock().stop = true;
        self.wanted.changed.notify_one();
        // A thread that waits for room in the queue gets it; one that waits for an answer is not waited for long.
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            while self.updates.try_recv().is_ok() {}
            match self.ended.recv_timeout(Duration::from_millis(10)) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
        }
    }
}

/// The thread: asks until told to stop or until nobody listens.
fn ask(mut source: Box<dyn Source>, wanted: &Wanted, updates: &SyncSender<Update>, interval: Duration) {
    let mut reachable = true;
    let mut next_round = Instant::now();
    loop {
        let (round, flows, decision) = {
            let mut state = wanted.lock();
            loop {
                let now = Instant::now();
                if state.stop {
                    return;
                }
                if now >= next_round || state.decision.is_some() || (state.fresh && reachable) {
                    break;
                }
                let wait = wanted.changed.wait_timeout(state, next_round - now);
                state = wait.unwrap_or_else(PoisonError::into_inner).0;
            }
            state.fresh = false;
            let decision = state.decision.take();
            // What it changes is to be seen at once.
            (Instant::now() >= next_round || decision.is_some(), state.flows.clone(), decision)
        };
        if let Some(decision) = decision {
            let answer = source.decide(&decision);
            if updates.send(Update::Decided { decision, answer }).is_err() {
                return;
            }
        }
        if round {
            let answer = source.snapshot().map(Box::new);
            reachable = answer.is_ok();
            if updates.send(Update::Snapshot(answer)).is_err() {
                return;
            }
        }
        if let Some(query) = flows.filter(|_| reachable) {
            let answer = source.flows(&query);
            if updates.send(Update::Flows { query, answer }).is_err() {
                return;
            }
        }
        if round {
            // Behind the answer: a source that is slow is not asked more often than it can tell.
            next_round = Instant::now() + interval;
        }
    }
}

#[cfg(test)]
mod tests;
