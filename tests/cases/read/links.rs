//! Captures of other links than Ethernet: what `tcpdump -i any` writes, loopback of other systems, PPP, Linux's packet log.

use tempfile::TempDir;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::captures::{Capture, Captures};
use vxtap_tests::compare::{bytes, same_frames};
use vxtap_tests::datagram::{Peer, tcp_frame, udp_frame, vxlan};
use vxtap_tests::needs::have_tools;
use vxtap_tests::{readers, tshark};

use super::{read, start};

/// One capture of each link, and what its interface is called.
const LINKS: [(&str, &str); 5] = [
    ("zeek_redis_bulk", "plain loopback"),
    ("zeek_linux_sll2", "plain sll2"),
    ("tcpdump_nanosecond_pcap", "plain sll"),
    ("zeek_quic_v1_handshake", "plain ppp"),
    ("zeek_nflog_http", "plain nflog"),
];

fn captures_of_links(captures: &Captures) -> impl Iterator<Item = (Capture, &'static str)> {
    LINKS.into_iter().map(|(name, interface)| (captures.named(name).clone(), interface))
}

#[test]
fn frames_of_other_links_are_captured_as_they_are_and_read_by_tshark() {
    let Some(captures) = Captures::open() else { return };
    for (capture, interface) in captures_of_links(&captures) {
        let name = &capture.name;
        let sent = capture.records();
        for workers in ["1", "2"] {
            let read = read(&capture.path, &["--workers", workers]);
            same_frames(bytes(&sent), bytes(&read.records)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let alike = |record: &Record| record.interface == interface && record.link_type == sent[0].link_type;
            assert!(read.records.iter().all(alike), "{name}: {:?}", read.records[0]);
            let ledger = &read.summary.ledger;
            assert_eq!((ledger.received, ledger.captured), (sent.len() as u64, sent.len() as u64), "{name}");
            if workers == "1" && have_tools(&["tshark"]) {
                let seen = ["frame.protocols", "ip.src", "ipv6.src", "tcp.dstport", "udp.dstport"];
                let [file] = &capture_file::files_in(&read.captures())[..] else { panic!("one file of {name}") };
                assert_eq!(tshark::fields(file, &seen), tshark::fields(&capture.path, &seen), "{name}");
            }
        }
    }
}

#[test]
fn classic_captures_have_frames_of_other_links_behind_ethernet_headers() {
    let Some(captures) = Captures::open() else { return };
    for (capture, _) in captures_of_links(&captures) {
        let read = read(&capture.path, &["--capture-format", "pcap"]);
        assert!(read.records.iter().all(|record| record.link_type == capture_file::ETHERNET), "{}", capture.name);
        if have_tools(&["tshark"]) {
            let seen = ["ip.src", "ip.len", "ipv6.dst", "tcp.dstport", "tcp.seq_raw", "udp.dstport"];
            let [file] = &capture_file::files_in(&read.captures())[..] else { panic!("one file") };
            assert_eq!(tshark::fields(file, &seen), tshark::fields(&capture.path, &seen), "{}", capture.name);
        }
    }
}

#[test]
fn filters_find_in_frames_of_other_links_what_tcpdump_finds() {
    let Some(captures) = Captures::open() else { return };
    if !have_tools(&["tcpdump"]) {
        return;
    }
    // For NFLOG it compiles no filters, and in PPP it expects bytes that this capture does not have.
    let others = ["zeek_nflog_http", "zeek_quic_v1_handshake"];
    for (capture, _) in captures_of_links(&captures).filter(|(capture, _)| !others.contains(&capture.name.as_str())) {
        for filter in ["ip", "ip6", "arp", "tcp", "udp", "tcp port 80", "udp dst port 443", "port 6379", "icmp or tcp"]
        {
            let found = read(&capture.path, &["--capture-filter", filter]).records.len();
            let theirs = match readers::tcpdump(&capture.path, filter, None) {
                // There is no ARP on such a link.
                Err(said) if said.contains("expression rejects all packets") => Ok(0),
                other => other,
            };
            assert_eq!(Ok(found), theirs, "{}: {filter}", capture.name);
        }
    }
}

#[test]
fn a_mirrors_envelope_is_taken_off_behind_a_cooked_header() {
    let inner = tcp_frame(Peer::v4(1, 1234), Peer::v4(2, 80), 1, b"GET / HTTP/1.1");
    let outer = udp_frame(Peer::v4(9, 50_000), Peer::v4(8, 4789), &vxlan(77, &inner));
    let directory = TempDir::new().unwrap();
    // What a host with the collector's address sees by `tcpdump -i any`: version 2 by default, version 1 with `-y LINUX_SLL`.
    let sll2 = [&[8, 0, 0, 0][..], &3_u32.to_be_bytes(), &[0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]].concat();
    let sll = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &[8, 0]].concat();
    for (link_type, header) in [(276, sll2), (113, sll)] {
        let data = [&header[..], &outer[14..]].concat();
        let record = Record { interface: String::new(), link_type, time_ns: 5, original_len: data.len(), data };
        let path = directory.path().join(format!("{link_type}.pcap"));
        capture_file::write(&path, &[record]);
        let read = read(&path, &[]);
        let [record] = &read.records[..] else { panic!("one record: {:?}", read.records) };
        assert_eq!((record.link_type, &record.data), (capture_file::ETHERNET, &inner));
        assert!(record.interface.starts_with("vni 77 from "), "{}", record.interface);
    }
}

#[test]
fn a_file_without_packets_of_a_network_is_refused_by_its_link_type() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("netlink.pcap");
    capture_file::write(
        &path,
        &[Record { interface: String::new(), link_type: 253, time_ns: 0, original_len: 4, data: vec![0; 4] }],
    );
    let refused = start(&path, directory.path(), &[]);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("its link type is netlink (253)"), "{}", refused.stderr);
    assert!(!directory.path().join("captures").exists());
}
