//! Policies and packets at random for this module's tests, out of few addresses and ports, so that they meet.

mod documents;
mod packets;

pub(super) use documents::{Universe, document};
pub(super) use packets::{Body, Packet, packet, packet_of, packet_with};

use super::model::Interface;

/// Numbers that are random enough, and the same each time (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// 0 to `end` - 1.
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((self.number() >> 32) as usize * end) >> 32
    }

    /// True once in `times`.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Up to `most` different ones of `all`.
    pub(super) fn some<T: Copy + PartialEq>(&mut self, all: &[T], most: usize) -> Vec<T> {
        let mut some = Vec::new();
        for _ in 0..self.below(most + 1) {
            let one = self.of(all);
            if !some.contains(&one) {
                some.push(one);
            }
        }
        some
    }
}

/// The interface that [`document`]s have as a source.
pub(super) fn interface() -> Interface {
    Interface { name: "eth0".into(), ..Interface::default() }
}
