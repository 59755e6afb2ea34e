use proptest::prelude::*;

use super::*;

fn tuple(source: [u8; 4], source_port: u16, destination: [u8; 4], destination_port: u16) -> FiveTuple {
    FiveTuple {
        source: IpAddress::v4(source),
        destination: IpAddress::v4(destination),
        source_port,
        destination_port,
        protocol: protocol::TCP,
        version: IpVersion::V4,
    }
}

prop_compose! {
    pub(crate) fn any_tuple()(
        is_v6 in any::<bool>(),
        addresses in any::<[[u8; 16]; 2]>(),
        // Equal ends are where an order that is none shows.
        same in prop::sample::select(vec![(false, false), (false, true), (true, false), (true, true)]),
        ports in any::<(u16, u16)>(),
        protocol in prop_oneof![Just(protocol::TCP), Just(protocol::UDP), any::<u8>()],
    ) -> FiveTuple {
        let address = |bytes: [u8; 16]| {
            if is_v6 { IpAddress(bytes) } else { IpAddress::v4([bytes[0], bytes[1], bytes[2], bytes[3]]) }
        };
        FiveTuple {
            source: address(addresses[0]),
            destination: address(addresses[usize::from(!same.0)]),
            source_port: ports.0,
            destination_port: if same.1 { ports.0 } else { ports.1 },
            protocol,
            version: if is_v6 { IpVersion::V6 } else { IpVersion::V4 },
        }
    }
}

#[test]
fn the_low_end_is_the_lower_address_then_the_lower_port() {
    let (key, direction) = FlowKey::new(NetworkId(7), &tuple([10, 0, 0, 2], 1, [10, 0, 0, 10], 9));
    assert_eq!((key.low.first_four(), key.low_port, direction), ([10, 0, 0, 2], 1, Direction::LowToHigh));
    let (key, direction) = FlowKey::new(NetworkId(7), &tuple([10, 0, 0, 2], 9, [10, 0, 0, 2], 1));
    assert_eq!((key.low_port, key.high_port, direction), (1, 9, Direction::HighToLow));
}

#[test]
fn an_ipv4_address_and_the_ipv6_address_with_its_bytes_are_two() {
    let four = tuple([1, 2, 3, 4], 1, [5, 6, 7, 8], 2);
    let six = FiveTuple { version: IpVersion::V6, ..four };
    assert_ne!(FlowKey::new(NetworkId::NONE, &four).0, FlowKey::new(NetworkId::NONE, &six).0);
}

#[test]
fn an_address_survives_the_way_to_the_standard_library_and_back() {
    for text in ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"] {
        let ip: IpAddr = text.parse().unwrap();
        let version = if ip.is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
        assert_eq!(IpAddress::from(ip).to_ip(version), ip);
    }
    assert_eq!(IpAddress::v4([1, 2, 3, 4]).0, [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_five_tuple_reads_as_ends_and_protocol() {
    let tuple = tuple([192, 0, 2, 1], 49152, [198, 51, 100, 2], 443);
    assert_eq!(tuple.to_string(), "192.0.2.1:49152 > 198.51.100.2:443 proto 6");
    let one = IpAddress([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let six = FiveTuple { version: IpVersion::V6, source: one, destination: one, ..tuple };
    assert_eq!(six.to_string(), "[::1]:49152 > [::1]:443 proto 6");
}

#[test]
fn named_networks_begin_behind_the_largest_vni() {
    let largest = crate::vxlan::Vni::new(crate::vxlan::Vni::MAX).unwrap();
    assert_eq!(NetworkId::FIRST_NAMED, NetworkId::from(largest).0 + 1);
    const { assert!(NetworkId::NONE.0 > NetworkId::FIRST_NAMED) };
}

proptest! {
    #[test]
    fn a_packet_and_its_reply_have_one_key_and_opposite_directions(tuple in any_tuple(), network in any::<u32>()) {
        let (key, direction) = FlowKey::new(NetworkId(network), &tuple);
        let (reply_key, reply_direction) = FlowKey::new(NetworkId(network), &tuple.reversed());
        prop_assert_eq!(key, reply_key);
        // A packet from an end to itself goes both ways.
        if tuple != tuple.reversed() {
            prop_assert_eq!(direction.reversed(), reply_direction);
        }
        prop_assert!((key.low, key.low_port) <= (key.high, key.high_port));
    }

    #[test]
    fn a_key_and_a_direction_give_the_five_tuple_back(tuple in any_tuple()) {
        let (key, direction) = FlowKey::new(NetworkId(7), &tuple);
        prop_assert_eq!(key.five_tuple(direction), tuple);
        prop_assert_eq!(key.five_tuple(direction.reversed()), tuple.reversed());
    }

    #[test]
    fn different_networks_give_different_keys(tuple in any_tuple(), one in any::<u32>(), other in any::<u32>()) {
        prop_assume!(one != other);
        prop_assert_ne!(FlowKey::new(NetworkId(one), &tuple).0, FlowKey::new(NetworkId(other), &tuple).0);
    }

    #[test]
    fn different_flows_have_different_keys(one in any_tuple(), other in any_tuple()) {
        prop_assume!(one != other && one != other.reversed());
        prop_assert_ne!(FlowKey::new(NetworkId(7), &one).0, FlowKey::new(NetworkId(7), &other).0);
    }
}
