//! A raw mirror: copies of frames without any tunnel, as Google's VPC Packet Mirroring has them come.

use std::collections::BTreeSet;
use std::path::Path;

use vxtap_tests::capture_file::{self, Record};
use vxtap_tests::compare::{bytes, same_frames};
use vxtap_tests::conversations::Tally;
use vxtap_tests::deadline::{SOON, wait_until, within};
use vxtap_tests::lab::{Lab, Outer, StoppedThread, Watch, between_marks};
use vxtap_tests::process::{Running, Signal, run_within};
use vxtap_tests::programs::Program;
use vxtap_tests::summary::{self, CollectorSummary};
use vxtap_tests::tshark;

use super::{eve, start_collector, stop_collector};

/// Fewer frames than this are not the traffic that the lab makes.
const FRAMES: usize = 2000;

/// Mirrors what crosses `mir0` to the target's `raw1`, as it is, besides into VXLAN.
///
/// `raw1` has the MAC address of the mirrored host, so that the target's stack takes frames to the host for its own, and
/// addresses in the network of the mirrored hosts, so that it would have a way to answer.
fn mirror_raw(lab: &Lab) {
    lab.host.link(("raw0", 1500), &lab.target, "raw1");
    // Only what is mirrored goes out there: the kernel would ask for routers, and report groups that it is in.
    lab.host.run("sysctl -q -w net.ipv6.conf.raw0.disable_ipv6=1");
    let mac = lab.host.run("cat /sys/class/net/mir0/address").stdout.trim().to_owned();
    lab.target.ip("link set raw1 down");
    lab.target.ip("link set raw1 addrgenmode none");
    lab.target.ip(&format!("link set raw1 address {mac}"));
    lab.target.ip("link set raw1 up");
    lab.target.address("raw1", &["10.77.0.9/24", "fd77::9/64"]);
    lab.mirror();
    for direction in ["ingress", "egress"] {
        lab.host.run(&format!("tc filter del dev mir0 {direction}"));
        let filter = format!("tc filter add dev mir0 {direction} protocol all prio 1");
        let both = "action mirred egress mirror dev vx0 pipe action mirred egress mirror dev raw0";
        lab.host.run(&format!("{filter} u32 match u32 0 0 {both}"));
    }
}

/// A collector on `raw1` with `workers` workers, that captures and logs below `directory`.
fn start_on_raw(lab: &Lab, directory: &Path, workers: u32) -> Running {
    start_on(lab, "packet://raw1", directory, workers, &[])
}

/// The same that listens on `listener`, with more arguments.
fn start_on(lab: &Lab, listener: &str, directory: &Path, workers: u32, more: &[&str]) -> Running {
    let mut command = lab.target.command(Program::Collector.path());
    command.args([
        "run",
        "--workers",
        &workers.to_string(),
        "--listen",
        listener,
        "--drain",
        "0s",
        "--api",
        "127.0.0.1:9790",
        "--write",
    ]);
    command.arg(directory.join("captures")).arg("--log").arg(directory.join("log"));
    command.arg("--summary").arg(directory.join("summary.json")).args(more);
    let mut collector = Running::start(&mut command);
    collector.wait_for_line(SOON, "where its API is", |line| line.contains("api on").then_some(()));
    collector
}

/// Ends a collector of [`start_on_raw`] once `done` says so: its summary, which balances, and what it said.
fn stop(collector: Running, directory: &Path, what: &str, done: impl FnMut() -> bool) -> (CollectorSummary, String) {
    wait_until(SOON, what, done);
    collector.signal(Signal::TERM);
    let finished = collector.finish_within(SOON).success();
    assert!(!finished.panicked(), "{}", finished.stderr);
    let summary: CollectorSummary = summary::parse(&std::fs::read_to_string(directory.join("summary.json")).unwrap());
    summary.check().unwrap();
    (summary, finished.stderr)
}

/// A report of groups that somebody is in (MLD, behind a hop-by-hop header): every end of a link sends some by itself, when it likes.
fn is_report(record: &Record) -> bool {
    record.data.get(12..14) == Some(&[0x86, 0xdd]) && record.data.get(20) == Some(&0)
}

fn has_ended(captures: &Path) -> bool {
    capture_file::files_in(captures).iter().any(|file| vxtap_tests::lab::has_ended(file))
}

