//! Our sender captures a host's real traffic live, and what it mirrors is what others saw there.

use etherparse::PacketBuilder;
use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::compare::same_frames;
use vxtap_tests::deadline::{SOON, wait_until};
use vxtap_tests::lab::{Lab, Namespace, Outer, VNI, Watch};
use vxtap_tests::needs::have_tools;
use vxtap_tests::process::{Running, Signal, run_within};
use vxtap_tests::programs::Program;
use vxtap_wire::{FrameView, Network, Transport};

use super::sender::{Sender, count};
use super::{start_collector, stop_collector};

/// Fewer frames than this are not the traffic that the lab makes.
const FRAMES: usize = 2000;

fn to(lab: &Lab) -> &'static str {
    lab.outer.target()
}

/// The frames of `records` that hosts exchange because somebody wanted it: unicast IP without neighbour discovery. Who else
/// speaks, and when, is not the same for two who began to listen at different moments.
pub(crate) fn talk(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| record.data.as_slice()).filter(|frame| is_talk(frame)).collect()
}

fn is_talk(frame: &[u8]) -> bool {
    let view = FrameView::parse(frame);
    let is_discovery =
        matches!(view.transport, Transport::Icmp(icmp) if (130..=137).contains(&icmp.kind) || icmp.kind == 143);
    match view.network {
        Network::Ipv4 => frame[0] & 1 == 0,
        Network::Ipv6 => frame[0] & 1 == 0 && !is_discovery,
        _ => false,
    }
}

/// What the collector has captured, in the order of arrival.
fn captured(lab: &Lab) -> Vec<Record> {
    let mut captured = capture_file::read_all(&lab.directory().join("captures"));
    captured.sort_by_key(|record| record.time_ns);
    captured
}

fn what_is_captured_live_arrives(outer: Outer) {
    let Some(lab) = Lab::open(outer) else { return };
    let collector = start_collector(&lab);
    let witness = Watch::start(&lab.host, "mir0", "", &lab.directory().join("host.pcap"));
    let sender = Sender::start(&lab, &["mir0"], to(&lab), &["--transmit", "batches", "--source-ports", "1"]);
    lab.traffic();
    let there = witness.finish();
    let sent = sender.stop();
    let summary = stop_collector(&lab, collector);
    assert_eq!((count(&sent, "sent"), summary.ledger.dropped_total()), (summary.ledger.received, 0));

    let captured = captured(&lab);
    let interface = format!("vni {VNI} from {}", outer.source());
    assert!(captured.iter().all(|record| record.interface == interface && record.original_len == record.data.len()));
    let (there, here) = (talk(&there), talk(&captured));
    assert!(there.len() > FRAMES, "{} frames are too few for the traffic made", there.len());
    same_frames(there.iter().copied(), here.iter().copied()).unwrap();
}

#[test]
fn what_is_captured_live_arrives_over_ipv4_to_the_byte() {
    what_is_captured_live_arrives(Outer::V4);
}

#[test]
fn what_is_captured_live_arrives_over_ipv6_to_the_byte() {
    what_is_captured_live_arrives(Outer::V6);
}

/// An iperf3 server in `namespace`.
fn iperf3(namespace: &Namespace) -> Running {
    let server = Running::start(namespace.command("iperf3").args(["-s", "--forceflush"]));
    wait_until(SOON, "iperf3 to listen", || server.stdout().contains("Server listening"));
    server
}

