//! Command lines that cannot be done: one clear line, the right exit code, nothing left behind.

mod refusals;
mod unreadable;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vxtap_tests::process::{Finished, run_within};

/// Refusing takes no time; a name service may take its own.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs `command`, which must exit with `code`, name every one of `words` in one line of error, and leave `directory`
/// as it is.
fn refused(command: &mut Command, directory: &Path, code: i32, words: &[&str]) {
    let before = listing(directory);
    let finished = run_within(LIMIT, command.current_dir(directory));
    let told = format!("{command:?}: exit code {}, said:\n{}", finished.code(), finished.stderr);
    assert_eq!(finished.code(), code, "{told}");
    assert!(!finished.panicked(), "{told}");
    assert_eq!(finished.stdout, "", "{told}");
    let line = the_error(&finished).unwrap_or_else(|| panic!("no single line of error from {told}"));
    for word in words {
        assert!(line.contains(word), "no '{word}' in the error of {told}");
    }
    if let Some(twice) = said_twice(&line) {
        panic!("'{twice}' is said twice by {told}");
    }
    assert_eq!(listing(directory), before, "files were left behind by {told}");
}

/// The line that tells the error: the only one but for log lines, or the first one where the place in a file or the
/// usage is shown below it.
fn the_error(finished: &Finished) -> Option<String> {
    let mut lines = finished.stderr.lines().filter(|line| !line.is_empty() && !line.contains(" INFO "));
    let first = lines.next()?.to_owned();
    let shown =
        |line: &str| line.starts_with(' ') || line.starts_with("Usage:") || line.starts_with("For more information");
    lines.all(shown).then_some(first)
}

/// A part of `line` between colons that stands in it more than once.
fn said_twice(line: &str) -> Option<&str> {
    let parts: Vec<&str> = line.split(": ").collect();
    parts
        .iter()
        .enumerate()
        .find(|(place, part)| part.len() > 3 && parts[..*place].contains(part))
        .map(|(_, part)| *part)
}

fn listing(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
