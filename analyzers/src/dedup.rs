//! Packets that two mirrors of one network saw: the second copy is told from the first, and from a retransmission.
//!
//! Where both ends of a flow are mirrored, each packet comes twice: by another mirror stream, with another TTL, other MAC addresses or
//! tags, cut to another length, a few milliseconds apart and perhaps in another order. What all copies have in common is the packet's
//! identity (`identity.rs`). A sender may send the same packet again, byte by byte: with an identification of 0 and no time
//! stamps nothing tells a retransmission from what it repeats. So copies are counted for each mirror stream: a copy is a duplicate
//! only where another stream has seen more copies of the packet than its own stream has. A stream never makes
//! duplicates of itself, the second copy on one stream answers to the second on the other, and a retransmission stays.
//!
//! Where this cannot be sure, it keeps the packet: frames that are not IP, headers cut before their end, a packet on a fifth stream.

use vxtap_wire::{FrameView, NetworkId};

use crate::shard::{BATCH_MAX, PacketMeta};
use crate::stream::StreamId;

mod identity;
mod pairs;
mod streams;
mod table;

use identity::{Identifier, Identity};
use pairs::Pairs;
pub use pairs::{PAIRS_MAX, PairDuplicates};
use streams::Streams;
use table::{Copy, Table};

/// When a packet counts as a duplicate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DedupMode {
    /// Never.
    Off,
    /// When it is a copy of one from another mirror stream of its network. Where a network has one stream only, nothing is looked
    /// at or kept.
    #[default]
    On,
    /// As `On`, and when its stream has had it before and the last copy came within [`SAME_STREAM_NS`]: for a mirror that sends what comes in
    /// and what goes out of one interface under one VNI. Costs what a sender repeats so fast. Each packet must have a time of its own:
    /// with one time for a batch, or for a train, retransmissions in it would be taken for copies.
    Window,
}

/// How close to the copy before a copy on the same stream is a duplicate, with [`DedupMode::Window`]. No retransmission is so fast.
pub const SAME_STREAM_NS: u64 = 100_000;

/// Settings of a [`Deduplicator`].
#[derive(Clone, Copy, Debug)]
pub struct DedupSettings {
    /// What counts.
    pub mode: DedupMode,
    /// Copies that are further apart are two packets, nanoseconds. Ways of mirrors differ by milliseconds. Retransmissions by
    /// timeout come after 200 ms at least: below that each of them begins its count anew.
    pub window_ns: u64,
    /// Packets remembered, of 32 bytes each; rounded up to a power of two. With more within the window the oldest are
    /// forgotten, and their copies kept.
    pub packets_max: u32,
    /// Seed of the hash; random, so that nobody can make packets that look like others.
    pub seed: u64,
}

impl Default for DedupSettings {
    fn default() -> Self {
        Self { mode: DedupMode::On, window_ns: 100_000_000, packets_max: 1 << 16, seed: 0 }
    }
}

/// Tells duplicates in the packets of one shard. Takes memory when a network has a second mirror stream, and from then on none.
#[derive(Debug)]
pub struct Deduplicator {
    settings: DedupSettings,
    identifier: Identifier,
    streams: Streams,
    /// `None` until it is needed.
    table: Option<Table>,
    pairs: Pairs,
    total: u64,
    /// Identities of the batch under way.
    batch: Vec<Option<Identity>>,
}

impl Deduplicator {
    /// One that has seen nothing.
    pub fn new(settings: DedupSettings) -> Self {
        Self {
            settings,
            identifier: Identifier::new(settings.seed),
            streams: Streams::default(),
            table: None,
            pairs: Pairs::default(),
            total: 0,
            batch: Vec::new(),
        }
    }

    /// Whether a packet of `network` that came by `stream` at `time_ns` is a copy of one that has been counted.
    pub fn is_duplicate(&mut self, network: NetworkId, stream: StreamId, view: &FrameView<'_>, time_ns: u64) -> bool {
        let meta = PacketMeta { time_ns, stream, network };
        if !self.has_others(&meta) {
            return false;
        }
        let Some(identity) = self.identify(&meta, view) else { return false };
        self.judge(&identity, &meta)
    }

