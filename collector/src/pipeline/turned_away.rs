//! Frames of mirror streams that are not let in: counted by stream, in a table that nobody can fill for others.
//!
//! Anyone can send datagrams with any VNI, and many can with any source address. All streams of one source share a set of
//! [`WAYS`] places, of which it gets [`PER_SOURCE`] and one more for all its further streams together. Where a set is full, a stream
//! without a place comes up against one of those with the fewest frames lately: each of its frames takes one from that one by a chance of a
//! sixteenth, which halves with every frame that the other has. So a flood of streams of one packet each rarely gets a place, and a
//! stream that keeps coming gets one and stays.

use std::hash::BuildHasher as _;

use crate::selector::Origin;

const SETS: usize = 256;
const WAYS: usize = 16;
const PER_SOURCE: usize = 6;
/// Streams that are silent for so long have their place taken away.
const SILENCE_NS: u64 = 600_000_000_000;
/// How often speeds are taken.
const SECOND_NS: u64 = 1_000_000_000;

/// See the module. Takes memory (500 KiB) when the first frame is turned away, and from then on none.
pub(crate) struct TurnedAway {
    places: Vec<Place>,
    others: AwayCount,
    hash: foldhash::fast::FixedState,
    random: u64,
    ticked_ns: u64,
}

/// Frames turned away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AwayCount {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

/// A stream with its frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AwayRow {
    pub(crate) origin: Origin,
    /// Whether it stands for all further streams of its source; the origin's VNI and endpoint mean nothing then.
    pub(crate) rest: bool,
    pub(crate) count: AwayCount,
    pub(crate) first_ns: u64,
    pub(crate) last_ns: u64,
    pub(crate) frames_per_second: f64,
    pub(crate) bytes_per_second: f64,
}

/// What a worker tells of the streams that it has turned away.
#[derive(Clone, Debug, Default)]
pub(crate) struct TurnedAwayReport {
    pub(crate) rows: Vec<AwayRow>,
    /// Frames that no row counts.
    pub(crate) others: AwayCount,
}

#[derive(Clone, Copy)]
struct Place {
    /// No frames: the place is free.
    row: AwayRow,
    /// Frames lately.
    weight: u8,
    /// What there was when speeds were taken.
    ticked: AwayCount,
}

impl AwayCount {
    pub(crate) fn add(&mut self, frames: u64, bytes: u64) {
        self.frames += frames;
        self.bytes += bytes;
    }
}

impl TurnedAway {
    /// `random` is a number that nobody can guess.
    pub(crate) fn new(random: u64) -> Self {
        let hash = foldhash::fast::FixedState::with_seed(random);
        Self { places: Vec::new(), others: AwayCount::default(), hash, random: random | 1, ticked_ns: 0 }
    }

    /// Counts a frame of `bytes` bytes that came at `time_ns`.
    pub(crate) fn count(&mut self, origin: &Origin, time_ns: u64, bytes: usize) {
        let bytes = bytes as u64;
        let free = Place {
            row: AwayRow {
                origin: *origin,
                rest: false,
                count: AwayCount::default(),
                first_ns: time_ns,
                last_ns: time_ns,
                frames_per_second: 0.0,
                bytes_per_second: 0.0,
            },
            weight: 0,
            ticked: AwayCount::default(),
        };
        if self.places.is_empty() {
            self.places = vec![free; SETS * WAYS];
        }
        let set = self.hash.hash_one((origin.encapsulation, origin.source)) as usize % SETS;
        let set = &mut self.places[set * WAYS..][..WAYS];
        let mut found = Found::default();
        // Of several that are equally light a random one.
        let shuffle = self.random as usize % WAYS;
        for (number, place) in set.iter_mut().enumerate() {
            let row = &place.row;
            if row.count.frames == 0 {
                found.free = found.free.or(Some(number));
                continue;
            }
            if (row.origin.encapsulation, row.origin.source) == (origin.encapsulation, origin.source) {
                if row.rest {
                    found.rest = Some(number);
                } else if row.origin == *origin {
                    place.add(time_ns, bytes);
                    return;
                } else {
                    found.of_source += 1;
                }
            }
            found.lightest = found.lightest.min((place.weight, number ^ shuffle));
        }
        let rest = found.of_source >= PER_SOURCE;
        let number = match found {
            Found { rest: Some(number), .. } if rest => {
                set[number].add(time_ns, bytes);
                return;
            }
            Found { free: Some(number), .. } => number,
            Found { lightest: (weight, number), .. } => {
                let number = number ^ shuffle;
                let held = &mut set[number];
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                let chance = (1_u64 << weight.saturating_add(4).min(31)) - 1;
                let takes = self.random >> 32 & chance == 0;
                if takes {
                    held.weight = held.weight.saturating_sub(1);
                }
                if !takes || held.weight > 0 {
                    self.others.add(1, bytes);
                    return;
                }
                self.others.add(held.row.count.frames, held.row.count.bytes);
                number
            }
        };
        set[number] = free;
        set[number].row.rest = rest;
        set[number].add(time_ns, bytes);
    }

