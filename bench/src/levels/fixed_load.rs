//! CPU of the receiver at a fixed rate of plain datagrams across a veth pair.

use crate::bench::Bench;
use crate::load::{Load, Path};
use crate::namespaces::Link;
use crate::programs::installed;
use crate::receiver::Receiver;
use crate::report::{Row, Target, Unit};
use crate::statistics::Samples;

const PPS: u64 = 60_000;
const TARGET: Target = Target::AtMost(1.0);

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut peers = vec![
        ("recvmmsg sink", Receiver::Sink { gro: false, pause_us: 0 }, Some(TARGET)),
        ("sink that pauses 0.5 ms", Receiver::Sink { gro: false, pause_us: 500 }, None),
    ];
    if installed("tcpdump") {
        peers.push(("tcpdump -w", Receiver::Tcpdump, None));
    }
    let collector = Receiver::Collector { write: true, flags: &[] };
    // Wakes four times less often, and its packet times are that much coarser.
    let patient = Receiver::Collector { write: true, flags: &["--coalesce", "2ms"] };
    let mut rows = Vec::new();
    for size in [200, 1400] {
        let link = Link::open()?;
        let path = Path::across(&link)?;
        let load = Load { size, pps: Some(PPS), seconds: bench.scale.seconds, trains: false };
        let (mut ours, mut patients) = (Samples::default(), Samples::default());
        let mut theirs = vec![Samples::default(); peers.len()];
        let mut lost = 0;
        for _ in 0..bench.scale.rounds {
            let trial = load.offer(bench, &path, &collector)?;
            lost += trial.lost();
            if let Some(summary) = &trial.received.collector {
                lost += summary.capture_dropped;
            }
            ours.push(trial.nanos());
            patients.push(load.offer(bench, &path, &patient)?.nanos());
            for ((_, peer, _), samples) in peers.iter().zip(&mut theirs) {
                samples.push(load.offer(bench, &path, peer)?.nanos());
            }
        }
        let what = format!("run --write, 1 worker, {size} bytes at {PPS}/s, plain: CPU a packet");
        for ((name, _, target), samples) in peers.iter().zip(&theirs) {
            rows.push(Row::ratio(what.clone(), Unit::Nanos, &ours, (name, samples), *target));
        }
        let what = format!("run --write --coalesce 2ms, 1 worker, {size} bytes at {PPS}/s, plain: CPU a packet");
        if let Some(((name, ..), samples)) = peers.iter().zip(&theirs).next() {
            rows.push(Row::ratio(what, Unit::Nanos, &patients, (name, samples), None));
        }
        let what = format!("run --write, 1 worker, {size} bytes at {PPS}/s, plain: nothing lost");
        rows.push(Row::check(what, format!("{lost} lost"), lost == 0));
    }
    Ok(rows)
}
