//! The levels, each in a file: what runs, what it is compared with, and what must come out.

use crate::bench::Bench;
use crate::options::Level;
use crate::programs::{have_root, installed};
use crate::report::Row;

mod drain;
mod fixed_load;
mod idle;
mod instructions;
mod loss_free;
mod memory;
mod offline;
mod overload;
mod replay;
mod source;
mod trains;

/// Runs `level`.
pub(crate) fn run(level: Level, bench: &Bench) -> anyhow::Result<Vec<Row>> {
    match level {
        Level::Instructions => instructions::run(bench),
        Level::Offline => offline::run(bench),
        Level::Drain => drain::run(bench),
        Level::FixedLoad => fixed_load::run(bench),
        Level::Trains => trains::run(bench),
        Level::LossFree => loss_free::run(bench),
        Level::Replay => replay::run(bench),
        Level::Source => source::run(bench),
        Level::Memory => memory::run(bench),
        Level::Overload => overload::run(bench),
        Level::Idle => idle::run(bench),
    }
}

/// Why `level` cannot run on this machine, if so.
pub(crate) fn obstacle(level: Level) -> Option<String> {
    let (root, tools): (bool, &[&str]) = match level {
        Level::Instructions => (false, &["valgrind"]),
        Level::FixedLoad => (true, &["ip", "taskset"]),
        Level::Replay => (true, &["ip", "taskset", "tcpreplay"]),
        Level::Source => (true, &["ip", "tc", "ethtool", "ss"]),
        Level::Overload => (true, &["taskset", "nice", "unshare", "mount"]),
        Level::Drain | Level::Trains | Level::LossFree => (false, &["taskset"]),
        Level::Offline | Level::Memory | Level::Idle => (false, &[]),
    };
    if root && !have_root() {
        return Some("needs root".into());
    }
    let missing: Vec<_> = tools.iter().copied().filter(|tool| !installed(tool)).collect();
    (!missing.is_empty()).then(|| format!("needs {}", missing.join(", ")))
}