    /// Takes the speed of each stream, once a second, and forgets those that are silent. Gives whether it did.
    pub(crate) fn tick(&mut self, now_ns: u64) -> bool {
        let passed = now_ns.saturating_sub(self.ticked_ns);
        if passed < SECOND_NS {
            return false;
        }
        self.ticked_ns = now_ns;
        let seconds = passed as f64 / SECOND_NS as f64;
        for place in self.places.iter_mut().filter(|place| place.row.count.frames > 0) {
            let Place { row, weight, ticked } = place;
            row.frames_per_second = (row.count.frames - ticked.frames) as f64 / seconds;
            row.bytes_per_second = (row.count.bytes - ticked.bytes) as f64 / seconds;
            *ticked = row.count;
            *weight /= 2;
            if now_ns.saturating_sub(row.last_ns) > SILENCE_NS {
                self.others.add(row.count.frames, row.count.bytes);
                row.count = AwayCount::default();
            }
        }
        true
    }

    /// Gives up the places of those that `stays` does not say of.
    pub(crate) fn retain(&mut self, stays: impl Fn(&Origin) -> bool) {
        for place in self.places.iter_mut().filter(|place| place.row.count.frames > 0) {
            let Place { row, .. } = place;
            // What all further streams of a source stand for may be let in by now, some or all of them.
            if row.rest || !stays(&row.origin) {
                self.others.add(row.count.frames, row.count.bytes);
                row.count = AwayCount::default();
            }
        }
    }

    /// Every stream that has a place.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &AwayRow> {
        self.places.iter().map(|place| &place.row).filter(|row| row.count.frames > 0)
    }

    /// Frames that none of them counts.
    pub(crate) const fn others(&self) -> AwayCount {
        self.others
    }
}

/// What a look through a set has found.
struct Found {
    free: Option<usize>,
    rest: Option<usize>,
    of_source: usize,
    /// Weight and (shuffled) place of the lightest.
    lightest: (u8, usize),
}

impl Default for Found {
    fn default() -> Self {
        Self { free: None, rest: None, of_source: 0, lightest: (u8::MAX, 0) }
    }
}

