//! Files and directories that this user may not read or write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::{Builder, TempDir};
use vxtap_tests::captures::Captures;
use vxtap_tests::needs::is_root;
use vxtap_tests::programs::{Program, forget_settings};

use super::refused;

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

/// A directory that anybody may read and nobody but this user may write.
fn open_directory() -> TempDir {
    Builder::new().permissions(Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// `program` as a user who is not root: root may read and write everything. The program is copied to where that user
/// can reach it.
fn as_ordinary_user(program: Program, place: &Path) -> Command {
    if !is_root() {
        return program.command();
    }
    let copy = place.join(program.name());
    // By another process: a test that starts a program at this moment would inherit a copy that is open for writing, and
    // nobody can run a file that somebody has open for writing.
    let copied = Command::new("cp").arg(program.path()).arg(&copy).status().unwrap();
    assert!(copied.success());
    let mut command = Command::new(copy);
    forget_settings(&mut command);
    command.uid(NOBODY).gid(NOBODY);
    command
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let Some(captures) = Captures::open() else { return };
    let (scratch, programs) = (open_directory(), open_directory());
    let file = scratch.path().join("secret.pcap");
    fs::copy(captures.named("zeek_vxlan_http").path, &file).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    let words = ["secret.pcap", "Permission denied"];
    let mut read = as_ordinary_user(Program::Collector, programs.path());
    refused(read.args(["read", "secret.pcap"]), scratch.path(), 2, &words);
    let mut replay = as_ordinary_user(Program::Sender, programs.path());
    let arguments = ["replay", "secret.pcap", "--to", "127.0.0.1", "--vni", "1"];
    refused(replay.args(arguments), scratch.path(), 2, &words);
}

#[test]
fn a_directory_that_may_not_be_written_is_named() {
    let (scratch, programs) = (open_directory(), open_directory());
    let locked = scratch.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, Permissions::from_mode(0o555)).unwrap();
    for (option, place, why) in [
        ("--write", "locked", "with mode 0555"),
        ("--write", "locked/new", "Permission denied"),
        ("--log", "locked", "Permission denied"),
        ("--log", "locked/new", "Permission denied"),
    ] {
        let mut run = as_ordinary_user(Program::Collector, programs.path());
        run.args(["run", "--listen", "vxlan://127.0.0.1:0", "--api", "none", option, place]);
        refused(&mut run, scratch.path(), 1, &[place, why]);
    }
}
