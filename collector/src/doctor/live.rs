//! A collector at work, by its ledger: what it loses, why most likely, and what mends it.
//!
//! Two snapshots tell what goes on now, which is a problem; what went on before is a hint.

mod cuts;

use vxtap_analyzers::DropReason;
use vxtap_analyzers::snapshot::Snapshot;

use super::{Check, Examination, Finding, Severity};

const NAME: &str = "live";
/// Share of frames at other workers than their owners from which handing over shows, in percent.
const MISDELIVERED_PERCENT: f64 = 5.0;
/// A collector that received nothing for so long is cut off.
const SILENCE_NS: u64 = 10_000_000_000;

/// See the module.
pub(super) struct Live;

impl Check for Live {
    fn look(&self, at: &Examination<'_>) -> Vec<Finding> {
        let Some((before, now)) = &at.live else { return Vec::new() };
        let pair = Pair { before, now, watched: at.watched() };
        let mut findings = Vec::new();
        findings.extend(silence(at, &pair));
        findings.extend(cuts::look(at, &pair));
        findings.extend(kernel_drops(at, &pair));
        findings.extend(drops(&pair));
        findings.extend(misdelivered(at, &pair));
        findings.extend(captures(&pair));
        findings.extend(log(&pair));
        findings.extend(flows(&pair));
        if findings.is_empty() {
            findings.push(Finding::good(NAME, format!("{} datagrams received, nothing lost", now.ledger.received)));
        }
        findings
    }
}

/// The same collector at two moments.
struct Pair<'a> {
    before: &'a Snapshot,
    now: &'a Snapshot,
    watched: String,
}

impl Pair<'_> {
    /// A counter's growth and its value.
    fn counter(&self, get: impl Fn(&Snapshot) -> u64) -> (u64, u64) {
        let now = get(self.now);
        // After a restart all of it is new.
        let same_run = self.before.started_ns == self.now.started_ns;
        (if same_run { now.saturating_sub(get(self.before)) } else { now }, now)
    }

    /// A problem if the counter grows, a hint if it once did; `what` is a noun with its verb: `frames were dropped`.
    fn graded(&self, counter: (u64, u64), what: &str) -> Option<Finding> {
        match counter {
            (0, 0) => None,
            (0, ever) => {
                Some(Finding::hint(NAME, format!("{ever} {what} since the run began, none in {}", self.watched)))
            }
            (now, ever) => Some(Finding::problem(NAME, format!("{now} {what} in {}, {ever} in all", self.watched))),
        }
    }
}

fn silence(at: &Examination<'_>, pair: &Pair<'_>) -> Option<Finding> {
    let Snapshot { taken_ns, started_ns, ledger, listeners, .. } = pair.now;
    let loud = ledger.received > 0 || ledger.kernel_dropped > 0;
    if loud || taken_ns.saturating_sub(*started_ns) < SILENCE_NS {
        return None;
    }
    let finding =
        Finding::problem(NAME, format!("nothing was received since the run began, on {}", listeners.join(", ")));
    let elsewhere = at.grown("Udp.NoPorts");
    let finding = match elsewhere {
        0 => finding,
        count => finding.mend_by(
            format!(
                "{count} datagrams came in {} to ports where nobody listens: compare the port of the mirror",
                pair.watched
            ),
            "",
        ),
    };
    Some(
        finding
            .mend_by("look whether it comes to this machine at all", "tcpdump -ni any -c 5 udp")
            .mend_by(
                "if not: the mirror session is off, its target is another, the balancer takes this machine for ill, or a security \
                 group keeps UDP out; if it does: a firewall here, the wrong port, or the reverse-path filter",
                "nft list ruleset",
            ),
    )
}

fn kernel_drops(at: &Examination<'_>, pair: &Pair<'_>) -> Option<Finding> {
    let dropped = pair.counter(|of| of.ledger.kernel_dropped);
    let finding = pair.graded(dropped, "datagrams were dropped by the kernel")?;
    let workers = &pair.now.workers;
    let worst = workers.iter().max_by_key(|worker| worker.ledger.kernel_dropped)?;
    let share = worst.ledger.kernel_dropped as f64 / dropped.1.max(1) as f64;
    let skewed = workers.len() > 1 && share > 2.0 / workers.len() as f64;
    let finding = finding.costs(if skewed {
        format!("{:.0} % of them at worker {}: more comes to it than to others.", 100.0 * share, worst.worker)
    } else {
        "A queue was full: the worker was slower than what came, or got no CPU for longer than the queue lasts."
            .to_owned()
    });
    let buffer = worst.receive_buffer >> 20;
    let finding = finding
        .mend_by(format!("a longer queue (worker {} has {buffer} MiB)", worst.worker), "--receive-buffer 256MiB");
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Some(if skewed {
        finding.mend_by(
            "few big flows keep to their workers; capture or analyse less of them",
            "--capture-flow-bytes 1MiB",
        )
    } else if workers.len() < cpus && at.settings.connect.is_some() {
        finding.mend_by("more workers", format!("--workers {cpus}"))
    } else {
        finding.mend_by(
            "less work for each packet, or a machine with more CPUs",
            "--capture-headers, --log-events flow,stats",
        )
    })
}

