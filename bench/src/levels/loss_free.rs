//! The highest rate of trains over loopback that is received without loss, beside that of a trivial sink.

use crate::bench::Bench;
use crate::load::{Load, Path};
use crate::receiver::Receiver;
use crate::report::{Row, Target, Unit};
use crate::statistics::Samples;

const TARGET: Target = Target::AtLeast(0.6);
const TRIAL_SECONDS_MAX: u32 = 2;
/// Searches for each; more than a few of them say no more on a machine that others use.
const SEARCHES_MAX: u32 = 3;

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let collector = Receiver::Collector { write: false, flags: &[] };
    let sink = Receiver::Sink { gro: true, pause_us: 0 };
    let path = Path::loopback()?;
    let mut rows = Vec::new();
    for size in [200, 1400] {
        let (mut ours, mut sinks) = (Samples::default(), Samples::default());
        for _ in 0..bench.scale.rounds.min(SEARCHES_MAX) {
            ours.push(search(bench, &path, &collector, size)?);
            sinks.push(search(bench, &path, &sink, size)?);
        }
        let what = format!("run, 1 worker, {size} bytes, trains: rate without loss");
        rows.push(Row::ratio(what, Unit::PacketsPerSecond, &ours, ("GRO sink", &sinks), Some(TARGET)));
    }
    Ok(rows)
}

/// The highest rate at which a trial lost nothing: the sender's top speed, or what halving the interval finds below.
fn search(bench: &Bench, path: &Path, receiver: &Receiver, size: u32) -> anyhow::Result<f64> {
    let seconds = bench.scale.seconds.min(TRIAL_SECONDS_MAX);
    let load = |pps| Load { size, pps, seconds, trains: true };
    let top = load(None).offer(bench, path, receiver)?;
    if top.lost() == 0 {
        return Ok(top.sent.rate());
    }
    let (mut without_loss, mut with_loss) = (0.0, top.sent.rate());
    for _ in 0..bench.scale.search_trials {
        let rate = f64::midpoint(without_loss, with_loss);
        let trial = load(Some(rate as u64)).offer(bench, path, receiver)?;
        if trial.lost() == 0 {
            without_loss = trial.sent.rate();
        } else {
            with_loss = rate;
        }
    }
    Ok(without_loss)
}
