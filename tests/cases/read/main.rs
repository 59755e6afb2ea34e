//! `vxtap-collector read` on captures that others made.

mod flood;
mod geneve;
mod links;
mod malformed;
mod plain;
mod vni_flood;
mod vxlan;
mod workers;

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::process::{Finished, run_within};
use vxtap_tests::programs::Program;
use vxtap_tests::summary::{self, CollectorSummary};

/// Longest that reading one of these files may take; a fraction of a second is usual.
const LIMIT: Duration = Duration::from_secs(30);

/// What `read` left of one file.
struct Read {
    summary: CollectorSummary,
    records: Vec<Record>,
    /// The most memory that it took, in bytes.
    peak_memory: u64,
    took: Duration,
    directory: TempDir,
}

impl Read {
    fn captures(&self) -> std::path::PathBuf {
        self.directory.path().join("captures")
    }

    fn eve(&self) -> String {
        fs::read_to_string(self.directory.path().join("log/eve.json")).expect("an eve.json")
    }
}

/// Runs `read FILE --write DIR --log DIR --summary -` with more `arguments`, to success and a balanced ledger.
fn read(file: &Path, arguments: &[&str]) -> Read {
    let directory = TempDir::new().unwrap();
    let finished = start(file, directory.path(), arguments).success();
    let summary = summary_of(&finished);
    let records = capture_file::read_all(&directory.path().join("captures"));
    Read { summary, records, peak_memory: finished.peak_memory, took: finished.took, directory }
}

/// The summary, which balances.
fn summary_of(finished: &Finished) -> CollectorSummary {
    let summary: CollectorSummary = summary::parse(&finished.stdout);
    summary.check().unwrap();
    summary
}

fn start(file: &Path, directory: &Path, arguments: &[&str]) -> Finished {
    let mut command = Program::Collector.command();
    command.arg("read").arg(file).args(["--summary", "-"]).args(arguments);
    command.arg("--write").arg(directory.join("captures")).arg("--log").arg(directory.join("log"));
    run_within(LIMIT, &mut command)
}
