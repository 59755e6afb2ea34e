//! Programs are judged by the kernel: attached to a local socket, they decide on each datagram before its send is over.

use std::os::unix::net::UnixDatagram;

use etherparse::PacketBuilder;
use socket2::{SockFilter, SockRef};

use super::*;

const COLLECTOR_V4: &str = "198.51.100.9:4789";
const COLLECTOR_V6: &str = "[2001:db8::9]:4789";

fn guard() -> LoopGuard {
    LoopGuard {
        targets: vec![
            COLLECTOR_V4.parse().unwrap(),
            COLLECTOR_V6.parse().unwrap(),
            "192.0.2.200:6081".parse().unwrap(),
        ],
        services: vec!["127.0.0.1:9789".parse().unwrap(), "[::1]:9789".parse().unwrap()],
        far_ends: Vec::new(),
    }
}

/// Which of `frames` the kernel takes by the program of `guard`.
fn taken(guard: &LoopGuard, program: Option<&[BpfInstruction]>, frames: &[Vec<u8>]) -> Vec<bool> {
    let (sender, receiver) = UnixDatagram::pair().unwrap();
    receiver.set_nonblocking(true).unwrap();
    let program = guard.program(Wanted { way: Way::Both, is_loopback: false, program });
    let program: Vec<_> = program.iter().map(|one| SockFilter::new(one.code, one.jt, one.jf, one.k)).collect();
    SockRef::from(&receiver).attach_filter(&program).unwrap();
    let take = |frame: &Vec<u8>| {
        sender.send(frame).unwrap();
        let mut arrived = vec![0; 2000];
        match receiver.recv(&mut arrived) {
            Ok(len) => {
                assert_eq!(&arrived[..len], frame.as_slice(), "it was cut");
                true
            }
            Err(_) => false,
        }
    };
    frames.iter().map(take).collect()
}

fn ip4(text: &str) -> [u8; 4] {
    text.parse::<std::net::Ipv4Addr>().unwrap().octets()
}

fn ip6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

fn udp(from: &str, to: &str, to_port: u16) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let builder = if from.contains(':') {
        ethernet.ipv6(ip6(from), ip6(to), 64).udp(50_000, to_port)
    } else {
        ethernet.ipv4(ip4(from), ip4(to), 64).udp(50_000, to_port)
    };
    let mut frame = Vec::new();
    builder.write(&mut frame, &[7; 30]).unwrap();
    frame
}

fn tcp(from: &str, from_port: u16, to: &str, to_port: u16) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let builder = if from.contains(':') {
        ethernet.ipv6(ip6(from), ip6(to), 64).tcp(from_port, to_port, 1, 1)
    } else {
        ethernet.ipv4(ip4(from), ip4(to), 64).tcp(from_port, to_port, 1, 1)
    };
    let mut frame = Vec::new();
    builder.write(&mut frame, &[7; 30]).unwrap();
    frame
}

fn tagged(frame: &[u8], tags: &[[u8; 2]]) -> Vec<u8> {
    let tags: Vec<u8> = tags.iter().flat_map(|kind| [kind[0], kind[1], 0, 7]).collect();
    [&frame[..12], &tags, &frame[12..]].concat()
}

/// A message of this type and code about the packet in `frame`.
fn icmp_about(kind: u8, frame: &[u8]) -> Vec<u8> {
    let quoted = &frame[14..];
    let mut message = Vec::new();
    let ethernet = PacketBuilder::ethernet2([4; 6], [2; 6]);
    if quoted[0] >> 4 == 4 {
        let ip = ethernet.ipv4(ip4("192.0.2.254"), ip4("192.0.2.1"), 64);
        ip.icmpv4_raw(kind, 3, [0; 4]).write(&mut message, quoted).unwrap();
    } else {
        let ip = ethernet.ipv6(ip6("2001:db8::fe"), ip6("2001:db8::1"), 64);
        ip.icmpv6_raw(kind, 4, [0; 4]).write(&mut message, quoted).unwrap();
    }
    message
}

#[test]
fn own_tunnels_errors_about_them_and_services_are_refused() {
    let v4 = udp("192.0.2.1", "198.51.100.9", 4789);
    let v6 = udp("2001:db8::1", "2001:db8::9", 4789);
    let mut with_options = v4.clone();
    with_options[14] = 0x46;
    with_options.splice(34..34, [1, 1, 1, 0]);
    let refused = [
        v4.clone(),
        v6.clone(),
        with_options,
        udp("192.0.2.1", "192.0.2.200", 6081),
        tagged(&v4, &[[0x81, 0]]),
        tagged(&v4, &[[0x88, 0xa8], [0x81, 0]]),
        tagged(&v6, &[[0x91, 0], [0x81, 0]]),
        icmp_about(3, &v4),
        icmp_about(11, &v4),
        icmp_about(1, &v6),
        tcp("127.0.0.1", 40_000, "127.0.0.1", 9789),
        tcp("127.0.0.1", 9789, "127.0.0.1", 40_000),
        tcp("::1", 40_000, "::1", 9789),
        tcp("::1", 9789, "::1", 40_000),
    ];
    assert_eq!(taken(&guard(), None, &refused), [false; 14]);
}

