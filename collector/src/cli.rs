//! The command line of `vxtap-collector`.
//!
//! [`prepare`] turns arguments, environment and file into a [`Task`] and touches nothing; [`main`] does the task and
//! turns its end into an exit code: 0 done, 1 the run failed, 2 bad arguments or configuration.

mod arguments;
mod fresh_directory;
mod journal;
mod lines;
mod logging;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::config::{self, CaptureOptions, ConfigError, Machine};
use crate::doctor::DoctorSettings;
use crate::extract::ExtractSettings;
use crate::settings::{DemoSettings, ReadSettings, RunSettings};
use arguments::{Arguments, Command};
use logging::Logging;

/// The run failed.
const EXIT_FAILED: u8 = 1;
/// Bad arguments or configuration.
const EXIT_USAGE: u8 = 2;

/// What the program can do.
pub trait Commands {
    /// Receives until a signal.
    fn run(&self, settings: &RunSettings) -> Result<(), Failure>;
    /// Reads capture files to their end.
    fn read(&self, settings: &ReadSettings) -> Result<(), Failure>;
    /// Receives what it generates.
    fn demo(&self, settings: &DemoSettings) -> Result<(), Failure>;
    /// Finds packets in captures.
    fn extract(&self, settings: &ExtractSettings) -> Result<(), Failure>;
    /// Looks for what loses packets on this machine, and tells it.
    fn doctor(&self, settings: &DoctorSettings) -> Result<(), Failure>;
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// It was asked for something that cannot be: exit code 2.
    Arguments(anyhow::Error),
    /// It went wrong: exit code 1.
    Run(anyhow::Error),
    /// It found what it looks for, and has told it: exit code 1.
    Found,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Run(error)
    }
}

/// The program: has `commands` do what the process's arguments ask for.
pub fn main(commands: &dyn Commands) -> ExitCode {
    let variable = |name: &str| std::env::var_os(name);
    let task = match prepare(std::env::args_os(), variable, Machine::this()) {
        Ok(task) => task,
        Err(answer) => return answer.give(),
    };
    let logging = match Logging::start(task.takes_terminal(), variable("VXTAP_LOG")) {
        Ok(logging) => logging,
        Err(error) => return Answer::usage(format!("error: {error}")).give(),
    };
    let end = perform(task, commands);
    logging.release();
    match end {
        Ok(text) => Answer::done(text).give(),
        Err(failure) => Answer::failed(&failure).give(),
    }
}

/// What the arguments ask for.
#[derive(Debug, PartialEq)]
enum Task {
    Run(RunSettings),
    Read(ReadSettings),
    /// Captures as `capture` says, in a directory made for them where the settings name none.
    Demo {
        settings: DemoSettings,
        capture: CaptureOptions,
    },
    Extract(ExtractSettings),
    Doctor(Box<DoctorSettings>),
    /// Says this.
    Check(String),
}

impl Task {
    /// Whether a dashboard will fill the terminal, so that nothing else may write to it.
    fn takes_terminal(&self) -> bool {
        match self {
            Self::Run(settings) => settings.tui,
            Self::Demo { settings, .. } => settings.tui,
            Self::Read(_) | Self::Extract(_) | Self::Doctor(_) | Self::Check(_) => false,
        }
    }
}

/// Last words: what to print where, and the exit code.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    text: String,
    code: u8,
}

impl Answer {
    fn done(text: String) -> Self {
        Self { text, code: 0 }
    }

    fn usage(text: String) -> Self {
        Self { text, code: EXIT_USAGE }
    }

