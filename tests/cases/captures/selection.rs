//! Less than everything, by choice: what is in the files is what other tools take from the whole capture.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::collector::{Settings, Stopped};
use vxtap_tests::datagram::{Peer, udp_frame, vxlan};
use vxtap_tests::deadline::SOON;
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;
use vxtap_tests::readers::tcpdump;
use vxtap_tests::summary::{self, CollectorSummary};
use vxtap_tests::tshark;
use vxtap_wire::{FlowKey, FrameView, Network, NetworkId, TcpFlags, Transport};

use super::{generate, shared_machine};

/// Frames of each of the two VNIs.
const PACKETS: usize = 4000;

/// Runs a collector that is told `arguments` under a load that is the same each time.
fn run(arguments: &[&str]) -> Stopped {
    let settings = arguments.iter().fold(Settings::new(2).write(), Settings::arg);
    let collector = settings.start();
    for (vni, seed) in [(11, 1), (12, 2)] {
        let load = format!("--vni {vni} --seed {seed} --pps 10000 --flows 60 --packets {PACKETS} --ipv6 30");
        assert_eq!(generate(collector.address(), &load).sent, PACKETS as u64);
    }
    collector.wait_received(2 * PACKETS as u64);
    let stopped = collector.stop();
    let ledger = &stopped.summary.ledger;
    assert_eq!((ledger.analysed, ledger.capture_dropped), (2 * PACKETS as u64, 0), "{ledger:?}");
    assert_eq!(ledger.captured + ledger.not_captured, ledger.analysed);
    let records = records(&stopped);
    assert_eq!(records.len() as u64, ledger.captured, "{arguments:?}");
    // The generator's frames are whole where nobody cuts them.
    let left_out: Vec<u64> =
        records.iter().map(|record| (record.original_len - record.data.len()) as u64).filter(|cut| *cut > 0).collect();
    let told = (stopped.summary.capture_cut, stopped.summary.capture_cut_bytes);
    assert_eq!(told, (left_out.len() as u64, left_out.iter().sum()), "{arguments:?}");
    stopped
}

fn records(stopped: &Stopped) -> Vec<Record> {
    capture_file::read_all(&stopped.captures())
}

/// The whole capture of the load.
struct Everything {
    /// Its only file.
    path: PathBuf,
    records: Vec<Record>,
    _directory: TempDir,
}

/// Captures everything, once for all tests.
fn everything() -> Everything {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let full = run(&[]);
        assert_eq!(full.summary.ledger.captured, 2 * PACKETS as u64);
        fs::read(only_file(&full)).unwrap()
    });
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("full.pcapng");
    fs::write(&path, &*BYTES).unwrap();
    let records = capture_file::read(&path);
    Everything { path, records, _directory: directory }
}

