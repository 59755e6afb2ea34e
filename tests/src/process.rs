//! A program under way: what it says, how much memory it takes, how it ends. Nothing outlives its test.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::deadline::{SOON, wait_until, within};

/// A program that was started. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    label: String,
    stdout: Stream,
    stderr: Stream,
    peak_memory: u64,
    begin: Instant,
}

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit status.
    pub status: ExitStatus,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
    /// The most resident memory that was seen, in bytes, looked at every few milliseconds.
    pub peak_memory: u64,
    /// From start to end.
    pub took: Duration,
}

#[derive(Debug)]
struct Stream {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Stream {
    fn collect(mut source: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                sink.lock().expect("no panic while locked").extend_from_slice(&buffer[..length]);
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("no panic while locked")).into_owned()
    }

    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            wait_until(SOON, "the end of the output (the program is gone, a child of it is not)", || {
                reader.is_finished()
            });
        }
        self.so_far()
    }
}

impl Running {
    /// Starts `command` with no standard input.
    pub fn start(command: &mut Command) -> Self {
        let label = label(command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {label}: {error}"));
        let stdout = Stream::collect(child.stdout.take().expect("piped"));
        let stderr = Stream::collect(child.stderr.take().expect("piped"));
        Self { child, label, stdout, stderr, peak_memory: 0, begin: Instant::now() }
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.so_far()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// The process identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What `pick` finds in a whole line of standard error, now or by and by.
    ///
    /// # Panics
    /// When the program ends, or `limit` is over, without such a line.
    pub fn wait_for_line<T>(&mut self, limit: Duration, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        self.wait_for(limit, what, |said| said.lines().find_map(&mut pick))
    }

    /// What `pick` finds in all whole lines of standard error together, now or by and by.
    ///
    /// # Panics
    /// When the program ends, or `limit` is over, before `pick` finds anything.
    pub fn wait_for<T>(&mut self, limit: Duration, what: &str, mut pick: impl FnMut(&str) -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            let ended = self.has_ended();
            let said = if ended { self.stderr.finish() } else { self.stderr() };
            let whole = said.rfind('\n').map_or("", |end| &said[..end]);
            if let Some(found) = pick(whole) {
                return found;
            }
            assert!(!ended, "{} ended before it said {what}; it said:\n{said}", self.label);
            assert!(begin.elapsed() < limit, "{} did not say {what} in {limit:?}; it said:\n{said}", self.label);
            crate::deadline::pause();
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_some()
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.label));
    }

    /// Resident memory now and its greatest value so far, in bytes; `None` when the process is gone.
    pub fn memory(&self) -> Option<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
        };
        Some((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Processor time that all its threads have used, its own and the kernel's for it.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it runs");
        // The name, in brackets, may contain anything; user and system time are the 12th and 13th field behind it, in
        // ticks of 10 ms (USER_HZ is 100 on every Linux that this runs on).
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number"));
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended after `limit`; it is killed then.
    pub fn finish_within(mut self, limit: Duration) -> Finished {
        let what = format!("the end of {}", self.label);
        let status = within(limit, &what, || {
            if let Some((_, peak)) = self.memory() {
                self.peak_memory = self.peak_memory.max(peak);
            }
            self.child.try_wait().expect("the child can be waited for")
        });
        let took = self.begin.elapsed();
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        Finished { status, stdout, stderr, peak_memory: self.peak_memory, took }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Whatever happened, the process must be gone; if it went by itself meanwhile, all the better.
            let _ = self.child.kill();
            let _ = self.child.wait();
            if thread::panicking() {
                eprintln!("--- {} was killed; it had said:\n{}", self.label, self.stderr.so_far());
            }
        }
    }
}

impl Finished {
    /// The exit code.
    ///
    /// # Panics
    /// When a signal ended the program.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{}; it said:\n{}", self.status, self.stderr))
    }

    /// This, if the program exited 0.
    ///
    /// # Panics
    /// Otherwise, with what it said.
    #[must_use]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{}; it said:\n{}\n{}", self.status, self.stderr, self.stdout);
        self
    }

    /// Whether it panicked anywhere, in a thread that nobody waited for as well.
    pub fn panicked(&self) -> bool {
        self.stderr.contains("panicked at")
    }
}

/// Runs `command` to its end.
pub fn run_within(limit: Duration, command: &mut Command) -> Finished {
    Running::start(command).finish_within(limit)
}

fn label(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    command.get_args().fold(name, |line, argument| line + " " + &argument.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_exit_code_and_memory_of_a_program_are_known_at_its_end() {
        let finished = run_within(SOON, &mut shell("echo out; echo err >&2; sleep 0.05; exit 3"));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str(), finished.code()), ("out\n", "err\n", 3));
        assert!(finished.peak_memory > 100 << 10, "{}", finished.peak_memory);
        assert!(!finished.panicked());
    }

    #[test]
    fn a_busy_program_uses_processor_time_and_one_that_sleeps_does_not() {
        let busy = Running::start(&mut shell("while :; do :; done"));
        let idle = Running::start(&mut shell("exec sleep 600"));
        wait_until(SOON, "processor time", || busy.cpu_time() >= Duration::from_millis(100));
        assert!(idle.cpu_time() < Duration::from_millis(50), "{:?}", idle.cpu_time());
    }

    #[test]
    #[should_panic(expected = "in vain for the end of sh")]
    fn a_program_that_hangs_fails_the_test() {
        run_within(Duration::from_millis(50), &mut shell("exec sleep 600"));
    }

    #[test]
    fn a_line_is_waited_for_until_it_is_whole() {
        let mut running =
            Running::start(&mut shell("printf 'port 12' >&2; sleep 0.1; printf '34\n' >&2; exec sleep 600"));
        let port = running.wait_for_line(SOON, "its port", |line| line.strip_prefix("port ")?.parse::<u16>().ok());
        assert_eq!(port, 1234);
        running.signal(Signal::TERM);
        assert_eq!(running.finish_within(SOON).status.code(), None);
    }

    #[test]
    #[should_panic(expected = "ended before it said its port")]
    fn a_program_that_ends_too_early_is_not_waited_for() {
        let mut running = Running::start(&mut shell("echo 'no port' >&2"));
        running.wait_for_line(SOON, "its port", |line| line.strip_prefix("port ").map(str::to_owned));
    }
}
