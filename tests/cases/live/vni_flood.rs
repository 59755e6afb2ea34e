//! Mirror streams that nobody knows, hundreds of thousands a second, at a collector that lets one in.

use std::time::{Duration, Instant};

use vxtap_analyzers::snapshot::AdmissionSnapshot;
use vxtap_tests::capture_file;
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::flood::Flood;

use super::quiet_machine;

/// Datagrams of the flood, each of a stream of its own.
const FLOOD: u64 = 2_000_000;
/// An ordinary user's receive buffers are small, and then it is the sender that waits.
const LONGEST: Duration = Duration::from_secs(40);
/// Even then there are so many.
const FEWEST: u64 = 100_000;
/// Among so many of them is one of the stream that is known.
const EVERY: u64 = 640;
const KNOWN_VNI: u32 = 4242;
/// What a flood may add to the collector's memory.
const GROWTH_MAX: u64 = 100 << 20;

fn known(number: u32) -> Vec<u8> {
    udp_frame(Peer::v4(7, 7), Peer::v4(8, 8), &number.to_be_bytes())
}

/// Frames that were turned away by what the API says of them.
fn turned_away(collector: &Collector) -> u64 {
    let admission: AdmissionSnapshot = collector.get_json("/v1/admission");
    admission.other_frames + admission.turned_away.iter().map(|stream| stream.frames).sum::<u64>()
}

#[test]
fn a_live_flood_of_unknown_streams_is_counted_and_bounded_and_one_that_is_let_in_loses_nothing() {
    let _machine = quiet_machine();
    let accept = format!("vni {KNOWN_VNI} from 127.0.0.1");
    let mut collector = Settings::new(2).write().arg("--accept").arg(accept).start();
    let buffer = collector.snapshot().workers.iter().map(|worker| worker.receive_buffer).min().unwrap();
    let mut mirror = Mirror::new(collector.address(), KNOWN_VNI, 1);
    let mut numbers = 0..;
    let mut send_known = |mirror: &mut Mirror| mirror.send(0, &known(numbers.next().unwrap()));
    // What the collector takes for a stream that is let in, the flood has not to answer for.
    (0..1000).for_each(|_| send_known(&mut mirror));
    collector.wait_received(1000);
    let (before, _) = collector.process().memory().unwrap();

    let mut flood = Flood::new(collector.address(), buffer);
    let (mut sent, mut of_known, begun) = (0, 1000, Instant::now());
    while sent < FLOOD && begun.elapsed() < LONGEST {
        sent += flood.send_some();
        if sent % EVERY == 0 {
            send_known(&mut mirror);
            of_known += 1;
        }
    }
    collector.wait_received(sent + of_known);
    let took = begun.elapsed();
    assert!(sent >= FEWEST, "{sent} in {took:?}");
    wait_until(SOON, "all that was turned away to be told", || turned_away(&collector) == sent);
    let (_, peak) = collector.process().memory().unwrap();
    let growth = peak.saturating_sub(before);
    let rate = sent as f64 / took.as_secs_f64();
    println!("{sent} streams, {rate:.0} a second: {} MiB, and {} MiB more", before >> 20, growth >> 20);
    assert!(growth <= GROWTH_MAX, "{growth} bytes more than {before}");
    let snapshot = collector.snapshot();
    assert_eq!((snapshot.streams_total, snapshot.flows_active), (1, 1));

    let stopped = collector.stop();
    let ledger = &stopped.summary.ledger;
    assert_eq!((ledger.received, ledger.kernel_dropped), (sent + of_known, 0));
    assert_eq!(ledger.dropped, [("not_admitted".to_owned(), sent)].into());
    assert_eq!((ledger.analysed, ledger.captured), (of_known, of_known));
    let mut captured: Vec<u32> = (capture_file::read_all(&stopped.captures()).iter())
        .map(|record| u32::from_be_bytes(*record.data.last_chunk().unwrap()))
        .collect();
    captured.sort_unstable();
    assert_eq!(captured, (0..of_known as u32).collect::<Vec<_>>());
}
