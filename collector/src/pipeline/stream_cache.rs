//! A worker's own view of the mirror streams: whether they are let in, their numbers without a shared lock, and their counters.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use vxtap_analyzers::losses::LossTracker;
use vxtap_analyzers::{DropReason, StreamCounters, StreamId, StreamKey};
use vxtap_wire::geneve::Mark;
use vxtap_wire::vxlan::Vni;
use vxtap_wire::{Link, NetworkId};

use super::turned_away::{TurnedAway, TurnedAwayReport};
use crate::admission::Rules;
use crate::selector::Origin;
use crate::streams::StreamRegistry;

/// The number of a mirror stream and the network its flows are in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamEntry {
    pub(crate) id: StreamId,
    pub(crate) network: NetworkId,
}

/// Streams that are found without hashing.
const RECENT: usize = 64;

/// A stream that is let in, or why it is not.
type Found = Result<StreamEntry, DropReason>;

/// See the module.
pub(crate) struct StreamCache {
    registry: Arc<StreamRegistry>,
    /// Who is let in, as of `generation`.
    rules: Arc<Rules>,
    generation: u64,
    /// The streams of late, each at the place that its key has: datagrams of a few streams come in turn.
    recent: [Option<(StreamKey, Found)>; RECENT],
    /// The same of VXLAN over IPv4 in one layer, which nearly everything is, by [`vxlan_key`]; only those that are let in. Two that have one
    /// place lie side by side, the later one first.
    recent_vxlan: [[(u64, StreamEntry); 2]; RECENT],
    /// What is known of frames in no tunnel, by what they begin with.
    plain: [Option<Found>; Link::ALL.len()],
    /// Streams that are let in.
    entries: HashMap<StreamKey, StreamEntry, foldhash::fast::RandomState>,
    /// Whether `entries` has all that the registry will ever have, so that it need not be asked for others.
    has_all: bool,
    counters: Vec<Slot>,
    /// Streams with something to publish.
    touched: Vec<StreamId>,
    away: TurnedAway,
    /// Which of the senders' numbers came; made when the first one does.
    losses: Option<Box<LossTracker>>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    counters: StreamCounters,
    /// Whether it is in `touched`.
    touched: bool,
}

impl StreamCache {
    /// One that has seen nothing; `seed` is a number that nobody can guess.
    pub(crate) fn new(registry: Arc<StreamRegistry>, seed: u64) -> Self {
        let generation = registry.admission().generation();
        Self {
            rules: registry.admission().rules(),
            registry,
            generation,
            recent: [None; RECENT],
            recent_vxlan: NO_VXLAN,
            plain: [None; Link::ALL.len()],
            entries: HashMap::default(),
            has_all: false,
            counters: Vec::new(),
            touched: Vec::new(),
            away: TurnedAway::new(seed),
            losses: None,
        }
    }

    /// The stream of VXLAN from `source` with `vni`, in one layer, where it is let in and was seen of late.
    #[inline]
    pub(crate) fn recent_vxlan(&self, source: Ipv4Addr, vni: Vni) -> Option<StreamEntry> {
        let key = vxlan_key(source, vni);
        let [first, second] = &self.recent_vxlan[place_of(key)];
        let (recent, entry) = if first.0 == key { first } else { second };
        (*recent == key).then_some(*entry)
    }

    /// Remembers the stream of VXLAN from `source` with `vni`, in one layer.
    fn remember_vxlan(&mut self, source: Ipv4Addr, vni: Vni, entry: StreamEntry) {
        let key = vxlan_key(source, vni);
        let places = &mut self.recent_vxlan[place_of(key)];
        *places = [(key, entry), places[0]];
    }

    /// The stream of VXLAN from `source` with `vni`, in one layer; as [`StreamCache::entry`].
    #[inline(never)]
    pub(crate) fn vxlan(&mut self, source: IpAddr, vni: Vni) -> Found {
        let found = self.entry(StreamKey::vxlan(source, vni));
        if let (Ok(entry), IpAddr::V4(source)) = (found, source) {
            self.remember_vxlan(source, vni, entry);
        }
        found
    }

