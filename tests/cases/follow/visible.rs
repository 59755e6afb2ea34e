//! Packets are visible to whoever follows a quarter of a second after they were sent.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vxtap_tests::capture_file;
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, pause, wait_until, within};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::{Finished, Running, run_within};
use vxtap_tests::programs::forget_settings;

use super::following::{ExtcapFolder, Followed, Way, tshark};
use super::quiet_machine;

/// From sending a packet to the client's having it.
const VISIBLE: Duration = Duration::from_millis(250);
const PACKETS: u16 = 60;
/// Source port of the packet that shows that the client is at work.
const FIRST: u16 = 1000;
/// How long that packet may take before another is sent: nobody may have listened yet.
const AGAIN: Duration = Duration::from_secs(1);
/// tshark that prints the source port of each packet of its standard input at once.
const TSHARK: &str = "exec tshark -n -l -r - -T fields -e udp.srcport";

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
fn times(collector: &Collector, mut sees: impl FnMut(u16) -> bool) -> (Duration, Duration) {
    let mut mirror = Mirror::new(collector.address(), 5, 1);
    let mut send = |port| mirror.send(0, &udp_frame(Peer::v4(1, port), Peer::v4(9, 9999), b"are you there?"));
    // The client is at work when it has seen one packet.
    let mut first: Option<Instant> = None;
    within(SOON, "the first packet", || {
        if first.is_none_or(|at| at.elapsed() > AGAIN) {
            send(FIRST);
            first = Some(Instant::now());
        }
        sees(FIRST).then_some(())
    });
    let mut times: Vec<Duration> = (1..=PACKETS)
        .map(|number| {
            wait_for_a_random_moment(number);
            let sent = Instant::now();
            send(FIRST + number);
            within(SOON, "a packet", || sees(FIRST + number).then(|| sent.elapsed()))
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
        followed.wait_for_one();
        let (median, worst) = times(&followed.collector, |port| {
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
fn in_memory() -> Settings {
    let memory = Path::new("/dev/shm");
    let settings = Settings::new(2);
    if TempDir::new_in(memory).is_ok() { settings.write_below(memory) } else { settings.write() }
}

fn start() -> Followed {
    Followed::start(in_memory())
}

/// Whether tshark has shown the packet with this source port.
fn shows(said: &str, port: u16) -> bool {
    said.lines().any(|line| line == port.to_string())
}

/// Checks that a packet is shown soon by what has `said` so far what it shows, on its way `by`.
fn check_soon(by: &str, collector: &Collector, mut said: impl FnMut() -> String) {
    let (median, worst) = times(collector, |port| shows(&said(), port));
    println!("{by}: median {median:?}, worst {worst:?} of {PACKETS}");
    assert!(worst <= VISIBLE, "{by}: the slowest of {PACKETS} packets took {worst:?}");
}

/// Checks that each packet was shown once, up to the end of what was followed.
fn check_all(finished: &Finished) {
    assert!(!finished.stderr.contains("cut short"), "{}", finished.stderr);
    let shown = finished.stdout.lines().filter(|line| *line != FIRST.to_string());
    assert_eq!(shown.count(), usize::from(PACKETS), "{}", finished.stderr);
}

fn tshark_shows_packets_soon(way: Way) {
    let _machine = quiet_machine();
    if !have_tools(&["tshark", "dumpcap", "curl", "bash"]) {
        return;
    }
    let followed = start();
    let mut client = tshark(&followed, way, "udp.srcport");
    followed.wait_for_one();
    check_soon(&format!("{way:?}"), &followed.collector, || client.stdout());
    assert!(!client.has_ended());
    assert_eq!(followed.followers().now.len(), 1);
    followed.collector.stop();
    // The end of the stream is its end.
    check_all(&client.finish_within(SOON));
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

/// tshark that captures prints twice a second, whatever it captures; what it hands on (`-w -`) it hands on at once.
#[test]
fn a_packet_that_tshark_captures_from_the_interface_is_shown_soon() {
    let _machine = quiet_machine();
    if !have_tools(&["tshark", "dumpcap", "setpriv", "bash"]) {
        return;
    }
    let followed = start();
    let folder = ExtcapFolder::new();
    let capturing = folder.tshark();
    let host = format!("extcap.vxtap.host:{}", followed.collector.api());
    let words = std::iter::once(capturing.get_program()).chain(capturing.get_args()).map(|word| word.to_string_lossy());
    let capturing_words: Vec<_> = words.collect();
    let source = format!("{} -q -i vxtap -o {host} -w -", capturing_words.join(" "));
    let mut shell = Command::new("bash");
    shell.args(["-c", &format!("{TSHARK} < <({source})")]);
    shell.envs(capturing.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut client = Running::start(&mut shell);
    followed.wait_for_one();
    check_soon("tshark -i vxtap -w -", &followed.collector, || client.stdout());
    assert!(!client.has_ended());
    followed.collector.stop();
    check_all(&client.finish_within(SOON));
}

/// tshark that reads what the shell command `source` gives.
fn tshark_of(source: &str) -> Running {
    Running::start(Command::new("bash").args(["-c", &format!("{TSHARK} < <({source})")]))
}

#[test]
fn tshark_shows_a_packet_of_the_growing_file_soon() {
    let _machine = quiet_machine();
    if !have_tools(&["tshark", "bash", "tail"]) {
        return;
    }
    let collector = in_memory().start();
    // With the first record there is a file.
    let before = udp_frame(Peer::v4(1, FIRST), Peer::v4(9, 9999), b"is there a file?");
    Mirror::new(collector.address(), 5, 1).send(0, &before);
    let file = within(SOON, "a file", || capture_file::files_in(&collector.captures()).pop());
    // It ends with the collector.
    let process = collector.process_ref().id();
    let client = tshark_of(&format!("exec tail -c +1 -f --pid={process} '{}'", file.display()));
    check_soon("file", &collector, || client.stdout());
    collector.stop();
    check_all(&client.finish_within(SOON));
}

#[test]
fn tshark_shows_a_packet_of_the_capture_on_standard_output_soon() {
    let _machine = quiet_machine();
    if !have_tools(&["tshark", "bash"]) {
        return;
    }
    // The collector takes the shell's place, and what tshark shows comes out where its own output would.
    let piped = |command: &Command| {
        let mut shell = Command::new("bash");
        forget_settings(&mut shell);
        shell.args(["-c", &format!("exec \"$0\" \"$@\" > >({TSHARK})")]);
        shell.arg(command.get_program()).args(command.get_args());
        shell
    };
    let collector = Settings::new(2).arg("--write").arg("-").wrapped(piped).start();
    check_soon("standard output", &collector, || collector.process_ref().stdout());
    check_all(&collector.stop().finished);
}

#[test]
fn tshark_shows_a_packet_of_the_capture_into_a_fifo_soon() {
    let _machine = quiet_machine();
    if !have_tools(&["tshark", "bash", "mkfifo"]) {
        return;
    }
    let place = TempDir::new().unwrap();
    let fifo = place.path().join("capture");
    assert!(run_within(SOON, Command::new("mkfifo").arg(&fifo)).status.success());
    let collector = Settings::new(2).arg("--write").arg(&fifo).start();
    let follow = || Running::start(Command::new("bash").args(["-c", &format!("{TSHARK} < '{}'", fifo.display())]));
    let client = follow();
    check_soon("FIFO", &collector, || client.stdout());
    // That a reader leaves is noticed though nothing comes, and the next one gets a stream from its beginning.
    drop(client);
    let error = || collector.snapshot().capture.and_then(|capture| capture.error);
    let error = within(SOON, "a reader that has left", error);
    assert!(error.contains("Broken pipe") || error.contains("broken pipe"), "{error}");
    let client = follow();
    check_soon("FIFO, second reader", &collector, || client.stdout());
    let summary = collector.stop().summary;
    check_all(&client.finish_within(SOON));
    // What came while nobody read is in nobody's stream.
    assert!(summary.ledger.captured >= 2 * u64::from(PACKETS + 1), "{:?}", summary.ledger);
}
