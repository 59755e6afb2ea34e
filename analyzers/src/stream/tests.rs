use std::net::Ipv4Addr;

use vxtap_wire::geneve::BalancerCloud;

use super::*;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

fn vni(number: u32) -> Vni {
    Vni::new(number).unwrap()
}

fn around(vnis: &[u32]) -> Vnis {
    let mut around = Vnis::NONE;
    for number in vnis {
        around.push(vni(*number));
    }
    around
}

fn geneve(number: u32) -> StreamKey {
    StreamKey { encapsulation: Encapsulation::Geneve, ..StreamKey::vxlan(SOURCE, vni(number)) }
}

fn google(network: u32) -> Cookie {
    let mut endpoint = [0; 16];
    (endpoint[0], endpoint[15]) = (0x0d, 1);
    Cookie::Google(GoogleCookie { network, endpoint, profile: 0x12 })
}

#[test]
fn a_name_tells_all_that_tells_streams_apart() {
    let balancer = Cookie::Balancer(Balancer { cloud: BalancerCloud::Aws, endpoint: 0xab, attachment: 0 });
    let keys = [
        (StreamKey::PLAIN, "plain"),
        (StreamKey { link: Link::Ip, ..StreamKey::PLAIN }, "plain ip"),
        (StreamKey::packet("eth0".parse().unwrap()), "packet eth0"),
        (StreamKey::vxlan(SOURCE, vni(4242)), "vni 4242 from 10.0.0.7"),
        (StreamKey { around: around(&[1, 2]), ..StreamKey::vxlan(SOURCE, vni(3)) }, "vni 1/2/3 from 10.0.0.7"),
        (geneve(10), "geneve vni 10 from 10.0.0.7"),
        (StreamKey { link: Link::Ip, ..geneve(10) }, "geneve vni 10 from 10.0.0.7 ip"),
        (
            StreamKey { around: around(&[0]), cookie: balancer, ..geneve(9) },
            "geneve vni 0/9 from 10.0.0.7 endpoint aws 0xab",
        ),
        (
            StreamKey { cookie: google(13), direction: Some(MirrorDirection::Egress), link: Link::Ip, ..geneve(0) },
            "geneve vni 0 from 10.0.0.7 network 0xd endpoint 0xd000000000000000000000000000001 profile 0x12 egress ip",
        ),
        (
            StreamKey { encapsulation: Encapsulation::VxlanGpe, ..StreamKey::vxlan(SOURCE, vni(1)) },
            "vxlan-gpe vni 1 from 10.0.0.7",
        ),
    ];
    for (key, name) in keys {
        assert_eq!(key.to_string(), name);
    }
}

#[test]
fn networks_with_the_same_addresses_stay_apart_by_whatever_tells_them_apart() {
    let aws = |endpoint| Cookie::Balancer(Balancer { cloud: BalancerCloud::Aws, endpoint, attachment: 1 });
    let keys = [
        StreamKey::PLAIN,
        geneve(0),
        geneve(7),
        StreamKey { cookie: google(1), ..geneve(0) },
        StreamKey { cookie: google(2), ..geneve(0) },
        StreamKey { cookie: aws(1), ..geneve(0) },
        StreamKey { cookie: aws(2), ..geneve(0) },
        StreamKey { around: around(&[1]), ..geneve(2) },
        StreamKey { around: around(&[2]), ..geneve(1) },
        StreamKey { around: around(&[1, 2]), ..geneve(2) },
    ];
    for (at, one) in keys.iter().enumerate() {
        for other in &keys[..at] {
            assert_ne!(one.network(), other.network(), "{one} and {other}");
        }
    }
}

#[test]
fn one_network_is_one_whichever_way_its_frames_come() {
    let seven = NetworkId(7);
    assert_eq!(StreamKey::vxlan(SOURCE, vni(7)).network(), seven);
    assert_eq!(geneve(7).network(), seven);
    let balanced = Cookie::Balancer(Balancer { cloud: BalancerCloud::Aws, endpoint: 5, attachment: 6 });
    assert_eq!(StreamKey { around: around(&[0]), cookie: balanced, ..geneve(7) }.network(), seven);
    let both = [MirrorDirection::Ingress, MirrorDirection::Egress]
        .map(|way| StreamKey { cookie: google(3), direction: Some(way), ..geneve(0) }.network());
    assert_eq!(both[0], both[1], "both directions of one interface");
}

#[test]
fn no_number_is_that_of_no_network_or_of_a_vni() {
    for outer in 1..2000 {
        let network = StreamKey { around: around(&[outer]), ..geneve(outer * 7) }.network();
        assert!(network.0 >= HASHED_NETWORKS && network != NetworkId::NONE);
    }
}
