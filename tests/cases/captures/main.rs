//! What captures promise: files that every reader takes, order, and nothing lost that is not counted, under load, in crashes and
//! on full disks.

mod cost;
mod full_disk;
mod keeping;
mod kills;
mod reading;
mod rotation;
mod selection;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;
use vxtap_tests::summary::{self, SenderSummary};

/// Tests that measure time have the machine to themselves; others share it.
static MACHINE: RwLock<()> = RwLock::new(());

fn shared_machine() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn quiet_machine() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The number that the environment variable `name` holds, or `default` without it.
fn number_from(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is to be a number, not {text:?}")),
        Err(_) => default,
    }
}

/// A sender that generates what the words of `arguments` say, to `target`; its summary goes to standard output.
fn generator(target: SocketAddr, arguments: &str) -> Command {
    let mut command = Program::Sender.command();
    command.args(["generate", "--to", &target.to_string(), "--summary", "-"]);
    command.args(arguments.split_whitespace());
    command
}

/// Runs a [`generator`] to its end.
fn generate(target: SocketAddr, arguments: &str) -> SenderSummary {
    let finished = run_within(Duration::from_mins(10), &mut generator(target, arguments)).success();
    let summary: SenderSummary = summary::parse(&finished.stdout);
    summary.check().unwrap_or_else(|error| panic!("{error}"));
    summary
}
