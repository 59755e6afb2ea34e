//! Rings on interfaces in a network namespace that ends with the test. They need root.
#![allow(unsafe_code)]

use std::process::Command;
use std::time::Instant;

use super::*;
use crate::{
    Checksum, Fanout, FanoutGroup, Interface, PacketType, RingState, SuperFrame, SuperFrameKind, VlanTag, Wait,
};

const SOON: Duration = Duration::from_secs(20);
/// `ret #k`.
const RETURN: u16 = 0x06;
const BROADCAST: [u8; 6] = [0xff; 6];
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// Runs `test` in a thread that is alone in a network namespace with two ends of one cable, `a0` and `b0`, both up.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        // SAFETY: no pointers; it concerns this thread, which ends with the test.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            let no_skip = std::env::var("VXTAP_NO_SKIP").unwrap_or_default();
            let forbidden = no_skip == "1" || no_skip.split(',').any(|need| need == "root");
            assert!(!forbidden, "VXTAP_NO_SKIP is set, and this needs root");
            println!("skipped: this needs root, for a network namespace");
            return;
        }
        ip("link set lo up");
        add_cable();
        ip("link set a0 up");
        ip("link set b0 up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().expect("the program ip");
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `a0` and `b0`, down, and silent when they come up.
fn add_cable() {
    ip("link add a0 type veth peer name b0");
    for end in ["a0", "b0"] {
        ip(&format!("link set {end} addrgenmode none"));
    }
}

fn index(name: &str) -> u32 {
    Interface::named(name).unwrap().index
}

/// A block takes a single frame where the next comes later than it is retired, so there are many.
fn small() -> Settings<'static> {
    Settings { block_bytes: 1 << 17, blocks: 200, retire: Duration::from_millis(2), ..Settings::default() }
}

fn open(interface: &str, settings: &Settings<'_>) -> Ring {
    let ring = Ring::open(settings).unwrap();
    ring.bind(index(interface)).unwrap();
    ring
}

/// A socket to send by; with `vnet` one that takes a header of offloads in front of a frame.
fn socket(vnet: bool) -> PacketSocket {
    let socket = PacketSocket::open().unwrap();
    if vnet {
        socket.set(libc::PACKET_VNET_HDR, &1).unwrap();
    }
    socket
}

thread_local! {
    /// In the namespace of the test's thread. Closing a packet socket takes the kernel long, so there is one for all frames.
    static SOCKETS: [PacketSocket; 2] = [socket(false), socket(true)];
}

/// Puts a frame, with `vnet` in front where there is one, out at `interface`.
fn send(interface: &str, vnet: Option<&[u8; 10]>, frame: &[u8]) {
    SOCKETS.with(|[plain, with_vnet]| {
        let (socket, vnet) = vnet.map_or((plain, &[][..]), |vnet| (with_vnet, &vnet[..]));
        send_by(socket, interface, &[vnet, frame].concat(), [frame[12], frame[13]]);
    });
}

fn send_by(socket: &PacketSocket, interface: &str, bytes: &[u8], kind: [u8; 2]) {
    // SAFETY: a plain C structure of integers, for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as _;
    address.sll_protocol = u16::from_ne_bytes(kind);
    address.sll_ifindex = index(interface).cast_signed();
    // SAFETY: both pointers are to as many bytes as told, which live through the call.
    let sent = unsafe {
        libc::sendto(
            std::os::fd::AsRawFd::as_raw_fd(&socket.as_fd()),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
            (&raw const address).cast(),
            size_of_val(&address) as _,
        )
    };
    assert_eq!(sent, bytes.len().cast_signed(), "{}", std::io::Error::last_os_error());
}

/// A frame of an EtherType that nobody answers.
fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![number; len];
    frame[..6].copy_from_slice(&BROADCAST);
    frame[6..12].copy_from_slice(&SOURCE);
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    frame
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    bytes: Vec<u8>,
    wire_len: u32,
    packet_type: PacketType,
    interface: u32,
    vlan: Option<VlanTag>,
    offload: crate::Offload,
    time_ns: u64,
}

