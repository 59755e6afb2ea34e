use etherparse::PacketBuilder;

use std::collections::BTreeMap;

use super::*;
use crate::{captures, vxlan};

fn built(builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    frame
}

/// Whether the plain envelope is seen at once; what is seen must be what is found step by step.
fn is_seen_at_once(frame: &[u8]) -> bool {
    let Some(plain) = PlainVxlan::find(frame) else { return false };
    let datagram = outer_datagram(Link::Ethernet, frame).unwrap();
    assert_eq!((datagram.source, datagram.destination_port), (plain.source.into(), plain.destination_port));
    assert_eq!(vxlan::decapsulate(datagram.payload), Ok((plain.header, &frame[plain.start..plain.end])));
    true
}

#[test]
fn the_plain_envelope_is_seen_at_once_and_any_other_is_left_to_the_steps() {
    let mirrored = |payload: &[u8]| {
        built(
            PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 7], [10, 0, 0, 1], 64).udp(50_000, 4789),
            payload,
        )
    };
    let plain = mirrored(&[8, 0, 0, 0, 1, 2, 3, 0, 0xaa, 0xbb, 0xcc]);
    let found = PlainVxlan::find(&plain).unwrap();
    assert_eq!((found.start, found.end, found.header.vni.get()), (50, 53, 0x01_0203));
    assert!(is_seen_at_once(&[&plain[..], &[0; 7]].concat()), "padding is no part of it");
    for len in 0..=plain.len() {
        assert_eq!(is_seen_at_once(&plain[..len]), len > 50, "{len} bytes");
    }
    assert!(is_seen_at_once(&mirrored(&[0x88, 0, 0, 1, 1, 2, 3, 4, 0xaa])), "reserved bits are only noted");
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = plain.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        is_seen_at_once(&frame)
    };
    for (what, at, bytes) in [
        ("another EtherType", 12, &[0x86, 0xdd][..]),
        ("options", 14, &[0x46]),
        ("no length", 16, &[0, 0]),
        ("a length that ends in front of the frame", 16, &[0, 36]),
        ("a fragment", 20, &[0x20, 0]),
        ("TCP", 23, &[6]),
        ("no UDP length", 38, &[0, 0]),
        ("the I flag clear", 42, &[0]),
    ] {
        assert!(!with(at, bytes), "{what}");
    }
    // Whatever one bit does: it is never seen otherwise than step by step.
    let seen = (0..plain.len() * 8).filter(|bit| with(bit / 8, &[plain[bit / 8] ^ 1 << (bit % 8)])).count();
    assert!((200..plain.len() * 8).contains(&seen), "{seen}");
}

#[test]
fn an_ipv4_datagram_gives_source_ports_and_payload_without_padding() {
    let mut frame = built(
        PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([10, 0, 0, 7], [10, 0, 0, 1], 64).udp(50_000, 4789),
        b"abc",
    );
    frame.resize(60, 0);
    assert_eq!(
        outer_datagram(Link::Ethernet, &frame),
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
    let datagram = outer_datagram(Link::Ethernet, &frame).unwrap();
    assert_eq!((datagram.payload, datagram.payload_offset, datagram.source.is_ipv6()), (&b"xyz"[..], 66, true));
}

#[test]
fn a_datagram_is_found_behind_mpls_labels_and_in_a_pppoe_session() {
    let four = built(PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([1; 4], [2; 4], 64).udp(1, 2), b"xyz");
    let six = built(PacketBuilder::ethernet2([1; 6], [2; 6]).ipv6([1; 16], [2; 16], 64).udp(1, 2), b"xyz");
    let (label, bottom) = ([0, 1, 0, 64], [0, 2, 1, 64]);
    let mpls = |labels: usize| [&[0x88, 0x47][..], &label.repeat(labels - 1), &bottom].concat();
    let pppoe = |protocol: u8| vec![0x88, 0x64, 0x11, 0, 0, 7, 0, 33, 0, protocol];
    let tagged = |behind: &[u8]| [&[0x81, 0, 0, 7][..], behind].concat();
    for (what, packet, in_front, found) in [
        ("one label", &four, mpls(1), true),
        ("three labels", &four, mpls(3), true),
        ("multicast", &four, [&[0x88, 0x48][..], &bottom].concat(), true),
        ("labels behind a tag", &six, tagged(&mpls(2)), true),
        ("as many labels as may be", &six, mpls(MAX_LABELS), true),
        ("one label more", &six, mpls(MAX_LABELS + 1), false),
        ("labels without a bottom", &four, [&[0x88, 0x47][..], &label].concat(), false),
        ("a pseudo-wire", &four, [&mpls(1)[..], &[0, 0, 0, 0]].concat(), false),
        ("PPPoE", &four, pppoe(0x21), true),
        ("PPPoE behind a tag", &six, tagged(&pppoe(0x57)), true),
        ("PPPoE with another protocol", &four, pppoe(0x23), false),
        ("PPPoE that is no session's data", &four, [&[0x88, 0x64, 0x11, 9][..], &pppoe(0x21)[4..]].concat(), false),
    ] {
        let frame = [&packet[..12], &in_front, &packet[14..]].concat();
        let datagram = outer_datagram(Link::Ethernet, &frame);
        assert_eq!(
            datagram.map(|datagram| (datagram.payload, datagram.payload_offset)),
            found.then_some((&b"xyz"[..], frame.len() - 3)),
            "{what}"
        );
        // The walk that looks into frames sees the same packet.
        if found {
            assert!(crate::FrameView::parse(&frame).five_tuple.is_some(), "{what}");
        }
        for len in 0..frame.len() {
            let _ = outer_datagram(Link::Ethernet, &frame[..len]);
        }
    }
    let mut first = [&four[..12], &mpls(2), &four[14..]].concat();
    first[14 + 8 + 6] = 0x20;
    assert!(is_fragment_of_datagram(Link::Ethernet, &first));
}

/// IPv6 from `[7; 16]`, with a VXLAN datagram behind extension headers: of each its number, and its bytes but for the first.
fn behind_extensions_of(headers: &[(u8, &[u8])]) -> Vec<u8> {
    let mut behind = Vec::new();
    for (number, (_, rest)) in headers.iter().enumerate() {
        behind.push(headers.get(number + 1).map_or(17, |(next, _)| *next));
        behind.extend_from_slice(rest);
    }
    behind.extend([0xc3, 0x50, 0x12, 0xb5, 0, 17, 0, 0]);
    behind.extend([8, 0, 0, 0, 0, 0, 5, 0, 0xaa]);
    let first = headers.first().map_or(17, |(next, _)| *next);
    [&[0; 12][..], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, behind.len() as u8, first, 64], &[7; 32], &behind].concat()
}