    /// One line, whatever the error says.
    fn failed(failure: &Failure) -> Self {
        let (error, code) = match failure {
            Failure::Arguments(error) => (error, EXIT_USAGE),
            Failure::Run(error) => (error, EXIT_FAILED),
            Failure::Found => return Self { text: String::new(), code: EXIT_FAILED },
        };
        let line = chain(error);
        let words: Vec<&str> = line.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()).collect();
        Self { text: format!("error: {}", config::Printable(&words.join(" "))), code }
    }

    fn give(self) -> ExitCode {
        let text = self.text.trim_end();
        // Nothing is left to do where nobody reads.
        let _ = match (text.is_empty(), self.code) {
            (true, _) => Ok(()),
            (false, 0) => writeln!(std::io::stdout().lock(), "{text}"),
            (false, _) => writeln!(std::io::stderr().lock(), "{text}"),
        };
        ExitCode::from(self.code)
    }
}

/// `error` and its causes, each once: many errors have their cause's text in their own.
fn chain(error: &anyhow::Error) -> String {
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

impl From<ConfigError> for Answer {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<clap::Error> for Answer {
    fn from(error: clap::Error) -> Self {
        Self { text: error.render().to_string(), code: if error.use_stderr() { EXIT_USAGE } else { 0 } }
    }
}

/// What `arguments` (the program's name first) ask for, with the environment that `variable` looks up. An `Answer`
/// where they ask for help, or for what cannot be.
fn prepare(
    arguments: impl IntoIterator<Item = OsString>,
    variable: impl Fn(&str) -> Option<OsString>,
    machine: Machine,
) -> Result<Task, Answer> {
    let from_variable = variable("VXTAP_CONFIG").filter(|file| !file.is_empty()).map(Into::into);
    Ok(match Arguments::try_parse_from(arguments)?.command {
        Command::Run(arguments) => {
            let config = arguments.config.or(from_variable);
            let gathered = config::gather(arguments.options.into(), config.as_deref(), variable)?;
            Task::Run(config::run(&gathered, machine)?)
        }
        Command::Read(arguments) => {
            let (files, config) = (arguments.files, arguments.config.or(from_variable));
            let gathered = config::gather(arguments.options.into(), config.as_deref(), variable)?;
            Task::Read(config::read(&gathered, machine, files)?)
        }
        Command::Demo(arguments) => {
            let config = arguments.config.or(from_variable);
            let gathered = config::gather(arguments.options.into(), config.as_deref(), variable)?;
            let settings = config::demo(&gathered, machine)?;
            Task::Demo { settings, capture: gathered.options.capture }
        }
        Command::Extract(arguments) => Task::Extract(arguments.into()),
        Command::Doctor(arguments) => {
            let config = arguments.config.clone().or(from_variable);
            let (own, options) = arguments.split();
            let gathered = config::gather(options, config.as_deref(), variable)?;
            // Whether there is a terminal is a matter of the run.
            let run = config::run(&gathered, Machine { terminal: true, ..machine })?;
            Task::Doctor(Box::new(own.settings(run).map_err(Answer::usage)?))
        }
        Command::Check(arguments) => {
            let gathered = config::gather(arguments.options.into(), Some(&arguments.config), variable)?;
            // Whether there is a terminal is a matter of the run.
            let settings = config::run(&gathered, Machine { terminal: true, ..machine })?;
            let file = arguments.config.display().to_string();
            let title = format!("{} is right. `vxtap-collector run` with it:\n", config::Printable(&file));
            Task::Check(title + &config::explain(&settings))
        }
    })
}

/// Does `task`; gives what to print at the end.
fn perform(task: Task, commands: &dyn Commands) -> Result<String, Failure> {
    match task {
        Task::Run(settings) => commands.run(&settings)?,
        Task::Read(settings) => commands.read(&settings)?,
        Task::Demo { mut settings, capture } => {
            if settings.pipeline.capture.is_none() {
                let directory = fresh_directory::create(&std::env::temp_dir())?;
                settings.pipeline.capture = Some(config::capture_into(directory, &capture));
            }
            commands.demo(&settings)?;
        }
        Task::Extract(settings) => commands.extract(&settings)?,
        Task::Doctor(settings) => commands.doctor(&settings)?,
        Task::Check(text) => return Ok(text),
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::doctor_settings;