/// The only capture file.
fn only_file(stopped: &Stopped) -> PathBuf {
    let mut files = capture_file::files_in(&stopped.captures());
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// What two captures of the same load have in common: stream, length on the wire and bytes of each record, in an order that is its
/// own.
fn comparable(records: &[Record]) -> Vec<(&str, usize, &[u8])> {
    let mut all: Vec<_> =
        records.iter().map(|record| (record.interface.as_str(), record.original_len, record.data.as_slice())).collect();
    all.sort_unstable();
    all
}

/// Bytes and lengths on the wire alone: what a pcap file of tcpdump keeps.
fn frames(records: &[Record]) -> Vec<(usize, &[u8])> {
    let mut all: Vec<_> = records.iter().map(|record| (record.original_len, record.data.as_slice())).collect();
    all.sort_unstable();
    all
}

/// What tcpdump takes of the file at `full` by `filter`.
fn taken_by_tcpdump(full: &Path, filter: &str) -> Vec<Record> {
    let file = tempfile::NamedTempFile::new().unwrap();
    tcpdump(full, filter, Some(file.path())).unwrap_or_else(|error| panic!("{error}"));
    capture_file::read(file.path())
}

/// What the records become by a cut of each to so many bytes.
fn cut(records: &[Record], length: impl Fn(usize, &Record) -> usize) -> Vec<Record> {
    let cut = |(number, record): (usize, &Record)| {
        let mut record = record.clone();
        record.data.truncate(length(number, &record));
        record
    };
    records.iter().enumerate().map(cut).collect()
}

#[test]
fn a_filtered_capture_is_what_tcpdump_takes_from_the_whole_one() {
    let _machine = shared_machine();
    if !have_tools(&["tcpdump", "tshark"]) {
        return;
    }
    let full = everything();
    let path = full.path.as_path();
    let filter = "(tcp[tcpflags] & tcp-syn != 0) or (ip6 and greater 200) or udp";
    let filtered = run(&["--capture-filter", filter]);
    let expected = taken_by_tcpdump(path, filter);
    assert!(expected.len() > 500 && expected.len() < PACKETS * 2 - 500, "{}", expected.len());
    assert_eq!(frames(&records(&filtered)), frames(&expected));

    let by_vni = run(&["--capture-filter", "vni 12 and tcp"]);
    let extracted = tempfile::NamedTempFile::with_suffix(".pcapng").unwrap();
    let display = "frame.interface_name contains \"vni 12 \" and tcp";
    tshark::extract(path, display, extracted.path()).unwrap_or_else(|error| panic!("{error}"));
    let expected = capture_file::read(extracted.path());
    assert!(expected.len() > 500, "{}", expected.len());
    assert_eq!(comparable(&records(&by_vni)), comparable(&expected));

    // Offline, where the order is that of the file as well.
    for filter in ["ip6", "tcp port 443", "udp and not port 53", "less 100", "ip[8] > 10 and tcp", "not ip"] {
        let (summary, got) = read(path, &["--capture-filter", filter]);
        let expected = taken_by_tcpdump(path, filter);
        assert!(got.iter().map(|record| &record.data).eq(expected.iter().map(|record| &record.data)), "{filter}");
        let ledger = summary.ledger;
        assert_eq!(ledger.captured, got.len() as u64, "{filter}");
        assert_eq!(ledger.not_captured, 2 * PACKETS as u64 - ledger.captured, "{filter}");
    }
}

/// Runs `read` on the file at `path`: summary and records.
fn read(path: &Path, arguments: &[&str]) -> (CollectorSummary, Vec<Record>) {
    let directory = TempDir::new().unwrap();
    let mut command = Program::Collector.command();
    command.arg("read").arg(path).args(["--summary", "-", "--write"]).arg(directory.path()).args(arguments);
    let finished = run_within(SOON, &mut command).success();
    let summary: CollectorSummary = summary::parse(&finished.stdout);
    summary.check().unwrap();
    (summary, capture_file::read_all(directory.path()))
}

#[test]
fn cut_frames_keep_their_first_bytes_and_their_length_on_the_wire() {
    let _machine = shared_machine();
    let whole = everything().records;
    let snapped = run(&["--snaplen", "90"]);
    assert!(snapped.summary.capture_cut > 0);
    assert_eq!(comparable(&records(&snapped)), comparable(&cut(&whole, |_, _| 90)));
    if have_tools(&["tshark"]) {
        let lengths = tshark::fields(&only_file(&snapped), &["frame.cap_len", "frame.len"]);
        let lengths = lengths.unwrap_or_else(|error| panic!("{error}"));
        let mut lengths: Vec<(usize, usize)> = lengths
            .iter()
            .map(|line| line.split_once('\t').expect("two fields"))
            .map(|(captured, wire)| (captured.parse().unwrap(), wire.parse().unwrap()))
            .collect();
        let mut expected: Vec<_> =
            whole.iter().map(|record| (record.original_len.min(90), record.original_len)).collect();
        lengths.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lengths, expected);
    }
}

#[test]
fn headers_alone_are_as_long_as_tshark_says() {
    let _machine = shared_machine();
    if !have_tools(&["tshark"]) {
        return;
    }
    let full = everything();
    let fields = ["ip.hdr_len", "ipv6.nxt", "tcp.hdr_len", "udp.length"];
    let fields = tshark::fields_of_each(&full.path, &fields).unwrap_or_else(|error| panic!("{error}"));
    let header_lens: Vec<usize> = fields.iter().map(|line| header_len(line)).collect();
    let headers = run(&["--capture-headers"]);
    assert!(headers.summary.capture_cut > 0);
    let expected = cut(&full.records, |number, _| header_lens[number]);
    assert_eq!(comparable(&records(&headers)), comparable(&expected));
    let (cut, whole): (usize, usize) =
        (header_lens.iter().sum(), full.records.iter().map(|record| record.data.len()).sum());
    assert!(cut < whole / 2, "{cut} of {whole} bytes are headers");
}

/// Ethernet, IP without extensions, TCP or UDP, from the tab-separated fields.
fn header_len(line: &str) -> usize {
    let mut fields = line.split('\t').map(|field| field.parse::<usize>().ok());
    let mut field = || fields.next().flatten();
    let (ipv4, ipv6, tcp, udp) = (field(), field(), field(), field());
    let network = ipv4.or(ipv6.map(|_| 40)).unwrap_or_else(|| panic!("no IP in {line:?}"));
    let transport = tcp.or(udp.map(|_| 8)).unwrap_or_else(|| panic!("no TCP or UDP in {line:?}"));
    14 + network + transport
}

