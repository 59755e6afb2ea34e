use std::io::{self, Cursor};

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, Endianness, TsResolution};
use proptest::prelude::*;

use super::*;
use crate::{MAX_BLOCK_BYTES, MAX_FRAME_BYTES};

/// A record, and where it lies, without its file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    time_ns: u64,
    link_type: u32,
    wire_len: u32,
    data: Vec<u8>,
}

fn read(source: impl Read + Send + 'static) -> (Vec<Owned>, Option<ReadError>) {
    let mut reader = CaptureReader::from_reader(source, "test").unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record() {
        match record {
            Ok(Record { time_ns, link_type, wire_len, data, .. }) => {
                records.push(Owned { time_ns, link_type: link_type.0, wire_len, data: data.to_vec() });
            }
            Err(error) => {
                assert!(reader.next_record().is_none(), "nothing comes after an error");
                return (records, Some(error));
            }
        }
    }
    (records, None)
}

fn read_bytes(file: &[u8]) -> (Vec<Owned>, Option<ReadError>) {
    read(Cursor::new(file.to_vec()))
}

fn fault(file: &[u8]) -> (usize, String) {
    let (records, error) = read_bytes(file);
    (records.len(), error.unwrap().to_string())
}

/// A source that gives its bytes one at a time, as a slow pipe may.
struct Trickle(Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

/// Builds pcapng blocks in either byte order.
#[derive(Clone, Copy)]
struct Blocks {
    big: bool,
}

impl Blocks {
    fn u16(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn block(self, block_type: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let length = self.u32(padded as u32 + 12);
        let mut padding = body.to_vec();
        padding.resize(padded, 0);
        [&self.u32(block_type)[..], &length, &padding, &length].concat()
    }

    fn section(self) -> Vec<u8> {
        let body = [&self.u32(0x1a2b_3c4d)[..], &self.u16(1), &self.u16(0), &[0xff; 8]].concat();
        self.block(SECTION_HEADER, &body)
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut option = [&self.u16(code)[..], &self.u16(value.len() as u16), value].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    fn interface(self, link_type: u16, snap_len: u32, options: &[u8]) -> Vec<u8> {
        self.block(1, &[&self.u16(link_type)[..], &[0; 2], &self.u32(snap_len), options].concat())
    }

    fn packet(self, interface: u32, ticks: u64, data: &[u8]) -> Vec<u8> {
        let length = self.u32(data.len() as u32);
        let ticks = [self.u32((ticks >> 32) as u32), self.u32(ticks as u32)].concat();
        self.block(6, &[&self.u32(interface)[..], &ticks, &length, &length, data].concat())
    }
}

const LITTLE: Blocks = Blocks { big: false };
const BIG: Blocks = Blocks { big: true };

fn classic(endianness: Endianness, ts_resolution: TsResolution, packets: &[(u64, &[u8])]) -> Vec<u8> {
    let header = PcapHeader { endianness, ts_resolution, snaplen: 65_535, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
    for (time_ns, data) in packets {
        let time = std::time::Duration::from_nanos(*time_ns);
        writer.write_packet(&PcapPacket::new(time, 1000, data)).unwrap();
    }
    writer.into_writer()
}

#[test]
fn a_classic_file_of_literal_bytes_is_read() {
    #[rustfmt::skip]
    let file = [
        0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, // magic, version 2.4, zone, accuracy
        0, 0, 0xff, 0xff, 0, 0, 0, 113, // snapshot length, Linux cooked
        0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 9, // 1.000002 s, 3 of 9 bytes
        7, 8, 9,
    ];
    let (records, error) = read_bytes(&file);
    assert!(error.is_none());
    assert_eq!(records, [Owned { time_ns: 1_000_002_000, link_type: 113, wire_len: 9, data: vec![7, 8, 9] }]);
}

#[test]
fn classic_files_of_both_byte_orders_and_resolutions_are_read() {
    let packets: [(u64, &[u8]); 3] =
        [(1_700_000_000_123_456_000, b"one"), (1_700_000_001_000_000_000, b""), (0, &[9; 1000])];
    for endianness in [Endianness::Big, Endianness::Little] {
        for resolution in [TsResolution::MicroSecond, TsResolution::NanoSecond] {
            let (records, error) = read_bytes(&classic(endianness, resolution, &packets));
            assert!(error.is_none());
            assert_eq!(records.len(), packets.len());
            for (record, (time_ns, data)) in records.iter().zip(packets) {
                assert_eq!((record.time_ns, record.wire_len, record.link_type), (time_ns, 1000, 1));
                assert_eq!(record.data, data);
            }
        }
    }
}

#[test]
fn the_link_type_of_a_classic_file_is_read_without_the_bits_that_tell_of_a_checksum() {
    let header = PcapHeader { datalink: DataLink::from(0x5000_0001), ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
    writer.write_packet(&PcapPacket::new(std::time::Duration::ZERO, 1, b"x")).unwrap();
    assert_eq!(read_bytes(&writer.into_writer()).0[0].link_type, 1);
}

#[test]
fn sections_of_both_byte_orders_follow_each_other_each_with_its_own_interfaces() {
    let mut file = Vec::new();
    for (blocks, link_type) in [(LITTLE, 1), (BIG, 113), (BIG, 276), (LITTLE, 101)] {
        file.extend(blocks.section());
        file.extend(blocks.interface(link_type, 0, &[]));
        file.extend(blocks.packet(0, 1_000_000, b"frame"));
    }
    let (records, error) = read_bytes(&file);
    assert!(error.is_none());
    assert_eq!(records.iter().map(|record| record.link_type).collect::<Vec<_>>(), [1, 113, 276, 101]);
    assert!(records.iter().all(|record| record.time_ns == 1_000_000_000 && record.data == b"frame"));
}

#[test]
fn each_interface_has_its_own_resolution_offset_and_link_type() {
    for blocks in [LITTLE, BIG] {
        let offset = 1_000_i64.cast_unsigned();
        let offset = if blocks.big { offset.to_be_bytes() } else { offset.to_le_bytes() };
        let file = [
            blocks.section(),
            blocks.interface(1, 0, &[]),
            blocks.interface(1, 0, &blocks.option(9, &[9])),
            blocks.interface(228, 0, &[blocks.option(9, &[0x8a]), blocks.option(14, &offset)].concat()),
            blocks.packet(0, 5_000_001, b"a"),
            blocks.packet(1, 5_000_001, b"b"),
            blocks.packet(2, 1536, b"c"),
        ]
        .concat();
        let (records, error) = read_bytes(&file);
        assert!(error.is_none());
        let seen: Vec<_> = records.iter().map(|record| (record.time_ns, record.link_type)).collect();
        assert_eq!(seen, [(5_000_001_000, 1), (5_000_001, 1), (1_001_500_000_000, 228)]);
    }
}

#[test]
fn an_option_that_other_readers_stumble_over_does_not_make_the_packets_unreadable() {
    let zone = LITTLE.option(10, &[1, 2, 3, 4]);
    let not_text = LITTLE.option(2, &[0xff, 0xfe]);
    let cut = [&LITTLE.option(9, &[9])[..], &[9, 0, 200, 0]].concat();
    for options in [zone, not_text, cut] {
        let file = [LITTLE.section(), LITTLE.interface(1, 0, &options), LITTLE.packet(0, 1, b"frame")].concat();
        let (records, error) = read_bytes(&file);
        assert!(error.is_none());
        assert_eq!(records[0].data, b"frame");
    }
}

#[test]
fn simple_and_obsolete_packets_are_read_and_unknown_blocks_passed_over() {
    let simple = |wire: u32, data: &[u8]| LITTLE.block(3, &[&wire.to_le_bytes()[..], data].concat());
    let mut obsolete = vec![0, 0, 7, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 60, 0, 0, 0];
    obsolete.extend(b"ob");
    let file = [
        LITTLE.section(),
        LITTLE.interface(1, 4, &[]),
        simple(3, b"abc"),
        LITTLE.block(0x8000_0001, &[1; 1000]),
        LITTLE.packet(0, 9, b"q"),
        LITTLE.block(4, &[]),
        simple(9, b"wxyz"),
        LITTLE.block(2, &obsolete),
    ]
    .concat();
    let (records, error) = read_bytes(&file);
    assert!(error.is_none());
    let seen: Vec<_> = records.iter().map(|r| (r.time_ns, r.wire_len, r.data.as_slice())).collect();
    assert_eq!(seen, [(0, 3, &b"abc"[..]), (9_000, 1, b"q"), (9_000, 9, b"wxyz"), (4_000, 60, b"ob")]);
}

#[test]
fn a_file_read_one_byte_at_a_time_gives_the_same_records() {
    let packets: Vec<(u64, &[u8])> = (0..50).map(|n| (n * 1000, &[7; 300][..n as usize * 5])).collect();
    let old = classic(Endianness::Little, TsResolution::NanoSecond, &packets);
    let mut new = [BIG.section(), BIG.interface(1, 0, &[])].concat();
    for (time, data) in packets {
        new.extend(BIG.packet(0, time, data));
    }
    for file in [old, new] {
        let (records, error) = read(Trickle(Cursor::new(file.clone())));
        assert!(error.is_none() && records.len() == 50);
        assert_eq!(records, read_bytes(&file).0);
    }
}

#[test]
fn records_that_straddle_the_window_are_whole() {
    let data: Vec<u8> = (0..250_000_u32).map(|n| n as u8).collect();
    let mut file = [LITTLE.section(), LITTLE.interface(1, 0, &[])].concat();
    for n in 0..40 {
        file.extend(LITTLE.packet(0, n, &data[..100_003 + 3000 * n as usize]));
        file.extend(LITTLE.packet(0, n, b"small"));
    }
    let (records, error) = read_bytes(&file);
    assert!(error.is_none() && records.len() == 80);
    for (n, pair) in records.chunks(2).enumerate() {
        assert_eq!(pair[0].data, &data[..100_003 + 3000 * n]);
        assert_eq!(pair[1].data, b"small");
    }
}

#[test]
fn every_shorter_prefix_gives_the_records_before_the_cut_and_says_where_it_is() {
    let packets: [(u64, &[u8]); 3] = [(1, b"first"), (2, b"second"), (3, b"third")];
    let old = classic(Endianness::Big, TsResolution::MicroSecond, &packets);
    let mut new = [LITTLE.section(), LITTLE.interface(1, 0, &LITTLE.option(9, &[9]))].concat();
    for (time, data) in packets {
        new.extend(LITTLE.packet(0, time, data));
    }
    for (file, smallest, whole) in [(old, FILE_HEADER_LEN, [24, 45, 67, 88]), (new, 24, [56, 96, 136, 176])] {
        let (all, error) = read_bytes(&file);
        assert!(error.is_none() && all.len() == 3);
        for length in 0..file.len() {
            let prefix = file[..length].to_vec();
            if length < smallest {
                if let Ok(mut reader) = CaptureReader::from_reader(Cursor::new(prefix), "cut") {
                    assert!(matches!(reader.next_record(), Some(Err(_)) | None), "{length}");
                }
                continue;
            }
            let (records, error) = read_bytes(&prefix);
            assert_eq!(records, all[..records.len()], "{length}");
            let complete = whole.iter().filter(|end| **end <= length).count().saturating_sub(1);
            assert_eq!(records.len(), complete, "{length}");
            let at_boundary = whole.contains(&length) || length == 28 && smallest == 24 && whole[0] == 56;
            assert_eq!(error.is_none(), at_boundary, "{length}");
            if let Some(error) = error {
                assert!(matches!(error.fault, Fault::Cut { needed, present } if needed > present), "{error}");
                assert_eq!(error.record, records.len() as u64 + 1);
            }
        }
    }
}

#[test]
fn a_fault_is_told_with_file_record_and_place() {
    let mut file = classic(Endianness::Little, TsResolution::MicroSecond, &[(0, b"whole"), (0, b"cut off")]);
    file.truncate(file.len() - 2);
    let expected = "capture file 'test' cannot be read beyond record 2 at byte 45: the file ends after 21 of 23 bytes";
    assert_eq!(fault(&file), (1, expected.to_owned()));
}

#[test]
fn absurd_lengths_are_faults_and_take_no_memory() {
    let mut file = classic(Endianness::Little, TsResolution::MicroSecond, &[(0, b"fine"), (0, b"hit")]);
    let second = 24 + 16 + 4;
    file[second + 8..second + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let (records, text) = fault(&file);
    assert_eq!((records, text.contains("a frame of 4294967295 bytes (at most 262144)")), (1, true), "{text}");

    let head = [LITTLE.section(), LITTLE.interface(1, 0, &[]), LITTLE.packet(0, 0, b"fine")].concat();
    let huge = [&head[..], &6_u32.to_le_bytes(), &0xffff_fffc_u32.to_le_bytes(), &[0; 32]].concat();
    let (records, text) = fault(&huge);
    assert_eq!((records, text.contains("a block of 4294967292 bytes")), (1, true), "{text}");

    let long = vec![0; MAX_FRAME_BYTES + 1];
    let (records, text) = fault(&[&head[..], &LITTLE.packet(0, 0, &long)].concat());
    assert_eq!((records, text.contains("a frame of 262145 bytes")), (1, true), "{text}");

    let mut section = BIG.section();
    section[4..8].copy_from_slice(&(MAX_BLOCK_BYTES as u32 + 4).to_be_bytes());
    let (records, text) = fault(&section);
    assert_eq!((records, text.contains("a block of 16777220 bytes")), (0, true), "{text}");
}

#[test]
fn blocks_that_contradict_themselves_are_faults() {
    let head = [LITTLE.section(), LITTLE.interface(1, 0, &[]), LITTLE.packet(0, 0, b"fine")].concat();
    let with = |block: &[u8]| fault(&[&head[..], block].concat());
    let mut trailer = LITTLE.packet(0, 0, b"x");
    let end = trailer.len() - 4;
    trailer[end] = 99;
    let mut captured = LITTLE.packet(0, 0, b"abc");
    captured[20] = 200;
    for block in [
        trailer,
        captured,
        LITTLE.block(6, &[0; 16]),
        LITTLE.block(3, &[]),
        LITTLE.block(3, &200_u32.to_le_bytes()),
        LITTLE.block(2, &[0; 8]),
        LITTLE.block(1, &[0; 4]),
        LITTLE.block(SECTION_HEADER, &[0; 16]),
        [6, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 0, 13].to_vec(),
        [6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec(),
    ] {
        let (records, text) = with(&block);
        assert_eq!(records, 1, "{text}");
    }
    let (_, text) = with(&LITTLE.packet(1, 0, b"x"));
    assert!(text.ends_with("a packet of interface 1, but only 1 are described"), "{text}");
    let (_, text) = with(&LITTLE.block(SECTION_HEADER, &[0x4d, 0x3c, 0x2b, 0x1a, 2, 0, 0, 0]));
    assert!(text.ends_with("a section of an unknown pcapng version"), "{text}");
}

#[test]
fn what_is_no_capture_file_is_refused_with_what_it_is() {
    let refused = |file: &[u8]| CaptureReader::from_reader(Cursor::new(file.to_vec()), "x").unwrap_err().to_string();
    assert_eq!(refused(b""), "'x' is not a capture file: it has only 0 bytes");
    assert_eq!(refused(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0]), "'x' is not a capture file: it has only 6 bytes");
    assert_eq!(refused(&[0x1f, 0x8b, 8, 0, 0, 0]), "'x' is compressed with gzip: unpack it first");
    let text = refused(b"version https://git-lfs.github.com/spec/v1");
    assert_eq!(text, "'x' is not a capture file: it begins with [76, 65, 72, 73] (expected pcap or pcapng)");
    let mut future = classic(Endianness::Little, TsResolution::MicroSecond, &[]);
    future[4] = 3;
    assert_eq!(refused(&future), "'x' has pcap version 3, which is not known");
}

#[test]
fn a_missing_file_is_told_by_name_and_without_control_characters() {
    let error = CaptureReader::open("/nowhere/\u{1b}[31mred.pcap").unwrap_err().to_string();
    assert!(error.starts_with("cannot open capture file '/nowhere/\\u{1b}[31mred.pcap': No such file"), "{error}");
    let error = CaptureReader::open("/").unwrap_err().to_string();
    assert!(error.starts_with("cannot read capture file '/': "), "{error}");
}

#[test]
fn an_error_of_the_source_ends_the_records() {
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("the cable is out")),
                count => Ok(count),
            }
        }
    }
    let file = classic(Endianness::Little, TsResolution::MicroSecond, &[(0, b"fine")]);
    let (records, error) = read(Failing(Cursor::new(file)));
    assert_eq!(records.len(), 1);
    assert!(error.unwrap().to_string().ends_with("record 2 at byte 44: the cable is out"));
}

#[test]
fn progress_is_told_in_records_and_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.pcap");
    std::fs::write(&path, classic(Endianness::Little, TsResolution::MicroSecond, &[(0, b"one"), (0, b"two")])).unwrap();
    let mut reader = CaptureReader::open(&path).unwrap();
    assert_eq!((reader.size(), reader.offset(), reader.records()), (Some(62), 24, 0));
    assert!(reader.next_record().unwrap().is_ok());
    assert_eq!((reader.offset(), reader.records()), (43, 1));
}

proptest! {
    /// Whatever the bytes are: no panic, an end, and no more records than bytes could hold.
    #[test]
    fn damaged_bytes_end_in_an_error_or_the_end(
        big in any::<bool>(),
        modern in any::<bool>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let packets: [(u64, &[u8]); 4] = [(1, b"first"), (2, b"second"), (3, &[5; 200]), (4, b"")];
        let blocks = Blocks { big };
        let mut file = if modern {
            let options = blocks.option(14, &[0; 8]);
            let mut file = [blocks.section(), blocks.interface(1, 0, &options)].concat();
            for (time, data) in packets {
                file.extend(blocks.packet(0, time, data));
            }
            file
        } else {
            let endianness = if big { Endianness::Big } else { Endianness::Little };
            classic(endianness, TsResolution::MicroSecond, &packets)
        };
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.truncate(cut.index(file.len()) + 1);
        if let Ok(mut reader) = CaptureReader::from_reader(Cursor::new(file.clone()), "damaged") {
            let mut bytes = 0;
            while let Some(record) = reader.next_record() {
                match record {
                    Ok(record) => bytes += record.data.len() + 16,
                    Err(_) => break,
                }
            }
            prop_assert!(bytes <= file.len());
            prop_assert!(reader.next_record().is_none());
        }
    }
}