fn drops(pair: &Pair<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (reason, _) in pair.now.ledger.dropped.iter() {
        let dropped = pair.counter(|of| of.ledger.dropped.get(reason));
        // None of the mirror's, or kept out on purpose.
        if !reason.is_loss() && reason != DropReason::NotAdmitted {
            continue;
        }
        let Some(mut finding) = pair.graded(dropped, "datagrams were dropped") else { continue };
        if reason == DropReason::NotAdmitted {
            // As it was asked for; but somebody may wait for it.
            finding.severity = Severity::Hint;
        }
        let finding = finding.about(reason.as_str()).costs(reason.meaning().trim());
        findings.push(match reason {
            DropReason::HandOverFull => {
                finding.mend_by("one worker is behind: more workers, or less work for each packet", "--workers, --pin")
            }
            DropReason::NotAdmitted => finding.mend_by(
                "let in or keep out who waits: on the dashboard (4), over /v1/admission, or by",
                "--accept, --reject",
            ),
            DropReason::OuterFragment => finding
                .mend_by("have datagrams fit: raise the MTU on the way, or cut at the mirror (packet length)", "")
                .mend_by("or receive at a socket, where the kernel puts them together", "--listen vxlan://[::]:4789"),
            DropReason::GeneveUnknownCritical => {
                finding.mend_by("take them all the same, if you know who sends them", "--accept-unknown-critical")
            }
            _ => finding.mend_by(
                "something else than the mirror sends to this port; find out who",
                "tcpdump -nn -c 20 udp port 4789",
            ),
        });
    }
    findings
}

fn misdelivered(at: &Examination<'_>, pair: &Pair<'_>) -> Option<Finding> {
    let (now, _) = pair.counter(|of| of.ledger.misdelivered);
    let (received, _) = pair.counter(|of| of.ledger.received);
    let percent = 100.0 * now as f64 / received.max(1) as f64;
    if percent < MISDELIVERED_PERCENT {
        return None;
    }
    let finding = Finding::hint(NAME, format!("{percent:.0} % of the frames came to another worker than their flow's"))
        .costs("Each of them is copied to the worker that owns it, which costs about as much as receiving it.");
    let receive = &at.settings.run.receive;
    Some(if !receive.kernel_steering {
        finding.mend_by("let the kernel steer: leave out", "--no-kernel-steering")
    } else if receive.gro {
        finding.mend_by("trains of datagrams mix flows: have them come one by one, or one worker", "--no-gro")
    } else {
        finding.mend_by(
            "fragments, or headers that the kernel's program does not look through: fewer workers",
            "--workers 1",
        )
    })
}

fn captures(pair: &Pair<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let dropped = pair.counter(|of| of.ledger.capture_dropped);
    if let Some(finding) = pair.graded(dropped, "frames went uncaptured") {
        let capture = pair.now.capture.as_ref();
        let error = capture.and_then(|capture| capture.error.clone());
        let paused = capture.is_some_and(|capture| capture.kept.paused);
        let finding = finding.costs(match (&error, paused) {
            (Some(error), _) => format!("The disk says: {error}."),
            (None, true) => "Writing waits until enough space is free.".to_owned(),
            (None, false) => "The disk was slower than what was to be captured.".to_owned(),
        });
        findings.push(if error.is_some() || paused {
            finding.mend_by("make room, and have old captures deleted", "--keep-free 10GiB")
        } else {
            finding
                .mend_by("more room for bursts", "--capture-blocks 64, --capture-direct=false")
                .mend_by("capture less", "--capture-filter, --snaplen, --capture-headers or --capture-flow-bytes")
        });
    }
    let late = pair.counter(|of| of.capture.as_ref().map_or(0, |capture| capture.late));
    if let Some(finding) = pair.graded(late, "records came late into their file") {
        findings.push(
            finding
                .costs("A worker stood still for longer than others waited for it; the file is out of order there.")
                .mend_by("a CPU for each worker", "--pin")
                .mend_by("put a file into order", "reordercap IN.pcapng OUT.pcapng"),
        );
    }
    findings
}

fn log(pair: &Pair<'_>) -> Option<Finding> {
    let dropped = pair.counter(|of| of.log.as_ref().map_or(0, |log| log.events_dropped));
    let finding = pair.graded(dropped, "events went unlogged")?;
    let error = pair.now.log.as_ref().and_then(|log| log.error.clone());
    let finding = finding.costs(error.map_or_else(
        || "The disk was slower than what was to be logged.".to_owned(),
        |error| format!("The disk says: {error}."),
    ));
    Some(finding.mend_by("log less, and keep fewer files", "--log-events, --log-keep"))
}

fn flows(pair: &Pair<'_>) -> Option<Finding> {
    let evicted = pair.counter(|of| of.workers.iter().map(|worker| worker.flows_evicted).sum());
    let finding = pair.graded(evicted, "flows were given up before their end")?;
    let most: u64 = pair.now.workers.iter().map(|worker| worker.flows_max).sum();
    Some(
        finding
            .costs(format!("The tables have room for {most} flows, and more are under way: a scan, or a big network."))
            .mend_by("more room (some 300 bytes a flow)", format!("--flow-max {}", (4 * most).max(1 << 20))),
    )
}

#[cfg(test)]
mod tests;
