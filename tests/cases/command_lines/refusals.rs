//! One test for each thing that can be wrong.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use tempfile::TempDir;
use vxtap_tests::captures::Captures;
use vxtap_tests::programs::Program;

use super::refused;

fn command(program: Program, line: &str) -> Command {
    let mut command = program.command();
    command.args(line.split_whitespace());
    command
}

fn collector(line: &str) -> Command {
    command(Program::Collector, line)
}

fn sender(line: &str) -> Command {
    command(Program::Sender, line)
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let scratch = TempDir::new().unwrap();
    let words = ["no-such-file.pcap", "No such file"];
    refused(
        &mut collector("read no-such-file.pcap --write new --log new --summary new.json"),
        scratch.path(),
        2,
        &words,
    );
    refused(
        &mut sender("replay no-such-file.pcap --to 127.0.0.1 --vni 1 --summary new.json"),
        scratch.path(),
        2,
        &words,
    );
}

#[test]
fn one_missing_file_among_several_stops_all_before_anything_is_written() {
    let Some(captures) = Captures::open() else { return };
    let scratch = TempDir::new().unwrap();
    let good = captures.named("zeek_vxlan_http").path;
    let mut command = collector("read");
    command.arg(&good).args(["no-such-file.pcap", "--write", "new"]);
    refused(&mut command, scratch.path(), 2, &["no-such-file.pcap"]);
}

#[test]
fn a_directory_or_a_text_in_place_of_a_capture_is_named() {
    let scratch = TempDir::new().unwrap();
    fs::create_dir(scratch.path().join("folder")).unwrap();
    fs::write(scratch.path().join("notes.txt"), "these are the notes of a meeting, not packets").unwrap();
    fs::write(scratch.path().join("empty.pcap"), "").unwrap();
    for name in ["folder", "notes.txt", "empty.pcap"] {
        refused(&mut collector(&format!("read {name} --write new")), scratch.path(), 2, &[name]);
        refused(&mut sender(&format!("replay {name} --to 127.0.0.1 --vni 1")), scratch.path(), 2, &[name]);
    }
}

#[test]
fn a_file_without_packets_of_a_network_is_refused_by_the_name_of_its_link_type() {
    let Some(captures) = Captures::open() else { return };
    let scratch = TempDir::new().unwrap();
    let file = captures.named("pcpp_big_endian_pcap").path;
    let words = ["pcpp_big_endian_pcap.pcap", "netlink (253)"];
    let mut read = collector("read --write new");
    refused(read.arg(&file), scratch.path(), 2, &words);
    let mut replay = sender("replay --to 127.0.0.1 --vni 1");
    refused(replay.arg(&file), scratch.path(), 2, &words);
}

#[test]
fn copies_on_one_stream_are_not_looked_for_by_times_of_whole_batches() {
    let scratch = TempDir::new().unwrap();
    let words = ["'window'", "expected 'kernel'"];
    refused(&mut collector("run --dedup window --timestamps batch --write new"), scratch.path(), 2, &words);
    let words = ["'window'", "GRO", "expected it switched off"];
    refused(&mut collector("run --dedup window --no-gro=false --write new"), scratch.path(), 2, &words);
}

#[test]
fn a_port_in_use_is_named() {
    let scratch = TempDir::new().unwrap();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = format!("run --listen vxlan://{address} --api none --write new --log new");
    refused(&mut collector(&line), scratch.path(), 1, &[&address, "in use"]);
}

#[test]
fn an_api_port_in_use_is_named() {
    let scratch = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = format!("run --listen vxlan://127.0.0.1:0 --api {address} --write new --log new");
    refused(&mut collector(&line), scratch.path(), 1, &[&address, "in use"]);
}

#[test]
fn an_api_off_loopback_starts_only_with_a_token() {
    let scratch = TempDir::new().unwrap();
    let line = "run --listen vxlan://127.0.0.1:0 --api 0.0.0.0:0 --write new";
    refused(&mut collector(line), scratch.path(), 2, &["0.0.0.0", "token"]);
}

