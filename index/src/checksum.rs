//! The checksum of the index format.
//!
//! Four lanes take the 32-byte rows of the bytes, eight bytes each in little-endian order; a last row is filled up with zeros.
//! A lane's step is `(lane ^ word) * K`, rotated. For a fixed word it maps lanes one to one, for a fixed lane it maps words
//! one to one, so a change of a single word always changes the result. It finds damage, not malice.

const K: u64 = 0x9e37_79b9_7f4a_7c15;

/// The checksum of `bytes`.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let mut lanes = [K, K.rotate_left(16), K.rotate_left(32), K.rotate_left(48)];
    let (rows, rest) = bytes.as_chunks::<32>();
    for row in rows {
        take(&mut lanes, row);
    }
    if !rest.is_empty() {
        let mut row = [0; 32];
        for (to, from) in row.iter_mut().zip(rest) {
            *to = *from;
        }
        take(&mut lanes, &row);
    }
    let mixed = lanes.iter().fold(bytes.len() as u64, |mixed, lane| step(mixed, *lane));
    (mixed ^ mixed >> 32).wrapping_mul(K)
}

#[inline]
fn take(lanes: &mut [u64; 4], row: &[u8; 32]) {
    let (words, _) = row.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane = step(*lane, u64::from_le_bytes(*word));
    }
}

#[inline]
const fn step(lane: u64, word: u64) -> u64 {
    (lane ^ word).wrapping_mul(K).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_a_part_of_the_format_and_stays() {
        let bytes: Vec<u8> = (0..=255).collect();
        // From a second implementation, with numbers of any size.
        let expected = [2_323_460_554_031_519_636, 9_779_492_592_925_274_952, 11_957_093_820_946_003_019];
        assert_eq!([checksum(b""), checksum(b"vxtap"), checksum(&bytes)], expected);
    }

    #[test]
    fn every_changed_bit_and_every_cut_changes_the_checksum() {
        let bytes: Vec<u8> = (0..77_u8).collect();
        let whole = checksum(&bytes);
        for at in 0..bytes.len() {
            assert_ne!(checksum(&bytes[..at]), whole);
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert_ne!(checksum(&changed), whole, "bit {bit} of byte {at}");
            }
        }
        assert_ne!(checksum(&[0; 31]), checksum(&[0; 32]));
    }
}
