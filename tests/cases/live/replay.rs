//! Two programs: what `vxtap-sender replay` sends is what `vxtap-collector run` captures and counts.

use vxtap_tests::capture_file;
use vxtap_tests::captures::{Capture, Captures};
use vxtap_tests::collector::Settings;
use vxtap_tests::compare::{bytes, same_frames, same_order_per_flow};
use vxtap_tests::conversations::Tally;
use vxtap_tests::exceptions::differences;
use vxtap_tests::sender;

use super::shared_machine;

const VNI: u32 = 77;

fn arrives_whole(capture: &Capture) {
    let name = &capture.name;
    let collector = Settings::new(2).write().log().start();
    let sent = sender::replay(&capture.path, collector.address(), VNI);
    // Told to end at once: what was sent before must be in the files.
    let stopped = collector.stop();

    let frames = capture.records();
    let (ledger, count) = (&stopped.summary.ledger, frames.len() as u64);
    assert_eq!((sent.read, sent.sent), (count, count), "{name}: {sent:?}");
    assert_eq!((ledger.received, ledger.captured, ledger.kernel_dropped), (count, count, 0), "{name}");
    let captured = capture_file::read_all(&stopped.captures());
    same_frames(bytes(&frames), bytes(&captured)).unwrap_or_else(|error| panic!("{name}: {error}"));
    same_order_per_flow(bytes(&frames), bytes(&captured)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let interface = format!("vni {VNI} from 127.0.0.1");
    assert!(captured.iter().all(|record| record.interface == interface), "{name}");

    let expected = Tally::of_conversations(&capture.table("conv.tsv"), "-");
    let differences = differences(name, &Tally::of_eve(&stopped.eve()), &expected);
    assert!(differences.is_empty(), "{name}:\n{}", differences.join("\n"));
}

fn class_arrives_whole(class: &str) {
    let _machine = shared_machine();
    let Some(captures) = Captures::open() else { return };
    for capture in captures.of(&[class]).iter().filter(|capture| capture.link_type == "ether") {
        arrives_whole(capture);
    }
}

#[test]
fn replayed_http_arrives_whole() {
    class_arrives_whole("http");
}

#[test]
fn replayed_dns_arrives_whole() {
    class_arrives_whole("dns");
}

#[test]
fn replayed_tls_arrives_whole() {
    class_arrives_whole("tls");
}

#[test]
fn replayed_tcp_of_every_odd_kind_arrives_whole() {
    class_arrives_whole("tcp");
}

#[test]
fn replayed_tags_tunnels_and_fragments_arrive_whole() {
    class_arrives_whole("l2l3");
}

#[test]
fn replayed_mixed_traffic_arrives_whole() {
    class_arrives_whole("mixed");
}

#[test]
fn replayed_application_protocols_arrive_whole() {
    class_arrives_whole("appproto");
}

#[test]
fn replayed_packets_of_other_links_arrive_behind_ethernet_headers() {
    let _machine = shared_machine();
    let Some(captures) = Captures::open() else { return };
    // Loopback, SLL, SLL2, PPP, and Linux's packet log.
    let names =
        ["zeek_redis_bulk", "tcpdump_nanosecond_pcap", "zeek_linux_sll2", "zeek_quic_v1_handshake", "zeek_nflog_http"];
    for capture in names.map(|name| captures.named(name)) {
        let name = &capture.name;
        let collector = Settings::new(1).write().start();
        let sent = sender::replay(&capture.path, collector.address(), VNI);
        let stopped = collector.stop();
        let frames = capture.records();
        assert_eq!((sent.read, sent.sent), (frames.len() as u64, frames.len() as u64), "{name}: {sent:?}");
        let captured = capture_file::read_all(&stopped.captures());
        assert_eq!(captured.len(), frames.len(), "{name}");
        let mut packets: Vec<&[u8]> = Vec::new();
        for record in &captured {
            let (header, packet) = record.data.split_first_chunk::<14>().expect("an Ethernet header");
            assert_eq!(header[..12], [0; 12], "{name}");
            packets.push(packet);
        }
        // Several source ports: one flow's packets are in order, not those of all.
        for frame in &frames {
            let found = packets.iter().position(|packet| !packet.is_empty() && frame.data.ends_with(packet));
            packets.swap_remove(found.unwrap_or_else(|| panic!("{name} lacks {:?}", frame.data)));
        }
    }
}
