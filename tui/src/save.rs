//! Saves the packets of one flow into a file, in a thread of its own: a search of captures may take long.

mod packets;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use time::macros::format_description;

use crate::source::{Captured, CapturedFlow};
use packets::PacketCounter;

/// Characters of a Community ID in a file's name.
const NAME_CHARACTERS: usize = 8;
/// So many files of one flow and one second have names of their own.
const NAMES_MAX: u32 = 100;

/// What came of saving a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Packets in the file.
    pub(crate) packets: u64,
    /// Its name.
    pub(crate) file: String,
    /// Why it may not have all that was captured, where that is so.
    pub(crate) lacks: Option<String>,
}

/// Saves flows, one at a time.
pub(crate) struct Saver {
    captured: Option<Arc<dyn Captured>>,
    directory: PathBuf,
    sender: Sender<Result<Saved, String>>,
    results: Receiver<Result<Saved, String>>,
    jobs: Vec<Arc<Job>>,
}

/// A file being written.
#[derive(Default)]
struct Job {
    stop: AtomicBool,
    /// The file, until it is as it stays.
    unfinished: Mutex<Option<PathBuf>>,
}

impl Saver {
    /// Saves what was `captured` into `directory`.
    pub(crate) fn new(captured: Option<Arc<dyn Captured>>, directory: PathBuf) -> Self {
        let (sender, results) = channel();
        Self { captured, directory, sender, results, jobs: Vec::new() }
    }

    /// Begins to save `flow`.
    pub(crate) fn save(&mut self, flow: CapturedFlow) {
        let job = Arc::new(Job::default());
        // Its thread has another hold on one that is under way.
        self.jobs.retain(|job| Arc::strong_count(job) > 1);
        self.jobs.push(Arc::clone(&job));
        let (captured, directory, sender) = (self.captured.clone(), self.directory.clone(), self.sender.clone());
        let work = move || {
            let saved = match captured {
                Some(captured) => job.run(&*captured, &directory, &flow),
                None => Err("flows cannot be saved here".into()),
            };
            // Nobody listens any more when the session has ended.
            let _ = sender.send(saved);
        };
        if let Err(error) = std::thread::Builder::new().name("tui-save".into()).spawn(work) {
            let _ = self.sender.send(Err(format!("can't start a thread: {error}")));
        }
    }

    /// What came of the flow that was saved last, once.
    pub(crate) fn next(&self) -> Option<Result<Saved, String>> {
        self.results.try_recv().ok()
    }
}

impl Drop for Saver {
    /// A file that is not whole goes; the thread ends with its next packet.
    fn drop(&mut self) {
        self.jobs.iter().for_each(|job| job.give_up());
    }
}

impl Job {
    fn unfinished(&self) -> std::sync::MutexGuard<'_, Option<PathBuf>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(file) = self.unfinished().take() {
            // Where it cannot be removed nothing is left to do.
            let _ = fs::remove_file(file);
        }
    }

    fn run(&self, captured: &dyn Captured, directory: &Path, flow: &CapturedFlow) -> Result<Saved, String> {
        let saved = self.write(captured, directory, flow);
        if saved.is_err() {
            self.give_up();
        }
        saved
    }

    fn write(&self, captured: &dyn Captured, directory: &Path, flow: &CapturedFlow) -> Result<Saved, String> {
        let (path, name, file) = {
            let mut unfinished = self.unfinished();
            if self.stop.load(Ordering::SeqCst) {
                return Err("given up".into());
            }
            let created = create(directory, &flow.community_id, OffsetDateTime::now_utc())
                .map_err(|(name, error)| format!("can't write {name}: {error}"))?;
            *unfinished = Some(created.0.clone());
            created
        };
        let failed = |error: io::Error| format!("can't write {name}: {error}");
        let mut output = PacketCounter::new(&file, &self.stop);
        let copied = captured.copy_flow(flow, &mut output);
        // What was wrong with the file is the cause of what the source then says.
        let written = output.finish().map_err(failed)?;
        let lacks = match copied {
            Ok(()) if written.is_whole => None,
            Ok(()) => Some("what came is no whole pcapng file".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if written.packets == 0 {
            return Err(lacks.unwrap_or_else(|| "no packet of this flow is in the captures".into()));
        }
        if !written.is_whole {
            file.set_len(written.bytes).map_err(failed)?;
        }
        debug_assert!(path.ends_with(&name));
        // Taken by whoever gave it up.
        match self.unfinished().take() {
            Some(_) => Ok(Saved { packets: written.packets, file: name, lacks }),
            None => Err("given up".into()),
        }
    }
}

/// A new file for a flow, its path and its name: `vxtap-flow-LQU9qZlK-20261121T100000Z.pcapng`. An error comes with the name that
/// was tried last.
fn create(
    directory: &Path,
    community_id: &str,
    now: OffsetDateTime,
) -> Result<(PathBuf, String, File), (String, io::Error)> {
    let mut name = String::new();
    for number in 1..=NAMES_MAX {
        name = file_name(community_id, now, number);
        let path = directory.join(&name);
        match File::create_new(&path) {
            Ok(file) => return Ok((path, name, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err((name, error)),
        }
    }
    Err((name, io::ErrorKind::AlreadyExists.into()))
}

/// Only letters and digits of the Community ID behind its version: it comes from elsewhere, and has `/` in it.
fn file_name(community_id: &str, now: OffsetDateTime, number: u32) -> String {
    let hash = community_id.split_once(':').map_or(community_id, |(_, hash)| hash);
    let flow: String = hash.chars().filter(char::is_ascii_alphanumeric).take(NAME_CHARACTERS).collect();
    let time = now.format(format_description!("[year][month][day]T[hour][minute][second]Z")).unwrap_or_default();
    let number = if number > 1 { format!("-{number}") } else { String::new() };
    format!("vxtap-flow-{flow}-{time}{number}.pcapng")
}

#[cfg(test)]
mod tests;
