use super::*;
use crate::LinkType;

fn bytes(append: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    append(&mut out);
    out
}

#[test]
fn a_section_header_has_these_bytes() {
    let header = SectionHeader { hardware: "", os: "", application: "vxtap" };
    #[rustfmt::skip]
    let expected = [
        0x0a, 0x0d, 0x0d, 0x0a, 44, 0, 0, 0, // type, length
        0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, // byte order, version 1.0
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // section length not known
        4, 0, 5, 0, b'v', b'x', b't', b'a', b'p', 0, 0, 0, // shb_userappl
        0, 0, 0, 0, // end of options
        44, 0, 0, 0,
    ];
    assert_eq!(bytes(|out| header.append_to(out)), expected);
}

#[test]
fn an_interface_description_has_these_bytes() {
    let interface = InterfaceDescription { name: "vni 7", description: "", link_type: LinkType::ETHERNET };
    #[rustfmt::skip]
    let expected = [
        1, 0, 0, 0, 44, 0, 0, 0, // type, length
        1, 0, 0, 0, 0, 0, 0, 0, // Ethernet, no snapshot length
        2, 0, 5, 0, b'v', b'n', b'i', b' ', b'7', 0, 0, 0, // if_name
        9, 0, 1, 0, 9, 0, 0, 0, // if_tsresol: nanoseconds
        0, 0, 0, 0, // end of options
        44, 0, 0, 0,
    ];
    assert_eq!(bytes(|out| interface.append_to(out)), expected);
}

#[test]
fn a_packet_has_these_bytes_with_padding_and_the_high_word_of_the_time_first() {
    let header = PacketHeader { interface: 3, time_ns: 0x0102_0304_0506_0708, wire_len: 1500 };
    #[rustfmt::skip]
    let expected = [
        6, 0, 0, 0, 40, 0, 0, 0, // type, length
        3, 0, 0, 0, // interface
        4, 3, 2, 1, 8, 7, 6, 5, // time
        5, 0, 0, 0, 0xdc, 5, 0, 0, // captured, on the wire
        b'f', b'r', b'a', b'm', b'e', 0, 0, 0,
        40, 0, 0, 0,
    ];
    assert_eq!(bytes(|out| header.append_to(out, b"frame")), expected);
    assert_eq!(PacketHeader::block_len(5), 40);
}

#[test]
fn the_length_on_the_wire_is_never_less_than_the_frame() {
    let header = PacketHeader { interface: 0, time_ns: 0, wire_len: 1 };
    assert_eq!(bytes(|out| header.append_to(out, b"four"))[24..28], [4, 0, 0, 0]);
}

#[test]
fn interface_statistics_have_these_bytes() {
    let statistics = InterfaceStatistics {
        interface: 1,
        taken_ns: 3 << 32 | 4,
        start_ns: 1,
        end_ns: 2 << 32,
        received: 9,
        dropped: Some(2),
    };
    #[rustfmt::skip]
    let expected = [
        5, 0, 0, 0, 76, 0, 0, 0, // type, length
        1, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, // interface, time with the high word first
        2, 0, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0, // isb_starttime
        3, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0, // isb_endtime
        4, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0, // isb_ifrecv
        5, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0, // isb_ifdrop
        0, 0, 0, 0, // end of options
        76, 0, 0, 0,
    ];
    assert_eq!(bytes(|out| statistics.append_to(out)), expected);
    assert_eq!(InterfaceStatistics::MAX_LEN, expected.len());
}

#[test]
fn padding_brings_a_buffer_of_any_length_to_the_alignment_with_one_whole_block() {
    for length in (0..2048_usize).step_by(4) {
        let mut out = vec![0xaa; length];
        Padding::append_to(&mut out, 512);
        assert!(out.len().is_multiple_of(512) && out.len() < length + 512 + Padding::MIN_LEN, "{length}");
        let padding = &out[length..];
        if !padding.is_empty() {
            let expected = (padding.len() as u32).to_le_bytes();
            assert!(padding.len() >= Padding::MIN_LEN);
            assert_eq!(padding[..4], PADDING.to_le_bytes());
            assert_eq!((&padding[4..8], &padding[padding.len() - 4..]), (&expected[..], &expected[..]));
        }
    }
}

#[test]
fn every_padding_length_keeps_blocks_whole() {
    for length in 0..9 {
        let frame = vec![0xee; length];
        let header = PacketHeader { interface: 0, time_ns: 0, wire_len: 0 };
        let block = bytes(|out| header.append_to(out, &frame));
        assert_eq!(block.len(), PacketHeader::block_len(length));
        assert_eq!(PacketView::first(&block).unwrap().block().len(), block.len());
        assert_eq!(block[28..28 + length], frame);
        assert!(block[28 + length..block.len() - 4].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_packet_block_in_a_buffer_can_be_given_another_interface() {
    let mut out = Vec::new();
    PacketHeader { interface: 70_000, time_ns: 1 << 40 | 5, wire_len: 3 }.append_to(&mut out, b"abc");
    PacketHeader { interface: 1, time_ns: 2, wire_len: 3 }.append_to(&mut out, b"def");
    let whole = out.len();
    let first = PacketView::first(&out).unwrap();
    assert_eq!((first.interface(), first.time_ns(), first.block().len()), (70_000, 1 << 40 | 5, whole / 2));
    PacketBlock::first(&mut out).unwrap().set_interface(4);
    assert_eq!(PacketView::first(&out).unwrap().interface(), 4);
    assert_eq!(PacketView::first(&out[whole / 2..]).unwrap().interface(), 1);
}

#[test]
fn what_is_no_whole_packet_block_is_refused() {
    let mut out = Vec::new();
    PacketHeader { interface: 0, time_ns: 0, wire_len: 3 }.append_to(&mut out, b"abc");
    for length in 0..out.len() {
        assert!(PacketBlock::first(&mut out.clone()[..length]).is_none(), "{length}");
    }
    let mut tiny = out.clone();
    tiny[4] = 8;
    assert!(PacketBlock::first(&mut tiny).is_none());
    out[0] = 5;
    assert!(PacketBlock::first(&mut out).is_none());
}

#[test]
fn padding_at_the_end_is_known_from_everything_else() {
    let mut block = vec![1, 2, 3, 4];
    Padding::append_to(&mut block, 64);
    assert!(Padding::is_at_end_of(&block) && Padding::is_at_end_of(&block[4..]));
    let changed = |at: usize| {
        let mut changed = block.clone();
        changed[at] ^= 1;
        changed
    };
    for at in [4, 8, 20, 63] {
        assert!(!Padding::is_at_end_of(&changed(at)), "changed at {at}");
    }
    for bytes in [&block[5..], &block[..63], &block[60..], &[], &[0; 16], &[4, 0, 0, 0]] {
        assert!(!Padding::is_at_end_of(bytes), "{bytes:?}");
    }
    let packet = PacketHeader { interface: 0, time_ns: 0, wire_len: 4 };
    assert!(!Padding::is_at_end_of(&bytes(|out| packet.append_to(out, &[0; 4]))));
}
