//! Where the programs under test are.
//!
//! Cargo tells a test the paths of its own package's programs only, so they are looked for beside the test itself,
//! after `cargo build` with the same profile and target directory has made them or found them fresh.
//! `VXTAP_PROGRAMS=DIR` takes those in DIR as they are.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program of this workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `vxtap-collector`.
    Collector,
    /// `vxtap-sender`.
    Sender,
    /// `vxtap-tui`.
    Tui,
    /// `vxtap-extcap`.
    Extcap,
}

impl Program {
    /// Every program.
    pub const ALL: [Self; 4] = [Self::Collector, Self::Sender, Self::Tui, Self::Extcap];

    /// Its file name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collector => "vxtap-collector",
            Self::Sender => "vxtap-sender",
            Self::Tui => "vxtap-tui",
            Self::Extcap => "vxtap-extcap",
        }
    }

    /// Where it is, built from the sources as they are now.
    pub fn path(self) -> PathBuf {
        directory().join(self.name())
    }

    /// A command that runs it, undisturbed by settings of the one who runs the tests.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.path());
        forget_settings(&mut command);
        command
    }
}

/// Takes the variables out of `command`'s environment that the programs would take for settings.
pub fn forget_settings(command: &mut Command) {
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VXTAP_")) {
        command.env_remove(name);
    }
}

/// The directory with the programs.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| env::var_os("VXTAP_PROGRAMS").map_or_else(build, PathBuf::from))
}

/// The workspace's root directory.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a member of the workspace")
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    let (target, profile) = place(&test);
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from(env!("CARGO")));
    let mut command = Command::new(cargo);
    // The whole workspace, so that shared dependencies get the same features as in `cargo test --workspace`.
    command.current_dir(workspace()).args(["build", "--quiet", "--workspace", "--bins"]);
    // With a test (this one, so it is there already) development dependencies count, as they do in `cargo test`: otherwise
    // shared dependencies would be built a second time with fewer features.
    command.args(["--test", &name_of(&test)]);
    command.args(["--profile", profile_flag(&profile)]).arg("--target-dir").arg(target);
    let output = command.output().expect("cargo starts");
    assert!(output.status.success(), "the programs do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    target.join(profile)
}

/// Target directory and profile directory of a test executable (`target/debug/deps/name-0123`).
fn place(test: &Path) -> (&Path, String) {
    let directory = test.ancestors().nth(2).expect("a test is in target/PROFILE/deps");
    let profile = directory.file_name().expect("PROFILE has a name").to_string_lossy().into_owned();
    (directory.parent().expect("target"), profile)
}

/// The name of the target that the executable at `test` was built from: its file name without the hash.
fn name_of(test: &Path) -> String {
    let name = test.file_stem().expect("a file").to_string_lossy();
    name.rsplit_once('-').map_or(&*name, |(name, _)| name).to_owned()
}

/// Cargo names the profile `dev` but its directory `debug`.
fn profile_flag(directory: &str) -> &str {
    if directory == "debug" { "dev" } else { directory }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_directory_and_profile_follow_from_the_path_of_the_test() {
        let (target, profile) = place(Path::new("/t/release/deps/live-1f"));
        assert_eq!((target, profile.as_str()), (Path::new("/t"), "release"));
        assert_eq!(name_of(Path::new("/t/debug/deps/command_lines-0a1b")), "command_lines");
        assert_eq!((profile_flag("debug"), profile_flag("release")), ("dev", "release"));
    }
}
