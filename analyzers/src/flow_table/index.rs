//! Hash index: 32-bit hashes to slots, open addressing with linear probing, growing a little at a time.

/// Marks an empty place. Zero, so that a new generation is memory that the kernel gives page by page on first use:
/// filling megabytes at once would hold a packet up.
const EMPTY: u64 = 0;
/// Places of a new index.
const MIN_PLACES: usize = 1024;
/// Places of the smaller generation that one insertion or removal moves.
const MOVED_PER_CHANGE: usize = 8;
/// Places in a page of memory.
const PAGE: usize = 4096 / size_of::<u64>();
/// Insertions for each page of the next generation that is made ready: it has a 256th as many pages as this one has places, and it is
/// begun when an eighth of them have still to be taken.
const INSERTIONS_PER_PAGE: usize = 16;

/// The index. Holds two generations of places while it grows.
#[derive(Debug)]
pub(super) struct Index {
    current: Places,
    /// What is left of the smaller generation; places before `moved` have been moved.
    old: Option<(Places, usize)>,
    /// The larger generation that will be needed soon, and how many insertions have made pages of it ready.
    next: Option<(Places, usize)>,
}

impl Index {
    /// Bytes for each entry: 8 a place, five eighths of the places taken when the next generation of twice the size is begun.
    pub(super) const BYTES_PER_ENTRY_MAX: usize = 39;

    pub(super) fn new() -> Self {
        Self { current: Places::new(MIN_PLACES), old: None, next: None }
    }

    /// What is where `hash` belongs in the newer generation; for reading it early.
    #[inline]
    pub(super) fn home(&self, hash: u32) -> u64 {
        self.current.places[self.current.home(hash)]
    }

    /// The first slot that `hash` means in the newer generation: nearly always the only one.
    #[inline]
    pub(super) fn first(&self, hash: u32) -> Option<u32> {
        self.current.first(hash)
    }

    /// The slot with `hash` for which `matches` holds.
    #[inline]
    pub(super) fn find(&self, hash: u32, mut matches: impl FnMut(u32) -> bool) -> Option<u32> {
        let found = self.current.position(hash, &mut matches).map(|at| slot_of(self.current.places[at]));
        match (&self.old, found) {
            (Some((old, _)), None) => old.position(hash, &mut matches).map(|at| slot_of(old.places[at])),
            _ => found,
        }
    }

    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        let places = self.current.places.len();
        if self.current.len >= places / 8 * 5 {
            self.prepare();
        }
        if self.current.len >= places / 4 * 3 {
            self.finish_move();
            let larger = self.next.take().map_or_else(|| Places::new(places * 2), |(next, _)| next);
            self.old = Some((std::mem::replace(&mut self.current, larger), 0));
        }
        self.move_some(MOVED_PER_CHANGE);
        self.current.insert(entry(hash, slot));
    }

    /// Writes to a page of the next generation now and then before it is in use. Probes read a page before anything is written to it; the kernel
    /// then gives it twice, first as zeroes that all share, and for the second time stops the other CPUs of the process.
    fn prepare(&mut self) {
        let places = self.current.places.len() * 2;
        let (next, insertions) = self.next.get_or_insert_with(|| (Places::new(places), 0));
        if insertions.is_multiple_of(INSERTIONS_PER_PAGE)
            && let Some(place) = next.places.get_mut(*insertions / INSERTIONS_PER_PAGE * PAGE)
        {
            *place = EMPTY;
        }
        *insertions += 1;
    }

    pub(super) fn remove(&mut self, hash: u32, slot: u32) {
        let here = |candidate: u32| candidate == slot;
        if let Some(at) = self.current.position(hash, here) {
            self.current.remove(at);
        } else if let Some((old, _)) = &mut self.old
            && let Some(at) = old.position(hash, here)
        {
            // A hole would end a probe too early, and shifting back could move an entry before the point that has been moved.
            old.places[at] = TOMBSTONE;
            old.len -= 1;
        }
        self.move_some(MOVED_PER_CHANGE);
    }

    fn finish_move(&mut self) {
        while self.old.is_some() {
            self.move_some(usize::MAX);
        }
    }

    fn move_some(&mut self, count: usize) {
        let Some((old, moved)) = &mut self.old else { return };
        let end = old.places.len().min(moved.saturating_add(count));
        for place in &mut old.places[*moved..end] {
            if *place != EMPTY && *place != TOMBSTONE {
                // The old generation keeps a tombstone, so that probes over it go on.
                self.current.insert(std::mem::replace(place, TOMBSTONE));
            }
        }
        *moved = end;
        if end == old.places.len() {
            self.old = None;
        }
    }
}

/// An entry that was there; probes go on over it. Occurs in the old generation only.
const TOMBSTONE: u64 = u32::MAX as u64;

