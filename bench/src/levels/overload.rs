//! More than a worker can take, and a disk that is full: nothing may be lost without being counted.

use std::time::Duration;

use anyhow::Context as _;

use crate::bench::{Bench, SENDER_CPU};
use crate::load::{Load, Path, Trial};
use crate::programs::Place;
use crate::receiver::Receiver;
use crate::report::{Row, Target};

/// How much more must be offered than is taken.
const TIMES: Target = Target::AtLeast(3.0);
/// The collector gets what is left of the sender's CPU, so that the sender can offer far more than it takes.
const STANDS_BACK: u8 = 15;
/// What is offered in which way to a collector with which flags; the buffer is soon full.
const CASES: [(&str, bool, &[&str]); 3] = [
    ("plain", false, &["--receive-buffer", "1MiB"]),
    ("trains, --no-gro", true, &["--receive-buffer", "1MiB", "--no-gro"]),
    ("trains", true, &["--receive-buffer", "1MiB"]),
];
const DISK_BYTES: u64 = 64 << 20;
const DISK_PPS: u64 = 60_000;

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (how, trains, flags) in CASES {
        let Trial { sent, received } = overload(bench, trains, flags)?;
        let times = sent.sent as f64 / received.received as f64;
        let seconds = Duration::from_secs_f64(sent.seconds).as_secs();
        rows.push(Row::value(
            format!("overload for {seconds} s, {how}: packets offered beside packets taken"),
            format!("{times:.1}"),
            times,
            Some(TIMES),
        ));
        let missing = sent.sent - received.received;
        let dropped = received.kernel_dropped;
        let in_doubt = received.collector.as_ref().map_or(0, |collector| collector.kernel_dropped_trains);
        let shown = format!(
            "{} = {} + {missing}, of which the kernel counted {dropped}, {in_doubt} of them perhaps trains",
            sent.sent, received.received
        );
        let what = format!("overload, {how}: sent = received + dropped by the kernel");
        rows.push(if missing > dropped {
            // Reconciled already: only a receiver that takes trains may come here.
            Row::note(format!("{what} (a train that is dropped counts once)"), shown)
        } else {
            Row::check(what, shown, missing == dropped)
        });
    }
    rows.extend(full_disk(bench)?);
    Ok(rows)
}

fn overload(bench: &Bench, trains: bool, flags: &'static [&'static str]) -> anyhow::Result<Trial> {
    let collector = Receiver::Collector { write: true, flags };
    let mut path = Path::loopback()?;
    path.receiver = Place { nice: Some(STANDS_BACK), ..Place::on_cpu(SENDER_CPU) };
    Load { size: 200, pps: None, seconds: bench.scale.overload_seconds, trains }.offer(bench, &path, &collector)
}

/// A file system of 64 MB fills while packets come.
fn full_disk(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let collector = Receiver::Collector { write: true, flags: &[] };
    let mut path = Path::loopback()?;
    path.receiver.small_directory = Some((bench.path("small"), DISK_BYTES));
    let load = Load { size: 1400, pps: Some(DISK_PPS), seconds: bench.scale.seconds, trains: false };
    let trial = load.offer(bench, &path, &collector)?;
    let lost = trial.lost();
    let summary = trial.received.collector.context("the collector's summary")?;
    let shown = format!("captured {}, capture dropped {}", summary.captured, summary.capture_dropped);
    let filled = summary.captured > 0 && summary.capture_dropped > 0;
    Ok(vec![
        Row::check("capturing into 64 MB that fill: receiving loses nothing", format!("{lost} lost"), lost == 0),
        Row::check("capturing into 64 MB that fill: what is not written is counted", shown, filled),
    ])
}
