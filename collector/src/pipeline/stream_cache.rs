//! A worker's own view of the mirror streams: their numbers without a shared lock, and their counters.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use vxtap_analyzers::{StreamCounters, StreamId, StreamKey};
use vxtap_wire::NetworkId;
use vxtap_wire::vxlan::Vni;

use crate::streams::StreamRegistry;

/// The number of a mirror stream and the network its flows are in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamEntry {
    pub(crate) id: StreamId,
    pub(crate) network: NetworkId,
}

/// Streams that are found without hashing.
const RECENT: usize = 16;

/// See the module.
pub(crate) struct StreamCache {
    registry: Arc<StreamRegistry>,
    /// The streams of late, each at the place that its key has: datagrams of a few streams come in turn.
    recent: [Option<(StreamKey, StreamEntry)>; RECENT],
    entries: HashMap<StreamKey, StreamEntry, foldhash::fast::RandomState>,
    counters: Vec<StreamCounters>,
}

impl StreamCache {
    pub(crate) fn new(registry: Arc<StreamRegistry>) -> Self {
        Self { registry, recent: [None; RECENT], entries: HashMap::default(), counters: Vec::new() }
    }

    /// The stream of `key`.
    #[inline]
    pub(crate) fn entry(&mut self, key: StreamKey) -> StreamEntry {
        match self.recent[place(&key)] {
            Some((recent, entry)) if recent == key => entry,
            _ => self.look_up(key),
        }
    }

    #[cold]
    fn look_up(&mut self, key: StreamKey) -> StreamEntry {
        let entry = self.entries.get(&key).copied().unwrap_or_else(|| {
            let id = self.registry.intern(&key);
            let entry = StreamEntry { id, network: self.registry.networks().network(&key) };
            // Streams over the registry's bound share one number, and are not remembered one by one.
            if id != self.registry.other() {
                self.entries.insert(key, entry);
            }
            entry
        });
        self.recent[place(&key)] = Some((key, entry));
        let slots = entry.id.0 as usize + 1;
        if self.counters.len() < slots {
            self.counters.resize(slots, StreamCounters::default());
        }
        entry
    }

    /// Counts a frame of stream `id`, which must have come out of [`StreamCache::entry`].
    #[inline]
    pub(crate) fn count(&mut self, id: StreamId, time_ns: u64, bytes: usize, truncated: bool, reserved_bits: bool) {
        let Some(counters) = self.counters.get_mut(id.0 as usize) else { return };
        counters.frames += 1;
        counters.bytes += bytes as u64;
        counters.truncated += u64::from(truncated);
        counters.reserved_bits += u64::from(reserved_bits);
        counters.last_seen_ns = counters.last_seen_ns.max(time_ns);
    }

    /// Notes what came of a frame of stream `id` that the mirror had cut: `came` bytes of `wire_len`.
    pub(crate) fn note_cut(&mut self, id: StreamId, wire_len: u32, came: usize) {
        let Some(counters) = self.counters.get_mut(id.0 as usize) else { return };
        counters.cut_wire_len = counters.cut_wire_len.max(wire_len);
        counters.cut_len = counters.cut_len.max(u32::try_from(came).unwrap_or(u32::MAX));
    }

    /// Counters by stream number.
    pub(crate) fn counters(&self) -> &[StreamCounters] {
        &self.counters
    }
}

/// VNIs and addresses that belong together mostly differ in their last bits.
#[inline]
fn place(key: &StreamKey) -> usize {
    let vni = key.vni.map_or(0, Vni::get);
    let source = match key.source {
        Some(IpAddr::V4(v4)) => u32::from(v4),
        Some(IpAddr::V6(v6)) => u128::from(v6) as u32,
        None => 0,
    };
    // The upper bits of the product depend on all bits of both.
    (vni ^ source.rotate_left(16)).wrapping_mul(0x9E37_79B1) as usize >> 28
}
