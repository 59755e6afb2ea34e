//! Collectors and flows for tests: the same each time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vxtap_analyzers::losses::StreamLoss;
use vxtap_analyzers::snapshot::{
    AdmissionSnapshot, CaptureFile, CaptureSnapshot, Distribution, DuplicatePair, FlowPage, FlowSnapshot, LogSnapshot,
    RunState, SidesSnapshot, Snapshot, StreamSnapshot, TurnedAwayStream, WorkerSnapshot,
};
use vxtap_analyzers::{DropReason, Encapsulation, Ledger, OneSidedCause, StreamCounters};

pub(crate) const SECOND: u64 = 1_000_000_000;
/// 2025-11-21 02:04:06 UTC.
pub(crate) const START: u64 = 1_763_690_646 * SECOND;

/// A number that looks random and is not.
fn mix(seed: u64) -> u64 {
    let mixed = (seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 31)
}

/// A sum over `seconds` that grows by about `per_second`, faster and slower in turn.
fn grown(per_second: u64, seconds: u64, seed: u64) -> u64 {
    (0..seconds).map(|second| per_second / 2 + mix(second ^ seed << 32) % (per_second + 1)).sum()
}

fn distribution(count: u64, p50: u64) -> Distribution {
    Distribution { count, p50, p90: p50 * 2, p99: p50 * 5, max: p50 * 40 }
}

fn worker(worker: u32, seconds: u64) -> WorkerSnapshot {
    let received = grown(30_000 + 7_000 * u64::from(worker), seconds, worker.into());
    let ledger = Ledger {
        received,
        received_bytes: received * 740,
        analysed: received,
        captured: received,
        flows: received / 60,
        misdelivered: received / 5000,
        ..Ledger::default()
    };
    WorkerSnapshot {
        worker,
        ledger,
        flows_active: 1200 + u64::from(worker),
        flows_max: 262_144,
        not_ip: 42,
        receive_buffer: 64 << 20,
        batches: received / 20,
        batch_size: distribution(received / 20, 18),
        batch_time_ns: distribution(received / 20, 21_000),
        ..WorkerSnapshot::default()
    }
}

fn stream(source: IpAddr, vni: u32, counters: StreamCounters) -> StreamSnapshot {
    StreamSnapshot {
        name: format!("vni {vni} from {source}"),
        encapsulation: Encapsulation::Vxlan,
        source: Some(source),
        vni: Some(vni),
        selector: format!("vxlan vni {vni} from {source}"),
        network: None,
        counters,
        ..StreamSnapshot::default()
    }
}

/// A collector that takes a lot, loses nothing, captures and logs, `seconds` after its start.
pub(crate) fn busy(seconds: u64) -> Snapshot {
    let workers: Vec<_> = (0..4).map(|number| worker(number, seconds)).collect();
    let mut ledger = Ledger::default();
    for worker in &workers {
        ledger.merge(&worker.ledger);
    }
    let taken_ns = START + seconds * SECOND;
    let streams: Vec<_> = (0..7_u32)
        .map(|number| {
            let frames = ledger.received >> (number + 1);
            let counters = StreamCounters {
                frames,
                bytes: frames * 740,
                truncated: if number == 2 { frames / 8 } else { 0 },
                last_seen_ns: taken_ns - u64::from(number).pow(3) * SECOND,
                ..StreamCounters::default()
            };
            stream(Ipv4Addr::new(10, 0, 0, 7 + number as u8).into(), 4242 + number, counters)
        })
        .collect();
    Snapshot {
        version: "0.1.0".into(),
        started_ns: START,
        taken_ns,
        state: RunState::Running,
        listeners: vec!["vxlan://[::]:4789".into()],
        ledger,
        flows_active: workers.iter().map(|worker| worker.flows_active).sum(),
        workers,
        streams_total: streams.len() as u64,
        streams,
        capture: Some(capture(seconds)),
        log: Some(LogSnapshot { directory: "/var/log/vxtap".into(), events: 12_345, events_dropped: 0, error: None }),
        ..Snapshot::default()
    }
}

