//! GENEVE captures come out as their inner frames and packets, to the byte; envelopes of several layers come off as they are told to.

use std::collections::BTreeMap;
use std::process::Command;

use tempfile::TempDir;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::captures::{Capture, Captures};
use vxtap_tests::compare::same_in_order;
use vxtap_tests::datagram::{Peer, udp_frame, vxlan};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::run_within;
use vxtap_tests::programs::Program;
use vxtap_tests::tshark;

use super::{LIMIT, Read, read};

/// Link type of IP packets without a link header.
const RAW_IP: i32 = 101;
/// Takes all datagrams, those as well that RFC 8926 wants dropped.
const ACCEPT: &str = "--accept-unknown-critical";

/// The inner frames of GENEVE, by VNI and outer source, in order: as editcap cut them out.
fn expected(capture: &Capture) -> BTreeMap<String, Vec<Record>> {
    let mut inner: BTreeMap<String, std::vec::IntoIter<Record>> = (capture.decapsulated_from("geneve").into_iter())
        .map(|(vni, records)| (vni.to_string(), records.into_iter()))
        .collect();
    let mut by_name: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for row in capture.table("tunnel_frames.tsv") {
        let mut frame = inner.get_mut(&row["vni"]).and_then(Iterator::next).expect("an inner frame for each row");
        frame.link_type = if row["inner_first_proto"] == "eth" { capture_file::ETHERNET } else { RAW_IP };
        by_name.entry(format!("geneve vni {} from {}", row["vni"], row["outer_src"])).or_default().push(frame);
    }
    by_name
}

/// What came out, by the first words of the interface's name: more may follow, of cookies and of link types.
fn by_stream(read: &Read) -> BTreeMap<String, Vec<Record>> {
    let mut by_name: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in &read.records {
        let words: Vec<_> = record.interface.split(' ').take(5).collect();
        by_name.entry(words.join(" ")).or_default().push(record.clone());
    }
    by_name
}

#[test]
fn every_geneve_capture_gives_the_inner_frames_that_tshark_sees_in_it() {
    let Some(captures) = Captures::open() else { return };
    for capture in captures.of(&["geneve"]) {
        for workers in ["1", "3"] {
            let name = &capture.name;
            let read = read(&capture.path, &[ACCEPT, "--workers", workers]);
            let (got, expected) = (by_stream(&read), expected(&capture));
            assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "interfaces of {name}");
            for (stream, frames) in &expected {
                let got = &got[stream];
                same_in_order(frames, got).unwrap_or_else(|error| panic!("{name}, {stream}: {error}"));
                for (want, have) in frames.iter().zip(got) {
                    let facts = |record: &Record| (record.original_len, record.time_ns, record.link_type);
                    assert_eq!(facts(have), facts(want), "{name}, {stream}");
                }
            }
            let (ledger, frames) = (&read.summary.ledger, capture.records().len() as u64);
            assert_eq!((ledger.received, ledger.captured, ledger.dropped_total()), (frames, frames, 0), "{name}");
        }
    }
}

#[test]
fn what_rfc_8926_wants_dropped_is_dropped_by_its_reason_and_nothing_else_is() {
    let Some(captures) = Captures::open() else { return };
    for capture in captures.of(&["geneve"]) {
        let dropped = read(&capture.path, &[]).summary.ledger.dropped;
        // Open vSwitch set the critical bit of an option of a class that is nobody's, in the frames of one VNI.
        let expected: &[(&str, u64)] =
            if capture.name == "tcpdump_geneve_two_vni" { &[("geneve_unknown_critical", 19)] } else { &[] };
        let dropped: Vec<_> = dropped.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        assert_eq!(dropped, expected, "{}", capture.name);
    }
}

#[test]
fn options_are_those_that_tshark_sees() {
    let Some(captures) = Captures::open() else { return };
    if !have_tools(&["tshark"]) {
        return;
    }
    let mut options = 0;
    for capture in captures.of(&["geneve"]) {
        let fields = ["geneve.option.class", "geneve.option.type", "geneve.option.length", "geneve.vni"];
        let lines = tshark::all_fields(&capture.path, &fields).unwrap();
        for (record, line) in capture.records().iter().zip(lines) {
            let outer = vxtap_wire::envelope::outer_datagram(vxtap_wire::Link::Ethernet, &record.data).unwrap();
            let (header, _) = vxtap_wire::geneve::decapsulate(outer.payload).unwrap();
            let list = |values: Vec<String>| values.join(",");
            let ours = [
                list(header.options.iter().map(|option| format!("0x{:04x}", option.class)).collect()),
                list(header.options.iter().map(|option| format!("0x{:02x}", option.kind)).collect()),
                format!("0x{:06x}", header.vni.get()),
            ];
            let theirs: Vec<&str> = line.split('\t').collect();
            assert_eq!(ours, [theirs[0], theirs[1], theirs[3]], "{}", capture.name);
            options += header.options.iter().count();
        }
    }
    assert!(options > 40, "{options} options");
}

