//! Duplicates by the two mirror streams that they came by.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::stream::StreamId;

/// The most pairs that are counted apart.
pub const PAIRS_MAX: usize = 1024;

/// How many packets came by one stream and again by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairDuplicates {
    /// Where the copies came that count.
    pub first: StreamId,
    /// Where the duplicates came.
    pub second: StreamId,
    /// The duplicates.
    pub duplicates: u64,
}

/// All pairs that there were.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    list: Vec<PairDuplicates>,
    places: HashMap<(StreamId, StreamId), usize, FixedState>,
    /// Place of the pair counted last: most likely the next one too.
    last: usize,
}

impl Pairs {
    /// Takes the memory of as many pairs as there may be.
    pub(super) fn reserve(&mut self) {
        self.list.reserve(PAIRS_MAX);
        self.places.reserve(PAIRS_MAX);
    }

    #[inline]
    pub(super) fn count(&mut self, first: StreamId, second: StreamId) {
        if let Some(pair) = self.list.get_mut(self.last)
            && (pair.first, pair.second) == (first, second)
        {
            pair.duplicates += 1;
            return;
        }
        let place = match self.places.get(&(first, second)) {
            Some(place) => *place,
            None if self.list.len() < PAIRS_MAX => {
                self.list.push(PairDuplicates { first, second, duplicates: 0 });
                self.places.insert((first, second), self.list.len() - 1);
                self.list.len() - 1
            }
            None => return,
        };
        self.last = place;
        if let Some(pair) = self.list.get_mut(place) {
            pair.duplicates += 1;
        }
    }

    pub(super) fn list(&self) -> &[PairDuplicates] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_its_count_and_too_many_have_none() {
        let mut pairs = Pairs::default();
        for (first, second) in [(1, 2), (1, 2), (2, 1), (1, 2), (2, 1)] {
            pairs.count(StreamId(first), StreamId(second));
        }
        let counts: Vec<_> = pairs.list().iter().map(|pair| (pair.first.0, pair.second.0, pair.duplicates)).collect();
        assert_eq!(counts, [(1, 2, 3), (2, 1, 2)]);
        for second in 0..2_000 {
            pairs.count(StreamId(9), StreamId(second));
        }
        assert_eq!(pairs.list().len(), PAIRS_MAX);
    }
}
