//! What the program tells on standard error.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::journal::JournalLines;
use super::lines::Lines;

/// The most lines kept back while a dashboard has the terminal; older ones go.
const MAX_HELD: usize = 200;

/// The running log.
#[derive(Debug)]
pub(super) enum Logging {
    /// Kept back while a dashboard has the terminal.
    Held(Held),
    /// On their way.
    Said(Lines),
}

impl Logging {
    /// Begins to log what `filter` (the variable `VXTAP_LOG`) lets pass: from `info` on by default. Where a dashboard
    /// takes the terminal and standard error is one, it is held back until [`Logging::release`].
    pub(super) fn start(dashboard: bool, filter: Option<OsString>) -> Result<Self, String> {
        let terminal = io::stderr().is_terminal();
        let hold = dashboard && terminal;
        let filter = parse_filter(filter)?;
        let subscriber =
            tracing_subscriber::fmt().compact().with_target(false).log_internal_errors(false).with_env_filter(filter);
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if hold {
            let held = Held::default();
            let writer = held.clone();
            subscriber.with_ansi(colour).with_writer(move || writer.clone()).init();
            return Ok(Self::Held(held));
        }
        let lines = Lines::start(io::stderr()).map_err(|error| format!("cannot start a thread: {error}"))?;
        let writer = lines.clone();
        let subscriber = subscriber.with_writer(move || writer.clone());
        match JournalLines::for_stderr() {
            Some(form) => subscriber.event_format(form).init(),
            None => subscriber.with_ansi(colour).init(),
        }
        Ok(Self::Said(lines))
    }

    /// Tells what was held back or is on its way.
    pub(super) fn release(&self) {
        match self {
            Self::Held(held) => held.write_to(&mut io::stderr().lock()),
            Self::Said(lines) => lines.finish(),
        }
    }
}

fn parse_filter(filter: Option<OsString>) -> Result<EnvFilter, String> {
    let Some(filter) = filter.filter(|filter| !filter.is_empty()) else { return Ok(EnvFilter::new("info")) };
    let expected = "VXTAP_LOG: expected error, warn, info, debug or trace, or MODULE=LEVEL separated by commas";
    let filter = filter.to_str().filter(|filter| filter.split(',').all(is_directive));
    filter.and_then(|filter| EnvFilter::builder().parse(filter).ok()).ok_or_else(|| expected.to_owned())
}

/// Whether `text` is a level, or says one of a module. Any other word would be taken for a module's name, and everything else, down to the
/// ledger of a run, would be silent.
fn is_directive(text: &str) -> bool {
    !text.is_empty() && (text.contains('=') || text.parse::<LevelFilter>().is_ok())
}

/// Lines kept back, the newest [`MAX_HELD`].
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<Mutex<HeldLines>>);

#[derive(Debug, Default)]
struct HeldLines {
    lines: VecDeque<Vec<u8>>,
    dropped: u64,
}

impl Held {
    fn write_to(&self, output: &mut dyn Write) {
        let HeldLines { lines, dropped } = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        // Nothing is left to do where standard error is gone.
        if dropped > 0 {
            let _ = writeln!(output, "({dropped} older lines left out)");
        }
        for line in lines {
            let _ = output.write_all(&line);
        }
    }
}

/// The subscriber writes each line at once.
impl Write for Held {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.lines.len() == MAX_HELD {
            held.lines.pop_front();
            held.dropped += 1;
        }
        held.lines.push_back(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_held_and_the_others_counted() {
        let mut held = Held::default();
        for number in 0..MAX_HELD + 3 {
            held.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        let mut output = Vec::new();
        held.write_to(&mut output);
        let text = String::from_utf8(output).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), MAX_HELD + 1);
        assert_eq!(lines[..2], ["(3 older lines left out)", "line 3"]);
        let mut again = Vec::new();
        held.write_to(&mut again);
        assert_eq!(again, b"");
    }

    #[test]
    fn a_filter_is_taken_or_refused_with_what_was_expected() {
        for good in ["", "debug", "WARN", "off", "warn,vxtap_collector::api=debug"] {
            assert!(parse_filter(Some(good.into())).is_ok(), "{good}");
        }
        assert_eq!(parse_filter(None).unwrap().to_string(), "info");
        let expected = "VXTAP_LOG: expected error, warn, info, debug or trace, or MODULE=LEVEL separated by commas";
        for bad in ["vxtap=loud", "warning", "inof", "nonsense", "vxtap_collector", "info,warning", "info,", ","] {
            assert_eq!(parse_filter(Some(bad.into())).map(|filter| filter.to_string()).unwrap_err(), expected, "{bad}");
        }
    }
}
