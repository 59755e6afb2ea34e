use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;

fn ends(version: IpVersion, protocol: u8) -> Ends {
    let ip = |last| match version {
        IpVersion::V4 => IpAddress::v4([10, 0, 0, last]),
        IpVersion::V6 => IpAddress([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, last]),
    };
    let end = |last, port| End { mac: [2, 0, 0, 0, 0, last], ip: ip(last), port };
    Ends::new(version, protocol, end(1, 40_000), end(2, 80))
}

/// Checks lengths and checksums of `frame` with a parser that is not ours, and gives its payload.
pub(in crate::generate) fn judge(frame: &[u8]) -> Vec<u8> {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    match (packet.net.unwrap(), packet.transport.unwrap()) {
        (NetSlice::Ipv4(ip), transport) => {
            let header = ip.header();
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            match transport {
                TransportSlice::Tcp(tcp) => {
                    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv4(header.source(), header.destination()).unwrap());
                    tcp.payload().to_vec()
                }
                TransportSlice::Udp(udp) => {
                    let header = udp.to_header();
                    let ip = ip.header().to_header();
                    assert_eq!(udp.checksum(), header.calc_checksum_ipv4(&ip, udp.payload()).unwrap());
                    udp.payload().to_vec()
                }
                other => panic!("{other:?}"),
            }
        }
        (NetSlice::Ipv6(ip), transport) => {
            let header = ip.header();
            match transport {
                TransportSlice::Tcp(tcp) => {
                    assert_eq!(tcp.checksum(), tcp.calc_checksum_ipv6(header.source(), header.destination()).unwrap());
                    tcp.payload().to_vec()
                }
                TransportSlice::Udp(udp) => {
                    let ip = header.to_header();
                    assert_eq!(udp.checksum(), udp.to_header().calc_checksum_ipv6(&ip, udp.payload()).unwrap());
                    udp.payload().to_vec()
                }
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sum_is_that_of_the_standard() {
    // The example of RFC 1071 section 3.
    assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    assert_eq!(sum(&[0x12]), 0x1200);
    assert_eq!(sum(&[]), 0);
}

proptest! {
    #[test]
    fn another_parser_finds_every_length_and_checksum_right(
        payload in prop::collection::vec(any::<u8>(), 0..1500),
        (sequence, acknowledgement, window, ident) in any::<(u32, u32, u16, u16)>(),
        (v6, tcp, to_server) in any::<(bool, bool, bool)>(),
        options in prop_oneof![Just(&[][..]), Just(&[2, 4, 5, 0x50][..])],
    ) {
        let version = if v6 { IpVersion::V6 } else { IpVersion::V4 };
        let ends = ends(version, if tcp { protocol::TCP } else { protocol::UDP });
        let options = if tcp { options } else { &[] };
        let mut frame = vec![0xee; ends.frame_len(options.len(), payload.len())];
        let data = Payload { bytes: &payload, sum: sum(&payload) };
        if tcp {
            let segment = Segment { sequence, acknowledgement, flags: PUSH, window, options };
            ends.write_tcp(&mut frame, to_server, ident, &segment, data);
        } else {
            ends.write_udp(&mut frame, to_server, ident, data);
        }
        prop_assert_eq!(judge(&frame), payload);
        let five_tuple = vxtap_wire::FrameView::parse(&frame).five_tuple.unwrap();
        prop_assert_eq!(if to_server { five_tuple } else { five_tuple.reversed() }, ends.five_tuple());
    }
}
