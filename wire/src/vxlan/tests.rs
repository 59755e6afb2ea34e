use super::*;
use proptest::prelude::*;

#[test]
fn a_header_written_by_hand_decodes() {
    let datagram = [0x08, 0, 0, 0, 0x00, 0x10, 0x92, 0x00, 0xaa, 0xbb];
    let (header, frame) = decapsulate(&datagram).unwrap();
    assert_eq!(header, VxlanHeader { vni: Vni::new(4242).unwrap(), reserved_bits_set: false });
    assert_eq!(frame, [0xaa, 0xbb]);
}

#[test]
fn reserved_bits_are_noted_and_ignored() {
    for (at, bit) in [(0, 0x80), (0, 0x04), (1, 0x01), (2, 0x40), (3, 0x03), (7, 0xff)] {
        let mut datagram = [0x08, 0, 0, 0, 0, 0, 7, 0, 1];
        datagram[at] |= bit;
        let (header, frame) = decapsulate(&datagram).unwrap();
        assert!(header.reserved_bits_set, "byte {at} bit {bit:#x}");
        assert_eq!((header.vni.get(), frame), (7, &[1u8][..]));
    }
}

#[test]
fn a_clear_i_flag_is_not_vxlan_whatever_else_is_set() {
    assert_eq!(decapsulate(&[0xf7, 0, 0, 0, 0, 0, 7, 0, 1]), Err(VxlanError::FlagClear));
}

#[test]
fn a_header_of_the_proxy_protocol_is_told_and_is_not_network_3338() {
    // Version 2, PROXY, UDP over IPv4, 12 bytes of addresses and ports; then VXLAN.
    let mut datagram = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\x0a\0\0\x01\x08\0\0\x02\xc0\0\x12\xb5".to_vec();
    datagram.extend([0x08, 0, 0, 0, 0x00, 0x10, 0x92, 0x00, 0xaa, 0xbb]);
    assert_eq!(decapsulate(&datagram), Err(VxlanError::ProxyHeader));
    // Network 3338 itself is one like others, also with reserved bits.
    let own = [0x0d, 0, 0, 0, 0x00, 0x0d, 0x0a, b'Q', 1];
    assert_eq!(decapsulate(&own).map(|(header, _)| header.vni.get()), Ok(3338));
}

#[test]
fn a_header_alone_is_an_empty_frame() {
    assert_eq!(decapsulate(&header(Vni::new(1).unwrap())), Err(VxlanError::EmptyFrame));
}

#[test]
fn a_vni_has_24_bits() {
    assert_eq!(Vni::new(Vni::MAX).map(Vni::get), Some(16_777_215));
    assert_eq!(Vni::new(Vni::MAX + 1), None);
}

proptest! {
    #[test]
    fn what_is_encapsulated_decapsulates(vni in 0..=Vni::MAX, frame in proptest::collection::vec(any::<u8>(), 1..64)) {
        let vni = Vni::new(vni).unwrap();
        let datagram = [&header(vni)[..], &frame].concat();
        prop_assert_eq!(decapsulate(&datagram), Ok((VxlanHeader { vni, reserved_bits_set: false }, &frame[..])));
    }

    #[test]
    fn every_shorter_header_is_too_short(bytes in proptest::collection::vec(any::<u8>(), 0..HEADER_LEN)) {
        prop_assert_eq!(decapsulate(&bytes), Err(VxlanError::HeaderTooShort));
    }
}
