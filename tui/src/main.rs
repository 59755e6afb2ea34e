//! `vxtap-tui`: shows a running collector live.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use clap::error::ErrorKind;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use vxtap_tui::{Endpoint, HttpSource, TuiOptions};

/// Shows a running vxtap-collector live: rates, loss, mirror streams, flows, captures.
#[derive(Debug, Parser)]
#[command(name = "vxtap-tui", version)]
struct Arguments {
    /// The collector's API; on another machine through `ssh -L 9789:127.0.0.1:9789 HOST`
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9789")]
    connect: Endpoint,
    /// The token that the collector was started with, if any (VXTAP_API_TOKEN keeps it out of the list of processes)
    #[arg(long, env = "VXTAP_API_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// How often to ask the collector, in seconds, 0.1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    interval: Duration,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=60.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds from 0.1 to 60, for example 0.5".into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let token = arguments.token.as_deref().filter(|token| !token.is_empty());
    let source = match HttpSource::new(arguments.connect.clone(), token) {
        Ok(source) => source,
        Err(error) => {
            use clap::CommandFactory as _;
            Arguments::command().error(ErrorKind::InvalidValue, format!("invalid value for '--token': {error}")).exit()
        }
    };
    let options = TuiOptions {
        interval: arguments.interval,
        origin: Some(arguments.connect.to_string()),
        ..TuiOptions::default()
    };
    match show(source, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vxtap-tui: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the screens; a signal ends them with the terminal given back.
fn show(source: HttpSource, options: TuiOptions) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("can't catch signals")?;
    }
    vxtap_tui::run(Box::new(source), options, stop)?;
    Ok(())
}
