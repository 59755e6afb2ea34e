//! Programs that receive what the sender sends: the collector, trivial sinks, tcpdump. Each gives what it received, what
//! the kernel dropped in front of it, and what it used; a trial counts only if that adds up to what was sent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use crate::bench::Bench;
use crate::kernel::CpuTime;
use crate::ledger::CollectorSummary;
use crate::namespaces::DEVICE;
use crate::process::{Running, wait_for};
use crate::programs::Place;
use crate::sink::SinkSummary;

/// For what is still queued when the sender has ended.
const DRAIN: Duration = Duration::from_secs(30);
/// The most datagrams of one train: the kernel's bound.
const TRAIN_MAX: u64 = 128;

/// What receives.
#[derive(Clone, Debug)]
pub(crate) enum Receiver {
    /// `vxtap-collector run --workers 1` with more flags, with or without captures.
    Collector {
        /// Whether captures are written.
        write: bool,
        /// More flags.
        flags: &'static [&'static str],
    },
    /// A trivial sink.
    Sink {
        /// Whether it takes trains.
        gro: bool,
        /// How long it sleeps after a batch that was not full, in microseconds.
        pause_us: u32,
    },
    /// `tcpdump -w`.
    Tcpdump,
}

/// A receiver under way.
pub(crate) struct Receiving {
    pub(crate) running: Running,
    receiver: Receiver,
    summary: PathBuf,
    /// Has the port while tcpdump looks on, so that nobody tells the sender that it is closed; stands still.
    _bystander: Option<Running>,
    /// Captures of this run; gone with it.
    _captures: tempfile::TempDir,
}

/// What a receiver came to.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) received: u64,
    /// What the kernel dropped for want of room, by its own count: a dropped train counts once.
    pub(crate) kernel_dropped: u64,
    pub(crate) cpu: CpuTime,
    pub(crate) collector: Option<CollectorSummary>,
}

impl Receiver {
    /// Starts it in `place` on `address`, and waits until it receives.
    pub(crate) fn start(&self, bench: &Bench, place: &Place, address: SocketAddr) -> anyhow::Result<Receiving> {
        let captures = match &place.small_directory {
            Some((parent, _)) => {
                std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
                bench.directory()?
            }
            None => bench.directory()?,
        };
        let written = place.small_directory.as_ref().map_or(captures.path(), |(directory, _)| directory);
        let summary = captures.path().join("summary.json");
        let port = address.port();
        let mut bystander = None;
        let running = match self {
            Self::Collector { write, flags } => {
                let mut command = bench.command(place, "vxtap-collector");
                command.args([
                    "run",
                    "--workers",
                    "1",
                    "--api",
                    "none",
                    "--drain",
                    "0s",
                    "--listen",
                    &format!("vxlan://{address}"),
                ]);
                command.args(*flags).arg("--summary").arg(&summary);
                if *write {
                    command.arg("--write").arg(written.join("captures"));
                }
                let mut running = bench.start(&mut command)?;
                running.wait_until_bound("vxtap-collector", port)?;
                running
            }
            Self::Sink { gro, pause_us } => start_sink(bench, place, address, *gro, *pause_us)?,
            Self::Tcpdump => {
                let sink = start_sink(bench, place, address, false, 0)?;
                sink.signal(Signal::STOP)?;
                bystander = Some(sink);
                let mut command = place.command("tcpdump".as_ref());
                // Root stays root: the file is in a directory that nobody else may write to.
                command.args(["-n", "-Z", "root", "-i", DEVICE, "-w"]).arg(captures.path().join("tcpdump.pcap"));
                command.args(["udp", "dst", "port", &port.to_string()]);
                let mut running = bench.start(&mut command)?;
                running
                    .wait_until("listening", |running| Ok(running.stderr().contains("listening on").then_some(())))?;
                running
            }
        };
        Ok(Receiving { running, receiver: self.clone(), summary, _bystander: bystander, _captures: captures })
    }
}

