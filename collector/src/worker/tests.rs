#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;

use vxtap_analyzers::DropReason;
use vxtap_analyzers::losses::StreamLoss;
use vxtap_analyzers::snapshot::FlowQuery;
use vxtap_wire::envelope::Rules;
use vxtap_wire::geneve::{self, Mark, MirrorDirection};
use vxtap_wire::vxlan::{self, Vni};
use vxtap_wire::{Link, ethertype};

use super::*;
use crate::capture::Input;
use crate::follow::Hub;
use crate::hand_over::{Item, connect};
use crate::outputs::Outputs;
use crate::receive::{Datagram, Group, open_group};
use crate::settings::{CaptureSettings, LogSettings, PipelineSettings, ReceiveSettings, UdpListener};
use crate::shared::Asker;
use crate::streams::StreamRegistry;

mod fragments;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

// SAFETY: every call goes on to the system's allocator as it came; the counter is a plain cell of the calling thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A worker of `workers`, alone in this thread; the others' ends; and a socket that sends to it.
struct Bench {
    worker: Worker,
    batch: Batch,
    others: Vec<Inbox>,
    other_outboxes: Vec<Outbox>,
    asker: Asker,
    sender: UdpSocket,
    outputs: Option<Outputs>,
}

fn bench(workers: u32, capture: Option<CaptureSettings>) -> Bench {
    bench_of(Kind::Vxlan, workers, capture)
}

fn bench_of(kind: Kind, workers: u32, capture: Option<CaptureSettings>) -> Bench {
    bench_with(kind, workers, &PipelineSettings { capture, ..PipelineSettings::default() })
}

fn bench_with(kind: Kind, workers: u32, pipeline: &PipelineSettings) -> Bench {
    let listener = UdpListener { kind, address: "127.0.0.1:0".parse().unwrap() };
    let settings = ReceiveSettings { kernel_steering: false, ..ReceiveSettings::default() };
    let hash = SteerHash::new(5);
    let Group { sockets, address, .. } = open_group(listener, 1, &settings, hash, Vec::new()).unwrap();
    let streams = Arc::new(StreamRegistry::new());
    let (outputs, mut lanes) = Outputs::open(pipeline, &streams, &Hub::new(Arc::clone(&streams)), Input::Live).unwrap();
    let (waiter, waker) = Waiter::new().unwrap();
    let (mut inboxes, mut outboxes) = connect(workers, &[]);
    let (asker, questions) = Asker::new(waker);
    let lanes = lanes.remove(0);
    let steering = Steering { hash, workers, broken: false };
    let parts = WorkerParts {
        number: 0,
        sockets,
        packets: PacketIntake::new(Vec::new(), Arc::default(), Vec::new()),
        waiter,
        inbox: inboxes.remove(0),
        outbox: outboxes.remove(0),
        questions,
        pipeline: Pipeline::new(pipeline, Arc::clone(&streams), lanes)
            .with_siblings(steering.siblings(0, Wholes::HandedOver)),
        shared: Arc::new(Shared::new(workers, streams)),
        steering,
        opening: Opening { rules: Rules::default(), sender_times: true },
        coalesce: Duration::ZERO,
        pin: false,
    };
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(address).unwrap();
    Bench {
        worker: Worker::new(parts),
        batch: Batch::new(),
        others: inboxes,
        other_outboxes: outboxes,
        asker,
        sender,
        outputs: Some(outputs),
    }
}

