//! `vxtap-bench`: measures vxtap beside trivial receivers and the tools that are installed, and reports ratios.
//!
//! Everything that is compared runs in turn, in one run and on one machine; every measurement reconciles its ledger, or it
//! is no result. `BENCHMARKS.md` tells what the levels are and what came out.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

mod bench;
mod corpus;
mod kernel;
mod ledger;
mod levels;
mod load;
mod namespaces;
mod options;
mod process;
mod programs;
mod receiver;
mod report;
mod sink;
mod statistics;

use bench::Bench;
use options::{Options, Role};
use report::Report;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.role {
        Some(Role::Sink(sink)) => run_sink(sink),
        None => measure(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("vxtap-bench: {error:#}");
        ExitCode::FAILURE
    })
}

fn run_sink(options: &sink::SinkOptions) -> anyhow::Result<ExitCode> {
    let summary = sink::run(options)?;
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, &summary).context("say what was received")?;
    stdout.flush().context("say what was received")?;
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Options) -> anyhow::Result<ExitCode> {
    let bench = Bench::new(options.scale(), &options.scratch)?;
    println!("{}", machine());
    let mut report = Report::default();
    for level in options.levels() {
        let name = level.name();
        if let Some(obstacle) = levels::obstacle(*level) {
            report.skip(&name, &obstacle);
            continue;
        }
        eprintln!("{name} …");
        match levels::run(*level, &bench) {
            Ok(rows) => report.add(rows),
            Err(error) => report.fail(&name, &error),
        }
    }
    println!("{report}");
    println!("Load at the end: {}. Targets missed: {}.", load_average(), report.missed());
    let good = report.counts() && (!options.strict || report.missed() == 0);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The machine and what is compared with, in some lines.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map_or("?", |(_, name)| name);
    let kernel = read("/proc/sys/kernel/osrelease");
    let mut text = format!(
        "Machine: {} x {}, Linux {}. Load at the start: {}.\n",
        programs::cpus(),
        model.trim(),
        kernel.trim(),
        load_average()
    );
    let tools = ["tcpdump", "editcap", "softflowd", "tcpreplay", "valgrind"];
    for tool in tools {
        let version = programs::version(tool).unwrap_or_else(|| "not installed".into());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {tool}: {version}");
    }
    text
}

/// How many processes wanted a CPU in the last minute, on average.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}
