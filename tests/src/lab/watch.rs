//! tcpdump on an interface: what was there, by a witness that is not ours.

use std::path::{Path, PathBuf};

use super::Namespace;
use crate::capture_file::{self, Record};
use crate::deadline::{SOON, wait_until};
use crate::process::{Running, Signal};

/// The payload of the ping with which traffic begins.
pub(super) const BEGIN: [u8; 8] = *b"<<begin!";
/// The payload of the ping with which it ends.
pub(super) const END: [u8; 8] = *b"the end>";

/// A tcpdump under way.
#[derive(Debug)]
pub struct Watch {
    process: Running,
    file: PathBuf,
}

impl Watch {
    /// Records what passes `device` of `namespace` and matches `filter` into `file`, from now on.
    pub fn start(namespace: &Namespace, device: &str, filter: &str, file: &Path) -> Self {
        let mut command = namespace.command("tcpdump");
        // A buffer of 64 MiB: a witness must not lose anything.
        command.args(["-n", "-i", device, "-s", "0", "-B", "65536", "-U", "--immediate-mode", "-w"]).arg(file);
        command.args(filter.split_whitespace());
        let mut process = Running::start(&mut command);
        process.wait_for_line(SOON, "that it listens", |line| line.contains("listening on").then_some(()));
        Self { process, file: file.to_owned() }
    }

    /// Waits until both frames of the last mark are there, and ends.
    ///
    /// # Panics
    /// When tcpdump lost anything.
    pub fn finish(self) -> Vec<Record> {
        wait_until(SOON, "the last mark", || has_ended(&self.file));
        self.process.signal(Signal::INT);
        let finished = self.process.finish_within(SOON).success();
        let lossless = finished.stderr.lines().any(|line| line == "0 packets dropped by kernel");
        assert!(lossless, "the witness lost packets: {}", finished.stderr);
        capture_file::read(&self.file)
    }
}

/// Whether the capture at `file` has the last mark and its answer.
pub fn has_ended(file: &Path) -> bool {
    let Ok(bytes) = std::fs::read(file) else { return false };
    let Ok(parsed) = capture_file::parse(&bytes) else { return false };
    parsed.records.iter().filter(|record| record.contains(&END)).count() == 2
}

/// The frames from the first mark to the answer to the last one.
///
/// Before and behind them, hosts talk of their own accord (neighbour and multicast messages), and what sees them
/// depends on when it was started.
///
/// # Panics
/// When a mark is missing.
pub fn between_marks(records: &[Record]) -> &[Record] {
    let begin = records.iter().position(|record| record.contains(&BEGIN)).expect("the first mark");
    let end = records.iter().rposition(|record| record.contains(&END)).expect("the last mark");
    &records[begin..=end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_frames_between_the_marks_count() {
        let record = |data: &[u8]| Record {
            interface: String::new(),
            link_type: 1,
            time_ns: 0,
            original_len: data.len(),
            data: data.to_vec(),
        };
        let records =
            [&b"stray"[..], b"..<<begin!", b"..<<begin!", b"one", b"the end>", b"the end>", b"late"].map(record);
        assert_eq!(between_marks(&records), &records[1..6]);
    }
}
