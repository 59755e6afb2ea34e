//! Packets seen lately, and how often by which stream.
//!
//! Buckets of four entries, two cache lines: a packet is in the bucket that its hash names or nowhere. A new one takes the place of
//! one whose window is over, or of the oldest. So a look costs the same whatever the traffic, nothing is ever cleaned up, and
//! a bucket that is crowded forgets what most likely has met its copy already.

use super::identity::{Extras, Identity};
use crate::stream::StreamId;

/// Entries of a bucket.
const WAYS: usize = 4;
/// Mirror streams counted apart for one packet.
const STREAMS: usize = 4;
/// Times are kept in units of 4,096 ns: 32 bits wrap after almost five hours.
const TIME_SHIFT: u32 = 12;

/// One packet; empty while no stream has seen it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Entry {
    hash: u64,
    /// When the last copy came.
    time: u32,
    extras: Extras,
    /// The streams that saw it, in the order of their first copies.
    streams: [u16; STREAMS],
    /// How many copies each of them saw; 0 is no stream. Ends at 255.
    copies: [u8; STREAMS],
}

const _: () = assert!(size_of::<Entry>() == 32);

/// One copy of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) stream: StreamId,
    pub(super) time_ns: u64,
    /// How soon after another a copy on its own stream is a duplicate; `None` for never.
    pub(super) same_stream_ns: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    buckets: Box<[[Entry; WAYS]]>,
    window: u32,
    forgotten: u64,
}

impl Table {
    /// A table of `packets` packets at least.
    pub(super) fn new(packets: u32, window_ns: u64) -> Self {
        let buckets = (packets as usize).div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: vec![[Entry::default(); WAYS]; buckets].into_boxed_slice(),
            // Half of what 32 bits hold is before, half after.
            window: u32::try_from(window_ns >> TIME_SHIFT).unwrap_or(u32::MAX).clamp(1, u32::MAX / 2),
            forgotten: 0,
        }
    }

    /// Reads what [`Table::see`] will read of this packet; the number means nothing.
    #[inline]
    pub(super) fn touch(&self, identity: &Identity) -> u32 {
        let [first, .., last] = &self.buckets[self.bucket_of(identity)];
        first.time ^ last.time
    }

    #[inline]
    const fn bucket_of(&self, identity: &Identity) -> usize {
        // A power of two, so this is below it.
        identity.hash as usize & (self.buckets.len() - 1)
    }

    /// Takes one copy of a packet. Gives the stream that had it before where it is a duplicate.
    #[inline]
    pub(super) fn see(&mut self, identity: &Identity, copy: Copy) -> Option<StreamId> {
        let (now, window) = ((copy.time_ns >> TIME_SHIFT) as u32, self.window);
        let stream = u16::try_from(copy.stream.0).ok()?;
        let place = self.bucket_of(identity);
        let bucket = &mut self.buckets[place];
        let mut same = None;
        for (way, entry) in bucket.iter_mut().enumerate() {
            if entry.hash != identity.hash || !entry.extras.fit(identity.extras) || !entry.is_live(now, window) {
                continue;
            }
            if let Some(first) = entry.has_more_elsewhere(stream) {
                entry.add(stream, now);
                return Some(first);
            }
            if entry.extras == identity.extras {
                same = Some(way);
            }
        }
        if let Some(entry) = same.and_then(|way| bucket.get_mut(way)) {
            let soon = copy.same_stream_ns.is_some_and(|soon| apart(now, entry.time) <= (soon >> TIME_SHIFT) as u32);
            if soon {
                entry.time = now;
                return Some(copy.stream);
            }
            entry.add(stream, now);
            return None;
        }
        // An empty one, or the oldest.
        let age = |entry: &Entry| if entry.copies[0] == 0 { u32::MAX } else { apart(now, entry.time) };
        let (way, age) = bucket.iter().map(age).enumerate().max_by_key(|(_, age)| *age)?;
        self.forgotten += u64::from(age <= window);
        let oldest = bucket.get_mut(way)?;
        *oldest = Entry { hash: identity.hash, extras: identity.extras, ..Entry::default() };
        oldest.add(stream, now);
        None
    }

    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Entry {
    /// Whether its last copy came within the window, before or after now: copies overtake each other.
    #[inline]
    const fn is_live(&self, now: u32, window: u32) -> bool {
        self.copies[0] != 0 && apart(now, self.time) <= window
    }

    /// The stream that has seen most copies, where `stream` has seen less and can be counted.
    #[inline]
    fn has_more_elsewhere(&self, stream: u16) -> Option<StreamId> {
        let seen = |place: &usize| self.copies[*place] != 0 && self.streams[*place] == stream;
        let own = (0..STREAMS).find(seen).map_or(0, |place| self.copies[place]);
        if own == 0 && self.copies[STREAMS - 1] != 0 {
            return None;
        }
        let most = (0..STREAMS).max_by_key(|place| (self.copies[*place], STREAMS - place))?;
        (self.copies[most] > own).then(|| StreamId(u32::from(self.streams[most])))
    }

    /// Counts one copy, if there is a place for its stream.
    #[inline]
    fn add(&mut self, stream: u16, now: u32) {
        self.time = now;
        let place = (0..STREAMS).find(|place| self.copies[*place] == 0 || self.streams[*place] == stream);
        if let Some(place) = place {
            self.streams[place] = stream;
            self.copies[place] = self.copies[place].saturating_add(1);
        }
    }
}

/// How far two times are apart, whichever comes first.
const fn apart(one: u32, other: u32) -> u32 {
    let apart = one.wrapping_sub(other);
    if apart > u32::MAX / 2 { apart.wrapping_neg() } else { apart }
}