/// Stream and ends of each frame of the file at `path`, the same for both directions.
fn flows_of(path: &Path, records: &[Record]) -> Vec<String> {
    let fields =
        ["ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport"];
    let lines = tshark::fields_of_each(path, &fields).unwrap_or_else(|error| panic!("{error}"));
    let flow = |(line, record): (&String, &Record)| {
        let parts: Vec<&str> = line.split('\t').collect();
        let end = |side: usize| (0..4).map(|pair| parts[2 * pair + side]).collect::<Vec<_>>().join(" ");
        let mut ends = [end(0), end(1)];
        ends.sort();
        format!("{} {ends:?}", record.interface)
    };
    lines.iter().zip(records).map(flow).collect()
}

#[test]
fn of_each_flow_only_the_first_bytes_are_captured() {
    const MOST: usize = 3000;
    let _machine = shared_machine();
    if !have_tools(&["tshark"]) {
        return;
    }
    let full = everything();
    let whole = &full.records;
    let mut so_far: HashMap<String, usize> = HashMap::new();
    let mut expected = Vec::new();
    for (flow, record) in flows_of(&full.path, whole).into_iter().zip(whole) {
        let bytes = so_far.entry(flow).or_default();
        // The frame that reaches the bound is the last one.
        if *bytes < MOST {
            expected.push(record.clone());
        }
        *bytes += record.data.len();
    }
    assert!(expected.len() < whole.len() * 2 / 3, "{} of {}", expected.len(), whole.len());
    let first = run(&["--capture-flow-bytes", &MOST.to_string()]);
    assert_eq!(comparable(&records(&first)), comparable(&expected));
}

#[test]
fn a_split_capture_has_the_frames_of_each_vni_in_files_of_its_own() {
    let _machine = shared_machine();
    let full = everything().records;
    let split = run(&["--capture-split"]);
    let mut of_vni: BTreeMap<&str, Vec<Record>> = BTreeMap::new();
    for file in capture_file::files_in(&split.captures()) {
        let name = file.to_string_lossy().into_owned();
        let vni = ["11", "12"].into_iter().find(|vni| name.contains(&format!("-vni{vni}-")));
        of_vni
            .entry(vni.unwrap_or_else(|| panic!("{name} is of no VNI")))
            .or_default()
            .extend(capture_file::read(&file));
    }
    assert_eq!(of_vni.keys().copied().collect::<Vec<_>>(), ["11", "12"]);
    for (vni, got) in &of_vni {
        let wanted = full.iter().filter(|record| record.interface.starts_with(&format!("vni {vni} ")));
        assert_eq!(comparable(got), comparable(&wanted.cloned().collect::<Vec<_>>()));
    }
}

#[test]
fn a_capture_split_by_network_has_the_frames_of_each_network_in_files_of_its_own() {
    let _machine = shared_machine();
    let full = everything().records;
    let split = run(&["--capture-split=network", "--network", "blue=12,13"]);
    let files = capture_file::files_in(&split.captures());
    for (label, vni) in [("-net-blue-", 12), ("-vni11-", 11)] {
        let of: Vec<_> = files.iter().filter(|file| file.to_string_lossy().contains(label)).collect();
        assert_eq!(of.len(), 1, "{label} in {files:?}");
        let wanted = full.iter().filter(|record| record.interface.starts_with(&format!("vni {vni} ")));
        assert_eq!(comparable(&capture_file::read(of[0])), comparable(&wanted.cloned().collect::<Vec<_>>()));
    }
    assert_eq!(files.len(), 2);
}

#[test]
fn files_of_single_workers_hold_whole_flows_and_together_everything() {
    let _machine = shared_machine();
    let full = everything();
    let shards = run(&["--capture-layout", "per-shard"]);
    assert_eq!(comparable(&records(&shards)), comparable(&full.records));
    if !have_tools(&["tshark"]) {
        return;
    }
    let mut shard_of_flow: HashMap<String, PathBuf> = HashMap::new();
    let files = capture_file::files_in(&shards.captures());
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        for flow in flows_of(&file, &capture_file::read(&file)) {
            let shard = shard_of_flow.entry(flow.clone()).or_insert_with(|| file.clone());
            assert_eq!(*shard, file, "{flow} is in two files");
        }
    }
}

