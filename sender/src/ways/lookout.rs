//! Looks at the way to a target while a capture runs: a VPN may come up, or a route change.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Ways;

/// How often. So long a loop may last that a new route makes.
const INTERVAL: Duration = Duration::from_secs(1);

/// A thread that looks until it is dropped.
pub(crate) struct Lookout {
    is_hidden: Arc<AtomicBool>,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lookout {
    /// Looks at the way from `sources` to `target`.
    pub(crate) fn start(ways: Ways, sources: Vec<SocketAddr>, target: SocketAddr) -> io::Result<Self> {
        Self::start_every(INTERVAL, ways, sources, target)
    }

    fn start_every(
        interval: Duration,
        mut ways: Ways,
        sources: Vec<SocketAddr>,
        target: SocketAddr,
    ) -> io::Result<Self> {
        let is_hidden = Arc::new(AtomicBool::new(false));
        let (end, ended) = channel::<()>();
        let told = Arc::clone(&is_hidden);
        let look = move || {
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let found = ways.check(&sources, target);
                let was_hidden = told.swap(found.is_err(), Ordering::Relaxed);
                match found {
                    Err(hidden) if !was_hidden => {
                        tracing::warn!("no copies go to {target} until this is mended: {hidden}");
                    }
                    Ok(()) if was_hidden => tracing::warn!("copies go to {target} again"),
                    _ => {}
                }
            }
        };
        let thread = std::thread::Builder::new().name("ways".to_owned()).spawn(look)?;
        Ok(Self { is_hidden, end: Some(end), thread: Some(thread) })
    }

    /// Whether a tunnel on the way hides copies in what is captured, so that none may be sent.
    #[inline]
    pub(crate) fn is_hidden(&self) -> bool {
        self.is_hidden.load(Ordering::Relaxed)
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that looks at the way to the target panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_is_hidden_for_a_while_is_seen_and_its_end_as_well() {
        let vpn = Arc::new(AtomicBool::new(false));
        let ways = Ways::through_vpn_while(&vpn);
        let target = "10.9.0.2:4789".parse().unwrap();
        let lookout = Lookout::start_every(Duration::from_millis(1), ways, Vec::new(), target).unwrap();
        assert!(!lookout.is_hidden());
        for is_up in [true, false, true] {
            vpn.store(is_up, Ordering::Relaxed);
            let until = std::time::Instant::now() + Duration::from_secs(20);
            while lookout.is_hidden() != is_up {
                assert!(std::time::Instant::now() < until, "the way was not looked at");
                std::thread::yield_now();
            }
        }
    }
}
