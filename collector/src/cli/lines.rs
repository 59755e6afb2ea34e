//! Lines on their way to standard error. Its reader may take none (a pager, a log collector that stands still), and a full pipe stops whoever
//! writes to it: workers, writers and the health port all have something to say now and then, and none of them may wait for that.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// The most lines that wait; those beyond are left out, and counted.
const MAX_WAITING: usize = 1024;
/// How long the end of the program waits for a reader that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module. Each write is a line, or several.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    queue: Sender<Said>,
    left_out: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Said {
    Lines(Vec<u8>),
    /// Whoever asked is told when all that came before is written.
    End(Sender<()>),
}

impl Lines {
    /// Has a thread write to `output` from now on.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, said) = bounded(MAX_WAITING);
        let lines = Self { queue, left_out: Arc::default() };
        let left_out = Arc::clone(&lines.left_out);
        thread::Builder::new().name("vxtap-stderr".to_owned()).spawn(move || write(output, &said, &left_out))?;
        Ok(lines)
    }

    /// Waits until all that was said is written, for no longer than two times [`PATIENCE`].
    pub(super) fn finish(&self) {
        let (tell, written) = bounded(1);
        if self.queue.send_timeout(Said::End(tell), PATIENCE).is_ok() {
            // Nothing is left to do where nobody reads.
            let _ = written.recv_timeout(PATIENCE);
        }
    }
}

fn write(mut output: impl Write, said: &Receiver<Said>, left_out: &AtomicU64) {
    for next in said {
        let asked = match next {
            Said::Lines(lines) => {
                // Nothing is left to do where standard error is gone.
                let _ = output.write_all(&lines);
                None
            }
            Said::End(asked) => Some(asked),
        };
        if said.is_empty() {
            let count = left_out.swap(0, Ordering::Relaxed);
            if count > 0 {
                let _ = writeln!(output, "({count} lines left out: nobody read standard error)");
            }
        }
        if let Some(asked) = asked {
            let _ = asked.send(());
        }
    }
}

impl Write for Lines {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Said::Lines(lines.to_vec())).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn all_that_was_said_is_written_before_the_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines::start(writer).unwrap();
        for number in 0..100 {
            lines.write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        lines.write_all(b"the last\n").unwrap();
        lines.finish();
        let mut written = [0; 1000];
        let len = reader.read(&mut written).unwrap();
        let written = String::from_utf8_lossy(&written[..len]);
        assert!(written.starts_with("line 0\nline 1\n") && written.ends_with("line 99\nthe last\n"), "{written}");
    }

    #[test]
    fn a_reader_that_takes_nothing_costs_lines_that_are_counted_and_stops_nobody() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines::start(writer).unwrap();
        // More than a pipe holds (64 KiB) and more than may wait, though nobody reads.
        let line = [&[b'x'; 999][..], b"\n"].concat();
        let said = 2000;
        for _ in 0..said {
            lines.write_all(&line).unwrap();
        }
        let taken = thread::spawn(move || {
            let mut taken = String::new();
            reader.read_to_string(&mut taken).unwrap();
            taken
        });
        lines.finish();
        // The thread ends with the last of whom it writes for, and its end of the pipe with it.
        drop(lines);
        let taken = taken.join().unwrap();
        let written = taken.lines().filter(|line| line.starts_with('x')).count();
        let left_out: usize = taken
            .lines()
            .filter_map(|line| line.strip_prefix('(')?.split_once(" lines left out")?.0.parse::<usize>().ok())
            .sum();
        assert!(left_out > 0 && written >= MAX_WAITING, "{written} written, {left_out} left out");
        assert_eq!(written + left_out, said);
    }
}
