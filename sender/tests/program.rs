//! The program over loopback: what arrives, what it says, how it ends.

mod namespaces;

use std::collections::HashSet;
use std::io::Read as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

const VXLAN_HEADER: [u8; 8] = [8, 0, 0, 0, 0x00, 0x10, 0x92, 0];
const VNI: &str = "4242";

struct Receiver {
    socket: UdpSocket,
    address: SocketAddr,
}

impl Receiver {
    fn new(address: &str) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    /// The next datagram's inner frame, and the source port.
    fn frame(&self) -> (Vec<u8>, u16) {
        let mut buffer = vec![0; 65_536];
        let (len, from) = self.socket.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..8], VXLAN_HEADER);
        (buffer[8..len].to_vec(), from.port())
    }
}

/// The program with a target, a range of source ports of its own, and a summary on standard output.
fn sender(command: &str, target: SocketAddr) -> Command {
    static NEXT: AtomicU16 = AtomicU16::new(40_000);
    let base = NEXT.fetch_add(300, Ordering::Relaxed);
    let mut sender = Command::new(env!("CARGO_BIN_EXE_vxtap-sender"));
    sender.args([command, "--to", &target.to_string(), "--vni", VNI, "--summary", "-"]);
    sender.args(["--source-port-base", &base.to_string()]);
    sender
}

