//! Instructions for a packet, counted by valgrind. The counts hardly vary, whatever else the machine does; they know
//! nothing of caches and nothing of the kernel.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::bench::Bench;
use crate::corpus::Corpus;
use crate::programs::Place;
use crate::report::{Row, Target};

/// Conversations in the smaller and in the larger of two files. What a run costs in any case is in both counts and so
/// not in their difference.
const FLOWS: (u32, u32) = (500, 2000);

/// What is counted: a file, whether a capture is written, whether all analysers write events, and the most that it may be: a tenth above what it was when this
/// was written, so that a step up is seen.
struct Case {
    what: &'static str,
    corpus: fn(u32) -> Corpus,
    write: bool,
    log: bool,
    most: f64,
}

const CASES: [Case; 6] = [
    Case { what: "HTTP and DNS", corpus: Corpus::benchmark_of, write: false, log: false, most: 960.0 },
    Case { what: "HTTP and DNS, with capture", corpus: Corpus::benchmark_of, write: true, log: false, most: 1480.0 },
    Case {
        what: "DNS, two packets a flow",
        corpus: |flows| Corpus::Dns { flows },
        write: false,
        log: false,
        most: 1390.0,
    },
    Case { what: "HTTP and DNS cut to 128 bytes, with capture", corpus: cut, write: true, log: false, most: 1390.0 },
    Case { what: "HTTP and DNS, with events", corpus: Corpus::benchmark_of, write: false, log: true, most: 2330.0 },
    Case { what: "HTTP and DNS without VXLAN", corpus: plain, write: false, log: false, most: 980.0 },
];

fn cut(flows: u32) -> Corpus {
    Corpus::Mixed { flows, vxlan: true, packet_length: 128 }
}

fn plain(flows: u32) -> Corpus {
    Corpus::Mixed { flows, vxlan: false, packet_length: 0 }
}

pub(super) fn run(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for Case { what, corpus, write, log, most } in CASES {
        let (file, few) = bench.corpus("instructions.pcap", corpus(FLOWS.0))?;
        let base = count(bench, &file, few.packets, (write, log))?;
        let (file, many) = bench.corpus("instructions.pcap", corpus(FLOWS.1))?;
        let whole = count(bench, &file, many.packets, (write, log))?;
        let each = (whole as f64 - base as f64) / (many.packets - few.packets) as f64;
        rows.push(Row::value(
            format!("instructions a packet: {what}"),
            format!("{each:.0}"),
            each,
            Some(Target::AtMost(most)),
        ));
    }
    Ok(rows)
}

fn count(bench: &Bench, file: &Path, packets: u64, (write, log): (bool, bool)) -> anyhow::Result<u64> {
    let directory = bench.directory()?;
    let summary = directory.path().join("summary.json");
    let collector = bench.command(&Place::default(), "vxtap-collector");
    let mut command = Place::default().command("valgrind".as_ref());
    command.arg("--tool=callgrind");
    command.arg(format!("--callgrind-out-file={}", directory.path().join("callgrind").display()));
    command.arg(collector.get_program()).arg("read").arg(file).args(["--workers", "1", "--steer-seed", "1"]);
    command.arg("--summary").arg(&summary);
    if write {
        command.arg("--write").arg(directory.path().join("captures"));
    }
    if log {
        command.arg("--log").arg(directory.path().join("log"));
    }
    let finished = bench.run(&mut command)?.success()?;
    crate::ledger::CollectorSummary::read(&summary)?.ensure_all(packets, write)?;
    let counted = collected(&finished.stderr).context("understand what valgrind says")?;
    ensure!(counted > 0, "valgrind counted nothing");
    Ok(counted)
}

/// The instructions that callgrind says it collected.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_callgrind_is_found() {
        assert_eq!(collected("==7== \n==7== Events    : Ir\n==7== Collected : 17625316\n==7== \n"), Some(17_625_316));
        assert_eq!(collected("==7== nothing\n"), None);
    }
}