/// The next `count` frames of our own EtherTypes or tests' addresses.
fn take(ring: &mut Ring, count: usize) -> Vec<Seen> {
    let (mut wait, _waker) = Wait::new().unwrap();
    let start = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < count {
        assert!(start.elapsed() < SOON, "only {} of {count} frames came: {seen:?}", seen.len());
        while let Some(block) = ring.next_block() {
            seen.extend(block.frames().map(|frame| Seen {
                bytes: frame.bytes.to_vec(),
                wire_len: frame.wire_len,
                packet_type: frame.packet_type,
                interface: frame.interface,
                vlan: frame.vlan,
                offload: frame.offload,
                time_ns: frame.time_ns,
            }));
        }
        wait.wait(std::iter::once(&*ring), Duration::from_millis(20));
    }
    assert_eq!(seen.len(), count, "more frames came than were sent: {seen:?}");
    seen
}

fn now_ns() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
}

#[test]
fn frames_come_whole_in_order_with_their_time_way_and_interface() {
    in_namespace(|| {
        let (mut out, mut all) = (open("a0", &small()), Ring::open(&small()).unwrap());
        all.bind(0).unwrap();
        let before = now_ns();
        for number in 0..50 {
            send("a0", None, &frame(number, 60 + usize::from(number) * 20));
        }
        for (number, seen) in (0..50).zip(take(&mut out, 50)) {
            assert_eq!(seen.bytes, frame(number, 60 + usize::from(number) * 20));
            assert_eq!(seen.wire_len as usize, seen.bytes.len());
            assert_eq!((seen.packet_type, seen.interface), (PacketType::Outgoing, index("a0")));
            assert!((before..=now_ns()).contains(&seen.time_ns), "at {} of {before}", seen.time_ns);
        }
        let (left, came): (Vec<_>, Vec<_>) =
            take(&mut all, 100).into_iter().partition(|seen| seen.packet_type.is_outgoing());
        assert_eq!((left.len(), came.len()), (50, 50));
        assert!(came.iter().all(|seen| (seen.packet_type, seen.interface) == (PacketType::Broadcast, index("b0"))));
        assert_eq!(out.statistics(), Statistics { received: 50, dropped: 0, freezes: 0 });
    });
}

#[test]
fn a_vlan_tag_that_the_kernel_took_out_is_told() {
    in_namespace(|| {
        let mut ring = open("b0", &small());
        let plain = frame(1, 100);
        for (tpid, tci) in [([0x81, 0x00], 0x2064_u16), ([0x88, 0xa8], 0x0fff)] {
            let tag = VlanTag { tpid: u16::from_be_bytes(tpid), tci };
            let tagged = [&plain[..12], &tag.to_bytes(), &plain[12..]].concat();
            send("a0", None, &tagged);
            let seen = take(&mut ring, 1).remove(0);
            assert_eq!((seen.vlan, &seen.bytes), (Some(tag), &plain));
        }
        send("a0", None, &plain);
        assert_eq!(take(&mut ring, 1)[0].vlan, None);
    });
}

