//! The summary at the end of a run: the ledger as one JSON object, and as lines for people.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::Access;
use rustix::io::Errno;
use serde::Serialize;
use thiserror::Error;
use vxtap_analyzers::dedup::PairDuplicates;
use vxtap_analyzers::losses::StreamLoss;
use vxtap_analyzers::snapshot::{CaptureSnapshot, DuplicatePair, LogSnapshot, WorkerSnapshot};
use vxtap_analyzers::{Imbalance, Ledger, StreamId};

use crate::capture::CutFrames;
use crate::follow::FollowerTotals;
use crate::log::Stats;
use crate::pipeline::PipelineTotals;
use crate::settings::SummaryTarget;
use crate::streams::StreamRegistry;

/// What a run came to. Its JSON keys are part of the command contract.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// All workers together.
    #[serde(flatten)]
    pub ledger: Ledger,
    /// Frames captured without their end, by choice.
    #[serde(flatten)]
    pub cut: CutFrames,
    /// What followers of the live capture got and missed.
    #[serde(flatten)]
    pub followers: FollowerTotals,
    /// How long the run was, in seconds.
    pub seconds: f64,
    /// Mirror streams seen.
    pub streams: u64,
    /// Datagrams that vxtap's senders numbered and that did not come; `null` where none numbers them.
    pub lost: Option<u64>,
    /// What became of the datagrams of each stream that has numbers, most losses first; at most [`Summary::MAX_LOSSES`].
    pub losses: Vec<LossSummary>,
    /// Capture files; `null` without `--write`.
    pub capture: Option<CaptureSnapshot>,
    /// Logs; `null` without `--log`.
    pub log: Option<LogSnapshot>,
    /// Copies of packets by the mirror streams that they came by, most first.
    pub duplicate_pairs: Vec<DuplicatePair>,
    /// Each worker.
    pub workers: Vec<WorkerSummary>,
}

/// One worker's part of a [`Summary`].
#[derive(Clone, Debug, Serialize)]
pub struct WorkerSummary {
    /// Number, from 0.
    pub worker: u32,
    /// Its part of the ledger.
    #[serde(flatten)]
    pub ledger: Ledger,
    /// Frames captured without their end, by choice.
    #[serde(flatten)]
    pub cut: CutFrames,
    /// Flows ended before their time because the table was full.
    pub flows_evicted: u64,
    /// Frames in no flow: neither IPv4 nor IPv6.
    pub not_ip: u64,
    /// Frames whose end a mirror cut off.
    pub truncated: u64,
    /// Frames with a header that contradicts itself.
    pub malformed: u64,
    /// Frames with more tunnels in each other than are looked through.
    pub too_deep: u64,
}

/// The summaries of all workers: what each one's pipeline left, and what the writer wrote and did not write of it.
pub(crate) fn workers(totals: Vec<PipelineTotals>, captured: &[(u64, u64)]) -> Vec<WorkerSummary> {
    let summary = |(worker, PipelineTotals { mut ledger, shard, cut, .. }): (usize, PipelineTotals)| {
        (ledger.captured, ledger.capture_dropped) = captured.get(worker).copied().unwrap_or_default();
        WorkerSummary {
            worker: worker as u32,
            ledger,
            cut,
            flows_evicted: shard.flows_evicted,
            not_ip: shard.not_ip,
            truncated: shard.truncated,
            malformed: shard.malformed,
            too_deep: shard.too_deep,
        }
    };
    totals.into_iter().enumerate().map(summary).collect()
}

