//! What telling duplicates costs for one packet: `cargo bench -p vxtap-analyzers --bench dedup`.
//!
//! Nanoseconds of one thread, the best and the median of [`ROUNDS`] rounds over [`PACKETS`] different packets of 100 payload bytes,
//! in batches. Parsing is in every line, as in the collector, where frames are parsed right before: what a line costs more than the first
//! is what telling duplicates costs. No packet of a round before is in the window.

use std::hint::black_box;
use std::time::Instant;

use vxtap_analyzers::dedup::{DedupMode, DedupSettings, Deduplicator};
use vxtap_analyzers::{BATCH_MAX, PacketMeta, StreamId};
use vxtap_wire::{FrameView, NetworkId};

const ROUNDS: usize = 21;
const PACKETS: usize = 40_000;

fn main() {
    println!("{:<52} {:>13}", "ns per packet: best, median", "");
    let frames: Vec<Vec<u8>> = (0..PACKETS).map(|number| frame(number as u32)).collect();
    let measure = |name: &str, mode, streams: u32| {
        let mut deduplicator = Deduplicator::new(DedupSettings { mode, ..DedupSettings::default() });
        let mut rounds: Vec<f64> = (0..ROUNDS as u64)
            .map(|round| {
                // Each batch by one stream, then by the other.
                let start = Instant::now();
                for (number, part) in frames.chunks(BATCH_MAX).enumerate() {
                    for stream in 0..streams {
                        let time_ns = round * 10_000_000_000 + number as u64 * 100_000 + u64::from(stream);
                        let meta = PacketMeta { time_ns, stream: StreamId(stream), network: NetworkId(7) };
                        let batch: Vec<_> = part.iter().map(|frame| (meta, FrameView::parse(frame))).collect();
                        black_box(deduplicator.duplicates(black_box(&batch)));
                    }
                }
                start.elapsed().as_nanos() as f64 / (PACKETS as f64 * f64::from(streams))
            })
            .collect();
        rounds.sort_by(f64::total_cmp);
        println!("{name:<52} {:>6.1} {:>6.1}", rounds[0], rounds[ROUNDS / 2]);
        deduplicator.total()
    };
    measure("off: parsing alone", DedupMode::Off, 2);
    measure("on, one stream", DedupMode::On, 1);
    let total = measure("on, two streams, every packet twice", DedupMode::On, 2);
    assert!(total >= (PACKETS * ROUNDS - BATCH_MAX) as u64, "{total} duplicates are too few");
    measure("window, one stream", DedupMode::Window, 1);
}

/// TCP with time stamps over IPv4.
fn frame(number: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 152];
    frame.extend((number as u16).to_be_bytes());
    frame.extend([0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 1, (number >> 8) as u8, number as u8, 0x9c, 0x40, 1, 187]);
    frame.extend(number.to_be_bytes());
    frame.extend([0, 0, 0, 2, 0x80, 0x10, 4, 0, 0, 0, 0, 0, 1, 1, 8, 10]);
    frame.extend(number.to_be_bytes());
    frame.extend([0; 104]);
    frame
}
