//! The steer hash: which worker owns a flow.
//!
//! Symmetric (a packet and its reply hash alike), seeded (so that a sender cannot aim all its flows at one worker), and
//! built from 32-bit additions, multiplications, shifts and exclusive-ors only, because the same function must run as a
//! classic BPF program in the kernel. Network id and protocol are left out: duplicates of one flow under two
//! VNIs, and what a BPF program finds hard to see, must not change the owner.

use crate::flow::{FiveTuple, IpAddress, IpVersion, protocol};

/// The hash function with its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteerHash {
    seed: u32,
}

impl SteerHash {
    /// Multiplies the exclusive-or of the folded addresses.
    pub const ADDRESS_FACTOR: u32 = 0x9E37_79B1;
    /// Multiplies the mixed ports.
    pub const PORT_FACTOR: u32 = 0x85EB_CA77;
    /// First multiplication of the finish.
    pub const FINISH_FACTOR: u32 = 0xC2B2_AE3D;

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
        let ports = if has_ports(tuple.protocol) { (tuple.source_port, tuple.destination_port) } else { (0, 0) };
        self.mix(source, destination, ports.0, ports.1)
    }

    /// Hash of folded addresses and ports; what the BPF program computes.
    ///
    /// Exclusive-or alone would make `a.1 > b.2` and `a.2 > b.1` collide; the sum, symmetric as well, tells them apart.
    #[inline]
    pub fn mix(self, source: u32, destination: u32, source_port: u16, destination_port: u16) -> u32 {
        let (source_port, destination_port) = (u32::from(source_port), u32::from(destination_port));
        let ports = (source_port ^ destination_port) | (source_port.wrapping_add(destination_port) << 16);
        let mut hash = (source ^ destination ^ self.seed).wrapping_mul(Self::ADDRESS_FACTOR);
        hash = hash.wrapping_add(source.wrapping_add(destination));
        hash ^= ports.wrapping_mul(Self::PORT_FACTOR);
        hash ^= hash >> 15;
        hash = hash.wrapping_mul(Self::FINISH_FACTOR);
        hash ^ (hash >> 16)
    }

    /// The worker, 0 to `workers - 1`, that owns the flow of `tuple`. `workers` must not be 0.
    #[inline]
    pub fn owner(self, tuple: &FiveTuple, workers: u32) -> u32 {
        self.hash(tuple) % workers
    }
}

/// Whether the first four bytes behind the IP header are ports.
const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP | protocol::UDP_LITE)
}

/// An address in 32 bits: itself for IPv4, the exclusive-or of its four words for IPv6.
#[inline]
fn fold(version: IpVersion, address: IpAddress) -> u32 {
    let word = |at: usize| u32::from_be_bytes([address.0[at], address.0[at + 1], address.0[at + 2], address.0[at + 3]]);
    match version {
        IpVersion::V4 => word(0),
        IpVersion::V6 => word(0) ^ word(4) ^ word(8) ^ word(12),
    }
}

#[cfg(test)]
mod tests;
