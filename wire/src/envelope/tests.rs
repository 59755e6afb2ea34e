use etherparse::PacketBuilder;

use super::*;

fn built(builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    frame
}

#[test]
fn an_ipv4_datagram_gives_source_ports_and_payload_without_padding() {
    let mut frame = built(
        PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 7], [10, 0, 0, 1], 64).udp(50_000, 4789),
        b"abc",
    );
    frame.resize(60, 0);
    assert_eq!(
        outer_datagram(&frame),
        Some(OuterDatagram {
            source: "10.0.0.7".parse().unwrap(),
            source_port: 50_000,
            destination_port: 4789,
            payload: b"abc",
            payload_offset: 42,
        })
    );
}

#[test]
fn an_ipv6_datagram_behind_a_vlan_tag_is_found() {
    let frame = built(
        PacketBuilder::ethernet2([1; 6], [2; 6])
            .single_vlan(etherparse::VlanId::try_new(5).unwrap())
            .ipv6([1; 16], [2; 16], 64)
            .udp(1, 2),
        b"xyz",
    );
    let datagram = outer_datagram(&frame).unwrap();
    assert_eq!((datagram.payload, datagram.payload_offset, datagram.source.is_ipv6()), (&b"xyz"[..], 66, true));
}

#[test]
fn a_fragment_is_not_a_datagram() {
    let mut frame = built(PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([1; 4], [2; 4], 64).udp(1, 4789), b"abc");
    frame[20] = 0x20;
    assert_eq!(outer_datagram(&frame), None);
}

#[test]
fn a_cut_frame_gives_what_is_there_of_the_payload_or_nothing() {
    let frame = built(PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([1; 4], [2; 4], 64).udp(1, 4789), b"abcdef");
    for len in 0..frame.len() {
        match outer_datagram(&frame[..len]) {
            Some(datagram) => assert_eq!(datagram.payload, &frame[42..len]),
            None => assert!(len < 42, "{len}"),
        }
    }
}
