//! Reading a capture file from memory, beside tools that do less.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::bench::Bench;
use crate::corpus::{Corpus, Written};
use crate::process::Finished;
use crate::programs::{Place, installed};
use crate::report::{Row, Target, Unit};
use crate::statistics::Samples;

/// The most CPU that reading may take, beside a plain copy by tcpdump.
const FLOWS_TARGET: Target = Target::AtMost(0.45);
const CAPTURE_TARGET: Target = Target::AtMost(1.0);
/// The most time that two workers may take, beside one.
const WORKERS_TARGET: Target = Target::AtMost(0.6);

/// One thing that is done with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// Ours: with or without capture, by so many workers.
    Read { write: bool, workers: u32 },
    /// `tcpdump -r in -w out`: a plain copy.
    Tcpdump,
    /// `editcap -C 50`: cuts the envelope off and copies.
    Editcap,
    /// `softflowd -r`: flows only, knows no VXLAN.
    Softflowd,
}

use Variant::{Editcap, Read, Softflowd, Tcpdump};

/// CPU and time of each round, in nanoseconds a packet.
#[derive(Clone, Debug)]
struct Measured {
    variant: Variant,
    cpu: Samples,
    wall: Samples,
}

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (file, packets, flows) = input(bench)?;
    let mut variants = vec![
        Read { write: false, workers: 1 },
        Read { write: true, workers: 1 },
        Read { write: false, workers: 2 },
        Read { write: true, workers: 2 },
    ];
    for (variant, tool) in [(Tcpdump, "tcpdump"), (Editcap, "editcap"), (Softflowd, "softflowd")] {
        if installed(tool) {
            variants.push(variant);
        }
    }
    let fresh = |variant| Measured { variant, cpu: Samples::default(), wall: Samples::default() };
    let mut measured: Vec<_> = variants.into_iter().map(fresh).collect();
    for _ in 0..bench.scale.rounds {
        for Measured { variant, cpu, wall } in &mut measured {
            let finished = variant.run(bench, &file, packets, flows)?;
            cpu.push(finished.cpu.total().as_nanos() as f64 / packets as f64);
            wall.push(finished.wall.as_nanos() as f64 / packets as f64);
        }
    }
    rows(&measured)
}

/// The file, its packets, and its flows where they are known: one that `VXTAP_BENCH_PCAP` names, or one made now.
fn input(bench: &Bench) -> anyhow::Result<(PathBuf, u64, Option<u64>)> {
    if let Some(named) = std::env::var_os("VXTAP_BENCH_PCAP") {
        let file = PathBuf::from(named);
        let packets = bench.read(&file, &["--workers", "1"])?.summary.received;
        return Ok((file, packets, None));
    }
    let flows = bench.scale.flows;
    let corpus = if flows == 60_000 { Corpus::BENCHMARK } else { Corpus::benchmark_of(flows) };
    let (file, Written { packets, flows }) = bench.corpus("benchmark.pcap", corpus)?;
    Ok((file, packets, Some(flows)))
}

fn rows(measured: &[Measured]) -> anyhow::Result<Vec<Row>> {
    let find = |variant| measured.iter().find(|measured| measured.variant == variant);
    let ours = |write, workers| find(Read { write, workers }).context("ours was measured");
    let mut rows = Vec::new();
    for (peer, name) in [(Tcpdump, "tcpdump -r -w"), (Editcap, "editcap -C 50"), (Softflowd, "softflowd -r")] {
        let Some(peer) = find(peer) else { continue };
        for (write, what, target) in [(false, "flows only", FLOWS_TARGET), (true, "flows and pcapng", CAPTURE_TARGET)] {
            if peer.variant == Softflowd && write {
                continue;
            }
            let target = (peer.variant == Tcpdump).then_some(target);
            let what = format!("read, {what}, 1 worker: CPU a packet");
            rows.push(Row::ratio(what, Unit::Nanos, &ours(write, 1)?.cpu, (name, &peer.cpu), target));
        }
    }
    for (write, what) in [(false, "flows only"), (true, "flows and pcapng")] {
        let what = format!("read, {what}, 2 workers: time a packet");
        let one = ("1 worker", &ours(write, 1)?.wall);
        rows.push(Row::ratio(what, Unit::Nanos, &ours(write, 2)?.wall, one, Some(WORKERS_TARGET)));
    }
    Ok(rows)
}

impl Variant {
    fn run(self, bench: &Bench, file: &Path, packets: u64, flows: Option<u64>) -> anyhow::Result<Finished> {
        let directory = bench.directory()?;
        let out = directory.path().join("out");
        match self {
            Read { write, workers } => {
                let workers = workers.to_string();
                let mut words = vec!["--workers", &workers];
                let out = out.to_string_lossy();
                if write {
                    words.extend(["--write", &out]);
                }
                let run = bench.read(file, &words)?;
                run.summary.ensure_all(packets, write)?;
                let found = run.summary.flows;
                ensure!(flows.is_none_or(|flows| flows == found), "{found} flows were found, not {flows:?}");
                Ok(run.finished)
            }
            Tcpdump => {
                let mut command = peer("tcpdump");
                let finished = bench.run(command.args(["-n", "-Z", "root", "-r"]).arg(file).arg("-w").arg(&out))?;
                let finished = finished.success()?;
                ensure!(len(&out)? == len(file)?, "tcpdump's copy is not as long as the file");
                Ok(finished)
            }
            Editcap => {
                let finished = bench.run(peer("editcap").args(["-F", "pcap", "-C", "50"]).arg(file).arg(&out))?;
                let finished = finished.success()?;
                ensure!(len(&out)? == len(file)? - 50 * packets, "editcap's file has not the length that it should");
                Ok(finished)
            }
            Softflowd => {
                let mut command = peer("softflowd");
                // In the foreground, room for all flows, no control socket; the records go to nobody.
                command.args(["-d", "-m", "1000000", "-c", "none", "-p"]).arg(directory.path().join("pid"));
                bench.run(command.arg("-r").arg(file))?.success()
            }
        }
    }
}

fn peer(name: &str) -> Command {
    Place::default().command(name.as_ref())
}

fn len(file: &Path) -> anyhow::Result<u64> {
    Ok(std::fs::metadata(file).with_context(|| format!("look at {}", file.display()))?.len())
}
