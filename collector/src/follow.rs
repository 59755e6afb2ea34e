//! Followers of the live capture: whoever wants to see packets now, each with a filter of its own.
//!
//! The capture's writer hands every batch of records to the [`Hub`], which copies them once for all followers and puts them into
//! each follower's bounded queue. Nothing else happens there: a [`Follower`] filters and encodes on its own side, as the
//! client takes what it gives. A follower whose queue is full misses records. It is told how many, in its own stream, and
//! the capture never waits for it.

mod encoder;
mod follower;
mod pcap_over_ip;
mod queue;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use vxtap_analyzers::snapshot::{FollowerSnapshot, FollowersSnapshot};
use vxtap_filter::Filter;

use crate::streams::StreamRegistry;
pub(crate) use encoder::Encoder;
pub use follower::Follower;
pub use pcap_over_ip::{BoundPcapOverIp, FollowError, PcapOverIp};
use queue::{Bounds, Queue, Segments};

/// Where the capture's writer meets its followers. Clones are the same hub.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

/// There are [`Hub::MAX_FOLLOWERS`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} programs follow the capture already, and no more can", Hub::MAX_FOLLOWERS)]
pub struct TooManyFollowers;

/// What all followers of a run together got and missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FollowerTotals {
    /// Followers.
    pub followers: u64,
    /// Records given to them.
    #[serde(rename = "follower_sent")]
    pub sent: u64,
    /// Records that went past one that was too slow, counted for each.
    #[serde(rename = "follower_dropped")]
    pub dropped: u64,
}

#[derive(Debug)]
struct Shared {
    streams: Arc<StreamRegistry>,
    bounds: Bounds,
    /// How many followers there are. Kept beside the list, so that a writer without followers takes no lock.
    following: AtomicUsize,
    /// The writer's alone, but for the last follower that leaves.
    segments: Mutex<Segments>,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    queues: Vec<Arc<Queue>>,
    /// Nothing more will come.
    closed: bool,
    /// Followers in all.
    total: u64,
    /// What those that have left had got and missed.
    sent_before: u64,
    dropped_before: u64,
}

impl Hub {
    /// Followers at a time: half of the connections that the API takes, so that followers keep nobody else out.
    pub const MAX_FOLLOWERS: usize = 32;

    /// A hub without followers for a capture whose mirror streams `streams` numbers.
    pub fn new(streams: Arc<StreamRegistry>) -> Self {
        Self::with_bounds(streams, Bounds::DEFAULT)
    }

    fn with_bounds(streams: Arc<StreamRegistry>, bounds: Bounds) -> Self {
        let shared = Shared {
            streams,
            bounds,
            following: AtomicUsize::new(0),
            segments: Mutex::default(),
            list: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether anybody follows: to be asked before [`Hub::publish`] is given anything.
    #[inline]
    pub fn is_followed(&self) -> bool {
        self.shared.following.load(Ordering::Relaxed) != 0
    }

    /// Gives every follower the records of `runs`, in this order. Each run is whole enhanced packet blocks whose
    /// `interface` is the number of their mirror stream.
    ///
    /// To be called by one thread, the capture's writer. It copies the records and waits for nobody.
    pub fn publish(&self, runs: &[&[u8]]) {
        if !self.is_followed() {
            return;
        }
        let mut segments = self.shared.segments();
        let mut rest = runs;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|run| {
                bytes += run.len();
                bytes <= queue::SEGMENT_BYTES
            });
            // A run is whole records, so it is not taken apart even where it is longer.
            let (together, others) = rest.split_at(fitting.count().max(1));
            rest = others;
            let segment = segments.copy_of(together);
            if !segment.is_empty() {
                self.shared.list().queues.iter().for_each(|queue| queue.push(&segment, self.shared.bounds));
            }
        }
    }

    /// A new follower that gets what `filter` wants from now on. `name` tells people who it is.
    pub fn follow(&self, filter: Filter, name: &str) -> Result<Follower, TooManyFollowers> {
        let mut list = self.shared.list();
        if list.queues.len() >= Self::MAX_FOLLOWERS {
            return Err(TooManyFollowers);
        }
        let facts = FollowerSnapshot {
            name: printable(name),
            filter: printable(filter.text()),
            since_ns: unix_ns(),
            ..FollowerSnapshot::default()
        };
        let queue = Arc::new(Queue::new(facts));
        if list.closed {
            queue.close();
        }
        list.total += 1;
        list.queues.push(Arc::clone(&queue));
        self.shared.following.store(list.queues.len(), Ordering::Relaxed);
        drop(list);
        Ok(Follower::new(self.clone(), queue, filter))
    }

    /// Who follows, and what all followers together got and missed.
    pub fn snapshot(&self) -> FollowersSnapshot {
        let list = self.shared.list();
        let now: Vec<FollowerSnapshot> = list.queues.iter().map(|queue| queue.snapshot()).collect();
        FollowersSnapshot {
            total: list.total,
            sent: list.sent_before + now.iter().map(|follower| follower.sent).sum::<u64>(),
            dropped: list.dropped_before + now.iter().map(|follower| follower.dropped).sum::<u64>(),
            now,
        }
    }

    /// What all followers together got and missed.
    pub fn totals(&self) -> FollowerTotals {
        let FollowersSnapshot { total, sent, dropped, .. } = self.snapshot();
        FollowerTotals { followers: total, sent, dropped }
    }

    /// Nothing more will come: followers get what is there, and the end.
    pub fn close(&self) {
        let mut list = self.shared.list();
        list.closed = true;
        list.queues.iter().for_each(|queue| queue.close());
    }

    /// The follower at the end of `queue` has left.
    fn leave(&self, queue: &Arc<Queue>) {
        let mut list = self.shared.list();
        list.queues.retain(|other| !Arc::ptr_eq(other, queue));
        let left = queue.snapshot();
        list.sent_before += left.sent;
        list.dropped_before += left.dropped;
        let left_over = list.queues.len();
        self.shared.following.store(left_over, Ordering::Relaxed);
        drop(list);
        if left_over == 0 {
            self.shared.segments().clear();
        }
    }
}

impl Shared {
    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A follower that takes nothing for so long is given up.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_mins(10);
/// After so much silence the system asks a client's machine whether it is still there, and again after each
/// [`ALIVE_INTERVAL`].
const ALIVE_AFTER: Duration = Duration::from_secs(30);
const ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Has the system notice that the machine of `stream`'s client is gone, though nothing is sent.
pub(crate) fn notice_when_gone(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(ALIVE_AFTER).with_interval(ALIVE_INTERVAL);
    // Without it such a client is noticed later.
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
}

/// The longest text of a client that is shown, in characters.
const SHOWN_CHARACTERS: usize = 200;

/// The beginning of `text` with nothing in it that would act on a terminal.
fn printable(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos().try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
pub(crate) mod seen;
#[cfg(test)]
mod tests;