#[test]
fn a_super_frame_is_told_as_one_with_its_unfinished_checksum() {
    in_namespace(|| {
        let mut ring = open("b0", &small());
        let mut super_frame = frame(7, 14 + 20 + 20 + 10_000);
        super_frame[12..14].copy_from_slice(&[8, 0]);
        super_frame[14..34]
            .copy_from_slice(&[0x45, 0, 0x27, 0x38, 0, 1, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        super_frame[34..54]
            .copy_from_slice(&[0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
        let mut vnet = [0; 10];
        vnet[0] = 1;
        vnet[1] = 1;
        vnet[2..4].copy_from_slice(&54_u16.to_ne_bytes());
        vnet[4..6].copy_from_slice(&1448_u16.to_ne_bytes());
        vnet[6..8].copy_from_slice(&34_u16.to_ne_bytes());
        vnet[8..10].copy_from_slice(&16_u16.to_ne_bytes());
        send("a0", Some(&vnet), &super_frame);
        let seen = take(&mut ring, 1).remove(0);
        assert_eq!(seen.bytes, super_frame);
        assert_eq!(seen.offload.checksum, Some(Checksum { start: 34, offset: 16 }));
        let expected = SuperFrame { kind: SuperFrameKind::TcpV4, segment_bytes: 1448, ecn: false };
        assert_eq!(seen.offload.super_frame, Some(expected));
    });
}

#[test]
fn a_filter_is_there_before_the_first_frame_cuts_and_can_be_replaced() {
    in_namespace(|| {
        // The byte at 14 is 3: 40 bytes of it.
        let third = [
            Instruction { code: 0x30, jt: 0, jf: 0, k: 14 },
            Instruction { code: 0x15, jt: 0, jf: 1, k: 3 },
            Instruction { code: RETURN, jt: 0, jf: 0, k: 40 },
            Instruction { code: RETURN, jt: 0, jf: 0, k: 0 },
        ];
        let mut ring = Ring::open(&Settings { filter: &third, ..small() }).unwrap();
        send("a0", None, &frame(3, 90));
        ring.bind(index("a0")).unwrap();
        for number in 0..6 {
            send("a0", None, &frame(number, 90));
        }
        let seen = take(&mut ring, 1).remove(0);
        assert_eq!((seen.bytes.as_slice(), seen.wire_len), (&frame(3, 90)[..40], 90));
        ring.set_filter(&[]).unwrap();
        send("a0", None, &frame(5, 90));
        assert_eq!(take(&mut ring, 1)[0].bytes, frame(5, 90));
        assert_eq!(ring.statistics().received, 2);
    });
}

#[test]
fn another_thread_sees_what_waits_and_what_was_lost_and_takes_no_count_from_the_reader() {
    in_namespace(|| {
        let mut ring = open("a0", &Settings { blocks: 4, retire: Duration::from_mins(1), ..small() });
        let watch = ring.watch();
        assert_eq!(watch.state(), Some(RingState { waiting: false, dropped: 0, condition: Condition::Up }));
        let sent = 1000;
        for number in 0..sent {
            send("a0", None, &frame(number as u8, 1400));
        }
        let (other, looked) = (watch.clone(), watch.state().unwrap());
        assert!(looked.waiting && looked.dropped > 0, "{looked:?}");
        assert_eq!(std::thread::spawn(move || other.state()).join().unwrap(), Some(looked));
        let mut read = 0;
        while let Some(block) = ring.next_block() {
            read += block.len() as u64;
        }
        let statistics = ring.statistics();
        assert_eq!((statistics.dropped, statistics.received), (looked.dropped, read));
        assert_eq!(read + looked.dropped, sent);
        assert_eq!(watch.state(), Some(RingState { waiting: false, ..looked }));
        for (line, condition) in [("link set a0 down", Condition::Down), ("link delete a0", Condition::Gone)] {
            ip(line);
            let start = Instant::now();
            while watch.state().unwrap().condition != condition {
                assert!(start.elapsed() < SOON, "not {condition:?} after {line}");
            }
        }
        drop(ring);
        assert_eq!(watch.state(), None, "looking keeps no ring open");
    });
}

#[test]
fn frames_that_find_no_room_are_counted_and_the_ring_goes_on() {
    in_namespace(|| {
        let mut ring = open("a0", &Settings { blocks: 4, retire: Duration::from_mins(1), ..small() });
        let sent = 1000;
        for number in 0..sent {
            send("a0", None, &frame(number as u8, 1400));
        }
        let mut read = 0;
        while let Some(block) = ring.next_block() {
            assert_eq!(block.frames().count(), block.len());
            read += block.len() as u64;
        }
        let statistics = ring.statistics();
        assert!(statistics.dropped > 0 && statistics.freezes > 0, "{statistics:?}");
        assert_eq!((statistics.received + statistics.dropped, read), (sent, statistics.received));
        // Memory is free again.
        let mut more = 0;
        let start = Instant::now();
        while ring.next_block().is_none() {
            assert!(start.elapsed() < SOON, "the ring stays full");
            send("a0", None, &frame(0, 1400));
            more += 1;
        }
        assert!(ring.statistics().received > statistics.received && more < 500);
    });
}

#[test]
fn a_block_that_was_paused_goes_on_behind_the_frames_that_are_done() {
    in_namespace(|| {
        let mut ring = open("a0", &small());
        for number in 0..20 {
            send("a0", None, &frame(number, 60));
        }
        let start = Instant::now();
        let mut seen: Vec<u8> = Vec::new();
        while seen.len() < 20 {
            assert!(start.elapsed() < SOON, "only {seen:?} came");
            if let Some(block) = ring.next_block() {
                let some: Vec<u8> = block.frames().take(3).map(|frame| frame.bytes[14]).collect();
                seen.extend(&some);
                if block.frames().count() > some.len() {
                    block.pause(some.len());
                }
            }
        }
        assert_eq!(seen, (0..20).collect::<Vec<u8>>());
        assert!(ring.next_block().is_none());
    });
}

#[test]
fn what_is_written_into_a_frame_stays_in_it() {
    in_namespace(|| {
        let mut ring = open("a0", &Settings { retire: Duration::from_secs(1), ..small() });
        for number in 0..20 {
            send("a0", None, &frame(number, 60 + usize::from(number)));
        }
        let (mut wait, _waker) = Wait::new().unwrap();
        let start = Instant::now();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        while seen.len() < 20 {
            assert!(start.elapsed() < SOON, "only {} frames came", seen.len());
            wait.wait(std::iter::once(&ring), Duration::from_millis(20));
            while let Some(mut block) = ring.next_block() {
                for mut frame in block.frames_mut() {
                    frame.bytes_mut().last_mut().into_iter().for_each(|last| *last = 0xee);
                    assert_eq!(frame.frame().bytes.last(), Some(&0xee));
                }
                seen.extend(block.frames().map(|frame| frame.bytes.to_vec()));
            }
        }
        for (number, seen) in (0..20).zip(seen) {
            let sent = frame(number, 60 + usize::from(number));
            assert_eq!((&seen[..seen.len() - 1], seen.last()), (&sent[..sent.len() - 1], Some(&0xee)));
        }
    });
}

#[test]
fn outgoing_frames_are_left_out_when_asked_for() {
    in_namespace(|| {
        let mut ring = open("a0", &Settings { ignore_outgoing: true, ..small() });
        send("a0", None, &frame(1, 60));
        send("b0", None, &frame(2, 60));
        assert_eq!(take(&mut ring, 1)[0].bytes, frame(2, 60));
    });
}

#[test]
fn outgoing_frames_are_left_out_of_a_group_too_and_its_filter_still_counts() {
    in_namespace(|| {
        // The last byte of the destination's MAC address: 3 is not wanted.
        let not_three = [
            Instruction { code: 0x30, jt: 0, jf: 0, k: 5 },
            Instruction { code: 0x15, jt: 0, jf: 1, k: 3 },
            Instruction { code: 0x06, jt: 0, jf: 0, k: 0 },
            Instruction { code: 0x06, jt: 0, jf: 0, k: u32::MAX },
        ];
        let of_number = |number: u8| {
            let mut bytes = frame(number, 60);
            bytes[5] = number;
            bytes
        };
        for (filter, wanted) in [(&[][..], &[2, 3, 4][..]), (&not_three[..], &[2, 4][..])] {
            let settings = Settings { ignore_outgoing: true, filter, ..small() };
            let mut group = FanoutGroup::open(2, index("a0"), &settings, Fanout::Hash).unwrap();
            send("a0", None, &of_number(1));
            for number in [2, 3, 4] {
                send("b0", None, &of_number(number));
            }
            let start = Instant::now();
            let mut seen = Vec::new();
            while seen.len() < wanted.len() {
                assert!(start.elapsed() < SOON, "only {seen:?} came");
                for ring in &mut group.rings {
                    while let Some(block) = ring.next_block() {
                        seen.extend(block.frames().map(|frame| frame.bytes[5]));
                    }
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, wanted);
        }
    });
}

#[test]
fn an_interface_that_goes_down_comes_back_by_itself_and_one_that_is_made_anew_by_binding() {
    in_namespace(|| {
        let mut ring = open("a0", &small());
        let (mut wait, _waker) = Wait::new().unwrap();
        let mut until = |ring: &Ring, condition| {
            let start = Instant::now();
            while ring.condition() != condition {
                assert!(start.elapsed() < SOON, "still {:?}, not {condition:?}", ring.condition());
                wait.wait(std::iter::once(ring), Duration::from_millis(50));
            }
        };
        until(&ring, Condition::Up);
        ip("link set a0 down");
        until(&ring, Condition::Down);
        ip("link set a0 up");
        until(&ring, Condition::Up);
        send("a0", None, &frame(1, 60));
        assert_eq!(take(&mut ring, 1)[0].bytes, frame(1, 60));

        ip("link delete a0");
        until(&ring, Condition::Gone);
        add_cable();
        // Down when it is bound.
        ring.bind(index("a0")).unwrap();
        until(&ring, Condition::Down);
        ip("link set b0 up");
        ip("link set a0 up");
        until(&ring, Condition::Up);
        send("a0", None, &frame(2, 60));
        assert_eq!(take(&mut ring, 1)[0].bytes, frame(2, 60));
    });
}

#[test]
fn trouble_with_an_interface_ends_the_wait_once() {
    in_namespace(|| {
        let ring = open("a0", &small());
        let (mut wait, _waker) = Wait::new().unwrap();
        ip("link set a0 down");
        let start = Instant::now();
        while !wait.wait(std::iter::once(&ring), SOON) {
            assert!(start.elapsed() < SOON, "nothing told of the interface");
        }
        assert!(!wait.wait(std::iter::once(&ring), Duration::from_millis(20)), "told again");
    });
}

#[test]
fn the_rings_of_a_group_share_frames_by_flow_or_by_a_program() {
    in_namespace(|| {
        // IPv4 and UDP between two ends, the way by `back`.
        let packet = |flow: u8, back: bool| {
            let mut packet = frame(0, 14 + 28);
            packet[12..14].copy_from_slice(&[8, 0]);
            let (mut from, mut to) = ([192, 0, 2, 1], [192, 0, 2, flow]);
            let (mut from_port, mut to_port) = ([0x30, flow], [0, 53]);
            if back {
                std::mem::swap(&mut from, &mut to);
                std::mem::swap(&mut from_port, &mut to_port);
            }
            packet[14..26].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
            packet[26..30].copy_from_slice(&from);
            packet[30..34].copy_from_slice(&to);
            packet[34..42].copy_from_slice(&[from_port, to_port, [0, 8], [0, 0]].concat());
            packet
        };
        let end = |bytes: &[u8]| bytes[29].max(bytes[33]);
        // The last byte of the destination address.
        let program = [
            Instruction { code: 0x30, jt: 0, jf: 0, k: (libc::SKF_NET_OFF + 19).cast_unsigned() },
            Instruction { code: 0x16, jt: 0, jf: 0, k: 0 },
        ];
        for fanout in [Fanout::Hash, Fanout::Program(&program)] {
            let mut group = FanoutGroup::open(2, index("b0"), &small(), fanout).unwrap();
            for flow in 2..66 {
                send("a0", None, &packet(flow, false));
                send("a0", None, &packet(flow, true));
            }
            let start = Instant::now();
            let mut seen = [Vec::new(), Vec::new()];
            while seen[0].len() + seen[1].len() < 128 {
                assert!(start.elapsed() < SOON, "not all frames came");
                for (ring, seen) in group.rings.iter_mut().zip(&mut seen) {
                    while let Some(block) = ring.next_block() {
                        seen.extend(block.frames().map(|frame| frame.bytes.to_vec()));
                    }
                }
            }
            assert!(seen.iter().all(|seen| seen.len() >= 16), "one ring has all: {fanout:?}");
            for (number, seen) in seen.iter().enumerate() {
                match fanout {
                    Fanout::Hash => {
                        for flow in 2..66 {
                            let both = seen.iter().filter(|bytes| end(bytes) == flow).count();
                            assert!(both == 0 || both == 2, "flow {flow} is on both rings");
                        }
                    }
                    Fanout::Program(_) => {
                        assert!(seen.iter().all(|bytes| usize::from(bytes[33]) % 2 == number), "not by the program");
                    }
                }
            }
        }
    });
}

#[test]
fn what_the_kernel_refuses_is_told_with_what_was_asked() {
    in_namespace(|| {
        let error = Ring::open(&Settings { block_bytes: 1000, blocks: 4, ..small() }).unwrap_err();
        assert!(error.to_string().starts_with("cannot make a ring of 4 blocks of 1000 bytes: "), "{error}");
        let endless = [Instruction { code: 0xffff, jt: 0, jf: 0, k: 0 }];
        let error = open("a0", &small()).set_filter(&endless).unwrap_err();
        assert!(error.to_string().starts_with("cannot attach a filter of 1 instructions: "), "{error}");
        let error = Ring::open(&small()).unwrap().bind(9999).unwrap_err();
        assert!(
            error.is_no_interface() && error.to_string().starts_with("cannot capture from interface 9999: "),
            "{error}"
        );
    });
}
