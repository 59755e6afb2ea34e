//! Flows that were decided about, where a decision is for a whole flow.
//!
//! A table of sets of eight; a flow has its set by its hash. A new flow takes an empty or expired place of its set, and
//! otherwise that of the flow that was silent for longest. So memory and time are bounded whatever comes.

use foldhash::fast::RandomState;
use std::hash::BuildHasher as _;

use vxtap_wire::{Direction as KeyDirection, FiveTuple, FlowKey, NetworkId};

use super::{FlowCounts, Verdict};
use crate::policy::model::Direction;

const WAYS: usize = 8;

/// Who opened a flow, as its first packet tells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// The direction of packets that its opener sends.
    pub(super) by: Direction,
    /// Whether the packet goes to the opener.
    pub(super) reversed: bool,
    /// Whether the packet opens a flow, whatever was before it.
    pub(super) anew: bool,
}

/// What is remembered of a flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    key: FlowKey,
    pub(super) verdict: Verdict,
    pub(super) by: Direction,
    /// Which end opened it.
    from: KeyDirection,
    last_seen: u32,
}

impl Flow {
    /// The five-tuple of packets that the opener sends.
    pub(super) const fn opening(&self) -> FiveTuple {
        self.key.five_tuple(self.from)
    }
}

#[derive(Debug)]
pub(super) struct FlowTable {
    sets: Box<[[Option<Flow>; WAYS]]>,
    timeout: u32,
    hasher: RandomState,
    counts: FlowCounts,
}

impl FlowTable {
    /// A table of `max` flows or a few more, each remembered for `timeout` seconds after its last packet.
    pub(super) fn new(max: u32, timeout: u32) -> Self {
        let sets = (max as usize).div_ceil(WAYS).max(1).next_power_of_two();
        Self {
            sets: vec![[None; WAYS]; sets].into(),
            timeout,
            hasher: RandomState::default(),
            counts: FlowCounts::default(),
        }
    }

    pub(super) const fn counts(&self) -> FlowCounts {
        self.counts
    }

    fn set(&mut self, key: &FlowKey) -> &mut [Option<Flow>; WAYS] {
        // As many sets as a power of two.
        let at = self.hasher.hash_one(key) as usize & (self.sets.len() - 1);
        &mut self.sets[at]
    }

    /// What is remembered of the flow of `tuple`.
    pub(super) fn find(&mut self, tuple: &FiveTuple, now: u32) -> Option<Flow> {
        let (key, _) = FlowKey::new(NetworkId::NONE, tuple);
        let timeout = self.timeout;
        self.set(&key)
            .iter()
            .flatten()
            .find(|flow| flow.key == key && now.saturating_sub(flow.last_seen) <= timeout)
            .copied()
    }

    /// The verdict on the flow of `tuple`: the one before, or the one that `decide` makes of the direction in which it was
    /// opened and the five-tuple of its opener's packets.
    pub(super) fn verdict(
        &mut self,
        tuple: &FiveTuple,
        opened: Opened,
        now: u32,
        decide: impl FnOnce(Direction, &FiveTuple) -> Verdict,
    ) -> Verdict {
        let (key, direction) = FlowKey::new(NetworkId::NONE, tuple);
        let timeout = self.timeout;
        let set = self.set(&key);
        let expired = |flow: &Flow| now.saturating_sub(flow.last_seen) > timeout;
        let mut place = set.iter().position(|flow| flow.as_ref().is_some_and(|flow| flow.key == key));
        if let Some(flow) = place.and_then(|at| set[at].as_mut())
            && !expired(flow)
            && !opened.anew
        {
            flow.last_seen = now;
            return flow.verdict;
        }
        place = place.or_else(|| set.iter().position(|flow| flow.as_ref().is_none_or(expired)));
        let evicts = place.is_none();
        let at = place.unwrap_or_else(|| {
            let silent = |at: &usize| set[*at].map_or(u32::MAX, |flow| now.saturating_sub(flow.last_seen));
            (0..WAYS).max_by_key(silent).unwrap_or(0)
        });
        let from = if opened.reversed { direction.reversed() } else { direction };
        let verdict = decide(opened.by, &key.five_tuple(from));
        set[at] = Some(Flow { key, verdict, by: opened.by, from, last_seen: now });
        self.counts.opened += 1;
        self.counts.evicted += u64::from(evicts);
        verdict
    }
}
