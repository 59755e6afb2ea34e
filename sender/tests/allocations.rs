//! Nothing is allocated for a frame: a run of ten times as many frames allocates as often as a short one.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use vxtap_sender::generate::{self, FrameSize, GenerateSettings};
use vxtap_sender::mirror::files::FileMirrorSettings;
use vxtap_sender::policy::{Decider, Decision, Direction, Engine, Interface, OwnTraffic, Policy};
use vxtap_sender::replay::{self, ReplaySettings};
use vxtap_sender::{Control, Method, Rate, Target, Timing, TransmitSettings, mirror};
use vxtap_wire::FrameView;
use vxtap_wire::vxlan::Vni;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on as it is to the system's allocator, which keeps the contract; counting touches only a
// thread-local number that needs no allocation itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
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

/// Allocations of this thread while `work` runs, which gives how many frames it sent.
fn allocations(work: impl FnOnce() -> u64) -> (u64, u64) {
    let before = ALLOCATIONS.get();
    let frames = work();
    (ALLOCATIONS.get() - before, frames)
}

/// Settings for a receiver that lives as long as the socket and reads nothing.
fn transmit(method: Method) -> (TransmitSettings, UdpSocket) {
    static NEXT: AtomicU16 = AtomicU16::new(30_000);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = Target::from(socket.local_addr().unwrap());
    let source_port_base = NEXT.fetch_add(100, Ordering::Relaxed);
    let settings = TransmitSettings { source_port_base, method, ..TransmitSettings::new(target, Vni::new(1).unwrap()) };
    (settings, socket)
}

#[test]
fn the_allocator_of_this_test_counts() {
    assert_eq!(allocations(|| std::hint::black_box(vec![1_u8, 2]).len() as u64), (1, 2));
}

#[test]
fn generating_allocates_nothing_for_a_frame_or_a_flow() {
    for method in [Method::Trains, Method::Batches] {
        for size in [None, Some(FrameSize::Bytes(200)), Some(FrameSize::Imix)] {
            let (transmit, _receiver) = transmit(method);
            let run = |packets| {
                let settings = GenerateSettings {
                    size,
                    rate: Rate::TopSpeed,
                    packets: Some(packets),
                    ..GenerateSettings::new(transmit.clone())
                };
                allocations(|| generate::run(&settings, &Control::default()).unwrap().sent)
            };
            let ((short, few), (long, many)) = (run(10_000), run(100_000));
            assert_eq!((few, many), (10_000, 100_000));
            assert_eq!(short, long, "{method:?} {size:?}");
        }
    }
}

/// A capture of `frames` frames of many lengths, a second apart: UDP of a host to one of 256 others.
fn capture(path: &Path, frames: u32) {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for n in 0..frames {
        let len = 60 + n % 1000;
        for field in [n, 0, len, len] {
            file.extend(field.to_le_bytes());
        }
        let [high, low] = (len as u16 - 14).to_be_bytes();
        let start = file.len();
        file.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0]);
        file.extend([10, 0, 0, 1, 192, 0, 2, n as u8, 0x30, 0x39, 0, 9]);
        file.resize(start + len as usize, n as u8);
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn mirroring_by_a_policy_allocates_nothing_for_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    for (sessions, shed) in
        [("encapsulation = \"geneve\"", "flows"), ("length = 100", "length"), ("max_pps = 1", "packets")]
    {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = receiver.local_addr().unwrap().port();
        let policy = folder.path().join("policy.toml");
        let text = format!(
            "[budget]\nmax_mbps = 100\nshed = \"{shed}\"\n[[source]]\nname = \"host\"\naddresses = [\"10.0.0.1\"]\n[[target]]\n\
             name = \"c\"\naddress = \"127.0.0.1\"\nport = {port}\n[[session]]\nname = \"s\"\nnumber = 1\nsource = \"host\"\n\
             target = \"c\"\nvni = 1\n{sessions}\n"
        );
        std::fs::write(&policy, text).unwrap();
        let (base, _other) = transmit(Method::Trains);
        let run = |frames: u32| {
            let path = folder.path().join("frames.pcap");
            capture(&path, frames);
            let mut settings = FileMirrorSettings::new(policy.clone(), vec![path]);
            settings.timing = Timing::Rate(Rate::TopSpeed);
            settings.mirror.source_port_base = base.source_port_base;
            let control = Arc::new(Control::default());
            allocations(|| mirror::files::run(&settings, &control).unwrap().read)
        };
        let ((short, few), (long, many)) = (run(5_000), run(50_000));
        assert_eq!((few, many), (5_000, 50_000));
        assert_eq!(short, long, "{sessions}");
    }
}

#[test]
fn replaying_allocates_nothing_for_a_frame() {
    let folder = tempfile::tempdir().unwrap();
    let (transmit, _receiver) = transmit(Method::Trains);
    let run = |frames: u32| {
        let path: PathBuf = folder.path().join("frames.pcap");
        capture(&path, frames);
        let timing = Timing::Rate(Rate::TopSpeed);
        let settings = ReplaySettings { timing, ..ReplaySettings::new(transmit.clone(), vec![path]) };
        allocations(|| replay::run(&settings, &Control::default()).unwrap().sent)
    };
    let ((short, few), (long, many)) = (run(5_000), run(50_000));
    assert_eq!((few, many), (5_000, 50_000));
    assert_eq!(short, long);
}

#[test]
fn deciding_about_a_packet_allocates_nothing_whether_for_packets_or_for_flows() {
    let text = include_str!("../examples/policy.toml");
    for scope in ["packet", "flow"] {
        let text = format!("{text}\n[semantics]\nscope = \"{scope}\"\nflow_max = 64\n");
        let policy = Arc::new(Policy::parse("policy.toml", &text).unwrap());
        let interface = Interface { name: "eth0".into(), ..Interface::default() };
        let mut own = OwnTraffic::default();
        own.add_target("192.0.2.7:4789".parse().unwrap());
        let mut decider = Decider::new(Arc::new(Engine::new(&policy, &interface).unwrap()), Arc::new(own));
        // More flows than the table has room for, and an ICMP error that quotes one.
        let mut frames = Vec::new();
        for port in 0..200 {
            let mut frame = Vec::new();
            let builder =
                etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([203, 0, 113, 9], [10, 0, 0, 1], 64);
            builder.udp(53, 1000 + port).write(&mut frame, &[0; 100]).unwrap();
            let quoted = frame[14..].to_vec();
            frames.push(frame);
            let mut error = Vec::new();
            let builder =
                etherparse::PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([203, 0, 113, 9], [10, 0, 0, 1], 64);
            builder.icmpv4_raw(3, 3, [0; 4]).write(&mut error, &quoted).unwrap();
            frames.push(error);
        }
        let (count, mirrored) = allocations(|| {
            let decisions = frames.iter().map(|frame| {
                let view = FrameView::parse_outermost(frame);
                decider.decide(Direction::Inbound, &view, 1)
            });
            decisions.filter(|decision| matches!(decision, Decision::Mirror(_))).count() as u64
        });
        assert_eq!(count, 0, "{scope}");
        // Half of the flows of DNS are sampled, and no ICMP.
        assert!((60..140).contains(&mirrored), "{scope}: {mirrored}");
    }
}
