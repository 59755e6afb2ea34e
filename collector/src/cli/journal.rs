//! Lines for systemd's journal: it adds the time itself, and takes the level from a number in front of the line (sd-daemon(3)).

use std::ffi::OsStr;
use std::fmt;
use std::io;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The form of lines that go to the journal.
#[derive(Clone, Debug)]
pub(super) struct JournalLines(Format<Compact, ()>);

impl JournalLines {
    /// Where standard error is a stream of the journal, as systemd has it for services.
    pub(super) fn for_stderr() -> Option<Self> {
        let stream = std::env::var_os("JOURNAL_STREAM")?;
        let stderr = rustix::fs::fstat(io::stderr()).ok()?;
        is_stream(&stream, stderr.st_dev, stderr.st_ino).then(Self::new)
    }

    fn new() -> Self {
        let lines = tracing_subscriber::fmt::format().compact().without_time();
        Self(lines.with_target(false).with_level(false).with_ansi(false))
    }
}

/// Whether the variable names this device and inode: standard error may have been led elsewhere since.
fn is_stream(variable: &OsStr, device: u64, inode: u64) -> bool {
    let Some((named_device, named_inode)) = variable.to_str().and_then(|text| text.split_once(':')) else {
        return false;
    };
    named_device.parse() == Ok(device) && named_inode.parse() == Ok(inode)
}

impl<S, N> FormatEvent<S, N> for JournalLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::said::Said;

    #[test]
    fn lines_for_the_journal_have_a_priority_and_no_time() {
        let said = Said::default();
        let writer = said.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .event_format(JournalLines::new())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!("one");
            tracing::warn!("two");
            tracing::info!(number = 3, "three");
            tracing::debug!("four");
        });
        assert_eq!(said.text(), "<3>one\n<4>two\n<6>three number=3\n<7>four\n");
    }

    #[test]
    fn a_stream_is_the_journals_where_the_variable_names_it() {
        assert!(is_stream(OsStr::new("8:12345"), 8, 12345));
        for other in ["8:12346", "9:12345", "8", "", "8:x", "8:12345:1"] {
            assert!(!is_stream(OsStr::new(other), 8, 12345), "{other}");
        }
    }
}
