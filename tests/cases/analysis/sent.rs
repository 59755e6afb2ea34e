//! A capture as our own sender mirrors it: what `vxtap-sender replay` really puts on the wire.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use vxtap_tests::capture_file::Record;
use vxtap_tests::captures::Capture;
use vxtap_tests::datagram::vxlan;
use vxtap_tests::sender;

use super::mirrored::{self, VNI};

/// Frames a second: at first, and where a socket's queue of this machine was too short for that.
const RATES: [&str; 4] = ["20000", "5000", "2000", "500"];
/// How long a socket is silent when nothing comes any more, once the sender has ended.
const SILENCE: Duration = Duration::from_millis(50);
/// Where the sender fails, nobody says that it has ended.
const LIMIT: Duration = Duration::from_mins(2);
/// Asked for; the kernel may grant less.
const QUEUE_BYTES: usize = 4 << 20;
/// The longest UDP payload.
const DATAGRAM_MAX: usize = 65_507;

/// Each frame of `capture` in VXLAN, as the sender cuts it to `length` bytes, in the order of the capture. Each has the bytes that the
/// capture has, up to the cut.
pub(crate) fn cut(capture: &Capture, records: &[Record], length: usize) -> Vec<Record> {
    let datagrams = RATES
        .iter()
        .find_map(|rate| send(capture, length, rate).filter(|datagrams| datagrams.len() >= records.len()))
        .unwrap_or_else(|| panic!("{}: datagrams were lost on loopback at any rate", capture.name));
    // Flows have source ports of their own, whose datagrams may overtake each other.
    let mut waiting: HashMap<Vec<u8>, VecDeque<usize>> = HashMap::new();
    for (number, record) in records.iter().enumerate() {
        let frame = &record.data[..record.data.len().min(length)];
        waiting.entry(vxlan(VNI, frame)).or_default().push_back(number);
    }
    let mut sent: Vec<(usize, Record)> = Vec::with_capacity(records.len());
    for datagram in datagrams {
        let number = waiting.get_mut(&datagram).and_then(VecDeque::pop_front);
        let number = number.unwrap_or_else(|| panic!("{}: the sender sent {datagram:02x?}", capture.name));
        sent.push((number, mirrored::datagram(&records[number], &datagram)));
    }
    sent.sort_by_key(|(number, _)| *number);
    assert_eq!(sent.len(), records.len(), "{} cut to {length}", capture.name);
    sent.into_iter().map(|(_, record)| record).collect()
}

/// What arrives of `capture`; `None` where this machine has lost some of it.
fn send(capture: &Capture, length: usize, rate: &str) -> Option<Vec<Vec<u8>>> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let _ = SockRef::from(&socket).set_recv_buffer_size(QUEUE_BYTES);
    socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let target = socket.local_addr().expect("an address").to_string();
    let ended = AtomicBool::new(false);
    let (vni, length) = (VNI.to_string(), length.to_string());
    let arguments = ["--to", &target, "--vni", &vni, "--packet-length", &length, "--pps", rate];
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&socket, &ended));
        let arguments = [capture.path.as_os_str()].into_iter().chain(arguments.map(OsStr::new));
        let summary = sender::run("replay", arguments);
        ended.store(true, Ordering::SeqCst);
        let datagrams = receiver.join().expect("no panic");
        assert!(summary.skipped.is_empty(), "{}: {summary:?}", capture.name);
        (datagrams.len() as u64 == summary.sent).then_some(datagrams)
    })
}

fn receive(socket: &UdpSocket, ended: &AtomicBool) -> Vec<Vec<u8>> {
    let (mut datagrams, mut buffer) = (Vec::new(), vec![0; DATAGRAM_MAX]);
    let begin = Instant::now();
    loop {
        let was_over = ended.load(Ordering::SeqCst) || begin.elapsed() > LIMIT;
        match socket.recv(&mut buffer) {
            Ok(length) => datagrams.push(buffer[..length].to_vec()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if was_over {
                    return datagrams;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}
