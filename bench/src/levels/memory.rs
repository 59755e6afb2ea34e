//! Memory of the collector: a million established flows, and five million against a bound of one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::bench::{Bench, LIMIT};
use crate::corpus::Corpus;
use crate::ledger::CollectorSummary;
use crate::process::wait_for;
use crate::programs::Place;
use crate::report::{Row, Target};

/// The most that a million established flows may add, in MB.
const ESTABLISHED_MOST: f64 = 400.0;
/// The most that five times as many may take as the bound allows.
const FLAT: Target = Target::AtMost(1.1);
const TIMES: u32 = 5;
const LOOK: Duration = Duration::from_millis(5);

struct Peak {
    memory: u64,
    summary: CollectorSummary,
}

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let flows = bench.scale.flows_in_memory;
    let (file, _) = bench.corpus("memory.pcap", Corpus::Established { flows: 1 })?;
    let empty = peak(bench, &file, flows, false)?;
    let (file, written) = bench.corpus("memory.pcap", Corpus::Established { flows })?;
    let established = peak(bench, &file, flows, false)?;
    established.summary.ensure_all(written.packets, false)?;
    let Peak { memory, summary } = &established;
    ensure!(summary.flows == written.flows && summary.evicted() == 0, "{} flows, not {flows}", summary.flows);
    let growth = memory.saturating_sub(empty.memory) as f64;
    let most = ESTABLISHED_MOST * f64::from(flows) / 1e6;

    let many = flows * TIMES;
    let (file, written) = bench.corpus("memory.pcap", Corpus::Opening { flows: many })?;
    // At the bound and no further, and five times as far: what is logged takes memory too, so both log.
    let (short, _) = bench.corpus("memory-bound.pcap", Corpus::Opening { flows })?;
    let bound = peak(bench, &short, flows, true)?;
    let beyond = peak(bench, &file, flows, true)?;
    beyond.summary.ensure_all(written.packets, false)?;
    let log = beyond.summary.log.clone().context("it logged")?;
    let ratio = beyond.memory as f64 / bound.memory as f64;
    let evicted = beyond.summary.evicted();
    let millions = |flows: u32| format!("{} million", f64::from(flows) / 1e6);
    let row = |value: &str| format!("{} flows against a bound of {}: {value}", millions(many), millions(flows));
    Ok(vec![
        Row::value(
            format!("{} established TCP flows: memory that they add, MB", millions(flows)),
            format!("{:.0} MB, {:.0} bytes a flow", growth / 1e6, growth / f64::from(flows)),
            growth / 1e6,
            Some(Target::AtMost(most)),
        ),
        Row::value(
            row("memory, beside that at the bound"),
            format!("{:.0} MB: {ratio:.2}", beyond.memory as f64 / 1e6),
            ratio,
            Some(FLAT),
        ),
        Row::check(
            row("evictions counted"),
            format!("{evicted} evicted"),
            evicted == u64::from(many) - u64::from(flows),
        ),
        Row::check(
            row("flow records for all"),
            format!("{} flows, {} events, {} more dropped", beyond.summary.flows, log.events, log.events_dropped),
            beyond.summary.flows == u64::from(many) && log.events >= u64::from(many),
        ),
    ])
}

/// Reads `file` with a bound of `flows_max` and looks at the collector's own memory all the time.
fn peak(bench: &Bench, file: &Path, flows_max: u32, log: bool) -> anyhow::Result<Peak> {
    let directory = bench.directory()?;
    let summary = directory.path().join("summary.json");
    let mut command = bench.command(&Place::default(), "vxtap-collector");
    command.arg("read").arg(file).args(["--workers", "1", "--flow-max", &flows_max.to_string()]);
    command.arg("--summary").arg(&summary);
    if log {
        command.arg("--log").arg(directory.path().join("log"));
    }
    let mut running = bench.start(&mut command)?;
    let mut memory = 0;
    wait_for(LIMIT, "the collector to read a file", || {
        memory = memory.max(running.own_memory().unwrap_or(0));
        std::thread::sleep(LOOK);
        Ok(running.has_ended()?.then_some(()))
    })?;
    running.finish(LIMIT)?.success()?;
    Ok(Peak { memory, summary: CollectorSummary::read(&summary)? })
}
