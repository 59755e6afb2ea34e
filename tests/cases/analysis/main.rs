//! What protocol analysis says of captures that others made.

mod exceptions;
mod links;
mod mirrored;
mod of_eve;
mod of_tables;
mod overtaking;
mod owed;
mod rows;
mod sent;
mod streams;
mod table;
mod variants;
mod whole;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use vxtap_tests::captures::{Capture, Captures};
use vxtap_tests::conversations::Tally;
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;
use vxtap_tests::summary::{self, CollectorSummary};

/// Longest that reading one of these files may take; a fraction of a second is usual.
const LIMIT: Duration = Duration::from_secs(30);

/// Link types of captures that have no packets of a network, or frames of several links that no table tells apart.
const NO_PACKETS: [&str; 2] = ["netlink", "per-packet"];

/// What `read` says of one file.
struct Read {
    summary: CollectorSummary,
    events: Vec<Value>,
    flows: Tally,
    /// Most resident memory that was seen, in bytes.
    memory: u64,
}

/// Runs `read FILE --log DIR --summary -` with more `arguments`, to success, a balanced ledger and no panic.
fn read(file: &Path, arguments: &[&str]) -> Read {
    let directory = TempDir::new().unwrap();
    let mut command = Program::Collector.command();
    command.arg("read").arg(file).args(["--summary", "-"]).args(arguments).arg("--log").arg(directory.path());
    let finished = run_within(LIMIT, &mut command).success();
    assert!(!finished.panicked(), "{}: {}", file.display(), finished.stderr);
    let summary: CollectorSummary = summary::parse(&finished.stdout);
    summary.check().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let eve = fs::read_to_string(directory.path().join("eve.json")).expect("an eve.json");
    Read { summary, events: of_eve::events(&eve), flows: Tally::of_eve(&eve), memory: finished.peak_memory }
}

#[test]
fn what_analysis_says_of_the_captures_is_what_trusted_tools_say() {
    let Some(captures) = Captures::open() else { return };
    let classes = ["vxlan", "geneve", "http", "dns", "tls", "quic", "appproto", "tcp", "l2l3", "mixed", "fileformat"];
    let (captures, others): (Vec<_>, Vec<_>) =
        captures.of(&classes).into_iter().partition(|capture| !NO_PACKETS.contains(&capture.link_type.as_str()));
    let others: Vec<&str> = others.iter().map(|capture| capture.name.as_str()).collect();
    // Inside of VXLAN the sender can put Ethernet frames; captures with tunnels of their own are compared as they are.
    let directory = TempDir::new().unwrap();
    let is_inner = |c: &&Capture| !matches!(c.class.as_str(), "vxlan" | "geneve");
    let inner: Vec<_> =
        captures.iter().filter(is_inner).map(|capture| links::in_ethernet(capture, directory.path())).collect();
    let rewritten = captures.iter().filter(is_inner).zip(&inner).filter(|(capture, inner)| capture.path != inner.path);
    // Redis, HTTP/2, QUIC and HTTP/1 are among them.
    assert!(rewritten.count() >= 5, "captures of other links");
    let begin = std::time::Instant::now();
    let parts = thread::scope(|scope| {
        let whole = scope.spawn(|| whole::compare(&captures));
        let variants = [variants::cut, variants::doubled, variants::lossy].map(|variant| {
            let inner = &inner;
            scope.spawn(move || variant(inner))
        });
        let mut parts = vec![whole.join().expect("no panic")];
        parts.extend(variants.into_iter().map(|variant| variant.join().expect("no panic")));
        parts
    });
    table::print(&parts);
    println!("in {:.1} s", begin.elapsed().as_secs_f64());
    println!("not compared, for they have no packets of a network, or of several links: {}", others.join(", "));
    let wrong: Vec<&str> = parts.iter().flat_map(|part| &part.wrong).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