#[test]
fn super_frames_arrive_as_the_packets_that_the_kernel_cuts_them_into() {
    if !have_tools(&["iperf3"]) {
        return;
    }
    let Some(lab) = Lab::open(Outer::V4) else { return };
    lab.turn_offloads_on();
    lab.tap();
    let collector = start_collector(&lab);
    let wire = Watch::start(&lab.host, "tap1", "", &lab.directory().join("wire.pcap"));
    let sender = Sender::start(&lab, &["mir0"], to(&lab), &[]);
    let _server = iperf3(&lab.host);
    // Where UDP super-frames go: somebody must listen, or the answers are errors.
    let mut sink = lab.host.command(Program::Collector.path());
    sink.args(["run", "--listen", "vxlan://10.77.0.1:5555", "--api", "none"]);
    let mut sink = Running::start(&mut sink);
    sink.wait_for_line(SOON, "that it listens", |line| line.contains("listening").then_some(()));
    lab.between_marks(|| {
        for address in ["10.77.0.1", "fd77::1"] {
            let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            lab.client.run(&format!("curl -sS --fail -o /dev/null http://{host}/large"));
            for way in ["", "-R"] {
                lab.client.run(&format!("iperf3 -c {address} -n 3M {way}"));
            }
        }
        let sender = Program::Sender.path();
        let generate = "generate --to 10.77.0.1:5555 --vni 1 --packets 3000 --top-speed --size 700 --source-ports 2";
        lab.client.run(&format!("{} {generate}", sender.display()));
        lab.client.run("dig +tries=1 +time=5 @10.77.0.1 a.lab.test A");
    });
    let there = wire.finish();
    let sent = sender.stop();
    let summary = stop_collector(&lab, collector);
    assert_eq!((count(&sent, "sent"), summary.ledger.dropped_total()), (summary.ledger.received, 0));
    assert_eq!(summary.ledger.kernel_dropped, 0);

    let capture = &sent["capture"];
    let (super_frames, cut_into) = (count(capture, "super_frames"), count(capture, "cut_into"));
    assert!(super_frames > 100 && cut_into > 5 * super_frames, "no offloads: {capture}");
    assert_eq!(count(capture, "checksums_unknown"), 0);
    let captured = captured(&lab);
    let (there, here) = (talk(&there), talk(&captured));
    assert!(there.iter().all(|frame| frame.len() <= 1514), "the witness has super-frames itself");
    assert!(there.len() > 10_000, "{} frames are too few for the traffic made", there.len());
    same_frames(there.iter().copied(), here.iter().copied()).unwrap();
}

#[test]
fn a_filter_a_direction_and_a_packet_length_are_as_tcpdump_has_them() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let filter = "icmp or tcp port 80";
    let collector = start_collector(&lab);
    let witness = Watch::start(&lab.host, "mir0", filter, &lab.directory().join("host.pcap"));
    let sender = Sender::start(
        &lab,
        &["mir0"],
        to(&lab),
        &["--filter", filter, "--direction", "in", "--packet-length", "100", "--transmit", "batches"],
    );
    lab.traffic();
    let there = witness.finish();
    // Only one way is mirrored, so the last mark comes once, and not with its answer.
    let sent = sender.stop();
    let captures = lab.directory().join("captures");
    wait_until(SOON, "what was sent in the capture", || {
        let records = capture_file::files_in(&captures).into_iter().map(|file| {
            std::fs::read(file)
                .ok()
                .and_then(|bytes| capture_file::parse(&bytes).ok())
                .map_or(0, |parsed| parsed.records.len())
        });
        records.sum::<usize>() as u64 == count(&sent, "sent")
    });
    collector.signal(Signal::TERM);
    assert!(!collector.finish_within(SOON).success().panicked());
    let captured = captured(&lab);
    // From the client, whose addresses end in 2.
    let came_in = |frame: &&[u8]| {
        let tuple = FrameView::parse(frame).five_tuple.expect("it is IP");
        tuple.source.0.starts_with(&[10, 77, 0, 2]) || (tuple.source.0[0] == 0xfd && tuple.source.0[15] == 2)
    };
    let expected: Vec<&[u8]> =
        talk(&there).into_iter().filter(came_in).map(|frame| &frame[..frame.len().min(100)]).collect();
    // How many there are depends on how often the client acknowledges.
    assert!(expected.len() > 60, "{} frames are too few for the traffic made", expected.len());
    same_frames(expected.iter().copied(), talk(&captured).iter().copied()).unwrap();
    let longer = there
        .iter()
        .filter(|record| record.data.len() > 100 && is_talk(&record.data) && came_in(&record.data.as_slice()));
    assert_eq!(sent["truncated"]["packet_length"].as_u64().unwrap() as usize, longer.count());
}

/// Sends 20 frames with a VLAN tag, which the kernel takes out where they arrive.
fn send_tagged(lab: &Lab) {
    let mut frame = Vec::new();
    let packet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).single_vlan(7.try_into().unwrap());
    let packet = packet.ipv4([10, 79, 0, 2], [10, 79, 0, 1], 64).udp(50_000, 9);
    packet.write(&mut frame, &[7; 900]).unwrap();
    let program = format!(
        "import socket\ns = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\ns.bind(('cli0', 0))\n\
         for _ in range(20): s.send(bytes({frame:?}))"
    );
    let _ = run_within(SOON, lab.client.command("/usr/bin/python3").args(["-c", &program])).success();
}

