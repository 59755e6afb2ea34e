//! Mirrored datagrams that are longer than the path: the kernel cuts them, the kernel puts them together, and both are counted.

use vxtap_analyzers::snapshot::Snapshot;
use vxtap_tests::capture_file;
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::lab::Namespace;
use vxtap_tests::needs::{have_root, have_tools};
use vxtap_tests::process::{Running, Signal, run_within};
use vxtap_tests::programs::Program;

/// Frames that are sent over each version of IP.
const FRAMES: u64 = 100;

#[test]
fn outer_fragments_are_put_together_and_counted_and_so_is_what_cannot_be() {
    if !have_root() || !have_tools(&["ip", "ethtool", "curl"]) {
        return;
    }
    let [source, target] = ["source", "target"].map(Namespace::create);
    source.link(("src0", 1500), &target, "dst0");
    source.address("src0", &["10.78.0.1/24", "fd78::1/64"]);
    target.address("dst0", &["10.78.0.2/24", "fd78::2/64"]);
    let directory = tempfile::TempDir::new().unwrap();
    let mut run = target.command(Program::Collector.path());
    run.args(["run", "--drain", "0s", "--workers", "2", "--api", "127.0.0.1:9789", "--write"]).arg(directory.path());
    let mut collector = Running::start(&mut run);
    collector.wait_for_line(SOON, "where its API is", |line| line.contains("api on").then_some(()));
    let get = |path: &str| {
        let mut curl = target.command("curl");
        run_within(SOON, curl.args(["-s", &format!("http://127.0.0.1:9789{path}")])).success().stdout
    };
    let snapshot = || serde_json::from_str::<Snapshot>(&get("/v1/snapshot")).unwrap();
    assert_eq!(snapshot().outer_fragments.received, 0);

    // Of 4,000 bytes, in three fragments each.
    let frame = udp_frame(Peer::v4(1, 1), Peer::v4(2, 2), &[7; 3958]);
    let send = |to: &str| {
        let mut mirror = source.inside(|| Mirror::new(to.parse().unwrap(), 7, 2));
        (0..FRAMES as usize).for_each(|number| mirror.send_unwatched(number, &frame));
    };
    send("10.78.0.2:4789");
    send("[fd78::2]:4789");
    wait_until(SOON, "all frames", || snapshot().ledger.received == 2 * FRAMES);
    let fragments = snapshot().outer_fragments;
    assert_eq!((fragments.received, fragments.given_up), (6 * FRAMES, 0));

    // No room for a datagram: nothing arrives, and the kernel's count is told.
    target.run("sysctl -q -w net.ipv4.ipfrag_low_thresh=1024 net.ipv4.ipfrag_high_thresh=2048");
    send("10.78.0.2:4789");
    wait_until(SOON, "fragments that are given up", || snapshot().outer_fragments.given_up > 0);
    let metrics = get("/metrics");
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("vxtap_collector_{name}_total ")));
        line.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
    };
    assert!(value("outer_fragments") > 6 * FRAMES && value("outer_fragments_given_up") > 0);
    let received = snapshot().ledger.received;
    collector.signal(Signal::TERM);
    let _ = collector.finish_within(SOON).success();
    let captured = capture_file::read_all(directory.path());
    assert_eq!(captured.len() as u64, received);
    assert!(captured.iter().all(|record| record.data == frame));
}
