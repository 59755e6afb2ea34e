//! What the connections of one shard may keep together.

/// Memory for bytes that came out of order, shared by the connections of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    limit: usize,
    used: usize,
    /// Holes given up early because one direction of a connection had as much waiting as it may.
    pub direction_full: u64,
    /// Holes given up early because the shard's connections together had.
    pub shard_full: u64,
}

impl Budget {
    /// What the connections of a shard keep at the most by default, in bytes.
    pub const DEFAULT_LIMIT: usize = 64 << 20;

    /// A budget of `limit` bytes. It is passed by one segment at the most, for as long as it takes to give up the hole before it.
    pub const fn new(limit: usize) -> Self {
        Self { limit, used: 0, direction_full: 0, shard_full: 0 }
    }

    /// Bytes that wait now.
    pub const fn used(&self) -> usize {
        self.used
    }

    pub(super) const fn is_spent(&self) -> bool {
        self.used > self.limit
    }

    /// What took `before` takes `after` now.
    pub(super) fn change(&mut self, before: usize, after: usize) {
        self.used = (self.used + after).saturating_sub(before);
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Self::DEFAULT_LIMIT)
    }
}