fn start_sink(bench: &Bench, place: &Place, address: SocketAddr, gro: bool, pause_us: u32) -> anyhow::Result<Running> {
    let own = std::env::current_exe().context("find the benchmark's own program")?;
    let mut command = place.command(&own);
    command.args(["sink", "--listen", &address.to_string(), "--pause-us", &pause_us.to_string()]);
    if gro {
        command.arg("--gro");
    }
    let mut running = bench.start(&mut command)?;
    running.wait_until_bound("vxtap-bench", address.port())?;
    Ok(running)
}

impl Receiving {
    /// Ends it when it has taken everything, and reconciles with what was `sent`, in trains or not.
    ///
    /// The kernel counts a train that it drops once. The collector says how many drops may have been trains; of a sink that takes
    /// trains all may. Anything else that is missing is an imbalance.
    pub(crate) fn finish(self, sent: u64, sent_trains: bool) -> anyhow::Result<Received> {
        let sink_of_trains = sent_trains && matches!(self.receiver, Receiver::Sink { gro: true, .. });
        let received = self.end(sent)?;
        let lost = sent.checked_sub(received.received).context("more was received than was sent")?;
        let dropped = received.kernel_dropped;
        let in_doubt = match &received.collector {
            Some(summary) => summary.kernel_dropped_trains,
            None if sink_of_trains => dropped,
            None => 0,
        };
        let balanced = (dropped..=dropped + in_doubt * (TRAIN_MAX - 1)).contains(&lost);
        ensure!(
            balanced,
            "the ledger does not balance: sent {sent}, received {}, the kernel dropped {dropped}",
            received.received
        );
        Ok(received)
    }

    fn end(self, sent: u64) -> anyhow::Result<Received> {
        match &self.receiver {
            Receiver::Collector { .. } => {
                let finished = self.running.stop(DRAIN)?.success()?;
                let summary = CollectorSummary::read(&self.summary)?;
                Ok(Received {
                    received: summary.received,
                    kernel_dropped: summary.kernel_dropped,
                    cpu: finished.cpu,
                    collector: Some(summary),
                })
            }
            Receiver::Sink { .. } => {
                let finished = self.running.stop(DRAIN)?.success()?;
                let SinkSummary { received, kernel_dropped } =
                    serde_json::from_str(&finished.stdout).context("understand what the sink says")?;
                Ok(Received { received, kernel_dropped, cpu: finished.cpu, collector: None })
            }
            Receiver::Tcpdump => {
                // It writes what it has when its ring's block is full or old; it tells how far it is on SIGUSR1.
                wait_for(DRAIN, "tcpdump to see everything", || {
                    self.running.signal(Signal::USR1)?;
                    std::thread::sleep(Duration::from_millis(20));
                    let seen = tcpdump_counts(&self.running.stderr());
                    Ok(seen.filter(|(captured, dropped)| captured + dropped >= sent))
                })?;
                let finished = self.running.stop(DRAIN)?.success()?;
                let (received, kernel_dropped) =
                    tcpdump_counts(&finished.stderr).context("understand what tcpdump says")?;
                Ok(Received { received, kernel_dropped, cpu: finished.cpu, collector: None })
            }
        }
    }
}

/// Packets captured and packets dropped, as tcpdump said last.
fn tcpdump_counts(said: &str) -> Option<(u64, u64)> {
    let last = |what: &str| {
        let before = said.rmatch_indices(what).map(|(at, _)| &said[..at]).next()?;
        before.trim_end().rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some((
        last("packets captured").or_else(|| last("packet captured"))?,
        last("packets dropped by kernel").or_else(|| last("packet dropped by kernel"))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_counts_of_tcpdump_are_taken() {
        let said = "tcpdump: listening on veth0\n3 packets captured, 5 packets received by filter, 0 packets dropped by kernel\n\
                    60 packets captured\n70 packets received by filter\n10 packets dropped by kernel\n";
        assert_eq!(tcpdump_counts(said), Some((60, 10)));
        assert_eq!(tcpdump_counts("listening"), None);
        assert_eq!(
            tcpdump_counts("1 packet captured, 1 packet received by filter, 0 packets dropped by kernel"),
            Some((1, 0))
        );
    }
}
