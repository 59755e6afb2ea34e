//! `replay --policy` as its user runs it: the command line, the control port, SIGHUP, exit codes.

mod namespaces;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(1);

/// Files of one test.
struct Folder(tempfile::TempDir);

impl Folder {
    /// A policy of one session to `target`, and a capture of 100,000 small frames of 100 flows that a host sends.
    fn new(target: SocketAddr, lines: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write_policy(target, lines);
        let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
        for n in 0..100_000_u32 {
            let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0];
            frame.extend([10, 0, 0, 1, 192, 0, 2, (n % 100) as u8, 0x30, 0x39, 0, 9, 0, 26, 0, 0]);
            frame.resize(60, 0);
            for field in [1_700_000_000 + n / 1000, n % 1000 * 1000, 60, 60] {
                file.extend(field.to_le_bytes());
            }
            file.extend(frame);
        }
        std::fs::write(folder.capture(), file).unwrap();
        folder
    }

    fn write_policy(&self, target: SocketAddr, lines: &str) {
        let text = format!(
            "[[source]]\nname = \"host\"\naddresses = [\"10.0.0.1\"]\n[[target]]\nname = \"c\"\naddress = \"{}\"\nport = {}\n\
             [[session]]\nname = \"web\"\nnumber = 1\nsource = \"host\"\ntarget = \"c\"\n{lines}\n",
            target.ip(),
            target.port()
        );
        std::fs::write(self.policy(), text).unwrap();
    }

    fn policy(&self) -> PathBuf {
        self.0.path().join("policy.toml")
    }

    fn capture(&self) -> PathBuf {
        self.0.path().join("a.pcap")
    }

    fn sender(&self) -> Command {
        static NEXT: AtomicU16 = AtomicU16::new(45_000);
        let mut sender = Command::new(env!("CARGO_BIN_EXE_vxtap-sender"));
        sender.arg("replay").arg(self.capture()).arg("--policy").arg(self.policy()).args(["--summary", "-"]);
        sender.args(["--source-port-base", &NEXT.fetch_add(100, Ordering::Relaxed).to_string()]);
        sender.stdout(Stdio::piped()).stderr(Stdio::piped());
        sender
    }
}

/// A collector that reads nothing.
fn collector() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Its exit code and summary.
    fn finish(mut self) -> (Option<i32>, Value) {
        let until = Instant::now() + LIMIT;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the sender does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut out = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        let summary = serde_json::from_str(&out).unwrap_or(Value::Null);
        (self.0.wait().unwrap().code(), summary)
    }
}

/// Status and body of the answer to `request`.
fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_replay_by_a_policy_accounts_for_every_frame_by_session_and_direction() {
    let (_collector, target) = collector();
    let folder = Folder::new(target, "vni = 5\nmax_pps = 100\nshed = \"packets\"");
    let (code, summary) = Running(folder.sender().arg("--top-speed").spawn().unwrap()).finish();
    assert_eq!(code, Some(0));
    // 1,000 frames a second of the capture's time for 100 s.
    assert_eq!((&summary["read"], &summary["skipped"]["packet_budget"]), (&100_000.into(), &(100_000 - 10_009).into()));
    let session = &summary["sessions"][0];
    assert_eq!(session["session"], "web");
    assert_eq!(session["outbound"]["mirrored"]["packets"], 10_009);
    assert_eq!(session["outbound"]["skipped"]["bytes"], (100_000 - 10_009) * 60);
}

#[test]
fn sighup_and_the_control_port_change_a_run_and_a_bad_policy_does_not() {
    let (_collector, target) = collector();
    let folder = Folder::new(target, "vni = 5");
    let mut sender = folder.sender();
    sender.args(["--pps", "2000", "--loops", "0", "--control", "127.0.0.1:0"]).env("VXTAP_LOG", "info");
    let mut running = Running(sender.spawn().unwrap());
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines();
    let control: SocketAddr = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, address)) = line.split_once("control port on http://") {
            break address.trim().parse().unwrap();
        }
    };
    // What it says from now on must not fill the pipe.
    let said = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    let sessions = || serde_json::from_str::<Value>(&ask(control, "GET /v1/sessions").1).unwrap();
    assert_eq!(sessions()["sessions"][0]["vni"], 5);
    folder.write_policy(target, "vni = 6");
    running.signal("HUP");
    wait_for("the new policy", || (sessions()["sessions"][0]["vni"] == 6).then_some(()));
    folder.write_policy(target, "vni = 16777216");
    let (status, body) = ask(control, "POST /v1/reload");
    assert!(status == 422 && body.contains("policy.toml:13:") && body.contains("16777215"), "{status} {body}");
    assert_eq!(sessions()["sessions"][0]["vni"], 6);
    assert_eq!(ask(control, "POST /v1/sessions/web/disable").0, 200);
    assert_eq!(sessions()["sessions"][0]["enabled"], false);
    let passed = || sessions()["passed"]["outbound"]["packets"].as_u64().unwrap();
    wait_for("a frame that is not mirrored", || (passed() > 0).then_some(()));
    let metrics = ask(control, "GET /metrics").1;
    assert!(metrics.contains("vxtap_sender_session_enabled{session=\"web\"} 0"), "{metrics}");
    running.signal("TERM");
    let (code, summary) = running.finish();
    assert_eq!(code, Some(0), "{:?}", said.join().unwrap());
    let count = |name: &str| summary[name].as_u64().unwrap();
    let skipped: u64 = summary["skipped"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(count("read"), count("sent") + count("send_errors") + skipped);
    assert!(summary["skipped"]["unmatched"].as_u64().unwrap() > 0);
}

