//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once. SIGHUP may be handled too.

use std::thread;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code after the second signal: 128 and the number of SIGINT, as shells count.
const KILLED: i32 = 130;

/// What is done at each SIGHUP.
pub(crate) type HangUp = Box<dyn Fn() + Send>;

/// Calls `first` at the first signal, in a thread of its own; the second one ends the process. Calls `hang_up` at each SIGHUP;
/// without it a SIGHUP does what it does to any process.
pub(crate) fn on_signal(first: impl FnOnce() + Send + 'static, hang_up: Option<HangUp>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("start the signal handler")?;
    // Registered here, so that a signal is handled from the moment that this function returns.
    let (mut interrupt, mut terminate, mut hung_up) = {
        let _entered = runtime.enter();
        let register = |kind| signal(kind).context("register the signal handler");
        let hung_up = hang_up.as_ref().map(|_| register(SignalKind::hangup())).transpose()?;
        (register(SignalKind::interrupt())?, register(SignalKind::terminate())?, hung_up)
    };
    let wait = move || {
        let mut first = Some(first);
        runtime.block_on(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    () = next(hung_up.as_mut()) => {
                        if let Some(hang_up) = &hang_up {
                            hang_up();
                        }
                        continue;
                    }
                }
                match first.take() {
                    Some(first) => first(),
                    None => std::process::exit(KILLED),
                }
            }
        });
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).context("start the signal handler's thread")?;
    Ok(())
}

/// Waits for the next of these signals; for ever where they are not listened to.
async fn next(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
