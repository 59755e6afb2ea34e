//! A collector under way on loopback.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tempfile::TempDir;
use vxtap_analyzers::snapshot::{FlowPage, Snapshot};

use crate::deadline::{SOON, wait_until};
use crate::process::{Finished, Running, Signal};
use crate::programs::Program;
use crate::summary::{self, CollectorSummary};

/// What a test's collector is told.
#[derive(Debug)]
pub struct Settings {
    command: Command,
    directory: TempDir,
    captures: TempDir,
    listeners: usize,
    drain: &'static str,
    health: bool,
}

/// A collector that receives.
#[derive(Debug)]
pub struct Collector {
    process: Running,
    directory: TempDir,
    captures: TempDir,
    listeners: Vec<SocketAddr>,
    api: String,
    health: Option<String>,
}

impl Settings {
    /// `run` with `workers` workers on a free port of IPv4 loopback, with the API on another.
    pub fn new(workers: u32) -> Self {
        Self::listening(workers, &["vxlan://127.0.0.1:0"])
    }

    /// `run` with `workers` workers that listen on `listen`.
    pub fn listening(workers: u32, listen: &[&str]) -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let mut command = Program::Collector.command();
        command.arg("run").args(["--workers", &workers.to_string(), "--api", "127.0.0.1:0"]);
        command.args(listen.iter().flat_map(|address| ["--listen", address]));
        command.arg("--summary").arg(directory.path().join("summary.json"));
        let captures = TempDir::new().expect("a temporary directory");
        // Nobody's load balancer has to notice that it ends.
        Self { command, directory, captures, listeners: listen.len(), drain: "0s", health: false }
    }

    /// Writes captures.
    #[must_use]
    pub fn write(self) -> Self {
        self.write_below(&std::env::temp_dir())
    }

    /// Writes captures into a directory below `place`.
    #[must_use]
    pub fn write_below(mut self, place: &Path) -> Self {
        let directory = TempDir::new_in(place).expect("a temporary directory");
        self.command.arg("--write").arg(captures_in(&directory));
        self.captures = directory;
        self
    }

    /// Writes logs.
    #[must_use]
    pub fn log(mut self) -> Self {
        self.command.arg("--log").arg(self.directory.path().join("log"));
        self
    }

    /// Drains for so long at SIGTERM.
    #[must_use]
    pub fn drain(mut self, time: &'static str) -> Self {
        self.drain = time;
        self
    }

    /// Has a health port.
    #[must_use]
    pub fn health(mut self) -> Self {
        self.health = true;
        self.command.args(["--health", "127.0.0.1:0"]);
        self
    }

    /// Has `wrap` make the command that starts it out of the one that it would be.
    #[must_use]
    pub fn wrapped(mut self, wrap: impl FnOnce(&Command) -> Command) -> Self {
        self.command = wrap(&self.command);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Where its summary will be.
    pub fn summary(&self) -> PathBuf {
        self.directory.path().join("summary.json")
    }

    /// Starts it and waits until it listens and serves.
    pub fn start(mut self) -> Collector {
        let mut process = Running::start(self.command.args(["--drain", self.drain]));
        let health = self.health.then(|| {
            let find = |line: &str| word_after(line, "health on ").map(str::to_owned);
            process.wait_for_line(SOON, "where its health port is", find)
        });
        let api = process.wait_for_line(SOON, "where its API is", |line| Some(format!("http://{}", api_of(line)?)));
        let listeners = process.wait_for(SOON, "where it listens", |said| {
            let found: Vec<SocketAddr> = said.lines().filter_map(listener_of).collect();
            (found.len() == self.listeners).then_some(found)
        });
        let Self { directory, captures, .. } = self;
        let collector = Collector { process, directory, captures, listeners, api, health };
        wait_until(SOON, "readiness", || collector.get("/readyz").0 == 200);
        collector
    }
}

/// The address in `… listening on vxlan://ADDRESS`, or of another scheme.
fn listener_of(line: &str) -> Option<SocketAddr> {
    let (_, address) = word_after(line, "listening on ")?.split_once("://")?;
    address.trim_end_matches(':').parse().ok()
}

/// The address in `… api on http://ADDRESS`.
fn api_of(line: &str) -> Option<SocketAddr> {
    word_after(line, "api on http://")?.parse().ok()
}

fn word_after<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.split_once(mark)?.1.split_whitespace().next()
}

