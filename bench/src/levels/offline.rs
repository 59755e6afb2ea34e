//! Reading a capture file from memory, beside tools that do less.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
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
/// The same with all analysers and EVE.
const EVENTS_TARGET: Target = Target::AtMost(0.7);
/// The most memory that this may take, bytes.
const EVENTS_MEMORY_TARGET: Target = Target::AtMost(150e6);
/// The most time that two workers may take, beside one.
const WORKERS_TARGET: Target = Target::AtMost(0.6);

/// One thing that is done with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// Ours, by so many workers.
    Read { kept: Kept, workers: u32 },
    /// `tcpdump -r in -w out`: a plain copy.
    Tcpdump,
    /// `editcap -C 50`: cuts the envelope off and copies.
    Editcap,
    /// `softflowd -r`: flows only, knows no VXLAN.
    Softflowd,
}

use Variant::{Editcap, Read, Softflowd, Tcpdump};

/// What is kept of what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Nothing: flows are followed.
    Flows,
    /// A capture.
    Capture,
    /// Events of all kinds, made by all analysers.
    Events,
}

impl Kept {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Flows => "flows only",
            Self::Capture => "flows and pcapng",
            Self::Events => "all analysers and EVE",
        }
    }

    const fn target(self) -> Target {
        match self {
            Self::Flows => FLOWS_TARGET,
            Self::Capture => CAPTURE_TARGET,
            Self::Events => EVENTS_TARGET,
        }
    }
}

use Kept::{Capture, Events, Flows};

/// CPU and time of each round, in nanoseconds a packet.
#[derive(Clone, Debug)]
struct Measured {
    variant: Variant,
    cpu: Samples,
    wall: Samples,
    /// Bytes.
    peak_memory: Samples,
}

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let (file, packets, flows) = input(bench)?;
    // One worker and two side by side: a virtual machine's second CPU is slower for a while after it had nothing to do.
    let mut variants = vec![
        Read { kept: Flows, workers: 1 },
        Read { kept: Flows, workers: 2 },
        Read { kept: Capture, workers: 1 },
        Read { kept: Capture, workers: 2 },
        Read { kept: Events, workers: 1 },
    ];
    for (variant, tool) in [(Tcpdump, "tcpdump"), (Editcap, "editcap"), (Softflowd, "softflowd")] {
        if installed(tool) {
            variants.push(variant);
        }
    }
    let fresh = |variant| {
        let (cpu, wall, peak_memory) = Default::default();
        Measured { variant, cpu, wall, peak_memory }
    };
    let mut measured: Vec<_> = variants.into_iter().map(fresh).collect();
    for _ in 0..bench.scale.rounds {
        for Measured { variant, cpu, wall, peak_memory } in &mut measured {
            let finished = variant.run(bench, &file, packets, flows)?;
            cpu.push(finished.cpu.total().as_nanos() as f64 / packets as f64);
            wall.push(finished.wall.as_nanos() as f64 / packets as f64);
            peak_memory.push(finished.peak_memory as f64);
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
    let ours = |kept, workers| find(Read { kept, workers }).context("ours was measured");
    let mut rows = Vec::new();
    for (peer, name) in [(Tcpdump, "tcpdump -r -w"), (Editcap, "editcap -C 50"), (Softflowd, "softflowd -r")] {
        let Some(peer) = find(peer) else { continue };
        for kept in [Flows, Capture, Events] {
            if peer.variant == Softflowd && kept != Flows {
                continue;
            }
            let target = (peer.variant == Tcpdump).then_some(kept.target());
            let what = format!("read, {}, 1 worker: CPU a packet", kept.as_str());
            rows.push(Row::ratio(what, Unit::Nanos, &ours(kept, 1)?.cpu, (name, &peer.cpu), target));
        }
    }
    let memory = ours(Events, 1)?.peak_memory.median();
    let what = format!("read, {}, 1 worker: memory at the most", Events.as_str());
    rows.push(Row::value(what, format!("{:.0} MB", memory / 1e6), memory, Some(EVENTS_MEMORY_TARGET)));
    for kept in [Flows, Capture] {
        let what = format!("read, {}, 2 workers: time a packet", kept.as_str());
        let one = ("1 worker", &ours(kept, 1)?.wall);
        rows.push(Row::ratio(what, Unit::Nanos, &ours(kept, 2)?.wall, one, Some(WORKERS_TARGET)));
    }
    Ok(rows)
}

impl Variant {
    fn run(self, bench: &Bench, file: &Path, packets: u64, flows: Option<u64>) -> anyhow::Result<Finished> {
        let directory = bench.directory()?;
        let out = directory.path().join("out");
        match self {
            Read { kept, workers } => {
                let workers = workers.to_string();
                let mut words = vec!["--workers", &workers];
                let out = out.to_string_lossy();
                match kept {
                    Flows => {}
                    Capture => words.extend(["--write", &out]),
                    Events => words.extend(["--log", &out]),
                }
                let run = bench.read(file, &words)?;
                run.summary.ensure_all(packets, kept == Capture)?;
                let found = run.summary.flows;
                ensure!(flows.is_none_or(|flows| flows == found), "{found} flows were found, not {flows:?}");
                if let (Events, Some(flows)) = (kept, flows) {
                    let found = events(&directory.path().join("out/eve.json"))?;
                    let expected = Corpus::benchmark_events(flows);
                    ensure!(found == expected, "the log has {found:?}, not {expected:?}");
                }
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

/// How many events of each type the log in `file` has, without those about the run itself.
fn events(file: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let open = || File::open(file).with_context(|| format!("open {}", file.display()));
    let mut counts = BTreeMap::new();
    for line in BufReader::new(open()?).lines() {
        let line = line.with_context(|| format!("read {}", file.display()))?;
        let kind = line.split_once("\"event_type\":\"").and_then(|(_, rest)| rest.split_once('"'));
        let (kind, _) = kind.with_context(|| format!("find the type of {line}"))?;
        if kind != "stats" {
            *counts.entry(kind.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

fn peer(name: &str) -> Command {
    Place::default().command(name.as_ref())
}

fn len(file: &Path) -> anyhow::Result<u64> {
    Ok(std::fs::metadata(file).with_context(|| format!("look at {}", file.display()))?.len())
}
