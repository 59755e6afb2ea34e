use super::*;

fn datagram(flags: u8, next: u8) -> Vec<u8> {
    vec![flags, 0, 0, next, 0, 0, 7, 0, 0x45, 1]
}

#[test]
fn the_next_protocol_tells_what_is_behind_the_header() {
    for (next, link) in [
        (1, Ok(Link::Ip)),
        (2, Ok(Link::Ip)),
        (3, Ok(Link::Ethernet)),
        (4, Err(GpeError::Payload(4))),
        (0, Err(GpeError::Payload(0))),
        (0xff, Err(GpeError::Payload(0xff))),
    ] {
        let datagram = datagram(0x0c, next);
        let opened = decapsulate(&datagram);
        assert_eq!(opened.map(|(_, link, _)| link), link, "{next}");
        if let Ok((header, _, frame)) = opened {
            assert_eq!((header.vni.get(), header.reserved_bits_set, frame), (7, false, &[0x45, 1][..]));
        }
    }
}

#[test]
fn without_the_p_bit_it_is_vxlan() {
    let datagram = datagram(0x08, 1);
    let (header, link, _) = decapsulate(&datagram).unwrap();
    assert_eq!((link, header.reserved_bits_set), (Link::Ethernet, true));
}

#[test]
fn versions_control_packets_and_what_is_no_vxlan_are_errors() {
    assert_eq!(decapsulate(&datagram(0x1c, 3)), Err(GpeError::Version));
    assert_eq!(decapsulate(&datagram(0x0d, 3)), Err(GpeError::Control));
    assert_eq!(decapsulate(&datagram(0xff, 3)), Err(GpeError::Version));
    assert_eq!(decapsulate(&datagram(0x04, 3)), Err(GpeError::Vxlan(VxlanError::FlagClear)));
    assert_eq!(decapsulate(&datagram(0x0c, 3)[..7]), Err(GpeError::Vxlan(VxlanError::HeaderTooShort)));
    assert_eq!(decapsulate(&datagram(0x0c, 3)[..8]), Err(GpeError::Vxlan(VxlanError::EmptyFrame)));
}
