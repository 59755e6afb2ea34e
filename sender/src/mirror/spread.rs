//! Several independent choices from one flow hash.
//!
//! Sampling, shedding, the choice of a target and the source port each take a flow's hash. If they took the same bits, the flows
//! that a sample of a tenth keeps would all be those that are given up last; so the hash is mixed with a number for each purpose.

/// For shedding under a session's budget, all sessions' budget, and the CPU's: one number, so that each gives up the same flows.
pub(super) const SHED: u32 = 0x7F4A_7C15;
/// For packets instead of flows.
pub(super) const PACKETS: u32 = 0xBF58_476D;

/// `hash` for the purpose `salt`: all bits of the result depend on all of the hash.
#[inline]
pub(super) const fn mix(hash: u32, salt: u32) -> u32 {
    let mut value = hash ^ salt;
    value = (value ^ (value >> 16)).wrapping_mul(0x85EB_CA6B);
    value = (value ^ (value >> 13)).wrapping_mul(0xC2B2_AE35);
    value ^ (value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_choice_takes_is_spread_evenly_over_another() {
        let sampled: Vec<u32> =
            (0..100_000_u32).map(|n| n.wrapping_mul(0x9E37_79B1)).filter(|hash| *hash < u32::MAX / 10).collect();
        assert!((9_000..11_000).contains(&sampled.len()), "{}", sampled.len());
        let low = sampled.iter().filter(|hash| mix(**hash, SHED) < u32::MAX / 2).count();
        assert!((low * 2).abs_diff(sampled.len()) < sampled.len() / 10, "{low} of {}", sampled.len());
    }
}