#[test]
fn a_datagram_is_found_behind_the_extension_headers_that_a_host_takes_off() {
    let options = &[0, 1, 4, 0, 0, 0, 0][..];
    let longer = &[[1].as_slice(), &[0; 14]].concat()[..];
    let (whole, first, last) = (&[0, 0, 0, 0, 0, 0, 9][..], &[0, 0, 1, 0, 0, 0, 9][..], &[0, 0, 8, 0, 0, 0, 9][..]);
    for (what, headers, is_found, is_fragment) in [
        ("none", &[][..], true, false),
        ("hop-by-hop options", &[(0, options)], true, false),
        ("destination options, as of a tunnel in IPv6", &[(60, options)], true, false),
        ("a routing header", &[(43, longer)], true, false),
        ("a fragment header around all of it", &[(44, whole)], true, false),
        ("several", &[(0, longer), (60, options), (43, longer), (44, whole), (60, options)], true, false),
        ("the first fragment", &[(44, first)], false, true),
        ("a fragment behind others", &[(0, options), (43, longer), (44, last)], false, true),
        ("an authentication header, which only who has the key takes off", &[(51, options)], false, false),
    ] {
        let frame = behind_extensions_of(headers);
        let found = outer_datagram(Link::Ethernet, &frame);
        let (source, port) = ("707:707:707:707:707:707:707:707".parse().unwrap(), vxlan::PORT);
        let place = found.map(|found| (found.source, found.destination_port, found.payload.len()));
        assert_eq!(place, is_found.then_some((source, port, 9)), "{what}");
        assert_eq!(is_fragment_of_datagram(Link::Ethernet, &frame), is_fragment, "{what}");
        for len in 0..frame.len() {
            let payload =
                outer_datagram(Link::Ethernet, &frame[..len]).map(|cut| cut.payload_offset + cut.payload.len());
            assert!(payload.is_none_or(|end| end == len), "{what}, {len} bytes");
        }
    }
}

#[test]
fn extension_headers_without_end_are_left() {
    let mut frame = behind_extensions_of(&[(60, &[0; 7][..]); 20]);
    assert!(outer_datagram(Link::Ethernet, &frame).is_some());
    // Each of them is followed by one more, up to the end.
    frame.truncate(14 + 40);
    frame.extend([60, 0, 0, 0, 0, 0, 0, 0].repeat(200));
    frame[18..20].copy_from_slice(&1600_u16.to_be_bytes());
    assert_eq!(outer_datagram(Link::Ethernet, &frame), None);
    assert!(!is_fragment_of_datagram(Link::Ethernet, &frame));
}

#[test]
fn a_fragment_is_not_a_datagram() {
    let mut frame = built(PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([1; 4], [2; 4], 64).udp(1, 4789), b"abc");
    frame[20] = 0x20;
    assert_eq!(outer_datagram(Link::Ethernet, &frame), None);
}

