//! The Internet checksum (RFC 1071), fast over long payloads.

/// The sum of 16-bit words, as the machine has them in memory, not yet folded. A sum over several pieces is the sum of their
/// sums as long as each but the last has an even length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum(u64);

impl Sum {
    /// With `bytes` added, an odd last one followed by zero.
    #[inline]
    #[must_use]
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        // 32-bit words into 64 bits: no carry can be lost over any length that a frame can have, and the compiler does
        // several at a time.
        let mut sum = self.0;
        let mut blocks = bytes.chunks_exact(32);
        for block in &mut blocks {
            sum += block.as_chunks::<4>().0.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>();
        }
        let mut words = blocks.remainder().chunks_exact(2);
        for word in &mut words {
            sum += u64::from(u16::from_ne_bytes([word[0], word[1]]));
        }
        if let [last] = words.remainder() {
            sum += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Self(sum)
    }

    /// With another sum added.
    #[inline]
    #[must_use]
    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The sum of the same bytes, had they begun at an odd place.
    #[inline]
    #[must_use]
    pub(super) const fn at_odd(self) -> Self {
        Self(self.folded().swap_bytes() as u64)
    }

    /// The checksum: the complement of the sum, as it is written.
    #[inline]
    pub(super) const fn checksum(self) -> [u8; 2] {
        (!self.folded()).to_ne_bytes()
    }

    /// The same for UDP, and for whatever a network card would write: 0xffff for 0, which is the same sum and means that
    /// there is a checksum.
    #[inline]
    pub(super) const fn checksum_not_zero(self) -> [u8; 2] {
        match self.checksum() {
            [0, 0] => [0xff, 0xff],
            other => other,
        }
    }

    const fn folded(self) -> u16 {
        let mut sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        sum as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Word by word, as the RFC says it.
    fn plain(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0_u32;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    #[test]
    fn the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().add(&bytes).checksum(), (!0xddf2_u16).to_be_bytes());
    }

    #[test]
    fn zero_is_written_as_all_ones_where_zero_means_none() {
        assert_eq!(Sum::default().add(&[0xff, 0xff]).checksum(), [0, 0]);
        assert_eq!(Sum::default().add(&[0xff, 0xff]).checksum_not_zero(), [0xff, 0xff]);
        assert_eq!(Sum::default().add(&[0xff, 0xfe]).checksum_not_zero(), [0, 1]);
    }

    proptest! {
        #[test]
        fn sums_of_pieces_are_the_sum_of_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..3000), at in any::<usize>()) {
            prop_assert_eq!(Sum::default().add(&bytes).checksum(), plain(&bytes));
            let at = at % (bytes.len() + 1);
            let (head, tail) = bytes.split_at(at);
            let tail = Sum::default().add(tail);
            let tail = if at % 2 == 0 { tail } else { tail.at_odd() };
            prop_assert_eq!(Sum::default().add(head).plus(tail).checksum(), plain(&bytes));
        }
    }
}
