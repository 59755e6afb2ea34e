//! Emptying a socket that was filled while its reader stood still: what receiving costs by itself, with no sender beside
//! it. The reader is stopped, the socket filled, the reader continued; counted is the CPU time until it sleeps again.

use std::time::Duration;

use anyhow::ensure;
use rustix::process::Signal;

use crate::bench::Bench;
use crate::load::{Load, Path};
use crate::process::{SOON, wait_for};
use crate::receiver::{Receiver, Receiving};
use crate::report::{Row, Target, Unit};
use crate::statistics::Samples;

/// Packets of one filling: they fit the receive buffer that a system grants to everybody.
const PACKETS: u32 = 2048;
/// A reader that used no CPU for so long sleeps.
const QUIET: Duration = Duration::from_millis(20);
/// The most that trains may cost, beside the sink.
const TRAINS_TARGET: Target = Target::AtMost(3.0);

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (trains, size) in [(false, 200), (false, 1400), (true, 200), (true, 1400)] {
        let collector = Receiver::Collector { write: false, flags: &[] };
        let sink = Receiver::Sink { gro: trains, pause_us: 0 };
        let mut samples = [Samples::default(), Samples::default()];
        for (receiver, samples) in [collector, sink].iter().zip(&mut samples) {
            *samples = drains(bench, receiver, size, trains)?;
        }
        // The least of many: what disturbs a drain can only add to it.
        let [ours, sinks] = samples.map(|samples| Samples::from_iter([samples.least()]));
        let how = if trains { "trains" } else { "plain" };
        let what = format!("emptying a socket, {size} bytes, {how}: CPU a packet, best of {}", bench.scale.fills);
        rows.push(Row::ratio(what, Unit::Nanos, &ours, ("recvmmsg sink", &sinks), trains.then_some(TRAINS_TARGET)));
    }
    Ok(rows)
}

fn drains(bench: &Bench, receiver: &Receiver, size: u32, trains: bool) -> anyhow::Result<Samples> {
    let path = Path::loopback()?;
    let receiving = receiver.start(bench, &path.receiver, path.address)?;
    let mut samples = Samples::default();
    let mut sent = 0;
    for _ in 0..bench.scale.fills {
        let before = quiet(&receiving)?;
        receiving.running.signal(Signal::STOP)?;
        let load = Load { size, pps: None, seconds: 0, trains };
        let filled = load.send_packets(bench, &path, PACKETS)?;
        sent += filled.sent;
        let queued = receiving.running.receive_queue(path.address.port());
        ensure!(queued.is_some_and(|queued| queued > 0), "nothing is queued though {} were sent", filled.sent);
        receiving.running.signal(Signal::CONT)?;
        wait_for(SOON, "the socket to be empty", || {
            Ok((receiving.running.receive_queue(path.address.port()) == Some(0)).then_some(()))
        })?;
        let used = quiet(&receiving)?.saturating_sub(before);
        samples.push(used.as_nanos() as f64 / filled.sent as f64);
    }
    let received = receiving.finish(sent, trains)?;
    ensure!(received.received == sent, "{} of {sent} did not fit the receive buffer", sent - received.received);
    Ok(samples)
}

/// The CPU time when it does not grow any more.
fn quiet(receiving: &Receiving) -> anyhow::Result<Duration> {
    let mut last = receiving.running.cpu_so_far()?;
    wait_for(SOON, "the receiver to sleep", || {
        std::thread::sleep(QUIET);
        let now = receiving.running.cpu_so_far()?;
        Ok((std::mem::replace(&mut last, now) == now).then_some(now))
    })
}