#[test]
fn fragments_of_datagrams_are_told_from_whole_ones_and_from_fragments_of_others() {
    let whole = built(PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([1; 4], [2; 4], 64).udp(1, 4789), b"abc");
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = whole.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    // IPv6 with a fragment header, of which the next header and the field of offset and flag are given.
    let six = |next: u8, field: u16| {
        let [high, low] = field.to_be_bytes();
        let header = [&[0x60, 0, 0, 0, 0, 16, 44, 64][..], &[7; 32], &[next, 0, high, low, 0, 0, 0, 1]].concat();
        [&[0; 12][..], &[0x86, 0xdd], &header, &[0; 8]].concat()
    };
    for (what, frame, expected) in [
        ("whole", whole.clone(), false),
        ("not to be fragmented", with(20, &[0x40, 0]), false),
        ("the first", with(20, &[0x20, 0]), true),
        ("the last", with(20, &[0, 5]), true),
        ("of TCP", with(20, &[0x20, 0, 64, 6]), false),
        ("behind a tag", [&whole[..12], &[0x81, 0, 0, 7], &with(20, &[0x20, 0])[12..]].concat(), true),
        ("the first of IPv6", six(17, 1), true),
        ("the last of IPv6", six(17, 8), true),
        ("IPv6, atomic", six(17, 0), false),
        ("IPv6 of TCP", six(6, 1), false),
        ("no IP", with(12, &[8, 6]), false),
    ] {
        assert_eq!(is_fragment_of_datagram(Link::Ethernet, &frame), expected, "{what}");
        let packet = frame.get(if what == "behind a tag" { 18 } else { 14 }..).unwrap();
        assert_eq!(is_fragment_of_datagram(Link::Ip, packet), expected, "{what}");
        for len in 0..frame.len() {
            let _ = is_fragment_of_datagram(Link::Ethernet, &frame[..len]);
            let _ = is_fragment_of_datagram(Link::Ip, &frame[..len]);
        }
    }
}

#[test]
fn a_cut_frame_gives_what_is_there_of_the_payload_or_nothing() {
    let frame = built(PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([1; 4], [2; 4], 64).udp(1, 4789), b"abcdef");
    for len in 0..frame.len() {
        match outer_datagram(Link::Ethernet, &frame[..len]) {
            Some(datagram) => assert_eq!(datagram.payload, &frame[42..len]),
            None => assert!(len < 42, "{len}"),
        }
    }
}

#[test]
fn padding_is_no_udp_header() {
    let mut frame = built(PacketBuilder::ethernet2([1; 6], [2; 6]).ipv4([1; 4], [2; 4], 64).udp(1, 4789), b"abcdef");
    // The IP header says that nothing, or half a UDP header, is behind it.
    for total_len in [20, 24] {
        frame[17] = total_len;
        assert_eq!(outer_datagram(Link::Ethernet, &frame), None);
    }
}

#[test]
fn inner_frames_are_those_that_were_cut_out_of_the_captures_with_other_tools() {
    let Some(captures) = captures::ethernet() else { return };
    let mut compared = 0;
    let frames = captures.iter().flat_map(|capture| &capture.records);
    assert!(frames.filter(|record| is_seen_at_once(&record.bytes)).count() > 100);
    for capture in captures.iter().filter(|capture| capture.class == "vxlan") {
        let mut ours = BTreeMap::<String, Vec<&[u8]>>::new();
        for record in &capture.records {
            if let Some(datagram) = outer_datagram(Link::Ethernet, &record.bytes)
                && datagram.destination_port == vxlan::PORT
                && let Ok((header, frame)) = vxlan::decapsulate(datagram.payload)
            {
                ours.entry(format!("vxlan:{}", header.vni)).or_default().push(frame);
            }
        }
        let decapsulated = capture.decapsulated();
        match capture.name.as_str() {
            // Those tools were told that the port is VXLAN's.
            "tcpdump_vxlan_port8472" => assert!(ours.is_empty() && !decapsulated.is_empty()),
            // They do not decapsulate where the outer lengths are 0.
            "tcpdump_vxlan_bigtcp_v4v4" => assert!(ours.len() == 1 && decapsulated.is_empty()),
            name => {
                assert_eq!(ours.len(), decapsulated.len(), "{name}");
                for (unit, records) in &decapsulated {
                    let theirs: Vec<_> = records.iter().map(|record| &record.bytes[..]).collect();
                    assert!(ours[unit] == theirs, "{name} {unit}: {} frames, {}", ours[unit].len(), theirs.len());
                    compared += theirs.len();
                }
            }
        }
    }
    assert!(compared > 200, "only {compared} frames");
}

#[test]
fn a_header_of_the_proxy_protocol_is_told_as_that_whatever_was_expected() {
    let datagram = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\x0a\0\0\x01\x0a\0\0\x02\xc0\0\x12\xb5\x08\0\0\0\0\0\x07\0frame";
    for kind in [Kind::Vxlan, Kind::VxlanGpe, Kind::Geneve] {
        let opened = open(kind, datagram, "10.0.0.9".parse().unwrap(), Rules::default());
        assert_eq!(opened, Err(EnvelopeError::ProxyHeader), "{kind:?}");
    }
}
