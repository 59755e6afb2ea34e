//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::sink::SinkOptions;

/// Measures vxtap beside trivial receivers and the tools that are installed, and reports ratios
#[derive(Debug, Parser)]
#[command(name = "vxtap-bench", version)]
pub(crate) struct Options {
    /// Run these levels only
    #[arg(long = "level", value_name = "NAME", num_args = 1..)]
    pub(crate) levels: Vec<Level>,
    /// Small and short, in less than two minutes: to see that ledgers balance, not for figures
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds in which what is compared runs in turn
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) pairs: u32,
    /// End with 1 also when a target is missed
    #[arg(long)]
    pub(crate) strict: bool,
    /// Directory for files, best in memory: some gigabytes
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    pub(crate) scratch: PathBuf,
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
}

/// What the benchmark starts itself as.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// A trivial receiver
    #[command(hide = true)]
    Sink(SinkOptions),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Instructions for a packet, counted by valgrind
    Instructions,
    /// Reading a capture file
    Offline,
    /// Emptying a socket that was filled before
    Drain,
    /// CPU at a fixed rate of plain datagrams across a veth pair (root)
    FixedLoad,
    /// CPU at a fixed rate of trains over loopback
    Trains,
    /// The highest rate without loss over loopback
    LossFree,
    /// The sender's speed across a veth pair (root)
    Replay,
    /// What mirroring costs the mirrored host, beside the kernel's own mirror (root)
    Source,
    /// Memory of a million flows, and of five million against a bound
    Memory,
    /// More than a worker can take, and a disk that is full (root)
    Overload,
    /// Nothing to do
    Idle,
}

impl Level {
    /// The name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Rounds.
    pub(crate) rounds: u32,
    /// Seconds of a trial at a fixed rate.
    pub(crate) seconds: u32,
    /// Seconds of overload.
    pub(crate) overload_seconds: u32,
    /// Seconds with nothing to do.
    pub(crate) idle_seconds: u32,
    /// Trials of a search.
    pub(crate) search_trials: u32,
    /// Conversations in the benchmark file.
    pub(crate) flows: u32,
    /// Established flows in memory; five times as many begin against a bound.
    pub(crate) flows_in_memory: u32,
    /// Times that a socket is filled and emptied.
    pub(crate) fills: u32,
}

impl Options {
    pub(crate) fn scale(&self) -> Scale {
        if self.quick {
            Scale {
                rounds: 1,
                seconds: 1,
                overload_seconds: 2,
                idle_seconds: 3,
                search_trials: 5,
                flows: 5000,
                flows_in_memory: 100_000,
                fills: 3,
            }
        } else {
            Scale {
                rounds: self.pairs,
                seconds: 5,
                overload_seconds: 10,
                idle_seconds: 30,
                search_trials: 7,
                flows: 60_000,
                flows_in_memory: 1_000_000,
                fills: 15,
            }
        }
    }

    /// The levels to run.
    pub(crate) fn levels(&self) -> &[Level] {
        if self.levels.is_empty() { Level::value_variants() } else { &self.levels }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn all_levels_run_unless_some_are_named() {
        Options::command().debug_assert();
        let parse = |line: &str| Options::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(parse("vxtap-bench").levels().len(), 11);
        assert_eq!(parse("vxtap-bench --level offline fixed-load").levels(), [Level::Offline, Level::FixedLoad]);
        assert_eq!(Level::FixedLoad.name(), "fixed-load");
    }

    #[test]
    fn rounds_are_what_was_asked_for() {
        let parse = |line: &str| Options::try_parse_from(line.split(' '));
        assert_eq!(parse("vxtap-bench --pairs 7").unwrap().scale().rounds, 7);
        assert!(parse("vxtap-bench --pairs 0").is_err());
    }
}
