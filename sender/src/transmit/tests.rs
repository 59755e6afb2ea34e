use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::link::max_datagram;
use super::*;
use crate::control::Control;

fn settings(target: SocketAddr) -> TransmitSettings {
    // Each test has a range of its own, so that they can run at the same time.
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(20_000);
    let base = NEXT.fetch_add(300, std::sync::atomic::Ordering::Relaxed);
    let vni = Vni::new(0x12_3456).unwrap();
    TransmitSettings { source_port_base: base, ..TransmitSettings::new(Target::from(target), vni) }
}

fn receiver(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let target = socket.local_addr().unwrap();
    (socket, target)
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, u16) {
    let mut buffer = vec![0; 65_536];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(len);
    (buffer, from.port())
}

/// The first byte of a frame, behind room for any header.
const FIRST: usize = Head::LONGEST;

/// One frame on port `port`.
fn slot(offset: usize, len: u32, port: u16) -> Slot {
    Slot { offset, frame_len: len, len, port, ..Slot::default() }
}

#[test]
fn each_method_delivers_the_same_datagrams_over_either_family() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for method in [Method::Trains, Method::Batches, Method::Single] {
            for udp_checksum in [true, false] {
                // An IPv6 receiver takes a zero checksum only if it asked for it.
                if !udp_checksum && address.starts_with('[') {
                    continue;
                }
                let (socket, target) = receiver(address);
                let mut transmitter =
                    Transmitter::open(&TransmitSettings { udp_checksum, method, ..settings(target) }).unwrap();
                let mut bytes: Vec<u8> = (0..=255).collect();
                let mut slots = [slot(8, 60, 0), slot(76, 60, 0), slot(144, 10, 0), slot(162, 94, 3)];
                let control = Control::default();
                transmitter.encapsulate(Instant::now(), &mut bytes, &mut slots);
                transmitter.send(&bytes, &mut slots, control.counters(), &|| false);
                for slot in slots {
                    let (datagram, port) = receive(&socket);
                    assert_eq!(datagram[..8], [8, 0, 0, 0, 0x12, 0x34, 0x56, 0]);
                    assert_eq!(datagram[8..], bytes[slot.offset..slot.offset + slot.len as usize]);
                    assert_eq!(port, transmitter.source_ports()[usize::from(slot.port)]);
                }
                let progress = control.progress();
                assert_eq!((progress.read, progress.sent, progress.bytes_sent), (4, 4, 224 + 4 * 8));
                let messages = control.counters().messages.get();
                let is_train = method == Method::Trains && udp_checksum;
                assert_eq!(messages, if is_train { 2 } else { 4 }, "{method:?} {udp_checksum}");
            }
        }
    }
}

#[test]
fn in_geneve_each_frame_says_when_it_was_captured_how_long_it_was_and_which_way_it_went_and_is_counted_by_port_and_way()
{
    use vxtap_wire::geneve::MirrorDirection::{Egress, Ingress};
    let (socket, target) = receiver("127.0.0.1:0");
    let settings = TransmitSettings {
        encapsulation: Encapsulation::Geneve,
        packet_length: Some(50),
        method: Method::Batches,
        source_ports: 2,
        ..settings(target)
    };
    let mut transmitter = Transmitter::open(&settings).unwrap();
    let mut bytes = vec![7; FIRST + 100];
    let control = Control::default();
    let made_after = since_1970();
    let one =
        |port, captured_ns, wire_len, direction| Slot { captured_ns, wire_len, direction, ..slot(FIRST, 100, port) };
    let sent = [
        one(0, 5, 9000, Some(Ingress)),
        one(0, 6, 100, Some(Egress)),
        one(0, 7, 100, Some(Ingress)),
        one(1, 8, 100, Some(Ingress)),
        one(0, 0, 0, None),
        one(0, 9, 100, Some(Ingress)),
    ];
    let mut marks = Vec::new();
    for slot in sent {
        // One by one: all slots are at one place, and datagrams arrive in the order in which they were sent.
        let mut slots = [slot];
        transmitter.encapsulate(Instant::now(), &mut bytes, &mut slots);
        transmitter.send(&bytes, &mut slots, control.counters(), &|| false);
        let (datagram, port) = receive(&socket);
        let (header, frame) = vxtap_wire::geneve::decapsulate(&datagram).unwrap();
        assert_eq!((header.vni.get(), header.reserved_bits_set, frame), (0x12_3456, false, &[7; 50][..]));
        assert_eq!(port, transmitter.source_ports()[usize::from(slot.port)]);
        marks.push(header.metadata.mark.unwrap());
    }
    let told: Vec<_> = marks.iter().map(|mark| (mark.sequence, mark.original_len, mark.direction)).collect();
    assert_eq!(
        told,
        [
            (0, 9000, Some(Ingress)),
            (0, 100, Some(Egress)),
            (1, 100, Some(Ingress)),
            (0, 100, Some(Ingress)),
            (0, 100, None),
            (2, 100, Some(Ingress)),
        ]
    );
    let series: std::collections::HashSet<_> = marks.iter().map(|mark| mark.series).collect();
    assert_eq!((series.len(), marks[0].series), (4, marks[2].series));
    assert_eq!([0, 1, 2, 3, 5].map(|at| marks[at].captured_ns), [5, 6, 7, 8, 9]);
    assert!((made_after..=since_1970()).contains(&marks[4].captured_ns), "a frame that was made has the time of now");
    assert_eq!(transmitter.outer_bytes(), 28 + 36);
    let progress = control.progress();
    assert_eq!((progress.sent, progress.bytes_sent), (6, 6 * (36 + 50)));
}