    /// The same for a batch of at most [`BATCH_MAX`] packets: bit N of the answer is set where packet N is a duplicate. The memory
    /// accesses of a batch overlap.
    pub fn duplicates(&mut self, batch: &[(PacketMeta, FrameView<'_>)]) -> u64 {
        debug_assert!(batch.len() <= BATCH_MAX);
        if self.settings.mode == DedupMode::Off {
            return 0;
        }
        let mut with_others = 0_u64;
        for (number, (meta, _)) in batch.iter().enumerate() {
            with_others |= u64::from(self.has_others(meta)) << number;
        }
        // Mostly no network in sight has a second stream.
        if with_others == 0 {
            return 0;
        }
        let mut identities = std::mem::take(&mut self.batch);
        identities.clear();
        for (number, (meta, view)) in batch.iter().enumerate().take(BATCH_MAX) {
            identities.push(if with_others & 1 << number == 0 { None } else { self.identify(meta, view) });
        }
        let mut found = 0;
        if let Some(table) = &self.table {
            // The sum keeps the compiler from dropping the reads.
            let touched =
                identities.iter().flatten().fold(0_u32, |sum, identity| sum.wrapping_add(table.touch(identity)));
            std::hint::black_box(touched);
            for (number, (identity, (meta, _))) in identities.iter().zip(batch).enumerate() {
                let duplicate = identity.as_ref().is_some_and(|identity| self.judge(identity, meta));
                found |= u64::from(duplicate) << number;
            }
        }
        self.batch = identities;
        found
    }

    /// Whether a packet that another shard counts is a copy of one that came: it is remembered here, and counted there.
    pub fn is_copy_elsewhere(&mut self, meta: &PacketMeta, view: &FrameView<'_>) -> bool {
        self.has_others(meta)
            && self.identify(meta, view).is_some_and(|identity| self.first_copy(&identity, meta).is_some())
    }

    /// Duplicates so far.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Duplicates by the streams of both copies, at most [`PAIRS_MAX`] pairs; those of further pairs are in the total alone.
    pub fn pairs(&self) -> &[PairDuplicates] {
        self.pairs.list()
    }

    /// Packets that were forgotten within the window, because more came than are remembered.
    pub fn forgotten(&self) -> u64 {
        self.table.as_ref().map_or(0, Table::forgotten)
    }

    /// Whether there may be copies of a packet, as far as was seen up to it: what comes later in its batch makes no difference.
    #[inline]
    fn has_others(&mut self, meta: &PacketMeta) -> bool {
        match self.settings.mode {
            DedupMode::Off => false,
            DedupMode::On => self.streams.has_others(meta.stream, meta.network),
            DedupMode::Window => true,
        }
    }

    /// The identity of a packet of which there may be copies.
    fn identify(&mut self, meta: &PacketMeta, view: &FrameView<'_>) -> Option<Identity> {
        let identity = self.identifier.identify(meta.network, view)?;
        if self.table.is_none() {
            self.table = Some(Table::new(self.settings.packets_max, self.settings.window_ns));
            self.batch.reserve(BATCH_MAX);
            self.pairs.reserve();
        }
        Some(identity)
    }

    #[inline]
    fn judge(&mut self, identity: &Identity, meta: &PacketMeta) -> bool {
        let Some(first) = self.first_copy(identity, meta) else { return false };
        self.total += 1;
        self.pairs.count(first, meta.stream);
        true
    }

    /// The stream that a packet came by which this one is a copy of.
    #[inline]
    fn first_copy(&mut self, identity: &Identity, meta: &PacketMeta) -> Option<StreamId> {
        let same_stream = (self.settings.mode == DedupMode::Window).then_some(SAME_STREAM_NS);
        let copy = Copy { stream: meta.stream, time_ns: meta.time_ns, same_stream_ns: same_stream };
        self.table.as_mut()?.see(identity, copy)
    }
}

#[cfg(test)]
mod tests;