#[test]
fn a_raw_mirror_gives_the_frames_and_flows_that_vxlan_gives_and_nothing_is_answered() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    mirror_raw(&lab);
    let directory = lab.directory().join("raw");
    std::fs::create_dir(&directory).unwrap();
    // The only thing that this machine would say, and doctor knows it.
    let doctor = || {
        let mut command = lab.target.command(Program::Collector.path());
        command.args(["doctor", "--watch", "0", "--api", "none", "--workers", "1", "--listen", "packet://raw1"]);
        run_within(SOON, &mut command)
    };
    let told = doctor().stdout;
    let hole = "ip -6 route add blackhole default metric 4294967294";
    assert!(told.contains("answers raw1: there is no IPv6 route") && told.contains(hole), "{told}");
    lab.target.run(hole);
    let told = doctor().stdout;
    assert!(told.contains("answers raw1: mirrored packets are neither passed on nor answered"), "{told}");

    let over_vxlan = start_collector(&lab);
    let raw = start_on_raw(&lab, &directory, 2);
    let witness = Watch::start(&lab.host, "mir0", "", &lab.directory().join("host.pcap"));
    // Reports of its own about groups that it is in (MLD, in IPv6 with a hop-by-hop header) are no answers.
    let answers = lab.directory().join("answers.pcap");
    let mut tcpdump = lab.target.command("tcpdump");
    tcpdump.args(["-n", "-i", "raw1", "-Q", "out", "-U", "--immediate-mode", "-w"]).arg(&answers);
    let mut tcpdump = Running::start(tcpdump.arg("not (ip6[6] == 0)"));
    tcpdump.wait_for_line(SOON, "that it listens", |line| line.contains("listening on").then_some(()));

    lab.traffic();
    let mut there = witness.finish();
    there.retain(|record| !is_report(record));
    let captures = directory.join("captures");
    let (summary, said) = stop(raw, &directory, "the last mark in the raw capture", || has_ended(&captures));
    let vxlan_summary = stop_collector(&lab, over_vxlan);
    tcpdump.signal(Signal::INT);
    let _ = tcpdump.finish_within(SOON).success();
    let answered = capture_file::read(&answers);
    assert!(answered.is_empty(), "{} frames were sent by the target; the collector said:\n{said}", answered.len());

    let mut captured = capture_file::read_all(&captures);
    captured.sort_by_key(|record| record.time_ns);
    assert!(captured.iter().all(|record| record.interface == "packet raw1"), "{:?}", captured.first());
    let own = summary.ledger.dropped_total();
    assert_eq!(captured.len() as u64 + own, summary.ledger.received);
    assert!(own < 100, "{own} frames were taken for this machine's own");
    // The ends of the link ask for routers some time after they came up: that is no mirrored traffic.
    captured.retain(|record| !is_report(record));
    let senders: BTreeSet<_> = there.iter().filter_map(|record| record.data.get(6..12)).map(<[u8]>::to_vec).collect();
    captured.retain(|record| record.data.get(6..12).is_some_and(|sender| senders.contains(sender)));
    let (there, here) = (between_marks(&there), between_marks(&captured));
    assert!(there.len() > FRAMES, "{} frames are too few for the traffic made", there.len());
    same_frames(bytes(there), bytes(here)).unwrap();

    let mut over_vxlan = capture_file::read_all(&lab.directory().join("captures"));
    over_vxlan.sort_by_key(|record| record.time_ns);
    over_vxlan.retain(|record| !is_report(record));
    same_frames(bytes(between_marks(&over_vxlan)), bytes(here)).unwrap();
    let expected = Tally::of_frames(&tshark::fields(&lab.directory().join("host.pcap"), &Tally::FRAME_FIELDS).unwrap());
    let of_raw = Tally::of_eve(&std::fs::read_to_string(directory.join("log/eve.json")).unwrap());
    assert!(expected.len() > 20, "{} TCP and UDP flows are too few", expected.len());
    assert_eq!(of_raw.differences(&expected), Vec::<String>::new());
    assert_eq!(of_raw.differences(&Tally::of_eve(&eve(&lab))), Vec::<String>::new());
    // The kernel steers raw frames as it steers VXLAN.
    let (raw, vxlan) = (summary.ledger.misdelivered, vxlan_summary.ledger.misdelivered);
    assert!(raw <= vxlan, "{raw} raw frames and {vxlan} in VXLAN came to another worker than their flow's");
}