#[test]
fn tags_that_the_kernel_takes_out_are_in_the_frames_again() {
    if !have_tools(&["python3"]) {
        return;
    }
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let collector = start_collector(&lab);
    let witness = Watch::start(&lab.host, "mir0", "", &lab.directory().join("host.pcap"));
    let sender = Sender::start(&lab, &["mir0"], to(&lab), &["--filter", "icmp or (vlan 7 and udp port 9)"]);
    lab.between_marks(|| {
        send_tagged(&lab);
        lab.client.run("ping -q -c 5 -i 0.01 10.77.0.1");
    });
    let there = witness.finish();
    let sent = sender.stop();
    assert_eq!(sent["skipped"], serde_json::json!({}));
    let summary = stop_collector(&lab, collector);
    assert_eq!(summary.ledger.dropped_total(), 0);
    let captured = captured(&lab);
    let (there, here) = (talk(&there), talk(&captured));
    let tagged = |frames: &[&[u8]]| frames.iter().filter(|frame| frame[12..16] == [0x81, 0, 0, 7]).count();
    assert_eq!((tagged(&there), tagged(&here)), (20, 20));
    same_frames(there, here).unwrap();
}

#[test]
fn a_policy_decides_about_every_packet_of_a_super_frame_and_cuts_it() {
    const LENGTH: usize = 200;
    if !have_tools(&["iperf3"]) {
        return;
    }
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let policy = format!(
        r#"
        [[source]]
        name = "web"
        interfaces = "mir0"
        [[filter]]
        name = "some"
        inbound = [
            {{ action = "accept", protocol = "tcp", destination_ports = [80, 5201] }},
            {{ action = "accept", protocol = "icmp" }},
        ]
        outbound = [
            {{ action = "accept", protocol = "tcp", source_ports = 80 }},
            {{ action = "accept", protocol = "icmp" }},
        ]
        [[target]]
        name = "collector"
        address = "{}"
        [[session]]
        name = "all"
        source = "web"
        filter = "some"
        target = "collector"
        vni = {VNI}
        length = {LENGTH}
        "#,
        to(&lab)
    );
    lab.turn_offloads_on();
    lab.tap();
    let collector = start_collector(&lab);
    let wire = Watch::start(&lab.host, "tap1", "", &lab.directory().join("wire.pcap"));
    let sender = Sender::start_with(&lab, &policy, &[]);
    let _server = iperf3(&lab.host);
    lab.between_marks(|| {
        for url in ["http://10.77.0.1/large", "http://[fd77::1]/small"] {
            lab.client.run(&format!("curl -sS --fail -o /dev/null {url}"));
        }
        // Super-frames that are shorter than the longest packet.
        lab.client.run("iperf3 -c 10.77.0.1 -N -M 200 -l 600 -n 200K");
        lab.client.run("dig +tries=1 +time=5 @10.77.0.1 a.lab.test A");
    });
    let there = wire.finish();
    let sent = sender.stop();
    stop_collector(&lab, collector);
    let captured = captured(&lab);
    let accepted = |frame: &&[u8]| {
        let tuple = FrameView::parse(frame).five_tuple.expect("it is IP");
        let is_outbound =
            tuple.source.0.starts_with(&[10, 77, 0, 1]) || (tuple.source.0[0] == 0xfd && tuple.source.0[15] == 1);
        match (tuple.protocol, is_outbound) {
            (1, _) => true,
            (6, true) => tuple.source_port == 80,
            (6, false) => [80, 5201].contains(&tuple.destination_port),
            _ => false,
        }
    };
    let expected: Vec<&[u8]> =
        talk(&there).into_iter().filter(accepted).map(|frame| &frame[..frame.len().min(LENGTH)]).collect();
    // Acknowledgements are as many as the receivers like, and iperf3 ends when its client has written all, whether that has arrived or not. Sure are
    // 3 MiB of an answer, and some of what is sent by 200 bytes.
    let of_port = |port: u16| {
        let carries = |view: &FrameView<'_>| view.payload_wire_len() > 0 && has_port(view, port);
        talk(&there).into_iter().filter(accepted).map(FrameView::parse).filter(carries).count()
    };
    assert!(of_port(80) > (3 << 20) / 1460, "{} frames are too few for an answer of 3 MiB", of_port(80));
    assert!(of_port(5201) > 50, "{} short frames are too few", of_port(5201));
    same_frames(expected, talk(&captured)).unwrap();
    // A super-frame has 64 KiB at the most.
    assert!(count(&sent["capture"], "super_frames") > 40, "{sent}");
}

fn has_port(view: &FrameView<'_>, port: u16) -> bool {
    view.five_tuple.is_some_and(|tuple| [tuple.source_port, tuple.destination_port].contains(&port))
}

