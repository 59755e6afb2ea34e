//! What clouds put on the wire, as datagrams: GENEVE with and without options, Ethernet and VXLAN in it, VXLAN-GPE, IPv6 outside.

use std::collections::{BTreeMap, BTreeSet};

use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use vxtap_analyzers::snapshot::FlowSnapshot;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::captures::{Capture, Captures};
use vxtap_tests::collector::{Collector, Settings};
use vxtap_tests::compare::{bytes, same_frames};
use vxtap_tests::datagram::{Mirror, Peer, tcp_frame, udp_frame, vxlan};
use vxtap_tests::deadline::{SOON, within};

use super::shared_machine;

/// The longest UDP payload over IPv4.
const MAX_PAYLOAD: usize = 65_507;

/// The UDP payload in an Ethernet frame, as much of it as the capturing program has left, and its destination port; `None` where
/// the frame is no datagram.
fn payload(frame: &[u8]) -> Option<(u16, Vec<u8>)> {
    let packet = LaxSlicedPacket::from_ethernet(frame).ok()?;
    let whole = match &packet.net? {
        LaxNetSlice::Ipv4(ip) => !ip.payload().fragmented,
        LaxNetSlice::Ipv6(ip) => !ip.payload().fragmented,
        LaxNetSlice::Arp(_) => false,
    };
    match packet.transport? {
        TransportSlice::Udp(udp) if whole => Some((udp.destination_port(), udp.payload().to_vec())),
        _ => None,
    }
}

/// Inner frames of the outermost tunnel, as editcap cut them out; those of each VNI in order.
fn expected(capture: &Capture, tunnel: &str) -> BTreeMap<u32, Vec<Record>> {
    if capture.name == "tcpdump_vxlan_bigtcp_v4v4" {
        return expected_of_big_tcp(capture);
    }
    capture.decapsulated_from(tunnel).into_iter().collect()
}

/// tshark stops at the outer lengths of zero; behind Ethernet, IPv4, UDP and VXLAN of 50 bytes is a frame of 80 kB, for which no
/// datagram has room: what is sent is what a mirror leaves of it that cuts to the longest datagram. Its own lengths are zero as well,
/// so nothing tells how long it was.
fn expected_of_big_tcp(capture: &Capture) -> BTreeMap<u32, Vec<Record>> {
    let mut frame = capture.records().remove(0);
    frame.data.drain(..50);
    frame.data.truncate(MAX_PAYLOAD - 8);
    frame.original_len = frame.data.len();
    BTreeMap::from([(5001, vec![frame])])
}

fn vni_of(interface: &str) -> u32 {
    let mut words = interface.split(' ').skip_while(|word| *word != "vni").skip(1);
    words.next().and_then(|vni| vni.parse().ok()).unwrap_or_else(|| panic!("no VNI in '{interface}'"))
}

/// The port of the capture's tunnel: the usual one, or what the manifest says (`udp.port==8472,vxlan`).
fn port_of(capture: &Capture, usual: u16) -> u16 {
    let told = capture.decode_as.as_deref().and_then(|told| told.strip_prefix("udp.port=="));
    told.map_or(usual, |told| told.split(',').next().and_then(|port| port.parse().ok()).expect("a port"))
}

fn arrives_as_expected(capture: &Capture, tunnel: &str, port: u16) -> usize {
    let datagrams: Vec<Vec<u8>> = (capture.records().iter())
        .filter_map(|record| payload(&record.data))
        .filter(|(to, _)| *to == port)
        .map(|(_, mut payload)| {
            payload.truncate(MAX_PAYLOAD);
            payload
        })
        .collect();
    let collector =
        Settings::listening(2, &[&format!("{tunnel}://127.0.0.1:0")]).write().arg("--accept-unknown-critical").start();
    let mut mirror = Mirror::new(collector.address(), 0, 3);
    for (place, datagram) in datagrams.iter().enumerate() {
        mirror.send_payload(place, datagram);
    }
    let stopped = collector.stop();
    let (ledger, count) = (&stopped.summary.ledger, datagrams.len() as u64);
    assert_eq!((ledger.received, ledger.captured, ledger.dropped_total()), (count, count, 0), "{}", capture.name);
    let mut got: BTreeMap<u32, Vec<Record>> = BTreeMap::new();
    for record in capture_file::read_all(&stopped.captures()) {
        got.entry(vni_of(&record.interface)).or_default().push(record);
    }
    let expected = expected(capture, tunnel);
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{}", capture.name);
    for (vni, frames) in &expected {
        let (want, have) = (bytes(frames), bytes(&got[vni]));
        same_frames(want, have).unwrap_or_else(|error| panic!("{}, VNI {vni}: {error}", capture.name));
        let lengths = |records: &[Record]| {
            let mut lengths: Vec<_> = records.iter().map(|record| (record.data.len(), record.original_len)).collect();
            lengths.sort_unstable();
            lengths
        };
        assert_eq!(lengths(&got[vni]), lengths(frames), "{}, VNI {vni}: how long frames were", capture.name);
    }
    datagrams.len()
}

