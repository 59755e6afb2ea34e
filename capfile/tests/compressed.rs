//! What is compressed with zstd is read as what was packed.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use vxtap_capfile::pcapng::{InterfaceDescription, PacketHeader, SectionHeader};
use vxtap_capfile::{CaptureReader, Chunk, Fault, LinkType, OpenError, ReadError};

/// A pcapng capture of so many records of 1,000 bytes.
fn capture(records: u64) -> Vec<u8> {
    let mut file = Vec::new();
    SectionHeader { hardware: "", os: "", application: "tests" }.append_to(&mut file);
    let interface = InterfaceDescription { link_type: LinkType::ETHERNET, name: "a", description: "" };
    interface.append_to(&mut file);
    for number in 0..records {
        let header = PacketHeader { interface: 0, time_ns: number, wire_len: 1_000 };
        header.append_to(&mut file, &[number as u8; 1_000]);
    }
    file
}

/// Compressed as the collector does: independent frames, and one at the end that decoders skip.
fn compressed(file: &[u8], frame_bytes: usize) -> Vec<u8> {
    let frames = file.chunks(frame_bytes).flat_map(|frame| zstd::bulk::compress(frame, 3).unwrap());
    frames.chain(skippable(b"lengths")).collect()
}

fn skippable(contents: &[u8]) -> Vec<u8> {
    [&0x184d_2a5e_u32.to_le_bytes()[..], &(contents.len() as u32).to_le_bytes(), contents].concat()
}

/// The times of the records, how often chunks were given, and what was wrong.
fn times(mut reader: CaptureReader) -> (Vec<u64>, Option<ReadError>) {
    assert!(reader.windows().is_none(), "it can only be read from its beginning on");
    let (mut times, mut chunk) = (Vec::new(), Chunk::default());
    loop {
        match reader.next_chunk(&mut chunk) {
            Ok(false) => return (times, None),
            Ok(true) => times.extend(chunk.records().map(|record| {
                assert!(record.data.len() == 1_000 && record.data.iter().all(|byte| *byte == record.time_ns as u8));
                record.time_ns
            })),
            Err(error) => return (times, Some(error)),
        }
    }
}

fn opened(path: &Path, bytes: &[u8]) -> CaptureReader {
    fs::File::create(path).unwrap().write_all(bytes).unwrap();
    CaptureReader::open(path).unwrap()
}

#[test]
fn a_compressed_capture_gives_the_records_of_what_was_packed_from_files_and_pipes() {
    let place = tempfile::tempdir().unwrap();
    let all: Vec<u64> = (0..2_000).collect();
    let file = capture(2_000);
    for packed in [
        compressed(&file, 1 << 20),
        compressed(&file, 1_000),
        [skippable(b"first"), compressed(&file, 100_000)].concat(),
        zstd::encode_all(&file[..], 1).unwrap(),
    ] {
        assert!(packed.len() < file.len() / 2);
        let from_file = opened(&place.path().join("a.pcapng.zst"), &packed);
        assert_eq!(from_file.size(), Some(packed.len() as u64));
        let from_pipe = CaptureReader::from_reader(Cursor::new(packed), "pipe").unwrap();
        for reader in [from_file, from_pipe] {
            let (found, error) = times(reader);
            assert!(found == all && error.is_none(), "{} records, {error:?}", found.len());
        }
    }
}

#[test]
fn of_a_compressed_capture_that_is_cut_or_damaged_what_is_before_is_read_and_the_rest_told() {
    let packed = compressed(&capture(2_000), 100_000);
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a.zst");
    let second = zstd::zstd_safe::find_frame_compressed_size(&packed).unwrap();
    let mut damaged = packed.clone();
    // The descriptor of a frame behind several others.
    let at = second + zstd::zstd_safe::find_frame_compressed_size(&packed[second..]).unwrap();
    damaged[at] ^= 1;
    for (what, bytes) in [("cut", &packed[..at + 20]), ("damaged", &damaged)] {
        let (found, error) = times(opened(&path, bytes));
        assert!((150..200).contains(&found.len()), "{what}: {}", found.len());
        let error = error.unwrap();
        assert!(matches!(error.fault, Fault::Packed(_)), "{what}: {error:?}");
        assert!(error.to_string().contains("a.zst' cannot be read beyond record "), "{error}");
        assert!(error.to_string().contains(": it cannot be unpacked: "), "{error}");
    }
    // Whole frames, whose last record goes on in one that is not there.
    let (found, error) = times(opened(&path, &packed[..at]));
    assert!((150..200).contains(&found.len()) && matches!(error.unwrap().fault, Fault::Cut { .. }));
}

#[test]
fn what_was_packed_is_refused_as_it_would_be_unpacked() {
    let refused = |bytes: &[u8]| CaptureReader::from_reader(Cursor::new(bytes.to_vec()), "x").unwrap_err();
    let twice = compressed(&compressed(&capture(1), 1 << 20), 1 << 20);
    assert_eq!(refused(&twice).to_string(), "'x' is compressed with zstd a second time: unpack it first");
    assert_eq!(refused(&compressed(b"GET", 9)).to_string(), "'x' is not a capture file: it has only 3 bytes");
    assert!(matches!(refused(&compressed(&[7; 50], 99)), OpenError::UnknownFormat { begins: [7, 7, 7, 7], .. }));
    assert!(matches!(refused(&compressed(&capture(1), 99)[..9]), OpenError::Read { .. }));
}
