//! The sender, run to its end.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::process::run_within;
use crate::programs::Program;
use crate::summary::{self, SenderSummary};

/// Longest that a test's sender may take.
const LIMIT: Duration = Duration::from_mins(1);

/// A rate that even a small receive buffer takes.
const GENTLE_PPS: &str = "10000";

/// Replays `file` to `target` at a gentle rate.
///
/// # Panics
/// When it does not exit 0, or its ledger does not balance.
pub fn replay(file: &Path, target: SocketAddr, vni: u32) -> SenderSummary {
    let (to, vni) = (target.to_string(), vni.to_string());
    let arguments = ["--to", &to, "--vni", &vni, "--pps", GENTLE_PPS].map(OsStr::new);
    run("replay", [file.as_os_str()].into_iter().chain(arguments))
}

/// Runs the sender's `subcommand` with `arguments` to its end.
///
/// # Panics
/// When it does not exit 0, or its ledger does not balance.
pub fn run<'a>(subcommand: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> SenderSummary {
    let mut command = Program::Sender.command();
    command.arg(subcommand).args(arguments).args(["--summary", "-"]);
    let finished = run_within(LIMIT, &mut command).success();
    let summary: SenderSummary = summary::parse(&finished.stdout);
    summary.check().unwrap_or_else(|error| panic!("{error}; it said:\n{}", finished.stderr));
    summary
}
