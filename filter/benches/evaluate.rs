//! What a filter costs for one frame: `cargo bench -p vxtap-filter`.
//!
//! Nanoseconds of one thread with the frames in cache: the best and the median of [`ROUNDS`] rounds, over frames that the
//! filter wants, frames of the same kind that it does not want, and frames of several kinds.

use std::hint::black_box;
use std::time::Instant;

use vxtap_filter::{Filter, Packet, Tunnel};

const ROUNDS: usize = 41;
const FRAMES: usize = 64;
const PASSES: usize = 800;

fn main() {
    println!("{:<52} {:>13} {:>13} {:>13}", "ns per frame: best, median", "wanted", "not wanted", "mixed");
    let filters = [
        "",
        "ip",
        "tcp port 443",
        "port 443",
        "host 10.1.0.1",
        "net 10.0.0.0/8 and tcp",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
        "host 10.0.0.1 or 10.0.0.2 or 10.0.0.3 or 10.0.0.4 or 10.1.0.1",
        "vni 7 and tcp port 443",
        "vlan and tcp port 443",
    ];
    for text in filters {
        let filter = Filter::parse(text).expect("a filter");
        let wanted: Vec<_> = (0..FRAMES).map(|n| frame(n, Kind::Tcp, 443)).collect();
        let other: Vec<_> = (0..FRAMES).map(|n| frame(n, Kind::Tcp, 80)).collect();
        let kinds = [Kind::Tcp, Kind::Udp, Kind::Tcp6, Kind::Tagged, Kind::Arp];
        let mixed: Vec<_> =
            (0..FRAMES).map(|n| frame(n, kinds[n * 7 % 5], if n % 3 == 0 { 443 } else { 80 })).collect();
        print!("{text:<52.52}");
        for frames in [wanted, other, mixed] {
            let (best, median) = measure(&filter, &frames);
            print!(" {best:>6.1} {median:>6.1}");
        }
        println!();
    }
    let text: Vec<String> = (0..200).map(|n| format!("host 10.2.{}.{n}", n % 7)).collect();
    let start = Instant::now();
    black_box(Filter::parse(&text.join(" or ")).expect("a filter"));
    println!("parsing and compiling a list of 200 hosts: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
}

fn measure(filter: &Filter, frames: &[Vec<u8>]) -> (f64, f64) {
    let tunnel = Tunnel { vni: Some(7), ..Tunnel::default() };
    let packets: Vec<_> = frames
        .iter()
        .map(|frame| Packet { frame, wire_len: frame.len() as u32, tunnel, ..Packet::default() })
        .collect();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..PASSES {
                for packet in &packets {
                    black_box(filter.matches(black_box(packet)));
                }
            }
            start.elapsed().as_nanos() as f64 / (frames.len() * PASSES) as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[0], rounds[ROUNDS / 2])
}

#[derive(Clone, Copy)]
enum Kind {
    Tcp,
    Udp,
    Tcp6,
    Tagged,
    Arp,
}

/// Frame number `n` of a kind, to `port`, with 200 bytes of payload.
fn frame(n: usize, kind: Kind, port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if let Kind::Tagged = kind {
        frame.extend([0x81, 0x00, 0x00, 0x2a]);
    }
    let number = n as u8;
    match kind {
        Kind::Tcp | Kind::Udp | Kind::Tagged => {
            let protocol = if let Kind::Udp = kind { 17 } else { 6 };
            frame.extend([0x08, 0x00, 0x45, 0, 1, 0, 0, number, 0x40, 0, 64, protocol, 0, 0]);
            frame.extend([10, 0, 0, number, 10, 1, 0, 1]);
        }
        Kind::Tcp6 => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 220, 6, 64]);
            frame.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, number]);
            frame.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        }
        Kind::Arp => frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 1, 10, 0, 0, number]),
    }
    frame.extend((32_768 + u16::from(number)).to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0, 0, 0, 0, 0]);
    frame.extend([0; 200]);
    frame
}
