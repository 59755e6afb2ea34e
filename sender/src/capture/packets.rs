//! Packets gathered for one target.

use std::ops::ControlFlow;

use vxtap_wire::SteerHash;
use vxtap_wire::geneve::MirrorDirection;

use super::live::Captured;
use crate::batch::{HEADROOM, MAX_FRAMES, Slot};
use crate::source::flow_hash;

/// A batch that has so many bytes takes no more. Small enough for a second-level cache to hold most of it until it is sent.
const ENOUGH_BYTES: usize = 1 << 20;
/// No packet is longer: a super-frame that is not cut is refused, and interfaces carry at most 64 KiB and a header.
const MOST_BYTES: usize = 1 << 17;

/// A batch of packets with room for a tunnel's header before each.
pub(super) struct Packets {
    bytes: Vec<u8>,
    used: usize,
    slots: Vec<Slot>,
    hash: SteerHash,
    ports: u32,
}

impl Packets {
    /// An empty batch; flows are spread over `ports` by the hash of that seed.
    pub(super) fn new(seed: u32, ports: u32) -> Self {
        Self {
            bytes: vec![0; ENOUGH_BYTES + HEADROOM + MOST_BYTES],
            used: 0,
            slots: Vec::with_capacity(MAX_FRAMES),
            hash: SteerHash::new(seed),
            ports,
        }
    }

    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.slots.clear();
    }

    /// Copies `packet`; breaks when there is no room for another.
    #[inline]
    pub(super) fn take(&mut self, packet: &Captured<'_>) -> ControlFlow<()> {
        let flow = flow_hash(self.hash, packet.bytes);
        let offset = self.used + HEADROOM;
        let len = packet.bytes.len().min(MOST_BYTES);
        self.bytes[offset..offset + len].copy_from_slice(&packet.bytes[..len]);
        self.used = offset + len;
        self.slots.push(Slot {
            offset,
            frame_len: len as u32,
            flow,
            port: (flow % self.ports) as u16,
            captured_ns: packet.time_ns,
            wire_len: packet.wire_len,
            direction: Some(if packet.is_outgoing { MirrorDirection::Egress } else { MirrorDirection::Ingress }),
            ..Slot::default()
        });
        if self.slots.len() == MAX_FRAMES || self.used >= ENOUGH_BYTES {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// The bytes, and where the packets are in them.
    pub(super) fn parts(&mut self) -> (&mut [u8], &mut [Slot]) {
        (&mut self.bytes, &mut self.slots)
    }
}