impl Collector {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listeners[0]
    }

    /// Everywhere it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// The API's URL, without a path.
    pub fn api(&self) -> &str {
        &self.api
    }

    /// Status and body of the health port's answer at `path`; status 0 if there is none.
    pub fn probe(&self, path: &str) -> (u16, String) {
        get(&format!("{}{path}", self.health.as_ref().expect("a health port was asked for")))
    }

    /// The process, to look at.
    pub const fn process_ref(&self) -> &Running {
        &self.process
    }

    /// The process.
    pub fn process(&mut self) -> &mut Running {
        &mut self.process
    }

    /// Where captures go.
    pub fn captures(&self) -> PathBuf {
        captures_in(&self.captures)
    }

    /// Where logs go.
    pub fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Status and body of the API's answer at `path`; status 0 if there is none.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(&format!("{}{path}", self.api))
    }

    /// Status and body of the API's answer to `body`, which is JSON, at `path`; status 0 if there is none.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> (u16, String) {
        match agent().post(format!("{}{path}", self.api)).send_json(body) {
            Ok(mut response) => (response.status().as_u16(), response.body_mut().read_to_string().unwrap_or_default()),
            Err(_) => (0, String::new()),
        }
    }

    /// The API's answer at `path`.
    ///
    /// # Panics
    /// When it is not 200 and JSON of `T`.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> T {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error} in {path}: {body}"))
    }

    /// The collector as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.get_json("/v1/snapshot")
    }

    /// All flows being followed, up to 10,000.
    pub fn flows(&self) -> FlowPage {
        self.get_json("/v1/flows?limit=10000")
    }

    /// Waits until it has received `datagrams` or the kernel lost them.
    pub fn wait_received(&self, datagrams: u64) {
        wait_until(SOON, &format!("{datagrams} datagrams to be received"), || {
            let ledger = self.snapshot().ledger;
            ledger.received + ledger.kernel_dropped >= datagrams
        });
    }

    /// Waits for its end, however it comes.
    pub fn finish(self) -> Finished {
        self.process.finish_within(SOON)
    }

    /// Asks it to end and waits for it: its summary, and what it left.
    ///
    /// # Panics
    /// When it does not exit 0, or its ledger does not balance.
    pub fn stop(self) -> Stopped {
        self.stop_by(Signal::TERM)
    }

    /// As [`Collector::stop`], by `signal`.
    pub fn stop_by(self, signal: Signal) -> Stopped {
        self.process.signal(signal);
        let finished = self.process.finish_within(SOON).success();
        assert!(!finished.panicked(), "{}", finished.stderr);
        let summary: CollectorSummary = read_summary(self.directory.path());
        summary.check().unwrap_or_else(|error| panic!("{error}; it said:\n{}", finished.stderr));
        Stopped { summary, finished, directory: self.directory, captures: self.captures }
    }
}

/// A collector that has ended, and its files.
#[derive(Debug)]
pub struct Stopped {
    /// Its summary, which balances.
    pub summary: CollectorSummary,
    /// What it said.
    pub finished: Finished,
    directory: TempDir,
    captures: TempDir,
}

impl Stopped {
    /// Where its captures are.
    pub fn captures(&self) -> PathBuf {
        captures_in(&self.captures)
    }

    /// Its `eve.json`.
    pub fn eve(&self) -> String {
        let path = self.directory.path().join("log/eve.json");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }
}

fn captures_in(directory: &TempDir) -> PathBuf {
    directory.path().join("captures")
}

fn read_summary(directory: &Path) -> CollectorSummary {
    let path = directory.join("summary.json");
    summary::parse(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Status and body of what is at `url`; status 0 if nobody answers.
pub fn get(url: &str) -> (u16, String) {
    match agent().get(url).call() {
        Ok(mut response) => (response.status().as_u16(), response.body_mut().read_to_string().unwrap_or_default()),
        Err(_) => (0, String::new()),
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    config.http_status_as_error(false).timeout_global(Some(Duration::from_secs(10))).build().new_agent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_addresses_are_read_from_what_the_collector_says() {
        let line =
            "2026-11-21T02:00:00Z  INFO listening on vxlan://127.0.0.1:4789: 2 workers, flows steered by the kernel";
        assert_eq!(listener_of(line), Some(([127, 0, 0, 1], 4789).into()));
        assert_eq!(api_of("api on http://[::1]:9789"), Some("[::1]:9789".parse().unwrap()));
        assert_eq!(api_of(line), None);
    }

    #[test]
    fn an_address_where_nobody_listens_gives_status_zero() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(get(&format!("http://{free}/")).0, 0);
    }
}
