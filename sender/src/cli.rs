//! The command line of `vxtap-sender`.

mod arguments;
mod policy;
mod report;
mod summary_file;
mod transfer;
mod values;
mod watch;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;

use crate::control::Control;
use crate::error::SendError;
use crate::policy::PolicyError;
use crate::policy::export::ExportError;
use crate::policy::import::ImportError;
use crate::summary::Summary;
use crate::{capture, generate, mirror, replay};
use arguments::{Arguments, Capture, Command, PolicyCommand, Replay};
use summary_file::{NoPlace, SummaryTarget, see_place};
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
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

/// Whether the arguments, or the documents that they name, are at fault, and not the run.
fn is_usage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<SendError>().is_some_and(SendError::is_usage)
        || error.is::<PolicyError>()
        || error.is::<ImportError>()
        || error.is::<ExportError>()
        || error.is::<transfer::Unreadable>()
        || error.is::<NoPlace>()
}

fn run(command: &Command) -> anyhow::Result<()> {
    let control = Arc::new(Control::default());
    match command {
        Command::Replay(arguments) => {
            let settings = arguments.settings()?;
            see_place(arguments.summary())?;
            let summary = watched(&control, || match &settings {
                Replay::ToOneTarget(settings) => replay::run(settings, &control),
                Replay::ByPolicy(settings) => mirror::files::run(settings, &control),
            })?;
            told_to(&summary, arguments.summary())
        }
        Command::Capture(arguments) => {
            // Threads have privileges of their own, so those are given up before there is a second thread.
            let summary = match arguments.settings()? {
                Capture::ToOneTarget(settings) => {
                    let capture = capture::Capture::open(&settings, &control)?;
                    capture.drop_privileges()?;
                    // As whoever writes it at the end.
                    see_place(arguments.summary())?;
                    let (target, vni) = (&settings.transmit.target, settings.transmit.vni);
                    say(&format!("capturing from {} to {target} as VNI {vni}", settings.interfaces.join(", ")));
                    watched(&control, || Ok(capture.run()))?
                }
                Capture::ByPolicy(settings) => {
                    let mirror = mirror::live::LiveMirror::open(&settings, &control)?;
                    mirror.drop_privileges()?;
                    see_place(arguments.summary())?;
                    say(&format!("capturing from {}", mirror.what()));
                    watched(&control, || mirror.run())?
                }
            };
            told_to(&summary, arguments.summary())
        }
        Command::Generate(arguments) => {
            let settings = arguments.settings()?;
            see_place(arguments.summary())?;
            told_to(&watched(&control, || generate::run(&settings, &control))?, arguments.summary())
        }
        Command::Policy(PolicyCommand::Check(arguments)) => policy::check(arguments),
        Command::Policy(PolicyCommand::Explain(arguments)) => policy::explain(arguments),
        Command::Policy(PolicyCommand::Import(arguments)) => transfer::import(arguments),
        Command::Policy(PolicyCommand::Export(arguments)) => transfer::export(arguments),
    }
}

fn say(what: &str) {
    // Nothing can be done if standard error is gone.
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Runs until it is done or stopped.
fn watched(control: &Arc<Control>, run: impl FnOnce() -> Result<Summary, SendError>) -> anyhow::Result<Summary> {
    let _watch = Watch::start(Arc::clone(control)).context("cannot watch for signals")?;
    Ok(run()?)
}

/// Tells what was sent, and whether it adds up.
fn told_to(summary: &Summary, target: Option<&SummaryTarget>) -> anyhow::Result<()> {
    let _ = write!(std::io::stderr(), "{}", report::Report(summary));
    write_summary(summary, target)?;
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
