//! The flow table of one shard: an arena of flows with stable slots, an index over it, and a timing wheel.
//!
//! - The **arena** grows in chunks that never move, so a slot number is a handle and growth copies nothing.
//! - The **index** maps a 32-bit hash of the key to a slot. It doubles when three quarters full, a few entries at
//!   each insertion, so that no packet waits for a rehash.
//! - The **wheel** ends silent flows. Time is the packets' time.
//! - At the **bound** the flow whose timer fires next makes room, the longest silent of up to
//!   eight that fire in the same second: half-open and closed flows go before established ones.

use std::hash::BuildHasher as _;

use vxtap_wire::FlowKey;

use crate::flow::{Flow, FlowState};
use crate::wheel::Wheel;

mod index;
use index::Index;

/// How many flows with the same second are compared when one must be evicted.
const EVICTION_SAMPLE: usize = 8;

const CHUNK: usize = 1024;
const NANOS: u64 = 1_000_000_000;

/// Handle of a flow in its table; valid until the flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u32);

/// Bounds and timeouts of a table; times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTableLimits {
    /// Flows that the table holds at the most; at least 1.
    pub flows_max: u32,
    /// Idle timeout of TCP before the handshake is complete.
    pub tcp_new_ns: u64,
    /// Idle timeout of TCP in use.
    pub tcp_established_ns: u64,
    /// Idle timeout of TCP that is over.
    pub tcp_closed_ns: u64,
    /// Idle timeout of other flows seen in one direction.
    pub other_new_ns: u64,
    /// Idle timeout of other flows seen in both directions.
    pub other_established_ns: u64,
    /// A flow is reported each time it has lasted so long; 0 for only at its end.
    pub active_ns: u64,
}

impl Default for FlowTableLimits {
    fn default() -> Self {
        Self {
            flows_max: 1 << 20,
            tcp_new_ns: 60 * NANOS,
            tcp_established_ns: 600 * NANOS,
            tcp_closed_ns: 10 * NANOS,
            other_new_ns: 30 * NANOS,
            other_established_ns: 300 * NANOS,
            active_ns: 1800 * NANOS,
        }
    }
}

impl FlowTableLimits {
    /// The silence after which `flow` has ended, in nanoseconds.
    pub(crate) fn idle_ns(&self, flow: &Flow) -> u64 {
        let tcp = flow.key.protocol == vxtap_wire::protocol::TCP;
        match (flow.state(), tcp) {
            (FlowState::New, true) => self.tcp_new_ns,
            (FlowState::Established, true) => self.tcp_established_ns,
            (FlowState::New, false) => self.other_new_ns,
            (FlowState::Established, false) => self.other_established_ns,
            (FlowState::Closed, _) => self.tcp_closed_ns,
        }
    }

    /// When `flow` is to be looked at next, in seconds, where it is second `now`: when its silence is too long, or its active time is over.
    fn deadline(&self, flow: &Flow, now: u64) -> u64 {
        let idle = flow.last_ns.saturating_add(self.idle_ns(flow));
        let active = match self.active_ns {
            0 => u64::MAX,
            active if flow.first_ns > 0 => flow.first_ns.saturating_add(active),
            // Told just now. What comes next begins a new active time, which is over later than this.
            active => flow.last_ns.max(now * NANOS).saturating_add(active),
        };
        idle.min(active).div_ceil(NANOS)
    }
}

/// The flows of one shard.
#[derive(Debug)]
pub struct FlowTable {
    limits: FlowTableLimits,
    /// The shortest of the idle timeouts.
    shortest_ns: u64,
    hasher: foldhash::fast::FixedState,
    index: Index,
    chunks: Vec<Box<[Option<Flow>; CHUNK]>>,
    free: Vec<u32>,
    len: usize,
    /// Slots handed out at least once.
    used: usize,
    wheel: Wheel,
}

/// A place in the table for a key that [`FlowTable::probe`] has hashed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe {
    hash: u32,
    guess: Option<Slot>,
}

