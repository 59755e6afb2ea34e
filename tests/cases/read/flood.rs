//! Connections that are only begun, a hundred thousand a second.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use tempfile::TempDir;
use vxtap_tests::datagram::{Peer, syn_frame};

use super::{LIMIT, summary_of};
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;

/// Half-open connections in the file.
const CONNECTIONS: u32 = 1_000_000;
/// How many of them come in a second.
const A_SECOND: u32 = 100_000;
/// Flows that may be followed at a time.
const FLOWS_MAX: u64 = 100_000;
/// Memory of a flow of which not a byte has come: its place in the table and what stands ready to look into it.
const FLOW_MEMORY: u64 = 1200;
/// What the program takes besides: its code, the log's blocks, windows of the file.
const PROGRAM_MEMORY: u64 = 60 << 20;

/// Writes a pcap file of SYNs, each from another address and port.
fn write_flood(path: &Path) {
    let mut frame = syn_frame(Peer::v4(1, 1), Peer::v4(2, 80), 1);
    let mut file = BufWriter::new(File::create(path).unwrap());
    // Magic of microsecond times, version 2.4, time zone, accuracy, snap length, Ethernet.
    let header: [u32; 6] = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 1 << 18, 1];
    for field in header {
        file.write_all(&field.to_le_bytes()).unwrap();
    }
    for number in 0..CONNECTIONS {
        // 172.16.0.0/12, and a port.
        frame[26..30].copy_from_slice(&(0xac10_0000 | number >> 4).to_be_bytes());
        frame[34..36].copy_from_slice(&(1024 + (number & 15) as u16).to_be_bytes());
        let (seconds, micros) = (number / A_SECOND, number % A_SECOND * (1_000_000 / A_SECOND));
        let length = frame.len() as u32;
        let fields = [1_780_000_000 + seconds, micros, length, length];
        for field in fields {
            file.write_all(&field.to_le_bytes()).unwrap();
        }
        file.write_all(&frame).unwrap();
    }
    file.flush().unwrap();
}

#[test]
fn a_flood_of_half_open_connections_takes_no_more_memory_than_the_table_of_flows_may() {
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("flood.pcap");
    write_flood(&file);
    let mut command = Program::Collector.command();
    command.arg("read").arg(&file).args(["--summary", "-", "--workers", "1", "--flow-max", &FLOWS_MAX.to_string()]);
    // All protocols are looked for; a million flow events would say nothing more.
    command.args(["--log-events", "http,dns,tls,ssh,anomaly,stats"]).arg("--log").arg(scratch.path().join("log"));
    let finished = run_within(LIMIT, &mut command).success();
    let summary = summary_of(&finished);
    let connections = u64::from(CONNECTIONS);
    assert_eq!((summary.ledger.received, summary.ledger.analysed), (connections, connections));
    assert_eq!(summary.ledger.flows, connections);
    let bound = FLOWS_MAX * FLOW_MEMORY + PROGRAM_MEMORY;
    println!("{} MiB of {} MiB in {:?}", finished.peak_memory >> 20, bound >> 20, finished.took);
    assert!(finished.peak_memory < bound, "{} bytes, more than {bound}", finished.peak_memory);
}
