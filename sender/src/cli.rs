//! The command line of `vxtap-sender`.

mod arguments;
mod report;
mod watch;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;

use crate::control::Control;
use crate::error::SendError;
use crate::summary::Summary;
use crate::{capture, generate, replay};
use arguments::{Arguments, Command, SummaryTarget};
use watch::Watch;

/// Runs the program with the arguments of the process. 0: done; 1: the run failed; 2: bad arguments.
pub fn main() -> ExitCode {
    // Ends the process with 2 where the arguments are wrong.
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::builder()
                .with_default_directive(tracing::Level::WARN.into())
                .with_env_var("VXTAP_LOG")
                .from_env_lossy(),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .init();
    match run(&arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if standard error is gone.
            let _ = writeln!(std::io::stderr(), "vxtap-sender: {}", told(&error));
            let usage = error.downcast_ref::<SendError>().is_some_and(SendError::is_usage);
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    let control = Arc::new(Control::default());
    let watch = || Watch::start(Arc::clone(&control)).context("cannot watch for signals");
    let summary = match command {
        Command::Replay(arguments) => {
            let _watch = watch()?;
            replay::run(&arguments.settings()?, &control)?
        }
        Command::Generate(arguments) => {
            let _watch = watch()?;
            generate::run(&arguments.settings()?, &control)?
        }
        Command::Capture(arguments) => {
            let capture = capture::Capture::open(&arguments.settings(), &control)?;
            // Threads have privileges of their own, so this comes before there is a second one.
            capture.drop_privileges()?;
            let _ = writeln!(std::io::stderr(), "capturing from {}", arguments.what());
            let _watch = watch()?;
            capture.run()
        }
    };
    let target = match command {
        Command::Replay(arguments) => arguments.summary(),
        Command::Generate(arguments) => arguments.summary(),
        Command::Capture(arguments) => arguments.summary(),
    };
    let _ = write!(std::io::stderr(), "{}", report::Report(&summary));
    write_summary(&summary, target)?;
    summary.check()?;
    summary.check_capture()?;
    Ok(())
}

fn write_summary(summary: &Summary, target: Option<&SummaryTarget>) -> anyhow::Result<()> {
    let mut json = serde_json::to_string_pretty(summary)?;
    json.push('\n');
    match target {
        None => Ok(()),
        Some(SummaryTarget::StandardOutput) => {
            std::io::stdout().write_all(json.as_bytes()).context("cannot write the summary to standard output")
        }
        Some(SummaryTarget::File(path)) => {
            std::fs::write(path, json).with_context(|| format!("cannot write the summary to '{}'", path.display()))
        }
    }
}
/// `error` and its causes, each once: many errors have their cause's text in their own.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| {
        if told.is_empty() {
            cause
        } else if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}
