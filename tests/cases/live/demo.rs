//! `vxtap-collector demo`: one command shows everything at work.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use tempfile::TempDir;
use vxtap_tests::capture_file;
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;
use vxtap_tests::summary::{self, DemoSummary};
use vxtap_tests::tshark;

use super::shared_machine;

#[test]
fn the_demo_ends_by_itself_with_balanced_ledgers_and_clean_captures() {
    let _machine = shared_machine();
    let directory = TempDir::new().unwrap();
    let captures = directory.path().join("captures");
    let mut command = Program::Collector.command();
    command.args(["demo", "--seconds", "3", "--summary", "-", "--api", "127.0.0.1:0", "--write"]).arg(&captures);
    command.arg("--log").arg(directory.path().join("log"));
    let finished = run_within(Duration::from_secs(30), &mut command).success();
    assert!(!finished.panicked(), "{}", finished.stderr);
    assert!(finished.took < Duration::from_secs(10), "3 seconds took {:?}", finished.took);

    let demo: DemoSummary = summary::parse(&finished.stdout);
    demo.check().unwrap();
    let ledger = &demo.collector.ledger;
    assert!(ledger.captured > 1000 && ledger.flows > 10, "{ledger:?}");
    let files = capture_file::files_in(&captures);
    let records: Vec<_> = files.iter().flat_map(|file| capture_file::read(file)).collect();
    assert_eq!(records.len() as u64, ledger.captured);
    let named = |name: &str| {
        let Some((vni, source)) = name.strip_prefix("vni ").and_then(|rest| rest.split_once(" from ")) else {
            return false;
        };
        vni.parse::<u32>().is_ok() && source.parse::<std::net::IpAddr>().is_ok()
    };
    assert!(records.iter().all(|record| named(&record.interface)));
    let eve = fs::read_to_string(directory.path().join("log/eve.json")).unwrap();
    assert!(eve.lines().filter(|line| line.contains(r#""event_type":"flow""#)).count() > 10);

    if !have_tools(&["tshark"]) {
        return;
    }
    let mut seen = 0;
    for file in &files {
        seen += tshark::fields(file, &["frame.interface_name"]).unwrap().len();
    }
    assert_eq!(seen as u64, ledger.captured);
    // One mirror stream at a time: they have the same inner addresses, which tshark would take for the same flows.
    let names: BTreeSet<&str> = records.iter().map(|record| record.interface.as_str()).collect();
    for (number, name) in names.into_iter().enumerate() {
        let alone = directory.path().join(format!("stream-{number}.pcapng"));
        tshark::extract(&files[0], &format!("frame.interface_name == \"{name}\""), &alone).unwrap();
        assert_eq!(tshark::count(&alone, "_ws.malformed").unwrap(), 0, "the traffic made for {name} is well-formed");
    }
    for protocol in ["http.request", "dns.flags.response == 1", "tls.handshake.type == 1"] {
        assert!(files.iter().any(|file| tshark::count(file, protocol).unwrap() > 0), "no {protocol} in the demo");
    }
}
