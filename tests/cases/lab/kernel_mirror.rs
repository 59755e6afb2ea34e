//! What was on the mirrored interface equals what arrives, to the byte.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::compare::{bytes, same_frames};
use vxtap_tests::conversations::Tally;
use vxtap_tests::lab::{Lab, Outer, VNI, Watch, between_marks};
use vxtap_tests::tshark;

use super::{eve, start_collector, stop_collector};

/// Fewer frames than this are not the traffic that the lab makes.
const FRAMES: usize = 2000;

/// A control without anything of ours: tcpdump is the mirror target, and only VXLAN headers are cut off.
fn the_lab_mirrors_every_frame(outer: Outer) {
    let Some(lab) = Lab::open(outer) else { return };
    lab.mirror();
    let witness = Watch::start(&lab.host, "mir0", "", &lab.directory().join("host.pcap"));
    let receiver = Watch::start(&lab.target, "col0", "udp dst port 4789", &lab.directory().join("target.pcap"));
    lab.traffic();
    let there = witness.finish();
    let mut arrived = receiver.finish();
    for record in &mut arrived {
        let header = outer.header_len() - 8;
        assert_eq!(record.data[header..header + 8], [8, 0, 0, 0, 0, 0x10, 0x92, 0], "VNI {VNI}");
        record.data.drain(..outer.header_len());
    }
    let (there, arrived) = (between_marks(&there), between_marks(&arrived));
    assert!(there.len() > FRAMES, "{} frames are too few for the traffic made", there.len());
    same_frames(bytes(there), bytes(arrived)).unwrap();
}

#[test]
fn the_lab_mirrors_every_frame_over_ipv4() {
    the_lab_mirrors_every_frame(Outer::V4);
}

#[test]
fn the_lab_mirrors_every_frame_over_ipv6() {
    the_lab_mirrors_every_frame(Outer::V6);
}

/// What tshark makes of the frames between the marks of `records`, one line each, in no order.
fn dissected(lab: &Lab, name: &str, records: &[Record]) -> Vec<String> {
    const FIELDS: [&str; 14] = [
        "frame.len",
        "frame.protocols",
        "eth.src",
        "ip.src",
        "ip.dst",
        "ipv6.src",
        "ipv6.dst",
        "tcp.seq_raw",
        "tcp.len",
        "http.request.uri",
        "http.response.code",
        "dns.qry.name",
        "icmp.type",
        "icmpv6.type",
    ];
    let file = lab.directory().join(name);
    capture_file::write(&file, records);
    let mut lines = tshark::fields_of_each(&file, &FIELDS).unwrap();
    lines.sort_unstable();
    lines
}

/// `records`, which are the same frames as `pattern`, in its order.
fn in_the_order_of(pattern: &[Record], records: &[Record]) -> Vec<Record> {
    let mut by_frame: HashMap<&[u8], VecDeque<&Record>> = HashMap::new();
    for record in records {
        by_frame.entry(&record.data).or_default().push_back(record);
    }
    let next = |like: &Record| by_frame.get_mut(&like.data[..]).and_then(VecDeque::pop_front).cloned();
    pattern.iter().filter_map(next).collect()
}

/// The flows of tshark's conversation table of the file at `path`.
fn conversations(path: &Path) -> Tally {
    Tally::of_frames(&tshark::fields(path, &Tally::FRAME_FIELDS).unwrap())
}

fn the_collector_has_what_was_on_the_host(outer: Outer) {
    let Some(lab) = Lab::open(outer) else { return };
    lab.mirror();
    let collector = start_collector(&lab);
    let witness = Watch::start(&lab.host, "mir0", "", &lab.directory().join("host.pcap"));
    lab.traffic();
    let there = witness.finish();
    let summary = stop_collector(&lab, collector);

    let mut captured = capture_file::read_all(&lab.directory().join("captures"));
    captured.sort_by_key(|record| record.time_ns);
    assert_eq!((captured.len() as u64, summary.ledger.dropped_total()), (summary.ledger.received, 0));
    let interface = format!("vni {VNI} from {}", outer.source());
    assert!(captured.iter().all(|record| record.interface == interface && record.original_len == record.data.len()));

    let (there, here) = (between_marks(&there), between_marks(&captured));
    assert!(there.len() > FRAMES, "{} frames are too few for the traffic made", there.len());
    // Not their order: both directions are mirrored on several CPUs, whose copies may overtake each other.
    same_frames(bytes(there), bytes(here)).unwrap();
    // tshark takes a segment for HTTP or not by what came before it, so it is shown both in one order.
    let here = in_the_order_of(there, here);
    assert!(dissected(&lab, "there.pcap", there) == dissected(&lab, "here.pcap", &here), "tshark's two views differ");
    let expected = conversations(&lab.directory().join("host.pcap"));
    assert!(expected.len() > 20, "{} TCP and UDP flows are too few", expected.len());
    assert_eq!(Tally::of_eve(&eve(&lab)).differences(&expected), Vec::<String>::new());
}

#[test]
fn what_the_kernel_mirrors_over_ipv4_is_captured_to_the_byte() {
    the_collector_has_what_was_on_the_host(Outer::V4);
}

#[test]
fn what_the_kernel_mirrors_over_ipv6_is_captured_to_the_byte() {
    the_collector_has_what_was_on_the_host(Outer::V6);
}