#[test]
fn a_collector_on_the_same_host_whose_api_is_followed_makes_no_loop() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let captures = lab.directory().join("captures");
    let mut command = lab.host.command(Program::Collector.path());
    command.args(["run", "--drain", "0s", "--listen", "vxlan://127.0.0.1:4789", "--write"]).arg(&captures);
    let mut collector = Running::start(&mut command);
    collector.wait_for_line(SOON, "where its API is", |line| line.contains("api on").then_some(()));
    let lo = lab.directory().join("lo.pcap");
    let own = "not udp port 4789 and not tcp port 9789";
    let witness = Watch::start(&lab.host, "mir0", own, &lab.directory().join("host.pcap"));
    let witness_lo = Watch::start(&lab.host, "lo", own, &lo);
    let sender = Sender::start(&lab, &["mir0", "lo"], "127.0.0.1", &[]);
    let mut follower = lab.host.command("curl");
    follower.args(["-sS", "-N", "http://127.0.0.1:9789/v1/live.pcapng", "-o"]).arg(lab.directory().join("live.pcapng"));
    let follower = Running::start(&mut follower);
    wait_until(SOON, "the follower's first bytes", || {
        std::fs::metadata(lab.directory().join("live.pcapng")).is_ok_and(|file| file.len() > 0)
    });
    lab.traffic();
    lab.host.run("curl -sS --fail -o /dev/null http://127.0.0.1/large");
    // "the end>"
    lab.host.run("ping -q -c 1 -p 74686520656e643e 127.0.0.1");
    let (there, there_lo) = (witness.finish(), witness_lo.finish());
    let sent = sender.stop();
    drop(follower);
    collector.signal(Signal::TERM);
    assert!(!collector.finish_within(SOON).success().panicked());
    let captured = captured(&lab);
    assert_eq!(captured.len() as u64, count(&sent, "sent"));
    let is_local = |frame: &&[u8]| frame[..12] == [0; 12];
    let (here_lo, here): (Vec<&[u8]>, Vec<&[u8]>) = talk(&captured).into_iter().partition(is_local);
    same_frames(talk(&there), here).unwrap();
    // Packets of loopback are as long as a packet can be, so that with VXLAN around they are cut a little; and the witness has no
    // checksums of them.
    let there_lo = talk(&there_lo);
    assert!(there_lo.len() > 10, "{} frames are too few", there_lo.len());
    let bytes = |frames: &[&[u8]]| frames.iter().map(|frame| FrameView::parse(frame).payload_wire_len()).sum::<u32>();
    assert_eq!((here_lo.len(), bytes(&here_lo)), (there_lo.len(), bytes(&there_lo)));
}

#[test]
fn one_capability_is_enough_and_none_is_left() {
    if !have_tools(&["setpriv"]) {
        return;
    }
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let collector = start_collector(&lab);
    let by = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all,+net_raw",
        "--inh-caps=-all,+net_raw",
        "--ambient-caps=-all,+net_raw",
    ];
    let sender = Sender::start_by(&lab, &by, &["mir0", "--to", to(&lab), "--vni", &VNI.to_string()]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", sender.process.id())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set} of\n{status}");
    }
    assert_eq!((field("NoNewPrivs:"), field("Uid:")), ("1", "65534\t65534\t65534\t65534"));
    lab.between_marks(|| {
        lab.client.run("ping -q -c 1 10.77.0.1");
        // Away and back, which takes no capability either.
        lab.host.ip("link delete mir0");
        lab.host.link(("mir0", 1500), &lab.client, "cli0");
        lab.host.address("mir0", &["10.77.0.1/24", "fd77::1/64"]);
        lab.client.address("cli0", &["10.77.0.2/24", "fd77::2/64"]);
        wait_until(SOON, "the interface to be captured again", || sender.process.stderr().contains("is gone"));
        wait_until(SOON, "a ping in the capture", || {
            lab.client.run("ping -q -c 1 -p 6261636b6261636b 10.77.0.1");
            capture_file::files_in(&lab.directory().join("captures")).iter().any(|file| {
                let bytes = std::fs::read(file).unwrap_or_default();
                bytes.windows(8).any(|window| window == b"backback")
            })
        });
    });
    let sent = sender.stop();
    assert_eq!((count(&sent["capture"], "interfaces_lost"), count(&sent["capture"], "interfaces_back")), (1, 1));
    stop_collector(&lab, collector);
}

#[test]
fn without_the_capability_it_is_told_what_is_missing() {
    if !have_tools(&["setpriv"]) {
        return;
    }
    let Some(lab) = Lab::open(Outer::V4) else { return };
    let mut command = lab.host.command("setpriv");
    command.args(["--bounding-set=-net_raw", "--inh-caps=-net_raw"]).arg(Program::Sender.path());
    let finished = run_within(SOON, command.args(["capture", "mir0", "--to", "10.78.0.2", "--vni", "1"]));
    assert_eq!(finished.status.code(), Some(1));
    assert!(
        finished.stderr.contains("cannot open a packet socket") && finished.stderr.contains("CAP_NET_RAW"),
        "{}",
        finished.stderr
    );
}