#[test]
fn an_output_below_a_file_is_named() {
    let Some(captures) = Captures::open() else { return };
    let scratch = TempDir::new().unwrap();
    fs::write(scratch.path().join("file"), "not a directory").unwrap();
    for output in ["--write file", "--log file", "--write file/below", "--log file/below"] {
        let run = format!("run --listen vxlan://127.0.0.1:0 --api none {output}");
        refused(&mut collector(&run), scratch.path(), 2, &["'file"]);
        let mut read = collector(&format!("read {output}"));
        refused(read.arg(captures.named("zeek_vxlan_http").path), scratch.path(), 2, &["'file"]);
    }
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_key_that_was_meant() {
    let scratch = TempDir::new().unwrap();
    fs::write(scratch.path().join("bad.toml"), "[pipeline]\nworkers = 2\nworkerz = 3\n").unwrap();
    for line in ["check --config bad.toml", "run --config bad.toml --write new", "demo --config bad.toml"] {
        refused(&mut collector(line), scratch.path(), 2, &["bad.toml:3:1", "workerz", "workers"]);
    }
    refused(&mut collector("check --config none.toml"), scratch.path(), 2, &["none.toml", "No such file"]);
}

#[test]
fn bad_values_and_unknown_flags_are_named_with_what_was_expected() {
    let scratch = TempDir::new().unwrap();
    for (line, words) in [
        ("run --listen tcp://127.0.0.1", &["tcp", "expected vxlan://"][..]),
        ("run --listen 10.0.0.300", &["10.0.0.300"]),
        ("run --workers 0", &["--workers", "'0'"]),
        ("run --no-such-flag", &["--no-such-flag"]),
        ("demo --seconds never", &["--seconds", "never"]),
        ("read --encapsulation gre file", &["gre"]),
    ] {
        refused(&mut collector(line), scratch.path(), 2, words);
    }
    for (line, words) in [
        ("replay file --to 127.0.0.1 --vni 16777216", &["16777216", "16777215"][..]),
        ("replay file --to 127.0.0.1:0 --vni 1", &["127.0.0.1:0"]),
        ("replay file --to 127.0.0.1 --vni 1 --pps 0", &["--pps"]),
        ("replay file --to 127.0.0.1 --vni 1 --pps 5 --top-speed", &["--top-speed"]),
        ("generate --to 127.0.0.1 --vni 1 --size 1", &["--size"]),
    ] {
        refused(&mut sender(line), scratch.path(), 2, words);
    }
    refused(&mut command(Program::Tui, "--connect ftp://127.0.0.1"), scratch.path(), 2, &["ftp"]);
}

#[test]
fn a_target_that_cannot_be_resolved_is_named() {
    let Some(captures) = Captures::open() else { return };
    let scratch = TempDir::new().unwrap();
    let mut replay = sender("replay --to no-such-host.invalid --vni 1");
    refused(replay.arg(captures.named("zeek_tls12").path), scratch.path(), 2, &["no-such-host.invalid"]);
}

#[test]
fn an_extract_that_cannot_be_made_is_refused_before_anything_is_written() {
    let scratch = TempDir::new().unwrap();
    fs::create_dir(scratch.path().join("folder")).unwrap();
    fs::write(scratch.path().join("a.pcapng"), b"").unwrap();
    for (line, words) in [
        ("extract a.pcapng -o new.pcapng", &["nothing is looked for", "--filter, --flow, --since and --until"][..]),
        ("extract a.pcapng --filter nonsense -o new.pcapng", &["--filter", "character 1"]),
        ("extract a.pcapng --flow 1:abc -o new.pcapng", &["--flow", "'1:abc' is not a Community ID"]),
        ("extract a.pcapng --since 5m -o new.pcapng", &["'5m'", "--since", "-5m (before now)"]),
        ("extract a.pcapng --since -1m --until -2m -o new.pcapng", &["no time is between --since and --until"]),
        ("extract none.pcapng --filter tcp -o new.pcapng", &["none.pcapng", "No such file"]),
        ("extract folder --filter tcp -o new.pcapng", &["no capture in 'folder'"]),
        ("extract . --filter tcp -o a.pcapng", &["no capture in '.'"]),
        ("extract a.pcapng --filter tcp -o a.pcapng --force", &["'a.pcapng' would be read and replaced"]),
        ("extract a.pcapng --filter tcp -o folder --force", &["'folder'", "no regular file"]),
        ("extract a.pcapng --filter tcp -o no/such", &["cannot write 'no/such'"]),
    ] {
        refused(&mut collector(line), scratch.path(), 2, words);
    }
    fs::write(scratch.path().join("old.pcapng"), b"").unwrap();
    let words = ["'old.pcapng' is there already", "--force"];
    refused(&mut collector("extract a.pcapng --filter tcp -o old.pcapng"), scratch.path(), 2, &words);
}