#[test]
fn frames_are_cut_to_the_packet_length_and_to_the_path_and_counted_by_what_cut_them() {
    let (socket, target) = receiver("127.0.0.1:0");
    let mut transmitter =
        Transmitter::open(&TransmitSettings { packet_length: Some(100), ..settings(target) }).unwrap();
    let mut bytes = vec![7; FIRST + 1000];
    let control = Control::default();
    // Of the second no more was copied than is sent; the last was cut by whoever captured it.
    let copied = Slot { wire_len: 1500, ..slot(FIRST, 100, 0) };
    let short_before = Slot { wire_len: 1500, ..slot(FIRST, 90, 0) };
    let mut slots = [slot(FIRST, 1000, 0), copied, slot(FIRST, 100, 0), slot(FIRST, 90, 0), short_before];
    transmitter.encapsulate(Instant::now(), &mut bytes, &mut slots);
    transmitter.send(&bytes, &mut slots, control.counters(), &|| false);
    transmitter.link.force(Some(88), None);
    let mut short = [slot(FIRST, 1000, 0)];
    transmitter.encapsulate(Instant::now(), &mut bytes, &mut short);
    transmitter.send(&bytes, &mut short, control.counters(), &|| false);
    let lengths: Vec<usize> = (0..6).map(|_| receive(&socket).0.len() - 8).collect();
    assert_eq!(lengths, [100, 100, 100, 90, 90, 80]);
    let counters = control.counters();
    assert_eq!((counters.truncated_packet_length.get(), counters.truncated_mtu.get()), (2, 1));
}

#[test]
fn a_path_that_carries_less_than_was_thought_costs_the_end_of_frames_and_no_frame() {
    let (socket, target) = receiver("127.0.0.1:0");
    let mut transmitter = Transmitter::open(&settings(target)).unwrap();
    let carried = transmitter.link.max_frame(transmitter.head.len());
    // As if the path had narrowed since the kernel was last asked; the kernel then refuses what is too long.
    transmitter.link.force(Some(u32::MAX), None);
    let mut bytes = vec![1; FIRST + 70_000];
    let control = Control::default();
    let mut slots = [slot(FIRST, 60, 0), slot(FIRST, 70_000, 0), slot(FIRST, 61, 0), slot(FIRST, 70_000, 1)];
    transmitter.encapsulate(Instant::now(), &mut bytes, &mut slots);
    // The last one waits until it is due; what was learned in between holds for it as well.
    transmitter.send(&bytes, &mut slots[..3], control.counters(), &|| false);
    transmitter.send(&bytes, &mut slots[3..], control.counters(), &|| false);
    let mut lengths: Vec<usize> = (0..4).map(|_| receive(&socket).0.len() - 8).collect();
    lengths.sort_unstable();
    assert_eq!(lengths, [60, 61, carried as usize, carried as usize]);
    assert_eq!((control.progress().sent, control.counters().truncated_mtu.get()), (4, 2));
}

#[test]
fn nothing_listening_is_counted_and_ends_nothing() {
    let (socket, target) = receiver("127.0.0.1:0");
    drop(socket);
    let mut transmitter = Transmitter::open(&TransmitSettings { method: Method::Batches, ..settings(target) }).unwrap();
    let control = Control::default();
    let mut bytes = [0; FIRST + 60];
    for _ in 0..10 {
        let mut slots = [slot(FIRST, 60, 0)];
        transmitter.encapsulate(Instant::now(), &mut bytes, &mut slots);
        transmitter.send(&bytes, &mut slots, control.counters(), &|| false);
    }
    let refused = control.counters().send_errors[SendFault::Refused as usize].get();
    assert!(refused > 0);
    assert_eq!(control.progress().sent + refused, 10);
}

