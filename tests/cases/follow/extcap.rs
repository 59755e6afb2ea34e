//! `vxtap-extcap` as Wireshark runs it.

use std::process::Command;

use vxtap_tests::collector::Settings;
use vxtap_tests::datagram::{Mirror, Peer, udp_frame};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::{Finished, Running, Signal, run_within};
use vxtap_tests::programs::Program;

use super::following::{ExtcapFolder, Followed};
use super::shared_machine;

const TOKEN: &str = "0123456789abcdef";

fn extcap(arguments: &[&str]) -> Finished {
    run_within(SOON, Program::Extcap.command().args(arguments))
}

#[test]
fn tshark_lists_the_interface_and_its_link_type() {
    let _machine = shared_machine();
    if !have_tools(&["tshark", "setpriv"]) {
        return;
    }
    let folder = ExtcapFolder::new();
    let interfaces = run_within(SOON, folder.tshark().arg("-D")).success().stdout;
    assert!(interfaces.lines().any(|line| line.ends_with(". vxtap (vxtap collector)")), "{interfaces}");
    let types = run_within(SOON, folder.tshark().args(["-i", "vxtap", "-L"])).success();
    assert!(format!("{}{}", types.stdout, types.stderr).contains("EN10MB (Ethernet)"), "{}", types.stdout);
}

#[test]
fn the_dialog_is_told_the_arguments_and_what_is_wrong_with_a_filter() {
    let config = extcap(&["--extcap-interface", "vxtap", "--extcap-config"]).success().stdout;
    let calls: Vec<&str> = config.lines().filter_map(|line| line.split("{call=").nth(1)?.split('}').next()).collect();
    assert_eq!(calls, ["--host", "--filter", "--token"]);
    assert!(config.contains("{type=password}"), "{config}");
    for (filter, right) in [("", true), ("arp", true), ("arp or", false), ("(", false)] {
        let said = extcap(&["--extcap-interface", "vxtap", "--extcap-capture-filter", filter]).success().stdout;
        assert_eq!(said.is_empty(), right, "{filter:?}: {said}");
        assert_eq!(said.lines().count(), usize::from(!right), "{filter:?}: {said}");
    }
    let interfaces = extcap(&["--extcap-interfaces", "--extcap-version=4.0"]).success().stdout;
    assert!(interfaces.contains("\ninterface {value=vxtap}{display=vxtap collector}\n"), "{interfaces}");
}

