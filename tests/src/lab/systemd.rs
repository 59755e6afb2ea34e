//! systemd itself, as the first process of namespaces of its own, over a copy of this machine's file system that is gone afterwards.
//!
//! Nothing of it reaches the machine: what is written goes into memory, `/sys` and `/proc/sys` cannot be written, and of the units that a
//! machine starts with there are only those before `basic.target`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::deadline::{SOON, within};
use crate::needs::{Need, have_root, have_tools, skip};
use crate::process::{Finished, Running, run_within};
use crate::programs::{Program, workspace};

/// Programs that make the namespaces and ask systemd.
const TOOLS: [&str; 5] = ["unshare", "nsenter", "pivot_root", "ip", "systemctl"];
/// systemd where Debian has it.
const INIT: &str = "/lib/systemd/systemd";
/// A boot takes three seconds.
const BOOT_WITHIN: Duration = Duration::from_mins(1);
/// For a command: a unit may take its time to start or to stop.
const COMMAND_WITHIN: Duration = Duration::from_secs(45);

/// Outside: a control group of its own, then the namespaces. `$1` is the directory, `$2` the group's name, `$3` what is run inside.
const OUTSIDE: &str = r#"
set -e
mount -t cgroup2 cgroup2 "$1/groups"
mkdir "$1/groups/$2"
echo $$ >"$1/groups/$2/cgroup.procs"
exec unshare --mount --pid --fork --kill-child --uts --ipc --net --cgroup sh -c "$3" inside "$1"
"#;

/// Inside: file systems, then systemd in the place of the shell.
const INSIDE: &str = r#"
set -e
mount -t tmpfs -o size=1g,mode=755 tmpfs "$1/scratch"
cd "$1/scratch"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
cd root
cp -r "$1/files/." .
: >etc/machine-id
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do : >dev/$device; mount --bind /dev/$device dev/$device; done
ln -s /proc/self/fd dev/fd
mkdir dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ip link set lo up
mkdir -p mnt/old
pivot_root . mnt/old
cd /
umount -l mnt/old
exec env -i container=vxtap PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --log-target=journal --show-status=no --unit=basic.target
"#;

/// Removes control groups, the innermost first, once their processes are gone.
const SWEEP: &str = r#"
mount -t cgroup2 cgroup2 "$1/groups"
for try in $(seq 100); do
    find "$1/groups/$2" -depth -type d -exec rmdir {} + 2>/dev/null && exit
    sleep 0.05
done
"#;

/// How many this process has started: each has a control group of its own.
static BOOTED: AtomicU32 = AtomicU32::new(0);

/// A systemd that runs. Dropping it ends all that it has started.
#[derive(Debug)]
pub struct Systemd {
    /// Dropped before the directory goes.
    process: Option<Running>,
    /// The number that its first process has out here.
    init: u32,
    group: String,
    directory: TempDir,
}

impl Systemd {
    /// Starts one with our programs in `/usr/bin`, the units of `deploy/`, and `files`, each with its path; skips without root, systemd
    /// or tools.
    pub fn boot(files: &[(&str, &str)]) -> Option<Self> {
        if !have_root() || !have_tools(&TOOLS) {
            return None;
        }
        if !Path::new(INIT).exists() {
            skip(Need::Tools, &format!("there is no {INIT}"));
            return None;
        }
        let directory = TempDir::new().expect("a temporary directory");
        for name in ["groups", "scratch"] {
            fs::create_dir(directory.path().join(name)).expect("a new directory");
        }
        let place = |path: &str| {
            let place = directory.path().join("files").join(path.trim_start_matches('/'));
            fs::create_dir_all(place.parent().expect("it is in one")).expect("a new directory");
            place
        };
        for program in [Program::Collector, Program::Sender] {
            // The sender's unit is for one that was built here.
            let to = if program == Program::Sender { "/usr/local/bin" } else { "/usr/bin" };
            fs::copy(program.path(), place(&format!("{to}/{}", program.name()))).expect("a copy of the program");
        }
        for unit in units() {
            let name = unit.file_name().expect("a file").to_string_lossy().into_owned();
            fs::copy(&unit, place(&format!("/etc/systemd/system/{name}"))).expect("a copy of the unit");
        }
        for (path, text) in files {
            fs::write(place(path), text).expect("a new file");
        }
        let group = format!("vxtap-{}-{}", process::id(), BOOTED.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", OUTSIDE, "outside"]);
        let process = Running::start(command.arg(directory.path()).arg(&group).arg(INSIDE));
        let mut systemd = Self { process: Some(process), init: 0, group, directory };
        systemd.init = within(BOOT_WITHIN, "the first process of the namespaces", || systemd.first_process());
        within(BOOT_WITHIN, "basic.target", || {
            let _ = systemd.first_process()?;
            systemd.attempt("systemctl is-active basic.target").status.success().then_some(())
        });
        Some(systemd)
    }

    /// The process of systemd, once it is there.
    fn first_process(&mut self) -> Option<u32> {
        let process = self.process.as_mut().expect("it was started");
        assert!(!process.has_ended(), "systemd has ended: {}", process.stderr());
        let id = process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        let child = children.split_whitespace().next()?;
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        if name.trim() == "systemd" { child.parse().ok() } else { None }
    }

    /// A command that runs in there.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.init.to_string());
        command.args(["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--"]).arg(program);
        crate::programs::forget_settings(&mut command);
        command
    }

    /// Runs a line for the shell in there, which may fail.
    pub fn attempt(&self, line: &str) -> Finished {
        run_within(COMMAND_WITHIN, self.command("/bin/sh").args(["-c", line]))
    }

    /// Runs a line for the shell in there: what it says on standard output, without the last line's end.
    ///
    /// # Panics
    /// When it fails; with what the units have said.
    pub fn run(&self, line: &str) -> String {
        let finished = self.attempt(line);
        if !finished.status.success() {
            let journal = self.attempt("journalctl --no-pager --output=cat --lines=60").stdout;
            panic!("{line}: {}\n{}\n{}\nthe journal:\n{journal}", finished.status, finished.stdout, finished.stderr);
        }
        finished.stdout.trim_end().to_owned()
    }

    /// A property of `unit`, as `systemctl show` tells it.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&format!("systemctl show --property={name} --value {unit}"))
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        drop(self.process.take());
        let mut sweep = Command::new("unshare");
        sweep.args(["--mount", "--propagation", "private", "sh", "-c", SWEEP, "sweep"]).arg(self.directory.path());
        // What is not swept is empty, and its name is not used again while this process lives.
        let _ = run_within(SOON, sweep.arg(&self.group));
    }
}

/// The units that this project has.
pub fn units() -> Vec<PathBuf> {
    let entries = fs::read_dir(workspace().join("deploy")).expect("the directory of what is deployed");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_unit = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "service" || kind == "socket");
    let mut units: Vec<PathBuf> = paths.filter(is_unit).collect();
    units.sort();
    units
}
