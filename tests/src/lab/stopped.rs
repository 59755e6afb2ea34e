//! One thread of a process, stopped while the others run: what no signal can do, and a debugger does.

use std::fs;
use std::process::Command;

use crate::deadline::{SOON, wait_until};
use crate::process::Running;

/// Attaches to the thread that its argument numbers, stops it, and waits to be killed.
const SCRIPT: &str = r#"
import ctypes, os, signal, sys
libc, thread = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
def ptrace(request):
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(thread), None, None) != 0:
        sys.exit("ptrace: " + os.strerror(ctypes.get_errno()))
ptrace(0x4206)
ptrace(0x4207)
os.waitpid(thread, 0x40000000)
print("stopped", file=sys.stderr, flush=True)
signal.pause()
"#;

/// A thread that stands still; it goes on when this is dropped.
#[derive(Debug)]
pub struct StoppedThread {
    debugger: Option<Running>,
    status: String,
}

impl StoppedThread {
    /// Stops the thread called `name` of the process `id`. Takes python3, and root.
    ///
    /// # Panics
    /// When there is no such thread, or it cannot be stopped.
    pub fn of(id: u32, name: &str) -> Self {
        let threads = format!("/proc/{id}/task");
        let mut entries = fs::read_dir(&threads).expect("the process runs").flatten();
        let thread = entries
            .find(|entry| fs::read_to_string(entry.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name));
        let thread = thread.unwrap_or_else(|| panic!("process {id} has no thread '{name}'")).file_name();
        let thread = thread.to_string_lossy();
        let mut debugger = Running::start(Command::new("python3").args(["-c", SCRIPT, &*thread]));
        debugger.wait_for_line(SOON, "that the thread is stopped", |line| (line == "stopped").then_some(()));
        Self { debugger: Some(debugger), status: format!("{threads}/{thread}/stat") }
    }
}

impl Drop for StoppedThread {
    fn drop(&mut self) {
        // The kernel lets go of what a debugger that dies has stopped.
        drop(self.debugger.take());
        if !std::thread::panicking() {
            wait_until(SOON, "the thread to run again", || {
                fs::read_to_string(&self.status).is_ok_and(|stat| !stat.contains(") t "))
            });
        }
    }
}
