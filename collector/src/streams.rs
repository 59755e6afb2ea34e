//! The mirror streams of one run: from key to number and back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use vxtap_analyzers::losses::{LossLedger, LossTracker, StreamLoss};
use vxtap_analyzers::{StreamId, StreamKey, StreamNames};
use vxtap_filter::Tunnel;
use vxtap_wire::Link;
use vxtap_wire::vxlan::Vni;

use crate::admission::Admission;
use crate::networks::Networks;
use crate::worker::unix_ns;

/// Numbers mirror streams in order of appearance. Shared by all workers, each of which remembers the numbers that it was
/// given: this is for the first datagram of a stream, not for every one.
///
/// It holds a bounded number of streams, for anyone can send datagrams with new VNIs. All streams beyond the bound
/// share a number, [`StreamRegistry::other`].
#[derive(Debug)]
pub struct StreamRegistry {
    ids: DashMap<StreamKey, StreamId>,
    keys: RwLock<Vec<StreamKey>>,
    limit: u32,
    networks: Networks,
    admission: Admission,
    /// Touched ten times a second by each worker, and only where senders number their datagrams.
    losses: Mutex<LossLedger>,
}

impl StreamRegistry {
    /// Streams that are told apart by default.
    pub const DEFAULT_LIMIT: u32 = 65_536;

    /// Name of what all streams beyond the bound share.
    pub const OTHER_NAME: &str = "other streams";

    /// A registry that tells [`StreamRegistry::DEFAULT_LIMIT`] streams apart.
    pub fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// A registry that tells `limit` streams apart.
    pub fn with_limit(limit: u32) -> Self {
        Self {
            ids: DashMap::default(),
            keys: RwLock::default(),
            limit,
            networks: Networks::default(),
            admission: Admission::default(),
            losses: Mutex::default(),
        }
    }

    /// The same, where several VNIs may be one network.
    #[must_use]
    pub fn with_networks(self, networks: Networks) -> Self {
        Self { networks, ..self }
    }

    /// The same, where not everybody is let in.
    #[must_use]
    pub fn with_admission(self, admission: Admission) -> Self {
        Self { admission, ..self }
    }

    /// Who is let in.
    pub const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Which network a stream is of.
    pub const fn networks(&self) -> &Networks {
        &self.networks
    }

