//! A block: whole records in memory that was allocated once, and what was noted of them.

use std::ops::{Deref, DerefMut};

/// Whole records, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Block<M = ()> {
    /// The records.
    pub(crate) bytes: Bytes,
    /// How many there are.
    pub(crate) records: u64,
    /// What the lane noted of them.
    pub(crate) marks: M,
    /// Place in the order of hand-over, all lanes together.
    pub(super) ticket: u64,
}

impl<M> Block<M> {
    /// Place in the order of hand-over: no two blocks of a run have the same.
    pub(crate) const fn ticket(&self) -> u64 {
        self.ticket
    }
}

/// The memory of a block, which does not grow, filled from its beginning on.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    /// Zeros at first, as the system gives them: what was not filled yet takes no memory.
    pub(super) memory: Box<[u8]>,
    pub(super) length: usize,
}

impl Bytes {
    pub(super) fn with_room(bytes: usize) -> Self {
        Self { memory: vec![0; bytes].into_boxed_slice(), length: 0 }
    }

    pub(super) fn room(&self) -> usize {
        self.memory.len() - self.length
    }

    /// Empties it; the memory stays.
    pub(super) const fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends `bytes`, for which there is room.
    #[inline]
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.memory[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.length]
    }
}

/// What a lane notes of the records of a block besides their bytes. The default takes no memory.
pub(crate) trait Marks: Default {
    /// With the memory that it usually needs for a block of so many bytes.
    fn with_room(_block_bytes: usize) -> Self {
        Self::default()
    }

    /// Forgets all, and keeps the memory for the next block.
    fn clear(&mut self);
}

impl Marks for () {
    fn clear(&mut self) {}
}
