//! What the protocols of a shard's flows keep, together.

/// So many bytes all analysers of a shard may keep. Beyond it one that grows and keeps more than [`USUAL`] is given up.
pub(crate) const SHARD_MAX: usize = 128 << 20;

/// So many bytes an analyser may keep all the same, up to [`SHARD_MAX`] four times: a request that waits for its answer, a head that is cut
/// in two, small tables of HPACK.
const USUAL: usize = 4 << 10;

/// Counts what analysers keep of what comes until more does. Each has its own bound; a million flows of those would have no memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    used: usize,
    /// Flows whose protocol is not read any more since all together kept too much.
    pub(crate) given_up: u64,
}

impl Memory {
    /// Bytes that are kept.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// An analyser that kept `before` bytes keeps `now`; gives whether that is too much.
    #[inline]
    pub(super) fn change(&mut self, before: &mut u32, now: usize) -> bool {
        let old = *before as usize;
        if now == old {
            return false;
        }
        *before = u32::try_from(now).unwrap_or(u32::MAX);
        self.used = (self.used + *before as usize).saturating_sub(old);
        now > old && self.is_too_much(now)
    }

    const fn is_too_much(&self, now: usize) -> bool {
        self.used > SHARD_MAX && (now > USUAL || self.used > 4 * SHARD_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, SHARD_MAX, USUAL};

    #[test]
    fn who_keeps_much_is_given_up_first_and_at_last_who_keeps_anything() {
        let mut memory = Memory::default();
        let (mut large, mut small, mut other) = (0, 0, 0);
        assert!(!memory.change(&mut large, SHARD_MAX));
        assert!(!memory.change(&mut small, USUAL), "as much as is usual");
        assert!(memory.change(&mut small, USUAL + 1));
        assert!(!memory.change(&mut small, USUAL), "it keeps less");
        assert!(memory.change(&mut large, 4 * SHARD_MAX));
        assert!(memory.change(&mut other, 1));
        for (kept, before) in [(&mut large, 4 * SHARD_MAX), (&mut small, USUAL), (&mut other, 1)] {
            assert_eq!(*kept as usize, before);
            assert!(!memory.change(kept, 0));
        }
        assert_eq!(memory.used(), 0);
    }
}