/// A VXLAN datagram with a UDP packet of flow `number` in it.
fn datagram(number: u16, payload: usize) -> Vec<u8> {
    let mut datagram = vxlan::header(Vni::new(9).unwrap()).to_vec();
    datagram.extend([2; 12]);
    datagram.extend([8, 0, 0x45, 0]);
    datagram.extend(((28 + payload) as u16).to_be_bytes());
    datagram.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    datagram.extend((1024 + number).to_be_bytes());
    datagram.extend(6000u16.to_be_bytes());
    datagram.extend(((8 + payload) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.resize(datagram.len() + payload, 7);
    datagram
}

impl Bench {
    /// Sends `datagrams` and has the worker take them.
    fn pass(&mut self, datagrams: &[Vec<u8>]) {
        for part in datagrams.chunks(32) {
            for datagram in part {
                self.sender.send(datagram).unwrap();
            }
            let mut taken = 0;
            while taken < part.len() as u64 {
                let socket = &self.worker.parts.sockets[0];
                self.batch.receive(socket.fd()).unwrap();
                let kind = socket.kind;
                taken += self.worker.take(&self.batch, kind);
            }
            self.worker.parts.outbox.flush();
            self.worker.parts.pipeline.flush_if_due(unix_ns());
        }
    }

    /// What the others were given, and gives the parcels back.
    fn handed_over(&self) -> u64 {
        let mut frames = 0;
        for inbox in &self.others {
            while let Some(parcel) = inbox.next() {
                frames += parcel.items().count() as u64;
                inbox.give_back(parcel);
            }
        }
        frames
    }
}

#[test]
fn nothing_is_allocated_for_a_packet_from_the_socket_to_the_capture_block() {
    let directory = tempfile::tempdir().unwrap();
    let mut bench = bench(1, Some(CaptureSettings::new(directory.path().to_owned())));
    let datagrams: Vec<_> = (0..500).map(|number| datagram(number, 200)).collect();
    // The first round begins the flows; the table and the lane get their memory.
    bench.pass(&datagrams);
    let before = ALLOCATIONS.get();
    for _ in 0..20 {
        bench.pass(&datagrams);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations for 10,000 packets");
    let ledger = bench.worker.parts.pipeline.ledger;
    assert_eq!((ledger.received, ledger.analysed), (10_500, 10_500));
    let totals = bench.worker.parts.pipeline.finish();
    assert_eq!(totals.shard.flows, 500);
    let written: u64 =
        bench.outputs.take().unwrap().finish_captures().iter().map(|(written, dropped)| written + dropped).sum();
    assert_eq!(written, 10_500);
}

/// A VXLAN datagram with a segment of connection `number`, from the client (to port 80) or from the server.
fn segment(number: u16, from_client: bool, numbers: (u32, u32), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut datagram = vxlan::header(Vni::new(9).unwrap()).to_vec();
    datagram.extend([2; 12]);
    datagram.extend([8, 0, 0x45, 0]);
    datagram.extend(((40 + payload.len()) as u16).to_be_bytes());
    let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let (from, to) = if from_client { (client, server) } else { (server, client) };
    datagram.extend([0, 0, 0, 0, 64, 6, 0, 0]);
    datagram.extend([from, to].concat());
    let (own, other) = if from_client { (1024 + number, 80) } else { (80, 1024 + number) };
    datagram.extend([own.to_be_bytes(), other.to_be_bytes()].concat());
    datagram.extend([numbers.0.to_be_bytes(), numbers.1.to_be_bytes()].concat());
    datagram.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    datagram.extend(payload);
    datagram
}

#[test]
fn nothing_is_allocated_for_a_packet_that_is_looked_into_and_completes_no_message() {
    const CONNECTIONS: u16 = 100;
    const PART: usize = 500;
    const SYN: u8 = 0x02;
    const ACK: u8 = 0x10;
    let directory = tempfile::tempdir().unwrap();
    let log = Some(LogSettings::new(directory.path().to_owned()));
    let mut bench = bench_with(Kind::Vxlan, 1, &PipelineSettings { log, ..PipelineSettings::default() });
    let request: &[u8] = b"GET /large HTTP/1.1\r\nHost: a.example\r\n\r\n";
    // One in four answers with what no protocol begins with.
    let answer = |number: u16| -> &[u8] {
        if number.is_multiple_of(4) { &[0xff; 64] } else { b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" }
    };
    let mut sent = vec![0; usize::from(CONNECTIONS)];
    for number in 0..CONNECTIONS {
        let (asked, answered) = (101 + request.len() as u32, 501 + answer(number).len() as u32);
        bench.pass(&[
            segment(number, true, (100, 0), SYN, b""),
            segment(number, false, (500, 101), SYN | ACK, b""),
            segment(number, true, (101, 501), ACK, request),
            segment(number, false, (501, asked), ACK, answer(number)),
        ]);
        sent[usize::from(number)] = answered;
    }
    let mut round = |bench: &mut Bench| -> u64 {
        let datagrams: Vec<_> = (0..CONNECTIONS)
            .flat_map(|number| {
                let next = &mut sent[usize::from(number)];
                let asked = 101 + request.len() as u32;
                let data = segment(number, false, (*next, asked), ACK, &[0x20; PART]);
                *next += PART as u32;
                [data, segment(number, true, (asked, *next), ACK, b"")]
            })
            .collect();
        let before = ALLOCATIONS.get();
        bench.pass(&datagrams);
        ALLOCATIONS.get() - before
    };
    // What is at the beginning of a stream is kept until it is clear what it is.
    for _ in 0..10 {
        round(&mut bench);
    }
    let allocated: u64 = (0..20).map(|_| round(&mut bench)).sum();
    assert_eq!(allocated, 0, "allocations for 4,000 packets");
    let totals = bench.worker.parts.pipeline.finish();
    assert_eq!((totals.ledger.analysed, totals.shard.flows), (400 + 30 * 200, 100));
    bench.outputs.take().unwrap().finish_log();
    let eve = std::fs::read_to_string(directory.path().join("eve.json")).unwrap();
    let of = |kind: &str| eve.lines().filter(|line| line.contains(&format!("\"event_type\":\"{kind}\""))).count();
    assert_eq!((of("flow"), of("http")), (100, 100), "the packets were looked into");
}

#[test]
#[should_panic(expected = "worker 0")]
#[cfg(debug_assertions)]
fn a_worker_that_reports_a_packet_which_is_nowhere_is_stopped_in_a_debug_build() {
    let mut bench = bench(1, None);
    bench.pass(&[datagram(1, 10)]);
    bench.worker.report();
    bench.worker.parts.pipeline.ledger.analysed -= 1;
    bench.worker.report();
}

#[test]
fn handing_over_allocates_nothing_once_parcels_go_round() {
    let mut bench = bench(4, None);
    let datagrams: Vec<_> = (0..500).map(|number| datagram(number, 200)).collect();
    let round = |bench: &mut Bench| {
        let mut handed_over = 0;
        for part in datagrams.chunks(32) {
            bench.pass(part);
            handed_over += bench.handed_over();
        }
        handed_over
    };
    for _ in 0..20 {
        round(&mut bench);
    }
    let before = (ALLOCATIONS.get(), bench.worker.parts.pipeline.ledger);
    let handed_over: u64 = (0..10).map(|_| round(&mut bench)).sum();
    let ledger = bench.worker.parts.pipeline.ledger;
    assert_eq!(ALLOCATIONS.get() - before.0, 0, "allocations for 5,000 packets");
    assert_eq!(ledger.misdelivered - before.1.misdelivered, handed_over);
    assert!((3000..4500).contains(&handed_over), "three quarters of the flows are the others': {handed_over}");
}

#[test]
fn a_worker_that_falls_idle_tells_what_came_last_within_a_tenth_of_a_second_and_then_sleeps_for_a_second() {
    let mut bench = bench(1, None);
    bench.worker.report();
    assert_eq!(bench.worker.rest_time(unix_ns()), Duration::from_secs(1), "nothing has come");
    bench.pass(&[datagram(1, 10)]);
    assert!(bench.worker.rest_time(unix_ns()) <= Duration::from_millis(100));
    bench.worker.report();
    assert_eq!(bench.worker.rest_time(unix_ns()), Duration::from_secs(1));
}

#[test]
fn every_bad_datagram_is_dropped_by_its_reason() {
    let mut bench = bench(1, None);
    let header = vxlan::header(Vni::new(9).unwrap());
    bench.pass(&[vec![], vec![8, 0, 0], vec![0; 8], header.to_vec(), datagram(1, 10)]);
    let ledger = bench.worker.parts.pipeline.ledger;
    let dropped: Vec<_> = ledger.dropped.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        dropped,
        [(DropReason::VxlanTooShort, 2), (DropReason::VxlanFlagClear, 1), (DropReason::VxlanEmptyFrame, 1)]
    );
    assert_eq!((ledger.received, ledger.analysed, ledger.check()), (5, 1, Ok(())));
}

#[test]
fn a_datagram_that_the_receive_buffer_cut_is_dropped_by_its_reason_whatever_its_encapsulation() {
    let mut bench = bench(1, None);
    let payload = datagram(1, 10);
    let source = std::net::Ipv4Addr::LOCALHOST.into();
    let WorkerParts { opening, pipeline, .. } = &mut bench.worker.parts;
    for kind in [Kind::Vxlan, Kind::VxlanGpe, Kind::Geneve] {
        let cut = Datagram { payload: &payload, source, time_ns: None, truncated: true };
        assert!(opening.open(pipeline, kind, &cut, unix_ns(), &mut None).is_none());
    }
    assert_eq!(pipeline.ledger.dropped.iter().find(|(_, count)| *count > 0), Some((DropReason::DatagramTruncated, 3)));
    let whole = Datagram { payload: &payload, source, time_ns: None, truncated: false };
    assert!(opening.open(pipeline, Kind::Vxlan, &whole, unix_ns(), &mut None).is_some());
}

#[test]
fn what_a_worker_hands_to_one_that_takes_nothing_is_dropped_by_its_reason_once_the_inbox_is_full() {
    let mut bench = bench(2, None);
    // One fills a parcel.
    let sent = 300;
    for number in 0..sent {
        bench.pass(&[datagram(number, 60_000)]);
    }
    let ledger = bench.worker.parts.pipeline.ledger;
    let dropped: Vec<_> = ledger.dropped.iter().filter(|(_, count)| *count > 0).collect();
    let [(DropReason::HandOverFull, dropped)] = dropped[..] else { panic!("{dropped:?}") };
    assert_eq!(ledger.received, u64::from(sent));
    assert_eq!(ledger.received, ledger.analysed + ledger.misdelivered);
    // The other one is back.
    let mut handed_over = bench.handed_over();
    while !bench.worker.parts.outbox.flush() {
        handed_over += bench.handed_over();
    }
    handed_over += bench.handed_over();
    assert_eq!(ledger.misdelivered, handed_over + dropped);
    assert!(handed_over > 60 && dropped > 30, "{handed_over} {dropped}");
    ledger.check_worker().unwrap();
}

#[test]
fn a_question_about_a_large_table_is_answered_a_part_at_a_time() {
    let mut bench = bench(1, None);
    let datagrams: Vec<_> = (0..10_000).map(|number| datagram(number, 0)).collect();
    bench.pass(&datagrams);
    let (reply, answers) = crossbeam_channel::bounded(1);
    let list = vxtap_analyzers::FlowList::new(&FlowQuery::default()).unwrap();
    assert!(bench.asker.ask(Question { list, reply }));
    let mut turns = 0;
    let page = loop {
        bench.worker.answer_some();
        turns += 1;
        if let Ok(page) = answers.try_recv() {
            break page;
        }
    };
    assert_eq!((page.total, page.flows.len(), turns), (10_000, 100, 10_000usize.div_ceil(SLOTS_PER_TURN)));
}

/// A GENEVE datagram with the frame of VXLAN datagram [`datagram`] and a mark.
fn marked(number: u16, mark: &Mark) -> Vec<u8> {
    let frame = &datagram(number, 100)[vxlan::HEADER_LEN..];
    [&geneve::marked_header(Vni::new(9).unwrap(), mark)[..], frame].concat()
}

#[test]
fn what_a_senders_marks_say_is_counted_without_allocating() {
    let mut bench = bench_of(Kind::Geneve, 1, None);
    let now = unix_ns();
    let mark = |sequence| Mark {
        captured_ns: if sequence == 7 { now + 60_000_000_000 } else { now },
        sequence,
        series: 77,
        original_len: 5000,
        direction: Some(MirrorDirection::Egress),
    };
    let datagrams = |from: u64| -> Vec<_> {
        (from..from + 500).filter(|at| at % 100 != 50).map(|at| marked((at % 500) as u16, &mark(at))).collect()
    };
    bench.pass(&datagrams(0));
    let more: Vec<_> = (1..10).map(|round| datagrams(round * 500)).collect();
    let before = ALLOCATIONS.get();
    for datagrams in &more {
        bench.pass(datagrams);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0, "allocations for 4,455 packets");
    let pipeline = &mut bench.worker.parts.pipeline;
    pipeline.streams.tell_losses();
    let streams = &bench.worker.parts.shared.registry;
    assert_eq!(streams.loss(), Some(StreamLoss { received: 4950, lost: 50, duplicated: 0 }));
    assert_eq!(streams.name(vxtap_analyzers::StreamId(0)), "geneve vni 9 from 127.0.0.1 egress");
    let mut published = Vec::new();
    pipeline.streams.publish(&mut published);
    let counters = published[0];
    assert_eq!((counters.frames, counters.truncated, counters.clock_apart), (4950, 4950, 1));
}

#[test]
fn geneve_in_each_bad_form_is_dropped_by_its_reason() {
    let mut bench = bench_of(Kind::Geneve, 1, None);
    let whole = marked(1, &Mark::default());
    let with = |at: usize, value: u8| {
        let mut datagram = whole.clone();
        datagram[at] = value;
        datagram
    };
    let critical = |kind: u8| [&[1, 0x40, 0x65, 0x58, 0, 0, 1, 0, 0x77, 0x77, kind, 0][..], &whole[36..]].concat();
    bench.pass(&[
        whole[..7].to_vec(),
        with(0, 0x47),
        with(1, 0x80),
        with(0, 63),
        with(11, 31),
        critical(0x80),
        critical(0x00),
        with(3, 0x06),
        whole[..36].to_vec(),
        whole.clone(),
    ]);
    let ledger = bench.worker.parts.pipeline.ledger;
    let dropped: Vec<_> = ledger.dropped.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        dropped,
        [
            (DropReason::GeneveTooShort, 1),
            (DropReason::GeneveVersion, 1),
            (DropReason::GeneveControl, 1),
            (DropReason::GeneveOptionOverrun, 2),
            (DropReason::GeneveUnknownCritical, 1),
            (DropReason::GenevePayload, 1),
            (DropReason::GeneveEmptyFrame, 1),
        ]
    );
    assert_eq!((ledger.received, ledger.analysed, ledger.check()), (10, 2, Ok(())));
}

#[test]
fn packets_without_ethernet_are_handed_over_as_what_they_are() {
    let mut bench = bench_of(Kind::Geneve, 4, None);
    let datagrams: Vec<_> = (0..200)
        .map(|number| {
            let packet = &datagram(number, 40)[vxlan::HEADER_LEN + 14..];
            [&geneve::header(Vni::new(9).unwrap(), ethertype::IPV4, 0)[..], packet].concat()
        })
        .collect();
    let hash = bench.worker.parts.steering.hash;
    bench.pass(&datagrams);
    let mut handed_over = 0;
    for (number, inbox) in bench.others.iter().enumerate() {
        while let Some(parcel) = inbox.next() {
            for item in parcel.items() {
                let Item::Frame(frame) = item else { panic!("{item:?}") };
                let tuple = FrameView::parse_link(frame.link, frame.bytes).five_tuple.unwrap();
                assert_eq!((frame.link, hash.owner(&tuple, 4)), (Link::Ip, number as u32 + 1));
                handed_over += 1;
            }
        }
    }
    let ledger = bench.worker.parts.pipeline.ledger;
    assert_eq!((handed_over, ledger.misdelivered), (ledger.misdelivered, 200 - ledger.analysed));
    assert!(handed_over > 100, "{handed_over}");
    assert_eq!(bench.worker.parts.pipeline.shard_counters().not_ip, 0);
}
