//! `vxtap-collector`.

use std::io::Write as _;
use std::process::ExitCode;

use vxtap_collector::cli::{self, Commands, Failure};
use vxtap_collector::doctor::{DoctorError, DoctorSettings};
use vxtap_collector::extract::{ExtractFailure, ExtractSettings};
use vxtap_collector::read::ReadFailure;
use vxtap_collector::settings::{DemoSettings, ReadSettings, RunSettings};
use vxtap_collector::{demo, doctor, extract, read, run};

struct Program;

impl Commands for Program {
    fn run(&self, settings: &RunSettings) -> Result<(), Failure> {
        match run::run(settings) {
            Ok(_) => Ok(()),
            Err(error) if run::is_of_arguments(&error) => Err(Failure::Arguments(error)),
            Err(error) => Err(Failure::Run(error)),
        }
    }

    fn read(&self, settings: &ReadSettings) -> Result<(), Failure> {
        match read::read(settings) {
            Ok(_) => Ok(()),
            Err(ReadFailure::Run(error)) if !run::is_of_arguments(&error) => Err(Failure::Run(error)),
            Err(failure) => Err(Failure::Arguments(failure.into())),
        }
    }

    fn demo(&self, settings: &DemoSettings) -> Result<(), Failure> {
        demo::demo(settings)?;
        Ok(())
    }

    fn extract(&self, settings: &ExtractSettings) -> Result<(), Failure> {
        match extract::extract(settings) {
            Ok(_) => Ok(()),
            Err(ExtractFailure::Run(error)) => Err(Failure::Run(error)),
            Err(failure) => Err(Failure::Arguments(failure.into())),
        }
    }

    fn doctor(&self, settings: &DoctorSettings) -> Result<(), Failure> {
        let report = match doctor::doctor(settings) {
            Ok(report) => report,
            Err(error @ DoctorError::NoInterface { .. }) => return Err(Failure::Arguments(error.into())),
            Err(error @ DoctorError::Collector(_)) => return Err(Failure::Run(error.into())),
        };
        let text = if settings.json { report.json() } else { report.to_string() };
        // Nothing is left to do where nobody reads.
        let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
        if report.problems() > 0 { Err(Failure::Found) } else { Ok(()) }
    }
}

fn main() -> ExitCode {
    cli::main(&Program)
}
