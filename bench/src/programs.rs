//! Where the programs are that are measured, and which others this machine has.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// Where a program is to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// Network namespace; `None` is the one of the benchmark.
    pub(crate) namespace: Option<String>,
    /// The only CPU that it may use.
    pub(crate) cpu: Option<usize>,
    /// How far it stands back behind others that want the same CPU.
    pub(crate) nice: Option<u8>,
    /// A directory that is a file system of its own in memory with so many bytes, for this program alone.
    pub(crate) small_directory: Option<(PathBuf, u64)>,
}

impl Place {
    pub(crate) fn on_cpu(cpu: usize) -> Self {
        Self { cpu: Some(cpu), ..Self::default() }
    }

    /// A command that runs `program` here, undisturbed by settings of the one who runs the benchmark. What stands in front
    /// of it replaces itself by what follows, so that the process is the program's in the end.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        let mut add = |line: &str| words.extend(line.split(' ').map(OsString::from));
        if let Some(namespace) = &self.namespace {
            add(&format!("ip netns exec {namespace}"));
        }
        if let Some(cpu) = self.cpu {
            // More than one CPU, or there is nothing to choose.
            if cpus() > 1 {
                add(&format!("taskset -c {}", cpu % cpus()));
            }
        }
        if let Some(nice) = self.nice {
            add(&format!("nice -n {nice}"));
        }
        if let Some((directory, bytes)) = &self.small_directory {
            add("unshare --mount sh -c");
            words.push(format!("mount -t tmpfs -o size={bytes} vxtap-bench \"$0\" && exec \"$@\"").into());
            words.push(directory.into());
        }
        words.push(program.into());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VXTAP_")) {
            command.env_remove(name);
        }
        command
    }
}

/// CPUs that there are.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The directory with `vxtap-collector` and `vxtap-sender`: `VXTAP_PROGRAMS`, or where cargo builds them now, beside
/// this program and with the profile `release`.
pub(crate) fn directory() -> anyhow::Result<PathBuf> {
    if let Some(directory) = env::var_os("VXTAP_PROGRAMS") {
        return Ok(directory.into());
    }
    let own = env::current_exe().context("find the benchmark's own program")?;
    let target = own.ancestors().nth(2).context("the benchmark's program is not in target/PROFILE")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the benchmark is in no workspace")?;
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["build", "--release", "-p", "vxtap-collector", "-p", "vxtap-sender"]);
    let status = command.arg("--target-dir").arg(target).status().context("start cargo")?;
    ensure!(status.success(), "the programs do not build");
    Ok(target.join("release"))
}

/// Whether there is a program `name` on the path.
pub(crate) fn installed(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(name).is_file())
}

/// Whether namespaces and mounts can be made.
pub(crate) fn have_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The first line of what `name` says of its version; `None` if it is not installed.
pub(crate) fn version(name: &str) -> Option<String> {
    if !installed(name) {
        return None;
    }
    let flag = if name == "softflowd" { "-h" } else { "--version" };
    let output = Command::new(name).arg(flag).stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let numbered = |line: &&str| line.contains(|c: char| c.is_ascii_digit());
    let mut lines = said.lines().filter(numbered);
    let line = lines.clone().find(|line| line.contains("version")).or_else(|| lines.next())?;
    Some(line.split(". ").next().unwrap_or(line).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_wraps_the_program_in_what_brings_it_there() {
        let place = Place {
            namespace: Some("there".into()),
            nice: Some(15),
            small_directory: Some(("/small".into(), 64)),
            ..Place::default()
        };
        let command = place.command(Path::new("program"));
        let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
        let mount = "mount -t tmpfs -o size=64 vxtap-bench \"$0\" && exec \"$@\"";
        let expected = ["ip", "netns", "exec", "there", "nice", "-n", "15", "unshare", "--mount", "sh", "-c", mount];
        assert_eq!(words[..12], expected);
        assert_eq!(words[12..], ["/small", "program"]);
    }

    #[test]
    fn a_program_that_is_not_there_has_no_version() {
        assert_eq!(version("vxtap-no-such-program"), None);
        assert!(installed("sh"));
    }
}