#[test]
fn ports_in_use_are_passed_over() {
    let (_receiver, target) = receiver("127.0.0.1:0");
    // Other programs have ports as well: a range is looked for of which all are free but the one that is taken here.
    let is_free = |port: &u16| UdpSocket::bind(("0.0.0.0", *port)).is_ok();
    let (settings, taken) = (0..10)
        .map(|_| settings(target))
        .filter(|settings| (settings.source_port_base..).take(4).all(|port| is_free(&port)))
        .find_map(|settings| {
            let taken = UdpSocket::bind(("0.0.0.0", settings.source_port_base + 1)).ok()?;
            Some((settings, taken))
        })
        .expect("of ten ranges one has four free ports");
    let transmitter = Transmitter::open(&TransmitSettings { source_ports: 3, ..settings.clone() }).unwrap();
    let base = settings.source_port_base;
    assert_eq!(transmitter.source_ports(), [base, base + 2, base + 3]);
    drop(taken);
}

#[test]
fn too_few_free_ports_is_an_error_that_says_how_many_there_are() {
    let (_receiver, target) = receiver("127.0.0.1:0");
    let _taken = UdpSocket::bind("0.0.0.0:65535");
    let settings = TransmitSettings { source_port_base: 65_535, source_ports: 2, ..settings(target) };
    let error = Transmitter::open(&settings).err().unwrap();
    assert!(matches!(error, SendError::SourcePorts { wanted: 2, found: 0 | 1, .. }), "{error}");
    assert!(error.is_usage());
}

#[test]
fn bounds_of_settings_are_checked() {
    let (_receiver, target) = receiver("127.0.0.1:0");
    for wrong in [
        TransmitSettings { source_ports: 0, ..settings(target) },
        TransmitSettings { source_ports: 257, ..settings(target) },
        TransmitSettings { packet_length: Some(0), ..settings(target) },
    ] {
        assert!(matches!(Transmitter::open(&wrong), Err(SendError::Setting(_))));
    }
}

#[test]
fn each_refusal_has_its_fallback_and_errors_about_the_datagram_have_none() {
    let error = io::Error::from_raw_os_error;
    for (method, number, fallback) in [
        (Method::Trains, libc::EIO, Some(Method::Batches)),
        (Method::Trains, libc::EINVAL, Some(Method::Batches)),
        (Method::Trains, libc::ENOSYS, Some(Method::Single)),
        (Method::Batches, libc::ENOSYS, Some(Method::Single)),
        (Method::Batches, libc::EINVAL, None),
        (Method::Single, libc::ENOSYS, None),
        (Method::Trains, libc::ECONNREFUSED, None),
    ] {
        assert_eq!(method.fallback(&error(number)), fallback, "{method:?} {number}");
    }
}

#[test]
fn when_the_kernel_refuses_trains_their_datagrams_go_one_by_one() {
    let (socket, target) = receiver("127.0.0.1:0");
    // The kernel segments nothing on a socket without checksums; `open` knows that, so trains are forced here.
    let without = TransmitSettings { udp_checksum: false, ..settings(target) };
    let mut transmitter = Transmitter::open(&without).unwrap();
    transmitter.link.force(None, Some(Method::Trains));
    let control = Control::default();
    let mut slots = [slot(8, 60, 0), slot(76, 60, 0), slot(144, 10, 0)];
    let mut bytes: Vec<u8> = (0..=255).collect();
    transmitter.encapsulate(Instant::now(), &mut bytes, &mut slots);
    transmitter.send(&bytes, &mut slots, control.counters(), &|| false);
    for slot in slots {
        assert_eq!(receive(&socket).0[8..], bytes[slot.offset..slot.offset + slot.len as usize]);
    }
    assert_eq!(transmitter.method(), Method::Batches);
    assert_eq!((control.progress().sent, control.progress().send_errors), (3, 0));
}

#[test]
fn the_longest_datagram_fits_the_path_and_the_length_fields() {
    let (v4, v6) = ("192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:1".parse().unwrap());
    assert_eq!((max_datagram(v4, 1500), max_datagram(v6, 1500)), (1472, 1452));
    assert_eq!((max_datagram(v4, 65_536), max_datagram(v6, 65_536)), (65_507, 65_488));
    assert_eq!((max_datagram(v4, 36), max_datagram(v4, 0)), (0, 0));
}
