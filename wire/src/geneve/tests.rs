use proptest::prelude::*;

use super::*;
use crate::captures;
use crate::envelope::outer_datagram;
use crate::link::Behind;

const FRAME: &[u8] = &[0x45, 1, 2, 3];

/// What a header says of a payload that begins as `link` says.
pub(crate) fn protocol_type(link: Link, payload: &[u8]) -> u16 {
    match link.behind(payload) {
        Behind::Packet { ether_type, .. } if link == Link::Ip => ether_type,
        _ => ethertype::TRANSPARENT_ETHERNET,
    }
}

/// A header of version 0 with these options around [`FRAME`].
fn datagram(kind: u16, options: &[u8]) -> Vec<u8> {
    let [high, low] = kind.to_be_bytes();
    [&[(options.len() / 4) as u8, 0, high, low, 0, 1, 2, 0][..], options, FRAME].concat()
}

fn option(class: u16, kind: u8, data: &[u8]) -> Vec<u8> {
    let [high, low] = class.to_be_bytes();
    [&[high, low, kind, (data.len() / 4) as u8][..], data].concat()
}

fn metadata(options: &[u8]) -> Metadata {
    decapsulate(&datagram(ethertype::IPV4, options)).unwrap().0.metadata
}

#[test]
fn ethernet_ipv4_and_ipv6_are_told_apart_and_anything_else_is_an_error() {
    for (kind, link) in [
        (0x6558, Ok(Link::Ethernet)),
        (0x0800, Ok(Link::Ip)),
        (0x86dd, Ok(Link::Ip)),
        (0x0806, Err(GeneveError::Payload)),
        (0x894f, Err(GeneveError::Payload)),
        (0, Err(GeneveError::Payload)),
    ] {
        let datagram = datagram(kind, &[]);
        let opened = decapsulate(&datagram);
        assert_eq!(opened.map(|(header, _)| header.link), link, "{kind:#x}");
        if let Ok((header, frame)) = opened {
            assert_eq!((header.vni.get(), header.header_len(), frame), (0x102, 8, FRAME));
        }
    }
}

#[test]
fn each_way_of_being_no_mirrored_packet_has_its_error() {
    let whole = datagram(0x0800, &option(0x0103, 1, &[0; 8]));
    let with = |at: usize, value: u8| {
        let mut datagram = whole.clone();
        datagram[at] = value;
        decapsulate(&datagram).map(|_| ())
    };
    assert_eq!(with(0, whole[0]), Ok(()));
    assert_eq!(with(0, 0x43), Err(GeneveError::Version));
    assert_eq!(with(0, 0xc3), Err(GeneveError::Version));
    assert_eq!(with(1, 0x80), Err(GeneveError::Control));
    assert_eq!(with(0, 5), Err(GeneveError::OptionOverrun), "more options than datagram");
    assert_eq!(with(0, 1), Err(GeneveError::OptionOverrun), "an option longer than the area");
    assert_eq!(with(0, 2), Err(GeneveError::OptionOverrun), "an option longer than the area by a word");
    assert_eq!(with(11, 31), Err(GeneveError::OptionOverrun));
    for len in 0..8 {
        assert_eq!(decapsulate(&whole[..len]), Err(GeneveError::HeaderTooShort));
    }
    for len in 8..20 {
        assert_eq!(decapsulate(&whole[..len]), Err(GeneveError::OptionOverrun));
    }
    assert_eq!(decapsulate(&whole[..20]), Err(GeneveError::EmptyFrame));
}

#[test]
fn reserved_bits_are_noted_and_never_a_reason_to_drop() {
    let whole = datagram(0x6558, &[]);
    for (at, bit) in [(1, 0x20), (1, 0x01), (7, 0x80), (7, 0x01)] {
        let mut datagram = whole.clone();
        datagram[at] |= bit;
        let (header, frame) = decapsulate(&datagram).unwrap();
        assert!(header.reserved_bits_set && frame == FRAME, "byte {at}, bit {bit:#x}");
    }
    assert!(!decapsulate(&whole).unwrap().0.reserved_bits_set);
    let mut critical = whole;
    critical[1] = 0x40;
    assert!(!decapsulate(&critical).unwrap().0.reserved_bits_set, "C is no reserved bit");
}

#[test]
fn sixty_three_words_of_options_are_walked() {
    let many: Vec<u8> = (0..63).flat_map(|number| option(0x7777, number, &[])).collect();
    let whole = datagram(0x6558, &many);
    let (header, frame) = decapsulate(&whole).unwrap();
    assert_eq!((header.header_len(), frame), (260, FRAME));
    assert_eq!(header.options.iter().map(|option| option.kind).collect::<Vec<_>>(), (0..63).collect::<Vec<_>>());
    let long = [option(1, 1, &[7; 124]), option(2, 2, &[8; 120])].concat();
    let whole = datagram(0x6558, &long);
    let lengths: Vec<_> = decapsulate(&whole).unwrap().0.options.iter().map(|option| option.data.len()).collect();
    assert_eq!(lengths, [124, 120]);
}

#[test]
fn an_unknown_option_is_passed_over_and_an_unknown_critical_one_is_told() {
    assert_eq!(metadata(&option(0x7777, 0x01, &[1; 4])), Metadata::default());
    assert!(metadata(&option(0x7777, 0x81, &[1; 4])).unknown_critical);
    // The critical bit is part of the type: this is not AWS's first option.
    assert!(metadata(&option(0x0108, 0x81, &[1; 8])).unknown_critical);
    // A known option of a length that cannot be is not known.
    assert_eq!(metadata(&option(0x0108, 0x01, &[1; 4])).cookie, Cookie::None);
}

