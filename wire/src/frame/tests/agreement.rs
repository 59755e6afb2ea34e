//! The same verdict as etherparse on what both know.

use etherparse::{LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::build;
use crate::flow::{IpAddress, IpVersion};
use crate::frame::{FrameView, IcmpHeader, Malformed, Missing, Network, Transport};

/// Compares the view of `bytes` with etherparse's, which knows neither SNAP, MPLS, PPPoE, SCTP nor tunnels.
fn compare(bytes: &[u8]) -> Result<(), TestCaseError> {
    let view = FrameView::parse(bytes);
    let Ok(theirs) = LaxSlicedPacket::from_ethernet(bytes) else {
        prop_assert_eq!(view.missing, Missing::LinkHeader);
        return Ok(());
    };
    if view.tunnels > 0 {
        return Ok(());
    }
    let tags: Vec<_> = theirs
        .link_exts
        .iter()
        .map(|ext| match ext {
            LaxLinkExtSlice::Vlan(tag) => Some(tag.vlan_identifier().value()),
            LaxLinkExtSlice::Macsec(_) => None,
        })
        .collect();
    if tags.contains(&None) {
        return Ok(());
    }
    prop_assert_eq!(view.vlans.ids().iter().copied().map(Some).collect::<Vec<_>>(), &tags[..tags.len().min(2)]);

    let (version, source, destination, protocol, fragmented) = match &theirs.net {
        None => return Ok(()),
        Some(LaxNetSlice::Arp(_)) => {
            prop_assert_eq!((view.network, view.five_tuple), (Network::Arp, None));
            return Ok(());
        }
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let (source, destination) = (IpAddress::v4(header.source()), IpAddress::v4(header.destination()));
            (IpVersion::V4, source, destination, ip.payload().ip_number.0, ip.payload().fragmented)
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let (source, destination) = (IpAddress(header.source()), IpAddress(header.destination()));
            (IpVersion::V6, source, destination, ip.payload().ip_number.0, ip.payload().fragmented)
        }
    };
    let Some(tuple) = view.five_tuple else {
        // It takes the version from the header alone.
        prop_assert!(view.malformed.is_some() || view.missing == Missing::NetworkHeader);
        return Ok(());
    };
    prop_assert_eq!((tuple.version, tuple.source, tuple.destination), (version, source, destination));
    if view.malformed == Some(Malformed::Ipv4TotalLength) {
        // It takes the end of the frame then; nothing behind the header is believed here.
        return Ok(());
    }
    if theirs.stop_err.is_none() && !fragmented {
        prop_assert_eq!((tuple.protocol, view.fragment), (protocol, None));
    }
    let payload = match &theirs.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let Transport::Tcp(ours) = view.transport else { return Err(TestCaseError::fail("no TCP")) };
            prop_assert_eq!((tuple.source_port, tuple.destination_port), (tcp.source_port(), tcp.destination_port()));
            prop_assert_eq!(
                (ours.sequence, ours.acknowledgement),
                (tcp.sequence_number(), tcp.acknowledgment_number())
            );
            prop_assert_eq!((ours.window, ours.flags.0), (tcp.window_size(), tcp.header_slice()[13]));
            tcp.payload()
        }
        Some(TransportSlice::Udp(udp)) => {
            prop_assert_eq!(view.transport, Transport::Udp);
            prop_assert_eq!((tuple.source_port, tuple.destination_port), (udp.source_port(), udp.destination_port()));
            udp.payload()
        }
        Some(TransportSlice::Icmpv4(icmp)) if version == IpVersion::V4 => {
            let Transport::Icmp(ours) = view.transport else { return Err(TestCaseError::fail("no ICMP")) };
            prop_assert_eq!((ours.kind, ours.code), (icmp.type_u8(), icmp.code_u8()));
            return Ok(());
        }
        Some(TransportSlice::Icmpv6(icmp)) if version == IpVersion::V6 => {
            let Transport::Icmp(ours) = view.transport else { return Err(TestCaseError::fail("no ICMPv6")) };
            prop_assert_eq!((ours.kind, ours.code), (icmp.type_u8(), icmp.code_u8()));
            return Ok(());
        }
        Some(_) | None => return Ok(()),
    };
    prop_assert_eq!(view.payload(), payload);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn frames_that_are_right_look_the_same_to_etherparse(frame in build::frame()) {
        let view = FrameView::parse(&frame.bytes);
        prop_assert_eq!((view.missing, view.malformed), (Missing::Nothing, None));
        prop_assert_eq!(usize::from(view.vlans.count()), frame.tags.len());
        prop_assert_eq!(view.vlans.ids(), &frame.tags[..frame.tags.len().min(2)]);
        prop_assert_eq!(view.fragment.is_some(), frame.is_fragment);
        let theirs = SlicedPacket::from_ethernet(&frame.bytes);
        // It wants ICMP time stamps to be of one length.
        let is_timestamp = matches!(view.transport, Transport::Icmp(IcmpHeader { kind: 13 | 14, .. }));
        prop_assert!(theirs.is_ok() || is_timestamp, "{:?}", theirs);
        compare(&frame.bytes)?;
    }

    #[test]
    fn frames_that_are_cut_look_the_same_to_etherparse(frame in build::frame(), len in 0..200usize) {
        compare(&frame.bytes[..len.min(frame.bytes.len())])?;
    }

    #[test]
    fn frames_with_bytes_changed_look_the_same_to_etherparse(
        frame in build::frame(),
        changes in prop::collection::vec((12..120usize, any::<u8>()), 1..4),
        len in 14..300usize,
    ) {
        let mut bytes = frame.bytes;
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(len);
        compare(&bytes)?;
    }
}
