//! What was lost on the way, by the numbers that vxtap's sender gives its datagrams ([`vxtap_wire::geneve::Mark`]).
//!
//! The datagrams of one series are spread over the workers, since each goes to the worker of its flow. So a worker's [`LossTracker`] only
//! counts what came, and between which numbers; a [`LossLedger`], shared by all, adds that up and knows what is missing. Order does
//! not matter to it. A datagram that came twice has one flow and so comes to one worker, which remembers the last [`WINDOW`]
//! numbers of each series.
//!
//! What is lost behind the last number that came cannot be known before a later one comes. Nothing here reads a clock: times are arguments.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::stream::StreamId;

mod tracker;

pub use tracker::LossTracker;

/// Numbers of a series that are remembered one by one, in 2 KiB: 16 ms at a million a second. What comes again later than so many
/// after it counts as having come, and hides one that is missing.
pub const WINDOW: u64 = 16_384;
/// A number that is so far from the others is of another series, whatever it says: a sender does not lose so much and go on.
const JUMP: u64 = 1 << 24;
/// A series counts from 0. One of which a number below this came first was seen from its beginning: what is missing in front of it was
/// lost. Of others only what is missing behind the first number.
const BEGINNING: u64 = 4096;
/// Series that are added up one by one.
const SERIES_MAX: usize = 65_536;
/// A series of which nothing came for so long makes room for others where there are too many, in nanoseconds.
const IDLE_NS: u64 = 60_000_000_000;

/// Workers tell ten times a second, each at its own moments, and until the last has told, its numbers are missing. So what is missing counts
/// as lost in a run that goes on when it has been so for this long, in nanoseconds, or for half of it.
const SETTLED_NS: u64 = 600_000_000;

/// What a worker saw of one series since it last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The stream that it is of.
    pub stream: StreamId,
    /// The sender's number for the series.
    pub series: u32,
    /// The least number that came.
    pub first: u64,
    /// The greatest.
    pub last: u64,
    /// Numbers that came, each counted once.
    pub received: u64,
    /// Datagrams with a number that had come.
    pub duplicated: u64,
}

/// What became of a mirror stream on its way here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamLoss {
    /// Datagrams with a number that came.
    pub received: u64,
    /// Datagrams that the sender numbered and that did not come. May fall by what is still under way.
    pub lost: u64,
    /// Datagrams that came again.
    pub duplicated: u64,
}

impl StreamLoss {
    /// Adds another's.
    pub const fn merge(&mut self, other: &Self) {
        self.received = self.received.saturating_add(other.received);
        self.lost = self.lost.saturating_add(other.lost);
        self.duplicated = self.duplicated.saturating_add(other.duplicated);
    }
}

/// The series of all streams, as all workers together saw them.
#[derive(Debug, Default)]
pub struct LossLedger {
    series: HashMap<(StreamId, u32), Sum, foldhash::fast::RandomState>,
    /// Series that are over, by stream.
    over: HashMap<StreamId, StreamLoss, foldhash::fast::RandomState>,
    /// Datagrams of series that there was no room for.
    untracked: u64,
    /// When room was last made.
    swept_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    first: u64,
    last: u64,
    received: u64,
    duplicated: u64,
    /// When something of it came last.
    touched_ns: u64,
    /// The least that was missing in the half of [`SETTLED_NS`] before this one, and in this one.
    least: [u64; 2],
    /// When this half began.
    half_ns: u64,
}

impl Sum {
    fn begin(seen: &Seen, now_ns: u64) -> Self {
        let Seen { first, last, received, duplicated, .. } = *seen;
        // Nothing counts as lost before it has been missing for a while.
        Self { first, last, received, duplicated, touched_ns: now_ns, least: [0, u64::MAX], half_ns: now_ns }
    }

    /// Notes what is missing now.
    fn settle(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.half_ns) >= SETTLED_NS / 2 {
            self.least = [self.least[1], u64::MAX];
            self.half_ns = now_ns;
        }
        self.least[1] = self.least[1].min(self.loss().lost);
    }

    /// What was lost, as far as that is certain while others have yet to tell.
    fn settled(&self, now_ns: u64) -> StreamLoss {
        let mut loss = self.loss();
        if now_ns.saturating_sub(self.touched_ns) < SETTLED_NS {
            loss.lost = loss.lost.min(self.least[0]).min(self.least[1]);
        }
        loss
    }

    fn loss(&self) -> StreamLoss {
        let base = if self.first < BEGINNING { 0 } else { self.first };
        let expected = (self.last - base).saturating_add(1);
        let lost = expected.saturating_sub(self.received);
        StreamLoss { received: self.received, lost, duplicated: self.duplicated }
    }
}

impl LossLedger {
    /// Takes what a worker tells of a series at `now_ns`.
    pub fn take(&mut self, seen: &Seen, now_ns: u64) {
        let Seen { stream, series, first, last, received, duplicated } = *seen;
        let key = (stream, series);
        let fresh = Sum::begin(seen, now_ns);
        if let Some(sum) = self.series.get_mut(&key) {
            if first > sum.last.saturating_add(JUMP) {
                let loss = std::mem::replace(sum, fresh).loss();
                self.over.entry(stream).or_default().merge(&loss);
            } else if last.saturating_add(JUMP) >= sum.first {
                sum.first = sum.first.min(first);
                sum.last = sum.last.max(last);
                sum.received = sum.received.saturating_add(received);
                sum.duplicated = sum.duplicated.saturating_add(duplicated);
                sum.touched_ns = now_ns;
                sum.settle(now_ns);
            }
            return;
        }
        if self.series.len() >= SERIES_MAX && !self.make_room(now_ns) {
            self.untracked += received + duplicated;
            return;
        }
        self.series.insert(key, fresh);
    }

    /// Counts datagrams that no tracker had room for.
    pub const fn count_untracked(&mut self, datagrams: u64) {
        self.untracked += datagrams;
    }

    /// Ends the series of which nothing came for long, and gives whether there is room then. Looks once a second at the most: it looks at
    /// all of them.
    fn make_room(&mut self, now_ns: u64) -> bool {
        if now_ns.abs_diff(self.swept_ns) < 1_000_000_000 {
            return false;
        }
        self.swept_ns = now_ns;
        let over = &mut self.over;
        self.series.retain(|(stream, _), sum| {
            let stays = now_ns.saturating_sub(sum.touched_ns) < IDLE_NS;
            if !stays {
                over.entry(*stream).or_default().merge(&sum.loss());
            }
            stays
        });
        self.series.len() < SERIES_MAX
    }

    /// What became of each stream that has numbers, by stream, in a run that goes on at `now_ns`: what only some of the workers have told
    /// of does not count as lost.
    pub fn settled_streams(&self, now_ns: u64) -> HashMap<StreamId, StreamLoss, foldhash::fast::RandomState> {
        let mut streams = self.over.clone();
        for ((stream, _), sum) in &self.series {
            streams.entry(*stream).or_default().merge(&sum.settled(now_ns));
        }
        streams
    }

    /// What became of each stream that has numbers, by stream, when every worker has told.
    pub fn streams(&self) -> HashMap<StreamId, StreamLoss, foldhash::fast::RandomState> {
        let mut streams = self.over.clone();
        for ((stream, _), sum) in &self.series {
            streams.entry(*stream).or_default().merge(&sum.loss());
        }
        streams
    }

    /// Datagrams with a number of which it is not known whether others of their series are missing: there were too many series.
    pub const fn untracked(&self) -> u64 {
        self.untracked
    }

    /// Whether no datagram had a number.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.over.is_empty() && self.untracked == 0
    }
}

#[cfg(test)]
mod tests;
