//! Chunks hold the same records as one would get one by one, however the bytes arrive.

use std::io::{Cursor, Read, Write};

use proptest::prelude::*;
use vxtap_capfile::pcapng::{InterfaceDescription, PacketHeader, SectionHeader};
use vxtap_capfile::{CaptureReader, Chunk, LinkType};

/// Time, length on the wire, frame.
type Packet = (u64, u32, Vec<u8>);

/// Gives at most `step` bytes at a time, as a pipe does.
struct Slow {
    bytes: Cursor<Vec<u8>>,
    step: usize,
}

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let end = buffer.len().min(self.step);
        self.bytes.read(&mut buffer[..end])
    }
}

fn one_by_one(file: Vec<u8>) -> (Vec<Packet>, Option<String>) {
    let mut reader = CaptureReader::from_reader(Cursor::new(file), "file").unwrap();
    let mut packets = Vec::new();
    while let Some(record) = reader.next_record() {
        match record {
            Ok(record) => packets.push((record.time_ns, record.wire_len, record.data.to_vec())),
            Err(error) => return (packets, Some(error.to_string())),
        }
    }
    (packets, None)
}

fn in_chunks(file: Vec<u8>, step: usize) -> (Vec<Packet>, Option<String>) {
    let mut reader = CaptureReader::from_reader(Slow { bytes: Cursor::new(file), step }, "file").unwrap();
    let mut packets = Vec::new();
    // Two chunks in turn, as with two threads.
    let mut chunks = [Chunk::default(), Chunk::default()];
    for turn in 0.. {
        let chunk = &mut chunks[turn % 2];
        match reader.next_chunk(chunk) {
            Ok(true) => {
                let records = chunk.records();
                packets.extend(records.map(|record| (record.time_ns, record.wire_len, record.data.to_vec())));
            }
            Ok(false) => return (packets, None),
            Err(error) => return (packets, Some(error.to_string())),
        }
    }
    unreachable!("the loop has no end of its own")
}

/// By windows, two of them read before the first is looked at.
fn by_windows(file: &[u8]) -> (Vec<Packet>, Option<String>) {
    let mut place = tempfile::NamedTempFile::new().unwrap();
    place.write_all(file).unwrap();
    let mut reader = CaptureReader::open(place.path()).unwrap();
    let name = reader.name().to_owned();
    let mut windows = reader.windows().unwrap();
    let mut packets = Vec::new();
    let mut take = |chunk: &Chunk| {
        let records = chunk.records();
        packets.extend(records.map(|record| (record.time_ns, record.wire_len, record.data.to_vec())));
    };
    let error = loop {
        let ahead: Vec<_> = windows.by_ref().take(2).collect();
        let mut chunks: Vec<Chunk> = ahead.iter().map(|_| Chunk::default()).collect();
        for (window, chunk) in ahead.iter().zip(&mut chunks).rev() {
            chunk.read(window);
        }
        let found = chunks.iter_mut().try_for_each(|chunk| {
            reader.records_in(chunk)?;
            take(chunk);
            Ok(())
        });
        if found.is_err() || ahead.is_empty() {
            break found.and_then(|()| reader.next_chunk(&mut Chunk::default()).map(|more| assert!(!more))).err();
        }
    };
    (packets, error.map(|error: vxtap_capfile::ReadError| error.to_string().replace(&name, "file")))
}

fn classic(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
    for (number, packet) in packets.iter().enumerate() {
        for word in [number as u32, 7, packet.len() as u32, packet.len() as u32 + 1] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

fn pcapng(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    SectionHeader { hardware: "", os: "", application: "" }.append_to(&mut file);
    InterfaceDescription { name: "a", description: "", link_type: LinkType::ETHERNET }.append_to(&mut file);
    for (number, packet) in packets.iter().enumerate() {
        PacketHeader { interface: 0, time_ns: number as u64, wire_len: packet.len() as u32 }
            .append_to(&mut file, packet);
    }
    file
}

#[test]
fn a_file_of_many_windows_comes_whole() {
    let packets: Vec<Vec<u8>> = (0..3000usize).map(|number| vec![number as u8; number * 37 % 9001]).collect();
    for file in [classic(&packets), pcapng(&packets)] {
        let expected = one_by_one(file.clone());
        assert_eq!(expected.0.len(), packets.len());
        assert_eq!(by_windows(&file), expected);
        assert_eq!(in_chunks(file, usize::MAX), expected);
    }
}

#[test]
fn a_record_larger_than_the_window_comes_in_a_chunk() {
    let packets = vec![vec![1; 100], vec![2; 262_144], vec![3; 100]];
    let expected = one_by_one(classic(&packets));
    assert_eq!(expected.0.iter().map(|packet| packet.2.len()).collect::<Vec<_>>(), [100, 262_144, 100]);
    assert_eq!(in_chunks(classic(&packets), usize::MAX), expected);
    assert_eq!(by_windows(&classic(&packets)), expected);
}

#[test]
fn a_block_larger_than_a_window_comes_by_windows() {
    let mut file = pcapng(&[vec![1; 100]]);
    // A block of a type that nobody knows, with 3 MiB in it.
    let length = (3_u32 << 20).to_le_bytes();
    file.extend(0x7fff_0000_u32.to_le_bytes());
    file.extend(length);
    file.resize(file.len() + (3 << 20) - 12, 0);
    file.extend(length);
    PacketHeader { interface: 0, time_ns: 2, wire_len: 100 }.append_to(&mut file, &[2; 100]);
    let expected = one_by_one(file.clone());
    assert_eq!(expected.0.len(), 2);
    assert_eq!(by_windows(&file), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunks_and_single_records_agree_also_on_cut_files_and_slow_sources(
        lengths in proptest::collection::vec(0usize..3000, 0..200),
        cut in any::<prop::sample::Index>(),
        step in 1usize..70_000,
        newer in any::<bool>(),
    ) {
        let packets: Vec<Vec<u8>> = lengths.iter().map(|length| vec![*length as u8; *length]).collect();
        let mut file = if newer { pcapng(&packets) } else { classic(&packets) };
        // Whole files as well, and never less than what tells the format.
        let end = cut.index(file.len() * 2).max(28);
        file.truncate(end);
        let expected = one_by_one(file.clone());
        prop_assert_eq!(by_windows(&file), expected.clone());
        prop_assert_eq!(in_chunks(file, step), expected);
    }
}
