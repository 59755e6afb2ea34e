//! Packets are visible to whoever follows a quarter of a second after they were sent.

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vxtap_tests::capture_file;
use vxtap_tests::collector::Settings;
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, pause, wait_until, within};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::Running;

use super::following::{Followed, Way, tshark};
use super::quiet_machine;

/// From sending a packet to the client's having it.
const VISIBLE: Duration = Duration::from_millis(250);
const PACKETS: u16 = 60;

/// Moments between 0 and 40 ms, evenly spread and repeatable (a Weyl sequence), so that they fall anywhere in the
/// collector's own rhythm.
fn wait_for_a_random_moment(number: u16) {
    let delay = u64::from(u32::from(number).wrapping_mul(2_654_435_769)) * 40_000_000 / u64::from(u32::MAX);
    let until = Instant::now() + Duration::from_nanos(delay);
    while Instant::now() < until {
        pause();
    }
}

/// Sends packets with source ports of their own, one after the other, and gives how long it took until `sees` them: the
/// median and the longest.
fn times(followed: &Followed, mut sees: impl FnMut(u16) -> bool) -> (Duration, Duration) {
    let mut mirror = Mirror::new(followed.collector.address(), 5, 1);
    let mut send = |port| mirror.send(0, &udp_frame(Peer::v4(1, port), Peer::v4(9, 9999), b"are you there?"));
    wait_until(SOON, "a follower", || followed.followers().now.len() == 1);
    // The client is at work when it has seen one packet.
    send(1000);
    within(SOON, "the first packet", || sees(1000).then_some(()));
    let mut times: Vec<Duration> = (1..=PACKETS)
        .map(|number| {
            wait_for_a_random_moment(number);
            let sent = Instant::now();
            send(1000 + number);
            within(SOON, "a packet", || sees(1000 + number).then(|| sent.elapsed()))
        })
        .collect();
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

#[test]
fn a_packet_is_at_the_client_within_a_quarter_of_a_second() {
    let _machine = quiet_machine();
    let followed = start();
    for over_http in [true, false] {
        let name = if over_http { "http" } else { "pcap-over-IP" };
        let mut stream = if over_http { followed.connect_http() } else { followed.connect_tcp() };
        stream.set_nonblocking(true).unwrap();
        let mut bytes = Vec::new();
        let (median, worst) = times(&followed, |port| {
            // As far as it has come.
            let _ = stream.read_to_end(&mut bytes);
            let head = bytes.windows(4).position(|window| window == [0x0a, 0x0d, 0x0d, 0x0a]);
            let Some(head) = head else { return false };
            let records = capture_file::parse(&bytes[head..]).unwrap().records;
            records.iter().any(|record| record.data[34..36] == port.to_be_bytes())
        });
        println!("{name}: median {median:?}, worst {worst:?} of {PACKETS}");
        assert!(worst <= VISIBLE, "{name}: the slowest of {PACKETS} packets took {worst:?}");
        drop(stream);
        wait_until(SOON, "nobody to follow", || followed.followers().now.is_empty());
    }
    followed.collector.stop();
}

/// A collector that writes into memory where that is possible: what a busy disk makes its writer wait is not the collector's
/// doing.
fn start() -> Followed {
    let memory = Path::new("/dev/shm");
    let settings = Settings::new(2);
    Followed::start(if TempDir::new_in(memory).is_ok() { settings.write_below(memory) } else { settings.write() })
}

fn tshark_shows_packets_soon(way: Way) {
    let _machine = quiet_machine();
    if !have_tools(&["tshark", "dumpcap", "curl", "bash"]) {
        return;
    }
    let followed = start();
    let mut client = tshark(&followed, way, "udp.srcport");
    let shows = |client: &Running, port: u16| client.stdout().lines().any(|line| line == port.to_string());
    let (median, worst) = times(&followed, |port| shows(&client, port));
    println!("{way:?}: median {median:?}, worst {worst:?} of {PACKETS}");
    assert!(worst <= VISIBLE, "{way:?}: the slowest of {PACKETS} packets took {worst:?}");
    assert!(!client.has_ended());
    assert_eq!(followed.followers().now.len(), 1);
    followed.collector.stop();
    // The end of the stream is its end.
    let finished = client.finish_within(SOON);
    assert!(!finished.stderr.contains("cut short"), "{}", finished.stderr);
    assert_eq!(finished.stdout.lines().count(), usize::from(PACKETS) + 1, "{}", finished.stderr);
}

#[test]
fn tshark_shows_a_packet_over_http_soon() {
    tshark_shows_packets_soon(Way::Http);
}

#[test]
fn tshark_shows_a_packet_over_tcp_soon() {
    tshark_shows_packets_soon(Way::Nc);
}

#[test]
fn tshark_shows_a_packet_that_dumpcap_follows_over_tcp_soon() {
    tshark_shows_packets_soon(Way::Dumpcap);
}

#[test]
fn tshark_shows_a_packet_of_the_extcap_program_soon() {
    tshark_shows_packets_soon(Way::Extcap);
}