/// Hash above, slot + 1 below, so that no entry is [`EMPTY`].
const fn entry(hash: u32, slot: u32) -> u64 {
    (hash as u64) << 32 | (slot as u64 + 1)
}

const fn slot_of(entry: u64) -> u32 {
    (entry as u32).wrapping_sub(1)
}

const fn hash_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

#[derive(Debug)]
struct Places {
    places: Box<[u64]>,
    len: usize,
}

impl Places {
    fn new(places: usize) -> Self {
        Self { places: vec![EMPTY; places].into_boxed_slice(), len: 0 }
    }

    #[inline]
    const fn home(&self, hash: u32) -> usize {
        hash as usize & (self.places.len() - 1)
    }

    #[inline]
    const fn next(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    #[inline]
    fn first(&self, hash: u32) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let place = self.places[at];
            if place == EMPTY {
                return None;
            }
            // No tombstones here, and none would have a slot that is in use.
            if hash_of(place) == hash {
                return Some(slot_of(place));
            }
            at = self.next(at);
        }
    }

    #[inline]
    fn position(&self, hash: u32, mut matches: impl FnMut(u32) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        // There is always an empty place, since at most three quarters are taken.
        loop {
            let place = self.places[at];
            if place == EMPTY {
                return None;
            }
            if hash_of(place) == hash && place != TOMBSTONE && matches(slot_of(place)) {
                return Some(at);
            }
            at = self.next(at);
        }
    }

    fn insert(&mut self, entry: u64) {
        let mut at = self.home(hash_of(entry));
        while self.places[at] != EMPTY {
            at = self.next(at);
        }
        self.places[at] = entry;
        self.len += 1;
    }

    /// Removes by shifting later entries back, so that no tombstones gather.
    fn remove(&mut self, mut hole: usize) {
        self.len -= 1;
        let mut at = hole;
        loop {
            at = self.next(at);
            let place = self.places[at];
            if place == EMPTY {
                break;
            }
            // An entry may move back to the hole only if its home is not behind the hole.
            let from_home = at.wrapping_sub(self.home(hash_of(place))) & (self.places.len() - 1);
            let to_hole = at.wrapping_sub(hole) & (self.places.len() - 1);
            if from_home >= to_hole {
                self.places[hole] = place;
                hole = at;
            }
        }
        self.places[hole] = EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_with_one_hash_are_told_apart_by_their_slot() {
        let mut index = Index::new();
        for slot in 0..5 {
            index.insert(7, slot);
        }
        index.remove(7, 2);
        assert_eq!(index.find(7, |slot| slot == 2), None);
        assert_eq!(index.find(7, |slot| slot == 4), Some(4));
    }

    #[test]
    fn nothing_is_lost_while_it_grows_and_shrinks() {
        let mut index = Index::new();
        // A hash that clusters on purpose: runs are long and wrap around.
        let hash = |slot: u32| (slot / 3).wrapping_mul(0x9E37_79B1) >> 4;
        let mut model = std::collections::BTreeSet::new();
        let mut random = 1u64;
        for step in 0..60_000u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let slot = (random >> 40) as u32 % 20_000;
            if model.remove(&slot) {
                index.remove(hash(slot), slot);
            } else {
                index.insert(hash(slot), slot);
                model.insert(slot);
            }
            if step % 1000 == 0 {
                for slot in 0..20_000 {
                    let found = index.find(hash(slot), |candidate| candidate == slot);
                    assert_eq!(found.is_some(), model.contains(&slot), "slot {slot} at step {step}");
                }
            }
        }
    }

    #[test]
    fn every_page_of_the_next_generation_has_been_written_to_when_it_comes_into_use() {
        let mut index = Index::new();
        let mut generations = 0;
        for slot in 0..100_000u32 {
            let before = index.next.as_ref().map_or(0, |(_, insertions)| *insertions);
            index.insert(slot.wrapping_mul(0x9E37_79B1), slot);
            if before > 0 && index.next.is_none() {
                generations += 1;
                assert!(before > (index.current.places.len() / PAGE).saturating_sub(1) * INSERTIONS_PER_PAGE);
            }
        }
        assert!(generations >= 7, "{generations}");
    }

    #[test]
    fn growing_moves_a_few_entries_at_a_time() {
        let mut index = Index::new();
        let mut generations = 0;
        for slot in 0..100_000u32 {
            index.insert(slot.wrapping_mul(0x9E37_79B1), slot);
            if let Some((old, moved)) = &index.old {
                generations += usize::from(*moved == MOVED_PER_CHANGE);
                assert!(old.places.len() == index.current.places.len() / 2);
            }
        }
        assert!(generations >= 7, "{generations}");
    }
}
