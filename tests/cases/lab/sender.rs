//! Our sender in the lab's host, capturing.

use serde_json::Value;
use vxtap_tests::deadline::SOON;
use vxtap_tests::lab::{Lab, VNI};
use vxtap_tests::process::{Running, Signal};
use vxtap_tests::programs::Program;

/// A sender that captures.
pub(crate) struct Sender {
    /// Its process.
    pub(crate) process: Running,
}

impl Sender {
    /// Captures from `interfaces` and sends all to one target.
    pub(crate) fn start(lab: &Lab, interfaces: &[&str], to: &str, options: &[&str]) -> Self {
        let vni = VNI.to_string();
        Self::start_by(lab, &[], &[interfaces, &["--to", to, "--vni", &vni], options].concat())
    }

    /// Captures from `mir0` by a policy, which it writes into the lab's directory.
    pub(crate) fn start_with(lab: &Lab, policy: &str, options: &[&str]) -> Self {
        let file = lab.directory().join("policy.toml");
        std::fs::write(&file, policy).expect("a writable directory");
        let file = file.to_string_lossy().into_owned();
        Self::start_by(lab, &[], &[&["mir0", "--policy", &file], options].concat())
    }

    /// Captures with `arguments`, started by a program that takes a command line where there is one.
    pub(crate) fn start_by(lab: &Lab, by: &[&str], arguments: &[&str]) -> Self {
        let program = Program::Sender.path();
        let mut command = match by {
            [] => lab.host.command(&program),
            [first, arguments @ ..] => {
                let mut command = lab.host.command(first);
                command.args(arguments).arg(&program);
                command
            }
        };
        command.arg("capture").args(arguments).args(["--summary", "-"]);
        let mut process = Running::start(&mut command);
        process.wait_for_line(SOON, "that it captures", |line| line.contains("capturing from").then_some(()));
        Self { process }
    }

    /// Ends it: its summary, of which every sum holds and nothing was lost.
    pub(crate) fn stop(self) -> Value {
        self.process.signal(Signal::TERM);
        let finished = self.process.finish_within(SOON).success();
        assert!(!finished.panicked(), "{}", finished.stderr);
        let summary: Value = serde_json::from_str(&finished.stdout).unwrap();
        assert_eq!((count(&summary, "ring_dropped"), count(&summary, "send_errors")), (0, 0), "{summary}");
        summary
    }
}

/// The count of that name in a summary.
pub(crate) fn count(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("no {name} in {summary}"))
}