#[test]
fn all_from_and_to_the_far_end_of_a_tunnel_is_refused_fragments_as_well_and_nothing_else() {
    let far_ends = ["203.0.113.9", "2001:db8:9::1"].map(|address| address.parse().unwrap()).to_vec();
    let guard = LoopGuard { far_ends, ..guard() };
    let v4 = udp("192.0.2.1", "203.0.113.9", 51_820);
    let v6 = udp("2001:db8::1", "2001:db8:9::1", 51_820);
    let mut fragment = v4.clone();
    fragment[20..22].copy_from_slice(&[0x00, 0x10]);
    let refused = [
        v4.clone(),
        v6.clone(),
        fragment,
        udp("203.0.113.9", "192.0.2.1", 51_820),
        udp("2001:db8:9::1", "2001:db8::1", 51_820),
        tcp("192.0.2.1", 40_000, "203.0.113.9", 443),
        tagged(&v4, &[[0x88, 0xa8], [0x81, 0]]),
        tagged(&v6, &[[0x81, 0]]),
        udp("192.0.2.1", "198.51.100.9", 4789),
    ];
    assert_eq!(taken(&guard, None, &refused), [false; 9]);
    let others = [
        udp("192.0.2.1", "203.0.113.8", 51_820),
        udp("2001:db8::1", "2001:db8:9::2", 51_820),
        udp("2001:db8:0:1::", "2001:db8::2", 51_820),
        v4[..33].to_vec(),
        v6[..53].to_vec(),
    ];
    assert_eq!(taken(&guard, None, &others), [true; 5]);
}

#[test]
fn what_only_looks_like_them_is_taken() {
    let v4 = udp("192.0.2.1", "198.51.100.9", 4789);
    let mut fragment = v4.clone();
    // Its payload has the port where the header would.
    fragment[20..22].copy_from_slice(&[0x00, 0x10]);
    let mut no_ports = v4[..34].to_vec();
    no_ports.push(0);
    let frames = [
        udp("198.51.100.9", "192.0.2.1", 4789),
        udp("192.0.2.1", "198.51.100.9", 53),
        udp("192.0.2.1", "198.51.100.8", 4789),
        udp("192.0.2.1", "192.0.2.200", 4789),
        udp("2001:db8::1", "2001:db8::8", 4789),
        udp("2001:db8::9", "2001:db8::1", 4789),
        tcp("192.0.2.1", 4789, "198.51.100.9", 4789),
        tcp("127.0.0.1", 9788, "127.0.0.1", 40_000),
        icmp_about(3, &udp("192.0.2.1", "198.51.100.9", 53)),
        icmp_about(8, &v4),
        icmp_about(128, &udp("2001:db8::1", "2001:db8::9", 4789)),
        fragment,
        no_ports,
        v4[..14].to_vec(),
        v4[..16].to_vec(),
        tagged(&v4, &[[0x81, 0], [0x81, 0], [0x81, 0]]),
        vec![0xff; 60],
    ];
    let taken = taken(&guard(), None, &frames);
    for (index, taken) in taken.iter().enumerate() {
        assert!(taken, "frame {index} was refused");
    }
}

#[test]
fn a_program_decides_on_what_the_guard_lets_through() {
    let dns = vxtap_filter::Filter::parse("udp port 53").unwrap().program(u32::MAX).unwrap();
    let frames = [
        udp("192.0.2.1", "192.0.2.2", 53),
        udp("2001:db8::1", "2001:db8::2", 53),
        udp("192.0.2.1", "192.0.2.2", 54),
        udp("192.0.2.1", "198.51.100.9", 4789),
    ];
    assert_eq!(taken(&guard(), Some(&dns), &frames), [true, true, false, false]);
    let all = vxtap_filter::Filter::parse("").unwrap().program(u32::MAX).unwrap();
    assert_eq!(taken(&guard(), Some(&all), &frames), [true, true, true, false]);
}

#[test]
fn sixteen_targets_make_a_program_that_the_kernel_takes() {
    let targets = (0..8_u8).flat_map(|n| [format!("10.0.0.{n}:4789"), format!("[2001:db8::{n:x}]:6081")]);
    let targets = targets.map(|target| target.parse().unwrap()).collect();
    let guard = LoopGuard { targets, ..LoopGuard::default() };
    let frames = [
        udp("192.0.2.1", "10.0.0.7", 4789),
        udp("2001:db8:1::1", "2001:db8::7", 6081),
        tagged(&udp("192.0.2.1", "10.0.0.0", 4789), &[[0x88, 0xa8], [0x81, 0]]),
        udp("192.0.2.1", "10.0.0.8", 4789),
    ];
    assert_eq!(taken(&guard, None, &frames), [false, false, false, true]);
}