/// Sends these frames out of `raw0`, one after the other.
fn send(lab: &Lab, frames: &[Vec<u8>]) {
    let hex: Vec<String> =
        frames.iter().map(|frame| frame.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))).collect();
    let script = "import socket,sys\n\
                  s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\n\
                  s.bind(('raw0',0))\n\
                  for f in sys.argv[1:]: s.send(bytes.fromhex(f))";
    let mut python = lab.host.command("python3");
    let _ = run_within(SOON, python.args(["-c", script]).args(hex)).success();
}

/// A frame between these addresses, behind `tags`, with `payload`; the checksum of IPv4 is none.
fn udp(tags: &[u8], source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    frame.extend(tags);
    let length = 28 + payload.len() as u16;
    frame.extend([8, 0, 0x45, 0, (length >> 8) as u8, length as u8, 0, 1, 0, 0, 64, 17, 0, 0]);
    frame.extend(source);
    frame.extend(destination);
    frame.extend([0x30, 0x39, 0, 53, 0, 8 + payload.len() as u8, 0, 0]);
    frame.extend(payload);
    frame
}

#[test]
fn vlan_tags_stay_and_what_is_for_this_machine_is_counted_and_not_captured() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    if !vxtap_tests::needs::have_tools(&["python3"]) {
        return;
    }
    lab.host.link(("raw0", 1500), &lab.target, "raw1");
    lab.target.address("raw1", &["10.79.0.2/24"]);
    // As a cloud's agent does with a load balancer's address: a route, and no interface has it.
    lab.target.ip("route add local 10.99.0.1/32 dev raw1");
    let directory = lab.directory().join("raw");
    std::fs::create_dir(&directory).unwrap();
    let collector = start_on_raw(&lab, &directory, 2);
    let (client, server) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let mirrored = [
        udp(&[], client, server, b"untagged, and long enough to need no padding"),
        udp(&[0x81, 0, 0x60, 7], client, server, b"one tag, and long enough to need no padding"),
        udp(&[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7], server, client, b"two tags, and long enough to need no padding"),
        // A probe on its way to a mirrored host.
        udp(&[], [35, 191, 0, 1], server, b"a probe of another host, also long enough for that"),
    ];
    let own = [
        udp(&[], client, [10, 79, 0, 2], b"for this machine, and long enough to need no padding"),
        udp(&[], [35, 191, 0, 1], [10, 79, 0, 2], b"a health probe, and long enough to need no padding"),
        udp(&[], [130, 211, 3, 1], [10, 99, 0, 1], b"one to the balancer's address, long enough as well"),
    ];
    // What this machine says itself by the same interface is no mirrored traffic either: answers to probes, its API's.
    let say = "import socket\n\
               s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
               s.setsockopt(socket.SOL_SOCKET,socket.SO_BROADCAST,1)\n\
               s.sendto(b'said by this machine itself',('10.79.0.255',9))";
    let _ = run_within(SOON, lab.target.command("python3").args(["-c", say])).success();
    send(&lab, &[&own[..], &mirrored[..]].concat());
    let captures = directory.join("captures");
    let captured = || -> Vec<Record> {
        let records = capture_file::read_all(&captures);
        records.into_iter().filter(|record| mirrored.contains(&record.data)).collect()
    };
    let (summary, _) = stop(collector, &directory, "the mirrored frames", || captured().len() == mirrored.len());
    assert_eq!(captured().iter().map(|record| &record.data).collect::<Vec<_>>(), mirrored.iter().collect::<Vec<_>>());
    let all = capture_file::read_all(&captures);
    assert!(all.iter().all(|record| !own.contains(&record.data)));
    let said = b"said by this machine itself";
    assert!(all.iter().all(|record| !record.data.ends_with(said)), "the collector captured what its machine sent");
    let dropped = &summary.ledger.dropped;
    assert_eq!((dropped.get("health_probe"), dropped.get("own_traffic")), (Some(&2), Some(&1)), "{dropped:?}");
}

/// A datagram in Ethernet from 192.0.2.1 to a port of `raw1`'s address.
fn outer(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = udp(&[], [192, 0, 2, 1], [10, 79, 0, 2], b"");
    frame[36..38].copy_from_slice(&port.to_be_bytes());
    frame[38..40].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    frame[16..18].copy_from_slice(&(28 + payload.len() as u16).to_be_bytes());
    frame.extend(payload);
    frame
}

