use super::*;

/// A pcapng file of one interface `vni 7 from 10.0.0.1` (nanoseconds) and two records, byte by byte.
fn pcapng() -> Vec<u8> {
    let mut file = Vec::new();
    let mut block = |kind: u32, body: &[u8]| {
        let length = (12 + body.len()) as u32;
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(body);
        file.extend_from_slice(&length.to_le_bytes());
    };
    // Byte-order magic, version 1.0, section length unknown.
    block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    // Ethernet, no snap length; if_name (2) of 19 bytes and padding; if_tsresol (9) = 10^-9; end of options.
    let mut interface = vec![1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 19, 0];
    interface.extend_from_slice(b"vni 7 from 10.0.0.1\0");
    interface.extend_from_slice(&[9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    block(1, &interface);
    for (low, data) in [(5_u32, [1, 2, 3, 0]), (6, [4, 5, 6, 0])] {
        let mut packet = vec![0, 0, 0, 0, 1, 0, 0, 0];
        packet.extend_from_slice(&low.to_le_bytes());
        packet.extend_from_slice(&[3, 0, 0, 0, 60, 0, 0, 0]);
        packet.extend_from_slice(&data);
        block(6, &packet);
    }
    file
}

#[test]
fn every_prefix_of_a_file_has_whole_records_and_a_tail() {
    let file = pcapng();
    let whole = parse(&file).unwrap();
    assert_eq!(whole.tail, 0);
    let record = &whole.records[0];
    assert_eq!((record.interface.as_str(), record.time_ns), ("vni 7 from 10.0.0.1", (1 << 32) + 5));
    assert_eq!((record.data.as_slice(), record.original_len), ([1, 2, 3].as_slice(), 60));
    assert!(record.contains(&[2, 3]) && !record.contains(&[3, 4]));
    for length in 1..file.len() {
        let parsed = parse(&file[..length]).unwrap_or_else(|error| panic!("{length}: {error}"));
        assert_eq!(parsed.records, whole.records[..parsed.records.len()]);
        assert!(parsed.records.len() < 2);
    }
}

#[test]
fn what_is_written_reads_back() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let records = parse(&pcapng()).unwrap().records;
    write(file.path(), &records);
    let nameless = records.into_iter().map(|record| Record { interface: String::new(), ..record });
    assert_eq!(read(file.path()), nameless.collect::<Vec<_>>());
}

#[test]
fn a_block_that_contradicts_itself_is_an_error() {
    let mut file = pcapng();
    let last = file.len() - 4;
    file[last] ^= 0x10;
    assert!(parse(&file).unwrap_err().starts_with("bad block"));
}

#[test]
fn pcap_of_either_byte_order_and_resolution_reads_alike() {
    let fields: [u32; 8] = [0, 0, 65535, 1, 1_700_000_000, 7, 2, 9];
    let expected = (1_700_000_000_000_000_007, vec![0xaa, 0xbb], 9);
    for (magic, scale) in [(0xa1b2_c3d4_u32, 1000), (0xa1b2_3c4d, 1)] {
        let (mut little, mut big) = (magic.to_le_bytes().to_vec(), magic.to_be_bytes().to_vec());
        little.extend_from_slice(&[2, 0, 4, 0]);
        big.extend_from_slice(&[0, 2, 0, 4]);
        for field in fields {
            little.extend_from_slice(&field.to_le_bytes());
            big.extend_from_slice(&field.to_be_bytes());
        }
        for mut file in [little, big] {
            file.extend_from_slice(&[0xaa, 0xbb]);
            let parsed = parse(&file).unwrap();
            let record = parsed.records[0].clone();
            assert_eq!(record.time_ns, expected.0 - 7 + 7 * scale);
            assert_eq!(
                (record.data, record.original_len, record.link_type),
                (expected.1.clone(), expected.2, ETHERNET)
            );
        }
    }
}