    /// The number of `key`, a new one where it has none yet; numbers are below [`StreamRegistry::numbers`].
    pub fn intern(&self, key: &StreamKey) -> StreamId {
        if let Some(id) = self.ids.get(key) {
            return *id;
        }
        match self.ids.entry(*key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                let Some(id) = u32::try_from(keys.len()).ok().filter(|id| *id < self.limit) else {
                    return self.other_of(key.link);
                };
                keys.push(*key);
                *entry.insert(StreamId(id))
            }
        }
    }

    /// The number that all streams beyond the bound share whose frames are Ethernet. The numbers after it are those of streams of other
    /// links: an interface of a capture has frames of one kind.
    pub const fn other(&self) -> StreamId {
        StreamId(self.limit)
    }

    /// Gives `take` every stream told apart so far.
    pub(crate) fn for_each(&self, mut take: impl FnMut(StreamId, &StreamKey)) {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        (0..).zip(keys.iter()).for_each(|(number, key)| take(StreamId(number), key));
    }

    /// Whether the number is one that streams beyond the bound share.
    pub const fn is_other(&self, id: StreamId) -> bool {
        id.0 >= self.limit
    }

    /// The number that streams beyond the bound share whose frames begin with `link`.
    pub(crate) const fn other_of(&self, link: Link) -> StreamId {
        StreamId(self.limit + link.number() as u32)
    }

    /// How many numbers there can be, in all.
    pub(crate) const fn numbers(&self) -> usize {
        self.limit as usize + Link::ALL.len()
    }

    /// What the frames of the stream begin with.
    pub fn link(&self, id: StreamId) -> Link {
        let shared = || id.0.checked_sub(self.limit).and_then(|number| Link::ALL.get(number as usize));
        self.key(id).map(|key| key.link).or_else(|| shared().copied()).unwrap_or_default()
    }

    /// The stream with this number; `None` for [`StreamRegistry::other`] and for numbers not given out.
    pub fn key(&self, id: StreamId) -> Option<StreamKey> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(id.0 as usize).copied()
    }

    /// `vni 4242 from 10.0.0.7`, or [`StreamRegistry::OTHER_NAME`].
    pub fn name(&self, id: StreamId) -> String {
        match self.key(id) {
            Some(key) => self.networks.called(&key),
            None => match self.link(id) {
                Link::Ethernet => Self::OTHER_NAME.to_owned(),
                link => format!("{} {}", Self::OTHER_NAME, link.as_str()),
            },
        }
    }

    /// What configuration calls it; nothing for [`StreamRegistry::other`].
    pub fn names(&self, id: StreamId) -> StreamNames {
        self.key(id).map(|key| self.networks.names(&key)).unwrap_or_default()
    }

    /// What a filter may ask of the stream; nothing for [`StreamRegistry::other`].
    pub fn tunnel(&self, id: StreamId) -> Tunnel<'static> {
        let key = self.key(id);
        Tunnel {
            vni: key.and_then(|key| key.vni).map(Vni::get),
            around: key.map(|key| key.around).unwrap_or_default(),
            network: key.as_ref().and_then(|key| self.networks.name(key)),
            outer_source: key.and_then(|key| key.source),
        }
    }

    /// Takes what a worker has to tell of the senders' numbers.
    pub(crate) fn take_losses(&self, tracker: &mut LossTracker) {
        let now_ns = unix_ns();
        let mut losses = self.losses();
        let untracked = tracker.tell(|seen| losses.take(seen, now_ns));
        losses.count_untracked(untracked);
    }

    /// What was lost on the way, by stream, as far as senders number their datagrams.
    pub(crate) fn stream_losses(&self) -> HashMap<StreamId, StreamLoss, foldhash::fast::RandomState> {
        self.losses().streams()
    }

    /// The same in a run that goes on.
    pub(crate) fn stream_losses_so_far(&self) -> HashMap<StreamId, StreamLoss, foldhash::fast::RandomState> {
        self.losses().settled_streams(unix_ns())
    }

    /// All streams together; `None` where no sender numbers its datagrams.
    pub(crate) fn loss(&self) -> Option<StreamLoss> {
        let losses = self.losses();
        (!losses.is_empty()).then(|| together(losses.streams().values()))
    }

    /// The same in a run that goes on.
    pub(crate) fn loss_so_far(&self) -> Option<StreamLoss> {
        let losses = self.losses();
        (!losses.is_empty()).then(|| together(losses.settled_streams(unix_ns()).values()))
    }

    fn losses(&self) -> MutexGuard<'_, LossLedger> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Streams told apart so far.
    pub fn len(&self) -> usize {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no stream was seen yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for StreamRegistry {
    fn default() -> Self {
        Self::new()
    }
}

fn together<'a>(losses: impl Iterator<Item = &'a StreamLoss>) -> StreamLoss {
    let mut sum = StreamLoss::default();
    losses.for_each(|loss| sum.merge(loss));
    sum
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use super::*;

    fn stream(vni: u32) -> StreamKey {
        StreamKey::vxlan(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)), Vni::new(vni).unwrap())
    }

    #[test]
    fn streams_are_numbered_in_order_of_appearance_and_keep_their_number() {
        let streams = StreamRegistry::new();
        assert!(streams.is_empty());
        assert_eq!(streams.intern(&stream(4242)), StreamId(0));
        assert_eq!(streams.intern(&StreamKey::PLAIN), StreamId(1));
        assert_eq!(streams.intern(&stream(4242)), StreamId(0));
        assert_eq!(streams.len(), 2);
        assert_eq!(streams.key(StreamId(0)), Some(stream(4242)));
        assert_eq!(streams.name(StreamId(0)), "vni 4242 from 10.0.0.7");
        assert_eq!(streams.name(StreamId(1)), "plain");
    }

    #[test]
    fn streams_beyond_the_bound_share_one_number_and_take_no_memory() {
        let streams = StreamRegistry::with_limit(2);
        let ids: Vec<_> = (0..5).map(|vni| streams.intern(&stream(vni)).0).collect();
        assert_eq!(ids, [0, 1, 2, 2, 2]);
        assert_eq!((streams.len(), streams.ids.len()), (2, 2));
        assert_eq!(streams.key(streams.other()), None);
        assert_eq!(streams.name(streams.other()), "other streams");
        assert_eq!(streams.intern(&stream(1)), StreamId(1));
    }

    #[test]
    fn workers_that_meet_the_same_streams_at_once_get_the_same_numbers() {
        let streams = Arc::new(StreamRegistry::with_limit(500));
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let streams = Arc::clone(&streams);
                std::thread::spawn(move || (0..1000).map(|vni| streams.intern(&stream(vni))).collect::<Vec<_>>())
            })
            .collect();
        let seen: Vec<Vec<StreamId>> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        assert_eq!(streams.len(), 500);
        for ids in &seen {
            for (vni, id) in ids.iter().enumerate().filter(|(_, id)| **id != streams.other()) {
                assert_eq!(streams.key(*id), Some(stream(vni as u32)));
            }
        }
        let first: Vec<_> = (0..1000).map(|vni| streams.intern(&stream(vni))).collect();
        for ids in seen {
            assert!(ids.iter().zip(&first).all(|(then, now)| then == now));
        }
    }
}