#[test]
fn googles_options_name_the_stream_and_are_in_the_events() {
    let Some(captures) = Captures::open() else { return };
    let read = read(&captures.named("tcpdump_geneve_gcp").path, &[]);
    assert_eq!(
        read.records[0].interface,
        "geneve vni 0 from 192.168.100.254 network 0x800000d endpoint 0x800000dc0a864020000000000000000 \
         profile 0x1234 egress ip"
    );
    let flow = r#""tunnel":{"proto":"geneve","vni":0,"src_ip":"192.168.100.254","direction":"egress","cloud":"google","network_cookie":134217741,"endpoint":"0800000dc0a864020000000000000000","profile":"0000000000001234"}"#;
    let eve = read.eve();
    assert!(
        eve.lines().any(|line| line.contains(flow) && line.contains(r#""src_ip":"192.168.100.2","src_port":2905"#)),
        "{eve}"
    );
}

#[test]
fn layers_come_off_as_many_as_are_told_and_each_layers_vni_is_kept() {
    let Some(captures) = Captures::open() else { return };
    let balanced = captures.named("zeek_geneve_vxlan_dns_trunc");
    let outer = balanced.records();
    let two = read(&balanced.path, &["--envelope-layers", "2"]);
    for (record, outer) in two.records.iter().zip(&outer) {
        assert_eq!(record.interface, "geneve vni 4242/4242 from 127.0.0.1");
        // Ethernet, IPv4 and UDP around GENEVE without options, IPv4, UDP and VXLAN.
        assert_eq!(record.data, outer.data[14 + 28 + 8 + 28 + 8..]);
        assert_eq!((record.original_len, record.link_type), (outer.original_len - 86, capture_file::ETHERNET));
    }
    let nested = captures.named("zeek_vxlan_triple_nested");
    let frame = &nested.records()[0].data;
    for (layers, name, offset) in [
        ("1", "vni 1 from 1.1.1.1", 50),
        ("2", "vni 1/2 from", 100),
        ("3", "vni 1/2/3 from", 150),
        ("4", "vni 1/2/3 from", 150),
    ] {
        let read = read(&nested.path, &["--envelope-layers", layers]);
        assert!(read.records[0].interface.starts_with(name), "{layers}: {}", read.records[0].interface);
        assert_eq!(read.records[0].data, frame[offset..], "{layers}");
    }
    for (vni, matches) in [("1", 1), ("2", 1), ("3", 1), ("4", 0)] {
        let read = read(&nested.path, &["--envelope-layers", "3", "--capture-filter", &format!("vni {vni}")]);
        assert_eq!(read.records.len(), matches, "vni {vni} in any layer");
    }
}

#[test]
fn other_frames_are_passed_over_or_taken_as_they_are_by_what_is_asked_for() {
    let Some(captures) = Captures::open() else { return };
    let (geneve, vxlan) = (captures.named("suricata_geneve_icmp_arp"), captures.named("tcpdump_vxlan_icmp_arp"));
    for (capture, kind, interface) in [
        (&geneve, "auto", "geneve vni 123"),
        (&geneve, "geneve", "geneve vni 123"),
        (&geneve, "vxlan", ""),
        (&geneve, "none", "plain"),
        (&vxlan, "auto", "vni 100"),
        (&vxlan, "vxlan", "vni 100"),
        (&vxlan, "geneve", ""),
        (&vxlan, "none", "plain"),
    ] {
        let read = read(&capture.path, &["--encapsulation", kind]);
        let not_encapsulated = read.summary.ledger.dropped.get("not_encapsulated").copied().unwrap_or(0);
        if interface.is_empty() {
            assert_eq!((read.records.len(), not_encapsulated), (0, 10), "{} by {kind}", capture.name);
        } else {
            assert_eq!((read.records.len(), not_encapsulated), (10, 0), "{} by {kind}", capture.name);
            assert!(read.records.iter().all(|record| record.interface.starts_with(interface)), "{kind}");
        }
    }
}

#[test]
fn fragments_of_outer_datagrams_are_told_by_their_own_reason_where_only_tunnels_are_asked_for() {
    let inner = udp_frame(Peer::v4(1, 1000), Peer::v4(2, 2000), &[7; 600]);
    let outer = udp_frame(Peer::v4(7, 50_000), Peer::v4(8, 4789), &vxlan(9, &inner));
    // The datagram again in two pieces, as a router cuts it: 400 bytes behind the IP header, and the rest.
    let (headers, datagram) = outer.split_at(34);
    let piece = |field: u16, part: &[u8]| {
        let mut frame = [headers, part].concat();
        frame[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        frame
    };
    let pieces = [piece(0x2000, &datagram[..400]), piece(50, &datagram[400..])];
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("fragments.pcap");
    let record = |(number, frame): (usize, &Vec<u8>)| Record {
        interface: String::new(),
        link_type: capture_file::ETHERNET,
        time_ns: 1_780_000_000_000_000_000 + number as u64,
        original_len: frame.len(),
        data: frame.clone(),
    };
    let frames: Vec<Record> = [&outer, &pieces[0], &pieces[1]].into_iter().enumerate().map(record).collect();
    capture_file::write(&path, &frames);
    let read_as = |kind: &str| read(&path, &["--encapsulation", kind, "--workers", "2"]);
    for kind in ["vxlan", "geneve"] {
        let read = read_as(kind);
        let dropped = &read.summary.ledger.dropped;
        assert_eq!(dropped.get("outer_fragment"), Some(&2), "{kind}: {dropped:?}");
        assert_eq!(read.records.len(), usize::from(kind == "vxlan"), "{kind}");
    }
    // Where other frames are taken as they are, nothing says that these are anything else.
    let names: Vec<_> = read_as("auto").records.into_iter().map(|record| record.interface).collect();
    assert_eq!(names, ["vni 9 from 10.1.0.7", "plain", "plain"]);
}

#[test]
fn captures_of_packets_without_ethernet_are_read_by_tshark_by_read_and_by_extract() {
    let Some(captures) = Captures::open() else { return };
    let capture = captures.named("tcpdump_geneve_gcp");
    let first = read(&capture.path, &[]);
    let file = &capture_file::files_in(&first.captures())[0];
    if have_tools(&["tshark"]) {
        assert_eq!(tshark::fields(file, &["frame.protocols", "tcp.dstport"]).unwrap(), ["raw:ip:tcp\t8080"]);
    }
    let again = read(file, &[]);
    assert_eq!(again.records.len(), 1);
    assert_eq!((&again.records[0].data, again.records[0].link_type), (&first.records[0].data, RAW_IP));
    // Its interface tells which mirror stream it was of, and it is of that one again.
    assert_eq!(again.records[0].interface, first.records[0].interface);
    assert!(again.records[0].interface.starts_with("geneve vni 0 from "), "{}", again.records[0].interface);
    let directory = TempDir::new().unwrap();
    for (filter, found) in
        [("tcp port 8080", 1), ("src host 192.168.100.2", 1), ("udp", 0), ("vni 0 and ip", 1), ("ip6", 0)]
    {
        let output = directory.path().join(format!("{}.pcapng", filter.replace(' ', "_")));
        let mut command: Command = Program::Collector.command();
        command.arg("extract").arg(first.captures()).args(["--filter", filter, "-o"]).arg(&output);
        let _ = run_within(LIMIT, &mut command).success();
        let records = capture_file::read(&output);
        assert_eq!(records.len(), found, "{filter}");
        assert!(records.iter().all(|record| record.data == first.records[0].data && record.link_type == RAW_IP));
    }
    for (filter, found) in [("tcp dst port 8080", 1), ("tcp dst port 8081", 0), ("len = 40", 1)] {
        assert_eq!(read(&capture.path, &["--capture-filter", filter]).records.len(), found, "{filter}");
    }
}

#[test]
fn in_a_classic_file_a_packet_without_ethernet_gets_a_header_of_zeros() {
    let Some(captures) = Captures::open() else { return };
    for (name, kind) in [("tcpdump_geneve_gcp", [8, 0]), ("zeek_geneve_inner_ipv6_no_eth", [0x86, 0xdd])] {
        let capture = captures.named(name);
        let packets = read(&capture.path, &[]).records;
        let records = read(&capture.path, &["--capture-format", "pcap-ns"]).records;
        assert_eq!(records.len(), packets.len());
        for (record, packet) in records.iter().zip(&packets) {
            assert_eq!(record.link_type, capture_file::ETHERNET);
            assert_eq!(record.data, [&[0; 12][..], &kind, &packet.data].concat());
            assert_eq!(record.original_len, packet.original_len + 14);
        }
    }
}