#[test]
fn datagrams_of_every_captured_tunnel_arrive_as_the_frames_that_tshark_sees_in_them() {
    let _machine = shared_machine();
    let Some(captures) = Captures::open() else { return };
    let mut arrived = 0;
    for (tunnel, usual) in [("vxlan", 4789), ("geneve", 6081)] {
        for capture in captures.of(&[tunnel]) {
            let datagrams = arrives_as_expected(&capture, tunnel, port_of(&capture, usual));
            assert!(datagrams > 0, "{}", capture.name);
            arrived += datagrams;
        }
    }
    assert!(arrived > 260, "{arrived} datagrams");
}

/// A GENEVE datagram around `payload`, which is of EtherType `kind`, behind so many words of options: one of the class, the rest of
/// one that is unknown.
fn geneve(kind: u16, class: u16, words: usize, payload: &[u8]) -> Vec<u8> {
    let [high, low] = kind.to_be_bytes();
    let mut datagram = vec![words as u8, 0, high, low, 0, 0, 0, 0];
    let mut left = words;
    while left > 0 {
        let length = if left == words { 2.min(left - 1) } else { (left - 1).min(31) };
        let class = if left == words { class } else { 0x7777 };
        datagram.extend(class.to_be_bytes());
        datagram.extend([1, length as u8]);
        datagram.extend(vec![0; length * 4]);
        left -= 1 + length;
    }
    datagram.extend_from_slice(payload);
    datagram
}

const FLOWS: u16 = 600;
const WORKERS: u32 = 4;

/// Sends flows in both directions as clouds wrap them: Ethernet and IP in GENEVE, and VXLAN as a gateway load balancer does.
fn send_flows(collector: &Collector) -> u64 {
    let mut mirror = Mirror::new(collector.address(), 9, 8);
    let mut sent = 0;
    for flow in 0..FLOWS {
        let (a, b) = match flow % 3 {
            0 => (Peer::v6(flow, 40_000 + flow), Peer::v6(60_000, 443)),
            _ => (Peer::v4(flow, 40_000 + flow), Peer::v4(60_000, 443)),
        };
        for (port, from, to) in [(0, a, b), (3, b, a)] {
            let frame = tcp_frame(from, to, 1, b"to and fro");
            let kind = if flow % 3 == 0 { 0x86dd } else { 0x0800 };
            let words = usize::from(flow) % 64;
            let datagram = match flow % 4 {
                0 => geneve(0x6558, 0x7777, words, &frame),
                1 => geneve(kind, 0x7777, words, &frame[14..]),
                2 => geneve(
                    0x0800,
                    0x0108,
                    words.max(3),
                    &udp_frame(Peer::v4(7, 50_000), Peer::v4(8, 4789), &vxlan(5, &frame))[14..],
                ),
                _ => geneve(
                    0x86dd,
                    0x0108,
                    words.max(3),
                    &udp_frame(Peer::v6(7, 50_000), Peer::v6(8, 4789), &vxlan(5, &frame))[14..],
                ),
            };
            mirror.send_payload(port + usize::from(flow), &datagram);
            sent += 1;
        }
    }
    sent
}

fn flows_meet(settings: Settings) -> u64 {
    let collector = settings.start();
    let sent = send_flows(&collector);
    let page = within(SOON, "all frames in the flow tables", || {
        let page = collector.flows();
        (page.flows.iter().map(FlowSnapshot::frames).sum::<u64>() == sent).then_some(page)
    });
    assert_eq!(page.flows.len(), usize::from(FLOWS), "each flow once, with both its directions");
    let workers: BTreeSet<u32> = page.flows.iter().map(|flow| flow.worker).collect();
    assert_eq!(workers, (0..WORKERS).collect(), "every worker has flows");
    let stopped = collector.stop();
    assert_eq!(stopped.summary.ledger.analysed, sent);
    stopped.summary.ledger.misdelivered
}