impl Place {
    fn add(&mut self, time_ns: u64, bytes: u64) {
        self.row.count.add(1, bytes);
        self.row.last_ns = self.row.last_ns.max(time_ns);
        self.weight = self.weight.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use vxtap_analyzers::Encapsulation;
    use vxtap_wire::vxlan::Vni;

    use super::*;
    use crate::selector::Endpoint;

    fn origin(source: u32, vni: u32) -> Origin {
        let source = Some(IpAddr::V4(Ipv4Addr::from_bits(source)));
        Origin { encapsulation: Encapsulation::Vxlan, source, vni: Vni::new(vni), endpoint: None }
    }

    fn total(away: &TurnedAway) -> AwayCount {
        let mut sum = away.others();
        away.rows().for_each(|row| sum.add(row.count.frames, row.count.bytes));
        sum
    }

    fn row(away: &TurnedAway, wanted: &Origin) -> Option<AwayRow> {
        away.rows().find(|row| !row.rest && row.origin == *wanted).copied()
    }

    #[test]
    fn each_stream_has_its_count_and_its_speed() {
        let mut away = TurnedAway::new(5);
        assert!(away.tick(10 * SECOND_NS), "nothing to count yet");
        for number in 0..30 {
            away.count(&origin(1, 7), 10 * SECOND_NS + number, 100);
        }
        away.count(&origin(2, 7), 11 * SECOND_NS, 50);
        assert!(!away.tick(10 * SECOND_NS + 5));
        assert!(away.tick(12 * SECOND_NS));
        let first = row(&away, &origin(1, 7)).unwrap();
        assert_eq!(first.count, AwayCount { frames: 30, bytes: 3000 });
        assert_eq!((first.frames_per_second, first.bytes_per_second), (15.0, 1500.0));
        assert_eq!((first.first_ns, first.last_ns), (10 * SECOND_NS, 10 * SECOND_NS + 29));
        away.tick(13 * SECOND_NS);
        assert!(row(&away, &origin(1, 7)).unwrap().frames_per_second < 0.1, "silent since");
        assert_eq!(row(&away, &origin(2, 7)).unwrap().count.frames, 1);
    }

    #[test]
    fn one_source_cannot_crowd_out_others_and_its_further_vnis_are_counted_together() {
        let mut away = TurnedAway::new(5);
        let others: Vec<_> = (0..200).map(|source| origin(1000 + source, 1)).collect();
        for other in &others {
            away.count(other, 1, 10);
        }
        let before = others.iter().filter(|other| row(&away, other).is_some()).count();
        assert!(before > 195, "200 in 4,096 places: {before}");
        for vni in 0..100_000 {
            away.count(&origin(1, vni), 2, 10);
        }
        assert_eq!(others.iter().filter(|other| row(&away, other).is_some()).count(), before);
        let of_source: Vec<_> = away.rows().filter(|row| row.origin.source == origin(1, 0).source).collect();
        assert_eq!(of_source.len(), PER_SOURCE + 1);
        let rest = of_source.iter().find(|row| row.rest).unwrap();
        assert_eq!(rest.count.frames, 100_000 - PER_SOURCE as u64);
        assert_eq!(total(&away), AwayCount { frames: 100_200, bytes: 1_002_000 });
    }

    #[test]
    fn endpoints_behind_one_load_balancer_are_counted_apart_as_far_as_a_source_has_places() {
        let mut away = TurnedAway::new(5);
        let by = |endpoint: u128| Origin { endpoint: Some(Endpoint::new(endpoint)), ..origin(1, 0) };
        for endpoint in 1..=20 {
            (0..endpoint).for_each(|_| away.count(&by(endpoint), 1, 10));
        }
        for endpoint in 1..=PER_SOURCE as u128 {
            assert_eq!(u128::from(row(&away, &by(endpoint)).unwrap().count.frames), endpoint);
        }
        assert_eq!(away.rows().count(), PER_SOURCE + 1);
        assert_eq!(total(&away).frames, 210);
    }

    #[test]
    fn a_stream_that_keeps_coming_is_seen_in_a_flood_of_streams_of_one_packet() {
        let mut away = TurnedAway::new(0x1234_5678);
        let steady = origin(1, 7);
        let mut random = 1_u64;
        // A million a second for six seconds; the steady one comes later, 50 times a second. It gets a place by chance, on
        // average within half a second.
        for number in 0..6_000_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let time_ns = SECOND_NS + number * 1000;
            away.count(&origin((random >> 32) as u32 | 1 << 31, (random >> 8) as u32 & Vni::MAX), time_ns, 60);
            if number >= 500_000 && number % 20_000 == 0 {
                away.count(&steady, time_ns, 60);
            }
            if number % 100_000 == 0 {
                away.tick(time_ns);
            }
        }
        let seen = row(&away, &steady).expect("the steady stream has its place");
        assert!(seen.frames_per_second > 40.0, "50 a second: {}", seen.frames_per_second);
        assert_eq!(total(&away).frames, 6_000_275);
        assert!(away.rows().count() <= SETS * WAYS);
    }

    #[test]
    fn who_is_let_in_or_silent_for_long_gives_up_the_place_and_no_frame_is_forgotten() {
        let mut away = TurnedAway::new(5);
        for source in 0..10 {
            away.count(&origin(source, 1), SECOND_NS, 10);
        }
        away.retain(|origin| origin.source != Some("0.0.0.3".parse().unwrap()));
        assert_eq!((away.rows().count(), away.others().frames), (9, 1));
        away.count(&origin(4, 1), SILENCE_NS + SECOND_NS, 10);
        away.tick(SILENCE_NS + 3 * SECOND_NS);
        assert_eq!((away.rows().count(), away.others().frames), (1, 9));
        assert_eq!(total(&away).frames, 11);
    }
}