#[test]
fn a_filter_takes_a_network_by_its_name_and_the_file_tells_it() {
    let _machine = shared_machine();
    let some = run(&["--network", "blue=12,13", "--capture-filter", "network blue"]);
    assert_eq!(some.summary.ledger.captured, PACKETS as u64);
    let whole = fs::read(only_file(&some)).unwrap();
    let told = b"vni=12 source=127.0.0.1 network=blue";
    assert!(whole.windows(told.len()).any(|window| window == told), "the interface's description tells the network");
}

#[test]
fn a_flow_is_captured_whole_from_its_first_frame_that_matches() {
    let _machine = shared_machine();
    let whole = everything();
    // As in tcpdump's language, 'tcp[…]' looks into IPv4 only.
    let filter = "tcp[tcpflags] & tcp-push != 0";
    let mut wanted = HashSet::new();
    let expected = whole.records.iter().filter(|record| {
        let view = FrameView::parse(&record.data);
        let (Some(tuple), Transport::Tcp(tcp)) = (view.five_tuple, view.transport) else { return false };
        let flow = FlowKey::new(NetworkId::NONE, &tuple).0;
        if opens(record) {
            // The next connection with the same addresses and ports is another flow.
            wanted.remove(&flow);
        }
        if tcp.flags.has(TcpFlags::PSH) && view.network == Network::Ipv4 {
            wanted.insert(flow);
        }
        wanted.contains(&flow)
    });
    let expected: Vec<&Vec<u8>> = expected.map(|record| &record.data).collect();
    let (_, matching) = read(&whole.path, &["--capture-filter", filter]);
    assert!(
        matching.len() < expected.len() && expected.len() < whole.records.len(),
        "more than what matches, and not all"
    );
    let (summary, got) = read(&whole.path, &["--capture-filter", filter, "--capture-whole-flows"]);
    // A SYN is of the old flow until it is answered.
    let got = got.iter().filter(|record| !opens(record)).map(|record| &record.data);
    assert!(got.eq(expected), "the same frames in the same order");
    assert_eq!(summary.ledger.captured + summary.ledger.not_captured, 2 * PACKETS as u64);
}

/// Whether the frame asks for a connection.
fn opens(record: &Record) -> bool {
    let Transport::Tcp(tcp) = FrameView::parse(&record.data).transport else { return false };
    tcp.flags.has(TcpFlags::SYN) && !tcp.flags.has(TcpFlags::ACK)
}

#[test]
fn of_a_packet_that_two_mirrors_show_one_copy_is_captured_where_that_is_asked_for() {
    const TWICE: u64 = 200;
    let _machine = shared_machine();
    let place = TempDir::new().unwrap();
    let path = place.path().join("twice.pcap");
    let outer = |vni, frame: &[u8]| udp_frame(Peer::v4(1, 50_000), Peer::v4(2, 4789), &vxlan(vni, frame));
    let mut mirrored = Vec::new();
    let mut inner = Vec::new();
    for number in 0..TWICE {
        let frame = udp_frame(Peer::v4(number as u16, 1000), Peer::v4(9, 9999), &number.to_be_bytes());
        for (copy, vni) in [40, 41].into_iter().enumerate() {
            let (data, time_ns) = (outer(vni, &frame), (1 + number) * 1_000_000_000 + copy as u64 * 1_000_000);
            let (interface, original_len) = (String::new(), data.len());
            mirrored.push(Record { interface, link_type: capture_file::ETHERNET, time_ns, original_len, data });
        }
        inner.push(frame);
    }
    capture_file::write(&path, &mirrored);
    let both = ["--network", "blue=40,41"];
    let (summary, records) = read(&path, &both);
    // Copies are looked for from the moment on in which a network has a second stream: the first packet's is not found.
    let found = TWICE - 1;
    let all = (found, 2 * TWICE, 2 * TWICE);
    assert_eq!((summary.ledger.duplicates, summary.ledger.captured, records.len() as u64), all);
    let (summary, records) = read(&path, &[&both[..], &["--capture-one-copy"]].concat());
    let ledger = &summary.ledger;
    assert_eq!((ledger.duplicates, ledger.captured, ledger.not_captured), (found, TWICE + 1, found));
    let once = inner.first().into_iter().chain(&inner);
    assert!(records.iter().map(|record| &record.data).eq(once), "each packet once, in order");
    let first_copies = records.iter().filter(|record| record.interface.starts_with("vni 40 ")).count() as u64;
    assert_eq!(first_copies, TWICE, "the first copy of each");
}
