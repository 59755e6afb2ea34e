//! CPU of the receiver of trains over loopback, for each packet that it received. At a fixed rate trains are short: the
//! sender sends what is due.

use crate::bench::Bench;
use crate::load::{Load, Path};
use crate::receiver::Receiver;
use crate::report::{Row, Target, Unit};
use crate::statistics::Samples;

/// Frame sizes, and rates that both can take; then as much as the sender can, with the longest trains.
const LOADS: [(u32, Option<u64>); 4] = [(200, Some(800_000)), (1400, Some(400_000)), (200, None), (1400, None)];
const TARGET: Target = Target::AtMost(3.0);

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let flows = Receiver::Collector { write: false, flags: &[] };
    let captures = Receiver::Collector { write: true, flags: &[] };
    let sink = Receiver::Sink { gro: true, pause_us: 0 };
    let path = Path::loopback()?;
    let mut rows = Vec::new();
    for (size, pps) in LOADS {
        let load = Load { size, pps, seconds: bench.scale.seconds, trains: true };
        let [mut ours, mut writing, mut sinks, mut lens] = [(); 4].map(|()| Samples::default());
        for _ in 0..bench.scale.rounds {
            for (receiver, samples) in [(&flows, &mut ours), (&captures, &mut writing), (&sink, &mut sinks)] {
                let trial = load.offer(bench, &path, receiver)?;
                samples.push(trial.nanos());
                lens.push(trial.sent.train_len());
            }
        }
        let rate = pps.map_or_else(|| "top speed".into(), |pps| format!("{pps}/s"));
        for (what, samples, target) in [("run", ours, Some(TARGET)), ("run --write", writing, None)] {
            let len = lens.median();
            let what = format!("{what}, 1 worker, {size} bytes at {rate}, trains of {len:.0}: CPU a packet");
            rows.push(Row::ratio(what, Unit::Nanos, &samples, ("GRO sink", &sinks), target));
        }
    }
    Ok(rows)
}