#[test]
fn the_kernel_finds_flows_behind_options_of_any_length_and_in_a_gateway_load_balancers_vxlan() {
    let _machine = shared_machine();
    let misdelivered = flows_meet(Settings::listening(WORKERS, &["geneve://127.0.0.1:0"]));
    assert_eq!(misdelivered, 0, "the kernel knows where such packets belong");
}

#[test]
fn over_ipv6_without_the_kernels_help_packets_without_ethernet_are_handed_over() {
    let _machine = shared_machine();
    let settings = Settings::listening(WORKERS, &["geneve://[::1]:0"]).arg("--no-kernel-steering");
    assert!(flows_meet(settings) > 100, "nothing was handed over: the test shows nothing");
}

#[test]
fn vxlan_gpe_gives_ip_and_ethernet_and_counts_nsh_other_versions_and_control_packets() {
    let _machine = shared_machine();
    let collector = Settings::listening(2, &["vxlan-gpe://127.0.0.1:0"]).write().start();
    let (four, six) = (Peer::v4(1, 1), Peer::v6(1, 1));
    let frame = udp_frame(four, Peer::v4(2, 2), b"four");
    let packet = &udp_frame(six, Peer::v6(2, 2), b"six")[14..];
    let mut mirror = Mirror::new(collector.address(), 9, 1);
    for (next, inside) in [(1, &frame[14..]), (2, packet), (3, &frame[..]), (4, &frame[..])] {
        mirror.send_payload(0, &[&[0x0c, 0, 0, next, 0, 0, 9, 0][..], inside].concat());
    }
    mirror.send_payload(0, &vxlan(9, &frame));
    // Version 1 twice, version 2, and the O bit.
    for flags in [0x1c, 0x1d, 0x2c, 0x0d] {
        mirror.send_payload(0, &[&[flags, 0, 0, 3, 0, 0, 9, 0][..], &frame].concat());
    }
    let stopped = collector.stop();
    let dropped = [("vxlan_gpe_payload", 1), ("vxlan_gpe_version", 3), ("vxlan_gpe_control", 1)];
    let dropped: BTreeMap<_, _> = dropped.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    assert_eq!(stopped.summary.ledger.dropped, dropped);
    let mut seen: Vec<_> = (capture_file::read_all(&stopped.captures()).iter())
        .map(|record| (record.link_type, record.data.len(), record.interface.clone()))
        .collect();
    seen.sort();
    let name = "vxlan-gpe vni 9 from 127.0.0.1";
    let expected = [
        (1, frame.len(), name.to_owned()),
        (1, frame.len(), name.to_owned()),
        (101, frame.len() - 14, format!("{name} ip")),
        (101, packet.len(), format!("{name} ip")),
    ];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn jumbo_frames_of_nine_thousand_bytes_and_more_arrive_whole() {
    let _machine = shared_machine();
    let collector = Settings::listening(2, &["vxlan://[::]:0", "geneve://[::]:0"]).write().start();
    let mut lengths = Vec::new();
    for (number, address) in collector.addresses().to_vec().into_iter().enumerate() {
        let target = (std::net::Ipv6Addr::LOCALHOST, address.port()).into();
        let mut mirror = Mirror::new(target, 9, 1);
        for length in [8947, 9001, 20_000, 60_000] {
            let frame = udp_frame(Peer::v4(1, 1), Peer::v4(2, 2), &vec![7; length]);
            if number == 0 {
                mirror.send(0, &frame);
            } else {
                mirror.send_payload(0, &geneve(0x6558, 0x0100, 3, &frame));
            }
            lengths.push(frame.len());
        }
    }
    let stopped = collector.stop();
    let mut got: Vec<_> = capture_file::read_all(&stopped.captures()).iter().map(|record| record.data.len()).collect();
    got.sort_unstable();
    lengths.sort_unstable();
    assert_eq!((got, stopped.summary.ledger.dropped_total()), (lengths, 0));
}

/// A GENEVE datagram of `vni` around `frame` with the option that `docs/geneve-option.md` describes.
fn marked(vni: u8, series: u32, sequence: u64, direction: u8, frame: &[u8]) -> Vec<u8> {
    let option = [
        &[0xff, 0x56, 1, 6][..],
        &0_u64.to_be_bytes(),
        &sequence.to_be_bytes(),
        &series.to_be_bytes(),
        &[direction, 0, 0x23, 0x28],
    ]
    .concat();
    [&[7, 0, 0x65, 0x58, 0, 0, vni, 0][..], &option, frame].concat()
}

#[test]
fn what_is_lost_on_purpose_is_told_to_the_packet_however_packets_overtake_each_other() {
    const NUMBERED: u64 = 3000;
    let _machine = shared_machine();
    let collector = Settings::listening(WORKERS, &["geneve://127.0.0.1:0"]).write().arg("--snaplen").arg("60").start();
    let mut mirror = Mirror::new(collector.address(), 0, 4);
    // Two series of one stream, and one of another that goes the other way; a generator that gives the same each time.
    let mut state = 7_u64;
    let mut dice = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let (mut lost, mut copies, mut sent) = ([0_u64; 2], [0_u64; 2], 0_u64);
    let mut waiting: Vec<(usize, Vec<u8>)> = Vec::new();
    for sequence in 0..NUMBERED {
        for series in 0..3_u32 {
            let stream = usize::from(series == 2);
            // What comes behind the last that arrives cannot be known.
            if sequence + 1 < NUMBERED && dice(20) == 0 {
                lost[stream] += 1;
                continue;
            }
            let (from, to) = (Peer::v4(dice(500) as u16, 1000), Peer::v4(9999, 443));
            let frame = udp_frame(from, to, &[1; 100]);
            let datagram = marked(9, 0xabc0 + series, sequence, 1 + stream as u8, &frame);
            if dice(100) == 0 {
                copies[stream] += 1;
                waiting.push((series as usize, datagram.clone()));
            }
            waiting.push((series as usize, datagram));
        }
        while waiting.len() > 50 || (sequence + 1 == NUMBERED && !waiting.is_empty()) {
            let (port, datagram) = waiting.swap_remove(dice(waiting.len() as u64) as usize);
            mirror.send_payload(port, &datagram);
            sent += 1;
        }
    }
    let expected = [NUMBERED * 2 - lost[0], NUMBERED - lost[1]];
    let names = ["geneve vni 9 from 127.0.0.1 ingress", "geneve vni 9 from 127.0.0.1 egress"];
    within(SOON, "the snapshot to tell all losses", || {
        let snapshot = collector.snapshot();
        let told = |number: usize| {
            let stream = snapshot.streams.iter().find(|stream| stream.name == names[number])?;
            stream.loss.map(|loss| (loss.received, loss.lost, loss.duplicated))
        };
        let wanted = |number: usize| Some((expected[number], lost[number], copies[number]));
        (told(0) == wanted(0) && told(1) == wanted(1) && snapshot.loss?.lost == lost[0] + lost[1]).then_some(())
    });
    let metrics = collector.get("/metrics").1;
    let line = format!("vxtap_collector_stream_lost{{stream=\"{}\"}} {}", names[0], lost[0]);
    assert!(metrics.lines().any(|metric| metric == line), "{line}");
    let stopped = collector.stop();
    let summary = &stopped.summary;
    assert_eq!((summary.ledger.received, summary.ledger.kernel_dropped), (sent, 0));
    assert_eq!(summary.lost, Some(lost[0] + lost[1]));
    let told: BTreeMap<_, _> = summary.losses.iter().map(|loss| (loss.stream.as_str(), loss)).collect();
    for number in 0..2 {
        let loss = told[names[number]];
        assert_eq!((loss.received, loss.lost, loss.duplicated), (expected[number], lost[number], copies[number]));
    }
    let said = format!("{} lost on the way", lost[0] + lost[1]);
    assert!(stopped.finished.stderr.contains(&said), "{}", stopped.finished.stderr);
    let lengths: BTreeSet<_> =
        capture_file::read_all(&stopped.captures()).iter().map(|record| record.original_len).collect();
    assert_eq!(lengths, BTreeSet::from([9000]), "the sender says how long each frame was");
}
