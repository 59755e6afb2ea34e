//! Running a program for one closed file.

use std::ffi::OsString;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use super::Hook;
use super::entry::Records;
use crate::config::Printable;

/// How often to look whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// So many lines of its output go to the log.
const MAX_LINES: u32 = 100;
/// So many bytes of each of them.
const MAX_LINE_BYTES: usize = 1000;

/// A hook and the file that it is run for.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) hook: Hook,
    pub(super) name: String,
    pub(super) file: PathBuf,
    pub(super) bytes: u64,
    /// `None` where the collector that wrote the file was killed.
    pub(super) records: Option<Records>,
    /// Set to have it killed.
    pub(super) cancel: Arc<AtomicBool>,
}

impl Run {
    /// Runs it to its end. Gives why it did not end with exit code 0 in time, with the command.
    pub(super) fn run(&self) -> Result<(), String> {
        let command = self.hook.command.join(" ");
        self.try_run().map_err(|reason| {
            format!("the hook '{}' for '{}' {reason}", Printable(&command), Printable(&self.file.to_string_lossy()))
        })
    }

    fn try_run(&self) -> Result<(), String> {
        let (mut child, output) = self.start().map_err(|error| format!("cannot be run: {error}"))?;
        let deadline = Instant::now() + self.hook.limit;
        let mut log = OutputLog { name: &self.name, output: Some(output), line: Vec::new(), lines: 0 };
        let ended = loop {
            log.wait();
            match child.try_wait() {
                Ok(Some(status)) => break judge(status),
                Ok(None) => {}
                Err(error) => break Err(format!("cannot be waited for: {error}")),
            }
            let cancelled = self.cancel.load(Ordering::Relaxed);
            if cancelled || Instant::now() >= deadline {
                kill(&mut child);
                let limit = self.hook.limit.as_secs_f64();
                break Err(if cancelled {
                    "was killed, since the collector ends".to_owned()
                } else {
                    format!("was killed after its time limit of {limit} s")
                });
            }
        };
        log.end();
        ended
    }

    fn start(&self) -> io::Result<(Child, PipeReader)> {
        let (output, end) = io::pipe()?;
        rustix::fs::fcntl_setfl(&output, rustix::fs::fcntl_getfl(&output)? | OFlags::NONBLOCK)?;
        let mut words = self.hook.command.iter();
        let program = words.next().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(words.map(|word| self.fill_in(word)));
        command.env("VXTAP_FILE", &self.file).env("VXTAP_FILE_BYTES", self.bytes.to_string());
        for name in ["VXTAP_FILE_RECORDS", "VXTAP_FILE_FIRST", "VXTAP_FILE_LAST"] {
            command.env_remove(name);
        }
        if let Some(records) = self.records {
            command.env("VXTAP_FILE_RECORDS", records.count.to_string());
            if records.count > 0 {
                command.env("VXTAP_FILE_FIRST", seconds(records.first_ns));
                command.env("VXTAP_FILE_LAST", seconds(records.last_ns));
            }
        }
        // A group of its own: it can be killed with all that it starts, and Ctrl-C at the terminal is not for it.
        command.stdin(Stdio::null()).stdout(end.try_clone()?).stderr(end).process_group(0);
        Ok((command.spawn()?, output))
    }

    /// `word` with the file and its name in their places.
    fn fill_in(&self, word: &str) -> OsString {
        let mut filled = OsString::new();
        let mut rest = word;
        while let Some(at) = rest.find('{') {
            let (before, place) = rest.split_at(at);
            filled.push(before);
            rest = if let Some(rest) = place.strip_prefix("{file}") {
                filled.push(&self.file);
                rest
            } else if let Some(rest) = place.strip_prefix("{name}") {
                filled.push(&self.name);
                rest
            } else {
                filled.push("{");
                &place[1..]
            };
        }
        filled.push(rest);
        filled
    }
}

/// Ends the hook and all that is in its group, which has its id as long as nobody waited for it.
fn kill(child: &mut Child) {
    let group = Pid::from_raw(child.id().cast_signed());
    if group.is_none_or(|group| kill_process_group(group, Signal::KILL).is_err()) {
        let _ = child.kill();
    }
    let _ = child.wait();
}

fn judge(status: ExitStatus) -> Result<(), String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(format!("failed with exit code {code}")),
        (None, signal) => Err(format!("was ended by signal {}", signal.unwrap_or_default())),
    }
}

/// Seconds since 1970, to the nanosecond.
fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// What a hook says goes to the log by lines.
struct OutputLog<'a> {
    name: &'a str,
    /// `None` after its end.
    output: Option<PipeReader>,
    line: Vec<u8>,
    lines: u32,
}

impl OutputLog<'_> {
    /// Takes what comes, for [`LOOK_EVERY`] at most.
    fn wait(&mut self) {
        let Some(output) = &self.output else {
            std::thread::sleep(LOOK_EVERY);
            return;
        };
        let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.as_nanos() as i64 };
        let _ = rustix::event::poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&timeout));
        self.take();
    }

    /// Takes a bounded part of what is there: one that writes without end does not escape its time limit.
    fn take(&mut self) {
        let mut bytes = [0; 4096];
        for _ in 0..64 {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut bytes) {
                Ok(0) => self.output = None,
                Ok(count) => bytes[..count].iter().for_each(|byte| self.take_byte(*byte)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
    }

    fn take_byte(&mut self, byte: u8) {
        if byte == b'\n' {
            self.tell();
        } else if self.line.len() < MAX_LINE_BYTES {
            self.line.push(byte);
        }
    }

    fn tell(&mut self) {
        self.lines = self.lines.saturating_add(1);
        if self.lines <= MAX_LINES {
            let line = String::from_utf8_lossy(&self.line);
            tracing::info!("hook for '{}': {}", Printable(self.name), Printable(line.trim_end()));
        } else if self.lines == MAX_LINES + 1 {
            tracing::info!("hook for '{}': the rest of what it says is not logged", Printable(self.name));
        }
        self.line.clear();
    }

    fn end(&mut self) {
        self.take();
        if !self.line.is_empty() {
            self.tell();
        }
    }
}