    /// The stream of frames that came in no tunnel; as [`StreamCache::entry`].
    #[inline]
    pub(crate) fn plain(&mut self, link: Link) -> Found {
        let place = link.number();
        if let Some(found) = self.plain[place] {
            return found;
        }
        let found = self.look_up(StreamKey { link, ..StreamKey::PLAIN });
        self.plain[place] = Some(found);
        found
    }

    /// Takes note of what was decided since; once a batch.
    #[inline]
    pub(crate) fn refresh(&mut self) {
        if self.registry.admission().generation() != self.generation {
            self.renew();
        }
    }

    #[cold]
    fn renew(&mut self) {
        // In this order: rules that come in between are taken again.
        self.generation = self.registry.admission().generation();
        self.rules = self.registry.admission().rules();
        let Self { rules, entries, away, .. } = self;
        let is_let_in = |origin: &Origin| rules.verdict(origin).drop_reason().is_none();
        entries.retain(|key, _| is_let_in(&Origin::from(key)));
        // Those that are let in again are found in the registry.
        self.has_all = false;
        away.retain(|origin| !is_let_in(origin));
        self.recent = [None; RECENT];
        self.recent_vxlan = NO_VXLAN;
        self.plain = [None; Link::ALL.len()];
    }

    /// The stream of `key`, or why its frames are dropped: they are to be given to [`StreamCache::turn_away`] then.
    #[inline]
    pub(crate) fn entry(&mut self, key: StreamKey) -> Found {
        let place = place(key.source, key.vni);
        match self.recent[place] {
            Some((recent, found)) if recent == key => found,
            _ => {
                let found = self.look_up(key);
                self.recent[place] = Some((key, found));
                found
            }
        }
    }

    #[cold]
    fn look_up(&mut self, key: StreamKey) -> Found {
        match self.entries.get(&key) {
            Some(entry) => Ok(*entry),
            None => match self.rules.verdict(&Origin::from(&key)).drop_reason() {
                None => Ok(self.learn(key)),
                Some(reason) => Err(reason),
            },
        }
    }

    /// Meets a stream that is let in for the first time.
    fn learn(&mut self, key: StreamKey) -> StreamEntry {
        let network = self.registry.networks().network(&key);
        let id = if self.has_all { self.registry.other_of(key.link) } else { self.registry.intern(&key) };
        let entry = StreamEntry { id, network };
        if !self.registry.is_other(id) {
            self.entries.insert(key, entry);
        } else if !self.has_all {
            // The registry is full, and stays as it is. With all that it has at hand, no further stream needs its locks.
            self.take_all();
        }
        let slots = id.0 as usize + 1;
        if self.counters.len() < slots {
            self.counters.resize(slots, Slot::default());
        }
        entry
    }

    fn take_all(&mut self) {
        let Self { registry, rules, entries, .. } = self;
        registry.for_each(|id, key| {
            if rules.verdict(&Origin::from(key)).drop_reason().is_none() {
                entries.insert(*key, StreamEntry { id, network: registry.networks().network(key) });
            }
        });
        self.has_all = true;
        self.counters.resize(self.registry.numbers(), Slot::default());
    }

    /// Counts a frame of stream `id`, which must have come out of [`StreamCache::entry`].
    #[inline]
    pub(crate) fn count(&mut self, id: StreamId, time_ns: u64, bytes: usize, truncated: bool, reserved_bits: bool) {
        let Some(Slot { counters, touched }) = self.counters.get_mut(id.0 as usize) else { return };
        counters.frames += 1;
        counters.bytes += bytes as u64;
        counters.truncated += u64::from(truncated);
        counters.reserved_bits += u64::from(reserved_bits);
        counters.last_seen_ns = counters.last_seen_ns.max(time_ns);
        if !*touched {
            *touched = true;
            self.touched.push(id);
        }
    }

