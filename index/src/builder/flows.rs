//! The flows of one capture file, numbered in the order in which they come.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::RandomState;
use vxtap_wire::FlowKey;

/// Flows that have a number each.
///
/// Flows that come at the same time have neighbouring numbers, so what is known of the flows of a page lies together; the table by
/// which they are found has eight bytes a place. Either stays in a cache where a table of whole keys would not.
#[derive(Debug, Default)]
pub(super) struct Flows {
    noted: Vec<Noted>,
    /// A power of two of places; see [`Place`].
    places: Vec<Place>,
    hashing: RandomState,
}

/// A flow and the page that it was last seen in.
#[derive(Clone, Copy, Debug)]
struct Noted {
    key: FlowKey,
    last_page: u32,
}

/// A part of a flow's hash and the number after the flow's own; zeros where there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    hash: u32,
    next_number: u32,
}

const FIRST_PLACES: usize = 1 << 10;

impl Flows {
    pub(super) const fn len(&self) -> usize {
        self.noted.len()
    }

    /// The flows in the order of their numbers.
    pub(super) fn keys(&self) -> impl ExactSizeIterator<Item = &FlowKey> {
        self.noted.iter().map(|noted| &noted.key)
    }

    /// Reads what flows of these hashes are looked up by. None of the reads depends on another, so the CPU waits for all of them together;
    /// the sums keep the compiler from dropping them.
    pub(super) fn fetch(&self, hashes: impl Iterator<Item = u32> + Clone) {
        let last = self.places.len().saturating_sub(1);
        let numbers = hashes.filter_map(|hash| self.places.get(hash as usize & last)).map(|place| place.next_number);
        std::hint::black_box(numbers.clone().fold(0, |sum, number| sum ^ number));
        let noted = numbers.filter_map(|number| self.noted.get((number as usize).wrapping_sub(1)));
        std::hint::black_box(noted.fold(0, |sum, noted| sum ^ noted.last_page));
    }

    /// Notes that `key`, which has this [`Flows::hash`], was seen in `page`, and gives the flow's number and whether it was last seen there already; `None` where it would be
    /// one more than `most`.
    #[inline]
    pub(super) fn note(&mut self, key: &FlowKey, hash: u32, page: u32, most: usize) -> Option<(u32, bool)> {
        // Three quarters at the most: runs of taken places stay short.
        if self.noted.len() * 4 >= self.places.len() * 3 {
            self.grow();
        }
        let last = self.places.len() - 1;
        let mut at = hash as usize & last;
        loop {
            let Place { hash: other, next_number } = self.places[at];
            if next_number == 0 {
                break;
            }
            if other == hash
                && let Some(noted) = self.noted.get_mut(next_number as usize - 1)
                && noted.key == *key
            {
                let known = std::mem::replace(&mut noted.last_page, page) == page;
                return Some((next_number - 1, known));
            }
            at = (at + 1) & last;
        }
        let number = self.noted.len();
        if number >= most {
            return None;
        }
        self.places[at] = Place { hash, next_number: number as u32 + 1 };
        self.noted.push(Noted { key: *key, last_page: page });
        Some((number as u32, false))
    }

    /// Gives the pages new numbers.
    pub(super) fn renumber_pages(&mut self, number_of: impl Fn(u32) -> u32) {
        for noted in &mut self.noted {
            noted.last_page = number_of(noted.last_page);
        }
    }

    /// In three words rather than field by field. Seeded at random: nobody can choose flows that collide.
    #[inline]
    pub(super) fn hash(&self, key: &FlowKey) -> u32 {
        let FlowKey { low, high, low_port, high_port, network, protocol, version } = key;
        let mut state = self.hashing.build_hasher();
        state.write_u128(u128::from_le_bytes(low.0));
        state.write_u128(u128::from_le_bytes(high.0));
        let ports = u64::from(*low_port) << 16 | u64::from(*high_port);
        let rest = u64::from(network.0) << 16 | u64::from(*protocol) << 8 | *version as u64;
        state.write_u128(u128::from(ports) << 64 | u128::from(rest));
        (state.finish() >> 32) as u32
    }

    #[cold]
    fn grow(&mut self) {
        let count = (self.places.len() * 2).max(FIRST_PLACES);
        let before = std::mem::replace(&mut self.places, vec![Place::default(); count]);
        for place in before.into_iter().filter(|place| place.next_number > 0) {
            let mut at = place.hash as usize & (count - 1);
            while self.places[at].next_number > 0 {
                at = (at + 1) & (count - 1);
            }
            self.places[at] = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use vxtap_wire::{FiveTuple, IpAddress, IpVersion, NetworkId, protocol};

    use super::*;

    fn note(flows: &mut Flows, key: &FlowKey, page: u32, most: usize) -> Option<(u32, bool)> {
        let hash = flows.hash(key);
        flows.fetch([hash, 7].into_iter());
        flows.note(key, hash, page, most)
    }

    fn flow(number: u32) -> FlowKey {
        let tuple = FiveTuple {
            source: IpAddress::v4(number.to_be_bytes()),
            destination: IpAddress::v4([10, 0, 0, 2]),
            source_port: number as u16,
            destination_port: 443,
            protocol: protocol::TCP,
            version: IpVersion::V4,
        };
        FlowKey::new(NetworkId(1), &tuple).0
    }

    #[test]
    fn every_flow_keeps_its_number_however_many_there_are() {
        let mut flows = Flows::default();
        for page in 0..3 {
            for number in 0..20_000 {
                assert_eq!(note(&mut flows, &flow(number), page, usize::MAX), Some((number, false)));
                assert_eq!(note(&mut flows, &flow(number), page, 0), Some((number, true)), "none is new");
            }
        }
        assert_eq!(flows.len(), 20_000);
        assert!(flows.keys().enumerate().all(|(number, key)| *key == flow(number as u32)));
        assert!(flows.places.len() * 3 > flows.len() * 4);
    }

    #[test]
    fn there_are_no_more_than_may_be_and_pages_get_new_numbers() {
        let mut flows = Flows::default();
        assert_eq!(note(&mut flows, &flow(1), 8, 2), Some((0, false)));
        assert_eq!(note(&mut flows, &flow(2), 9, 2), Some((1, false)));
        assert_eq!(note(&mut flows, &flow(3), 9, 2), None);
        flows.renumber_pages(|page| page / 2);
        assert_eq!(note(&mut flows, &flow(1), 4, 2), Some((0, true)));
        assert_eq!(note(&mut flows, &flow(3), 4, 2), None);
    }
}
