//! The steer hash: which worker owns a flow.
//!
//! Symmetric (a packet and its reply hash alike), seeded (so that a sender who does not know the seed cannot aim all
//! its flows at one worker), and built from 32-bit additions, multiplications, shifts and exclusive-ors only, because
//! the same function runs as a classic BPF program in the kernel ([`steer_program`]). Network id and protocol are left
//! out: duplicates of one flow under two VNIs, and what a BPF program finds hard to see, must not change the owner.
//!
//! Each end of a flow, address and port, is mixed by itself, and the sum of both ends is mixed again. Combining the
//! addresses first, by exclusive-or or by addition, would make `a.1 <-> b.2` collide with `a.2 <-> b.1`, which is how
//! networks are numbered.

use crate::flow::{FiveTuple, IpAddress, IpVersion, protocol};

mod program;

pub use program::{BpfInstruction, frame_steer_program, steer_program};

/// The hash function with its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteerHash {
    seed: u32,
}

impl SteerHash {
    /// Multiplies an address.
    pub const ADDRESS_FACTOR: u32 = 0x9E37_79B1;
    /// Multiplies a port.
    pub const PORT_FACTOR: u32 = 0x85EB_CA77;
    /// Multiplies an end's mixed address and port, and the sum of both ends.
    pub const FINISH_FACTOR: u32 = 0xC2B2_AE3D;
    /// How far high bits are shifted down onto low ones, wherever that is done.
    pub const SHIFT: u32 = 15;

    /// The hash function under `seed`; every part of one collector must use the same.
    pub const fn new(seed: u32) -> Self {
        Self { seed }
    }

    /// The seed.
    pub const fn seed(self) -> u32 {
        self.seed
    }

    /// Hash of the flow that `tuple` belongs to, equal for both directions.
    #[inline]
    pub fn hash(self, tuple: &FiveTuple) -> u32 {
        let (source, destination) = (fold(tuple.version, tuple.source), fold(tuple.version, tuple.destination));
        let ports = if PROTOCOLS_WITH_PORTS.contains(&tuple.protocol) {
            (tuple.source_port, tuple.destination_port)
        } else {
            (0, 0)
        };
        self.mix(source, destination, ports.0, ports.1)
    }

    /// Hash of folded addresses and ports; what the BPF program computes.
    #[inline]
    pub fn mix(self, source: u32, destination: u32, source_port: u16, destination_port: u16) -> u32 {
        let sum = self.mix_end(source, source_port).wrapping_add(self.mix_end(destination, destination_port));
        shift_down(sum.wrapping_mul(Self::FINISH_FACTOR))
    }

    #[inline]
    fn mix_end(self, address: u32, port: u16) -> u32 {
        let address = shift_down((address ^ self.seed).wrapping_mul(Self::ADDRESS_FACTOR));
        let port = u32::from(port).wrapping_mul(Self::PORT_FACTOR);
        shift_down((address ^ port).wrapping_mul(Self::FINISH_FACTOR))
    }

    /// The worker, 0 to `workers - 1`, that owns the flow of `tuple`; 0 workers count as one.
    #[inline]
    pub fn owner(self, tuple: &FiveTuple, workers: u32) -> u32 {
        self.hash(tuple) % workers.max(1)
    }
}

#[inline]
const fn shift_down(value: u32) -> u32 {
    value ^ (value >> SteerHash::SHIFT)
}

/// Those whose header begins with source and destination port.
const PROTOCOLS_WITH_PORTS: [u8; 4] = [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::UDP_LITE];

/// An address in 32 bits: itself for IPv4, a polynomial over its four words for IPv6. Their exclusive-or would
/// make all of `prefix:1::1`, `prefix:2::2`, … alike.
#[inline]
fn fold(version: IpVersion, address: IpAddress) -> u32 {
    let word = |at: usize| u32::from_be_bytes([address.0[at], address.0[at + 1], address.0[at + 2], address.0[at + 3]]);
    let add = |sum: u32, word: u32| sum.wrapping_mul(SteerHash::ADDRESS_FACTOR).wrapping_add(word);
    match version {
        IpVersion::V4 => word(0),
        IpVersion::V6 => add(add(add(word(0), word(4)), word(8)), word(12)),
    }
}

#[cfg(test)]
mod tests;