impl FlowTable {
    /// An empty table. `seed` should be random, so that nobody can choose keys that collide.
    pub fn new(limits: FlowTableLimits, seed: u64) -> Self {
        let FlowTableLimits {
            tcp_new_ns, tcp_established_ns, tcp_closed_ns, other_new_ns, other_established_ns, ..
        } = limits;
        let timeouts = [tcp_new_ns, tcp_established_ns, tcp_closed_ns, other_new_ns, other_established_ns];
        Self {
            limits,
            shortest_ns: timeouts.into_iter().min().unwrap_or(0),
            hasher: foldhash::fast::FixedState::with_seed(seed),
            index: Index::new(),
            chunks: Vec::new(),
            free: Vec::new(),
            len: 0,
            used: 0,
            wheel: Wheel::new(),
        }
    }

    /// Bytes of memory that each flow costs at the most, index and timers included.
    pub const BYTES_PER_FLOW: usize =
        size_of::<Option<Flow>>() + Wheel::BYTES_PER_SLOT + size_of::<u32>() + Index::BYTES_PER_ENTRY_MAX;

    /// Flows in the table.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bounds and timeouts.
    pub const fn limits(&self) -> &FlowTableLimits {
        &self.limits
    }

    /// The first of four steps of a lookup: hashes `key`. Each step is taken for all packets of a batch before the next one is for any, so
    /// that their memory accesses overlap.
    #[inline]
    pub fn probe(&self, key: &FlowKey) -> Probe {
        Probe { hash: self.hash(key), guess: None }
    }

    /// The second step: reads the index where the key may be, for the sake of having it in the cache. What is given means nothing.
    #[inline]
    pub fn approach(&self, probe: &Probe) -> u64 {
        self.index.home(probe.hash)
    }

    /// The third step: guesses the flow, and reads it for the sake of having it in the cache. What is given means nothing.
    #[inline]
    pub fn guess(&self, probe: &mut Probe) -> u64 {
        probe.guess = self.index.first(probe.hash).map(Slot);
        let flow = probe.guess.and_then(|slot| self.get(slot));
        // A word of each cache line or so.
        flow.map_or(0, |flow| {
            u64::from(flow.key.network.0) ^ flow.to_responder.frames ^ flow.to_originator.frames ^ flow.last_ns
        })
    }

    #[inline]
    fn is_in(&self, slot: Slot, key: &FlowKey) -> bool {
        self.get(slot).is_some_and(|flow| flow.key.is(key))
    }

    /// The last step: the slot of `key`'s flow. Right also when the table changed since the other steps, and without those between.
    #[inline]
    pub fn find(&self, probe: &Probe, key: &FlowKey) -> Option<Slot> {
        if probe.guess.is_some_and(|slot| self.is_in(slot, key)) {
            return probe.guess;
        }
        self.search(probe.hash, key)
    }

    /// Not inlined: the guess is right for nearly all packets of known flows.
    #[inline(never)]
    fn search(&self, hash: u32, key: &FlowKey) -> Option<Slot> {
        self.index.find(hash, |slot| self.is_in(Slot(slot), key)).map(Slot)
    }

    /// The flow in `slot`, to change, and whether it had been silent too long by `time_ns`.
    #[inline]
    pub(crate) fn heard(&mut self, slot: Slot, time_ns: u64) -> Option<(&mut Flow, bool)> {
        let flow = self.chunks.get_mut(slot.0 as usize / CHUNK)?[slot.0 as usize % CHUNK].as_mut()?;
        // Mostly a flow was heard of just now, and which of the timeouts is its own does not matter.
        let was_silent = time_ns > flow.last_ns.saturating_add(self.shortest_ns)
            && time_ns > flow.last_ns.saturating_add(self.limits.idle_ns(flow));
        Some((flow, was_silent))
    }

    /// The flow in `slot`.
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&Flow> {
        self.chunks.get(slot.0 as usize / CHUNK)?[slot.0 as usize % CHUNK].as_ref()
    }

