//! A file whose own pages are read gives the same as one that is copied, and whoever wants to write to it is let in.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::NamedTempFile;
use vxtap_capfile::pcapng::{InterfaceDescription, PacketHeader, SectionHeader};
use vxtap_capfile::{CaptureReader, Chunk, LinkType};

/// Time, length on the wire, frame.
type Packet = (u64, u32, Vec<u8>);

/// How soon a writer is let in, when the reader goes on. The kernel would have it wait 45 seconds.
const SOON: Duration = Duration::from_secs(10);

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

/// Some 13 MB, so that records straddle the end of every mapping.
fn many_packets() -> Vec<Vec<u8>> {
    (0..3000usize).map(|number| vec![number as u8; number * 37 % 9001]).collect()
}

fn file_of(bytes: &[u8]) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    // Not by its handle, which is open for as long as the file is wanted.
    fs::write(file.path(), bytes).unwrap();
    let path = file.into_temp_path();
    let read_only = File::open(&path).unwrap();
    NamedTempFile::from_parts(read_only, path)
}

fn take(chunk: &Chunk, packets: &mut Vec<Packet>) {
    packets.extend(chunk.records().map(|record| (record.time_ns, record.wire_len, record.data.to_vec())));
}

/// The rest of the file, in chunks that are used in turn.
fn rest(reader: &mut CaptureReader, chunks: &mut [Chunk], packets: &mut Vec<Packet>) -> Option<String> {
    for turn in 0.. {
        let chunk = &mut chunks[turn % 2];
        match reader.next_chunk(chunk) {
            Ok(true) => take(chunk, packets),
            Ok(false) => return None,
            Err(error) => return Some(error.to_string()),
        }
    }
    unreachable!("the loop has no end of its own")
}

fn copied(path: &Path) -> (Vec<Packet>, Option<String>) {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut packets = Vec::new();
    while let Some(record) = reader.next_record() {
        match record {
            Ok(record) => packets.push((record.time_ns, record.wire_len, record.data.to_vec())),
            Err(error) => return (packets, Some(error.to_string())),
        }
    }
    (packets, None)
}

/// A reader of the file's pages; `None` where the file system does not give leases.
fn mapping_reader(path: &Path) -> Option<CaptureReader> {
    let mut reader = CaptureReader::open(path).unwrap();
    if reader.read_mapped() {
        return Some(reader);
    }
    eprintln!("skipped: there is no lease to be had on '{}'", path.display());
    None
}

/// Both ways give the same; what they give. `None` where nothing can be mapped.
fn agreed(bytes: &[u8]) -> Option<(Vec<Packet>, Option<String>)> {
    let file = file_of(bytes);
    let expected = copied(file.path());
    let mut packets = Vec::new();
    let error = rest(&mut mapping_reader(file.path())?, &mut [Chunk::default(), Chunk::default()], &mut packets);
    assert!((&packets, &error) == (&expected.0, &expected.1), "{error:?} instead of {:?}", expected.1);
    Some(expected)
}

fn is_mapped(path: &Path) -> bool {
    fs::read_to_string("/proc/self/maps").unwrap().contains(path.to_str().unwrap())
}

/// Opens the file for appending in a thread of its own, and tells when it is open.
fn writer(path: &Path) -> mpsc::Receiver<File> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    thread::spawn(move || sender.send(OpenOptions::new().append(true).open(path).unwrap()));
    receiver
}

/// The same, when it waits for a lease to be given up.
fn waiting_writer(path: &Path) -> mpsc::Receiver<File> {
    let receiver = writer(path);
    let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
    let is_breaking = |line: &str| line.contains("LEASE  BREAKING") && line.contains(&inode);
    let begun = Instant::now();
    while !fs::read_to_string("/proc/locks").unwrap().lines().any(is_breaking) {
        assert!(begun.elapsed() < SOON, "nobody waits");
        thread::sleep(Duration::from_millis(1));
    }
    receiver
}

