//! What a worker notes of stretches of a block, so that the writer need not look at each record.
//!
//! The records of a block were written by another CPU: to find their boundaries, times and streams again would bring every
//! header into the writer's cache. A stretch is short enough to be written at once, and a file that takes all of it
//! takes it as it is.

use arrayvec::ArrayVec;
use vxtap_analyzers::StreamId;

/// The bytes of a stretch, unless a single record has more: what is written through the page cache at a time.
pub(super) const STRETCH_BYTES: usize = 64 << 10;
/// Streams that are told apart in a stretch.
const STREAMS_MAX: usize = 8;

/// How many records, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) records: u64,
    /// The least time, nanoseconds since 1970; `u64::MAX` without records.
    pub(super) first_ns: u64,
    /// The greatest.
    pub(super) last_ns: u64,
}

impl Counts {
    pub(super) const NONE: Self = Self { records: 0, first_ns: u64::MAX, last_ns: 0 };

    #[inline]
    pub(super) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
    }

    #[inline]
    pub(super) fn add_one(&mut self, time_ns: u64) {
        self.add(&Self { records: 1, first_ns: time_ns, last_ns: time_ns });
    }
}

/// Records of a block that follow each other.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// Where they begin and end in the block.
    pub(super) start: usize,
    pub(super) end: usize,
    streams: ArrayVec<(StreamId, Counts), STREAMS_MAX>,
    /// What is of streams beyond those that are told apart.
    others: Counts,
}

impl Stretch {
    fn new(start: usize) -> Self {
        Self { start, end: start, streams: ArrayVec::new(), others: Counts::NONE }
    }

    /// What there is of all streams.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.others;
        for (_, of_stream) in &self.streams {
            counts.add(of_stream);
        }
        counts
    }

    /// What there is of each stream; `None` where there are too many.
    pub(super) fn streams(&self) -> Option<&[(StreamId, Counts)]> {
        (self.others.records == 0).then_some(&self.streams)
    }

    /// So many bytes of records go into it yet.
    #[inline]
    pub(super) fn room(&self) -> usize {
        STRETCH_BYTES.saturating_sub(self.end - self.start)
    }

    /// Notes the next record, of `length` bytes in the block.
    #[inline]
    pub(super) fn add(&mut self, length: usize, time_ns: u64, stream: StreamId) {
        self.end += length;
        match self.streams.iter_mut().find(|(known, _)| *known == stream) {
            Some((_, counts)) => counts.add_one(time_ns),
            None => self.add_stream(stream, time_ns),
        }
    }

    #[cold]
    fn add_stream(&mut self, stream: StreamId, time_ns: u64) {
        let mut counts = Counts::NONE;
        counts.add_one(time_ns);
        if self.streams.try_push((stream, counts)).is_err() {
            self.others.add(&counts);
        }
    }
}

/// The stretches of a block, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Stretches(Vec<Stretch>);

impl Stretches {
    /// With room for those of a block of `block_bytes`: of two that follow each other one is more than half full.
    pub(super) fn with_room(block_bytes: usize) -> Self {
        Self(Vec::with_capacity(2 * (block_bytes / STRETCH_BYTES + 1)))
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The stretch that the next record, of `length` bytes, goes into.
    pub(super) fn for_record(&mut self, length: usize) -> &mut Stretch {
        let last = self.0.last();
        if last.is_none_or(|last| length > last.room()) {
            let start = last.map_or(0, |last| last.end);
            self.0.push(Stretch::new(start));
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// The stretch that begins at `start` of the block.
    pub(super) fn at(&self, start: usize) -> Option<&Stretch> {
        let number = self.0.binary_search_by_key(&start, |stretch| stretch.start).ok()?;
        self.0.get(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_follow_each_other_and_none_is_too_long_unless_a_single_record_is() {
        let mut stretches = Stretches::with_room(1 << 20);
        let lengths = [100, STRETCH_BYTES - 100, 1, STRETCH_BYTES + 4, 8, 8];
        for (time_ns, length) in (10..).zip(lengths) {
            stretches.for_record(length).add(length, time_ns, StreamId(0));
        }
        let mut start = 0;
        let mut records = Vec::new();
        while let Some(stretch) = stretches.at(start) {
            records.push(stretch.counts().records);
            start = stretch.end;
        }
        assert_eq!(start, lengths.iter().sum::<usize>());
        assert_eq!(records, [2, 1, 1, 2]);
        assert!(stretches.at(1).is_none());
    }

    #[test]
    fn each_stream_is_counted_and_too_many_are_said_to_be_so() {
        let mut stretches = Stretches::default();
        for stream in [3, 1, 3] {
            stretches.for_record(10).add(10, 100 - u64::from(stream), StreamId(stream));
        }
        let stretch = stretches.at(0).unwrap();
        assert_eq!(stretch.counts(), Counts { records: 3, first_ns: 97, last_ns: 99 });
        let three = Counts { records: 2, first_ns: 97, last_ns: 97 };
        let one = Counts { records: 1, first_ns: 99, last_ns: 99 };
        assert_eq!(stretch.streams(), Some(&[(StreamId(3), three), (StreamId(1), one)][..]));
        for stream in 0..STREAMS_MAX as u32 {
            stretches.for_record(10).add(10, 1, StreamId(10 + stream));
        }
        let stretch = stretches.at(0).unwrap();
        assert_eq!(stretch.streams(), None);
        assert_eq!(stretch.counts(), Counts { records: 3 + STREAMS_MAX as u64, first_ns: 1, last_ns: 99 });
    }
}
