//! The documents do what they say: every command that the README shows as runnable is run, as it stands, and every command
//! line of ours in any document is one that its program takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use vxtap_tests::capture_file;
use vxtap_tests::command_lines::command_lines;
use vxtap_tests::deadline::SOON;
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

/// The README and everything in `docs`.
fn documents() -> Vec<PathBuf> {
    fn below(directory: &Path, found: &mut Vec<PathBuf>) {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found = vec![programs::workspace().join("README.md")];
    below(&programs::workspace().join("docs"), &mut found);
    found
}

#[test]
fn every_command_line_of_ours_in_a_document_is_one_that_its_program_takes() {
    let mut seen = 0;
    let mut refused: Vec<String> = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).expect("a document");
        for line in command_lines(&text) {
            // Arguments are looked at from left to right: a wrong one is told before --help at the end ends it.
            let mut command = line.program.command();
            let finished = run_within(SOON, command.args(&line.arguments).arg("--help"));
            seen += 1;
            if finished.code() != 0 {
                let place = format!("{}:{}", path.display(), line.line);
                refused.push(format!("{place}: {} {:?}\n{}\n", line.program.name(), line.arguments, finished.stderr));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join(""));
    assert!(seen > 40, "only {seen} command lines were found");
}

#[test]
fn every_page_that_a_document_links_to_is_there() {
    for path in documents() {
        let text = fs::read_to_string(&path).expect("a document");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let target = path.parent().expect("a directory").join(file);
            assert!(target.exists(), "{} links to {link}, which is not there", path.display());
        }
    }
}
