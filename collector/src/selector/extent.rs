//! Selectors as sets of mirror streams: what two of them have in common, and whether one is a part of the other.

use ipnet::IpNet;
use vxtap_analyzers::Encapsulation;

use super::{Endpoint, Selector, VniRange};

/// The streams of a selector. A list that is empty is everything, as in a selector; others have nothing twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    encapsulation: Option<Encapsulation>,
    vnis: Vec<VniRange>,
    sources: Vec<IpNet>,
    endpoints: Vec<Endpoint>,
}

impl Extent {
    /// The streams that `selector` stands for.
    pub(crate) fn of(selector: &Selector) -> Self {
        let mut endpoints = selector.endpoints.clone();
        endpoints.sort_unstable_by_key(|endpoint| endpoint.0);
        endpoints.dedup();
        Self {
            encapsulation: selector.encapsulation,
            vnis: joined(&selector.vnis),
            sources: IpNet::aggregate(&selector.sources),
            endpoints,
        }
    }

    /// Whether every stream of `other` is one of these.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        (self.encapsulation.is_none() || self.encapsulation == other.encapsulation)
            && covers(&self.vnis, &other.vnis, |range, part| range.first <= part.first && part.last <= range.last)
            && covers(&self.sources, &other.sources, |net, part| net.contains(part))
            && covers(&self.endpoints, &other.endpoints, |endpoint, part| endpoint == part)
    }

    /// Whether every stream of `other` is one of these, and not all of these are of `other`.
    pub(crate) fn is_wider_than(&self, other: &Self) -> bool {
        self.contains(other) && !other.contains(self)
    }

    /// Whether endpoints are named: numbers that a cloud has given to one mirror each, whatever VNI and source that has.
    pub(crate) const fn names_endpoints(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// The streams that are of both; `None` where none can be.
    pub(crate) fn shared_with(&self, other: &Self) -> Option<Self> {
        let vnis = in_both(&self.vnis, &other.vnis, |one, another| {
            let (first, last) = (one.first.max(another.first), one.last.min(another.last));
            (first <= last).then_some(VniRange { first, last })
        })?;
        let encapsulation = match (self.encapsulation, other.encapsulation) {
            (Some(one), Some(another)) if one != another => return None,
            (one, another) => one.or(another),
        };
        let sources = in_both(&self.sources, &other.sources, |one, another| {
            let narrow = if one.prefix_len() < another.prefix_len() { another } else { one };
            (one.contains(narrow) && another.contains(narrow)).then_some(*narrow)
        })?;
        let endpoints = in_both(&self.endpoints, &other.endpoints, |one, another| (one == another).then_some(*one))?;
        Some(Self { encapsulation, vnis, sources, endpoints })
    }

    /// A selector that stands for them.
    pub(crate) fn to_selector(&self) -> Selector {
        let Self { encapsulation, vnis, sources, endpoints } = self.clone();
        Selector { encapsulation, vnis, sources, endpoints }
    }
}

/// Whether each of `parts` is within one of `wholes`.
fn covers<T>(wholes: &[T], parts: &[T], is_within: impl Fn(&T, &T) -> bool) -> bool {
    wholes.is_empty()
        || (!parts.is_empty() && parts.iter().all(|part| wholes.iter().any(|whole| is_within(whole, part))))
}

/// What both lists have, each pair's `overlap`; `None` where that is nothing.
fn in_both<T: Clone>(one: &[T], another: &[T], overlap: impl Fn(&T, &T) -> Option<T>) -> Option<Vec<T>> {
    if one.is_empty() || another.is_empty() {
        return Some([one, another].concat());
    }
    let both: Vec<T> = one.iter().flat_map(|one| another.iter().filter_map(|another| overlap(one, another))).collect();
    (!both.is_empty()).then_some(both)
}

/// The same VNIs in ranges that neither overlap nor touch.
fn joined(ranges: &[VniRange]) -> Vec<VniRange> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.first);
    let mut joined: Vec<VniRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(text: &str) -> Extent {
        Extent::of(&text.parse().unwrap())
    }

    #[test]
    fn a_part_is_what_asks_for_at_least_as_much_in_everything() {
        for (whole, part) in [
            ("all", "vni 7"),
            ("vni 1-9", "vni 2,4-5"),
            ("vni 1-4,5-9", "vni 3-7"),
            ("from 10.0.0.0/8", "vni 7 from 10.1.0.0/16"),
            ("from 10.0.0.0/9,10.128.0.0/9", "from 10.0.0.0/8 vni 1"),
            ("vni 7", "vxlan vni 7"),
            ("geneve", "geneve endpoint 0x1"),
        ] {
            let (whole, part) = (extent(whole), extent(part));
            assert!(whole.is_wider_than(&part) && !part.contains(&whole), "{whole:?} {part:?}");
            assert_eq!(whole.shared_with(&part), Some(part));
        }
        let (one, same) = (extent("vni 1-2"), extent("vni 2,1"));
        assert!(one.contains(&same) && same.contains(&one) && !one.is_wider_than(&same));
    }

    #[test]
    fn what_two_have_in_common_is_said_in_the_words_of_selectors() {
        for (one, another, shared) in [
            ("vni 1-5", "vni 4-9", Some("vni 4-5")),
            ("vni 5", "from 10.0.0.0/8", Some("vni 5 from 10.0.0.0/8")),
            ("vxlan from 10.0.0.0/8,fd00::/8", "from 10.2.0.0/16", Some("vxlan from 10.2.0.0/16")),
            ("vni 1-5", "vni 6-9", None),
            ("vxlan", "geneve", None),
            ("from 10.0.0.0/16", "from 10.1.0.0/16", None),
            ("from 10.0.0.0/8", "from fd00::/8", None),
            ("endpoint 0x1", "endpoint 0x2", None),
        ] {
            for (one, another) in [(one, another), (another, one)] {
                let found = extent(one).shared_with(&extent(another)).map(|shared| shared.to_selector().to_string());
                assert_eq!(found.as_deref(), shared, "{one} and {another}");
            }
        }
    }
}