/// A fragment of the datagram `of`, with `field` for flags and offset.
fn fragment(of: &[u8], field: u16, part: std::ops::Range<usize>) -> Vec<u8> {
    let (headers, datagram) = of.split_at(34);
    let part = &datagram[part];
    let mut frame = [headers, part].concat();
    frame[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
    frame[20..22].copy_from_slice(&field.to_be_bytes());
    frame
}

#[test]
fn tunnels_come_off_on_an_interface_where_that_is_asked_for_and_nothing_else_changes() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    if !vxtap_tests::needs::have_tools(&["python3"]) {
        return;
    }
    lab.host.link(("raw0", 1500), &lab.target, "raw1");
    lab.target.address("raw1", &["10.79.0.2/24"]);
    let (client, server) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let inner = |text: &[u8]| udp(&[], client, server, text);
    let in_vxlan = inner(b"in VXLAN, and long enough to need no padding");
    let in_geneve = inner(b"in GENEVE as a gateway load balancer has it, in IP");
    let plain = inner(b"in nothing at all, and long enough to need no padding");
    let in_vlan = inner(b"in VXLAN behind a VLAN tag, long enough as well");
    let vxlan = |frame: &[u8]| vxtap_tests::datagram::vxlan(7, frame);
    // No Ethernet inside, and the option that says which endpoint.
    let geneve = [&[3, 0, 8, 0, 0, 0, 0, 0, 1, 8, 1, 2, 0, 0, 0, 0, 0, 0, 0x1a, 0x2b][..], &in_geneve[14..]].concat();
    let mut tagged = outer(4789, &vxlan(&in_vlan));
    drop(tagged.splice(12..12, [0x81, 0, 0, 9]));
    let long = outer(4789, &vxlan(&inner(&[7; 200])));
    let end = long.len() - 34;
    let sent = [
        outer(4789, &vxlan(&in_vxlan)),
        outer(6081, &geneve),
        plain.clone(),
        tagged,
        // VXLAN with the I flag clear, another port of this machine, and a datagram in two pieces.
        outer(4789, &[&[0; 8][..], &in_vxlan].concat()),
        outer(53, b"a question to this machine, and long enough for that"),
        fragment(&long, 0x2000, 0..104),
        fragment(&long, 13, 104..end),
    ];
    for workers in [1, 3] {
        let directory = lab.directory().join(format!("decapsulated-{workers}"));
        std::fs::create_dir(&directory).unwrap();
        let collector = start_on(&lab, "packet://raw1?decapsulate", &directory, workers, &[]);
        send(&lab, &sent);
        let captures = directory.join("captures");
        let expected = [
            ("geneve vni 0 from 192.0.2.1 endpoint aws 0x1a2b ip", &in_geneve[14..]),
            ("packet raw1", &plain[..]),
            ("vni 7 from 192.0.2.1", &in_vlan[..]),
            ("vni 7 from 192.0.2.1", &in_vxlan[..]),
        ];
        let captured = || -> Vec<(String, Vec<u8>)> {
            let records = capture_file::read_all(&captures).into_iter();
            let mut all: Vec<_> = records.map(|record| (record.interface, record.data)).collect();
            // What the link's ends say by themselves.
            all.retain(|(_, data)| data.windows(4).any(|bytes| bytes == client));
            all.sort();
            all
        };
        let (summary, _) = stop(collector, &directory, "all of the tunnels", || captured().len() >= expected.len());
        let expected: Vec<_> = expected.map(|(name, data)| (name.to_owned(), data.to_vec())).into();
        let mut sorted = expected.clone();
        sorted.sort();
        assert_eq!(captured(), sorted, "{workers} workers");
        let dropped = &summary.ledger.dropped;
        for (reason, count) in [("vxlan_flag_clear", 1), ("own_traffic", 1), ("outer_fragment", 2)] {
            assert_eq!(dropped.get(reason), Some(&count), "{reason}, {workers} workers: {dropped:?}");
        }
    }
}

/// Status and body of a request to the health port in `lab`'s target.
fn readiness(lab: &Lab) -> String {
    let mut curl = lab.target.command("curl");
    run_within(SOON, curl.args(["-s", "-w", " %{http_code}", "http://127.0.0.1:8080/readyz"])).stdout
}