    /// Notes the number that a sender gave a datagram of stream `id`.
    #[inline]
    pub(crate) fn mark(&mut self, id: StreamId, mark: &Mark) {
        self.losses.get_or_insert_default().note(id, mark.series, mark.sequence);
    }

    /// Counts a frame whose sender's clock is too far from ours.
    #[cold]
    pub(crate) fn count_clock_apart(&mut self, id: StreamId) {
        if let Some(Slot { counters, .. }) = self.counters.get_mut(id.0 as usize) {
            counters.clock_apart += 1;
        }
    }

    /// Counts a datagram of one more layer that was in fragments.
    #[cold]
    pub(crate) fn count_layer_in_fragments(&mut self, id: StreamId) {
        if let Some(Slot { counters, .. }) = self.counters.get_mut(id.0 as usize) {
            counters.layer_in_fragments += 1;
        }
    }

    /// Tells all workers together which numbers came.
    pub(crate) fn tell_losses(&mut self) {
        if let Some(losses) = self.losses.as_mut().filter(|losses| !losses.is_quiet()) {
            self.registry.take_losses(losses);
        }
    }

    /// Notes what came of a frame of stream `id` that the mirror had cut: `came` bytes of `wire_len`.
    pub(crate) fn note_cut(&mut self, id: StreamId, wire_len: u32, came: usize) {
        let Some(Slot { counters, .. }) = self.counters.get_mut(id.0 as usize) else { return };
        counters.cut_wire_len = counters.cut_wire_len.max(wire_len);
        counters.cut_len = counters.cut_len.max(u32::try_from(came).unwrap_or(u32::MAX));
    }

    /// Counts a frame that is dropped since its stream is not let in.
    pub(crate) fn turn_away(&mut self, key: &StreamKey, time_ns: u64, bytes: usize) {
        self.away.count(&Origin::from(key), time_ns, bytes);
    }

    /// Brings `published`, counters by stream number, up to date: takes as long as there are streams with frames since the last time.
    pub(crate) fn publish(&mut self, published: &mut Vec<StreamCounters>) {
        if published.len() < self.counters.len() {
            published.resize(self.counters.len(), StreamCounters::default());
        }
        for id in self.touched.drain(..) {
            let number = id.0 as usize;
            if let (Some(slot), Some(published)) = (self.counters.get_mut(number), published.get_mut(number)) {
                slot.touched = false;
                *published = slot.counters;
            }
        }
    }

    /// Brings `published`, the streams that are not let in, up to date once a second.
    pub(crate) fn publish_turned_away(&mut self, now_ns: u64, published: &mut TurnedAwayReport) {
        if self.away.tick(now_ns) {
            published.rows.clear();
            published.rows.extend(self.away.rows());
            published.others = self.away.others();
        }
    }
}

/// Nothing seen: no key is 0.
const NO_VXLAN: [[(u64, StreamEntry); 2]; RECENT] =
    [[(0, StreamEntry { id: StreamId(0), network: NetworkId(0) }); 2]; RECENT];

/// What a stream of VXLAN over IPv4 is found by.
#[inline]
fn vxlan_key(source: Ipv4Addr, vni: Vni) -> u64 {
    1 << 63 | u64::from(u32::from(source)) << 24 | u64::from(vni.get())
}

/// Where a [`vxlan_key`] has its place.
#[inline]
fn place_of(key: u64) -> usize {
    // The upper bits of the product depend on all bits.
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - RECENT.ilog2())) as usize
}

/// VNIs and addresses that belong together mostly differ in their last bits.
#[inline]
fn place(source: Option<IpAddr>, vni: Option<Vni>) -> usize {
    let vni = vni.map_or(0, Vni::get);
    let source = match source {
        Some(IpAddr::V4(v4)) => u32::from(v4),
        Some(IpAddr::V6(v6)) => u128::from(v6) as u32,
        None => 0,
    };
    // The upper bits of the product depend on all bits of both.
    (vni ^ source.rotate_left(16)).wrapping_mul(0x9E37_79B1) as usize >> (32 - RECENT.ilog2())
}

#[cfg(test)]
mod tests;
