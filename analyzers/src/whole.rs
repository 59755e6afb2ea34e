//! Packets put together of fragments on one shard, whose flow another shard has.
//!
//! Only the first fragment has ports, so fragments are steered by their addresses alone, and flows by addresses and ports. Where a packet is
//! whole it may so be on another shard than the other packets of its flow, and has to go there.

use vxtap_wire::{FiveTuple, SteerHash};

use crate::anomaly::Anomaly;
use crate::shard::PacketMeta;

/// A packet whose last fragment has come, for the shard that has its flow. It is counted there as one frame of the flow and looked into; the
/// frame that the fragment came in is counted and captured by whoever received that.
#[derive(Clone, Copy, Debug)]
pub struct WholePacket<'a> {
    /// What is known of its last fragment.
    pub meta: PacketMeta,
    /// Length of the frame that the last fragment came in, when it was sent.
    pub wire_len: u32,
    /// What else the last fragment has shown.
    pub shown: Shown,
    /// The packet, from its IP header on.
    pub bytes: &'a [u8],
}

/// What a fragment has shown besides its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// What is wrong with it.
    pub(crate) anomaly: Option<Anomaly>,
    /// Somebody has asked for it, and so for the packet's flow from then on.
    pub asked_for: bool,
}

impl Shown {
    const ASKED_FOR: u16 = 1 << 8;

    /// As a number of 9 bits.
    pub fn to_bits(self) -> u16 {
        let anomaly = self.anomaly.map_or(0, |anomaly| anomaly as u16 + 1);
        anomaly | if self.asked_for { Self::ASKED_FOR } else { 0 }
    }

    /// The same back; bits beyond the ninth do not count.
    pub fn of_bits(bits: u16) -> Self {
        let anomaly = usize::from(bits & 0xff).checked_sub(1).and_then(|at| Anomaly::ALL.get(at).copied());
        Self { anomaly, asked_for: bits & Self::ASKED_FOR != 0 }
    }
}

/// The shards beside one, and which flows are whose.
#[derive(Clone, Copy, Debug)]
pub struct Siblings {
    /// Tells the shard of a flow.
    pub hash: SteerHash,
    /// How many shards there are.
    pub shards: u32,
    /// Which of them this one is, from 0 on.
    pub number: u32,
    /// How each comes by the packets of its flows that others put together as well.
    pub wholes: Wholes,
}

/// How a shard comes by packets of its flows whose fragments are another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wholes {
    /// The other one puts them together and hands them over.
    HandedOver,
    /// It is shown the fragments of all shards, and puts them together itself.
    Found,
}

impl Siblings {
    /// The shard that has the flow of `tuple`, where that is another one.
    pub(crate) fn other_owner(&self, tuple: &FiveTuple) -> Option<u32> {
        let owner = self.hash.owner(tuple, self.shards);
        (owner != self.number).then_some(owner)
    }
}

/// A packet that waits to be handed over.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub(crate) owner: u32,
    pub(crate) meta: PacketMeta,
    pub(crate) wire_len: u32,
    pub(crate) shown: Shown,
    pub(crate) bytes: Vec<u8>,
}

impl Leaving {
    pub(crate) fn packet(&self) -> WholePacket<'_> {
        let Self { meta, wire_len, shown, bytes, .. } = self;
        WholePacket { meta: *meta, wire_len: *wire_len, shown: *shown, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fragment_has_shown_is_the_same_after_its_way_as_a_number() {
        let anomalies = Anomaly::ALL.iter().map(|anomaly| Some(*anomaly)).chain([None]);
        for anomaly in anomalies {
            for asked_for in [false, true] {
                let shown = Shown { anomaly, asked_for };
                assert_eq!(Shown::of_bits(shown.to_bits()), shown);
            }
        }
        assert_eq!(Shown::of_bits(0xfeff), Shown::default(), "no anomaly has that number");
    }
}
