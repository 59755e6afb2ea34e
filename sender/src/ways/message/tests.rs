use proptest::prelude::*;

use super::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, kind, value);
    bytes
}

/// An answer about device 7, as the kernel writes it.
fn answer(kind: &str, data: &[u8], more: &[u8]) -> Vec<u8> {
    let mut header = [0; LINK_HEADER_LEN];
    header[4..8].copy_from_slice(&7_u32.to_ne_bytes());
    let info =
        [attribute(link::INFO_KIND, &[kind.as_bytes(), b"\0"].concat()), attribute(link::INFO_DATA | 0x8000, data)];
    let body =
        [&header, attribute(link::NAME, b"dev7\0").as_slice(), &attribute(link::INFO, &info.concat()), more].concat();
    message(NEW_LINK, 3, &body)
}

#[test]
fn a_tunnel_is_told_with_its_kind_its_far_end_and_the_device_below() {
    let v6 = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    for (kind, place, far_end) in [
        ("vxlan", 2, IpAddr::from([192, 0, 2, 1])),
        ("vxlan", 16, IpAddr::from(v6)),
        ("geneve", 7, IpAddr::from(v6)),
        ("gretap", 7, IpAddr::from([192, 0, 2, 1])),
        ("ipip", 3, IpAddr::from([192, 0, 2, 1])),
        ("ip6tnl", 3, IpAddr::from(v6)),
    ] {
        let octets = if far_end.is_ipv4() { vec![192, 0, 2, 1] } else { v6.to_vec() };
        let below = attribute(link::BELOW, &5_u32.to_ne_bytes());
        let device = device_in(&answer(kind, &attribute(place, &octets), &below), 3).unwrap().unwrap();
        assert_eq!((device.name.as_str(), device.kind.as_str(), device.index), ("dev7", kind, 7));
        assert_eq!((device.far_end, device.below), (Some(far_end), Some(5)), "{kind}");
    }
}

#[test]
fn a_group_no_address_and_a_device_in_another_namespace_are_no_way_to_go_on() {
    for address in [[0, 0, 0, 0], [239, 1, 1, 1]] {
        let device = device_in(&answer("vxlan", &attribute(2, &address), &[]), 3).unwrap().unwrap();
        assert_eq!(device.far_end, None);
    }
    let elsewhere =
        [attribute(link::NAMESPACE_BELOW, &0_u32.to_ne_bytes()), attribute(link::BELOW, &5_u32.to_ne_bytes())];
    assert_eq!(device_in(&answer("vxlan", &[], &elsewhere.concat()), 3).unwrap().unwrap().below, None);
    let itself = attribute(link::BELOW, &7_u32.to_ne_bytes());
    assert_eq!(device_in(&answer("dummy", &[], &itself), 3).unwrap().unwrap().below, None);
}

#[test]
fn an_answer_to_another_question_is_passed_over_and_an_error_is_told() {
    let mut both = answer("tun", &[], &[]);
    assert_eq!(device_in(&both, 4).unwrap(), None);
    both.extend(message(ERROR, 4, &(-libc::ENETUNREACH).to_ne_bytes()));
    assert_eq!(device_in(&both, 3).unwrap().unwrap().kind, "tun");
    assert_eq!(route_in(&both, 4).unwrap_err().raw_os_error(), Some(libc::ENETUNREACH));
}

#[test]
fn a_route_is_asked_for_by_both_ends_of_a_datagram_of_one_family() {
    let (v4, v6): (SocketAddr, SocketAddr) = ("192.0.2.1:4789".parse().unwrap(), "[2001:db8::1]:4789".parse().unwrap());
    let kinds = |question: &[u8]| {
        attributes(&question[HEADER_LEN + ROUTE_HEADER_LEN..]).map(|(kind, _)| kind).collect::<Vec<_>>()
    };
    let question = ask_route(1, Some("192.0.2.9:50000".parse().unwrap()), v4);
    assert_eq!(&question[HEADER_LEN..HEADER_LEN + 3], [libc::AF_INET as u8, 32, 32]);
    assert_eq!(kinds(&question), [1, 27, 29, 2, 28]);
    assert_eq!(question.len(), u32::from_ne_bytes(question[..4].try_into().unwrap()) as usize);
    assert_eq!(kinds(&ask_route(1, Some(v4), v6)), [1, 27, 29]);
    let scoped = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 4789, 0, 3);
    assert_eq!(kinds(&ask_route(1, None, scoped.into())), [1, 27, 29, 4]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_go_on_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..120) {
        let _ = (device_in(&bytes, 3), route_in(&bytes, 3));
        let whole = answer("vxlan", &attribute(2, &[192, 0, 2, 1]), &bytes);
        let _ = device_in(&whole[..whole.len().saturating_sub(cut)], 3);
    }
}