#[test]
fn cookies_of_gateway_load_balancers_are_read_in_any_order() {
    for (class, cloud) in [(0x0108, BalancerCloud::Aws), (0x0167, BalancerCloud::Tencent)] {
        let options = [
            option(class, 1, &[1, 2, 3, 4, 5, 6, 7, 8]),
            option(class, 2, &[0, 0, 0, 0, 0, 0, 0, 9]),
            option(class, 3, &[0xa0, 0, 0, 7]),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let metadata = metadata(&order.map(|number| options[number].clone()).concat());
            let balancer = Balancer { cloud, endpoint: 0x0102_0304_0506_0708, attachment: 9 };
            assert_eq!(metadata.cookie, Cookie::Balancer(balancer));
            let flow = match cloud {
                BalancerCloud::Aws => (Some(0xa000_0007), None),
                BalancerCloud::Tencent => (Some(7), Some(5)),
            };
            assert_eq!((metadata.flow_cookie, metadata.flow_direction), flow);
        }
    }
}

#[test]
fn googles_cookies_have_the_network_the_interface_the_profile_and_the_direction() {
    let endpoint = [0x0d, 0xc0, 0xa8, 0x64, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let options = |word: u32| {
        [
            option(0x0132, 3, &[0, 0, 0, 0, 0, 0, 0, 0x12]),
            option(0x0132, 1, &word.to_be_bytes()),
            option(0x0132, 2, &endpoint),
        ]
        .concat()
    };
    let egress = metadata(&options(0x8000_00d1));
    assert_eq!(egress.cookie, Cookie::Google(GoogleCookie { network: 0x0800_000d, endpoint, profile: 0x12 }));
    assert_eq!((egress.direction, egress.google_t), (Some(MirrorDirection::Egress), false));
    let ingress = metadata(&options(0x8000_00d2));
    assert_eq!(
        (ingress.cookie, ingress.direction, ingress.google_t),
        (egress.cookie, Some(MirrorDirection::Ingress), true)
    );
}

#[test]
fn what_a_sender_marks_is_what_a_collector_reads() {
    let mark = Mark {
        captured_ns: 0x0102_0304_0506_0708,
        sequence: u64::MAX - 3,
        series: 0xdead_beef,
        original_len: 9001,
        direction: Some(MirrorDirection::Egress),
    };
    for direction in [None, Some(MirrorDirection::Ingress), Some(MirrorDirection::Egress)] {
        let mark = Mark { direction, ..mark };
        let datagram = [&marked_header(Vni::new(0x00ab_cdef).unwrap(), &mark)[..], FRAME].concat();
        assert_eq!(datagram[2..4], [0x65, 0x58]);
        let (header, inside) = decapsulate(&datagram).unwrap();
        assert_eq!((header.vni.get(), header.link, inside), (0x00ab_cdef, Link::Ethernet, FRAME));
        assert_eq!((header.metadata.mark, header.metadata.direction), (Some(mark), direction));
        assert!(!header.metadata.unknown_critical && !header.reserved_bits_set);
    }
    let long = Mark { original_len: u32::MAX, ..mark };
    assert_eq!(metadata(&long.to_option()).mark.unwrap().original_len, Mark::MAX_ORIGINAL_LEN);
}

#[test]
fn a_mark_is_laid_out_as_its_page_says_and_may_grow() {
    let mark =
        Mark { captured_ns: 1, sequence: 2, series: 3, original_len: 4, direction: Some(MirrorDirection::Ingress) };
    let bytes = mark.to_option();
    assert_eq!(bytes, [0xff, 0x56, 1, 6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3, 1, 0, 0, 4]);
    assert_eq!(metadata(&option(Mark::CLASS, Mark::KIND, &[&bytes[4..], &[9; 8]].concat())).mark, Some(mark));
    assert_eq!(metadata(&option(Mark::CLASS, Mark::KIND, &bytes[4..24])).mark, None);
}

#[test]
fn captures_of_others_come_apart_as_tshark_says() {
    let Some(captures) = captures::ethernet() else { return };
    let mut compared = 0;
    for capture in captures.iter().filter(|capture| capture.class == "geneve") {
        let rows = capture.table("tunnel_frames.tsv");
        for row in &rows {
            let record = &capture.records[row[0].parse::<usize>().unwrap() - 1];
            let outer = outer_datagram(Link::Ethernet, &record.bytes).unwrap();
            let (header, frame) = decapsulate(outer.payload).unwrap();
            assert_eq!(header.vni.to_string(), row[2], "{}", capture.name);
            assert_eq!((outer.payload_offset + header.header_len()).to_string(), row[9], "{}", capture.name);
            assert_eq!(frame.len().to_string(), row[11], "{}", capture.name);
            assert_eq!(header.link == Link::Ethernet, row[12] == "eth", "{}", capture.name);
            compared += 1;
        }
        assert!(!rows.is_empty(), "{}", capture.name);
    }
    assert!(compared >= 60, "{compared} frames");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_what_is_taken_off_is_what_was_there(
        mut bytes in prop::collection::vec(any::<u8>(), 0..400),
        plausible in any::<bool>(),
    ) {
        if plausible && bytes.len() >= 4 {
            (bytes[0], bytes[1], bytes[2], bytes[3]) = (bytes[0] & 0x3f, bytes[1] & 0x7f, 0x65, 0x58);
        }
        if let Ok((header, frame)) = decapsulate(&bytes) {
            prop_assert_eq!(&bytes[header.header_len()..], frame);
            let walked: usize = header.options.iter().map(|option| 4 + option.data.len()).sum();
            prop_assert_eq!(walked + HEADER_LEN, header.header_len());
        }
    }
}
