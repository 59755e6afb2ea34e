//! A program under way: when it is ready, what it used, how it ended. Nothing outlives the benchmark.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::kernel::{self, CpuTime, Used};

/// For things that take milliseconds when all is well.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Between two looks at something that is awaited.
const LOOK: Duration = Duration::from_micros(500);

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(
    limit: Duration,
    what: &str,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = condition()? {
            return Ok(found);
        }
        ensure!(begin.elapsed() < limit, "waited {limit:?} in vain for {what}");
        std::thread::sleep(LOOK);
    }
}

/// A program that was started; its output goes to files. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    label: String,
    stdout: PathBuf,
    stderr: PathBuf,
    begun: Instant,
    ended: Option<(ExitStatus, Used, Duration)>,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) label: String,
    pub(crate) status: ExitStatus,
    pub(crate) cpu: CpuTime,
    /// The most memory that was resident at a time, bytes; files that were mapped among it.
    pub(crate) peak_memory: u64,
    pub(crate) wall: Duration,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Running {
    /// Starts `command`, whose output is kept in `directory`.
    pub(crate) fn start(command: &mut Command, directory: &Path) -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
        let label = words.join(OsStr::new(" ")).to_string_lossy().into_owned();
        let (stdout, stderr) = (directory.join(format!("{number}.stdout")), directory.join(format!("{number}.stderr")));
        let create = |path: &Path| File::create(path).with_context(|| format!("create {}", path.display()));
        command.stdin(Stdio::null()).stdout(create(&stdout)?).stderr(create(&stderr)?);
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("start {label}"))?;
        Ok(Self { child, label, stdout, stderr, begun, ended: None })
    }

    /// Starts `command` and waits for its end.
    pub(crate) fn run(command: &mut Command, directory: &Path, limit: Duration) -> anyhow::Result<Finished> {
        Self::start(command, directory)?.finish(limit)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said on standard error so far.
    pub(crate) fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), signal).with_context(|| format!("signal {}", self.label))
    }

    /// Waits until `ready` gives something; the program must not end before.
    pub(crate) fn wait_until<T>(
        &mut self,
        what: &str,
        mut ready: impl FnMut(&Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let label = self.label.clone();
        wait_for(SOON, &format!("{what} of {label}"), || {
            if self.has_ended()? {
                bail!("{label} ended before {what}; it said: {}", self.stderr().trim());
            }
            ready(self)
        })
    }

    /// Waits until a UDP port is bound where it runs. `program` is its name: before, the process may still be one
    /// of those that start it, in another network namespace.
    pub(crate) fn wait_until_bound(&mut self, program: &str, port: u16) -> anyhow::Result<()> {
        self.wait_until("listening", |running| {
            let name = running.proc("comm")?;
            // The kernel keeps 15 bytes of a name.
            let started = !name.trim().is_empty() && program.starts_with(name.trim());
            Ok((started && running.receive_queue(port).is_some()).then_some(()))
        })
    }

    /// Bytes waiting in the receive queues of a UDP port where it runs; `None` if nobody has bound it.
    pub(crate) fn receive_queue(&self, port: u16) -> Option<u64> {
        let mut sum = None;
        for table in ["net/udp", "net/udp6"] {
            for queued in queues(&self.proc(table).unwrap_or_default(), port) {
                *sum.get_or_insert(0) += queued;
            }
        }
        sum
    }

    /// CPU time of its living threads.
    pub(crate) fn cpu_so_far(&self) -> anyhow::Result<Duration> {
        let tasks = format!("/proc/{}/task", self.id());
        let mut sum = Duration::ZERO;
        for task in fs::read_dir(&tasks).with_context(|| format!("read {tasks}"))? {
            let path = task.with_context(|| format!("read {tasks}"))?.path().join("schedstat");
            // A thread may end between the listing and here.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
            sum += Duration::from_nanos(nanos.with_context(|| format!("understand {}", path.display()))?);
        }
        Ok(sum)
    }

    /// Memory of its own that is resident now, in bytes: mapped files are not in it.
    pub(crate) fn own_memory(&self) -> Option<u64> {
        let status = self.proc("status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    }

    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        if self.ended.is_none() {
            let ended = kernel::try_wait(self.child.id()).with_context(|| format!("wait for {}", self.label))?;
            self.ended = ended.map(|(status, used)| (status, used, self.begun.elapsed()));
        }
        Ok(self.ended.is_some())
    }

    /// Waits for its end.
    pub(crate) fn finish(mut self, limit: Duration) -> anyhow::Result<Finished> {
        let what = format!("the end of {}", self.label);
        wait_for(limit, &what, || Ok(self.has_ended()?.then_some(())))?;
        let (status, Used { cpu, peak_memory }, wall) = self.ended.context("it has ended")?;
        let (stdout, stderr) = (read_lossy(&self.stdout), read_lossy(&self.stderr));
        Ok(Finished { label: self.label.clone(), status, cpu, peak_memory, wall, stdout, stderr })
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(self, limit: Duration) -> anyhow::Result<Finished> {
        self.signal(Signal::TERM)?;
        self.finish(limit)
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.id());
        fs::read_to_string(&path).with_context(|| format!("read {path}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() && kill_process(Pid::from_child(&self.child), Signal::KILL).is_ok() {
            // It is being killed: there is nothing better to do if it does not go.
            let _ = wait_for(SOON, "a killed process", || self.has_ended().map(|ended| ended.then_some(())));
        }
        for file in [&self.stdout, &self.stderr] {
            // The directory is temporary in any case.
            let _ = fs::remove_file(file);
        }
    }
}

impl Finished {
    /// Fails with what the program said unless it succeeded.
    pub(crate) fn success(self) -> anyhow::Result<Self> {
        ensure!(self.status.success(), "{} failed ({}): {}", self.label, self.status, self.stderr.trim());
        Ok(self)
    }
}

fn read_lossy(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The bytes queued at each socket bound to `port` in a table of the kernel (`/proc/net/udp`).
fn queues(table: &str, port: u16) -> impl Iterator<Item = u64> {
    table.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_whitespace();
        let local = words.nth(1)?;
        let queues = words.nth(2)?;
        let bound = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        let queued = u64::from_str_radix(queues.split_once(':')?.1, 16).ok()?;
        (bound == port).then_some(queued)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_a_port_are_found_in_the_table_of_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
                     100: 0100007F:12B5 00000000:0000 07 00000000:00000300 00:00000000 00000000     0        0 1 2 0 0\n \
                     101: 0100007F:12B6 00000000:0000 07 00000000:00000001 00:00000000 00000000     0        0 1 2 0 0\n";
        assert_eq!(queues(table, 4789).collect::<Vec<_>>(), [0x300]);
        assert_eq!(queues(table, 4791).count(), 0);
    }

    #[test]
    fn a_program_that_fails_is_told_with_what_it_said() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        let finished = Running::run(command.args(["-c", "echo sorry >&2; exit 4"]), directory.path(), SOON).unwrap();
        let error = finished.success().unwrap_err().to_string();
        assert!(error.contains("sorry") && error.contains('4'), "{error}");
    }

    #[test]
    fn a_program_that_is_dropped_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let running = Running::start(Command::new("sleep").arg("100"), directory.path()).unwrap();
        let proc = format!("/proc/{}", running.id());
        assert!(fs::exists(&proc).unwrap());
        drop(running);
        assert!(!fs::exists(&proc).unwrap());
    }
}