#[test]
fn a_policy_that_is_not_right_is_told_with_its_place_and_exits_2() {
    let (_collector, target) = collector();
    let folder = Folder::new(target, "vni = \"many\"");
    let mut running = Running(folder.sender().spawn().unwrap());
    let mut said = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(running.finish().0, Some(2));
    assert!(said.contains("policy.toml:13:"), "{said}");
}

#[test]
fn the_token_in_the_environment_concerns_only_a_run_with_a_control_port() {
    let (_collector, target) = collector();
    let folder = Folder::new(target, "vni = 5");
    let to_one_target = |token: &str| {
        let mut sender = Command::new(env!("CARGO_BIN_EXE_vxtap-sender"));
        sender.arg("replay").arg(folder.capture()).args(["--to", &target.to_string(), "--vni", "5", "--top-speed"]);
        sender.args(["--source-port-base", "44000"]).env("VXTAP_CONTROL_TOKEN", token).output().unwrap()
    };
    let by_policy = |token: &str, control: &[&str]| {
        let mut sender = folder.sender();
        sender.arg("--top-speed").args(control).env("VXTAP_CONTROL_TOKEN", token).output().unwrap()
    };
    for token in ["", "short", "0123456789abcdef"] {
        for output in [to_one_target(token), by_policy(token, &[])] {
            assert_eq!(output.status.code(), Some(0), "{token:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let control = ["--control", "127.0.0.1:0"];
    for token in ["", "short"] {
        let output = by_policy(token, &control);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("VXTAP_CONTROL_TOKEN"), "{token:?}: {said}");
    }
    assert_eq!(by_policy("0123456789abcdef", &control).status.code(), Some(0));
    let named = ["--control", "127.0.0.1:0", "--control-token", "0123456789abcdef"];
    assert_eq!(by_policy("", &named).status.code(), Some(0), "a flag goes before the environment");
    // Off loopback it takes a token, so the one in the environment is used.
    let everywhere = ["--control", "0.0.0.0:0"];
    assert_eq!(by_policy("0123456789abcdef", &everywhere).status.code(), Some(0));
}

#[test]
fn a_session_is_off_within_a_second_also_where_frames_are_far_apart() {
    let (_collector, target) = collector();
    let folder = Folder::new(target, "vni = 5");
    for pace in [["--pps", "20"], ["--mbps", "0.02"], ["--speed", "0.02"]] {
        let mut sender = folder.sender();
        sender.args(pace).args(["--control", "127.0.0.1:0"]).env("VXTAP_LOG", "info");
        let mut child = sender.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let running = Running(child);
        let control_port =
            |line: std::io::Result<String>| Some(line.unwrap().split_once("http://")?.1.trim().parse().unwrap());
        let address = said.find_map(control_port).unwrap();
        let (status, body) = ask(address, "POST /v1/sessions/web/disable");
        let outcome: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &outcome["in_force"]), (200, &true.into()), "{pace:?}: {body}");
        drop(running);
    }
}

#[test]
fn an_interface_that_is_back_and_a_policy_that_is_read_again_are_told_as_what_went_wrong_before_is() {
    const SCRIPT: &str = r#"
        log="$2"
        told() {
            tries=0
            until grep -q "$1" "$log"; do
                tries=$((tries + 1)); [ $tries -lt 200 ] || { cat "$log" >&2; echo "not told within 20 s: $1" >&2; kill $sender; exit 3; }
                sleep 0.1
            done
        }
        ip link set lo up && ip link add a0 type veth peer name b0 && ip link set b0 up && ip link set a0 up || exit 77
        "$0" capture --policy "$1" a0 2> "$log" & sender=$!
        told 'capturing from a0'
        ip link set a0 down; told 'a0 is down; waiting'
        ip link set a0 up; told 'a0 is up again'
        ip link del a0; told 'a0 is gone; waiting'
        ip link add a0 type veth peer name b0; ip link set b0 up; ip link set a0 up; told 'a0 is back'
        kill -HUP $sender; told 'was read again, as asked: generation 2'
        kill -INT $sender; wait $sender
    "#;
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    let text = "[[source]]\nname = \"a\"\ninterfaces = \"a0\"\n[[target]]\nname = \"c\"\naddress = \"127.0.0.1\"\n\
                [[session]]\nname = \"s\"\nsource = \"a\"\ntarget = \"c\"\n";
    std::fs::write(&policy, text).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_vxtap-sender")]).arg(&policy);
    let output = command.arg(folder.path().join("log")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if namespaces::are_missing(&said) {
        return;
    }
    assert!(output.status.success(), "{said}");
}
