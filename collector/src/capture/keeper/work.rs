//! The keeper's thread: takes messages, looks, and starts the jobs, each in a thread of its own.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use vxtap_index::Whole;

use super::compress::{Compression, Unfinished};
use super::hook::Run;
use super::kept::Kept;
use super::torn::Look;
use super::{ClosedCapture, NO_ROOM, QUEUE_FULL, QUEUE_MESSAGES, Shared};

/// So many messages are taken between two looks.
const MESSAGES_AT_ONCE: usize = 64;

/// How long to wait for jobs that were told to give up: one whose process the system cannot end does not hold up the end.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at jobs that were told to give up.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// What the writer says.
#[derive(Debug)]
pub(super) enum Message {
    Opened(String),
    Closed(ClosedCapture),
    /// It waits for room.
    Short,
}

/// What a job says at its end.
enum Done {
    Looked(Arc<Look>, io::Result<Whole>),
    Compressed(Arc<Compression>, Result<(), Unfinished>),
    Hooked(Arc<Run>, Result<(), String>),
}

/// Until the sender of `messages` is gone and what is due is done.
pub(super) fn work(mut kept: Kept, messages: Receiver<Message>, shared: &Shared) {
    // One look, one compression and one hook at a time, so a job never waits to say that it is done.
    let (done, ended) = bounded(3);
    let mut messages = messages;
    let jobs = Jobs { done };
    let mut deadline: Option<Instant> = None;
    loop {
        let mut wait = kept.look();
        let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if is_over {
            kept.cancel();
        } else {
            jobs.start(&mut kept);
        }
        shared.publish(&kept, messages.len());
        if let Some(deadline) = deadline {
            let is_given_up = Instant::now() >= deadline + GIVE_UP_WITHIN;
            if kept.is_done() || (is_over && kept.is_idle()) || is_given_up {
                break;
            }
            wait = wait.min(deadline.saturating_duration_since(Instant::now()).max(SHORTEST_WAIT));
        }
        select! {
            recv(messages) -> message => if let Ok(message) = message {
                take(&mut kept, message);
                messages.try_iter().take(MESSAGES_AT_ONCE).for_each(|message| take(&mut kept, message));
            } else {
                messages = never();
                kept.close_all();
                let is_orderly = shared.orderly.load(Ordering::Relaxed);
                deadline = Some(Instant::now() + if is_orderly { shared.finish_within } else { Duration::ZERO });
            },
            recv(ended) -> done => match done {
                Ok(Done::Looked(look, result)) => kept.looked(&look, result),
                Ok(Done::Compressed(compression, result)) => kept.compressed(&compression, result),
                Ok(Done::Hooked(run, result)) => kept.hooked(&run, result),
                Err(_) => {}
            },
            default(wait) => {}
        }
    }
    kept.end();
    shared.publish(&kept, 0);
}

fn take(kept: &mut Kept, message: Message) {
    match message {
        Message::Opened(name) => kept.opened(&name),
        Message::Closed(closed) => kept.closed(&closed),
        // The look that comes next is what it wants.
        Message::Short => {}
    }
}

impl Shared {
    /// Shows others how things are.
    fn publish(&self, kept: &Kept, waiting: usize) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone_from(kept.status());
        *self.torn.lock().unwrap_or_else(PoisonError::into_inner) = kept.torn();
        if kept.is_paused() {
            self.hold.fetch_or(NO_ROOM, Ordering::Relaxed);
        } else {
            self.hold.fetch_and(!NO_ROOM, Ordering::Relaxed);
        }
        if waiting <= QUEUE_MESSAGES / 4 {
            self.hold.fetch_and(!QUEUE_FULL, Ordering::Relaxed);
        }
    }
}

/// The jobs that are under way.
struct Jobs {
    done: Sender<Done>,
}

impl Jobs {
    /// Starts what is due and can be begun.
    fn start(&self, kept: &mut Kept) {
        if let Some(job) = kept.next_look().map(Arc::new) {
            let of_thread = Arc::clone(&job);
            let run = move || Done::Looked(Arc::clone(&of_thread), of_thread.run());
            if let Err(error) = self.spawn("vxtap-mend", run) {
                kept.looked(&job, Err(error));
            }
        }
        if let Some(job) = kept.next_compression().map(Arc::new) {
            let of_thread = Arc::clone(&job);
            let run = move || Done::Compressed(Arc::clone(&of_thread), of_thread.run());
            if let Err(error) = self.spawn("vxtap-compress", run) {
                kept.compressed(&job, Err(error.into()));
            }
        }
        if let Some(job) = kept.next_hook().map(Arc::new) {
            let of_thread = Arc::clone(&job);
            let run = move || Done::Hooked(Arc::clone(&of_thread), of_thread.run());
            if let Err(error) = self.spawn("vxtap-hook", run) {
                kept.hooked(&job, Err(format!("the hook for '{}' cannot be started: {error}", job.name)));
            }
        }
    }

    fn spawn(&self, name: &str, job: impl FnOnce() -> Done + Send + 'static) -> io::Result<()> {
        let done = self.done.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            // There is always room. Nobody takes it where the keeper has given up.
            let _ = done.send(job());
        })?;
        Ok(())
    }
}