/// The same, which lets in only those that are listed: two wait, one is rejected.
pub(crate) fn waiting(seconds: u64) -> Snapshot {
    let mut snapshot = busy(seconds);
    let away = |source: &str, vni: Option<u32>, rejected, per_second: f64| TurnedAwayStream {
        name: vni.map_or_else(|| format!("further streams from {source}"), |vni| format!("vni {vni} from {source}")),
        selector: vni.map_or_else(String::new, |vni| format!("vxlan vni {vni} from {source}")),
        encapsulation: Encapsulation::Vxlan,
        source: source.parse().ok(),
        vni,
        rejected,
        frames: per_second as u64 * seconds,
        bytes: 740 * per_second as u64 * seconds,
        frames_per_second: per_second,
        bits_per_second: 5920.0 * per_second,
        first_seen_ns: START,
        last_seen_ns: snapshot.taken_ns,
    };
    snapshot.admission = AdmissionSnapshot {
        accepts_all: false,
        turned_away: vec![
            away("192.0.2.9", Some(7), true, 9_000.0),
            away("10.0.9.9", Some(99), false, 1_200.0),
            away("10.0.9.9", None, false, 300.0),
        ],
        turned_away_total: 3,
        other_frames: 12_345,
        decisions_total: 4,
        kept_in: Some("/var/lib/vxtap/admission.txt".into()),
        ..AdmissionSnapshot::default()
    };
    snapshot.skew.workers = Some(1.23);
    snapshot.skew.streams = Some(3.5);
    snapshot.streams[1].network = Some("blue".into());
    snapshot.streams[1].loss = Some(StreamLoss { received: 1_000_000, lost: 1_234, duplicated: 0 });
    snapshot.streams[1].sides =
        SidesSnapshot { share: Some(0.63), cause: Some(OneSidedCause::DirectionsSplit), ..SidesSnapshot::default() };
    snapshot.duplicate_pairs = vec![DuplicatePair {
        first: snapshot.streams[0].name.clone(),
        second: snapshot.streams[1].name.clone(),
        duplicates: 4_321_000,
    }];
    snapshot
}

fn capture(seconds: u64) -> CaptureSnapshot {
    let last = seconds / 60;
    let file = |number: u64| CaptureFile {
        name: format!("vxtap-20251121T0204{:02}Z-{number:06}.pcapng", number % 60),
        bytes: 67_108_864 + number,
        frames: 91_234 + number,
        opened_ns: START + number * 60 * SECOND,
        closed_ns: (number < last).then_some(START + (number + 1) * 60 * SECOND),
    };
    let files: Vec<_> = (0..=last).map(file).collect();
    CaptureSnapshot {
        directory: "/var/captures".into(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        pending: 17,
        error: None,
        files_total: files.len() as u64,
        files,
        ..CaptureSnapshot::default()
    }
}

/// [`busy`], losing packets in every way there is.
pub(crate) fn losing(seconds: u64) -> Snapshot {
    let mut snapshot = busy(seconds);
    let ledger = &mut snapshot.ledger;
    let reasons = [
        DropReason::VxlanTooShort,
        DropReason::VxlanFlagClear,
        DropReason::VxlanEmptyFrame,
        DropReason::DatagramTruncated,
        DropReason::HandOverFull,
        DropReason::LinkType,
        DropReason::FileDamaged,
        DropReason::NotEncapsulated,
    ];
    for (number, reason) in reasons.iter().enumerate() {
        let packets = seconds * (number as u64 + 1);
        ledger.dropped.add(*reason, packets);
        ledger.received += packets;
    }
    ledger.kernel_dropped = 987 * seconds;
    ledger.capture_dropped = 13 * seconds;
    ledger.captured -= ledger.capture_dropped;
    snapshot.workers[2].ledger.kernel_dropped = 987 * seconds;
    snapshot.workers[1].flows_evicted = 5;
    if let Some(capture) = &mut snapshot.capture {
        capture.error = Some("can't write /var/captures/vxtap-1.pcapng: No space left on device (os error 28)".into());
    }
    if let Some(log) = &mut snapshot.log {
        log.events_dropped = 9;
        log.error = Some("can't write /var/log/vxtap/eve.json: No space left on device (os error 28)".into());
    }
    snapshot
}

/// A collector to which nothing came, that writes nothing.
pub(crate) fn idle(seconds: u64) -> Snapshot {
    let mut snapshot = busy(seconds);
    snapshot.ledger = Ledger::default();
    snapshot.flows_active = 0;
    for worker in &mut snapshot.workers {
        let fresh = WorkerSnapshot { worker: worker.worker, receive_buffer: 212_992, ..WorkerSnapshot::default() };
        *worker = fresh;
    }
    (snapshot.streams, snapshot.streams_total) = (Vec::new(), 0);
    (snapshot.capture, snapshot.log) = (None, None);
    snapshot
}

/// Long addresses, many workers, many listeners and streams, and counters as large as they get, for weeks.
pub(crate) fn huge(seconds: u64) -> Snapshot {
    let mut snapshot = busy(seconds);
    let most = u64::MAX - 1_000_000_000 + seconds * 1000;
    snapshot.started_ns = START - 123 * 86_400 * SECOND;
    snapshot.listeners =
        (0..9).map(|port| format!("vxlan://[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:{}", 4789 + port)).collect();
    let ledger = Ledger {
        received: most,
        received_bytes: most,
        analysed: most,
        kernel_dropped: most / 9,
        captured: most,
        not_captured: 12_345_678_901_234,
        flows: most,
        duplicates: most,
        misdelivered: most,
        ..Ledger::default()
    };
    snapshot.ledger = ledger;
    snapshot.flows_active = u64::MAX;
    snapshot.workers = (0..256)
        .map(|number| WorkerSnapshot {
            ledger,
            flows_active: most,
            receive_buffer: u64::MAX,
            batch_size: distribution(9, 65_536),
            batch_time_ns: distribution(9, 9_999 * SECOND),
            ..worker(number, 1)
        })
        .collect();
    let counters = StreamCounters {
        frames: most,
        bytes: most,
        truncated: most - 1,
        reserved_bits: most,
        last_seen_ns: START,
        ..StreamCounters::default()
    };
    snapshot.streams = (0..1000).map(|number| stream(long_address(number), 16_777_215, counters)).collect();
    snapshot.streams_total = 1_234_567;
    if let Some(capture) = &mut snapshot.capture {
        capture.directory = format!("/srv/{}/captures of the second floor", "deep/".repeat(30));
        capture.bytes = most;
        capture.pending = most;
        capture.files_total = most;
    }
    snapshot
}

fn long_address(number: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xf000 + number).into()
}

