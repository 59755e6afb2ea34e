#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;

use vxtap_analyzers::snapshot::FlowQuery;
use vxtap_wire::vxlan::{self, Vni};

use super::*;
use crate::capture::Input;
use crate::follow::Hub;
use crate::hand_over::connect;
use crate::outputs::Outputs;
use crate::receive::{Group, open_group};
use crate::settings::{CaptureSettings, Listener, PipelineSettings, ReceiveSettings};
use crate::shared::Asker;
use crate::streams::StreamRegistry;

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
    _outboxes: Vec<Outbox>,
    asker: Asker,
    sender: UdpSocket,
    outputs: Option<Outputs>,
}

fn bench(workers: u32, capture: Option<CaptureSettings>) -> Bench {
    let listener = Listener::Vxlan("127.0.0.1:0".parse().unwrap());
    let settings = ReceiveSettings { kernel_steering: false, ..ReceiveSettings::default() };
    let hash = SteerHash::new(5);
    let Group { sockets, address, .. } = open_group(listener, 1, &settings, hash, Vec::new()).unwrap();
    let pipeline = PipelineSettings { capture, ..PipelineSettings::default() };
    let streams = Arc::new(StreamRegistry::new());
    let (outputs, mut lanes) =
        Outputs::open(&pipeline, &streams, &Hub::new(Arc::clone(&streams)), Input::Live).unwrap();
    let (waiter, waker) = Waiter::new().unwrap();
    let (mut inboxes, mut outboxes) = connect(workers, &[]);
    let (asker, questions) = Asker::new(waker);
    let lanes = lanes.remove(0);
    let parts = WorkerParts {
        number: 0,
        sockets,
        waiter,
        inbox: inboxes.remove(0),
        outbox: outboxes.remove(0),
        questions,
        pipeline: Pipeline::new(&pipeline, Arc::clone(&streams), lanes),
        shared: Arc::new(Shared::new(workers, streams)),
        steering: Steering { hash, workers, broken: false },
        coalesce: Duration::ZERO,
        pin: false,
    };
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(address).unwrap();
    Bench {
        worker: Worker::new(parts),
        batch: Batch::new(),
        others: inboxes,
        _outboxes: outboxes,
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
                taken += self.worker.take(&self.batch);
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
                frames += parcel.frames().count() as u64;
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
