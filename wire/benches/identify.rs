//! What one frame costs from its bytes to its worker and flow key, by kind of frame: `cargo bench -p vxtap-wire`.
//!
//! Nanoseconds of one thread with the frames in cache: the best and the median of [`ROUNDS`] rounds. The columns are the
//! view alone; view, steer hash and flow key; and etherparse's slices of the same frame, to compare with.

use std::hint::black_box;
use std::time::Instant;

use etherparse::{PacketBuilder, SlicedPacket};
use vxtap_wire::vxlan::{self, Vni};
use vxtap_wire::{FlowKey, FrameView, NetworkId, SteerHash};

const ROUNDS: usize = 41;
const FRAMES: usize = 64;
const PASSES: usize = 800;

/// Makes frame number `n` of a kind.
type Kind = fn(usize) -> Vec<u8>;

fn main() {
    println!("{:<20} {:>17} {:>17} {:>17}", "ns per frame", "view", "view, hash, key", "etherparse");
    println!("{:<20} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "best", "median", "best", "median", "best", "median");
    let kinds: [(&str, Kind); 8] = [
        ("TCP, IPv4", tcp_ipv4),
        ("UDP, IPv4", udp_ipv4),
        ("TCP, IPv6", tcp_ipv6),
        ("TCP, IPv4, one tag", tagged),
        ("ICMP, IPv4", icmp_ipv4),
        ("fragment, IPv4", fragment),
        ("TCP in VXLAN", nested),
        ("mixed", mixed),
    ];
    for (name, frame) in kinds {
        let frames: Vec<_> = (0..FRAMES).map(frame).collect();
        let (view, view_median) = measure(&frames, |frame| {
            black_box(FrameView::parse(black_box(frame)).five_tuple.is_some());
        });
        let hash = SteerHash::new(0x5eed);
        let (all, all_median) = measure(&frames, |frame| {
            if let Some(tuple) = &FrameView::parse(black_box(frame)).five_tuple {
                black_box((hash.owner(tuple, 4), FlowKey::new(NetworkId(7), tuple)));
            }
        });
        let (slices, slices_median) = measure(&frames, |frame| {
            black_box(SlicedPacket::from_ethernet(black_box(frame)).is_ok_and(|slices| slices.net.is_some()));
        });
        print!("{name:<20} {view:>8.1} {view_median:>8.1} {all:>8.1} {all_median:>8.1}");
        println!(" {slices:>8.1} {slices_median:>8.1}");
    }
}

/// Best and median time of `each` in nanoseconds.
fn measure(frames: &[Vec<u8>], mut each: impl FnMut(&[u8])) -> (f64, f64) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..PASSES {
                for frame in frames {
                    each(frame);
                }
            }
            start.elapsed().as_nanos() as f64 / (frames.len() * PASSES) as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[0], rounds[ROUNDS / 2])
}

fn ethernet() -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
}

/// Addresses and ports of flow `n`.
fn flow(n: usize) -> ([u8; 4], [u8; 4], u16, u16) {
    let [high, low] = (n as u16).to_be_bytes();
    ([10, 0, high, low], [10, 1, low, high], 32_768 + n as u16, 443)
}

/// The frame that a builder's last step makes, with 200 bytes of payload.
macro_rules! frame {
    ($step:expr) => {{
        let mut frame = Vec::new();
        $step.write(&mut frame, &[0; 200]).expect("writing to memory does not fail");
        frame
    }};
}

fn tcp_ipv4(n: usize) -> Vec<u8> {
    let (source, destination, source_port, destination_port) = flow(n);
    frame!(ethernet().ipv4(source, destination, 64).tcp(source_port, destination_port, 1, 1000).ack(2))
}

fn udp_ipv4(n: usize) -> Vec<u8> {
    let (source, destination, source_port, destination_port) = flow(n);
    frame!(ethernet().ipv4(source, destination, 64).udp(source_port, destination_port))
}

fn tcp_ipv6(n: usize) -> Vec<u8> {
    let (source, destination, source_port, destination_port) = flow(n);
    let address = |v4: [u8; 4]| std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets();
    frame!(ethernet().ipv6(address(source), address(destination), 64).tcp(source_port, destination_port, 1, 1000))
}

fn tagged(n: usize) -> Vec<u8> {
    let (source, destination, source_port, destination_port) = flow(n);
    let vlan = etherparse::VlanId::try_new(42).expect("42 fits 12 bits");
    let step = ethernet().single_vlan(vlan).ipv4(source, destination, 64);
    frame!(step.tcp(source_port, destination_port, 1, 1000))
}

fn icmp_ipv4(n: usize) -> Vec<u8> {
    let (source, destination, id, _) = flow(n);
    frame!(ethernet().ipv4(source, destination, 64).icmpv4_echo_request(id, 1))
}

fn fragment(n: usize) -> Vec<u8> {
    let mut frame = udp_ipv4(n);
    frame[20] |= 0x20;
    frame
}

fn nested(n: usize) -> Vec<u8> {
    let inner = [&vxlan::header(Vni::default())[..], &tcp_ipv4(n)].concat();
    let mut frame = Vec::new();
    let step = ethernet().ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).udp(50_000, vxlan::PORT);
    step.write(&mut frame, &inner).expect("writing to memory does not fail");
    frame
}

/// As data centres have it: mostly TCP over IPv4, all kinds in unpredictable order.
fn mixed(n: usize) -> Vec<u8> {
    let dice = (n as u32).wrapping_mul(0x9E37_79B1) >> 24;
    match dice {
        0..150 => tcp_ipv4(n),
        150..190 => udp_ipv4(n),
        190..220 => tcp_ipv6(n),
        220..235 => tagged(n),
        235..245 => icmp_ipv4(n),
        245..250 => fragment(n),
        _ => nested(n),
    }
}
