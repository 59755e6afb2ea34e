//! What all levels work with: programs, files, the size of things.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::corpus::{Corpus, Written};
use crate::ledger::{CollectorSummary, SenderSummary};
use crate::options::Scale;
use crate::process::{Finished, Running};
use crate::programs::{self, Place};

/// The CPU of what sends, and the one of what receives.
pub(crate) const SENDER_CPU: usize = 0;
pub(crate) const RECEIVER_CPU: usize = 1;
/// For a program that reads a file or sends for some seconds.
pub(crate) const LIMIT: Duration = Duration::from_mins(5);

/// The benchmark under way.
pub(crate) struct Bench {
    pub(crate) scale: Scale,
    programs: PathBuf,
    scratch: TempDir,
}

/// A run of the collector that ended well.
pub(crate) struct CollectorRun {
    pub(crate) summary: CollectorSummary,
    pub(crate) finished: Finished,
}

impl Bench {
    pub(crate) fn new(scale: Scale, scratch: &Path) -> anyhow::Result<Self> {
        let programs = programs::directory()?;
        let scratch = tempfile::Builder::new()
            .prefix("vxtap-bench-")
            .tempdir_in(scratch)
            .with_context(|| format!("make a directory in {} (--scratch chooses another)", scratch.display()))?;
        Ok(Self { scale, programs, scratch })
    }

    /// A path in the scratch directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A new empty directory, gone with the value.
    pub(crate) fn directory(&self) -> anyhow::Result<TempDir> {
        tempfile::tempdir_in(self.scratch.path()).context("make a directory for a measurement")
    }

    /// Makes a capture file in the scratch directory, in place of one with the same name.
    pub(crate) fn corpus(&self, name: &str, corpus: Corpus) -> anyhow::Result<(PathBuf, Written)> {
        let path = self.path(name);
        let written = corpus.write(&path)?;
        Ok((path, written))
    }

    pub(crate) fn command(&self, place: &Place, program: &str) -> Command {
        place.command(&self.programs.join(program))
    }

    pub(crate) fn start(&self, command: &mut Command) -> anyhow::Result<Running> {
        Running::start(command, self.scratch.path())
    }

    pub(crate) fn run(&self, command: &mut Command) -> anyhow::Result<Finished> {
        Running::run(command, self.scratch.path(), LIMIT)
    }

    /// `vxtap-collector read FILE WORDS…`, whose ledger balances.
    pub(crate) fn read(&self, file: &Path, words: &[&str]) -> anyhow::Result<CollectorRun> {
        let summary = self.path("read.json");
        let mut command = self.command(&Place::default(), "vxtap-collector");
        command.arg("read").arg(file).args(words).arg("--summary").arg(&summary);
        let finished = self.run(&mut command)?.success()?;
        Ok(CollectorRun { summary: CollectorSummary::read(&summary)?, finished })
    }

    /// `vxtap-sender WORDS…`, whose ledger balances and which sent everything.
    pub(crate) fn send(&self, place: &Place, words: &[&str]) -> anyhow::Result<SenderSummary> {
        let summary = self.path("sender.json");
        let mut command = self.command(place, "vxtap-sender");
        command.args(words).arg("--summary").arg(&summary);
        self.run(&mut command)?.success()?;
        SenderSummary::read(&summary)
    }
}
