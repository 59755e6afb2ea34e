use vxtap_ring::{Offload, PacketType, VlanTag};

use super::*;

fn frame(bytes: &[u8], vlan: Option<VlanTag>) -> Frame<'_> {
    Frame {
        bytes,
        wire_len: bytes.len() as u32,
        time_ns: 1,
        packet_type: PacketType::Host,
        interface: 1,
        vlan,
        checksum_missing: false,
        offload: Offload::default(),
    }
}

/// An IPv4 packet between these addresses.
fn packet(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0]);
    frame.extend(source);
    frame.extend(destination);
    frame
}

#[test]
fn a_tag_comes_back_behind_the_addresses_and_frames_without_one_are_not_copied() {
    let bytes: Vec<u8> = (0..60).collect();
    let mut tagged = vec![9; 3];
    assert_eq!(restore_tag(&frame(&bytes, None), &mut tagged), None);
    let tag = VlanTag { tpid: 0x88a8, tci: 0x6007 };
    let place = restore_tag(&frame(&bytes, Some(tag)), &mut tagged).unwrap();
    assert_eq!(place, 3..67);
    assert_eq!(tagged[3..15], bytes[..12]);
    assert_eq!(tagged[15..19], [0x88, 0xa8, 0x60, 0x07]);
    assert_eq!(tagged[19..], bytes[12..]);
    // Too short to have had one.
    assert_eq!(restore_tag(&frame(&bytes[..11], Some(tag)), &mut tagged), None);
}

#[test]
fn what_is_for_this_machine_is_not_mirrored_and_a_probe_if_a_prober_sent_it() {
    let own: AddressSet = [IpAddr::from([10, 0, 0, 5])].into_iter().collect();
    let probes = ["35.191.0.0/16".parse().unwrap(), "130.211.0.0/22".parse().unwrap()];
    for (source, destination, expected) in [
        ([10, 0, 0, 1], [10, 0, 0, 2], None),
        ([10, 0, 0, 1], [10, 0, 0, 5], Some(DropReason::OwnTraffic)),
        ([35, 191, 9, 9], [10, 0, 0, 5], Some(DropReason::HealthProbe)),
        ([130, 211, 4, 1], [10, 0, 0, 5], Some(DropReason::OwnTraffic)),
        // The same prober, seen on its way to a mirrored host.
        ([35, 191, 9, 9], [10, 0, 0, 2], None),
        // What this machine sends is not shown by the ring; a mirror may show it to itself.
        ([10, 0, 0, 5], [10, 0, 0, 2], None),
    ] {
        assert_eq!(not_mirrored(&packet(source, destination), &own, &probes), expected, "{source:?} {destination:?}");
    }
    assert_eq!(not_mirrored(&[0; 20], &own, &probes), None);
}
