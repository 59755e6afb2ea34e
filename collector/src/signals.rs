//! SIGINT and SIGTERM: the first asks for an orderly end, the second ends at once.

use std::thread;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

/// Exit code after the second signal: 128 and the number of SIGINT, as shells count.
const KILLED: i32 = 130;

/// Calls `first` at the first signal, in a thread of its own; the second one ends the process.
pub(crate) fn on_signal(first: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("start the signal handler")?;
    // Registered here, so that a signal is handled from the moment that this function returns.
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        let register = |kind| signal(kind).context("register the signal handler");
        (register(SignalKind::interrupt())?, register(SignalKind::terminate())?)
    };
    let wait = move || {
        let mut first = Some(first);
        runtime.block_on(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
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