/// `count` IPv4 flows of several kinds, `seconds` after the start.
pub(crate) fn flows(count: u16, seconds: u64) -> FlowPage {
    let now = START + seconds * SECOND;
    let flow = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let (protocol, port, state) = match number % 4 {
            0 => ("UDP", Some(53), "new"),
            3 => ("ICMP", None, "new"),
            1 => ("TCP", Some(443), "established"),
            _ => ("TCP", Some(80), "closed"),
        };
        let size = (1_000_000 * seconds) / u64::from(number + 1);
        FlowSnapshot {
            worker: u32::from(number) % 4,
            community_id: format!("1:LQU9qZlK+B5F3KDmev6m5PM{number:05}="),
            network: Some(4242 + u32::from(number) % 3),
            network_name: None,
            stream: format!("vni {} from 10.0.0.7", 4242 + u32::from(number) % 3),
            protocol: protocol.into(),
            originator: Ipv4Addr::new(192, 168, high, low).into(),
            originator_port: port.map(|_| 50_000 + number),
            responder: Ipv4Addr::new(10, 20, 30, 40).into(),
            responder_port: port,
            state: state.into(),
            app: None,
            frames_to_responder: size / 1500,
            frames_to_originator: size / 900,
            bytes_to_responder: size / 10,
            bytes_to_originator: size,
            tcp_flags_to_responder: if protocol == "TCP" { 0x1a } else { 0 },
            tcp_flags_to_originator: if protocol == "TCP" { 0x13 } else { 0 },
            first_ns: START + u64::from(number) * 1_234_567,
            last_ns: now.saturating_sub(u64::from(number) * 700_000_000).max(START + u64::from(number) * 1_234_567),
        }
    };
    FlowPage { flows: (0..count).map(flow).collect(), matching: 12_345, total: 12_345 }
}

/// Flows between the longest addresses, with counters as large as they get.
pub(crate) fn long_flows(count: u16) -> FlowPage {
    let mut page = flows(count, 100);
    for (flow, number) in page.flows.iter_mut().zip(0..) {
        (flow.originator, flow.responder) = (long_address(number), long_address(number + 1));
        flow.protocol = ["TCP", "IPv6-ICMP", "UDPLite"][usize::from(number) % 3].into();
        flow.network = Some(16_777_215);
        flow.stream = format!("vni 16777215 from {}", long_address(number));
        (flow.bytes_to_responder, flow.bytes_to_originator) = (u64::MAX / 2, u64::MAX / 2);
        (flow.frames_to_responder, flow.frames_to_originator) = (u64::MAX / 2, u64::MAX / 2);
        (flow.tcp_flags_to_responder, flow.tcp_flags_to_originator) = (0xff, 0xff);
    }
    (page.matching, page.total) = (1_234, u64::MAX);
    page
}
