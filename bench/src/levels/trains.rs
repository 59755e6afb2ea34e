//! CPU of the receiver at a fixed rate of trains over loopback.

use crate::bench::Bench;
use crate::load::{Load, Path};
use crate::receiver::Receiver;
use crate::report::{Row, Target, Unit};
use crate::statistics::Samples;

/// Frame sizes, and rates that both can take.
const LOADS: [(u32, u64); 2] = [(200, 800_000), (1400, 400_000)];
const TARGET: Target = Target::AtMost(3.0);

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let flows = Receiver::Collector { write: false, flags: &[] };
    let captures = Receiver::Collector { write: true, flags: &[] };
    let sink = Receiver::Sink { gro: true, pause_us: 0 };
    let path = Path::loopback()?;
    let mut rows = Vec::new();
    for (size, pps) in LOADS {
        let load = Load { size, pps: Some(pps), seconds: bench.scale.seconds, trains: true };
        let [mut ours, mut writing, mut sinks] = [(); 3].map(|()| Samples::default());
        for _ in 0..bench.scale.rounds {
            for (receiver, samples) in [(&flows, &mut ours), (&captures, &mut writing), (&sink, &mut sinks)] {
                samples.push(load.offer(bench, &path, receiver)?.nanos());
            }
        }
        for (what, samples, target) in [("run", ours, Some(TARGET)), ("run --write", writing, None)] {
            let what = format!("{what}, 1 worker, {size} bytes at {pps}/s, trains: CPU a packet");
            rows.push(Row::ratio(what, Unit::Nanos, &samples, ("GRO sink", &sinks), target));
        }
    }
    Ok(rows)
}