    /// The flow in `slot`, to change.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Flow> {
        self.chunks.get_mut(slot.0 as usize / CHUNK)?[slot.0 as usize % CHUNK].as_mut()
    }

    /// Puts `flow` in, whose key must not be in the table. With the table full, the caller evicts first
    /// ([`FlowTable::is_full`], [`FlowTable::evict`]).
    pub fn insert(&mut self, probe: &Probe, flow: Flow) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.used;
            self.used += 1;
            slot as u32
        });
        let place = slot as usize;
        if place / CHUNK >= self.chunks.len() {
            self.chunks.push(empty_chunk());
            self.wheel.reserve(self.chunks.len() * CHUNK);
        }
        self.chunks[place / CHUNK][place % CHUNK] = Some(flow);
        self.index.insert(probe.hash, slot);
        self.len += 1;
        Slot(slot)
    }

    /// Takes the flow in `slot` out.
    pub fn remove(&mut self, slot: Slot) -> Option<Flow> {
        let flow = self.chunks.get_mut(slot.0 as usize / CHUNK)?[slot.0 as usize % CHUNK].take()?;
        let hash = self.hash(&flow.key);
        self.index.remove(hash, slot.0);
        self.wheel.disarm(slot.0);
        self.free.push(slot.0);
        self.len -= 1;
        Some(flow)
    }

    /// Whether a new flow needs another's place.
    pub const fn is_full(&self) -> bool {
        self.len >= self.limits.flows_max as usize
    }

    /// Takes out the flow that can best be spared.
    pub fn evict(&mut self) -> Option<Flow> {
        let first = self.wheel.soonest()?;
        let candidates = std::iter::successors(Some(first), |slot| self.wheel.next_in_bucket(*slot));
        let victim =
            candidates.take(EVICTION_SAMPLE).min_by_key(|slot| self.get(Slot(*slot)).map_or(0, |flow| flow.last_ns))?;
        self.remove(Slot(victim))
    }

    /// Sets the timer of the flow in `slot` by its state and last packet.
    pub fn arm(&mut self, slot: Slot) {
        let now = self.wheel.now();
        if let Some(deadline) = self.get(slot).map(|flow| self.limits.deadline(flow, now)) {
            self.wheel.arm(slot.0, deadline);
        }
    }

    /// Whether packet time has come to a new second, so that [`FlowTable::due`] may have something.
    #[inline]
    pub fn is_due(&self, now_ns: u64) -> bool {
        now_ns / NANOS > self.wheel.now()
    }

    /// A flow whose timer has fired by `now_ns`. The caller removes it or arms it again.
    pub fn due(&mut self, now_ns: u64) -> Option<Slot> {
        self.wheel.fire(now_ns / NANOS).map(Slot)
    }

    /// The flows in slots `from..from + count`, and where the next part begins; for going through a large table in parts.
    pub fn part(&self, from: usize, count: usize) -> (impl Iterator<Item = &Flow>, Option<usize>) {
        let end = (from + count).min(self.used);
        let flows = (from..end).filter_map(|slot| self.get(Slot(slot as u32)));
        (flows, (end < self.used).then_some(end))
    }

    /// Takes out the first flow in slot `from` or behind it; for emptying the table. Index and timers still have it until the table is
    /// empty, which is when they are made anew: to take it out of the index is to wait for memory, once for each flow.
    pub fn take_any(&mut self, from: usize) -> Option<(Slot, Flow)> {
        for slot in from..self.used {
            if let Some(flow) = self.chunks.get_mut(slot / CHUNK).and_then(|chunk| chunk[slot % CHUNK].take()) {
                self.free.push(slot as u32);
                self.len -= 1;
                return Some((Slot(slot as u32), flow));
            }
        }
        if self.is_empty() {
            self.index = Index::new();
            self.wheel.clear();
        }
        None
    }

    #[inline]
    fn hash(&self, key: &FlowKey) -> u32 {
        // Four words: hashing field by field would cost more than the rest of the lookup.
        let word = |bytes: &[u8]| bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (low, high) = (&key.low.0, &key.high.0);
        let ports = u64::from(key.low_port) << 48
            | u64::from(key.high_port) << 32
            | u64::from(key.protocol) << 8
            | key.version as u64;
        let words =
            (word(low), word(&low[8..]), word(high), word(&high[8..]), ports ^ (u64::from(key.network.0) << 16));
        let hash = self.hasher.hash_one(words);
        (hash ^ (hash >> 32)) as u32
    }
}

/// A chunk without flows, made where it stays: on the stack it would not fit everywhere.
fn empty_chunk() -> Box<[Option<Flow>; CHUNK]> {
    let flows: Box<[Option<Flow>]> = (0..CHUNK).map(|_| None).collect();
    flows.try_into().expect("as many as a chunk has")
}

impl Slot {
    /// Position in the table, for use with [`FlowTable::take_any`].
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests;
