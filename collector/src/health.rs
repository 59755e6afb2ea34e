//! Whether the collector should get traffic: seen several times a second by a thread of its own, told to load balancers over
//! HTTP and to the service manager.
//!
//! The thread waits for nobody: it reads counters that workers and writers store, asks the kernel how full the sockets' queues
//! are, and never takes a lock that the data path holds for longer than a copy. So it goes on telling when a worker, a disk or
//! the API does not.

mod observer;
mod proxy_header;
mod readiness;
mod server;
mod telling;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use vxtap_analyzers::snapshot::{HealthSnapshot, RunState};

use crate::end::End;
pub(crate) use observer::{CaptureWatch, Observer};
pub(crate) use readiness::CaptureSeen;
use readiness::Readiness;
pub use readiness::{Cause, ReadinessRules};
use telling::Stage;
pub(crate) use telling::Telling;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The same until all workers have run.
const FIRST_LOOKS: Duration = Duration::from_millis(5);

/// Why the health port cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    /// The address cannot be bound.
    #[error("cannot serve the health port on {address}: {}: choose another with --health", crate::api::reason(cause))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said; part of the text already, so not its source.
        cause: io::Error,
    },
    /// Its thread cannot be started.
    #[error("cannot start the thread that looks after the collector's health: {0}")]
    Start(io::Error),
}

/// A health port that has its address and does not answer yet.
#[derive(Debug)]
pub(crate) struct HealthPort {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl HealthPort {
    /// Takes `address`.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, HealthError> {
        let bound = TcpListener::bind(address).and_then(Self::new);
        bound.map_err(|cause| HealthError::Bind { address, cause })
    }

    /// A port that a service manager has opened.
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }
}

/// What is known of a collector's health. Asking never blocks for longer than a copy.
#[derive(Debug)]
pub(crate) struct HealthState {
    end: End,
    /// A [`RunState`].
    state: AtomicU8,
    started: AtomicBool,
    readiness: Mutex<Readiness>,
    visits: Visits,
}

/// Who came to the health port.
#[derive(Debug, Default)]
struct Visits {
    connections: AtomicU64,
    requests: AtomicU64,
    evicted: AtomicU64,
}

impl HealthState {
    /// A collector that starts and that `end` tells to end.
    pub(crate) fn new(rules: ReadinessRules, end: End) -> Self {
        Self {
            end,
            state: AtomicU8::new(RunState::Running as u8),
            started: AtomicBool::new(false),
            readiness: Mutex::new(Readiness::new(rules)),
            visits: Visits::default(),
        }
    }

    /// The run has come to `state`.
    pub(crate) fn set_state(&self, state: RunState) {
        self.state.store(state as u8, Ordering::SeqCst);
    }

    /// What the collector is doing.
    pub(crate) fn state(&self) -> RunState {
        let states = [RunState::Starting, RunState::Running, RunState::Draining, RunState::Stopped];
        let state = self.state.load(Ordering::SeqCst);
        match states.into_iter().find(|candidate| *candidate as u8 == state).unwrap_or_default() {
            // At once, and not only when somebody looks.
            RunState::Running if self.end.is_near() => RunState::Draining,
            RunState::Running if !self.started.load(Ordering::SeqCst) => RunState::Starting,
            state => state,
        }
    }

    fn stage(&self) -> Stage {
        let started = self.started.load(Ordering::SeqCst);
        Stage { state: self.state(), started, finishing: self.is_finishing() }
    }

    /// Whether it receives no more.
    fn is_finishing(&self) -> bool {
        self.state.load(Ordering::SeqCst) != RunState::Running as u8
    }

    /// Whether it should get traffic.
    pub(crate) fn snapshot(&self) -> HealthSnapshot {
        let state = self.state();
        let readiness = self.readiness();
        let not_ready = readiness.not_ready(state);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HealthSnapshot {
            ready: not_ready.is_empty(),
            not_ready,
            changes: readiness.changes(),
            connections: count(&self.visits.connections),
            requests: count(&self.visits.requests),
            evicted: count(&self.visits.evicted),
        }
    }

    fn readiness(&self) -> MutexGuard<'_, Readiness> {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that looks and tells; ends when dropped.
#[derive(Debug)]
pub(crate) struct Health {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Health {
    /// Begins to look through `observer`, to answer at `port` if there is one, and to tell the service manager.
    pub(crate) fn start(
        state: Arc<HealthState>,
        observer: Observer,
        port: Option<HealthPort>,
        telling: Telling,
    ) -> Result<Self, HealthError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(HealthError::Start)?;
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("vxtap-health".into())
            .spawn(move || {
                runtime.block_on(async {
                    let serving = server::serve(port, Arc::clone(&state), stopped.clone());
                    let looking = look(&state, observer, telling, stopped);
                    tokio::join!(serving, looking);
                });
            })
            .map_err(HealthError::Start)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the health thread panicked");
        }
    }
}

async fn look(state: &HealthState, mut observer: Observer, mut telling: Telling, mut stopped: watch::Receiver<bool>) {
    let begun = Instant::now();
    let mut was_ready = None;
    loop {
        let ended = *stopped.borrow();
        let seen = observer.look();
        if !state.is_finishing() {
            // Workers that have ended are no stall.
            let mut readiness = state.readiness();
            readiness.observe(begun.elapsed(), &seen);
            state.started.store(readiness.is_started(), Ordering::SeqCst);
        }
        let health = state.snapshot();
        telling.tell(begun.elapsed(), state.stage(), &health, &seen);
        if was_ready.replace(health.ready).is_some_and(|was| was != health.ready) {
            note(&health);
        }
        if ended {
            return;
        }
        let pause = if state.started.load(Ordering::SeqCst) { LOOK } else { FIRST_LOOKS };
        let _ = tokio::time::timeout(pause, stopped.changed()).await;
    }
}

/// Says what has changed.
fn note(health: &HealthSnapshot) {
    match health.not_ready.first() {
        None => tracing::info!("ready for traffic"),
        // What somebody asked for is no news.
        Some(reason) if [Cause::Draining, Cause::Stopped].iter().any(|cause| cause.as_str() == reason.cause) => {}
        Some(_) => tracing::warn!("not ready for traffic: {}", words(health)),
    }
}

/// What speaks against sending traffic, in one line; empty where nothing does.
pub(crate) fn words(health: &HealthSnapshot) -> String {
    health.not_ready.iter().map(|reason| reason.detail.as_str()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
