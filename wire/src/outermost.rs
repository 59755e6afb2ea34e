//! The addresses of the outermost IP header of a frame: whose packet it is on the wire that it was seen on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::frame::{ETHERNET_HEADER_LEN, ethertype};

/// VLAN tags that are walked over.
const MAX_TAGS: usize = 4;

/// Source and destination address of the outermost IP header in `frame`, which begins with an Ethernet header; `None`
/// where there is no whole one. VLAN tags are walked over; nothing else is.
#[inline]
pub fn outermost_addresses(frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let mut at = ETHERNET_HEADER_LEN;
    let mut ether_type = u16_at(frame, at - 2)?;
    for _ in 0..MAX_TAGS {
        if !matches!(ether_type, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD) {
            break;
        }
        ether_type = u16_at(frame, at + 2)?;
        at += 4;
    }
    match ether_type {
        ethertype::IPV4 => {
            let header = frame.get(at..)?.first_chunk::<20>()?;
            let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]).into();
            (header[0] >> 4 == 4).then(|| (address(12), address(16)))
        }
        ethertype::IPV6 => {
            let header = frame.get(at..)?.first_chunk::<40>()?;
            let address =
                |at: usize| header[at..].first_chunk::<16>().map(|bytes| Ipv6Addr::from_octets(*bytes).into());
            if header[0] >> 4 != 6 {
                return None;
            }
            Some((address(8)?, address(24)?))
        }
        _ => None,
    }
}

fn u16_at(frame: &[u8], at: usize) -> Option<u16> {
    frame.get(at..)?.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An IPv4 packet behind so many tags.
    fn v4(tags: usize) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 7]);
        }
        frame.extend([8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame
    }

    #[test]
    fn addresses_are_found_behind_tags_in_both_families() {
        let expected = Some((IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])));
        for tags in 0..=MAX_TAGS {
            assert_eq!(outermost_addresses(&v4(tags)), expected, "{tags} tags");
        }
        assert_eq!(outermost_addresses(&v4(MAX_TAGS + 1)), None);
        let mut v6 = vec![2; 12];
        v6.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 59, 64]);
        let [source, destination]: [Ipv6Addr; 2] = ["fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()];
        v6.extend(source.octets());
        v6.extend(destination.octets());
        assert_eq!(outermost_addresses(&v6), Some((source.into(), destination.into())));
    }

    #[test]
    fn what_is_cut_or_no_ip_has_no_addresses() {
        let whole = v4(1);
        assert!((0..whole.len()).all(|len| outermost_addresses(&whole[..len]).is_none()));
        let mut arp = v4(0);
        arp[13] = 6;
        assert_eq!(outermost_addresses(&arp), None);
        let mut version = v4(0);
        version[14] = 0x65;
        assert_eq!(outermost_addresses(&version), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_panic(frame: Vec<u8>) {
            let _ = outermost_addresses(&frame);
        }
    }
}
