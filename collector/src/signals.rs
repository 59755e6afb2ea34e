//! SIGINT and SIGTERM: what they ask for is decided by whoever registers. SIGHUP may be handled too.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

/// Exit code of a program that signals ended at once: 128 and the number of SIGINT, as shells count.
const KILLED: i32 = 130;

/// What is done at each SIGHUP.
pub(crate) type HangUp = Box<dyn Fn() + Send>;

/// Something that asks for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// SIGINT: somebody at a terminal.
    Interrupt,
    /// SIGTERM: a manager of services.
    Terminate,
    /// The time that [`Then::Call`] gave is over.
    TimeOver,
}

/// What is to be done after an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing until the next signal.
    Wait,
    /// [`Event::TimeOver`] after this time, unless another event comes first.
    Call(Duration),
    /// The process ends at once.
    Exit,
}

/// Has `asked` decide what each signal does, in a thread of its own. Calls `hang_up` at each SIGHUP; without it a SIGHUP does what
/// it does to any process.
pub(crate) fn on_signal(
    mut asked: impl FnMut(Event) -> Then + Send + 'static,
    hang_up: Option<HangUp>,
) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the signal handler")?;
    // Registered here, so that a signal is handled from the moment that this function returns.
    let (mut interrupt, mut terminate, mut hung_up) = {
        let _entered = runtime.enter();
        let register = |kind| signal(kind).context("register the signal handler");
        let hung_up = hang_up.as_ref().map(|_| register(SignalKind::hangup())).transpose()?;
        (register(SignalKind::interrupt())?, register(SignalKind::terminate())?, hung_up)
    };
    let wait = move || {
        runtime.block_on(async move {
            let mut call_at = None;
            loop {
                let event = tokio::select! {
                    _ = interrupt.recv() => Event::Interrupt,
                    _ = terminate.recv() => Event::Terminate,
                    () = at(call_at) => Event::TimeOver,
                    () = next(hung_up.as_mut()) => {
                        if let Some(hang_up) = &hang_up {
                            hang_up();
                        }
                        continue;
                    }
                };
                call_at = match asked(event) {
                    Then::Wait => None,
                    Then::Call(after) => Some(Instant::now() + after),
                    Then::Exit => std::process::exit(KILLED),
                };
            }
        });
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).context("start the signal handler's thread")?;
    Ok(())
}

/// Waits for that moment; for ever where there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Waits for the next of these signals; for ever where they are not listened to.
async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
