//! Beside a run: signals, and a status line a second where somebody looks.

use std::io::{self, IsTerminal as _, Write as _};
use std::process;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::report::Status;
use crate::control::Control;

const INTERVAL: Duration = Duration::from_secs(1);
/// The second signal does not wait for the summary, so the run has failed.
const STOPPED_AT_ONCE: i32 = 1;
/// Carriage return, and erase to the end of the line.
const CLEAR_LINE: &str = "\r\x1b[K";

/// A thread that watches until it is dropped.
pub(super) struct Watch {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Turns the first SIGINT or SIGTERM into a stop of `control`, and the second into the end of the process; SIGHUP into
    /// a [reload](Control::reload), where there is anything to read again.
    pub(super) fn start(control: Arc<Control>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _guard = runtime.enter();
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
        };
        let [interrupt, terminate, hang_up] = signals;
        let (interrupt, terminate, hang_up) = (interrupt?, terminate?, hang_up?);
        let (end, ended) = oneshot::channel();
        let watch = move || runtime.block_on(watch(&control, interrupt, terminate, hang_up, ended));
        let thread = thread::Builder::new().name("watch".to_owned()).spawn(watch)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            // The receiver is gone only if the thread is.
            let _ = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn watch(
    control: &Control,
    mut interrupt: Signal,
    mut terminate: Signal,
    mut hang_up: Signal,
    mut ended: oneshot::Receiver<()>,
) {
    let is_shown = io::stderr().is_terminal();
    let start = Instant::now();
    let (mut before, mut before_at) = (control.progress(), start);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + INTERVAL, INTERVAL);
    let mut shown = false;
    loop {
        tokio::select! {
            _ = &mut ended => break,
            _ = interrupt.recv() => stop(control),
            _ = terminate.recv() => stop(control),
            _ = hang_up.recv() => if !control.reload() { stop(control) },
            _ = ticks.tick(), if is_shown => {
                let (now, at) = (control.progress(), Instant::now());
                let status = Status { elapsed: at - start, now, before, interval: at - before_at };
                let _ = write!(io::stderr(), "{CLEAR_LINE}{status}");
                (before, before_at, shown) = (now, at, true);
            }
        }
    }
    if shown {
        let _ = write!(io::stderr(), "{CLEAR_LINE}");
    }
}

fn stop(control: &Control) {
    if control.is_stopped() {
        process::exit(STOPPED_AT_ONCE);
    }
    control.stop();
}
