//! Mirror streams that nobody knows, a million a second: random VNIs from random sources.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use tempfile::TempDir;
use vxtap_tests::datagram::{Peer, udp_frame, vxlan};

use super::{Read, read};

/// Datagrams of the flood, each of a stream of its own.
const FLOOD: u32 = 300_000;
/// Among so many of them is one of the stream that is known.
const EVERY: u32 = 250;
const KNOWN_VNI: u32 = 4242;
/// What a flood may add to the memory that the same without it takes.
const GROWTH_MAX: u64 = 100 << 20;
/// What the index of a capture may take of memory.
const INDEX_MAX: u64 = 150 << 20;

/// Writes outer frames, one a microsecond: the flood, if it is wanted, and the stream that is known.
fn write(path: &Path, flood: bool) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    // Magic of nanosecond times, version 2.4, time zone, accuracy, snap length, Ethernet.
    for field in [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 1 << 18, 1] {
        file.write_all(&field.to_le_bytes()).unwrap();
    }
    let inner = udp_frame(Peer::v4(1, 1000), Peer::v4(2, 2000), b"x");
    let mut random = 1_u64;
    for number in 0..FLOOD {
        if number % EVERY == 0 {
            // A flow of its own each time would hide that one is missing.
            let payload = udp_frame(Peer::v4(7, 7), Peer::v4(8, 8), &number.to_be_bytes());
            record(&mut file, number, &outer([10, 0, 0, 7], &vxlan(KNOWN_VNI, &payload)));
        }
        if flood {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let [a, b, c, d, vni @ ..] = random.to_be_bytes();
            // No source of 10.0.0.0/8, where the known one is.
            let source = [a | 128, b, c, d];
            record(&mut file, number, &outer(source, &vxlan(u32::from_be_bytes(vni) >> 8, &inner)));
        }
    }
    file.flush().unwrap();
}

fn record(file: &mut impl std::io::Write, micros: u32, frame: &[u8]) {
    let length = frame.len() as u32;
    for field in [1_780_000_000 + micros / 1_000_000, micros % 1_000_000 * 1000, length, length] {
        file.write_all(&field.to_le_bytes()).unwrap();
    }
    file.write_all(frame).unwrap();
}

/// The Ethernet frame of a VXLAN datagram from `source`.
fn outer(source: [u8; 4], datagram: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0]);
    frame.extend((28 + datagram.len() as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    frame.extend(source);
    frame.extend([10, 99, 0, 1]);
    frame.extend(50_000_u16.to_be_bytes());
    frame.extend(4789_u16.to_be_bytes());
    frame.extend((8 + datagram.len() as u16).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(datagram);
    frame
}

/// What `read` leaves of the flood with `arguments`, and how much more memory it takes than without the flood.
fn flooded(arguments: &[&str]) -> (Read, u64) {
    let scratch = TempDir::new().unwrap();
    let (quiet, flood) = (scratch.path().join("quiet.pcap"), scratch.path().join("flood.pcap"));
    write(&quiet, false);
    write(&flood, true);
    let before = read(&quiet, arguments).peak_memory;
    let during = read(&flood, arguments);
    let growth = during.peak_memory.saturating_sub(before);
    println!("{} MiB without the flood, {} MiB more with it, in {:?}", before >> 20, growth >> 20, during.took);
    (during, growth)
}

/// Every packet of the known stream is in the capture, once and in order.
fn known_is_whole(read: &Read) {
    let known = read.records.iter().filter(|record| record.interface.starts_with("vni 4242 from 10.0.0.7"));
    let numbers: Vec<u32> = known.map(|record| u32::from_be_bytes(*record.data.last_chunk().unwrap())).collect();
    assert_eq!(numbers, (0..FLOOD).step_by(EVERY as usize).collect::<Vec<_>>());
}

#[test]
fn a_flood_of_unknown_streams_waits_outside_and_takes_nothing_from_one_that_is_let_in() {
    let (read, growth) = flooded(&["--accept", "vni 4242 from 10.0.0.0/8", "--workers", "2"]);
    assert!(growth < GROWTH_MAX, "{growth} bytes more");
    let (ledger, known) = (&read.summary.ledger, u64::from(FLOOD / EVERY));
    assert_eq!((ledger.received, ledger.analysed, ledger.captured), (u64::from(FLOOD) + known, known, known));
    assert_eq!(ledger.dropped, [("not_admitted".to_owned(), u64::from(FLOOD))].into());
    assert_eq!(ledger.flows, 1);
    known_is_whole(&read);
}

#[test]
fn a_flood_of_streams_that_are_let_in_is_bounded_as_well() {
    // As few flows as there may be: their memory is bounded by another setting. The capture's index has bounds of its own as well, and
    // every flow of the flood in it.
    let (read, growth) = flooded(&["--flow-max", "1000", "--log-events", "stats"]);
    assert!(growth < GROWTH_MAX + INDEX_MAX, "{growth} bytes more");
    let (ledger, all) = (&read.summary.ledger, u64::from(FLOOD + FLOOD / EVERY));
    assert_eq!((ledger.received, ledger.analysed, ledger.captured), (all, all, all));
    known_is_whole(&read);
}