#[test]
fn a_mapped_file_of_many_windows_gives_the_same_as_a_copied_one() {
    let packets = many_packets();
    for bytes in [classic(&packets), pcapng(&packets)] {
        let Some((records, error)) = agreed(&bytes) else { return };
        assert_eq!((records.len(), error), (packets.len(), None));
    }
}

#[test]
fn a_mapped_file_gives_its_records_one_by_one_as_well() {
    let file = file_of(&classic(&many_packets()));
    let Some(mut reader) = mapping_reader(file.path()) else { return };
    let mut packets = Vec::new();
    while let Some(record) = reader.next_record() {
        let record = record.unwrap();
        packets.push((record.time_ns, record.wire_len, record.data.to_vec()));
        assert!(packets.len() % 100 != 0 || is_mapped(file.path()));
    }
    assert!((packets, None) == copied(file.path()));
}

#[test]
fn a_frame_as_long_as_may_be_and_a_block_larger_than_a_mapping_come_whole() {
    let frames = vec![vec![1; 100], vec![2; 262_144], vec![3; 262_144], vec![4; 262_144], vec![5; 100]];
    let mut bytes = pcapng(&frames);
    // A block of a type that nobody knows, with 3 MiB in it.
    let length = (3_u32 << 20).to_le_bytes();
    bytes.extend(0x7fff_0000_u32.to_le_bytes());
    bytes.extend(length);
    bytes.resize(bytes.len() + (3 << 20) - 12, 0);
    bytes.extend(length);
    PacketHeader { interface: 0, time_ns: 2, wire_len: 100 }.append_to(&mut bytes, &[6; 100]);
    let Some((records, error)) = agreed(&bytes) else { return };
    assert_eq!((records.len(), error), (6, None));
    assert_eq!(agreed(&classic(&frames)).unwrap().0.len(), 5);
}