#[test]
fn a_raw_mirror_that_stands_still_or_loses_frames_or_its_interface_is_not_ready_for_traffic() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    if !vxtap_tests::needs::have_tools(&["python3"]) {
        return;
    }
    lab.host.link(("raw0", 1500), &lab.target, "raw1");
    lab.target.address("raw1", &["10.79.0.2/24"]);
    let directory = lab.directory().join("health");
    std::fs::create_dir(&directory).unwrap();
    // The smallest ring, of 2 MiB, is soon full.
    let words = "--health 127.0.0.1:8080 --receive-buffer 64KiB --unready-after 1s --ready-after 1s --drop-window 2s";
    let health: Vec<&str> = words.split(' ').collect();

    // A thread that stands still, with frames in its ring.
    let collector = start_on(&lab, "packet://raw1", &directory, 1, &health);
    wait_until(SOON, "readiness", || readiness(&lab).ends_with(" 200"));
    let stopped = StoppedThread::of(collector.id(), "worker-0");
    send(&lab, &[udp(&[], [192, 0, 2, 1], [192, 0, 2, 2], b"a frame that waits, and long enough for that")]);
    let told = within(SOON, "a worker that stands still to be told of", || {
        let told = readiness(&lab);
        // Sooner than one with nothing to do, which may be silent for some seconds.
        told.contains("and packets wait").then_some(told)
    });
    assert!(told.contains("worker 0: no turn for") && told.ends_with(" 503"), "{told}");

    // More than its ring has room for.
    let lost = within(SOON, "frames that are lost to be told of", || {
        let large: Vec<Vec<u8>> =
            (0..40).map(|_| udp(&[], [192, 0, 2, 1], [192, 0, 2, 2], &[7; 200]).repeat(5)).collect();
        (0..20).for_each(|_| send(&lab, &large));
        let told = readiness(&lab);
        told.contains("kernel_drops").then_some(told)
    });
    assert!(lost.contains("the kernel dropped"), "{lost}");
    drop(stopped);
    wait_until(SOON, "readiness to come back", || readiness(&lab).ends_with(" 200"));

    // By which nothing can come.
    lab.target.ip("link set raw1 down");
    wait_until(SOON, "an interface that is down to be told of", || {
        let told = readiness(&lab);
        told.contains("interface raw1 is down or gone") && told.ends_with(" 503")
    });
    lab.target.ip("link set raw1 up");
    wait_until(SOON, "readiness with the interface", || readiness(&lab).ends_with(" 200"));
    let (summary, _) = stop(collector, &directory, "nothing", || true);
    assert!(summary.ledger.kernel_dropped > 0, "what was told of is in the ledger: {:?}", summary.ledger);
}

#[test]
fn a_machine_that_forwards_would_pass_mirrored_packets_on_and_doctor_says_so() {
    let Some(lab) = Lab::open(Outer::V4) else { return };
    lab.host.link(("raw0", 1500), &lab.target, "raw1");
    lab.target.ip("-6 route add blackhole default metric 4294967294");
    let doctor = || {
        let mut command = lab.target.command(Program::Collector.path());
        command.args(["doctor", "--watch", "0", "--api", "none", "--workers", "1", "--listen", "packet://raw1"]);
        run_within(SOON, &mut command).stdout
    };
    lab.target.run("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.raw1.proxy_arp=1");
    let told = doctor();
    for line in [
        "PROBLEM  answers raw1: IPv4 and IPv6 packets are forwarded",
        "$ sysctl -w net.ipv4.conf.raw1.forwarding=0",
        "$ sysctl -w net.ipv6.conf.all.forwarding=0",
        "PROBLEM  answers raw1: ARP is answered for others",
        "$ sysctl -w net.ipv4.conf.raw1.proxy_arp=0",
    ] {
        assert!(told.contains(line), "no {line} in\n{told}");
    }
    let commands = told.lines().filter_map(|line| line.trim().strip_prefix("$ sysctl -w "));
    for setting in commands.collect::<Vec<_>>() {
        lab.target.run(&format!("sysctl -q -w {setting}"));
    }
    let told = doctor();
    assert!(told.contains("answers raw1: mirrored packets are neither passed on nor answered"), "{told}");
}
