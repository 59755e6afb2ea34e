//! What a collector uses that has nothing to do: two workers, captures, logs and the API on.

use std::time::{Duration, Instant};

use crate::bench::{Bench, LIMIT};
use crate::ledger::CollectorSummary;
use crate::load::Path;
use crate::programs::Place;
use crate::report::{Row, Target};

/// In percent of one core.
const TARGET: Target = Target::AtMost(1.0);

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let directory = bench.directory()?;
    let summary = directory.path().join("summary.json");
    let address = Path::loopback()?.address;
    let mut command = bench.command(&Place::default(), "vxtap-collector");
    command.args([
        "run",
        "--workers",
        "2",
        "--drain",
        "0s",
        "--api",
        "127.0.0.1:0",
        "--listen",
        &format!("vxlan://{address}"),
    ]);
    command.arg("--write").arg(directory.path().join("captures"));
    command.arg("--log").arg(directory.path().join("log")).arg("--summary").arg(&summary);
    let mut running = bench.start(&mut command)?;
    running.wait_until_bound("vxtap-collector", address.port())?;
    let begun = Instant::now();
    // This wait is what is measured.
    std::thread::sleep(Duration::from_secs(bench.scale.idle_seconds.into()));
    let idle = begun.elapsed();
    let finished = running.stop(LIMIT)?.success()?;
    CollectorSummary::read(&summary)?.ensure_all(0, true)?;
    let percent = 100.0 * finished.cpu.total().as_secs_f64() / idle.as_secs_f64();
    Ok(vec![Row::value(
        format!("idle for {} s, start and end included: percent of a core", idle.as_secs()),
        format!("{percent:.2}"),
        percent,
        Some(TARGET),
    )])
}
