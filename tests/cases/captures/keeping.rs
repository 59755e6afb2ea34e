//! What is done with closed files, whatever their format: program, compression, limits, and the next start that goes on with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use vxtap_analyzers::snapshot::KeptSnapshot;
use vxtap_tests::capture_file;
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;

use super::{generate, shared_machine};

const PACKETS: u64 = 4000;
/// The least that `--keep-bytes` takes.
const MOST_BYTES: u64 = 1 << 20;

/// Names in `directory` that do not begin with a dot, without the link, sorted.
fn names_in(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.starts_with('.') && name != "current").collect();
    names.sort();
    names
}

/// A program that adds its arguments and what it is told in its environment to the file `told`.
fn hook(place: &Path, told: &Path) -> String {
    let program = place.join("hook of mine");
    fs::write(&program, format!("#!/bin/sh\necho \"$2 $VXTAP_FILE_RECORDS\" >> '{}'\n", told.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    format!("\"{}\" {{file}} {{name}}", program.display())
}

fn settings(directory: &Path, format: &str) -> Settings {
    let settings = Settings::new(2).arg("--write").arg(directory).arg("--capture-format").arg(format);
    settings.arg("--rotate-bytes").arg("256KiB")
}

fn send(collector: &Collector) {
    generate(collector.address(), &format!("--vni 5 --size 1000 --flows 50 --pps 10000 --packets {PACKETS}"));
    wait_until(SOON, "all packets in files", || collector.snapshot().ledger.captured == PACKETS);
}

fn kept(collector: &Collector) -> KeptSnapshot {
    collector.snapshot().capture.expect("captures are written").kept
}

/// Packets that a search for nothing in particular finds in `directory`.
fn extracted(directory: &Path) -> usize {
    let place = TempDir::new().unwrap();
    let file = place.path().join("found.pcapng");
    let mut command = Program::Collector.command();
    command.arg("extract").arg(directory).args(["--filter", "ip or ip6"]).arg("-o").arg(&file);
    let finished = run_within(SOON, &mut command).success();
    assert!(!finished.panicked(), "{}", finished.stderr);
    capture_file::read(&file).len()
}

/// Where the link in `directory` leads.
fn current(directory: &Path) -> PathBuf {
    fs::read_link(directory.join("current")).expect("a link")
}

fn files_are_kept(format: &str, extension: &str) {
    let place = TempDir::new().unwrap();
    let (directory, told) = (place.path().join("captures"), place.path().join("told"));
    let first = settings(&directory, format).arg("--capture-compress").arg("1").arg("--capture-hook");
    let collector = first.arg(hook(place.path(), &told)).start();
    send(&collector);
    let open = current(&directory);
    assert!(open.to_str().is_some_and(|name| name.ends_with(extension)), "{}", open.display());
    collector.stop();

    // Each was compressed and then given to the program, in order, with what is in it; the last one at the end.
    let names = names_in(&directory);
    assert!(names.len() > 10 && names.iter().all(|name| name.ends_with(&format!("{extension}.zst"))), "{names:?}");
    let told = fs::read_to_string(&told).unwrap();
    let told: Vec<(&str, u64)> = told
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, count)| (name, count.parse().unwrap()))
        .collect();
    assert_eq!(told.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    assert_eq!(told.iter().map(|(_, count)| count).sum::<u64>(), PACKETS);
    assert_eq!(current(&directory), Path::new(names.last().unwrap()));
    assert_eq!(extracted(&directory), PACKETS as usize, "a search finds what was compressed");

    // The next run knows them, and deletes them first.
    let collector = settings(&directory, format).arg("--keep-bytes").arg("1MiB").start();
    assert_eq!(kept(&collector).files, names.len() as u64);
    send(&collector);
    wait_until(SOON, "files that are within their limit", || kept(&collector).bytes <= MOST_BYTES);
    assert!(kept(&collector).deleted_files as usize > names.len(), "{:?}", kept(&collector));
    let stopped = collector.stop();
    assert_eq!(stopped.summary.ledger.captured, PACKETS);
    let left = names_in(&directory);
    assert!(!left.is_empty() && left.iter().all(|name| name.ends_with(extension) && !names.contains(name)), "{left:?}");
    assert_eq!(current(&directory), Path::new(left.last().unwrap()), "the newest are left");
    let bytes: u64 = left.iter().map(|name| directory.join(name).metadata().unwrap().len()).sum();
    // The statistics that end a file come after the last look.
    assert!(bytes <= MOST_BYTES + (16 << 10), "{bytes}");
    assert_eq!(extracted(&directory), capture_file::read_all(&directory).len());
}

#[test]
fn files_are_compressed_given_to_a_program_found_by_the_next_run_and_deleted_beyond_their_limit() {
    let _machine = shared_machine();
    files_are_kept("pcapng", "pcapng");
}

#[test]
fn classic_files_are_compressed_given_to_a_program_found_by_the_next_run_and_deleted_beyond_their_limit() {
    let _machine = shared_machine();
    files_are_kept("pcap", "pcap");
    files_are_kept("pcap-ns", "pcap");
}