/// What several workers have counted for each pair, by the streams' names, most copies first.
pub(crate) fn duplicate_pairs<'a>(
    pairs: impl IntoIterator<Item = &'a PairDuplicates>,
    streams: &StreamRegistry,
) -> Vec<DuplicatePair> {
    let mut sums: HashMap<(StreamId, StreamId), u64> = HashMap::new();
    for PairDuplicates { first, second, duplicates } in pairs {
        *sums.entry((*first, *second)).or_default() += duplicates;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable_by_key(|(pair, duplicates)| (std::cmp::Reverse(*duplicates), *pair));
    sums.truncate(DuplicatePair::MAX_PAIRS);
    let named = |((first, second), duplicates)| DuplicatePair {
        first: streams.name(first),
        second: streams.name(second),
        duplicates,
    };
    sums.into_iter().map(named).collect()
}

impl WorkerSummary {
    /// As it would be if the run ended here.
    pub(crate) fn so_far(worker: &WorkerSnapshot, cut: CutFrames) -> Self {
        Self {
            worker: worker.worker,
            ledger: worker.ledger,
            cut,
            flows_evicted: worker.flows_evicted,
            not_ip: worker.not_ip,
            truncated: worker.truncated,
            malformed: worker.malformed,
            too_deep: worker.too_deep,
        }
    }
}

/// What became of one mirror stream on its way here.
#[derive(Clone, Debug, Serialize)]
pub struct LossSummary {
    /// Name of the stream.
    pub stream: String,
    /// Its datagrams.
    #[serde(flatten)]
    pub loss: StreamLoss,
}

impl Summary {
    /// At most so many streams are listed with their losses.
    pub const MAX_LOSSES: usize = 1000;

    /// Adds the workers up.
    pub(crate) fn new(workers: Vec<WorkerSummary>, seconds: f64, registry: &StreamRegistry) -> Self {
        let (mut ledger, mut cut) = (Ledger::default(), CutFrames::default());
        for worker in &workers {
            ledger.merge(&worker.ledger);
            cut.merge(&worker.cut);
        }
        let mut losses: Vec<_> = registry.stream_losses().into_iter().collect();
        losses.sort_by_key(|(stream, loss)| (std::cmp::Reverse(loss.lost), *stream));
        losses.truncate(Self::MAX_LOSSES);
        let summary = |(stream, loss)| LossSummary { stream: registry.name(stream), loss };
        Self {
            ledger,
            cut,
            followers: FollowerTotals::default(),
            seconds,
            streams: registry.len() as u64,
            lost: registry.loss().map(|loss| loss.lost),
            losses: losses.into_iter().map(summary).collect(),
            capture: None,
            log: None,
            duplicate_pairs: Vec::new(),
            workers,
        }
    }

    /// The same as the log has it, while the log is as in `log`.
    pub(crate) fn stats(&self, log: Option<&LogSnapshot>) -> Stats {
        let uptime = Duration::try_from_secs_f64(self.seconds).unwrap_or_default();
        Stats::of(self.workers.clone(), uptime).with(0, self.streams, log).with_followers(self.followers)
    }

    /// Checks the ledger of the whole and of each worker.
    pub fn check(&self) -> Result<(), Imbalance> {
        self.workers.iter().try_for_each(|worker| worker.ledger.check_worker())?;
        self.ledger.check()
    }

    /// Three lines for people.
    pub fn lines(&self) -> String {
        let ledger = &self.ledger;
        let mut text = format!(
            "received {} = analysed {} + dropped {}; the kernel dropped {}\n\
             analysed {} = captured {} + capture dropped {} + not captured {}\n\
             {} flows on {} mirror streams, {} misdelivered, in {:.1} s",
            ledger.received,
            ledger.analysed,
            ledger.dropped.total(),
            ledger.kernel_dropped,
            ledger.analysed,
            ledger.captured,
            ledger.capture_dropped,
            ledger.not_captured,
            ledger.flows,
            self.streams,
            ledger.misdelivered,
            self.seconds,
        );
        if ledger.kernel_dropped_trains > 0 {
            let _ = write!(
                text,
                "\n{} of what the kernel dropped may have been several datagrams each; with CAP_BPF or --no-gro each is counted",
                ledger.kernel_dropped_trains
            );
        }
        if self.cut.frames > 0 {
            let CutFrames { frames, bytes } = self.cut;
            let _ = write!(text, "\n{frames} were captured without their last {bytes} bytes together, by choice");
        }
        if self.followers.dropped > 0 {
            let FollowerTotals { followers, dropped, .. } = self.followers;
            let _ = write!(text, "\n{dropped} records went past the {followers} followers that were too slow");
        }
        if let Some(lost) = self.lost {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{lost} lost on the way, by the numbers of the senders");
        }
        for (reason, count) in ledger.dropped.iter().filter(|(_, count)| *count > 0) {
            let _ = write!(text, "\ndropped {count}: {reason} ({})", reason.meaning().trim());
        }
        text
    }
}

/// A file that cannot be where the summary is to go.
#[derive(Debug, Error)]
#[error("cannot write the summary to '{}': {source}", path.display())]
pub(crate) struct NoPlace {
    path: PathBuf,
    source: io::Error,
}

/// Sees before a run begins whether its summary can be written at the end, as far as that shows without touching the file: a run
/// of weeks is not to end with no account of it.
pub(crate) fn see_place(target: Option<&SummaryTarget>) -> Result<(), NoPlace> {
    let Some(SummaryTarget::File(path)) = target else { return Ok(()) };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let seen = match rustix::fs::access(path, Access::WRITE_OK) {
        Ok(()) if path.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Err(Errno::NOENT) => rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from),
        seen => seen.map_err(io::Error::from),
    };
    seen.map_err(|source| NoPlace { path: path.clone(), source })
}

/// Writes `summary` as one JSON object to `target`.
pub fn write(summary: &impl Serialize, target: &SummaryTarget) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec(summary).context("put the summary into JSON")?;
    json.push(b'\n');
    match target {
        SummaryTarget::Stdout => {
            std::io::stdout().lock().write_all(&json).context("write the summary to standard output")
        }
        SummaryTarget::File(path) => {
            std::fs::write(path, json).with_context(|| format!("write the summary to {}", path.display()))
        }
    }
}
