//! Addresses as filters write them.

use crate::tree::Net;

/// Two to four numbers with dots, or one: the address in its upper bits, and how many bits were given.
pub(crate) fn ipv4_prefix(text: &str) -> Option<(u32, u32)> {
    let (mut address, mut bits) = (0_u32, 0);
    for part in text.split('.') {
        if part.is_empty() || part.len() > 9 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u32 = part.parse().ok().filter(|number| *number <= 255)?;
        if bits == 32 {
            return None;
        }
        address = address << 8 | number;
        bits += 8;
    }
    Some((address << (32 - bits), bits))
}

/// The mask of the upper `bits` of 32.
pub(crate) fn mask4(bits: u32) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or_default()
}

/// The mask of the upper `bits` of 128.
pub(crate) fn mask6(bits: u32) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or_default()
}

/// A number where a net is expected: 10 is 10.0.0.0/8, 0x0a01 is 10.1.0.0/16.
pub(crate) fn numbered_net(number: u32) -> Net {
    let mut bits = 32;
    let mut address = number;
    while address != 0 && address & 0xff00_0000 == 0 {
        address <<= 8;
        bits -= 8;
    }
    Net::V4 { address, mask: mask4(bits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_address_is_its_upper_bits() {
        assert_eq!(ipv4_prefix("10.1"), Some((0x0a01_0000, 16)));
        assert_eq!(ipv4_prefix("1.2.3.4"), Some((0x0102_0304, 32)));
        for wrong in ["", "1.2.3.4.5", "256.1", "1..2", "0x1.2", "1.2.", "9999999999.1"] {
            assert_eq!(ipv4_prefix(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_number_is_a_net_of_as_many_bytes_as_it_has() {
        assert_eq!(numbered_net(10), Net::V4 { address: 0x0a00_0000, mask: 0xff00_0000 });
        assert_eq!(numbered_net(0x0a01), Net::V4 { address: 0x0a01_0000, mask: 0xffff_0000 });
        assert_eq!(numbered_net(0x0102_0304), Net::V4 { address: 0x0102_0304, mask: u32::MAX });
    }

    #[test]
    fn masks_of_no_bits_and_of_all_bits_are_what_they_say() {
        assert_eq!((mask4(0), mask4(1), mask4(32)), (0, 0x8000_0000, u32::MAX));
        assert_eq!((mask6(0), mask6(128)), (0, u128::MAX));
    }
}
