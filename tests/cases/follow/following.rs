//! A collector that can be followed, and those who follow it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;
use vxtap_analyzers::snapshot::FollowersSnapshot;
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::needs::is_root;
use vxtap_tests::process::Running;
use vxtap_tests::programs::Program;

/// A collector with the API and pcap-over-IP.
pub(crate) struct Followed {
    pub(crate) collector: Collector,
    /// Where pcap-over-IP is.
    pub(crate) tcp: SocketAddr,
}

impl Followed {
    pub(crate) fn start(settings: Settings) -> Self {
        let mut collector = settings.arg("--follow").arg("127.0.0.1:0").start();
        let tcp = collector.process().wait_for_line(SOON, "where followers are", |line| {
            line.split_once("followers on TCP@")?.1.trim().parse().ok()
        });
        Self { collector, tcp }
    }

    /// Who follows.
    pub(crate) fn followers(&self) -> FollowersSnapshot {
        self.collector.snapshot().followers
    }

    /// Waits until somebody follows.
    pub(crate) fn wait_for_one(&self) {
        wait_until(SOON, "a follower", || self.followers().now.len() == 1);
    }

    /// A connection to pcap-over-IP of which nothing is read yet.
    pub(crate) fn connect_tcp(&self) -> TcpStream {
        TcpStream::connect(self.tcp).expect("pcap-over-IP accepts")
    }

    /// A connection to the API on which the live capture was asked for and nothing is read yet.
    pub(crate) fn connect_http(&self) -> TcpStream {
        let address = self.collector.api().trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the API accepts");
        // Version 1.0 gets the stream as it is, without chunks.
        write!(stream, "GET /v1/live.pcapng HTTP/1.0\r\n\r\n").expect("the API takes a request");
        stream
    }
}

/// Reads all that comes until the end, in a thread of its own.
pub(crate) fn read_all(mut stream: TcpStream) -> JoinHandle<Vec<u8>> {
    stream.set_read_timeout(Some(SOON)).expect("a time that is not zero");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("{error} after {} bytes", bytes.len()));
        bytes
    })
}

/// What is behind the head of an HTTP answer.
pub(crate) fn body(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("the end of a head");
    assert!(answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"), "not 200");
    &answer[head + 4..]
}

/// How packets come to tshark's standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `curl -sN …/v1/live.pcapng`.
    Http,
    /// `nc host port`, by the shell's own means.
    Nc,
    /// `dumpcap -i TCP@host:port`: what Wireshark and tshark have capture for them.
    Dumpcap,
    /// `vxtap-extcap --capture`.
    Extcap,
}

/// A folder of extcap programs with ours in it, for everybody to read, and a home directory.
pub(crate) struct ExtcapFolder(TempDir);

impl ExtcapFolder {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a temporary directory");
        let everybody = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a directory of our own");
        };
        let (program, home) = (folder.path().join("vxtap-extcap"), folder.path().join("home"));
        fs::copy(Program::Extcap.path(), &program).expect("a copy of the program");
        fs::create_dir(&home).expect("a writable directory");
        everybody(folder.path(), 0o755);
        everybody(&program, 0o755);
        everybody(&home, 0o777);
        Self(folder)
    }

    /// tshark with the folder as its extcap folder. It takes that from nobody but an ordinary user.
    pub(crate) fn tshark(&self) -> Command {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "tshark"]);
            command
        } else {
            Command::new("tshark")
        };
        command.env("WIRESHARK_EXTCAP_DIR", self.0.path()).env("HOME", self.0.path().join("home"));
        command
    }
}

/// A tshark that reads what comes by `way` and prints `field` of each packet at once. A tshark that captures by itself prints
/// twice a second.
pub(crate) fn tshark(followed: &Followed, way: Way, field: &str) -> Running {
    let (api, port) = (followed.collector.api(), followed.tcp.port());
    let source = match way {
        Way::Http => format!("curl -sN {api}/v1/live.pcapng"),
        Way::Nc => format!("exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3"),
        Way::Dumpcap => format!("dumpcap -q -i TCP@127.0.0.1:{port} -w -"),
        Way::Extcap => {
            let program = Program::Extcap.path();
            format!("'{}' --extcap-interface vxtap --capture --host {api} --fifo /dev/stdout", program.display())
        }
    };
    // It takes the shell's place, so that it is the process that a test ends.
    let line = format!("exec tshark -n -l -r - -T fields -e {field} < <({source})");
    Running::start(Command::new("bash").args(["-c", &line]))
}