fn summary(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let count = |name: &str| summary[name].as_u64().unwrap();
    let skipped: u64 = summary["skipped"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(count("read"), count("sent") + count("send_errors") + skipped);
    summary
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A capture of `frames` a microsecond apart.
fn write_pcap(path: &Path, link_type: u32, frames: &[Vec<u8>]) {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    file.extend(link_type.to_le_bytes());
    for (index, frame) in frames.iter().enumerate() {
        for field in [1_700_000_000, index as u32, frame.len() as u32, frame.len() as u32] {
            file.extend(field.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    std::fs::write(path, file).unwrap();
}

struct Capture {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn capture(link_type: u32, frames: &[Vec<u8>]) -> Capture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.pcap");
    write_pcap(&path, link_type, frames);
    Capture { _folder: folder, path }
}

/// Few enough for the receive buffer that a system gives by default, so that none is lost before it is read.
const FRAMES: usize = 40;

/// Frames of many lengths from one byte on, without addresses that would make flows of them.
fn frames(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|n| (n as u32).to_be_bytes().into_iter().cycle().take(1 + n * 37 % 1500).collect()).collect()
}

#[test]
fn a_replay_delivers_every_frame_byte_for_byte_over_either_family() {
    let frames = frames(FRAMES);
    let capture = capture(1, &frames);
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for transmit in ["trains", "batches", "single"] {
            let receiver = Receiver::new(address);
            let mut sender = sender("replay", receiver.address);
            sender.arg(&capture.path).args(["--top-speed", "--transmit", transmit, "--loops", "2"]);
            let summary = summary(&sender.output().unwrap());
            let mut arrived: Vec<_> = (0..2 * FRAMES).map(|_| receiver.frame().0).collect();
            let mut expected = [frames.clone(), frames.clone()].concat();
            arrived.sort();
            expected.sort();
            assert!(arrived == expected);
            assert_eq!(
                (&summary["sent"], &summary["loops"], &summary["transmit"]),
                (&(2 * FRAMES).into(), &2.into(), &transmit.into())
            );
        }
    }
}

#[test]
fn a_replay_in_geneve_has_the_times_of_the_file_whole_lengths_and_numbers_without_a_gap() {
    let frames = frames(FRAMES);
    let capture = capture(1, &frames);
    let receiver = Receiver::new("127.0.0.1:0");
    let mut sender = sender("replay", receiver.address);
    sender.arg(&capture.path).args(["--top-speed", "--encapsulation", "geneve", "--source-ports", "1"]);
    sender.args(["--packet-length", "100", "--transmit", "batches"]);
    assert_eq!(summary(&sender.output().unwrap())["sent"], FRAMES);
    let mut series = HashSet::new();
    for (number, frame) in frames.iter().enumerate() {
        let mut buffer = vec![0; 65_536];
        let (len, _) = receiver.socket.recv_from(&mut buffer).unwrap();
        let (header, inner) = vxtap_wire::geneve::decapsulate(&buffer[..len]).unwrap();
        let mark = header.metadata.mark.unwrap();
        assert_eq!((header.vni.get().to_string().as_str(), inner), (VNI, &frame[..frame.len().min(100)]));
        assert_eq!(mark.captured_ns, 1_700_000_000_000_000_000 + number as u64 * 1_000);
        assert_eq!((mark.sequence, mark.original_len as usize, mark.direction), (number as u64, frame.len(), None));
        series.insert(mark.series);
    }
    assert_eq!(series.len(), 1);
}

#[test]
fn one_port_and_plain_datagrams_keep_the_order_of_the_file() {
    let frames = frames(FRAMES);
    let capture = capture(1, &frames);
    let receiver = Receiver::new("127.0.0.1:0");
    let mut sender = sender("replay", receiver.address);
    sender.arg(&capture.path).args(["--top-speed", "--transmit", "batches", "--source-ports", "1"]);
    summary(&sender.output().unwrap());
    for frame in frames {
        assert_eq!(receiver.frame().0, frame);
    }
}

#[test]
fn frames_longer_than_the_packet_length_arrive_cut_to_it() {
    let capture = capture(1, &frames(FRAMES));
    let receiver = Receiver::new("127.0.0.1:0");
    let mut sender = sender("replay", receiver.address);
    sender.arg(&capture.path).args(["--top-speed", "--packet-length", "128"]);
    let summary = summary(&sender.output().unwrap());
    let longest = (0..FRAMES).map(|_| receiver.frame().0.len()).max();
    assert_eq!(longest, Some(128));
    let cut = frames(FRAMES).iter().filter(|frame| frame.len() > 128).count();
    assert_eq!(summary["truncated"], serde_json::json!({"packet_length": cut, "mtu": 0}));
}

#[test]
fn generated_traffic_comes_from_the_ports_asked_for_and_as_many_frames_as_asked_for() {
    let receiver = Receiver::new("[::1]:0");
    let mut sender = sender("generate", receiver.address);
    sender.args(["--packets", "60", "--top-speed", "--flows", "100", "--source-ports", "4"]);
    let child = sender.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ports: HashSet<u16> = (0..60).map(|_| receiver.frame().1).collect();
    let summary = summary(&child.wait_with_output().unwrap());
    let said: HashSet<u16> =
        summary["source_ports"].as_array().unwrap().iter().map(|port| port.as_u64().unwrap() as u16).collect();
    assert_eq!((ports.len(), ports), (4, said));
    assert_eq!(summary["sent"], 60);
}

#[test]
fn a_run_of_some_seconds_ends_by_itself_and_sends_no_more_than_its_rate() {
    let receiver = Receiver::new("127.0.0.1:0");
    let mut sender = sender("generate", receiver.address);
    sender.args(["--seconds", "0.5", "--pps", "400"]);
    let start = Instant::now();
    let summary = summary(&sender.output().unwrap());
    assert!(start.elapsed() >= Duration::from_millis(500));
    let sent = summary["sent"].as_u64().unwrap();
    // Less only if this machine did not let it run.
    assert!(sent == 200 || (sent < 200 && summary["seconds"].as_f64().unwrap() >= 1.5), "{summary}");
    assert!(summary["seconds"].as_f64().unwrap() >= 0.5);
}

#[test]
fn original_timing_takes_as_long_as_the_capture_and_speed_divides_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slow.pcap");
    write_pcap(&path, 1, &frames(2));
    let mut file = std::fs::read(&path).unwrap();
    // The second record's microseconds: it begins behind the file header, one record header and one byte.
    file[24 + 17 + 4..24 + 17 + 8].copy_from_slice(&600_000_u32.to_le_bytes());
    std::fs::write(&path, file).unwrap();
    for (speed, shortest) in [("1", 0.6), ("2", 0.3)] {
        let receiver = Receiver::new("127.0.0.1:0");
        let output = sender("replay", receiver.address).arg(&path).args(["--speed", speed]).output().unwrap();
        let seconds = summary(&output)["seconds"].as_f64().unwrap();
        assert!((shortest..shortest + 5.0).contains(&seconds), "{seconds}");
    }
}

#[test]
fn the_bytes_of_frames_are_without_the_header_of_either_encapsulation_and_the_rate_is_what_mbps_means() {
    for (encapsulation, outer) in [("vxlan", 28 + 8), ("geneve", 28 + 36)] {
        let receiver = Receiver::new("127.0.0.1:0");
        let mut sender = sender("generate", receiver.address);
        sender.args(["--size", "100", "--packets", "20", "--mbps", "1", "--encapsulation", encapsulation]);
        let output = sender.output().unwrap();
        let summary = summary(&output);
        assert_eq!((&summary["frame_bytes"], &summary["packet_bytes"]), (&2_000.into(), &(20 * (100 + outer)).into()));
        let kbits = f64::from(20 * (100 + outer)) * 8.0 / summary["seconds"].as_f64().unwrap() / 1_000.0;
        let said = text(&output.stderr);
        let rate =
            if kbits < 1_000.0 { format!("{kbits:.1} kbit/s") } else { format!("{:.1} Mbit/s", kbits / 1_000.0) };
        assert!(said.starts_with("sent 20 of 20 frames (2,000 bytes)") && said.contains(&rate), "{rate}: {said}");
    }
}

#[test]
fn at_a_low_rate_as_well_what_is_made_goes_on_within_a_second_from_another_address_of_this_host() {
    // 0100090A is 10.9.0.1, as the kernel shows it: the sender has its sockets.
    const SCRIPT: &str = r#"
        ip link add a0 type veth peer name b0 && ip link set b0 up && ip link set a0 up && ip addr add 10.9.0.1/24 dev a0 || exit 77
        "$0" generate --to 10.9.0.2 --vni 1 --pps 20 --seconds 4 --summary - & sender=$!
        tries=0
        until grep -q ' 0100090A:' /proc/net/udp; do
            tries=$((tries + 1)); [ $tries -lt 200 ] || exit 3
            sleep 0.01
        done
        ip addr del 10.9.0.1/24 dev a0; ip addr add 10.9.0.7/24 dev a0
        wait $sender
    "#;
    let mut command = Command::new("unshare");
    let output = command.args(["-n", "sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_vxtap-sender")]).output().unwrap();
    if namespaces::are_missing(&text(&output.stderr)) {
        return;
    }
    let summary = summary(&output);
    // A second of 20 is lost, and nobody answers for the neighbour: that loses none here. Without another address it is 70.
    let lost = summary["send_errors"].as_u64().unwrap();
    assert!((1..50).contains(&lost), "{summary}");
}

fn wait_for_frame(receiver: &Receiver, child: &mut Child) {
    receiver.frame();
    assert!(child.try_wait().unwrap().is_none(), "it runs until it is told to stop");
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_signal_ends_the_run_with_a_summary() {
    for name in ["INT", "TERM"] {
        let receiver = Receiver::new("127.0.0.1:0");
        let mut sender = sender("generate", receiver.address);
        // Long gaps: a stop is heard in one as well.
        sender.args(["--pps", "2"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = sender.spawn().unwrap();
        wait_for_frame(&receiver, &mut child);
        let start = Instant::now();
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert!(summary(&output)["sent"].as_u64().unwrap() >= 1);
        assert!(start.elapsed() < Duration::from_secs(5));
        assert!(text(&output.stderr).starts_with("sent "), "{}", text(&output.stderr));
    }
}

#[test]
fn nothing_listening_is_counted_told_and_no_failure() {
    let address = Receiver::new("127.0.0.1:0").address;
    let mut sender = sender("generate", address);
    sender.args(["--packets", "200", "--pps", "2000", "--flows", "1", "--source-ports", "1", "--transmit", "batches"]);
    let output = sender.output().unwrap();
    let summary = summary(&output);
    assert!(summary["send_error_reasons"]["refused"].as_u64().unwrap() > 0, "{summary}");
    let said = text(&output.stderr);
    assert!(said.contains("refused") && said.contains("NOT SENT"), "{said}");
    assert_eq!(said.matches("at most once a minute").count(), 1, "{said}");
}

#[test]
fn bad_arguments_and_files_are_one_line_that_names_them_and_exit_code_2() {
    let receiver = Receiver::new("127.0.0.1:0");
    let netlink = capture(253, &frames(3));
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (path, named) in [
        (Path::new("/no/such/file.pcap"), "/no/such/file.pcap"),
        (netlink.path.as_path(), "netlink (253)"),
        (empty.path(), "not a capture file"),
        (Path::new("/"), "'/'"),
    ] {
        let output = sender("replay", receiver.address).arg(path).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(named) && said.lines().count() == 1, "{said}");
        assert!(output.stdout.is_empty());
    }
    let output = sender("generate", receiver.address).args(["--size", "1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("64 to 9216"));
    receiver.socket.set_nonblocking(true).unwrap();
    assert!(receiver.socket.recv(&mut [0; 16]).is_err(), "nothing is sent when the arguments are wrong");
}

fn generate_one(to: SocketAddr, summary: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vxtap-sender"));
    command.args(["generate", "--packets", "1", "--vni", VNI, "--summary", summary]);
    command.args(["--to", &to.to_string(), "--source-port-base", "46000"]).output().unwrap()
}

#[test]
fn a_place_for_the_summary_that_cannot_be_is_told_before_anything_is_sent() {
    let receiver = Receiver::new("127.0.0.1:0");
    for place in ["/no/such/folder/summary.json", "/"] {
        let output = generate_one(receiver.address, place);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains(&format!("cannot write the summary to '{place}'")) && said.lines().count() == 1,
            "{said}"
        );
    }
    receiver.socket.set_nonblocking(true).unwrap();
    assert!(receiver.socket.recv(&mut [0; 16]).is_err(), "nothing is sent when the arguments are wrong");
}

#[test]
fn a_summary_that_cannot_be_written_at_the_end_is_a_failed_run() {
    let receiver = Receiver::new("127.0.0.1:0");
    let output = generate_one(receiver.address, "/dev/full");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("'/dev/full'"), "{}", text(&output.stderr));
    receiver.frame();
}

#[test]
fn a_link_local_target_is_reached_on_its_interface_and_an_interface_that_is_not_there_is_told() {
    const SCRIPT: &str = r#"
        unshare -n sleep 60 & far=$!
        tries=0
        while [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do
            tries=$((tries + 1)); [ $tries -lt 200 ] || exit 3
            sleep 0.01
        done
        end() { kill $far; exit $1; }
        ip link add a0 type veth peer name b0 netns $far || end 77
        ip link set a0 up; ip -6 addr add fe80::a/64 dev a0 nodad
        nsenter -t $far -n sh -c 'ip link set b0 up; ip -6 addr add fe80::b/64 dev b0 nodad' || end 77
        "$0" generate --to fe80::b%nowhere --vni 1 --packets 1
        [ $? = 2 ] || end 4
        for target in fe80::b%a0 '[fe80::b%a0]:4789' "fe80::b%$(ip -o link show a0 | cut -d: -f1)"; do
            "$0" generate --to "$target" --vni 1 --packets 1 || end 5
        done
        "$0" replay --policy "$1" "$2" || end 6
        nsenter -t $far -n grep Udp6NoPorts /proc/self/net/snmp6
        end 0
    "#;
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    let rules = "[[source]]\nname = \"a\"\naddresses = \"10.1.0.1\"\n[[target]]\nname = \"c\"\naddress = \"fe80::b%a0\"\n\
                 [[session]]\nname = \"s\"\nsource = \"a\"\ntarget = \"c\"\n";
    std::fs::write(&policy, rules).unwrap();
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0];
    frame.extend([10, 1, 0, 1, 192, 0, 2, 1, 0x30, 0x39, 0, 9, 0, 26, 0, 0]);
    frame.resize(60, 0);
    let capture = capture(1, &[frame]);
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_vxtap-sender")]).arg(&policy).arg(&capture.path);
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    if namespaces::are_missing(&said) {
        return;
    }
    assert!(output.status.success(), "{:?}: {said}", output.status);
    assert!(said.contains("there is no interface 'nowhere'"), "{said}");
    // Nobody listens there, and the far end counts what has come all the same.
    assert_eq!(text(&output.stdout).split_whitespace().last(), Some("4"), "{said}");
}

#[test]
fn interfaces_are_those_of_the_namespace_that_it_runs_in_whatever_sys_shows() {
    // `/sys` stays as it was mounted, and has no a0.
    const SCRIPT: &str = r#"
        ip link set lo up && ip link add a0 type veth peer name b0 && ip link set b0 up && ip link set a0 up || exit 77
        ip addr add 10.1.0.1/24 dev a0
        test ! -e /sys/class/net/a0 || exit 3
        "$0" policy check --host "$1" >&2 || exit 4
        "$0" capture --policy "$1" --seconds 0.1 || exit 5
    "#;
    let policy = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let rules = "[[source]]\nname = \"a\"\ninterfaces = [\"a0\"]\n[[target]]\nname = \"c\"\naddress = \"127.0.0.1\"\n\
                 [[session]]\nname = \"s\"\nsource = \"a\"\ntarget = \"c\"\n";
    std::fs::write(&policy, rules).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_vxtap-sender")]).arg(policy.path());
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    if namespaces::are_missing(&said) {
        return;
    }
    assert!(output.status.success(), "{:?}: {said}", output.status);
    assert!(said.contains("capturing from a0"), "{said}");
}

#[test]
fn a_capture_can_come_through_a_pipe() {
    let capture = capture(1, &frames(10));
    let receiver = Receiver::new("127.0.0.1:0");
    let mut sender = sender("replay", receiver.address);
    sender.args(["-", "--top-speed"]).stdin(std::fs::File::open(&capture.path).unwrap());
    assert_eq!(summary(&sender.output().unwrap())["sent"], 10);
}

/// Waits until every thread of `child` sleeps: then the reader waits for the pipe, and not just for its turn.
fn wait_until_asleep(child: &std::process::Child) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let asleep = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        tasks.into_iter().all(|task| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('S'))
        })
    };
    while !asleep() {
        assert!(Instant::now() < deadline, "the program never waits for its input");
        std::thread::yield_now();
    }
}

#[test]
fn the_second_signal_ends_the_program_at_once() {
    // A pipe that never ends holds the reader, so that the first signal alone cannot end the run.
    let receiver = Receiver::new("127.0.0.1:0");
    let capture = capture(1, &frames(10));
    let mut sender = sender("replay", receiver.address);
    sender.args(["-", "--top-speed"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = sender.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, &std::fs::read(&capture.path).unwrap()).unwrap();
    wait_for_frame(&receiver, &mut child);
    wait_until_asleep(&child);
    let deadline = Instant::now() + Duration::from_secs(20);
    let status = loop {
        assert!(Instant::now() < deadline, "two signals did not end the program");
        signal(&child, "INT");
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(1));
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.is_empty(), "{said}");
    drop(input);
}
