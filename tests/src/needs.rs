//! What a test needs from the machine, and what happens when it is not there.
//!
//! `VXTAP_NO_SKIP=1` turns every skip into a failure; `VXTAP_NO_SKIP=captures,tools` those of the needs named.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::deadline::SOON;
use crate::process::run_within;

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The captures with ground truth.
    Captures,
    /// A program that is not ours.
    Tools,
    /// Root, for namespaces.
    Root,
    /// A file system on a disk, for temporary files.
    Disk,
}

impl Need {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Captures => "captures",
            Self::Tools => "tools",
            Self::Root => "root",
            Self::Disk => "disk",
        }
    }
}

/// Says that a test is skipped for want of `need`.
///
/// # Panics
/// When `VXTAP_NO_SKIP` forbids it.
pub fn skip(need: Need, why: &str) {
    assert!(!forbids(env::var("VXTAP_NO_SKIP").ok().as_deref(), need), "VXTAP_NO_SKIP is set, and {why}");
    println!("skipped: {why}");
}

fn forbids(no_skip: Option<&str>, need: Need) -> bool {
    match no_skip {
        None | Some("" | "0") => false,
        Some("1") => true,
        Some(list) => list.split(',').any(|name| name.trim() == need.as_str()),
    }
}

/// Whether every one of `names` is installed; skips otherwise.
pub fn have_tools(names: &[&str]) -> bool {
    for name in names {
        if find_tool(name).is_none() {
            skip(Need::Tools, &format!("{name} is not installed"));
            return false;
        }
    }
    true
}

/// Whether the test runs as root; skips otherwise.
pub fn have_root() -> bool {
    let root = is_root();
    if !root {
        skip(Need::Root, "this needs root");
    }
    root
}

/// Whether the test runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where the program `name` is: on `PATH`, or where Debian puts what only root runs.
pub fn find_tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(sbin).map(|dir: PathBuf| dir.join(name)).find(|file: &PathBuf| is_file(file))
}

/// A directory for temporary files on a file system that takes O_DIRECT for what it is, as tmpfs does not; skips without one.
pub fn disk() -> Option<PathBuf> {
    let places = [env::temp_dir(), "/var/tmp".into(), crate::programs::directory().to_owned()];
    let found = places.into_iter().find(|place| {
        let kind = run_within(SOON, Command::new("stat").args(["-f", "-c", "%T"]).arg(place)).stdout;
        matches!(kind.trim(), "ext2/ext3" | "xfs" | "btrfs" | "f2fs" | "overlayfs")
    });
    if found.is_none() {
        skip(Need::Disk, "no temporary directory is on a disk");
    }
    found
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_is_forbidden_for_all_needs_or_for_those_named() {
        assert!(!forbids(None, Need::Root));
        assert!(!forbids(Some("0"), Need::Captures));
        assert!(forbids(Some("1"), Need::Root));
        assert!(forbids(Some("captures, tools"), Need::Tools));
        assert!(!forbids(Some("captures,tools"), Need::Root));
    }

    #[test]
    fn a_tool_is_found_only_where_it_is() {
        assert!(find_tool("sh").is_some());
        assert!(find_tool("no-such-tool-anywhere").is_none());
    }
}
