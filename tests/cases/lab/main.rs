//! The kernel mirrors a host's real traffic, or our sender does, and a load balancer spreads it; see `vxtap_tests::lab`.

mod balanced;
mod doctor;
mod kernel_mirror;
mod live_capture;
mod lossy_path;
mod outer_fragments;
mod raw_mirror;
mod reload;
mod sender;
mod servers;
mod service;
mod tunnels;
mod vxlan_judges;

use vxtap_tests::capture_file;
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::lab::{Lab, Outer, has_ended};
use vxtap_tests::process::{Running, Signal};
use vxtap_tests::programs::Program;
use vxtap_tests::summary::{self, CollectorSummary};

/// A collector in the lab's target namespace for VXLAN, with two workers, that captures and logs.
fn start_collector(lab: &Lab) -> Running {
    start_collector_on(lab, "vxlan", 4789)
}

/// The same for an `encapsulation`.
fn start_collector_on(lab: &Lab, encapsulation: &str, port: u16) -> Running {
    let address = match lab.outer {
        Outer::V4 => format!("{encapsulation}://{}:{port}", lab.outer.target()),
        Outer::V6 => format!("{encapsulation}://[{}]:{port}", lab.outer.target()),
    };
    let mut command = lab.target.command(Program::Collector.path());
    // The times of arrival, because by them the frames of both workers are put into one order.
    command
        .args(["run", "--drain", "0s", "--workers", "2", "--timestamps", "kernel", "--listen", &address, "--write"])
        .arg(lab.directory().join("captures"));
    command.arg("--log").arg(lab.directory().join("log")).arg("--summary").arg(lab.directory().join("summary.json"));
    let mut collector = Running::start(&mut command);
    collector.wait_for_line(SOON, "where its API is", |line| line.contains("api on").then_some(()));
    collector
}

/// Waits until the last mark is captured and ends `collector`: its summary, which balances.
fn stop_collector(lab: &Lab, collector: Running) -> CollectorSummary {
    let captures = lab.directory().join("captures");
    wait_until(SOON, "the last mark in the capture", || {
        capture_file::files_in(&captures).iter().any(|file| has_ended(file))
    });
    end_collector(lab, collector)
}

/// Ends `collector`: its summary, which balances.
fn end_collector(lab: &Lab, collector: Running) -> CollectorSummary {
    collector.signal(Signal::TERM);
    let finished = collector.finish_within(SOON).success();
    assert!(!finished.panicked(), "{}", finished.stderr);
    let summary: CollectorSummary =
        summary::parse(&std::fs::read_to_string(lab.directory().join("summary.json")).unwrap());
    summary.check().unwrap();
    summary
}

/// What the collector logged.
fn eve(lab: &Lab) -> String {
    std::fs::read_to_string(lab.directory().join("log/eve.json")).unwrap()
}
