//! Commands in a document, and running them as they stand there.
//!
//! A fenced block tagged `sh` holds commands that anybody can run in seconds, one on each line that begins with `$ `
//! (a line that ends in `\` goes on in the next one). Blocks with another tag are for reading.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// A block of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Line of its opening fence, from 1.
    pub line: usize,
    /// Its commands.
    pub commands: Vec<String>,
}

/// The blocks of `markdown` that are tagged `tag` and have commands.
pub fn blocks(markdown: &str, tag: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<&str> = None;
    let mut goes_on = false;
    for (number, line) in markdown.lines().enumerate() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            open = if open.is_some() { None } else { Some(fence.trim()) };
            goes_on = false;
            if open == Some(tag) {
                found.push(Block { line: number + 1, commands: Vec::new() });
            }
            continue;
        }
        let Some(block) = found.last_mut().filter(|_| open == Some(tag)) else { continue };
        let text = if goes_on { Some(line) } else { line.trim_start().strip_prefix("$ ") };
        let Some(text) = text else { continue };
        match block.commands.last_mut().filter(|_| goes_on) {
            // Writing to a string cannot fail.
            Some(command) => drop(write!(command, "\n{text}")),
            None => block.commands.push(text.to_owned()),
        }
        goes_on = text.ends_with('\\');
    }
    found.retain(|block| !block.commands.is_empty());
    found
}

/// A shell that runs `commands` in `directory` one after the other and stops at the first that fails.
///
/// The commands are not touched: in front of `PATH` come `programs`, the directory of the programs as they are built for
/// this test, and a `cargo` that runs those (what would be `cargo run --release -p P -- …`), since a build belongs to no
/// test.
///
/// # Panics
/// When the directory cannot be written.
pub fn shell(commands: &[String], directory: &Path, programs: &Path) -> Command {
    let bin = directory.join(".bin");
    fs::create_dir_all(&bin).expect("a writable directory");
    let cargo = bin.join("cargo");
    fs::write(&cargo, CARGO).expect("a writable directory");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("a file of our own");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &commands.join("\n")]).current_dir(directory);
    command.env("PATH", format!("{}:{}:{path}", bin.display(), programs.display()));
    command.env("VXTAP_BUILT", programs);
    command
}

/// Stands in for cargo in commands of a document: see [`shell`].
const CARGO: &str = r#"#!/bin/bash
set -eu
subcommand=$1; shift
package=
program=
while [ $# -gt 0 ]; do
    case $1 in
        -p|--package) package=$2; shift 2 ;;
        --bin) program=$2; shift 2 ;;
        --release|--workspace|--quiet|-q|--locked) shift ;;
        --) shift; break ;;
        *) echo "cargo $subcommand $1: the test of the documents does not know this" >&2; exit 97 ;;
    esac
done
case $subcommand in
    run) program=${program:-$package}; exec "$VXTAP_BUILT/${program:?cargo run needs -p or --bin here}" "$@" ;;
    build|test) ;; # Both came before: this very test runs in what they made.
    *) echo "cargo $subcommand: the test of the documents does not know this" >&2; exit 97 ;;
esac
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadline::SOON;
    use crate::process::run_within;

    const DOCUMENT: &str = "Text `$ no`.\n```sh\n$ echo one \\\n    two\nshown output\n$ echo three\n```\n```console\n$ sudo no\n```\n   ```sh\n   $ echo four\n   ```\n```sh\nonly words\n```\n";

    #[test]
    fn commands_are_the_dollar_lines_of_blocks_with_the_tag() {
        let first = Block { line: 2, commands: vec!["echo one \\\n    two".to_owned(), "echo three".to_owned()] };
        let second = Block { line: 11, commands: vec!["echo four".to_owned()] };
        assert_eq!(blocks(DOCUMENT, "sh"), [first, second]);
    }

    #[test]
    fn a_command_that_fails_stops_the_block_and_tells() {
        let directory = tempfile::tempdir().unwrap();
        let run = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            let finished = run_within(SOON, &mut shell(&lines, directory.path(), Path::new("/nowhere")));
            (finished.code(), finished.stdout)
        };
        assert_eq!(run(&["echo a \\\n b", "cargo test --workspace", "pwd > here"]), (0, "a b\n".to_owned()));
        assert!(directory.path().join("here").is_file());
        assert_eq!(run(&["false | true", "echo b"]), (1, String::new()));
        assert_eq!(run(&["cargo publish"]).0, 97);
    }
}
