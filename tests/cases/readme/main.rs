//! The README does what it says: every command that it shows as runnable is run, as it stands.

use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use vxtap_tests::capture_file;
use vxtap_tests::process::run_within;
use vxtap_tests::programs;
use vxtap_tests::readme::{blocks, shell};
use vxtap_tests::summary::{self, DemoSummary};

/// For all commands of one block together.
const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn every_command_that_the_readme_shows_as_runnable_runs() {
    let text = fs::read_to_string(programs::workspace().join("README.md")).expect("a README.md");
    let blocks = blocks(&text, "sh");
    assert!(!blocks.is_empty(), "README.md has no block tagged `sh`");
    // One directory for all of them: later commands may use what earlier ones made.
    let directory = TempDir::new().unwrap();
    for block in &blocks {
        let finished = run_within(LIMIT, &mut shell(&block.commands, directory.path(), programs::directory()));
        let said = format!("{}{}", finished.stdout, finished.stderr);
        assert!(finished.status.success(), "the block at line {}: {}\n{said}", block.line, finished.status);
        assert!(!finished.panicked(), "the block at line {}:\n{said}", block.line);
    }
    let all: Vec<&str> = blocks.iter().flat_map(|block| &block.commands).map(String::as_str).collect();
    for word in ["demo ", "read ", "check "] {
        assert!(all.iter().any(|command| command.contains(word)), "no runnable command of the README has '{word}'");
    }
}

#[test]
fn the_demo_of_the_readme_leaves_captures_and_a_balanced_ledger() {
    let text = fs::read_to_string(programs::workspace().join("README.md")).expect("a README.md");
    let commands: Vec<String> = blocks(&text, "sh").into_iter().flat_map(|block| block.commands).collect();
    let demo: Vec<String> = commands.into_iter().filter(|command| command.contains(" demo ")).collect();
    let directory = TempDir::new().unwrap();
    let finished = run_within(LIMIT, &mut shell(&demo, directory.path(), programs::directory()));
    assert!(finished.status.success(), "{}", finished.stderr);
    let written: DemoSummary = summary::parse(&fs::read_to_string(directory.path().join("demo.json")).unwrap());
    written.check().unwrap();
    let records = capture_file::read_all(&directory.path().join("demo-captures"));
    assert_eq!(records.len() as u64, written.collector.ledger.captured);
}