#[test]
fn a_file_without_records_and_one_that_ends_in_the_middle_of_a_record_end_as_copied_ones_do() {
    let Some((records, error)) = agreed(&classic(&[])) else { return };
    assert_eq!((records.len(), error), (0, None));
    let bytes = classic(&many_packets());
    let (records, error) = agreed(&bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(records.len(), many_packets().len() - 1);
    assert!(error.unwrap().contains("record 3000"));
    // A file that ends with a page, with a record and in the middle of one.
    let whole = classic(&[vec![1; 4096 - 24 - 16], vec![2; 4096 - 16]]);
    for (length, records) in [(4096, 1), (8192, 2)] {
        assert_eq!(agreed(&whole[..length]).unwrap().0.len(), records);
        assert_eq!(agreed(&whole[..length - 1]).unwrap().0.len(), records - 1);
    }
}

#[test]
fn a_damaged_file_gives_the_records_before_the_damage() {
    let mut bytes = classic(&many_packets());
    let place = bytes.len() / 2;
    bytes[place..].fill(0xff);
    let Some((records, error)) = agreed(&bytes) else { return };
    assert!(records.len() > 1000, "{}", records.len());
    assert!(error.is_some());
}

#[test]
fn files_are_mapped_one_after_the_other_into_the_same_chunk() {
    let files: Vec<_> = [10_usize, 700, 3].map(|count| file_of(&classic(&vec![vec![count as u8; 1400]; count]))).into();
    let mut chunk = Chunk::default();
    for file in &files {
        let Some(mut reader) = mapping_reader(file.path()) else { return };
        let mut packets = Vec::new();
        while reader.next_chunk(&mut chunk).unwrap() {
            assert!(is_mapped(file.path()));
            take(&chunk, &mut packets);
        }
        assert!((packets, None) == copied(file.path()));
    }
    assert!(!files.iter().any(|file| is_mapped(file.path())), "the last chunk is empty, and needs no pages");
}

#[test]
fn a_file_that_somebody_has_open_for_writing_is_not_mapped() {
    let file = file_of(&classic(&many_packets()));
    if mapping_reader(file.path()).is_none() {
        return;
    }
    let writer = OpenOptions::new().append(true).open(file.path()).unwrap();
    assert!(!CaptureReader::open(file.path()).unwrap().read_mapped());
    drop(writer);
    assert!(CaptureReader::open(file.path()).unwrap().read_mapped());
}

#[test]
fn whoever_opens_a_mapped_file_for_writing_waits_for_the_chunk_in_use_and_the_rest_is_copied() {
    for bytes in [classic(&many_packets()), pcapng(&many_packets())] {
        let file = file_of(&bytes);
        let expected = copied(file.path());
        let Some(mut reader) = mapping_reader(file.path()) else { return };
        let (mut packets, mut chunks) = (Vec::new(), [Chunk::default(), Chunk::default()]);
        assert!(reader.next_chunk(&mut chunks[1]).unwrap());
        assert!(is_mapped(file.path()));
        let writer = waiting_writer(file.path());
        take(&chunks[1], &mut packets);
        // The next chunk is a copy, but the pages of the one before are still there to look at.
        assert!(reader.next_chunk(&mut chunks[0]).unwrap());
        take(&chunks[0], &mut packets);
        assert!(is_mapped(file.path()));
        assert!(writer.try_recv().is_err(), "the pages are still looked at");
        chunks[1] = Chunk::default();
        let mut open = writer.recv_timeout(SOON).expect("the writer is let in");
        assert!(!is_mapped(file.path()));
        // What is written now is read as it would be from any file that grows.
        let more = if bytes[0] == 0xd4 { classic(&[vec![9; 9]])[24..].to_vec() } else { Vec::new() };
        open.write_all(&more).unwrap();
        let error = rest(&mut reader, &mut chunks, &mut packets);
        assert_eq!(error, None);
        assert!(packets[..expected.0.len()] == expected.0);
        assert_eq!(packets.len() - expected.0.len(), usize::from(!more.is_empty()));
    }
}

#[test]
fn a_file_that_is_made_shorter_while_it_is_read_ends_there() {
    let file = file_of(&classic(&many_packets()));
    let expected = copied(file.path());
    let Some(mut reader) = mapping_reader(file.path()) else { return };
    let (mut packets, mut chunks) = (Vec::new(), [Chunk::default(), Chunk::default()]);
    for _ in 0..3 {
        assert!(reader.next_chunk(&mut chunks[0]).unwrap());
        take(&chunks[0], &mut packets);
    }
    let writer = waiting_writer(file.path());
    assert!(reader.next_chunk(&mut chunks[0]).unwrap());
    take(&chunks[0], &mut packets);
    writer.recv_timeout(SOON).expect("the writer is let in").set_len(reader.offset() + 1_000_000).unwrap();
    let error = rest(&mut reader, &mut chunks, &mut packets);
    assert!(packets.len() < expected.0.len() && packets == expected.0[..packets.len()]);
    assert!(error.is_some_and(|error| error.contains("record")));
}

#[test]
fn a_reader_that_is_dropped_or_reads_by_windows_lets_writers_in() {
    let file = file_of(&classic(&many_packets()));
    let Some(mut reader) = mapping_reader(file.path()) else { return };
    assert!(reader.windows().is_some());
    assert!(writer(file.path()).recv_timeout(SOON).is_ok());
    drop(reader);
    let mut reader = mapping_reader(file.path()).unwrap();
    let mut chunk = Chunk::default();
    assert!(reader.next_chunk(&mut chunk).unwrap());
    let writer = waiting_writer(file.path());
    drop(reader);
    assert!(writer.try_recv().is_err(), "the chunk has the file's pages");
    drop(chunk);
    assert!(writer.recv_timeout(SOON).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mapped_and_copied_files_agree_wherever_they_are_cut(
        lengths in proptest::collection::vec(0usize..30_000, 0..100),
        cut in any::<prop::sample::Index>(),
        newer in any::<bool>(),
    ) {
        let packets: Vec<Vec<u8>> = lengths.iter().map(|length| vec![*length as u8; *length]).collect();
        let mut file = if newer { pcapng(&packets) } else { classic(&packets) };
        // Whole files as well, and never less than what tells the format.
        let end = cut.index(file.len() * 2).max(28);
        file.truncate(end);
        agreed(&file);
    }
}