#[test]
fn what_it_cannot_do_is_told_in_one_line() {
    let _machine = shared_machine();
    let followed = Followed::start(Settings::new(1).write().env("VXTAP_API_TOKEN", TOKEN));
    let api = followed.collector.api();
    let capture = ["--extcap-interface", "vxtap", "--capture", "--fifo", "/nowhere/fifo", "--host"];
    for (arguments, told) in [
        (&["--extcap-interface", "eth0", "--extcap-dlts"][..], "there is no interface 'eth0'"),
        (&["--extcap-interface", "vxtap"], "expected --extcap-dlts"),
        (&["--extcap-interface", "vxtap", "--capture"], "expected --fifo FILE"),
        (&[&capture[..], &["collector:9789"]].concat(), "expected for example http://127.0.0.1:9789"),
        (&[&capture[..], &["http://127.0.0.1:1"]].concat(), "http://127.0.0.1:1: Connection refused"),
        (&[&capture[..], &[api]].concat(), "a token is needed"),
        (&[&capture[..], &[api, "--token", "wrong-wrong-wrong"]].concat(), "a token is needed"),
        (&[&capture[..], &[api, "--token", TOKEN, "--filter", "("]].concat(), "capture filter, character 2"),
        (&[&capture[..], &[api, "--token", TOKEN]].concat(), "cannot write the packets to '/nowhere/fifo'"),
    ] {
        let finished = extcap(arguments);
        assert_eq!(finished.code(), 1, "{arguments:?}");
        assert!(finished.stderr.contains(told), "{arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
        assert!(!finished.stderr.contains(TOKEN), "{}", finished.stderr);
    }
    followed.collector.stop();
}

/// An extcap that captures into a FIFO of which a reader has read the first bytes.
fn capturing(followed: &Followed, directory: &std::path::Path) -> (Running, std::fs::File) {
    let fifo = directory.join("fifo");
    assert!(run_within(SOON, Command::new("mkfifo").arg(&fifo)).status.success());
    let mut command = Program::Extcap.command();
    command.args(["--extcap-interface", "vxtap", "--capture", "--host", followed.collector.api()]);
    let running = Running::start(command.arg("--fifo").arg(&fifo));
    let mut reader = std::fs::File::open(&fifo).unwrap();
    let mut head = [0; 4];
    std::io::Read::read_exact(&mut reader, &mut head).unwrap();
    assert_eq!(head, [0x0a, 0x0d, 0x0d, 0x0a]);
    (running, reader)
}

#[test]
fn it_ends_when_nobody_reads_the_fifo_though_no_packet_comes() {
    let _machine = shared_machine();
    let followed = Followed::start(Settings::new(1).write());
    let directory = tempfile::tempdir().unwrap();
    let (running, reader) = capturing(&followed, directory.path());
    drop(reader);
    let finished = running.finish_within(SOON).success();
    assert_eq!(finished.stderr, "");
    wait_until(SOON, "the follower to be gone", || followed.followers().now.is_empty());
    followed.collector.stop();
}

#[test]
fn it_ends_well_when_the_collector_does_and_by_a_signal() {
    let _machine = shared_machine();
    for by_signal in [false, true] {
        let followed = Followed::start(Settings::new(1).write());
        let directory = tempfile::tempdir().unwrap();
        let (running, _reader) = capturing(&followed, directory.path());
        if by_signal {
            running.signal(Signal::TERM);
            running.finish_within(SOON);
            wait_until(SOON, "the follower to be gone", || followed.followers().now.is_empty());
            followed.collector.stop();
        } else {
            followed.collector.stop();
            assert_eq!(running.finish_within(SOON).success().stderr, "");
        }
    }
}

/// Lets a tshark that captures by itself show a packet, and stops it, or the collector.
fn captures_until_stopped(followed: Followed, tshark: &mut Command, stop_tshark: bool) {
    let client =
        Running::start(tshark.args(["-n", "-l", "-T", "fields", "-e", "udp.srcport", "-e", "frame.interface_name"]));
    wait_until(SOON, "tshark to follow", || followed.followers().now.len() == 1);
    let mut mirror = Mirror::new(followed.collector.address(), 5, 1);
    mirror.send(0, &udp_frame(Peer::v4(1, 1234), Peer::v4(9, 9999), b"here"));
    wait_until(SOON, "a packet in tshark", || client.stdout() == "1234\tvni 5 from 127.0.0.1\n");
    if stop_tshark {
        client.signal(Signal::INT);
        client.finish_within(SOON);
        wait_until(SOON, "the follower to be gone", || followed.followers().now.is_empty());
        followed.collector.stop();
    } else {
        followed.collector.stop();
        let finished = client.finish_within(SOON);
        assert!(!finished.stderr.contains("cut short"), "{}", finished.stderr);
    }
}

#[test]
fn tshark_captures_from_the_interface_until_either_end_stops() {
    let _machine = shared_machine();
    if !have_tools(&["tshark", "setpriv"]) {
        return;
    }
    let folder = ExtcapFolder::new();
    for stop_tshark in [true, false] {
        let followed = Followed::start(Settings::new(1).write());
        let host = format!("extcap.vxtap.host:{}", followed.collector.api());
        let mut tshark = folder.tshark();
        captures_until_stopped(followed, tshark.args(["-i", "vxtap", "-f", "udp port 1234", "-o", &host]), stop_tshark);
    }
}

#[test]
fn tshark_captures_over_tcp_until_either_end_stops() {
    let _machine = shared_machine();
    if !have_tools(&["tshark"]) {
        return;
    }
    for stop_tshark in [true, false] {
        let followed = Followed::start(Settings::new(1).write());
        let interface = format!("TCP@{}", followed.tcp);
        captures_until_stopped(followed, Command::new("tshark").args(["-i", &interface]), stop_tshark);
    }
}
